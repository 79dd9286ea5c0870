// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One side of shared memory: the frames of many spans of one address space, as runs of pages.
 *
 * Functions here return 0 to go on. Anything else ends the call: a negative number of a callback,
 * or a positive enum pw_status.
 */
#include <stdlib.h>

#include "cache.h"
#include "runs.h"
#include "sides.h"

#define BATCH_SIDES 256
/* Pages that are kept: spans in no order of address come back to the same tables. */
#define CACHED_PAGES 1024

/* A table on the way to the current address. */
struct step {
	uint64_t first, last;		/* the addresses that it maps */
	const void *bytes;
	uint8_t kind;			/* 0, or why it cannot be read */
};

struct sides {
	const struct pw_paging *paging;
	const struct pw_memory *memory;
	const uint64_t *roots;
	const struct pw_side *expected;
	size_t expected_count, cursor;
	uint64_t entries_left;
	unsigned int depth;		/* steps that are valid */
	struct step step[PW_MAX_LEVELS];
	unsigned char *buffer[PW_MAX_LEVELS];	/* a table of each level, for the callback */
	uint32_t span;
	pw_side_fn *hook;
	void *arg;
	size_t count;
	struct pw_side batch[BATCH_SIDES];
};

static int flush(struct sides *s)
{
	int err = s->count ? s->hook(s->arg, s->batch, s->count) : 0;

	s->count = 0;
	return err < 0 ? err : 0;
}

/* Add pages, or extend the last run. */
static int put(struct sides *s, uint64_t index, uint64_t pages, uint64_t paddr, uint8_t kind,
	       bool same)
{
	const uint8_t shift = s->paging->form->page_shift;
	struct pw_side *last = s->count ? &s->batch[s->count - 1] : NULL;

	if (same)
		paddr = PW_NO_PADDR;
	if (last && last->span == s->span && last->kind == kind && last->same == same &&
	    last->index + last->pages == index &&
	    (paddr == PW_NO_PADDR || last->paddr + (last->pages << shift) == paddr)) {
		last->pages += pages;
		return 0;
	}
	if (s->count == BATCH_SIDES) {
		int err = flush(s);

		if (err)
			return err;
	}
	s->batch[s->count++] = (struct pw_side){
		.index = index, .pages = pages, .paddr = paddr, .span = s->span, .kind = kind,
		.same = same,
	};
	return 0;
}

/* What compare() of walk/compare.py compares: a frame that is more than a moment's. */
static bool counts(uint8_t kind)
{
	return kind == PW_LEAF || kind == PW_PROT_NONE;
}

/* Move the cursor to the first expected run that ends after index. */
static void seek(struct sides *s, uint64_t index)
{
	const struct pw_side *expected = s->expected;
	size_t low = 0, high = s->expected_count;

#define ENDS_AFTER(i) (expected[i].index + expected[i].pages > index)
	/* Mostly it is the current run or the next one. */
	for (unsigned int i = 0; i < 2 && s->cursor < high; i++, s->cursor++) {
		if (!ENDS_AFTER(s->cursor))
			continue;
		if (expected[s->cursor].index <= index || !s->cursor ||
		    !ENDS_AFTER(s->cursor - 1))
			return;
		break;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ENDS_AFTER(middle))
			high = middle;
		else
			low = middle + 1;
	}
	s->cursor = low;
#undef ENDS_AFTER
}

/*
 * The expected address of a page, or PW_NO_PADDR. *ret: the number of pages from it on for which the
 * answer goes on, at most the number in *ret.
 */
static uint64_t expected_at(struct sides *s, uint64_t index, uint64_t *ret)
{
	const struct pw_side *here;
	uint64_t left;

	if (!s->expected_count)
		return PW_NO_PADDR;
	seek(s, index);
	if (s->cursor == s->expected_count)
		return PW_NO_PADDR;
	here = &s->expected[s->cursor];
	left = here->index > index ? here->index - index : here->index + here->pages - index;
	*ret = left < *ret ? left : *ret;
	if (here->index > index || !counts(here->kind) || here->paddr == PW_NO_PADDR)
		return PW_NO_PADDR;
	return here->paddr + ((index - here->index) << s->paging->form->page_shift);
}

/* Give pages whose frames adjoin; those that are as expected apart from the others. */
static int give_frames(struct sides *s, uint64_t index, uint64_t pages, uint64_t paddr, uint8_t kind)
{
	const uint8_t shift = s->paging->form->page_shift;
	int err = 0;

	while (!err && pages) {
		uint64_t part = pages;
		bool same = counts(kind) && expected_at(s, index, &part) == paddr;

		err = put(s, index, part, paddr, kind, same);
		index += part;
		paddr += part << shift;
		pages -= part;
	}
	return err;
}

