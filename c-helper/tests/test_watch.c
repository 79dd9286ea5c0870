// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What runs at a breakpoint, on hand-made hits. Real hardware hits all breakpoints of an access, which the
 * lab's emulated CPUs do not.
 */
#include "bpf_run.h"

#define MM 0xffff888003333000ULL
#define OTHER_MM 0xffff888004444000ULL
#define ADDRESS 0x7f0000000004ULL
#define NUMBER 7
#define OWN 99
#define PID (((uint64_t)42 << 32) | 43)
#define IP 16
#define CS 17
#define KERNEL_CS 0x10
#define USER_CS 0x33
/* Rows of the events of one piece: for writes first. */
enum { WRITE_0, ANY_0, WRITE_1, ANY_1 };

static const struct watch_kernel kernel = {
	.per_cpu_offset = PER_CPU_OFFSET, .preempt_count = PREEMPT_COUNT, .task_mm = TASK_MM,
	.own_tgid = OWN,
};

static bool emulated;

/* A hit of the breakpoint of an event. Emulated: each piece is a spot. */
static void hit(struct world *world, int event, bool user, bool stack)
{
	const struct watch_spec spec = {
		.kernel = &kernel, .address = ADDRESS, .length = 4, .user = user,
		.places = PLACES_MAP, .counts = COUNTS_MAP, .ring = RING_MAP, .events = EVENTS_MAP,
		.cpus = WORLD_CPUS, .event = (uint32_t)event,
		.spot = emulated ? (uint32_t)event / 2 : 1, .emulated = emulated,
		.write = event == WRITE_0 || event == WRITE_1, .stack = stack,
	};
	struct watch_program program;

	CHECK(watch_build(&spec, &program), "the program is too long");
	world_run(world, &program, stack);
	CHECK(!world->reserved, "a record is reserved and not submitted");
}

static struct watch_counts *row(struct world *world, uint32_t number)
{
	return &world->counts[number * WORLD_CPUS + world->cpu];
}

static struct world a_world(bool user)
{
	struct world world = {
		.cpu = 1, .pid_tgid = PID, .mm = MM, .preempt_count = 0x110001,
		.key = { user ? MM : 0, ADDRESS, 4 }, .value = { VALUE_ADDRESS, NUMBER },
		.memory = { 1, 2, 3, 4 },
	};

	for (size_t i = 0; i < PT_REGS; i++)
		world.regs[i] = i * 0x1111;
	world.regs[CS] = user ? USER_CS : KERNEL_CS;
	row(&world, ANY_0)->words[2] = WATCH_EXACT;
	row(&world, ANY_1)->words[2] = WATCH_EXACT;
	return world;
}

/* All breakpoints of an access, as hardware hits them. */
static void access_piece(struct world *world, int piece, bool writes)
{
	if (writes)
		hit(world, piece ? WRITE_1 : WRITE_0, false, false);
	hit(world, piece ? ANY_1 : ANY_0, false, false);
}

static void test_record(bool user)
{
	struct world world = a_world(user);
	const struct watch_record *record = &world.records[0];

	test_name = user ? "watch: record, user" : "watch: record, kernel";
	hit(&world, ANY_0, user, true);
	CHECK_SAME("records", world.count, 1);
	CHECK_SAME("ns", record->ns, NOW);
	CHECK_SAME("pid", record->pid_tgid, PID);
	CHECK_SAME("ip", record->ip, IP * 0x1111);
	CHECK_SAME("number", record->number, NUMBER);
	CHECK_SAME("cpu", record->cpu, 1);
	CHECK_SAME("flags", record->flags, WATCH_EXACT | (user ? WATCH_USER : 0));
	CHECK_SAME("preempt count", record->preempt_count, 0x110001);
	CHECK_SAME("value error", (uint64_t)record->value_error, 0);
	CHECK(!memcmp(record->value, world.memory, 4), "value");
	CHECK(!strcmp(record->comm, "comm"), "comm");
	CHECK_SAME("stack", (uint64_t)record->stack_bytes, 8);
	CHECK_SAME("return address", record->stack[0], STACK_WORD);
	CHECK_SAME("stack flags", world.stack_flags, user ? BPF_F_USER_STACK : 0);
}

static void test_own_process(void)
{
	/* The preempt count, and whether it is a hit. */
	static const struct {
		uint32_t count;
		bool counts;
	} contexts[] = {
		{ 0x110000, false },
		{ 0x80110002, false },
		{ 0x110200, false },	/* softirqs off */
		{ 0x110100, true },	/* in one */
		{ 0x120000, true },	/* in an interrupt */
		{ 0x120101, true },
	};
	struct world world;

	test_name = "watch: own accesses";
	for (size_t i = 0; i < sizeof(contexts) / sizeof(*contexts); i++) {
		world = a_world(false);
		world.pid_tgid = (uint64_t)OWN << 32 | 1;
		world.preempt_count = contexts[i].count;
		hit(&world, ANY_0, false, false);
		CHECK_SAME("records", world.count, contexts[i].counts);
		CHECK_SAME("runs", row(&world, ANY_0)->words[0], 1);
	}
	world = a_world(true);
	world.pid_tgid = (uint64_t)OWN << 32 | 1;
	world.preempt_count = 0x100;
	hit(&world, ANY_0, true, false);
	CHECK_SAME("records", world.count, 0);
}

