#include "devbed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

static void record(struct devbed *b, enum bed_step what, unsigned q, uint64_t bits)
{
	if (b->n_steps < ARRAY_LEN(b->step))
		b->step[b->n_steps++] = (struct step){ what, q, bits };
}

static enum err op_commit(void *arg, const struct snap *next, uint64_t what, uint64_t seq, const uint8_t *reply,
			  uint32_t reply_len, const uint8_t *claim, struct why *why)
{
	struct devbed *b = arg;
	if (b->dead)
		b->broken = "a dead device commits";
	b->commit_calls++;
	if ((claim != NULL) != ((what & SNAP_CLAIM) != 0))
		b->broken = "a claim without its bit";
	if (b->fail_commit)
		return ours(why, "the disk is full");
	struct why bad = { "" };
	if (snap_check(next, &bad) != OK)
		b->broken = "a snapshot was committed that snap_check refuses";
	record(b, STEP_COMMIT, 0, what);
	b->committed = *next;
	b->committed_seq = seq;
	b->committed_reply_len = reply_len;
	if (reply_len)
		memcpy(b->committed_reply, reply, reply_len);
	b->commits++;
	return OK;
}

static void op_retract(void *arg, unsigned q, bool last)
{
	struct devbed *b = arg;
	if (b->dead)
		return;
	record(b, STEP_RETRACT, q, last);
	b->ring[q] = NULL;
}

static void op_publish(void *arg, unsigned q, struct vring *ring, int kick_fd, enum dev_run how)
{
	struct devbed *b = arg;
	record(b, STEP_PUBLISH, q, how);
	if (b->ring[q])
		b->broken = "a ring was published twice";
	if (!ring)
		b->broken = "no ring was published";
	b->ring[q] = ring;
	b->kick[q] = kick_fd;
	b->how[q] = how;
	if (ring)
		vring_call_now(ring);
}

static void op_sync(void *arg)
{
	record(arg, STEP_SYNC, 0, 0);
}

static void op_rarp(void *arg, const uint8_t mac[6])
{
	record(arg, STEP_RARP, 0, mac[5]);
}

static void op_event(void *arg, enum dev_event ev, unsigned q, const char *detail)
{
	struct devbed *b = arg;
	record(b, STEP_EVENT, ev, q);
	if (ev == DEV_EV_REFUSED)
		snprintf(b->refused, sizeof(b->refused), "%s", detail);
	if (ev == DEV_EV_BASE_DIFFERS)
		snprintf(b->differs, sizeof(b->differs), "%s", detail);
}

static const struct dev_ops ops = { op_commit, op_retract, op_publish, op_sync, op_rarp, op_event };

static int shared(const char *name, uint64_t size, uint8_t **map)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	*map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(*map != MAP_FAILED);
	return fd;
}

void bed_open(struct devbed *b, unsigned pairs)
{
	memset(b, 0, sizeof(*b));
	b->conf = (struct dev_conf){ .port = "vm0", .epoch = 7, .features = dev_features_supported(),
				     .protocol_features = dev_protocol_features_supported(), .pairs = pairs };
	b->mem_fd = shared("guest", BED_MEM, &b->mem);
	b->log_fd = shared("log", BED_LOG, &b->log);
	static struct pring_ledger ledgers[SNAP_MAX_RINGS];
	memset(ledgers, 0, sizeof(ledgers));
	b->ledgers = b->conf.ledgers = ledgers;
	b->dev = dev_new(&b->conf, &ops, b);
	assert_non_null(b->dev);
	b->committed = *dev_snap(b->dev);
}

void bed_close(struct devbed *b)
{
	dev_free(b->dev);
	for (unsigned i = 0; i < b->n_kept; i++)
		fd_reset(&b->kept[i].fd);
	munmap(b->mem, BED_MEM);
	munmap(b->log, BED_LOG);
	fd_reset(&b->mem_fd);
	fd_reset(&b->log_fd);
	if (b->broken)
		fail_msg("%s", b->broken);
	for (unsigned q = 0; q < SNAP_MAX_RINGS; q++)
		assert_null(b->ring[q]); // dev_free has retracted all
}

