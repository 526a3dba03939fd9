// Programs that can't be a worker: vringd is told to go on with one of them. What it does follows from its name.
//   unfit-exits, unfit-crashes, unfit-hangs (and ignores SIGTERM), unfit-garbles, unfit-foreign (speaks only a version that is to come),
//   unfit-vanishes (is fit, and dies before its turn)
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kp/kp.h"

static int pair(void)
{
	const char *env = getenv(KP_ENV);
	return env != NULL ? atoi(env) : -1;
}

static struct kp_hello hear(void)
{
	static struct kp_packet p;
	struct kp_hello hello = {0};
	struct why why;
	while (kp_recv(pair(), &p, true, &why) == OK) {
		if (p.head.type == KP_HELLO)
			memcpy(&hello, p.body, sizeof(hello));
		if (p.head.type == KP_READY)
			break;
		kp_drop(&p);
	}
	return hello;
}

static void say_fit(uint32_t version)
{
	struct why why;
	struct kp_iam b = {.version = version};
	struct kp_head h = {.type = KP_FIT, .len = sizeof(b)};
	kp_send(pair(), &h, &b, NULL, true, &why);
}

int main(int argc, char **argv)
{
	char own[300];
	struct rlimit no_core = {0, 0};
	struct why why;
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	own[n > 0 ? n : 0] = '\0';
	const char *how = strrchr(own, '-');
	(void)argc;
	(void)argv;
	setrlimit(RLIMIT_CORE, &no_core);
	if (how == NULL || strcmp(how, "-exits") == 0)
		return 3;
	struct kp_hello hello = hear();
	if (strcmp(how, "-crashes") == 0) {
		raise(SIGSEGV);
	} else if (strcmp(how, "-hangs") == 0) {
		signal(SIGTERM, SIG_IGN);
		for (;;)
			pause();
	} else if (strcmp(how, "-garbles") == 0) {
		kp_tell(pair(), 999, 0, "hello?", -1, &why);
		pause();
	} else if (strcmp(how, "-foreign") == 0) {
		if (hello.version < 99)
			kp_tell(pair(), KP_UNFIT, 0, "the keeper is too old for it", -1, &why);
		pause();
	} else if (strcmp(how, "-vanishes") == 0) {
		say_fit(hello.version);
	}
	return 0;
}
