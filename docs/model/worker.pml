/*
 * A worker: its control thread takes over, then handles messages; its data thread moves frames from the source to the
 * destination. Each action ends at a crash point of src/base/crash.h; a crash there is the kernel's action that comes
 * next.
 */

#define at(w, point) (runs(w) && ctl[w] == point)
#define quiet(w) (dat[w] == rest)       /* the data thread has passed: no frame is on its way */

/* The database is opened for one process only. */
#define may_open(w) (!open[other(w)] || WRONG == TWO_STORES)
#define may_lease(w) (!lease[other(w)] || WRONG == LEASE_MISSING)

#define log_w() \
	if \
	:: row_log && row_run -> unlogged = unlogged & ~(WRONG == W_WITHOUT_SOURCE -> PENDING | RX_RING : W_PAGES) \
	:: else \
	fi

#define is_replay(w) (msg[w] <= known[w] && WRONG != APPLIED_IGNORED)
/* A ring that is to give its base away leaves the datapath before the commit. */
#define retract(w) \
	if :: kind[msg[w]] == STOP && !is_replay(w) && WRONG != NO_QUIESCE_STOP -> pub_run[w] = false :: else fi

proctype control(byte w) {
end:	do
	/* ---- taking over ---- */
	:: d_step { at(w, born) ->
		control_at(adopt_told) }

	:: d_step { at(w, adopt_told) && may_open(w) ->
		open[w] = true;
		known[w] = row_applied;
		control_at(adopt_opened) }
	/* The row can't be read, or can't be true. */
	:: d_step { at(w, adopt_told) && may_open(w) && doubts > 0 ->
		doubts--;
		open[w] = true;
		in_doubt[w] = true;
		control_at(adopt_opened) }

	:: d_step { at(w, adopt_opened) ->
		if :: WRONG == W_BEFORE_LEASE && !in_doubt[w] -> log_w() :: else fi;
		if :: WRONG == FILL_BEFORE_LEASE && in_doubt[w] -> unlogged = 0 :: else fi;
		control_at(adopt_built) }

	/*
	 * Nobody else touches the rings from here on: the old data thread is dead, or has let go. (One that is killed
	 * starts no thread.)
	 */
	:: d_step { at(w, adopt_built) && life[w] == running && may_lease(w) ->
		s3_lease(w);
		lease[w] = true;
		dat[w] = rest;
		control_at(adopt_leased) }

	:: d_step { at(w, adopt_leased) && !in_doubt[w] ->
		if :: WRONG != NO_W && WRONG != W_BEFORE_LEASE -> log_w() :: else fi;
		control_at(adopt_logged) }

	:: d_step { at(w, adopt_logged) ->
		pub_run[w] = row_run;
		pub_log[w] = row_log;
		pub_seq[w] = known[w];
		control_at(adopt_run) }         /* from here on it is idle */

	/* ---- giving up ---- */
	:: d_step { at(w, adopt_leased) && in_doubt[w] ->
		if :: WRONG != CLOSE_BEFORE_FILL && WRONG != FILL_BEFORE_LEASE -> unlogged = 0 :: else fi;
		control_at(log_filled) }
	:: d_step { at(w, log_filled) ->
		from_w[w] = CLOSE;
		control_at(msg_done) }

	/* ---- a message ---- */
	:: d_step { runs(w) && idle(w) && !leave[w] && to_w[w] != 0 ->
		msg[w] = to_w[w];
		to_w[w] = 0;
		retract(w);
		control_at(msg_taken) }
	:: d_step { WRONG == WORKER_READS_SOCKET && runs(w) && idle(w) && !closed && taken < sent && from_w[w] == 0 ->
		taken++;
		msg[w] = taken;
		retract(w);
		control_at(msg_taken) }

	/* All is built aside; and no frame is on its way in a ring that is to give its base away. */
	:: d_step { at(w, msg_taken) && !is_replay(w) && (kind[msg[w]] != STOP || quiet(w) || WRONG == NO_QUIESCE_STOP) ->
		if
		:: WRONG == EFFECT_BEFORE_COMMIT && kind[msg[w]] == START -> pub_run[w] = true
		:: WRONG == EFFECT_BEFORE_COMMIT && kind[msg[w]] == STOP -> pub_run[w] = false
		:: else
		fi;
		if :: WRONG == DONE_BEFORE_COMMIT -> from_w[w] = msg[w] :: else fi;
		if :: WRONG == ACK_BEFORE_COMMIT -> reply(msg[w]) :: else fi;
		control_at(msg_planned) }

	/*
	 * One transaction: the new state, the number of the message, its reply. The data thread takes no new frame
	 * from here on.
	 */
	:: d_step { at(w, msg_planned) && changes(kind[msg[w]]) ->
		s1_commit(msg[w]);
		owed = owed & ~bit(msg[w]);
		row_applied = msg[w];
		known[w] = msg[w];
		if
		:: kind[msg[w]] == START -> row_run = true
		:: kind[msg[w]] == STOP -> row_run = false
		:: kind[msg[w]] == LOG_ON -> row_log = true
		:: kind[msg[w]] == LOG_OFF -> row_log = false
		fi;
		pub_run[w] = false;
		control_at(msg_committed) }

	/* No frame is on its way: what the data thread goes by is swapped. */
	:: d_step { at(w, msg_committed) && (quiet(w) || WRONG == NO_QUIESCE_LOG) ->
		pub_run[w] = row_run;
		pub_log[w] = row_log;
		pub_seq[w] = known[w];
		control_at(msg_applied) }

	/*
	 * DONE: after the effect; or at once, if nothing was to change, or if it is done already: then the stored
	 * reply goes out.
	 */
	:: d_step { (at(w, msg_applied) || (at(w, msg_planned) && !changes(kind[msg[w]])) || (at(w, msg_taken) && is_replay(w))) ->
		if :: WRONG != DONE_BEFORE_COMMIT -> from_w[w] = msg[w] :: else fi;
		msg[w] = 0;
		control_at(msg_done);
		ctl[w] = adopt_run }
	od
}

