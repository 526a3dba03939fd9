// Framing: any split of bytes gives the same messages, descriptors go with byte 0, nothing is read beyond the message.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "wire/vu_frame.h"

struct fix {
	int fe, be; // the two ends
	struct vu_frame *f;
	int fds_before;
	struct why why;
};

static int setup(void **state)
{
	static struct fix x;
	int sv[2];
	x.fds_before = fd_count_open();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) != 0)
		return -1;
	x.fe = sv[0];
	x.be = sv[1];
	x.f = vu_frame_new();
	*state = &x;
	return x.f ? 0 : -1;
}

static int teardown(void **state)
{
	struct fix *x = *state;
	vu_frame_free(x->f);
	fd_reset(&x->fe);
	fd_reset(&x->be);
	assert_int_equal(fd_count_open(), x->fds_before);
	return 0;
}

static void send_fds(int sock, const void *bytes, size_t len, const int *fds, unsigned n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 32)];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (n) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static size_t message(uint8_t *buf, uint32_t request, uint32_t size, uint8_t fill)
{
	struct vu_hdr hdr = { .request = request, .flags = 1, .size = size };
	memcpy(buf, &hdr, sizeof(hdr));
	memset(buf + sizeof(hdr), fill, size);
	return sizeof(hdr) + size;
}

static void expect_message(const struct vu_in *in, uint32_t request, uint32_t size, uint8_t fill)
{
	assert_int_equal(in->hdr.request, request);
	assert_int_equal(in->hdr.size, size);
	for (uint32_t i = 0; i < size; i++)
		assert_int_equal(in->payload[i], fill);
}

static void every_split(void **state)
{
	struct fix *x = *state;
	static const uint32_t sizes[] = { 0, 1, 8, 40, 264 };
	uint8_t buf[512];
	for (unsigned s = 0; s < 5; s++) {
		size_t len = message(buf, 9, sizes[s], 0x5a);
		for (size_t cut = 1; cut < len; cut++) {
			struct vu_in in;
			send_fds(x->fe, buf, cut, &x->fe, 1);
			assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), AGAIN);
			send_fds(x->fe, buf + cut, len - cut, NULL, 0);
			assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
			expect_message(&in, 9, sizes[s], 0x5a);
			assert_int_equal(in.n_fds, 1);
			assert_true(fcntl(in.fds[0], F_GETFD) & FD_CLOEXEC);
			fd_reset_all(in.fds, VU_MAX_FDS);
		}
	}
}

static void byte_by_byte(void **state)
{
	struct fix *x = *state;
	uint8_t buf[512];
	struct vu_in in;
	size_t len = message(buf, 5, 264, 7);
	for (size_t i = 0; i < len; i++) {
		send_fds(x->fe, buf + i, 1, NULL, 0);
		assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), i + 1 == len ? OK : AGAIN);
	}
	expect_message(&in, 5, 264, 7);
}

static void glued(void **state)
{
	struct fix *x = *state;
	uint8_t buf[1024];
	struct vu_in in;
	size_t len = 0;
	for (uint32_t i = 0; i < 20; i++)
		len += message(buf + len, i, i, (uint8_t)i);
	send_fds(x->fe, buf, len, NULL, 0);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
		expect_message(&in, i, i, (uint8_t)i);
		if (i == 10) { // the next one is still in the kernel, untouched
			struct vu_hdr peek;
			assert_int_equal(recv(x->be, &peek, sizeof(peek), MSG_PEEK), sizeof(peek));
			assert_int_equal(peek.request, 11);
		}
	}
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), AGAIN);
}

static void glued_with_fds_apart(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	struct vu_in in;
	size_t len = message(buf, 12, 8, 1);
	send_fds(x->fe, buf, len, &x->fe, 1);
	send_fds(x->fe, buf, len, NULL, 0);
	int two[2] = { x->fe, x->be };
	send_fds(x->fe, buf, len, two, 2);
	for (unsigned want = 1, i = 0; i < 3; i++, want = i == 1 ? 0 : 2) {
		assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
		assert_int_equal(in.n_fds, want);
		fd_reset_all(in.fds, VU_MAX_FDS);
	}
}

static void fds_with_later_bytes_are_closed(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	struct vu_in in;
	size_t len = message(buf, 12, 8, 1);
	static const size_t cuts[] = { 1, 6, 11, 12, 13, 19 };
	int before = fd_count_open();
	for (unsigned i = 0; i < 6; i++) {
		send_fds(x->fe, buf, cuts[i], NULL, 0);
		assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), AGAIN);
		send_fds(x->fe, buf + cuts[i], len - cuts[i], &x->fe, 1);
		assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
		assert_int_equal(in.n_fds, 0);
		assert_int_equal(fd_count_open(), before);
	}
}

