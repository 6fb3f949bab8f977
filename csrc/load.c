#if defined(__linux__)
#define _GNU_SOURCE
#endif
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__) && !defined(PS_LOAD_POLL)
#define HAVE_EPOLL 1
#include <sys/epoll.h>
#include <sys/timerfd.h>
#else
#define HAVE_EPOLL 0
#include <poll.h>
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#include "clock.h"

#define NONE UINT32_MAX
#define BUFFER 65536          /* bytes that are received at once */
#define EVENTS 256            /* that are looked at in one turn */
#define ROUNDS 16             /* buffers that one connection may fill in one turn */
#define HIGHEST 3600000000000 /* ns that a histogram tells apart: an hour */
#define READ_GAP 20000        /* ns: between readings of two clocks farther apart, something else has run */
#define STEP 100000           /* ns by which the wall clock is seen to have been set */

enum { READABLE = 1, WRITABLE = 2, HUNG_UP = 4 };

typedef enum { VACANT, IDLE, CONNECTING, SENDING, RECEIVING, RESTING, ENDING } connection_state;

struct ps_load_connection {
    ps_http answer;
    int fd;
    connection_state state;
    uint32_t previous, next; /* in its list */
    uint32_t generation;     /* of its socket: an event of an earlier one is not its own */
    uint32_t target;
    uint32_t server;                  /* that it is connected to */
    bool used;                        /* it has served a request before this one */
    size_t sent;                      /* bytes of the request */
    int64_t intended, since, sent_at; /* monotonic ns: start as planned, as it was, first byte out */
};

/* --- counts: written by this thread only, read by any --- */

static void add(uint64_t *count, uint64_t n) { __atomic_store_n(count, *count + n, __ATOMIC_RELAXED); }
static void put(uint64_t *count, uint64_t value) { __atomic_store_n(count, value, __ATOMIC_RELAXED); }
static uint64_t get(const uint64_t *count) { return __atomic_load_n(count, __ATOMIC_RELAXED); }

static void record(ps_histogram *histogram, int64_t ns)
{
    (void)ps_histogram_record(histogram, ns < 0 ? 0 : ns > HIGHEST ? HIGHEST : ns); /* cannot be refused */
}

static ps_load_window *window(ps_load *load) { return &load->windows[load->windows_done % PS_LOAD_WINDOWS]; }

static bool is_open_loop(const ps_load *load) { return load->plan.interval > 0; }

/* --- lists --- */

static ps_load_connection *at(const ps_load *load, uint32_t number) { return &load->connections[number]; }

static uint32_t number_of(const ps_load *load, const ps_load_connection *c)
{
    return (uint32_t)(c - load->connections);
}

static void push(ps_load *load, ps_load_list *list, ps_load_connection *c)
{
    c->previous = NONE;
    c->next = list->first;
    *(list->first == NONE ? &list->last : &at(load, list->first)->previous) = number_of(load, c);
    list->first = number_of(load, c);
}

static void append(ps_load *load, ps_load_list *list, ps_load_connection *c)
{
    c->next = NONE;
    c->previous = list->last;
    *(list->last == NONE ? &list->first : &at(load, list->last)->next) = number_of(load, c);
    list->last = number_of(load, c);
}

static void unlink_from(ps_load *load, ps_load_list *list, ps_load_connection *c)
{
    *(c->previous == NONE ? &list->first : &at(load, c->previous)->next) = c->next;
    *(c->next == NONE ? &list->last : &at(load, c->next)->previous) = c->previous;
}

static ps_load_list *list_of(ps_load *load, const ps_load_connection *c)
{
    switch (c->state) {
    case VACANT:
        return &load->vacant;
    case IDLE:
        return &load->idle[c->server];
    case RESTING:
    case ENDING:
        return &load->pausing;
    case CONNECTING:
    case SENDING:
    case RECEIVING:
        break;
    }
    return &load->busy;
}

static bool is_busy(const ps_load_connection *c) { return c->state >= CONNECTING && c->state <= RECEIVING; }

