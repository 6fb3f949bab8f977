/* faults -- a disk that fills up and fails, a clock that jumps, a process that dies between two system calls.
 *
 * Loaded into a process by LD_PRELOAD, it stands between it and libc. Whoever shares the file that
 * PENSTOCK_FAULTS names, an orders of below, says what goes wrong, from one call to the next. Only files below
 * the folder PENSTOCK_FAULTS_FOLDER are touched. Without orders everything goes through.
 *
 * It also keeps the books of what was synced: the size that each file had when its last sync began. A power
 * cut may take what is beyond it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FILES 8192 /* a power of two */

typedef struct {
    _Atomic int64_t room;           /* bytes that can still be written; -1: as many as there are */
    _Atomic int64_t failing_syncs;  /* syncs that fail with EIO; -1: all */
    _Atomic int64_t lying_syncs;    /* not 0: syncs do nothing, and say that they did */
    _Atomic int64_t failing_writes; /* writes that fail with EIO; -1: all */
    _Atomic int64_t short_writes;   /* not 0: every other write takes only a part of what it is given */
    _Atomic int64_t wall_offset;    /* nanoseconds, added to the time of day */
    _Atomic int64_t calls_to_live;  /* after so many writes and syncs the process is killed; -1: never */
    _Atomic int64_t writes;         /* so far */
    _Atomic int64_t syncs;
    _Atomic int64_t refusals;       /* calls that were made to fail or to fall short */
    struct {
        _Atomic uint64_t inode;
        _Atomic int64_t size;
    } synced[FILES];
} orders;

static orders *the_orders;
static char folder[PATH_MAX];
static size_t folder_length;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

