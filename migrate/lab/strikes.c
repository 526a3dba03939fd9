#include "lab/strikes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/progress.h"
#include "lab/killer.h"
#include "lab/relay.h"
#include "wire/vu_table.h"

#define PAUSE_MS 20 // between a restart and the next kill
#define PAUSE_SPREAD_MS 160

struct strikes {
	const struct opts *opts;
	struct killer killer;
	struct relay *relay[2];
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; // all that follows
	struct round *round; // NULL: none is on
	const struct relay *source; // the connection that logs; NULL: none
	unsigned source_conn;
	unsigned bases; // GET_VRING_BASEs of this migration that came by
	unsigned between_at; // the one before which the last kill is due: 2, 3...
	struct kill *pending; // was not awaited yet
};

// Who was killed is followed by somebody who serves.
static void await(struct strikes *s)
{
	struct kill *d = s->pending;
	struct why why = { "" };
	s->pending = NULL;
	if (!d || killer_await(&s->killer, d, &why) == OK)
		return;
	snprintf(d->failure, sizeof(d->failure), "%s", why.text);
}

static void strike(struct strikes *s, enum kill_when when)
{
	await(s);
	struct kill *d = &s->round->kill[s->round->n_kills];
	struct why why = { "" };
	d->when = when;
	if (killer_strike(&s->killer, d, &why) != OK)
		snprintf(d->failure, sizeof(d->failure), "%s", why.text);
	else
		s->pending = d;
	s->round->n_kills++;
}

static unsigned left(const struct strikes *s)
{
	return s->round ? s->opts->kills - s->round->n_kills : 0;
}

static void on_base(struct strikes *s)
{
	s->bases++;
	bool due = s->bases >= s->between_at ? left(s) > 0 : left(s) > 1;
	if (due)
		strike(s, s->bases == 1 ? KILL_STOPPING : KILL_BETWEEN);
}

static void on_message(void *arg, const struct relay *r, unsigned conn, const struct vu_hdr *hdr, const uint8_t *payload)
{
	struct strikes *s = arg;
	uint64_t features;
	if (hdr->request != VU_SET_FEATURES && hdr->request != VU_GET_VRING_BASE)
		return;
	pthread_mutex_lock(&s->lock);
	bool source = s->source == r && s->source_conn == conn;
	if (s->round && hdr->request == VU_SET_FEATURES && hdr->size == sizeof(features)) {
		memcpy(&features, payload, sizeof(features));
		if (bits_has(features, VHOST_F_LOG_ALL)) {
			s->source = r;
			s->source_conn = conn;
		} else if (source && s->bases == 0) {
			s->source = NULL;
		}
	} else if (s->round && source && hdr->request == VU_GET_VRING_BASE) {
		on_base(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static bool may_strike(const struct strikes *s)
{
	return s->round && s->source && s->bases == 0 && left(s) > 1;
}

// While the log is on and the guest runs.
static void *strikes_run(void *arg)
{
	struct strikes *s = arg;
	bool on;
	do {
		pthread_mutex_lock(&s->lock);
		on = s->round != NULL;
		bool may = may_strike(s);
		unsigned pause = PAUSE_MS + (unsigned)killer_random(&s->killer, PAUSE_SPREAD_MS);
		pthread_mutex_unlock(&s->lock);
		sleep_ms(may ? pause : 2);
		pthread_mutex_lock(&s->lock);
		if (may && may_strike(s)) {
			strike(s, KILL_LOGGING);
			await(s);
		}
		pthread_mutex_unlock(&s->lock);
	} while (on);
	return NULL;
}

static enum err put_relay(struct strikes *s, struct backend *b, enum place place, const char *dir, struct why *why)
{
	char path[sizeof(b->socket[0])];
	snprintf(path, sizeof(path), "%.200s/relay-%s.sock", dir, place_name(place));
	enum err e = relay_open(&s->relay[place == PLACE_DST], path, b->socket[place], on_message, s, why);
	if (e == OK)
		snprintf(b->socket[place], sizeof(b->socket[place]), "%s", path);
	return e;
}

enum err strikes_open(struct strikes **out, struct backend *b, const struct opts *o, uint64_t seed, const char *dir, struct why *why)
{
	struct strikes *s = *out = calloc(1, sizeof(*s));
	if (!s)
		return ours(why, "no memory");
	s->opts = o;
	pthread_mutex_init(&s->lock, NULL);
	enum err e = killer_open(&s->killer, b, seed, o->kills * o->rounds, why);
	if (e == OK)
		e = put_relay(s, b, PLACE_SRC, dir, why);
	if (e == OK && o->one_path)
		snprintf(b->socket[PLACE_DST], sizeof(b->socket[PLACE_DST]), "%s", b->socket[PLACE_SRC]);
	else if (e == OK)
		e = put_relay(s, b, PLACE_DST, dir, why);
	return e;
}

void strikes_close(struct strikes *s)
{
	struct why why;
	if (!s)
		return;
	strikes_end(s, &why);
	relay_close(s->relay[0]);
	relay_close(s->relay[1]);
	killer_close(&s->killer);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

enum err strikes_begin(struct strikes *s, struct round *r, struct why *why)
{
	pthread_mutex_lock(&s->lock);
	s->round = r;
	s->source = NULL;
	s->bases = 0;
	s->between_at = 2 + (unsigned)killer_random(&s->killer, 2 * s->opts->queues - 1);
	pthread_mutex_unlock(&s->lock);
	errno = pthread_create(&s->thread, NULL, strikes_run, s);
	s->running = errno == 0;
	return s->running ? OK : ours(why, "no thread: %s", strerror(errno));
}

void strikes_wait(struct strikes *s, unsigned n, uint64_t until_us)
{
	bool there = false;
	while (!there && clock_boot_us() < until_us && !interrupted()) {
		sleep_ms(5);
		pthread_mutex_lock(&s->lock);
		there = !s->round || s->round->n_kills >= n || s->bases > 0;
		pthread_mutex_unlock(&s->lock);
	}
}

enum err strikes_end(struct strikes *s, struct why *why)
{
	pthread_mutex_lock(&s->lock);
	struct round *r = s->round;
	await(s);
	s->round = NULL;
	pthread_mutex_unlock(&s->lock);
	if (s->running)
		pthread_join(s->thread, NULL);
	s->running = false;
	if (!r)
		return OK;
	unsigned logging = 0, between = 0;
	for (unsigned i = 0; i < r->n_kills; i++) {
		logging += r->kill[i].when == KILL_LOGGING;
		between += r->kill[i].when == KILL_BETWEEN;
		if (r->kill[i].failure[0])
			return refuse(why, "kill %u: %.150s", r->kill[i].number, r->kill[i].failure);
	}
	progress("round %u: %u kills: %u while the guest ran and the log was on, %u between two GET_VRING_BASEs", r->number, r->n_kills, logging, between);
	return OK;
}