/* Where a connection goes from one state to another; who counts what is on its way counts here. */
static void become(ps_load *load, ps_load_connection *c, connection_state state)
{
    ps_load_list *before = list_of(load, c);
    load->connecting -= c->state == CONNECTING;
    load->connecting += state == CONNECTING;
    bool was_busy = is_busy(c);
    c->state = state;
    add(&load->counts.in_flight, (uint64_t)is_busy(c) - (uint64_t)was_busy);
    ps_load_list *after = list_of(load, c);
    if (before == after) return;
    unlink_from(load, before, c);
    if (state == VACANT || state == IDLE)
        push(load, after, c);
    else
        append(load, after, c);
}

/* --- what waits for sockets and for time --- */

#if HAVE_EPOLL

static ps_status open_poller(ps_load *load)
{
    load->poller = epoll_create1(EPOLL_CLOEXEC);
    load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    load->events = load->allocator.resize(NULL, EVENTS * sizeof(struct epoll_event));
    if (load->poller < 0 || load->timer < 0 || load->events == NULL) return PS_NO_MEMORY;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = NONE}; /* so nobody has to read it */
    return epoll_ctl(load->poller, EPOLL_CTL_ADD, load->timer, &event) == 0 ? PS_OK : PS_NO_MEMORY;
}

/* Once for the life of a socket: by edges, so that nothing changes between sending and receiving. `again`
 * asks to be told once more of what is there already. */
static bool watch(ps_load *load, const ps_load_connection *c, bool again)
{
    uint64_t data = (uint64_t)c->generation << 32 | number_of(load, c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = data};
    return epoll_ctl(load->poller, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) == 0;
}

static void arm(ps_load *load, int64_t moment)
{
    if (moment == load->armed) return;
    struct itimerspec when = {.it_value = {moment / 1000000000, moment % 1000000000}};
    timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &when, NULL);
    load->armed = moment;
}

static void handle(ps_load *load, ps_load_connection *c, unsigned happened);

static int wait_for_events(ps_load *load, bool wait)
{
    return epoll_wait(load->poller, load->events, EVENTS, wait ? -1 : 0);
}

static void handle_events(ps_load *load, int n)
{
    for (int i = 0; i < n; i++) {
        struct epoll_event *event = (struct epoll_event *)load->events + i;
        if (event->data.u64 == NONE) {
            load->armed = 0;
            continue;
        }
        ps_load_connection *c = at(load, (uint32_t)event->data.u64);
        if (c->fd < 0 || c->generation != (uint32_t)(event->data.u64 >> 32)) continue;
        unsigned happened = event->events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP) ? READABLE : 0;
        if (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) happened |= WRITABLE;
        if (event->events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) happened |= HUNG_UP;
        handle(load, c, happened);
    }
}

static void close_poller(ps_load *load)
{
    if (load->poller >= 0) close(load->poller);
    if (load->timer >= 0) close(load->timer);
    load->allocator.release(load->events);
}

#else

typedef struct { /* of the open sockets only: more than files may be open, and poll() refuses */
    struct pollfd *polled;
    uint32_t *numbers; /* of the connections */
    uint32_t n;
} poll_set;

static poll_set poll_set_of(ps_load *load)
{
    struct pollfd *polled = load->events;
    return (poll_set){polled, (uint32_t *)(polled + load->plan.connections), 0};
}

static ps_status open_poller(ps_load *load)
{
    size_t each = sizeof(struct pollfd) + sizeof(uint32_t);
    load->events = load->allocator.resize(NULL, load->plan.connections * each);
    return load->events == NULL ? PS_NO_MEMORY : PS_OK;
}

static bool watch(ps_load *load, const ps_load_connection *c, bool again)
{
    (void)load, (void)c, (void)again;
    return true;
}

static void arm(ps_load *load, int64_t moment) { load->armed = moment; }

static void handle(ps_load *load, ps_load_connection *c, unsigned happened);

