// How long a commit takes: store_latency [DIR]. DIR should be where the state directory would be.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tmpdir.h"

enum { COMMITS = 5000 };

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void print_sorted(const char *name, double *us, unsigned n)
{
	double sum = 0;
	for (unsigned i = 0; i < n; i++)
		sum += us[i];
	qsort(us, n, sizeof(*us), by_value);
	printf("%-28s n %5u  mean %8.1f us  p50 %8.1f  p99 %8.1f  max %8.1f\n", name, n, sum / n, us[n / 2], us[n * 99 / 100],
	       us[n - 1]);
}

static void measure(enum store_durability dur, uint64_t what, unsigned n, const char *name)
{
	static double us[COMMITS];
	char dir[200];
	struct store *s;
	struct store_opened how;
	struct why why;
	struct snap a;
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	if (store_open(&s, dir, dur, &how, &why) != OK) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	for (unsigned i = 0; i < n; i++) {
		snap_at(&a, 1, i + 1);
		double t = now_us();
		if (store_commit(s, &a, what, i + 1, (const uint8_t *)"reply---", 8, &why) != OK) {
			fprintf(stderr, "%s\n", why.text);
			exit(1);
		}
		us[i] = now_us() - t;
		store_idle(s);
	}
	store_close(s);
	print_sorted(name, us, n);
	double t = now_us();
	if (store_open(&s, dir, dur, &how, &why) == OK)
		printf("%-28s open %.1f us\n", "", now_us() - t);
	store_close(s);
	tmpdir_free(dir);
}

static void measure_macs(unsigned n)
{
	char dir[200];
	struct store *s;
	struct store_opened how;
	struct store_mac *m = calloc(n, sizeof(*m));
	snprintf(dir, sizeof(dir), "%s", tmpdir_new());
	if (!m || store_open(&s, dir, STORE_PROCESS, &how, NULL) != OK)
		exit(1);
	for (unsigned i = 0; i < n; i++) {
		strcpy(m[i].net, "default");
		strcpy(m[i].port, "vm0");
		memcpy(m[i].mac, &i, 4);
	}
	for (unsigned i = 0; i < 3; i++) {
		double t = now_us();
		if (store_macs_replace(s, m, n, NULL) != OK)
			exit(1);
		printf("replace %u addresses: %.1f us\n", n, now_us() - t);
	}
	store_close(s);
	tmpdir_free(dir);
	free(m);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		setenv("TMPDIR", argv[1], 1);
	measure(STORE_PROCESS, SNAP_RING(0), COMMITS, "process, one ring");
	measure(STORE_PROCESS, SNAP_CONN | SNAP_MEM, COMMITS, "process, connection + memory");
	measure(STORE_HOST, SNAP_RING(0), COMMITS / 10, "host, one ring");
	measure_macs(1000);
	measure_macs(16384);
	return 0;
}
