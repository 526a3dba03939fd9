// A hostile driver against a packed ring: the input is what it wrote (ring, indirect tables, event area) and what the device does,
// with the driver writing on meanwhile. Whatever comes: pieces lie in memory, work is bounded, the place stays in the ring.
//
// Input: byte 0 the ring's size, byte 1 features (see F_), byte 2 how much of the rest is written at the start; then commands.
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dirty/dirty.h"
#include "dirty/vbase.h"
#include "guest/mem.h"
#include "guest/ring.h"

#define REGION 8192u
#define GPA0 UINT64_C(0x1000) // two regions, adjacent for the guest
#define UADDR UINT64_C(0x7f0000000000)
#define DRIVER_AREA 0x1800u // offsets in region 0, behind the largest ring
#define DEVICE_AREA 0x1810u

enum { F_INDIRECT = 1, F_EVENT = 2, F_IN_ORDER = 4, F_LOG = 8, F_WRITABLE = 16 };

struct world {
	struct mem_map *map;
	struct dirty_log *log;
	struct vring *r;
	uint8_t *mem[2]; // the driver's own mappings
	bool writable;
	struct fuzz_in in;
};

static void driver_writes(struct world *w, unsigned at, unsigned n)
{
	for (unsigned i = 0; i < n && w->in.left; i++)
		w->mem[(at + i) / REGION % 2][(at + i) % REGION] = fuzz_byte(&w->in);
}

// A descriptor that could be meant: address and length somewhere near memory, the flags of its lap.
static void driver_offers(struct world *w)
{
	static const uint32_t lens[] = { 0, 1, 16, 32, 100, 4096, REGION, 2 * REGION, UINT32_MAX, 17, 48, 160 };
	struct pring *p = pring_of(w->r);
	struct ppos at = ppos_add(p, p->at.avail, fuzz_byte(&w->in) % p->num);
	uint8_t where = fuzz_byte(&w->in), len = fuzz_byte(&w->in), flags = fuzz_byte(&w->in);
	uint64_t addr = where < 0xf0 ? GPA0 + where * 64u : UINT64_MAX - where;
	uint16_t f = (flags & 7) | (flags & 8 ? 0 : pdesc_available(at.wrap)) | (uint16_t)((flags & 0xf0) << 4);
	uint8_t d[VDESC_SIZE];
	memcpy(d, &addr, 8);
	memcpy(d + 8, &lens[len % (sizeof(lens) / sizeof(lens[0]))], 4);
	memcpy(d + 12, &(uint16_t){ (uint16_t)(where * 259u) }, 2);
	memcpy(d + 14, &f, 2);
	memcpy(w->mem[0] + at.slot * VDESC_SIZE, d, sizeof(d));
}

static void check_piece(const struct world *w, const uint8_t *host, uint64_t gpa, uint32_t len)
{
	const struct mem_region *a = &w->map->region[0], *b = &w->map->region[1];
	bool in_a = gpa - a->gpa < a->size && len <= a->size - (gpa - a->gpa) && host == a->host + (gpa - a->gpa);
	bool in_b = gpa - b->gpa < b->size && len <= b->size - (gpa - b->gpa) && host == b->host + (gpa - b->gpa);
	FUZZ_CHECK(len != 0 && (in_a || in_b));
}

static void device_fetches(struct world *w)
{
	static struct gseg segs[VCHAIN_MAX_SEGS];
	struct gwrite_used back[8];
	struct pring *p = pring_of(w->r);
	unsigned room = fuzz_byte(&w->in) % 4 == 0 ? 3 : VCHAIN_MAX_SEGS, n = 0, off = 0, pending = ring_pending(w->r);
	while (n < 8 && ring_has(w->r, off, pending)) {
		struct vchain c;
		const char *why = NULL;
		enum vchain_result res = ring_fetch(w->r, off, w->writable, segs, room, &c, &why);
		FUZZ_CHECK((res == VCHAIN_BAD || res == VCHAIN_BROKEN) == (why != NULL));
		if (res == VCHAIN_BROKEN) {
			FUZZ_CHECK(vring_broken(w->r) != NULL);
			break;
		}
		if (res == VCHAIN_NO_ROOM)
			break;
		FUZZ_CHECK(c.slots >= 1 && off + c.slots <= p->num && c.n_segs <= room && (res == VCHAIN_OK || c.n_segs == 0));
		uint64_t sum = 0;
		for (unsigned i = 0; i < c.n_segs; i++) {
			check_piece(w, segs[i].host, segs[i].gpa, segs[i].len);
			sum += segs[i].len;
		}
		FUZZ_CHECK(sum == c.len);
		if (w->writable && c.n_segs)
			gwrite_payload(w->r, segs, (struct gwrite_at){ 0, 0 }, "0123456789", c.len < 10 ? c.len : 10);
		back[n++] = ring_used(w->r, &c, w->writable ? c.len : 0);
		off += c.slots;
	}
	ring_advance(w->r, off);
	ring_publish(w->r, back, n);
}

