#include "proto/lan.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const char *const lan_port[LAN_MAX] = {"a", "a2", "a3"};
static const struct fe_conf lan_plain = {.ring_size = 64, .mem = {.region_bytes = 8 << 20}};

// VRINGD_TEST_RINGS: "packed", "in-order" (and packed), "mixed" (guests 0 and 2 packed), else split: for whatever a row does not
// say itself. Packed rings get a size that is no power of two.
static struct fe_conf lan_kind(const struct fe_conf *conf, unsigned i)
{
	const char *kind = getenv("VRINGD_TEST_RINGS");
	struct fe_conf c = *conf;
	if (c.packed || kind == NULL || (strcmp(kind, "mixed") == 0 && i == 1))
		return c;
	c.packed = true;
	c.ring_size = (uint16_t)((c.ring_size != 0 ? c.ring_size : 256) - 1);
	if (strcmp(kind, "in-order") == 0)
		c.features = (c.features != 0 ? c.features : FE_FEATURES) | BIT64(VIRTIO_F_IN_ORDER);
	return c;
}

bool lan_prepare(struct lan *l, struct bed *b, unsigned i, const struct fe_conf *conf, const struct net_conf *net_conf,
		 uint16_t base)
{
	static uint32_t next_flow;
	l->b = b;
	if (l->flow == 0)
		l->flow = next_flow += LAN_MAX;
	if (i >= l->n)
		l->n = i + 1;
	frame_mac(l->mac[i], 0xa0 + i);
	struct fe_conf c = lan_kind(conf != NULL ? conf : &lan_plain, i);
	l->fe[i] = bed_front_end(b, lan_port[i], BED_OWNED, &c, -1);
	if (l->fe[i] == NULL)
		return false;
	fe_driver_reset(l->fe[i], base);
	for (unsigned p = 0; p < l->fe[i]->conf.pairs; p++)
		if (!net_init(&l->net[i][p], l->fe[i], p, net_conf)) {
			bed_fail(b, "guest %u: no memory for buffers", i);
			return false;
		}
	return true;
}

bool lan_start(struct lan *l, unsigned i)
{
	enum fe_res res = fe_start(l->fe[i]);
	if (res != FE_OK)
		bed_fail(l->b, "guest %u: start: %s (%s)", i, fe_res_name(res), l->fe[i]->err_text);
	return res == FE_OK;
}

bool lan_open(struct lan *l, struct bed *b, unsigned n, const struct fe_conf *const *conf,
	      const struct net_conf *const *net_conf, uint16_t base)
{
	memset(l, 0, sizeof(*l));
	for (unsigned i = 0; i < n; i++)
		if (!lan_prepare(l, b, i, conf != NULL ? conf[i] : NULL, net_conf != NULL ? net_conf[i] : NULL, base) ||
		    !lan_start(l, i))
			return false;
	return lan_greet(l);
}

void lan_close(struct lan *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		for (unsigned p = 0; p < VU_MAX_PAIRS; p++)
			net_fini(&l->net[i][p]);
		fe_free(l->fe[i]);
		l->fe[i] = NULL;
	}
}

bool lan_put(struct lan *l, unsigned from, unsigned pair, const uint8_t dst[6], uint32_t len)
{
	struct net *n = &l->net[from][pair];
	if (net_send_numbered(n, dst, l->mac[from], l->flow + from, ++l->seq, len))
		return true;
	bed_fail(l->b, "guest %u pair %u: cannot send: %s", from, pair, n->broken != NULL ? n->broken : "ring full");
	return false;
}

// The next numbered frame of this lan on any pair of guest i; id->flow is the guest's number.
static const char *lan_next(struct lan *l, unsigned i, struct frame_id *id, unsigned timeout_ms)
{
	unsigned pairs = l->fe[i]->conf.pairs;
	uint64_t end = clock_boot_us() + timeout_ms * UINT64_C(1000);
	do {
		for (unsigned p = 0; p < pairs; p++) {
			const char *wrong = net_expect(&l->net[i][p], id, NULL, pairs == 1 ? timeout_ms : 1);
			if (wrong == net_nothing || (wrong == NULL && id->flow - l->flow >= LAN_MAX))
				continue;
			id->flow -= l->flow;
			return wrong;
		}
	} while (clock_boot_us() < end);
	return net_nothing;
}

bool lan_get(struct lan *l, unsigned i, unsigned from, uint64_t seq, unsigned timeout_ms)
{
	struct frame_id id;
	const char *wrong = lan_next(l, i, &id, timeout_ms);
	l->b->checks++;
	if (wrong != NULL)
		bed_fail(l->b, "guest %u waits for frame %llu: %s", i, (unsigned long long)seq, wrong);
	else if (id.flow != from || id.seq != seq)
		bed_fail(l->b, "guest %u waits for frame %llu of %u and gets %llu of %u", i, (unsigned long long)seq, from,
			 (unsigned long long)id.seq, id.flow);
	else
		return true;
	return false;
}

bool lan_quiet(struct lan *l, unsigned i, unsigned ms)
{
	struct frame_id id;
	const char *wrong = lan_next(l, i, &id, ms);
	l->b->checks++;
	if (wrong == NULL)
		bed_fail(l->b, "guest %u gets frame %llu of %u, which is not for it", i, (unsigned long long)id.seq,
			 id.flow);
	return wrong == net_nothing;
}

bool lan_greet(struct lan *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		if (!lan_put(l, i, 0, frame_broadcast, 64))
			return false;
		for (unsigned k = 0; k < l->n; k++)
			if (k != i && !lan_get(l, k, i, l->seq, 3000))
				return false;
	}
	return true;
}

bool lan_pass(struct lan *l, unsigned from, unsigned to, uint32_t len)
{
	return lan_put(l, from, 0, l->mac[to], len) && lan_get(l, to, from, l->seq, 3000);
}

bool lan_both(struct lan *l, unsigned rounds)
{
	static const uint32_t size[] = {60, 64, 65, 127, 590, 1513, 1514};
	for (unsigned i = 0; i < rounds; i++)
		if (!lan_pass(l, 0, 1, size[i % ARRAY_LEN(size)]) || !lan_pass(l, 1, 0, size[(i + 3) % ARRAY_LEN(size)]))
			return false;
	return true;
}
