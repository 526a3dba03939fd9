// The twin of vone.c for CPUs that have AVX2: four descriptors are checked and translated at once. It decides nothing that the other one
// does not: four of which one is not a plain buffer in the region of the last are read again, one at a time.
//
// Each descriptor is one load of 16 aligned bytes, which such a CPU does as one access (Intel SDM 3A, 9.1.1; AMD APM 2, 7.3.2): a packed
// one's flags are as old as the rest of it. Of a split ring the index that was read before says what is there.
#include <stdlib.h>

#include "guest/vone_int.h"

#ifdef __x86_64__
#include <immintrin.h>

#define WIDE __attribute__((target("avx2")))

bool vone_wide_for(const void *desc)
{
	static _Atomic int able = -1;
	if (able < 0)
		able = __builtin_cpu_supports("avx2") && !getenv("VRINGD_SCALAR_ONLY");
	return able && (uintptr_t)desc % VDESC_SIZE == 0;
}

struct wide { // what four descriptors are held against
	__m256i gpa, size, host; // the region
	__m256i min, ahead;
	__m256i flags, want; // of the second half: which bits must be how
};

// What a test's build leaves out, to see that the test notices.
enum { BELOW = 1, BEHIND, SHORT, FLAGS, HEADS };
#ifdef VRINGD_MUTANT_WIDE
#define CHECKS(what) (VRINGD_MUTANT_WIDE != (what))
#else
#define CHECKS(what) true
#endif

static inline WIDE void wide_region(struct wide *w, const struct vone_region *in)
{
	w->gpa = _mm256_set1_epi64x((long long)in->gpa);
	w->size = _mm256_set1_epi64x((long long)in->size);
	w->host = _mm256_set1_epi64x((long long)(uintptr_t)in->host);
}

static inline WIDE void wide_ask(struct wide *w, const struct vone_ask *ask)
{
	w->min = _mm256_set1_epi64x(ask->min_len);
	w->ahead = _mm256_set1_epi64x(ask->ahead);
}

static inline WIDE __m256i flags_at(uint64_t flags, unsigned bit)
{
	return _mm256_set1_epi64x((long long)(flags << bit));
}

// Two descriptors, each read once: behind the empty statement the compiler does not know where the value is from.
static inline WIDE __m256i load_two(const uint8_t *low, const uint8_t *high)
{
	__m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128((const __m128i *)low)), _mm_load_si128((const __m128i *)high), 1);
	__asm__("" : "+x"(v));
	return v;
}

// The lower halves of four.
static inline WIDE __m128i lower(__m256i v)
{
	return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
}

// Descriptors 0 and 2 in a, 1 and 3 in b. Are all four buffers as asked for, in the region? Then they are numbers i to i + 3, and *word
// their second halves.
static inline WIDE bool four(const struct wide *w, __m256i a, __m256i b, bool writable, struct vones *out, size_t i, __m256i *word)
{
	__m256i gpa = _mm256_unpacklo_epi64(a, b), rest = _mm256_unpackhi_epi64(a, b);
	__m256i len = _mm256_and_si256(rest, _mm256_set1_epi64x(0xffffffff));
	__m256i off = _mm256_sub_epi64(gpa, w->gpa);
	// Compared as signed: an offset before the region, or from 2^63 on, is negative; region and length are below that, and what is left
	// of the region is negative if the buffer alone is longer.
	__m256i bad = CHECKS(BELOW) ? off : _mm256_setzero_si256();
	if (CHECKS(BEHIND))
		bad = _mm256_or_si256(bad, _mm256_cmpgt_epi64(off, _mm256_sub_epi64(w->size, len)));
	if (CHECKS(SHORT))
		bad = _mm256_or_si256(bad, _mm256_cmpgt_epi64(w->min, len));
	__m256i good = CHECKS(FLAGS) ? _mm256_cmpeq_epi64(_mm256_and_si256(rest, w->flags), w->want) : _mm256_set1_epi64x(-1);
	if (_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_andnot_si256(bad, good))) != 15)
		return false;
	__m256i host = _mm256_add_epi64(off, w->host);
	_mm256_storeu_si256((__m256i *)&out->host[i], host);
	_mm256_storeu_si256((__m256i *)&out->gpa[i], writable ? gpa : _mm256_add_epi64(host, w->ahead));
	_mm_storeu_si128((__m128i *)&out->len[i], lower(rest));
	*word = rest;
	return true;
}

static inline WIDE __attribute__((always_inline)) void touch_four(const struct vones *out, size_t i, uint32_t ahead, bool writable)
{
#pragma GCC unroll 4
	for (unsigned k = 0; k < 4; k++)
		vone_touch(out->host[i + k], ahead, writable);
}

WIDE unsigned vone_wide_heads(const struct vring *r, uint16_t at, unsigned n, struct vones *out)
{
	const uint8_t *avail = r->avail, *table = r->desc;
	const unsigned mask = r->mask;
	const __m128i last = _mm_set1_epi16((short)mask);
	size_t i = 0;
	while (i < n) {
		unsigned from = (unsigned)(at + i) & mask;
		if (n - i >= 8 && from + 7u <= mask) {
			__m128i heads = _mm_loadu_si128((const __m128i *)(avail + VAVAIL_RING(from)));
			__asm__("" : "+x"(heads)); // as in load_two
			if (!CHECKS(HEADS) || _mm_movemask_epi8(_mm_cmpeq_epi16(_mm_max_epu16(heads, last), last)) == 0xffff) {
				uint32_t *id = &out->id[i];
				_mm256_storeu_si256((__m256i *)id, _mm256_cvtepu16_epi32(heads));
#pragma GCC unroll 8
				for (unsigned k = 0; k < 8; k++)
					__builtin_prefetch(table + (size_t)id[k] * VDESC_SIZE);
				i += 8;
				continue;
			}
		}
		if (!vone_head(r, (uint16_t)(at + i), out, (unsigned)i))
			return (unsigned)i;
		i++;
	}
	return n;
}

