// The command line of vringbench, its plan, and the way through a file and back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/opts.h"
#include "bench/plan.h"

#define MAX_WORDS 40

static enum opts_result parse(struct opts *o, const char *line)
{
	char text[600], *argv[MAX_WORDS + 1] = { (char *)(uintptr_t) "vringbench" }, *save;
	int argc = 1;
	snprintf(text, sizeof(text), "%s", line);
	for (char *w = strtok_r(text, " ", &save); w && argc < MAX_WORDS; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	return opts_parse(o, argc, argv);
}

static void test_refused(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"",
		"walk",
		"run extra",
		"run --nonsense",
		"run --backend",
		"run --backend dpdk",
		"run --backend =a,b",
		"run --backend x=",
		"run --backend x=a,b,c",
		"run --backend vringd --exec true",
		"run --exec true",
		"run --driver kernel",
		"run --cpus",
		"run --cpus x",
		"run --cpus 1-",
		"run --cpus -1",
		"run --cpus 3-2",
		"run --cpus 0-16",
		"run --cpus 1-2-3",
		"run --cpus 0,,1",
		"run --cases nope",
		"run --cases bothways/wide",
		"run --cases small-set/packed",
		"run --sizes 63",
		"run --sizes 70000",
		"run --sizes 64.5",
		"run --flows 0",
		"run --search mrr",
		"run --loss -1",
		"run --loss nan",
		"run --trials 0",
		"run --trials 501",
		"run --duration 0",
		"run --duration inf",
		"run --seed -1",
		"run --seed x",
		"run --backend vringd --backend vringd --backend vringd --backend vringd --backend vringd",
		"compare a.json",
		"compare a b c",
		"rerun",
		"recovery now",
		"recovery --kills 0",
		"recovery --memory 4",
		"recovery --memory 1M",
		"recovery --memory 4Gx",
		"recovery --memory -4G",
		"run --driver testpmd --backend x=/one",
	};
	static struct opts o;
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (parse(&o, lines[i]) != OPTS_WRONG)
			fail_msg("taken: %s", lines[i]);
}

static void test_taken(void **state)
{
	(void)state;
	static struct opts o;
	assert_int_equal(parse(&o, "run"), OPTS_OK);
	assert_int_equal(o.n_backends, 2);
	assert_int_equal(o.backend[0].kind, BACKEND_VRINGD);
	assert_int_equal(o.backend[1].kind, BACKEND_TESTPMD);
	assert_int_equal(o.trials, 9);
	assert_true(o.n_cpus >= 2);
	assert_int_equal(
		parse(&o, "run --backend vringd --backend vringd --cpus 3,5-6 --search ndr,pdr --loss 0.1 --imix --flows 8"),
		OPTS_OK);
	assert_string_equal(o.backend[1].name, "vringd#2");
	assert_int_equal(o.cpu[2], 6);
	assert_true(o.ndr && o.pdr && o.imix && o.flows == 8);
	assert_int_equal(
		parse(&o, "run --backend x=/a,/b --exec true --backend y=/c --sizes 64,1518 --seed 5 --out F --report G"),
		OPTS_OK);
	assert_string_equal(o.backend[0].sock[1], "/b");
	assert_string_equal(o.backend[0].exec, "true");
	assert_string_equal(o.backend[1].sock[1], "");
	assert_int_equal(o.size[1], 1518);
	assert_int_equal(parse(&o, "compare a b"), OPTS_OK);
	assert_string_equal(o.file[1], "b");
	assert_int_equal(parse(&o, "recovery --trials 3"), OPTS_OK);
	assert_int_equal(o.n_backends, 2); // beside itself without a keeper
	assert_true(o.backend[1].kind == BACKEND_VRINGD && o.backend[1].alone && !o.backend[0].alone);
	assert_string_equal(o.backend[1].name, "vringd-alone");
	assert_int_equal(o.kills, 100);
	assert_true(o.memory_bytes == UINT64_C(4) << 30);
	assert_int_equal(parse(&o, "recovery --backend testpmd --kills 7 --memory 64M"), OPTS_OK);
	assert_int_equal(o.n_backends, 1); // no reference is needed to recover
	assert_int_equal(o.kills, 7);
	assert_true(o.memory_bytes == 64u << 20);
}

static void test_file_and_back(void **state)
{
	(void)state;
	static struct opts o, p;
	struct why why;
	setenv("HOME", "/home/somebody", 1);
	assert_int_equal(parse(&o, "run --backend x=/home/somebody/a.sock,/b --exec run_it --backend testpmd --dpdk "
				   "/home/somebody/testpmd "
				   "--cases bothways,log/packed --sizes 64,200 --search pdr --loss 0.25 --trials 5 "
				   "--duration 0.5 --flows 3 --cpus 1,0"),
			 OPTS_OK);
	json_t *j = opts_json(&o);
	char *text = json_dumps(j, 0);
	assert_null(strstr(text, "somebody")); // whose home it is is not written down
	memset(&p, 0, sizeof(p));
	assert_int_equal(opts_from_json(&p, j, &why), OK);
	json_t *again = opts_json(&p);
	assert_true(json_equal(j, again));
	assert_string_equal(p.dpdk, "/home/somebody/testpmd");
	free(text);
	json_decref(again);
	assert_int_equal(parse(&o, "recovery --kills 12 --memory 256M --backend vringd-alone"), OPTS_OK);
	json_t *other = opts_json(&o);
	assert_int_equal(opts_from_json(&p, other, &why), OK);
	again = opts_json(&p);
	assert_true(json_equal(other, again));
	json_decref(other);
	json_decref(again);
	json_object_set_new(j, "trials", json_integer(0));
	assert_int_equal(opts_from_json(&p, j, &why), REFUSED);
	json_decref(j);
	j = json_object();
	assert_int_equal(opts_from_json(&p, j, &why), REFUSED);
	json_decref(j);
}

static void test_plan(void **state)
{
	(void)state;
	static struct opts o;
	static struct plan p;
	parse(&o, "run --cases bothways --sizes 64,1518");
	assert_true(plan_make(&p, &o));
	assert_int_equal(p.n, 4);
	assert_string_equal(p.row[0].name, "bothways split 64");
	assert_string_equal(p.row[3].name, "bothways packed 1518");
	assert_true(p.row[3].load.packed && row_max_frame(&p.row[3]) == 1518);
	parse(&o, "run --cases bothways/split --sizes 64 --search ndr,pdr --loss 0.1 --imix");
	assert_true(plan_make(&p, &o));
	assert_int_equal(p.n, 5); // the case, imix twice, ndr, pdr
	assert_int_equal(p.row[4].way, ROW_SEARCH);
	assert_int_equal(p.row[1].load.n_sizes, 3);
	parse(&o, "run");
	assert_true(plan_make(&p, &o));
	assert_in_range(p.n, 50, PLAN_ROWS - 1);
	for (unsigned i = 0; i < p.n; i++)
		for (unsigned k = 0; k < i; k++)
			assert_string_not_equal(p.row[i].name, p.row[k].name);
	parse(&o, "recovery");
	assert_true(plan_make(&p, &o));
	assert_int_equal(p.n, 3);
	assert_true(p.row[0].way == ROW_RECOVERY && !p.row[0].busy);
	assert_true(p.row[1].way == ROW_RECOVERY && p.row[1].busy);
	assert_int_equal(p.row[2].way, ROW_STOP);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused), cmocka_unit_test(test_taken),
					    cmocka_unit_test(test_file_and_back), cmocka_unit_test(test_plan) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
