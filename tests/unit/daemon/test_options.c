// The command line, the configuration file and what SIGHUP makes of a changed one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "daemon/conffile.h"
#include "daemon/dirs.h"
#include "daemon/options.h"
#include "mock_vd.h"

#define MAX_ARGS 8

static enum err parse(struct options *o, const char *const *args, struct why *why)
{
	char *argv[MAX_ARGS + 2] = { (char *)(uintptr_t)"vringd" };
	int argc = 1;
	options_init(o);
	why->text[0] = '\0';
	for (; args[argc - 1] && argc <= MAX_ARGS; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	enum err e = options_parse_argv(o, argc, argv, why);
	return e == OK ? options_check(o, why) : e;
}

static const struct {
	const char *args[MAX_ARGS];
	const char *needle; // the refusal must say this
} bad[] = {
	{ { "--nonsense" }, "--nonsense" },
	{ { "--threads" }, "needs a value" },
	{ { "--threads", "0" }, "1..16" },
	{ { "--threads", "17" }, "1..16" },
	{ { "--threads", "two" }, "--threads two" },
	{ { "--cpus", "" }, "--cpus" },
	{ { "--cpus", "1-" }, "--cpus 1-" },
	{ { "--cpus", "-3" }, "--cpus -3" },
	{ { "--cpus", "4-2" }, "--cpus 4-2" },
	{ { "--cpus", "0;1" }, "--cpus 0;1" },
	{ { "--poll-us", "soon" }, "auto, always or 0 to 1000000" },
	{ { "--poll-us", "1000001" }, "auto, always or 0 to 1000000" },
	{ { "--hold-total", "lots" }, "--hold-total lots" },
	{ { "--http", "127.0.0.1:80" }, "http: this version does not build it" },
	{ { "--sandbox", "strict" }, "--sandbox strict" },
	{ { "--durability", "none" }, "must be process or host" },
	{ { "--log-level", "loud" }, "must be error, warn, info or debug" },
	{ { "--state-dir", "" }, "--state-dir: empty" },
	{ { "--socket-path", "/a", "--fd", "3" }, "--socket-path and --fd" },
	{ { "--socket-path", "/a", "--port", "vhost-user,id=vm0" }, "'vm0' is given twice" },
	{ { "--port", "vhost-user,id=a", "--port", "null,id=a" }, "'a' is given twice" },
	{ { "--port", "vhost-user,id=a,quues=2" }, "did you mean 'queues'" },
	{ { "--port", "vxlan,id=a" }, "kind vxlan: this version does not build it" },
	{ { "extra" }, "extra" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct options o;
		struct why why;
		if (parse(&o, bad[i].args, &why) != REFUSED)
			fail_msg("%s %s was taken", bad[i].args[0], bad[i].args[1] ? bad[i].args[1] : "");
		if (!strstr(why.text, bad[i].needle))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].args[0], why.text, bad[i].needle);
		options_free(&o);
	}
}

static void test_values(void **state)
{
	(void)state;
	struct options o;
	struct why why;
	assert_int_equal(parse(&o, (const char *[]){ NULL }, &why), OK);
	assert_int_equal(o.action, OPTIONS_RUN);
	assert_int_equal(o.threads, 1);
	assert_int_equal(o.hold_total, 256 << 20);
	assert_int_equal(o.durability, STORE_PROCESS);
	assert_int_equal(o.log_level, LOG_LINFO);
	assert_int_equal(o.fd, -1);
	assert_int_equal(o.n_ports, 0);
	assert_true(o.poll_auto);
	options_free(&o);
	assert_int_equal(parse(&o, (const char *[]){ "--threads=4", "--cpus=0,2-4", "--poll-us=always", "--hold-total=1G", "--durability=host",
						    "--no-keeper", "--sandbox=off", NULL }, &why), OK);
	assert_int_equal(o.threads, 4);
	assert_int_equal(o.n_cpus, 4);
	assert_int_equal(o.cpus[3], 4);
	assert_int_equal(o.poll_us, -1);
	assert_false(o.poll_auto);
	assert_true(o.hold_total == UINT64_C(1) << 30);
	assert_int_equal(o.durability, STORE_HOST);
	options_free(&o);
	assert_int_equal(parse(&o, (const char *[]){ "--socket-path=/tmp/a,b", NULL }, &why), OK);
	assert_int_equal(o.n_ports, 1);
	assert_string_equal(o.ports[0].spec.id, "vm0");
	assert_string_equal(o.ports[0].spec.path, "/tmp/a,b");
	assert_int_equal(o.ports[0].origin, VD_ORIGIN_CLI);
	options_free(&o);
	assert_int_equal(parse(&o, (const char *[]){ "--fd=9", NULL }, &why), OK);
	assert_int_equal(o.ports[0].spec.fd, 9);
	options_free(&o);
	static const struct {
		const char *arg;
		enum options_action action;
	} actions[] = { { "--help", OPTIONS_HELP }, { "--version", OPTIONS_VERSION }, { "--print-capabilities", OPTIONS_CAPABILITIES },
			{ "--check-config", OPTIONS_CHECK } };
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		assert_int_equal(parse(&o, (const char *[]){ actions[i].arg, NULL }, &why), OK);
		assert_int_equal(o.action, actions[i].action);
		options_free(&o);
	}
}