// Up to four more, one at a time. Returns the number of the first that is not taken.
static __attribute__((noinline)) unsigned split_singly(struct vring *r, unsigned i, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	struct vone_region in = vone_region(r);
	unsigned end = n - i < 4 ? n : i + 4;
	while (i < end && vone_split(r, &in, ask, out, i))
		i++;
	return i;
}

static inline WIDE __attribute__((always_inline)) unsigned split(struct vring *r, size_t n, const struct vone_ask *ask, bool writable,
								 struct vones *out)
{
	const uint8_t *table = r->desc;
	const uint32_t ahead = ask->ahead;
	struct wide w;
	wide_ask(&w, ask);
	w.flags = flags_at(0xffff, 32);
	w.want = flags_at(writable ? VDESC_F_WRITE : 0, 32);
	for (size_t i = 0; i < n;) {
		struct vone_region in = vone_region(r);
		wide_region(&w, &in);
		for (; n - i >= 4; i += 4) {
			const uint32_t *id = &out->id[i];
			const uint8_t *d[4];
			__m256i word;
			for (unsigned k = 0; k < 4; k++)
				d[k] = table + (size_t)id[k] * VDESC_SIZE;
			if (!four(&w, load_two(d[0], d[2]), load_two(d[1], d[3]), writable, out, i, &word))
				break;
			touch_four(out, i, ahead, writable);
		}
		if (i == n)
			break;
		unsigned next = split_singly(r, (unsigned)i, (unsigned)n, ask, out);
		if (next != n && next != i + 4)
			return next;
		i = next;
	}
	return (unsigned)n;
}

WIDE unsigned vone_wide_split(struct vring *r, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	return ask->writable ? split(r, n, ask, true, out) : split(r, n, ask, false, out);
}

static __attribute__((noinline)) unsigned packed_singly(struct pring *p, struct ppos *at, unsigned i, unsigned n, const struct vone_ask *ask,
							struct vones *out)
{
	struct vone_region in = vone_region(&p->v);
	unsigned end = n - i < 4 ? n : i + 4;
	for (; i < end && vone_packed(p, &in, ask, at->slot, vone_packed_want(at->wrap, ask), out, i); i++)
		*at = ppos_add(p, *at, 1);
	return i;
}

static inline WIDE __attribute__((always_inline)) unsigned packed(struct pring *p, size_t n, const struct vone_ask *ask, bool writable,
								  struct vones *out)
{
	const uint32_t ahead = ask->ahead;
	const __m128i low = _mm_set1_epi32(0xffff), one = _mm_set1_epi32((int)gwrite_packed_id(0, 1));
	struct ppos at = p->at.avail;
	struct wide w;
	wide_ask(&w, ask);
	w.flags = flags_at(PDESC_F_LAP | ONE_FLAGS, 48);
	for (size_t i = 0; i < n;) {
		struct vone_region in = vone_region(&p->v);
		size_t lap = p->num - at.slot, end = lap < n - i ? i + lap : n; // up to the ring's end: the flags mean the same there
		const uint8_t *d = p->ring + (size_t)at.slot * VDESC_SIZE;
		size_t from = i;
		wide_region(&w, &in);
		w.want = flags_at(vone_packed_want(at.wrap, ask), 48);
		for (; end - i >= 4; i += 4, d += 4 * VDESC_SIZE) {
			__m256i word;
			if (!four(&w, load_two(d, d + 2 * VDESC_SIZE), load_two(d + VDESC_SIZE, d + 3 * VDESC_SIZE), writable, out, i, &word))
				break;
			_mm_storeu_si128((__m128i *)&out->id[i], _mm_or_si128(_mm_and_si128(lower(_mm256_srli_epi64(word, 32)), low), one));
			touch_four(out, i, ahead, writable);
		}
		at = ppos_add(p, at, (unsigned)(i - from));
		if (i == n)
			break;
		unsigned next = packed_singly(p, &at, (unsigned)i, (unsigned)n, ask, out);
		if (next != n && next != i + 4)
			return next;
		i = next;
	}
	return (unsigned)n;
}

WIDE unsigned vone_wide_packed(struct pring *p, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	return ask->writable ? packed(p, n, ask, true, out) : packed(p, n, ask, false, out);
}

#else

bool vone_wide_for(const void *desc)
{
	(void)desc;
	return false;
}

unsigned vone_wide_heads(const struct vring *r, uint16_t at, unsigned n, struct vones *out)
{
	(void)r, (void)at, (void)n, (void)out;
	return 0;
}

unsigned vone_wide_split(struct vring *r, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	(void)r, (void)n, (void)ask, (void)out;
	return 0;
}

unsigned vone_wide_packed(struct pring *p, unsigned n, const struct vone_ask *ask, struct vones *out)
{
	(void)p, (void)n, (void)ask, (void)out;
	return 0;
}

#endif
