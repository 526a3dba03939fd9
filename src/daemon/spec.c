// Reading a SPEC. Not trusted: every byte of it.
#include "daemon/spec.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/utf8.h"
#include "daemon/spec_keys.h"
#include "dev/dev.h"
#include "net/eth.h"

bool spec_parse_size(const char *text, uint64_t *out)
{
	char *end;
	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	unsigned shift = 0;
	if (*end == 'K' || *end == 'k')
		shift = 10;
	else if (*end == 'M' || *end == 'm')
		shift = 20;
	else if (*end == 'G' || *end == 'g')
		shift = 30;
	if (errno || (shift ? end[1] : end[0]) != '\0' || v > UINT64_MAX >> shift)
		return false;
	*out = (uint64_t)v << shift;
	return true;
}

static bool name_ok(const char *s)
{
	size_t n = strlen(s);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
			return false;
	return n >= 1 && n <= 32;
}

bool spec_id_ok(const char *id)
{
	return name_ok(id);
}

static enum err parse_macs(struct port_spec *s, char *value, struct why *why)
{
	char *save = NULL;
	for (char *m = strtok_r(value, "+", &save); m; m = strtok_r(NULL, "+", &save)) {
		uint8_t mac[6];
		if (!mac_parse(m, mac) || !mac_key_unicast(mac_key(mac)))
			return refuse(why, "mac=%.40s: not a unicast MAC like 52:54:00:12:34:56", m);
		if (s->n_macs == SPEC_MAX_MACS)
			return refuse(why, "mac=: at most 8");
		s->macs[s->n_macs++] = mac_key(mac);
	}
	return s->n_macs ? OK : refuse(why, "mac=: empty");
}

static enum err parse_features(struct port_spec *s, char *value, struct why *why)
{
	char *save = NULL;
	for (char *f = strtok_r(value, ":", &save); f; f = strtok_r(NULL, ":", &save)) {
		bool add = f[0] == '+';
		if (!add && f[0] != '-')
			return refuse(why, "features=%.40s: each name needs a + or - in front", f);
		bool known = false, can = false;
		for (unsigned b = 0; b < 64; b++) {
			const char *v = dev_feature_name(b), *p = dev_protocol_feature_name(b);
			if (v && strcmp(v, f + 1) == 0) {
				known = true;
				can = bits_has(dev_features_supported(), b);
				*(add ? &s->features_plus : &s->features_minus) |= BIT64(b);
			}
			if (p && strcmp(p, f + 1) == 0) {
				known = true;
				can = bits_has(dev_protocol_features_supported(), b);
				*(add ? &s->proto_plus : &s->proto_minus) |= BIT64(b);
			}
		}
		if (!known)
			return refuse(why, "features=%.40s: no such feature", f);
		if (add && !can)
			return refuse(why, "features=%.40s: this version does not have it", f);
	}
	return OK;
}

static enum err parse_group(struct port_spec *s, const char *value, struct why *why)
{
	uint64_t n;
	struct group *g = getgrnam(value);
	if (g)
		s->socket_gid = (int64_t)g->gr_gid;
	else if (spec_parse_size(value, &n) && n < UINT32_MAX)
		s->socket_gid = (int64_t)n;
	else
		return refuse(why, "socket-group=%.40s: no such group", value);
	return OK;
}

static enum err parse_number(const struct key *k, const char *value, uint64_t *out, struct why *why)
{
	if (k->type == T_OCTAL) {
		char *end;
		*out = strtoul(value, &end, 8);
		if (*end || !*value)
			return refuse(why, "%s=%.40s: not an octal number", k->name, value);
	} else if (!spec_parse_size(value, out)) {
		return refuse(why, "%s=%.40s: not a number", k->name, value);
	}
	if (*out < k->min || *out > k->max)
		return refuse(why, "%s=%.40s: must be in %llu..%llu", k->name, value, (unsigned long long)k->min,
			      (unsigned long long)k->max);
	return OK;
}

static enum err store_text(const struct key *k, char *to, size_t room, const char *value, struct why *why)
{
	if (!utf8_ok(value))
		return refuse(why, "%s=: holds control characters or bytes that are no UTF-8", k->name);
	if (strlen(value) >= room)
		return refuse(why, "%s=%.60s...: %zu bytes, at most %zu are possible%s", k->name, value, strlen(value), room - 1,
			      k->type == T_PATH ? " for a socket's path: use a shorter one, or a link to its folder" : "");
	memcpy(to, value, strlen(value) + 1);
	return OK;
}

