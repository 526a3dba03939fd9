#include "net/eth.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool mac_parse(const char *text, uint8_t mac[6])
{
	uint8_t out[6];
	for (int i = 0; i < 6; i++, text += 3) {
		int hi = hex_digit(text[0]);
		int lo = hi < 0 ? -1 : hex_digit(text[1]); // never past the terminating NUL
		if (lo < 0 || text[2] != (i < 5 ? ':' : '\0'))
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	memcpy(mac, out, sizeof(out));
	return true;
}

const char *mac_format(const uint8_t mac[6], char *buf)
{
	static const char digits[] = "0123456789abcdef";
	char *at = buf;
	for (int i = 0; i < 6; i++) {
		*at++ = digits[mac[i] >> 4];
		*at++ = digits[mac[i] & 15];
		*at++ = i < 5 ? ':' : '\0';
	}
	return buf;
}
