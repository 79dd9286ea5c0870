// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A process that shares rings with the kernel: perf, io_uring, AF_PACKET, AF_XDP, aio.
 *
 *   shares_rings OUTPUT
 *
 * Maps each ring, twice if possible, and writes a text into it. Makes the kernel
 * write one too, and searches for it in its own mapping. Then it replaces one page
 * of the ring by an anonymous page. It writes the addresses to OUTPUT as JSON and
 * sleeps forever, as does a child that it forked.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shares_rings.h"

static void perf(void)
{
	const char *comm = "renamed-by-test";
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
		.comm = 1,
		.exclude_kernel = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	int other = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	struct vma vma = { "perf", "data", .pages = 5, .all = 5, .touched = 3 }, second = vma;
	struct vma of_other = { "perf", "data", .pages = 5, .all = 5, .touched = 1 };

	check(fd >= 0 && other >= 0, "perf_event_open");
	vma.start = map(NULL, vma.pages, MAP_SHARED, fd, 0, "mmap of perf");
	second.start = map(NULL, second.pages, MAP_SHARED, fd, 0, "second mmap of perf");
	check(!ioctl(other, PERF_EVENT_IOC_SET_OUTPUT, fd), "PERF_EVENT_IOC_SET_OUTPUT");
	/* Newer kernels map a buffer only through its own event. */
	of_other.start = mmap(NULL, of_other.pages * PAGE, PROT_READ, MAP_SHARED, other, 0);
	check(of_other.start != MAP_FAILED || errno == EBUSY, "mmap of the other event");
	check(!prctl(PR_SET_NAME, comm), "prctl");
	write_text(&vma, vma.start + PAGE / 2, USER_TEXT);
	find_text(&vma, vma.start + PAGE, vma.start + 2 * PAGE, comm);
	is_mapped(&vma);
	if (of_other.start != MAP_FAILED) {
		check(of_other.start[PAGE / 2] == USER_TEXT[0], "the other event's mapping");
		is_mapped(&of_other);
	}
	/* The whole VMA: newer kernels do not split these. */
	check(second.start[PAGE / 2] == USER_TEXT[0], "second mapping of perf");
	replace(&second, 0, second.pages);
}

static void nop(int fd, char *rings, struct io_uring_sqe *sqes, const struct io_uring_params *params,
		uint64_t user_data)
{
	uint32_t *tail = (uint32_t *)(rings + params->sq_off.tail);
	uint32_t *cq_head = (uint32_t *)(rings + params->cq_off.head);
	uint32_t *array = (uint32_t *)(rings + params->sq_off.array);
	uint32_t index = *tail & (params->sq_entries - 1);

	memset(&sqes[index], 0, sizeof(sqes[index]));
	sqes[index].opcode = IORING_OP_NOP;
	sqes[index].user_data = user_data;
	array[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	check(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1, "io_uring_enter");
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
}

/* struct io_uring_buf_reg and its constants; old headers lack them. */
struct buffers {
	uint64_t address;
	uint32_t entries;
	uint16_t group, flags;
	uint64_t reserved[3];
};

#define REGISTER_PBUF_RING 22
#define PBUF_RING_MMAP 1
#define OFF_PBUF_RING 0x80000000UL
#define OFF_PBUF_SHIFT 16

/* A ring of provided buffers, if the kernel has them; not reported as a region. */
static void provided_buffers(int fd)
{
	struct buffers buffers = { .entries = 16, .group = 3, .flags = PBUF_RING_MMAP };
	struct vma vma = { "io_uring", "a ring of provided buffers, group 3", .pages = 1 };

	if (syscall(SYS_io_uring_register, fd, REGISTER_PBUF_RING, &buffers, 1))
		return; /* before 6.4 */
	vma.start = map(NULL, 1, MAP_SHARED | MAP_POPULATE, fd,
			(off_t)(OFF_PBUF_RING | (unsigned long)buffers.group << OFF_PBUF_SHIFT),
			"mmap of provided buffers");
	fact("unknown", &vma);
	fprintf(out, ", \"address\": %lu}", (unsigned long)vma.start);
}

static void io_uring(void)
{
	const char *text = "complete"; /* as long as user_data */
	struct vma copied = { "io_uring", "a private mapping of it", .pages = 2 };
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 128, &params);
	struct vma rings = { "io_uring", "rings", .pages = 2, .all = 2, .touched = 3 }, cq = rings;
	struct vma sqes = { "io_uring", "sqes", .pages = 2, .all = 2, .touched = 3 }, second = sqes;
	struct io_uring_sqe *entries;
	uint64_t user_data;

	check(fd >= 0, "io_uring_setup");
	rings.start = map(NULL, 2, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING, "mmap of SQ");
	cq.start = map(NULL, 2, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_CQ_RING, "mmap of CQ");
	sqes.start = map(NULL, 2, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES, "mmap of SQEs");
	second.start = map(NULL, 2, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES, "mmap of SQEs");
	/* Not shared, so not part of a region. */
	copied.start = map(NULL, 2, MAP_PRIVATE, fd, IORING_OFF_SQES, "private mmap of SQEs");
	fact("unknown", &copied);
	fprintf(out, ", \"address\": %lu}", (unsigned long)copied.start);
	provided_buffers(fd);
	entries = (struct io_uring_sqe *)sqes.start;
	/* Enough to reach the second page of the rings. */
	for (uint64_t number = 0; number < 254; number++)
		nop(fd, rings.start, entries, &params, number);
	memcpy(&user_data, text, sizeof(user_data));
	nop(fd, rings.start, entries, &params, user_data);
	find_text(&rings, rings.start + PAGE, rings.start + rings.pages * PAGE, text);
	/* Entries that are not submitted any more. */
	write_text(&sqes, (char *)&entries[params.sq_entries - 1].user_data, "unsubmit");
	write_text(&rings,
		   rings.start + params.sq_off.array + params.sq_entries * sizeof(uint32_t) - sizeof(USER_TEXT),
		   USER_TEXT);
	is_mapped(&rings);
	is_mapped(&cq);
	is_mapped(&sqes);
	replace_within(&second, 0);
}

