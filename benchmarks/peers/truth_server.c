/* truth_server -- answers every HTTP/1.1 request after exactly the same time, and writes down when it did.
 *
 *     usage: truth_server DELAY_US BOOKS      prints "port N", serves loopback until it is ended by a signal
 *
 * One thread; requests wait in a line, as all wait equally long, for a timerfd that is set for the first of
 * them. BOOKS is a file of 24 bytes a request in the order of the answers, after a header of the same size
 * whose first number says how many there are: the number in the request's path (-1 without), and when its last
 * byte was read and its answer handed to the kernel, in nanoseconds of CLOCK_MONOTONIC. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 65536
#define MOST_WAITING 65536 /* a power of two */
#define MOST_RECORDS (1 << 22)
#define MOST_HEAD 4096

typedef struct {
    int64_t path, read, sent;
} record;

typedef struct {
    int fd;
    uint32_t age; /* of the connection: another may have its number by now */
    int64_t path, read, due;
} waiting;

typedef struct {
    uint32_t age, size;
    char head[MOST_HEAD];
} connection;

static const char keep[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n";
static const char last[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\nConnection: close\r\n\r\n";
static char body[100];
static connection *connections[MOST_CONNECTIONS];
static waiting line[MOST_WAITING];
static bool closes[MOST_WAITING];
static size_t first, behind; /* of the line; they only grow */
static record *books;
static int64_t delay;
static int epoll, timer;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
}

static void hang_up(int fd)
{
    connections[fd]->age++;
    connections[fd]->size = 0;
    close(fd);
}

static void set_timer(void)
{
    if (first == behind) return;
    int64_t due = line[first % MOST_WAITING].due;
    struct itimerspec when = {.it_value = {due / 1000000000, due % 1000000000}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) != 0) fail("timerfd_settime");
}

static void answer(const waiting *one, bool close_after)
{
    char message[300];
    connection *its = connections[one->fd];
    if (its->age != one->age) return; /* it has hung up */
    size_t head = close_after ? sizeof last - 1 : sizeof keep - 1;
    memcpy(message, close_after ? last : keep, head);
    memcpy(message + head, body, sizeof body);
    int64_t sent = now();
    ssize_t written = send(one->fd, message, head + sizeof body, MSG_NOSIGNAL);
    if (books[0].path < MOST_RECORDS - 1) {
        books[books[0].path + 1] = (record){one->path, one->read, sent};
        books[0].path++;
    }
    if (close_after || written < 0) hang_up(one->fd);
}

/* Nobody waits any more, or the first of the line has been waited for. */
static void forget_timer(void)
{
    uint64_t times;
    if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) fail("read of the timer");
}

static void answer_those_due(void)
{
    while (first != behind && line[first % MOST_WAITING].due <= now()) {
        answer(&line[first % MOST_WAITING], closes[first % MOST_WAITING]);
        first++;
    }
    set_timer();
}

static int64_t number_in(const char *head)
{
    const char *slash = strchr(head, '/');
    if (slash == NULL || slash[1] < '0' || slash[1] > '9') return -1;
    return strtoll(slash + 1, NULL, 10);
}

/* All whole requests that are there; a body is not expected. */
static void take_requests(int fd, int64_t read)
{
    connection *its = connections[fd];
    for (;;) {
        its->head[its->size] = 0;
        char *end = strstr(its->head, "\r\n\r\n");
        if (end == NULL) break;
        *end = 0;
        if (behind - first == MOST_WAITING) exit(3);
        bool was_empty = first == behind;
        closes[behind % MOST_WAITING] = strcasestr(its->head, "\r\nconnection: close") != NULL;
        line[behind % MOST_WAITING] = (waiting){fd, its->age, number_in(its->head), read, read + delay};
        behind++;
        if (was_empty && delay > 0) set_timer();
        size_t used = (size_t)(end + 4 - its->head);
        memmove(its->head, end + 4, its->size - used);
        its->size -= (uint32_t)used;
    }
    if (its->size == MOST_HEAD - 1) hang_up(fd);
}

static void receive(int fd)
{
    connection *its = connections[fd];
    ssize_t n = recv(fd, its->head + its->size, MOST_HEAD - 1 - its->size, MSG_DONTWAIT);
    int64_t read = now();
    if (n > 0) {
        its->size += (uint32_t)n;
        take_requests(fd, read);
        if (delay == 0) answer_those_due();
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(fd);
    }
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        if (fd >= MOST_CONNECTIONS) exit(3);
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connections[fd] == NULL) connections[fd] = calloc(1, sizeof *connections[fd]);
        if (connections[fd] == NULL) fail("calloc");
        watch(fd);
    }
}

static int listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 4096) != 0) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void open_books(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)sizeof *books * MOST_RECORDS) != 0) fail(path);
    books = mmap(NULL, sizeof *books * MOST_RECORDS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (books == MAP_FAILED) fail("mmap");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: truth_server DELAY_US BOOKS\n");
        return 2;
    }
    delay = strtoll(argv[1], NULL, 10) * 1000;
    open_books(argv[2]);
    memset(body, '.', sizeof body);
    prctl(PR_SET_TIMERSLACK, 1); /* ns: the kernel adds 50 us to each wait otherwise */
    epoll = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listener = listening();
    watch(listener);
    watch(timer);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) accept_all(listener);
            else if (fd != timer) receive(fd);
            else {
                forget_timer();
                answer_those_due();
            }
        }
    }
}