// Each option of the contract is in --help.
static void test_help(void **state)
{
	(void)state;
	static const char *const names[] = { "--config", "--port", "--state-dir", "--runtime-dir", "--control", "--threads", "--cpus",
					     "--poll-us", "--hold-total", "--no-keeper", "--sandbox", "--durability", "--log-level",
					     "--check-config", "--socket-path", "--fd", "--print-capabilities", "--version", "--help",
					     "hold-bytes", "peer-uid", "ifname" };
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	options_help(f);
	fclose(f);
	for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		size_t len = strcspn(line, "\n");
		if (strncmp(line, "  --", 4) != 0)
			continue;
		const char *gap = memmem(line + 2, len - 2, "  ", 2);
		if (!gap || gap + strspn(gap, " ") >= line + len)
			fail_msg("--help has no word about it: %.*s", (int)len, line);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strstr(text, names[i]))
			fail_msg("--help does not know %s", names[i]);
	free(text);
}

// -- files ----------------------------------------------------------------------------------------------------------------

struct files {
	char dir[64], conf[96], more[128];
};

static int files_open(void **state)
{
	static struct files f;
	snprintf(f.dir, sizeof(f.dir), "/tmp/vringd-test-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.conf, sizeof(f.conf), "%s/v.conf", f.dir);
	snprintf(f.more, sizeof(f.more), "%s.d", f.conf);
	assert_int_equal(mkdir(f.more, 0700), 0);
	*state = &f;
	return 0;
}

static int files_close(void **state)
{
	struct files *f = *state;
	static const char *const inside[] = { "10-a.conf", "20-b.conf", "ignored.txt" };
	char path[256];
	for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->more, inside[i]);
		unlink(path);
	}
	rmdir(f->more);
	unlink(f->conf);
	return rmdir(f->dir);
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_file(void **state)
{
	struct files *f = *state;
	struct options o;
	struct why why;
	put(f->dir, "v.conf", "# a comment\n\n  threads 2\nlog-level debug\nno-keeper\nport vhost-user,id=vm0,label=a # b\n\thold-total\t1M  \n");
	put(f->more, "20-b.conf", "port null,id=last");
	put(f->more, "10-a.conf", "port null,id=first\n");
	put(f->more, "ignored.txt", "nonsense\n");
	assert_int_equal(parse(&o, (const char *[]){ "--threads=3", "--port", "null,id=mine", NULL }, &why), OK);
	assert_int_equal(conffile_read(&o, f->conf, &why), OK);
	assert_int_equal(options_check(&o, &why), OK);
	assert_int_equal(o.threads, 3); // the command line wins
	assert_int_equal(o.log_level, LOG_LDEBUG);
	assert_int_equal(o.hold_total, 1 << 20);
	assert_int_equal(o.n_ports, 4);
	unsigned seen = 0, config = 0;
	for (unsigned i = 0; i < o.n_ports; i++) {
		if (o.ports[i].origin == VD_ORIGIN_CONFIG)
			config++;
		if (strcmp(o.ports[i].spec.id, "first") == 0)
			seen = seen == 0;
		if (strcmp(o.ports[i].spec.id, "last") == 0)
			seen += seen == 1;
	}
	assert_int_equal(seen, 2); // in the order of their names
	assert_int_equal(config, 3);
	// what is in force is a configuration that says the same again
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	options_print(&o, out);
	fclose(out);
	put(f->dir, "v.conf", text);
	free(text);
	put(f->more, "10-a.conf", "");
	put(f->more, "20-b.conf", "");
	struct options again;
	options_init(&again);
	if (conffile_read(&again, f->conf, &why) != OK)
		fail_msg("%s", why.text);
	assert_int_equal(again.threads, 3);
	assert_int_equal(again.n_ports, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_true(spec_equal(&again.ports[i].spec, &o.ports[i].spec));
	options_free(&again);
	options_free(&o);
}

static void test_file_bad(void **state)
{
	struct files *f = *state;
	static const struct {
		const char *text, *needle;
	} rows[] = {
		{ "threads 2\nwarp 9\n", "v.conf:2: unknown option 'warp'" },
		{ "\n\nthreads\n", "v.conf:3: 'threads' needs a value" },
		{ "no-keeper yes\n", "v.conf:1: 'no-keeper' takes no value" },
		{ "check-config\n", "v.conf:1: 'check-config' belongs on the command line" },
		{ "socket-path /x\n", "v.conf:1: 'socket-path' belongs on the command line" },
		{ "threads 99\n", "v.conf:1: --threads 99: must be a number in 1..16" },
		{ "port vhost-user,id=vm0,holdms=3\n", "did you mean 'hold-ms'" },
		{ "port vhost-user,id=vm0,holdms=3\n", "v.conf:1: " },
		{ "http :80\n", "v.conf:1: --http: this version does not build it" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct options o;
		struct why why;
		options_init(&o);
		put(f->dir, "v.conf", rows[i].text);
		assert_int_equal(conffile_read(&o, f->conf, &why), REFUSED);
		if (!strstr(why.text, rows[i].needle))
			fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].needle);
		options_free(&o);
	}
	struct options o;
	struct why why;
	options_init(&o);
	assert_int_equal(conffile_read(&o, "/nonexistent/v.conf", &why), REFUSED);
	assert_string_equal(why.text, "/nonexistent/v.conf: No such file or directory");
	options_free(&o);
}

