#include "base/utf8.h"

#include <stddef.h>
#include <stdint.h>

// Bytes of the well-formed character at s (Unicode 15, table 3-7); 0: there is none. Reads no further than a NUL.
static size_t character(const uint8_t *s)
{
	if (s[0] < 0x80)
		return 1;
	size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; // longer than need be, a surrogate, or past the last character
	return n;
}

bool utf8_ok(const char *text)
{
	for (const uint8_t *s = (const uint8_t *)text; *s;) {
		size_t n = character(s);
		if (n == 0 || *s < 0x20 || *s == 0x7f)
			return false;
		s += n;
	}
	return true;
}

char *utf8_mend(char *text)
{
	for (char *s = text; *s;) {
		size_t n = character((const uint8_t *)s);
		if (n == 0)
			*s = '?';
		s += n ? n : 1;
	}
	return text;
}