static int wait_for_events(ps_load *load, bool wait)
{
    poll_set set = poll_set_of(load);
    for (uint32_t i = 0; i < load->plan.connections; i++) {
        const ps_load_connection *c = at(load, i);
        if (c->fd < 0) continue;
        bool sends = c->state == CONNECTING || c->state == SENDING;
        short events = (short)(POLLIN | (sends ? POLLOUT : 0));
        set.polled[set.n] = (struct pollfd){.fd = c->fd, .events = events};
        set.numbers[set.n++] = i;
    }
    int64_t left = load->armed - ps_monotonic_ns();
    return poll(set.polled, set.n, !wait || left <= 0 ? 0 : (int)((left + 999999) / 1000000));
}

static void handle_events(ps_load *load, int n)
{
    poll_set set = poll_set_of(load);
    for (uint32_t i = 0; n > 0; i++) { /* there are n that something happened to */
        if (set.polled[i].revents == 0) continue;
        n--;
        ps_load_connection *c = at(load, set.numbers[i]);
        if (c->fd != set.polled[i].fd) continue;
        unsigned happened = set.polled[i].revents & (POLLIN | POLLERR | POLLHUP) ? READABLE : 0;
        if (set.polled[i].revents & (POLLOUT | POLLERR | POLLHUP)) happened |= WRITABLE;
        if (set.polled[i].revents & (POLLERR | POLLHUP)) happened |= HUNG_UP;
        handle(load, c, happened);
    }
}

static void close_poller(ps_load *load) { load->allocator.release(load->events); }

#endif

/* --- clocks --- */

static int64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void read_clocks(ps_load *load)
{
    int64_t before = ps_monotonic_ns(), wall = wall_ns();
    load->now = ps_monotonic_ns();
    load->stepped = false;
    put(&load->counts.now, (uint64_t)load->now);
    if (load->now - before > READ_GAP) return; /* interrupted in between: what it was is the better guess */
    int64_t ahead = wall - load->now, moved = ahead - load->wall;
    load->stepped = moved > STEP || moved < -STEP;
    load->wall = ahead;
}

static int64_t processor_ns(void)
{
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
#else
    return 0;
#endif
}

/* --- one request --- */

static void start_due(ps_load *load);

static void close_socket(ps_load_connection *c)
{
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->generation++;
    c->used = false;
}

static void vacate(ps_load *load, ps_load_connection *c)
{
    close_socket(c);
    become(load, c, VACANT);
}

static void fail(ps_load *load, ps_load_connection *c, ps_load_failure failure)
{
    add(&load->counts.failed, 1);
    add(&load->counts.failures[failure], 1);
    add(&window(load)->failed, 1);
    if (is_open_loop(load) || failure == PS_LOAD_TIMEOUT) {
        vacate(load, c);
        return;
    }
    close_socket(c);
    c->since = load->now;
    become(load, c, RESTING);
}

static ps_load_failure failure_of(const ps_load_connection *c, int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return PS_LOAD_OTHER;
    }
    return c->state == CONNECTING ? PS_LOAD_CONNECT : PS_LOAD_RESET;
}

static const ps_load_target *target_of(const ps_load *load, const ps_load_connection *c)
{
    return &load->plan.targets[c->target];
}

static int open_socket(int family)
{
    int on = 1;
#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0 && (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)) {
        close(fd);
        return -1;
    }
#endif
    if (fd < 0) return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* may fail: it is only faster with it */
#if HAVE_EPOLL
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
#endif
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    return fd;
}

static void send_request(ps_load *load, ps_load_connection *c);

static void open_connection(ps_load *load, ps_load_connection *c)
{
    const ps_load_target *target = target_of(load, c);
    struct sockaddr_storage address;
    memcpy(&address, target->address, target->address_size);
    become(load, c, CONNECTING);
    c->server = target->server;
    c->fd = open_socket(address.ss_family);
    if (c->fd < 0 || !watch(load, c, false)) {
        fail(load, c, PS_LOAD_OTHER);
        return;
    }
    if (connect(c->fd, (struct sockaddr *)&address, target->address_size) < 0 && errno != EINPROGRESS) {
        fail(load, c, failure_of(c, errno));
        return;
    }
    send_request(load, c); /* where the server is near, the connection is there already */
}

