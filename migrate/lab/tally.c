#include "tally.h"

#include <stdlib.h>
#include <string.h>

// The pattern is a plain function of what the header says, 8 bytes at a time: cheap enough for a guest without KVM.
static uint64_t pattern_word(uint32_t run, uint16_t stream, uint64_t seq, size_t word)
{
	uint64_t x = seq * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t)run << 20) + stream + word * UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 29;
	return x;
}

void lab_datagram_fill(uint8_t *buf, size_t size, uint32_t run, uint16_t stream, uint64_t seq, uint64_t now_us)
{
	struct lab_datagram h = {
		.magic = LAB_MAGIC, .run = run, .stream = stream, .size = (uint16_t)size, .seq = seq, .sent_us = now_us,
	};
	memcpy(buf, &h, sizeof(h));
	size_t word = 0;
	for (size_t i = sizeof(h); i < size; i += 8, word++) {
		uint64_t x = pattern_word(run, stream, seq, word);
		memcpy(buf + i, &x, size - i < 8 ? size - i : 8);
	}
}

static bool pattern_holds(const uint8_t *data, size_t size, const struct lab_datagram *h)
{
	size_t word = 0;
	for (size_t i = sizeof(*h); i < size; i += 8, word++) {
		uint64_t x = pattern_word(h->run, h->stream, h->seq, word);
		if (memcmp(data + i, &x, size - i < 8 ? size - i : 8) != 0)
			return false;
	}
	return true;
}

struct tally *tally_new(void)
{
	struct tally *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	for (unsigned s = 0; s < LAB_STREAMS_MAX; s++) {
		t->seen[s] = calloc(1, TALLY_SEQ_MAX / 8);
		if (!t->seen[s]) {
			tally_free(t);
			return NULL;
		}
	}
	return t;
}

void tally_free(struct tally *t)
{
	if (!t)
		return;
	for (unsigned s = 0; s < LAB_STREAMS_MAX; s++)
		free(t->seen[s]);
	free(t);
}

void tally_reset(struct tally *t, uint32_t run, uint32_t size, unsigned streams, uint64_t now_us)
{
	for (unsigned s = 0; s < LAB_STREAMS_MAX; s++) {
		uint64_t used = t->next[s] / 8 + 1; // pages that were never touched stay untouched
		memset(t->seen[s], 0, used < TALLY_SEQ_MAX / 8 ? used : TALLY_SEQ_MAX / 8);
		t->next[s] = 0;
	}
	memset(&t->counts, 0, sizeof(t->counts));
	memset(&t->window, 0, sizeof(t->window));
	memset(t->bins, 0, sizeof(t->bins));
	t->run = run;
	t->size = size;
	t->streams = streams;
	t->start_us = now_us;
}

void tally_gap_add(struct tally_counts *c, uint64_t gap_us, uint64_t end_us)
{
	if (gap_us <= c->gap_us) {
		if (gap_us > c->second_us)
			c->second_us = gap_us;
		return;
	}
	c->second_us = c->gap_us;
	c->gap_us = gap_us;
	c->gap_end_us = end_us;
}

static void gap_ended(struct tally *t, uint64_t gap_us, uint64_t now_us)
{
	struct tally_window *w = &t->window;
	tally_gap_add(&t->counts, gap_us, now_us);
	if (gap_us < TALLY_GAP_US)
		return;
	struct tally_gap *to = w->gap; // an empty place, or the shortest
	for (unsigned i = 1; i < w->n; i++)
		if (w->gap[i].us < to->us)
			to = &w->gap[i];
	if (w->n < TALLY_GAPS)
		to = &w->gap[w->n++];
	else if (to->us >= gap_us)
		return;
	*to = (struct tally_gap){ .us = gap_us, .end_us = now_us };
}

struct tally_window tally_look(struct tally *t)
{
	struct tally_window w = t->window;
	w.last_us = t->counts.last_us;
	memset(&t->window, 0, sizeof(t->window));
	return w;
}

static void tally_arrival(struct tally *t, uint64_t now_us)
{
	struct tally_counts *c = &t->counts;
	if (c->first_us == 0)
		c->first_us = now_us;
	else if (now_us > c->last_us)
		gap_ended(t, now_us - c->last_us, now_us);
	if (now_us > c->last_us)
		c->last_us = now_us;
	uint64_t bin = now_us < t->start_us ? 0 : (now_us - t->start_us) / LAB_BIN_US;
	if (bin < TALLY_BINS && t->bins[bin] < UINT16_MAX)
		t->bins[bin]++;
}

void tally_take(struct tally *t, const uint8_t *data, size_t len, uint64_t now_us)
{
	struct tally_counts *c = &t->counts;
	struct lab_datagram h;
	if (len < sizeof(h)) {
		c->corrupt++;
		return;
	}
	memcpy(&h, data, sizeof(h));
	if (h.magic == LAB_MAGIC && h.run != t->run && h.size == len && pattern_holds(data, len, &h)) {
		c->other_run++;
		return;
	}
	c->received++;
	tally_arrival(t, now_us);
	if (h.magic != LAB_MAGIC || h.run != t->run || h.size != len || len != t->size || h.stream >= t->streams ||
		!pattern_holds(data, len, &h)) {
		c->corrupt++;
		return;
	}
	if (h.seq >= TALLY_SEQ_MAX) {
		c->beyond++;
		return;
	}
	uint8_t bit = (uint8_t)(1u << (h.seq & 7));
	uint8_t *byte = &t->seen[h.stream][h.seq / 8];
	if (*byte & bit) {
		c->repeated++;
		return;
	}
	*byte |= bit;
	c->unique++;
	if (h.seq < t->next[h.stream])
		c->reordered++;
	else
		t->next[h.stream] = h.seq + 1;
}

uint64_t tally_holes(const struct tally *t, unsigned stream, uint64_t sent, uint64_t *from, uint64_t *to, unsigned max,
	unsigned *ranges)
{
	uint64_t missing = 0;
	bool in_hole = false;
	unsigned n = 0;
	if (stream < LAB_STREAMS_MAX) {
		if (sent > TALLY_SEQ_MAX)
			sent = TALLY_SEQ_MAX;
		for (uint64_t seq = 0; seq < sent; seq++) {
			bool here = (t->seen[stream][seq / 8] >> (seq & 7)) & 1;
			if (!here) {
				missing++;
				if (!in_hole && n++ < max && from)
					from[n - 1] = seq;
				if (n <= max && to)
					to[n - 1] = seq;
			}
			in_hole = !here;
		}
	}
	if (ranges)
		*ranges = n < max ? n : max;
	return missing;
}
