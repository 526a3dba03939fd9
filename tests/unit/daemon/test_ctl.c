// The control socket against clients that mean ill: long lines, bytes that are no text, deep nesting, pipelines, a reader that
// does not read, too many at once. A second thread plays the client, since the server shares its loop with everything else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "daemon/ctl_server.h"
#include "loop/loop.h"
#include "mock_vd.h"

#define BIG (1u << 20)
#define WAIT_MS 5000

// -- methods that the server offers here ----------------------------------------------------------------------------------

static struct ctl_client *waiting; // the server thread's
static _Atomic unsigned calls, gone;

static enum err rpc_echo(struct rpc_call *call, struct why *why)
{
	(void)why;
	calls++;
	call->result = json_pack("{s:O?}", "params", call->params);
	return OK;
}

static enum err rpc_refuse(struct rpc_call *call, struct why *why)
{
	const char *text = json_string_value(json_object_get(call->params, "text"));
	return refuse(why, "no: %.40s", text ? text : "");
}

static enum err rpc_big(struct rpc_call *call, struct why *why)
{
	(void)why;
	static char text[BIG + 1];
	memset(text, 'x', BIG);
	call->result = json_pack("{s:s}", "text", text);
	return OK;
}

static void on_gone(void *arg)
{
	gone++;
	*(struct ctl_client **)arg = NULL;
}

static enum err rpc_follow(struct rpc_call *call, struct why *why)
{
	return ctl_client_on_gone(call->client, on_gone, &waiting) ? OK : refuse(why, "this connection follows already");
}

static enum err rpc_later(struct rpc_call *call, struct why *why)
{
	if (!ctl_client_on_gone(call->client, on_gone, &waiting))
		return refuse(why, "this connection waits already");
	waiting = call->client;
	call->later = true;
	return OK;
}

static enum err rpc_wake(struct rpc_call *call, struct why *why)
{
	(void)call;
	struct ctl_client *c = waiting;
	if (!c)
		return refuse(why, "nobody waits");
	ctl_client_on_gone(c, NULL, NULL);
	waiting = NULL;
	ctl_client_notify(c, "event", json_pack("{s:i}", "seq", 1));
	ctl_client_answer(c, json_pack("{s:b}", "woken", 1), NULL);
	return OK;
}

const struct rpc_method rpc_methods[] = {
	{ "echo", false, rpc_echo }, { "refuse", false, rpc_refuse }, { "big", true, rpc_big }, { "later", false, rpc_later },
	{ "follow", false, rpc_follow },
	{ "wake", false, rpc_wake }, { NULL, false, NULL },
};

// -- the server's thread ----------------------------------------------------------------------------------------------------

struct bed {
	struct vd vd;
	struct ctl_server *server;
	char dir[64], path[96];
	int stop[2]; // a byte ends the loop
	struct watch *watch;
	pthread_t thread;
	int fds;
};

static void on_stop(void *arg, int fd, int ready)
{
	struct bed *b = arg;
	(void)fd, (void)ready;
	loop_stop(b->vd.loop);
}

static void *serve(void *arg)
{
	struct bed *b = arg;
	loop_run(b->vd.loop);
	ctl_server_free(b->server);
	return NULL;
}

static int bed_open(void **state)
{
	static struct bed b;
	struct why why = { "" };
	memset(&b, 0, sizeof(b));
	calls = gone = 0;
	waiting = NULL;
	b.fds = fd_count_open();
	snprintf(b.dir, sizeof(b.dir), "/tmp/vringd-test-XXXXXX");
	assert_non_null(mkdtemp(b.dir));
	snprintf(b.path, sizeof(b.path), "%s/control.sock", b.dir);
	b.vd.loop = loop_new();
	assert_int_equal(pipe(b.stop), 0);
	b.watch = watch_new(b.vd.loop, b.stop[0], LOOP_READ, on_stop, &b);
	if (ctl_server_new(&b.server, &b.vd, NULL, b.path, &why) != OK)
		fail_msg("%s", why.text);
	assert_int_equal(pthread_create(&b.thread, NULL, serve, &b), 0);
	*state = &b;
	return 0;
}

