// The loop that drives both guests, and what it counts. A turn that moved a frame is busy; the rest waits for the back end.
#include "base/clock.h"
#include "base/cycles.h"
#include "load/inner.h"

#define TURNS_PER_LOOK 64 // at the clock
#define DRAIN_US 200000
#define LOST_AFTER_US 20000

static bool receives(const struct load *l, unsigned s)
{
	return l->conf.kind != LOAD_ONE_WAY || s == 1;
}

static uint64_t sent_by(const struct load *l, unsigned s)
{
	uint64_t n = 0;
	for (unsigned p = 0; p < l->conf.pairs; p++)
		n += l->side[s].tx[p].frames;
	return n;
}

// Frames of sender s that came where they go; to a null port: that came back used.
static uint64_t arrived_from(const struct load *l, unsigned s)
{
	uint64_t n = 0;
	unsigned to = l->n_sides == 1 ? s : 1 - s;
	for (unsigned p = 0; p < l->conf.pairs; p++)
		n += l->conf.kind == LOAD_SINK ? l->side[s].tx[p].frames - lane_out(&l->side[s].tx[p]) : l->side[to].rx[p].frames;
	return n;
}

uint64_t load_sent(const struct load *l)
{
	uint64_t n = 0;
	for (unsigned s = 0; s < l->n_sides; s++)
		n += sent_by(l, s);
	return n;
}

uint64_t load_received(const struct load *l)
{
	uint64_t n = 0;
	for (unsigned s = 0; s < l->n_sides; s++)
		n += arrived_from(l, s);
	return n;
}

// What a back end says by itself arrives, too: below zero then.
static int64_t on_the_way(const struct load *l, unsigned s)
{
	return (int64_t)(sent_by(l, s) - arrived_from(l, s) - l->side[s].lost);
}

static bool any_on_the_way(const struct load *l)
{
	for (unsigned s = 0; s < l->n_sides; s++)
		if (on_the_way(l, s) > 0)
			return true;
	return false;
}

// What still comes makes the window no wider than it was.
static void write_off(struct load *l)
{
	for (unsigned s = 0; s < l->n_sides; s++)
		l->side[s].lost = sent_by(l, s) - arrived_from(l, s);
}

const char *load_broken(const struct load *l)
{
	for (unsigned s = 0; s < l->n_sides; s++)
		for (unsigned p = 0; p < l->conf.pairs; p++) {
			if (l->side[s].rx[p].broken)
				return l->side[s].rx[p].broken;
			if (l->side[s].tx[p].broken)
				return l->side[s].tx[p].broken;
		}
	return NULL;
}

static unsigned send_some(struct load *l, unsigned s, unsigned p, struct budget *b)
{
	struct lane *tx = &l->side[s].tx[p];
	unsigned want = l->conf.burst;
	if (l->conf.occupancy && lane_out(tx) != 0)
		return 0; // the whole ring, and only when all of it has come back
	if (want > b->left)
		want = (unsigned)b->left;
	int64_t out = on_the_way(l, s);
	uint64_t room = out <= 0 ? l->window : (uint64_t)out < l->window ? l->window - (uint64_t)out : 0;
	if (want > room)
		want = l->conf.occupancy ? 0 : (unsigned)room;
	unsigned n = want ? lane_send(tx, want) : 0;
	if (b->left != UINT64_MAX)
		b->left -= n;
	return n;
}

unsigned load_turn(struct load *l, struct budget *b, bool *moved)
{
	unsigned got = 0, other = 0;
	for (unsigned s = 0; s < l->n_sides; s++) {
		for (unsigned p = 0; p < l->conf.pairs; p++) {
			if (s < l->n_senders) {
				unsigned back = lane_reap(&l->side[s].tx[p]);
				if (l->conf.kind == LOAD_SINK)
					got += back;
				other += back + send_some(l, s, p, b);
			}
			unsigned n = lane_receive(&l->side[s].rx[p], 64, load_check_frame, l);
			if (receives(l, s) && l->conf.kind != LOAD_SINK)
				got += n;
			other += n;
		}
	}
	*moved = other != 0;
	return got;
}

struct clocked { // a stretch of turns
	uint64_t turns, busy_cycles, all_cycles, busy_turns;
};

