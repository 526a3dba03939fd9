// What happens to the worker's murderers. Each row makes one message, row, descriptor or ring really end each worker that meets
// it (a build with hooks, crash.h), and looks at what the front ends, the operator and an innocent pair see.
//
//   keeper_poison [--caught] VRINGD VRINGCTL [WORD]     WORD: rows whose name has it; --caught: one must fail
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "poison.h"

#define MTU 20u // NET_SET_MTU, asked for with an acknowledgement, is the message that kills
#define REPLACED_US 3000000u

static bool ask_mtu(struct fe *fe)
{
	uint64_t mtu = 1400;
	return fe_send(fe, MTU, 8, &mtu, sizeof(mtu), NULL, 0); // need_reply
}

static bool start_log(struct scene *s)
{
	if (fe_log_start(s->lan.fe[0], s->log, LOG_BYTES, 0) == FE_OK)
		return true;
	bed_fail(&s->bed, "log start: %s", s->lan.fe[0]->err_text);
	return false;
}

static void tell_crashes(struct scene *s, unsigned n)
{
	char text[40];
	snprintf(text, sizeof(text), "\"crashes\":%u", n);
	if (ctl_says(s, "ports a", text) && ctl_says(s, "stats a", text))
		ctl_says(s, "ports a2", "\"crashes\":0");
}

static bool quarantined(struct scene *s, const char *bytes)
{
	char path[128], text[8192] = "";
	struct stat st;
	snprintf(path, sizeof(path), "%s/quarantine", s->bed.d.state);
	FILE *f = fopen(path, "re");
	size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;
	text[n] = '\0';
	if (f != NULL)
		fclose(f);
	return stat(path, &st) == 0 && (st.st_mode & 0777) == 0600 && strstr(text, "\"port\":\"a\"") != NULL && strstr(text, bytes) != NULL;
}

// Twice as ever, once with the datapath off, and never again.
static void message_dies(struct scene *s, const char *how, unsigned ms)
{
	char lines[40];
	unsigned before = scene_restarts(s);
	snprintf(lines, sizeof(lines), "message a %u %s\n", MTU, how);
	if (!start_log(s))
		return;
	poison_set(s, lines);
	uint64_t from = clock_boot_us();
	WANT(s, ask_mtu(s->lan.fe[0]), "can't send");
	WANT(s, fe_closed(s->lan.fe[0], ms), "the connection of the message that kills is not closed without a word");
	WANT(s, log_filled(s), "it was closed, and its log is not filled");
	uint64_t took = clock_boot_us() - from;
	WANT(s, took <= 3u * REPLACED_US, "three deaths took %llu ms", (unsigned long long)took / 1000);
	WANT(s, scene_restarts(s) == before + 3, "%u deaths instead of 3", scene_restarts(s) - before);
	// 14000000 is the request, 01 and 08 its flags, then 8 bytes
	WANT(s, quarantined(s, "\"bytes\":\"1400000009000000080000007805000000000000\""), "the message is not in quarantine");
	tell_crashes(s, 3);
	poison_set(s, "");
	s->lan.fe[0]->log_fd = -1;
	if (ctl_says(s, "ports a", "\"listening\"") && scene_again(s, 0) && scene_talk(s))
		WANT(s, scene_restarts(s) == before + 3, "another death");
}

static void run_message_segv(struct scene *s) { message_dies(s, "segv", 10000); }
static void run_message_abort(struct scene *s) { message_dies(s, "abort", 10000); }
static void run_message_ill(struct scene *s) { message_dies(s, "ill", 10000); }
static void run_message_exit(struct scene *s) { message_dies(s, "exit", 10000); }
static void run_message_loop(struct scene *s) { message_dies(s, "loop", 15000); }
static void run_message_sleep(struct scene *s) { message_dies(s, "sleep", 15000); }

// Somebody kills the worker from outside, again and again, just when the message is there: it is innocent.
static void innocent(struct scene *s, const char *how, unsigned deaths, unsigned ms)
{
	char lines[40];
	struct conn_msg m;
	uint64_t value = 1;
	unsigned before = scene_restarts(s);
	snprintf(lines, sizeof(lines), "message a %u %s\n", MTU, how);
	poison_set(s, lines);
	WANT(s, ask_mtu(s->lan.fe[0]), "can't send");
	// the control socket answers no more in between: it is the log that tells
	uint64_t from = clock_boot_us();
	for (unsigned n = 0; n < deaths && clock_boot_us() < from + ms * UINT64_C(1000); daemon_nap(5)) {
		long at = 0;
		char *said = daemon_said(&s->bed.d, &at), *p = said;
		for (n = 0; (p = strstr(p, "starting another")) != NULL; p++)
			n++;
		free(said);
	}
	poison_set(s, "");
	WANT(s, fe_recv(s->lan.fe[0], &m, MTU) == FE_OK, "no answer: %s", s->lan.fe[0]->err_text);
	memcpy(&value, m.payload, sizeof(value));
	WANT(s, value == 0, "a nack that nobody meant");
	WANT(s, scene_restarts(s) >= before + deaths, "only %u deaths", scene_restarts(s) - before);
	tell_crashes(s, 0);
	scene_talk(s);
}

