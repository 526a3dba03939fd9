// The groups of rows, each a table of its own file, ended by a row without a name.
#ifndef PROTO_ROWS_H
#define PROTO_ROWS_H

#include "proto/bed.h"

extern const struct bed_row rows_message[];  // one message, right and wrong in every way
extern const struct bed_row rows_frame[];    // how bytes and descriptors come along the stream
extern const struct bed_row rows_geometry[]; // memory tables and logs of all shapes
extern const struct bed_row rows_ring[];     // rings that a hostile guest wrote
extern const struct bed_row rows_packed[];   // packed rings: handshake, places, and what a hostile guest wrote
extern const struct bed_row rows_traffic[];  // start, stop, position, calls, pairs, the switch
extern const struct bed_row rows_gso[];     // TCP frames that a guest left whole
extern const struct bed_row rows_live[];     // messages while rings run
extern const struct bed_row rows_session[];  // several front ends, client mode, vanishing memory
extern const struct bed_row rows_peer[];     // shared objects changed behind the protocol's back
extern const struct bed_row rows_replay[];   // recorded sessions of QEMU

#endif
