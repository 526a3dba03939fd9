// A stand-in for the daemon's core: it keeps ports and says what was asked of it.
#ifndef UNIT_MOCK_VD_H
#define UNIT_MOCK_VD_H

#include "daemon/spec.h"
#include "daemon/vd.h"

#define MOCK_PORTS 16

struct port {
	struct port_spec spec;
	enum vd_origin origin;
	enum port_state state;
};

struct vd {
	struct loop *loop;
	struct port port[MOCK_PORTS];
	unsigned n;
	const char *unaddable; // this id can't be added
	unsigned adds, dels, sets; // that were asked for
	bool keep_failed;
};

#endif