static int bed_close(void **state)
{
	struct bed *b = *state;
	struct stat st;
	assert_int_equal(write(b->stop[1], "x", 1), 1);
	pthread_join(b->thread, NULL);
	watch_free(b->watch);
	loop_free(b->vd.loop);
	fd_reset_all(b->stop, 2);
	assert_int_equal(stat(b->path, &st), -1); // the path goes with the server
	assert_int_equal(rmdir(b->dir), 0);
	assert_int_equal(fd_count_open(), b->fds);
	return 0;
}

// -- the client -------------------------------------------------------------------------------------------------------------

static int dial(const struct bed *b)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = { .tv_sec = WAIT_MS / 1000 };
	memcpy(sa.sun_path, b->path, strlen(b->path) + 1);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static bool say(int fd, const void *p, size_t n)
{
	const char *at = p;
	while (n) {
		ssize_t done = send(fd, at, n, MSG_NOSIGNAL);
		if (done <= 0)
			return false;
		at += done;
		n -= (size_t)done;
	}
	return true;
}

static bool tell(int fd, const char *line)
{
	return say(fd, line, strlen(line));
}

// The next line as JSON; NULL: the server closed, or nothing came.
static json_t *hear(int fd)
{
	static char line[2 * BIG];
	size_t n = 0;
	while (n < sizeof(line)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) != 1 || recv(fd, line + n, 1, 0) != 1)
			return NULL;
		if (line[n] == '\n')
			break;
		n++;
	}
	json_error_t err;
	json_t *j = json_loadb(line, n, JSON_REJECT_DUPLICATES, &err);
	if (!j)
		fail_msg("answer is no JSON: %s: %.200s", err.text, line);
	return j;
}

static int error_code(json_t *j)
{
	int code = (int)json_integer_value(json_object_get(json_object_get(j, "error"), "code"));
	assert_string_equal(json_string_value(json_object_get(j, "jsonrpc")), "2.0");
	json_decref(j);
	return code;
}

static bool closed(int fd)
{
	char c[4096];
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, WAIT_MS) != 1)
			return false;
		if (recv(fd, c, sizeof(c), 0) <= 0)
			return true;
	}
}

// The server is alive and answers somebody who behaves.
static void assert_serves(const struct bed *b)
{
	int fd = dial(b);
	assert_true(tell(fd, "{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"echo\",\"params\":{\"a\":1}}\n"));
	json_t *j = hear(fd);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "id")), "q");
	json_t *r = json_object_get(j, "result");
	assert_int_equal(json_integer_value(json_object_get(r, "api")), 1);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(r, "params"), "a")), 1);
	json_decref(j);
	close(fd);
}

