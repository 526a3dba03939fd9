// What a guest is made of: kernel, its modules, busybox, the agent; and which QEMU can be had. Found, never fetched.
#ifndef LAB_ASSETS_H
#define LAB_ASSETS_H

#include "base/err.h"
#include "lab/opts.h"

#define ASSET_PATH 512

struct qemu_binary {
	char path[ASSET_PATH];
	unsigned major, minor;
	char version[32];
};

struct assets {
	char kernel[ASSET_PATH];
	char modules[ASSET_PATH]; // folder of the kernel's version; "" with a ready initrd or image
	char busybox[ASSET_PATH];
	char agent[ASSET_PATH];
	struct qemu_binary src, dst;
};

// Find all that these options need. OURS says what is missing and how to get it.
enum err assets_find(struct assets *a, const struct opts *o, struct why *why);
// A program: an explicit path, the one beside this program, or in its libexec folder, or in PATH. false if none.
bool program_find(const char *name, char out[ASSET_PATH]);

#endif