unsigned bed_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	unsigned n = 0;
	for (char line[512]; fgets(line, sizeof(line), f);)
		n += strstr(line, "/memfd:") != NULL;
	fclose(f);
	return n;
}

static int fds_at_setup;

int bed_setup(void **state)
{
	static struct devbed b;
	fds_at_setup = fd_count_open();
	bed_open(&b, 2);
	*state = &b;
	return 0;
}

int bed_setup_kept(void **state)
{
	bed_setup(state);
	((struct devbed *)*state)->keeps = true;
	return 0;
}

int bed_teardown(void **state)
{
	bed_close(*state);
	assert_int_equal(fd_count_open(), fds_at_setup);
	assert_int_equal(bed_maps(), 0);
	return 0;
}

uint64_t bed_ring_gpa(unsigned q)
{
	return 0x10000 * (uint64_t)(q + 1);
}

uint64_t state_u64(uint32_t index, uint32_t num)
{
	return index | (uint64_t)num << 32;
}

static int give_fd(int fd)
{
	int copy = fd >= 0 ? dup(fd) : eventfd(0, EFD_CLOEXEC);
	assert_true(copy >= 0);
	return copy;
}

static void good_payload(struct devbed *b, struct request *r, uint32_t id, unsigned q)
{
	uint64_t v = q, gpa = bed_ring_gpa(q);
	const struct snap *s = dev_snap(b->dev);
	struct vu_memory mem = { .n = 1, .region = { { 0, BED_MEM, BED_UADDR, 0 } } };
	struct vu_log log = { BED_LOG, 0 };
	struct vu_addr addr = { q, s->ring[q].addr_flags, BED_UADDR + gpa, BED_UADDR + gpa + 0x2000,
				BED_UADDR + gpa + 0x1000, gpa + 0x2000 };
	switch (id) {
	case VU_SET_FEATURES:
		v = s->has_features ? s->features_acked : b->conf.features & ~(BIT64(VHOST_F_LOG_ALL) | BIT64(VIRTIO_F_RING_PACKED));
		break;
	case VU_SET_PROTOCOL_FEATURES:
		v = b->conf.protocol_features;
		break;
	case VU_SET_MEM_TABLE:
		memcpy(r->payload, &mem, 8 + 32);
		return;
	case VU_SET_LOG_BASE:
		memcpy(r->payload, &log, sizeof(log));
		return;
	case VU_SET_VRING_ADDR:
		memcpy(r->payload, &addr, sizeof(addr));
		return;
	case VU_SET_VRING_NUM:
		v = state_u64(q, BED_NUM);
		break;
	case VU_SET_VRING_ENABLE:
		v = state_u64(q, 1);
		break;
	case VU_SEND_RARP:
		v = UINT64_C(0x0b0000005452);
		break;
	case VU_NET_SET_MTU:
		v = 1500;
		break;
	default:
		break;
	}
	if (r->hdr.size == 8)
		memcpy(r->payload, &v, 8);
}

void request_good(struct devbed *b, struct request *r, uint32_t id, unsigned q)
{
	const struct vu_row *row = vu_row(id);
	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		r->fds[i] = -1;
	r->hdr = (struct vu_hdr){ .request = id, .flags = VU_VERSION, .size = row ? row->len.min : 0 };
	if (id == VU_SET_MEM_TABLE)
		r->hdr.size += row->len.element;
	good_payload(b, r, id, q);
	if (row && row->fds != VU_FDS_NONE && row->fds != VU_FDS_MAYBE)
		r->fds[r->n_fds++] = give_fd(id == VU_SET_MEM_TABLE ? b->mem_fd : id == VU_SET_LOG_BASE ? b->log_fd : -1);
}

static int kept_fd(void *arg, uint64_t from, uint32_t n)
{
	struct devbed *b = arg;
	for (unsigned i = 0; i < b->n_kept; i++)
		if (b->kept[i].seq == from && b->kept[i].n == n)
			return b->kept[i].fd;
	return -1;
}