// One of many is what it is alone.
static void check_one(const struct world *w, unsigned i, const struct vones *one)
{
	static struct gseg segs[VCHAIN_MAX_SEGS];
	struct vchain c;
	const char *why;
	if (w->writable) {
		check_piece(w, one->host[i], one->gpa[i], one->len[i]);
		return;
	}
	FUZZ_CHECK(ring_fetch(w->r, i, false, segs, VCHAIN_MAX_SEGS, &c, &why) == VCHAIN_OK);
	FUZZ_CHECK(c.slots == 1 && c.len == one->len[i] && c.n_segs <= 2 && segs[0].host == one->host[i]);
	check_piece(w, segs[0].host, segs[0].gpa, segs[0].len);
	FUZZ_CHECK(one->rest[i] == (c.n_segs == 2 ? segs[1].host : one->host[i] + 12));
	FUZZ_CHECK(c.n_segs == 1 || segs[0].len == 12);
}

// One at a time or four at a time: it is the same.
static void twin_agrees(struct world *w, const struct vones *one, unsigned n, uint32_t min_len)
{
	struct vones other;
	if (!vone_wide_for(w->r->desc))
		return;
	w->r->wide = !w->r->wide;
	FUZZ_CHECK(ring_fetch_ones(w->r, 64, ring_pending(w->r), w->writable, min_len, 12, &other) == n);
	w->r->wide = !w->r->wide;
	FUZZ_CHECK(memcmp(one->host, other.host, n * sizeof(one->host[0])) == 0 && memcmp(one->gpa, other.gpa, n * sizeof(one->gpa[0])) == 0);
	FUZZ_CHECK(memcmp(one->len, other.len, n * sizeof(one->len[0])) == 0 && memcmp(one->id, other.id, n * sizeof(one->id[0])) == 0);
}

static void device_takes(struct world *w)
{
	struct vones one;
	struct gwrite_used back[64];
	uint32_t min_len = 1 + fuzz_byte(&w->in) % 64;
	unsigned n = ring_fetch_ones(w->r, 64, ring_pending(w->r), w->writable, min_len, 12, &one);
	FUZZ_CHECK(n <= pring_of(w->r)->num);
	twin_agrees(w, &one, n, min_len);
	for (unsigned i = 0; i < n; i++) {
		check_one(w, i, &one);
		back[i] = (struct gwrite_used){ .id = one.id[i], .len = w->writable ? 1 : 0 };
	}
	ring_advance(w->r, n);
	ring_stage(w->r, back, n);
	gwrite_fence();
	ring_show(w->r, n);
	gwrite_fence();
	ring_wants_call_fenced(w->r);
}

static void start_anew(struct world *w)
{
	uint32_t base = RING_FRESH_PACKED;
	bool found = pring_find(pring_of(w->r), &base);
	struct why why;
	FUZZ_CHECK(!found || vbase_check_packed(base, pring_of(w->r)->num, &why) == OK);
	ring_restore(w->r, base);
	pring_finish(pring_of(w->r));
}

