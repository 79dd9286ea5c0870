// SPDX-License-Identifier: GPL-2.0-or-later
/* VMAs and gathered fields of hand-made memory: maple trees and lists, whole and damaged. */
#include <stdlib.h>

#include "structs.h"
#include "tables.h"

#define DIRECT UINT64_C(0xffff888000000000)	/* the direct map, of physical memory from 0 on */
#define VMALLOC UINT64_C(0xffffc90000000000)	/* PGD 402: a page is mapped through page tables */

/* Offsets in struct mm_struct, and in struct vm_area_struct. */
#define FIRST 0x10
#define PGD 0x20
#define MAP_COUNT 0x28
#define NEXT 0x18

#define MM UINT64_C(0x7000)
#define VMA(n) (UINT64_C(0x8000) + (n) * 0x40)	/* physical */
#define NODE(n) (UINT64_C(0x9000) + (n) * 0x100)
#define AT(paddr) (DIRECT + (paddr))
#define V(n) AT(VMA(n))
/* maple_enode of include/linux/maple_tree.h: the address, the type, and bit 1 of a node. */
#define LEAF_64(n) (AT(NODE(n)) | 1 << 3 | 6)
#define RANGE_64(n) (AT(NODE(n)) | 2 << 3 | 6)
#define ARANGE_64(n) (AT(NODE(n)) | 3 << 3 | 6)
#define UNKNOWN(n) (AT(NODE(n)) | 4 << 3 | 6)
/* Words of nodes: pivots and slots of maple_range_64 and maple_arange_64, and the word of their end. */
#define P_(i) (1 + (i))
#define S_(i) (16 + (i))
#define E_ 31
#define AS_(i) (10 + (i))
#define AE_ 30

static const struct pw_mm_layout maple = {
	.pgd = PGD, .map_count = MAP_COUNT, .first = FIRST,
	.range = { 8, 15, 128, 248 }, .arange = { 8, 9, 80, 240 },
	.fields = { { { 0, 8 }, { 8, 8 } }, 2 },
};
static const struct pw_mm_layout list = {
	.pgd = PGD, .map_count = MAP_COUNT, .first = FIRST, .list = true, .next = NEXT,
	.fields = { { { 0, 8 }, { 8, 8 } }, 2 },
};

/* Words of memory, and the VMAs and losses that a walk finds in them. */
struct tree_case {
	const char *name;
	const struct pw_mm_layout *layout;
	uint64_t first;
	struct row rows[48];
	uint64_t vmas[8];
	struct {
		unsigned int kind;
		uint64_t address, value;
	} losses[5];
	struct pw_vma_limits limits;
	uint64_t map_count;
};

#define FULL_LEAF(n) \
	{ NODE(n), P_(0), 1 }, { NODE(n), P_(1), 2 }, { NODE(n), P_(2), 3 }, \
	{ NODE(n), P_(3), 4 }, { NODE(n), P_(4), 5 }, { NODE(n), P_(5), 6 }, \
	{ NODE(n), P_(6), 7 }, { NODE(n), P_(7), 8 }, { NODE(n), P_(8), 9 }, \
	{ NODE(n), P_(9), 10 }, { NODE(n), P_(10), 11 }, { NODE(n), P_(11), 12 }, \
	{ NODE(n), P_(12), 13 }, { NODE(n), P_(13), 14 }, { NODE(n), S_(0), V(0) }, \
	{ NODE(n), S_(13), V(1) }, { NODE(n), S_(14), V(2) }, { NODE(n), S_(15), V(3) }

