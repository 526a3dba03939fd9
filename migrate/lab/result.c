#include "lab/result.h"

#include <stdlib.h>

struct round *results_add_round(struct results *r)
{
	struct round *more = realloc(r->round, (r->n_rounds + 1) * sizeof(*more));
	if (!more)
		return NULL;
	r->round = more;
	more += r->n_rounds++;
	*more = (struct round){ .number = r->n_rounds };
	return more;
}

bool round_plan_kills(struct round *r, unsigned n)
{
	r->kill = calloc(n ? n : 1, sizeof(*r->kill));
	r->room_kills = r->kill ? n : 0;
	return r->kill != NULL;
}

static void stretch_free(struct stretch *s)
{
	free(s->peer_bins.count);
	free(s->mover_bins.count);
}

void results_free(struct results *r)
{
	stretch_free(&r->control);
	for (unsigned i = 0; i < r->n_rounds; i++) {
		json_decref(r->round[i].source);
		json_decref(r->round[i].destination);
		stretch_free(&r->round[i].stretch);
		free(r->round[i].kill);
	}
	free(r->round);
	for (int i = 0; i < 2; i++) {
		json_decref(r->stats[i]);
		json_decref(r->events[i]);
	}
}
