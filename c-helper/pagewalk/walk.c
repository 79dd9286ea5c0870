// SPDX-License-Identifier: GPL-2.0-or-later
/* The walk for one address. */
#include <stdlib.h>

#include "internal.h"

static void set_gap(struct pw_walk *walk, const struct pw_level *level, uint64_t table,
		    uint64_t paddr, size_t length, int kind)
{
	walk->outcome = (uint8_t)kind;
	walk->gap = (struct pw_gap){ table, paddr, (uint32_t)length, level->number };
}

/* Return PW_ZERO_FILLED if the whole table is zero, else as pw_fetch(). */
static int doubt_zero(const struct pw_memory *memory, uint64_t table, size_t length)
{
	const void *bytes;
	void *buffer = malloc(length);
	int err = buffer ? pw_fetch(memory, table, length, buffer, &bytes) : PW_UNREADABLE;

	if (!err && pw_all_zero(bytes, length))
		err = PW_ZERO_FILLED;
	free(buffer);
	return err;
}

int pw_walk(const struct pw_paging *paging, const struct pw_memory *memory,
	    const uint64_t roots[2], uint64_t address, struct pw_walk *ret)
{
	const struct pw_form *form = paging->form;
	int half = pw_half_of(form, address);
	uint64_t table = pw_root_of(paging, roots[half > 0]);
	struct pw_walk walk = {
		.address = address,
		.root = table,
		.paddr = PW_NO_PADDR,
		.swap_type = -1,
		.outcome = PW_NON_CANONICAL,
	};
	uint8_t rights = form->rights;

	for (unsigned int depth = 0; half >= 0 && depth < form->levels; depth++) {
		const struct pw_level *level = &form->level[depth];
		struct pw_step *step = &walk.step[walk.steps];
		uint32_t index = pw_index_of(level, address);
		uint64_t paddr = table + (uint64_t)index * PW_ENTRY_BYTES, raw;
		size_t length = sizeof(raw);
		const void *bytes;
		struct pw_entry entry;
		int err = pw_fetch(memory, paddr, length, &raw, &bytes);

		if (!err) {
			raw = pw_load(bytes, 0);
			if (!raw && paging->zero_fills) {
				paddr = table;
				length = pw_table_bytes(level);
				err = doubt_zero(memory, table, length);
			}
		}
		if (err < 0)
			return err;
		if (err) {
			set_gap(&walk, level, table, paddr, length, err);
			break;
		}
		entry = pw_decode(paging, level, raw, half > 0);
		*step = (struct pw_step){ table, raw, entry.base, index, level->number, entry.kind,
					  half > 0 };
		walk.steps++;
		walk.outcome = entry.kind;
		if (entry.kind == PW_TABLE) {
			rights = pw_rights_left(form->table_rights, raw, rights);
			table = entry.base;
			continue;
		}
		walk.swap_type = entry.swap_type;
		walk.swap_offset = entry.swap_offset;
		if (pw_names_frame(entry.kind)) {
			walk.leaf_bytes = pw_level_bytes(level);
			walk.paddr = entry.base | (address & (walk.leaf_bytes - 1));
			walk.rights = pw_rights_left(form->leaf_rights, raw, rights);
			walk.rights |= entry.kind == PW_LEAF ? PW_ACCESS : 0;
			walk.memory_type = pw_memory_type_of(paging, level, raw);
		}
		break;
	}
	*ret = walk;
	return PW_OK;
}
