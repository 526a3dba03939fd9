#include "tmpdir.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *tmpdir_new(void)
{
	static char dir[200];
	const char *base = getenv("TMPDIR");
	snprintf(dir, sizeof(dir), "%.150s/vringd-store-XXXXXX", base ? base : "/tmp");
	return mkdtemp(dir);
}

void tmpdir_free(const char *dir)
{
	char path[512];
	DIR *d = opendir(dir);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		snprintf(path, sizeof(path), "%s/%.250s", dir, e->d_name);
		if (unlink(path) < 0)
			rmdir(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

void snap_at(struct snap *s, uint64_t epoch, uint64_t seq)
{
	memset(s, 0, sizeof(*s));
	strcpy(s->port, "vm0");
	s->epoch = epoch;
	s->features_offered = UINT64_MAX;
	s->has_features = true;
	s->features_acked = seq;
	s->log_from = seq + 11;
	s->bell_from = seq + 12;
	s->n_regions = 2;
	for (unsigned i = 0; i < 2; i++)
		s->region[i] = (struct snap_region){ .guest_addr = i << 30, .size = seq + 1, .user_addr = seq << 12,
						    .from = seq + 7, .from_n = i };
	for (unsigned i = 0; i < 4; i++)
		s->ring[i] = (struct snap_ring){ .num = 256, .base = seq & 0xffff, .base_given = true, .has_addr = true, .ran = i == 2,
						 .kick = SNAP_FD_GIVEN, .kick_from = seq + 8, .call_from = seq + 9,
						 .err_from = seq + 10, .desc = seq, .used = seq + 1, .avail = seq + 2 };
}
