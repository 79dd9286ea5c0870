// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VMAs of many address spaces, each walked until two consecutive walks agree.
 *
 * The kernel copies nodes of the tree when it changes, so one walk may miss a VMA that exists all
 * along. Address spaces are walked a batch at a time: pages are read once for the whole batch, but
 * what they held is soon old. The look after the fields shows whether the VMAs were still there when
 * the fields were read. Each further look is at those that changed, so it takes less time.
 */
#include <stdlib.h>
#include <string.h>

#include "structs_internal.h"

#define BATCH 4096
/* Walks after the first. */
#define MORE_WALKS 8
/* Nodes and links that a call may read: for each record of its result, and in any case. */
#define WORK_PER_RECORD 4
#define WORK (UINT64_C(1) << 20)

struct space {
	uint64_t address, pgd, before, after, walks;
	struct pw_words list;		/* addresses of VMAs, as many as the result may still have */
	size_t most;			/* VMAs that are kept, one more than the result may have */
	size_t found;			/* VMAs before the list was cut */
	size_t row;			/* of the first VMA, in the batch's rows */
	struct pw_losses losses;
	bool done;
};

/* The state of a call. */
struct vmas {
	const struct pw_mm_layout *layout;
	uint64_t max_records;
	size_t width;			/* words of a VMA in the result */
	struct pw_reader reader;
	struct pw_vma_walk walk;
	struct pw_words list;		/* of the walk that is compared */
	size_t kept;			/* VMAs of the batch, and of the result before it */
	/* Of a batch: addresses of VMAs; their rows as in the result; what of them is unreadable. */
	struct pw_words addresses, rows, faults;
	struct pw_vma_result *ret;
	size_t room;
	struct space spaces[];		/* room for a batch */
};

static void lose(struct pw_losses *losses, enum pw_loss_kind kind, uint64_t address, uint64_t value,
		 int reason)
{
	pw_losses_add(losses, &(struct pw_loss){ .kind = kind, .address = address, .value = value,
						 .reason = (uint64_t)reason });
}

/* Read one number of an mm. Returns 0 (also for a loss), or what ends the call. */
static int read_mm(struct vmas *vmas, struct space *space, uint32_t offset, uint32_t bytes,
		   enum pw_loss_kind kind, uint64_t *ret, bool *good)
{
	const uint64_t address = space->address + offset;
	unsigned char buffer[8];
	const void *data;
	uint64_t fault;
	int err = pw_read_virtual(&vmas->reader, address, bytes, buffer, &data, &fault);

	if (err < 0)
		return err;
	*good = !err;
	if (err)
		lose(&space->losses, kind, kind == PW_LOSS_MM ? space->address : address, fault, err);
	else if (bytes == sizeof(uint32_t))
		*ret = pw_load_small(data, sizeof(uint32_t));
	else
		*ret = pw_load(data, 0);
	return 0;
}

/* Walk an mm once. The losses are those of this walk. */
static int walk_once(struct vmas *vmas, struct space *space, struct pw_words *list)
{
	struct pw_vma_walk *walk = &vmas->walk;
	uint64_t first;
	bool good;
	int err;

	space->walks++;
	space->found = 0;
	space->losses = (struct pw_losses){ 0 };
	list->count = 0;
	err = read_mm(vmas, space, vmas->layout->first, 8, PW_LOSS_ROOT, &first, &good);
	if (err || !good)
		return err;
	walk->found = list;
	walk->losses = &space->losses;
	err = vmas->layout->list ? pw_walk_list(walk, first) : pw_walk_maple(walk, first);
	space->found = list->count;
	if (list->count > space->most) {
		list->count = space->most;
		pw_words_shrink(list);
	}
	return err;
}

