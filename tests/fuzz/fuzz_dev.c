// A hostile front end against a device: the input is a sequence of messages, each a good one with some of its bytes, its
// header or its descriptors changed, with the store failing now and then. Now and then the process dies and another adopts the
// connection, from rows that may be spoilt. The ops are fake; memory and log are small memfds.
//
// Input: byte 0 a session to start from (bit 7: packed rings), then per message: id, what (see W_ below), ring, and what the
// flags ask for.
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "dev/dev.h"
#include "dirty/dirty.h"
#include "guest/ring.h"
#include "wire/vu_table.h"

#define MEM (UINT64_C(256) << 10)
#define UADDR UINT64_C(0x7f0000000000)
#define LOG_BYTES 64u
#define NUM 16u
#define PAIRS 2u

enum { W_ASK = 1, W_PATCH = 2, W_FDS = 4, W_HEADER = 8, W_NO_STORE = 16, W_CRASH = 32, W_SPOIL = 64 };

struct world {
	struct dev *dev;
	int mem_fd, log_fd;
	uint64_t seq, commits;
	bool no_store, refused, packed;
	bool owes; // a stop was answered and not stored
	struct snap stored;
	uint64_t stored_seq;
	struct dev_reply reply; // the last one
	struct {
		uint64_t seq;
		uint32_t n;
		int fd;
	} kept[SNAP_MAX_NAMES + VU_MAX_FDS];
	unsigned n_kept;
	struct vring *ring[SNAP_MAX_RINGS];
	struct fuzz_in in;
};

static enum err op_commit(void *arg, const struct snap *s, uint64_t what, uint64_t seq, const uint8_t *reply,
			  uint32_t reply_len, const uint8_t *claim, struct why *why)
{
	struct world *w = arg;
	struct why bad;
	FUZZ_CHECK(snap_check(s, &bad) == OK);
	FUZZ_CHECK((claim != NULL) == ((what & SNAP_CLAIM) != 0));
	FUZZ_CHECK(what != 0 && seq == w->seq && reply_len <= DEV_REPLY_MAX && (reply || reply_len == 0));
	if (w->no_store)
		return ours(why, "no space");
	w->stored = *s;
	w->stored_seq = seq;
	w->commits++;
	return OK;
}

static void op_retract(void *arg, unsigned q, bool last)
{
	struct world *w = arg;
	(void)last;
	FUZZ_CHECK(q < 2 * PAIRS);
	w->ring[q] = NULL;
}

static void op_publish(void *arg, unsigned q, struct vring *ring, int kick_fd, enum dev_run how)
{
	struct world *w = arg;
	FUZZ_CHECK(q < 2 * PAIRS && ring && !w->ring[q]);
	FUZZ_CHECK(kick_fd == -1 || fcntl(kick_fd, F_GETFD) >= 0);
	FUZZ_CHECK(how == DEV_RUN || how == DEV_DISCARD);
	w->ring[q] = ring;
}

static void op_sync(void *arg)
{
	(void)arg;
}

static void op_rarp(void *arg, const uint8_t mac[6])
{
	(void)arg;
	FUZZ_CHECK((mac[0] & 1) == 0);
}

static void op_event(void *arg, enum dev_event ev, unsigned q, const char *detail)
{
	struct world *w = arg;
	FUZZ_CHECK(q < 2 * PAIRS && strlen(detail) < 2 * WHY_MAX);
	if (ev == DEV_EV_REFUSED)
		w->refused = true;
}

static const struct dev_ops ops = { op_commit, op_retract, op_publish, op_sync, op_rarp, op_event };