static void run_killed(struct scene *s) { innocent(s, "kill", 6, 10000); }
static void run_stopped(struct scene *s) { innocent(s, "stop", 2, 2 * REPLACED_US / 1000); }

// A message that does it only while the port's rings are in the datapath is done in the third try, and all goes on.
static void run_safe_mode(struct scene *s)
{
	char lines[40];
	struct conn_msg m;
	uint64_t value = 1;
	unsigned before = scene_restarts(s);
	snprintf(lines, sizeof(lines), "attached a %u segv\n", MTU);
	poison_set(s, lines);
	WANT(s, ask_mtu(s->lan.fe[0]), "can't send");
	WANT(s, fe_recv(s->lan.fe[0], &m, MTU) == FE_OK, "no answer: %s", s->lan.fe[0]->err_text);
	memcpy(&value, m.payload, sizeof(value));
	WANT(s, value == 0, "a nack that nobody meant");
	WANT(s, scene_restarts(s) == before + 2, "%u deaths instead of 2", scene_restarts(s) - before);
	poison_set(s, "");
	if (scene_talk(s) && ctl_says(s, "ports a", "\"running\""))
		tell_crashes(s, 2);
}

// -- what a connection brings when it is taken over ------------------------------------------------------------------------

static void adoption_dies(struct scene *s, const char *where, const char *how)
{
	char lines[40];
	unsigned before = scene_restarts(s);
	snprintf(lines, sizeof(lines), "%s a 0 %s\n", where, how);
	if (!start_log(s))
		return;
	poison_set(s, lines);
	kill_one(daemon_worker(&s->bed.d), SIGKILL);
	WANT(s, fe_closed(s->lan.fe[0], 15000), "the connection that kills when it is taken over stays");
	WANT(s, log_filled(s), "it was closed, and its log is not filled");
	WANT(s, scene_restarts(s) == before + 4, "%u deaths instead of 1 and 3", scene_restarts(s) - before);
	WANT(s, quarantined(s, "\"message\":0"), "it is not in the quarantine");
	tell_crashes(s, 3);
	poison_set(s, "");
	s->lan.fe[0]->log_fd = -1;
	if (scene_again(s, 0))
		scene_talk(s);
}

static void run_adopt_row(struct scene *s) { adoption_dies(s, "adopt", "segv"); }
static void run_adopt_descriptor(struct scene *s) { adoption_dies(s, "region", "abort"); }
static void run_adopt_rings(struct scene *s) { adoption_dies(s, "run", "segv"); }
static void run_adopt_loop(struct scene *s) { adoption_dies(s, "adopt", "loop"); }

// -- rings -------------------------------------------------------------------------------------------------------------------

static void parked(struct scene *s, unsigned q, unsigned deaths, unsigned before)
{
	struct fe *fe = s->lan.fe[0];
	uint64_t n = 0;
	WANT(s, fe_closed(fe, 15000), "the front end of a parked port is not closed");
	WANT(s, log_filled(s), "it was closed, and its log is not filled");
	WANT(s, scene_restarts(s) == before + deaths, "%u deaths instead of %u", scene_restarts(s) - before, deaths);
	if (!ctl_says(s, "ports a", "\"state\":\"parked\"") || !ctl_says(s, "ports a", "vringctl port release a"))
		return;
	if (q < VU_MAX_RINGS) {
		char text[20];
		snprintf(text, sizeof(text), "ring %u", q);
		WANT(s, strstr(ctl_ask(s, "ports a"), text) != NULL, "the reason does not name %s", text);
		WANT(s, read(fe->ring[q].err, &n, sizeof(n)) == (ssize_t)sizeof(n), "the ring's err descriptor was not signalled");
	}
	WANT(s, strstr(ctl_ask(s, "events"), "\"port.parked\"") != NULL, "no event port.parked");
	tell_crashes(s, deaths);
	int fd = conn_connect(daemon_path(&s->bed.d, "a"), 1000);
	struct conn_msg m;
	bool refused = fd >= 0 && conn_recv(fd, &m, 3000) == CONN_CLOSED;
	fd_reset(&fd);
	WANT(s, refused, "a parked port takes a front end");
	WANT(s, fe_barrier(s->lan.fe[1]) == FE_OK, "the other guest lost its connection");
	// it survives workers
	kill_one(daemon_worker(&s->bed.d), SIGKILL);
	WANT(s, scene_wait_restarts(s, before + deaths + 1, 5000), "no other worker");
	WANT(s, strstr(ctl_ask(s, "ports a"), "\"parked\"") != NULL, "it is parked no more after a restart");
	const char *events = ctl_ask(s, "events"), *first = strstr(events, "\"port.parked\"");
	WANT(s, first != NULL && strstr(first + 1, "\"port.parked\"") == NULL, "port.parked is told twice");
	poison_set(s, "");
	WANT(s, ctl_ask(s, "port release a")[0] != '\0', "port release fails");
	WANT(s, ctl_ask(s, "port release a")[0] == '\0', "a port that is not parked is released");
	fe->log_fd = -1;
	if (ctl_says(s, "ports a", "\"listening\"") && scene_again(s, 0) && scene_talk(s))
		tell_crashes(s, deaths);
}

