// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target (libFuzzer): any spans of any tables, compared with one walk for each page.
 *
 * The input: paging, options, spans, changes, then tables (fuzz_world.h). What is expected is what
 * the first span has, with the changes.
 *
 * Requirements: no crash; the runs are those that the walks give, in order; with a bound on work
 * they are the first of them; memory that is read directly or through the callback makes no
 * difference.
 */
#include "fuzz_world.h"
#include "sides_oracle.h"

#define SPANS 4
#define MOST_PAGES 80
#define MOST_SIDES (SPANS * MOST_PAGES)

struct got {
	struct pw_side sides[MOST_SIDES];
	size_t count;
};

static int collect(void *arg, const struct pw_side *sides, size_t count)
{
	struct got *got = arg;

	REQUIRE(count <= MOST_SIDES - got->count);
	memcpy(&got->sides[got->count], sides, count * sizeof(*sides));
	got->count += count;
	return 0;
}

static int run(const struct sides_oracle *o, uint64_t max_entries, struct got *got)
{
	uint64_t stopped_at = 0;
	int status;

	got->count = 0;
	status = pw_sides(o->paging, o->memory, o->roots, o->spans, o->count, o->expected,
			  o->expected_count, max_entries, collect, got, &stopped_at);
	REQUIRE(status == PW_OK || status == PW_TOO_MUCH_WORK || status == PW_BAD_ARGUMENT);
	return status;
}

static void take_spans(struct input *input, struct pw_span *spans, uint8_t shift)
{
	uint64_t address = take(input, 8);

	for (unsigned int i = 0; i < SPANS; i++) {
		uint64_t how = take(input, 1);

		if (how & 128)
			address = take(input, 8);
		spans[i] = (struct pw_span){
			.index = how & 1 ? take(input, how & 2 ? 8 : 1) : 0,
			.pages = take(input, 1) % MOST_PAGES,
			.address = how & 4 ? address : address >> shift << shift,
		};
		address += (how >> 3 & 7) << shift;
	}
}

/* Change the runs of an earlier call, but leave them in order and apart. */
static void change(struct got *expected, uint32_t how)
{
	for (size_t i = 0; i < expected->count; i++, how = how >> 3 | how << 29) {
		struct pw_side *one = &expected->sides[i];

		if ((how & 3) == 3 && one->paddr != PW_NO_PADDR)
			one->paddr += PAGE;
		if ((how & 7) == 2 && one->pages > 1)
			one->pages--;
		if ((how & 7) == 4)
			one->kind = PW_PROT_NONE;
	}
}

static void require_right(const struct sides_oracle *o, const struct got *got)
{
	struct pw_side wanted;

	REQUIRE(oracle_differs(o, got->sides, got->count, &wanted) == got->count);
}

static void require_first(const struct got *bounded, const struct got *got)
{
	REQUIRE(bounded->count <= got->count);
	for (size_t i = 0; i < bounded->count; i++) {
		const struct pw_side *one = &bounded->sides[i], *other = &got->sides[i];

		REQUIRE(one->index == other->index && one->paddr == other->paddr);
		REQUIRE(one->kind == other->kind && one->same == other->same);
		REQUIRE(one->pages == other->pages ||
			(i + 1 == bounded->count && one->pages < other->pages));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct got got, other, expected;
	struct input input = { data, size };
	struct world *world = new_world();
	struct pw_span spans[SPANS];
	struct sides_oracle o = {
		.paging = &world->paging, .memory = &world->memory, .roots = world->roots,
		.spans = spans, .count = SPANS,
	};
	uint64_t how, changes;

	if (!take_paging(world, &input))
		return -1;		/* not interesting */
	how = take(&input, 1);
	take_roots(world, &input, how & 1);
	take_spans(&input, spans, world->paging.form->page_shift);
	changes = take(&input, 4);
	take_entries(world, &input);

	use_callback(world);
	if (run(&o, 0, &got) == PW_BAD_ARGUMENT)
		return -1;
	require_right(&o, &got);
	if (how & 2) {
		o.count = 1;
		run(&o, 0, &expected);
		o.count = SPANS;
		change(&expected, (uint32_t)changes);
		o.expected = expected.sides;
		o.expected_count = expected.count;
		run(&o, 0, &got);
		require_right(&o, &got);
	}
	use_direct(world);
	run(&o, 0, &other);
	REQUIRE(other.count == got.count);
	REQUIRE(!memcmp(other.sides, got.sides, got.count * sizeof(*got.sides)));
	run(&o, 1 + (how >> 2), &other);
	require_first(&other, &got);
	return 0;
}