static const struct tree_case cases[] = {
	{ "no VMA", &maple, 0 },
	{ "a root that is the only VMA", &maple, V(3), { { 0 } }, { V(3) } },
	{ "a root that is the reserved entry", &maple, 257 << 2 | 2 },
	{ "a leaf that meta.end cuts; zero entries are none", &maple, LEAF_64(0),
	  { { NODE(0), P_(0), 10 }, { NODE(0), P_(1), 20 }, { NODE(0), S_(0), V(0) },
	    { NODE(0), S_(1), 257 << 2 | 2 }, { NODE(0), S_(2), V(1) }, { NODE(0), S_(3), V(2) },
	    { NODE(0), E_, 2 } }, { V(0), V(1) } },
	{ "a full leaf: the last slot ends with the node", &maple, LEAF_64(0),
	  { FULL_LEAF(0), { NODE(0), P_(14), 15 } }, { V(0), V(1), V(2), V(3) } },
	{ "a leaf whose last pivot is the node's own", &maple, LEAF_64(0),
	  { FULL_LEAF(0), { NODE(0), P_(14), END } }, { V(0), V(1), V(2) } },
	{ "an end beyond the node", &maple, LEAF_64(0),
	  { { NODE(0), S_(0), V(0) }, { NODE(0), S_(14), V(1) }, { NODE(0), E_, 255 } },
	  { V(0), V(1), 255 }, { { 0 } } },
	{ "arange above range above leaves, in order", &maple, ARANGE_64(0),
	  { { NODE(0), P_(0), 100 }, { NODE(0), AS_(0), RANGE_64(1) },
	    { NODE(0), AS_(1), LEAF_64(2) }, { NODE(0), AS_(2), LEAF_64(5) }, { NODE(0), AE_, 1 },
	    { NODE(1), P_(0), 50 }, { NODE(1), S_(0), LEAF_64(3) }, { NODE(1), S_(1), LEAF_64(4) },
	    { NODE(1), E_, 1 }, { NODE(2), S_(0), V(4) }, { NODE(3), S_(0), V(0) },
	    { NODE(4), P_(0), 60 }, { NODE(4), S_(0), V(2) }, { NODE(4), S_(1), V(1) },
	    { NODE(4), E_, 1 }, { NODE(5), S_(0), V(5) } }, { V(0), V(2), V(1), V(4) } },
	{ "an arange with all slots, and an end beyond them", &maple, ARANGE_64(0),
	  { { NODE(0), AS_(9), LEAF_64(1) }, { NODE(0), AS_(8), LEAF_64(2) }, { NODE(0), AE_, 99 },
	    { NODE(1), S_(0), V(1) }, { NODE(2), S_(0), V(0) } }, { V(0), V(1) } },
	{ "the last pivot of a child is the pivot above it", &maple, RANGE_64(0),
	  { { NODE(0), P_(0), 77 }, { NODE(0), S_(0), LEAF_64(1) }, { NODE(0), S_(1), LEAF_64(2) },
	    { NODE(0), E_, 1 }, { NODE(2), S_(0), V(4) }, FULL_LEAF(1), { NODE(1), P_(14), 77 } },
	  { V(0), V(1), V(2), V(4) } },
	{ "the last pivot of a child is not the pivot above it", &maple, RANGE_64(0),
	  { { NODE(0), P_(0), 77 }, { NODE(0), S_(0), LEAF_64(1) }, { NODE(0), S_(1), LEAF_64(2) },
	    { NODE(0), E_, 1 }, { NODE(2), S_(0), V(4) }, FULL_LEAF(1), { NODE(1), P_(14), END } },
	  { V(0), V(1), V(2), V(3), V(4) } },
	{ "a node that is its own child", &maple, RANGE_64(0),
	  { { NODE(0), S_(0), RANGE_64(0) }, { NODE(0), S_(1), LEAF_64(1) }, { NODE(0), P_(0), 9 },
	    { NODE(0), E_, 1 }, { NODE(1), S_(0), V(0) } }, { V(0) },
	  { { PW_LOSS_NODE_TWICE, AT(NODE(0)), 0 } } },
	{ "a VMA twice", &maple, LEAF_64(0),
	  { { NODE(0), P_(0), 1 }, { NODE(0), P_(1), 2 }, { NODE(0), S_(0), V(0) },
	    { NODE(0), S_(1), V(0) }, { NODE(0), S_(2), V(1) }, { NODE(0), E_, 2 } }, { V(0), V(1) },
	  { { PW_LOSS_VMA_TWICE, V(0), 0 } } },
	{ "an unknown type", &maple, RANGE_64(0),
	  { { NODE(0), S_(0), UNKNOWN(1) }, { NODE(0), S_(1), LEAF_64(2) }, { NODE(0), P_(0), 9 },
	    { NODE(0), E_, 1 }, { NODE(2), S_(0), V(0) } }, { V(0) },
	  { { PW_LOSS_NODE_TYPE, AT(NODE(1)), 4 } } },
	{ "a node that cannot be read", &maple, RANGE_64(0),
	  { { NODE(0), S_(0), AT(UINT64_C(0x70000000)) | 1 << 3 | 6 }, { NODE(0), S_(1), LEAF_64(2) },
	    { NODE(0), P_(0), 9 }, { NODE(0), E_, 1 }, { NODE(2), S_(0), V(0) } }, { V(0) },
	  { { PW_LOSS_NODE, AT(UINT64_C(0x70000000)), AT(UINT64_C(0x70000000)) } } },
	{ "more losses than are kept", &maple, RANGE_64(0),
	  { { NODE(0), S_(0), UNKNOWN(1) }, { NODE(0), S_(1), UNKNOWN(2) },
	    { NODE(0), S_(2), UNKNOWN(3) }, { NODE(0), S_(3), UNKNOWN(4) }, { NODE(0), E_, 3 } },
	  { 0 },
	  { { PW_LOSS_NODE_TYPE, AT(NODE(1)), 4 }, { PW_LOSS_NODE_TYPE, AT(NODE(2)), 4 },
	    { PW_LOSS_NODE_TYPE, AT(NODE(3)), 4 }, { PW_LOSS_NODE_TYPE, AT(NODE(4)), 4 } } },
	{ "a limit of nodes", &maple, RANGE_64(0),
	  { { NODE(0), S_(0), LEAF_64(1) }, { NODE(0), S_(1), LEAF_64(2) }, { NODE(0), P_(0), 9 },
	    { NODE(0), E_, 1 }, { NODE(1), S_(0), V(0) }, { NODE(2), S_(0), V(1) } }, { V(0) },
	  { { PW_LOSS_NODES, AT(NODE(2)), 2 } }, { .nodes = 2 } },
	{ "fewer VMAs than map_count", &maple, V(0), { { 0 } }, { V(0) },
	  { { PW_LOSS_MAP_COUNT, 1, 5 } }, { 0 }, 5 },
	{ "a map_count below 0", &maple, V(0), { { 0 } }, { V(0) }, { { 0 } }, { 0 }, 0xfffffff0 },
	{ "a limit of the result", &maple, LEAF_64(0),
	  { { NODE(0), P_(0), 1 }, { NODE(0), S_(0), V(0) }, { NODE(0), S_(1), V(1) },
	    { NODE(0), E_, 1 } }, { V(0) },
	  { { PW_LOSS_VMAS, V(1), 1 } }, { .records = 1 } },

	{ "a list", &list, V(1), { { VMA(1), 3, V(0) }, { VMA(0), 3, V(2) } }, { V(1), V(0), V(2) } },
	{ "an empty list", &list, 0 },
	{ "a list in circles", &list, V(1), { { VMA(1), 3, V(0) }, { VMA(0), 3, V(1) } }, { V(1), V(0) },
	  { { PW_LOSS_CIRCLE, V(1), 0 } } },
	{ "a list without an end", &list, V(1), { { VMA(1), 3, V(0) }, { VMA(0), 3, V(2) } },
	  { V(1), V(0) }, { { PW_LOSS_VMAS, V(2), 2 } }, { .vmas = 2 } },
	{ "a list that leads nowhere", &list, V(0), { { VMA(0), 3, 0x10 } }, { V(0), 0x10 },
	  { { PW_LOSS_LINK, 0x10, 0x10 + NEXT } } },
};