/* Whether the end of this connection may mean that the server had closed it before it saw the request. */
static bool may_send_again(const ps_load *load, const ps_load_connection *c)
{
    return c->used && !c->answer.begun && target_of(load, c)->idempotent;
}

static void lose(ps_load *load, ps_load_connection *c, ps_load_failure failure)
{
    if (!may_send_again(load, c)) {
        fail(load, c, failure);
        return;
    }
    add(&load->counts.retried, 1);
    close_socket(c);
    c->sent = 0;
    ps_http_reset(&c->answer, target_of(load, c)->head);
    open_connection(load, c);
}

static void send_request(ps_load *load, ps_load_connection *c)
{
    const ps_load_target *target = target_of(load, c);
    if (c->sent == 0) c->sent_at = ps_monotonic_ns();
    ssize_t n = send(c->fd, target->request + c->sent, target->size - c->sent, MSG_NOSIGNAL);
    if (n < 0) {
        int error = errno;
        bool later = error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == EINPROGRESS;
        if (c->state == CONNECTING && (later || error == ENOTCONN || error == EALREADY)) return;
        if (!later) lose(load, c, failure_of(c, error));
        return;
    }
    if (c->state == CONNECTING) add(&load->counts.opened, 1);
    if (c->sent == 0) {
        add(&load->counts.sent, 1);
        add(&window(load)->sent, 1);
    }
    c->sent += (size_t)n;
    add(&load->counts.bytes_out, (uint64_t)n);
    become(load, c, c->sent == target->size ? RECEIVING : SENDING);
}

static void finish_connecting(ps_load *load, ps_load_connection *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    if (error != 0)
        fail(load, c, failure_of(c, error));
    else
        send_request(load, c);
}

/* The end of an answer, monotonic: what the kernel noted (0 if nothing), or now. */
static int64_t end_of(ps_load *load, const ps_load_connection *c, int64_t stamp)
{
    int64_t now = ps_monotonic_ns();
    if (stamp == 0) return now;
    int64_t end = stamp - load->wall;
    if (load->stepped || end < c->sent_at || end > now) {
        add(&load->counts.voided, 1);
        return now;
    }
    add(&load->counts.stamped, 1);
    return end;
}

static void count_answer(ps_load *load, const ps_load_connection *c, int64_t end)
{
    int64_t service = end - c->sent_at, total = end - c->intended;
    record(&load->service, service);
    if (is_open_loop(load)) record(&load->total, total);
    record(&window(load)->latency, is_open_loop(load) ? total : service);
    add(&window(load)->answered, 1);
    add(&load->counts.answered, 1);
    add(&load->counts.statuses[c->answer.status], 1);
    add(&load->counts.body_bytes, c->answer.size);
    add(&load->counts.truncated, c->answer.truncated);
}

/* The answer is whole; `usable`: nothing speaks against another request, `hung_up`: the server has closed. */
static void complete(ps_load *load, ps_load_connection *c, int64_t end, bool usable, bool hung_up)
{
    count_answer(load, c, end);
    if (usable && !hung_up && c->answer.keep_alive && load->plan.keep_alive &&
        c->sent == target_of(load, c)->size) {
        c->used = true;
        c->since = load->now;
        become(load, c, IDLE);
    } else if (usable && !hung_up && !c->answer.keep_alive && !c->answer.truncated) {
        c->since = load->now;
        become(load, c, ENDING); /* who closes first keeps the port for a minute: let it be the server */
    } else {
        vacate(load, c);
    }
}

/* Receives into the buffer; *stamp is when the kernel got the last byte of it, 0 where it does not say. */
static ssize_t receive_bytes(ps_load *load, const ps_load_connection *c, int64_t *stamp)
{
    *stamp = 0;
#if HAVE_EPOLL
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {load->buffer, BUFFER};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t n = recvmsg(c->fd, &message, 0);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec when;
        memcpy(&when, CMSG_DATA(head), sizeof when);
        *stamp = (int64_t)when.tv_sec * 1000000000 + when.tv_nsec;
    }
    return n;
