// The guests' initramfs, written here: a cpio archive (newc) through gzip, with busybox, the agent, the virtio modules and an
// init that loads them and becomes the agent.
#ifndef LAB_INITRD_H
#define LAB_INITRD_H

#include "base/err.h"
#include "lab/assets.h"

enum err initrd_write(const char *path, const struct assets *a, struct why *why);

#endif
