// One frame at a time over idle rings: round trips, the placement probe, acknowledged messages.
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "load/inner.h"

#define ONE_LIMIT_NS UINT64_C(500000000)
#define LATENCIES (1u << 20)
#define BETWEEN_NS 500000u // messages: a thread that is asked without a pause uses up its share of a CPU and waits for it then

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool wait_frame(struct load *l, unsigned s, uint64_t until)
{
	struct lane *rx = &l->side[s].rx[0];
	for (;;) {
		if (lane_receive(rx, 64, NULL, NULL))
			return true;
		if (rx->broken || now_ns() > until)
			return false;
		if (l->conf.wait == LOAD_SLEEP && !vq_arm(rx->q))
			fe_wait_call(l->side[s].fe, 0, 100);
	}
}

uint64_t load_one(struct load *l, unsigned from)
{
	struct lane *tx = &l->side[from].tx[0];
	unsigned to = l->n_sides == 1 ? from : 1 - from;
	uint64_t start = now_ns();
	lane_reap(tx);
	if (!lane_send(tx, 1))
		return 0;
	if (l->conf.kind == LOAD_SINK) {
		while (!lane_reap(tx))
			if (now_ns() - start > ONE_LIMIT_NS || tx->broken)
				return 0;
	} else if (!wait_frame(l, to, start + ONE_LIMIT_NS)) {
		return 0;
	}
	return now_ns() - start;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

uint32_t load_probe(struct load *l, unsigned n)
{
	uint32_t *v = calloc(n ? n : 1, sizeof(*v)), median = 0;
	unsigned got = 0;
	while (v && got < n) {
		uint64_t ns = load_one(l, 0);
		if (!ns)
			break;
		v[got++] = (uint32_t)ns;
	}
	if (v && got == n && n) {
		qsort(v, n, sizeof(*v), by_value);
		median = v[n / 2];
	}
	free(v);
	return median;
}

bool load_ping_pong(struct load *l, unsigned ms, struct load_result *r, char why[LOAD_WHY])
{
	if (!l->latency)
		l->latency = calloc(LATENCIES, sizeof(*l->latency));
	if (!l->latency)
		return load_fail(why, "no memory for latencies");
	uint64_t from = clock_boot_us(), until = from + ms * UINT64_C(1000);
	while (r->n_latency < LATENCIES && clock_boot_us() < until) {
		uint64_t there = load_one(l, 0), back = there ? load_one(l, 1) : 0;
		if (!back)
			return load_fail(why, "frame %u of the ping-pong did not come", r->n_latency);
		l->latency[r->n_latency++] = (uint32_t)(there + back);
	}
	r->latency_ns = l->latency;
	r->sent = r->received = 2 * (uint64_t)r->n_latency;
	r->seconds = (double)(clock_boot_us() - from) / 1e6;
	return true;
}

// SET_VRING_ENABLE of the first guest's receive ring, which nothing is sent to in a one-way case.
static bool enable_once(struct load *l, bool on, uint32_t *ns, char why[LOAD_WHY])
{
	struct fe *fe = l->side[0].fe;
	struct vu_state st = { .index = 0, .num = on };
	struct pollfd pfd = { .fd = fe->sock, .events = POLLIN };
	struct budget all = { UINT64_MAX };
	struct conn_msg msg;
	uint64_t start = now_ns(), value = 0;
	if (!fe_send(fe, 18, VU_FLAG_NEED_REPLY, &st, sizeof(st), NULL, 0))
		return load_fail(why, "%.150s", fe->err_text);
	while (poll(&pfd, 1, 0) == 0) {
		bool moved;
		load_turn(l, &all, &moved);
		if (now_ns() - start > UINT64_C(5000000000))
			return load_fail(why, "no acknowledgement in 5 s");
	}
	*ns = (uint32_t)(now_ns() - start);
	if (fe_recv(fe, &msg, 18) != FE_OK)
		return load_fail(why, "%.150s", fe->err_text);
	memcpy(&value, msg.payload, sizeof(value));
	return (msg.hdr.size == sizeof(value) && value == 0) || load_fail(why, "SET_VRING_ENABLE is refused");
}

bool load_ack_latency(struct load *l, unsigned n, uint32_t *ns, char why[LOAD_WHY])
{
	uint32_t last;
	if (!bits_has(l->side[0].fe->protocol, VU_PF_REPLY_ACK))
		return load_fail(why, "the back end does not acknowledge");
	for (unsigned i = 0; i < n; i++) {
		struct budget all = { UINT64_MAX };
		bool moved;
		for (uint64_t from = now_ns(); now_ns() - from < BETWEEN_NS;)
			load_turn(l, &all, &moved);
		if (!enable_once(l, i % 2, &ns[i], why)) // each a change: what changes nothing need not be kept
			return false;
	}
	return enable_once(l, true, &last, why);
}
