#include "poison.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define AHEAD 32u // frames of the innocent pair under way each way

const char *poison_vringctl;

static const char *poison_path(void)
{
	static char path[64];
	if (!path[0]) {
		snprintf(path, sizeof(path), "/tmp/vringd-poison-%d", (int)getpid());
		setenv("VRINGD_POISON", path, 1);
	}
	return path;
}

void poison_set(struct scene *s, const char *lines)
{
	char next[80];
	snprintf(next, sizeof(next), "%s.new", poison_path());
	FILE *f = fopen(next, "we");
	if (f == NULL || fputs(lines, f) < 0 || fclose(f) != 0 || rename(next, poison_path()) != 0)
		bed_fail(&s->bed, "the poison can't be laid");
}

// -- the innocent pair ---------------------------------------------------------------------------------------------------

static void calm_turn(struct scene *s, bool sending)
{
	uint8_t mac[2][6];
	uint8_t *at;
	uint32_t slot;
	for (unsigned i = 0; i < 2; i++)
		frame_mac(mac[i], 0xc0 + i);
	for (unsigned i = 0; i < 2; i++) {
		struct net *from = &s->bed.calm_net[i], *to = &s->bed.calm_net[!i];
		struct frame_id id;
		net_tx_reap(from);
		while (sending && s->sent[i] - s->heard[i] < AHEAD && from->tx_n_free > 0 && (at = net_tx_slot(from, &slot)) != NULL) {
			frame_fill(at, 200, mac[!i], mac[i], 7, s->sent[i]++, true);
			net_tx_put(from, slot, 200, NULL);
		}
		net_tx_flush(from);
		for (const char *wrong; (wrong = net_expect(to, &id, NULL, 0)) != net_nothing;) {
			if (wrong == NULL && id.flow != 7)
				continue;
			if (wrong == NULL && id.seq < s->heard[i])
				continue; // a death may repeat a batch
			if (wrong == NULL && id.seq > s->heard[i])
				wrong = "an innocent frame was lost";
			if (wrong != NULL) {
				s->wrong = wrong;
				return;
			}
			s->heard[i]++;
		}
		struct pollfd p = {.fd = s->bed.calm[i]->sock, .events = POLLIN | POLLRDHUP};
		if (poll(&p, 1, 0) != 0)
			s->wrong = "an innocent connection was lost";
	}
}

static void *calm_main(void *arg)
{
	struct scene *s = arg;
	while (!s->over && s->wrong == NULL) {
		calm_turn(s, true);
		usleep(1000);
	}
	uint64_t end = clock_boot_us() + 5000000;
	while (clock_boot_us() < end && s->wrong == NULL && (s->heard[0] != s->sent[0] || s->heard[1] != s->sent[1])) {
		calm_turn(s, false);
		usleep(200);
	}
	if (s->wrong == NULL && (s->heard[0] != s->sent[0] || s->heard[1] != s->sent[1] || s->sent[0] == 0))
		s->wrong = "innocent frames did not arrive";
	return NULL;
}

// -- the scene -------------------------------------------------------------------------------------------------------------

bool scene_open(struct scene *s, const char *bin)
{
	memset(s, 0, sizeof(*s));
	setenv("VRINGD_TEST_KEEPER", "1", 1);
	poison_set(s, "");
	s->log = memfd_create("log", MFD_CLOEXEC);
	if (s->log < 0 || ftruncate(s->log, LOG_BYTES) != 0 || !bed_open(&s->bed, bin) || !lan_open(&s->lan, &s->bed, 2, NULL, NULL, 0))
		return false;
	if (pthread_create(&s->calm, NULL, calm_main, s) != 0)
		return false;
	return poison_vringctl == NULL || ctl_says(s, "ports a", "\"running\"");
}

bool scene_close(struct scene *s)
{
	poison_set(s, "");
	s->over = true;
	if (s->calm)
		pthread_join(s->calm, NULL);
	if (s->wrong != NULL)
		bed_fail(&s->bed, "%s (%llu of %llu, %llu of %llu)", s->wrong, (unsigned long long)s->heard[0],
			 (unsigned long long)s->sent[0], (unsigned long long)s->heard[1], (unsigned long long)s->sent[1]);
	lan_close(&s->lan);
	if (!daemon_alive(&s->bed.d))
		bed_fail(&s->bed, "the daemon is gone (status 0x%x)", (unsigned)s->bed.d.status);
	if (!bed_close(&s->bed))
		bed_fail(&s->bed, "the daemon did not end well");
	if (s->bed.failed[0])
		daemon_tell(&s->bed.d);
	daemon_clean(&s->bed.d);
	fd_reset(&s->log);
	unlink(poison_path());
	return s->bed.failed[0] == '\0';
}

const char *ctl_ask(struct scene *s, const char *words)
{
	static char out[65536];
	char cmd[400];
	snprintf(cmd, sizeof(cmd), "timeout 20 %s --control %s/control.sock -j %s 2>/dev/null", poison_vringctl, s->bed.d.run, words);
	FILE *f = popen(cmd, "re");
	size_t n = f != NULL ? fread(out, 1, sizeof(out) - 1, f) : 0;
	out[n] = '\0';
	if (f == NULL || pclose(f) != 0)
		out[0] = '\0';
	return out;
}

bool ctl_says(struct scene *s, const char *words, const char *text)
{
	for (unsigned i = 0; i < 50; i++, daemon_nap(100))
		if (strstr(ctl_ask(s, words), text) != NULL)
			return true;
	bed_fail(&s->bed, "vringctl %s does not say %s but %.600s", words, text, ctl_ask(s, words));
	return false;
}

unsigned scene_restarts(struct scene *s)
{
	const char *at = strstr(ctl_ask(s, "status"), "\"worker_restarts\":");
	return at != NULL ? (unsigned)strtoul(at + 18, NULL, 10) : UINT32_MAX;
}

bool scene_wait_restarts(struct scene *s, unsigned n, unsigned ms)
{
	uint64_t end = clock_boot_us() + ms * UINT64_C(1000);
	unsigned now = scene_restarts(s);
	for (; (now < n || now == UINT32_MAX) && clock_boot_us() < end; now = scene_restarts(s))
		daemon_nap(20);
	return now >= n && now != UINT32_MAX;
}

bool log_filled(const struct scene *s)
{
	uint8_t byte[LOG_BYTES];
	if (pread(s->log, byte, sizeof(byte), 0) != (ssize_t)sizeof(byte))
		return false;
	for (unsigned i = 0; i < LOG_BYTES; i++)
		if (byte[i] != 0xff)
			return false;
	return true;
}

bool fe_closed(struct fe *fe, unsigned ms)
{
	struct conn_msg m;
	return conn_recv(fe->sock, &m, ms) == CONN_CLOSED;
}

bool scene_talk(struct scene *s)
{
	struct frame_id id;
	for (unsigned i = 0; i < 2; i++) // what the dead left in the rings
		while (net_expect(&s->lan.net[i][0], &id, NULL, 200) == NULL)
			;
	return lan_both(&s->lan, 5);
}

bool scene_again(struct scene *s, unsigned i)
{
	static const char *const port[] = {"a", "a2"};
	struct fe *fe = s->lan.fe[i];
	fe_disconnect(fe);
	fe_bases_from_memory(fe);
	if (fe_connect(fe, daemon_path(&s->bed.d, port[i])) && fe_negotiate(fe) == FE_OK && lan_start(&s->lan, i))
		return true;
	bed_fail(&s->bed, "guest %u comes back: %s", i, fe->err_text);
	return false;
}
