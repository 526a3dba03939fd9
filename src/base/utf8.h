// Text as UTF-8: what comes from outside may be anything, and what we answer in must be text.
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>

// Is text well-formed UTF-8 without control characters?
bool utf8_ok(const char *text);
// Put '?' in the place of each byte that belongs to no well-formed character (a text that was cut ends with some). Returns text.
char *utf8_mend(char *text);

#endif
