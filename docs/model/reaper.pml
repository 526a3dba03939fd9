/*
 * The keeper's hand on the processes: starts them, kills the late ones. What it does here needs no crash point: the
 * worker is not there.
 */

/* Worker 0 becomes number 1, the predecessor. */
#define step_back() \
	life[1] = life[0]; ctl[1] = ctl[0]; dat[1] = dat[0]; lease[1] = lease[0]; open[1] = open[0]; leave[1] = leave[0]; \
	msg[1] = msg[0]; known[1] = known[0]; in_doubt[1] = in_doubt[0]; logs[1] = logs[0]; \
	pub_run[1] = pub_run[0]; pub_log[1] = pub_log[0]; pub_seq[1] = pub_seq[0]; \
	to_w[1] = to_w[0]; from_w[1] = from_w[0]; nr[1] = nr[0]; \
	dat[0] = gone; lease[0] = false; open[0] = false; leave[0] = false; to_w[0] = 0; forget(0)
#define start() \
	births++; nr[0] = births; printf("worker %d started\n", nr[0]); \
	from_w[0] = 0; life[0] = running; ctl[0] = born

proctype reaper() {
end:	do
	/*
	 * The worker is dead, or was killed for being late and is not dead yet: another one starts, and gets every
	 * message not DONE. Neither the store nor the rings are free for certain then. A DONE that was read is dealt
	 * with first: if it says "give up", a successor that thinks better of it would write into the guest until the
	 * connection is closed.
	 */
	:: d_step { !closed && (told == 0 || WRONG == CLOSE_OVERTAKEN) && cur == 0 && lost(0) && !gives_up &&
			(life[0] == absent || life[1] == absent) ->
		if :: outstanding -> tries++ :: else fi;
		if :: life[0] != absent -> step_back() :: else fi;
		start();
		forwarded = (WRONG == NO_REPLAY && forwarded) }

	/* A message has waited too long for a worker that does not run. */
	:: d_step { WRONG != NO_DEADLINE && outstanding && (life[cur] == stopped || life[cur] == frozen) ->
		printf("worker %d late: killed\n", nr[cur]);
		life[cur] = dying }

#if UPGRADES
	/*
	 * Another binary: it starts, and waits for database and lease; the present one is asked to leave when it has
	 * done its message. Not before it has said that it has taken over: the new one could get in between, or go on
	 * where the old one gives up.
	 */
	:: d_step { upgrades > 0 && !closed && told == 0 && cur == 0 && life[0] == running && life[1] == absent &&
			(idle(0) || msg[0] != 0) ->
		printf("worker %d to be replaced\n", nr[0]);
		upgrades--;
		leave[0] = true;
		step_back();
		start();
		cur = 1 }
	/* Its place is taken, whether it left or died. */
	:: d_step { cur == 1 && told == 0 && lost(1) ->
		if :: outstanding && !left(1) -> tries++ :: else fi;
		from_w[1] = 0;
		leave[1] = false;
		forwarded = false;
		cur = 0 }
	/* The new one died early. */
	:: d_step { cur == 1 && !closed && life[0] == absent ->
		start() }
#endif
	od
}