static void test_filters(void)
{
	struct world world = a_world(true);

	test_name = "watch: filters";
	world.mm = OTHER_MM;
	hit(&world, ANY_0, true, false);
	world.mm = 0;
	world.key.mm = 0;
	hit(&world, ANY_0, true, false);
	CHECK_SAME("records", world.count, 0);
	CHECK_SAME("runs", row(&world, ANY_0)->words[0], 2);
	/* Other processes' memory, but the kernel's address. */
	world = a_world(false);
	world.mm = OTHER_MM;
	hit(&world, ANY_0, false, false);
	CHECK_SAME("records", world.count, 1);
}

/* The flags of the records, in order: r read, w write. */
static void check_accesses(const struct world *world, const char *wanted)
{
	CHECK_SAME("accesses", world->count, strlen(wanted));
	for (size_t i = 0; i < world->count; i++) {
		bool writes = world->records[i].flags & WATCH_WRITE;

		CHECK(writes == (wanted[i] == 'w'), "access %zu is a %s", i, writes ? "write" : "read");
	}
}

static void test_merge(void)
{
	struct world world = a_world(false);

	test_name = "watch: a write and a read";
	access_piece(&world, 0, true);
	world.regs[IP]++;
	access_piece(&world, 0, false);
	check_accesses(&world, "wr");

	test_name = "watch: an instruction that changes no register, again and again";
	world = a_world(false);
	for (int i = 0; i < 3; i++)
		access_piece(&world, 0, true);
	for (int i = 0; i < 2; i++)
		access_piece(&world, 0, false);
	/* The first of the reads has the registers of the last write, and its breakpoint again. */
	check_accesses(&world, "wwwrr");

	test_name = "watch: an access to two pieces";
	world = a_world(false);
	access_piece(&world, 0, true);
	access_piece(&world, 1, true);
	world.regs[0]++;
	access_piece(&world, 0, false);
	access_piece(&world, 1, false);
	check_accesses(&world, "wr");

	test_name = "watch: an instruction that reads one piece and writes the other";
	world = a_world(false);
	access_piece(&world, 0, false);
	access_piece(&world, 1, true);
	check_accesses(&world, "rw");

	test_name = "watch: emulated, only the first breakpoint is hit";
	world = a_world(false);
	hit(&world, WRITE_0, false, false);
	hit(&world, WRITE_0, false, false);
	world.regs[IP]++;
	hit(&world, ANY_0, false, false);
	check_accesses(&world, "wwr");

	test_name = "watch: emulated, the breakpoint of another spot is reported again";
	emulated = true;
	world = a_world(false);
	hit(&world, ANY_1, false, false);
	world.regs[IP]++;
	hit(&world, WRITE_0, false, false);
	hit(&world, ANY_1, false, false);
	world.regs[IP]++;
	hit(&world, ANY_0, false, false);
	hit(&world, WRITE_1, false, false);
	check_accesses(&world, "rwr");
	emulated = false;

	test_name = "watch: two tasks with the same registers";
	world = a_world(false);
	hit(&world, WRITE_0, false, false);
	world.pid_tgid++;
	hit(&world, ANY_0, false, false);
	check_accesses(&world, "wr");
}

static void test_full(void)
{
	struct world world = a_world(false);

	test_name = "watch: a ring that is busy or full";
	world.busy = 100;
	hit(&world, ANY_0, false, false);
	CHECK_SAME("records", world.count, 1);
	world.full = true;
	for (int i = 0; i < 3; i++)
		hit(&world, ANY_0, false, false);
	world.full = false;
	hit(&world, ANY_0, false, false);
	CHECK_SAME("records", world.count, 2);
	CHECK_SAME("dropped until the first", world.records[0].dropped, 0);
	CHECK_SAME("dropped until the second", world.records[1].dropped, 3);
	CHECK_SAME("dropped", world.counts[WORLD_ROWS - 1].words[0], 3);
	CHECK_SAME("runs", row(&world, ANY_0)->words[0], 5);
}

static void test_own_hits(void)
{
	struct world world = a_world(true);

	test_name = "watch: hits by the program itself";
	world.probe_hits = true;
	hit(&world, ANY_0, true, false);
	CHECK_SAME("own hits of event 0", row(&world, 0)->words[1], 1);
	CHECK_SAME("own hits of event 1", row(&world, 1)->words[1], 0);
	/* In the kernel the debug registers are off. */
	world = a_world(false);
	world.probe_hits = true;
	hit(&world, ANY_0, false, false);
	CHECK_SAME("own hits in the kernel", row(&world, 0)->words[1], 0);
}

/* Each look-up can fail as far as the verifier knows. */
static void test_missing(void)
{
	test_name = "watch: look-ups that fail";
	for (int missing = 1; missing < 6; missing++) {
		struct world world = a_world(true);

		world.missing = missing;
		world.probe_hits = true;
		hit(&world, ANY_0, true, false);
		CHECK_SAME("records", world.count, missing > 3);
	}
}

void test_watch(void)
{
	test_record(false);
	test_record(true);
	test_filters();
	test_own_process();
	test_merge();
	test_full();
	test_own_hits();
	test_missing();
}
