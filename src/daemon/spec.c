#include "daemon/spec.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "dev/dev.h"
#include "net/eth.h"

enum { K_VHOST = 1, K_TAP = 2, K_NULL = 4, K_ALL = 7 };

enum key_type { T_NAME, T_PATH, T_FD, T_U32, T_U64, T_SIZE, T_WORD, T_MACS, T_FEATURES, T_COMPAT, T_OCTAL, T_GROUP, T_UID, T_TEXT, T_IFNAME };

struct key {
	const char *name;
	enum key_type type;
	unsigned kinds;
	size_t at; // offset in struct port_spec
	uint64_t min, max, preset;
	const char *words; // T_WORD: "no|yes": the field is bool, true for the second
	bool live; // may change without a reconnect
	const char *later; // not built in this version: why
	const char *help;
};

#define AT(field) offsetof(struct port_spec, field)
static const struct key keys[] = {
	{ "id", T_NAME, K_ALL, AT(id), 0, 0, 0, NULL, false, NULL, "name of the port, [A-Za-z0-9_.-]{1,32}" },
	{ "path", T_PATH, K_VHOST, AT(path), 0, 0, 0, NULL, false, NULL, "socket (default: ID.sock in the runtime directory)" },
	{ "fd", T_FD, K_VHOST | K_TAP, AT(fd), 0, 65535, 0, NULL, false, NULL, "listening or connected socket, or open tap, that we inherit" },
	{ "mode", T_WORD, K_VHOST, AT(mode), 0, 0, 0, "server|client", false, NULL, "server: we listen (default); client: we connect, and again" },
	{ "sessions", T_U32, K_VHOST, AT(sessions), 1, 2, 2, NULL, true, NULL, "front ends at once on this path: 2 lets a local migration use one path" },
	{ "queues", T_U32, K_VHOST | K_TAP, AT(queues), 1, 16, 16, NULL, false, NULL, "queue pairs" },
	{ "net", T_NAME, K_ALL, AT(net), 0, 0, 0, NULL, false, NULL, "broadcast domain (default: default)" },
	{ "group", T_NAME, K_ALL, AT(group), 0, 0, 0, NULL, true, NULL, "split horizon: nothing is forwarded between ports of one group (all taps are one by default)" },
	{ "guest", T_NAME, K_VHOST, AT(guest), 0, 0, 0, NULL, true, NULL, "ports with the same guest= serve one guest, now here, now there" },
	{ "label", T_TEXT, K_ALL, AT(label), 0, 64, 0, NULL, true, NULL, "text for people" },
	{ "mtu", T_U32, K_VHOST, AT(mtu), 68, 65535, 0, NULL, false, NULL, "offered to the guest" },
	{ "announce", T_WORD, K_VHOST, AT(announce), 0, 0, 0, "guest|switch", false, NULL, "who speaks after a move: the guest too (default), or the switch alone" },
	{ "packed", T_WORD, K_VHOST, SIZE_MAX, 0, 0, 0, "off|on", false, "packed rings", "packed ring" },
	{ "features", T_FEATURES, K_VHOST, 0, 0, 0, 0, NULL, false, NULL, "+NAME:-NAME... on top of the level: mrg_rxbuf, csum, proto-mtu..." },
	{ "compat", T_COMPAT, K_VHOST, AT(compat), 1, 1, 0, NULL, false, NULL, "level of offered features, 1 or latest" },
	{ "hold-ms", T_U32, K_VHOST, AT(hold_ms), 0, 600000, 1000, NULL, true, NULL, "how long frames for a stopped guest are held" },
	{ "hold-bytes", T_SIZE, K_VHOST, AT(hold_bytes), 0, UINT64_C(1) << 40, 16u << 20, NULL, true, NULL, "how many bytes of them" },
	{ "mac", T_MACS, K_VHOST, 0, 0, 0, 0, NULL, true, NULL, "M[+M]: the guest's MACs, where nobody else will tell" },
	{ "filter", T_WORD, K_VHOST, AT(filter), 0, 0, 0, "off|mac", true, NULL, "mac: frames with another source are dropped" },
	{ "max-macs", T_U32, K_ALL, AT(max_macs), 1, 65536, 64, NULL, true, NULL, "addresses learned behind the port" },
	{ "memory", T_WORD, K_VHOST, AT(memory), 0, 0, 0, "ram|any", false, NULL, "any: guest memory may be a file on any file system" },
	{ "rate-in", T_SIZE, K_VHOST, AT(rate_in), 0, UINT64_C(1) << 50, 0, NULL, true, NULL, "bits per second from the guest" },
	{ "rate-out", T_SIZE, K_VHOST, AT(rate_out), 0, UINT64_C(1) << 50, 0, NULL, true, NULL, "bits per second to the guest" },
	{ "socket-mode", T_OCTAL, K_VHOST, AT(socket_mode), 0, 0777, 0660, NULL, false, NULL, "rights of the socket, octal" },
	{ "socket-group", T_GROUP, K_VHOST, AT(socket_gid), 0, 0, 0, NULL, false, NULL, "its group, by name or number" },
	{ "peer-uid", T_UID, K_VHOST, AT(peer_uid), 0, UINT32_MAX, 0, NULL, true, NULL, "only this user's front ends may connect" },
	{ "ifname", T_IFNAME, K_TAP, AT(ifname), 0, 0, 0, NULL, false, NULL, "tap interface; created if it is not there and we may" },
	{ "bridge", T_IFNAME, K_TAP, AT(bridge), 0, 0, 0, NULL, false, NULL, "bridge that the tap is put into" },
};

static const char *const kind_names[] = { [SPEC_VHOST_USER] = "vhost-user", [SPEC_TAP] = "tap", [SPEC_NULL] = "null" };

const char *spec_kind_name(enum spec_kind kind)
{
	return kind_names[kind];
}

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
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strlen(keys[i].name) == len && strncmp(keys[i].name, name, len) == 0)
			return &keys[i];
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
	unsigned best = 4;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		unsigned d = distance(name, len, keys[i].name);
		if (d < best) {
			best = d;
			near = keys[i].name;
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
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
		if (strcmp(word, kind_names[i]) == 0) {
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
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];
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
		return refuse(why, "key '%s' is not for a %s port", k->name, kind_names[s->kind]);
	uint32_t bit = UINT32_C(1) << (k - keys);
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
	size_t n = put(buf, size, 0, kind_names[s->kind]);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (!(s->given >> i & 1))
			continue;
		format_value(s, &keys[i], value, sizeof(value));
		n = put(buf, size, n, ",");
		n = put(buf, size, n, keys[i].name);
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
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!key_equal(&keys[i], a, b))
			diff |= UINT32_C(1) << i;
	return diff;
}

bool spec_equal(const struct port_spec *a, const struct port_spec *b)
{
	return a->kind == b->kind && spec_diff(a, b) == 0;
}

bool spec_key_live(enum spec_key k)
{
	return keys[k].live;
}

const char *spec_key_name(enum spec_key k)
{
	return keys[k].name;
}

bool spec_id_ok(const char *id)
{
	return name_ok(id);
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
		next.given &= ~(UINT32_C(1) << (k - keys));
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

void spec_help(FILE *to)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (!keys[i].later)
			fprintf(to, "    %-13s %s%s\n", keys[i].name, keys[i].help, keys[i].kinds == K_TAP ? " [tap]" : "");
}
