#include "bench/plan.h"
#include "base/progress.h"

#include <string.h>


#define SMALL_SET (64u << 10) // a guest's transmit or receive buffers; four times that is well below L2
#define LARGE_SET (32u << 20) // likewise, well above

struct kind {
	const char *name, *help;
	enum row_way way;
	enum load_kind kind;
	uint32_t size[7]; // by default; 0: a mix of its own
	bool rings; // split and packed; else split only
	void (*tune)(struct row *r);
	bool extra; // not among "all"
};

static void tune_mq(struct row *r)
{
	r->load.pairs = 2;
}
static void tune_occupancy(struct row *r)
{
	r->load.occupancy = true;
}
static void tune_set(struct row *r, uint64_t bytes)
{
	r->load.working_set = bytes;
	r->load.rx_buffer = row_max_frame(r) + 64; // memory that is not touched is not in the set
}
static void tune_small(struct row *r)
{
	tune_set(r, SMALL_SET);
}
static void tune_large(struct row *r)
{
	tune_set(r, LARGE_SET);
}
static void tune_sleep(struct row *r)
{
	r->load.wait = LOAD_SLEEP;
}
static void tune_in_order(struct row *r)
{
	r->load.in_order = true;
}
static void tune_plain(struct row *r)
{
	r->load.mergeable = false;
}
static void tune_indirect(struct row *r)
{
	r->load.indirect = true;
}
static void tune_log(struct row *r)
{
	r->load.harvest_ms = 100;
}

static void tune_gso(struct row *r)
{
	r->load.gso = true;
}

static void tune_busy(struct row *r)
{
	r->busy = true;
}

static void set_mix(struct row *r, const struct load_size *mix, unsigned n)
{
	memcpy(r->load.size, mix, n * sizeof(*mix));
	r->load.n_sizes = n;
}

static void tune_mix(struct row *r)
{
	static const struct load_size mix[] = { { 64, 1 }, { 256, 1 }, { 512, 1 }, { 1024, 1 }, { 1518, 1 } };
	set_mix(r, mix, 5);
}

static void tune_imix(struct row *r)
{
	static const struct load_size mix[] = { { 64, 28 }, { 570, 16 }, { 1518, 4 } };
	set_mix(r, mix, 3);
}

