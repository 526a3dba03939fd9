// The session: handshake, rings started, traffic, logging on, traffic, switch-over, rings started again, logging off, traffic.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "points.h"
#include "wire/vu_table.h"

#define BURST 8u

static void on_sends(void *arg, struct fe *fe, uint32_t id)
{
	struct points *p = arg;
	(void)fe;
	points_step(p, STEP_MESSAGE, vu_name(id));
	p->cur.names = id == VU_SET_VRING_CALL || id == VU_SET_VRING_ERR || id == VU_SET_VRING_KICK || id == VU_SET_MEM_TABLE ||
		       id == VU_SET_LOG_BASE || id == VU_SET_LOG_FD || id == VU_GET_VRING_BASE;
}

// A sum over all replies. What a stop answers depends on what was repeated, and is looked at where it stops.
static void on_heard(void *arg, struct fe *fe, const struct conn_msg *m)
{
	struct points *p = arg;
	const uint8_t *at = (const uint8_t *)&m->hdr;
	uint32_t len = m->hdr.request == VU_GET_VRING_BASE ? 4 : m->hdr.size;
	(void)fe;
	for (unsigned i = 0; i < sizeof(m->hdr); i++)
		p->sum = (p->sum ^ at[i]) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < len; i++)
		p->sum = (p->sum ^ m->payload[i]) * UINT64_C(0x100000001b3);
}

bool points_well(struct points *p, enum fe_res res)
{
	if (res != FE_OK)
		points_fail(p, "%s: %s", fe_res_name(res), p->lan.fe[0]->err_text);
	return !p->bed.failed[0];
}

bool points_handshake(struct points *p)
{
	struct lan *l = &p->lan;
	struct fe_conf c = {.pairs = p->conf.pairs,
			    .ring_size = 64,
			    .packed = p->conf.packed,
			    .spread = p->conf.log,
			    .style = p->conf.acks ? FE_ACK_ALL : FE_QEMU10,
			    .features = FE_FEATURES | BIT64(VIRTIO_NET_F_MTU),
			    .mtu = 1500,
			    .mem = {.region_bytes = 6 << 20, .file_offset = 4096}};
	struct net_conf nc = {.rx = p->conf.log ? NET_RX_SPREAD : NET_RX_ONE};
	frame_mac(l->mac[0], 0xa0);
	struct fe *fe = l->fe[0] = fe_new(&c);
	if (fe == NULL)
		return points_fail(p, "no memory for a front end");
	fe->conf.timeout_ms = 15000;
	if (!fe_connect(fe, daemon_path(&p->bed.d, "a")))
		return points_fail(p, "%s", fe->err_text);
	fe->hook = (struct fe_hook){on_sends, on_heard, p};
	if (!points_well(p, fe_negotiate(fe)))
		return false;
	fe_driver_reset(fe, 0xfff0 * !c.packed); // of split rings the index wraps on its way
	for (unsigned i = 0; i < c.pairs; i++)
		if (!net_init(&l->net[0][i], fe, i, &nc))
			return points_fail(p, "no memory for buffers");
	return true;
}

static bool traffic(struct points *p)
{
	points_step(p, STEP_FRAMES, "frames, one by one");
	if (p->bed.failed[0] || !frames_singly(p))
		return false;
	points_step(p, STEP_FRAMES, "frames, a burst");
	if (p->bed.failed[0] || !frames_burst(p, BURST))
		return false;
	points_steps_end(p);
	return !p->bed.failed[0];
}

bool points_log_on(struct points *p)
{
	struct fe *fe = p->lan.fe[0];
	p->log = flog_new(fe->mem, 4096);
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->log == NULL || bell < 0)
		return points_fail(p, "no memory for a log");
	p->live = true;
	bool ok = points_well(p, fe_tell(fe, true, VU_SET_LOG_FD, NULL, 0, &bell, 1)) &&
		  points_well(p, fe_log_start(fe, p->log->fd, p->log->bytes, p->log->file_offset));
	close(bell);
	points_steps_end(p);
	p->live = false;
	flog_copy_all(p->log);
	return ok && (flog_thread_start(p->log, 200) || points_fail(p, "no thread"));
}