#else
    return recv(c->fd, load->buffer, BUFFER, 0);
#endif
}

/* Whether nothing has arrived that was not received: no end, and no bytes that nobody asked for, which would
 * be taken for the next answer. */
static bool is_quiet(const ps_load_connection *c)
{
    uint8_t byte;
    return recv(c->fd, &byte, 1, MSG_PEEK) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* Takes n bytes of the answer. True: more of it is to come. */
static bool take(ps_load *load, ps_load_connection *c, size_t n, int64_t stamp, bool hung_up)
{
    size_t consumed;
    add(&load->counts.bytes_in, n);
    ps_status status = ps_http_feed(&c->answer, load->buffer, n, &consumed);
    if (status != PS_OK) {
        fail(load, c, status == PS_NO_MEMORY ? PS_LOAD_OTHER : PS_LOAD_PROTOCOL);
        return false;
    }
    if (!ps_http_done(&c->answer)) return true;
    bool usable = consumed == n && (n < BUFFER || is_quiet(c)); /* a full buffer may have left some behind */
    complete(load, c, end_of(load, c, stamp), usable, hung_up);
    return false;
}

static void receive(ps_load *load, ps_load_connection *c, bool hung_up)
{
    for (int round = 0; round < ROUNDS; round++) {
        int64_t stamp;
        ssize_t n = receive_bytes(load, c, &stamp);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) lose(load, c, failure_of(c, errno));
            return;
        }
        if (n == 0) {
            if (ps_http_eof(&c->answer) == PS_OK)
                complete(load, c, end_of(load, c, 0), false, true);
            else
                lose(load, c, PS_LOAD_CLOSED);
            return;
        }
        if (!take(load, c, (size_t)n, stamp, hung_up)) return;
        if ((size_t)n < BUFFER && !hung_up) return; /* there is no more for now, and an edge will tell */
    }
    if (!watch(load, c, true)) fail(load, c, PS_LOAD_OTHER); /* it has had its turn, others want theirs */
}

static void handle(ps_load *load, ps_load_connection *c, unsigned happened)
{
    bool hung_up = happened & HUNG_UP;
    switch (c->state) {
    case CONNECTING:
        if (happened & WRITABLE) finish_connecting(load, c);
        if (c->state != SENDING && c->state != RECEIVING) break;
        if (happened & READABLE) receive(load, c, hung_up); /* it was sooner, and no other edge would tell */
        break;
    case SENDING:
        if (happened & READABLE) receive(load, c, hung_up); /* some answer early, and then do not read on */
        if (c->state == SENDING && (happened & WRITABLE)) send_request(load, c);
        break;
    case RECEIVING:
        if (happened & READABLE) receive(load, c, hung_up);
        break;
    case IDLE: /* closed, or something that nobody asked for */
    case ENDING:
        if (happened & READABLE) vacate(load, c);
        break;
    case VACANT:
    case RESTING:
        break;
    }
    start_due(load);
}

/* --- what starts when --- */

/* Nanoseconds after the beginning at which request n of an open loop is to start. */
static double start_after(const ps_load *load, uint64_t n)
{
    return load->plan.offset + (double)n * load->plan.interval;
}

static int64_t intended_start(const ps_load *load)
{
    if (!is_open_loop(load)) return load->now;
    double after = start_after(load, load->counts.started);
    if (after >= (double)(INT64_MAX >> 1)) return INT64_MAX >> 1;
    return (int64_t)load->counts.began_at + (int64_t)after;
}

static bool is_planned(const ps_load *load)
{
    return load->counts.started < load->plan.count && load->now < load->end &&
           intended_start(load) < load->end;
}

