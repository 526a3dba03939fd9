// What stands still, and what only waits for a CPU. Real threads of this process, looked at as the keeper does.
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "flight/hang.h"

#define LOOKS 20u // 4 s

static struct flight_page *page;
static _Atomic bool over;

struct thread {
	pthread_t t;
	unsigned slot;
	int cpu; // -1: any
	int policy;
	void (*fn)(struct flight_thread *t);
};

static void *main_of(void *arg)
{
	struct thread *t = arg;
	struct sched_param p = { .sched_priority = 0 };
	cpu_set_t set;
	if (t->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET((size_t)t->cpu, &set);
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	struct flight_thread *f = &page->thread[t->slot];
	atomic_store(&f->tid, (int)syscall(SYS_gettid));
	atomic_store(&f->awake, 1);
	pthread_setschedparam(pthread_self(), t->policy, &p);
	t->fn(f);
	atomic_store(&f->awake, 0);
	return NULL;
}

static void start(struct thread *t)
{
	assert_int_equal(pthread_create(&t->t, NULL, main_of, t), 0);
	while (!atomic_load(&page->thread[t->slot].awake))
		usleep(1000);
}

static void loops(struct flight_thread *t)
{
	(void)t;
	while (!over)
		;
}

static void sleeps(struct flight_thread *t)
{
	(void)t;
	while (!over)
		usleep(50000);
}

static void beats(struct flight_thread *t)
{
	while (!over) {
		atomic_fetch_add(&t->beat, 1);
		usleep(1000);
	}
}

static void moves_on(struct flight_thread *t) // one long turn, a batch after the other
{
	for (unsigned i = 0; !over; i++) {
		flight_at(t, FLIGHT_AT(1, 1, i));
		usleep(20000);
	}
}

// The looks until one thread stands still; 0: none does in LOOKS.
static unsigned look(struct hang *h, uint64_t since_us, unsigned most)
{
	for (unsigned i = 1; i <= most; i++) {
		usleep(HANG_LOOK_US);
		if (hang_look(h, page, getpid(), since_us, clock_boot_us()))
			return i;
	}
	return 0;
}

static void begin(struct hang *h)
{
	flight_reset(page);
	hang_reset(h);
	hang_wake(h, clock_boot_us());
	over = false;
}

static void stands_still(void **state)
{
	struct hang h;
	struct thread healthy = { .slot = 0, .cpu = -1, .fn = beats }, t = { .slot = 1, .cpu = -1 };
	void (*const bad[])(struct flight_thread *) = { loops, sleeps };
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(&h);
		t.fn = bad[i];
		start(&healthy);
		start(&t);
		unsigned looks = look(&h, 0, 10 * LOOKS); // it may get little of the CPU
		over = true;
		pthread_join(t.t, NULL);
		pthread_join(healthy.t, NULL);
		assert_true(looks >= HANG_LOOKS);
		assert_int_equal(h.slot, 1);
	}
}

static void gets_on(void **state)
{
	struct hang h;
	struct thread a = { .slot = 0, .cpu = -1, .fn = beats }, b = { .slot = 1, .cpu = -1, .fn = moves_on };
	(void)state;
	begin(&h);
	start(&a);
	start(&b);
	assert_int_equal(look(&h, 0, LOOKS), 0);
	assert_true(h.watching);
	over = true;
	pthread_join(a.t, NULL);
	pthread_join(b.t, NULL);
	assert_int_equal(look(&h, 0, 8), 0); // both asleep: nobody looks any more
	assert_false(h.watching);
	assert_int_equal(page->watched, 0);
	assert_int_equal(hang_due(&h, 0), 0);
	assert_true(hang_due(&h, 1) != 0); // a message is out
}

// A thread that can run and does not get to, since another one takes the CPU: it has done nothing wrong, nor has one that
// sleeps until it goes on.
static void preempted(void **state)
{
	struct hang h;
	struct thread busy = { .slot = 8, .cpu = 0, .fn = loops }, waits = { .slot = 2, .cpu = -1, .fn = sleeps },
		      victim = { .slot = 1, .cpu = 0, .policy = SCHED_IDLE, .fn = loops };
	(void)state;
	begin(&h);
	start(&busy);
	start(&victim);
	start(&waits);
	usleep(100000);
	atomic_store(&page->thread[8].awake, 0); // it is no thread of ours
	assert_int_equal(look(&h, 0, LOOKS), 0);
	assert_true(h.thread[1].looks >= HANG_LOOKS); // and not because it moved
	over = true;
	pthread_join(victim.t, NULL);
	pthread_join(busy.t, NULL);
	pthread_join(waits.t, NULL);
}

static void control_thread(void **state)
{
	struct hang h;
	(void)state;
	begin(&h);
	// this very thread: it looks, and so runs a little; it sleeps in usleep, which is no work, when it is looked at by another
	page->hand.doing = FLIGHT_MESSAGE;
	assert_int_equal(look(&h, 0, 4), 0); // no message is out
	uint64_t since = clock_boot_us();
	h.watching = false;
	assert_int_equal(hang_due(&h, since), since + HANG_LOOK_US);
	for (unsigned i = 0; i < LOOKS; i++) { // each look another message
		usleep(1000);
		assert_false(hang_look(&h, page, getpid(), since + i, clock_boot_us()));
	}
}

// The bell rings when a thread wakes and nobody watches, and only then.
static void bell(void **state)
{
	struct why why;
	int fd, ring[2];
	char byte[64];
	struct flight_page *p;
	(void)state;
	assert_int_equal(flight_make(&fd, &p, &why), OK);
	assert_int_equal(pipe(ring), 0);
	assert_int_equal(flight_use(fd, ring[1], &why), OK);
	struct flight_thread *t = &flight_page()->thread[0];
	flight_awake(t);
	flight_asleep(t);
	flight_awake(t);
	assert_int_equal(read(ring[0], byte, sizeof(byte)), 8);
	struct hang h;
	hang_reset(&h);
	hang_wake(&h, 1);
	for (unsigned i = 0; i < 20; i++) // awake: it is watched
		hang_look(&h, p, getpid(), 0, i);
	assert_int_equal(p->watched, 1);
	flight_asleep(t);
	for (unsigned i = 0; i < 20; i++)
		hang_look(&h, p, getpid(), 0, i);
	assert_int_equal(p->watched, 0);
	flight_awake(t);
	assert_int_equal(read(ring[0], byte, sizeof(byte)), 8);
	close(fd);
}

// Nobody gets on in a process that writes its core, and it is nobody's fault; one that does not come to an end is ended.
static void dying(void **state)
{
	(void)state;
	struct thread t = { .slot = 2, .cpu = -1, .policy = SCHED_OTHER, .fn = sleeps };
	struct hang h;
	over = false;
	hang_reset(&h);
	start(&t);
	atomic_store(&page->dying, 6);
	for (unsigned i = 1; i <= HANG_DYING_LOOKS; i++) {
		bool hung = hang_look(&h, page, getpid(), 1, clock_boot_us());
		assert_int_equal(h.slot, -1);
		assert_int_equal(hung, i == HANG_DYING_LOOKS);
		usleep(2000);
	}
	atomic_store(&page->dying, 0);
	over = true;
	pthread_join(t.t, NULL);
}

int main(void)
{
	struct why why;
	int fd;
	if (flight_make(&fd, &page, &why) != OK)
		return 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stands_still), cmocka_unit_test(gets_on), cmocka_unit_test(preempted), cmocka_unit_test(control_thread),
		cmocka_unit_test(bell), cmocka_unit_test(dying),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
