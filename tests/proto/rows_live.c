// Messages that come while the rings run: none of them may lose a frame or the place.
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "driver/flog.h"
#include "proto/lan.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static void run_enable(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "disabled: transmit is consumed and discarded; enabled again: traffic"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		struct net *n = &l.net[0][0];
		if (fe_ring_enable(l.fe[0], 1, false) != FE_OK || fe_barrier(l.fe[0]) != FE_OK)
			bed_fail(b, "disable: %s", l.fe[0]->err_text);
		for (unsigned i = 0; i < 5; i++)
			lan_put(&l, 0, 0, l.mac[1], 100);
		vq_publish(n->tx, true);
		if (!net_tx_drain(n, 2000))
			bed_fail(b, "a disabled transmit ring is not consumed");
		lan_quiet(&l, 1, 20);
		if (fe_ring_enable(l.fe[0], 1, true) != FE_OK)
			bed_fail(b, "enable: %s", l.fe[0]->err_text);
		lan_both(&l, 5);
	}
	lan_close(&l);
	bed_case_end(b);
}

// Started and never enabled: transmit waits; nothing of it is lost when the enable comes.
static void run_late_enable(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "started before it is enabled"))
		return;
	memset(&l, 0, sizeof(l));
	if (lan_prepare(&l, b, 1, NULL, NULL, 0) && lan_start(&l, 1) && lan_prepare(&l, b, 0, NULL, NULL, 0)) {
		struct fe *fe = l.fe[0];
		enum fe_res res = fe_send_features(fe);
		if (res == FE_OK)
			res = fe_set_mem(fe);
		for (unsigned q = 0; q < 2 && res == FE_OK; q++)
			res = fe_ring_start(fe, q);
		if (res != FE_OK)
			bed_fail(b, "start: %s", fe->err_text);
		for (unsigned i = 0; i < 3; i++)
			lan_put(&l, 0, 0, frame_broadcast, 100);
		lan_quiet(&l, 1, 20);
		if (fe_ring_enable(fe, 0, true) != FE_OK || fe_ring_enable(fe, 1, true) != FE_OK)
			bed_fail(b, "enable: %s", fe->err_text);
		for (unsigned i = 1; i <= 3; i++)
			lan_get(&l, 1, 0, i, 2000);
	}
	lan_close(&l);
	bed_case_end(b);
}

// Without bit 30 all rings are enabled by SET_FEATURES itself.
static void run_without_bit_30(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "SET_FEATURES without bit 30 enables all rings"))
		return;
	memset(&l, 0, sizeof(l));
	if (lan_prepare(&l, b, 1, NULL, NULL, 0) && lan_start(&l, 1) && lan_prepare(&l, b, 0, NULL, NULL, 0)) {
		l.fe[0]->features &= ~BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
		if (lan_start(&l, 0) && lan_greet(&l))
			lan_both(&l, 3);
	}
	lan_close(&l);
	bed_case_end(b);
}

static enum fe_res replace_kick(struct lan *l, unsigned q)
{
	uint64_t index = q;
	int fd = dup(l->fe[0]->ring[q].kick);
	enum fe_res res = fe_ack(l->fe[0], VU_SET_VRING_KICK, &index, 8, &fd, 1);
	fd_reset(&fd);
	return res;
}

static enum fe_res poll_kick(struct lan *l, unsigned q)
{
	uint64_t index = q | VU_RING_NOFD;
	l->fe[0]->ring[q].vq.kick = -1;
	return fe_ack(l->fe[0], VU_SET_VRING_KICK, &index, 8, NULL, 0);
}

static enum fe_res same_features(struct lan *l, unsigned q)
{
	(void)q;
	return fe_send_features(l->fe[0]);
}

static enum fe_res same_addr(struct lan *l, unsigned q)
{
	return fe_ring_addr(l->fe[0], q);
}

static enum fe_res same_memory(struct lan *l, unsigned q)
{
	(void)q;
	return fe_set_mem(l->fe[0]);
}

static enum fe_res new_call(struct lan *l, unsigned q)
{
	return fe_ring_call(l->fe[0], q);
}

static enum fe_res enable_again(struct lan *l, unsigned q)
{
	return fe_ring_enable(l->fe[0], q, true);
}

