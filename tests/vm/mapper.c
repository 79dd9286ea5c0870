// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Maps /dev/umh_shm as the options say, reports the address, and sleeps until it is killed.
 *
 *   mapper OUTPUT [--pages N] [--first PAGE] [--read-only] [--touch PAGE...]
 *                 [--write PAGE BYTE HEX]... [--replace PAGE...] [--later PAGE]
 *
 * Page numbers count from the start of the mapping, except --first: from the start
 * of the region. OUTPUT gets one JSON object: pid, address and length_bytes of the
 * mapping. SIGUSR1 makes it replace the page of --later.
 */
#include <ctype.h>
#include <fcntl.h>
#include <signal.h>

#include "shares_maps.h"

struct words {
	char **next;
};

/* The next word of an option, or NULL. */
static const char *word(struct words *words)
{
	if (!*words->next || !strncmp(*words->next, "--", 2))
		return NULL;
	return *words->next++;
}

static size_t number(struct words *words)
{
	const char *text = word(words);
	char *end;
	size_t value;

	errno = EINVAL;
	if (!text)
		die("a number is missing");
	value = strtoul(text, &end, 0);
	if (*end)
		die(text);
	return value;
}

static void write_hex(char *at, const char *hex)
{
	unsigned int byte;

	errno = EINVAL;
	if (!hex)
		die("HEX is missing");
	for (; *hex; hex += 2) {
		if (sscanf(hex, "%2x", &byte) != 1 || !isxdigit((unsigned char)hex[1]))
			die(hex);
		*at++ = (char)byte;
	}
}

/* An anonymous page with the same bytes: only a walk shows the difference. */
static void replace_alike(char *at)
{
	char content[PAGE];

	memcpy(content, at, PAGE);
	replace(at, PAGE);
	memcpy(at, content, PAGE);
}

/* The page of --later, or NULL. */
static char *later;

static void replace_on_signal(void)
{
	sigset_t signals;
	int caught;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	if (sigwait(&signals, &caught))
		die("sigwait");
	replace_alike(later);
}

/* Block the signal, so that it is not lost before sigwait(). */
static void block_signal(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &signals, NULL))
		die("sigprocmask");
}

static void use(char *address, struct words words)
{
	const char *option, *page;

	while ((option = *words.next)) {
		words.next++;
		if (!strcmp(option, "--write")) {
			char *at = address + number(&words) * PAGE;

			at += number(&words);
			write_hex(at, word(&words));
			continue;
		}
		if (!strcmp(option, "--later")) {
			later = address + number(&words) * PAGE;
			continue;
		}
		while ((page = word(&words))) {
			char *at = address + strtoul(page, NULL, 0) * PAGE;

			if (!strcmp(option, "--touch"))
				*(volatile char *)at;
			else if (!strcmp(option, "--replace"))
				replace_alike(at);
		}
	}
}

static char *map(struct words words, size_t *length)
{
	size_t pages = 1, first = 0;
	bool read_only = false;
	const char *option;
	void *address;
	int fd;

	while ((option = *words.next)) {
		words.next++;
		if (!strcmp(option, "--pages"))
			pages = number(&words);
		else if (!strcmp(option, "--first"))
			first = number(&words);
		else if (!strcmp(option, "--read-only"))
			read_only = true;
		else if (!strncmp(option, "--", 2) && strcmp(option, "--touch") &&
			 strcmp(option, "--write") && strcmp(option, "--replace") &&
			 strcmp(option, "--later"))
			errno = EINVAL, die(option);
	}
	fd = checked_fd(open("/dev/umh_shm", read_only ? O_RDONLY : O_RDWR), "/dev/umh_shm");
	*length = pages * PAGE;
	address = mmap(NULL, *length, read_only ? PROT_READ : READ_WRITE, MAP_SHARED, fd,
		       (off_t)first * PAGE);
	close(fd);
	return checked(address, "mmap");
}

int main(int argc, char **argv)
{
	char part[512];
	size_t length;
	char *address;

	if (argc < 2)
		return 2;
	block_signal();
	address = map((struct words){ argv + 2 }, &length);
	use(address, (struct words){ argv + 2 });
	snprintf(part, sizeof(part), "%s.part", argv[1]);
	out = fopen(part, "w");
	if (!out)
		die(part);
	fprintf(out, "{\"pid\": %d, \"address\": %" PRIuPTR ", \"length_bytes\": %zu}\n", getpid(),
		(uintptr_t)address, length);
	if (fclose(out) || rename(part, argv[1]))
		die(argv[1]);
	if (later)
		replace_on_signal();
	stay();
}
