// All that is kept, written down and read back: messages half received, in hand and half answered; what is lost; and images of any bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "custody/image.h"

static struct custody *a, *b;
static struct custody_keeper me, you;
static struct why why;
static int fds_before, peer[4];
static int lost; // this number is

static struct conn *add(unsigned i, enum conn_state state)
{
	int pair[2];
	struct conn *c = custody_new_conn(a);
	assert_non_null(c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	c->state = state;
	c->fd = pair[0];
	peer[i] = pair[1];
	c->id = UINT64_C(5) << 32 | (i + 1);
	c->seq = 10 + i;
	c->pid = 100 + (int)i;
	c->uid = 7;
	c->since_us = 1000 + i;
	snprintf(c->port, sizeof(c->port), "vm%u", i);
	return c;
}

static void keep(struct conn *c, uint64_t seq, uint32_t place)
{
	c->kept[c->n_kept++] = (struct kept){ { seq, place, 0 }, eventfd(0, EFD_CLOEXEC) };
}

// The front end's bytes, and as many descriptors with the first.
static void front_end_says(int sock, const void *bytes, size_t n, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 4)];
	} control;
	int fds[4];
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	memset(&control, 0, sizeof(control));
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = eventfd(0, 0);
	if (n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(h), fds, sizeof(int) * n_fds);
	}
	assert_int_equal(sendmsg(sock, &msg, 0), (ssize_t)n);
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
}

static const uint8_t mem_table[12 + 40] = { 5, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4 };

static int set_up(void **state)
{
	struct vu_in in;
	(void)state;
	fds_before = fd_count_open();
	a = calloc(1, sizeof(*a));
	b = calloc(1, sizeof(*b));
	custody_init(a);
	custody_init(b);
	lost = -1;
	custody_put(a, ":lock", eventfd(0, EFD_CLOEXEC), false);
	custody_put(a, "vm0", eventfd(0, EFD_CLOEXEC), true);
	me = (struct custody_keeper){ .life = 5, .started_us = 3, .died_us = 4, .next_conn = 4, .worker = 2, .spoken = 1, .pid = 99,
				      .exe = eventfd(0, EFD_CLOEXEC), .sock = -1, .serving = true, .hello_told = true };
	struct conn *half = add(0, CONN_IDLE); // a message of which the last bytes are missing
	front_end_says(peer[0], mem_table, sizeof(mem_table) - 5, 2);
	assert_int_equal(vu_frame_recv(&half->frame, half->fd, &in, &why), AGAIN);
	keep(half, 3, 0);
	keep(half, 3, 1);
	struct conn *hand = add(1, CONN_SENT); // one in hand
	front_end_says(peer[1], mem_table, sizeof(mem_table), 1);
	assert_int_equal(vu_frame_recv(&hand->frame, hand->fd, &in, &why), OK);
	hand->hdr = in.hdr;
	hand->n_fds = in.n_fds;
	memcpy(hand->fds, in.fds, sizeof(hand->fds));
	hand->told = true;
	hand->deaths = 2;
	struct conn *answer = add(2, CONN_REPLYING); // and an answer half sent
	answer->frame.out_len = 20;
	answer->frame.out_at = 8;
	memset(answer->frame.out, 0x5a, 20);
	answer->hang_up = true;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	custody_clear(a);
	custody_clear(b);
	for (unsigned i = 0; i < 3; i++)
		fd_reset(&peer[i]);
	fd_reset(&me.exe);
	free(a);
	free(b);
	assert_int_equal(fd_count_open(), fds_before);
	return 0;
}

static int copy(void *arg, int number)
{
	(void)arg;
	return number == lost ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 0);
}

