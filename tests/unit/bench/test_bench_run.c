// Rows run against sockets of this process and a made-up load: turns, back ends that fall out, searches, the report.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/html.h"
#include "bench/judge.h"
#include "bench/record.h"
#include "bench/rows.h"
#include "bench/table.h"
#include "fake_load.h"

static char dir[] = "/tmp/vringd-bench-XXXXXX";
static struct opts opts;
static struct plan plan;
static struct bench *bench;

static void listen_at(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(s, 1), 0);
}

static void given(struct backend_spec *b, const char *name)
{
	memset(b, 0, sizeof(*b));
	b->kind = BACKEND_GIVEN;
	snprintf(b->name, sizeof(b->name), "%s", name);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(b->sock[i], sizeof(b->sock[i]), "%s/%s%u", dir, name, i);
		listen_at(b->sock[i]);
	}
}

static int setup(void **state)
{
	(void)state;
	struct why why;
	assert_non_null(mkdtemp(dir));
	char *argv[] = { (char *)(uintptr_t) "vringbench",
			 (char *)(uintptr_t) "run",
			 (char *)(uintptr_t) "--trials",
			 (char *)(uintptr_t) "4",
			 (char *)(uintptr_t) "--duration",
			 (char *)(uintptr_t) "0.1",
			 NULL };
	assert_int_equal(opts_parse(&opts, 6, argv), OPTS_OK);
	given(&opts.backend[0], "one");
	given(&opts.backend[1], "two");
	bench = calloc(1, sizeof(*bench));
	bench->opts = &opts;
	bench->plan = &plan;
	for (; bench->n < 2; bench->n++)
		assert_int_equal(backend_init(&bench->backend[bench->n], &opts.backend[bench->n], &opts, &why), OK);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < bench->n; i++)
		backend_fini(&bench->backend[i]);
	free(bench);
	for (unsigned i = 0; i < 4; i++)
		unlink(opts.backend[i / 2].sock[i % 2]);
	return rmdir(dir);
}

static int reset(void **state)
{
	(void)state;
	fake = (struct fake_load){ .capacity = 1e6, .driver_busy = 0.5 };
	return 0;
}

static json_t *record;

static json_t *run(const char *kind)
{
	json_decref(record);
	record = record_new(bench);
	opts.n_cases = 1;
	snprintf(opts.cases[0], sizeof(opts.cases[0]), "%s", kind);
	opts.n_sizes = 1;
	opts.size[0] = 64;
	assert_true(plan_make(&plan, &opts));
	json_t *row = record_row(record, &plan.row[plan.n - 1]);
	assert_true(rows_run(bench, &plan.row[plan.n - 1], row));
	judge_row(row, opts.seed);
	record_backends(record, bench);
	return row;
}

static void test_turns(void **state)
{
	(void)state;
	json_t *row = run("bothways/split"), *samples = json_object_get(row, "samples");
	assert_in_range(json_array_size(samples), 8, 16); // 4 pairs, more if the placement changed
	for (size_t i = 0; i < json_array_size(samples); i++)
		assert_string_equal(table_text(json_array_get(samples, i), "backend"), (i + 1) / 2 % 2 ? "two" : "one"); // A B B A
	assert_int_equal(fake.opened, json_array_size(samples)); // made anew for each pair: there are few
	assert_int_equal(fake.closed, fake.opened);
	assert_null(json_object_get(row, "cannot"));
	assert_true(json_is_null(json_object_get(json_array_get(samples, 0), "cycles"))); // nobody tells any
	assert_true(table_number(json_array_get(samples, 0), "cpu_cycles") >= 0); // this process is the back end
}

static void test_log_twice(void **state)
{
	(void)state;
	json_t *row = run("log/split"), *samples = json_object_get(row, "samples");
	assert_string_equal(table_text(json_array_get(samples, 0), "backend"), "one");
	assert_string_equal(table_text(json_array_get(samples, 1), "backend"), "one+log");
	assert_string_equal(table_text(json_array_get(samples, 3), "backend"), "two+log");
}

