// What vringlab and the agent in its guests agree on: the datagram, and the lines on the second serial port.
//
// A datagram is a header followed by a pattern that is derived from (run, stream, seq), so that a byte that was changed, cut
// or taken from another datagram shows. All in the byte order of the machine: both guests are of one kind.
//
// A line from the lab is "ID COMMAND argument...", the answer "ID OK key=value..." or "ID ERR text". Every command may be
// repeated (an answer may be lost while the guest moves): a repeated id is answered again without being done again.
//   PING                            boot=ID time_us=T carrier=N changes=N
//   GREET                           lets ARP and ND find the other guest, then pins its ARP entry: arp=0|1
//   PREPARE run size streams        forget what was received, count run RUN from now on: time_us=T
//   START run rate size streams     send RATE datagrams a second of SIZE bytes (UDP payload), spread over STREAMS
//   STOP                            sent=N,N... (per stream; sequence numbers 0 to N-1 were given to the kernel)
//   REPORT                          the counts of struct tally, by name
//   LOOK                            last_us=T gaps=US@END,US@END... the longest gaps since the last LOOK (tally_look)
//   BINS first n                    time_us=T of bin FIRST, bins=N,N... datagrams received per 10 ms
//   HOLES stream sent               holes=A-B,A-B... sequence numbers below SENT that did not come (the first 16 ranges)
// Times are microseconds of the guest's CLOCK_REALTIME.
#ifndef LAB_AGENT_PROTO_H
#define LAB_AGENT_PROTO_H

#include <stddef.h>
#include <stdint.h>

#define LAB_PORT 7007
#define LAB_MAGIC UINT32_C(0x42474c56)
#define LAB_LINE_MAX 16384
#define LAB_STREAMS_MAX 16
#define LAB_BIN_US 10000
#define LAB_BINS_PER_LINE 1000
#define LAB_HOLES_MAX 16

struct lab_datagram {
	uint32_t magic;
	uint32_t run;
	uint16_t stream;
	uint16_t size; // of the whole payload, this header included
	uint32_t reserved;
	uint64_t seq;
	uint64_t sent_us;
};

#define LAB_SIZE_MIN sizeof(struct lab_datagram)
#define LAB_SIZE_ETHERNET 1472 // fits an MTU of 1500
#define LAB_MTU_JUMBO 9000
#define LAB_SIZE_MAX 8972

// Write the header and the pattern of a datagram of `size` bytes (LAB_SIZE_MIN to LAB_SIZE_MAX) into buf.
void lab_datagram_fill(uint8_t *buf, size_t size, uint32_t run, uint16_t stream, uint64_t seq, uint64_t now_us);

#endif
