// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs of several calls. A program that reached new code is kept, and changed later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define STEPS_MAX	12
#define KEPT_MAX	64

struct step {
	uint32_t kind;		/* index in the list of all kinds */
	uint64_t seed;		/* of its arguments */
};

struct program {
	unsigned int steps;
	struct step step[STEPS_MAX];
};

static struct program kept[KEPT_MAX];
static unsigned int nr_kept;	/* may be more than KEPT_MAX: the oldest was overwritten */

static const struct call *all[CALLS_KINDS];
static unsigned int nr_all, all_weight;

static void list_calls(const struct call *calls)
{
	for (; calls->name && nr_all < CALLS_KINDS; calls++) {
		all[nr_all++] = calls;
		all_weight += calls->weight;
	}
}

static void list_all(void)
{
	if (nr_all)
		return;
	list_calls(memory_calls);
	list_calls(file_calls);
	list_calls(life_calls);
}

const char *call_name(unsigned int kind)
{
	list_all();
	return kind < nr_all ? all[kind]->name : NULL;
}

static struct step new_step(struct state *s)
{
	uint64_t at = below(s, all_weight);
	struct step step = { .seed = draw(s) };

	while (at >= all[step.kind]->weight)
		at -= all[step.kind++]->weight;
	return step;
}

static struct program new_program(struct state *s)
{
	struct program p = { .steps = 1 + (unsigned int)below(s, STEPS_MAX) };
	unsigned int i;

	for (i = 0; i < p.steps; i++)
		p.step[i] = new_step(s);
	return p;
}

/* A kept program with one to three changes. */
static struct program changed_program(struct state *s)
{
	unsigned int nr = nr_kept < KEPT_MAX ? nr_kept : KEPT_MAX;
	struct program p = kept[below(s, nr)];
	unsigned int changes = 1 + (unsigned int)below(s, 3), at;

	while (changes--) {
		at = (unsigned int)below(s, p.steps);
		if (chance(s, 2)) {
			p.step[at].seed = draw(s);
		} else if (p.steps < STEPS_MAX && chance(s, 2)) {
			memmove(&p.step[at + 1], &p.step[at], (p.steps - at) * sizeof(p.step[0]));
			p.step[at] = new_step(s);
			p.steps++;
		} else {
			p.step[at] = new_step(s);
		}
	}
	return p;
}

/*
 * Let the next allocations of the call fail (Documentation/fault-injection/fault-injection.rst).
 * The fuzzer's driver sets failslab up; without it this file is missing.
 */
static void fail_allocation(unsigned int nth)
{
	char text[16];
	int fd = open("/proc/thread-self/fail-nth", O_WRONLY | O_CLOEXEC), n;

	if (fd < 0)
		return;
	n = snprintf(text, sizeof(text), "%u", nth);
	if (write(fd, text, (size_t)n) < 0)
		errno = 0;
	close(fd);
}

static void run_step(struct state *s, const struct step *step)
{
	struct process *me = &shared->process[s->number];
	unsigned int nth;
	int err;

	if (s->epoch != __atomic_load_n(&shared->epoch, __ATOMIC_ACQUIRE)) {
		let_go(s);
		s->epoch = __atomic_load_n(&shared->epoch, __ATOMIC_ACQUIRE);
	}
	s->random = step->seed;
	me->kind = step->kind;
	me->seed = step->seed;
	__atomic_store_n(&me->since_ns, now_ns(), __ATOMIC_RELEASE);
	nth = chance(s, 16) ? 1 + (unsigned int)below(s, 24) : 0;
	if (nth)
		fail_allocation(nth);
	err = all[step->kind]->make(s);
	if (nth)
		fail_allocation(0);
	__atomic_fetch_add(err ? &shared->failed[step->kind] : &shared->done[step->kind], 1,
			   __ATOMIC_RELAXED);
	__atomic_fetch_add(&me->calls, 1, __ATOMIC_RELEASE);
}

/* Runs programs until this process has made its share of the calls. */
void run_programs(struct state *s)
{
	struct process *me = &shared->process[s->number];
	uint64_t share = options.calls / options.processes, turn, before;
	struct program p;
	unsigned int i;

	list_all();
	kcov_reset();
	/* A process that was killed goes on with other programs than those that it had run. */
	for (turn = me->calls; me->calls < share; turn++) {
		if (__atomic_load_n(&shared->stop, __ATOMIC_RELAXED))
			break;
		s->random = mix(mix(options.seed, (uint64_t)s->number), turn);
		p = nr_kept && chance(s, 2) ? changed_program(s) : new_program(s);
		if (chance(s, 16))
			let_go(s);
		before = me->calls;
		kcov_start();
		for (i = 0; i < p.steps; i++)
			run_step(s, &p.step[i]);
		if (kcov_end()) {
			kept[nr_kept++ % KEPT_MAX] = p;
			me->new_code++;
		}
		if (me->calls == before)
			break;
	}
	let_go(s);
}
