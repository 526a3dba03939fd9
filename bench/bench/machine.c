#include "bench/machine.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cycles.h"

static uint64_t raw_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double machine_cycle_hz(void)
{
	static double hz;
	if (hz > 0)
		return hz;
	uint64_t ns = raw_ns(), cycles = cycles_now();
	struct timespec nap = { 0, 20000000 };
	nanosleep(&nap, NULL);
	uint64_t ns_end = raw_ns(), cycles_end = cycles_now();
	hz = (double)(cycles_end - cycles) * 1e9 / (double)(ns_end - ns);
	return hz;
}

// First line of a file without its end; null if it can't be read.
static json_t *line_of(const char *path)
{
	char line[400];
	FILE *f = fopen(path, "re");
	json_t *j = NULL;
	if (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		j = json_string(line);
	}
	if (f)
		fclose(f);
	return j ? j : json_null();
}

// The value of the first "key : value" line.
static json_t *keyed(const char *path, const char *key)
{
	char line[1024];
	json_t *j = NULL;
	FILE *f = fopen(path, "re");
	while (f && !j && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');
		if (!colon || strncmp(line, key, strlen(key)) != 0)
			continue;
		colon[1 + strcspn(colon + 1, "\n")] = '\0';
		j = json_string(colon + 1 + strspn(colon + 1, " \t"));
	}
	if (f)
		fclose(f);
	return j ? j : json_null();
}

// What is "Not affected" is left out.
static json_t *mitigations(void)
{
	static const char folder[] = "/sys/devices/system/cpu/vulnerabilities";
	json_t *all = json_object();
	DIR *d = opendir(folder);
	for (struct dirent *e; d && (e = readdir(d));) {
		char path[400];
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%.200s", folder, e->d_name);
		json_t *j = line_of(path);
		const char *s = json_string_value(j);
		if (s && strcmp(s, "Not affected") != 0)
			json_object_set(all, e->d_name, j);
		json_decref(j);
	}
	if (d)
		closedir(d);
	return all;
}

// Words that bear on speed. All others may hold names, addresses and paths: they are counted only.
static bool telling(const char *word)
{
	static const char *const heads[] = {
		"mitigations=",
		"isolcpus=",
		"nohz",
		"rcu_nocb",
		"rcutree.",
		"idle=",
		"intel_idle.",
		"intel_pstate",
		"amd_pstate",
		"cpuidle",
		"haltpoll",
		"processor.",
		"hugepages",
		"default_hugepagesz",
		"transparent_hugepage",
		"iommu",
		"intel_iommu",
		"amd_iommu",
		"nosmt",
		"tsc",
		"clocksource",
		"preempt",
		"threadirqs",
		"nopti",
		"pti",
		"spec",
		"nospec",
		"mds",
		"l1tf",
		"retbleed",
		"skew_tick",
		"nmi_watchdog",
		"nowatchdog",
		"audit",
		"maxcpus",
		"numa",
		"psi",
		"irqaffinity",
		"kvm",
		"pcie_aspm",
		"swiotlb",
	};
	for (unsigned i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		if (strncmp(word, heads[i], strlen(heads[i])) == 0)
			return true;
	return false;
}

static json_t *command_line(void)
{
	char line[4096], text[4096] = "";
	unsigned left_out = 0;
	size_t n = 0;
	FILE *f = fopen("/proc/cmdline", "re");
	if (!f || !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	char *save, *word = strtok_r(line, " \n", &save);
	for (; word && strcmp(word, "--") != 0; word = strtok_r(NULL, " \n", &save)) {
		if (telling(word))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s ", word);
		else
			left_out++;
	}
	snprintf(text + n, sizeof(text) - n, "(%u others left out)", left_out);
	return json_string(text);
}

static unsigned numa_nodes(void)
{
	unsigned n = 0;
	DIR *d = opendir("/sys/devices/system/node");
	for (struct dirent *e; d && (e = readdir(d));)
		n += strncmp(e->d_name, "node", 4) == 0 && e->d_name[4] >= '0' && e->d_name[4] <= '9';
	if (d)
		closedir(d);
	return n;
}

static json_t *cpu_json(int cpu)
{
	char path[200];
	json_t *j = json_object();
	static const struct {
		const char *key, *file;
	} facts[] = {
		{ "governor", "cpufreq/scaling_governor" },
		{ "core", "topology/core_id" },
		{ "package", "topology/physical_package_id" },
		{ "siblings", "topology/thread_siblings_list" },
		{ "l2", "cache/index2/size" },
		{ "l3", "cache/index3/size" },
	};
	json_object_set_new(j, "cpu", json_integer(cpu));
	for (unsigned i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/%s", cpu, facts[i].file);
		json_object_set_new(j, facts[i].key, line_of(path));
	}
	return j;
}

json_t *machine_json(const struct opts *o)
{
	struct utsname u;
	uname(&u); // its node name is not told
	json_t *cpus = json_array();
	for (unsigned i = 0; i < o->n_cpus; i++)
		json_array_append_new(cpus, cpu_json(o->cpu[i]));
	json_t *model = keyed("/proc/cpuinfo", "model name");
	json_t *virt = keyed("/proc/cpuinfo", "flags");
	bool guest = json_is_string(virt) && strstr(json_string_value(virt), " hypervisor");
	json_decref(virt);
	return json_pack("{s:o,s:s,s:o,s:o,s:i,s:f,s:b,s:o,s:i,s:o,s:o,s:o,s:s,s:o,s:o}", "cpu", model, "arch", u.machine,
			 "stepping", keyed("/proc/cpuinfo", "stepping"), "microcode", keyed("/proc/cpuinfo", "microcode"),
			 "cpus_online", (int)sysconf(_SC_NPROCESSORS_ONLN), "cycle_hz", machine_cycle_hz(), "virtual", guest,
			 "used", cpus, "numa_nodes", (int)numa_nodes(), "memory", keyed("/proc/meminfo", "MemTotal"),
			 "hugepages", keyed("/proc/meminfo", "HugePages_Total"), "thp_shmem",
			 line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled"), "kernel", u.release,
			 "kernel_command_line", command_line(), "mitigations", mitigations());
}
