/* Makes one call of the file system fail, for files under one folder; preloaded into a process.

   faults_arm(folder, call, error, again): the call-th of the calls below (from 1) fails with errno
   `error`; with `again` all after it, too. An error of -1 is a short write: of the first write
   from then on half is written, and what follows fails with ENOSPC, as on a disk that is full.
   Call 0: none fails, all are counted.
   faults_count(): calls since then. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static int at, fault, goes_on, count, is_full;

void faults_arm(const char *path, int call, int error, int again) {
  at = call, fault = error, goes_on = again, count = is_full = 0;
  strncpy(folder, path, PATH_MAX - 1);
}

int faults_count(void) { return count; }

static int is_watched(const char *path) {
  return folder[0] && path && !strncmp(path, folder, strlen(folder));
}

static int is_watched_fd(int fd) {
  char link[64], path[PATH_MAX];
  if (!folder[0]) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return is_watched(path);
}

/* Whether this call fails; sets errno. */
static int fails(void) {
  int number = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
  if (is_full) return errno = ENOSPC, 1;
  if (!at || number < at || (number > at && !goes_on)) return 0;
  if (fault == -1) return 0;
  return errno = fault, 1;
}

static size_t shortened(size_t size) {
  if (fault != -1 || !at || count < at || is_full || size < 2) return size;
  is_full = 1;
  return size / 2;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
  if (is_watched_fd(fd)) {
    if (fails()) return -1;
    size = shortened(size);
  }
  return REAL(write)(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  if (is_watched_fd(fd)) {
    if (fails()) return -1;
    size = shortened(size);
  }
  return REAL(pwrite64)(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int number) {
  if (is_watched_fd(fd) && fails()) return -1;
  return REAL(writev)(fd, parts, number);
}

int fsync(int fd) { return is_watched_fd(fd) && fails() ? -1 : REAL(fsync)(fd); }

int rename(const char *from, const char *to) {
  return is_watched(to) && fails() ? -1 : REAL(rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
  return is_watched(path) && fails() ? -1 : REAL(mkdir)(path, mode);
}

int unlink(const char *path) { return is_watched(path) && fails() ? -1 : REAL(unlink)(path); }

#define OPEN(name, watched, ...)                                                     \
  mode_t mode = 0;                                                                   \
  if (flags & (O_CREAT | __O_TMPFILE)) {                                             \
    va_list list;                                                                    \
    va_start(list, flags);                                                           \
    mode = va_arg(list, mode_t);                                                     \
    va_end(list);                                                                    \
  }                                                                                  \
  if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && watched && fails()) return -1;      \
  return REAL(name)(__VA_ARGS__, flags, mode);

int open(const char *path, int flags, ...) { OPEN(open, is_watched(path), path) }
int open64(const char *path, int flags, ...) { OPEN(open64, is_watched(path), path) }
int openat(int at_fd, const char *path, int flags, ...) { OPEN(openat, is_watched(path), at_fd, path) }
int openat64(int at_fd, const char *path, int flags, ...) { OPEN(openat64, is_watched(path), at_fd, path) }
