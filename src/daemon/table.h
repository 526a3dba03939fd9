// The table of ports as it is: what the configuration and the command line gave, what operators made of it since,
// and the log level. The worker puts it with the keeper before it answers whoever changed it, so the next worker
// builds its ports from it, and not from what was said at the start. The file is written once and then replaced:
// it is there as a whole, or as before.
#ifndef DAEMON_TABLE_H
#define DAEMON_TABLE_H

#include "base/err.h"
#include "base/log.h"
#include "daemon/spec.h"
#include "daemon/vd.h"

struct table {
	enum log_level log_level;
	unsigned n;
	struct table_port {
		enum vd_origin origin;
		struct port_spec spec;
	} port[DP_MAX_PORTS]; // in the order they were added
};

// The one that an earlier worker left; *out is the caller's, by free. OK and NULL: there is none, as after a restart
// of the unit, which goes by what it is told. REFUSED: it can't be understood.
enum err table_take(struct kept *k, struct table **out, struct why *why);
// Keep the table as it will be: with `with` in the place of `but`, or at its end if that is NULL; without `but` if
// there is no `with`. Both NULL: as it is. REFUSED: the keeper has the one before. Nothing is done without a
// keeper, before vd_begin, or while changes are held (vd_table_hold).
enum err table_keep(struct vd *vd, const struct port *but, const struct port_spec *with, enum vd_origin origin,
		    struct why *why);

#endif
