// A piece of guest memory, translated and checked: host address for the copy, guest-physical address for the log.
#ifndef GUEST_GSEG_H
#define GUEST_GSEG_H

#include <stdint.h>

struct gseg {
	const uint8_t *host; // gwrite.c alone stores through it
	uint64_t gpa;
	uint32_t len;
};

#endif
