// Acknowledged means durable: a front end storms handshakes, each request with need_reply, while another thread kills the
// daemon at random instants. After each kill, before anything is started or connected, the database of the dead daemon must
// say exactly what was acknowledged, or that and the one request that was on its way.
//
//   store_storm [--kills N] [--seed S] [--keeper] [--caught] VRINGD     --caught: a build with a seeded bug, which must be caught
//
// --keeper: what is killed is the worker, several times in the life of a connection. The front end must not notice: no end, no wrong
// answer, each request answered once. In the end the whole is killed, and the database compared as ever.
//
// At least 30 % of the kills must hit with a request outstanding. Exit status 0: as expected; 1: not; 3: could not be run.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "driver/fe.h"
#include "proto/daemon.h"
#include "record.h"
#include "wire/vu_table.h"

#define RINGS 4u
#define REGION (UINT64_C(1) << 20)

struct storm {
	struct daemon d;
	struct fe *fe;
	struct record acked; // what must be there
	struct record ahead; // with the request on its way
	_Atomic bool outstanding;
	uint64_t acks;    // of all lives
	uint64_t offered; // of the life before
	int fd;           // an eventfd for everything
	int log;
	uint64_t state; // of the generator
	uint64_t before; // messages that the front end had sent when it connected
	struct stored stored;
	unsigned claims; // of this life
	unsigned kills, hits, ahead_seen;
	unsigned max_delay_us;
	bool keeper;
	_Atomic bool killed_all; // from now on the front end may see it
	unsigned slow_us; // the longest that an answer took
};

#define KILLS_OF_A_CONNECTION 10

static uint32_t pick(struct storm *s, uint32_t n)
{
	s->state = s->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(s->state >> 33) % n;
}

// The number of the next request: the name of the descriptors that come with it.
static uint64_t next_seq(const struct storm *s)
{
	return s->fe->messages - s->before + 1;
}

// One request with its acknowledgement. s->ahead is the state that it leads to. False: the daemon is gone.
static bool ask(struct storm *s, uint32_t id, const void *payload, uint32_t size, const int *fds, unsigned n_fds)
{
	s->ahead.any = true;
	s->outstanding = true;
	enum fe_res res;
	uint64_t asked = clock_boot_us();
	if (id == VU_SET_LOG_BASE) {
		struct conn_msg m;
		res = fe_send(s->fe, id, 0, payload, size, fds, n_fds) ? fe_recv(s->fe, &m, id) : FE_CLOSED;
	} else {
		res = fe_ack(s->fe, id, payload, size, fds, n_fds);
	}
	unsigned took = (unsigned)(clock_boot_us() - asked);
	if (res == FE_OK) {
		s->slow_us = took > s->slow_us ? took : s->slow_us;
		s->acked = s->ahead;
		s->outstanding = false;
		s->acks++;
		return true;
	}
	if (res != FE_CLOSED)
		printf("store: %s: %s (%s)\n", vu_name(id), fe_res_name(res), s->fe->err_text);
	return false;
}

static bool ask_u64(struct storm *s, uint32_t id, uint64_t value)
{
	return ask(s, id, &value, sizeof(value), NULL, 0);
}

static bool ask_state(struct storm *s, uint32_t id, unsigned q, uint32_t v)
{
	struct vu_state st = {.index = q, .num = v};
	return ask(s, id, &st, sizeof(st), NULL, 0);
}

static bool ask_fd(struct storm *s, uint32_t id, unsigned q)
{
	bool poll = id != VU_SET_VRING_KICK && pick(s, 4) == 0;
	uint64_t v = q | (poll ? VU_RING_NOFD : 0);
	uint8_t how = poll ? SNAP_FD_POLL : SNAP_FD_GIVEN;
	struct snap_ring *r = &s->ahead.snap.ring[q];
	*(id == VU_SET_VRING_KICK ? &r->kick : id == VU_SET_VRING_CALL ? &r->call : &r->err) = how;
	*(id == VU_SET_VRING_KICK ? &r->kick_from : id == VU_SET_VRING_CALL ? &r->call_from : &r->err_from) =
		poll ? 0 : next_seq(s);
	s->ahead.known[q] |= id == VU_SET_VRING_KICK   ? KNOW_KICK | KNOW_STARTED
			     : id == VU_SET_VRING_CALL ? KNOW_CALL
						       : KNOW_ERR;
	if (id == VU_SET_VRING_KICK) {
		r->started = true;
		s->ahead.ran |= UINT32_C(1) << q;
		s->ahead.stopped &= ~(UINT32_C(1) << q);
	}
	return ask(s, id, &v, sizeof(v), &s->fd, poll ? 0 : 1);
}

