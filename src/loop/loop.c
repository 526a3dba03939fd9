// The fence around libevent. Objects are freed at once if nobody is inside them, else when their callback returns: a callback may
// free what called it.
#include "loop/loop.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>

#include "base/log.h"

struct deferred {
	struct deferred *next;
	timer_fn *fn;
	void *arg;
};

struct loop {
	struct event_base *base;
	bool stop;
	struct deferred *head, **tail;
};

struct watch {
	struct loop *loop;
	struct event *ev; // present while `what` is not 0
	int fd, what;
	bool is_signal, inside, dead;
	watch_fn *fn;
	void *arg;
};

struct timer {
	struct loop *loop;
	struct event *ev;
	bool inside, dead;
	timer_fn *fn;
	void *arg;
};

static void on_libevent_log(int severity, const char *text)
{
	log_line(severity >= EVENT_LOG_ERR ? LOG_LERR : severity >= EVENT_LOG_WARN ? LOG_LWARN : LOG_LDEBUG, "event loop: %s", text);
}

struct loop *loop_new(void)
{
	event_set_log_callback(on_libevent_log);
	struct loop *loop = calloc(1, sizeof(*loop));
	struct event_config *cfg = loop ? event_config_new() : NULL;
	if (cfg) {
		event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK); // one thread owns the loop
		event_config_set_flag(cfg, EVENT_BASE_FLAG_PRECISE_TIMER);
		loop->base = event_base_new_with_config(cfg);
		event_config_free(cfg);
	}
	if (!loop || !loop->base) {
		free(loop);
		return NULL;
	}
	loop->tail = &loop->head;
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->head) {
		struct deferred *d = loop->head;
		loop->head = d->next;
		free(d);
	}
	event_base_free(loop->base);
	free(loop);
}

static void run_deferred(struct loop *loop)
{
	// what a deferred call defers runs in the next turn, so that it can't starve the sockets
	struct deferred *d = loop->head;
	loop->head = NULL;
	loop->tail = &loop->head;
	while (d) {
		struct deferred *next = d->next;
		d->fn(d->arg);
		free(d);
		d = next;
	}
}

void loop_run(struct loop *loop)
{
	loop->stop = false;
	while (!loop->stop) {
		int flags = EVLOOP_ONCE | (loop->head ? EVLOOP_NONBLOCK : 0);
		if (event_base_loop(loop->base, flags) < 0)
			break;
		run_deferred(loop);
	}
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
	event_base_loopbreak(loop->base);
}

static void watch_release(struct watch *w)
{
	if (w->ev)
		event_free(w->ev);
	free(w);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	int ready = w->is_signal ? (int)fd : (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0);
	w->inside = true;
	w->fn(w->arg, (int)fd, ready);
	w->inside = false;
	if (w->dead)
		watch_release(w);
}

struct watch *watch_new(struct loop *loop, int fd, int what, watch_fn *fn, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->loop = loop;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(loop->base, fd, 0, on_watch, w);
	if (!w->ev) {
		free(w);
		return NULL;
	}
	watch_set(w, what);
	return w;
}

void watch_set(struct watch *w, int what)
{
	if (what == w->what || w->dead)
		return;
	event_del(w->ev);
	w->what = what;
	short bits = (short)(EV_PERSIST | (what & LOOP_READ ? EV_READ : 0) | (what & LOOP_WRITE ? EV_WRITE : 0));
	if (what == 0)
		return;
	event_assign(w->ev, w->loop->base, w->fd, bits, on_watch, w);
	event_add(w->ev, NULL);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	event_del(w->ev);
	if (w->inside)
		w->dead = true;
	else
		watch_release(w);
}

static void timer_release(struct timer *t)
{
	event_free(t->ev);
	free(t);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	struct timer *t = arg;
	t->inside = true;
	t->fn(t->arg);
	t->inside = false;
	if (t->dead)
		timer_release(t);
}

struct timer *timer_new(struct loop *loop, timer_fn *fn, void *arg)
{
	struct timer *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->loop = loop;
	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(loop->base, -1, 0, on_timer, t);
	if (!t->ev) {
		free(t);
		return NULL;
	}
	return t;
}

void timer_arm(struct timer *t, uint64_t in_us)
{
	struct timeval tv = { .tv_sec = (time_t)(in_us / 1000000), .tv_usec = (suseconds_t)(in_us % 1000000) };
	event_add(t->ev, &tv);
}

void timer_cancel(struct timer *t)
{
	event_del(t->ev);
}

int timer_armed(const struct timer *t)
{
	return event_pending(t->ev, EV_TIMEOUT, NULL) != 0;
}

void timer_free(struct timer *t)
{
	if (!t)
		return;
	event_del(t->ev);
	if (t->inside)
		t->dead = true;
	else
		timer_release(t);
}

struct watch *loop_signal(struct loop *loop, int signo, watch_fn *fn, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->loop = loop;
	w->fd = signo;
	w->is_signal = true;
	w->fn = fn;
	w->arg = arg;
	w->ev = event_new(loop->base, signo, EV_SIGNAL | EV_PERSIST, on_watch, w);
	if (!w->ev || event_add(w->ev, NULL) != 0) {
		watch_release(w);
		return NULL;
	}
	return w;
}

void loop_defer(struct loop *loop, timer_fn *fn, void *arg)
{
	struct deferred *d = malloc(sizeof(*d));
	if (!d) { // never lose it: now is the best that is left
		fn(arg);
		return;
	}
	d->next = NULL;
	d->fn = fn;
	d->arg = arg;
	*loop->tail = d;
	loop->tail = &d->next;
}

