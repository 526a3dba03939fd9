#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lab/report.h"
#include "lab/verdict.h"

static const char head[] =
	"<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n"
	"<title>vringlab</title><style>\n"
	":root{color-scheme:light dark;--ink:#1b2430;--page:#fff;--faint:#687485;--line:#d5dbe3;--bar:#3c7dc4;--mark:#b04a00;--qemu:#7a5cc0;"
	"--ok:#1d7a3c;--bad:#c02626}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--page:#14181e;--faint:#93a0b1;--line:#343d49;--bar:#6aa9ee;--mark:#ff9d54;"
	"--qemu:#b39bf0;--ok:#5ecb83;--bad:#ff7a7a}}\n"
	"body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:62rem;margin:2rem auto;padding:0 1rem}\n"
	"table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line)}\n"
	"td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.ok{color:var(--ok)}.failed{color:var(--bad);font-weight:600}\n"
	".faint{color:var(--faint);fill:var(--faint)}svg{width:100%;height:auto;margin:.5rem 0 1.5rem}\n"
	"svg text{font-size:11px;fill:var(--ink)}svg text.faint{fill:var(--faint)}.bars{fill:var(--bar)}.axis{stroke:var(--line);fill:none}\n"
	".mark{stroke:var(--mark)}svg text.mark-name{fill:var(--mark)}.qemu{stroke:var(--qemu);stroke-dasharray:4 3}"
	"svg text.qemu-name{fill:var(--qemu)}.told{fill:var(--ok)}\n"
	"</style></head><body>\n";

static void put_verdicts(FILE *f, const struct results *r)
{
	fputs("<table><tr><th>verdict<th><th>measured<th>limit</tr>\n", f);
	for (unsigned i = 0; i < r->n_verdicts; i++) {
		const struct verdict *v = &r->verdict[i];
		const char *class = v->state == VERDICT_OK ? "ok" : v->state == VERDICT_FAILED ? "failed" : "faint";
		fputs("<tr><td>", f);
		report_escape(f, v->name);
		fprintf(f, "<td class=\"%s\">%s<td>", class, verdict_state_name(v->state));
		report_escape(f, v->measured);
		fputs("<td>", f);
		report_escape(f, v->limit);
		fputs("</tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void put_row(FILE *f, const char *name, const char *ports, const struct stretch *s, double downtime_ms, double total_ms)
{
	fprintf(f, "<tr><td>%s<td>%s<td class=n>%.0f<td class=n>%.0f<td class=n>%.1f<td class=n>%.1f<td class=n>%" PRIu64 "<td class=n>%" PRIu64
		"<td class=n>%" PRIu64 "<td class=n>%" PRIu64 "</tr>\n", name, ports, downtime_ms, total_ms, (double)s->to_peer.got.gap_us / 1000,
		(double)mover_gap_us(s) / 1000, s->to_peer.sent + s->to_mover.sent, s->to_peer.missing + s->to_mover.missing,
		s->to_peer.got.repeated + s->to_mover.got.repeated, s->to_peer.got.corrupt + s->to_mover.got.corrupt);
}

static void put_rounds(FILE *f, const struct results *r)
{
	fputs("<h2>Stretches of traffic</h2><table><tr><th>round<th>ports<th class=n>downtime ms<th class=n>total ms<th class=n>gap at peer ms"
		"<th class=n>gap at mover ms<th class=n>sent<th class=n>missing<th class=n>repeated<th class=n>corrupt</tr>\n", f);
	if (r->have_control)
		put_row(f, "without migration", "", &r->control, 0, 0);
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		char name[40], ports[60];
		snprintf(name, sizeof(name), "%u%s", n->number, n->kind == ROUND_CANCEL ? ", cancelled" : "");
		if (n->kind == ROUND_CRASH)
			snprintf(ports, sizeof(ports), "%u kills", n->n_kills);
		else
			snprintf(ports, sizeof(ports), "%s to %s", n->from, n->to);
		put_row(f, name, ports, &n->stretch, n->downtime_ms, n->total_ms);
	}
	fputs("</table>\n", f);
}

static void put_drawings(FILE *f, const struct results *r)
{
	if (r->opts->verb == LAB_CRASH)
		return;
	fputs("<h2>Traffic around each switch-over</h2>\n", f);
	for (unsigned i = 0; i < r->n_rounds; i++) {
		const struct round *n = &r->round[i];
		fprintf(f, "<h3>Round %u: %s to %s</h3>\n", n->number, n->from, n->to);
		if (n->failure[0]) {
			fputs("<p class=failed>", f);
			report_escape(f, n->failure);
			fputs("</p>\n", f);
		}
		if (n->stretch.peer_bins.n)
			report_svg(f, n);
	}
}

enum err report_html(const struct results *r, const char *path, struct why *why)
{
	FILE *f = fopen(path, "we");
	if (!f)
		return ours(why, "%s: %s", path, strerror(errno));
	fputs(head, f);
	fputs(r->opts->verb == LAB_CRASH ? "<h1>Kills of " : "<h1>Live migration through ", f);
	report_escape(f, r->backend);
	fprintf(f, "</h1><p>%u datagrams/s of %u bytes each way, %u queue pair%s, QEMU %s to %s under %s.</p>\n", r->opts->rate, r->opts->size,
		r->opts->queues, r->opts->queues == 1 ? "" : "s", r->assets->src.version, r->assets->dst.version, r->kvm ? "KVM" : "TCG");
	put_verdicts(f, r);
	put_rounds(f, r);
	if (r->opts->kills)
		report_kills(f, r);
	put_drawings(f, r);
	fputs("</body></html>\n", f);
	return fclose(f) == 0 ? OK : ours(why, "%s: %s", path, strerror(errno));
}
