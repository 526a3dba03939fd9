/* What all processes share, the properties, and the world outside: the front end, the kernel. */

#ifndef MSGS
#define MSGS 3                  /* messages of the front end */
#endif
#ifndef CRASHES
#define CRASHES 2               /* signals that kill a worker out of nowhere */
#endif
#ifndef STOPS
#define STOPS 1                 /* times that a worker is stopped (SIGSTOP, a debugger, a hang) */
#endif
#ifndef DOUBTS
#define DOUBTS 1                /* times that a row can't be read */
#endif
#ifndef UPGRADES
#define UPGRADES 0              /* times that an operator wants another binary */
#endif
#ifndef TRIES
#define TRIES 2                 /* workers that may die of one message; then its connection is given up */
#endif

/*
 * What the front end can ask for. Only QUERY changes nothing, so it is not committed; START and LOG_OFF want no
 * reply.
 */
mtype = { QUERY, START, STOP, LOG_ON, LOG_OFF };
#define changes(k) (k != QUERY)
#define wants_reply(k) (k == QUERY || k == STOP || k == LOG_ON)

/* A worker process. One that is dying was killed, but its threads go on until the kernel has got to each of them. */
mtype = { absent, running, stopped, frozen, dying };
/* Where a thread stands: at the crash point that it passed last, or at one of these. */
mtype = { gone, born, rest };
mtype = { keep_stored, keep_sent, keep_got_done, keep_replied };
mtype = { adopt_told, adopt_opened, adopt_built, adopt_leased, adopt_logged, adopt_run, log_filled };
mtype = { msg_taken, msg_planned, msg_committed, msg_applied, msg_done };
mtype = { frame_copied, frame_filled, frame_logged, frame_shown, frame_settled, frame_returned };

/*
 * The worker processes: 0 is the one that was started last, 1 its predecessor, on its way out. Two places for what is
 * one and the same program, so that each state is searched once, and not once for each way of naming them.
 */
mtype life[2] = absent;
mtype ctl[2] = gone, dat[2] = gone;     /* control thread, data thread */
bool lease[2];                  /* the robust mutex of the data thread; the kernel lets go of it when the thread is dead */
bool open[2];                   /* has the database open; let go of when the control thread is dead. No lease is implied */
bool leave[2];                  /* was asked to make room for an upgrade; absent and this: has done so, and did not die */
#define left(w) (leave[w] && life[w] == absent)
#define other(w) (1 - w)
#define runs(w) (life[w] == running || life[w] == dying)
#define idle(w) (ctl[w] == adopt_run && !in_doubt[w])

/* A worker's memory. */
byte msg[2], known[2];          /* the message in hand; the highest number that is known to be applied */
bool in_doubt[2];
bool pub_run[2], pub_log[2];    /* what the control thread has published for the data thread, */
byte pub_seq[2];                /* and which message made it so */
bool logs[2];                   /* pub_log as it was when the present frame began */

/* The connection, as the front end sees it. Its messages are 1, 2, 3. */
mtype kind[MSGS + 1];
byte sent, waiting;             /* the last that was sent; the one that a reply is awaited for */
bool closed;
bool fe_run = true;             /* what it asked for last */
bool fe_asked_log;
bool fe_log;                    /* it was told that logging is on, and has not asked to end it */

/*
 * The keeper: one message at most is under way (kept), and was given to the worker that it talks to (cur), or not
 * (forwarded).
 */
byte taken, kept, told, tries, cur;
bool forwarded;
byte to_w[2], from_w[2];        /* the seqpacket pairs: a number; DONE(number), or CLOSE: give it up */
#define CLOSE 99

/* The store: one row. */
byte row_applied;
bool row_run = true, row_log;

/*
 * Guest memory, two queues. The destination's buffers are two pages, in turns: the guest offers one anew as soon as
 * the other is used, so one head is always pending, and when it is shown the two pages change names. Each queue's
 * used ring is a page. Of the dirty log it is enough to know which pages were written after their bit was set last:
 * the front end harvests a bit the moment that it is set, which is the harshest it can do (a bit that stays can only
 * help).
 */
byte unlogged;                  /* pages written, and not marked since */
#define PENDING 1
#define USED 2
#define RX_RING 4
#define TX_RING 8
/* W: where rings that run may have written without having logged it: the pending head's buffer, and the used rings. */
#define W_PAGES (PENDING | RX_RING | TX_RING)

/* For the properties only. */
mtype = { S1, S2, S3, S4, S5, F1 };
byte owed;                      /* a bit for each message that was sent and changes something, and is not committed */
bool shown;                     /* the source's present frame was shown to the destination */
#define bit(m) (1 << m)

byte crashes = CRASHES, stops = STOPS, doubts = DOUBTS, upgrades = UPGRADES;

/*
 * The story of a counterexample: who passed which crash point. The numbers of the workers are for the reader, and not
 * in the state.
 */
#ifndef NAMES
#define NAMES hidden            /* the breadth-first search can't have it so */
#endif
NAMES byte nr[2], births;
#define control_at(point) printf("    worker %d, control  ", nr[w]); printf(#point); printf("\n"); ctl[w] = point
#define data_at(point) printf("    worker %d, data     ", nr[w]); printf(#point); printf("\n"); dat[w] = point
#define keeper_at(point) printf("    keeper, message %d  ", kept); printf(#point); printf("\n")

