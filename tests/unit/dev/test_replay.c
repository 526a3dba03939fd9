// The recorded sessions of QEMU 7.2 and 10.0, with our own memory and descriptors in them and without what we do not
// offer: each reply that is owed is given and no other, nothing is refused, and a ring stops where the recorded one
// stopped. Then each of them with a crash after each of its messages, before and after the front end has the reply: all is as it was
// without, and while logging, what may be missing in the log is in it.
#include "devbed.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"

struct line {
	bool reply; // from the back end
	uint32_t id, flags, size;
	unsigned n_fds;
	uint64_t head[2]; // of the payload
};

static bool parse(const char *text, struct line *l)
{
	const char *at = strstr(text, "> id=");
	l->reply = false;
	if (!at && (at = strstr(text, "<- id=")) != NULL)
		l->reply = true;
	if (!at)
		return false;
	unsigned id, flags, size, fds;
	int used = 0;
	if (sscanf(strchr(at, 'i'), "id=%u flags=%x size=%u fds=%u %n", &id, &flags, &size, &fds, &used) != 4)
		return false;
	*l = (struct line){ .reply = l->reply, .id = id, .flags = flags, .size = size, .n_fds = fds };
	const char *hex = strchr(at, 'i') + used;
	for (unsigned i = 0; i < 16 && hex[0] > ' ' && hex[1] > ' '; i++, hex += 2) {
		unsigned v;
		if (sscanf(hex, "%2x", &v) != 1)
			break;
		l->head[i / 8] |= (uint64_t)v << (8 * (i % 8));
	}
	return true;
}

// The back end that was recorded offered more than we do.
static bool is_offered(uint32_t id)
{
	return id <= 20;
}

enum crash { NONE, ANSWERED, REPEATED }; // the message before it was answered; is delivered again

struct replay {
	struct devbed b;
	struct line line[600];
	unsigned n_lines, requests, replies;
	struct dev_reply told[600]; // to each line, in the run without a crash
	struct snap end;
	enum crash how;
	unsigned crash_at;
};

static uint32_t recorded_base(const struct replay *r, unsigned at, uint32_t q)
{
	for (unsigned i = at + 1; i < r->n_lines; i++)
		if (r->line[i].reply && r->line[i].id == VU_GET_VRING_BASE && (uint32_t)r->line[i].head[0] == q)
			return (uint32_t)(r->line[i].head[0] >> 32);
	fail_msg("no recorded base of ring %u", (unsigned)q);
	return 0;
}

static void adapt(struct replay *r, struct request *q, unsigned at)
{
	struct line *l = &r->line[at];
	uint64_t v = l->head[0];
	uint32_t ring = (uint32_t)v;
	switch (l->id) {
	case VU_SET_FEATURES:
		v &= r->b.conf.features;
		break;
	case VU_SET_PROTOCOL_FEATURES:
		v &= r->b.conf.protocol_features;
		break;
	case VU_SET_MEM_TABLE:
	case VU_SET_LOG_BASE:
		return; // our own
	case VU_SET_VRING_ADDR:
		request_good(&r->b, q, l->id, ring);
		q->payload[4] = (uint8_t)(v >> 32); // flags
		return;
	case VU_SET_VRING_BASE: // migrated memory says the same
		bed_used_idx(&r->b, ring, (uint16_t)(v >> 32));
		break;
	case VU_GET_VRING_BASE: // by now the guest has had as many frames as the recorded one
		if (r->b.ring[ring])
			bed_progress(&r->b, ring,
				     (uint16_t)(recorded_base(r, at, ring) - vring_position(r->b.ring[ring]).used));
		break;
	default:
		break;
	}
	memcpy(q->payload, &v, l->size < 8 ? l->size : 8);
}

static void send_line(struct replay *r, unsigned at, struct dev_reply *reply)
{
	struct line *l = &r->line[at];
	struct request q;
	request_good(&r->b, &q, l->id, 0);
	adapt(r, &q, at);
	q.hdr.flags = l->flags;
	if (l->id != VU_SET_MEM_TABLE)
		assert_int_equal(q.n_fds, l->n_fds);
	bed_send(&r->b, &q, reply);
	if (r->b.refused[0] || r->b.differs[0])
		fail_msg("line %u: %s %s", at, r->b.refused, r->b.differs);
	assert_false(reply->close);
}

// Buffers that the datapath may just have written, at each ring that runs.
static uint64_t buffer_gpa(unsigned q, unsigned i)
{
	return 0x300000 + q * UINT64_C(0x10000) + i * UINT64_C(0x2000);
}

static void post_buffers(struct devbed *b)
{
	for (unsigned q = 0; q < 4; q++) {
		uint8_t *desc = b->mem + bed_ring_gpa(q), *avail = desc + 0x1000;
		if (!b->ring[q])
			continue;
		uint16_t at = vring_position(b->ring[q]).used, end = (uint16_t)(at + 4);
		for (uint16_t i = 0; i < 4; i++) {
			uint64_t gpa = buffer_gpa(q, i), rest = UINT64_C(0x200001000); // 4096 bytes, for the device to write
			memcpy(desc + 16 * i, &gpa, 8);
			memcpy(desc + 16 * i + 8, &rest, 8);
			memcpy(avail + 4 + 2 * ((at + i) % b->ring[q]->num), &i, 2);
		}
		memcpy(avail + 2, &end, 2);
	}
}

static bool in_log(const struct devbed *b, uint64_t gpa)
{
	return b->log[gpa >> 15] >> (gpa >> 12) % 8 & 1;
}

