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

/*
 * How many frames from base on may be added up without a carry into a bit that is no address:
 * the encryption bit, or what is above the address.
 */
static uint64_t frames_left(const struct sweep *s, uint64_t base, uint8_t shift)
{
	uint64_t address = s->paging->form->address_mask & ~s->paging->encrypt_mask;
	/* The lowest bit above the page's that is no address. */
	uint64_t above = ~address & -(UINT64_C(1) << shift);
	uint64_t stop = above & -above;

	return (stop - (base & (stop - 1))) >> shift;
}

/* Frames with the same attributes, from entry i of a table on. */
struct frames {
	const void *bytes;
	uint32_t i, end;
	uint64_t step;			/* bytes of a leaf */
	uint64_t moves;			/* the bits that name the frame */
	uint64_t alike;			/* the bits that must not change */
	uint64_t attributes;		/* what these are */
	uint64_t flip;			/* the bits that are stored inverted */
};

/*
 * Frames that nothing merges with: as many as there is room for in the batch, but not the last
 * entry, which may be clipped. Nearly all time goes here where frames come in random order.
 */
static void append_singles(struct sweep *s, struct frames *frames, const struct pw_range *like,
			   uint64_t first_start)
{
	const struct frames f = *frames;
	const struct pw_paging *paging = s->paging;
	const bool merges = s->options->merge == PW_MERGE_FRAMES;
	const struct pw_range constant = *like;
	struct pw_range *to = &s->ranges[s->count], *const stop = &s->ranges[BATCH];
	uint64_t start = first_start;
	uint32_t i = f.i;

	for (; i + 1 < f.end && to < stop; i++, to++, start += f.step) {
		const uint64_t raw = pw_load(f.bytes, i), after = pw_load(f.bytes, i + 1);
		const uint64_t paddr = pw_address_of(paging, raw ^ f.flip) & -f.step;

		if ((raw & f.alike) != f.attributes)
			break;
		if (merges && !((after ^ f.flip ^ (paddr + f.step)) & f.moves))
			break;
		put_range(to, &constant, start, start + f.step - 1, paddr, raw);
	}
	s->count = (size_t)(to - s->ranges);
	frames->i = i;
}

/* One past the last frame that merges with frame i, which is at base. */
static uint32_t frames_end(const struct sweep *s, const struct frames *f, uint64_t base,
			   uint8_t shift)
{
	uint64_t most;

	if (s->options->merge == PW_MERGE_NOTHING)
		return f->i + 1;
	if (s->options->merge == PW_MERGE_LIKE)
		return pw_run_end(f->bytes, f->i, f->end, 0, f->alike, 0);
	most = frames_left(s, base, shift);
	return pw_run_end(f->bytes, f->i, most < f->end - f->i ? f->i + (uint32_t)most : f->end,
			  f->flip, ~s->ignore, f->step);
}

int pw_sweep_frames(struct sweep *s, const struct table *table, uint32_t i,
		    const struct pw_entry *entry, uint32_t *ret)
{
	const struct pw_paging *paging = s->paging;
	const struct pw_form *form = paging->form;
	const uint64_t step = pw_level_bytes(table->level);
	const uint64_t moves = (form->address_mask | form->high_mask) & -step &
			       ~paging->encrypt_mask;
	uint64_t raw = pw_load(table->bytes, i);
	struct frames f = {
		.bytes = table->bytes,
		.i = i,
		.end = table->end,
		.step = step,
		.moves = moves,
		.alike = ~moves & ~s->ignore,
		.attributes = raw & ~moves & ~s->ignore,
		.flip = entry->inverted ? moves : 0,
	};
	struct pw_range range = {
		.table = table->paddr,
		.level = table->level->number,
		.kind = entry->kind,
		.rights = pw_rights_left(form->leaf_rights, raw, table->rights),
		.memory_type = pw_memory_type_of(paging, table->level, raw),
	};
	const bool skip = s->options->skip & PW_SKIP(entry->kind);
	bool first = true;
	int err;

	range.rights |= entry->kind == PW_LEAF ? PW_ACCESS : 0;
	do {
		const uint64_t base = pw_address_of(paging, raw ^ f.flip) & -step;
		const uint32_t next = frames_end(s, &f, base, table->level->shift);

		range.start = start_of(s, table, f.i);
		range.last = last_of(s, table, next - 1);
		range.paddr = base + (range.start & (step - 1));
		range.entry = raw;
		f.i = next;
		if (skip)
			continue;
		/* Only the first may continue what was before this table or these attributes. */
		err = first ? pw_emit(s, &range) : append(s, &range);
		if (err)
			return err;
		first = false;
		if (s->options->merge != PW_MERGE_LIKE && f.i + 1 < f.end)
			append_singles(s, &f, &range, range.last + 1);
	} while (f.i < f.end && ((raw = pw_load(f.bytes, f.i)) & f.alike) == f.attributes);
	*ret = f.i;
	return 0;
}