static bool set_mem(struct storm *s)
{
	struct vu_memory t;
	int fds[VU_MAX_FDS];
	uint32_t size = gmem_table(s->fe->mem, &t, fds);
	struct snap *n = &s->ahead.snap;
	n->n_regions = t.n;
	for (unsigned i = 0; i < t.n; i++)
		n->region[i] = (struct snap_region){.guest_addr = t.region[i].guest_addr,
						    .size = t.region[i].size,
						    .user_addr = t.region[i].user_addr,
						    .mmap_offset = t.region[i].mmap_offset,
						    .from = next_seq(s),
						    .from_n = i};
	return ask(s, VU_SET_MEM_TABLE, &t, size, fds, t.n);
}

static bool set_addr(struct storm *s, unsigned q)
{
	const struct vq *v = &s->fe->ring[q].vq;
	struct snap_ring *r = &s->ahead.snap.ring[q];
	struct vu_addr a = {.index = q,
			    .flags = pick(s, 2),
			    .desc = gmem_uaddr(s->fe->mem, v->desc_gpa),
			    .used = gmem_uaddr(s->fe->mem, v->used_gpa),
			    .avail = gmem_uaddr(s->fe->mem, v->avail_gpa),
			    .log = v->used_gpa};
	r->has_addr = true;
	r->addr_flags = a.flags;
	r->desc = a.desc;
	r->used = a.used;
	r->avail = a.avail;
	r->log = a.log;
	s->ahead.known[q] |= KNOW_ADDR;
	return ask(s, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
}

static bool stop(struct storm *s, unsigned q)
{
	struct snap_ring *r = &s->ahead.snap.ring[q];
	uint32_t base;
	r->started = false;
	s->ahead.ran &= ~(UINT32_C(1) << q);
	s->ahead.stopped &= ~(UINT32_C(1) << q); // known when its base is
	bool any = false;
	for (unsigned i = 0; i < RINGS; i++)
		any = any || s->ahead.snap.ring[i].started;
	if (!any)
		s->ahead.log_unknown = true;
	s->ahead.known[q] &= ~(unsigned)(KNOW_BASE | KNOW_ADDR | KNOW_KICK | KNOW_CALL | KNOW_ERR);
	s->ahead.known[q] |= KNOW_STARTED;
	s->outstanding = true;
	enum fe_res res = fe_get_base(s->fe, q, &base);
	if (res != FE_OK)
		return false;
	r->base = base;
	s->ahead.known[q] |= KNOW_BASE;
	s->ahead.stopped |= UINT32_C(1) << q;
	s->ahead.last_base[q] = base;
	s->ahead.any = true;
	s->acked = s->ahead;
	s->outstanding = false;
	s->acks++;
	return true;
}

static bool set_up(struct storm *s, unsigned q)
{
	struct snap_ring *r = &s->ahead.snap.ring[q];
	uint16_t base = (uint16_t)pick(s, 65536);
	r->num = s->fe->conf.ring_size;
	s->ahead.known[q] |= KNOW_NUM;
	if (!ask_state(s, VU_SET_VRING_NUM, q, r->num))
		return false;
	vq_reset(&s->fe->ring[q].vq, base, false);
	r->base = base;
	s->ahead.known[q] |= KNOW_BASE;
	return ask_state(s, VU_SET_VRING_BASE, q, base) && set_addr(s, q) && ask_fd(s, VU_SET_VRING_CALL, q) &&
	       ask_fd(s, VU_SET_VRING_KICK, q);
}

static bool enable(struct storm *s, unsigned q)
{
	struct snap_ring *r = &s->ahead.snap.ring[q];
	r->enabled = pick(s, 3) != 0;
	s->ahead.known[q] |= KNOW_ENABLED;
	return ask_state(s, VU_SET_VRING_ENABLE, q, r->enabled);
}

static bool features(struct storm *s, bool log)
{
	struct snap *n = &s->ahead.snap;
	n->has_features = true;
	n->features_acked = s->fe->features | (log ? BIT64(VHOST_F_LOG_ALL) : 0);
	return ask_u64(s, VU_SET_FEATURES, n->features_acked);
}

static bool log_base(struct storm *s)
{
	struct vu_log l = {.size = 4096, .offset = 4096 * pick(s, 2)};
	struct snap *n = &s->ahead.snap;
	s->ahead.log_unknown = false;
	n->has_log = true;
	n->log_size = l.size;
	n->log_offset = l.offset;
	n->log_from = next_seq(s);
	return ask(s, VU_SET_LOG_BASE, &l, sizeof(l), &s->log, 1);
}

// An address of its own for each claim: a schedule of announcements outlives a life here.
static bool rarp(struct storm *s)
{
	if (s->ahead.n_claims == RECORD_CLAIMS || s->claims >= 255)
		return true;
	uint8_t mac[8] = {2, (uint8_t)(s->kills >> 16), (uint8_t)(s->kills >> 8), (uint8_t)s->kills, (uint8_t)(s->state >> 40),
			  (uint8_t)++s->claims};
	s->ahead.claim_seq[s->ahead.n_claims] = next_seq(s);
	memcpy(s->ahead.claim[s->ahead.n_claims++], mac, 6);
	return ask(s, VU_SEND_RARP, mac, sizeof(mac), NULL, 0);
}

static bool bell(struct storm *s)
{
	s->ahead.snap.bell_from = next_seq(s);
	return ask(s, VU_SET_LOG_FD, NULL, 0, &s->fd, 1);
}

static bool greet(struct storm *s)
{
	struct snap *n = &s->ahead.snap;
	struct fe *fe = s->fe;
	memset(&s->acked, 0, sizeof(s->acked));
	s->ahead = s->acked;
	s->outstanding = false;
	if (fe_get_u64(fe, VU_GET_FEATURES, &fe->offered) != FE_OK ||
	    fe_get_u64(fe, VU_GET_PROTOCOL_FEATURES, &fe->protocol_offered) != FE_OK)
		return false;
	if ((s->offered & ~fe->offered) != 0) {
		printf("store: features 0x%llx are not offered any more\n", (unsigned long long)(s->offered & ~fe->offered));
		s->kills = 0; // seen by the caller as a failure to run
		return false;
	}
	s->offered = fe->offered;
	fe->features = (fe->offered & FE_FEATURES) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
	fe->protocol = fe->protocol_offered & FE_PROTOCOL;
	// The first one has no acknowledgement: REPLY_ACK comes into force with it. The barrier's reply is behind it.
	n->has_protocol = true;
	n->protocol_features = fe->protocol;
	s->ahead.any = true;
	if (!fe_send(fe, VU_SET_PROTOCOL_FEATURES, 0, &fe->protocol, 8, NULL, 0))
		return false;
	s->outstanding = true;
	if (fe_barrier(fe) != FE_OK)
		return false;
	s->acked = s->ahead;
	n->owned = true;
	if (!ask(s, VU_SET_OWNER, NULL, 0, NULL, 0))
		return false;
	n->mtu = (uint16_t)(1500 + pick(s, 100));
	return ask_u64(s, VU_NET_SET_MTU, n->mtu) && features(s, false) && set_mem(s);
}

// Requests until the daemon is gone.
static void rage(struct storm *s)
{
	bool logging = false;
	if (!greet(s))
		return;
	for (bool ok = true; ok;) {
		unsigned q = pick(s, RINGS);
		bool started = s->acked.snap.ring[q].started;
		switch (pick(s, 12)) {
		case 0:
		case 1:
			ok = enable(s, q);
			break;
		case 2:
			ok = ask_fd(s, VU_SET_VRING_CALL, q);
			break;
		case 3:
			ok = ask_fd(s, VU_SET_VRING_ERR, q);
			break;
		case 4:
			ok = set_mem(s);
			break;
		case 5:
			// As a migration does it. It stays on: what switching off does to has_log is not said.
			if (!logging) {
				ok = log_base(s) && features(s, true);
				logging = true;
			} else {
				ok = log_base(s);
			}
			break;
		case 6:
			ok = rarp(s);
			break;
		case 7:
			ok = bell(s);
			break;
		default:
			ok = started ? stop(s, q) : set_up(s, q);
			break;
		}
	}
}

static void nap_us(unsigned us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
	nanosleep(&ts, NULL);
}

// Workers, one after the other, at instants of a generator of its own; also before they are ready.
static void kill_workers(struct storm *s)
{
	unsigned state = s->max_delay_us;
	for (unsigned i = 0; i < KILLS_OF_A_CONNECTION; i++) {
		pid_t worker = daemon_worker(&s->d);
		state = state * 1103515245u + 12345u;
		nap_us(state >> 8 & 0x3fff);
		if (worker > 0 && kill_one(worker, SIGKILL) == 0) {
			s->kills++;
			s->hits += s->outstanding;
		}
		while (worker > 0 && daemon_worker(&s->d) == worker)
			nap_us(100);
	}
}

static void *killer_main(void *arg)
{
	struct storm *s = arg;
	nap_us(s->max_delay_us);
	if (s->keeper)
		kill_workers(s);
	s->killed_all = true;
	pid_t worker = daemon_worker(&s->d);
	kill_one(s->d.pid, SIGKILL);
	while (s->keeper && worker > 0 && kill_one(worker, 0) == 0)
		nap_us(100);
	return NULL;
}

// One life: storm, kill, look. Returns NULL, or what is wrong.
static const char *life(struct storm *s)
{
	static char text[300];
	char path[128];
	pthread_t killer;
	if (!fe_connect(s->fe, daemon_path(&s->d, "a"))) {
		snprintf(text, sizeof(text), "no connection: %s", s->fe->err_text);
		return text;
	}
	s->before = s->fe->messages;
	s->claims = 0;
	s->max_delay_us = 500 + pick(s, 40000);
	if (pthread_create(&killer, NULL, killer_main, s) != 0)
		return "no thread";
	s->killed_all = false;
	rage(s);
	bool noticed = !s->killed_all;
	pthread_join(killer, NULL);
	waitpid(s->d.pid, &s->d.status, 0);
	s->d.pid = -1;
	fe_disconnect(s->fe);
	if (!WIFSIGNALED(s->d.status) || WTERMSIG(s->d.status) != SIGKILL)
		return "the daemon ended by itself";
	if (noticed) {
		snprintf(text, sizeof(text), "the front end noticed that a worker died: %s", s->fe->err_text);
		return text;
	}
	if (!s->keeper) {
		s->kills++;
		s->hits += s->outstanding;
	}
	snprintf(path, sizeof(path), "%s/state.db", s->d.state);
	if (!record_load(path, "a", &s->stored, text, sizeof(text)))
		return text;
	const char *differs = record_differs(&s->acked, &s->stored);
	const char *ahead = differs != NULL && s->outstanding ? record_differs(&s->ahead, &s->stored) : differs;
	if (differs != NULL && ahead == NULL)
		s->ahead_seen++;
	if (ahead == NULL) {
		ahead = differs = record_device_differs(&s->acked, &s->stored);
		if (differs != NULL && s->outstanding)
			ahead = record_device_differs(&s->ahead, &s->stored);
	}
	if (ahead == NULL)
		ahead = differs = record_owed_differs(&s->ahead, s->acked.n_claims, &s->stored);
	if (ahead == NULL)
		return NULL;
	snprintf(text, sizeof(text),
		 "stored state differs from what was acknowledged: %s%s%s (message %llu is the last stored)", differs,
		 s->outstanding ? "; from that with the request on its way: " : "", s->outstanding ? ahead : "",
		 (unsigned long long)s->stored.seq);
	return text;
}

static int storm(struct storm *s, unsigned kills, bool caught)
{
	const char *wrong = NULL;
	unsigned bad = 0, n;
	for (n = 0; s->kills < kills; n++) {
		wrong = life(s);
		if (wrong != NULL) {
			printf("store: life %u, kill %u: %s\n", n + 1, s->kills, wrong);
			bad++;
			if (!caught || s->d.pid > 0 || strstr(wrong, "differs") == NULL)
				break;
		}
		if (!daemon_again(&s->d))
			break;
		if (caught && bad > 0)
			break;
	}
	printf("store: %u kills, %u with a request outstanding, %u of those found committed; %llu requests acknowledged; %u "
	       "wrong\n",
	       s->kills, s->hits, s->ahead_seen, (unsigned long long)s->acks, bad);
	if (s->keeper)
		printf("store: %u connections; the slowest answer took %u us\n", n, s->slow_us);
	if (caught)
		return bad > 0 && wrong != NULL && strstr(wrong, "differs") != NULL ? 0 : 1;
	if (bad == 0 && s->hits * 10 < s->kills * 3) {
		printf("store: too few kills hit a request: that proves nothing\n");
		return 1;
	}
	return bad == 0 && s->kills >= kills ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const char *const args[] = {"--no-keeper", "--port", "vhost-user,id=a,max-macs=65536", NULL};
	static struct storm s;
	struct fe_conf conf = {.pairs = RINGS / 2, .ring_size = 64, .mem = {.regions = 2, .region_bytes = REGION}};
	unsigned kills = 100;
	bool caught = false;
	int i = 1, status = 3;
	s.state = 1;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--caught") == 0)
			caught = true;
		else if (strcmp(argv[i], "--keeper") == 0)
			s.keeper = true;
		else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
			kills = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			s.state = strtoull(argv[++i], NULL, 10);
	}
	if (i >= argc || kills == 0) {
		fprintf(stderr, "usage: store_storm [--kills N] [--seed S] [--keeper] [--caught] VRINGD\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	s.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.log = memfd_create("log", MFD_CLOEXEC);
	s.fe = fe_new(&conf);
	if (s.fe != NULL && s.fd >= 0 && s.log >= 0 && ftruncate(s.log, 3 * 4096) == 0 &&
	    daemon_start(&s.d, argv[i], args + s.keeper)) {
		s.fe->conf.timeout_ms = 20000;
		status = storm(&s, kills, caught);
	}
	fe_free(s.fe);
	daemon_kill(&s.d);
	if (status != 0)
		daemon_tell(&s.d);
	daemon_clean(&s.d);
	fd_reset(&s.fd);
	fd_reset(&s.log);
	return status;
}