// Dies in the middle of a batch, and goes on with what the ledger says; the driver may have written meanwhile. Nothing else may
// have been written than what was there.
static void dies(struct world *w, unsigned how)
{
	struct pring *p = pring_of(w->r);
	struct vones one;
	struct gwrite_used back[64];
	uint32_t before = ring_base(w->r), after;
	uint8_t ring[200 * 16];
	unsigned n = ring_fetch_ones(w->r, 64, ring_pending(w->r), w->writable, 1, 12, &one);
	for (unsigned i = 0; i < n; i++)
		back[i] = (struct gwrite_used){ .id = one.id[i], .len = w->writable ? 1 : 0 };
	memcpy(ring, w->mem[0], p->num * 16u);
	ring_advance(w->r, n);
	ring_stage(w->r, back, n);
	after = (p->at.fill.slot | (uint32_t)p->at.fill.wrap << 15) * 0x10001u;
	gwrite_fence();
	if (how & 1)
		driver_writes(w, (unsigned)fuzz_byte(&w->in) * 64, 40);
	FUZZ_CHECK(pring_resume(p));
	FUZZ_CHECK(ring_base(w->r) == before || ring_base(w->r) == after);
	FUZZ_CHECK(how & 1 || (ring_base(w->r) == before && memcmp(ring, w->mem[0], p->num * 16u) == 0));
}

static void check_place(const struct world *w)
{
	const struct pring *p = pring_of_const(w->r);
	FUZZ_CHECK(p->at.used.slot < p->num && p->at.avail.slot < p->num && p->out == 0);
	FUZZ_CHECK(p->at.used.slot == p->at.avail.slot && p->at.used.wrap == p->at.avail.wrap);
	FUZZ_CHECK(ring_base_now(w->r) == ring_base(w->r));
}

static void open_world(struct world *w, unsigned num, unsigned flags)
{
	struct mem_spec spec[2];
	struct why why;
	int fds[2], log_fd = memfd_create("log", MFD_CLOEXEC);
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = memfd_create("guest", MFD_CLOEXEC);
		FUZZ_CHECK(fds[i] >= 0 && ftruncate(fds[i], REGION) == 0);
		w->mem[i] = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
		FUZZ_CHECK(w->mem[i] != MAP_FAILED);
		spec[i] = (struct mem_spec){ GPA0 + i * REGION, REGION, UADDR + i * REGION, 0 };
	}
	FUZZ_CHECK(mem_build(&w->map, spec, fds, 2, false, &why) == OK);
	if (flags & F_LOG)
		FUZZ_CHECK(ftruncate(log_fd, 8) == 0 && dirty_open(&w->log, log_fd, 8, 0, false, &why) == OK);
	uint64_t features = UINT64_C(1) << 34 | (flags & F_INDIRECT ? UINT64_C(1) << 28 : 0) | (flags & F_EVENT ? UINT64_C(1) << 29 : 0) |
			    (flags & F_IN_ORDER ? UINT64_C(1) << 35 : 0);
	struct vring_conf c = { .num = num, .features = features, .mem = w->map, .desc_uaddr = UADDR,
				.avail_uaddr = UADDR + DRIVER_AREA, .used_uaddr = UADDR + DEVICE_AREA, .log = w->log,
				.log_used = true, .log_gpa = GPA0 + DEVICE_AREA, .call_fd = -1 };
	FUZZ_CHECK(ring_new(&w->r, &c, &why) == OK && w->r->packed);
	ring_restore(w->r, RING_FRESH_PACKED); // as each ring is before it runs: from here on its ledger knows it
	w->writable = flags & F_WRITABLE;
	for (unsigned i = 0; i < 2; i++)
		close(fds[i]);
	close(log_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .in = { data, size } };
	unsigned num = 1 + fuzz_byte(&w.in) % 200, flags = fuzz_byte(&w.in);
	open_world(&w, num, flags);
	driver_writes(&w, 0, fuzz_byte(&w.in) * 8u);
	for (unsigned n = 0; w.in.left > 0 && n < 300; n++) {
		uint8_t what = fuzz_byte(&w.in);
		switch (what % 8) {
		case 0:
		case 1:
			driver_offers(&w);
			break;
		case 2:
			driver_writes(&w, (unsigned)fuzz_byte(&w.in) * 64, what / 8u);
			break;
		case 3:
		case 4:
			device_fetches(&w);
			break;
		case 5:
			device_takes(&w);
			break;
		case 6:
			ring_notify(w.r, what & 8, what & 16 ? num - 1 : 0);
			ring_wants_call(w.r);
			break;
		default:
			if (what & 128)
				dies(&w, what / 8u);
			else
				start_anew(&w);
		}
		check_place(&w);
		if (w.log)
			FUZZ_CHECK(atomic_load(&w.log->missed) == 0);
	}
	ring_free(w.r);
	dirty_free(w.log);
	mem_free(w.map);
	for (unsigned i = 0; i < 2; i++)
		munmap(w.mem[i], REGION);
	return 0;
}
