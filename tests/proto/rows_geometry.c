// Memory tables and logs of all shapes: what is accepted must lie inside its file and wrap nowhere; what is plainly right
// must be accepted.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "proto/msgs.h"
#include "proto/rows.h"

static const uint64_t edge[] = {0, 1, 4095, 4096, 8192, UINT64_C(1) << 63, UINT64_MAX - 4095, UINT64_MAX};

static int file_of(uint64_t bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)bytes) != 0)
		fd_reset(&fd);
	return fd;
}

static bool sum_wraps(uint64_t a, uint64_t b)
{
	return a + b < a;
}

enum verdict { MAY, MUST, MUST_NOT };

static enum verdict region_verdict(const struct vu_region *r, uint64_t file)
{
	if (r->size == 0 || sum_wraps(r->mmap_offset, r->size) || r->mmap_offset + r->size > file)
		return MUST_NOT;
	if (sum_wraps(r->guest_addr, r->size - 1) || sum_wraps(r->user_addr, r->size - 1))
		return MUST_NOT;
	if (sum_wraps(r->guest_addr, r->size) || sum_wraps(r->user_addr, r->size))
		return MAY; // ends at 2^64
	return (r->size | r->mmap_offset | r->guest_addr | r->user_addr) % 4096 == 0 ? MUST : MAY;
}

static void table_try(struct bed *b, struct fe *fe, const struct vu_memory *t, const int *fds, enum verdict v,
		      const char *what)
{
	enum fe_res res = fe_ack(fe, VU_SET_MEM_TABLE, t, 8 + 32 * t->n, fds, t->n);
	const struct vu_region *r = &t->region[0];
	b->checks++;
	if ((res != FE_OK && res != FE_NACK) || (res == FE_OK && v == MUST_NOT) || (res == FE_NACK && v == MUST))
		bed_fail(b, "%s: gpa 0x%llx size 0x%llx uaddr 0x%llx offset 0x%llx: %s", what,
			 (unsigned long long)r->guest_addr, (unsigned long long)r->size, (unsigned long long)r->user_addr,
			 (unsigned long long)r->mmap_offset, fe_res_name(res));
}

