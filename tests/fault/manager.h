// A service manager as vringd sees one: it hears the datagrams, keeps descriptors by name, and gives them to the next start. One per process.
#ifndef FAULT_MANAGER_H
#define FAULT_MANAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// Listen, and have every daemon that is started from now on told so (daemon_in_child). abstract: not in the file system. watchdog_us:
// 0: none.
bool manager_start(bool abstract, uint64_t watchdog_us);
void manager_stop(void);
unsigned manager_kept(void); // descriptors
void manager_lose(bool image); // the image alone, or all but the image
// It keeps no more than n. told: and says so ($FDSTORE). Before a daemon is started.
void manager_room(unsigned n, bool told);
bool manager_await_ready(unsigned timeout_ms); // since the last manager_again
void manager_again(void); // a start is about to be made
pid_t manager_main_pid(void);
unsigned manager_beats(void);
bool manager_stopping(void);
const char *manager_wrong(void); // what it could not understand; NULL: nothing

#endif
