// SPDX-License-Identifier: GPL-2.0-or-later
/* Ranges on their way to the hook: merged as the caller wants it, many in one call. */
#include "batch.h"

int pw_flush(struct batch *batch)
{
	int err = batch->count ? batch->hook(batch->arg, batch->ranges, batch->count) : 0;

	batch->count = 0;
	return err < 0 ? err : 0;
}

static bool continues(const struct batch *batch, const struct pw_range *before,
		      const struct pw_range *range)
{
	if (before->last + 1 != range->start || before->kind != range->kind ||
	    before->level != range->level || before->rights != range->rights)
		return false;
	if (pw_names_frame(range->kind)) {
		const struct pw_form *form = batch->paging->form;
		const struct pw_level *level = &form->level[form->levels - range->level];
		uint64_t moves = pw_frame_bits(batch->paging, level);

		if ((before->entry ^ range->entry) & ~moves & ~batch->ignore)
			return false;
		return batch->merge == PW_MERGE_LIKE ||
		       before->paddr + (range->start - before->start) == range->paddr;
	}
	/* Gaps and shared tables stay apart: the report names the table of each. */
	return range->kind >= PW_NONE && range->kind <= PW_RESERVED_BITS;
}

int pw_emit(struct batch *batch, const struct pw_range *range)
{
	if (batch->skip & PW_SKIP(range->kind))
		return 0;
	if (batch->count && batch->merge != PW_MERGE_NOTHING) {
		struct pw_range *before = &batch->ranges[batch->count - 1];

		if (continues(batch, before, range)) {
			before->last = range->last;
			return 0;
		}
	}
	if (batch->count == BATCH) {
		int err = pw_flush(batch);

		if (err)
			return err;
	}
	put_range(&batch->ranges[batch->count++], range, range->start, range->last, range->paddr,
		  range->entry);
	return 0;
}