static void lo_up(int fd)
{
	struct ifreq request = { .ifr_name = "lo" };

	check(!ioctl(fd, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
	request.ifr_flags |= IFF_UP;
	check(!ioctl(fd, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
}

/* Differences between the versions of AF_PACKET's rings. */
struct packet_version {
	int number;
	size_t header_bytes; /* before the frame to send, with the unused address */
	size_t length_at, status_at; /* in the header of a frame to send */
	size_t received_at; /* the status of the first frame or block received */
};

static const struct packet_version packet_versions[] = {
	{ TPACKET_V1, TPACKET_HDRLEN, offsetof(struct tpacket_hdr, tp_len),
	  offsetof(struct tpacket_hdr, tp_status), offsetof(struct tpacket_hdr, tp_status) },
	{ TPACKET_V2, TPACKET2_HDRLEN, offsetof(struct tpacket2_hdr, tp_len),
	  offsetof(struct tpacket2_hdr, tp_status), offsetof(struct tpacket2_hdr, tp_status) },
	{ TPACKET_V3, TPACKET3_HDRLEN, offsetof(struct tpacket3_hdr, tp_len),
	  offsetof(struct tpacket3_hdr, tp_status), offsetof(struct tpacket_block_desc, hdr.bh1.block_status) },
};

/* Sends a packet from the transmit ring through lo into the receive ring. */
static void packet_through_lo(int fd, const struct vma *vma, char *tx, const struct packet_version *version)
{
	const char *text = "sent around through lo";
	volatile uint32_t *received = (uint32_t *)(vma->start + version->received_at);
	char *frame = tx + version->header_bytes - sizeof(struct sockaddr_ll);
	struct ethhdr header = { .h_proto = htons(ETH_P_802_EX1) };
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	memcpy(frame, &header, sizeof(header));
	write_text(vma, frame + sizeof(header), text);
	*(uint32_t *)(tx + version->length_at) = ETH_ZLEN;
	*(uint32_t *)(tx + version->status_at) = TP_STATUS_SEND_REQUEST;
	check(send(fd, NULL, 0, 0) == ETH_ZLEN, "send");
	while (!(*received & TP_STATUS_USER))
		check(poll(&pfd, 1, -1) == 1, "poll");
	find_text(vma, vma->start, vma->start + PAGE, text);
}

static void packet(const struct packet_version *version)
{
	/* The rest is for version 3 only, which passes on a partly filled block after a time-out. */
	struct tpacket_req3 rx = { .tp_block_size = 2 * PAGE, .tp_block_nr = 2, .tp_frame_size = PAGE / 2,
				   .tp_frame_nr = 8, .tp_retire_blk_tov = 10 };
	struct tpacket_req3 tx = { .tp_block_size = PAGE, .tp_block_nr = 3, .tp_frame_size = PAGE / 2,
				   .tp_frame_nr = 6 };
	socklen_t size = version->number == TPACKET_V3 ? sizeof(struct tpacket_req3) : sizeof(struct tpacket_req);
	struct vma vma = { "packet", "", (unsigned long)version->number, .pages = 7, .all = 7, .touched = 0x7f };
	struct vma second = vma;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_802_EX1) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	check(fd >= 0, "socket");
	lo_up(fd);
	address.sll_ifindex = (int)if_nametoindex("lo");
	check(!setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version->number, sizeof(version->number)),
	      "PACKET_VERSION");
	check(!setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &rx, size), "PACKET_RX_RING");
	check(!setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &tx, size), "PACKET_TX_RING");
	vma.start = map(NULL, vma.pages, MAP_SHARED, fd, 0, "mmap of rings");
	second.start = map(NULL, second.pages, MAP_SHARED, fd, 0, "second mmap of rings");
	/* Not shared, so not reported. */
	map(NULL, vma.pages, MAP_PRIVATE, fd, 0, "private mmap of rings");
	check(!bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	packet_through_lo(fd, &vma, vma.start + 4 * PAGE, version);
	write_text(&vma, vma.start + 3 * PAGE + 100, USER_TEXT);
	is_mapped(&vma);
	if (version->number == TPACKET_V2)
		replace_within(&second, 2);
	else
		check(!munmap(second.start, second.pages * PAGE), "munmap");
}

/* AF_XDP's rings, with their offsets in a mapping. */
enum xdp_ring { RX, TX, FILL, COMPLETION };

static const struct {
	const char *part;
	int option;
	uint32_t entries;
	size_t pages;
	off_t offset;
} xdp_rings[] = {
	[RX] = { "rx", XDP_RX_RING, 256, 2, XDP_PGOFF_RX_RING },
	/* Three pages; before 6.3 the kernel allocates, and maps, four. */
	[TX] = { "tx", XDP_TX_RING, 512, 3, XDP_PGOFF_TX_RING },
	[FILL] = { "fill", XDP_UMEM_FILL_RING, 512, 2, (off_t)XDP_UMEM_PGOFF_FILL_RING },
	[COMPLETION] = { "completion", XDP_UMEM_COMPLETION_RING, 512, 2, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING },
};

/* Maps a ring with all its pages. All of them are present at once. */
static struct vma xdp_ring(int fd, enum xdp_ring number, unsigned long owner)
{
	size_t pages = xdp_rings[number].pages;
	struct vma vma = { "xdp", xdp_rings[number].part, owner, .pages = 0 };
	char *start = MAP_FAILED;

	if (number == TX)
		start = mmap(NULL, ++pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, xdp_rings[TX].offset);
	if (start == MAP_FAILED) {
		pages = xdp_rings[number].pages;
		start = map(NULL, pages, MAP_SHARED, fd, xdp_rings[number].offset, xdp_rings[number].part);
	}
	vma.start = start;
	vma.pages = vma.all = pages;
	vma.touched = (1UL << pages) - 1;
	return vma;
}

static int xdp_socket(char *buffers, size_t pages)
{
	struct xdp_umem_reg umem = { .addr = (uint64_t)buffers, .len = pages * PAGE, .chunk_size = PAGE };
	int fd = socket(AF_XDP, SOCK_RAW, 0);

	check(fd >= 0, "socket of AF_XDP");
	check(!setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)), "XDP_UMEM_REG");
	for (size_t number = 0; number < sizeof(xdp_rings) / sizeof(*xdp_rings); number++)
		check(!setsockopt(fd, SOL_XDP, xdp_rings[number].option, &xdp_rings[number].entries,
				  sizeof(xdp_rings[number].entries)),
		      xdp_rings[number].part);
	return fd;
}