static const struct kind kinds[] = {
	{ "bothways",
	  "guest to guest, both ways at once",
	  ROW_PAIRS,
	  LOAD_BOTH_WAYS,
	  { 64, 256, 512, 1024, 1518, 9000 },
	  true,
	  NULL,
	  false },
	{ "oneway", "guest to guest, one way", ROW_PAIRS, LOAD_ONE_WAY, { 64, 1518 }, true, NULL, false },
	{ "occupancy",
	  "both ways, each ring filled, then released: equal batches",
	  ROW_PAIRS,
	  LOAD_BOTH_WAYS,
	  { 64, 1518 },
	  true,
	  tune_occupancy,
	  false },
	{ "small-set",
	  "both ways, buffers of 256 KiB in all: below L2",
	  ROW_PAIRS,
	  LOAD_BOTH_WAYS,
	  { 64, 1518 },
	  false,
	  tune_small,
	  false },
	{ "large-set",
	  "both ways, buffers of 32 MiB: above L2",
	  ROW_PAIRS,
	  LOAD_BOTH_WAYS,
	  { 64, 1518 },
	  false,
	  tune_large,
	  false },
	{ "mix", "both ways, 64 to 1518 in equal parts", ROW_PAIRS, LOAD_BOTH_WAYS, { 0 }, true, tune_mix, false },
	{ "imix", "both ways, 28 x 64, 16 x 570, 4 x 1518", ROW_PAIRS, LOAD_BOTH_WAYS, { 0 }, true, tune_imix, true },
	{ "gso",
	  "both ways, TCP segments of 64 KiB with their header",
	  ROW_PAIRS,
	  LOAD_BOTH_WAYS,
	  { 65226 },
	  true,
	  tune_gso,
	  false },
	{ "mq", "both ways, two queue pairs", ROW_PAIRS, LOAD_BOTH_WAYS, { 64 }, true, tune_mq, false },
	{ "inorder", "both ways, in-order", ROW_PAIRS, LOAD_BOTH_WAYS, { 64 }, true, tune_in_order, false },
	{ "plain", "both ways, without mergeable buffers", ROW_PAIRS, LOAD_BOTH_WAYS, { 64 }, true, tune_plain, false },
	{ "indirect", "both ways, indirect descriptors", ROW_PAIRS, LOAD_BOTH_WAYS, { 64 }, true, tune_indirect, false },
	{ "sink", "guest to a null port", ROW_PAIRS, LOAD_SINK, { 64, 1518 }, true, NULL, false },
	{ "loop",
	  "one port that reflects (testpmd and given sockets)",
	  ROW_PAIRS,
	  LOAD_LOOP,
	  { 64, 1518 },
	  true,
	  NULL,
	  false },
	{ "paced",
	  "both ways at equal load, half the slower one's rate",
	  ROW_PACED,
	  LOAD_BOTH_WAYS,
	  { 64, 1518 },
	  true,
	  NULL,
	  false },
	{ "log",
	  "both ways, dirty logging off and on, harvested every 100 ms",
	  ROW_LOG,
	  LOAD_BOTH_WAYS,
	  { 64, 1518 },
	  true,
	  tune_log,
	  false },
	{ "pingpong",
	  "one frame there and back, driver polling: latency",
	  ROW_LATENCY,
	  LOAD_PING_PONG,
	  { 64 },
	  true,
	  NULL,
	  false },
	{ "pingpong-sleep",
	  "the same, driver asleep on its call eventfd",
	  ROW_LATENCY,
	  LOAD_PING_PONG,
	  { 64 },
	  true,
	  tune_sleep,
	  false },
	{ "handshake", "connect until all rings run", ROW_HANDSHAKE, LOAD_ONE_WAY, { 64 }, false, NULL, false },
	{ "ack",
	  "an acknowledged message while traffic flows, store on",
	  ROW_ACK,
	  LOAD_ONE_WAY,
	  { 64 },
	  false,
	  NULL,
	  false },
	{ "idle", "1 to 256 silent ports: CPU time, switches, memory", ROW_IDLE, LOAD_ONE_WAY, { 64 }, false, NULL, false },
	{ "recovery", "kill until the first frame", ROW_RECOVERY, LOAD_ONE_WAY, { 64 }, false, NULL, false },
	{ "recovery-load",
	  "the same while frames go both ways as fast as they can",
	  ROW_RECOVERY,
	  LOAD_ONE_WAY,
	  { 64 },
	  false,
	  tune_busy,
	  true },
	{ "stop", "GET_VRING_BASE of the rings of 8 queue pairs", ROW_STOP, LOAD_ONE_WAY, { 64 }, false, NULL, true },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct kind *find(const char *name, bool *split, bool *packed)
{
	size_t n = strcspn(name, "/");
	*split = !name[n] || strcmp(name + n, "/split") == 0;
	*packed = !name[n] || strcmp(name + n, "/packed") == 0;
	for (unsigned i = 0; i < N_KINDS && (*split || *packed); i++)
		if (strlen(kinds[i].name) == n && strncmp(kinds[i].name, name, n) == 0)
			return *split || kinds[i].rings ? &kinds[i] : NULL;
	return NULL;
}

bool plan_knows(const char *name)
{
	bool split, packed;
	return find(name, &split, &packed) != NULL;
}

void plan_help(FILE *f)
{
	for (unsigned i = 0; i < N_KINDS; i++)
		fprintf(f, "  %-15s %s%s\n", kinds[i].name, kinds[i].help, kinds[i].rings ? "" : " (split)");
}

static void add_row(struct plan *p, const struct kind *k, const struct opts *o, bool packed, uint32_t size)
{
	if (p->n == PLAN_ROWS)
		return;
	struct row *r = &p->row[p->n++];
	memset(r, 0, sizeof(*r));
	r->way = k->way;
	r->load.kind = k->kind;
	r->load.packed = packed;
	r->load.mergeable = true;
	r->load.pairs = 1;
	r->load.flows = o->flows;
	if (size) {
		r->load.size[0] = (struct load_size){ size, 1 };
		r->load.n_sizes = 1;
	}
	if (k->tune)
		k->tune(r);
	snprintf(r->what, sizeof(r->what), "%s", k->name);
	if (!k->rings && k->way >= ROW_HANDSHAKE)
		snprintf(r->name, sizeof(r->name), "%s", k->name);
	else if (size)
		snprintf(r->name, sizeof(r->name), "%s %s %u", k->name, packed ? "packed" : "split", size);
	else
		snprintf(r->name, sizeof(r->name), "%s %s", k->name, packed ? "packed" : "split");
}

static void add_search(struct plan *p, const struct opts *o, const struct row *like, double loss, const char *name)
{
	(void)o;
	if (p->n == PLAN_ROWS || like->way != ROW_PAIRS || strcmp(like->what, "bothways") != 0)
		return;
	struct row *r = &p->row[p->n++];
	*r = *like;
	r->way = ROW_SEARCH;
	r->loss = loss;
	snprintf(r->what, sizeof(r->what), "%s", name);
	snprintf(r->name, sizeof(r->name), "%s%s", name, strchr(like->name, ' '));
}

static void add_kind(struct plan *p, const struct kind *k, const struct opts *o, bool split, bool packed)
{
	bool own = o->n_sizes && k->size[0] && k->way < ROW_HANDSHAKE && !(k->tune == tune_gso);
	unsigned n = own ? o->n_sizes : 0;
	while (!own && n < 7 && k->size[n])
		n++;
	for (int ring = 0; ring < (k->rings ? 2 : 1); ring++) {
		if (!(ring ? packed : split))
			continue;
		for (unsigned i = 0; i < (n ? n : 1); i++)
			add_row(p, k, o, ring, n ? (own ? o->size[i] : k->size[i]) : 0);
	}
}

bool plan_make(struct plan *p, const struct opts *o)
{
	p->n = 0;
	bool split = true, packed = true, imix = false;
	if (o->verb == VERB_RECOVERY) {
		static const char *const rows[] = { "recovery", "recovery-load", "stop" };
		for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			add_kind(p, find(rows[i], &split, &packed), o, true, false);
		return true;
	}
	for (unsigned i = 0; i < o->n_cases; i++) {
		const struct kind *k = find(o->cases[i], &split, &packed);
		if (!k)
			continue; // opts has looked; a file from elsewhere may name what we don't know
		imix |= k->tune == tune_imix;
		add_kind(p, k, o, split, packed);
	}
	for (unsigned i = 0; o->n_cases == 0 && i < N_KINDS; i++)
		if (!kinds[i].extra)
			add_kind(p, &kinds[i], o, true, true);
	if (o->imix && !imix)
		add_kind(p, find("imix", &split, &packed), o, true, true);
	unsigned rows = p->n;
	for (unsigned i = 0; i < rows; i++) {
		if (o->ndr)
			add_search(p, o, &p->row[i], 0, "ndr");
		if (o->pdr)
			add_search(p, o, &p->row[i], o->loss, "pdr");
	}
	if ((o->ndr || o->pdr) && p->n == rows)
		complain("--search looks at the sizes of bothways, which is not among the cases");
	if (p->n == 0)
		complain("nothing to do");
	return p->n != 0;
}

uint32_t row_max_frame(const struct row *r)
{
	uint32_t most = 0;
	for (unsigned i = 0; i < r->load.n_sizes; i++)
		if (r->load.size[i].bytes > most)
			most = r->load.size[i].bytes;
	return most;
}
