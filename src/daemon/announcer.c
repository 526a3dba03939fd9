// Telling the network where a guest is: RARP, gratuitous ARP, unsolicited neighbour advertisement for every address behind a
// port, in rounds, out of every other port of its net. What is owed is in the store before the first frame goes out, so a
// crash between two rounds loses none of them.
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/core.h"
#include "net/neigh.h"

#define MAX_JOBS 4096
#define MAX_ADDRESSES 1024 // of one port in one round

struct addresses {
	unsigned n;
	struct dp_mac mac[MAX_ADDRESSES];
};

static void collect(void *arg, const struct dp_mac *m)
{
	struct addresses *a = arg;
	if (a->n < MAX_ADDRESSES)
		a->mac[a->n++] = *m;
}

// -- the pace: many guests that move at once must not flood the network, nor the rings of their neighbours ---------------------
#define FRAMES_PER_S 2000
#define FRAMES_AT_ONCE 256
#define PACE_US 10000 // a wait for more is that long at least

struct pace {
	uint64_t at_us;
	int64_t frames; // that may be sent now; below 0 after a round of many
};

static bool pace_allows(struct pace *p, uint64_t now)
{
	uint64_t gone = now - p->at_us < 1000000 ? now - p->at_us : 1000000, fresh = gone * FRAMES_PER_S / 1000000;
	if (fresh) {
		p->at_us = now;
		p->frames = p->frames + (int64_t)fresh < FRAMES_AT_ONCE ? p->frames + (int64_t)fresh : FRAMES_AT_ONCE;
	}
	return p->frames > 0;
}

static void arm(struct vd *vd)
{
	uint64_t due = announce_next_due(vd->announce), now = clock_boot_us();
	if (due == 0)
		timer_cancel(vd->announce_timer);
	else if (due > now)
		timer_arm(vd->announce_timer, due - now);
	else
		timer_arm(vd->announce_timer, pace_allows(vd->announce_pace, now) ? 0 : PACE_US);
}

static void store_job(struct vd *vd, const char *port, const uint8_t mac[6], uint32_t done, uint32_t rounds, uint64_t due)
{
	struct store_owed owed = { .rounds_done = done, .rounds = rounds, .next_due_us = due };
	struct why why;
	memcpy(owed.port, port, sizeof(owed.port));
	memcpy(owed.mac, mac, sizeof(owed.mac));
	enum err e = done < rounds ? store_owed_put(vd->store, &owed, &why) : store_owed_done(vd->store, port, mac, &why);
	if (e != OK)
		vd_store_failed(vd, port, &why);
}

static void send_one(struct port *p, const char *kind, const uint8_t *frame, uint32_t len, const uint8_t mac[6], uint32_t round)
{
	dp_inject_flood(p->dp, frame, len);
	migration_announced(p, kind, mac, round);
}

enum round { ROUND_SENT, ROUND_ELSEWHERE };

// *frames: how many it took.
static enum round send_round(struct port *p, const struct announce_job *job, unsigned *frames)
{
	struct addresses *a = calloc(1, sizeof(*a));
	uint8_t frame[NEIGH_FRAME_MAX];
	bool elsewhere = false;
	if (!a)
		return ROUND_SENT;
	dp_macs_of(p->dp, mac_key(job->mac), collect, a);
	for (unsigned i = 0; i < a->n; i++) {
		const struct dp_mac *m = &a->mac[i];
		if (m->port != dp_port_index(p->dp)) {
			elsewhere = true; // the later claim is the true one
			continue;
		}
		send_one(p, "rarp", frame, neigh_build_rarp(frame, job->mac, m->vlan), job->mac, job->round);
		++*frames;
		for (unsigned k = 0; k < m->n_ips; k++, ++*frames) {
			bool v4 = m->ip[k].family == 4;
			uint32_t len = v4 ? neigh_build_garp(frame, job->mac, m->vlan, &m->ip[k]) :
					    neigh_build_na(frame, job->mac, m->vlan, &m->ip[k]);
			send_one(p, v4 ? "garp" : "na", frame, len, job->mac, job->round);
		}
	}
	free(a);
	if (*frames == 0 && elsewhere)
		return ROUND_ELSEWHERE;
	if (*frames == 0) { // owed, but a crash came before what was learned had been written
		dp_mac_claim(p->dp, mac_key(job->mac), 0, DP_MAC_CLAIMED);
		send_one(p, "rarp", frame, neigh_build_rarp(frame, job->mac, 0), job->mac, job->round);
		*frames = 1;
	}
	char text[18];
	vd_event(p->vd, p->spec.id, "announce.round", "%s round %u of %u, %u frames", mac_format(job->mac, text), job->round,
		 job->rounds, *frames);
	return ROUND_SENT;
}