static void keep(struct devbed *b, const struct dev_msg *msg)
{
	for (unsigned i = 0; b->keeps && i < msg->n_fds && i < VU_MAX_FDS && b->n_kept < ARRAY_LEN(b->kept); i++) {
		if (kept_fd(b, msg->seq, i) >= 0)
			continue; // it comes again
		b->kept[b->n_kept].seq = msg->seq;
		b->kept[b->n_kept].n = i;
		b->kept[b->n_kept++].fd = fcntl(msg->fds[i], F_DUPFD_CLOEXEC, 0);
	}
}

// All that the snapshot does not name is closed.
static void keep_only(struct devbed *b)
{
	struct snap_name name[SNAP_MAX_NAMES];
	unsigned n = snap_names(&b->committed, name), left = 0;
	for (unsigned i = 0; i < b->n_kept; i++) {
		bool named = false;
		for (unsigned k = 0; k < n && !named; k++)
			named = name[k].seq == b->kept[i].seq && name[k].place == b->kept[i].n;
		if (named)
			b->kept[left++] = b->kept[i];
		else
			fd_reset(&b->kept[i].fd);
	}
	b->n_kept = left;
}

void bed_crash(struct devbed *b)
{
	b->dead = true;
	dev_free(b->dev);
	b->dev = NULL;
	memset(b->ring, 0, sizeof(b->ring));
}

enum err bed_adopt(struct devbed *b, struct why *why)
{
	struct dev_adoption a = { .snap = &b->committed, .applied = b->committed_seq, .reply = b->committed_reply,
				  .reply_len = b->committed_reply_len, .fd = kept_fd, .fd_arg = b };
	b->dead = false;
	b->n_steps = 0;
	return dev_adopt(&b->dev, &b->conf, &ops, b, &a, why);
}

void bed_adopted(struct devbed *b)
{
	struct why why = { "" };
	if (bed_adopt(b, &why) != OK)
		fail_msg("not adopted: %s", why.text);
	assert_int_equal(bed_count(b, STEP_PUBLISH, UINT32_MAX) + bed_count(b, STEP_EVENT, UINT32_MAX), 0);
	dev_adopt_run(b->dev);
}

void bed_send(struct devbed *b, struct request *r, struct dev_reply *reply)
{
	struct dev_msg msg = { .seq = ++b->seq, .hdr = r->hdr, .payload = r->payload, .n_fds = r->n_fds,
			       .fds_truncated = r->truncated };
	memcpy(msg.fds, r->fds, sizeof(msg.fds));
	b->n_steps = 0;
	keep(b, &msg);
	dev_handle(b->dev, &msg, reply);
	keep_only(b);
	for (unsigned i = 0; i < VU_MAX_FDS; i++)
		assert_int_equal(msg.fds[i], -1); // all taken or closed
	assert_true(reply->len <= DEV_REPLY_MAX);
}

static uint64_t accepted(struct devbed *b, struct request *r)
{
	struct dev_reply reply;
	const struct vu_row *row = vu_row(r->hdr.request);
	bool asked = row->reply == VU_R_ACK && bits_has(dev_snap(b->dev)->protocol_features, VU_PF_REPLY_ACK);
	uint64_t value = 0;
	if (asked)
		r->hdr.flags |= VU_FLAG_NEED_REPLY;
	b->refused[0] = '\0';
	bed_send(b, r, &reply);
	if (b->refused[0])
		fail_msg("%s refused: %s", row->name, b->refused);
	assert_false(reply.close);
	assert_int_equal(reply.len, row->reply == VU_R_LOG ? 28 : row->reply != VU_R_ACK || asked ? 20 : 0);
	if (reply.len >= 20)
		memcpy(&value, reply.bytes + 12, 8);
	if (asked)
		assert_int_equal(value, 0);
	return value;
}

uint64_t bed_ok(struct devbed *b, uint32_t id, unsigned q)
{
	struct request r;
	request_good(b, &r, id, q);
	return accepted(b, &r);
}

