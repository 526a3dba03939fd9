// Connections: two front ends on one path, one too many, coming back, client mode, memory that goes away.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/lan.h"
#include "proto/rows.h"

static bool closed_at_once(struct bed *b, const char *port)
{
	struct conn_msg m;
	int fd = conn_connect(daemon_path(&b->d, port), 1000);
	bool closed = fd >= 0 && conn_recv(fd, &m, 2000) == CONN_CLOSED;
	fd_reset(&fd);
	return closed;
}

static void run_too_many(struct bed *b)
{
	if (!bed_case_begin(b, "a third front end, and a second with sessions=1, are closed"))
		return;
	struct fe *one = bed_front_end(b, "a", BED_OWNED, NULL, -1), *two = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	struct fe *alone = bed_front_end(b, "one", BED_OWNED, NULL, -1);
	if (one != NULL && two != NULL && alone != NULL) {
		if (!closed_at_once(b, "a"))
			bed_fail(b, "a third one stays");
		if (!closed_at_once(b, "one"))
			bed_fail(b, "a second one stays on sessions=1");
		if (fe_barrier(one) != FE_OK || fe_barrier(two) != FE_OK || fe_barrier(alone) != FE_OK)
			bed_fail(b, "the others were disturbed");
	}
	fe_free(one);
	fe_free(two);
	fe_free(alone);
	bed_case_end(b);
}

// As in a local migration with one path: the second starts its rings while the first runs, and gets the frames when the
// first stops.
static void run_handover(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "two front ends on one path, the second takes over"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		struct fe *old = l.fe[0];
		struct net old_net = l.net[0][0];
		l.fe[0] = NULL;
		memset(&l.net[0][0], 0, sizeof(l.net[0][0]));
		if (lan_prepare(&l, b, 0, NULL, NULL, 0) && lan_start(&l, 0)) {
			struct frame_id id;
			lan_put(&l, 1, 0, l.mac[0], 100); // the first still has it
			const char *wrong = net_expect(&old_net, &id, NULL, 2000);
			if (wrong != NULL)
				bed_fail(b, "the first front end, with a second one waiting: %s", wrong);
			if (fe_stop(old) != FE_OK)
				bed_fail(b, "stop: %s", old->err_text);
			lan_pass(&l, 1, 0, 100);
			lan_both(&l, 10);
			fe_disconnect(old);
			lan_both(&l, 10);
		}
		net_fini(&old_net);
		fe_free(old);
	}
	lan_close(&l);
	bed_case_end(b);
}

// The connection goes without a word; the front end comes back with used.idx as its base.
static void run_reconnect(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "reconnect"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 65500))
		for (unsigned round = 0; round < 10 && b->failed[0] == 0; round++) {
			lan_both(&l, 5);
			net_tx_drain(&l.net[1][0], 1000); // or used.idx still moves while it is read
			fe_disconnect(l.fe[1]);
			fe_bases_from_memory(l.fe[1]);
			if (!fe_connect(l.fe[1], daemon_path(&b->d, "a2")) || fe_negotiate(l.fe[1]) != FE_OK) {
				bed_fail(b, "round %u: %s", round, l.fe[1]->err_text);
				break;
			}
			if (lan_start(&l, 1))
				lan_both(&l, 5);
		}
	lan_close(&l);
	bed_case_end(b);
}

// At every stage, the front end just goes.
static void run_leave(struct bed *b)
{
	static const struct fe_conf all = {.pairs = 16, .ring_size = 64, .mem = {.region_bytes = 4 << 20}};
	for (int stage = BED_CONNECTED; stage <= BED_RUNNING; stage++) {
		if (!bed_case_begin(b, "20 front ends leave at stage %d", stage))
			continue;
		for (unsigned i = 0; i < 20 && b->failed[0] == 0; i++)
			fe_free(bed_front_end(b, "a", (enum bed_stage)stage, i % 4 ? NULL : &all, -1));
		bed_case_end(b);
	}
}

static void run_client(struct bed *b)
{
	struct net n[2];
	memset(n, 0, sizeof(n));
	if (!bed_case_begin(b, "client mode: the daemon connects, and again after a loss"))
		return;
	int listener = conn_listen(daemon_path(&b->d, "client"));
	struct fe_conf conf = {.ring_size = 64};
	struct fe *fe = fe_new(&conf);
	for (unsigned round = 0; round < 3 && fe != NULL && listener >= 0 && b->failed[0] == 0; round++) {
		int fd = conn_accept(listener, 10000);
		if (fd < 0) {
			bed_fail(b, "round %u: the daemon does not connect", round);
			break;
		}
		fe_take(fe, fd);
		if (fe_negotiate(fe) != FE_OK)
			bed_fail(b, "round %u: %s", round, fe->err_text);
		fe_driver_reset(fe, 0);
		if (b->failed[0] == 0 && fe_start(fe) != FE_OK)
			bed_fail(b, "round %u: %s", round, fe->err_text);
		fe_disconnect(fe);
	}
	fd_reset(&listener);
	unlink(daemon_path(&b->d, "client"));
	fe_free(fe);
	bed_case_end(b);
}