/* The first look at an mm. */
static int begin(struct vmas *vmas, struct space *space, uint64_t address)
{
	bool good;
	int err;

	space->address = address;
	space->pgd = space->before = space->after = space->walks = 0;
	space->losses = (struct pw_losses){ 0 };
	space->list.count = space->found = space->row = 0;
	space->most = (size_t)(vmas->max_records - vmas->kept) + 1;
	space->done = true;
	err = read_mm(vmas, space, vmas->layout->map_count, 4, PW_LOSS_MM, &space->before, &good);
	if (!err && good)
		err = read_mm(vmas, space, vmas->layout->pgd, 8, PW_LOSS_MM, &space->pgd, &good);
	if (err || !good)
		return err;
	space->done = false;
	err = walk_once(vmas, space, &space->list);
	vmas->kept += space->list.count < space->most ? space->list.count : space->most - 1;
	return err;
}

/* Read the fields of the VMAs of all address spaces that are not done. */
static int read_fields(struct vmas *vmas, size_t count)
{
	const size_t first = vmas->rows.count / vmas->width;
	struct pw_words *addresses = &vmas->addresses;
	struct pw_column column;

	if (!pw_reader_again(&vmas->reader))
		return PW_NO_MEMORY;
	addresses->count = 0;
	for (size_t i = 0; i < count; i++) {
		struct space *space = &vmas->spaces[i];
		uint64_t *to;

		if (space->done || !space->list.count)
			continue;
		space->row = first + addresses->count;
		to = pw_words_add(addresses, space->list.count);
		if (!to)
			return PW_NO_MEMORY;
		memcpy(to, space->list.words, space->list.count * sizeof(*to));
	}
	if (!addresses->count)
		return PW_OK;
	if (!pw_words_add(&vmas->rows, addresses->count * vmas->width))
		return PW_NO_MEMORY;
	column = (struct pw_column){ addresses->words, addresses->count, sizeof(uint64_t) };
	return pw_gather_rows(&vmas->reader, &column, &vmas->layout->fields,
			      &vmas->rows.words[first * vmas->width + PW_VMA_WORDS], vmas->width,
			      first, &vmas->faults);
}

/* Walk again, and compare. */
static int look_again(struct vmas *vmas, struct space *space)
{
	struct pw_words list;
	int err = walk_once(vmas, space, &vmas->list);

	if (err)
		return err;
	if (vmas->list.count == space->list.count &&
	    (!vmas->list.count || !memcmp(vmas->list.words, space->list.words,
					  vmas->list.count * sizeof(*vmas->list.words)))) {
		space->done = true;
		return PW_OK;
	}
	list = space->list;
	space->list = vmas->list;
	vmas->list = list;
	return PW_OK;
}

/* Read map_count again, and compare the number of VMAs with it. */
static int finish(struct vmas *vmas, struct space *space)
{
	int32_t before, after, expected;
	bool good;
	int err;

	if (!space->walks)
		return PW_OK;		/* the mm was unreadable */
	err = read_mm(vmas, space, vmas->layout->map_count, 4, PW_LOSS_MM, &space->after, &good);
	if (err || !good)
		return err;
	/* VMAs that were mapped or unmapped during the walks are not missing. */
	before = (int32_t)(uint32_t)space->before;
	after = (int32_t)(uint32_t)space->after;
	expected = before < after ? before : after;
	if (expected > 0 && space->found < (uint32_t)expected)
		lose(&space->losses, PW_LOSS_MAP_COUNT, space->found, (uint64_t)expected, 0);
	return PW_OK;
}

/* One look at all address spaces that need one. */
static int look_at_open(struct vmas *vmas, size_t count)
{
	if (!pw_reader_again(&vmas->reader))
		return PW_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		struct space *space = &vmas->spaces[i];
		int err = space->done ? PW_OK : look_again(vmas, space);

		if (err)
			return err;
	}
	return PW_OK;
}

static bool any_open(const struct vmas *vmas, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!vmas->spaces[i].done)
			return true;
	}
	return false;
}

