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
#include "daemon/standing.h"
#include "flight/blame.h"
#include "loop/loop.h"
#include "timeline/timeline.h"

struct counters;
struct held;
struct kept;
struct upgrade;
struct lease;
struct ledgers;
struct kept_conn;
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
	uint32_t live; // rings that the device gave and that were not stopped since: a pause leaves them here
	uint32_t used; // those of live that are enabled
	bool refused; // something that it asked for was refused
	bool unstored; // its rows are behind: nobody could go on with it
	bool fatal; // and for this the connection ends
	bool resuming; // its rings go on where an earlier worker had them
	bool suspect; // its message, or taking it over, ended workers: tried once more, with the port's datapath off
	bool had; // an earlier worker had its rings in the datapath
	bool in_use; // identity was told that the guest runs here
	struct standing *standing; // ran, stopped, counted: what a worker after us can't find out by itself
	struct standing own; // there is no keeper, or no room
	uint32_t began; // rings that were started at some time
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
	struct timer *retry; // mode=client: connect again; a listener out of descriptors: listen again
	unsigned retries;
	struct session *session[PORT_MAX_SESSIONS];
	struct session *active; // whose rings the datapath has, or had last
	bool drained, ends_daemon;
	bool was_logging; // the front end logged when the guest's rings stopped last
	bool home; // the guest's addresses have been here in this life or the last one
	bool lost_any; // a front end of the last life had rings running: the first start here is its return
	char came_from[SNAP_PORT_MAX]; // the port where the guest was before; "": here, or not known
	uint64_t *known; // addresses behind the port as of the last look: MAC << 12 | VLAN
	unsigned n_known;
	bool look; // they changed
	pid_t lost_pid; // its connection ended while rings ran: it may come back; 0: none
	struct why failed; // text "": not failed
	struct timer *reopen; // a failed port is opened again: armed by port_tell when it fails, by each try that fails
	unsigned reopens;
	char parked[BLAME_TEXT]; // why; "": it is not
	bool safe; // no ring goes to the datapath: see session.suspect
	char last_refusal[2 * WHY_MAX];
	bool refused; // of the last connection, which is over: a refusal ended it, or kept it from running
	char cut_for[WHY_MAX]; // why we ended it; "": we did not
	int connect_errno; // mode=client: of the last try
	char *shown_path; // path from the root; NULL: there is none
	enum port_state told; // last state that an event told
	struct store_device device;
	bool has_device;
	struct log_rate rate;
	struct peer_events { // in the present window
		uint64_t window_us;
		uint32_t used, left_out;
	} peer_events;
	struct log_rate journal_rate; // of events that a front end can cause at will
	struct log_rate record_rate; // of migration records, for the same reason
	struct timer *hold_timer;
	uint64_t stopped_us; // when the guest's rings stopped last, 0: they run or never ran
	struct timeline *arrival; // the destination's record, kept for late moments
	struct timeline *departure; // the source's record, kept after its session is gone
	struct timeline *counting; // the record that the counters belong to: the last one that opened here; or NULL
	uint64_t base_held, base_delivered, base_dropped; // counters when it opened
	uint64_t hold_late, hold_full; // drops that an event told
	uint64_t hold_drops_us; // when the first one was seen that none told yet; 0: all are told
	bool muted; // an announcement was due while the port was drained
};

