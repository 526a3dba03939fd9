// Child processes. Each dies with this process, whatever becomes of it.
#ifndef LAB_PROC_H
#define LAB_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct proc {
	pid_t pid; // 0: none
	int status; // as waitpid gave it, once it ended
	char name[32];
	char log[256]; // where its output goes
};

// Start argv[0] (looked up in PATH) with stdout and stderr appended to the file `log` and stdin from /dev/null.
// nice: -20..19, its priority and that of its session where the kernel schedules by session; without the right to it, as we are.
// A program that can't be executed is an error here, not a child that ends.
enum err proc_start(struct proc *p, const char *name, char *const argv[], int nice, const char *log, struct why *why);
// Is it still there? Reaps it if not.
bool proc_running(struct proc *p);
// SIGTERM, up to grace_ms, then SIGKILL, which those that it started get, too; reaps. Nothing happens if it ended or was never started.
void proc_end(struct proc *p, unsigned grace_ms);
// How it ended and the last line that it wrote, for a message.
void proc_describe(const struct proc *p, char *buf, size_t size);
void sleep_ms(unsigned ms);
// A folder for this user only; no error if it is there.
enum err folder_make(const char *path, struct why *why);

// SIGINT and SIGTERM set a flag that the waits of this program look at.
void interrupt_catch(void);
bool interrupted(void);

#endif
