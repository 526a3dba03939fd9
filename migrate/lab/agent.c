// lab-agent: the program that runs in vringlab's guests as their init. Answers the lab's commands on the second serial port
// (agent_proto.h). It ends only with the guest.
#include "agent_net.h"
#include "agent_proto.h"
#include "agent_traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

struct agent {
	int tty;
	struct agent_net net;
	struct traffic *traffic;
	char boot_id[64];
	char answered_id[32]; // the last command's id and answer, for when it is asked again
	char answer[LAB_LINE_MAX];
	size_t length;
};

static void answer_add(struct agent *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void answer_add(struct agent *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(a->answer + a->length, sizeof(a->answer) - a->length, fmt, ap);
	va_end(ap);
	if (n > 0)
		a->length += (size_t)n;
	if (a->length >= sizeof(a->answer))
		a->length = sizeof(a->answer) - 1;
}

static void do_ping(struct agent *a)
{
	struct agent_net_counts c;
	agent_net_read(&a->net, &c);
	answer_add(a, "OK boot=%s time_us=%" PRIu64 " carrier=%ld changes=%ld", a->boot_id, traffic_now_us(), c.carrier,
		c.carrier_changes);
}

static void do_report(struct agent *a)
{
	struct agent_net_counts n;
	agent_net_read(&a->net, &n);
	const struct tally *t = traffic_lock(a->traffic);
	struct tally_counts c = t->counts;
	uint32_t run = t->run;
	traffic_unlock(a->traffic);
	answer_add(a, "OK run=%" PRIu32 " received=%" PRIu64 " unique=%" PRIu64 " repeated=%" PRIu64 " reordered=%" PRIu64
		" corrupt=%" PRIu64 " other_run=%" PRIu64 " beyond=%" PRIu64 " first_us=%" PRIu64 " last_us=%" PRIu64
		" gap_us=%" PRIu64 " gap_end_us=%" PRIu64 " second_us=%" PRIu64, run, c.received, c.unique, c.repeated, c.reordered, c.corrupt,
		c.other_run, c.beyond, c.first_us, c.last_us, c.gap_us, c.gap_end_us, c.second_us);
	answer_add(a, " udp_in_errors=%" PRIu64 " udp_rcvbuf_errors=%" PRIu64 " udp_csum_errors=%" PRIu64
		" carrier=%ld changes=%ld boot=%s", n.in_errors, n.rcvbuf_errors, n.csum_errors, n.carrier,
		n.carrier_changes, a->boot_id);
}

static void do_look(struct agent *a)
{
	struct tally_window w = traffic_look(a->traffic);
	answer_add(a, "OK last_us=%" PRIu64 " gaps=", w.last_us);
	for (unsigned i = 0; i < w.n; i++)
		answer_add(a, "%s%" PRIu64 "@%" PRIu64, i ? "," : "", w.gap[i].us, w.gap[i].end_us);
}

static void do_stop(struct agent *a)
{
	uint64_t sent[LAB_STREAMS_MAX], refused;
	unsigned n = traffic_stop(a->traffic, sent, &refused);
	answer_add(a, "OK refused=%" PRIu64 " sent=", refused);
	for (unsigned i = 0; i < n; i++)
		answer_add(a, "%s%" PRIu64, i ? "," : "", sent[i]);
}

static void do_bins(struct agent *a, uint64_t first, unsigned n)
{
	const struct tally *t = traffic_lock(a->traffic);
	if (first > TALLY_BINS)
		first = TALLY_BINS;
	if (n > LAB_BINS_PER_LINE)
		n = LAB_BINS_PER_LINE;
	if (n > TALLY_BINS - first)
		n = (unsigned)(TALLY_BINS - first);
	answer_add(a, "OK time_us=%" PRIu64 " bins=", t->start_us + first * LAB_BIN_US);
	for (unsigned i = 0; i < n; i++)
		answer_add(a, "%s%u", i ? "," : "", t->bins[first + i]);
	traffic_unlock(a->traffic);
}

static void do_holes(struct agent *a, unsigned stream, uint64_t sent)
{
	uint64_t from[LAB_HOLES_MAX], to[LAB_HOLES_MAX];
	unsigned ranges;
	const struct tally *t = traffic_lock(a->traffic);
	uint64_t missing = tally_holes(t, stream, sent, from, to, LAB_HOLES_MAX, &ranges);
	traffic_unlock(a->traffic);
	answer_add(a, "OK missing=%" PRIu64 " holes=", missing);
	for (unsigned i = 0; i < ranges; i++)
		answer_add(a, "%s%" PRIu64 "-%" PRIu64, i ? "," : "", from[i], to[i]);
}

static void agent_do(struct agent *a, const char *command, const char *args)
{
	unsigned run = 0, rate = 0, size = 0, streams = 0, n = 0;
	uint64_t big = 0;
	if (!strcmp(command, "PING")) {
		do_ping(a);
	} else if (!strcmp(command, "GREET")) {
		answer_add(a, "OK arp=%d", agent_net_greet(&a->net));
	} else if (!strcmp(command, "PREPARE") && sscanf(args, "%u %u %u", &run, &size, &streams) == 3) {
		answer_add(a, "OK time_us=%" PRIu64, traffic_prepare(a->traffic, run, size, streams));
	} else if (!strcmp(command, "START") && sscanf(args, "%u %u %u %u", &run, &rate, &size, &streams) == 4) {
		if (traffic_start(a->traffic, run, rate, size, streams))
			answer_add(a, "OK");
		else
			answer_add(a, "ERR cannot start");
	} else if (!strcmp(command, "STOP")) {
		do_stop(a);
	} else if (!strcmp(command, "REPORT")) {
		do_report(a);
	} else if (!strcmp(command, "LOOK")) {
		do_look(a);
	} else if (!strcmp(command, "BINS") && sscanf(args, "%" SCNu64 " %u", &big, &n) == 2) {
		do_bins(a, big, n);
	} else if (!strcmp(command, "HOLES") && sscanf(args, "%u %" SCNu64, &n, &big) == 2) {
		do_holes(a, n, big);
	} else {
		answer_add(a, "ERR unknown command or wrong arguments");
	}
}

static void agent_send(struct agent *a)
{
	size_t done = 0;
	while (done < a->length) {
		ssize_t n = write(a->tty, a->answer + done, a->length - done);
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0)
			done += (size_t)n;
	}
}