struct vd {
	struct loop *loop;
	struct store *store;
	struct dp *dp;
	struct kept *kept; // NULL: there is no keeper
	struct lease *lease;
	struct counters *counters; // NULL: what is counted, too
	struct held *held; // NULL: and frames that are held
	struct upgrade *upgrade; // NULL: there is no keeper
	int table_fd; // of ports, as the keeper has it, for a candidate; -1: none
	bool table_held; // what changes is kept later, as one change
	bool begun; // ports are in: what changes from now on is stored, and kept
	int config_fd; // what was read from configuration files, for a candidate; -1: none
	struct standings *standings; // NULL: how connections stand, too
	struct ledgers *ledgers; // NULL: places of packed rings die with us
	const struct blame_page *blame; // NULL: there is no keeper
	struct store_opened opened;
	char *state_dir, *runtime_dir;
	char *end_with_port;
	uint64_t started_us;
	struct port *port[DP_MAX_PORTS];
	unsigned n_ports;
	struct watch *notes;
	struct timer *macs_timer, *look_timer, *announce_timer, *quiet_timer;
	uint64_t looked_us;
	struct announce *announce;
	struct recent *recent; // announcer.c
	struct pace *announce_pace; // announcer.c
	struct vd_sub *subs;
	bool telling, idle_asked, changed, migrations_dirty, ending; // changed: the store, since quiet_timer was armed
	bool adopting; // an earlier worker's ports and connections are being taken over: nothing that it told is told again
	bool keep_failed; // a port that can't be opened stays, and is tried again
};

