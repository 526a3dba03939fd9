#include "base/clock.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t us_of(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t clock_boot_us(void)
{
	return us_of(CLOCK_BOOTTIME);
}

uint32_t clock_coarse_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint32_t)t.tv_sec;
}

uint64_t clock_coarse_us(void)
{
	return us_of(CLOCK_MONOTONIC_COARSE);
}

uint64_t clock_wall_us(void)
{
	return us_of(CLOCK_REALTIME);
}

int clock_poll_ms(uint64_t due_us, uint64_t now_us)
{
	if (!due_us)
		return -1;
	return due_us > now_us ? (int)((due_us - now_us + 999) / 1000) : 0;
}

const char *clock_boot_id(void)
{
	static char id[37];
	if (id[0])
		return id;
	strcpy(id, "unknown");
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		char buf[36];
		if (read(fd, buf, sizeof(buf)) == (ssize_t)sizeof(buf)) {
			memcpy(id, buf, sizeof(buf));
			id[36] = '\0';
		}
		close(fd);
	}
	return id;
}