/* An open connection of that server; else one that is closed; else one of another server, which is closed. */
static ps_load_connection *free_connection(ps_load *load, uint32_t server)
{
    while (load->idle[server].first != NONE) {
        ps_load_connection *c = at(load, load->idle[server].first);
        if (c->since == load->now || is_quiet(c)) return c; /* idle since this turn: it was just looked at */
        vacate(load, c);
    }
    if (load->connecting >= load->plan.connecting) return NULL;
    if (load->vacant.first != NONE) return at(load, load->vacant.first);
    for (uint32_t i = 0; i < load->plan.servers; i++) {
        if (load->idle[i].last == NONE) continue;
        ps_load_connection *c = at(load, load->idle[i].last);
        vacate(load, c);
        return c;
    }
    return NULL;
}

static void start(ps_load *load, ps_load_connection *c, int64_t intended)
{
    c->target = load->target;
    load->target = load->target + 1 == load->plan.targets_size ? 0 : load->target + 1;
    c->intended = intended;
    c->since = load->now;
    c->sent = 0;
    add(&load->counts.started, 1);
    ps_http_reset(&c->answer, target_of(load, c)->head);
    if (c->fd < 0) {
        open_connection(load, c);
        return;
    }
    become(load, c, SENDING);
    send_request(load, c);
}

static void start_due(ps_load *load)
{
    while (is_planned(load)) {
        int64_t intended = intended_start(load);
        if (intended > load->now) break;
        ps_load_connection *c = free_connection(load, load->plan.targets[load->target].server);
        if (c == NULL) {
            load->blocked = true;
            return;
        }
        if (is_open_loop(load) && !load->blocked) record(&load->lag, load->now - intended);
        start(load, c, intended);
        /* What fails at once leaves its connection to the next request, and so on until none is due: then the
         * turn would last as long as all that are due, and more would be at the next. */
        if (is_open_loop(load) && !is_busy(c)) break;
    }
    load->blocked = false;
}

/* --- time passes --- */

static void expire(ps_load *load)
{
    while (load->busy.first != NONE && load->now - at(load, load->busy.first)->since >= load->plan.timeout)
        fail(load, at(load, load->busy.first), PS_LOAD_TIMEOUT);
    while (load->pausing.first != NONE && load->now - at(load, load->pausing.first)->since >= PS_LOAD_PAUSE)
        vacate(load, at(load, load->pausing.first));
}

static void tick(ps_load *load)
{
    if (load->now < load->tick) return;
    if (!is_open_loop(load)) record(&load->lag, load->now - load->tick);
    load->tick = load->now + PS_LOAD_TICK;
    put(&load->counts.cpu, (uint64_t)(processor_ns() - load->cpu_began));
    expire(load);
}

static void clear_window(ps_load_window *cleared)
{
    put(&cleared->sent, 0);
    put(&cleared->answered, 0);
    put(&cleared->failed, 0);
    for (int32_t slot = cleared->latency.first; slot <= cleared->latency.last; slot++)
        __atomic_store_n(&cleared->latency.counts[slot], 0, __ATOMIC_RELAXED);
    cleared->latency.total = 0;
    cleared->latency.first = cleared->latency.length;
    cleared->latency.last = -1;
}

static void end_window(ps_load *load)
{
    clear_window(&load->windows[(load->windows_done + 1) % PS_LOAD_WINDOWS]);
    __atomic_store_n(&load->windows_done, load->windows_done + 1, __ATOMIC_RELEASE);
    load->window_end += PS_LOAD_WINDOW;
}

/* Requests that should have started before the end, and have not. */
static uint64_t unsent(const ps_load *load)
{
    if (!is_open_loop(load)) return 0;
    int64_t end = load->now < load->end ? load->now : load->end;
    double length = (double)(end - (int64_t)load->counts.began_at);
    double about = (length - load->plan.offset) / load->plan.interval;
    uint64_t planned = about < 1 ? 0 : about > 1e15 ? UINT64_C(1000000000000000) : (uint64_t)about - 1;
    while (start_after(load, planned) < length) planned++;
    if (planned > load->plan.count) planned = load->plan.count;
    return planned > load->counts.started ? planned - load->counts.started : 0;
}

