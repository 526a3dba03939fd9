/*
 * The right design is WRONG == 0. Each of the others breaks one rule, and the checker must reject it: a checker that
 * can't see a seeded fault proves nothing. scripts/model reads this list. In brackets: the properties one of which
 * must be found violated, and bounds, where those of a search for a fault (one crash, no stop, one doubt) show
 * nothing or more than is needed.
 */
#ifndef WRONG
#define WRONG 0
#endif

#define ACK_BEFORE_COMMIT 1      /* [S2] the reply is written while the transaction is still to come */
#define DONE_BEFORE_COMMIT 2     /* [S1 S2] the keeper forgets a message that is not in the store yet */
#define WORKER_READS_SOCKET 3    /* [L1 S1] what a dying worker has read is gone (K1) */
#define LEASE_MISSING 4          /* [S3 CRASHES=0 STOPS=1 DOUBTS=0] a successor does not wait for the old data thread's end (K7) */
#define CLOSE_BEFORE_FILL 5      /* [S5] the socket is closed, then the log is filled */
#define TWO_STORES 6             /* [S1 S4] rows are read while the old worker can still commit */
#define APPLIED_IGNORED 7        /* [S1] a message that is in the store already is applied again (K3) */
#define EFFECT_BEFORE_COMMIT 8   /* [S4] rings follow the message, then it is committed (K6) */
#define NO_QUIESCE_STOP 9        /* [S4 CRASHES=0 DOUBTS=0] GET_VRING_BASE is committed while a frame is on its way (H10) */
#define NO_QUIESCE_LOG 10        /* [S5 CRASHES=0 DOUBTS=0] the log is switched while a frame is on its way (H7) */
#define NO_W 11                  /* [S5] adoption does not log again what the dead one may have written */
#define W_BEFORE_LEASE 12        /* [S5 CRASHES=0 STOPS=1 DOUBTS=0] it does, but while the old data thread may still write */
#define W_WITHOUT_SOURCE 13      /* [S5 DOUBTS=0] it does, but forgets the used ring of the source */
#define LOG_BEFORE_WRITE 14      /* [S5] the bit is set before the page is written: harvested too early (H1) */
#define SHOWN_BEFORE_LOG 15      /* [S5] the guest sees the frame before its page is in the log (H4) */
#define FILL_BEFORE_LEASE 16     /* [S5] a worker in doubt fills the log while the old one may still write */
#define FILL_BEFORE_DEATH 17     /* [S5 TRIES=1] so does a keeper that gives up */
#define SOURCE_FIRST 18          /* [F1] the source gets its buffer back before the destination has the frame */
#define NO_REPLAY 19             /* [L1] the keeper forwards a message once only */
#define NO_DEADLINE 20           /* [L1 CRASHES=0 STOPS=1 DOUBTS=0] the keeper waits for a stopped worker for ever (K12) */
#define CLOSE_OVERTAKEN 21       /* [S4 S5] a successor starts before the keeper has closed as the last one told it to */