/* The bits of a frame's entry that decide its kind: those of the rules up to the one that fits. */
static uint64_t kind_bits(const struct pw_paging *paging, const struct pw_level *level, uint64_t raw)
{
	const struct pw_form *form = paging->form;
	const struct pw_rule *rule = level->rules;
	uint64_t bits = (form->address_mask | form->high_mask) & ~pw_frame_bits(paging, level);

	for (;; rule++) {
		/* An entry that names a frame is not empty (form_error.c), whatever its other bits. */
		if (rule->mask != UINT64_MAX || rule->value)
			bits |= rule->mask;
		if ((raw & rule->mask) == rule->value)
			return bits | rule->reserved;
	}
}

/*
 * Give the pages of a last-level table from entry i on that are of the same kind, a frame's. low:
 * the offset in the page. *ret: the first entry that was not given.
 */
static int give_leaves(struct sides *s, const void *bytes, uint32_t i, uint32_t end,
		       const struct pw_entry *entry, uint64_t index, uint64_t low, uint32_t *ret)
{
	const struct pw_paging *paging = s->paging;
	const struct pw_form *form = paging->form;
	const struct pw_level *level = &form->level[form->levels - 1];
	const uint64_t step = pw_level_bytes(level), moves = pw_frame_bits(paging, level);
	const uint64_t decides = kind_bits(paging, level, pw_load(bytes, i));
	const uint64_t value = pw_load(bytes, i) & decides;
	const uint64_t flip = entry->inverted ? form->address_mask | form->high_mask : 0;
	/* The lowest bit above the frame's that is not address: a run must not carry into it. */
	const uint64_t above = ~(form->address_mask << form->address_shift &
				 ~pw_no_address(paging)) & -step;
	const uint64_t carry = above & -above;
	int err = 0;

	while (!err && i < end) {
		const uint64_t raw = pw_load(bytes, i);
		uint64_t paddr, left;
		uint32_t next;

		if ((raw & decides) != value)
			break;
		paddr = pw_address_of(paging, raw ^ flip) & -step;
		left = (carry - (paddr & (carry - 1))) / step;
		next = pw_run_end(bytes, i, left < end - i ? i + (uint32_t)left : end, flip & moves,
				  decides | moves, step >> form->address_shift);
		err = give_frames(s, index, next - i, paddr + low, entry->kind);
		index += next - i;
		i = next;
	}
	*ret = i;
	return err;
}

/* Read the table of the next level, which maps first to last, or remember why it cannot be read. */
static int enter(struct sides *s, uint64_t table, uint64_t first, uint64_t last)
{
	struct step *step = &s->step[s->depth];
	const size_t length = pw_table_bytes(&s->paging->form->level[s->depth]);
	int err;

	if (s->memory->read && !s->buffer[s->depth]) {
		s->buffer[s->depth] = malloc(length);
		if (!s->buffer[s->depth])
			return PW_NO_MEMORY;
	}
	err = pw_fetch(s->memory, table, length, s->buffer[s->depth], &step->bytes);
	if (err < 0)
		return err;
	if (!err && s->paging->zero_fills && pw_all_zero(step->bytes, length))
		err = PW_ZERO_FILLED;
	step->kind = (uint8_t)err;
	step->first = first;
	step->last = last;
	s->depth++;
	return 0;
}

/* Leave the tables that do not map an address; enter the topmost one if none is left. */
static int leave(struct sides *s, uint64_t address)
{
	const struct pw_form *form = s->paging->form;
	const int half = pw_half_of(form, address);
	const uint64_t first = half ? UINT64_MAX << form->half_bits : 0;

	for (; s->depth; s->depth--) {
		const struct step *step = &s->step[s->depth - 1];

		if (address >= step->first && address <= step->last)
			return 0;
	}
	return enter(s, pw_root_of(s->paging, s->roots[half]), first,
		     first + ((UINT64_C(1) << form->half_bits) - 1));
}

/*
 * Give pages from one table, or from one entry of a table above the last level. The address is
 * canonical. *pages: how many are wanted, and then how many were looked at.
 */
