// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs of entries in one table: the inner loops of the sweep. */
#include "runs.h"

/* Two entries: what every 64-bit processor compares at once, without a test for more. */
typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair load_pair(const void *table, size_t index)
{
	return (pair){ pw_load(table, index), pw_load(table, index + 1) };
}

/* A sweep spends most of its time here, so compare eight entries at a time once a run began. */
uint32_t pw_run_end(const void *table, uint32_t i, uint32_t end, uint64_t flip, uint64_t mask,
		    uint64_t step)
{
	uint64_t expected = (pw_load(table, i) ^ flip) & mask;
	uint32_t scalar = end - i > 4 ? i + 4 : end;
	size_t at;

	for (i++; i < scalar; i++) {
		expected += step;
		if (((pw_load(table, i) ^ flip) & mask) != expected)
			return i;
	}
	at = i;
	if (end - at >= 8) {
		const pair flips = { flip, flip }, masks = { mask, mask };
		const pair two = { 2 * step, 2 * step }, eight = { 8 * step, 8 * step };
		pair want = { expected + step, expected + 2 * step };

		for (; end - at >= 8; at += 8, want += eight) {
			const pair a = ((load_pair(table, at) ^ flips) & masks) ^ want;
			const pair b = ((load_pair(table, at + 2) ^ flips) & masks) ^ (want + two);
			const pair c = ((load_pair(table, at + 4) ^ flips) & masks) ^ (want + two + two);
			const pair d = ((load_pair(table, at + 6) ^ flips) & masks) ^
				       (want + two + two + two);
			const pair differ = a | b | c | d;

			if (differ[0] | differ[1])
				break;
		}
		expected = want[0] - step;
	}
	for (i = (uint32_t)at; i < end; i++) {
		expected += step;
		if (((pw_load(table, i) ^ flip) & mask) != expected)
			break;
	}
	return i;
}

/* Frames with the same attributes, from one entry of a table on. */
struct frames {
	struct pw_range like;		/* the fields that all their ranges share */
	uint64_t step;			/* bytes of a leaf */
	uint64_t entry_step;		/* what an entry grows by from one leaf to the next */
	uint64_t flip;			/* the bits that are stored inverted */
	uint64_t alike;			/* the bits that must not change */
	uint64_t attributes;		/* their value */
	uint64_t carry;			/* the lowest bit above the frame's that is not address */
	bool skip;
};

/*
 * Number of frames from base on before the sum carries into a non-address bit: the encryption bit,
 * or a bit above the address. Entries after that have other attributes.
 */
static inline uint64_t frames_left(const struct frames *f, uint64_t base)
{
	return (f->carry - (base & (f->carry - 1))) / f->step;
}

/* Emit entries i to end - 1, which merge, as one range; *ret: one past the last entry in it. */
static int give_run(struct batch *batch, const struct table *table, const struct frames *f,
		    uint32_t i, uint32_t end, uint32_t *ret)
{
	const uint64_t raw = pw_load(table->bytes, i);
	const uint64_t base = pw_address_of(batch->paging, raw ^ f->flip) & -f->step &
			      ~pw_no_address(batch->paging);
	struct pw_range range = f->like;

	if (batch->merge == PW_MERGE_FRAMES && frames_left(f, base) < end - i)
		end = i + (uint32_t)frames_left(f, base);
	range.start = start_of(table, i);
	range.last = last_of(table, end - 1);
	range.paddr = base + (range.start & (f->step - 1));
	range.entry = raw;
	*ret = end;
	return pw_emit(batch, &range);
}

/* Bit k is set if entry i + k + 1 does not continue entry i + k. */
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
 * Emit the runs that begin at entry i or later and end before the last entry of the table. These
 * are not clipped, and none extends the last range of the batch. Eight entries are compared
 * without a branch, then each run is one step, so that short runs cost little more than long ones.
 *
 * i is the first entry of a run. *ret: the first entry that was not emitted. *ret_end: the end of
 * its run, or the same entry if that is another kind of entry or must be looked at alone.
 */
