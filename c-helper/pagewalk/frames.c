// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs of entries in one table: the inner loops of the sweep. */
#include "sweep.h"

/* Eight at a time once there is a run at all: this loop is where a sweep spends its time. */
uint32_t pw_run_end(const void *table, uint32_t i, uint32_t end, uint64_t flip, uint64_t mask,
		    uint64_t step)
{
	uint64_t expected = (pw_load(table, i) ^ flip) & mask;
	uint32_t scalar = end - i > 4 ? i + 4 : end;

	for (i++; i < scalar; i++) {
		expected += step;
		if (((pw_load(table, i) ^ flip) & mask) != expected)
			return i;
	}
	for (; end - i >= 8; i += 8) {
		uint64_t differ = 0;

		for (unsigned int k = 0; k < 8; k++)
			differ |= ((pw_load(table, i + k) ^ flip) & mask) ^
				  (expected + (k + 1) * step);
		if (differ)
			break;
		expected += 8 * step;
	}
	for (; i < end; i++) {
		expected += step;
		if (((pw_load(table, i) ^ flip) & mask) != expected)
			break;
	}
	return i;
}

/* Frames with the same attributes, from one entry of a table on. */
struct frames {
	struct pw_range like;		/* what all their ranges have */
	uint64_t step;			/* bytes of a leaf */
	uint64_t flip;			/* the bits that are stored inverted */
	uint64_t alike;			/* the bits that must not change */
	uint64_t attributes;		/* what these are */
	uint64_t carry;			/* the lowest bit above the frame's that is no address */
	bool skip;
};

/*
 * How many frames from base on may be added up without a carry into a bit that is no address: the
 * encryption bit, or what is above the address. What is beyond has other attributes.
 */
static inline uint64_t frames_left(const struct frames *f, uint64_t base)
{
	return (f->carry - (base & (f->carry - 1))) / f->step;
}

/* Entries i to end - 1, which merge, as one range; *ret: one past the last that is in it. */
static int give_run(struct sweep *s, const struct table *table, const struct frames *f, uint32_t i,
		    uint32_t end, uint32_t *ret)
{
	const uint64_t raw = pw_load(table->bytes, i);
	const uint64_t base = pw_address_of(s->paging, raw ^ f->flip) & -f->step &
			      ~pw_no_address(s->paging);
	struct pw_range range = f->like;

	if (s->options->merge == PW_MERGE_FRAMES && frames_left(f, base) < end - i)
		end = i + (uint32_t)frames_left(f, base);
	range.start = start_of(s, table, i);
	range.last = last_of(s, table, end - 1);
	range.paddr = base + (range.start & (f->step - 1));
	range.entry = raw;
	*ret = end;
	return pw_emit(s, &range);
}

/* Bit k is set if entry i + k + 1 does not go on where entry i + k ends. */
static inline uint32_t breaks_at(const void *table, uint32_t i, uint32_t count, uint64_t flip,
				 uint64_t mask, uint64_t step)
{
	uint64_t before = (pw_load(table, i) ^ flip) & mask;
	uint32_t breaks = 0;

	for (uint32_t k = 0; k < count; k++) {
		const uint64_t after = (pw_load(table, i + k + 1) ^ flip) & mask;

		breaks |= (uint32_t)(after - before != step) << k;
		before = after;
	}
	return breaks;
}

/*
 * The runs that begin after entry i and end before the last entry of the table that is asked:
 * nothing of them is clipped, and none continues what is in the batch. Eight entries are compared
 * without a branch, then each run is a step, so that short ones cost little more than long ones.
 * i is the first of a run. *ret: the first entry that was not given, *ret_end: the end of its run;
 * the same if it is no frame like these, or has to be looked at alone.
 */
