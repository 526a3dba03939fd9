/*
 * A restart that the guest cannot see, as a model for the checker spin. README.md beside this file tells how to run
 * and read it.
 *
 * A model is a handful of processes that each repeat "if this holds, do that". Everything between the braces of one
 * d_step happens at once; between two of them anything may happen, a crash too. The checker tries every order there
 * is.
 */
#include "wrong.pml"
#include "world.pml"
#include "keeper.pml"
#include "reaper.pml"
#include "worker.pml"

init {
	atomic {
		/* Before the first message the rings run; the front end logs already, or not yet. */
		if
		:: fe_log = true; fe_asked_log = true; row_log = true
		:: skip
		fi;
		life[0] = running;
		ctl[0] = born;
		run front_end();
		run kernel();
		run reaper();
		run keeper();
		run control(0); run control(1);
		run data(0); run data(1)
	}
}

/* L1: a front end that waits gets its reply, or the end of its connection. */
#ifdef LIVE
ltl L1 { [] <> (waiting == 0) }
#endif
