// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts of all frames: how each is mapped and how often, and where some of them are. */
#include "internal.h"

/* Argument of the sweep's hook. */
struct accounting {
	const struct pw_account *account;
	const struct pw_paging *paging;
	uint64_t places_left;
	pw_range_fn *hook;
	void *arg;
};

/* Report the runs of pages whose frames are marked, one range per run. */
static int report_marked(struct accounting *a, const struct pw_range *range, uint64_t pfn,
		       uint64_t pages)
{
	const uint8_t *marked = a->account->marked;
	const unsigned int shift = a->paging->form->page_shift;

	for (uint64_t end, i = 0; i < pages && a->places_left; i = end) {
		struct pw_range place = *range;
		int err;

		end = i + 1;
		if (!marked[pfn + i])
			continue;
		while (end < pages && marked[pfn + end])
			end++;
		place.start = range->start + (i << shift);
		place.last = range->start + (end << shift) - 1;
		place.paddr = range->paddr + (i << shift);
		a->places_left--;
		err = a->hook(a->arg, &place, 1);
		if (err < 0)
			return err;
	}
	return 0;
}

static int account_range(struct accounting *a, const struct pw_range *range)
{
	const struct pw_account *account = a->account;
	const unsigned int shift = a->paging->form->page_shift;
	const bool special = range->entry & account->special;
	const uint8_t use = (uint8_t)(1u << range->memory_type) |
			    (special ? PW_USE_SPECIAL : PW_USE_NORMAL);
	const uint64_t pfn = range->paddr >> shift;
	uint64_t pages = (range->last >> shift) - (range->start >> shift) + 1;

	if (pfn >= account->frames)
		return 0;
	if (pages > account->frames - pfn)
		pages = account->frames - pfn;
	for (uint64_t i = 0; i < pages; i++)
		account->uses[pfn + i] |= use;
	if (account->counts && range->level == 1 && !special) {
		for (uint64_t i = 0; i < pages; i++)
			account->counts[pfn + i] += account->counts[pfn + i] < UINT8_MAX;
	}
	return account->marked ? report_marked(a, range, pfn, pages) : 0;
}

static int account_ranges(void *arg, const struct pw_range *ranges, size_t count)
{
	struct accounting *a = arg;

	for (size_t i = 0; i < count; i++) {
		int err;

		if (ranges[i].kind == PW_TABLE) {
			struct pw_range table = ranges[i];

			table.paddr = pw_address_of(a->paging, table.entry);
			err = a->hook(a->arg, &table, 1);
		} else {
			err = account_range(a, &ranges[i]);
		}
		if (err < 0)
			return err;
	}
	return 0;
}

int pw_account_add(const struct pw_account *account, const struct pw_paging *paging,
		   const struct pw_memory *memory, const uint64_t roots[2], uint64_t first,
		   uint64_t last, uint64_t max_entries, pw_range_fn *hook, void *arg,
		   struct pw_sweep_stats *ret)
{
	struct accounting a = { account, paging, account->most_places, hook, arg };
	const uint64_t within = (UINT64_C(1) << paging->form->page_shift) - 1;
	const struct pw_sweep_options options = {
		.first = first,
		.last = last,
		.max_entries = max_entries,
		.merge = PW_MERGE_FRAMES,
		.ignore = paging->form->ignorable & ~account->special,
		.shared_once = true,
		.each_table = true,
		.skip = ~(PW_SKIP(PW_LEAF) | PW_SKIP(PW_PROT_NONE) | PW_SKIP(PW_INVALIDATED) |
			  PW_SKIP(PW_TABLE)),
	};

	if (first & within || ~last & within)
		return PW_BAD_ARGUMENT;
	return pw_sweep(paging, memory, roots, &options, account_ranges, &a, ret);
}
