// One message at a time: right, then wrong in each way that its row knows, with and without need_reply.
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static int spare_fd(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int log_file(size_t bytes)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)bytes) != 0)
		fd_reset(&fd);
	return fd;
}

// Open a front end, change m as the caller did, put it, compare.
static void one_message(struct bed *b, enum bed_stage stage, uint32_t id, bool need_reply, enum msg_expect want,
			uint32_t own_size, void (*change)(struct msg *m, uint64_t arg), uint64_t arg)
{
	struct bed_outcome o;
	struct msg m;
	int fd = id == VU_SET_LOG_BASE ? log_file(4096) : spare_fd(), log = log_file(4096);
	struct fe *fe = bed_front_end(b, "a", stage, NULL, log);
	if (fe != NULL) {
		msg_good(&m, fe, id, 0, fd);
		if (change != NULL)
			change(&m, arg);
		msg_put(fe, &m, need_reply, &o);
		msg_check(b, id, &o, want, own_size);
	}
	fe_free(fe);
	fd_reset(&fd);
	fd_reset(&log);
	bed_case_end(b);
}

// What each message does when it is right, spelt out.
static void run_good(struct bed *b)
{
	static const struct {
		uint32_t id;
		enum bed_stage stage;
		enum msg_expect asked, unasked;
		uint32_t own_size;
	} row[] = {
		{VU_GET_FEATURES, BED_CONNECTED, EX_OWN, EX_OWN, 8},
		{VU_GET_FEATURES, BED_RUNNING, EX_OWN, EX_OWN, 8},
		{VU_SET_FEATURES, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_FEATURES, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_OWNER, BED_CONNECTED, EX_QUIET, EX_QUIET, 0},
		{VU_SET_OWNER, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_RESET_OWNER, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_RESET_OWNER, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_MEM_TABLE, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_MEM_TABLE, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_LOG_BASE, BED_OWNED, EX_OWN, EX_OWN, 16},
		{VU_SET_LOG_BASE, BED_LOGGING, EX_OWN, EX_OWN, 16},
		{VU_SET_LOG_FD, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_NUM, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_ADDR, BED_PREPARED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_ADDR, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_BASE, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_GET_VRING_BASE, BED_CONNECTED, EX_OWN, EX_OWN, 8},
		{VU_GET_VRING_BASE, BED_PREPARED, EX_OWN, EX_OWN, 8},
		{VU_GET_VRING_BASE, BED_RUNNING, EX_OWN, EX_OWN, 8},
		{VU_SET_VRING_KICK, BED_PREPARED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_KICK, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_CALL, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_CALL, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_ERR, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_ERR, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_GET_PROTOCOL_FEATURES, BED_CONNECTED, EX_OWN, EX_OWN, 8},
		{VU_SET_PROTOCOL_FEATURES, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_GET_QUEUE_NUM, BED_OWNED, EX_OWN, EX_OWN, 8},
		{VU_SET_VRING_ENABLE, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SET_VRING_ENABLE, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_SEND_RARP, BED_OWNED, EX_ACK, EX_QUIET, 0},
		{VU_SEND_RARP, BED_RUNNING, EX_ACK, EX_QUIET, 0},
		{VU_NET_SET_MTU, BED_OWNED, EX_ACK, EX_QUIET, 0},
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++)
		for (unsigned need = 0; need < 2; need++)
			if (bed_case_begin(b, "%s at stage %d, need_reply %u", vu_name(row[i].id), row[i].stage, need))
				one_message(b, row[i].stage, row[i].id, need, need ? row[i].asked : row[i].unasked,
					    row[i].own_size, NULL, 0);
}

// Wrong messages with the outcome spelt out: the table must say the same.
static void change_size(struct msg *m, uint64_t size)
{
	m->size = (uint32_t)size;
}

static void change_fds(struct msg *m, uint64_t n)
{
	m->n_fds = (unsigned)n;
}

static void change_u64(struct msg *m, uint64_t value)
{
	memcpy(m->payload, &value, sizeof(value));
}

static void change_num(struct msg *m, uint64_t num)
{
	memcpy(m->payload + 4, &num, 4);
}

static void change_index(struct msg *m, uint64_t index)
{
	memcpy(m->payload, &index, vu_row(m->id)->payload == VU_P_U64 ? 8 : 4);
}

