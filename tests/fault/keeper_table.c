// What an operator changed at run time is what the next worker has, whether the last one was killed or left for an
// upgrade; and what the configuration file takes over is no port of run time any more.
//
//   keeper_table [--caught] VRINGD
//
// --caught: the program keeps nothing of it (a seeded bug), and each change must be missed.
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/kill.h"
#include "driver/fe.h"
#include "manager.h"
#include "proto/daemon.h"

#define MAX_TEXT 65536
#define WAIT_MS 10000
#define KILLS 60
#define MAX_ARGS 8
#define MAX_CALLS 4

struct call {
	const char *method, *params;
};
struct row {
	const char *name;
	const char *arg[MAX_ARGS]; // CONF is the configuration file
	const char *file; // NULL: there is none
	struct call call[MAX_CALLS];
	const char *reload; // the file, changed; then SIGHUP
	const char *guest; // a front end is on this port, from after the calls; NULL: none
	const char *differs; // the table must not hold this, NULL: it need only be as before
	bool silent; // the worker says nothing at its end
	bool stored; // known from the store, too: nothing is missed
};

static const struct row rows[] = {
	{ .name = "set, of the command line", .arg = { "--port", "vhost-user,id=a", "--port", "null,id=b" },
	  .call = { { "port.set", "{\"id\":\"a\",\"set\":[\"rate-in=1000000\",\"label=one, two\"]}" } } },
	{ .name = "set twice, and back", .arg = { "--port", "vhost-user,id=a,label=old", "--port", "null,id=b" },
	  .call = { { "port.set", "{\"id\":\"a\",\"set\":[\"label=x\",\"hold-ms=7\"]}" },
		    { "port.set", "{\"id\":\"a\",\"set\":[\"label=\"]}" } } },
	{ .name = "set, of the file", .arg = { "--config", "CONF" }, .file = "port vhost-user,id=a\nport null,id=b\n",
	  .call = { { "port.set", "{\"id\":\"a\",\"set\":[\"rate-out=2000000\"]}" } } },
	{ .name = "del, of the command line", .arg = { "--port", "vhost-user,id=a", "--port", "vhost-user,id=b" },
	  .call = { { "port.del", "{\"id\":\"b\"}" } }, .guest = "a", .differs = "id=b" },
	{ .name = "del, of the file", .arg = { "--config", "CONF" }, .file = "port vhost-user,id=a\nport vhost-user,id=b\n",
	  .call = { { "port.del", "{\"id\":\"b\"}" } }, .differs = "id=b" },
	{ .name = "del and add in another net", .arg = { "--port", "vhost-user,id=a", "--port", "vhost-user,id=b" },
	  .call = { { "port.del", "{\"id\":\"a\"}" }, { "port.add", "{\"spec\":\"vhost-user,id=a,net=other\"}" } },
	  .guest = "a" },
	{ .name = "the same with a guest elsewhere", .arg = { "--port", "vhost-user,id=a", "--port", "vhost-user,id=b" },
	  .call = { { "port.del", "{\"id\":\"a\"}" }, { "port.add", "{\"spec\":\"vhost-user,id=a,net=other\"}" } },
	  .guest = "b" },
	{ .name = "log level", .arg = { "--port", "null,id=a" },
	  .call = { { "log-level", "{\"level\":\"error\"}" } }, .silent = true },
	{ .name = "a port of run time", .arg = { "--port", "null,id=a" },
	  .call = { { "port.add", "{\"spec\":\"vhost-user,id=r\"}" },
		    { "port.set", "{\"id\":\"r\",\"set\":[\"label=y\"]}" } }, .stored = true },
	{ .name = "drained, deleted, added", .arg = { "--port", "vhost-user,id=a,label=l" },
	  .call = { { "drain", "{\"id\":\"a\"}" }, { "port.del", "{\"id\":\"a\"}" },
		    { "port.add", "{\"spec\":\"vhost-user,id=a\"}" } },
	  .differs = "draining" },
	{ .name = "reload", .arg = { "--config", "CONF", "--port", "null,id=c" }, .file = "port null,id=a\nport null,id=b\n",
	  .call = { { "port.del", "{\"id\":\"c\"}" }, { "port.add", "{\"spec\":\"null,id=r\"}" } },
	  .reload = "port null,id=a,label=new\nport null,id=d\nport null,id=r\n", .differs = "id=b" },
};

