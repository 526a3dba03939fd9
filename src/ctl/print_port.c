// Ports for people: the table, everything about one, and what to paste into QEMU or libvirt.
#include <string.h>

#include "ctl.h"

void print_ports(const json_t *r)
{
	size_t i;
	json_t *p;
	printf("%-16s %-11s %-11s %-9s %-12s %-12s %4s  %s\n", "PORT", "KIND", "STATE", "ORIGIN", "NET", "GUEST", "MACS", "WHY");
	json_array_foreach(json_object_get(r, "ports"), i, p) {
		const char *reason = json_string_value(json_object_get(p, "reason")), *hint = json_string_value(json_object_get(p, "hint"));
		printf("%-16s %-11s %-11s %-9s %-12s %-12s %4zu  %s\n", text_of(p, "id"), text_of(p, "kind"), text_of(p, "state"),
		       text_of(p, "origin"), text_of(p, "net"), text_of(p, "guest"), json_array_size(json_object_get(p, "macs")),
		       reason ? reason : "");
		if (hint && hint[0])
			printf("%-16s -> %s\n", "", hint);
	}
}

void print_explain(const json_t *r)
{
	size_t i;
	json_t *s, *m;
	const char *reason = json_string_value(json_object_get(r, "reason")), *hint = json_string_value(json_object_get(r, "hint"));
	printf("%s is %s%s%s\n", text_of(r, "id"), text_of(r, "state"), reason && reason[0] ? ": " : "", reason ? reason : "");
	if (hint && hint[0])
		printf("  what to do: %s\n", hint);
	printf("  spec: %s\n  socket: %s\n", text_of(r, "spec"), text_of(r, "path"));
	json_array_foreach(json_object_get(r, "sessions"), i, s)
		printf("  front end: pid %lld, %s, %lld queue pairs, %lld MiB of memory%s\n", int_of(json_object_get(s, "peer"), "pid"),
		       text_of(s, "role"), int_of(s, "queues_used"), int_of(s, "memory_bytes") >> 20,
		       json_is_true(json_object_get(s, "logging")) ? ", logging dirty pages" : "");
	json_array_foreach(json_object_get(r, "macs"), i, m)
		printf("  address: %s (%s, %lld ms ago)\n", text_of(m, "mac"), text_of(m, "source"), int_of(m, "age_ms"));
	if (json_is_string(json_object_get(r, "last_refusal")))
		printf("  last refused: %s\n", text_of(r, "last_refusal"));
	json_t *list = json_pack("{s:[O]}", "rings", json_object_get(r, "rings"));
	print_rings(list);
	json_decref(list);
	list = json_pack("{s:[O]}", "stats", json_object_get(r, "stats"));
	print_stats(list);
	json_decref(list);
}

// In a chardev's option a comma is doubled.
static void put_doubled(FILE *to, const char *path)
{
	for (; *path; path++)
		fprintf(to, *path == ',' ? ",," : "%c", *path);
}

static void put_xml(FILE *to, const char *path)
{
	for (; *path; path++) {
		if (strchr("'&<>\"", *path))
			fprintf(to, "&#%d;", *path);
		else
			putc(*path, to);
	}
}

static void paste_qemu(FILE *to, const char *path, const char *id, bool we_connect)
{
	fprintf(to, "# guest memory must be shared with vringd (once per machine; SIZE as given with -m):\n"
	       "-object memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0\n");
	if (!we_connect)
		fprintf(to, "# QEMU before 9.2: reconnect=1 instead of reconnect-ms=500\n");
	fprintf(to, "-chardev socket,id=char-%s,path=", id);
	put_doubled(to, path);
	fprintf(to, "%s\n-netdev vhost-user,id=net-%s,chardev=char-%s\n"
	       "-device virtio-net-pci,netdev=net-%s,mac=52:54:00:xx:xx:xx\n"
	       "# for N queue pairs: ,queues=N on -netdev and ,mq=on,vectors=(2N+2) on -device\n",
	       we_connect ? ",server=on,wait=off" : ",reconnect-ms=500", id, id, id);
}

static void paste_libvirt(FILE *to, const char *path, bool we_connect)
{
	fprintf(to, "<!-- in <domain>: guest memory must be shared with vringd -->\n"
	       "<memoryBacking>\n  <source type='memfd'/>\n  <access mode='shared'/>\n</memoryBacking>\n"
	       "<!-- in <devices>; mode is QEMU's role: vringd %s -->\n"
	       "<interface type='vhostuser'>\n  <source type='unix' path='",
	       we_connect ? "connects" : "listens");
	put_xml(to, path);
	fprintf(to, "' mode='%s'%s\n  <model type='virtio'/>\n  <!-- <driver queues='N'/> for N queue pairs -->\n</interface>\n",
	       we_connect ? "server" : "client",
	       we_connect ? "/>" : ">\n    <reconnect enabled='yes' timeout='1'/>\n  </source>");
}

bool print_paste(const json_t *p, bool libvirt, FILE *to)
{
	const char *path = json_string_value(json_object_get(p, "path"));
	bool we_connect = strcmp(text_of(p, "mode"), "client") == 0;
	if (!path || !path[0])
		return false;
	if (libvirt)
		paste_libvirt(to, path, we_connect);
	else
		paste_qemu(to, path, text_of(p, "id"), we_connect);
	return true;
}