static void agent_take_line(struct agent *a, char *line)
{
	char *rest, *id = strtok_r(line, " ", &rest), *command = strtok_r(NULL, " ", &rest);
	if (!id || !command || strlen(id) >= sizeof(a->answered_id))
		return;
	if (strcmp(id, a->answered_id) != 0) {
		snprintf(a->answered_id, sizeof(a->answered_id), "%s", id);
		a->length = 0;
		answer_add(a, "\n%s ", id); // ends whatever half line the other side may have
		agent_do(a, command, rest);
		answer_add(a, "\n");
	}
	agent_send(a);
}

static void agent_serve(struct agent *a)
{
	static char line[1024];
	size_t length = 0;
	bool too_long = false;
	for (;;) {
		char chunk[256];
		ssize_t n = read(a->tty, chunk, sizeof(chunk));
		if (n <= 0) {
			usleep(10000);
			continue;
		}
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i] != '\n') {
				if (length < sizeof(line) - 1)
					line[length++] = chunk[i];
				else
					too_long = true;
				continue;
			}
			line[length] = 0;
			if (!too_long && length)
				agent_take_line(a, line);
			length = 0;
			too_long = false;
		}
	}
}

static int tty_open(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios tio;
	if (fd < 0 || tcgetattr(fd, &tio) < 0)
		return -1;
	cfmakeraw(&tio);
	cfsetspeed(&tio, B115200);
	tio.c_cflag |= CLOCAL;
	tio.c_cc[VMIN] = 1;
	tio.c_cc[VTIME] = 0;
	return tcsetattr(fd, TCSANOW, &tio) < 0 ? -1 : fd;
}

// Init must not end: say why on the console, and let the lab read it there.
static void agent_give_up(const char *what)
{
	printf("lab-agent: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	for (;;)
		pause();
}

int main(void)
{
	static struct agent a;
	const char *tty = getenv("lab_tty");
	a.tty = tty_open(tty ? tty : "/dev/ttyS1");
	if (a.tty < 0)
		agent_give_up("second serial port");
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	if (!f || fscanf(f, "%63s", a.boot_id) != 1)
		agent_give_up("boot id");
	fclose(f);
	if (!agent_net_parse(&a.net))
		agent_give_up("addresses on the kernel command line");
	if (!agent_net_up(&a.net))
		agent_give_up(a.net.interface);
	a.traffic = traffic_new(a.net.own4, a.net.peer4);
	if (!a.traffic)
		agent_give_up("UDP socket");
	printf("lab-agent: ready\n");
	fflush(stdout);
	agent_serve(&a);
	return 0;
}