uint64_t bed_ok64(struct devbed *b, uint32_t id, uint64_t payload)
{
	struct request r;
	request_good(b, &r, id, 0);
	memcpy(r.payload, &payload, 8);
	if (vu_row(id)->fds == VU_FDS_BY_NOFD && (payload & VU_RING_NOFD))
		fd_reset(&r.fds[--r.n_fds]);
	return accepted(b, &r);
}

bool bed_nacked64(struct devbed *b, uint32_t id, uint64_t payload)
{
	struct request r;
	struct dev_reply reply;
	uint64_t value = 0;
	request_good(b, &r, id, 0);
	memcpy(r.payload, &payload, 8);
	r.hdr.flags |= VU_FLAG_NEED_REPLY;
	bed_send(b, &r, &reply);
	if (reply.len == 20)
		memcpy(&value, reply.bytes + 12, 8);
	return !reply.close && value == 1;
}

void bed_negotiate(struct devbed *b, uint64_t extra)
{
	bed_ok(b, VU_GET_FEATURES, 0);
	bed_ok(b, VU_SET_PROTOCOL_FEATURES, 0);
	bed_ok(b, VU_SET_OWNER, 0);
	bed_ok64(b, VU_SET_FEATURES, (b->conf.features & ~(BIT64(VHOST_F_LOG_ALL) | BIT64(VIRTIO_F_RING_PACKED))) | extra);
}

void bed_memory(struct devbed *b)
{
	bed_ok(b, VU_SET_MEM_TABLE, 0);
}

void bed_configure(struct devbed *b, unsigned n_rings)
{
	bed_negotiate(b, 0);
	bed_memory(b);
	for (unsigned q = 0; q < n_rings; q++) {
		bed_ok(b, VU_SET_VRING_NUM, q);
		bed_ok64(b, VU_SET_VRING_BASE, state_u64(q, 0));
		bed_ok(b, VU_SET_VRING_ADDR, q);
		bed_ok(b, VU_SET_VRING_CALL, q);
	}
}

void bed_run(struct devbed *b, unsigned n_rings)
{
	bed_configure(b, n_rings);
	for (unsigned q = 0; q < n_rings; q++) {
		bed_ok(b, VU_SET_VRING_ENABLE, q);
		bed_ok(b, VU_SET_VRING_KICK, q);
		assert_true(dev_ring_running(b->dev, q));
	}
}

void bed_start_log(struct devbed *b)
{
	struct request r;
	bed_ok(b, VU_SET_LOG_BASE, 0);
	bed_ok64(b, VU_SET_FEATURES, dev_snap(b->dev)->features_acked | BIT64(VHOST_F_LOG_ALL));
	for (unsigned q = 0; q < 2 * b->conf.pairs; q++) {
		if (!dev_snap(b->dev)->ring[q].has_addr)
			continue;
		request_good(b, &r, VU_SET_VRING_ADDR, q);
		r.payload[4] = VU_VRING_F_LOG;
		accepted(b, &r);
	}
}

void bed_used_idx(struct devbed *b, unsigned q, uint16_t idx)
{
	memcpy(b->mem + bed_ring_gpa(q) + 0x2002, &idx, sizeof(idx));
}

void bed_progress(struct devbed *b, unsigned q, uint16_t n)
{
	struct vring *r = b->ring[q];
	assert_non_null(r);
	r->last_avail = (uint16_t)(r->last_avail + n);
	r->last_used = (uint16_t)(r->last_used + n);
	bed_used_idx(b, q, r->last_used);
}

unsigned bed_count(const struct devbed *b, enum bed_step what, unsigned q)
{
	unsigned n = 0;
	for (unsigned i = 0; i < b->n_steps; i++)
		n += b->step[i].what == what && (q == UINT32_MAX || b->step[i].q == q);
	return n;
}

bool eventfd_take(int fd)
{
	uint64_t v;
	fd_set_nonblock(fd, true);
	return read(fd, &v, sizeof(v)) == sizeof(v);
}