static void end_run(ps_load *load)
{
    put(&load->counts.abandoned, load->counts.in_flight);
    put(&load->counts.unsent, unsent(load));
    for (uint32_t i = 0; i < load->plan.connections; i++)
        if (at(load, i)->state != VACANT) vacate(load, at(load, i));
    put(&load->counts.cpu, (uint64_t)(processor_ns() - load->cpu_began));
    end_window(load); /* what is left of a second */
    __atomic_store_n(&load->over, true, __ATOMIC_RELEASE);
}

static bool stopping(const ps_load *load) { return __atomic_load_n(&load->stopping, __ATOMIC_RELAXED); }

bool ps_load_step(ps_load *load, bool wait)
{
    if (load->over) return false;
    int64_t next =
        is_open_loop(load) && !load->blocked && is_planned(load) ? intended_start(load) : INT64_MAX;
    int64_t wake = next < load->tick ? next : load->tick;
    bool waits = wait && wake > load->now;
    if (waits) arm(load, wake);
    int n = wait_for_events(load, waits);
    read_clocks(load);
    while (load->now >= load->window_end) end_window(load);
    handle_events(load, n);
    tick(load);
    start_due(load);
    if (!stopping(load) && (is_planned(load) || load->counts.in_flight > 0)) return true;
    end_run(load);
    return false;
}

/* --- all of it --- */

ps_status ps_load_histogram(ps_histogram *histogram, bool of_window, ps_allocator allocator)
{
    return ps_histogram_init(histogram, 1, HIGHEST, of_window ? 2 : 3, allocator);
}

static ps_status allocate(ps_load *load)
{
    ps_allocator allocator = load->allocator;
    uint32_t n = load->plan.connections, servers = load->plan.servers;
    load->buffer = allocator.resize(NULL, BUFFER);
    load->idle = allocator.resize(NULL, servers * sizeof *load->idle);
    if (load->buffer == NULL || load->idle == NULL) return PS_NO_MEMORY;
    load->connections = allocator.resize(NULL, n * sizeof *load->connections);
    if (load->connections == NULL) return PS_NO_MEMORY; /* from here on ps_load_free() looks at all of them */
    for (uint32_t i = 0; i < servers; i++) load->idle[i] = (ps_load_list){NONE, NONE};
    memset(load->connections, 0, n * sizeof *load->connections);
    for (uint32_t i = 0; i < n; i++) {
        ps_load_connection *c = at(load, i);
        c->fd = -1;
        ps_http_init(&c->answer, load->plan.limits, allocator);
        append(load, &load->vacant, c);
    }
    ps_histogram *large[] = {&load->service, &load->total, &load->lag};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (ps_load_histogram(large[i], false, allocator) != PS_OK) return PS_NO_MEMORY;
    for (size_t i = 0; i < PS_LOAD_WINDOWS; i++)
        if (ps_load_histogram(&load->windows[i].latency, true, allocator) != PS_OK) return PS_NO_MEMORY;
    return open_poller(load);
}

ps_status ps_load_init(ps_load *load, ps_load_plan plan, ps_allocator allocator)
{
    memset(load, 0, sizeof *load);
    load->plan = plan;
    load->allocator = allocator;
    load->poller = load->timer = -1;
    load->vacant = load->busy = load->pausing = (ps_load_list){NONE, NONE};
    load->target = plan.first % plan.targets_size;
    ps_status status = allocate(load);
    if (status != PS_OK) ps_load_free(load);
    return status;
}

void ps_load_free(ps_load *load)
{
    for (uint32_t i = 0; load->connections != NULL && i < load->plan.connections; i++) {
        close_socket(at(load, i));
        ps_http_free(&at(load, i)->answer);
    }
    close_poller(load);
    ps_histogram_free(&load->service);
    ps_histogram_free(&load->total);
    ps_histogram_free(&load->lag);
    for (size_t i = 0; i < PS_LOAD_WINDOWS; i++) ps_histogram_free(&load->windows[i].latency);
    load->allocator.release(load->connections);
    load->allocator.release(load->idle);
    load->allocator.release(load->buffer);
    load->connections = NULL;
}