static enum err set_key(struct port_spec *s, const struct key *k, char *value, struct why *why)
{
	char *at = (char *)s + k->at;
	uint64_t n = 0;
	enum err e;
	switch (k->type) {
	case T_NAME:
		if (!name_ok(value))
			return refuse(why, "%s=%.60s: must be 1 to 32 of A-Z a-z 0-9 _ . -", k->name, value);
		return store_text(k, at, SPEC_NAME_MAX, value, why);
	case T_PATH:
		return *value ? store_text(k, at, SPEC_PATH_MAX, value, why) : refuse(why, "path=: empty");
	case T_TEXT:
		return store_text(k, at, sizeof(s->label), value, why);
	case T_IFNAME:
		return *value ? store_text(k, at, sizeof(s->ifname), value, why) : refuse(why, "%s=: empty", k->name);
	case T_WORD: {
		const char *bar = strchr(k->words, '|');
		size_t first = (size_t)(bar - k->words);
		bool yes = strcmp(value, bar + 1) == 0;
		if (!yes && (strlen(value) != first || strncmp(value, k->words, first) != 0))
			return refuse(why, "%s=%.40s: must be one of %s", k->name, value, k->words);
		if (k->later && yes)
			return refuse(why, "%s=%s: this version does not build %s", k->name, value, k->later);
		if (k->at != SIZE_MAX)
			*(uint32_t *)(void *)at = yes;
		return OK;
	}
	case T_MACS:
		return parse_macs(s, value, why);
	case T_FEATURES:
		return parse_features(s, value, why);
	case T_GROUP:
		return parse_group(s, value, why);
	case T_COMPAT:
		if (strcmp(value, "latest") == 0)
			return OK;
		break;
	case T_FD:
	case T_U32:
	case T_UID:
	case T_OCTAL:
	case T_U64:
	case T_SIZE:
		break;
	}
	e = parse_number(k, value, &n, why);
	if (e != OK)
		return e;
	if (k->type == T_SIZE || k->type == T_U64 || k->type == T_UID)
		*(uint64_t *)(void *)at = n;
	else
		*(uint32_t *)(void *)at = (uint32_t)n; // T_FD is an int of the same size
	return OK;
}

static const struct key *key_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++)
		if (strlen(spec_keys[i].name) == len && strncmp(spec_keys[i].name, name, len) == 0)
			return &spec_keys[i];
	return NULL;
}

// Edit distance, for "did you mean": keys are short.
static unsigned distance(const char *a, size_t n, const char *b)
{
	size_t m = strlen(b);
	unsigned row[32];
	if (m >= ARRAY_LEN(row))
		return 99;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned left = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned up = row[j], best = left + (a[i - 1] != b[j - 1]);
			best = up + 1 < best ? up + 1 : best;
			best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			left = up;
			row[j] = best;
		}
	}
	return row[m];
}

static enum err unknown_key(const char *name, size_t len, struct why *why)
{
	const char *near = NULL;
	unsigned best = len < 4 ? (unsigned)len : 4; // a shorter word is near to nearly everything
	for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++) {
		unsigned d = distance(name, len, spec_keys[i].name);
		if (d < best) {
			best = d;
			near = spec_keys[i].name;
		}
	}
	return refuse(why, "unknown key '%.*s'%s%s%s", (int)(len > 40 ? 40 : len), name, near ? "; did you mean '" : "",
		      near ? near : "", near ? "'?" : "");
}

// The next element of text, doubled commas undone, into out. Returns what follows, NULL at the end.
static const char *next_element(const char *text, char *out, size_t room)
{
	size_t n = 0;
	for (; *text; text++) {
		if (*text == ',') {
			if (text[1] != ',')
				break;
			text++;
		}
		if (n + 1 < room)
			out[n++] = *text;
	}
	out[n] = '\0';
	return *text == ',' ? text + 1 : NULL;
}

static enum err parse_kind(struct port_spec *s, const char *word, struct why *why)
{
	for (size_t i = 0; i < SPEC_N_KINDS; i++)
		if (strcmp(word, spec_kind_names[i]) == 0) {
			s->kind = (enum spec_kind)i;
			return OK;
		}
	static const char *const later[] = { "vxlan", "af_xdp", "passt" };
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		if (strcmp(word, later[i]) == 0)
			return refuse(why, "kind %s: this version does not build it", word);
	return refuse(why, "kind '%.40s' is unknown: a port is vhost-user, tap or null", word);
}

void spec_defaults(struct port_spec *s, enum spec_kind kind)
{
	memset(s, 0, sizeof(*s));
	s->kind = kind;
	for (size_t i = 0; i < ARRAY_LEN(spec_keys); i++) {
		const struct key *k = &spec_keys[i];
		char *at = (char *)s + k->at;
		if (k->type == T_U32 || k->type == T_OCTAL)
			*(uint32_t *)(void *)at = (uint32_t)k->preset;
		else if (k->type == T_SIZE || k->type == T_U64)
			*(uint64_t *)(void *)at = k->preset;
	}
	s->fd = -1;
	s->socket_gid = s->peer_uid = -1;
	strcpy(s->net, "default");
	if (kind == SPEC_TAP) {
		s->queues = 1;
		s->max_macs = 4096; // a whole network may be behind it
		strcpy(s->group, "tap"); // all taps of a net are one group by default
	}
}