static int save(void)
{
	int fd = -1;
	enum err e = custody_save(a, &me, NULL, &fd, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	return fd;
}

static void test_there_and_back(void **state)
{
	struct vu_in in;
	(void)state;
	int fd = save();
	enum err e = custody_load(b, &you, fd, copy, NULL, &why);
	if (e != OK)
		fail_msg("%s", why.text);
	close(fd);
	assert_int_equal(you.life, 5);
	assert_int_equal(you.next_conn, 4);
	assert_int_equal(you.worker, 2);
	assert_int_equal(you.pid, 99);
	assert_int_equal(you.sock, -1);
	assert_true(you.exe >= 0 && you.serving && you.hello_told && !you.ready_told);
	fd_reset(&you.exe);
	assert_true(custody_get(b, ":lock") >= 0);
	assert_true(custody_named(b, "vm0")->listens);
	struct conn *half = custody_conn(b, UINT64_C(5) << 32 | 1), *hand = custody_conn(b, UINT64_C(5) << 32 | 2),
		    *answer = custody_conn(b, UINT64_C(5) << 32 | 3);
	assert_non_null(half);
	assert_int_equal(half->n_kept, 2);
	assert_int_equal(half->kept[1].ref.place, 1);
	assert_string_equal(half->port, "vm0");
	front_end_says(peer[0], mem_table + sizeof(mem_table) - 5, 5, 0); // its end comes now
	assert_int_equal(vu_frame_recv(&half->frame, half->fd, &in, &why), OK);
	assert_int_equal(in.n_fds, 2);
	assert_memory_equal(in.payload, mem_table + 12, 40);
	fd_reset_all(in.fds, VU_MAX_FDS);
	assert_int_equal(hand->state, CONN_SENT);
	assert_int_equal(hand->seq, 11);
	assert_int_equal(hand->deaths, 2);
	assert_int_equal(hand->n_fds, 1);
	assert_true(hand->told && hand->fds[0] >= 0 && hand->fds[1] == -1);
	assert_int_equal(hand->hdr.size, 40);
	assert_memory_equal(hand->frame.payload, mem_table + 12, 40);
	assert_true(answer->hang_up);
	assert_int_equal(vu_frame_flush(&answer->frame, answer->fd, &why), OK);
	uint8_t got[32];
	assert_int_equal(recv(peer[2], got, sizeof(got), MSG_DONTWAIT), 12);
	assert_int_equal(got[11], 0x5a);
}

// The log of a connection that can't be gone on with is filled before its end is seen.
static void test_lost(void **state)
{
	uint8_t log[32], ones[8];
	(void)state;
	struct conn *half = custody_conn(a, UINT64_C(5) << 32 | 1);
	int mem = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(mem, 32), 0);
	half->kept[half->n_kept++] = (struct kept){ { 4, 0, 0 }, mem };
	half->log_from = 4;
	half->log_offset = 8;
	half->log_bytes = 16;
	lost = half->kept[0].fd;
	int fd = save();
	assert_int_equal(custody_load(b, &you, fd, copy, NULL, &why), OK);
	close(fd);
	fd_reset(&you.exe);
	assert_null(custody_conn(b, UINT64_C(5) << 32 | 1));
	assert_non_null(custody_conn(b, UINT64_C(5) << 32 | 2));
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(pread(mem, log, sizeof(log), 0), 32);
	assert_int_equal(log[7], 0);
	assert_memory_equal(log + 8, ones, 8);
	assert_int_equal(log[24], 0);
}

static void test_any_bytes(void **state)
{
	uint8_t bytes[4096];
	(void)state;
	int fd = save();
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);
	assert_true(n > 500 && n < (ssize_t)sizeof(bytes));
	for (ssize_t at = 0; at < n; at++) {
		uint8_t was[2] = { bytes[at], (uint8_t)(bytes[at] ^ (1 << (at % 8))) };
		you.exe = -1;
		assert_int_equal(pwrite(fd, &was[1], 1, at), 1);
		enum err e = custody_load(b, &you, fd, copy, NULL, &why);
		assert_true(e == OK || e == REFUSED);
		fd_reset(&you.exe);
		custody_clear(b);
		memset(b, 0, sizeof(*b));
		custody_init(b);
		assert_int_equal(pwrite(fd, &was[0], 1, at), 1);
	}
	for (ssize_t cut = n - 1; cut > 0; cut -= 7) {
		you.exe = -1;
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_int_equal(custody_load(b, &you, fd, copy, NULL, &why), REFUSED);
		fd_reset(&you.exe);
		custody_clear(b);
		memset(b, 0, sizeof(*b));
		custody_init(b);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_any_bytes, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