static void test_falls_out(void **state)
{
	(void)state;
	fake.break_path = opts.backend[1].sock[0];
	json_t *row = run("bothways/split");
	assert_string_equal(table_text(json_object_get(row, "cannot"), "two"), "broken on purpose");
	assert_in_range(json_array_size(json_object_get(row, "samples")), 3, 4);
	assert_int_equal(fake.closed, fake.opened);
	fake.refuse = "not today";
	row = run("bothways/split");
	assert_string_equal(table_text(json_object_get(row, "cannot"), "one"), "not today");
	assert_int_equal(json_array_size(json_object_get(row, "samples")), 0);
}

static void test_paced(void **state)
{
	(void)state;
	json_t *row = run("paced/split");
	assert_true(table_number(row, "offered") > 499000 && table_number(row, "offered") < 501000); // half of 1 M/s
}

static void test_search(void **state)
{
	(void)state;
	opts.ndr = true;
	json_t *row = run("bothways/split");
	opts.ndr = false;
	assert_string_equal(table_text(row, "way"), "search");
	double found = table_number(json_array_get(json_object_get(row, "samples"), 0), "found");
	assert_true(found > 0.97e6 && found < 1.0e6 + 1);
	opts.pdr = true;
	opts.loss = 10;
	row = run("bothways/split");
	opts.pdr = false;
	found = table_number(json_array_get(json_object_get(row, "samples"), 0), "found");
	assert_true(found > 1.05e6 && found < 1.12e6); // a tenth may be lost
}

static void test_latency(void **state)
{
	(void)state;
	json_t *row = run("pingpong/split"),
	       *l = json_object_get(json_array_get(json_object_get(row, "samples"), 0), "latency_us");
	assert_int_equal((int)table_number(l, "p50"), 3);
	row = run("ack");
	l = json_object_get(json_array_get(json_object_get(row, "samples"), 0), "latency_us");
	assert_true(table_number(l, "p50") > 240 && table_number(l, "p50") < 260);
}

static void test_files(void **state)
{
	(void)state;
	char path[100], *text = NULL;
	size_t size = 0;
	struct why why;
	json_t *row = run("bothways/split"), *back;
	fake.odd_headers = 1;
	json_array_append_new(json_object_get(row, "marks"), json_string("<b>&\"</b>"));
	snprintf(path, sizeof(path), "%s/f.json", dir);
	assert_int_equal(record_write(record, path, &why), OK);
	assert_int_equal(record_read(&back, path, &why), OK);
	assert_string_equal(table_text(back, "seed"), table_text(record, "seed"));
	char host[256] = "";
	gethostname(host, sizeof(host) - 1);
	char *all = json_dumps(back, 0);
	if (strlen(host) > 4)
		assert_null(strstr(all, host));
	free(all);
	json_decref(back);
	assert_int_equal(html_write(record, path, &why), OK);
	assert_int_not_equal(record_read(&back, path, &why), OK); // no JSON
	FILE *f = fopen(path, "re");
	assert_true(getdelim(&text, &size, '\0', f) > 2000);
	fclose(f);
	assert_non_null(strstr(text, "<svg"));
	assert_non_null(strstr(text, "&lt;b&gt;&amp;&quot;"));
	assert_null(strstr(text, "<b>"));
	assert_null(strstr(text, "http")); // nothing is loaded from elsewhere
	free(text);
	unlink(path);
	json_decref(record);
	record = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_turns, reset),     cmocka_unit_test_setup(test_log_twice, reset),
		cmocka_unit_test_setup(test_falls_out, reset), cmocka_unit_test_setup(test_paced, reset),
		cmocka_unit_test_setup(test_search, reset),    cmocka_unit_test_setup(test_latency, reset),
		cmocka_unit_test_setup(test_files, reset),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
