// Could this program go on where another one works now? Asked of a candidate for an upgrade, while nothing has changed yet.
#ifndef DAEMON_JUDGE_H
#define DAEMON_JUDGE_H

#include "daemon/options.h"

struct kept;

// The options were read and understood. Judge the table of ports (KEPT_TABLE) and the copy of the
// rows that came with them (KP_ROWS): schema, each row, the ports that were added at run time, the features that front ends have acknowledged. REFUSED, with the reason: no.
enum err judge_rows(struct kept *k, const struct options *o, struct why *why);

// Could this program be the keeper? Judge the copy of what the present one keeps (KP_IMAGE).
enum err judge_image(struct kept *k, struct why *why);

#endif
