// vringctl inside: one connection, one table of verbs, printing.
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct client;

struct ctl { // what the command line said
	const char *control; // --control, or NULL
	bool json; // -j
	int argc; // of the verb: its own arguments, without the verb's words
	char **argv;
	// options of verbs
	bool qemu, libvirt, watch, follow, keeper;
	double interval_s, timeout_s;
	uint64_t since;
	const char *file;
};

// Say what is wrong on stderr, and with -j as {"error":...,"api":1} on stdout, which has nothing else then.
void complain(const struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// The exit status that goes with the last failed call: 2 if the daemon said that the request makes no sense, else 1.
int client_status(const struct client *cl); // NULL: 1
// Connect: --control, $VRINGD_CONTROL, then the usual places. While a daemon restarts (the socket is there, nobody answers) it
// waits a few seconds. NULL: says on stderr what was tried.
struct client *client_open(const struct ctl *c);
void client_close(struct client *cl);
// Send a request; the answer's result (owned), or NULL with the error printed. If the connection ends before the answer, one that
// only asks is sent again on a new one, a few times; of one that changes something it is said that nobody knows.
json_t *client_call(struct client *cl, const char *method, json_t *params);
bool client_again(struct client *cl); // connect anew to the same daemon, waiting as client_open does
// The next notification's params (owned); NULL: the connection is over.
json_t *client_next(struct client *cl);

struct verb {
	const char *words; // "port add"
	const char *args; // for help
	const char *help;
	int min, max; // arguments
	int (*run)(struct ctl *c, const struct verb *v); // exit status
	const char *method; // for the plain ones
	void (*print)(const json_t *result);
};
extern const struct verb verbs[];
int run_upgrade(struct ctl *c, const struct verb *v); // upgrade.c

void print_status(const json_t *r);
void print_ports(const json_t *r);
void print_rings(const json_t *r);
void print_features(const json_t *r);
void print_explain(const json_t *r);
void print_fdb(const json_t *r);
void print_stats(const json_t *r);
void print_event(const json_t *e);
void print_migrations(const json_t *r);
bool print_paste(const json_t *port, bool libvirt, FILE *to); // false: it has no socket
const char *text_of(const json_t *o, const char *name); // "-" if it is none
long long int_of(const json_t *o, const char *name);

#endif
