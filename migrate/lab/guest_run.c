#include "lab/guest_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ASK_LIMIT_US 20000000
#define DRAIN_LIMIT_US 3000000 // how long what was sent may take to arrive after the end

static uint64_t soon(void)
{
	return clock_boot_us() + ASK_LIMIT_US;
}

enum err guests_greet(struct vm *peer, struct vm *mover, struct why *why)
{
	struct vm *both[2] = { peer, mover };
	char answer[400];
	for (unsigned turn = 0; turn < 10; turn++) {
		unsigned found = 0;
		for (unsigned i = 0; i < 2; i++) {
			enum err e = agent_ask(&both[i]->agent, soon(), answer, sizeof(answer), why, "GREET");
			if (e != OK)
				return vm_explain(both[i], e, why);
			found += answer_number(answer, "arp") == 1;
		}
		if (found == 2)
			return OK;
	}
	return ours(why, "the guests do not find each other: no ARP answer gets through the back end");
}

static enum err read_before(struct stretch *s, unsigned i, struct vm *vm, struct why *why)
{
	char answer[1000];
	enum err e = agent_ask(&vm->agent, soon(), answer, sizeof(answer), why, "REPORT");
	s->csum_before[i] = answer_number(e == OK ? answer : "", "udp_csum_errors");
	s->drops_before[i] = answer_number(e == OK ? answer : "", "udp_in_errors");
	s->changes_before[i] = answer_number(e == OK ? answer : "", "changes");
	answer_text(e == OK ? answer : "", "boot", s->boot_before[i], sizeof(s->boot_before[i]));
	return e;
}

enum err stretch_begin(struct stretch *s, struct vm *peer, struct vm *mover, const struct opts *o, struct why *why)
{
	static unsigned run;
	struct vm *both[2] = { peer, mover };
	char answer[400];
	s->run = ++run;
	for (unsigned i = 0; i < 2; i++) {
		enum err e = read_before(s, i, both[i], why);
		if (e == OK)
			e = agent_ask(&both[i]->agent, soon(), answer, sizeof(answer), why, "PREPARE %u %u %u", s->run, o->size, o->queues);
		if (e != OK)
			return vm_explain(both[i], e, why);
	}
	enum err synced = agent_sync(&mover->agent, why);
	if (synced != OK)
		return vm_explain(mover, synced, why);
	s->mover_offset_before_us = mover->agent.clock_offset_us;
	s->start_us = clock_boot_us();
	for (unsigned i = 0; i < 2; i++) {
		enum err e = agent_ask(&both[i]->agent, soon(), answer, sizeof(answer), why, "START %u %u %u %u", s->run, o->rate, o->size,
			o->queues);
		if (e != OK)
			return vm_explain(both[i], e, why);
	}
	return OK;
}

struct sent {
	uint64_t total, refused, stream[LAB_STREAMS_MAX];
	unsigned streams;
};

static enum err stop_sending(struct vm *vm, struct sent *sent, struct why *why)
{
	char answer[600], list[500];
	enum err e = agent_ask(&vm->agent, soon(), answer, sizeof(answer), why, "STOP");
	*sent = (struct sent){ 0 };
	if (e != OK)
		return vm_explain(vm, e, why);
	sent->refused = answer_number(answer, "refused");
	answer_text(answer, "sent", list, sizeof(list));
	for (char *p = list; *p && sent->streams < LAB_STREAMS_MAX;) {
		sent->stream[sent->streams] = strtoull(p, &p, 10);
		sent->total += sent->stream[sent->streams++];
		p += *p == ',';
	}
	return OK;
}

static void read_counts(struct direction *d, const char *answer)
{
	d->got = (struct tally_counts){
		.received = answer_number(answer, "received"), .unique = answer_number(answer, "unique"),
		.repeated = answer_number(answer, "repeated"), .reordered = answer_number(answer, "reordered"),
		.corrupt = answer_number(answer, "corrupt"), .other_run = answer_number(answer, "other_run"),
		.beyond = answer_number(answer, "beyond"), .first_us = answer_number(answer, "first_us"),
		.last_us = answer_number(answer, "last_us"), .gap_us = answer_number(answer, "gap_us"),
		.gap_end_us = answer_number(answer, "gap_end_us"), .second_us = answer_number(answer, "second_us"),
	};
}

// Ask until all has come, or nothing new comes any more within the limit.
static enum err drain(struct vm *to, struct direction *d, char *answer, size_t size, struct why *why)
{
	uint64_t until = clock_boot_us() + DRAIN_LIMIT_US;
	for (;;) {
		enum err e = agent_ask(&to->agent, soon(), answer, size, why, "REPORT");
		if (e != OK)
			return vm_explain(to, e, why);
		read_counts(d, answer);
		if (d->got.unique >= d->sent || clock_boot_us() > until)
			return OK;
		sleep_ms(150);
	}
}

