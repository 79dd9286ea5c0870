// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sweeping a range of addresses: every entry in it, in order, down the tree of tables.
 *
 * Functions here return 0 to go on. Anything else ends the sweep: a negative number of a callback,
 * or a positive enum pw_status.
 */
#include <stdlib.h>

#include "tap.h"

struct sweep {
	const struct pw_paging *paging;
	const struct pw_memory *memory;
	const struct pw_sweep_options *options;
	const struct tap *tap;
	uint64_t entries_left;
	struct pw_sweep_stats stats;
	struct pw_seen seen;
	unsigned char *buffer[PW_MAX_LEVELS];	/* a table of each level, for the callback */
	struct batch batch;
};

static int sweep_table(struct sweep *s, struct table *table);

static int give_table(struct sweep *s, const struct pw_range *range)
{
	if (s->tap && s->tap->table)
		return s->tap->table(s->tap->arg, range);
	return pw_emit(&s->batch, range);
}

/* Descend into the table at entry i, unless it was walked already. */
static int enter(struct sweep *s, const struct table *table, uint32_t i, uint64_t raw,
		 const struct pw_entry *entry)
{
	uint64_t start = start_of(table, i), last = last_of(table, i);
	uint8_t rights = pw_rights_left(s->paging->form->table_rights, raw, table->rights);
	struct table below = {
		.level = table->level + 1,
		.depth = table->depth + 1,
		.paddr = entry->base,
		.base = table->base + ((uint64_t)i << table->level->shift),
		.first = table->first,
		.last = table->last,
		.rights = rights,
	};

	if (s->options->shared_once) {
		uint64_t key = pw_seen_key(below.depth, below.paddr,
					   s->options->shared_by_rights ? rights : 0);
		const uint64_t *seen = pw_seen_find(&s->seen, key);

		if (seen) {
			s->stats.shared++;
			return give_table(s, &(struct pw_range){
				.start = start, .last = last, .paddr = PW_NO_PADDR, .entry = raw,
				.table = table->paddr, .shared_with = *seen,
				.level = table->level->number, .kind = PW_TABLE,
				.rights = rights | PW_ACCESS,
			});
		}
		/* A table walked in part cannot represent a later one. */
		if (last - start == pw_level_bytes(table->level) - 1 &&
		    !pw_seen_add(&s->seen, key, start))
			return PW_NO_MEMORY;
	}
	if (s->options->each_table) {
		int err = give_table(s, &(struct pw_range){
			.start = start, .last = last, .paddr = PW_NO_PADDR, .entry = raw,
			.table = table->paddr, .shared_with = start,
			.level = table->level->number, .kind = PW_TABLE,
			.rights = rights | PW_ACCESS,
		});

		if (err)
			return err;
	}
	return sweep_table(s, &below);
}

/*
 * Read the table's bytes. If that fails, emit one range for all of the table that the sweep covers
 * and set *gap.
 */
static int fetch_table(struct sweep *s, struct table *table, uint32_t first, bool *gap)
{
	size_t length = pw_table_bytes(table->level);
	int err = pw_fetch(s->memory, table->paddr, length, s->buffer[table->depth], &table->bytes);

	if (!err && s->paging->zero_fills && pw_all_zero(table->bytes, length))
		err = PW_ZERO_FILLED;
	s->stats.tables++;
	*gap = err > 0;
	if (err <= 0)
		return err;
	s->stats.gaps++;
	s->stats.entries++;
	s->entries_left--;
	return pw_emit(&s->batch, &(struct pw_range){
		.start = start_of(table, first), .last = last_of(table, table->end - 1),
		.paddr = PW_NO_PADDR, .table = table->paddr, .level = table->level->number,
		.kind = (uint8_t)err, .gap_length = (uint32_t)length,
	});
}

/*
 * Give a last-level table to the tap. *ret: the first entry that was not looked at, less than end
 * only if the bound on work was reached.
 */
static int tap_table(struct sweep *s, struct table *table, uint32_t i, uint32_t end, uint32_t *ret)
{
	uint32_t stop = s->entries_left < end - i ? i + (uint32_t)s->entries_left : end;
	int err = s->tap->entries(s->tap->arg, table, i, stop);

	*ret = i;
	if (err || s->tap->ranges)
		return err;
	s->entries_left -= stop - i;
	s->stats.entries += stop - i;
	*ret = stop;
	return 0;
}

