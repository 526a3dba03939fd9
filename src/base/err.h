// What a function that can fail says, and what each answer obliges its caller to do.
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
	OK = 0,
	AGAIN,   // nothing is wrong, nothing to do yet: wait for readiness
	REFUSED, // the peer (front end, guest, user) broke a rule: nothing changed; tell it as its row says
	DESYNC,  // the stream can no longer be trusted: close it
	OURS,    // a resource or I/O failure here: nothing changed; the request may be refused or tried again
};

#define WHY_MAX 200

// The reason that goes with REFUSED, DESYNC and OURS: one line, without the name of the object (the logger adds it).
struct why {
	char text[WHY_MAX];
};

const char *err_name(enum err e);

// Store the reason and return the error, so that a check reads: return refuse(why, "ring size %u", n).
// why may be NULL. The text is cut at WHY_MAX - 1 bytes.
enum err refuse(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum err desync(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum err ours(struct why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
