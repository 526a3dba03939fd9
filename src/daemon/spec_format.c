// Writing a SPEC, and comparing two.
#include "daemon/spec.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "daemon/spec_keys.h"
#include "dev/dev.h"
#include "net/eth.h"

static size_t put(char *buf, size_t size, size_t at, const char *text)
{
	for (; *text; text++, at++)
		if (at + 1 < size)
			buf[at] = *text;
	if (size)
		buf[at < size ? at : size - 1] = '\0';
	return at;
}

static void format_value(const struct port_spec *s, const struct key *k, char *v, size_t size)
{
	const char *at = (const char *)s + (k->at == SIZE_MAX ? 0 : k->at);
	size_t n = 0;
	v[0] = '\0';
	switch (k->type) {
	case T_MACS:
		for (unsigned i = 0; i < s->n_macs; i++) {
			uint8_t mac[6];
			char text[18];
			mac_of_key(mac, s->macs[i]);
			n = put(v, size, n, i ? "+" : "");
			n = put(v, size, n, mac_format(mac, text));
		}
		return;
	case T_FEATURES:
		for (unsigned set = 0; set < 4; set++)
			for (unsigned b = 0; b < 64; b++) {
				uint64_t bits = set == 0 ? s->features_plus : set == 1 ? s->features_minus : set == 2 ? s->proto_plus : s->proto_minus;
				if (!bits_has(bits, b))
					continue;
				n = put(v, size, n, n ? ":" : "");
				n = put(v, size, n, set % 2 ? "-" : "+");
				n = put(v, size, n, set < 2 ? dev_feature_name(b) : dev_protocol_feature_name(b));
			}
		return;
	case T_WORD: {
		const char *bar = strchr(k->words, '|');
		bool yes = k->at != SIZE_MAX && *(const uint32_t *)(const void *)at;
		snprintf(v, size, "%.*s", yes ? 64 : (int)(bar - k->words), yes ? bar + 1 : k->words);
		return;
	}
	case T_OCTAL:
		snprintf(v, size, "%04o", *(const uint32_t *)(const void *)at);
		return;
	case T_COMPAT:
		if (s->compat)
			snprintf(v, size, "%u", s->compat);
		else
			snprintf(v, size, "latest");
		return;
	case T_FD:
	case T_U32:
		snprintf(v, size, "%u", *(const uint32_t *)(const void *)at);
		return;
	case T_U64:
	case T_SIZE:
	case T_UID:
	case T_GROUP:
		snprintf(v, size, "%llu", (unsigned long long)*(const uint64_t *)(const void *)at);
		return;
	default: // text: commas doubled
		for (; *at && n + 3 < size; at++) {
			v[n++] = *at;
			if (*at == ',')
				v[n++] = ',';
		}
		v[n] = '\0';
	}
}

size_t spec_format(const struct port_spec *s, char *buf, size_t size)
{
	char value[SPEC_TEXT_MAX];
	size_t n = put(buf, size, 0, spec_kind_names[s->kind]);
	for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++) {
		if (!(s->given >> i & 1))
			continue;
		format_value(s, &spec_keys[i], value, sizeof(value));
		n = put(buf, size, n, ",");
		n = put(buf, size, n, spec_keys[i].name);
		n = put(buf, size, n, "=");
		n = put(buf, size, n, value);
	}
	return n;
}

static bool key_equal(const struct key *k, const struct port_spec *a, const struct port_spec *b)
{
	const char *x = (const char *)a + k->at, *y = (const char *)b + k->at;
	switch (k->type) {
	case T_MACS:
		return a->n_macs == b->n_macs && memcmp(a->macs, b->macs, sizeof(a->macs)) == 0;
	case T_FEATURES:
		return a->features_plus == b->features_plus && a->features_minus == b->features_minus &&
		       a->proto_plus == b->proto_plus && a->proto_minus == b->proto_minus;
	case T_WORD:
		return k->at == SIZE_MAX || memcmp(x, y, 4) == 0;
	case T_U64:
	case T_SIZE:
	case T_UID:
	case T_GROUP:
		return memcmp(x, y, 8) == 0;
	case T_FD:
	case T_U32:
	case T_OCTAL:
	case T_COMPAT:
		return memcmp(x, y, 4) == 0;
	default:
		return strcmp(x, y) == 0;
	}
}

uint32_t spec_diff(const struct port_spec *a, const struct port_spec *b)
{
	uint32_t diff = 0;
	for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++)
		if (!key_equal(&spec_keys[i], a, b))
			diff |= UINT32_C(1) << i;
	return diff;
}

bool spec_equal(const struct port_spec *a, const struct port_spec *b)
{
	return a->kind == b->kind && spec_diff(a, b) == 0;
}
