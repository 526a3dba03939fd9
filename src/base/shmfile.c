#include "base/shmfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/bits.h"

#define TMPFS_TYPE 0x01021994
#define HUGETLBFS_TYPE 0x958458f6

enum err shmfile_check(int fd, uint64_t offset, uint64_t size, bool any_file, const char *what, uint64_t *page,
		       struct why *why)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return refuse(why, "%s: descriptor: %s", what, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(why, "%s: descriptor is not a file that can be mapped", what);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || (flags & O_PATH))
		return refuse(why, "%s: descriptor is not open for reading and writing", what);
	struct statfs fs;
	if (fstatfs(fd, &fs) != 0)
		return refuse(why, "%s: file system: %s", what, strerror(errno));
	unsigned long type = (unsigned long)fs.f_type;
	if (!any_file && type != TMPFS_TYPE && type != HUGETLBFS_TYPE)
		return refuse(why, "%s: file is neither memfd, tmpfs nor hugetlbfs: use memory-backend-memfd,share=on, or memory=any on the port", what);
	if (size == 0 || size > (uint64_t)INT64_MAX)
		return refuse(why, "%s: size %llu", what, (unsigned long long)size);
	if (!sum_fits(offset, size, (uint64_t)st.st_size))
		return refuse(why, "%s: %llu bytes at offset %llu are outside the file of %lld", what, (unsigned long long)size,
			      (unsigned long long)offset, (long long)st.st_size);
	if (page)
		*page = type == HUGETLBFS_TYPE ? (uint64_t)fs.f_bsize : (uint64_t)sysconf(_SC_PAGESIZE);
	return OK;
}
