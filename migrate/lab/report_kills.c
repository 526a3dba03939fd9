#include <inttypes.h>
#include <string.h>

#include "lab/report.h"

#define WIDTH 960
#define HEIGHT 150
#define LEFT 60

static unsigned count(const struct results *r)
{
	unsigned n = 0;
	for (unsigned i = 0; i < r->n_rounds; i++)
		n += r->round[i].n_kills;
	return n;
}

static uint64_t longest(const struct results *r)
{
	uint64_t us = 1;
	for (unsigned i = 0; i < r->n_rounds; i++)
		for (unsigned k = 0; k < r->round[i].n_kills; k++)
			us = r->round[i].kill[k].gap_us > us ? r->round[i].kill[k].gap_us : us;
	return us;
}

// One bar a kill: its gap, and in front of it what passed until somebody served again.
static void put_bars(FILE *f, const struct results *r)
{
	unsigned n = count(r), at = 0;
	double peak = (double)longest(r), wide = (double)(WIDTH - LEFT - 10) / (n ? n : 1);
	fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"longest gap of each kill\">\n", WIDTH, HEIGHT + 30);
	fprintf(f, "<text x=\"4\" y=\"14\">gap</text><text x=\"4\" y=\"28\" class=\"faint\">max %.1f ms</text>\n", peak / 1000);
	for (unsigned i = 0; i < r->n_rounds; i++)
		for (unsigned k = 0; k < r->round[i].n_kills; k++, at++) {
			const struct kill *d = &r->round[i].kill[k];
			double x = LEFT + at * wide, gap = (double)d->gap_us * HEIGHT / peak, served = (double)d->serving_us * HEIGHT / peak;
			served = served < gap ? served : gap;
			fprintf(f, "<rect class=\"bars\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", x, HEIGHT - gap, wide * 0.85, gap);
			fprintf(f, "<rect class=\"told\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", x, HEIGHT - served, wide * 0.4, served);
		}
	fprintf(f, "<path class=\"axis\" d=\"M%d %dH%d\"/><text class=\"faint\" x=\"%d\" y=\"%d\">one bar a kill; the narrow part is the time from the "
		"worker's death until another served</text></svg>\n", LEFT, HEIGHT, WIDTH - 10, LEFT, HEIGHT + 20);
}

static void put_time(FILE *f, uint64_t us)
{
	if (us)
		fprintf(f, "<td class=n>%.1f", (double)us / 1000);
	else
		fputs("<td class=n>-", f);
}

void report_kills(FILE *f, const struct results *r)
{
	fputs("<h2>Kills</h2>\n", f);
	if (r->opts->verb == LAB_CRASH)
		put_bars(f, r);
	fputs("<table><tr><th>kill<th>round<th>signal<th>when<th>who died, who followed<th class=n>serving after ms<th class=n>longest gap ms<th></tr>\n", f);
	for (unsigned i = 0; i < r->n_rounds; i++)
		for (unsigned k = 0; k < r->round[i].n_kills; k++) {
			const struct kill *d = &r->round[i].kill[k];
			fprintf(f, "<tr><td>%u<td>%u<td>%s<td>%s<td>%d, %d", d->number, r->round[i].number, sigabbrev_np(d->signal), kill_when_name(d->when),
				(int)d->pid, (int)d->next);
			put_time(f, d->serving_us);
			put_time(f, d->gap_us);
			fputs("<td class=failed>", f);
			report_escape(f, d->failure);
			fputs(d->lost[0] || d->lost[1] ? " a front end lost its connection</tr>\n" : "</tr>\n", f);
		}
	fputs("</table>\n", f);
}