static void check_logged(const struct devbed *b, unsigned at)
{
	bool logs = dev_logging(b->dev);
	for (unsigned q = 0; q < 4; q++) {
		if (!b->ring[q])
			continue;
		for (unsigned i = 0; i < 4; i++)
			if (in_log(b, buffer_gpa(q, i)) != logs)
				fail_msg("line %u: what may not have been logged is %slogged again: ring %u, buffer %u", at,
					 logs ? "not " : "", q, i);
		assert_int_equal(in_log(b, bed_ring_gpa(q) + 0x2000), logs && b->ring[q]->log_used);
	}
}

static void crash(struct replay *r, unsigned at, const struct dev_reply *first)
{
	struct devbed *b = &r->b;
	struct dev_reply reply;
	struct why why = { "" };
	post_buffers(b);
	bed_crash(b);
	memset(b->log, 0, BED_LOG);
	assert_int_equal(bed_adopt(b, &why), OK);
	bed_crash(b); // its successor does not live to run
	bed_adopted(b);
	check_logged(b, at);
	if (r->how != REPEATED)
		return;
	bool committed = b->committed_seq == b->seq--;
	send_line(r, at, &reply);
	if (committed && b->n_steps != 0)
		fail_msg("line %u: a message that was committed is done again", at);
	assert_int_equal(reply.len, first->len);
	assert_memory_equal(reply.bytes, first->bytes, reply.len);
}

static void replay_request(struct replay *r, unsigned at)
{
	struct line *l = &r->line[at];
	const struct vu_row *row = vu_row(l->id);
	struct dev_reply reply;
	struct vu_hdr hdr;
	bool asked = (l->flags & VU_FLAG_NEED_REPLY) && bits_has(dev_snap(r->b.dev)->protocol_features, VU_PF_REPLY_ACK);
	send_line(r, at, &reply);
	if (r->how == NONE)
		r->told[at] = reply;
	else if (reply.len != r->told[at].len || memcmp(reply.bytes, r->told[at].bytes, reply.len) != 0)
		fail_msg("line %u: another reply than without the crash after line %u", at, r->crash_at);
	if (r->how != NONE && r->crash_at == at)
		crash(r, at, &reply);
	r->requests++;
	if (row->reply == VU_R_ACK && !asked) {
		assert_int_equal(reply.len, 0);
		return;
	}
	r->replies++;
	assert_int_equal(reply.len, row->reply == VU_R_LOG ? 28 : 20);
	memcpy(&hdr, reply.bytes, sizeof(hdr));
	assert_int_equal(hdr.request, l->id);
	assert_int_equal(hdr.flags, 5);
	uint64_t v;
	memcpy(&v, reply.bytes + 12, 8);
	if (row->reply == VU_R_ACK)
		assert_int_equal(v, 0);
	if (l->id == VU_GET_VRING_BASE)
		assert_int_equal(v >> 32, recorded_base(r, at, (uint32_t)v));
}

// The whole session, with a crash after the line at r->crash_at.
static void replay_session(struct replay *r, bool two_pairs)
{
	int fds = fd_count_open();
	bed_open(&r->b, 2);
	r->b.keeps = true;
	r->requests = r->replies = 0;
	unsigned most = 0, owed = 0;
	for (unsigned i = 0; i < r->n_lines; i++) {
		if (!is_offered(r->line[i].id))
			continue;
		if (r->line[i].reply) {
			owed++; // by the recorded back end
			continue;
		}
		replay_request(r, i);
		unsigned running = dev_rings_running(r->b.dev);
		most = running > most ? running : most;
	}
	assert_int_equal(owed, r->replies);
	assert_true(r->requests > 30);
	assert_int_equal(most, two_pairs ? 4 : 2);
	assert_int_equal(dev_rings_running(r->b.dev), 0); // each recording ends with a stop
	assert_int_equal(snap_diff(&r->b.committed, dev_snap(r->b.dev)), 0);
	if (r->how == NONE)
		r->end = r->b.committed;
	assert_int_equal(snap_diff(&r->b.committed, &r->end), 0);
	bed_close(&r->b);
	assert_int_equal(fd_count_open(), fds);
}

static void replay_file(const char *path)
{
	static struct replay r;
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	memset(&r, 0, sizeof(r));
	for (char text[1024]; fgets(text, sizeof(text), f);)
		if (r.n_lines < ARRAY_LEN(r.line) && parse(text, &r.line[r.n_lines]))
			r.n_lines++;
	fclose(f);
	bool two_pairs = strstr(path, "2pairs") != NULL;
	unsigned crashes = 0;
	replay_session(&r, two_pairs);
	for (r.crash_at = 0; r.crash_at < r.n_lines; r.crash_at++)
		for (r.how = ANSWERED; r.how <= REPEATED && !r.line[r.crash_at].reply && is_offered(r.line[r.crash_at].id); r.how++) {
			replay_session(&r, two_pairs);
			crashes++;
		}
	printf("%s: %u requests, %u replies, %u crashes\n", strrchr(path, '/') + 1, r.requests, r.replies, crashes);
}

static void recorded_sessions(void **state)
{
	(void)state;
	DIR *dir = opendir(TRACES);
	assert_non_null(dir);
	unsigned n = 0;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char path[600];
		if (!strstr(e->d_name, ".txt"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", TRACES, e->d_name);
		replay_file(path);
		n++;
	}
	closedir(dir);
	assert_int_equal(n, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(recorded_sessions) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
