#include <errno.h>
#include <string.h>

#include "lab/report.h"

void report_escape(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<': fputs("&lt;", f); break;
		case '>': fputs("&gt;", f); break;
		case '&': fputs("&amp;", f); break;
		case '"': fputs("&quot;", f); break;
		default: fputc((unsigned char)*text < ' ' ? ' ' : *text, f);
		}
	}
}

static void put_case(FILE *f, const char *verb, const struct verdict *v)
{
	fprintf(f, "  <testcase classname=\"vringlab.%s\" name=\"", verb);
	report_escape(f, v->name);
	fputs("\">", f);
	if (v->state == VERDICT_FAILED) {
		fputs("<failure message=\"", f);
		report_escape(f, v->measured);
		fputs(" (limit: ", f);
		report_escape(f, v->limit);
		fputs(")\"/>", f);
	} else {
		fputs("<system-out>", f);
		report_escape(f, v->measured);
		fputs("</system-out>", f);
	}
	fputs("</testcase>\n", f);
}

enum err report_junit(const struct results *r, const char *path, struct why *why)
{
	FILE *f = fopen(path, "we");
	unsigned failed = 0;
	const char *verb = r->opts->verb == LAB_CRASH ? "crash" : "migrate";
	if (!f)
		return ours(why, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < r->n_verdicts; i++)
		failed += r->verdict[i].state == VERDICT_FAILED;
	fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"vringlab %s\" tests=\"%u\" failures=\"%u\" time=\"%.1f\">\n",
		verb, r->n_verdicts, failed, (double)(r->end_us - r->start_us) / 1e6);
	for (unsigned i = 0; i < r->n_verdicts; i++)
		put_case(f, verb, &r->verdict[i]);
	fputs("</testsuite>\n", f);
	return fclose(f) == 0 ? OK : ours(why, "%s: %s", path, strerror(errno));
}
