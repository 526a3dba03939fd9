// The handler puts a zero page under the fault and marks the map broken: the copy that faulted goes on, the port is closed at its
// next turn, other ports never notice.
#include "base/guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD_SLOTS 4096

// Written under the lock by the control thread, read by the handler without it: `addr` is published last and cleared first.
static struct {
	_Atomic uintptr_t addr;
	_Atomic size_t len, page;
	_Atomic(_Atomic bool *) broken;
} slots[GUARD_SLOTS];
static _Atomic unsigned slots_used;
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

bool guard_add(void *addr, size_t len, size_t page, _Atomic bool *broken)
{
	bool found = false;
	pthread_mutex_lock(&slots_lock);
	for (unsigned i = 0; i < GUARD_SLOTS && !found; i++) {
		if (atomic_load(&slots[i].addr) != 0)
			continue;
		atomic_store(&slots[i].len, len);
		atomic_store(&slots[i].page, page);
		atomic_store(&slots[i].broken, broken);
		atomic_store(&slots[i].addr, (uintptr_t)addr);
		if (i >= atomic_load(&slots_used))
			atomic_store(&slots_used, i + 1);
		found = true;
	}
	pthread_mutex_unlock(&slots_lock);
	return found;
}

void guard_del(void *addr)
{
	pthread_mutex_lock(&slots_lock);
	for (unsigned i = 0; i < atomic_load(&slots_used); i++)
		if (atomic_load(&slots[i].addr) == (uintptr_t)addr)
			atomic_store(&slots[i].addr, 0);
	pthread_mutex_unlock(&slots_lock);
}

static struct sigaction before; // whose SIGBUS it was

static void on_sigbus(int signo, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	unsigned n = atomic_load(&slots_used);
	for (unsigned i = 0; i < n; i++) {
		uintptr_t addr = atomic_load(&slots[i].addr);
		if (addr == 0 || at - addr >= atomic_load(&slots[i].len))
			continue;
		// MAP_FIXED over our own mapping: the address is known to be ours
		size_t size = atomic_load(&slots[i].page);
		void *page = (void *)(at & ~(uintptr_t)(size - 1));
		if (mmap(page, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
		atomic_store(atomic_load(&slots[i].broken), true);
		return;
	}
	// not guest memory: somebody else's, or the same instruction faults again, now for good
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(signo, info, context);
	else
		signal(signo, SIG_DFL);
}

int guard_install(void)
{
	struct sigaction sa;
	memset(&sa, 0, sizeof(sa));
	sa.sa_sigaction = on_sigbus;
	sa.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
	sigemptyset(&sa.sa_mask);
	return sigaction(SIGBUS, &sa, &before);
}
