// The control thread's event loop: the fence around libevent (no other folder names it). One thread owns a loop; every
// call below is made on that thread, except loop_wake. Callbacks run one at a time; deferred work runs after the batch of
// events in hand, never inside another callback. An idle loop sleeps: no timer is armed that nobody asked for.
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdint.h>

struct loop;
struct watch;
struct timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void watch_fn(void *arg, int fd, int ready); // ready: LOOP_READ and LOOP_WRITE bits
typedef void timer_fn(void *arg);

struct loop *loop_new(void); // NULL if out of resources
void loop_free(struct loop *loop); // watches and timers must be gone
void loop_run(struct loop *loop); // returns after loop_stop
void loop_stop(struct loop *loop);

// Watch fd, which stays the caller's and must outlive the watch: watch_free first, then close. what may be 0.
struct watch *watch_new(struct loop *loop, int fd, int what, watch_fn *fn, void *arg);
void watch_set(struct watch *w, int what);
void watch_free(struct watch *w); // NULL is fine; may be called from its own callback

// One-shot timer, unarmed at first. Arming an armed timer moves it.
struct timer *timer_new(struct loop *loop, timer_fn *fn, void *arg);
void timer_arm(struct timer *t, uint64_t in_us);
void timer_cancel(struct timer *t);
int timer_armed(const struct timer *t);
void timer_free(struct timer *t); // NULL is fine; may be called from its own callback

// A signal as an event. The watch is freed with watch_free; ready is the signal number.
struct watch *loop_signal(struct loop *loop, int signo, watch_fn *fn, void *arg);

// Run fn(arg) once, after the callbacks of this turn.
void loop_defer(struct loop *loop, timer_fn *fn, void *arg);

#endif
