// A process that lingers: what it is, and that it goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/kill.h"
#include "base/linger.h"
#include "base/unmap.h"

static void nap(void)
{
	struct timespec t = { 0, 1000000 };
	nanosleep(&t, NULL);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	long child = -1;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL || fscanf(f, "%ld", &child) != 1)
		child = -1;
	if (f != NULL)
		fclose(f);
	return (pid_t)child;
}

static int fds_of(pid_t pid)
{
	char path[64];
	int n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	return n;
}

// The line of /proc/PID/status with that key.
static void status_of(pid_t pid, const char *key, char *out, size_t room)
{
	char path[64], line[256];
	out[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			snprintf(out, room, "%s", line + strlen(key));
	if (f != NULL)
		fclose(f);
}

static bool gone(pid_t pid)
{
	char state[64];
	status_of(pid, "State:", state, sizeof(state));
	return state[0] == '\0' || strstr(state, "Z") != NULL || strstr(state, "X") != NULL;
}

// A process with some descriptors that lingers, and works on in its memory.
static pid_t start(int *heard, volatile unsigned *beat)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = linger_start();
		ssize_t n = write(p[1], &ok, sizeof(ok));
		while (n == (ssize_t)sizeof(ok))
			++*beat;
		_exit(1);
	}
	close(p[1]);
	*heard = p[0];
	bool ok = false;
	assert_int_equal(read(p[0], &ok, sizeof(ok)), sizeof(ok));
	assert_true(ok);
	return pid;
}

static void test_what_it_is(void **state)
{
	int heard;
	char text[128];
	volatile unsigned *beat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)state;
	pid_t pid = start(&heard, beat), second = -1;
	for (unsigned i = 0; i < 5000 && ((second = child_of(pid)) <= 0 || fds_of(second) != 1); i++)
		nap();
	assert_true(second > 0);
	assert_int_equal(fds_of(second), 1);
	status_of(second, "SigBlk:", text, sizeof(text));
	assert_true(strtoull(text, NULL, 16) >> (SIGTERM - 1) & 1);
	assert_true(strtoull(text, NULL, 16) >> (SIGUSR1 - 1) & 1);
	status_of(second, "State:", text, sizeof(text));
	assert_non_null(strchr(text, 'S'));
	kill_one(second, SIGTERM); // it stays, and so does the first one
	nap();
	assert_false(gone(second));
	kill_one(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	char byte;
	assert_int_equal(read(heard, &byte, 1), 0); // nobody has the first one's descriptors
	for (unsigned i = 0; i < 5000 && !gone(second); i++)
		nap();
	assert_true(gone(second));
	close(heard);
	munmap((void *)(uintptr_t)beat, 4096);
}

// And if only the second one dies.
static void test_without_it(void **state)
{
	int heard;
	volatile unsigned *beat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)state;
	pid_t pid = start(&heard, beat), second = -1;
	for (unsigned i = 0; i < 5000 && (second = child_of(pid)) <= 0; i++)
		nap();
	kill_one(second, SIGKILL);
	for (unsigned i = 0; i < 5000 && !gone(second); i++)
		nap();
	unsigned was = *beat;
	for (unsigned i = 0; i < 5000 && *beat == was; i++)
		nap();
	assert_int_not_equal(*beat, was);
	kill_one(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(heard);
	munmap((void *)(uintptr_t)beat, 4096);
}

struct pieces {
	unsigned n, naps;
	uint64_t bytes;
};

// What it unmaps from its release to its end, seen call by call.
static struct pieces watch_its_end(pid_t second)
{
	struct pieces p = { 0 };
	struct __ptrace_syscall_info call;
	int status;
	while (waitpid(second, &status, __WALL) == second && WIFSTOPPED(status)) {
		if (WSTOPSIG(status) == (SIGTRAP | 0x80) &&
		    ptrace(PTRACE_GET_SYSCALL_INFO, second, (void *)sizeof(call), &call) > 0 && call.op == PTRACE_SYSCALL_INFO_ENTRY) {
			p.naps += call.entry.nr == SYS_nanosleep && p.n == 0;
			if (call.entry.nr == SYS_munmap) {
				p.n++;
				p.bytes += call.entry.args[1];
			}
		}
		ptrace(PTRACE_SYSCALL, second, NULL, NULL);
	}
	return p;
}

// Large shared memory goes in pieces, and only that, to its end; huge pages are not cut.
static void test_in_pieces(void **state)
{
	static const struct {
		size_t size;
		bool shared;
	} of[] = { { (64 << 20) + 8192, true }, { 32 << 20, false }, { 2 << 20, true }, { UNMAP_LARGE, true } };
	int heard;
	void *at[ARRAY_LEN(of)];
	volatile unsigned *beat = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(of); i++) { // with a page behind it that nobody may touch
		at[i] = mmap(NULL, of[i].size + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(mmap(at[i], of[i].size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_ANONYMOUS | (of[i].shared ? MAP_SHARED : MAP_PRIVATE), -1, 0),
				     MAP_FAILED);
		memset(at[i], 1, of[i].size);
	}
	pid_t pid = start(&heard, beat), second = -1;
	for (unsigned i = 0; i < 5000 && ((second = child_of(pid)) <= 0 || fds_of(second) != 1); i++)
		nap();
	assert_true(second > 0);
	assert_int_equal(ptrace(PTRACE_SEIZE, second, NULL, (void *)(uintptr_t)PTRACE_O_TRACESYSGOOD), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, second, NULL, NULL), 0);
	kill_one(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	struct pieces p = watch_its_end(second);
	assert_int_equal(p.naps, 1);
	assert_int_equal(p.bytes, (80 << 20) + 8192);
	assert_in_range(p.n, 10, 4 * 82);
	close(heard);
	for (unsigned i = 0; i < ARRAY_LEN(of); i++)
		munmap(at[i], of[i].size + 4096);
	munmap((void *)(uintptr_t)beat, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_what_it_is),
		cmocka_unit_test(test_without_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
