#include "lab/report.h"

#include <string.h>

#define WIDTH 960
#define LANE 90    // height of one guest's traffic
#define LEFT 60
#define BEFORE_US 600000 // what is drawn around the switch-over
#define AFTER_US 1400000

struct view {
	uint64_t from_us, to_us;
};

static double x_of(const struct view *v, uint64_t us)
{
	return LEFT + (double)(us - v->from_us) * (WIDTH - LEFT - 10) / (double)(v->to_us - v->from_us);
}

static bool inside(const struct view *v, uint64_t us)
{
	return us >= v->from_us && us <= v->to_us;
}

static void put_lane(FILE *f, const struct view *v, const struct bins *b, const char *name, unsigned top)
{
	unsigned peak = 1;
	for (unsigned i = 0; i < b->n; i++)
		if (inside(v, b->start_us + (uint64_t)i * LAB_BIN_US) && b->count[i] > peak)
			peak = b->count[i];
	fprintf(f, "<text x=\"4\" y=\"%u\">%s</text><text x=\"4\" y=\"%u\" class=\"faint\">max %u</text>\n", top + 14, name, top + 28, peak);
	fprintf(f, "<path class=\"bars\" d=\"");
	double wide = x_of(v, v->from_us + LAB_BIN_US) - LEFT;
	for (unsigned i = 0; i < b->n; i++) {
		uint64_t at = b->start_us + (uint64_t)i * LAB_BIN_US;
		if (inside(v, at) && b->count[i])
			fprintf(f, "M%.1f %uv-%.1fh%.1fv%.1fz", x_of(v, at), top + LANE - 10, b->count[i] * (LANE - 20.0) / peak, wide * 0.85,
				b->count[i] * (LANE - 20.0) / peak);
	}
	fprintf(f, "\"/><path class=\"axis\" d=\"M%d %uH%d\"/>\n", LEFT, top + LANE - 10, WIDTH - 10);
}

static void put_mark(FILE *f, const struct view *v, uint64_t us, const char *name, unsigned row, const char *class)
{
	if (!us || !inside(v, us))
		return;
	double x = x_of(v, us);
	unsigned y = 2 * LANE + 16 + row * 15;
	fprintf(f, "<path class=\"%s\" d=\"M%.1f 4V%u\"/><text class=\"%s-name\" x=\"%.1f\" y=\"%u\"%s>%s</text>\n", class, x, y - 4, class,
		x > WIDTH - 180 ? x - 4 : x + 4, y, x > WIDTH - 180 ? " text-anchor=\"end\"" : "", name);
}

static uint64_t moment(json_t *record, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(record, key));
}

static void put_announcements(FILE *f, const struct view *v, json_t *record)
{
	json_t *a;
	size_t i;
	json_array_foreach(json_object_get(record, "announcements"), i, a) {
		uint64_t us = moment(a, "time_us");
		if (us && inside(v, us))
			fprintf(f, "<circle class=\"told\" cx=\"%.1f\" cy=\"%u\" r=\"3\"/>\n", x_of(v, us), 2 * LANE + 5);
	}
}

void report_svg(FILE *f, const struct round *r)
{
	uint64_t middle = r->stop_us ? r->stop_us : r->completed_us ? r->completed_us : r->stretch.start_us;
	uint64_t last = r->resume_us > middle ? r->resume_us : middle;
	struct view v = { middle > BEFORE_US ? middle - BEFORE_US : 0, last + AFTER_US };
	fprintf(f, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"traffic of round %u\">\n", WIDTH, 2 * LANE + 130, r->number);
	put_lane(f, &v, &r->stretch.peer_bins, "peer", 0);
	put_lane(f, &v, &r->stretch.mover_bins, "mover", LANE);
	struct { uint64_t us; const char *name, *class; } marks[] = {
		{ moment(r->source, "started_us"), "logging on", "mark" },
		{ r->stop_us, "QEMU stops the guest", "qemu" },
		{ moment(r->source, "stopped_us"), "rings stopped", "mark" },
		{ moment(r->kind == ROUND_CANCEL ? r->source : r->destination, "running_us"), "rings running", "mark" },
		{ r->resume_us, "QEMU runs the guest", "qemu" },
		{ moment(r->destination, "first_frame_out_us"), "first frame to the guest", "mark" },
		{ moment(r->destination, "first_frame_in_us"), "first frame from the guest", "mark" },
	};
	for (unsigned i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		put_mark(f, &v, marks[i].us, marks[i].name, i, marks[i].class);
	put_announcements(f, &v, r->destination);
	put_announcements(f, &v, r->source);
	fprintf(f, "<text class=\"faint\" x=\"%d\" y=\"%d\">%.1f s, 10 ms a bar; dots are announcements</text></svg>\n", LEFT, 2 * LANE + 126,
		(double)(v.to_us - v.from_us) / 1e6);
}
