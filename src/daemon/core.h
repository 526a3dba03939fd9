// The daemon's own structures, shared by the files that connect the parts: vd (the whole), port (what was configured), session
// (one front end's connection). All of it belongs to the control thread.
#ifndef DAEMON_CORE_H
#define DAEMON_CORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "announce/announce.h"
#include "base/log.h"
#include "daemon/spec.h"
#include "daemon/vd.h"
#include "dev/dev.h"
#include "loop/loop.h"
#include "timeline/timeline.h"

struct msgsrc;

struct want { // a ring that dev gave us, whether or not the datapath has it
	struct vring *ring; // NULL: none
	int kick_fd;
	enum dev_run how;
};

struct session {
	struct port *port;
	struct dev *dev;
	struct msgsrc *src;
	struct want want[SNAP_MAX_RINGS];
	uint32_t attached; // rings that the datapath has
	bool pausing; // the last ones were taken for a pause, not for good
	bool ran; // rings ran at some time
	bool closing;
	pid_t pid;
	uid_t uid;
	uint64_t epoch, since_us, messages;
	struct timeline *source; // this connection's record, while open or complete
};

struct port {
	struct vd *vd;
	struct port_spec spec;
	enum vd_origin origin;
	struct dp_port *dp;
	char path[SPEC_PATH_MAX];
	bool bound; // path is ours to remove
	int listen_fd;
	struct watch *listen_watch;
	struct timer *retry; // mode=client
	unsigned retries;
	struct session *session[PORT_MAX_SESSIONS];
	struct session *active; // whose rings the datapath has, or had last
	bool drained, was_logging, ends_daemon;
	struct why failed; // text "": not failed
	char last_refusal[2 * WHY_MAX];
	enum port_state told; // last state that an event told
	struct store_device device;
	bool has_device;
	struct log_rate rate;
	struct timer *hold_timer;
	uint64_t stopped_us; // when the guest's rings stopped last, 0: they run or never ran
	struct timeline *arrival; // the destination's record, kept for late moments
	struct timeline *departure; // the source's record, kept after its session is gone
	uint64_t base_held, base_delivered, base_dropped; // counters when the record opened
};

struct vd {
	struct loop *loop;
	struct store *store;
	struct dp *dp;
	struct store_opened opened;
	char *state_dir, *runtime_dir;
	char *end_with_port;
	uint64_t started_us;
	struct port *port[DP_MAX_PORTS];
	unsigned n_ports;
	struct watch *notes;
	struct timer *macs_timer, *announce_timer;
	struct announce *announce;
	struct vd_sub *subs;
	bool telling, idle_asked, migrations_dirty, ending;
};

// vd.c
void vd_idle_soon(struct vd *vd); // let the store tidy up when this turn is over
void vd_store_failed(struct vd *vd, const char *what, const struct why *why);

// port.c
struct port *port_new(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why);
void port_free(struct port *p);
void port_tell(struct port *p); // enter an event if the state changed
void port_on_connection(struct port *p, int fd); // takes fd
void port_session_over(struct port *p, struct session *s); // the session frees itself
void port_arm_hold(struct port *p);
void port_dp_conf(const struct port_spec *s, struct dp_port_conf *out); // tap_fd is left -1
enum err port_open_socket(struct port *p, struct why *why); // listener.c
void port_close_socket(struct port *p);
// session.c
struct session *session_new(struct port *p, int fd, struct why *why); // takes fd on success
void session_free(struct session *s);
void session_attach(struct session *s); // give the datapath what is wanted
void session_close(struct session *s, const char *reason);
// identity.c
void identity_running(struct port *p, struct session *s); // from none to some
void identity_stopped(struct port *p, struct session *s); // the guest stopped its last ring
void identity_claim(struct port *p, const uint8_t mac[6]); // SEND_RARP
// announcer.c
bool announcer_init(struct vd *vd);
void announcer_fini(struct vd *vd);
void announcer_resume(struct vd *vd);
unsigned announcer_start_all(struct port *p); // every address behind the port; how many schedules run
void announcer_start(struct port *p, const uint8_t mac[6]);
void announcer_cancel(struct port *p, const uint8_t *mac_or_null);
// migrations.c
void migration_log_on(struct session *s);
void migration_log_off(struct session *s);
void migration_running(struct port *p, struct session *s, struct port *from);
void migration_stopped(struct session *s);
void migration_closed(struct session *s);
void migration_note(struct port *p, unsigned notes);
void migration_announced(struct port *p, const char *kind, const uint8_t mac[6], uint32_t round);
void migrations_close_books(struct vd *vd);
void migrations_free(struct port *p);
// macs.c
void macs_changed(struct vd *vd);
void macs_restore(struct vd *vd);
// features.c
void features_offer(const struct port *p, struct port_offer *out);
void features_pin(struct port *p, const struct snap *s);
// tap.c
int tap_open(const struct port_spec *s, struct why *why); // fd, or -1

#endif
