// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts of all frames: how each is mapped and how often, and where some of them are. */
#include <string.h>

#include "tap.h"

/* Argument of the tap. */
struct accounting {
	const struct pw_account *account;
	const struct pw_paging *paging;
	uint64_t places_left;
	pw_range_fn *hook;
	void *arg;
	/* By depth: the bits of an entry on which its account depends, if it names a frame. */
	uint64_t alike[PW_MAX_LEVELS];
};

/* Frames of one table whose entries have the same bits in alike. */
struct like {
	struct pw_range range;		/* the fields that all places share */
	uint64_t flip, mask, high;	/* (entry ^ flip) & mask, shifted, | high: the address */
	uint8_t address_shift;
	uint8_t use;
	bool special;
};

/* An entry that names a frame is not zero, so the rule for zero does not count. */
static uint64_t alike_bits(const struct pw_paging *paging, const struct pw_level *level,
			   uint64_t special)
{
	uint64_t bits = special;

	for (const struct pw_rule *rule = level->rules;; rule++) {
		bits |= (rule->mask == UINT64_MAX ? 0 : rule->mask) | rule->reserved;
		if (!rule->mask)
			break;
	}
	for (unsigned int i = 0; i < 3; i++)
		bits |= level->type_bits[i];
	return (bits | paging->form->address_mask | paging->form->high_mask) &
	       ~pw_frame_bits(paging, level);
}

/* Report a run of marked frames, unless enough were reported. */
static int give_place(struct accounting *a, const struct pw_range *place)
{
	int err;

	if (!a->places_left)
		return 0;
	a->places_left--;
	err = a->hook(a->arg, place, 1);
	return err < 0 ? err : 0;
}

/* Count pages whose frames adjoin. */
static void count_run(const struct pw_account *account, const struct like *like, uint64_t pfn,
		      uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		account->uses[pfn + i] |= like->use;
	if (account->counts && like->range.level == 1 && !like->special) {
		for (uint64_t i = 0; i < pages; i++)
			account->counts[pfn + i] += account->counts[pfn + i] < UINT8_MAX;
	}
}

/* A leaf above the last level, or the part of it that is swept. */
static int account_leaf(struct accounting *a, const struct like *like, uint64_t start,
			uint64_t last, uint64_t paddr, uint64_t raw)
{
	const struct pw_account *account = a->account;
	const unsigned int shift = a->paging->form->page_shift;
	const uint64_t pfn = paddr >> shift;
	uint64_t pages = (last >> shift) - (start >> shift) + 1;
	int err = 0;

	if (pfn >= account->frames)
		return 0;
	if (pages > account->frames - pfn)
		pages = account->frames - pfn;
	if (account->uses)
		count_run(account, like, pfn, pages);
	for (uint64_t end, i = 0; account->marked && !err && i < pages; i = end) {
		struct pw_range place = like->range;

		end = i + 1;
		if (!account->marked[pfn + i])
			continue;
		while (end < pages && account->marked[pfn + end])
			end++;
		place.start = start + (i << shift);
		place.last = start + (end << shift) - 1;
		place.paddr = paddr + (i << shift);
		place.entry = raw;
		err = give_place(a, &place);
	}
	return err;
}

static inline uint64_t frame_of(const struct like *like, uint64_t raw)
{
	return ((raw ^ like->flip) & like->mask) << like->address_shift | like->high;
}

/* Whether entries i to i + 7 name frames that adjoin. */
static inline bool adjoin(const struct like *like, const void *table, uint32_t i, uint64_t step)
{
	const uint64_t first = (pw_load(table, i) ^ like->flip) & like->mask;
	uint64_t differ = 0;

	if (((pw_load(table, i + 7) ^ like->flip) & like->mask) - first != 7 * step)
		return false;
	for (unsigned int k = 1; k < 7; k++)
		differ |= ((pw_load(table, i + k) ^ like->flip) & like->mask) ^ (first + k * step);
	return !differ;
}

/* Add eight accounts at once: saturating addition of 1 to each byte. */
static inline void count_eight(const struct pw_account *account, const struct like *like,
			       uint64_t pfn)
{
	const uint64_t ones = UINT64_MAX / UINT8_MAX;
	uint64_t word;

	memcpy(&word, account->uses + pfn, sizeof(word));
	word |= ones * like->use;
	memcpy(account->uses + pfn, &word, sizeof(word));
	if (!account->counts || like->special)
		return;
	memcpy(&word, account->counts + pfn, sizeof(word));
	/* A byte is full if its low seven bits carry into bit 7 when 1 is added, and bit 7 is set. */
	word += ones ^ (((word & ones * 0x7f) + ones) & word & ones * 0x80) >> 7;
	memcpy(account->counts + pfn, &word, sizeof(word));
}

static void count_pages(const struct accounting *a, const struct table *table,
			const struct like *like, uint32_t i, uint32_t end)
{
	const struct pw_account account = *a->account;
	const struct like f = *like;
	const unsigned int shift = a->paging->form->page_shift;
	const uint64_t step = UINT64_C(1) << shift >> f.address_shift;
	const bool counts = account.counts && !f.special;

	while (i < end) {
		const uint32_t stop = end - i < 8 ? end : i + 8;
		const uint64_t first = frame_of(&f, pw_load(table->bytes, i)) >> shift;

		if (stop - i == 8 && first < account.frames && account.frames - first >= 8 &&
		    adjoin(&f, table->bytes, i, step)) {
			count_eight(&account, &f, first);
			i = stop;
			continue;
		}
		for (; i < stop; i++) {
			const uint64_t pfn = frame_of(&f, pw_load(table->bytes, i)) >> shift;

			if (pfn >= account.frames)
				continue;
			account.uses[pfn] |= f.use;
			if (counts)
				account.counts[pfn] += account.counts[pfn] < UINT8_MAX;
		}
	}
}