// vd.c
void vd_idle_soon(struct vd *vd); // let the store tidy up when this turn is over
void vd_store_failed(struct vd *vd, const char *what, const struct why *why);
// An event that a front end can cause as often as it likes: the journal keeps 60 of a port in 10 s, and how many it left out.
void port_event(struct port *p, const char *type, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
bool log_rate_allows(struct log_rate *rate); // the same bound for what is no line: 10 at once, one a second

// A failed port's pauses: the first, doubled up to the most.
#define REOPEN_FIRST_US UINT64_C(1000000)
#define REOPEN_MOST_S 16

// pages.c
enum err pages_open(struct vd *vd, uint64_t hold_total, struct why *why);
void pages_close(struct vd *vd);
// upgrade.c
enum err upgrade_init(struct vd *vd, struct why *why);
void upgrade_free(struct vd *vd);
// vd_ports.c
void vd_drained_restore(struct vd *vd);
// blamed.c: what follows from deaths of workers
void blamed_open(struct vd *vd); // from here on a death of ours can be told to be somebody's fault
void blamed_port_new(struct port *p);
void blamed_tell(struct vd *vd); // events of ports that are parked since
void blamed_signal(struct port *p, const struct snap *snap, const struct kept_conn *kept); // the ring's err descriptor
void blamed_quarantine(struct vd *vd, const struct kept_conn *c);
void blamed_tried(struct session *s); // what it was suspected for is done, and we live
void blamed_settle(struct vd *vd); // connections were taken over
enum err blamed_release(struct port *p, struct why *why);
// port_state.c
void port_tell(struct port *p); // enter an event if the state changed
// port.c
struct port *port_new(struct vd *vd, const struct port_spec *spec, enum vd_origin origin, struct why *why);
void port_free(struct port *p);
void port_on_connection(struct port *p, int fd); // takes fd
void port_on_kept(struct port *p, struct kept_conn *c); // one that the keeper has
void port_add_session(struct port *p, struct session *s); // there is room; s has its peer
bool port_full(const struct port *p); // as many front ends as there can be
void port_device_put(struct port *p); // its device's row
void port_session_over(struct port *p, struct session *s); // frees it
void port_may_end_daemon(struct port *p); // if it is the one whose only connection is the daemon's purpose, and has none
enum err port_open(struct port *p, struct why *why); // its socket or tap; of a parked tap a place only
void port_next_session(struct port *p); // give the datapath the rings of whoever waits for it
void port_arm_hold(struct port *p);
void port_dp_conf(const struct port_spec *s, struct dp_port_conf *out); // tap_fd is left -1
enum err port_open_socket(struct port *p, struct why *why); // listener.c
void port_close_socket(struct port *p);
// adopt.c
bool adopt_expects(const struct port *p); // an earlier worker had a connection of it
struct dev *adopt_device(struct session *s, const struct dev_conf *conf, const struct dev_ops *ops, struct kept_conn *kept,
			 const struct store_connection *row, struct why *why);
void adopt_connections(struct vd *vd); // those of an earlier worker; the ports are there
void adopt_on_conn(void *vd, struct kept_conn *c); // a new one
// session.c
// The connection fd, or the keeper's; taken on success.
struct session *session_new(struct port *p, int fd, struct kept_conn *kept, struct why *why);
// One that an earlier worker served, as its rows have it. Its rings wait for session_resume. On failure nothing is taken.
struct session *session_adopt(struct port *p, struct kept_conn *kept, const struct store_connection *row, struct why *why);
void session_resume(struct session *s);
void session_resume_tx(struct session *s); // of all sessions after session_resume of all
void session_trusted(struct session *s); // the port's datapath is on again
void session_free(struct session *s);
void session_attach(struct session *s); // give the datapath what is wanted
void session_close(struct session *s, const char *reason);
void session_over(struct session *s, bool clean, const char *reason); // frees it; clean: the front end closed between messages
// identity.c
void identity_taken(struct port *p, struct session *s); // from no ring to some, or the same with another worker
void identity_resume_stopped(struct port *p, struct session *s); // and where its rings were stopped
void identity_stopped(struct port *p, struct session *s); // the guest stopped its last ring
void identity_lost(struct port *p, bool logged); // its connection ended while rings ran
void identity_learned(struct port *p, struct port *from, const uint8_t mac[6]); // a frame of the guest came in here
bool identity_runs(const struct port *p);
enum err identity_may_claim(struct port *p, const uint8_t mac[6], struct why *why); // SEND_RARP, before it is committed
void identity_claim(struct port *p, const uint8_t mac[6]); // and after
// announcer.c
bool announcer_init(struct vd *vd);
void announcer_fini(struct vd *vd);
void announcer_resume(struct vd *vd);
unsigned announcer_start_all(struct port *p); // every address behind the port; how many schedules run
void announcer_start(struct port *p, const uint8_t mac[6]);
// What is owed from the commit of a SEND_RARP on; false: it starts no schedule.
bool announcer_owes(struct port *p, const uint8_t mac[6], struct store_owed *owed);
void announcer_claimed(struct port *p, const uint8_t mac[6], bool moved); // SEND_RARP: one of a row starts a schedule
void announcer_cancel(struct port *p, const uint8_t *mac_or_null);
// migrations.c
void migration_log_on(struct session *s);
void migration_log_off(struct session *s);
void migration_running(struct port *p, struct session *s, struct port *from);
void migration_stopped(struct session *s);
void migration_closed(struct session *s); // before its device goes
void migration_moved(struct port *from, struct port *to); // the guest of that port is at another one of this switch
void migration_note(struct port *p, unsigned notes);
void migration_announced(struct port *p, const char *kind, const uint8_t mac[6], uint32_t round);
void migration_hold_looked(struct port *p); // frames may have been held, delivered or dropped
void migration_port_goes(struct port *p); // it is about to be deleted: what it holds is lost
uint64_t migration_lost(const struct dp_stats *st); // frames that were lost because rings stood still
void migrations_resume(struct vd *vd); // migrations_resume.c: after connections were taken over
void migrations_free(struct port *p);
// macs.c
void macs_changed(struct vd *vd);
void macs_noted(struct port *p); // the datapath says that they changed behind p
void macs_fini(struct vd *vd);
void macs_restore(struct vd *vd);
// features.c
void features_offer(const struct port *p, struct port_offer *out);
enum err features_pin(struct port *p, const struct snap *s, struct why *why);
enum err features_check(const struct port_spec *s, struct why *why); // does features= name what vringd can't offer?
// tap.c
int tap_open(const struct port_spec *s, struct why *why); // fd, or -1
int tap_kept(struct port *p, struct why *why); // the one of an earlier worker, or tap_open; kept from now on
struct port *tap_owner(const struct port *p); // the other port of ours that has the interface of p's SPEC, NULL: none
bool tap_down(const struct port_spec *s, char name[16]); // the interface is set down; name: its own
enum err tap_check(int fd, struct why *why); // an inherited one: set up as ours are, or refused

#endif
