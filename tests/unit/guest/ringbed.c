#include "ringbed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void map_memory(struct ringbed *b)
{
	struct gmem_conf mc = { .regions = 2, .region_bytes = 1u << 20 };
	struct mem_spec spec[2];
	struct vu_memory t;
	int fds[VU_MAX_FDS];
	struct why why;
	b->mem = gmem_new(&mc);
	gmem_table(b->mem, &t, fds);
	for (unsigned i = 0; i < 2; i++)
		spec[i] = (struct mem_spec){ t.region[i].guest_addr, t.region[i].size, t.region[i].user_addr, t.region[i].mmap_offset };
	assert_int_equal(mem_build(&b->map, spec, fds, 2, false, &why), OK);
}

static void open_log(struct ringbed *b)
{
	uint64_t bytes = (gmem_end(b->mem) / 4096 + 63) / 64 * 8;
	struct why why;
	b->log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(b->log_fd, (off_t)bytes), 0);
	assert_int_equal(dirty_open(&b->log, b->log_fd, bytes, 0, false, &why), OK);
}

void ringbed_open(struct ringbed *b, const struct ringbed_conf *conf)
{
	bool packed = (conf->features & RINGBED_PACKED) != 0;
	struct why why;
	*b = (struct ringbed){ .log_fd = -1 };
	map_memory(b);
	assert_true(packed ? vq_init_packed(&b->q, b->mem, 0, conf->num, true) : vq_init(&b->q, b->mem, 0, conf->num, true));
	b->q.in_order = conf->in_order;
	vq_reset(&b->q, conf->base, (conf->features & RINGBED_EVENT) != 0);
	b->q.kick = -1;
	b->buf = gmem_area(b->mem, 0, GMEM_DEVICE, 65536, 0);
	if (conf->logging)
		open_log(b);
	struct vring_conf c = { .num = conf->num, .features = conf->features, .mem = b->map, .desc_uaddr = gmem_uaddr(b->mem, b->q.desc_gpa),
				.avail_uaddr = gmem_uaddr(b->mem, b->q.avail_gpa), .used_uaddr = gmem_uaddr(b->mem, b->q.used_gpa),
				.log = b->log, .log_used = conf->logging, .log_gpa = b->q.used_gpa, .call_fd = -1 };
	assert_int_equal(ring_new(&b->ring, &c, &why), OK);
	if (packed)
		b->packed = pring_of(b->ring);
	else
		ring_restore(b->ring, conf->base);
}

void ringbed_close(struct ringbed *b)
{
	ring_free(b->ring);
	vq_fini(&b->q);
	dirty_free(b->log);
	if (b->log_fd >= 0)
		close(b->log_fd);
	mem_free(b->map);
	gmem_free(b->mem);
}