static bool dies(struct fe *fe)
{
	struct conn_msg m;
	for (unsigned i = 0; i < 10; i++) {
		enum conn_got got = conn_recv(fe->sock, &m, 1000);
		if (got == CONN_CLOSED)
			return true;
		if (got == CONN_TIMEOUT)
			return false;
	}
	return false;
}

// The file behind the memory shrinks: touching it would kill the process; only this port's connection may go.
static void run_memory_gone(struct bed *b)
{
	static const char *const how[] = {"emptied", "cut in the middle", "emptied while it transmits"};
	for (unsigned i = 0; i < ARRAY_LEN(how); i++) {
		struct lan l;
		if (!bed_case_begin(b, "memory %s", how[i]))
			continue;
		if (lan_open(&l, b, 2, NULL, NULL, 0)) {
			struct fe *victim = l.fe[1];
			const struct gmem_region *r = &victim->mem->region[0];
			int kick = victim->ring[1].kick;
			uint64_t one = 1;
			if (ftruncate(r->fd, i == 1 ? 4096 * 5 : 0) != 0)
				bed_fail(b, "ftruncate: %m");
			for (unsigned k = 0; k < 10; k++)
				lan_put(&l, 0, 0, l.mac[1], 1000);
			if (write(kick, &one, sizeof(one)) != (ssize_t)sizeof(one))
				bed_fail(b, "kick: %m");
			if (!dies(victim))
				bed_fail(b, "the connection with no memory left stays open");
			// Our own pointers into it are dead, too: put the pages back before anything looks there.
			if (ftruncate(r->fd, (off_t)r->size) != 0)
				bed_fail(b, "ftruncate back: %m");
		}
		lan_close(&l);
		bed_case_end(b);
	}
}

static void run_log_gone(struct bed *b)
{
	struct lan l;
	if (!bed_case_begin(b, "log emptied"))
		return;
	if (lan_open(&l, b, 2, NULL, NULL, 0)) {
		int log = memfd_create("log", 1);
		if (ftruncate(log, 4096) != 0 || fe_log_start(l.fe[1], log, 4096, 0) != FE_OK)
			bed_fail(b, "log start: %s", l.fe[1]->err_text);
		if (ftruncate(log, 0) != 0)
			bed_fail(b, "ftruncate: %m");
		for (unsigned k = 0; k < 10; k++)
			lan_put(&l, 0, 0, l.mac[1], 1000);
		if (!dies(l.fe[1]))
			bed_fail(b, "the connection whose log is gone stays open");
		fd_reset(&log);
	}
	lan_close(&l);
	bed_case_end(b);
}

// What the control socket answers to one request: the error's code; 0: a result, or none.
static int control_code(struct bed *b, const char *request)
{
	char path[128], answer[2000];
	snprintf(path, sizeof(path), "%s/control.sock", b->d.run);
	int fd = conn_connect(path, 2000);
	struct timeval tv = {.tv_sec = 3};
	ssize_t n = -1;
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		n = recv(fd, answer, sizeof(answer) - 1, 0);
	fd_reset(&fd);
	answer[n > 0 ? n : 0] = '\0';
	const char *code = strstr(answer, "\"code\":");
	return code != NULL ? atoi(code + 7) : 0;
}

static void run_control(struct bed *b)
{
	static const struct {
		const char *request;
		int code;
	} rows[] = {
		{"{\"id\":1,\"method\":\"wait\",\"params\":{\"id\":\"a\",\"state\":\"failed\",\"timeout_ms\":1}}\n", -32000},
		// times 1000 it wraps to a few microseconds
		{"{\"id\":1,\"method\":\"wait\",\"params\":{\"id\":\"a\",\"state\":\"failed\",\"timeout_ms\":2305843009213693952}}\n", -32602},
		{"{\"id\":1,\"method\":\"wait\",\"params\":{\"id\":\"a\",\"state\":\"failed\",\"timeout_ms\":-1}}\n", -32602},
		{"{\"id\":1,\"method\":\"wait\",\"params\":{\"id\":\"a\",\"state\":\"failed\",\"timeout_ms\":\"9\"}}\n", -32602},
		{"{\"id\":1,\"method\":\"events\",\"params\":{\"since\":\"9\"}}\n", -32602},
		{"{\"id\":1,\"method\":\"events\",\"params\":{\"since\":-9}}\n", -32602},
		{"{\"id\":1,\"method\":\"port.add\",\"params\":{\"spec\":\"vxlan,id=v\"}}\n", -32602},
		{"{\"id\":1,\"method\":\"port.del\",\"params\":{\"id\":\"nobody\"}}\n", -32000},
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		if (!bed_case_begin(b, "control socket: request %u", i))
			continue;
		int code = control_code(b, rows[i].request);
		if (code != rows[i].code)
			bed_fail(b, "code %d instead of %d to %s", code, rows[i].code, rows[i].request);
		bed_case_end(b);
	}
}

const struct bed_row rows_session[] = {
	{"control", run_control},
	{"too many", run_too_many}, {"handover", run_handover},       {"reconnect", run_reconnect}, {"leave", run_leave},
	{"client", run_client},     {"memory gone", run_memory_gone}, {"log gone", run_log_gone},   {NULL, NULL},
};
