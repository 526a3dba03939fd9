// The handler of fatal signals. It runs in the thread that failed, on a stack of its own, and does nothing that could fail once more.
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "flight/flight.h"

#define STACK_BYTES 32768u

static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
#define N_FATAL (sizeof(fatal) / sizeof(fatal[0]))
static struct sigaction was[N_FATAL]; // a sanitizer's, or the default
static _Thread_local int self = -1;
static _Alignas(64) uint8_t stack[FLIGHT_SLOTS][STACK_BYTES]; // what is not used is never touched

static void note(int signo, const siginfo_t *info)
{
	struct flight_page *p = flight_page();
	struct flight_fault *f = &p->fault;
	if (atomic_exchange(&f->claimed, 1))
		return; // another thread was first
	f->slot = self;
	f->signal = signo;
	f->code = info->si_code;
	f->addr = info->si_code > 0 ? (uintptr_t)info->si_addr : 0;
	if (self == (int)FLIGHT_CONTROL) {
		f->doing = atomic_load(&p->hand.doing);
		f->conn = atomic_load(&p->hand.conn);
		f->seq = atomic_load(&p->hand.seq);
	} else if (self >= 0) {
		f->at = atomic_load(&p->thread[self].at);
	}
	atomic_store(&f->whole, 1);
}

static void on_fatal(int signo, siginfo_t *info, void *context)
{
	(void)context;
	atomic_store(&flight_page()->dying, (uint32_t)signo);
	// above 0: the kernel's own, which nobody can feign; else one that this process sent itself, as abort() does
	if (info->si_code > 0 || info->si_pid == getpid())
		note(signo, info);
	for (unsigned i = 0; i < N_FATAL; i++)
		if (fatal[i] == signo)
			sigaction(signo, &was[i], NULL);
	if (info->si_code <= 0) // else the same instruction fails again
		raise(signo);
}

int flight_install(void)
{
	struct sigaction sa;
	int rc = 0;
	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_fatal;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigemptyset(&sa.sa_mask);
	for (unsigned i = 0; i < N_FATAL && rc == 0; i++)
		rc = sigaction(fatal[i], &sa, &was[i]);
	return rc;
}

void flight_unblock(sigset_t *set)
{
	for (unsigned i = 0; i < N_FATAL; i++)
		sigdelset(set, fatal[i]);
}

struct flight_thread *flight_here(unsigned slot)
{
	struct flight_thread *t = &flight_page()->thread[slot];
	stack_t s = { .ss_sp = stack[slot], .ss_size = STACK_BYTES }, had;
	self = (int)slot;
	// without it an overflow of the stack is told to nobody; a sanitizer has its own, and takes it back
	if (sigaltstack(NULL, &had) == 0 && (had.ss_flags & SS_DISABLE))
		sigaltstack(&s, NULL);
	atomic_store(&t->tid, (int32_t)syscall(SYS_gettid));
	return t;
}