static int give_runs(struct sweep *s, const struct table *table, const struct frames *frames,
		     uint32_t i, uint32_t *ret, uint32_t *ret_end)
{
	const struct frames f = *frames;
	const struct pw_form *form = s->paging->form;
	const void *bytes = table->bytes;
	const uint64_t address_mask = form->address_mask, high_mask = form->high_mask;
	const uint64_t keep = -f.step & ~pw_no_address(s->paging);
	const uint64_t mask = s->options->merge == PW_MERGE_NOTHING ? 0 : ~s->ignore;
	const uint64_t base = table->base;
	const uint8_t shift = table->level->shift, high_shift = form->high_shift;
	const uint32_t last = table->end - 1;
	struct pw_range *to = &s->ranges[s->count], *const stop = &s->ranges[BATCH];
	uint64_t raw = pw_load(bytes, i);
	uint32_t start = i;
	int err = 0;

	while (i < last) {
		const uint32_t count = last - i < 8 ? last - i : 8;
		uint32_t breaks = count == 8 ? breaks_at(bytes, i, 8, f.flip, mask, f.step)
					     : breaks_at(bytes, i, count, f.flip, mask, f.step);

		for (; breaks; breaks &= breaks - 1) {
			const uint32_t end = i + (uint32_t)__builtin_ctz(breaks) + 1;
			const uint64_t bits = raw ^ f.flip;
			const uint64_t paddr = ((bits & address_mask) |
						(bits & high_mask) << high_shift) & keep;

			if ((paddr & (f.carry - 1)) + ((uint64_t)(end - start) << shift) > f.carry)
				goto out;
			if (to == stop) {
				s->count = BATCH;
				err = pw_flush(s);
				to = s->ranges;
				if (err)
					goto out;
			}
			put_range(to, &f.like, base + ((uint64_t)start << shift),
				  base + ((uint64_t)end << shift) - 1, paddr, raw);
			to += !f.skip;
			start = end;
			raw = pw_load(bytes, start);
			if ((raw & f.alike) != f.attributes)
				goto out;
		}
		i += count;
	}
out:
	s->count = (size_t)(to - s->ranges);
	*ret = start;
	*ret_end = i < last ? start : table->end;
	return err;
}

int pw_sweep_frames(struct sweep *s, const struct table *table, uint32_t i,
		    const struct pw_entry *entry, uint32_t *ret)
{
	const struct pw_paging *paging = s->paging;
	const struct pw_form *form = paging->form;
	const uint64_t step = pw_level_bytes(table->level);
	const uint64_t moves = (form->address_mask | form->high_mask) & -step &
			       ~pw_no_address(paging);
	const uint64_t above = ~(form->address_mask & ~pw_no_address(paging)) & -step;
	const uint64_t raw = pw_load(table->bytes, i);
	struct frames f = {
		.like = {
			.table = table->paddr,
			.level = table->level->number,
			.kind = entry->kind,
			.rights = pw_rights_left(form->leaf_rights, raw, table->rights) |
				  (entry->kind == PW_LEAF ? PW_ACCESS : 0),
			.memory_type = pw_memory_type_of(paging, table->level, raw),
		},
		.step = step,
		.flip = entry->inverted ? moves : 0,
		.alike = ~moves & ~s->ignore,
		.carry = above & -above,
		.skip = s->options->skip & PW_SKIP(entry->kind),
	};
	uint32_t end = i + 1;
	int err;

	f.attributes = raw & f.alike;
	if (s->options->merge == PW_MERGE_LIKE)
		end = pw_run_end(table->bytes, i, table->end, 0, f.alike, 0);
	else if (s->options->merge == PW_MERGE_FRAMES)
		end = pw_run_end(table->bytes, i, table->end, f.flip, ~s->ignore, step);
	/* Only the first run may continue what was before this table or these attributes. */
	err = give_run(s, table, &f, i, end, &i);
	if (!err && i == end && end < table->end && s->options->merge != PW_MERGE_LIKE &&
	    (pw_load(table->bytes, end) & f.alike) == f.attributes) {
		err = give_runs(s, table, &f, end, &i, &end);
		if (!err && i < end)
			err = give_run(s, table, &f, i, end, &i);
	}
	*ret = i;
	return err;
}
