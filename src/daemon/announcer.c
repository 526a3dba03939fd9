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

static void arm(struct vd *vd)
{
	uint64_t due = announce_next_due(vd->announce), now = clock_boot_us();
	if (due == 0)
		timer_cancel(vd->announce_timer);
	else
		timer_arm(vd->announce_timer, due > now ? due - now : 0);
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

static void send_round(struct port *p, const struct announce_job *job)
{
	struct addresses *a = calloc(1, sizeof(*a));
	uint8_t frame[NEIGH_FRAME_MAX];
	unsigned frames = 0;
	if (!a)
		return;
	dp_macs_each(p->vd->dp, p->dp, collect, a);
	for (unsigned i = 0; i < a->n; i++) {
		const struct dp_mac *m = &a->mac[i];
		if (m->mac != mac_key(job->mac))
			continue; // an address that is another port's by now is not announced here
		send_one(p, "rarp", frame, neigh_build_rarp(frame, job->mac, m->vlan), job->mac, job->round);
		frames++;
		for (unsigned k = 0; k < m->n_ips; k++, frames++) {
			bool v4 = m->ip[k].family == 4;
			uint32_t len = v4 ? neigh_build_garp(frame, job->mac, m->vlan, &m->ip[k]) :
					    neigh_build_na(frame, job->mac, m->vlan, &m->ip[k]);
			send_one(p, v4 ? "garp" : "na", frame, len, job->mac, job->round);
		}
	}
	free(a);
	char text[18];
	vd_event(p->vd, p->spec.id, "announce.round", "%s round %u of %u, %u frames", mac_format(job->mac, text), job->round,
		 job->rounds, frames);
}

static void on_timer(void *arg)
{
	struct vd *vd = arg;
	struct announce_job job;
	while (announce_take_due(vd->announce, clock_boot_us(), &job)) {
		struct port *p = vd_port_find(vd, job.port);
#ifdef VRINGD_MUTANT_SKIP_ROUND
		if (job.round == 3)
			p = NULL; // seeded bug: one round is left out
#endif
		if (p)
			send_round(p, &job);
		store_job(vd, job.port, job.mac, job.next_due_us ? job.round : job.rounds, job.rounds, job.next_due_us);
	}
	arm(vd);
}

bool announcer_init(struct vd *vd)
{
	vd->announce = announce_new(MAX_JOBS);
	vd->announce_timer = timer_new(vd->loop, on_timer, vd);
	return vd->announce && vd->announce_timer;
}

void announcer_fini(struct vd *vd)
{
	timer_free(vd->announce_timer);
	announce_free(vd->announce);
}

void announcer_start(struct port *p, const uint8_t mac[6])
{
	bool full = false;
	uint64_t now = clock_boot_us();
	if (announce_start(p->vd->announce, p->spec.id, mac, now, &full))
		store_job(p->vd, p->spec.id, mac, 0, ANNOUNCE_ROUNDS, now); // owed before the first frame
	else if (full)
		log_rated(&p->rate, LOG_LWARN, "port %s: too many announcements at once; one address is left out", p->spec.id);
	arm(p->vd);
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

void announcer_cancel(struct port *p, const uint8_t *mac)
{
	struct why why;
	announce_cancel(p->vd->announce, p->spec.id, mac);
	if (mac && store_owed_done(p->vd->store, p->spec.id, mac, &why) != OK)
		vd_store_failed(p->vd, p->spec.id, &why);
	arm(p->vd);
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