static bool stop(struct points *p)
{
	struct fe *fe = p->lan.fe[0];
	struct flog_diff diff;
	if (!points_well(p, fe_stop(fe)))
		return false;
	points_steps_end(p);
	for (unsigned q = 0; q < fe->rings; q++)
		if (fe->ring[q].base != vq_base(&fe->ring[q].vq))
			return points_fail(p, "ring %u: it is said to have stopped at 0x%x, and the ring says 0x%x", q, fe->ring[q].base,
					   vq_base(&fe->ring[q].vq));
	if (!p->conf.log)
		return !p->bed.failed[0];
	flog_thread_stop(p->log);
	flog_harvest(p->log);
	if (!flog_equal(p->log, &diff))
		return points_fail(p, "a page was not logged: %llu differ, the first at 0x%llx", (unsigned long long)diff.pages,
				   (unsigned long long)diff.gpa);
	return !p->bed.failed[0] && (flog_thread_start(p->log, 200) || points_fail(p, "no thread"));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

// The descriptors that keeper and worker have, by kind.
static void list_fds(const struct points *p, char *out, size_t size)
{
	static char name[1024][40];
	pid_t pid[2] = {p->bed.d.pid, daemon_worker(&p->bed.d)};
	size_t n = 0, at = 0;
	for (unsigned i = 0; i < 2; i++) {
		char path[60];
		struct dirent *e;
		snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid[i]);
		DIR *dir = opendir(path);
		while (dir != NULL && (e = readdir(dir)) != NULL && n < ARRAY_LEN(name)) {
			char link[300] = "", *base;
			if (e->d_name[0] == '.' || readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1) < 0)
				continue;
			base = strrchr(link, '/') != NULL ? strrchr(link, '/') + 1 : link;
			base[strcspn(base, "[ ")] = '\0'; // not which one
			snprintf(name[n++], sizeof(name[0]), "%c:%.36s", i ? 'w' : 'k', base);
		}
		if (dir != NULL)
			closedir(dir);
	}
	qsort(name, n, sizeof(name[0]), by_name);
	out[0] = '\0';
	for (size_t i = 0, k; i < n; i = k) {
		for (k = i; k < n && strcmp(name[i], name[k]) == 0; k++)
			;
		at += (size_t)snprintf(out + at, at < size ? size - at : 0, "%s%s x%zu", i ? ", " : "", name[i], k - i);
	}
}

// What holds at the end: nothing more is said, the connection is there, no descriptor was left behind.
static bool farewell(struct points *p)
{
	struct pollfd pf = {.fd = p->lan.fe[0]->sock, .events = POLLIN | POLLRDHUP};
	uint64_t end = clock_boot_us() + 3000000;
	char fds[sizeof(p->fds)], before[sizeof(p->fds)] = "";
	if (poll(&pf, 1, 0) != 0)
		return points_fail(p, "one answer too many, or the connection was closed");
	list_fds(p, fds, sizeof(fds));
	for (unsigned still = 0; p->dry ? still < 50 : strcmp(fds, p->fds) != 0 && clock_boot_us() < end; still++) {
		memcpy(before, fds, sizeof(fds));
		daemon_nap(2);
		list_fds(p, fds, sizeof(fds));
		still = strcmp(fds, before) == 0 ? still : 0; // something comes or goes
	}
	if (p->dry)
		memcpy(p->fds, fds, sizeof(fds));
	else if (strcmp(fds, p->fds) != 0)
		return points_fail(p, "descriptors of keeper and worker: %s; without a death: %s", fds, p->fds);
	return true;
}

bool points_session(struct points *p)
{
	if (!points_handshake(p) || !points_phase(p, "the handshake"))
		return false;
	struct fe *fe = p->lan.fe[0];
	if (!points_well(p, fe_start(fe)) || !points_phase(p, "the start") || !traffic(p))
		return false;
	if (p->conf.log && (!points_log_on(p) || !points_phase(p, "the start of the log") || !traffic(p)))
		return false;
	p->live = true; // one that was given to a running ring is rung at once
	bool ok = points_well(p, fe_ring_call(fe, 0)) && points_well(p, fe_barrier(fe));
	points_steps_end(p);
	p->live = false;
	unsigned last = fe->rings - 1;
	ok = ok && points_well(p, fe_ring_enable(fe, last, false)) && points_well(p, fe_ring_enable(fe, last, true)) && traffic(p);
	if (!ok || !stop(p) || !points_phase(p, "the switch-over"))
		return false;
	if (!points_well(p, fe_start(fe)) || !points_phase(p, "the second start") || !traffic(p))
		return false;
	uint8_t mac[8] = {2, 7, 7, 7, 7, 7};
	p->live = true;
	ok = !p->conf.log || points_well(p, fe_log_stop(fe));
	ok = ok && points_well(p, fe_tell(fe, true, VU_SEND_RARP, mac, sizeof(mac), NULL, 0)) && points_well(p, fe_barrier(fe));
	points_steps_end(p);
	p->live = false;
	return ok && points_phase(p, "the end") && traffic(p) && farewell(p);
}
