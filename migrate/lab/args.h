// An argument list that grows: a command line for exec. Running out of memory while building one ends the program: nothing
// has been started by then that would not end with it.
#ifndef LAB_ARGS_H
#define LAB_ARGS_H

#include <stddef.h>

struct args {
	char **v; // n strings and a NULL, owned
	size_t n;
};

void args_add(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// "-name", then the value.
void args_pair(struct args *a, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void args_free(struct args *a);

#endif
