// SPDX-License-Identifier: GPL-2.0-or-later
/* Checking a form, which may come from anywhere. */
#include "internal.h"

_Static_assert(PW_ALL_RIGHTS << 3 < 1 << PW_TABLE_ALIGN_BITS &&
	       PW_MAX_LEVELS < 1 << 3, "pw_seen_key() packs depth and rights below an address");
_Static_assert(1 << PW_MAX_MEMORY_TYPES == PW_USE_SPECIAL, "an account has a bit for each type");

/* Whether the set bits adjoin. */
static bool contiguous(uint64_t mask)
{
	uint64_t low = mask & -mask;

	return !((mask + low) & mask);
}

static const char *address_error(const struct pw_form *form)
{
	uint64_t address, high;
	unsigned int bits = form->page_shift + PW_PFN_BITS;
	uint64_t beyond = UINT64_MAX << (bits < 63 ? bits : 63);

	if (form->address_shift > 63 || form->high_shift > 63)
		return "address_shift and high_shift must be below 64";
	address = form->address_mask << form->address_shift;
	high = form->high_mask << form->high_shift;
	if (!address || !contiguous(form->address_mask))
		return "address_mask must be bits that adjoin";
	if (address >> form->address_shift != form->address_mask ||
	    high >> form->high_shift != form->high_mask)
		return "address_mask or high_mask is shifted out of 64 bits";
	if (form->address_mask & form->high_mask || address & high)
		return "address_mask and high_mask must not overlap, neither in place nor shifted";
	if ((address | high | form->root_mask) & beyond)
		return "a physical address must have at most 40 bits above page_shift, and less than 64";
	if ((address | high) & ((1u << PW_TABLE_ALIGN_BITS) - 1))
		return "next-level tables must be aligned to 256 bytes";
	if ((address & -address) > UINT64_C(1) << form->page_shift)
		return "address_mask must name each page";
	return NULL;
}

static const char *swap_error(const struct pw_form *form)
{
	if (form->swap.type_shift > 63 || form->swap.offset_shift > 63 ||
	    form->swap.type_bits > 8 || form->swap.offset_bits > 63)
		return "swap: shifts must be below 64, type_bits at most 8, offset_bits at most 63";
	return NULL;
}

static const char *bits_error(const struct pw_bit *bit)
{
	for (unsigned int i = 0; bit[i].name; i++) {
		if (i == PW_MAX_BITS)
			return "a list must name at most 64 bits";
		if (!*bit[i].name || bit[i].value & ~bit[i].mask || bit[i].shift > 63)
			return "a bit needs a name, a value in its mask, and a shift below 64";
	}
	return NULL;
}

static const char *rights_error(const struct pw_form *form, const struct pw_right *right)
{
	for (unsigned int i = 0; right[i].right; i++) {
		uint8_t one = right[i].right;

		if (i == PW_MAX_RIGHTS)
			return "a list must have at most 16 rights";
		if (one & (one - 1) || one & ~form->rights)
			return "a right must be one of the form's rights";
		if (right[i].value & ~right[i].mask)
			return "a right needs a value in its mask";
		if (right[i].mask & (form->address_mask | form->high_mask | form->ignorable))
			return "a right must not depend on address bits or ignorable bits";
	}
	return NULL;
}

/* moves: the bits that differ between the entries of a run of frames. */
static const char *rule_error(const struct pw_form *form, const struct pw_rule *rule,
			      uint64_t moves, bool table, bool frame)
{
	const uint64_t address = form->address_mask | form->high_mask;
	const bool empty = rule->mask == UINT64_MAX && !rule->value && rule->kind == PW_NONE;

	if (rule->kind > PW_RESERVED_BITS)
		return "a rule needs a kind that an entry can have";
	if (rule->value & ~rule->mask)
		return "a rule needs a value in its mask";
	if ((rule->kind == PW_TABLE || pw_names_frame(rule->kind)) && !rule->value)
		return "a rule for a table or a frame must require a set bit";
	if (rule->kind == PW_TABLE && !table)
		return "the last level cannot point at tables";
	if (pw_names_frame(rule->kind) && !frame)
		return "a leaf must map at most 2^27 pages";
	if (rule->kind == PW_TABLE && (rule->mask | rule->reserved) & address)
		return "a rule for a table must not depend on address bits";
	if (!empty && (rule->mask | rule->reserved) & (moves | form->high_mask | form->ignorable))
		return "a rule must not depend on bits of the frame's address or ignorable bits";
	return NULL;
}

static const char *level_error(const struct pw_form *form, unsigned int depth)
{
	const struct pw_level *level = &form->level[depth];
	const bool last = depth + 1 == form->levels, frame = level->shift <= form->page_shift +
							     PW_LEAF_PAGE_BITS;
	const uint64_t moves = form->address_mask &
			       -((UINT64_C(1) << level->shift) >> form->address_shift);
	const char *error;
	unsigned int i = 0;

	do {
		if (i == PW_MAX_RULES)
			return "a level must have at most 16 rules, the last one with mask 0";
		error = rule_error(form, &level->rules[i], moves, !last, frame);
		if (error)
			return error;
	} while (level->rules[i++].mask);
	for (i = 0; i < 3; i++) {
		if (level->type_bits[i] & (moves | form->high_mask | form->ignorable))
			return "a memory type must not depend on address bits or ignorable bits";
	}
	error = bits_error(level->table_bits);
	return error ? error : bits_error(level->other_bits);
}

/* How addresses split. */
static const char *split_error(const struct pw_form *form)
{
	unsigned int shift = form->page_shift;

	if (form->levels < 1 || form->levels > PW_MAX_LEVELS)
		return "a form must have 1 to 5 levels";
	if (form->page_shift < 10 || form->page_shift > 24)
		return "page_shift must be 10 to 24";
	for (unsigned int number = 1; number <= form->levels; number++) {
		const struct pw_level *level = &form->level[form->levels - number];

		if (!level->name || !*level->name)
			return "a level needs a name";
		if (level->index_bits < 1 || level->index_bits > PW_MAX_INDEX_BITS)
			return "index_bits must be 1 to 16";
		if (level->number != number || level->shift != shift)
			return "a level's number or shift does not follow from the levels below";
		shift += level->index_bits;
	}
	if (shift > 63 || (form->half_bits != shift && form->half_bits != shift - 1) ||
	    form->half_bits > form->page_shift + PW_HALF_PAGE_BITS)
		return "a half must have at most 44 address bits above page_shift, and 63 in all";
	return NULL;
}

const char *pw_form_error(const struct pw_form *form, const struct pw_level **ret)
{
	const char *error = split_error(form);

	*ret = NULL;
	if (!error && (form->memory_types < 1 || form->memory_types > PW_MAX_MEMORY_TYPES))
		error = "a form must have 1 to 6 memory types";
	for (unsigned int i = 0; !error && i < form->memory_types; i++) {
		if (!form->memory_type[i] || !*form->memory_type[i])
			error = "a memory type needs a name";
	}
	error = error ? error : address_error(form);
	if (!error && form->ignorable & (form->address_mask | form->high_mask))
		error = "ignorable bits must not be address bits";
	if (!error && form->rights & ~PW_ALL_RIGHTS)
		error = "rights has a bit that is not a right";
	error = error ? error : swap_error(form);
	error = error ? error : rights_error(form, form->table_rights);
	error = error ? error : rights_error(form, form->leaf_rights);
	for (unsigned int depth = 0; !error && depth < form->levels; depth++) {
		error = level_error(form, depth);
		*ret = error ? &form->level[depth] : NULL;
	}
	return error;
}
