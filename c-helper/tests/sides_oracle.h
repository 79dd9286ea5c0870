/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slow and obvious way to the result of pw_sides(): one walk for each page. */
#ifndef SIDES_ORACLE_H
#define SIDES_ORACLE_H

#include "form.h"
#include "sides.h"

struct sides_oracle {
	const struct pw_paging *paging;
	const struct pw_memory *memory;
	const uint64_t *roots;
	const struct pw_span *spans;
	size_t count;
	const struct pw_side *expected;
	size_t expected_count;
};

/* What pw_walk() finds for one page; false if the page is left out. */
static inline bool oracle_page(const struct sides_oracle *o, uint32_t span, uint64_t page,
			       struct pw_side *ret)
{
	const uint8_t shift = o->paging->form->page_shift;
	struct pw_walk walk;

	if (pw_walk(o->paging, o->memory, o->roots, o->spans[span].address + (page << shift), &walk))
		return false;
	*ret = (struct pw_side){
		.index = o->spans[span].index + page, .pages = 1, .paddr = walk.paddr, .span = span,
		.kind = walk.outcome,
	};
	for (size_t i = 0; i < o->expected_count; i++) {
		const struct pw_side *one = &o->expected[i];

		if (ret->index - one->index < one->pages &&
		    (one->kind == PW_LEAF || one->kind == PW_PROT_NONE) &&
		    (ret->kind == PW_LEAF || ret->kind == PW_PROT_NONE) &&
		    one->paddr + ((ret->index - one->index) << shift) == ret->paddr) {
			ret->same = true;
			ret->paddr = PW_NO_PADDR;
		}
	}
	return walk.outcome != PW_NONE && walk.outcome != PW_NON_CANONICAL;
}

static inline bool oracle_merges(const struct sides_oracle *o, const struct pw_side *run,
				 const struct pw_side *page)
{
	return run->span == page->span && run->index + run->pages == page->index &&
	       run->kind == page->kind && run->same == page->same &&
	       (page->paddr == PW_NO_PADDR ||
		run->paddr + (run->pages << o->paging->form->page_shift) == page->paddr);
}

/*
 * The first run of got that is wrong, or count if all are right and none is missing. *ret: what it
 * should be; without pages if nothing more should come.
 */
static inline size_t oracle_differs(const struct sides_oracle *o, const struct pw_side *got,
				    size_t count, struct pw_side *ret)
{
	struct pw_side run = { 0 }, page;
	size_t n = 0;

#define WRONG() (n == count || got[n].index != run.index || got[n].pages != run.pages || \
		 got[n].paddr != run.paddr || got[n].span != run.span || \
		 got[n].kind != run.kind || got[n].same != run.same)
	for (uint32_t span = 0; span < o->count; span++) {
		for (uint64_t i = 0; i < o->spans[span].pages; i++) {
			if (!oracle_page(o, span, i, &page))
				continue;
			if (run.pages && oracle_merges(o, &run, &page)) {
				run.pages++;
				continue;
			}
			*ret = run;
			if (run.pages && WRONG())
				return n;
			n += run.pages != 0;
			run = page;
		}
	}
	*ret = run;
	if (run.pages && WRONG())
		return n;
	n += run.pages != 0;
	*ret = (struct pw_side){ 0 };
	return n;
#undef WRONG
}

#endif
