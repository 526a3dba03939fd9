// What a fuzz target and the replay share.
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The input as bytes one after the other; zeros behind its end.
struct fuzz_in {
	const uint8_t *at;
	size_t left;
};
static inline uint8_t fuzz_byte(struct fuzz_in *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

// A property that must hold for every input; a broken one ends the program, which is what the fuzzer looks for.
#define FUZZ_CHECK(property)                                                                     \
	do {                                                                                     \
		if (!(property)) {                                                               \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

#endif