/* Report the marked frames of pages, one range per run. */
static int report_pages(struct accounting *a, const struct table *table, const struct like *like,
			uint32_t i, uint32_t end)
{
	const struct pw_account *account = a->account;
	const unsigned int shift = a->paging->form->page_shift;
	struct pw_range place = { 0 };

	for (; i < end; i++) {
		const uint64_t raw = pw_load(table->bytes, i);
		const uint64_t paddr = frame_of(like, raw), start = start_of(table, i);
		int err;

		if (paddr >> shift >= account->frames || !account->marked[paddr >> shift])
			continue;
		if (place.level && place.last + 1 == start &&
		    place.paddr + (start - place.start) == paddr) {
			place.last = last_of(table, i);
			continue;
		}
		err = place.level ? give_place(a, &place) : 0;
		if (err)
			return err;
		place = like->range;
		place.start = start;
		place.last = last_of(table, i);
		place.paddr = paddr;
		place.entry = raw;
	}
	return place.level ? give_place(a, &place) : 0;
}

static struct like like_of(const struct accounting *a, const struct table *table, uint64_t raw,
			   const struct pw_entry *entry)
{
	const struct pw_form *form = a->paging->form;
	const uint8_t type = pw_memory_type_of(a->paging, table->level, raw);
	const bool special = raw & a->account->special;
	const uint64_t flip = entry->inverted ? form->address_mask | form->high_mask : 0;

	return (struct like){
		.range = {
			.table = table->paddr,
			.level = table->level->number,
			.kind = entry->kind,
			.memory_type = type,
		},
		.flip = flip,
		.mask = pw_frame_bits(a->paging, table->level),
		.high = ((raw ^ flip) & form->high_mask) << form->high_shift &
			~pw_no_address(a->paging),
		.address_shift = form->address_shift,
		.use = (uint8_t)(1u << type) | (special ? PW_USE_SPECIAL : PW_USE_NORMAL),
		.special = special,
	};
}

static int account_entries(void *arg, const struct table *table, uint32_t i, uint32_t end)
{
	struct accounting *a = arg;
	const bool upper = table->base >> 63;
	int err = 0;

	for (uint32_t next; !err && i < end; i = next) {
		const uint64_t raw = pw_load(table->bytes, i);
		const struct pw_entry entry = pw_decode(a->paging, table->level, raw, upper);
		struct like like;

		next = i + 1;
		if (entry.kind == PW_NONE)
			next = pw_run_end(table->bytes, i, end, 0, UINT64_MAX, 0);
		if (!pw_names_frame(entry.kind))
			continue;
		like = like_of(a, table, raw, &entry);
		if (table->level->number > 1) {
			const uint64_t start = start_of(table, i), last = last_of(table, i);

			err = account_leaf(a, &like, start, last,
					   entry.base + (start & (pw_level_bytes(table->level) - 1)),
					   raw);
			continue;
		}
		next = pw_run_end(table->bytes, i, end, 0, a->alike[table->depth], 0);
		if (a->account->uses)
			count_pages(a, table, &like, i, next);
		if (a->account->marked)
			err = report_pages(a, table, &like, i, next);
	}
	return err;
}

static int account_table(void *arg, const struct pw_range *range)
{
	struct accounting *a = arg;
	struct pw_range table = *range;
	int err;

	table.paddr = pw_address_of(a->paging, table.entry);
	err = a->hook(a->arg, &table, 1);
	return err < 0 ? err : 0;
}

int pw_account_add(const struct pw_account *account, const struct pw_paging *paging,
		   const struct pw_memory *memory, const uint64_t roots[2], uint64_t first,
		   uint64_t last, uint64_t max_entries, pw_range_fn *hook, void *arg,
		   struct pw_sweep_stats *ret)
{
	struct accounting a = { account, paging, account->most_places, hook, arg, { 0 } };
	const struct tap tap = { account_entries, account_table, &a, account->alike };
	const uint64_t within = (UINT64_C(1) << paging->form->page_shift) - 1;
	const struct pw_sweep_options options = {
		.first = first,
		.last = last,
		.max_entries = max_entries,
		.merge = PW_MERGE_LIKE,
		.ignore = UINT64_MAX,
		.shared_once = true,
		.each_table = true,
		.skip = account->alike ? PW_SKIP(PW_NONE) : UINT32_MAX,
	};

	if (first & within || ~last & within || (account->alike && account->marked))
		return PW_BAD_ARGUMENT;
	for (unsigned int depth = 0; depth < paging->form->levels; depth++)
		a.alike[depth] = alike_bits(paging, &paging->form->level[depth], account->special);
	return pw_sweep_tapped(paging, memory, roots, &options, &tap, hook, arg, ret);
}

void pw_account_merge(const struct pw_account *account, const struct pw_account *other)
{
	const uint64_t frames = account->frames < other->frames ? account->frames : other->frames;

	for (uint64_t i = 0; i < frames; i++)
		account->uses[i] |= other->uses[i];
	for (uint64_t i = 0; account->counts && other->counts && i < frames; i++) {
		const unsigned int sum = account->counts[i] + other->counts[i];

		account->counts[i] = (uint8_t)(sum < UINT8_MAX ? sum : UINT8_MAX);
	}
}