// Each message between frames, 30 times: the traffic does not notice.
static void run_between_frames(struct bed *b)
{
	static const struct {
		const char *name;
		enum fe_res (*send)(struct lan *l, unsigned q);
	} row[] = {
		{"SET_FEATURES", same_features},
		{"SET_VRING_ADDR", same_addr},
		{"SET_MEM_TABLE", same_memory},
		{"SET_VRING_CALL", new_call},
		{"SET_VRING_KICK", replace_kick},
		{"SET_VRING_ENABLE", enable_again},
		{"SET_VRING_KICK without descriptor", poll_kick},
	};
	for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
		struct lan l;
		if (!bed_case_begin(b, "%s between frames", row[i].name))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, 65500))
			for (unsigned k = 0; k < 30 && b->failed[0] == 0; k++) {
				enum fe_res res = row[i].send(&l, k % 2);
				if (res != FE_OK)
					bed_fail(b, "%s (%s)", fe_res_name(res), l.fe[0]->err_text);
				lan_both(&l, 2);
			}
		lan_close(&l);
		bed_case_end(b);
	}
}

// The same messages with frames in flight: none is lost, the order is kept.
static void run_in_flight(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "messages with frames in flight"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 65000)) {
		uint64_t got = l.seq + 1;
		for (unsigned round = 0; round < 200 && b->failed[0] == 0; round++) {
			for (unsigned i = 0; i < 20; i++)
				lan_put(&l, 0, 0, l.mac[1], 200);
			enum fe_res res = round % 4 == 0   ? fe_set_mem(l.fe[1])
					  : round % 4 == 1 ? fe_ring_addr(l.fe[round / 4 % 2], round % 2)
					  : round % 4 == 2 ? fe_ring_call(l.fe[1], 0)
							   : fe_stop(l.fe[1]);
			if (res == FE_OK && round % 4 == 3)
				res = fe_start(l.fe[1]);
			if (res != FE_OK)
				bed_fail(b, "round %u: %s (%s)", round, fe_res_name(res), l.fe[1]->err_text);
			for (unsigned i = 0; i < 20 && b->failed[0] == 0; i++)
				lan_get(&l, 1, 0, got++, 3000);
		}
	}
	lan_close(&l);
	bed_case_end(b);
}

static void run_log_on_and_off(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "logging on and off under traffic, memory equal each time"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 65500))
		for (unsigned round = 0; round < 6 && b->failed[0] == 0; round++) {
			struct flog *log = flog_new(l.fe[1]->mem, round % 2 ? 8192 : 0);
			struct flog_diff diff;
			lan_both(&l, 3);
			if (log == NULL || fe_log_start(l.fe[1], log->fd, log->bytes, log->file_offset) != FE_OK) {
				bed_fail(b, "log start: %s", l.fe[1]->err_text);
				flog_free(log);
				break;
			}
			flog_copy_all(log);
			lan_both(&l, 40);
			if (round % 3 == 0 && (fe_stop(l.fe[1]) != FE_OK))
				bed_fail(b, "stop: %s", l.fe[1]->err_text);
			if (round % 3 != 0 && fe_log_stop(l.fe[1]) == FE_OK)
				fe_barrier(l.fe[1]);
			if (round % 3 == 0) {
				flog_harvest(log);
				if (!flog_equal(log, &diff))
					bed_fail(b, "round %u: %llu pages differ, first at 0x%llx", round,
						 (unsigned long long)diff.pages, (unsigned long long)diff.gpa);
				l.fe[1]->log_fd = -1;
				lan_start(&l, 1);
			} else {
				flog_harvest(log);
				lan_both(&l, 10);
				if (flog_harvest(log) != 0)
					bed_fail(b, "pages are logged after the log was switched off");
			}
			flog_free(log);
		}
	lan_close(&l);
	bed_case_end(b);
}

