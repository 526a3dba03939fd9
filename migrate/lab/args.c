#include "lab/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void add(struct args *a, const char *fmt, va_list ap)
{
	char *text;
	char **v = realloc(a->v, (a->n + 2) * sizeof(*v));
	if (!v || vasprintf(&text, fmt, ap) < 0) {
		fputs("vringlab: out of memory\n", stderr);
		exit(3);
	}
	a->v = v;
	a->v[a->n++] = text;
	a->v[a->n] = NULL;
}

void args_add(struct args *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	add(a, fmt, ap);
	va_end(ap);
}

void args_pair(struct args *a, const char *name, const char *fmt, ...)
{
	args_add(a, "%s", name);
	va_list ap;
	va_start(ap, fmt);
	add(a, fmt, ap);
	va_end(ap);
}

void args_free(struct args *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i]);
	free(a->v);
	*a = (struct args){ 0 };
}