// -- schedules that ended a moment ago: front ends repeat SEND_RARP on a schedule of their own, which ends about then, too ------
#define RECENT 64
#define RECENT_US 1000000

struct recent {
	unsigned next;
	struct {
		char port[ANNOUNCE_PORT_MAX];
		uint8_t mac[6];
		uint64_t until_us;
	} of[RECENT];
};

static void recent_add(struct recent *r, const struct announce_job *job)
{
	unsigned i = r->next++ % RECENT;
	memcpy(r->of[i].port, job->port, sizeof(r->of[i].port));
	memcpy(r->of[i].mac, job->mac, sizeof(r->of[i].mac));
	r->of[i].until_us = clock_boot_us() + RECENT_US;
}

static bool recent_has(const struct recent *r, const char *port, const uint8_t mac[6])
{
	uint64_t now = clock_boot_us();
	for (unsigned i = 0; i < RECENT; i++)
		if (r->of[i].until_us > now && memcmp(r->of[i].mac, mac, 6) == 0 && strcmp(r->of[i].port, port) == 0)
			return true;
	return false;
}

static void take_round(struct vd *vd, const struct announce_job *job)
{
	struct port *p = vd_port_find(vd, job->port);
#ifdef VRINGD_MUTANT_SKIP_ROUND
	if (job->round == 3) { // seeded bug: one round is left out
		store_job(vd, job->port, job->mac, job->round, job->rounds, job->next_due_us);
		return;
	}
#endif
	if (p && p->drained)
		p->muted = true;
	unsigned frames = 0;
	bool over = !p || p->drained || send_round(p, job, &frames) == ROUND_ELSEWHERE;
	vd->announce_pace->frames -= frames;
	if (over) {
		announce_cancel(vd->announce, job->port, job->mac);
		store_job(vd, job->port, job->mac, job->rounds, job->rounds, 0);
		return;
	}
	store_job(vd, job->port, job->mac, job->next_due_us ? job->round : job->rounds, job->rounds, job->next_due_us);
	if (job->next_due_us == 0)
		recent_add(vd->recent, job);
}

static void on_timer(void *arg)
{
	struct vd *vd = arg;
	struct announce_job job;
	unsigned budget = 64; // messages of front ends come in between
	while (budget-- && pace_allows(vd->announce_pace, clock_boot_us()) &&
	       announce_take_due(vd->announce, clock_boot_us(), &job))
		take_round(vd, &job);
	arm(vd);
}

bool announcer_init(struct vd *vd)
{
	vd->announce = announce_new(MAX_JOBS);
	vd->announce_timer = timer_new(vd->loop, on_timer, vd);
	vd->recent = calloc(1, sizeof(*vd->recent));
	vd->announce_pace = calloc(1, sizeof(*vd->announce_pace));
	return vd->announce && vd->announce_timer && vd->recent && vd->announce_pace;
}

void announcer_fini(struct vd *vd)
{
	timer_free(vd->announce_timer);
	announce_free(vd->announce);
	free(vd->recent);
	free(vd->announce_pace);
}