// Between SET_FEATURES with LOG_ALL and SET_LOG_BASE nothing may be written to the guest.
static void run_log_gap(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "the datapath waits between LOG_ALL and SET_LOG_BASE"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		struct flog *log = flog_new(l.fe[1]->mem, 0);
		struct flog_diff diff;
		uint64_t all = l.fe[1]->features | BIT64(VHOST_F_LOG_ALL);
		if (log == NULL || fe_ack(l.fe[1], 2, &all, 8, NULL, 0) != FE_OK)
			bed_fail(b, "LOG_ALL: %s", l.fe[1]->err_text);
		if (log != NULL) {
			l.fe[1]->log_fd = log->fd; // the used rings are to be logged as soon as there is a log
			for (unsigned q = 0; q < 2; q++)
				fe_ring_addr(l.fe[1], q);
			flog_copy_all(log);
			uint64_t first = l.seq + 1;
			for (unsigned i = 0; i < 5; i++)
				lan_put(&l, 0, 0, l.mac[1], 100);
			daemon_nap(30);
			if (!flog_equal(log, &diff))
				bed_fail(b, "%llu pages written, first at 0x%llx", (unsigned long long)diff.pages,
					 (unsigned long long)diff.gpa);
			if (fe_log_base(l.fe[1], log->fd, log->bytes, 0) != FE_OK)
				bed_fail(b, "SET_LOG_BASE: %s", l.fe[1]->err_text);
			for (unsigned i = 0; i < 5 && b->failed[0] == 0; i++)
				lan_get(&l, 1, 0, first + i, 2000);
			if (fe_stop(l.fe[1]) != FE_OK)
				bed_fail(b, "stop: %s", l.fe[1]->err_text);
			flog_harvest(log);
			if (!flog_equal(log, &diff))
				bed_fail(b, "afterwards %llu pages differ, first at 0x%llx", (unsigned long long)diff.pages,
					 (unsigned long long)diff.gpa);
		}
		flog_free(log);
	}
	lan_close(&l);
	bed_case_end(b);
}

// A refusal while logging: the log is filled with ones before the connection closes.
static void run_log_filled(struct bed *b)
{
	static const uint32_t ids[] = {VU_SET_FEATURES, VU_SET_VRING_ADDR, VU_SET_LOG_BASE, VU_GET_VRING_BASE};
	for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
		struct lan l;
		struct msg m;
		struct bed_outcome o;
		if (!bed_case_begin(b, "a refused %s while logging fills the log", vu_name(ids[i])))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, 0)) {
			struct flog *log = flog_new(l.fe[1]->mem, 4096);
			if (log == NULL || fe_log_start(l.fe[1], log->fd, log->bytes, log->file_offset) != FE_OK) {
				bed_fail(b, "log start: %s", l.fe[1]->err_text);
			} else {
				msg_good(&m, l.fe[1], ids[i], 0, -1);
				m.n_fds = 0;
				m.size = 3;
				msg_put(l.fe[1], &m, true, &o);
				msg_check(b, ids[i], &o, EX_CLOSE, 0);
				for (uint64_t w = 0; w < log->bytes / 8; w++)
					if (log->words[w] != UINT64_MAX) {
						bed_fail(b, "word %llu of the log is 0x%llx", (unsigned long long)w,
							 (unsigned long long)log->words[w]);
						break;
					}
			}
			flog_free(log);
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

// SEND_RARP: the others hear a RARP of that MAC, and frames for it come here at once.
static void run_rarp(struct bed *b)
{
	struct lan l;
	struct net_frame f;
	uint8_t mac[6];
	uint64_t payload = 0;
	unsigned heard = 0;
	if (!bed_case_begin(b, "SEND_RARP"))
		return;
	frame_mac(mac, 0xbeef);
	memcpy(&payload, mac, 6);
	if (lan_open(&l, b, 3, NULL, NULL, 0)) {
		struct net *n = &l.net[1][0];
		if (fe_ack(l.fe[0], VU_SEND_RARP, &payload, 8, NULL, 0) != FE_OK)
			bed_fail(b, "SEND_RARP: %s", l.fe[0]->err_text);
		while (heard < 3 && net_rx_wait(n, &f, 1500)) {
			if (f.len >= 60 && f.data[12] == 0x80 && f.data[13] == 0x35 && memcmp(f.data + 6, mac, 6) == 0 &&
			    memcmp(f.data, frame_broadcast, 6) == 0 && memcmp(f.data + 22, mac, 6) == 0 &&
			    memcmp(f.data + 32, mac, 6) == 0 && f.data[21] == 3)
				heard++;
			net_rx_release(n);
			net_rx_post(n);
		}
		if (heard < 3)
			bed_fail(b, "%u RARP rounds heard", heard);
		(void)(lan_put(&l, 1, 0, mac, 100) && lan_get(&l, 0, 1, l.seq, 2000) && lan_quiet(&l, 2, 20));
	}
	lan_close(&l);
	bed_case_end(b);
}

const struct bed_row rows_live[] = {
	{"enable", run_enable},
	{"late enable", run_late_enable},
	{"no bit 30", run_without_bit_30},
	{"between frames", run_between_frames},
	{"in flight", run_in_flight},
	{"log on and off", run_log_on_and_off},
	{"log gap", run_log_gap},
	{"log filled", run_log_filled},
	{"rarp", run_rarp},
	{NULL, NULL},
};
