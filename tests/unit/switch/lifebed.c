#include "lifebed.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crash.h"
#include "base/kill.h"
#include "base/lease.h"
#include "net/eth.h"
#include "switch/counters.h"
#include "switch/held.h"

void lb_open(struct lifebed *l, uint64_t features, uint16_t base)
{
	struct why why;
	memset(l, 0, sizeof(*l));
	l->threads = 1;
	assert_int_equal(lease_make(&l->lease_fd, &why), OK);
	assert_int_equal(ledgers_make(&l->ledger_fd, &why), OK);
	assert_int_equal(counters_make(&l->counters_fd, &why), OK);
	assert_int_equal(held_make(&l->held_fd, 64u << 20, &why), OK);
	for (unsigned i = 0; i < 2; i++) {
		frame_mac(l->mac[i], i + 1);
		gb_driver(&l->g[i], features, base);
		gb_post(&l->g[i], GB_RING);
	}
}

void lb_close(struct lifebed *l)
{
	for (unsigned i = 0; i < 2; i++)
		gb_driver_close(&l->g[i]);
	close(l->lease_fd);
	close(l->ledger_fd);
	close(l->counters_fd);
	close(l->held_fd);
}

// The child. 0: all went well; else the line where it did not.
#define MUST(x)                         \
	do {                            \
		if (!(x))               \
			_exit(__LINE__ & 0xff); \
	} while (0)
static void live(struct lifebed *l, int told, int end)
{
	static const char *const id[] = { "a", "b" };
	struct dp_conf c = { .threads = l->threads, .hold_total = 64u << 20, .general_only = getenv("VRINGD_GENERAL_ONLY") != NULL };
	struct why why;
	uint8_t byte = 0;
	for (unsigned i = 0; i < 16; i++)
		c.cpus[i] = -1;
	alarm(120);
	MUST(crash_plan(l->plan, &why) == OK);
	crash_set_life(0);
	if (l->lease)
		MUST(lease_open(&c.lease, l->lease_fd, &why) == OK);
	if (l->await)
		MUST(lease_await_all(c.lease, 20000, &why) == OK);
	MUST(counters_open(&c.counters, l->no_counters ? -1 : l->counters_fd, &why) == OK);
	MUST(held_open(&c.held, l->no_held ? -1 : l->held_fd, 64u << 20, &why) == OK);
	struct dp *dp = dp_new(&c, &why);
	struct ledgers *ledgers;
	MUST(dp && ledgers_open(&ledgers, l->ledger_fd, &why) == OK);
	for (unsigned i = 0; i < 2; i++) {
		struct dp_port_conf conf = gb_conf(id[i]);
		conf.macs[0] = mac_key(l->mac[i]);
		conf.n_macs = 1;
		l->g[i].resume = l->lives != 0;
		l->g[i].ledger = l->no_ledger ? NULL : ledgers_of(ledgers, i + 1);
		conf.hold_ms = 60000;
		gb_device(&l->g[i], dp, &conf);
		if (i == 1 && l->stopped)
			dp_port_rx_state(l->g[i].port, DP_RX_STOPPED);
	}
	for (unsigned q = 0; q < 2; q++) // who receives is there before anybody sends: nothing is held, which would die with us
		for (unsigned i = 0; i < (l->stopped ? 1 : 2); i++)
			dp_ring_publish(l->g[i].port, q, l->g[i].ring[q], l->g[i].kick[q], false);
	MUST(write(told, &byte, 1) == 1);
	while (read(end, &byte, 1) > 0)
		;
	counters_leave(c.counters);
	for (unsigned i = 0; i < 2; i++)
		gb_device_close(&l->g[i]);
	dp_free(dp);
	counters_close(c.counters);
	held_close(c.held);
	lease_close(c.lease);
	ledgers_close(ledgers);
	_exit(0);
}

struct life lb_life(struct lifebed *l)
{
	int told[2], end[2];
	uint8_t byte;
	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(end), 0);
	struct life f = { .pid = fork(), .end = end[1] };
	if (f.pid == 0) {
		close(end[1]);
		close(told[0]);
		live(l, told[1], end[0]);
	}
	close(end[0]);
	close(told[1]);
	if (read(told[0], &byte, 1) != 1) // it died before
		assert_non_null(l->plan);
	close(told[0]);
	l->lives++;
	return f;
}

void lb_end(struct life *f)
{
	int status;
	close(f->end);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	if (status != 0)
		fail_msg("a life ended with status 0x%x", status);
}

void lb_reap(struct life *f, int sig)
{
	int status;
	kill_one(f->pid, sig);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
	close(f->end);
}

bool lb_died(struct life *f)
{
	int status;
	pid_t pid = waitpid(f->pid, &status, WNOHANG);
	if (pid == 0)
		return false;
	assert_int_equal(pid, f->pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	close(f->end);
	return true;
}

bool lb_send(struct lifebed *l, unsigned i, uint64_t seq)
{
	return gb_send_no(&l->g[i], l->mac[!i], l->mac[i], seq, 60 + (uint32_t)(seq % 1400));
}

void lb_exchange(struct lifebed *l, uint64_t from, unsigned n)
{
	for (uint64_t seq = from; seq < from + n; seq++)
		for (unsigned i = 0; i < 2; i++) {
			assert_true(lb_send(l, i, seq));
			assert_int_equal(gb_recv_no(&l->g[!i], 5000), seq);
		}
}
