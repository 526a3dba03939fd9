// The recorded sessions of real QEMUs (traces/), replayed: QEMU's messages in QEMU's order, with our own memory, addresses
// and descriptors in them, and without those that belong to features which vringd does not offer. Each message that is owed an
// answer gets one, no other does, and no message is refused.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/msgs.h"
#include "proto/rows.h"

struct replay {
	struct bed *b;
	struct fe *fe;
	unsigned messages, line;
	int log;
};

static bool is_ours(uint32_t id)
{
	static const uint32_t not_offered[] = {VU_SET_BACKEND_REQ_FD, VU_GET_MAX_MEM_SLOTS, VU_ADD_MEM_REG,
					       VU_REM_MEM_REG,        VU_SET_STATUS,        VU_GET_STATUS};
	for (unsigned i = 0; i < ARRAY_LEN(not_offered); i++)
		if (id == not_offered[i])
			return false;
	return true;
}

static bool unhex(uint8_t *to, size_t room, const char *hex)
{
	size_t n = 0;
	for (; hex[0] > ' ' && hex[1] > ' ' && n < room; hex += 2) {
		unsigned v;
		if (sscanf(hex, "%2x", &v) != 1)
			return false;
		to[n++] = (uint8_t)v;
	}
	return true;
}

// Put our own addresses, memory and feature sets where QEMU's were.
static void adapt(struct replay *r, struct msg *m, int fd)
{
	struct msg ours;
	struct vu_state st;
	uint64_t v;
	memcpy(&st, m->payload, sizeof(st));
	memcpy(&v, m->payload, sizeof(v));
	for (unsigned i = 0; i < m->n_fds; i++)
		m->fds[i] = fd;
	switch (m->id) {
	case VU_SET_FEATURES:
		v &= r->fe->offered;
		memcpy(m->payload, &v, sizeof(v));
		break;
	case VU_SET_PROTOCOL_FEATURES:
		v &= r->fe->protocol_offered;
		r->fe->protocol = v;
		memcpy(m->payload, &v, sizeof(v));
		break;
	case VU_SET_MEM_TABLE:
		msg_good(m, r->fe, m->id, 0, fd);
		break;
	case VU_SET_VRING_ADDR:
		msg_good(&ours, r->fe, m->id, st.index, fd);
		memcpy(m->payload + 8, ours.payload + 8, sizeof(struct vu_addr) - 8);
		break;
	case VU_SET_VRING_BASE: // the guest's memory says the same, as after a migration
		if (st.index < r->fe->rings)
			vq_reset(&r->fe->ring[st.index].vq, (uint16_t)st.num, false);
		break;
	case VU_SET_LOG_BASE:
		msg_good(m, r->fe, m->id, 0, r->log);
		break;
	default:
		break;
	}
}

static void replay_message(struct replay *r, struct msg *m, bool need_reply)
{
	struct bed_outcome o;
	const struct vu_row *row = vu_row(m->id);
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t before = r->fe->protocol;
	adapt(r, m, fd);
	msg_put(r->fe, m, need_reply, &o);
	fd_reset(&fd);
	bool asked = need_reply && bits_has(before, VU_PF_REPLY_ACK);
	enum msg_expect want = row->reply != VU_R_ACK ? EX_OWN : asked ? EX_ACK : EX_QUIET;
	msg_check(r->b, m->id, &o, want, row->reply == VU_R_LOG ? 16 : 8);
	if (m->id == VU_GET_FEATURES)
		memcpy(&r->fe->offered, o.reply.payload, 8);
	if (m->id == VU_GET_PROTOCOL_FEATURES)
		memcpy(&r->fe->protocol_offered, o.reply.payload, 8);
	if (m->id == VU_GET_VRING_BASE) {
		struct vu_state st;
		memcpy(&st, o.reply.payload, sizeof(st));
		if (st.index >= r->fe->rings || st.num != vq_used_idx(&r->fe->ring[st.index].vq))
			bed_fail(r->b, "line %u: base %u of ring %u", r->line, st.num, st.index);
	}
	r->messages++;
}

static void replay_file(struct replay *r, FILE *f)
{
	char line[700], *at;
	while (fgets(line, sizeof(line), f) != NULL && r->b->failed[0] == 0) {
		unsigned id, flags, size, n_fds;
		int used = 0;
		struct msg m;
		r->line++;
		at = strstr(line, "-> id=");
		if (at == NULL || sscanf(at, "-> id=%u flags=%x size=%u fds=%u %n", &id, &flags, &size, &n_fds, &used) != 4)
			continue;
		memset(&m, 0, sizeof(m));
		m.id = id;
		m.size = size;
		m.n_fds = n_fds;
		if (!is_ours(id) || size > sizeof(m.payload) || n_fds > VU_MAX_FDS || !unhex(m.payload, size, at + used))
			continue;
		replay_message(r, &m, flags & VU_FLAG_NEED_REPLY);
		if (r->b->failed[0] != 0) {
			size_t n = strlen(r->b->failed);
			snprintf(r->b->failed + n, sizeof(r->b->failed) - n, " (line %u, %s)", r->line, vu_name(id));
		}
	}
}

static void run_traces(struct bed *b)
{
	DIR *dir = opendir(PROTO_TRACES);
	unsigned files = 0;
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		char path[600];
		struct fe_conf conf = {.pairs = 2, .ring_size = 256, .mem = {.region_bytes = 8 << 20}};
		struct replay r = {.b = b};
		if (strstr(e->d_name, ".txt") == NULL || !bed_case_begin(b, "%s", e->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", PROTO_TRACES, e->d_name);
		FILE *f = fopen(path, "re");
		r.fe = fe_new(&conf);
		r.log = memfd_create("log", MFD_CLOEXEC);
		if (f == NULL || r.fe == NULL || ftruncate(r.log, 1 << 20) != 0 ||
		    !fe_connect(r.fe, daemon_path(&b->d, "a")))
			bed_fail(b, "cannot replay %s", path);
		else
			replay_file(&r, f);
		if (b->failed[0] == 0 && r.messages < 30)
			bed_fail(b, "only %u messages", r.messages);
		files++;
		if (f != NULL)
			fclose(f);
		fd_reset(&r.log);
		fe_free(r.fe);
		bed_case_end(b);
	}
	if (dir != NULL)
		closedir(dir);
	if (files < 10 && b->only == NULL && bed_case_begin(b, "all traces")) {
		bed_fail(b, "%u traces in %s", files, PROTO_TRACES);
		bed_case_end(b);
	}
}

const struct bed_row rows_replay[] = {
	{"traces", run_traces},
	{NULL, NULL},
};