static void run_spelt_out(struct bed *b)
{
	static const struct {
		const char *name;
		uint32_t id;
		enum bed_stage stage;
		void (*change)(struct msg *m, uint64_t arg);
		uint64_t arg;
		enum msg_expect asked, unasked;
	} row[] = {
		{"short", VU_SET_FEATURES, BED_OWNED, change_size, 7, EX_NACK, EX_CLOSE},
		{"long", VU_GET_FEATURES, BED_OWNED, change_size, 8, EX_CLOSE, EX_CLOSE},
		{"long", VU_SET_VRING_NUM, BED_OWNED, change_size, 12, EX_NACK, EX_CLOSE},
		{"stray fd", VU_SET_VRING_NUM, BED_OWNED, change_fds, 1, EX_NACK, EX_CLOSE},
		{"no fd", VU_SET_MEM_TABLE, BED_OWNED, change_fds, 0, EX_NACK, EX_CLOSE},
		{"two fds", VU_SET_MEM_TABLE, BED_OWNED, change_fds, 2, EX_NACK, EX_CLOSE},
		{"no fd", VU_SET_LOG_BASE, BED_OWNED, change_fds, 0, EX_CLOSE, EX_CLOSE},
		{"no fd", VU_SET_VRING_KICK, BED_PREPARED, change_fds, 0, EX_NACK, EX_CLOSE},
		{"bit 8 and fd", VU_SET_VRING_KICK, BED_PREPARED, change_u64, 0x100, EX_NACK, EX_CLOSE},
		{"bit 8 and fd", VU_SET_VRING_CALL, BED_PREPARED, change_u64, 0x100, EX_NACK, EX_CLOSE},
		{"stray fd", VU_SEND_RARP, BED_OWNED, change_fds, 1, EX_NACK, EX_QUIET},
		{"stray fd", VU_GET_VRING_BASE, BED_OWNED, change_fds, 1, EX_CLOSE, EX_CLOSE},
		{"bit not offered", VU_SET_FEATURES, BED_OWNED, change_u64, BIT64(30) | BIT64(33), EX_NACK, EX_CLOSE},
		{"bit not offered", VU_SET_PROTOCOL_FEATURES, BED_OWNED, change_u64, BIT64(3) | BIT64(14), EX_NACK,
		 EX_CLOSE},
		{"size 0", VU_SET_VRING_NUM, BED_OWNED, change_num, 0, EX_NACK, EX_CLOSE},
		{"size 3", VU_SET_VRING_NUM, BED_OWNED, change_num, 3, EX_NACK, EX_CLOSE},
		{"size 32768", VU_SET_VRING_NUM, BED_OWNED, change_num, 32768, EX_ACK, EX_QUIET},
		{"size 32769", VU_SET_VRING_NUM, BED_OWNED, change_num, 32769, EX_NACK, EX_CLOSE},
		{"size 65536", VU_SET_VRING_NUM, BED_OWNED, change_num, 65536, EX_NACK, EX_CLOSE},
		{"size 2^31", VU_SET_VRING_NUM, BED_OWNED, change_num, 1u << 31, EX_NACK, EX_CLOSE},
		{"while running", VU_SET_VRING_NUM, BED_RUNNING, NULL, 0, EX_NACK, EX_CLOSE},
		{"while running", VU_SET_VRING_BASE, BED_RUNNING, NULL, 0, EX_NACK, EX_CLOSE},
		{"base of 17 bits", VU_SET_VRING_BASE, BED_OWNED, change_num, 0x10000, EX_NACK, EX_CLOSE},
		{"base 65535", VU_SET_VRING_BASE, BED_OWNED, change_num, 65535, EX_ACK, EX_QUIET},
		{"enable 2", VU_SET_VRING_ENABLE, BED_OWNED, change_num, 2, EX_NACK, EX_CLOSE},
		{"enable 1", VU_SET_VRING_ENABLE, BED_OWNED, change_num, 1, EX_ACK, EX_QUIET},
		{"MTU 67", VU_NET_SET_MTU, BED_OWNED, change_u64, 67, EX_NACK, EX_QUIET},
		{"MTU 68", VU_NET_SET_MTU, BED_OWNED, change_u64, 68, EX_ACK, EX_QUIET},
		{"MTU 65535", VU_NET_SET_MTU, BED_OWNED, change_u64, 65535, EX_ACK, EX_QUIET},
		{"MTU 65536", VU_NET_SET_MTU, BED_OWNED, change_u64, 65536, EX_NACK, EX_QUIET},
		{"ring 31", VU_GET_VRING_BASE, BED_OWNED, change_index, 31, EX_OWN, EX_OWN},
		{"ring 32", VU_GET_VRING_BASE, BED_OWNED, change_index, 32, EX_CLOSE, EX_CLOSE},
		{"ring 2^32-1", VU_SET_VRING_ADDR, BED_OWNED, change_index, UINT32_MAX, EX_NACK, EX_CLOSE},
		{"before SET_OWNER", VU_SET_MEM_TABLE, BED_CONNECTED, NULL, 0, EX_CLOSE, EX_CLOSE},
		{"before SET_OWNER", VU_SET_VRING_NUM, BED_CONNECTED, NULL, 0, EX_CLOSE, EX_CLOSE},
		{"without LOG_SHMFD", VU_SET_LOG_BASE, BED_BARE, NULL, 0, EX_CLOSE, EX_CLOSE},
		{"need_reply without REPLY_ACK", VU_SET_VRING_NUM, BED_BARE, change_num, 3, EX_CLOSE, EX_CLOSE},
		{"refused while logging", VU_SET_FEATURES, BED_LOGGING, change_u64, BIT64(26) | BIT64(30) | BIT64(33),
		 EX_CLOSE, EX_CLOSE},
		{"declined", VU_SET_BACKEND_REQ_FD, BED_OWNED, NULL, 0, EX_NACK, EX_QUIET},
		{"declined", VU_GET_CONFIG, BED_OWNED, NULL, 0, EX_CLOSE, EX_CLOSE},
		{"declined", VU_RESET_DEVICE, BED_OWNED, NULL, 0, EX_NACK, EX_CLOSE},
		{"declined", VU_SET_STATUS, BED_OWNED, NULL, 0, EX_NACK, EX_QUIET},
		{"declined", VU_CHECK_DEVICE_STATE, BED_OWNED, NULL, 0, EX_NACK, EX_NACK},
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++)
		for (unsigned need = 0; need < 2; need++)
			if (bed_case_begin(b, "%s %s, need_reply %u", vu_name(row[i].id), row[i].name, need))
				one_message(b, row[i].stage, row[i].id, need, need ? row[i].asked : row[i].unasked, 8,
					    row[i].change, row[i].arg);
}

