// What a front end can do to objects that it shares with the daemon, behind the protocol's back: descriptors that block, memory
// that vanishes under a ring that only sends. Every case ends with the innocent pair (bed_case_end).
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver/flog.h"
#include "proto/lan.h"
#include "proto/rows.h"
#include "wire/vu_table.h"

static bool closes(const struct fe *fe)
{
	struct pollfd p = {.fd = fe->sock, .events = POLLRDHUP};
	return poll(&p, 1, 3000) == 1;
}

// Full, and whoever adds to it waits: the flag belongs to the open file, which we share.
static void make_block(struct bed *b, int fd)
{
	uint64_t full = UINT64_MAX - 1, count;
	ssize_t ignored = read(fd, &count, sizeof(count));
	(void)ignored;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0 || write(fd, &full, sizeof(full)) != (ssize_t)sizeof(full))
		bed_fail(b, "eventfd: %m");
}

// While it blocks: the innocent pair's frames pass, and its messages are answered.
static void others_live(struct bed *b)
{
	uint8_t mac[2][6];
	struct frame_id id;
	frame_mac(mac[0], 0xc0);
	frame_mac(mac[1], 0xc1);
	if (!net_send_numbered(&b->calm_net[0], mac[1], mac[0], 0, ++b->calm_seq, 200))
		bed_fail(b, "another port can't send");
	const char *wrong = net_expect(&b->calm_net[1], &id, NULL, 3000);
	if (wrong != NULL)
		bed_fail(b, "another port's frame: %s", wrong);
	if (fe_barrier(b->calm[0]) != FE_OK)
		bed_fail(b, "another port gets no answer: %s", b->calm[0]->err_text);
}

static void run_blocking_call(struct bed *b)
{
	struct lan l;
	for (unsigned q = 0; q < 2; q++) {
		if (!bed_case_begin(b, "a call descriptor of ring %u that blocks", q))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, 0)) {
			make_block(b, l.fe[1]->ring[q].call);
			vq_arm(&l.fe[1]->ring[q].vq);
			lan_put(&l, q == 0 ? 0 : 1, 0, l.mac[q == 0 ? 1 : 0], 100);
			daemon_nap(20);
			others_live(b);
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

static void run_blocking_err(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "an err descriptor that blocks"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		make_block(b, l.fe[1]->ring[1].err);
		vq_offer_raw(&l.fe[1]->ring[1].vq, 0xffff); // breaks the ring, which is told through it
		vq_publish(&l.fe[1]->ring[1].vq, true);
		daemon_nap(20);
		others_live(b);
	}
	lan_close(&l);
	bed_case_end(b);
}

static void run_not_eventfds(struct bed *b)
{
	struct lan l;
	int odd[4] = {-1, -1, -1, -1};
	if (!bed_case_begin(b, "pipes and sockets instead of eventfds"))
		return;
	if (pipe(odd) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, odd + 2) != 0)
		bed_fail(b, "pipe: %m");
	if (lan_open(&l, b, 1, NULL, NULL, 0))
		for (uint32_t id = 12; id <= 14; id++)
			for (unsigned k = 1; k < 4; k += 2) {
				uint64_t index = 1;
				enum fe_res res = fe_ack(l.fe[0], id, &index, sizeof(index), &odd[k], 1);
				if (res != FE_NACK)
					bed_fail(b, "message %u, descriptor of kind %u: %s", id, k, fe_res_name(res));
			}
	for (unsigned k = 0; k < 4; k++)
		close(odd[k]);
	lan_close(&l);
	bed_case_end(b);
}