__attribute__((constructor)) static void open_orders(void)
{
    const char *path = getenv("PENSTOCK_FAULTS"), *below = getenv("PENSTOCK_FAULTS_FOLDER");
    if (path == NULL || below == NULL || realpath(below, folder) == NULL)
        return;
    folder_length = strlen(folder);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof(orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        the_orders = map;
}

static int is_ours(int fd)
{
    char link[64], path[PATH_MAX];
    if (the_orders == NULL)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > (ssize_t)folder_length && memcmp(path, folder, folder_length) == 0 &&
           path[folder_length] == '/';
}

/* Takes one from a budget; 1 when there was one, or it is without end. */
static int take_one(_Atomic int64_t *budget)
{
    int64_t left = atomic_load(budget);
    while (left > 0)
        if (atomic_compare_exchange_weak(budget, &left, left - 1))
            return 1;
    return left < 0;
}

static void maybe_die(void)
{
    int64_t left = atomic_load(&the_orders->calls_to_live);
    if (left < 0)
        return;
    if (left == 0 || atomic_fetch_sub(&the_orders->calls_to_live, 1) <= 0)
        kill(getpid(), SIGKILL);
}

/* How many of `size` bytes a write may take; -1 and errno when none. */
static ssize_t allowed(size_t size)
{
    int64_t number = atomic_fetch_add(&the_orders->writes, 1);
    maybe_die();
    if (take_one(&the_orders->failing_writes)) {
        atomic_fetch_add(&the_orders->refusals, 1);
        errno = EIO;
        return -1;
    }
    int64_t can = (int64_t)size, room = atomic_load(&the_orders->room);
    if (room >= 0) {
        can = room < can ? room : can;
        atomic_store(&the_orders->room, room - can);
    }
    if (can > 1 && number % 2 && atomic_load(&the_orders->short_writes))
        can = 1 + (int64_t)((uint64_t)number * 2654435761u % (uint64_t)can);
    if (can < (int64_t)size)
        atomic_fetch_add(&the_orders->refusals, 1);
    if (can == 0 && size > 0) {
        errno = ENOSPC;
        return -1;
    }
    return (ssize_t)can;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (is_ours(fd)) {
        ssize_t can = allowed(size);
        if (can < 0)
            return -1;
        size = (size_t)can;
    }
    return REAL(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (is_ours(fd)) {
        ssize_t can = allowed(size);
        if (can < 0)
            return -1;
        size = (size_t)can;
    }
    return REAL(pwrite)(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

/* As many of the pieces as may be written, the last of them perhaps in part. */
static ssize_t write_pieces(int fd, const struct iovec *pieces, int n, off_t offset)
{
    size_t size = 0;
    for (int i = 0; i < n; i++)
        size += pieces[i].iov_len;
    ssize_t can = allowed(size);
    if (can < 0 || (size_t)can == size)
        return can < 0       ? -1
               : offset < 0 ? REAL(writev)(fd, pieces, n)
                            : REAL(pwritev)(fd, pieces, n, offset);
    ssize_t written = 0;
    for (int i = 0; i < n && written < can; i++) {
        size_t left = (size_t)(can - written);
        size_t take = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        ssize_t done = offset < 0 ? REAL(write)(fd, pieces[i].iov_base, take)
                                  : REAL(pwrite)(fd, pieces[i].iov_base, take, offset + written);
        if (done < 0)
            return written > 0 ? written : -1;
        written += done;
    }
    return written;
}

ssize_t writev(int fd, const struct iovec *pieces, int n)
{
    return is_ours(fd) ? write_pieces(fd, pieces, n, -1) : REAL(writev)(fd, pieces, n);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int n, off_t offset)
{
    return is_ours(fd) ? write_pieces(fd, pieces, n, offset) : REAL(pwritev)(fd, pieces, n, offset);
}

ssize_t pwritev64(int fd, const struct iovec *pieces, int n, off64_t offset)
{
    return pwritev(fd, pieces, n, offset);
}

ssize_t pwritev2(int fd, const struct iovec *pieces, int n, off_t offset, int flags)
{
    return is_ours(fd) ? write_pieces(fd, pieces, n, offset) : REAL(pwritev2)(fd, pieces, n, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *pieces, int n, off64_t offset, int flags)
{
    return pwritev2(fd, pieces, n, offset, flags);
}

static void note_synced(const struct stat *file)
{
    for (uint64_t i = 0; i < FILES; i++) {
        uint64_t slot = (file->st_ino * 0x9E3779B97F4A7C15u + i) % FILES, none = 0;
        if (atomic_load(&the_orders->synced[slot].inode) == file->st_ino ||
            atomic_compare_exchange_strong(&the_orders->synced[slot].inode, &none, file->st_ino)) {
            atomic_store(&the_orders->synced[slot].size, (int64_t)file->st_size);
            return;
        }
    }
}

static int sync_it(int fd, int (*sync)(int))
{
    struct stat before;
    if (!is_ours(fd))
        return sync(fd);
    atomic_fetch_add(&the_orders->syncs, 1);
    maybe_die();
    if (take_one(&the_orders->failing_syncs)) {
        atomic_fetch_add(&the_orders->refusals, 1);
        errno = EIO;
        return -1;
    }
    if (atomic_load(&the_orders->lying_syncs))
        return 0;
    int is_file = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int result = sync(fd);
    if (result == 0 && is_file)
        note_synced(&before);
    return result;
}

int fsync(int fd)
{
    return sync_it(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return sync_it(fd, REAL(fdatasync));
}

/* Room that is set aside beforehand is room all the same. */
int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (is_ours(fd) && atomic_load(&the_orders->room) >= 0) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(fallocate)(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (is_ours(fd) && atomic_load(&the_orders->room) >= 0)
        return ENOSPC;
    return REAL(posix_fallocate)(fd, offset, size);
}

static int64_t jump(void)
{
    return the_orders == NULL ? 0 : atomic_load(&the_orders->wall_offset);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int result = REAL(clock_gettime)(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanoseconds = at->tv_sec * INT64_C(1000000000) + at->tv_nsec + jump();
        at->tv_sec = nanoseconds / INT64_C(1000000000);
        at->tv_nsec = nanoseconds % INT64_C(1000000000);
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}