static struct pw_kernel kernel_of(const struct tables *tables)
{
	return (struct pw_kernel){ .paging = &four_levels, .memory = &tables->memory,
				   .roots = { ROOT, ROOT }, .direct_first = DIRECT,
				   .direct_last = DIRECT + BIT(46) - 1 };
}

/* The words of an mm, and its first word. */
static void put_mm(struct tables *tables, uint64_t mm, uint64_t first, uint64_t map_count)
{
	tables_put(tables, mm, FIRST / 8, first);
	tables_put(tables, mm, PGD / 8, 0xabcdef);
	tables_put(tables, mm, MAP_COUNT / 8, map_count | BIT(40));
}

static int read_vmas(struct tables *tables, const uint64_t *mms, size_t count,
		     const struct pw_mm_layout *layout, const struct pw_vma_limits *limits,
		     struct pw_vma_result *ret)
{
	const struct pw_kernel kernel = kernel_of(tables);
	const struct pw_column column = { mms, count, sizeof(*mms) };

	*ret = (struct pw_vma_result){ 0 };
	return pw_vmas(&kernel, &column, layout, limits, ret);
}

static void check_losses(const struct tree_case *it, const struct pw_vma_result *got)
{
	size_t count = 0;

	while (count < 5 && it->losses[count].kind)
		count++;
	CHECK_SAME("losses", got->mms.words[6], count);
	if (count > PW_LOSSES_KEPT)
		count = PW_LOSSES_KEPT;
	CHECK_SAME("words of losses", got->losses.count, count * PW_LOSS_WORDS);
	for (size_t i = 0; i < count && got->losses.count >= (i + 1) * PW_LOSS_WORDS; i++) {
		const uint64_t *loss = &got->losses.words[i * PW_LOSS_WORDS];

		CHECK_SAME("owner", loss[0], 0);
		CHECK_SAME("kind", loss[1], it->losses[i].kind);
		CHECK_SAME("address", loss[2], it->losses[i].address);
		CHECK_SAME("value", loss[3], it->losses[i].value);
	}
}