static int give_runs(struct batch *batch, const struct table *table, const struct frames *frames,
		     uint32_t i, uint32_t *ret, uint32_t *ret_end)
{
	const struct frames f = *frames;
	const struct pw_form *form = batch->paging->form;
	const void *bytes = table->bytes;
	const uint64_t address_mask = form->address_mask;
	const uint64_t keep = -f.step & ~pw_no_address(batch->paging);
	/* The high part of the address is the same in all entries with these attributes. */
	const uint64_t high = ((pw_load(bytes, i) ^ f.flip) & form->high_mask) << form->high_shift;
	const uint64_t mask = batch->merge == PW_MERGE_NOTHING ? 0 : ~batch->ignore;
	const uint64_t base = table->base;
	const uint8_t shift = table->level->shift, address_shift = form->address_shift;
	const uint32_t last = table->end - 1;
	struct pw_range *to = &batch->ranges[batch->count], *const stop = &batch->ranges[BATCH];
	uint64_t raw = pw_load(bytes, i);
	uint32_t start = i;
	int err = 0;

	while (i < last) {
		const uint32_t count = last - i < 8 ? last - i : 8;
		uint32_t breaks = count == 8 ? breaks_at(bytes, i, 8, f.flip, mask, f.entry_step)
					     : breaks_at(bytes, i, count, f.flip, mask, f.entry_step);

		for (; breaks; breaks &= breaks - 1) {
			const uint32_t end = i + (uint32_t)__builtin_ctz(breaks) + 1;
			const uint64_t low = ((raw ^ f.flip) & address_mask) << address_shift;
			const uint64_t paddr = (low | high) & keep;

			if ((paddr & (f.carry - 1)) + ((uint64_t)(end - start) << shift) > f.carry)
				goto out;
			if (to == stop) {
				batch->count = BATCH;
				err = pw_flush(batch);
				to = batch->ranges;
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
	batch->count = (size_t)(to - batch->ranges);
	*ret = start;
	*ret_end = i < last ? start : table->end;
	return err;
}

int pw_sweep_frames(struct batch *batch, const struct table *table, uint32_t i,
		    const struct pw_entry *entry, uint32_t *ret)
{
	const struct pw_paging *paging = batch->paging;
	const struct pw_form *form = paging->form;
	const uint64_t step = pw_level_bytes(table->level);
	const uint64_t moves = pw_frame_bits(paging, table->level);
	const uint64_t above = ~(form->address_mask << form->address_shift &
				 ~pw_no_address(paging)) & -step;
	const uint64_t raw = pw_load(table->bytes, i);
	struct frames f = {
		.like = {
			.table = table->paddr,
			.level = table->level->number,
			.kind = entry->kind,
			.rights = pw_frame_rights(paging, table, raw, entry->kind),
			.memory_type = pw_memory_type_of(paging, table->level, raw),
		},
		.step = step,
		.entry_step = step >> form->address_shift,
		.flip = entry->inverted ? moves | form->high_mask : 0,
		.alike = ~moves & ~batch->ignore,
		.carry = above & -above,
		.skip = batch->skip & PW_SKIP(entry->kind),
	};
	uint32_t end = i + 1;
	int err;

	f.attributes = raw & f.alike;
	if (batch->merge == PW_MERGE_LIKE)
		end = pw_run_end(table->bytes, i, table->end, 0, f.alike, 0);
	else if (batch->merge == PW_MERGE_FRAMES)
		end = pw_run_end(table->bytes, i, table->end, f.flip, ~batch->ignore, f.entry_step);
	/* Only the first run may continue a range of an earlier table or of other attributes. */
	err = give_run(batch, table, &f, i, end, &i);
	if (!err && i == end && end < table->end && batch->merge != PW_MERGE_LIKE &&
	    (pw_load(table->bytes, end) & f.alike) == f.attributes) {
		err = give_runs(batch, table, &f, end, &i, &end);
		if (!err && i < end)
			err = give_run(batch, table, &f, i, end, &i);
	}
	*ret = i;
	return err;
}
