/* The keeper: relays one message at a time, and sees to it that there is a worker. */

#define lost(w) (life[w] == dying || life[w] == absent)
#define nobody_left (life[0] == absent && life[1] == absent)
/* A worker has been given a message, and has not said DONE. */
#define outstanding (forwarded && told == 0 && !closed)
/* Where an upgrade's new worker is there already, it has a try of its own. */
#define gives_up (outstanding && tries + 1 >= TRIES && cur == 0 && lost(0))

/* Writes the reply, if one is wanted. The front end reads it at once. */
#define reply(m) \
	s5_reply(); \
	if \
	:: wants_reply(kind[m]) -> \
		s2_reply(m); \
		waiting = 0; \
		if :: kind[m] == LOG_ON -> fe_log = true; unlogged = 0 :: else fi \
	:: else \
	fi

proctype keeper() {
end:	do
	/* One whole message leaves the socket, with its descriptors, and is numbered. */
	:: d_step { WRONG != WORKER_READS_SOCKET && !closed && kept == 0 && taken < sent ->
		taken++;
		kept = taken;
		keeper_at(keep_stored) }

	/* A copy goes to the worker; again to its successor. What a dead worker was given is lost with it. */
	:: d_step { kept != 0 && !forwarded && told == 0 && life[cur] != absent ->
		to_w[cur] = kept;
		forwarded = true;
		keeper_at(keep_sent) }

	:: d_step { from_w[cur] != 0 && told == 0 && !closed ->
		told = from_w[cur];
		from_w[cur] = 0;
		keeper_at(keep_got_done) }

	/* Whole replies only, and only from here. Then the message is forgotten. */
	:: d_step { told != 0 && told != CLOSE && !closed ->
		reply(told);
		keeper_at(keep_replied);
		kind[told] = 0;
		told = 0; kept = 0; tries = 0;
		forwarded = false }

	/* Or the end of the connection, if that is what the worker says, or what is left. */
	:: d_step { told == CLOSE && !closed ->
		s5_close();
		keeper_at(keep_replied);
		told = 0; kept = 0; waiting = 0; tries = 0;
		forwarded = false;
		closed = true }

	/* The message has killed as many workers as it may, and nobody is left that could write: all ones, then the end. */
	:: d_step { gives_up && (nobody_left || WRONG == FILL_BEFORE_DEATH) ->
		if :: WRONG != CLOSE_BEFORE_FILL -> unlogged = 0 :: else fi;
		told = CLOSE;
		keeper_at(log_filled) }
	od
}