static void check_case(const struct tree_case *it, bool direct, bool still)
{
	struct pw_vma_limits limits = it->limits;
	struct pw_vma_result got;
	struct tables tables;
	size_t count = 0;

	test_name = it->name;
	tables_init(&tables, it->rows, MEMORY_BYTES, direct);
	put_mm(&tables, MM, it->first, it->map_count);
	for (unsigned int i = 0; i < 8; i++)
		tables_put(&tables, VMA(i), 1, 100 + i);
	limits.still = still;
	CHECK_SAME("status", read_vmas(&tables, (uint64_t[]){ AT(MM) }, 1, it->layout, &limits, &got),
		   PW_OK);
	while (it->vmas[count])
		count++;
	CHECK_SAME("mm", got.mms.words[0], AT(MM));
	CHECK_SAME("pgd", got.mms.words[1], 0xabcdef);
	CHECK_SAME("map_count before", got.mms.words[2], it->map_count);
	CHECK_SAME("map_count after", got.mms.words[3], it->map_count);
	CHECK_SAME("VMAs", got.mms.words[5], count);
	CHECK_SAME("walks", got.mms.words[7], still ? 1 : 2);
	CHECK_SAME("words", got.vmas.count, count * 4);
	for (size_t i = 0; i < count && got.vmas.count == count * 4; i++) {
		const uint64_t *vma = &got.vmas.words[i * 4];

		CHECK_SAME("VMA", vma[1], it->vmas[i]);
		CHECK_SAME("field", vma[3], it->vmas[i] < DIRECT ? 0
			   : 100 + (it->vmas[i] - V(0)) / 0x40);
		if (it->vmas[i] < DIRECT) {
			CHECK_SAME("fault", got.faults.count, PW_FAULT_WORDS);
			CHECK_SAME("row", got.faults.words[0], i);
			CHECK_SAME("reason", got.faults.words[2], PW_NONE);
		}
	}
	check_losses(it, &got);
	pw_vma_result_deinit(&got);
	tables_deinit(&tables);
}

/* Memory that changes with its reads. */
struct changing {
	struct tables *tables;
	unsigned int reads, times;
};