static void eight_fds_are_taken_nine_are_not(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	struct vu_in in;
	int nine[9];
	for (unsigned i = 0; i < 9; i++)
		nine[i] = x->fe;
	size_t len = message(buf, 5, 0, 0);
	send_fds(x->fe, buf, len, nine, 8);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
	assert_int_equal(in.n_fds, 8);
	fd_reset_all(in.fds, VU_MAX_FDS);
	int before = fd_count_open();
	send_fds(x->fe, buf, len, nine, 9);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), DESYNC);
	assert_int_equal(fd_count_open(), before);
	assert_non_null(strstr(x->why.text, "lost"));
}

static void file_limit(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	struct vu_in in;
	int three[3] = { x->fe, x->fe, x->fe };
	int before = fd_count_open();
	struct rlimit old, tight;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	int top = dup(x->fe); // the lowest free number: room for one more descriptor only
	tight = old;
	tight.rlim_cur = (rlim_t)top + 1;
	close(top);
	send_fds(x->fe, buf, message(buf, 5, 0, 0), three, 3);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	enum err e = vu_frame_recv(x->f, x->be, &in, &x->why);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(e, DESYNC);
	assert_int_equal(fd_count_open(), before);
}

static void oversize(void **state)
{
	struct fix *x = *state;
	struct vu_in in;
	uint8_t buf[sizeof(struct vu_hdr) + VU_MAX_PAYLOAD];
	send_fds(x->fe, buf, message(buf, 5, VU_MAX_PAYLOAD, 3), NULL, 0);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), OK);
	struct vu_hdr hdr = { .request = 5, .flags = 1, .size = VU_MAX_PAYLOAD + 1 };
	send_fds(x->fe, &hdr, sizeof(hdr), &x->fe, 1);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), DESYNC);
	assert_non_null(strstr(x->why.text, "4097")); // teardown checks that the descriptor is closed with the frame object
}

static void end_of_stream(void **state)
{
	struct fix *x = *state;
	struct vu_in in;
	fd_reset(&x->fe);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), DESYNC);
	assert_true(vu_frame_eof(x->f));
}

static void end_inside_a_message(void **state)
{
	struct fix *x = *state;
	struct vu_in in;
	uint8_t buf[64];
	size_t len = message(buf, 12, 8, 1);
	send_fds(x->fe, buf, len - 1, &x->be, 1);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), AGAIN);
	fd_reset(&x->fe);
	assert_int_equal(vu_frame_recv(x->f, x->be, &in, &x->why), DESYNC);
	assert_false(vu_frame_eof(x->f));
}

static void replies_in_parts(void **state)
{
	struct fix *x = *state;
	uint8_t reply[VU_REPLY_MAX], junk[4096];
	uint32_t len = vu_reply_u64(reply, 15, 0x1122334455667788u);
	assert_int_equal(len, 20);
	assert_memory_equal(reply, ((uint8_t[]){ 15, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0 }), 12);
	memset(junk, 0xee, sizeof(junk));
	size_t filled = 0;
	for (ssize_t n; (n = send(x->be, junk, sizeof(junk), MSG_DONTWAIT)) > 0;)
		filled += (size_t)n;
	assert_int_equal(vu_frame_send(x->f, x->be, reply, len, &x->why), AGAIN);
	assert_true(vu_frame_pending(x->f));
	assert_int_equal(vu_frame_send(x->f, x->be, reply, len, &x->why), OURS); // one at a time
	while (filled > 0) {
		ssize_t n = recv(x->fe, junk, filled < sizeof(junk) ? filled : sizeof(junk), 0);
		assert_true(n > 0);
		filled -= (size_t)n;
	}
	assert_int_equal(vu_frame_flush(x->f, x->be, &x->why), OK);
	assert_false(vu_frame_pending(x->f));
	uint8_t got[64];
	assert_int_equal(recv(x->fe, got, sizeof(got), 0), 20);
	assert_memory_equal(got, reply, 20);
}

static void reply_to_a_closed_peer(void **state)
{
	struct fix *x = *state;
	uint8_t reply[VU_REPLY_MAX];
	fd_reset(&x->fe);
	assert_int_equal(vu_frame_send(x->f, x->be, reply, vu_reply_u64(reply, 1, 0), &x->why), DESYNC);
}

static void reply_too_long_is_none(void **state)
{
	(void)state;
	uint8_t reply[VU_REPLY_MAX], payload[64] = { 0 };
	assert_int_equal(vu_reply_build(reply, 1, payload, 53), 0);
	assert_int_equal(vu_reply_build(reply, 1, payload, 52), 64);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_split), T(byte_by_byte), T(glued), T(glued_with_fds_apart), T(fds_with_later_bytes_are_closed),
		T(eight_fds_are_taken_nine_are_not), T(file_limit), T(oversize), T(end_of_stream), T(end_inside_a_message),
		T(replies_in_parts), T(reply_to_a_closed_peer), T(reply_too_long_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