// Turn until until_us. False: nothing has moved for too long although frames are out.
static bool turns_until(struct load *l, uint64_t until_us, struct clocked *c, char why[LOAD_WHY])
{
	struct budget b = { l->rate ? 0 : UINT64_MAX };
	uint64_t start_us = clock_boot_us(), now_us = start_us, given = 0, moved_us = start_us;
	uint64_t at = cycles_now();
	bool given_up = false;
	for (;;) {
		bool any = false;
		for (unsigned i = 0; i < TURNS_PER_LOOK; i++) {
			bool moved;
			load_turn(l, &b, &moved);
			uint64_t now = cycles_now();
			c->all_cycles += now - at;
			if (moved) {
				c->busy_cycles += now - at;
				c->busy_turns++;
				any = true;
			}
			c->turns++;
			at = now;
			if (l->rate && b.left == 0)
				break;
		}
		now_us = clock_boot_us();
		load_harvest_run(l, now_us);
		if (any || (l->rate && !any_on_the_way(l)))
			moved_us = now_us;
		else if (now_us - moved_us > LOST_AFTER_US && any_on_the_way(l) && !given_up) {
			write_off(l);
			given_up = true;
		}
		given_up = given_up && !any;
		if (now_us >= until_us)
			return true;
		if (load_broken(l))
			return load_fail(why, "the device broke a rule: %s", load_broken(l));
		if (now_us - moved_us > LOAD_IDLE_LIMIT_MS * UINT64_C(1000))
			return load_fail(why, "nothing moves: %llu frames sent, %llu received", (unsigned long long)load_sent(l),
				(unsigned long long)load_received(l));
		if (l->rate) {
			uint64_t due = (uint64_t)((double)(now_us - start_us) * (double)l->rate / 1e6);
			// what could not be sent in time is not sent later, but for one ring's worth
			uint64_t most = (uint64_t)l->conf.ring_size;
			b.left += due - given;
			given = due;
			if (b.left > most)
				b.left = most;
		}
	}
}

static void drain(struct load *l)
{
	struct budget none = { 0 };
	uint64_t until = clock_boot_us() + DRAIN_US;
	bool moved;
	do
		load_turn(l, &none, &moved);
	while (any_on_the_way(l) && clock_boot_us() < until && !load_broken(l));
}

static void lane_totals(const struct load *l, uint64_t *bytes, uint64_t *rx_looks, uint64_t *tx_looks, uint64_t *pages)
{
	*bytes = *rx_looks = *tx_looks = *pages = 0;
	for (unsigned s = 0; s < l->n_sides; s++) {
		*pages += l->log[s].pages;
		for (unsigned p = 0; p < l->conf.pairs; p++) {
			*bytes += receives(l, s) ? l->side[s].rx[p].bytes : 0;
			*rx_looks += receives(l, s) ? l->side[s].rx[p].looks : 0;
			*tx_looks += l->side[s].tx[p].looks;
		}
	}
}

bool load_run(struct load *l, unsigned warm_ms, unsigned ms, void (*mark)(void *arg, int end), void *arg, struct load_result *r,
	char why[LOAD_WHY])
{
	struct clocked warm = { 0 }, c = { 0 };
	uint64_t bytes[2], rx_looks[2], tx_looks[2], pages[2];
	*r = (struct load_result){ .features = l->side[0].fe->features };
	l->corrupt = l->foreign = l->odd_headers = 0;
	drain(l);
	write_off(l);
	uint64_t base_sent = load_sent(l), base_received = load_received(l);
	if (l->conf.kind == LOAD_PING_PONG) {
		if (mark)
			mark(arg, 0);
		bool ok = load_ping_pong(l, ms, r, why);
		if (mark)
			mark(arg, 1);
		return ok;
	}
	if (!turns_until(l, clock_boot_us() + warm_ms * UINT64_C(1000), &warm, why))
		return false;
	if (mark)
		mark(arg, 0);
	uint64_t from = clock_boot_us(), sent = load_sent(l), received = load_received(l);
	lane_totals(l, &bytes[0], &rx_looks[0], &tx_looks[0], &pages[0]);
	if (!turns_until(l, from + ms * UINT64_C(1000), &c, why))
		return false;
	uint64_t to = clock_boot_us();
	r->sent = load_sent(l) - sent;
	r->received = load_received(l) - received;
	lane_totals(l, &bytes[1], &rx_looks[1], &tx_looks[1], &pages[1]);
	if (mark)
		mark(arg, 1);
	drain(l);
	uint64_t all_sent = load_sent(l) - base_sent, all_received = load_received(l) - base_received;
	r->missing = all_sent > all_received ? all_sent - all_received : 0;
	r->seconds = (double)(to - from) / 1e6;
	r->bytes = bytes[1] - bytes[0];
	r->corrupt = l->corrupt;
	r->foreign = l->foreign;
	r->odd_headers = l->odd_headers;
	r->pages_harvested = pages[1] - pages[0];
	r->driver_busy = c.all_cycles ? (double)c.busy_cycles / (double)c.all_cycles : 0;
	r->driver_cycles = r->received ? (double)c.busy_cycles / (double)r->received : 0;
	r->batch_rx = rx_looks[1] != rx_looks[0] ? (double)r->received / (double)(rx_looks[1] - rx_looks[0]) : 0;
	r->batch_tx = tx_looks[1] != tx_looks[0] ? (double)r->sent / (double)(tx_looks[1] - tx_looks[0]) : 0;
	return true;
}
