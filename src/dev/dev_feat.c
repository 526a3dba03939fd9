// Negotiation: features, owner, MTU, announcements asked for by the front end.
#include <string.h>

#include "base/bits.h"
#include "dev/dev_int.h"

enum err dev_on_get_features(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)req;
	(void)why;
	txn->answer = dev->conf.features;
	return OK;
}

enum err dev_on_set_features(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	uint64_t acked = req->body->u64;
	uint64_t foreign = acked & ~dev->conf.features;
	if (foreign)
		return refuse(why, "bits 0x%llx were not offered (offered 0x%llx)", (unsigned long long)foreign,
			      (unsigned long long)dev->conf.features);
	if (bits_has(acked, VHOST_F_LOG_ALL) && !bits_has(dev->snap.protocol_features, VU_PF_LOG_SHMFD))
		return refuse(why, "LOG_ALL without LOG_SHMFD: there is no log to write to");
	uint64_t differs = dev->snap.features_acked ^ acked;
	for (unsigned q = 0; q < dev->n_rings; q++)
		if (dev->snap.ring[q].ran && bits_without(differs, VHOST_F_LOG_ALL))
			return refuse(why, "bits 0x%llx change while ring %u runs; only LOG_ALL may",
				      (unsigned long long)bits_without(differs, VHOST_F_LOG_ALL), q);
	if (bits_has(differs, VIRTIO_F_RING_PACKED)) // a base of the other kind says nothing; a start that counts gives a new one
		for (unsigned q = 0; q < dev->n_rings; q++) {
			struct snap_ring *r = &txn->next.ring[q];
			r->base = 0;
			r->base_given = false;
			if ((r->num & (r->num - 1)) != 0)
				r->num = 0; // no size of a split ring
		}
	txn->next.has_features = true;
	txn->next.features_acked = acked;
	if (!bits_has(acked, VHOST_USER_F_PROTOCOL_FEATURES)) // vhost-user, "Ring states": enabled by this very message
		for (unsigned q = 0; q < dev->n_rings; q++) {
			txn->next.ring[q].enabled = true;
			txn->next.ring[q].ever_disabled = false;
		}
	if (!bits_has(acked, VHOST_F_LOG_ALL) && bits_has(dev->snap.features_acked, VHOST_F_LOG_ALL)) {
		txn->log_set = true; // nothing else tells us to let go of the log
		txn->log = NULL;
		txn->next.has_log = false;
		txn->next.log_size = txn->next.log_offset = txn->next.log_from = 0;
	}
	return OK;
}

enum err dev_on_set_owner(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	(void)req;
	(void)why;
	txn->next.owned = true;
	return OK;
}

enum err dev_on_reset_owner(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)req;
	(void)why;
	for (unsigned q = 0; q < dev->n_rings; q++) {
		txn->next.ring[q].enabled = false;
		txn->next.ring[q].ever_disabled = true;
	}
	txn->reset = true;
	return OK;
}

enum err dev_on_get_protocol_features(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)req;
	(void)why;
	txn->answer = dev->conf.protocol_features;
	return OK;
}

enum err dev_on_set_protocol_features(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	uint64_t foreign = req->body->u64 & ~dev->conf.protocol_features;
	if (foreign)
		return refuse(why, "bits 0x%llx were not offered (offered 0x%llx)", (unsigned long long)foreign,
			      (unsigned long long)dev->conf.protocol_features);
	txn->next.has_protocol = true;
	txn->next.protocol_features = req->body->u64;
	return OK;
}

enum err dev_on_get_queue_num(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)req;
	(void)why;
	txn->answer = dev->n_rings / 2;
	return OK;
}

enum err dev_on_send_rarp(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	(void)dev;
	memcpy(txn->rarp_mac, req->body->bytes, sizeof(txn->rarp_mac));
	uint8_t any = 0;
	for (unsigned i = 0; i < sizeof(txn->rarp_mac); i++)
		any |= txn->rarp_mac[i];
	if (any == 0 || (txn->rarp_mac[0] & 1))
		return refuse(why, "the MAC is zero or a group address");
	txn->rarp = true;
	return OK;
}

enum err dev_on_net_set_mtu(struct dev *dev, const struct dev_req *req, struct dev_txn *txn, struct why *why)
{
	uint64_t mtu = req->body->u64;
	if (mtu < 68 || mtu > 65535) // virtio 1.2, 5.1.4.1
		return refuse(why, "MTU %llu is not in 68..65535", (unsigned long long)mtu);
	if (dev->conf.max_mtu && mtu > dev->conf.max_mtu)
		return refuse(why, "MTU %llu is over the port's mtu=%u", (unsigned long long)mtu, dev->conf.max_mtu);
	txn->next.mtu = (uint16_t)mtu;
	return OK;
}
