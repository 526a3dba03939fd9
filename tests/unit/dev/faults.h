// One fault in one good request, in a state of the session: what must follow from the message's row.
#ifndef FAULTS_H
#define FAULTS_H

#include "devbed.h"

enum state { FRESH, CONFIGURED, RUNNING, LOGGING, N_STATES };

// Put fault number k into a good request about ring 1. False: it does not apply to this message in this state.
typedef bool fault_fn(struct devbed *b, struct request *r, int k);

// Bring a session into the state, send the request with the fault and check that it is refused as its row says, that
// nothing was changed and that nothing stays open. desync: the stream must be closed whatever the row says. Returns what
// change returned.
bool try_fault(uint32_t id, enum state s, bool need_reply, const char *name, fault_fn *change, int k, bool desync);
// Every message, every state, asked and not asked, faults from to to (0 is left out unless it is first); at_least so many
// apply.
void try_each(const char *name, fault_fn *change, int from, int to, bool desync, unsigned at_least);

#endif