static int memfd(uint64_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static void good(struct world *w, struct dev_msg *m, uint8_t *p, uint32_t id, unsigned q)
{
	const struct vu_row *row = vu_row(id);
	const struct snap *s = dev_snap(w->dev);
	uint64_t at = 0x8000 * (uint64_t)q, v = q;
	m->hdr = (struct vu_hdr){ id, VU_VERSION, row ? row->len.min : 0 };
	switch (id) {
	case VU_SET_FEATURES:
		v = s->has_features ? s->features_acked ^ BIT64(VHOST_F_LOG_ALL) :
				      dev_features_supported() & ~BIT64(VHOST_F_LOG_ALL) & ~(w->packed ? 0 : BIT64(VIRTIO_F_RING_PACKED));
		break;
	case VU_SET_PROTOCOL_FEATURES:
		v = dev_protocol_features_supported();
		break;
	case VU_SET_MEM_TABLE:
		m->hdr.size += row->len.element;
		memcpy(p, &(struct vu_memory){ .n = 1, .region = { { 0, MEM, UADDR, 0 } } }, 40);
		break;
	case VU_SET_LOG_BASE:
		memcpy(p, &(struct vu_log){ LOG_BYTES, 0 }, 16);
		break;
	case VU_SET_VRING_ADDR:
		memcpy(p, &(struct vu_addr){ q, s->has_log, UADDR + at, UADDR + at + 0x2000, UADDR + at + 0x1000,
				at + 0x2000 }, 40);
		break;
	case VU_SET_VRING_NUM:
		v |= (uint64_t)NUM << 32;
		break;
	case VU_SET_VRING_ENABLE:
		v |= (uint64_t)1 << 32;
		break;
	case VU_SEND_RARP:
		v = 0x563412005452;
		break;
	case VU_NET_SET_MTU:
		v = 1500;
		break;
	}
	if (m->hdr.size == 8)
		memcpy(p, &v, 8);
	if (row && row->fds != VU_FDS_NONE && row->fds != VU_FDS_MAYBE)
		m->fds[m->n_fds++] = id == VU_SET_MEM_TABLE ? dup(w->mem_fd) : id == VU_SET_LOG_BASE ? dup(w->log_fd) :
				     eventfd(0, EFD_CLOEXEC);
}

static void patch(struct world *w, uint8_t *p)
{
	static const uint64_t values[] = { 0, 1, 2, 3, 255, 256, 4095, 4096, 0xffff, 0x10000, 0x7fffffff, UINT32_MAX,
			BIT64(32), BIT64(63), UINT64_MAX, UINT64_MAX - 4095, UADDR, UADDR + MEM, MEM, MEM - 1, UADDR + 0x8000 };
	for (unsigned n = fuzz_byte(&w->in) % 4 + 1; n > 0; n--) {
		size_t at = fuzz_byte(&w->in) % (8 + 32 * VU_MAX_REGIONS);
		uint8_t how = fuzz_byte(&w->in);
		uint64_t v = how < 0x80 ? values[how % ARRAY_LEN(values)] : fuzz_byte(&w->in);
		memcpy(p + at, &v, how & 0x40 ? 8 : how & 0x20 ? 4 : how >= 0x80 ? 1 : 8);
	}
}

static void change_fds(struct world *w, struct dev_msg *m)
{
	uint8_t what = fuzz_byte(&w->in);
	fd_reset_all(m->fds, VU_MAX_FDS);
	for (m->n_fds = 0; m->n_fds < (what & 15u) && m->n_fds < VU_MAX_FDS; m->n_fds++) {
		uint8_t kind = fuzz_byte(&w->in);
		m->fds[m->n_fds] = kind % 5 == 0 ? dup(w->mem_fd) : kind % 5 == 1 ? dup(w->log_fd) :
				   kind % 5 == 2 ? eventfd(0, EFD_CLOEXEC) : open(kind % 5 == 3 ? "/dev/null" : "/",
					O_CLOEXEC);
		FUZZ_CHECK(m->fds[m->n_fds] >= 0);
	}
	m->fds_truncated = what == 0xff;
}

static void touch_packed(struct pring *p)
{
	volatile const uint8_t *driver = p->v.avail;
	struct gwrite_used u = { .id = gwrite_packed_id(0, 1), .len = 1 };
	uint32_t base;
	(void)(driver[0] + driver[3]);
	pring_find(p, &base);
	FUZZ_CHECK(p->at.used.slot < p->num && p->out == 0);
	pring_advance(p, 1);
	gwrite_packed_publish(p, &u, 1);
	gwrite_packed_notify(p, true, 0);
	gwrite_packed_notify(p, false, 0);
	pring_wants_call(p);
}

// What the datapath does with its rings: whoever maps or frees wrongly is found here.
static void touch_rings(struct world *w)
{
	const struct snap *s = dev_snap(w->dev);
	for (unsigned q = 0; q < 2 * PAIRS; q++) {
		struct vring *r = w->ring[q];
		FUZZ_CHECK(dev_ring_running(w->dev, q) == (r && s->ring[q].enabled));
		if (!r)
			continue;
		FUZZ_CHECK(s->ring[q].started && s->has_features && dev_ring(w->dev, q) == r);
		if (bits_has(s->features_acked, VHOST_F_LOG_ALL)) {
			FUZZ_CHECK(r->log != NULL && dev_logging(w->dev));
			dirty_mark(r->log, r->used_log_gpa, r->packed ? PEVENT_BYTES : VUSED_BYTES(r->num));
		} else {
			FUZZ_CHECK(r->log == NULL);
		}
		FUZZ_CHECK(r->packed == bits_has(s->features_acked, VIRTIO_F_RING_PACKED));
		if (r->packed) {
			touch_packed(pring_of(r));
			continue;
		}
		volatile const uint8_t *desc = r->desc, *avail = r->avail;
		(void)(desc[0] + desc[16u * r->num - 1] + avail[0] + avail[5u + 2 * r->num]);
		uint8_t *ring = (uint8_t *)(uintptr_t)r->used;
		ring[5 + 8u * r->num] = 0;
		uint16_t used = (uint16_t)(r->last_used + 1);
		memcpy(ring + 2, &used, 2);
		r->last_used = r->last_avail = used;
	}
}

// Exactly the replies that are owed.
static void check_reply(const struct world *w, const struct dev_msg *m, const struct dev_reply *r, bool asked, bool refused)
{
	const struct vu_row *row = vu_row(m->hdr.request);
	struct vu_hdr hdr;
	(void)w;
	if (r->close) {
		FUZZ_CHECK(r->len == 0);
		return;
	}
	FUZZ_CHECK(r->len == 0 || r->len == 20 || r->len == 28);
	bool own = row && row->reply != VU_R_ACK;
	FUZZ_CHECK((r->len != 0) == (own || asked));
	if (r->len == 0)
		return;
	memcpy(&hdr, r->bytes, sizeof(hdr));
	FUZZ_CHECK(hdr.request == m->hdr.request && hdr.flags == 5 && hdr.size == r->len - 12);
	uint64_t v;
	memcpy(&v, r->bytes + 12, 8);
	if (!own)
		FUZZ_CHECK(v == (refused ? 1 : 0));
}

static int kept_fd(void *arg, uint64_t from, uint32_t n)
{
	struct world *w = arg;
	for (unsigned i = 0; i < w->n_kept; i++)
		if (w->kept[i].seq == from && w->kept[i].n == n)
			return w->kept[i].fd;
	return -1;
}

static void keep(struct world *w, const struct dev_msg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++) {
		w->kept[w->n_kept].seq = m->seq;
		w->kept[w->n_kept].n = i;
		w->kept[w->n_kept++].fd = dup(m->fds[i]);
	}
}