static void test_rights(void **state)
{
	struct bed *b = *state;
	struct stat st;
	struct why why;
	struct ctl_server *other = NULL;
	char longer[200];
	assert_int_equal(stat(b->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_serves(b);
	memset(longer, 'p', sizeof(longer) - 1);
	longer[0] = '/';
	longer[199] = '\0';
	assert_int_equal(ctl_server_new(&other, &b->vd, NULL, longer, &why), REFUSED);
	assert_non_null(strstr(why.text, "107 bytes"));
	assert_int_equal(ctl_server_new(&other, &b->vd, NULL, "/nonexistent/c.sock", &why), OURS);
	assert_int_equal(ctl_server_new(&other, &b->vd, NULL, b->path, &why), REFUSED); // somebody listens there
	assert_non_null(strstr(why.text, "another daemon listens there"));
	assert_serves(b);
}

static void test_bad_requests(void **state)
{
	struct bed *b = *state;
	static const struct {
		const char *line;
		int code;
	} rows[] = {
		{ "nonsense\n", -32700 },
		{ "{\"jsonrpc\":\"2.0\"\n", -32700 },
		{ "{\"id\":1,\"id\":2,\"method\":\"echo\"}\n", -32700 },
		{ "[]\n", -32600 },
		{ "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\"}]\n", -32600 },
		{ "{}\n", -32600 },
		{ "{\"id\":1,\"method\":7}\n", -32600 },
		{ "{\"id\":1,\"method\":\"echo\",\"params\":[1]}\n", -32600 },
		{ "{\"id\":{},\"method\":\"echo\"}\n", -32600 },
		{ "{\"id\":1,\"method\":\"\"}\n", -32601 },
		{ "{\"id\":1,\"method\":\"ech\"}\n", -32601 },
		{ "{\"id\":1,\"method\":\"refuse\"}\n", -32000 },
	};
	int fd = dial(b); // one connection takes them all
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(say(fd, rows[i].line, strlen(rows[i].line)));
		json_t *j = hear(fd);
		if (!j)
			fail_msg("no answer to %s", rows[i].line);
		assert_int_equal(error_code(j), rows[i].code);
	}
	close(fd);
	assert_int_equal(calls, 0);
	assert_serves(b);
}

static void test_long_line(void **state)
{
	struct bed *b = *state;
	static char junk[256 * 1024];
	memset(junk, 'a', sizeof(junk));
	int fd = dial(b);
	assert_true(say(fd, junk, 64 * 1024)); // one line's limit, and no end of it
	assert_int_equal(error_code(hear(fd)), -32600);
	assert_true(closed(fd));
	close(fd);
	fd = dial(b);
	say(fd, junk, sizeof(junk)); // may fail when the server closes: that is what is wanted
	assert_true(closed(fd));
	close(fd);
	// a request of nearly the limit is taken
	static char line[60000];
	int n = snprintf(line, sizeof(line), "{\"id\":1,\"method\":\"echo\",\"params\":{\"t\":\"");
	memset(line + n, 'b', sizeof(line) - (size_t)n - 4);
	memcpy(line + sizeof(line) - 4, "\"}}\n", 4);
	fd = dial(b);
	assert_true(say(fd, line, sizeof(line)));
	json_t *j = hear(fd);
	assert_non_null(json_object_get(j, "result"));
	json_decref(j);
	close(fd);
	assert_serves(b);
}

static void test_binary(void **state)
{
	struct bed *b = *state;
	unsigned char bytes[600];
	uint32_t x = 1;
	for (unsigned round = 0; round < 50; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			x = x * 1664525u + 1013904223u;
			bytes[i] = (unsigned char)(x >> 24);
			if (bytes[i] == '\n')
				bytes[i] = 0;
		}
		bytes[sizeof(bytes) - 1] = '\n';
		int fd = dial(b);
		assert_true(say(fd, bytes, sizeof(bytes)));
		json_t *j = hear(fd);
		if (!j)
			fail_msg("round %u: no answer", round);
		assert_int_equal(error_code(j), -32700);
		close(fd);
	}
	assert_serves(b);
}

