// The recorded sessions of QEMU 7.2 and 10.0, with our own memory and descriptors in them and without what we do not
// offer: each reply that is owed is given and no other, nothing is refused, and a ring stops where the recorded one
// stopped.
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

struct replay {
	struct devbed b;
	struct line line[600];
	unsigned n_lines, requests, replies;
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

static void replay_request(struct replay *r, unsigned at)
{
	struct line *l = &r->line[at];
	const struct vu_row *row = vu_row(l->id);
	struct request q;
	struct dev_reply reply;
	struct vu_hdr hdr;
	bool asked = (l->flags & VU_FLAG_NEED_REPLY) && bits_has(dev_snap(r->b.dev)->protocol_features, VU_PF_REPLY_ACK);
	request_good(&r->b, &q, l->id, 0);
	adapt(r, &q, at);
	q.hdr.flags = l->flags;
	if (l->id != VU_SET_MEM_TABLE)
		assert_int_equal(q.n_fds, l->n_fds);
	bed_send(&r->b, &q, &reply);
	if (r->b.refused[0] || r->b.differs[0])
		fail_msg("line %u: %s %s", at, r->b.refused, r->b.differs);
	assert_false(reply.close);
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
	int fds = fd_count_open();
	bed_open(&r.b, 2);
	unsigned most = 0, owed = 0;
	for (unsigned i = 0; i < r.n_lines; i++) {
		if (!is_offered(r.line[i].id))
			continue;
		if (r.line[i].reply) {
			owed++; // by the recorded back end
			continue;
		}
		replay_request(&r, i);
		unsigned running = dev_rings_running(r.b.dev);
		most = running > most ? running : most;
	}
	assert_int_equal(owed, r.replies);
	assert_true(r.requests > 30);
	assert_int_equal(most, strstr(path, "2pairs") ? 4 : 2);
	assert_int_equal(dev_rings_running(r.b.dev), 0); // each recording ends with a stop
	assert_int_equal(snap_diff(&r.b.committed, dev_snap(r.b.dev)), 0);
	bed_close(&r.b);
	assert_int_equal(fd_count_open(), fds);
	printf("%s: %u requests, %u replies\n", strrchr(path, '/') + 1, r.requests, r.replies);
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