// Nobody sends to it: the transmit ring alone must find out. At base 500 the zero page that takes the memory's place looks like an
// index that went too far.
static void run_sender_without_memory(struct bed *b)
{
	static const uint16_t base[] = {0, 500};
	for (unsigned i = 0; i < ARRAY_LEN(base); i++) {
		struct lan l;
		uint64_t one = 1;
		if (!bed_case_begin(b, "memory of a sender is emptied, base %u", base[i]))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, base[i])) {
			const struct gmem_region *r = &l.fe[1]->mem->region[0];
			if (ftruncate(r->fd, 0) != 0 || write(l.fe[1]->ring[1].kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
				bed_fail(b, "kick: %m");
			if (!closes(l.fe[1]))
				bed_fail(b, "the connection with no memory left stays open");
			if (ftruncate(r->fd, (off_t)r->size) != 0)
				bed_fail(b, "ftruncate back: %m");
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

// Two front ends on one path; the active one's memory goes and it hangs up: the other one is not to blame.
static void run_other_ones_memory(struct bed *b)
{
	for (unsigned k = 0; k < 10; k++) {
		struct lan l;
		if (!bed_case_begin(b, "the memory of the front end before, time %u", k))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, 0)) {
			struct fe *first = l.fe[0];
			struct net net = l.net[0][0];
			l.fe[0] = NULL;
			l.net[0][0] = (struct net){0};
			const struct gmem_region *r = &first->mem->region[0];
			if (lan_prepare(&l, b, 0, NULL, NULL, 0) && lan_start(&l, 0) && fe_barrier(l.fe[0]) == FE_OK) {
				if (ftruncate(r->fd, 0) != 0)
					bed_fail(b, "ftruncate: %m");
				lan_put(&l, 1, 0, l.mac[0], 100);
				shutdown(first->sock, SHUT_RDWR);
				daemon_nap(50);
				if (fe_barrier(l.fe[0]) != FE_OK)
					bed_fail(b, "it was closed, too: %s", l.fe[0]->err_text);
				if (ftruncate(r->fd, (off_t)r->size) != 0)
					bed_fail(b, "ftruncate back: %m");
			}
			net_fini(&net);
			fe_free(first);
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

// SET_LOG_FD: rung when a page is logged, not when none is; a new one takes the place of the old.
static void run_doorbell(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "the log's doorbell"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		struct flog *log = flog_new(l.fe[1]->mem, 0);
		uint64_t count;
		for (unsigned i = 0; log != NULL && i < 2; i++) {
			int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
			if (fe_ack(l.fe[1], VU_SET_LOG_FD, NULL, 0, &bell, 1) != FE_OK)
				bed_fail(b, "SET_LOG_FD: %s", l.fe[1]->err_text);
			if (i == 0 && fe_log_start(l.fe[1], log->fd, log->bytes, 0) != FE_OK)
				bed_fail(b, "log start: %s", l.fe[1]->err_text);
			// The switch's announcements may come in between, and one may have its bit taken and its ring still to come: not thrice.
			unsigned rang_for_nothing = 0;
			for (unsigned k = 0; k < 3; k++) {
				flog_harvest(log);
				ssize_t ignored = read(bell, &count, sizeof(count));
				(void)ignored;
				daemon_nap(20);
				bool rang = read(bell, &count, sizeof(count)) > 0;
				rang_for_nothing += flog_harvest(log) == 0 && rang;
			}
			if (rang_for_nothing == 3)
				bed_fail(b, "it rings although nothing is logged");
			lan_both(&l, 3);
			if (read(bell, &count, sizeof(count)) != (ssize_t)sizeof(count))
				bed_fail(b, "doorbell %u is not rung", i);
			close(bell);
		}
		fe_log_stop(l.fe[1]);
		fe_barrier(l.fe[1]);
		flog_free(log);
	}
	lan_close(&l);
	bed_case_end(b);
}

const struct bed_row rows_peer[] = {
	{"blocking call", run_blocking_call},
	{"blocking err", run_blocking_err},
	{"no eventfds", run_not_eventfds},
	{"sender's memory", run_sender_without_memory},
	{"other one's memory", run_other_ones_memory},
	{"doorbell", run_doorbell},
	{NULL, NULL},
};