static int give_some(struct sides *s, uint64_t address, uint64_t index, uint64_t *pages)
{
	const struct pw_paging *paging = s->paging;
	const struct step *step = &s->step[s->depth - 1];
	const struct pw_level *level = &paging->form->level[s->depth - 1];
	const uint8_t shift = paging->form->page_shift;
	const uint64_t bytes = pw_level_bytes(level), in_entry = address & (bytes - 1);
	const uint64_t in_table = ((step->last - address) >> shift) + 1;
	uint64_t wanted = in_table < *pages ? in_table : *pages, raw, entries;
	uint32_t i = pw_index_of(level, address), end, next;
	struct pw_entry entry;
	int err = 0;

	s->entries_left--;
	if (step->kind) {
		*pages = wanted;
		return put(s, index, wanted, PW_NO_PADDR, step->kind, false);
	}
	raw = pw_load(step->bytes, i);
	entry = pw_decode(paging, level, raw, pw_half_of(paging->form, address) > 0);
	if (entry.kind == PW_TABLE) {
		/* Tables are scattered: fetch the next one while this one is read. */
		if (i + 1 < UINT32_C(1) << level->index_bits &&
		    (bytes - in_entry) >> shift < wanted)
			pw_prefetch(s->memory, pw_address_of(paging, pw_load(step->bytes, i + 1)));
		*pages = 0;
		return enter(s, entry.base, address - in_entry, address - in_entry + (bytes - 1));
	}
	/* The entries that wanted covers, within the bound. */
	entries = (in_entry + ((wanted - 1) << shift)) / bytes;
	end = i + 1 + (uint32_t)(entries < s->entries_left ? entries : s->entries_left);
	next = i + 1;
	if (entry.kind == PW_NONE)
		next = pw_run_end(step->bytes, i, end, 0, UINT64_MAX, 0);
	else if (level->shift == shift && pw_names_frame(entry.kind))
		err = give_leaves(s, step->bytes, i, end, &entry, index, in_entry, &next);
	s->entries_left -= next - i - 1;
	entries = (((uint64_t)(next - i) << level->shift) - in_entry + ((UINT64_C(1) << shift) - 1)) >>
		  shift;
	*pages = entries < wanted ? entries : wanted;
	if (err || entry.kind == PW_NONE || (level->shift == shift && pw_names_frame(entry.kind)))
		return err;
	if (pw_names_frame(entry.kind))
		return give_frames(s, index, *pages, entry.base | in_entry, entry.kind);
	return put(s, index, *pages, PW_NO_PADDR, entry.kind, false);
}

static int give_span(struct sides *s, const struct pw_span *span, uint64_t *stopped_at)
{
	const struct pw_form *form = s->paging->form;
	const uint64_t upper = UINT64_MAX << form->half_bits;
	const uint64_t page = UINT64_C(1) << form->page_shift;
	uint64_t address = span->address, index = span->index, pages = span->pages;
	int err = 0;

	while (!err && pages) {
		uint64_t part = pages;

		if (pw_half_of(form, address) < 0) {
			/* The hole between the halves. */
			uint64_t hole = (upper - address + (page - 1)) >> form->page_shift;

			part = hole < pages ? hole : pages;
		} else {
			err = leave(s, address);
			if (err)
				return err;
			if (!s->entries_left) {
				*stopped_at = address;
				return PW_TOO_MUCH_WORK;
			}
			err = give_some(s, address, index, &part);
		}
		address += part << form->page_shift;
		index += part;
		pages -= part;
	}
	return err;
}

int pw_sides(const struct pw_paging *paging, const struct pw_memory *memory,
	     const uint64_t roots[2], const struct pw_span *spans, size_t count,
	     const struct pw_side *expected, size_t expected_count, uint64_t max_entries,
	     pw_side_fn *hook, void *arg, uint64_t *stopped_at)
{
	struct pw_cache cache;
	struct sides *s;
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		if (spans[i].pages &&
		    (spans[i].pages - 1 > (UINT64_MAX - spans[i].address) >> paging->form->page_shift ||
		     spans[i].pages > UINT64_MAX - spans[i].index))
			return PW_BAD_ARGUMENT;
	}
	if (count > UINT32_MAX)
		return PW_BAD_ARGUMENT;
	s = malloc(sizeof(*s));
	if (!s)
		return PW_NO_MEMORY;
	*s = (struct sides){
		.paging = paging,
		.memory = memory,
		.roots = roots,
		.expected = expected,
		.expected_count = expected_count,
		.entries_left = max_entries ? max_entries : PW_MAX_ENTRIES,
		.hook = hook,
		.arg = arg,
	};
	if (memory->read) {
		if (pw_cache_init(&cache, memory, CACHED_PAGES))
			s->memory = &cache.memory;
		else
			err = PW_NO_MEMORY;
	}
	for (; !err && s->span < count; s->span++)
		err = give_span(s, &spans[s->span], stopped_at);
	if (err >= 0) {
		int flushed = flush(s);

		err = flushed ? flushed : err;
	}
	if (memory->read)
		pw_cache_deinit(&cache);
	for (unsigned int depth = 0; depth < PW_MAX_LEVELS; depth++)
		free(s->buffer[depth]);
	free(s);
	return err;
}