/* ---- a frame ---- */

#define frame_at(w, point) (runs(w) && dat[w] == point)
#define write(pages) s4_write(w); if :: fe_log -> unlogged = unlogged | (pages) :: else fi
#define log(pages) if :: logs[w] -> unlogged = unlogged & ~(pages) :: else fi

proctype data(byte w) {
end:	do
	:: d_step { frame_at(w, rest) && pub_run[w] && WRONG != SOURCE_FIRST ->
		logs[w] = pub_log[w];
		if :: WRONG == LOG_BEFORE_WRITE -> log(PENDING) :: else fi;
		write(PENDING);
		data_at(frame_copied) }

	:: d_step { frame_at(w, frame_copied) ->
		write(RX_RING);
		data_at(frame_filled) }

	:: d_step { frame_at(w, frame_filled) && WRONG != SHOWN_BEFORE_LOG ->
		if :: WRONG == LOG_BEFORE_WRITE -> log(RX_RING) :: else -> log(PENDING | RX_RING) fi;
		data_at(frame_logged) }

	:: d_step { frame_at(w, (WRONG == SHOWN_BEFORE_LOG -> frame_filled : frame_logged)) ->
		must(S5, (unlogged & PENDING) == 0);
		unlogged = (unlogged & ~(PENDING | USED)) | ((unlogged & USED) != 0 -> PENDING : 0);
		shown = true;
		write(RX_RING);
		data_at(frame_shown) }

	:: d_step { frame_at(w, frame_shown) ->
		log(RX_RING);
		data_at(frame_settled) }

	:: d_step { frame_at(w, (WRONG == SOURCE_FIRST -> rest : frame_settled)) && (WRONG != SOURCE_FIRST || pub_run[w]) ->
		must(F1, shown);
		shown = false;
		write(TX_RING);
		data_at(frame_returned) }

	/* The source's page is logged, and the frame is done; a crash from here on is one between two frames. */
	:: d_step { frame_at(w, frame_returned) ->
		log(TX_RING);
		logs[w] = false;
		data_at(rest) }
	od
}