// size x offset x length of the file (0, one short, exact, larger).
static void run_file_sizes(struct bed *b)
{
	if (!bed_case_begin(b, "size, offset and length of the file"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(edge); i++)
		for (unsigned k = 0; k < ARRAY_LEN(edge); k++) {
			uint64_t end = edge[i] + edge[k];
			const uint64_t length[] = {0, end - 1, end, end + 4096};
			for (unsigned f = 0; f < 4 && b->failed[0] == 0; f++) {
				if (length[f] > UINT64_C(1) << 40)
					continue;
				int fd = file_of(length[f]);
				struct vu_memory t = {.n = 1, .region = {{1 << 20, edge[i], UINT64_C(1) << 40, edge[k]}}};
				table_try(b, fe, &t, &fd, region_verdict(&t.region[0], length[f]), "file");
				fd_reset(&fd);
			}
		}
	fe_free(fe);
	bed_case_end(b);
}

static void run_addresses(struct bed *b)
{
	if (!bed_case_begin(b, "size, guest and front-end address"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	int fd = file_of(UINT64_C(1) << 20);
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(edge); i++)
		for (unsigned k = 0; k < ARRAY_LEN(edge); k++)
			for (unsigned u = 0; u < ARRAY_LEN(edge) && b->failed[0] == 0; u++) {
				struct vu_memory t = {.n = 1, .region = {{edge[k], edge[i], edge[u], 0}}};
				table_try(b, fe, &t, &fd, region_verdict(&t.region[0], UINT64_C(1) << 20), "address");
			}
	fd_reset(&fd);
	fe_free(fe);
	bed_case_end(b);
}

static void run_two_regions(struct bed *b)
{
	static const struct {
		const char *name;
		uint64_t gpa, uaddr;
		enum verdict v;
	} row[] = {
		{"adjacent", 0x101000, 0x10001000, MUST},
		{"adjacent below", 0xff000, 0xffff000, MUST},
		{"apart", 0x900000, 0x90000000, MUST},
		{"same guest address", 0x100000, 0x90000000, MUST_NOT},
		{"guest overlap by a byte", 0x100fff, 0x90000000, MUST_NOT},
		{"same front-end address", 0x900000, 0x10000000, MUST_NOT},
		{"front-end overlap by a page", 0x900000, 0xffff800, MUST_NOT},
	};
	if (!bed_case_begin(b, "two regions"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	int fd[2] = {file_of(4096), file_of(4096)};
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(row); i++) {
		struct vu_memory t = {.n = 2,
				      .region = {{0x100000, 0x1000, 0x10000000, 0}, {row[i].gpa, 0x1000, row[i].uaddr, 0}}};
		table_try(b, fe, &t, fd, row[i].v, row[i].name);
	}
	fd_reset_all(fd, 2);
	fe_free(fe);
	bed_case_end(b);
}

// Counts that do not fit the payload or the descriptors, and files that are no memory.
static void run_counts_and_kinds(struct bed *b)
{
	static const uint32_t counts[] = {2, 8, 9, 255, 0x08000001, 0x7fffffff, 0xffffffff};
	if (!bed_case_begin(b, "counts, and descriptors of the wrong kind"))
		return;
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	int fd = file_of(4096), odd[4] = {-1, -1, -1, -1};
	struct vu_memory t = {.n = 1, .region = {{0x100000, 0x1000, 0x10000000, 0}}};
	for (unsigned i = 0; fe != NULL && i < ARRAY_LEN(counts); i++) {
		t.n = counts[i];
		enum fe_res res = fe_ack(fe, VU_SET_MEM_TABLE, &t, 40, &fd, 1);
		if (res != FE_NACK)
			bed_fail(b, "%u regions in 40 bytes: %s", counts[i], fe_res_name(res));
	}
	t.n = 1;
	if (pipe(odd) != 0)
		odd[0] = odd[1] = -1;
	odd[2] = dup(fe != NULL ? fe->sock : 0);
	odd[3] = dup(0);
	for (unsigned i = 0; fe != NULL && i < 4; i++) {
		enum fe_res res = fe_ack(fe, VU_SET_MEM_TABLE, &t, 40, &odd[i], 1);
		if (res != FE_NACK)
			bed_fail(b, "descriptor of kind %u: %s", i, fe_res_name(res));
	}
	t.n = 0; // an empty table is a table
	if (fe != NULL) {
		enum fe_res res = fe_ack(fe, VU_SET_MEM_TABLE, &t, 8, NULL, 0);
		if (res != FE_NACK && res != FE_OK)
			bed_fail(b, "no regions: %s", fe_res_name(res));
	}
	fd_reset_all(odd, 4);
	fd_reset(&fd);
	fe_free(fe);
	bed_case_end(b);
}

static void log_try(struct bed *b, uint64_t size, uint64_t offset, uint64_t length)
{
	struct fe *fe = bed_front_end(b, "a", BED_OWNED, NULL, -1);
	int fd = file_of(length);
	enum verdict v = MAY;
	if (fe != NULL) {
		enum fe_res res = fe_log_base(fe, fd, size, offset);
		if (size == 0 || sum_wraps(size, offset) || size + offset > length)
			v = MUST_NOT;
		else if ((size | offset) % 4096 == 0)
			v = MUST;
		b->checks++;
		if ((res != FE_OK && res != FE_CLOSED) || (res == FE_OK && v == MUST_NOT) || (res != FE_OK && v == MUST))
			bed_fail(b, "log of 0x%llx at 0x%llx in a file of 0x%llx: %s", (unsigned long long)size,
				 (unsigned long long)offset, (unsigned long long)length, fe_res_name(res));
	}
	fd_reset(&fd);
	fe_free(fe);
}

static void run_logs(struct bed *b)
{
	for (unsigned i = 0; i < ARRAY_LEN(edge); i++)
		for (unsigned k = 0; k < ARRAY_LEN(edge); k++) {
			uint64_t end = edge[i] + edge[k];
			const uint64_t length[] = {0, end - 1, end, end + 4096};
			if (!bed_case_begin(b, "log of 0x%llx at 0x%llx", (unsigned long long)edge[i],
					    (unsigned long long)edge[k]))
				continue;
			for (unsigned f = 0; f < 4; f++)
				if (length[f] <= UINT64_C(1) << 40)
					log_try(b, edge[i], edge[k], length[f]);
			bed_case_end(b);
		}
}

// Ring areas at every edge of the memory: inside it is taken, else refused, now or at the start; never used.
static void run_ring_places(struct bed *b)
{
	static const int64_t shift[] = {
		0, 16, -1, 1, 2, 4096, -(int64_t)4096, 1 << 20, -(1 << 20), INT64_MIN, INT64_MAX - 15};
	for (unsigned part = 0; part < 3; part++)
		for (unsigned i = 0; i < ARRAY_LEN(shift); i++) {
			if (!bed_case_begin(b, "ring part %u moved by %lld from the end of memory", part,
					    (long long)shift[i]))
				continue;
			struct fe *fe = bed_front_end(b, "a", BED_PREPARED, NULL, -1);
			struct msg m;
			struct vu_addr a;
			struct bed_outcome o;
			if (fe != NULL) {
				const uint64_t need[] = {16 * 64, 6 + 8 * 64, 6 + 2 * 64};
				const struct gmem_region *r = &fe->mem->region[0];
				msg_good(&m, fe, VU_SET_VRING_ADDR, 0, -1);
				memcpy(&a, m.payload, sizeof(a));
				uint64_t last = (r->uaddr + r->size - need[part]) & ~UINT64_C(15);
				uint64_t at = last + (uint64_t)shift[i];
				*(part == 0 ? &a.desc : part == 1 ? &a.used : &a.avail) = at;
				memcpy(m.payload, &a, sizeof(a));
				bool inside = at >= r->uaddr && at - r->uaddr <= r->size - need[part];
				bool aligned = at % (part == 0 ? 16 : part == 1 ? 4 : 2) == 0;
				msg_put(fe, &m, true, &o);
				if (o.closed || o.lost || o.replies != 1)
					bed_fail(b, "SET_VRING_ADDR: %s", bed_outcome_text(&o));
				bool taken = o.reply.payload[0] == 0;
				// Refused at the latest when the ring is to start.
				uint64_t zero = 0;
				if (taken)
					taken = fe_ack(fe, VU_SET_VRING_KICK, &zero, 8, &fe->ring[0].call, 1) == FE_OK;
				if (taken != (inside && aligned))
					bed_fail(b, "ring part at %s, %s: %s", inside ? "inside" : "outside",
						 aligned ? "aligned" : "not aligned", taken ? "taken" : "refused");
			}
			fe_free(fe);
			bed_case_end(b);
		}
}

const struct bed_row rows_geometry[] = {
	{"file sizes", run_file_sizes},
	{"addresses", run_addresses},
	{"two regions", run_two_regions},
	{"counts and kinds", run_counts_and_kinds},
	{"logs", run_logs},
	{"ring places", run_ring_places},
	{NULL, NULL},
};
