#include "agent_traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (16 << 20)
#define BURST 16 // after a pause a sender catches up by this many datagrams at most, then its schedule starts anew

struct sender {
	struct traffic *owner;
	pthread_t thread;
	uint64_t interval_ns;
	uint64_t sent, refused;
	uint32_t run, size;
	uint16_t stream;
};

struct traffic {
	int fd; // bound to LAB_PORT: both directions
	struct sockaddr_in peer;
	pthread_mutex_t lock; // the tally
	struct tally *tally;
	pthread_t receiver;
	atomic_bool sending;
	unsigned n_senders;
	struct sender sender[LAB_STREAMS_MAX];
};

uint64_t traffic_now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

// The kernel's arrival time: it does not depend on when this thread gets a CPU.
static uint64_t message_time_us(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec ts;
			memcpy(&ts, CMSG_DATA(c), sizeof(ts));
			return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
		}
	}
	return traffic_now_us();
}

static void *receiver_run(void *arg)
{
	struct traffic *t = arg;
	static uint8_t data[65536];
	for (;;) {
		union {
			char bytes[256];
			struct cmsghdr align;
		} control;
		struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(t->fd, &m, 0);
		if (n < 0) // an ICMP error from the other guest, say: not a datagram
			continue;
		uint64_t now = message_time_us(&m);
		pthread_mutex_lock(&t->lock);
		tally_take(t->tally, data, (size_t)n, now);
		pthread_mutex_unlock(&t->lock);
	}
	return NULL;
}

static void timespec_add(struct timespec *ts, uint64_t ns)
{
	uint64_t total = (uint64_t)ts->tv_nsec + ns;
	ts->tv_sec += (time_t)(total / 1000000000);
	ts->tv_nsec = (long)(total % 1000000000);
}

static int64_t behind_ns(const struct timespec *due)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(now.tv_sec - due->tv_sec) * 1000000000 + (now.tv_nsec - due->tv_nsec);
}

static void *sender_run(void *arg)
{
	struct sender *s = arg;
	struct traffic *t = s->owner;
	uint8_t data[LAB_SIZE_MAX];
	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	timespec_add(&due, s->interval_ns * s->stream / t->n_senders); // streams take turns
	while (atomic_load(&t->sending)) {
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
		if (behind_ns(&due) > (int64_t)(s->interval_ns * BURST))
			clock_gettime(CLOCK_MONOTONIC, &due);
		timespec_add(&due, s->interval_ns);
		lab_datagram_fill(data, s->size, s->run, s->stream, s->sent, traffic_now_us());
		ssize_t n = send(t->fd, data, s->size, 0);
		if (n == (ssize_t)s->size)
			s->sent++;
		else
			s->refused++; // the number is used again: nothing left the guest
	}
	return NULL;
}

struct traffic *traffic_new(struct in_addr own, struct in_addr peer)
{
	struct traffic *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->tally = tally_new();
	t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	t->peer = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(LAB_PORT), .sin_addr = peer };
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(LAB_PORT), .sin_addr = own };
	int bytes = BUFFER_BYTES, one = 1;
	pthread_mutex_init(&t->lock, NULL);
	if (!t->tally || t->fd < 0 || bind(t->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return NULL; // the process ends with it
	// connected: the route is looked up once, and the first datagram after a move has less code to get through
	if (connect(t->fd, (struct sockaddr *)&t->peer, sizeof(t->peer)) < 0)
		return NULL;
	setsockopt(t->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(t->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(t->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one));
	setsockopt(t->fd, SOL_IP, IP_RECVERR, &one, sizeof(one)); // or a full transmit queue would drop without a word
	tally_reset(t->tally, 0, 0, 0, traffic_now_us());
	errno = pthread_create(&t->receiver, NULL, receiver_run, t);
	return errno ? NULL : t;
}

uint64_t traffic_prepare(struct traffic *t, uint32_t run, uint32_t size, unsigned streams)
{
	pthread_mutex_lock(&t->lock);
	uint64_t now = traffic_now_us();
	tally_reset(t->tally, run, size, streams, now);
	pthread_mutex_unlock(&t->lock);
	return now;
}

// Each stream keeps to one CPU, so that it keeps to one queue of the device; the first one not to CPU 0, which has the
// interrupts. Before all else in the guest: what is measured is the network, not the guest's scheduler.
static void sender_pin(struct sender *s)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct sched_param first = { .sched_priority = 1 };
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((s->stream + 1u) % (unsigned)(cpus > 0 ? cpus : 1), &set);
	pthread_setaffinity_np(s->thread, sizeof(set), &set);
	pthread_setschedparam(s->thread, SCHED_FIFO, &first);
}

bool traffic_start(struct traffic *t, uint32_t run, unsigned rate, uint32_t size, unsigned streams)
{
	if (t->n_senders || streams < 1 || streams > LAB_STREAMS_MAX || rate < 1 || size < LAB_SIZE_MIN || size > LAB_SIZE_MAX)
		return false;
	atomic_store(&t->sending, true);
	t->n_senders = streams;
	for (unsigned i = 0; i < streams; i++) {
		struct sender *s = &t->sender[i];
		*s = (struct sender){ .owner = t, .run = run, .size = size, .stream = (uint16_t)i };
		s->interval_ns = UINT64_C(1000000000) * streams / rate;
		if (pthread_create(&s->thread, NULL, sender_run, s) != 0) {
			t->n_senders = i;
			traffic_stop(t, NULL, NULL);
			return false;
		}
		sender_pin(s);
	}
	return true;
}

unsigned traffic_stop(struct traffic *t, uint64_t sent[LAB_STREAMS_MAX], uint64_t *refused)
{
	unsigned n = t->n_senders;
	atomic_store(&t->sending, false);
	if (refused)
		*refused = 0;
	for (unsigned i = 0; i < n; i++) {
		pthread_join(t->sender[i].thread, NULL);
		if (sent)
			sent[i] = t->sender[i].sent;
		if (refused)
			*refused += t->sender[i].refused;
	}
	t->n_senders = 0;
	return n;
}

const struct tally *traffic_lock(struct traffic *t)
{
	pthread_mutex_lock(&t->lock);
	return t->tally;
}

void traffic_unlock(struct traffic *t)
{
	pthread_mutex_unlock(&t->lock);
}

struct tally_window traffic_look(struct traffic *t)
{
	pthread_mutex_lock(&t->lock);
	struct tally_window w = tally_look(t->tally);
	pthread_mutex_unlock(&t->lock);
	return w;
}