static int settle(struct vmas *vmas, size_t count, bool still)
{
	int err = read_fields(vmas, count);

	for (unsigned int i = 0; !err && !still && i < MORE_WALKS && any_open(vmas, count); i++) {
		if (i)
			err = read_fields(vmas, count);
		if (!err)
			err = look_at_open(vmas, count);
	}
	if (err || still || !any_open(vmas, count))
		return err;
	for (size_t i = 0; i < count; i++) {
		if (!vmas->spaces[i].done)
			lose(&vmas->spaces[i].losses, PW_LOSS_CHANGING, 0, vmas->spaces[i].walks, 0);
	}
	/* What was read last belongs to the walk before the last. */
	return read_fields(vmas, count);
}

/* The first fault of a row of the batch, or of a row after it. */
static size_t fault_of(const struct pw_words *faults, size_t row)
{
	size_t low = 0, high = faults->count / PW_FAULT_WORDS;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (faults->words[middle * PW_FAULT_WORDS] < row)
			low = middle + 1;
		else
			high = middle;
	}
	return low * PW_FAULT_WORDS;
}

/* Add the VMAs of an mm to the result. in_place: its rows are where they are in the result. */
static bool add_records(struct vmas *vmas, struct space *space, uint64_t number, bool in_place)
{
	const size_t width = vmas->width, first = vmas->ret->vmas.count / width;
	const uint64_t room = vmas->max_records - first;
	size_t count = space->list.count;
	uint64_t *to;

	if (count > room)
		count = (size_t)room;
	if (space->found > count)
		lose(&space->losses, PW_LOSS_VMAS,
		     space->list.count > count ? space->list.words[count] : 0, count, 0);
	space->list.count = count;
	if (!count)
		return true;
	to = pw_words_add(&vmas->ret->vmas, count * width);
	if (!to)
		return false;
	if (!in_place)
		memcpy(to, &vmas->rows.words[space->row * width], count * width * sizeof(*to));
	for (size_t i = 0; i < count; i++, to += width) {
		to[0] = number;
		to[1] = space->list.words[i];
	}
	for (size_t i = fault_of(&vmas->faults, space->row); i < vmas->faults.count;
	     i += PW_FAULT_WORDS) {
		const uint64_t *from = &vmas->faults.words[i];

		if (from[0] >= space->row + count)
			break;
		to = pw_words_add(&vmas->ret->faults, PW_FAULT_WORDS);
		if (!to)
			return false;
		to[0] = first + (from[0] - space->row);
		to[1] = from[1];
		to[2] = from[2];
	}
	return true;
}

/*
 * Make the batch's rows the result, if they are all of it and in order. That saves a copy of what is
 * by far the largest array.
 */
static bool take_rows(struct vmas *vmas, size_t count)
{
	size_t row = 0;

	if (vmas->ret->vmas.words)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct space *space = &vmas->spaces[i];

		if (space->list.count && space->row != row)
			return false;
		row += space->list.count;
	}
	vmas->ret->vmas = vmas->rows;
	vmas->ret->vmas.count = 0;
	vmas->rows = (struct pw_words){ 0 };
	return true;
}

static bool add_space(struct vmas *vmas, struct space *space, uint64_t number, bool in_place)
{
	const uint64_t first = vmas->ret->vmas.count / vmas->width;
	uint64_t *to;

	if (!add_records(vmas, space, number, in_place))
		return false;
	for (size_t i = 0; i < PW_LOSSES_KEPT && i < space->losses.count; i++) {
		const struct pw_loss *loss = &space->losses.kept[i];

		to = pw_words_add(&vmas->ret->losses, PW_LOSS_WORDS);
		if (!to)
			return false;
		to[0] = number;
		to[1] = loss->kind;
		to[2] = loss->address;
		to[3] = loss->value;
		to[4] = loss->reason;
	}
	to = pw_words_add(&vmas->ret->mms, PW_MM_WORDS);
	if (!to)
		return false;
	to[0] = space->address;
	to[1] = space->pgd;
	to[2] = space->before;
	to[3] = space->after;
	to[4] = first;
	to[5] = space->list.count;
	to[6] = space->losses.count;
	to[7] = space->walks;
	return true;
}