static void run_lengths(struct bed *b)
{
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *r = vu_row(id);
		uint32_t good = r->len.kind == VU_LEN_COUNTED ? r->len.min + r->len.element : r->len.min;
		const uint32_t size[] = {good - 1, good + 1, good / 2, r->len.max < 4000 ? 4096 : good, 4097};
		for (unsigned i = 0; i < ARRAY_LEN(size); i++)
			for (unsigned need = 0; need < 2; need++) {
				if (size[i] == good || size[i] > 4097 ||
				    (r->len.kind == VU_LEN_RANGE && size[i] >= good && size[i] <= r->len.max))
					continue;
				enum msg_expect want = size[i] > VU_MAX_PAYLOAD ? EX_CLOSE : msg_refusal(r, need, false);
				if (bed_case_begin(b, "%s of %u bytes, need_reply %u", r->name, size[i], need))
					one_message(b, BED_PREPARED, id, need, want, 0, change_size, size[i]);
			}
	}
}

static void run_descriptors(struct bed *b)
{
	static const unsigned count[] = {0, 1, 2, 8, 9, 16, 253};
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *r = vu_row(id);
		unsigned good = r->fds == VU_FDS_NONE ? 0 : 1;
		for (unsigned i = 0; i < ARRAY_LEN(count); i++)
			for (unsigned need = 0; need < 2; need++) {
				if (count[i] == good)
					continue;
				enum msg_expect want = count[i] > VU_MAX_FDS ? EX_CLOSE : msg_refusal(r, need, false);
				if (bed_case_begin(b, "%s with %u fds, need_reply %u", r->name, count[i], need))
					one_message(b, BED_PREPARED, id, need, want, 0, change_fds, count[i]);
			}
	}
}

