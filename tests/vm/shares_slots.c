// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The helper's side of a slot of shares_slots.ko, which keeps to the protocol or breaks it.
 *
 *   shares_slots OUTPUT MODE [ROUNDS]
 *
 * OUTPUT gets one JSON object: pid, address of the slot. The program waits for SIGUSR1, makes ROUNDS
 * requests (5) and answers them, writes "done" to OUTPUT.done, and sleeps. MODE:
 *
 *   sound       keep to the protocol
 *   rogue       also write the payload while the slot is idle, so while the kernel owns it
 *   early-done  write the state, then the reply: a lost release
 *   early-post  the kernel does that: it writes the state, then the request
 *   meddle      the kernel writes the payload while the helper owns it
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "shares_maps.h"
#include "umh_shm_abi.h"
#include "watched/shares_slots_abi.h"

static int device;
static const char *mode;

static bool is(const char *name)
{
	return !strcmp(mode, name);
}

static void call(unsigned long request)
{
	if (ioctl(device, request))
		die("ioctl");
}

static __attribute__((noinline, noclone)) void slots_reply(volatile struct umh_shm_slot *slot)
{
	slot->ack = slot->seq;
	slot->reply_len = slot->payload_len;
	for (uint32_t i = 0; i < slot->payload_len; i++)
		slot->reply[i] = slot->req.payload[i];
}

static __attribute__((noinline, noclone)) void slots_serve(struct umh_shm_slot *slot)
{
	uint32_t state = UMH_SHM_POSTED;

	if (!__atomic_compare_exchange_n(&slot->state, &state, UMH_SHM_CLAIMED, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		die("the slot is not posted");
	if (is("meddle"))
		call(SHARES_SLOTS_MEDDLE);
	if (!is("early-done"))
		slots_reply(slot);
	__atomic_store_n(&slot->state, UMH_SHM_DONE, __ATOMIC_RELEASE);
	if (is("early-done"))
		slots_reply(slot);
}

static __attribute__((noinline, noclone)) void slots_rogue(volatile struct umh_shm_slot *slot)
{
	slot->req.payload[0] = 'J';
}

int main(int argc, char **argv)
{
	static const char *const modes[] = { "sound", "rogue", "early-done", "early-post", "meddle" };
	int rounds = argc > 3 ? atoi(argv[3]) : 5, caught;
	struct umh_shm_slot *slot;
	bool known = false;
	char name[512];
	sigset_t signals;

	if (argc < 3)
		return 2;
	mode = argv[2];
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		known = known || is(modes[i]);
	if (!known || rounds < 1)
		return 2;
	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &signals, NULL))
		die("sigprocmask");
	device = checked_fd(open(SHARES_SLOTS_DEVICE, O_RDWR | O_CLOEXEC), SHARES_SLOTS_DEVICE);
	slot = checked(mmap(NULL, PAGE, READ_WRITE, MAP_SHARED, device, 0), "mmap");

	open_output(argv[1]);
	fprintf(out, "{\"pid\": %d, \"address\": %" PRIuPTR "}\n", getpid(), (uintptr_t)slot);
	publish(argv[1]);

	if (sigwait(&signals, &caught))
		die("sigwait");
	while (rounds--) {
		if (is("rogue"))
			slots_rogue(slot);
		call(is("early-post") ? SHARES_SLOTS_POST_EARLY : SHARES_SLOTS_POST);
		slots_serve(slot);
		call(SHARES_SLOTS_COLLECT);
	}
	snprintf(name, sizeof(name), "%s.done", argv[1]);
	out = fopen(name, "w");
	if (!out || fclose(out))
		die(name);
	stay();
}
