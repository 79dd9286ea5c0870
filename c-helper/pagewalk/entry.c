// SPDX-License-Identifier: GPL-2.0-or-later
/* One entry: what it is, by the rules of its level. */
#include <stdio.h>

#include "internal.h"

/*
 * The smallest MAX_SWAPFILES of any configuration: a type below it is swap even if the target's
 * layout is not known.
 */
#define ALWAYS_SWAP_BELOW (32 - 4 - 3 - 1 - 2)

/* PTE_MARKER_* of include/linux/swapops.h. */
static enum pw_kind marker_kind(uint64_t offset)
{
	if (offset & 1 << 2)
		return PW_GUARD_MARKER;
	if (offset & 1 << 1)
		return PW_POISON_MARKER;
	if (offset & 1 << 0)
		return PW_UFFD_WP_MARKER;
	return PW_OTHER_MARKER;
}

static enum pw_kind swap_kind(const struct pw_swap_layout *layout, unsigned int type,
			      uint64_t offset)
{
	if (!layout)
		return type < ALWAYS_SWAP_BELOW ? PW_SWAP : PW_SPECIAL;
#define IS(what) (type >= layout->what.first && type - layout->what.first < layout->what.count)
	if (IS(hwpoison))
		return PW_HWPOISON;
	if (IS(migration))
		return PW_MIGRATION;
	if (IS(device))
		return PW_DEVICE_PRIVATE;
	if (IS(marker)) {
		/* 5.19 to 6.2: SWP_SWAPIN_ERROR came before the markers (9f186f9e5fa9). */
		if (layout->marker.count == 2 && type == layout->marker.first)
			return PW_POISON_MARKER;
		return marker_kind(offset);
	}
#undef IS
	return PW_SWAP;
}

struct pw_entry pw_decode(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw, bool upper)
{
	const struct pw_form *form = paging->form;
	const struct pw_rule *rule = level->rules;
	struct pw_entry entry = { .swap_type = -1, .base = PW_NO_PADDR };

	while ((raw & rule->mask) != rule->value)
		rule++;
	entry.kind = rule->kind;
	entry.inverted = rule->inverted;
	if (raw & rule->reserved & ~(paging->encrypt_mask >> form->address_shift)) {
		entry.kind = PW_RESERVED_BITS;
	} else if (entry.kind == PW_TABLE) {
		entry.base = pw_address_of(paging, raw);
	} else if (pw_names_frame(entry.kind)) {
		uint64_t flip = rule->inverted ? form->address_mask | form->high_mask : 0;

		entry.base = pw_address_of(paging, raw ^ flip) & -pw_level_bytes(level);
	} else if (entry.kind == PW_SWAP && upper) {
		entry.kind = PW_SPECIAL;
	} else if (entry.kind == PW_SWAP) {
		uint64_t mask = (UINT64_C(1) << form->swap.offset_bits) - 1;
		unsigned int type = (unsigned int)(raw >> form->swap.type_shift) &
				    ((1u << form->swap.type_bits) - 1);

		entry.swap_type = (int16_t)type;
		entry.swap_offset = (raw >> form->swap.offset_shift & mask) ^
				    (form->swap.offset_inverted ? mask : 0);
		entry.kind = swap_kind(paging->swap, type, entry.swap_offset);
	}
	if (entry.base != PW_NO_PADDR && entry.base & paging->reserved_mask) {
		entry.kind = PW_RESERVED_BITS;
		entry.base = PW_NO_PADDR;
	}
	return entry;
}

uint8_t pw_rights_left(const struct pw_right *rights, uint64_t raw, uint8_t above)
{
	for (; rights->right; rights++) {
		if ((raw & rights->mask) != rights->value)
			above &= (uint8_t)~rights->right;
	}
	return above;
}

uint8_t pw_memory_type_of(const struct pw_paging *paging, const struct pw_level *level,
			  uint64_t raw)
{
	unsigned int index = 0;

	for (unsigned int i = 0; i < 3; i++)
		index |= raw & level->type_bits[i] ? 1u << i : 0;
	return paging->memory_types[index];
}

/* Text built from pieces; length counts as snprintf() does, also beyond the room. */
struct text {
	char *text;
	size_t room, length;
};

static void put(struct text *text, const char *name, const char *format, uint64_t number)
{
	char *at = text->length < text->room ? text->text + text->length : NULL;
	size_t room = at ? text->room - text->length : 0;
	const char *blank = text->length ? " " : "";
	int length = format ? snprintf(at, room, format, blank, name, (unsigned long long)number)
			    : snprintf(at, room, "%s%s", blank, name);

	text->length += length > 0 ? (size_t)length : 0;
}

int pw_flag_names(const struct pw_paging *paging, const struct pw_step *step, size_t room,
		  char *ret)
{
	const struct pw_form *form = paging->form;
	struct text out = { .text = ret, .room = room };
	const struct pw_level *level;
	struct pw_entry entry;

	if (room)
		*ret = '\0';
	if (step->level < 1 || step->level > form->levels || step->kind == PW_NONE)
		return 0;
	level = &form->level[form->levels - step->level];
	entry = pw_decode(paging, level, step->entry, step->upper);
	if (entry.swap_type >= 0) {
		put(&out, "type", "%s%s %llu", (uint64_t)entry.swap_type);
		put(&out, "offset", "%s%s %llu", entry.swap_offset);
		return (int)out.length;
	}
	for (const struct pw_bit *bit = step->kind == PW_TABLE ? level->table_bits
							       : level->other_bits;
	     bit->name; bit++) {
		uint64_t field = step->entry & bit->mask;

		if (bit->value && field == bit->value)
			put(&out, bit->name, NULL, 0);
		else if (!bit->value && field)
			put(&out, bit->name, "%s%s%llu", field >> bit->shift);
	}
	return (int)out.length;
}

const char *pw_kind_name(enum pw_kind kind)
{
	static const char *const names[PW_KINDS] = {
		[PW_TABLE] = "table",
		[PW_LEAF] = "leaf",
		[PW_PROT_NONE] = "prot-none",
		[PW_INVALIDATED] = "invalidated",
		[PW_NONE] = "none",
		[PW_SWAP] = "swap",
		[PW_MIGRATION] = "migration",
		[PW_DEVICE_PRIVATE] = "device-private",
		[PW_HWPOISON] = "hwpoison",
		[PW_GUARD_MARKER] = "guard-marker",
		[PW_UFFD_WP_MARKER] = "uffd-wp-marker",
		[PW_POISON_MARKER] = "poison-marker",
		[PW_OTHER_MARKER] = "other-marker",
		[PW_SPECIAL] = "special",
		[PW_RESERVED_BITS] = "reserved-bits",
		[PW_NON_CANONICAL] = "non-canonical",
		[PW_EXCLUDED] = "excluded",
		[PW_ZERO_FILLED] = "zero-filled",
		[PW_UNREADABLE] = "unreadable",
	};

	return (unsigned int)kind < PW_KINDS ? names[kind] : "?";
}