static void keep_only(struct world *w)
{
	struct snap_name name[SNAP_MAX_NAMES];
	unsigned n = snap_names(&w->stored, name), left = 0;
	for (unsigned i = 0; i < w->n_kept; i++) {
		bool named = false;
		for (unsigned k = 0; k < n; k++)
			named = named || (name[k].seq == w->kept[i].seq && name[k].place == w->kept[i].n);
		if (named)
			w->kept[left++] = w->kept[i];
		else
			fd_reset(&w->kept[i].fd);
	}
	w->n_kept = left;
	FUZZ_CHECK(w->n_kept == n); // all that is named is there
}

// Returns false when the session is over.
static bool send(struct world *w, struct dev_msg *m, uint8_t *payload)
{
	struct dev_reply *reply = &w->reply;
	struct snap before = *dev_snap(w->dev);
	uint64_t commits = w->commits;
	bool asked = (m->hdr.flags & VU_FLAG_NEED_REPLY) && bits_has(before.protocol_features, VU_PF_REPLY_ACK);
	m->seq = ++w->seq;
	m->payload = payload;
	w->refused = false;
	keep(w, m);
	dev_handle(w->dev, m, reply);
	keep_only(w);
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		FUZZ_CHECK(m->fds[i] == -1);
	const struct snap *now = dev_snap(w->dev);
	uint64_t changed = snap_diff(&before, now) | (m->hdr.request == VU_SEND_RARP && !w->refused ? SNAP_CLAIM : 0);
	bool answered = m->hdr.request == VU_GET_VRING_BASE && !reply->close;
	FUZZ_CHECK(!w->refused || answered || changed == 0);
	bool stores = (changed || (w->owes && !w->refused && !reply->close)) && !w->no_store;
	FUZZ_CHECK(w->commits - commits == (stores ? 1u : 0u));
	w->owes = (w->owes || (changed && answered)) && !stores;
	FUZZ_CHECK(reply->unstored == w->owes);
	if (w->commits != commits)
		FUZZ_CHECK(snap_diff(&w->stored, now) == 0);
	check_reply(w, m, reply, asked, w->refused);
	if (reply->close)
		return false;
	touch_rings(w);
	return true;
}