static struct daemon d;
static char conf[64], failed[512];

static bool need(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool need(bool ok, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!ok && !failed[0])
		vsnprintf(failed, sizeof(failed), fmt, ap);
	va_end(ap);
	return ok;
}

static bool write_file(const char *text)
{
	FILE *f = fopen(conf, "we");
	return f && fputs(text, f) >= 0 && fclose(f) == 0;
}

static int control(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", d.run);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		fd_reset(&fd);
	return fd;
}

// The answer's line, in a static buffer; "" if there is none.
static const char *ask_at(int fd, const char *method, const char *params)
{
	static char text[MAX_TEXT];
	int len = snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}\n", method, params);
	size_t got = 0;
	if (fd >= 0 && write(fd, text, (size_t)len) == len)
		while (got + 1 < sizeof(text) && (got == 0 || text[got - 1] != '\n')) {
			ssize_t n = read(fd, text + got, sizeof(text) - 1 - got);
			if (n <= 0)
				break;
			got += (size_t)n;
		}
	text[got] = '\0';
	return text;
}

static const char *ask(const char *method, const char *params)
{
	int fd = control();
	const char *text = ask_at(fd, method, params);
	fd_reset(&fd);
	return text;
}

static long number(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static pid_t worker(void)
{
	return (pid_t)number(ask("status", "{}"), "\"worker_pid\":");
}

static bool served(void)
{
	for (unsigned ms = 0; ms < WAIT_MS; ms += 5, daemon_nap(5))
		if (worker() > 0)
			return true;
	return need(false, "it does not serve");
}

// Of each port what must stay: what it is, whose, and its state.
static void table(char out[MAX_TEXT])
{
	static const char *const keys[] = { "\"id\":\"", "\"net\":\"", "\"origin\":\"", "\"state\":\"", "\"spec\":\"" };
	size_t n = 0;
	out[0] = '\0';
	for (const char *at = ask("ports", "{}"); *at; at++)
		for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			if (strncmp(at, keys[k], strlen(keys[k])) == 0) {
				const char *from = at + strlen(keys[k]);
				int len = (int)strcspn(from, "\"");
				n += (size_t)snprintf(out + n, MAX_TEXT - n, "%.*s%s", len, from, k == 4 ? "\n" : " ");
			}
}

static bool next_worker(bool upgrade)
{
	pid_t old = worker();
	if (upgrade)
		need(strstr(ask("upgrade", "{}"), "leaving") != NULL, "the upgrade was refused");
	else
		need(kill_one(old, SIGKILL) == 0, "no worker to be killed");
	for (unsigned ms = 0; ms < WAIT_MS && !failed[0]; ms += 5, daemon_nap(5)) {
		pid_t now = worker();
		if (now > 0 && now != old)
			return true;
	}
	return need(false, "no other worker serves");
}

static bool reload(const char *text)
{
	long from = 0;
	char *said = daemon_said(&d, &from); // what was said before
	free(said);
	need(write_file(text), "the file can't be written");
	need(kill_one(d.pid, SIGHUP) == 0, "no SIGHUP");
	for (unsigned ms = 0; ms < WAIT_MS && !failed[0]; ms += 5, daemon_nap(5)) {
		long at = from;
		said = daemon_said(&d, &at);
		bool read = strstr(said, "configuration read again") != NULL, refused = strstr(said, "refused") != NULL;
		free(said);
		need(!refused, "the reload was refused");
		if (read)
			return true;
	}
	return need(false, "the file was not read again");
}

static bool start(const char *bin, const char *const *arg, const char *file)
{
	static const char *args[MAX_ARGS + 1];
	unsigned n = 0;
	memset(args, 0, sizeof(args));
	for (; n < MAX_ARGS && arg[n]; n++)
		args[n] = strcmp(arg[n], "CONF") == 0 ? conf : arg[n];
	failed[0] = '\0';
	need(!file || write_file(file), "the file can't be written");
	return need(daemon_start(&d, bin, args), "it can't be started") && served();
}

static struct fe *guest(const char *port)
{
	static const struct fe_conf c = { .ring_size = 64, .mem = { .region_bytes = 4 << 20 } };
	struct fe *fe = fe_new(&c);
	need(fe && fe_connect(fe, daemon_path(&d, port)) && fe_negotiate(fe) == FE_OK && fe_start(fe) == FE_OK, "the front end: %s",
	     fe ? fe->err_text : "no memory");
	return fe;
}

static void try_row(const struct row *r, const char *bin, bool upgrade)
{
	static char before[MAX_TEXT], after[MAX_TEXT];
	struct fe *fe = NULL;
	if (!start(bin, r->arg, r->file))
		return;
	for (unsigned i = 0; i < MAX_CALLS && r->call[i].method; i++)
		need(strstr(ask(r->call[i].method, r->call[i].params), "\"result\"") != NULL, "%s was refused", r->call[i].method);
	if (r->reload)
		reload(r->reload);
	if (r->guest)
		fe = guest(r->guest);
	table(before);
	need(!r->differs || !strstr(before, r->differs), "'%s' before it", r->differs);
	for (unsigned i = 0; i < 2 && !failed[0]; i++) { // and the one after that
		next_worker(upgrade);
		table(after);
		need(strcmp(before, after) == 0, "it was:\n%sand is:\n%s", before, after);
		need(!fe || fe_barrier(fe) == FE_OK, "the connection was lost");
	}
	if (fe)
		fe_free(fe);
	if (failed[0])
		return;
	long from = 0;
	free(daemon_said(&d, &from));
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
	char *said = daemon_said(&d, &from);
	need((strstr(said, "ending") == NULL) == r->silent, "the log level is another: '%s'", said);
	free(said);
}

// What SIGHUP makes of an operator's changes does not depend on a death in between.
static void try_hup(const char *bin, bool dies)
{
	static const char *const arg[] = { "--config", "CONF", "--port", "null,id=c", NULL };
	static const char file[] = "port null,id=a\nport null,id=b\n";
	static char after[MAX_TEXT];
	if (!start(bin, arg, file))
		return;
	ask("port.set", "{\"id\":\"a\",\"set\":[\"label=mine\"]}");
	ask("port.del", "{\"id\":\"b\"}");
	ask("port.del", "{\"id\":\"c\"}");
	if (dies)
		next_worker(false);
	reload(file);
	table(after);
	need(strcmp(after, "a default config running null,id=a\nb default config running null,id=b\n") == 0, "it is:\n%s", after);
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
}

// A port of run time that the file names is the file's, at a start or when it is read again; then it goes with its line.
static void try_taken(const char *bin, bool at_start)
{
	static const char *const arg[] = { "--config", "CONF", NULL };
	static const char with[] = "port null,id=a\nport vhost-user,id=r\n", without[] = "port null,id=a\n";
	static char now[MAX_TEXT];
	if (!start(bin, arg, without))
		return;
	need(strstr(ask("port.add", "{\"spec\":\"vhost-user,id=r\"}"), "\"result\"") != NULL, "port.add was refused");
	if (!at_start)
		reload(with);
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
	if (at_start) {
		need(write_file(with) && daemon_again(&d), "it can't be started again");
		served();
		table(now);
		need(strstr(now, "config listening vhost-user,id=r") != NULL, "the file has it not:\n%s", now);
		need(daemon_stop(&d, WAIT_MS), "it did not end well");
	}
	need(write_file(without) && daemon_again(&d), "it can't be started again");
	served();
	table(now);
	need(!strstr(now, "id=r"), "it is there again:\n%s", now);
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
}

// What can't be kept is refused, and nothing has changed.
static void try_unkept(const char *bin)
{
	static const char *const arg[] = { "--port", "null,id=a", "--port", "null,id=b", NULL };
	static const struct call calls[] = { { "port.set", "{\"id\":\"a\",\"set\":[\"label=x\"]}" },
					     { "port.del", "{\"id\":\"b\"}" },
					     { "port.add", "{\"spec\":\"null,id=r\"}" }, { "log-level", "{\"level\":\"error\"}" } };
	static char before[MAX_TEXT], after[MAX_TEXT];
	struct rlimit had, none;
	if (!start(bin, arg, NULL))
		return;
	table(before);
	pid_t pid = worker();
	int fd = control();
	ask_at(fd, "status", "{}"); // it is taken by now
	need(prlimit(pid, RLIMIT_NOFILE, NULL, &had) == 0, "prlimit");
	none = (struct rlimit){ 3, had.rlim_max };
	need(prlimit(pid, RLIMIT_NOFILE, &none, NULL) == 0, "prlimit"); // no descriptor more
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		need(strstr(ask_at(fd, calls[i].method, calls[i].params), "can't be kept") != NULL, "%s was not refused", calls[i].method);
	need(prlimit(pid, RLIMIT_NOFILE, &had, NULL) == 0, "prlimit");
	fd_reset(&fd);
	for (unsigned i = 0; i < 2 && !failed[0]; i++) {
		table(after);
		need(strcmp(before, after) == 0, "it was:\n%sand is:\n%s", before, after);
		next_worker(false);
	}
	long from = 0;
	free(daemon_said(&d, &from));
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
	char *said = daemon_said(&d, &from);
	need(strstr(said, "ending") != NULL, "the log level is another");
	free(said);
}

// The kept configuration is what was read last: what SIGHUP compares with.
static void try_level(const char *bin)
{
	static const char *const arg[] = { "--config", "CONF", NULL };
	static char now[MAX_TEXT] = "";
	if (!start(bin, arg, "log-level error\nport null,id=a\n"))
		return;
	reload("log-level info\nport null,id=a\n");
	next_worker(false);
	need(write_file("log-level error\nport null,id=a,label=z\n") && kill_one(d.pid, SIGHUP) == 0, "no SIGHUP");
	for (unsigned ms = 0; ms < WAIT_MS && !failed[0] && !strstr(now, "label=z"); ms += 5, daemon_nap(5))
		table(now);
	long from = 0;
	free(daemon_said(&d, &from));
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
	char *said = daemon_said(&d, &from);
	need(strstr(now, "label=z") && !strstr(said, "ending"), "the log level is not the file's:\n%s", now);
	free(said);
}

static void spin(uint64_t until)
{
	while (clock_boot_us() < until)
		;
}

// Killed while it changes a port: what was answered is there, what was not is there or not, and table and store agree.
static void try_storm(const char *bin, const char *id)
{
	static const char *const arg[] = { "--port", "null,id=c", NULL };
	static char now[MAX_TEXT], params[128], old[64], next[64];
	unsigned answered = 0;
	if (!start(bin, arg, NULL))
		return;
	ask("port.add", "{\"spec\":\"null,id=r\"}");
	ask("port.set", "{\"id\":\"r\",\"set\":[\"label=n-0-\"]}");
	ask("port.set", "{\"id\":\"c\",\"set\":[\"label=n-0-\"]}");
	for (unsigned n = 1, is = 0; n <= KILLS && !failed[0]; n++) {
		pid_t pid = worker();
		int fd = control();
		snprintf(params, sizeof(params), "{\"id\":\"%s\",\"set\":[\"label=n-%u-\"]}", id, n);
		uint64_t at = clock_boot_us() + 3000;
		pid_t killer = fork();
		if (killer == 0) {
			spin(at + n * 4);
			_exit(kill_one(pid, SIGKILL) != 0);
		}
		spin(at);
		bool done = strstr(ask_at(fd, "port.set", params), "\"result\"") != NULL;
		fd_reset(&fd);
		need(killer > 0 && waitpid(killer, NULL, 0) == killer, "no killer");
		for (unsigned ms = 0; ms < WAIT_MS && (worker() == pid || worker() <= 0); ms++)
			daemon_nap(1);
		table(now);
		snprintf(old, sizeof(old), "id=%s,label=n-%u-\n", id, is);
		snprintf(next, sizeof(next), "id=%s,label=n-%u-\n", id, n);
		bool there = strstr(now, next) != NULL;
		need(there || (!done && strstr(now, old)), "%s after %u, %s:\n%s", id, n, done ? "answered" : "not answered", now);
		is = there ? n : is;
		answered += done;
	}
	printf("killed %u times, %u changes of %s were answered\n", KILLS, answered, id);
	need(daemon_stop(&d, WAIT_MS) && daemon_again(&d), "it can't be started again");
	served();
	const char *kept = strstr(now, "runtime running null,id=r");
	int len = kept ? (int)strcspn(kept, "\n") : 0;
	snprintf(next, sizeof(next), "%.*s", len > 8 ? len - 8 : 0, kept ? kept + 8 : "");
	table(now);
	need(len > 8 && strstr(now, next), "the store has another: %s\n%s", next, now);
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
}

// The unit is restarted: what the store knows is there again, the rest as it is told at the start. And so it is after a death then.
static void try_unit(const char *bin)
{
	static const char *const arg[] = { "--port", "null,id=a", "--port", "vhost-user,id=b", NULL };
	static char after[MAX_TEXT];
	if (!need(manager_start(true, 0), "no manager") || !start(bin, arg, NULL))
		return;
	struct fe *fe = guest("b");
	need(strstr(ask("port.set", "{\"id\":\"a\",\"set\":[\"label=x\"]}"), "\"result\"") != NULL, "port.set was refused");
	need(strstr(ask("port.add", "{\"spec\":\"null,id=r\"}"), "\"result\"") != NULL, "port.add was refused");
	manager_again();
	need(daemon_stop(&d, WAIT_MS) && manager_kept() > 0 && daemon_again(&d), "it can't be started again");
	need(manager_await_ready(WAIT_MS) && served(), "it does not get ready");
	for (unsigned i = 0; i < 2 && !failed[0]; i++) {
		table(after);
		need(strstr(after, "id=r") != NULL, "the port of run time is gone:\n%s", after);
		need(!strstr(after, "label=x"), "what was undone by the restart is there again:\n%s", after);
		need(fe_barrier(fe) == FE_OK, "the connection was lost");
		next_worker(false);
	}
	unsigned lives = 0;
	for (const char *at = ask("events", "{}"); (at = strstr(at, "keeper.started")) != NULL; at++)
		lives++;
	need(lives == 2, "the journal has %u lives of the keeper", lives);
	fe_free(fe);
	need(daemon_stop(&d, WAIT_MS), "it did not end well");
	need(manager_wrong() == NULL, "%s", manager_wrong());
	manager_stop();
}

static bool ended(const char *name, const char *how, bool caught)
{
	bool good = caught == (failed[0] != '\0');
	printf("%s, %s: %s%s\n", name, how, caught ? good ? "seen: " : "NOT SEEN" : good ? "good" : "BAD: ", failed);
	if (!good)
		daemon_tell(&d);
	daemon_clean(&d);
	return good;
}

int main(int argc, char **argv)
{
	bool caught = argc == 3 && strcmp(argv[1], "--caught") == 0, good = true;
	if (argc != 2 && !caught) {
		fprintf(stderr, "usage: keeper_table [--caught] VRINGD\n");
		return 2;
	}
	const char *bin = argv[argc - 1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN); // a worker may be dead before it is asked
	snprintf(conf, sizeof(conf), "/tmp/vringd-table-XXXXXX");
	int fd = mkstemp(conf);
	if (fd < 0)
		return 1;
	close(fd);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned how = 0; how < 2 && !(caught && rows[i].stored); how++) {
			try_row(&rows[i], bin, how == 1);
			good = ended(rows[i].name, how ? "upgrade" : "death", caught) && good;
		}
	for (unsigned how = 0; how < 2 && !caught; how++) {
		try_hup(bin, how == 1);
		good = ended("SIGHUP", how ? "after a death" : "without one", false) && good;
		try_taken(bin, how == 1);
		good = ended("taken over by the file", how ? "at a start" : "when it is read again", false) && good;
	}
	if (!caught) {
		try_level(bin);
		good = ended("level of the file", "death between", false) && good;
		try_storm(bin, "r");
		good = ended("storm", "run time", false) && good;
		try_storm(bin, "c");
		good = ended("storm", "command line", false) && good;
		try_unkept(bin);
		good = ended("no descriptor for it", "refused", false) && good;
		try_unit(bin);
		good = ended("unit", "restarted", false) && good;
	}
	unlink(conf);
	return good ? 0 : 1;
}