static void ring_dies(struct scene *s, const char *lines, unsigned q, unsigned from)
{
	unsigned before = scene_restarts(s);
	if (!start_log(s))
		return;
	poison_set(s, lines);
	lan_put(&s->lan, from, 0, s->lan.mac[!from], 100);
	parked(s, q, 2, before);
}

static void run_ring_tx(struct scene *s) { ring_dies(s, "tx a 1 segv\n", 1, 0); }
static void run_ring_rx(struct scene *s) { ring_dies(s, "rx a 0 abort\n", 0, 1); }

static void ring_stands(struct scene *s, const char *lines, unsigned q, unsigned from)
{
	uint64_t at = clock_boot_us();
	ring_dies(s, lines, q, from);
	printf("keeper_poison: two hangs and all that followed took %llu ms\n", (unsigned long long)(clock_boot_us() - at) / 1000);
}

static void run_ring_tx_loop(struct scene *s) { ring_stands(s, "tx a 1 loop\n", 1, 0); }
static void run_ring_rx_sleep(struct scene *s) { ring_stands(s, "rx a 0 sleep\n", 0, 1); }

// How long a data thread that loops holds the others up.
static void run_replaced(struct scene *s)
{
	unsigned before = scene_restarts(s);
	poison_set(s, "tx a 1 loop\n");
	lan_put(&s->lan, 0, 0, s->lan.mac[1], 100);
	daemon_nap(300);
	poison_set(s, "");
	uint64_t from = clock_boot_us();
	WANT(s, lan_get(&s->lan, 1, 0, s->lan.seq, 10000), "the frame does not arrive");
	unsigned took = (unsigned)(clock_boot_us() - from) + 300000;
	printf("keeper_poison: a data thread that loops is replaced within %u ms\n", took / 1000);
	WANT(s, took <= REPLACED_US, "that is too long");
	WANT(s, scene_restarts(s) == before + 1, "%u deaths instead of 1", scene_restarts(s) - before);
	tell_crashes(s, 1);
}

// Five deaths by one port, of two different messages.
static void run_budget(struct scene *s)
{
	char lines[80];
	unsigned before = scene_restarts(s);
	uint64_t rarp = 0;
	snprintf(lines, sizeof(lines), "message a %u segv\nmessage a 19 abort\n", MTU);
	poison_set(s, lines);
	WANT(s, ask_mtu(s->lan.fe[0]) && fe_closed(s->lan.fe[0], 10000), "the first message's connection stays");
	if (!scene_again(s, 0) || !start_log(s))
		return;
	WANT(s, fe_send(s->lan.fe[0], 19, 8, &rarp, sizeof(rarp), NULL, 0), "can't send");
	parked(s, VU_MAX_RINGS, 5, before);
}

// -- operators ----------------------------------------------------------------------------------------------------------------