static void add(struct vd *vd, const char *spec, enum vd_origin origin)
{
	struct port_spec s;
	struct why why;
	assert_int_equal(spec_parse(spec, &s, &why), OK);
	assert_int_equal(vd_port_add(vd, &s, origin, &why), OK);
}

static const struct port *find(struct vd *vd, const char *id)
{
	return vd_port_find(vd, id);
}

static void now_open(struct options *now, const struct files *f)
{
	options_init(now);
	now->config = strdup(f->conf);
}

static void test_reload(void **state)
{
	struct files *f = *state;
	struct vd vd = { .n = 0 };
	struct why why;
	struct options now;
	now_open(&now, f);
	add(&vd, "vhost-user,id=keep", VD_ORIGIN_CONFIG);
	add(&vd, "vhost-user,id=gone", VD_ORIGIN_CONFIG);
	add(&vd, "vhost-user,id=change", VD_ORIGIN_CONFIG);
	add(&vd, "null,id=mine", VD_ORIGIN_CLI);
	add(&vd, "null,id=runtime", VD_ORIGIN_RUNTIME);
	vd.adds = 0;
	put(f->dir, "v.conf", "port vhost-user,id=keep\nport vhost-user,id=change,hold-ms=7\nport null,id=new\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_int_equal(vd.adds, 1);
	assert_int_equal(vd.dels, 1);
	assert_int_equal(vd.sets, 1);
	assert_null(find(&vd, "gone"));
	assert_int_equal(find(&vd, "change")->spec.hold_ms, 7);
	assert_int_equal(find(&vd, "new")->origin, VD_ORIGIN_CONFIG);
	assert_non_null(find(&vd, "mine"));
	assert_non_null(find(&vd, "runtime"));
	// the same again changes nothing
	vd.adds = vd.dels = vd.sets = 0;
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_int_equal(vd.adds + vd.dels + vd.sets, 0);
	// a port of the same name that was added at run time takes the file's settings, if it can
	put(f->dir, "v.conf", "port vhost-user,id=keep\nport vhost-user,id=change,hold-ms=7\nport null,id=new\nport null,id=runtime,label=x\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_string_equal(find(&vd, "runtime")->spec.label, "x");
	assert_int_equal(find(&vd, "runtime")->origin, VD_ORIGIN_CONFIG); // and is the file's
	assert_int_equal(vd.sets, 1);
	options_free(&now);
}

// All or nothing: one difference that can't be applied, and none is.
static void test_reload_refused(void **state)
{
	struct files *f = *state;
	struct vd vd = { .n = 0 };
	struct why why;
	struct options now;
	now_open(&now, f);
	add(&vd, "vhost-user,id=gone", VD_ORIGIN_CONFIG);
	add(&vd, "vhost-user,id=change", VD_ORIGIN_CONFIG);
	vd.adds = 0;
	put(f->dir, "v.conf", "port vhost-user,id=change,queues=2\nport null,id=new\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	assert_non_null(strstr(why.text, "queues"));
	assert_non_null(strstr(why.text, "change"));
	assert_non_null(strstr(why.text, "v.conf:1: "));
	assert_int_equal(vd.adds + vd.dels + vd.sets, 0);
	static const struct {
		const char *text, *needle;
	} rows[] = {
		{ "port vhost-user,id=change\nwarp 9\n", "v.conf:2: unknown option 'warp'" },
		{ "port vhost-user,id=change\nthreads 2\n", "threads can't change while the daemon runs" },
		{ "port vhost-user,id=change\nhold-total 1M\n", "hold-total can't change" },
		{ "cpus 1\nport vhost-user,id=change\n", "cpus can't change" },
		{ "state-dir /x\n", "state-dir can't change" },
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		put(f->dir, "v.conf", rows[i].text);
		assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
		if (!strstr(why.text, rows[i].needle))
			fail_msg("\"%s\" does not say \"%s\"", why.text, rows[i].needle);
	}
	assert_int_equal(vd.adds + vd.dels + vd.sets, 0);
	// the second of two new ports can't be added: the first does not stay, what was there is not deleted
	put(f->dir, "v.conf", "port null,id=new\nport null,id=taken\nport vhost-user,id=change,hold-ms=7\n");
	vd.unaddable = "taken";
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	assert_non_null(strstr(why.text, "v.conf:2: port taken: "));
	assert_null(find(&vd, "new"));
	assert_non_null(find(&vd, "gone"));
	assert_int_equal(find(&vd, "change")->spec.hold_ms, 1000);
	options_free(&now);
}

// A port that keeps its path under another name: the old one goes first, and is there again if the reload is refused.
static void test_reload_renamed(void **state)
{
	struct files *f = *state;
	struct vd vd = { .n = 0 };
	struct why why;
	struct options now;
	now_open(&now, f);
	add(&vd, "vhost-user,id=old,path=/run/x.sock,label=first", VD_ORIGIN_CONFIG);
	add(&vd, "vhost-user,id=other,path=/run/y.sock", VD_ORIGIN_CONFIG);
	put(f->dir, "v.conf", "port vhost-user,id=new,path=/run/x.sock\nport null,id=taken\n");
	vd.unaddable = "taken";
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	assert_non_null(strstr(why.text, "had to make room"));
	assert_null(find(&vd, "new"));
	assert_non_null(find(&vd, "old"));
	assert_string_equal(find(&vd, "old")->spec.label, "first");
	assert_int_equal(find(&vd, "old")->origin, VD_ORIGIN_CONFIG);
	assert_non_null(find(&vd, "other"));
	assert_false(vd.keep_failed);
	vd.unaddable = NULL;
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_non_null(find(&vd, "new"));
	assert_null(find(&vd, "old"));
	assert_null(find(&vd, "other"));
	// the path of a port that stays is not to be had
	put(f->dir, "v.conf", "port vhost-user,id=new,path=/run/x.sock\nport vhost-user,id=more,path=/run/x.sock\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	assert_non_null(find(&vd, "new"));
	assert_null(find(&vd, "more"));
	// a descriptor's number means nothing any more
	put(f->dir, "v.conf", "port vhost-user,id=new,path=/run/x.sock\nport vhost-user,id=more,fd=7\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	assert_non_null(strstr(why.text, "fd="));
	options_free(&now);
}

// What can't change on a port that works can on one that never opened.
static void test_reload_failed_port(void **state)
{
	struct files *f = *state;
	struct vd vd = { .n = 0 };
	struct why why;
	struct options now;
	now_open(&now, f);
	add(&vd, "tap,id=up,ifname=tapp0", VD_ORIGIN_CONFIG);
	put(f->dir, "v.conf", "port tap,id=up,ifname=tap0\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), REFUSED);
	vd.port[0].state = PORT_FAILED;
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_string_equal(find(&vd, "up")->spec.ifname, "tap0");
	options_free(&now);
}

static void test_reload_log_level(void **state)
{
	struct files *f = *state;
	struct vd vd = { .n = 0 };
	struct options now;
	struct why why;
	enum log_level before = log_level();
	now_open(&now, f);
	put(f->dir, "v.conf", "log-level debug\n");
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_int_equal(log_level(), LOG_LDEBUG);
	log_set_level(LOG_LERR); // as vringctl does: the same file again does not take it back
	assert_int_equal(conffile_reload(&vd, &now, &why), OK);
	assert_int_equal(log_level(), LOG_LERR);
	log_set_level(before);
	options_free(&now);
}

static void test_dirs(void **state)
{
	struct files *f = *state;
	struct why why;
	char out[256], tiny[8], deep[160];
	struct stat st;
	setenv("RUNTIME_DIRECTORY", "/x/run:/x/other", 1); // systemd's list
	setenv("STATE_DIRECTORY", "/x/state", 1);
	assert_int_equal(dirs_runtime(out, sizeof(out), NULL, &why), OK);
	assert_string_equal(out, "/x/run");
	assert_int_equal(dirs_state(out, sizeof(out), "p", &why), OK);
	assert_string_equal(out, "/x/state/p");
	assert_int_equal(dirs_state(tiny, sizeof(tiny), NULL, &why), REFUSED);
	unsetenv("RUNTIME_DIRECTORY");
	unsetenv("STATE_DIRECTORY");
	setenv("XDG_RUNTIME_DIR", "/x/user", 1);
	setenv("XDG_STATE_HOME", "/x/home", 1);
	bool root = geteuid() == 0;
	assert_int_equal(dirs_runtime(out, sizeof(out), NULL, &why), OK);
	assert_string_equal(out, root ? "/run/vringd" : "/x/user/vringd");
	assert_int_equal(dirs_state(out, sizeof(out), NULL, &why), OK);
	assert_string_equal(out, root ? "/var/lib/vringd" : "/x/home/vringd");
	snprintf(deep, sizeof(deep), "%s/sub", f->more);
	assert_int_equal(dirs_make(deep, 0700, &why), OK);
	assert_int_equal(dirs_make(deep, 0700, &why), OK); // it is there: fine
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	put(deep, "a", "x");
	dirs_remove(deep);
	assert_int_equal(stat(deep, &st), -1);
	dirs_remove(deep); // nothing there: nothing happens
	put(f->dir, "v.conf", "");
	snprintf(deep, sizeof(deep), "%s/sub", f->conf);
	assert_int_equal(dirs_make(deep, 0700, &why), OURS); // below a file
	assert_non_null(strstr(why.text, f->conf));
}

static void test_dirs_private(void **state)
{
	struct files *f = *state;
	struct why why;
	char path[200], other[200], name[DIRS_PRIVATE], again[DIRS_PRIVATE], *cwd = getcwd(NULL, 0);
	assert_non_null(cwd);
	assert_int_equal(dirs_private(name, "/a/b", &why), OK);
	assert_string_equal(name, "path-363e289cb38ee0cc-b"); // a new version is to find the old one's state
	assert_int_equal(dirs_private(again, "//a/./b", &why), OK);
	assert_string_equal(again, name);
	assert_int_equal(dirs_private(again, "/a_b", &why), OK);
	assert_string_not_equal(again + 4, name + 4);
	assert_memory_not_equal(again, name, strlen("path-") + 16); // it is not the last component that tells them apart
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[107] = '\0';
	memcpy(other, path, sizeof(other));
	other[106] = 'y';
	assert_int_equal(dirs_private(name, path, &why), OK);
	assert_int_equal(dirs_private(again, other, &why), OK);
	assert_string_not_equal(again, name);
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(dirs_private(name, "vm.sock", &why), OK);
	assert_int_equal(dirs_private(again, "./vm.sock", &why), OK);
	assert_string_equal(again, name);
	char *here = getcwd(NULL, 0);
	snprintf(path, sizeof(path), "%s/vm.sock", here);
	free(here);
	assert_int_equal(dirs_private(again, path, &why), OK);
	assert_string_equal(again, name);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(dirs_private(again, "vm.sock", &why), OK);
	assert_string_not_equal(again, name);
	assert_int_equal(chdir(cwd), 0);
	free(cwd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_help),
		cmocka_unit_test_setup_teardown(test_file, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_file_bad, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_reload, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_reload_refused, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_reload_renamed, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_reload_failed_port, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_reload_log_level, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_dirs, files_open, files_close),
		cmocka_unit_test_setup_teardown(test_dirs_private, files_open, files_close),
	};
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
