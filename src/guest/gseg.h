// A piece of guest memory, translated and checked: host address for the copy, guest-physical address for the log.
#ifndef GUEST_GSEG_H
#define GUEST_GSEG_H

#include <stdint.h>

struct gseg {
	uint8_t *host;
	uint64_t gpa;
	uint32_t len;
};

#endif