static bool send_good(struct world *w, uint32_t id, unsigned q)
{
	uint8_t payload[VU_MAX_PAYLOAD] = { 0 };
	struct dev_msg m = { .fds = { -1, -1, -1, -1, -1, -1, -1, -1 } };
	good(w, &m, payload, id, q);
	return send(w, &m, payload);
}

static void begin(struct world *w, unsigned from)
{
	static const uint32_t session[] = { VU_SET_PROTOCOL_FEATURES, VU_SET_OWNER, VU_SET_FEATURES, VU_SET_MEM_TABLE };
	static const uint32_t ring[] = { VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR, VU_SET_VRING_CALL,
					 VU_SET_VRING_ENABLE, VU_SET_VRING_KICK };
	for (unsigned i = 0; from >= 1 && i < ARRAY_LEN(session); i++)
		send_good(w, session[i], 0);
	for (unsigned i = 0; from >= 2 && i < (from >= 3 ? 6u : 4u) * 2 * PAIRS; i++)
		send_good(w, ring[i / (2 * PAIRS)], i % (2 * PAIRS));
	if (from >= 4) {
		send_good(w, VU_SET_LOG_BASE, 0);
		send_good(w, VU_SET_FEATURES, 0);
	}
}

static void spoil(struct world *w, struct snap *s)
{
	for (unsigned n = fuzz_byte(&w->in) % 4 + 1; n > 0; n--) {
		size_t at = (fuzz_byte(&w->in) | (size_t)fuzz_byte(&w->in) << 8) % sizeof(*s);
		((uint8_t *)s)[at] = fuzz_byte(&w->in);
	}
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++) { // a row is read into a bool as one
		bool *flags[] = { &s->ring[q].base_given, &s->ring[q].has_addr, &s->ring[q].started, &s->ring[q].enabled,
				  &s->ring[q].ever_disabled, &s->ring[q].ran };
		for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
			*flags[i] = *(uint8_t *)flags[i] & 1;
	}
	bool *flags[] = { &s->has_features, &s->has_protocol, &s->owned, &s->has_log };
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		*flags[i] = *(uint8_t *)flags[i] & 1;
}

