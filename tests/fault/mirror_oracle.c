// The mirror oracle: traffic in both directions between two guests that are both being logged, each with a thread that
// harvests its log without a pause. After the rings were stopped and the last bits taken, each guest's memory must equal its
// mirror, which was fed by nothing but the log.
//
//   mirror_oracle [--differs] [--frames N] VRINGD     --differs: a build with a seeded bug, so memory and mirror must differ
//
// Exit status 0: as expected; 1: not; 3: no traffic.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/kill.h"
#include "driver/flog.h"
#include "proto/lan.h"

#define WINDOW 16u

struct variant {
	const char *name;
	uint32_t rx_bytes;
	uint64_t without; // features
	enum net_rx_layout rx;
};

// In those that are spread, header bytes, num_buffers, payload, used.idx, used elements and avail_event have pages of their own;
// the others are for the fast form, which takes buffers of one descriptor.
static const struct variant variants[] = {
	{"one buffer a frame", 4096, 0, NET_RX_SPREAD},
	{"several buffers a frame", 400, 0, NET_RX_SPREAD},
	{"without event index", 4096, BIT64(VIRTIO_F_EVENT_IDX), NET_RX_SPREAD},
	{"one descriptor a buffer", 4084, 0, NET_RX_ONE},
};

static bool traffic(struct lan *l, unsigned frames)
{
	static const uint32_t sizes[] = {60, 300, 1514, 700, 1000};
	uint64_t sent[2] = {0, 0}, got[2] = {0, 0};
	while (got[0] < frames || got[1] < frames)
		for (unsigned i = 0; i < 2; i++) {
			for (; sent[i] < frames && sent[i] < got[i] + WINDOW; sent[i]++) {
				uint32_t len = sizes[sent[i] % ARRAY_LEN(sizes)];
				if (!net_send_numbered(&l->net[i][0], l->mac[!i], l->mac[i], i, sent[i], len))
					return false;
			}
			struct frame_id id;
			const char *wrong = net_expect(&l->net[!i][0], &id, NULL, 3000);
			if (wrong != NULL || id.seq != got[i]) {
				bed_fail(l->b, "frame %llu: %s", (unsigned long long)got[i],
					 wrong != NULL ? wrong : "another one");
				return false;
			}
			got[i]++;
		}
	return true;
}

// The last batch of a packed ring goes over a page's end, with its first descriptor in the page before: later batches would
// mark that page, too. The daemon stands still while the batch is put together.
static bool straddle(struct lan *l)
{
	enum { BATCH = 8 };
	struct net *to = &l->net[1][0];
	struct frame_id id;
	static uint64_t seq = 1u << 20;
	for (unsigned i = 0; to->rx->packed && to->rx->p.used.slot > 1 && i < 4 * to->rx->size; i++)
		if (!net_send_numbered(&l->net[0][0], l->mac[1], l->mac[0], 0, ++seq, 60) || net_expect(to, &id, NULL, 3000) != NULL)
			return false;
	if (!to->rx->packed)
		return true;
	kill_one(l->b->d.pid, SIGSTOP);
	bool ok = to->rx->p.used.slot <= 1;
	for (unsigned i = 0; i < BATCH && ok; i++)
		ok = net_send_numbered(&l->net[0][0], l->mac[1], l->mac[0], 0, ++seq, 60);
	kill_one(l->b->d.pid, SIGCONT);
	for (unsigned i = 0; i < BATCH && ok; i++)
		ok = net_expect(to, &id, NULL, 3000) == NULL;
	return ok;
}

// 1: equal; 0: they differ; -1: could not be run.
static int run(struct bed *b, const struct variant *v, unsigned frames)
{
	struct lan l;
	struct fe_conf fc = {.ring_size = 512,
			     .spread = true,
			     .features = FE_FEATURES & ~v->without,
			     .mem = {.region_bytes = 16 << 20, .file_offset = 4096}};
	struct net_conf nc = {.rx = v->rx, .rx_bytes = v->rx_bytes, .rx_slots = 192};
	const struct fe_conf *fcs[] = {&fc, &fc};
	const struct net_conf *ncs[] = {&nc, &nc};
	struct flog *log[2] = {NULL, NULL};
	struct flog_diff diff;
	bool ok = lan_open(&l, b, 2, fcs, ncs, 65500);
	for (unsigned i = 0; i < 2 && ok; i++) {
		log[i] = flog_new(l.fe[i]->mem, 4096 * i);
		ok = log[i] != NULL && fe_log_start(l.fe[i], log[i]->fd, log[i]->bytes, log[i]->file_offset) == FE_OK;
		if (ok)
			flog_copy_all(log[i]);
		ok = ok && flog_thread_start(log[i], 0);
	}
	ok = ok && traffic(&l, frames) && straddle(&l);
	for (unsigned i = 0; i < 2 && ok; i++)
		ok = fe_stop(l.fe[i]) == FE_OK;
	int equal = ok;
	for (unsigned i = 0; i < 2 && ok; i++) {
		flog_thread_stop(log[i]);
		flog_harvest(log[i]);
		if (!flog_equal(log[i], &diff))
			equal = 0;
		printf("mirror: %s, guest %u: %llu pages differ (first at 0x%llx), %llu harvested in %llu rounds, %llu "
		       "stray bits\n",
		       v->name, i, (unsigned long long)diff.pages, (unsigned long long)diff.gpa,
		       (unsigned long long)log[i]->pages, (unsigned long long)log[i]->rounds,
		       (unsigned long long)log[i]->stray);
		if (log[i]->pages == 0)
			ok = false;
	}
	if (!ok)
		printf("mirror: %s: could not be run: %s %s %s\n", v->name, b->failed, l.fe[0] ? l.fe[0]->err_text : "",
		       l.fe[1] != NULL ? l.fe[1]->err_text : "");
	lan_close(&l);
	flog_free(log[0]);
	flog_free(log[1]);
	return ok ? equal : -1;
}

int main(int argc, char **argv)
{
	static struct bed b;
	bool differs = false, differed = false;
	unsigned frames = 600;
	int i = 1, status = 0;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--differs") == 0)
			differs = true;
		else if (strcmp(argv[i], "--frames") == 0 && i + 1 < argc)
			frames = (unsigned)strtoul(argv[++i], NULL, 10);
	}
	if (i >= argc) {
		fprintf(stderr, "usage: mirror_oracle [--differs] [--frames N] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!bed_open(&b, argv[i])) {
		printf("mirror: %s\n", b.failed);
		status = 3;
	}
	for (unsigned k = 0; k < ARRAY_LEN(variants) && status == 0; k++) {
		int equal = run(&b, &variants[k], frames);
		if (equal < 0)
			status = 3;
		differed = differed || equal == 0;
	}
	if (status == 0)
		status = differed == differs ? 0 : 1;
	bed_close(&b);
	daemon_clean(&b.d);
	printf("mirror: %s, as %s\n", differed ? "memory and mirror differ" : "memory and mirror are equal",
	       status == 0 ? "expected" : "not expected");
	return status;
}