void ps_load_begin(ps_load *load)
{
    load->now = ps_monotonic_ns();
    load->wall = wall_ns() - load->now;
    load->cpu_began = processor_ns();
    int64_t longest = INT64_MAX - load->now, duration = load->plan.duration;
    load->end = load->now + (duration < longest ? duration : longest);
    load->tick = load->now + PS_LOAD_TICK;
    load->window_end = load->now + PS_LOAD_WINDOW;
    put(&load->counts.began_at, (uint64_t)load->now);
    put(&load->counts.now, (uint64_t)load->now);
    start_due(load);
}

void ps_load_stop(ps_load *load) { __atomic_store_n(&load->stopping, true, __ATOMIC_RELAXED); }

void ps_load_snapshot(const ps_load *load, ps_load_counts *counts, ps_histogram *service, ps_histogram *total,
                      ps_histogram *lag)
{
    const uint64_t *from = (const uint64_t *)(const void *)&load->counts;
    uint64_t *to = (uint64_t *)(void *)counts;
    for (size_t i = 0; i < sizeof *counts / sizeof *to; i++) to[i] = get(&from[i]);
    if (service != NULL) ps_histogram_snapshot(&load->service, service);
    if (total != NULL) ps_histogram_snapshot(&load->total, total);
    if (lag != NULL) ps_histogram_snapshot(&load->lag, lag);
}

uint64_t ps_load_windows_over(const ps_load *load)
{
    return __atomic_load_n(&load->windows_done, __ATOMIC_ACQUIRE);
}

bool ps_load_is_over(const ps_load *load) { return __atomic_load_n(&load->over, __ATOMIC_ACQUIRE); }

ps_status ps_load_window_of(const ps_load *load, uint64_t number, ps_load_window *copy)
{
    const ps_load_window *window_of = &load->windows[number % PS_LOAD_WINDOWS];
    if (number >= ps_load_windows_over(load)) return PS_EMPTY;
    copy->sent = get(&window_of->sent);
    copy->answered = get(&window_of->answered);
    copy->failed = get(&window_of->failed);
    ps_histogram_snapshot(&window_of->latency, &copy->latency);
#ifndef __SANITIZE_THREAD__ /* which does not know it */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
#endif
    uint64_t done = __atomic_load_n(&load->windows_done, __ATOMIC_RELAXED);
    return done - number >= PS_LOAD_WINDOWS - 1 ? PS_REFUSED : PS_OK; /* the next one is cleared beforehand */
}

static uint64_t length_of(const ps_load *load, const ps_load_list *list)
{
    uint64_t n = 0;
    for (uint32_t i = list->first; i != NONE && n <= load->plan.connections; i = at(load, i)->next) n++;
    return n;
}

bool ps_load_check(const ps_load *load)
{
    const ps_load_counts *counts = &load->counts;
    uint64_t listed = length_of(load, &load->vacant) + length_of(load, &load->pausing), failures = 0,
             statuses = 0;
    uint64_t busy = length_of(load, &load->busy), in_list = 0, connecting = 0;
    for (uint32_t i = 0; i < load->plan.servers; i++) listed += length_of(load, &load->idle[i]);
    for (uint32_t i = 0; i < load->plan.connections; i++) {
        const ps_load_connection *c = at(load, i);
        in_list += is_busy(c);
        connecting += c->state == CONNECTING;
        bool open = c->state != VACANT && c->state != RESTING;
        if (open != (c->fd >= 0) || !ps_http_check(&c->answer)) return false;
    }
    for (size_t i = 0; i < PS_LOAD_FAILURES; i++) failures += counts->failures[i];
    for (size_t i = 0; i < PS_LOAD_STATUSES; i++) statuses += counts->statuses[i];
    uint64_t flown = load->over ? counts->abandoned : busy;
    return listed + busy == load->plan.connections && busy == in_list && busy == counts->in_flight &&
           connecting == load->connecting && failures == counts->failed && statuses == counts->answered &&
           counts->started == counts->answered + counts->failed + flown &&
           counts->started <= load->plan.count && (uint64_t)load->service.total == counts->answered;
}