// The process dies, and another goes on. Returns false when the session is over.
static bool crash(struct world *w, const struct dev_conf *conf, struct dev_msg *m, uint8_t *payload, bool spoilt)
{
	struct snap rows = w->stored;
	struct dev_adoption a = { &rows, w->stored_seq, w->reply.bytes, w->stored_seq == w->seq ? w->reply.len : 0, kept_fd, w };
	struct dev_reply again;
	struct why why;
	if (w->owes || w->stored_seq == 0)
		return true; // there is nothing that could be adopted
	if (spoilt)
		spoil(w, &rows);
	uint32_t at[2 * PAIRS];
	bool apart = !spoilt; // no two of them in one place
	for (unsigned q = 0; q < 2 * PAIRS; q++) {
		const struct vring *r = w->ring[q];
		at[q] = r ? ring_base(r) : UINT32_MAX;
		apart = apart && (!r || (!r->packed && r->num <= NUM && rows.ring[q].used == UADDR + 0x8000 * q + 0x2000));
	}
	dev_free(w->dev);
	w->dev = NULL;
	if (dev_adopt(&w->dev, conf, &ops, w, &a, &why) != OK) {
		FUZZ_CHECK(spoilt && !w->dev);
		return false;
	}
	dev_adopt_run(w->dev);
	FUZZ_CHECK(snap_diff(dev_snap(w->dev), &rows) == 0);
	for (unsigned q = 0; q < 2 * PAIRS && apart; q++)
		FUZZ_CHECK((w->ring[q] ? ring_base(w->ring[q]) : UINT32_MAX) == at[q]);
	touch_rings(w);
	if (w->stored_seq != w->seq)
		return !spoilt;
	m->payload = payload;
	dev_handle(w->dev, m, &again);
	FUZZ_CHECK(again.close || (again.len == w->reply.len && memcmp(again.bytes, w->reply.bytes, again.len) == 0));
	FUZZ_CHECK(snap_diff(dev_snap(w->dev), &rows) == 0 && (spoilt || !again.close));
	return !spoilt;
}

static bool one_message(struct world *w, const struct dev_conf *conf)
{
	uint8_t payload[VU_MAX_PAYLOAD] = { 0 };
	struct dev_msg m = { .fds = { -1, -1, -1, -1, -1, -1, -1, -1 } };
	uint8_t id = fuzz_byte(&w->in), what = fuzz_byte(&w->in), q = fuzz_byte(&w->in);
	good(w, &m, payload, id & 0x3f, q % (2 * PAIRS));
	if (what & W_ASK)
		m.hdr.flags |= VU_FLAG_NEED_REPLY;
	if (what & W_PATCH)
		patch(w, payload);
	if (what & W_FDS)
		change_fds(w, &m);
	if (what & W_HEADER) {
		uint8_t how = fuzz_byte(&w->in);
		if (how & 0x80)
			m.hdr.flags = how & 0x7f;
		else
			m.hdr.size = how < 0x40 ? (m.hdr.size + how - 8) % VU_MAX_PAYLOAD : 8 + 32u * (how & 15);
	}
	w->no_store = what & W_NO_STORE;
	bool on = send(w, &m, payload);
	w->no_store = false;
	m.n_fds = 0;
	return on && (!(what & W_CRASH) || crash(w, conf, &m, payload, (what & W_SPOIL) != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .in = { data, size } };
	int fds = fd_count_open();
	struct dev_conf conf = { .port = "fuzz", .epoch = 1, .features = dev_features_supported(),
				 .protocol_features = dev_protocol_features_supported(), .pairs = PAIRS };
	memcpy(w.stored.port, conf.port, sizeof(conf.port));
	w.mem_fd = memfd(MEM);
	w.log_fd = memfd(LOG_BYTES);
	w.dev = dev_new(&conf, &ops, &w);
	FUZZ_CHECK(w.dev != NULL);
	const char *reason, *hint;
	uint8_t from = fuzz_byte(&w.in);
	w.packed = from & 0x80;
	begin(&w, (from & 0x7f) % 5);
	for (unsigned n = 0; w.in.left > 0 && n < 200 && one_message(&w, &conf); n++)
		dev_explain(w.dev, &reason, &hint);
	dev_free(w.dev);
	for (unsigned i = 0; i < w.n_kept; i++)
		close(w.kept[i].fd);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		FUZZ_CHECK(w.ring[q] == NULL);
	close(w.mem_fd);
	close(w.log_fd);
	FUZZ_CHECK(fd_count_open() == fds);
	return 0;
}