static enum err check_whole(const struct port_spec *s, struct why *why)
{
	if (!s->id[0])
		return refuse(why, "id= is missing");
	if (s->kind == SPEC_TAP && !s->ifname[0] && s->fd < 0)
		return refuse(why, "a tap needs ifname= or fd=");
	if (s->kind == SPEC_TAP && s->queues != 1)
		return refuse(why, "queues=%u: this version builds taps with one queue", s->queues);
	if (s->kind == SPEC_VHOST_USER && s->fd >= 0 && (s->path[0] || s->mode == SPEC_CLIENT))
		return refuse(why, "fd= goes with neither path= nor mode=client");
	if (s->filter == SPEC_FILTER_MAC && s->n_macs == 0)
		return refuse(why, "filter=mac needs mac=");
	return OK;
}

// One key=value into *s. given: keys that were named before.
static enum err parse_element(struct port_spec *s, char *element, uint32_t *given, struct why *why)
{
	char *eq = strchr(element, '=');
	size_t len = eq ? (size_t)(eq - element) : strlen(element);
	const struct key *k = key_find(element, len);
	if (!k)
		return unknown_key(element, len, why);
	if (!eq)
		return refuse(why, "key '%s' needs a value: %s=...", k->name, k->name);
	if (!(k->kinds & 1u << s->kind))
		return refuse(why, "key '%s' is not for a %s port", k->name, spec_kind_names[s->kind]);
	uint32_t bit = UINT32_C(1) << (k - spec_keys);
	if (*given & bit)
		return refuse(why, "key '%s' is given twice", k->name);
	*given |= bit;
	return set_key(s, k, eq + 1, why);
}

enum err spec_parse(const char *text, struct port_spec *out, struct why *why)
{
	char element[SPEC_TEXT_MAX];
	struct port_spec s;
	if (strlen(text) >= SPEC_TEXT_MAX)
		return refuse(why, "SPEC of %zu bytes, at most %d are possible", strlen(text), SPEC_TEXT_MAX - 1);
	text = next_element(text, element, sizeof(element));
	s.kind = SPEC_NULL;
	enum err e = parse_kind(&s, element, why);
	if (e != OK)
		return e;
	spec_defaults(&s, s.kind);
	while (e == OK && text) {
		text = next_element(text, element, sizeof(element));
		e = parse_element(&s, element, &s.given, why);
	}
	if (e == OK)
		e = check_whole(&s, why);
	if (e == OK)
		*out = s;
	return e;
}

enum err spec_set(struct port_spec *s, const char *key_value, struct why *why)
{
	char element[SPEC_TEXT_MAX];
	struct port_spec next, preset;
	uint32_t given = 0;
	if (strlen(key_value) >= sizeof(element))
		return refuse(why, "value is too long");
	strcpy(element, key_value);
	const char *eq = strchr(element, '=');
	const struct key *k = eq ? key_find(element, (size_t)(eq - element)) : NULL;
	if (k && (k->type == T_MACS || k->type == T_FEATURES || eq[1] == '\0')) { // start from the default
		char text[SPEC_TEXT_MAX], copy[SPEC_TEXT_MAX];
		next = *s;
		next.given &= ~(UINT32_C(1) << (k - spec_keys));
		spec_format(&next, text, sizeof(text));
		snprintf(copy, sizeof(copy), "%s", text);
		enum err e = spec_parse(copy, &preset, why);
		if (e != OK)
			return e;
		next = preset;
		if (eq[1] == '\0') {
			*s = next;
			return OK;
		}
	} else {
		next = *s;
	}
	enum err e = parse_element(&next, element, &given, why);
	if (e == OK)
		e = check_whole(&next, why);
	if (e != OK)
		return e;
	next.given |= given;
	*s = next;
	return OK;
}

enum err spec_path(const struct port_spec *s, const char *runtime_dir, char out[SPEC_PATH_MAX], struct why *why)
{
	out[0] = '\0';
	if (s->kind != SPEC_VHOST_USER || s->fd >= 0)
		return OK;
	int n = s->path[0] ? snprintf(out, SPEC_PATH_MAX, "%s", s->path) : snprintf(out, SPEC_PATH_MAX, "%s/%s.sock", runtime_dir, s->id);
	if (n >= SPEC_PATH_MAX)
		return refuse(why, "the socket's path %.60s... has %d bytes, 107 are possible: give a shorter path=", s->path[0] ? s->path : runtime_dir, n);
	return OK;
}
