// The QMP side of one migration: capabilities, parameters, start, wait.
#ifndef LAB_MIGRATION_H
#define LAB_MIGRATION_H

#include "lab/opts.h"
#include "lab/qemu.h"
#include "lab/result.h"

enum err migration_set_cap(struct vm *vm, const char *name, bool on, struct why *why);
// "name=value": a number, true, false or a word.
enum err migration_set_param(struct vm *vm, const char *name_value, struct why *why);
// What the options ask for, on both sides; then the destination listens, and the source starts.
enum err migration_start(struct vm *src, struct vm *dst, const struct opts *o, struct why *why);
// Until the source says one of these statuses (a list ended by NULL), or failed: REFUSED with QEMU's reason.
enum err migration_wait(struct vm *src, const char *const *statuses, uint64_t until_us, struct why *why);
// Downtime and such of a completed one.
enum err migration_read(struct vm *src, struct round *r, struct why *why);

#endif