/* VMAs that are mapped or unmapped meanwhile are not missing: the lower map_count decides. */
static int read_counting(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct changing *changing = arg;
	const struct pw_memory *memory = &changing->tables->memory;

	if (paddr == MM)
		tables_put(changing->tables, MM, MAP_COUNT / 8, changing->reads += changing->times);
	return memory->read(memory->arg, paddr, data, length);
}

static void check_counting(unsigned int first, int step, uint64_t expected)
{
	static const struct row none[] = { { 0 } };
	const uint64_t mms[] = { AT(MM) };
	const struct pw_column column = { mms, 1, sizeof(*mms) };
	struct changing changing = { .reads = first, .times = (unsigned int)step };
	const struct pw_memory memory = { .read = read_counting, .arg = &changing };
	struct pw_vma_result got = { 0 };
	struct pw_kernel kernel;
	struct tables tables;

	tables_init(&tables, none, MEMORY_BYTES, false);
	put_mm(&tables, MM, V(0), 0);
	changing.tables = &tables;
	kernel = kernel_of(&tables);
	kernel.memory = &memory;
	CHECK_SAME("status", pw_vmas(&kernel, &column, &maple, &(struct pw_vma_limits){ 0 }, &got),
		   PW_OK);
	CHECK_SAME("before", got.mms.words[2], first + (unsigned int)step);
	CHECK_SAME("after", got.mms.words[3], first + 3 * (unsigned int)step);
	CHECK_SAME("losses", got.mms.words[6], expected ? 1 : 0);
	if (expected)
		CHECK_SAME("expected", got.losses.words[3], expected);
	pw_vma_result_deinit(&got);
	tables_deinit(&tables);
}

/* A word is another one each time that its page is read, a number of times. */

static int read_changing(void *arg, uint64_t paddr, void *data, size_t length)
{
	struct changing *changing = arg;
	const struct pw_memory *memory = &changing->tables->memory;

	if (paddr == NODE(0)) {
		changing->reads++;
		if (changing->reads <= changing->times)
			tables_put(changing->tables, NODE(0), S_(0), V(changing->reads % 2));
	}
	return memory->read(memory->arg, paddr, data, length);
}

static void check_changing(unsigned int times, uint64_t walks, uint64_t losses)
{
	static const struct row rows[] = { { NODE(0), S_(0), V(0) }, { NODE(0), S_(1), V(5) },
					   { NODE(0), P_(0), 9 }, { NODE(0), E_, 1 }, { 0 } };
	const uint64_t mms[] = { AT(MM), AT(MM) };
	const struct pw_column column = { mms, 2, sizeof(*mms) };
	struct pw_vma_result got = { 0 };
	struct changing changing = { .times = times };
	const struct pw_memory memory = { .read = read_changing, .arg = &changing };
	struct pw_kernel kernel;
	struct tables tables;

	tables_init(&tables, rows, 1, false);
	put_mm(&tables, MM, LEAF_64(0), 2);
	tables_put(&tables, VMA(0), 0, 1000);
	tables_put(&tables, VMA(1), 0, 1001);
	changing.tables = &tables;
	kernel = kernel_of(&tables);
	kernel.memory = &memory;
	CHECK_SAME("status", pw_vmas(&kernel, &column, &maple, &(struct pw_vma_limits){ 0 }, &got),
		   PW_OK);
	for (size_t i = 0; i < 2; i++) {
		const uint64_t *mm = &got.mms.words[i * PW_MM_WORDS];
		const uint64_t *vma = &got.vmas.words[mm[4] * 4];

		CHECK_SAME("walks", mm[7], walks);
		CHECK_SAME("VMAs", mm[5], 2);
		CHECK_SAME("losses", mm[6], losses);
		CHECK_SAME("mm", vma[0], i);
		CHECK_SAME("VMA", vma[1], V((times < 9 ? times : 9) % 2));
		CHECK_SAME("its field", vma[2], 1000 + (times < 9 ? times : 9) % 2);
	}
	if (losses)
		CHECK_SAME("kind", got.losses.words[1], PW_LOSS_CHANGING);
	pw_vma_result_deinit(&got);
	tables_deinit(&tables);
}