static void run_indexes(struct bed *b)
{
	static const uint64_t index[] = {32, 33, 255, 0xffff, 0x10000, 0xffffffff};
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *r = vu_row(id);
		if (r->queue == VU_Q_NO)
			continue;
		for (unsigned i = 0; i < ARRAY_LEN(index); i++)
			for (unsigned need = 0; need < 2; need++) {
				// Bit 8 of a u64 is not part of the index, and then no descriptor may come.
				if (r->queue == VU_Q_LOW_BYTE && (index[i] & 0x100) && index[i] != 0xffff)
					continue;
				if (bed_case_begin(b, "%s of ring 0x%llx, need_reply %u", r->name,
						   (unsigned long long)index[i], need))
					one_message(b, BED_PREPARED, id, need, msg_refusal(r, need, false), 0, change_index,
						    index[i]);
			}
	}
}

static void run_phases(struct bed *b)
{
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *r = vu_row(id);
		if (r->when & VU_IN_NEW)
			continue;
		// Nothing is negotiated yet: need_reply asks for nothing.
		for (unsigned need = 0; need < 2; need++)
			if (bed_case_begin(b, "%s before SET_OWNER, need_reply %u", r->name, need))
				one_message(b, BED_CONNECTED, id, need, msg_refusal(r, false, false), 0, NULL, 0);
	}
}

static void run_gates(struct bed *b)
{
	for (uint32_t id = 1; id <= VU_N_MESSAGES; id++) {
		const struct vu_row *r = vu_row(id);
		if (r->gate.kind != VU_GATE_PF && r->gate.kind != VU_GATE_FEATURE)
			continue;
		for (unsigned need = 0; need < 2; need++)
			if (bed_case_begin(b, "%s without its feature, need_reply %u", r->name, need))
				one_message(b, BED_BARE, id, need, msg_refusal(r, false, false), 0, NULL, 0);
	}
}

static void run_unknown_ids(struct bed *b)
{
	static const uint32_t id[] = {0, 45, 46, 64, 255, 256, 0x10000, 0x7fffffff, 0xffffffff};
	for (unsigned i = 0; i < ARRAY_LEN(id); i++)
		for (unsigned fds = 0; fds <= 8; fds += 4)
			for (unsigned need = 0; need < 2; need++)
				if (bed_case_begin(b, "message 0x%x with %u fds, need_reply %u", id[i], fds, need))
					one_message(b, BED_PREPARED, id[i], need, msg_refusal(NULL, need, false), 0,
						    change_fds, fds);
}

static void run_header_flags(struct bed *b)
{
	static const uint32_t flags[] = {0, 2, 3, 5, 0xd, 0x11, 0x80000001, 0xffffffff};
	static const uint32_t ids[] = {VU_GET_FEATURES, VU_SET_VRING_NUM, VU_SET_VRING_KICK};
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		for (unsigned k = 0; k < ARRAY_LEN(ids); k++) {
			struct bed_outcome o;
			struct msg m;
			int fd = spare_fd();
			if (!bed_case_begin(b, "%s with flags 0x%x", vu_name(ids[k]), flags[i]))
				continue;
			struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
			if (fe != NULL) {
				msg_good(&m, fe, ids[k], 0, fd);
				bed_put(fe, m.id, flags[i], m.payload, m.size, m.fds, m.n_fds, &o);
				msg_check(b, m.id, &o, EX_CLOSE, 0);
			}
			fe_free(fe);
			fd_reset(&fd);
			bed_case_end(b);
		}
}

// Each bit by itself: an offered one is acknowledged, another one refused, in one session.
static void run_feature_bits(struct bed *b)
{
	if (!bed_case_begin(b, "each bit of SET_FEATURES and SET_PROTOCOL_FEATURES"))
		return;
	static const unsigned never[] = {17, 24, 33, 38, 40, 57, 60};
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	for (unsigned bit = 0; fe != NULL && bit < 64; bit++) {
		// With LOG_SHMFD, or LOG_ALL would be refused for want of it.
		uint64_t v = BIT64(bit) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
		uint64_t p = BIT64(bit) | BIT64(VU_PF_REPLY_ACK) | BIT64(VU_PF_LOG_SHMFD);
		enum fe_res want = bits_has(fe->offered, bit) ? FE_OK : FE_NACK, got = fe_ack(fe, 2, &v, 8, NULL, 0);
		b->checks += 2;
		if (got != want)
			bed_fail(b, "SET_FEATURES bit %u: %s instead of %s", bit, fe_res_name(got), fe_res_name(want));
		want = bits_has(fe->protocol_offered, bit) ? FE_OK : FE_NACK;
		got = fe_ack(fe, 16, &p, 8, NULL, 0);
		if (got != want)
			bed_fail(b, "SET_PROTOCOL_FEATURES bit %u: %s instead of %s", bit, fe_res_name(got),
				 fe_res_name(want));
	}
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(never); i++)
		if (bits_has(fe->offered, never[i]))
			bed_fail(b, "bit %u is offered", never[i]);
	static const unsigned always[] = {15, 26, 28, 29, 30, 32};
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(always); i++)
		if (!bits_has(fe->offered, always[i]))
			bed_fail(b, "bit %u is not offered", always[i]);
	if (fe != NULL && fe->protocol_offered != 0x1f)
		bed_fail(b, "protocol features 0x%llx are offered", (unsigned long long)fe->protocol_offered);
	if (fe != NULL && fe->queue_num != 16)
		bed_fail(b, "GET_QUEUE_NUM answers %llu", (unsigned long long)fe->queue_num);
	fe_free(fe);
	bed_case_end(b);
}