// What vringctl prints on both its outputs, and its status.
static int ctl_run(struct scene *s, const char *words, char *out, size_t room)
{
	char cmd[400];
	snprintf(cmd, sizeof(cmd), "timeout 30 %s --control %s/control.sock %s 2>&1", poison_vringctl, s->bed.d.run, words);
	FILE *f = popen(cmd, "re");
	size_t n = f != NULL ? fread(out, 1, room - 1, f) : 0;
	out[n] = '\0';
	int status = f != NULL ? pclose(f) : -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Asked right after a death, and while one happens.
static void run_vringctl(struct scene *s)
{
	char out[4000], pid[40];
	unsigned before = scene_restarts(s);
	for (unsigned i = 0; i < 20; i++) {
		kill_one(daemon_worker(&s->bed.d), SIGKILL);
		WANT(s, ctl_run(s, i % 2 ? "ports a" : "-j status", out, sizeof(out)) == 0, "right after a kill: %s", out);
		daemon_nap(i); // and at other moments of the restart
	}
	WANT(s, scene_restarts(s) >= before + 10, "%u restarts", scene_restarts(s) - before);
	snprintf(pid, sizeof(pid), "\"worker_pid\":%d", (int)daemon_worker(&s->bed.d));
	if (!ctl_says(s, "status", pid))
		return;
	// one that waits for something goes on waiting with the next worker
	char cmd[300];
	snprintf(cmd, sizeof(cmd), "timeout 30 %s --control %s/control.sock wait a draining --timeout 20 2>&1", poison_vringctl, s->bed.d.run);
	FILE *f = popen(cmd, "re");
	WANT(s, f != NULL, "popen");
	for (unsigned i = 0; i < 3; i++) {
		daemon_nap(200);
		kill_one(daemon_worker(&s->bed.d), SIGKILL);
	}
	ctl_run(s, "drain a", out, sizeof(out));
	int status = pclose(f);
	WANT(s, WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait ended with 0x%x", (unsigned)status);
	ctl_run(s, "undrain a", out, sizeof(out));
}

static void run_vringctl_dies(struct scene *s)
{
	char out[4000];
	unsigned before = scene_restarts(s);
	poison_set(s, "rpc port.unpin 0 segv\nrpc stats 0 kill\n");
	WANT(s, ctl_run(s, "port unpin a", out, sizeof(out)) == 1 && strstr(out, "not known") != NULL, "a change under way: %s", out);
	WANT(s, scene_wait_restarts(s, before + 1, 3000) && scene_restarts(s) == before + 1, "it was sent again: %u deaths",
	     scene_restarts(s) - before);
	WANT(s, ctl_run(s, "stats a", out, sizeof(out)) == 1, "a question that kills: %s", out);
	WANT(s, scene_wait_restarts(s, before + 5, 3000) && scene_restarts(s) == before + 5, "it was not put 4 times: %u deaths",
	     scene_restarts(s) - before - 1);
	poison_set(s, "");
	tell_crashes(s, 0);
	scene_talk(s);
}

static const struct {
	const char *name;
	void (*run)(struct scene *s);
} rows[] = {
	{"message segv", run_message_segv}, {"message abort", run_message_abort}, {"message ill", run_message_ill},
	{"message exit", run_message_exit}, {"message loop", run_message_loop}, {"message sleep", run_message_sleep},
	{"killed from outside", run_killed}, {"stopped from outside", run_stopped}, {"safe mode", run_safe_mode},
	{"adopt row", run_adopt_row}, {"adopt descriptor", run_adopt_descriptor}, {"adopt rings", run_adopt_rings},
	{"adopt loop", run_adopt_loop}, {"ring tx", run_ring_tx}, {"ring rx", run_ring_rx}, {"ring tx loop", run_ring_tx_loop},
	{"ring rx sleep", run_ring_rx_sleep}, {"replaced", run_replaced}, {"budget", run_budget}, {"vringctl", run_vringctl},
	{"vringctl dies", run_vringctl_dies},
};

int main(int argc, char **argv)
{
	static struct scene s;
	int i = argc > 1 && strcmp(argv[1], "--caught") == 0 ? 2 : 1;
	unsigned bad = 0, n = 0;
	if (argc < i + 2) {
		fprintf(stderr, "usage: keeper_poison [--caught] VRINGD VRINGCTL [WORD]\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	poison_vringctl = argv[i + 1];
	for (unsigned k = 0; k < ARRAY_LEN(rows); k++) {
		if (argc > i + 2 && strstr(rows[k].name, argv[i + 2]) == NULL)
			continue;
		uint64_t from = clock_boot_us();
		bool opened = scene_open(&s, argv[i]);
		if (opened)
			rows[k].run(&s);
		bool well = scene_close(&s) && opened;
		printf("%-22s %s%s, %llu innocent frames, %llu ms\n", rows[k].name, well ? "holds" : "FAILED: ", s.bed.failed,
		       (unsigned long long)(s.heard[0] + s.heard[1]), (unsigned long long)(clock_boot_us() - from) / 1000);
		fflush(stdout);
		bad += !well;
		n++;
	}
	printf("keeper_poison: %u rows, %u failed\n", n, bad);
	return (bad != 0) == (i == 2) && n > 0 ? 0 : 1;
}
