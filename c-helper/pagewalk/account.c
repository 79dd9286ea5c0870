// SPDX-License-Identifier: GPL-2.0-or-later
/* Accounts of all frames: how each is mapped and how often, and where some of them are. */
#include "internal.h"

/* What the hook is told. */
struct accounting {
	const struct pw_account *account;
	const struct pw_paging *paging;
	uint64_t places_left;
	pw_range_fn *hook;
	void *arg;
};

/* Tell the runs of pages whose frames are marked: one range each. */
static int tell_marked(struct accounting *a, const struct pw_range *range, uint64_t pfn,
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
	return account->marked ? tell_marked(a, range, pfn, pages) : 0;
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
		   const struct pw_memory *memory, const uint64_t roots[2],
		   const struct pw_sweep_options *options, pw_range_fn *hook, void *arg,
		   struct pw_sweep_stats *ret)
{
	struct accounting a = { account, paging, account->most_places, hook, arg };
	struct pw_sweep_options all = *options;
	const uint64_t within = (UINT64_C(1) << paging->form->page_shift) - 1;

	if (options->first & within || ~options->last & within)
		return PW_BAD_ARGUMENT;
	all.merge = PW_MERGE_FRAMES;
	all.ignore = paging->form->ignorable & ~account->special;
	all.each_table = true;
	all.skip = ~(PW_SKIP(PW_LEAF) | PW_SKIP(PW_PROT_NONE) | PW_SKIP(PW_INVALIDATED) |
		     PW_SKIP(PW_TABLE));
	return pw_sweep(paging, memory, roots, &all, account_ranges, &a, ret);
}

/* A field of a record: any eight bytes of it. */
static uint64_t field_of(const unsigned char *record, uint32_t offset)
{
	return le64toh(*(const pw_unaligned *)(record + offset));
}

int pw_classify(const void *records, size_t count, size_t record_bytes,
		const struct pw_class *classes, size_t class_count, uint8_t follows, uint8_t *ret)
{
	const unsigned char *record = records;

	for (size_t c = 0; c < class_count; c++) {
		if (record_bytes < 8 || classes[c].offset > record_bytes - 8)
			return PW_BAD_ARGUMENT;
	}
	for (size_t i = 0; i < count; i++, record += record_bytes) {
		uint8_t class = 0;

		for (size_t c = 0; c < class_count; c++) {
			const struct pw_class *it = &classes[c];

			if ((field_of(record, it->offset) & it->mask) == it->value)
				class |= it->class;
		}
		/* What follows another record, as a tail page its head, is of its class too. */
		if (class & follows)
			class |= i ? ret[i - 1] : 0;
		ret[i] = class;
	}
	return PW_OK;
}
