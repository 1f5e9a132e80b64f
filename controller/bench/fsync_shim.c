/*
 * Stands between a process and fsync(2), to see and to slow down what reaches the disk.
 *
 *   cc -shared -fPIC -O2 -o fsync_shim.so fsync_shim.c -ldl -pthread
 *   LD_PRELOAD=./fsync_shim.so EW_FSYNC_DELAY_MS=10 EW_FSYNC_LOG=fsyncs.log edge-agent run
 *
 * EW_FSYNC_DELAY_MS  whole or broken milliseconds that every fsync and fdatasync takes
 *                    longer (an SD card needs about 10); 0 when unset.
 * EW_FSYNC_LOG       a file that gets one line after each of them has returned:
 *                    "<begun> <ended> <pid> <call> <result> <path>", both times in
 *                    nanoseconds of CLOCK_MONOTONIC (Python: time.monotonic_ns()).
 *                    A line is one write(2) with O_APPEND: lines never mix, and a
 *                    line that is in the file was written before the call returned.
 *
 * SQLite calls fsync or fdatasync as it was built, so both are wrapped. Both settings
 * are read once, when the library is loaded, which is before any thread exists.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef int (*sync_call)(int);

static sync_call real_fsync;
static sync_call real_fdatasync;
static struct timespec delay;
static int log_fd = -1;

__attribute__((constructor)) static void
load(void)
{
	const char *delay_ms = getenv("EW_FSYNC_DELAY_MS");
	const char *log_path = getenv("EW_FSYNC_LOG");

	real_fsync = (sync_call)dlsym(RTLD_NEXT, "fsync");
	real_fdatasync = (sync_call)dlsym(RTLD_NEXT, "fdatasync");
	if (delay_ms != NULL) {
		long long ns = (long long)(atof(delay_ms) * 1e6);
		if (ns > 0) {
			delay.tv_sec = ns / 1000000000;
			delay.tv_nsec = ns % 1000000000;
		}
	}
	if (log_path != NULL && *log_path != '\0')
		log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static long long
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void
wait_longer(void)
{
	struct timespec left = delay;

	while ((left.tv_sec || left.tv_nsec) && nanosleep(&left, &left) == -1 && errno == EINTR)
		continue;
}

static void
write_line(const char *call, int fd, int result, long long begun)
{
	char link[64], path[PATH_MAX], line[PATH_MAX + 160];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof path - 1);
	path[length < 0 ? 0 : length] = '\0';
	length = snprintf(line, sizeof line, "%lld %lld %d %s %d %s\n",
	    begun, now_ns(), (int)getpid(), call, result, path);
	if (write(log_fd, line, (size_t)length) != length)
		abort(); /* a log with holes would prove nothing */
}

static int
watched(sync_call real, const char *call, int fd)
{
	long long begun = now_ns();
	int result = real(fd);
	int error = errno;

	wait_longer();
	if (log_fd != -1)
		write_line(call, fd, result, begun);
	errno = error;
	return result;
}

int
fsync(int fd)
{
	return watched(real_fsync, "fsync", fd);
}

int
fdatasync(int fd)
{
	return watched(real_fdatasync, "fdatasync", fd);
}
