// How messages come along the stream: cut at every byte, glued together, descriptors in the wrong place, and noise.
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static uint32_t flat(uint8_t *to, const struct msg *m, bool need_reply)
{
	struct vu_hdr h = {.request = m->id, .flags = VU_VERSION | (need_reply ? VU_FLAG_NEED_REPLY : 0), .size = m->size};
	memcpy(to, &h, sizeof(h));
	memcpy(to + sizeof(h), m->payload, m->size);
	return (uint32_t)sizeof(h) + m->size;
}

static void run_cuts(struct bed *b)
{
	static const uint32_t ids[] = {VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_MEM_TABLE, VU_SET_VRING_KICK,
				       VU_GET_VRING_BASE};
	int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		if (!bed_case_begin(b, "%s cut at each byte", vu_name(ids[i])))
			continue;
		struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
		uint8_t bytes[600];
		struct msg m;
		struct bed_outcome o;
		if (fe != NULL)
			msg_good(&m, fe, ids[i], 0, fd);
		uint32_t n = fe != NULL ? flat(bytes, &m, true) : 0;
		for (uint32_t cut = 1; cut < n; cut++) {
			bool ok = conn_send(fe->sock, bytes, cut, m.fds, m.n_fds);
			if (cut % 8 == 1)
				daemon_nap(1); // some of the cuts are seen as cuts for sure
			ok = ok && conn_send(fe->sock, bytes + cut, n - cut, NULL, 0);
			bed_outcome(fe, ids[i], ok, &o);
			msg_check(b, ids[i], &o, ids[i] == VU_GET_VRING_BASE ? EX_OWN : EX_ACK, 8);
			if (ids[i] == VU_SET_VRING_KICK) // started now: stop it again
				fe_get_base(fe, 0, &(uint32_t){0});
		}
		fe_free(fe);
		bed_case_end(b);
	}
	fd_reset(&fd);
}

