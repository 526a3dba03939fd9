// The relay: messages and their descriptors come out as they went in, in order and whole; what is done between two of them is done there; an end is
// passed on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "lab/relay.h"
#include "wire/vu_frame.h"

static char dir[40], path[60], to[60];
static struct relay *relay;
static int listener = -1;
static unsigned seen, seen_conn;
static uint32_t seen_request[100];

static void on_message(void *arg, const struct relay *r, unsigned conn, const struct vu_hdr *hdr, const uint8_t *payload)
{
	assert_ptr_equal(arg, &seen);
	assert_ptr_equal(r, relay);
	(void)payload;
	seen_conn = conn;
	seen_request[seen++ % 100] = hdr->request;
}

static struct sockaddr_un address(const char *p)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	strcpy(sa.sun_path, p);
	return sa;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/relay-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/a", dir);
	snprintf(to, sizeof(to), "%s/b", dir);
	struct sockaddr_un sa = address(to);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	seen = 0;
	return bind(listener, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(listener, 4) == 0 &&
		relay_open(&relay, path, to, on_message, &seen, NULL) == OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	relay_close(relay);
	fd_reset(&listener);
	unlink(path);
	unlink(to);
	rmdir(dir);
	return 0;
}

static int call(int *back)
{
	struct sockaddr_un sa = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	*back = accept(listener, NULL, NULL);
	assert_true(*back >= 0);
	return fd;
}

static void put(int fd, uint32_t request, uint32_t size, const int *fds, unsigned n)
{
	uint8_t message[sizeof(struct vu_hdr) + 300];
	struct vu_hdr h = { .request = request, .flags = 1, .size = size };
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int) * VU_MAX_FDS)];
	} control = { .head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(n * sizeof(int)) } };
	memcpy(message, &h, sizeof(h));
	memset(message + sizeof(h), (int)request, size);
	if (n)
		memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
	struct iovec iov = { message, sizeof(h) + size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = n ? control.bytes : NULL, .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0 };
	assert_int_equal(sendmsg(fd, &m, 0), sizeof(h) + size);
}

static void get(struct vu_frame *f, int fd, struct vu_in *in)
{
	enum err e;
	struct why why = { "" };
	while ((e = vu_frame_recv(f, fd, in, &why)) == AGAIN)
		usleep(1000);
	assert_int_equal(e, OK);
}

static void test_messages(void **state)
{
	(void)state;
	int back, pipes[2];
	int front = call(&back);
	struct vu_frame *f = vu_frame_new();
	struct vu_in in;
	assert_int_equal(pipe(pipes), 0);
	for (unsigned i = 1; i <= 50; i++)
		put(front, i, i * 5, pipes, i % 3 ? 0 : 2);
	for (unsigned i = 1; i <= 50; i++) {
		get(f, back, &in);
		assert_int_equal(in.hdr.request, i);
		assert_int_equal(in.hdr.size, i * 5);
		assert_int_equal(in.payload[i * 5 - 1], i);
		assert_int_equal(in.n_fds, i % 3 ? 0 : 2);
		if (in.n_fds) { // they are those of the pipe
			char c = (char)i;
			assert_int_equal(write(in.fds[1], &c, 1), 1);
			c = 0;
			assert_int_equal(read(pipes[0], &c, 1), 1);
			assert_int_equal(c, (char)i);
		}
		fd_reset_all(in.fds, VU_MAX_FDS);
		assert_true(seen >= i);
		assert_int_equal(seen_request[i - 1], i);
	}
	char bytes[10] = "";
	assert_int_equal(write(back, "answer", 6), 6);
	assert_int_equal(read(front, bytes, sizeof(bytes)), 6);
	assert_string_equal(bytes, "answer");
	assert_int_equal(seen_conn, 1);
	vu_frame_free(f);
	close(pipes[0]);
	close(pipes[1]);
	close(front);
	close(back);
}

static void test_ends(void **state)
{
	(void)state;
	int back[2];
	char byte;
	int first = call(&back[0]), second = call(&back[1]);
	close(first);
	assert_int_equal(read(back[0], &byte, 1), 0);
	put(second, 7, 0, NULL, 0);
	struct vu_frame *f = vu_frame_new();
	struct vu_in in;
	get(f, back[1], &in);
	assert_int_equal(in.hdr.request, 7);
	assert_int_equal(seen_conn, 2);
	close(back[1]);
	assert_int_equal(read(second, &byte, 1), 0);
	vu_frame_free(f);
	close(back[0]);
	close(second);
}

static void test_nobody_there(void **state)
{
	(void)state;
	struct sockaddr_un sa = address(path);
	char byte;
	fd_reset(&listener);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_messages), T(test_ends), T(test_nobody_there) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
