/* A wall clock that is wrong by as many nanoseconds as COVEY_CLOCK_FILE says at this moment (8 bytes, native order). Preloaded into the daemons
   of a lab host. The monotonic clock stays as it is, as it does on a machine whose time is set. No locks: a process may be stopped anywhere. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
  const char *name = getenv("COVEY_CLOCK_FILE");
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *found = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
  if (found != MAP_FAILED) offset = found;
  close(fd);
}

static int wall(clockid_t which, struct timespec *out) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real ? real(which, out) : (int)syscall(SYS_clock_gettime, which, out);
  if (failed || !offset || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE)) return failed;
  int64_t all = (int64_t)out->tv_sec * 1000000000 + out->tv_nsec + *offset;
  out->tv_sec = all / 1000000000;
  out->tv_nsec = all % 1000000000;
  return 0;
}

int clock_gettime(clockid_t which, struct timespec *out) { return wall(which, out); }

time_t time(time_t *out) {
  struct timespec now;
  wall(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone) {
  (void)zone;
  struct timespec now;
  int failed = wall(CLOCK_REALTIME, &now);
  if (!failed) *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
  return failed;
}
