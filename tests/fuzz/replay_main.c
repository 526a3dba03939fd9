// Replay: every file of the folders that are named goes through the fuzz target once. Exit 0: all properties held and there
// was at least one file in each folder.
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static int replay_file(const char *path)
{
	struct stat st;
	FILE *f = fopen(path, "rb");
	if (!f || fstat(fileno(f), &st) != 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		if (f)
			fclose(f);
		return -1;
	}
	// a block of just that size: a read of one byte too much is seen by ASan
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size + (size == 0));
	int result = -1;
	if (data && fread(data, 1, size, f) == size) {
		fprintf(stderr, "%s\n", path); // before, so that the last line names the culprit
		LLVMFuzzerTestOneInput(data, size);
		result = 0;
	} else {
		fprintf(stderr, "%s: cannot be read\n", path);
	}
	free(data);
	fclose(f);
	return result;
}

static int replay_folder(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, alphasort), failed = 0, files = 0;
	if (n < 0) {
		fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];
		int len = snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.') {
			files++;
			failed |= len >= (int)sizeof(path) || replay_file(path) != 0;
		}
		free(entries[i]);
	}
	free(entries);
	printf("%s: %d inputs\n", folder, files);
	return failed || files == 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	int failed = argc < 2;
	for (int i = 1; i < argc; i++)
		failed |= replay_folder(argv[i]) != 0;
	return failed;
}
