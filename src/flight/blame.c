#include "flight/blame.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define BLAME_MAGIC UINT64_C(0x31656d616c627276)

struct culprit {
	int slot; // -1: nobody of ours
	int ring; // -1: none
	uint32_t doing;
	uint64_t conn, seq, at;
	char port[FLIGHT_NAME_MAX]; // "": none
};

enum err blame_make(int *fd, struct blame_page **page, struct why *why)
{
	void *map;
	enum err e = flight_share(fd, "vringd-blame", BLAME_MAGIC, sizeof(**page), &map, why);
	if (e == OK)
		*page = map;
	return e;
}

enum err blame_keep(int have, int *fd, struct blame_page **page, struct why *why)
{
	void *map;
	*fd = -1;
	if (flight_map(have, BLAME_MAGIC, sizeof(**page), true, &map, why) != OK)
		return blame_make(fd, page, why);
	*page = map;
	return OK;
}

enum err blame_open(int fd, const struct blame_page **page, struct why *why)
{
	void *map;
	enum err e = flight_map(fd, BLAME_MAGIC, sizeof(**page), false, &map, why);
	if (e == OK)
		*page = map;
	return e;
}

// -- who ----------------------------------------------------------------------------------------------------------------------

// Of what lies in memory that a worker may have spoiled: printable, and with an end.
static void copy_name(char to[FLIGHT_NAME_MAX], const char *from)
{
	unsigned n = 0;
	for (; n < FLIGHT_NAME_MAX - 1 && from[n] > ' ' && from[n] < 127; n++)
		to[n] = from[n];
	to[n] = '\0';
}

static struct culprit find_culprit(const struct flight_page *f, int status, int hung)
{
	struct culprit c = { .slot = -1, .ring = -1 };
	const struct flight_fault *x = &f->fault;
	// a sanitizer ends with a status after the signal
	bool noted = atomic_load(&x->whole) && (WIFEXITED(status) || x->signal == WTERMSIG(status));
	bool looks = hung >= 0 || (WIFEXITED(status) && !noted); // as it is now, not as the handler found it
	c.slot = hung >= 0 ? hung : noted ? x->slot : WIFEXITED(status) ? (int)FLIGHT_CONTROL : -1;
	if (c.slot == (int)FLIGHT_CONTROL) {
		c.doing = looks ? atomic_load(&f->hand.doing) : x->doing;
		c.conn = looks ? atomic_load(&f->hand.conn) : x->conn;
		c.seq = looks ? atomic_load(&f->hand.seq) : x->seq;
		if (c.doing != FLIGHT_NOTHING)
			copy_name(c.port, f->hand.port);
		else
			c.conn = c.seq = 0;
	} else if (c.slot >= 0 && c.slot < (int)FLIGHT_THREADS) {
		c.at = looks ? atomic_load(&f->thread[c.slot].at) : x->at;
		if (c.at && FLIGHT_AT_PORT(c.at) < FLIGHT_PORTS && FLIGHT_AT_RING(c.at) < BLAME_RINGS) {
			copy_name(c.port, f->port[FLIGHT_AT_PORT(c.at)]);
			c.ring = (int)FLIGHT_AT_RING(c.at);
		}
	}
	return c;
}