bool announcer_owes(struct port *p, const uint8_t mac[6], struct store_owed *owed)
{
	*owed = (struct store_owed){ .rounds = ANNOUNCE_ROUNDS, .next_due_us = clock_boot_us() };
	memcpy(owed->port, p->spec.id, sizeof(owed->port));
	memcpy(owed->mac, mac, sizeof(owed->mac));
	// a repetition inside a schedule, or just after one, starts nothing: see announcer_claimed
	return !p->drained && !announce_running(p->vd->announce, p->spec.id, mac) && !recent_has(p->vd->recent, p->spec.id, mac);
}

void announcer_start(struct port *p, const uint8_t mac[6])
{
	bool full = false;
	uint64_t now = clock_boot_us();
	if (p->drained) {
		p->muted = true;
		return;
	}
	if (announce_start(p->vd->announce, p->spec.id, mac, now, &full))
		store_job(p->vd, p->spec.id, mac, 0, ANNOUNCE_ROUNDS, now); // owed before the first frame
	else if (full)
		log_rated(&p->rate, LOG_LWARN, "port %s: too many announcements at once; one address is left out", p->spec.id);
	arm(p->vd);
}

void announcer_claimed(struct port *p, const uint8_t mac[6], bool moved)
{
	if (moved || !recent_has(p->vd->recent, p->spec.id, mac))
		announcer_start(p, mac);
}

unsigned announcer_start_all(struct port *p)
{
	struct addresses *a = calloc(1, sizeof(*a));
	unsigned n = 0;
	if (!a)
		return 0;
	dp_macs_each(p->vd->dp, p->dp, collect, a);
	for (unsigned i = 0; i < a->n; i++, n++) {
		uint8_t mac[6];
		mac_of_key(mac, a->mac[i].mac);
		announcer_start(p, mac);
	}
	free(a);
	return n;
}

struct cancelled {
	const char *port;
	unsigned n;
	uint8_t mac[MAX_JOBS][6];
};

static void remember_owed(void *arg, const struct store_owed *owed)
{
	struct cancelled *c = arg;
	if (strcmp(owed->port, c->port) == 0 && c->n < MAX_JOBS)
		memcpy(c->mac[c->n++], owed->mac, 6);
}

void announcer_cancel(struct port *p, const uint8_t *mac)
{
	struct vd *vd = p->vd;
	struct why why;
	announce_cancel(vd->announce, p->spec.id, mac);
	arm(vd);
	if (mac) {
		store_job(vd, p->spec.id, mac, ANNOUNCE_ROUNDS, ANNOUNCE_ROUNDS, 0);
		return;
	}
	struct cancelled *c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->port = p->spec.id;
	if (store_each_owed(vd->store, remember_owed, c, &why) != OK)
		vd_store_failed(vd, p->spec.id, &why);
	for (unsigned i = 0; i < c->n; i++)
		store_job(vd, p->spec.id, c->mac[i], ANNOUNCE_ROUNDS, ANNOUNCE_ROUNDS, 0);
	free(c);
}

static void resume_one(void *arg, const struct store_owed *owed)
{
	struct vd *vd = arg;
	uint64_t now = clock_boot_us();
	if (!vd_port_find(vd, owed->port))
		return;
	// a due time of another boot says nothing; of this boot, what is late is due now
	uint64_t due = vd->opened.same_boot && owed->next_due_us > now ? owed->next_due_us : now;
	if (announce_resume(vd->announce, owed->port, owed->mac, owed->rounds_done, due))
		vd_event(vd, owed->port, "announce.resumed", "%u of %u rounds are owed", owed->rounds - owed->rounds_done, owed->rounds);
}

void announcer_resume(struct vd *vd)
{
	struct why why;
	if (store_each_owed(vd->store, resume_one, vd, &why) != OK)
		vd_store_failed(vd, "", &why);
	arm(vd);
}