/* Names what is violated in the replay of a counterexample. */
#define must(property, condition) \
	if :: (condition) :: else -> printf("VIOLATED %e\n", property); assert(false) fi

/*
 * S1: transactions are committed in the order of their messages, each once, none left out.
 * S2: the reply to a message comes after its commit, once.
 * S3: at most one worker may touch the rings.
 * S4: a page of the guest is written only with the lease, by rings that the store says run, after the commit of all
 *     that they follow, and before the connection is closed.
 * S5: while the front end logs: at each reply, what is written and not logged lies in W if the rings run, and there
 *     is no such thing if they don't; at the end of the connection there is none; and what a guest is shown was
 *     logged before (frame_shown in worker.pml).
 * F1: a source gets its buffer back only after the destination has seen the frame: no frame is lost between guests.
 */
#define s1_commit(m) must(S1, (owed & bit(m)) != 0 && (owed & (bit(m) - 1)) == 0)
#define s2_reply(m) must(S2, waiting == m && (owed & bit(m)) == 0)
#define s3_lease(w) must(S3, !lease[other(w)])
#define s4_write(w) must(S4, lease[w] && !lease[other(w)] && row_run && pub_seq[w] <= row_applied && !closed)
#define s5_reply() must(S5, !fe_log || (unlogged & ~(row_run -> W_PAGES : 0)) == 0)
#define s5_close() must(S5, !fe_log || unlogged == 0)

/* ---- the front end ---- */

proctype front_end() {
	mtype k;
end:	do
	:: atomic { sent < MSGS && !closed ->
		if
		:: k = QUERY
		:: fe_run -> k = STOP
		:: !fe_run -> k = START
		:: fe_asked_log -> k = LOG_OFF
		:: !fe_asked_log -> k = LOG_ON
		fi;
		sent++;
		kind[sent] = k;
		if :: changes(k) -> owed = owed | bit(sent) :: else fi;
		if
		:: k == STOP || k == START -> fe_run = !fe_run
		:: k == LOG_OFF -> fe_asked_log = false; fe_log = false; unlogged = 0
		:: k == LOG_ON -> fe_asked_log = true
		:: else
		fi;
		if :: wants_reply(k) -> waiting = sent :: else fi;
		printf("front end sends %e, message %d\n", k, sent);
		k = 0 }
		/* Not an end state: to hang here for good is an error, also where no liveness is looked at. */
		waiting == 0
	od
}

/* ---- the kernel: kills, stops, buries ---- */

/* The memory of a process is gone when its last thread is. */
#define bury(w) \
	if \
	:: ctl[w] == gone && dat[w] == gone -> \
		printf("worker %d dead\n", nr[w]); \
		life[w] = absent; \
		leave[w] = false; \
		to_w[w] = 0; \
		forget(w) \
	:: else \
	fi
#define forget(w) \
	msg[w] = 0; known[w] = 0; in_doubt[w] = false; \
	pub_run[w] = false; pub_log[w] = false; pub_seq[w] = 0; logs[w] = false

#define kernel_acts_on(w) \
	:: d_step { crashes > 0 && life[w] == running && !closed -> \
		crashes--; life[w] = dying; printf("worker %d CRASHES\n", nr[w]) } \
	:: d_step { stops > 0 && life[w] == running && !closed -> \
		stops--; life[w] = stopped; printf("worker %d stopped\n", nr[w]) } \
	:: d_step { life[w] == stopped -> \
		life[w] = running; printf("worker %d resumed\n", nr[w]) } \
	:: d_step { life[w] == dying && dat[w] != gone -> \
		dat[w] = gone; lease[w] = false; printf("worker %d data thread dead, lease free\n", nr[w]); bury(w) } \
	:: d_step { life[w] == dying && ctl[w] != gone -> \
		ctl[w] = gone; open[w] = false; printf("worker %d control thread dead, database closed\n", nr[w]); bury(w) } \
	/* An upgrade's old worker, between two messages: takes no new frame, closes the database; then the last frame ends. */ \
	:: d_step { leave[w] && life[w] == running && idle(w) -> \
		ctl[w] = gone; open[w] = false; pub_run[w] = false; printf("worker %d leaves: database closed\n", nr[w]) } \
	:: d_step { leave[w] && life[w] == running && ctl[w] == gone && dat[w] == rest -> \
		dat[w] = gone; lease[w] = false; printf("worker %d leaves: lease free\n", nr[w]); \
		life[w] = absent; to_w[w] = 0; forget(w) }

proctype kernel() {
end:	do
	kernel_acts_on(0)
	kernel_acts_on(1)
#ifdef LIVE
	/*
	 * Nothing has to happen. Without these, fairness would wait for the last crash, and for each stopped worker
	 * to be resumed.
	 */
	:: d_step { crashes > 0 -> crashes = 0 }
	:: d_step { stops > 0 -> stops = 0 }
	:: d_step { upgrades > 0 -> upgrades = 0 }
	:: d_step { life[0] == stopped -> life[0] = frozen; printf("worker %d is never resumed\n", nr[0]) }
	:: d_step { life[1] == stopped -> life[1] = frozen; printf("worker %d is never resumed\n", nr[1]) }
#endif
	od
}