static enum err read_holes(struct vm *to, struct direction *d, const struct sent *sent, struct why *why)
{
	char answer[1000], list[600];
	size_t used = 0;
	for (unsigned i = 0; i < sent->streams && d->sent > d->got.unique; i++) {
		enum err e = agent_ask(&to->agent, soon(), answer, sizeof(answer), why, "HOLES %u %" PRIu64, i, sent->stream[i]);
		if (e != OK)
			return vm_explain(to, e, why);
		if (!answer_number(answer, "missing"))
			continue;
		answer_text(answer, "holes", list, sizeof(list));
		int n = snprintf(d->holes + used, sizeof(d->holes) - used, "%sstream %u: %s", used ? "; " : "", i, list);
		used += n > 0 ? (size_t)n : 0;
		if (used >= sizeof(d->holes))
			break;
	}
	return OK;
}

static enum err read_bins(struct vm *to, struct bins *b, uint64_t span_us, struct why *why)
{
	static char answer[LAB_LINE_MAX], list[LAB_LINE_MAX];
	unsigned want = (unsigned)(span_us / LAB_BIN_US) + 1;
	if (want > TALLY_BINS)
		want = TALLY_BINS;
	free(b->count);
	b->n = 0;
	b->count = calloc(want, sizeof(*b->count));
	if (!b->count)
		return ours(why, "no memory");
	while (b->n < want) {
		unsigned part = want - b->n < LAB_BINS_PER_LINE ? want - b->n : LAB_BINS_PER_LINE, got = 0;
		enum err e = agent_ask(&to->agent, soon(), answer, sizeof(answer), why, "BINS %u %u", b->n, part);
		if (e != OK)
			return vm_explain(to, e, why);
		if (b->n == 0)
			b->start_us = (uint64_t)((int64_t)answer_number(answer, "time_us") + to->agent.clock_offset_us);
		answer_text(answer, "bins", list, sizeof(list));
		for (char *p = list; *p && got < part; got++) {
			b->count[b->n + got] = (uint16_t)strtoul(p, &p, 10);
			p += *p == ',';
		}
		if (!got)
			break;
		b->n += got;
	}
	return OK;
}

static enum err collect(struct stretch *s, unsigned i, struct vm *to, struct direction *d, const struct sent *sent, struct bins *bins,
	struct why *why)
{
	char answer[1000], boot[64];
	d->sent = sent->total;
	d->refused = sent->refused;
	enum err e = drain(to, d, answer, sizeof(answer), why);
	if (e != OK)
		return e;
	d->csum_errors = answer_number(answer, "udp_csum_errors") - s->csum_before[i];
	d->own_drops = answer_number(answer, "udp_in_errors") - s->drops_before[i] - d->csum_errors;
	uint64_t missing = d->sent > d->got.unique ? d->sent - d->got.unique : 0;
	d->missing = missing > d->own_drops ? missing - d->own_drops : 0;
	// Silence until the end is a gap, too, though no datagram ends it.
	uint64_t last = d->got.last_us ? (uint64_t)((int64_t)d->got.last_us + to->agent.clock_offset_us) : s->start_us;
	if (s->end_us > last)
		tally_gap_add(&d->got, s->end_us - last, (uint64_t)((int64_t)s->end_us - to->agent.clock_offset_us));
	d->gap_end_us = d->got.gap_end_us ? (uint64_t)((int64_t)d->got.gap_end_us + to->agent.clock_offset_us) : 0;
	s->carrier_changes += answer_number(answer, "changes") - s->changes_before[i];
	answer_text(answer, "boot", boot, sizeof(boot));
	s->rebooted = s->rebooted || strcmp(boot, s->boot_before[i]) != 0;
	e = read_holes(to, d, sent, why);
	return e == OK ? read_bins(to, bins, s->end_us - s->start_us, why) : e;
}

enum err stretch_end(struct stretch *s, struct vm *peer, struct vm *mover, const struct opts *o, struct why *why)
{
	struct sent by_peer, by_mover;
	(void)o;
	enum err e = agent_sync(&peer->agent, why);
	if (e == OK)
		e = agent_sync(&mover->agent, why);
	int64_t stall = mover->agent.clock_offset_us - s->mover_offset_before_us;
	s->mover_stall_us = e == OK && stall > 0 ? (uint64_t)stall : 0;
	s->end_us = clock_boot_us(); // both still send
	if (e == OK)
		e = stop_sending(peer, &by_peer, why);
	if (e == OK)
		e = stop_sending(mover, &by_mover, why);
	if (e == OK)
		e = collect(s, 0, peer, &s->to_peer, &by_mover, &s->peer_bins, why);
	if (e == OK)
		e = collect(s, 1, mover, &s->to_mover, &by_peer, &s->mover_bins, why);
	return e;
}