static void run_byte_by_byte(struct bed *b)
{
	if (!bed_case_begin(b, "every byte by itself"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
	uint8_t bytes[600];
	struct msg m;
	struct bed_outcome o;
	uint32_t n = 0;
	if (fe != NULL) {
		msg_good(&m, fe, VU_SET_MEM_TABLE, 0, -1);
		n = flat(bytes, &m, true);
	}
	bool ok = fe != NULL;
	for (uint32_t i = 0; ok && i < n; i++) {
		ok = conn_send(fe->sock, bytes + i, 1, m.fds, i == 0 ? m.n_fds : 0);
		daemon_nap(1);
	}
	if (fe != NULL) {
		bed_outcome(fe, m.id, ok, &o);
		msg_check(b, m.id, &o, EX_ACK, 0);
	}
	fe_free(fe);
	bed_case_end(b);
}

// Many messages in one write: one reply each, in order.
static void run_glued(struct bed *b)
{
	if (!bed_case_begin(b, "60 messages in one write"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
	uint8_t bytes[4096];
	uint32_t n = 0, order[60];
	struct msg m;
	for (unsigned i = 0; fe != NULL && i < 60; i++) {
		static const uint32_t ids[] = {VU_GET_FEATURES, VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_GET_QUEUE_NUM,
					       VU_SET_VRING_ENABLE};
		order[i] = ids[i % ARRAY_LEN(ids)];
		msg_good(&m, fe, order[i], i % 32, -1);
		if (order[i] == VU_SET_VRING_NUM && i % 2)
			m.payload[4] = 3; // refused: the next ones are handled all the same
		n += flat(bytes + n, &m, true);
	}
	bool ok = fe != NULL && conn_send(fe->sock, bytes, n, NULL, 0);
	for (unsigned i = 0; ok && i < 60; i++) {
		struct conn_msg r;
		if (fe_recv(fe, &r, order[i]) != FE_OK) {
			bed_fail(b, "reply %u: %s", i, fe->err_text);
			break;
		}
		b->checks++;
		if (order[i] == VU_SET_VRING_NUM && (r.payload[0] != 0) != (i % 2 != 0))
			bed_fail(b, "reply %u: value %u", i, r.payload[0]);
	}
	fe_free(fe);
	bed_case_end(b);
}

// Descriptors belong to the first byte of the header; those that come with a later one are nobody's.
static void run_late_descriptors(struct bed *b)
{
	static const uint32_t at[] = {1, 5, 11, 12, 15};
	int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
		if (!bed_case_begin(b, "SET_VRING_CALL with its fd at byte %u", at[i]))
			continue;
		struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
		uint8_t bytes[64];
		struct msg m;
		struct bed_outcome o;
		if (fe != NULL) {
			msg_good(&m, fe, VU_SET_VRING_CALL, 0, fd);
			uint32_t n = flat(bytes, &m, true);
			bool ok = conn_send(fe->sock, bytes, at[i], NULL, 0);
			daemon_nap(5); // read by now: the kernel would hand out both pieces, and the descriptor, as one
			ok = ok && conn_send(fe->sock, bytes + at[i], n - at[i], m.fds, 1);
			bed_outcome(fe, m.id, ok, &o);
			msg_check(b, m.id, &o, EX_NACK, 0);
		}
		fe_free(fe);
		bed_case_end(b);
	}
	fd_reset(&fd);
}

// The end of the stream inside a message; descriptors that came with it are closed.
static void run_torn(struct bed *b)
{
	static const uint32_t at[] = {1, 11, 12, 13, 20, 51};
	int fd = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < ARRAY_LEN(at); i++)
		for (unsigned fds = 0; fds < 3; fds++) {
			if (!bed_case_begin(b, "SET_MEM_TABLE ends at byte %u, %u fds", at[i], fds))
				continue;
			struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
			uint8_t bytes[600];
			struct msg m;
			if (fe != NULL) {
				msg_good(&m, fe, VU_SET_MEM_TABLE, 0, fd);
				flat(bytes, &m, true);
				conn_send(fe->sock, bytes, at[i], m.fds, fds);
				if (i % 2)
					shutdown(fe->sock, SHUT_WR);
			}
			fe_free(fe);
			bed_case_end(b);
		}
	fd_reset(&fd);
}

// A front end that asks and does not read: the daemon must stop reading it, not eat memory, and go on with the others.
static void run_deaf(struct bed *b)
{
	if (!bed_case_begin(b, "a front end that never reads its replies"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
	struct vu_hdr h = {.request = VU_GET_FEATURES, .flags = VU_VERSION};
	unsigned sent = 0;
	uint64_t rss = daemon_rss_kb(&b->d);
	for (; fe != NULL && sent < 200000; sent++)
		if (send(fe->sock, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(h))
			break;
	daemon_nap(50);
	if (sent == 200000)
		bed_fail(b, "it reads on and on");
	if (daemon_rss_kb(&b->d) > rss + 4096)
		bed_fail(b, "memory grew by %llu KiB", (unsigned long long)(daemon_rss_kb(&b->d) - rss));
	fe_free(fe);
	bed_case_end(b);
}

static uint32_t noise_next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

// Random messages, mostly with good headers, until the daemon closes; always the same ones.
static void run_noise(struct bed *b)
{
	uint32_t s = 12345;
	int fd = eventfd(0, EFD_CLOEXEC), fds[8] = {fd, fd, fd, fd, fd, fd, fd, fd};
	for (unsigned session = 0; session < 40; session++) {
		if (!bed_case_begin(b, "noise session %u", session))
			continue;
		struct fe *fe = bed_front_end(b, "a", session % 2 ? BED_PREPARED : BED_RUNNING, NULL, -1);
		for (unsigned i = 0; fe != NULL && i < 60; i++) {
			uint8_t payload[300];
			struct msg good;
			uint32_t id = noise_next(&s) % 46, n_fds = noise_next(&s) % 8 ? 0 : noise_next(&s) % 9;
			msg_good(&good, fe, id, noise_next(&s) % 3, fd);
			uint32_t size = noise_next(&s) % 4 ? good.size : noise_next(&s) % (uint32_t)sizeof(payload);
			for (unsigned k = 0; k < sizeof(payload); k++)
				payload[k] = (uint8_t)noise_next(&s);
			if (noise_next(&s) % 2 && good.size <= sizeof(payload)) { // right but for one byte
				memcpy(payload, good.payload, good.size);
				if (good.size > 0)
					payload[noise_next(&s) % good.size] ^= (uint8_t)(1u << noise_next(&s) % 8);
				n_fds = good.n_fds;
			}
			if (size > sizeof(payload) ||
			    !conn_send_msg(fe->sock, id, VU_VERSION | (noise_next(&s) & 8), payload, size,
					   id == VU_SET_MEM_TABLE ? good.fds : fds, n_fds))
				break;
			struct conn_msg r;
			while (conn_recv(fe->sock, &r, 0) == CONN_MSG)
				conn_msg_close_fds(&r);
		}
		fe_free(fe);
		bed_case_end(b);
	}
	fd_reset(&fd);
}

const struct bed_row rows_frame[] = {
	{"cut messages", run_cuts},    {"bytes", run_byte_by_byte},
	{"glued messages", run_glued}, {"late descriptors", run_late_descriptors},
	{"torn messages", run_torn},   {"deaf front end", run_deaf},
	{"noise", run_noise},          {NULL, NULL},
};