static int sweep_table(struct sweep *s, struct table *table)
{
	const struct pw_level *level = table->level;
	const uint64_t start = start_of(table, 0);
	const uint64_t last = last_of(table, (UINT32_C(1) << level->index_bits) - 1);
	const bool upper = table->base >> 63;
	uint32_t i = pw_index_of(level, start), end = pw_index_of(level, last) + 1;
	bool gap;
	int err;

	if (!s->entries_left) {
		s->stats.stopped_at = start;
		return PW_TOO_MUCH_WORK;
	}
	table->end = end;
	err = fetch_table(s, table, i, &gap);
	if (err || gap)
		return err;
	if (s->tap && level->number == 1) {
		err = tap_table(s, table, i, end, &i);
		if (err)
			return err;
	}
	while (i < end) {
		uint64_t raw = pw_load(table->bytes, i);
		struct pw_entry entry = pw_decode(s->paging, level, raw, upper);
		uint32_t next = i + 1;

		table->end = s->entries_left < end - i ? i + (uint32_t)s->entries_left : end;
		if (table->end == i) {
			s->stats.stopped_at = start_of(table, i);
			return PW_TOO_MUCH_WORK;
		}
		if (entry.kind == PW_TABLE) {
			/* Tables are scattered: fetch the next one while this one is read. */
			if (i + 1 < end)
				pw_prefetch(s->memory,
					    pw_address_of(s->paging, pw_load(table->bytes, i + 1)));
			s->entries_left--;
			s->stats.entries++;
			err = enter(s, table, i, raw, &entry);
			if (err)
				return err;
			i++;
			continue;
		}
		if (pw_names_frame(entry.kind)) {
			err = pw_sweep_frames(&s->batch, table, i, &entry, &next);
			if (!err && s->tap && level->number > 1)
				err = s->tap->entries(s->tap->arg, table, i, next);
		} else {
			if (entry.kind == PW_NONE && s->options->merge != PW_MERGE_NOTHING)
				next = pw_run_end(table->bytes, i, table->end, 0, UINT64_MAX, 0);
			err = pw_emit(&s->batch, &(struct pw_range){
				.start = start_of(table, i), .last = last_of(table, next - 1),
				.paddr = PW_NO_PADDR, .entry = raw, .table = table->paddr,
				.level = level->number, .kind = entry.kind,
			});
		}
		if (err)
			return err;
		s->entries_left -= next - i;
		s->stats.entries += next - i;
		i = next;
	}
	return 0;
}

/* Sweep the part of the range that is in one half of the address space. */
static int sweep_half(struct sweep *s, const uint64_t roots[2], int half)
{
	const struct pw_form *form = s->paging->form;
	const struct pw_level *top = &form->level[0];
	uint64_t bytes = UINT64_C(1) << form->half_bits;
	uint64_t low = half ? -bytes : 0, high = low + (bytes - 1);
	struct table table = {
		.level = top,
		.paddr = pw_root_of(s->paging, roots[half]),
		.base = half ? -(UINT64_C(1) << (top->shift + top->index_bits)) : 0,
		.first = s->options->first > low ? s->options->first : low,
		.last = s->options->last < high ? s->options->last : high,
		.rights = form->rights,
	};

	return table.first <= table.last ? sweep_table(s, &table) : 0;
}

static int alloc_buffers(struct sweep *s)
{
	const struct pw_form *form = s->paging->form;

	for (unsigned int depth = 0; s->memory->read && depth < form->levels; depth++) {
		s->buffer[depth] = malloc(pw_table_bytes(&form->level[depth]));
		if (!s->buffer[depth])
			return PW_NO_MEMORY;
	}
	return 0;
}

int pw_sweep_tapped(const struct pw_paging *paging, const struct pw_memory *memory,
		    const uint64_t roots[2], const struct pw_sweep_options *options,
		    const struct tap *tap, pw_range_fn *hook, void *arg,
		    struct pw_sweep_stats *ret)
{
	struct sweep *s;
	int err;

	if (ret)
		*ret = (struct pw_sweep_stats){ 0 };
	if (options->first > options->last || options->merge > PW_MERGE_LIKE)
		return PW_BAD_ARGUMENT;
	s = calloc(1, sizeof(*s));
	if (!s)
		return PW_NO_MEMORY;
	s->paging = paging;
	s->memory = memory;
	s->options = options;
	s->tap = tap;
	s->entries_left = options->max_entries ? options->max_entries : PW_MAX_ENTRIES;
	s->batch.paging = paging;
	s->batch.ignore = options->ignore & paging->form->ignorable;
	s->batch.skip = options->skip;
	s->batch.merge = options->merge;
	s->batch.hook = hook;
	s->batch.arg = arg;
	pw_seen_init(&s->seen);

	err = alloc_buffers(s);
	for (int half = 0; !err && half < 2; half++)
		err = sweep_half(s, roots, half);
	if (err >= 0) {
		int flushed = pw_flush(&s->batch);

		err = flushed ? flushed : err;
	}

	if (ret)
		*ret = s->stats;
	for (unsigned int depth = 0; depth < PW_MAX_LEVELS; depth++)
		free(s->buffer[depth]);
	pw_seen_deinit(&s->seen);
	free(s);
	return err;
}

int pw_sweep(const struct pw_paging *paging, const struct pw_memory *memory,
	     const uint64_t roots[2], const struct pw_sweep_options *options, pw_range_fn *hook,
	     void *arg, struct pw_sweep_stats *ret)
{
	return pw_sweep_tapped(paging, memory, roots, options, NULL, hook, arg, ret);
}