static void say(char *to, size_t room, const struct flight_page *f, const struct culprit *c, int status, int hung)
{
	char thread[32] = "an unknown thread";
	int n;
	if (c->slot == (int)FLIGHT_CONTROL)
		snprintf(thread, sizeof(thread), "the control thread");
	else if (c->slot >= 0)
		snprintf(thread, sizeof(thread), "data thread %d", c->slot);
	if (hung >= 0)
		n = snprintf(to, room, "was ended: %s stood still", thread);
	else if (WIFEXITED(status))
		n = snprintf(to, room, "ended by itself with %d", WEXITSTATUS(status));
	else if (c->slot >= 0)
		n = snprintf(to, room, "died of signal %d (%s), code %d, of its own in %s", WTERMSIG(status), strsignal(WTERMSIG(status)),
			     f->fault.code, thread);
	else
		n = snprintf(to, room, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (n < 0 || (size_t)n >= room)
		return;
	to += n;
	room -= (size_t)n;
	if (c->ring >= 0)
		snprintf(to, room, ", at port %s ring %d position %u", c->port, c->ring, FLIGHT_AT_POS(c->at));
	else if (c->doing == FLIGHT_MESSAGE)
		snprintf(to, room, ", at port %s message %llu", c->port, (unsigned long long)c->seq);
	else if (c->doing == FLIGHT_ADOPTION)
		snprintf(to, room, ", at port %s taking its connection over", c->port);
}

// -- what follows ---------------------------------------------------------------------------------------------------------------

const struct blame_port *blame_of(const struct blame_page *page, const char *port)
{
	for (unsigned i = 0; i < FLIGHT_PORTS && port[0]; i++)
		if (strncmp(page->port[i].port, port, FLIGHT_NAME_MAX) == 0)
			return &page->port[i];
	return NULL;
}

static struct blame_port *record_of(struct blame_page *page, const char *port)
{
	const struct blame_port *known = blame_of(page, port);
	struct blame_port *p = page->port;
	if (known)
		return page->port + (known - page->port);
	for (unsigned i = 0; i < FLIGHT_PORTS; i++) { // a free one, or the one that is longest at peace
		struct blame_port *o = &page->port[i];
		if (!o->port[0]) {
			p = o;
			break;
		}
		if (!o->parked && (p->parked || o->death_us[0] < p->death_us[0]))
			p = o;
	}
	memset(p, 0, sizeof(*p));
	memcpy(p->port, port, strlen(port) + 1);
	p->ring = -1;
	return p;
}

static void park(struct blame_page *page, struct blame_port *p, int ring, const char *reason)
{
	if (p->parked)
		return;
	p->parked = ++page->parks;
	p->ring = ring;
	snprintf(p->reason, sizeof(p->reason), "%s", reason);
}

static void count(struct blame_page *page, const struct culprit *c, uint64_t now_us)
{
	struct blame_port *p = record_of(page, c->port);
	char text[BLAME_TEXT];
	p->crashes++;
	memmove(&p->death_us[1], &p->death_us[0], sizeof(p->death_us) - sizeof(p->death_us[0]));
	p->death_us[0] = now_us;
	if (c->ring >= 0) {
		if (now_us - p->ringed[c->ring].last_us > BLAME_WINDOW_US)
			p->ringed[c->ring].n = 0;
		p->ringed[c->ring].last_us = now_us;
		snprintf(text, sizeof(text), "the worker %.100s: ring %d did that %u times", page->last, c->ring, BLAME_RING);
		if (++p->ringed[c->ring].n >= BLAME_RING)
			park(page, p, c->ring, text);
	}
	uint64_t first = p->death_us[BLAME_DEATHS - 1];
	snprintf(text, sizeof(text), "%u workers died of it in ten minutes, the last one %.90s", BLAME_DEATHS, page->last);
	if (first && now_us - first <= BLAME_WINDOW_US)
		park(page, p, c->ring, text);
}

uint64_t blame_death(struct blame_page *page, const struct flight_page *flight, int status, int hung, uint64_t now_us)
{
#ifdef VRINGD_MUTANT_BLAMELESS // seeded bug: it is always nobody's fault
	struct culprit c = { .slot = -1, .ring = -1 };
	(void)find_culprit;
#else
	struct culprit c = find_culprit(flight, status, hung);
#endif
	say(page->last, sizeof(page->last), flight, &c, status, hung);
	if (c.port[0])
		count(page, &c, now_us);
	return c.conn;
}

void blame_release(struct blame_page *page, const char *port)
{
	const struct blame_port *known = blame_of(page, port);
	if (!known)
		return;
	struct blame_port *p = page->port + (known - page->port);
	uint32_t crashes = p->crashes;
	char name[FLIGHT_NAME_MAX];
	memcpy(name, p->port, sizeof(name));
	memset(p, 0, sizeof(*p));
	memcpy(p->port, name, sizeof(name));
	p->crashes = crashes;
	p->ring = -1;
}
