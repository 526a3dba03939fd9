// Kills in a migration: a front end that is no QEMU speaks what a source speaks, a shell loop is the worker; who is killed when is as planned.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "lab/killer.h"
#include "lab/strikes.h"
#include "wire/vu_table.h"

static char dir[40];
static struct opts opts;
static struct backend backend;
static struct results results;
static struct strikes *strikes;
static struct round *round_of;
static int listener[2], front, back;
static pid_t started;

static int listen_at(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 4) == 0 ? fd : -1;
}

static int call(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 ? fd : -1;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/strikes-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	opts = (struct opts){ .kills = 4, .rounds = 1, .queues = 1 };
	backend = (struct backend){ .kind = BACKEND_COMMAND, .n = 1 };
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "while :; do sleep 1000; done", NULL);
		_exit(127);
	}
	backend.proc[0].pid = started = pid;
	for (unsigned i = 0; i < 5000 && killer_victim(pid) == pid; i++) // a kill before that would hit the shell
		sleep_ms(1);
	snprintf(backend.socket[PLACE_SRC], sizeof(backend.socket[0]), "%s/src", dir);
	snprintf(backend.socket[PLACE_DST], sizeof(backend.socket[0]), "%s/dst", dir);
	listener[0] = listen_at(backend.socket[PLACE_SRC]);
	listener[1] = listen_at(backend.socket[PLACE_DST]);
	results = (struct results){ .opts = &opts };
	round_of = results_add_round(&results);
	if (listener[0] < 0 || listener[1] < 0 || !round_of || !round_plan_kills(round_of, opts.kills))
		return -1;
	if (strikes_open(&strikes, &backend, &opts, 1, dir, NULL) != OK || strikes_begin(strikes, round_of, NULL) != OK)
		return -1;
	front = call(backend.socket[PLACE_SRC]);
	back = accept(listener[0], NULL, NULL);
	return front >= 0 && back >= 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	static const char *const names[] = { "src", "dst", "relay-src.sock", "relay-dst.sock" };
	char path[80];
	strikes_close(strikes);
	pid_t child = killer_victim(started); // not the back end's: that is 0 once it was seen to have gone
	kill_one(started, SIGKILL);
	if (child != started)
		kill_one(child, SIGKILL);
	waitpid(started, NULL, 0);
	fd_reset(&front);
	fd_reset(&back);
	fd_reset_all(listener, 2);
	results_free(&results);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
	return 0;
}

// As the source sends it; back when the other side has it.
static void say(uint32_t request, uint64_t value)
{
	uint8_t message[20], got[20];
	struct vu_hdr h = { .request = request, .flags = 1, .size = 8 };
	memcpy(message, &h, sizeof(h));
	memcpy(message + sizeof(h), &value, sizeof(value));
	assert_int_equal(write(front, message, sizeof(message)), sizeof(message));
	assert_int_equal(recv(back, got, sizeof(got), MSG_WAITALL), sizeof(got));
	assert_memory_equal(message, got, sizeof(got));
}

static unsigned count(enum kill_when when)
{
	unsigned n = 0;
	for (unsigned i = 0; i < round_of->n_kills; i++)
		n += round_of->kill[i].when == when && !round_of->kill[i].failure[0] && round_of->kill[i].next;
	return n;
}

// With time: all but one while the guest runs, the last one between the two.
static void test_with_time(void **state)
{
	(void)state;
	say(VU_SET_FEATURES, 0);
	usleep(300000);
	assert_int_equal(round_of->n_kills, 0); // the log is not on
	say(VU_SET_FEATURES, BIT64(VHOST_F_LOG_ALL));
	strikes_wait(strikes, 3, clock_boot_us() + 20000000);
	assert_int_equal(round_of->n_kills, 3);
	usleep(300000);
	assert_int_equal(round_of->n_kills, 3); // one is saved up
	say(VU_GET_VRING_BASE, 0);
	assert_int_equal(round_of->n_kills, 3);
	say(VU_GET_VRING_BASE, 1);
	assert_int_equal(round_of->n_kills, 4);
	assert_int_equal(strikes_end(strikes, NULL), OK);
	assert_int_equal(count(KILL_LOGGING), 3);
	assert_int_equal(count(KILL_BETWEEN), 1);
}

// Without: what is left goes to the stop, and one is still between the two.
static void test_without_time(void **state)
{
	(void)state;
	say(VU_SET_FEATURES, BIT64(VHOST_F_LOG_ALL));
	say(VU_GET_VRING_BASE, 0);
	say(VU_GET_VRING_BASE, 1);
	assert_int_equal(strikes_end(strikes, NULL), OK);
	assert_true(count(KILL_STOPPING) <= 1);
	assert_int_equal(count(KILL_BETWEEN), 1);
}

// A migration that is not one: the log goes off again, and nobody is killed any more.
static void test_cancelled(void **state)
{
	(void)state;
	say(VU_SET_FEATURES, BIT64(VHOST_F_LOG_ALL));
	strikes_wait(strikes, 1, clock_boot_us() + 20000000);
	say(VU_SET_FEATURES, 0);
	unsigned n = round_of->n_kills;
	assert_true(n >= 1);
	usleep(400000);
	assert_int_equal(round_of->n_kills, n);
	say(VU_GET_VRING_BASE, 0);
	assert_int_equal(round_of->n_kills, n);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_with_time), T(test_without_time), T(test_cancelled) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
