// Packed rings over crashes of the daemon: two guests under traffic, the daemon dies in the middle of it, the front ends come
// back as QEMU does, with the bases of long ago. Every ring must go on: frames arrive both ways, none is damaged. What a crash
// costs is counted: frames lost, repeated, and buffers that come back empty.
//
//   packed_crash [--caught] [--own] [--kills N] VRINGD     --caught: a build that can't find its place; a ring must stand still
//
// A build with crash points may die by itself (VRINGD_CRASH; --own: it must, at least once); one that does not is killed.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/lan.h"

#define BURST 60u

struct seen {
	uint64_t next[2]; // of each receiver: the number after the highest that arrived
	uint64_t sent[2], lost, repeated, empty;
	const char *wrong;
};

// What has arrived at guest i by now, or within ms. False: nothing.
static bool take(struct lan *l, unsigned i, struct seen *s, unsigned ms)
{
	struct net *n = &l->net[i][0];
	struct frame_id id;
	const char *wrong = net_expect(n, &id, NULL, ms);
	if (wrong == net_nothing)
		return false;
	if (wrong != NULL && n->broken == wrong && n->n_held == 1 && strcmp(wrong, "used length outside header..buffer") == 0) {
		s->empty++; // a driver counts it and posts the buffer again
		n->broken = NULL;
		net_rx_release(n);
		net_rx_post(n);
		return true;
	}
	if (wrong != NULL) {
		s->wrong = wrong;
		return false;
	}
	if (id.seq < s->next[i]) {
		s->repeated++;
	} else {
		s->lost += id.seq - s->next[i];
		s->next[i] = id.seq + 1;
	}
	return true;
}

// A few frames in one publish, so that the daemon takes them as a batch.
static void send_some(struct lan *l, unsigned i, struct seen *s)
{
	struct net *n = &l->net[i][0];
	uint8_t *to;
	uint32_t slot;
	net_tx_reap(n);
	for (unsigned k = 0; k < 8 && n->tx_n_free > n->tx_slots / 2 && (to = net_tx_slot(n, &slot)) != NULL; k++) {
		frame_fill(to, 100, l->mac[!i], l->mac[i], i, s->sent[!i]++, true);
		net_tx_put(n, slot, 100, NULL);
	}
	net_tx_flush(n);
}

// False: the daemon died meanwhile. patient: the daemon is given time to move what is sent.
static bool burst(struct lan *l, struct seen *s, bool patient)
{
	for (unsigned k = 0; k < BURST; k++) {
		if (patient)
			usleep(30);
		for (unsigned i = 0; i < 2; i++) {
			send_some(l, i, s);
			for (unsigned m = 0; m < 12 && take(l, i, s, 0); m++)
				;
			if (s->wrong != NULL || !daemon_alive(&l->b->d))
				return false;
		}
	}
	return true;
}

// Both come back with the bases that they gave at their last start.
static bool come_back(struct lan *l, struct seen *s)
{
	static const char *const port[] = {"a", "a2"};
	while (take(l, 0, s, 0) || take(l, 1, s, 0))
		;
	if (!daemon_again(&l->b->d))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		fe_disconnect(l->fe[i]);
		if (!fe_connect(l->fe[i], daemon_path(&l->b->d, port[i])) || fe_negotiate(l->fe[i]) != FE_OK || !lan_start(l, i)) {
			bed_fail(l->b, "guest %u comes back: %s", i, l->fe[i]->err_text);
			return false;
		}
	}
	return true;
}

// A frame each way, behind whatever is still on its way.
static bool talk(struct lan *l, struct seen *s)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t seq = s->sent[!i]++;
		if (!net_send_numbered(&l->net[i][0], l->mac[!i], l->mac[i], i, seq, 100))
			return false;
		while (s->next[!i] <= seq)
			if (!take(l, !i, s, 3000))
				return false;
	}
	return true;
}

// Something failed: because the daemon died by itself? Its sockets close before it can be waited for.
static bool died(struct lan *l)
{
	for (unsigned i = 0; i < 100 && daemon_alive(&l->b->d); i++)
		usleep(2000);
	return !daemon_alive(&l->b->d);
}

// What can be seen of rings that stand still.
static void tell(const struct lan *l)
{
	long from = 0;
	for (unsigned i = 0; i < 2; i++)
		for (unsigned q = 0; q < 2; q++) {
			const struct vq *v = &l->fe[i]->ring[q].vq;
			printf("guest %u ring %u: given 0x%x, used at %u wrap %u, next avail %u wrap %u, %u out, device event 0x%x; flags", i, q,
			       l->fe[i]->ring[q].base, v->p.used.slot, v->p.used.wrap, v->p.avail.slot, v->p.avail.wrap, vq_out(v),
			       *v->p.device_event);
			for (unsigned k = 0; k < 12; k++)
				printf(" %04x", v->p.desc[(v->p.used.slot + v->size - 4 + k) % v->size].flags);
			printf("\n");
		}
	char *text = daemon_said(&l->b->d, &from);
	size_t n = strlen(text);
	printf("%s\n", n > 1500 ? text + n - 1500 : text);
	free(text);
}

int main(int argc, char **argv)
{
	static struct bed b;
	static struct lan l;
	static const char *const args[] = {"--no-keeper", "--port", "vhost-user,id=a,packed=on", "--port", "vhost-user,id=a2,packed=on", NULL};
	struct fe_conf fc = {.packed = true, .ring_size = 200, .timeout_ms = 3000, .mem = {.region_bytes = 8 << 20}};
	const struct fe_conf *fcs[] = {&fc, &fc};
	struct seen s = {.wrong = NULL};
	bool caught = false, stuck = false, must = false;
	unsigned kills = 60, n = 0, own = 0;
	int i = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--own") == 0)
			must = true;
		else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			kills = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc) {
		fprintf(stderr, "usage: packed_crash [--caught] [--own] [--kills N] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	srandom(7);
	if (!daemon_start(&b.d, argv[i], args) || !lan_open(&l, &b, 2, fcs, NULL, 0)) {
		printf("packed_crash: %s\n", b.failed);
		return 3;
	}
	for (; n < kills && !stuck; n++) {
		bool alive = true;
		for (unsigned k = 0; k < 30 && alive; k++)
			alive = burst(&l, &s, must);
		own += !alive;
		if (alive) {
			usleep((useconds_t)(random() % 300));
			daemon_kill(&b.d);
		}
		while ((stuck = !come_back(&l, &s) || !talk(&l, &s)) && s.wrong == NULL && n < kills && died(&l)) {
			own++; // once more meanwhile
			n++;
		}
		stuck = stuck || s.wrong != NULL;
	}
	printf("packed_crash: %u crashes (%u its own), %llu frames sent, %llu lost, %llu repeated, %llu buffers came back empty",
	       n, own, (unsigned long long)(s.sent[0] + s.sent[1]), (unsigned long long)s.lost,
	       (unsigned long long)s.repeated, (unsigned long long)s.empty);
	printf("%s%s %s\n", stuck ? "; a ring stands still:" : "", b.failed, s.wrong ? s.wrong : "");
	if (stuck && !caught)
		tell(&l);
	lan_close(&l);
	daemon_clean(&b.d);
	return stuck == caught && (own != 0 || !must) ? 0 : 1;
}