/* From one batch of mms to their part of the result. */
static int read_batch(struct vmas *vmas, const struct pw_column *mms, size_t first, size_t count,
		      bool still)
{
	bool in_place;
	int err;

	vmas->kept = vmas->ret->vmas.count / vmas->width;
	vmas->rows.count = vmas->faults.count = 0;
	if (!pw_reader_again(&vmas->reader))
		return PW_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		err = begin(vmas, &vmas->spaces[i], pw_column_at(mms, first + i));
		if (err)
			return err;
	}
	err = settle(vmas, count, still);
	if (err)
		return err;
	if (!pw_reader_again(&vmas->reader))
		return PW_NO_MEMORY;
	in_place = take_rows(vmas, count);
	for (size_t i = 0; i < count; i++) {
		err = finish(vmas, &vmas->spaces[i]);
		if (err)
			return err;
		if (!add_space(vmas, &vmas->spaces[i], first + i, in_place))
			return PW_NO_MEMORY;
	}
	return PW_OK;
}

static void vmas_deinit(struct vmas *vmas)
{
	for (size_t i = 0; i < vmas->room; i++)
		free(vmas->spaces[i].list.words);
	free(vmas->list.words);
	free(vmas->addresses.words);
	free(vmas->rows.words);
	free(vmas->faults.words);
	free(vmas->walk.todo.words);
	pw_seen_deinit(&vmas->walk.nodes);
	pw_seen_deinit(&vmas->walk.vmas);
	free(vmas);
}

static uint64_t or_else(uint64_t number, uint64_t otherwise)
{
	return number ? number : otherwise;
}

int pw_vmas(const struct pw_kernel *kernel, const struct pw_column *mms,
	    const struct pw_mm_layout *layout, const struct pw_vma_limits *limits,
	    struct pw_vma_result *ret)
{
	const size_t room = mms->count < BATCH ? mms->count : BATCH;
	uint64_t budget;
	struct vmas *vmas;
	int err = PW_OK;

	if (!pw_kernel_valid(kernel) || !pw_fields_valid(&layout->fields) ||
	    (!layout->list && !pw_maple_valid(layout)))
		return PW_BAD_ARGUMENT;
	vmas = calloc(1, sizeof(*vmas) + room * sizeof(*vmas->spaces));
	if (!vmas)
		return PW_NO_MEMORY;
	vmas->room = room;
	vmas->layout = layout;
	vmas->max_records = or_else(limits->records, PW_MAX_RECORDS);
	vmas->width = PW_VMA_WORDS + layout->fields.count;
	vmas->ret = ret;
	if (vmas->max_records > PW_MOST_RECORDS)
		vmas->max_records = PW_MOST_RECORDS;
	budget = WORK + vmas->max_records * WORK_PER_RECORD;
	vmas->walk = (struct pw_vma_walk){
		.reader = &vmas->reader,
		.layout = layout,
		.max_nodes = or_else(limits->nodes, PW_MAX_MAPLE_NODES),
		.max_vmas = or_else(limits->vmas, PW_MAX_VMAS),
		.budget = &budget,
	};
	if (!pw_reader_init(&vmas->reader, kernel))
		err = PW_NO_MEMORY;
	for (size_t first = 0; !err && first < mms->count; first += BATCH) {
		size_t count = mms->count - first < BATCH ? mms->count - first : BATCH;

		err = read_batch(vmas, mms, first, count, limits->still);
	}
	pw_reader_deinit(&vmas->reader);
	vmas_deinit(vmas);
	return err;
}

void pw_vma_result_deinit(struct pw_vma_result *result)
{
	free(result->mms.words);
	free(result->vmas.words);
	free(result->faults.words);
	free(result->losses.words);
}
