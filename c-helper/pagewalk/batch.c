// SPDX-License-Identifier: GPL-2.0-or-later
/* Ranges on their way to the hook: merged where the caller wants it, handed over many at a time. */
#include "sweep.h"

int pw_flush(struct sweep *s)
{
	int err = s->count ? s->hook(s->arg, s->ranges, s->count) : 0;

	s->count = 0;
	return err < 0 ? err : 0;
}

static bool continues(const struct sweep *s, const struct pw_range *before,
		      const struct pw_range *range)
{
	if (before->last + 1 != range->start || before->kind != range->kind ||
	    before->level != range->level || before->rights != range->rights)
		return false;
	if (pw_names_frame(range->kind)) {
		const struct pw_form *form = s->paging->form;
		uint64_t moves = form->address_mask | form->high_mask;
		uint64_t bytes = UINT64_C(1) << form->level[form->levels - range->level].shift;

		/* In a huge leaf bits below its size are flags, in the address's place. */
		moves &= ~(bytes - 1) & ~pw_no_address(s->paging);
		if ((before->entry ^ range->entry) & ~moves & ~s->ignore)
			return false;
		return s->options->merge == PW_MERGE_LIKE ||
		       before->paddr + (range->start - before->start) == range->paddr;
	}
	/* Gaps and shared tables are events, each with its table. */
	return range->kind >= PW_NONE && range->kind <= PW_RESERVED_BITS;
}

int pw_emit(struct sweep *s, const struct pw_range *range)
{
	if (s->options->skip & PW_SKIP(range->kind))
		return 0;
	if (s->count && s->options->merge != PW_MERGE_NOTHING) {
		struct pw_range *before = &s->ranges[s->count - 1];

		if (continues(s, before, range)) {
			before->last = range->last;
			return 0;
		}
	}
	return append(s, range);
}