// A refused message changes nothing: the ring that it was about still runs, or starts, as before.
static void run_nothing_changed(struct bed *b)
{
	static const uint32_t ids[] = {VU_SET_FEATURES,   VU_SET_MEM_TABLE,  VU_SET_VRING_NUM,  VU_SET_VRING_ADDR,
				       VU_SET_VRING_BASE, VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ENABLE};
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		struct net n;
		struct msg m;
		struct frame_id id;
		uint8_t to[6], from[6];
		int fd = spare_fd();
		if (!bed_case_begin(b, "traffic after a refused %s", vu_name(ids[i])))
			continue;
		struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1),
			  *peer = bed_front_end(b, "a2", BED_OWNED, NULL, -1);
		struct net pn;
		memset(&n, 0, sizeof(n));
		memset(&pn, 0, sizeof(pn));
		frame_mac(to, 1);
		frame_mac(from, 2);
		if (fe != NULL && peer != NULL) {
			fe_driver_reset(fe, 7);
			fe_driver_reset(peer, 7);
			bool ok = net_init(&n, fe, 0, NULL) && net_init(&pn, peer, 0, NULL) && fe_start(peer) == FE_OK &&
				  fe_start(fe) == FE_OK;
			msg_good(&m, fe, ids[i], 1, fd);
			m.size--;
			struct bed_outcome o;
			msg_put(fe, &m, true, &o);
			msg_check(b, ids[i], &o, EX_NACK, 0);
			ok = ok && net_send_numbered(&n, to, from, 1, 1, 100);
			const char *wrong = net_expect(&pn, &id, NULL, 2000);
			if (!ok || wrong != NULL)
				bed_fail(b, "traffic: %s", wrong != NULL ? wrong : "not started");
		}
		net_fini(&n);
		net_fini(&pn);
		fe_free(fe);
		fe_free(peer);
		fd_reset(&fd);
		bed_case_end(b);
	}
}

// What a refusal says on stderr: port, message and reason in one line.
static void run_log_line(struct bed *b)
{
	if (!bed_case_begin(b, "a refusal names port, message and reason"))
		return;
	long from = 0;
	struct bed_outcome o;
	struct vu_state st = {.index = 1, .num = 3};
	struct fe *fe = bed_front_end(b, "one", BED_OWNED, NULL, -1);
	char *text = daemon_said(&b->d, &from);
	free(text);
	if (fe != NULL) {
		bed_put(fe, 8, VU_VERSION | VU_FLAG_NEED_REPLY, &st, sizeof(st), NULL, 0, &o);
		msg_check(b, 8, &o, EX_NACK, 0);
		text = daemon_said(&b->d, &from);
		const char *line = strstr(text, "SET_VRING_NUM");
		if (line == NULL || strstr(text, "vringd: port one: ") == NULL)
			bed_fail(b, "stderr says: %s", text);
		free(text);
	}
	fe_free(fe);
	bed_case_end(b);
}

const struct bed_row rows_message[] = {
	{"right messages", run_good},
	{"wrong messages spelt out", run_spelt_out},
	{"lengths", run_lengths},
	{"numbers of descriptors", run_descriptors},
	{"ring indexes", run_indexes},
	{"phases", run_phases},
	{"gates", run_gates},
	{"unknown ids", run_unknown_ids},
	{"header flags", run_header_flags},
	{"feature bits", run_feature_bits},
	{"nothing changed", run_nothing_changed},
	{"log line", run_log_line},
	{NULL, NULL},
};
