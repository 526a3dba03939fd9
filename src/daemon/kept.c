#include "daemon/kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#include "base/brisk.h"
#include "base/clock.h"
#include "base/crash.h"
#include "base/fd.h"
#include "base/log.h"
#include "flight/flight.h"
#include "loop/loop.h"

#define BUDGET 64 // packets per turn
#define MAX_THINGS 1024

struct thing {
	char name[KP_NAME_MAX];
	int fd;
};

struct kept {
	int sock;
	struct watch *watch;
	struct kp_hello hello;
	struct thing *thing;
	unsigned n_things;
	struct kept_conn *conns; // oldest first
	const struct kept_sink *sink;
	kept_conn_fn *on_conn;
	void *arg;
	bool ready, was_candidate;
	kept_tried_fn *on_tried;
	void *tried_arg;
	void (*on_leave)(void *arg);
	void *leave_arg;
	struct kp_packet in;
	struct brisk brisk;
};

bool kept_wanted(void)
{
	return getenv(KP_ENV) != NULL;
}

// -- what comes -------------------------------------------------------------------------------------------------------------

struct kept_conn *kept_find(struct kept *k, uint64_t id)
{
	for (struct kept_conn *c = k ? k->conns : NULL; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static struct kept_conn *conn_add(struct kept *k, const struct kp_packet *p)
{
	struct kept_conn *c = calloc(1, sizeof(*c)), **at = &k->conns;
	if (!c || p->head.len != sizeof(c->about)) {
		free(c);
		return NULL;
	}
	c->id = p->head.conn;
	memcpy(&c->about, p->body, sizeof(c->about));
	c->about.port[KP_NAME_MAX - 1] = '\0';
	while (*at)
		at = &(*at)->next;
	*at = c;
	return c;
}

static void on_named(struct kept *k, struct kp_packet *p)
{
	if (k->n_things == MAX_THINGS || p->head.len >= KP_NAME_MAX || p->fds[0] < 0)
		return;
	struct thing *t = &k->thing[k->n_things++];
	memcpy(t->name, p->body, p->head.len + 1);
	t->fd = fd_take(&p->fds[0]);
}

static void on_kept(struct kept *k, struct kp_packet *p)
{
	struct kept_conn *c = kept_find(k, p->head.conn);
	for (unsigned i = 0; c && i < p->head.n_fds && c->n_refs < KP_MAX_KEPT && (i + 1) * sizeof(c->ref[0]) <= p->head.len; i++) {
		memcpy(&c->ref[c->n_refs], p->body + i * sizeof(c->ref[0]), sizeof(c->ref[0]));
		c->fd[c->n_refs++] = fd_take(&p->fds[i]);
	}
}

static void on_message(struct kept *k, struct kp_packet *p)
{
	struct kept_conn *c = kept_find(k, p->head.conn);
	if (!c || c->pending)
		return;
	if (c->src) {
		k->sink->message(c->src, p);
		return;
	}
	c->pending = malloc(sizeof(*c->pending)); // a connection has one message out, so this is bounded
	if (!c->pending)
		return; // not done: the keeper will find us too slow, and another worker gets it
	memcpy(c->pending, p, sizeof(*p));
	for (unsigned i = 0; i < KP_MAX_FDS; i++)
		p->fds[i] = -1;
}

static void on_gone(struct kept *k, struct kp_packet *p)
{
	struct kept_conn *c = kept_find(k, p->head.conn);
	if (!c)
		return;
	void *src = c->src;
	kept_forget(k, c);
	if (src)
		k->sink->gone(src, (p->head.flags & KP_CLEAN) != 0, (const char *)p->body);
}

static void on_packet(struct kept *k, struct kp_packet *p)
{
	struct kept_conn *c;
	switch (p->head.type) {
	case KP_HELLO:
		memcpy(&k->hello, p->body, p->head.len < sizeof(k->hello) ? p->head.len : sizeof(k->hello));
		break;
	case KP_NAMED:
		on_named(k, p);
		break;
	case KP_CONN:
		c = conn_add(k, p);
		if (c && k->on_conn)
			k->on_conn(k->arg, c);
		break;
	case KP_KEPT:
		on_kept(k, p);
		break;
	case KP_MESSAGE:
		on_message(k, p);
		break;
	case KP_GONE:
		on_gone(k, p);
		break;
	case KP_READY:
		k->ready = true;
		break;
	case KP_LEAVE:
		if (k->on_leave)
			k->on_leave(k->leave_arg);
		break;
	case KP_TRIED:
		if (k->on_tried)
			k->on_tried(k->tried_arg, fd_take(&p->fds[0]), (const char *)p->body);
		break;
	default:
		log_warn("the keeper says %u, which means nothing here", p->head.type);
	}
	kp_drop(p);
}

static void orphaned(void)
{
	log_err("the keeper is gone: the worker ends at once");
	_exit(1); // no ring is touched and nothing is written any more: front ends have seen the end by now
}

static void on_ready(void *arg, int fd, int ready)
{
	struct kept *k = arg;
	struct why why = { "" };
	(void)ready;
	for (unsigned i = 0; i < BUDGET;) {
		enum err e = kp_recv(fd, &k->in, false, &why);
		if (e == AGAIN && brisk_again(&k->brisk))
			continue;
		if (e == AGAIN)
			return;
		if (e != OK)
			orphaned();
		on_packet(k, &k->in);
		if (k->in.head.type == KP_MESSAGE) // the next one mostly comes soon
			brisk_expect(&k->brisk, clock_boot_us(), flight_busy(flight_page()));
		i++;
	}
}

// -- life -------------------------------------------------------------------------------------------------------------------

static enum err hear_all(struct kept *k, struct why *why)
{
	enum err e = OK;
	for (k->ready = false; !k->ready && e == OK;) {
		e = kp_recv(k->sock, &k->in, true, why);
		if (e == OK)
			on_packet(k, &k->in);
	}
	if (e == OK && kp_common(k->hello.version, k->hello.oldest) == 0)
		e = refuse(why, "the keeper speaks version %u of its language, this program %u: %s", k->hello.version, KP_VERSION,
			   k->hello.version < KP_VERSION ? "upgrade the keeper first (vringctl upgrade --keeper)" : "it is too old");
	if (e == OK && k->hello.role > KP_KEEPER)
		e = refuse(why, "it is asked for what this version does not know (%u)", k->hello.role);
	return e;
}

enum err kept_open(struct kept **out, struct why *why)
{
	const char *env = getenv(KP_ENV);
	struct kept *k = calloc(1, sizeof(*k));
	struct thing *things = calloc(MAX_THINGS, sizeof(*things));
	if (!k || !things || !env) {
		free(k);
		free(things);
		return ours(why, "no memory");
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); // two sets of workers must never serve one guest
	k->thing = things;
	k->sock = atoi(env);
	unsetenv(KP_ENV);
	fd_set_cloexec(k->sock);
	*out = k;
	return hear_all(k, why);
}

static void drop_things(struct kept *k)
{
	for (unsigned i = 0; i < k->n_things; i++)
		fd_reset(&k->thing[i].fd);
	k->n_things = 0;
}

void kept_free(struct kept *k)
{
	if (!k)
		return;
	watch_free(k->watch);
	while (k->conns)
		kept_forget(k, k->conns);
	drop_things(k);
	free(k->thing);
	fd_reset(&k->sock);
	free(k);
}

enum err kept_begin(struct kept *k, struct loop *loop, kept_conn_fn *on_conn, void *arg, struct why *why)
{
	k->on_conn = on_conn;
	k->arg = arg;
	k->watch = watch_new(loop, k->sock, LOOP_READ, on_ready, k);
	return k->watch ? OK : ours(why, "no memory");
}

const struct kp_hello *kept_hello(const struct kept *k)
{
	return &k->hello;
}

// -- what is said ---------------------------------------------------------------------------------------------------------------

static bool say(struct kept *k, struct kp_head h, const void *body, const int *fds)
{
	struct why why = { "" };
	enum err e = k ? kp_send(k->sock, &h, body, fds, true, &why) : OK;
	if (e == DESYNC)
		orphaned();
	if (e != OK)
		log_err("telling the keeper %u: %s", h.type, e == AGAIN ? "too many descriptors under way" : why.text);
	return e == OK;
}

void kept_iam(struct kept *k, uint64_t life)
{
	struct kp_iam b = { .version = kp_common(k->hello.version, k->hello.oldest), .life = life };
	say(k, (struct kp_head){ .type = KP_IAM, .len = sizeof(b) }, &b, NULL);
}

int kept_take(struct kept *k, const char *name)
{
	for (unsigned i = 0; k && i < k->n_things; i++)
		if (k->thing[i].fd >= 0 && strcmp(k->thing[i].name, name) == 0)
			return fd_take(&k->thing[i].fd);
	return -1;
}

bool kept_put(struct kept *k, const char *name, int fd, bool listens)
{
	int old = kept_take(k, name); // or it would be dropped as what nobody wants any more
	fd_reset(&old);
	struct kp_head h = { .type = KP_PUT, .flags = listens ? KP_LISTEN : 0, .n_fds = 1, .len = (uint32_t)strlen(name) };
	return say(k, h, name, &fd);
}

void kept_drop(struct kept *k, const char *name)
{
	say(k, (struct kp_head){ .type = KP_DROP, .len = (uint32_t)strlen(name) }, name, NULL);
}

void kept_release(struct kept *k, const char *port)
{
	say(k, (struct kp_head){ .type = KP_RELEASE, .len = (uint32_t)strlen(port) }, port, NULL);
}

void kept_connected(struct kept *k, const char *port, int fd)
{
	say(k, (struct kp_head){ .type = KP_OPEN, .n_fds = 1, .len = (uint32_t)strlen(port) }, port, &fd);
	fd_reset(&fd);
}

void kept_serving(struct kept *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < k->n_things; i++) // nobody wants it any more: a port that went away
		if (k->thing[i].fd >= 0) {
			fd_reset(&k->thing[i].fd);
			kept_drop(k, k->thing[i].name);
		}
	say(k, (struct kp_head){ .type = KP_SERVING }, NULL, NULL);
}

void kept_end(struct kept *k)
{
	say(k, (struct kp_head){ .type = KP_END }, NULL, NULL);
}

enum err kept_stand_by(struct kept *k, struct why *why)
{
	return hear_all(k, why);
}

enum kp_role kept_role(const struct kept *k)
{
	return k ? (enum kp_role)k->hello.role : KP_WORKER;
}

bool kept_was_candidate(const struct kept *k)
{
	return k && k->was_candidate;
}

enum err kept_fit(struct kept *k, struct why *why)
{
	struct kp_iam b = { .version = kp_common(k->hello.version, k->hello.oldest) };
	drop_things(k);
	k->was_candidate = true;
	crash_here(CRASH_cand_judged);
	enum err e = kp_send(k->sock, &(struct kp_head){ .type = KP_FIT, .len = sizeof(b) }, &b, NULL, true, why);
	crash_here(CRASH_cand_fit);
	return e == OK ? hear_all(k, why) : e;
}

void kept_unfit(struct kept *k, const char *reason)
{
	struct why why;
	kp_tell(k->sock, KP_UNFIT, 0, reason, -1, &why); // if nobody hears it, the end of the pair says enough
}

void kept_try(struct kept *k, int exe, bool self, kept_tried_fn *fn, void *arg)
{
	k->on_tried = fn;
	k->tried_arg = arg;
	say(k, (struct kp_head){ .type = KP_TRY, .flags = self ? KP_SELF : 0, .n_fds = exe >= 0 }, NULL, &exe);
}

void kept_exec(struct kept *k)
{
	say(k, (struct kp_head){ .type = KP_EXEC }, NULL, NULL);
}

void kept_on_leave(struct kept *k, void (*fn)(void *arg), void *arg)
{
	k->on_leave = fn;
	k->leave_arg = arg;
}

void kept_leave(struct kept *k)
{
	say(k, (struct kp_head){ .type = KP_LEAVE }, NULL, NULL);
}

// -- connections ------------------------------------------------------------------------------------------------------------------

int kept_fd(const struct kept_conn *c, uint64_t seq, uint32_t place)
{
	for (unsigned i = 0; i < c->n_refs; i++)
		if (c->ref[i].seq == seq && c->ref[i].place == place)
			return c->fd[i];
	// a message that was committed, and not done
	return c->pending && c->pending->head.seq == seq && place < KP_MAX_FDS ? c->pending->fds[place] : -1;
}

void kept_release_fds(struct kept_conn *c)
{
	fd_reset_all(c->fd, c->n_refs);
	c->n_refs = 0;
}

void kept_each(struct kept *k, kept_conn_fn *fn, void *arg)
{
	struct kept_conn *next;
	for (struct kept_conn *c = k ? k->conns : NULL; c; c = next) {
		next = c->next;
		if (!c->src)
			fn(arg, c);
	}
}

void kept_forget(struct kept *k, struct kept_conn *c)
{
	struct kept_conn **at = &k->conns;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	kept_release_fds(c);
	if (c->pending)
		kp_drop(c->pending);
	free(c->pending);
	free(c);
}

void kept_close(struct kept *k, struct kept_conn *c)
{
	say(k, (struct kp_head){ .type = KP_CLOSE, .conn = c->id }, NULL, NULL);
	kept_forget(k, c);
}

void kept_give_up(struct kept *k, struct kept_conn *c)
{
	say(k, (struct kp_head){ .type = KP_CLOSE, .flags = KP_FILL, .conn = c->id }, NULL, NULL);
	kept_forget(k, c);
}

void kept_attach(struct kept *k, struct kept_conn *c, const struct kept_sink *sink, void *src)
{
	k->sink = sink;
	c->src = src;
}

void kept_done(struct kept *k, const struct kept_conn *c, uint64_t seq, uint8_t flags, const struct kp_done *done,
	       const struct kp_ref *refs)
{
	uint8_t body[sizeof(*done) + KP_MAX_KEPT * sizeof(*refs)];
	memcpy(body, done, sizeof(*done));
	memcpy(body + sizeof(*done), refs, done->n_keep * sizeof(*refs));
	struct kp_head h = { .type = KP_DONE, .flags = flags, .len = (uint32_t)(sizeof(*done) + done->n_keep * sizeof(*refs)),
			     .conn = c->id, .seq = seq };
	say(k, h, body, NULL);
}
