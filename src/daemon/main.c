#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/spec.h"
#include "daemon/vd.h"
#include "loop/loop.h"
#include "base/log.h"

static void on_term(void *arg, int fd, int ready) { (void)fd; (void)ready; loop_stop(arg); }

int main(int argc, char **argv)
{
	struct vd_conf conf = { .state_dir = "/tmp/vs", .runtime_dir = "/tmp/vr", .dp = { .threads = 1, .hold_total = 256u << 20 } };
	for (int i = 0; i < 16; i++)
		conf.dp.cpus[i] = -1;
	struct loop *loop = loop_new();
	struct vd *vd;
	struct why why;
	const char *ports[64]; unsigned n = 0;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--no-keeper")) { i--; continue; }
		if (!strcmp(argv[i], "--state-dir")) conf.state_dir = argv[i + 1];
		else if (!strcmp(argv[i], "--runtime-dir")) conf.runtime_dir = argv[i + 1];
		else if (!strcmp(argv[i], "--port")) ports[n++] = argv[i + 1];
	}
	mkdir(conf.runtime_dir, 0755);
	signal(SIGPIPE, SIG_IGN);
	loop_signal(loop, SIGTERM, on_term, loop);
	loop_signal(loop, SIGINT, on_term, loop);
	log_set_level(LOG_LDEBUG);
	if (vd_new(&vd, loop, &conf, &why) != OK) { log_err("%s", why.text); return 1; }
	for (unsigned i = 0; i < n; i++) {
		struct port_spec s;
		if (spec_parse(ports[i], &s, &why) != OK || vd_port_add(vd, &s, VD_ORIGIN_CLI, &why) != OK) { log_err("%s: %s", ports[i], why.text); return 1; }
	}
	vd_begin(vd);
	loop_run(loop);
	vd_free(vd);
	return 0;
}