// A text that was cut in the middle of a character must not swallow the answer.
static void test_cut_text(void **state)
{
	struct bed *b = *state;
	char line[200];
	for (unsigned before = 36; before < 41; before++) { // the cut falls on each byte of the character
		int n = snprintf(line, sizeof(line), "{\"id\":%u,\"method\":\"refuse\",\"params\":{\"text\":\"%.*s\xf0\x9f\x90\x99 tail\"}}\n",
				 before, (int)before, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
		int fd = dial(b);
		assert_true(say(fd, line, (size_t)n));
		json_t *j = hear(fd);
		if (!j)
			fail_msg("no answer when byte %u of the text is cut", before);
		assert_int_equal(error_code(j), -32000);
		close(fd);
	}
}

static void test_nesting(void **state)
{
	struct bed *b = *state;
	static char line[60001];
	memset(line, '[', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	int fd = dial(b);
	assert_true(say(fd, line, sizeof(line)));
	assert_int_equal(error_code(hear(fd)), -32700);
	close(fd);
	assert_serves(b);
}

// Any split of the bytes, several requests in one piece, empty lines: each request has its answer, in order.
static void test_pieces(void **state)
{
	struct bed *b = *state;
	static const char text[] = "\n{\"id\":1,\"method\":\"echo\"}\n\n{\"id\":2,\"method\":\"echo\"}\n{\"id\":3,\"method\":\"echo\"}\n";
	for (size_t cut = 0; cut < sizeof(text) - 1; cut += 5) {
		int fd = dial(b);
		assert_true(say(fd, text, cut));
		usleep(300);
		assert_true(say(fd, text + cut, sizeof(text) - 1 - cut));
		for (int id = 1; id <= 3; id++) {
			json_t *j = hear(fd);
			assert_int_equal(json_integer_value(json_object_get(j, "id")), id);
			json_decref(j);
		}
		close(fd);
	}
}

// Who asks and never reads costs a bounded amount of memory and nobody's time.
static void test_slow_reader(void **state)
{
	struct bed *b = *state;
	static const char ask[] = "{\"id\":1,\"method\":\"big\"}\n";
	int slow = dial(b);
	for (unsigned i = 0; i < 200; i++) // 200 MiB of answers
		if (!say(slow, ask, sizeof(ask) - 1))
			break;
	uint64_t from = clock_boot_us();
	assert_serves(b);
	assert_true(clock_boot_us() - from < 3000000);
	close(slow);
	// who reads gets a large answer whole
	int fd = dial(b);
	assert_true(say(fd, ask, sizeof(ask) - 1));
	json_t *j = hear(fd);
	assert_int_equal(json_string_length(json_object_get(json_object_get(j, "result"), "text")), BIG);
	json_decref(j);
	close(fd);
}

static void test_many(void **state)
{
	struct bed *b = *state;
	int fd[80];
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
		fd[i] = dial(b);
	unsigned shut = 0;
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
		bool sent = tell(fd[i], "{\"id\":1,\"method\":\"echo\"}\n");
		json_t *j = sent ? hear(fd[i]) : NULL;
		shut += j == NULL;
		json_decref(j);
	}
	assert_in_range(shut, 1, 70); // a limit, and not a narrow one
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
	usleep(20000);
	assert_serves(b); // there is room again
}

static void test_later(void **state)
{
	struct bed *b = *state;
	int first = dial(b), second = dial(b);
	assert_true(tell(first, "{\"id\":\"w\",\"method\":\"later\"}\n"));
	usleep(20000);
	assert_true(tell(second, "{\"id\":2,\"method\":\"wake\"}\n"));
	json_t *j = hear(first);
	assert_string_equal(json_string_value(json_object_get(j, "method")), "event");
	assert_null(json_object_get(j, "id"));
	json_decref(j);
	j = hear(first);
	assert_string_equal(json_string_value(json_object_get(j, "id")), "w");
	assert_true(json_is_true(json_object_get(json_object_get(j, "result"), "woken")));
	json_decref(j);
	json_decref(hear(second));
	// who goes away while waiting is told about, once
	assert_true(tell(first, "{\"id\":\"w\",\"method\":\"later\"}\n"));
	usleep(20000);
	close(first);
	usleep(20000);
	assert_true(tell(second, "{\"id\":3,\"method\":\"wake\"}\n"));
	assert_int_equal(error_code(hear(second)), -32000);
	assert_int_equal(gone, 1);
	close(second);
}

// What waits for a client's end is told once; a second one is refused instead of forgotten.
static void test_one_at_a_time(void **state)
{
	struct bed *b = *state;
	int fd = dial(b), other = dial(b);
	assert_true(tell(fd, "{\"id\":1,\"method\":\"follow\"}\n"));
	json_t *j = hear(fd);
	assert_non_null(json_object_get(j, "result"));
	json_decref(j);
	assert_true(tell(fd, "{\"id\":2,\"method\":\"follow\"}\n"));
	assert_int_equal(error_code(hear(fd)), -32000);
	assert_true(tell(fd, "{\"id\":3,\"method\":\"later\"}\n"));
	assert_int_equal(error_code(hear(fd)), -32000);
	assert_true(tell(fd, "{\"id\":4,\"method\":\"echo\"}\n")); // other requests are answered
	json_decref(hear(fd));
	close(fd);
	assert_true(tell(other, "{\"id\":5,\"method\":\"echo\"}\n"));
	json_decref(hear(other));
	usleep(20000);
	assert_int_equal(gone, 1);
	// while a request waits, the connection takes no other
	assert_true(tell(other, "{\"id\":6,\"method\":\"later\"}\n{\"id\":7,\"method\":\"echo\"}\n"));
	assert_int_equal(error_code(hear(other)), -32002);
	close(other);
}

// A request without an id is done and not answered.
static void test_notification(void **state)
{
	struct bed *b = *state;
	int fd = dial(b);
	assert_true(tell(fd, "{\"method\":\"echo\"}\n{\"method\":\"refuse\"}\n{\"id\":9,\"method\":\"echo\"}\n"));
	json_t *j = hear(fd);
	assert_int_equal(json_integer_value(json_object_get(j, "id")), 9);
	json_decref(j);
	assert_int_equal(calls, 2);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rights, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_bad_requests, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_long_line, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_binary, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_cut_text, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_nesting, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_pieces, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_slow_reader, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_many, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_later, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_one_at_a_time, bed_open, bed_close),
		cmocka_unit_test_setup_teardown(test_notification, bed_open, bed_close),
	};
	return cmocka_run_group_tests_name("ctl", tests, NULL, NULL);
}