/*
 * Sends a packet through lo, which packet() has brought up. The kernel then writes its
 * buffer's address into the completion ring.
 */
static void xdp_send(int fd, const struct xdp_mmap_offsets *offsets, const struct vma *rings, uint64_t address)
{
	struct xdp_desc *desc = (struct xdp_desc *)(rings[TX].start + offsets->tx.desc);
	volatile uint32_t *completed = (uint32_t *)(rings[COMPLETION].start + offsets->cr.producer);

	desc[0] = (struct xdp_desc){ .addr = address, .len = ETH_ZLEN };
	__atomic_store_n((uint32_t *)(rings[TX].start + offsets->tx.producer), 1, __ATOMIC_RELEASE);
	while (!*completed) {
		check(sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0 || errno == EAGAIN || errno == EBUSY ||
			      errno == ENOBUFS,
		      "sendto of AF_XDP");
		usleep(1000);
	}
}

static void xdp(void)
{
	/* The text as an address in the buffers. Kernels that use bit 0 for themselves keep it: it is even. */
	union {
		char text[8];
		uint64_t address;
	} sent = { "no" };
	struct xdp_mmap_offsets offsets;
	socklen_t size = sizeof(offsets);
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY };
	struct vma rings[4], second, copied = { "xdp", "a private mapping of it", .pages = 2 };
	char *buffers = map(NULL, 16, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, "buffers of AF_XDP");
	int fd = xdp_socket(buffers, 8), unbound = xdp_socket(buffers + 8 * PAGE, 8);

	check(!getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size), "XDP_MMAP_OFFSETS");
	check(size == sizeof(offsets), "size of struct xdp_mmap_offsets");
	for (enum xdp_ring number = RX; number <= COMPLETION; number++)
		rings[number] = xdp_ring(fd, number, number);
	second = xdp_ring(fd, TX, TX);
	/* Not shared, so not part of a region. */
	copied.start = map(NULL, 2, MAP_PRIVATE, fd, xdp_rings[RX].offset, "private mmap of RX");
	fact("unknown", &copied);
	fprintf(out, ", \"address\": %lu}", (unsigned long)copied.start);
	address.sxdp_ifindex = if_nametoindex("lo");
	check(!bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind of AF_XDP");
	xdp_send(fd, &offsets, rings, sent.address);
	find_text(&rings[COMPLETION], rings[COMPLETION].start + offsets.cr.desc,
		  rings[COMPLETION].start + offsets.cr.desc + sizeof(uint64_t), sent.text);
	/* Descriptors that are not submitted, in the second page. */
	for (enum xdp_ring number = RX; number <= COMPLETION; number++) {
		write_text(&rings[number], rings[number].start + PAGE, USER_TEXT);
		is_mapped(&rings[number]);
	}
	replace_within(&second, 1);
	/* Before bind(), the socket has these rings itself. */
	for (enum xdp_ring number = RX; number <= COMPLETION; number++) {
		second = xdp_ring(unbound, number, 4 + number);
		write_text(&second, second.start + PAGE, USER_TEXT);
		is_mapped(&second);
	}
}