/* An mm that cannot be read does not end the call, nor do pages that a dump omits. */
static void check_unreadable(void)
{
	static const struct row none[] = { { 0 } };
	const uint64_t mms[] = { 0, AT(0x6800), AT(MM), AT(MM + 0xfe0) };
	struct pw_vma_result got;
	struct tables tables;

	test_name = "mms that cannot be read";
	tables_init(&tables, none, 0x8000, false);
	put_mm(&tables, 0x6800, 0, 0);
	put_mm(&tables, MM, V(1), 1);
	CHECK_SAME("status", read_vmas(&tables, mms, 4, &maple, &(struct pw_vma_limits){ 0 }, &got),
		   PW_OK);
	CHECK_SAME("mms", got.mms.count, 4 * PW_MM_WORDS);
	CHECK_SAME("losses of 0", got.mms.words[6], 1);
	CHECK_SAME("walks of 0", got.mms.words[7], 0);
	CHECK_SAME("losses of an empty one", got.mms.words[PW_MM_WORDS + 6], 0);
	CHECK_SAME("VMAs", got.vmas.count, 4);
	CHECK_SAME("faults", got.faults.count, PW_FAULT_WORDS);
	CHECK_SAME("address", got.faults.words[1], V(1));
	CHECK_SAME("reason", got.faults.words[2], PW_EXCLUDED);
	CHECK_SAME("losses", got.losses.count, 2 * PW_LOSS_WORDS);
	CHECK_SAME("kind", got.losses.words[1], PW_LOSS_MM);
	CHECK_SAME("address", got.losses.words[3], MAP_COUNT);
	CHECK_SAME("reason", got.losses.words[4], PW_NONE);
	CHECK_SAME("owner", got.losses.words[5], 3);
	CHECK_SAME("kind", got.losses.words[6], PW_LOSS_MM);
	CHECK_SAME("address", got.losses.words[8], AT(0x8008));
	CHECK_SAME("reason", got.losses.words[9], PW_EXCLUDED);
	pw_vma_result_deinit(&got);
	tables_deinit(&tables);
}

static void check_layouts(void)
{
	static const struct row none[] = { { 0 } };
	struct pw_mm_layout layout = maple;
	struct pw_vma_result got;
	struct tables tables;

	test_name = "layouts that are not valid";
	tables_init(&tables, none, MEMORY_BYTES, true);
#define REFUSED(member, value, good) do { 		layout.member = (value); 		CHECK_SAME(#member, read_vmas(&tables, NULL, 0, &layout, 					      &(struct pw_vma_limits){ 0 }, &got), PW_BAD_ARGUMENT); 		layout.member = (good); 	} while (0)
	REFUSED(range.pivots, 0, 15);
	REFUSED(range.pivots, 32, 15);
	REFUSED(range.pivot, 137, 8);
	REFUSED(range.slot, 129, 128);
	REFUSED(range.end, 256, 248);
	REFUSED(arange.slot, UINT32_MAX, 80);
	REFUSED(fields.count, 0, 2);
	REFUSED(fields.count, 17, 2);
	REFUSED(fields.field[1].bytes, 3, 8);
	CHECK_SAME("good", read_vmas(&tables, NULL, 0, &layout, &(struct pw_vma_limits){ 0 }, &got),
		   PW_OK);
	tables_deinit(&tables);
}

void test_structs(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		for (unsigned int how = 0; how < 4; how++)
			check_case(&cases[i], how & 1, how & 2);
	}
	test_name = "VMAs that do not change";
	check_changing(0, 2, 0);
	test_name = "VMAs that change once";
	check_changing(2, 3, 0);
	test_name = "VMAs that change for a while";
	check_changing(5, 6, 0);
	test_name = "VMAs that keep changing";
	check_changing(1000, 9, 1);
	test_name = "a map_count that grows";
	check_counting(0, 1, 0);
	test_name = "a map_count that shrinks";
	check_counting(5, -1, 2);
	check_unreadable();
	check_layouts();
}