/* The size that the kernel gave a ring. */
static size_t pages_mapped_at(const char *start)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long first, end;
	char line[512];

	check(maps != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &first, &end) == 2 && first == (unsigned long)start) {
			fclose(maps);
			return (end - first) / PAGE;
		}
	check(0, "ring in /proc/self/maps");
	return 0;
}

static void aio(void)
{
	const char *text = "aio-data"; /* as long as aio_data */
	static char buffer[16];
	struct vma vma = { "aio", "", .touched = 1 | 1 << 3 }, second = { "aio", "", .touched = 0 };
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)open("/dev/zero", O_RDONLY),
		.aio_buf = (uint64_t)buffer,
		.aio_nbytes = sizeof(buffer),
	};
	struct iocb *cbs[] = { &cb };
	struct io_event event;
	aio_context_t context = 0, other = 0;

	check(!syscall(SYS_io_setup, 256, &context), "io_setup");
	check(!syscall(SYS_io_setup, 256, &other), "io_setup");
	vma.owner = 1;
	vma.start = (char *)context;
	vma.pages = vma.all = pages_mapped_at(vma.start);
	second.owner = 2;
	second.start = (char *)other;
	second.pages = second.all = pages_mapped_at(second.start);
	memcpy(&cb.aio_data, text, sizeof(cb.aio_data));
	check(syscall(SYS_io_submit, context, 1, cbs) == 1, "io_submit");
	check(syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1, "io_getevents");
	find_text(&vma, vma.start, vma.start + PAGE, text);
	write_text(&vma, vma.start + 3 * PAGE + 40, USER_TEXT);
	is_mapped(&vma);
	replace_within(&second, 1);
}

int main(int argc, char **argv)
{
	char part[256];
	pid_t child;

	if (argc != 2)
		return 2;
	snprintf(part, sizeof(part), "%s.part", argv[1]);
	out = fopen(part, "w");
	check(out != NULL, part);
	/* Only one AF_XDP socket can use the queue of a lo, and several of these programs may run. */
	check(!unshare(CLONE_NEWNET), "unshare");
	fprintf(out, "{\"pid\": %d, \"facts\": [", getpid());
	perf();
	io_uring();
	for (size_t number = 0; number < sizeof(packet_versions) / sizeof(*packet_versions); number++)
		packet(&packet_versions[number]);
	xdp();
	aio();
	fflush(out);
	child = fork();
	check(child >= 0, "fork");
	if (child > 0) {
		fprintf(out, "\n], \"child\": %d}\n", child);
		check(!fclose(out) && !rename(part, argv[1]), "output");
	}
	for (;;)
		pause();
}
