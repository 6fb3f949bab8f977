/* load -- HTTP/1.1 requests over plain TCP, as many and as fast as a plan says; one loop, for one thread.
 *
 *     ps_load_init(&load, plan, allocator);
 *     ps_load_begin(&load);
 *     while (ps_load_step(&load, true)) ...   the whole run, without Python
 *     ps_load_free(&load);
 *
 * Closed loop: every connection asks again as soon as it has its answer. Open loop: requests have intended
 * starts, `interval` apart, whatever the server does; those that find no connection free start late, and
 * their `total` counts from the intended start, so that waiting is not left out of the figures (which is
 * called coordinated omission). Requests go to the targets in turn.
 *
 * The end of an answer is when the kernel received its last byte (SO_TIMESTAMPNS of Linux), so that neither
 * this loop's own queue nor a busy processor counts as the server's time. Those stamps are of the wall clock;
 * they are carried over to the monotonic one by what the two differ by at each turn of the loop. Where that
 * difference has just jumped, or the stamp lies outside of the request, it is void, and the time at which
 * this loop saw the answer counts. So a wall clock that is set leaves no wrong and no negative latency.
 *
 * A connection that the server has closed while it was idle is opened again without a word, and so is one on
 * which bytes have come that nobody asked for: they would be taken for the next answer. When the end crosses
 * a request on its way, which shows as the end of a used connection before any byte of an answer, the request
 * is sent once more on a new one if it is idempotent (RFC 9112, 9.3.1). In a closed loop what has failed
 * otherwise than by its timeout rests for PS_LOAD_PAUSE, or a server that refuses would be hammered.
 *
 * The run ends when the plan is done and all answers are there, or have timed out; or, without waiting for
 * them, within PS_LOAD_TICK of ps_load_stop().
 *
 * One thread makes the steps. Others may call ps_load_stop(), ps_load_snapshot() and ps_load_window_of()
 * meanwhile. The caller owns the struct and the targets. Memory: all is allocated by _init, but the heads of
 * answers (up to max_head for each connection). Linux: epoll and timerfd; elsewhere poll(), O(connections)
 * for each turn, timers of 1 ms, and no stamps.
 * Sources: RFC 9112; Gil Tene, How NOT to Measure Latency, 2013. */
#ifndef PS_LOAD_H
#define PS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "histogram.h"
#include "http_response.h"
#include "status.h"

#define PS_LOAD_ADDRESS 128       /* bytes: a sockaddr_storage */
#define PS_LOAD_STATUSES 1000     /* 100 to 999, by themselves */
#define PS_LOAD_WINDOWS 16        /* seconds for which the figures of one second stay */
#define PS_LOAD_WINDOW 1000000000 /* ns */
#define PS_LOAD_TICK 10000000     /* ns: how often the lag is looked at, and timeouts are */
#define PS_LOAD_PAUSE 50000000    /* ns: rest of what failed; and how long a connection waits to be closed */
#define PS_LOAD_NO_COUNT UINT64_MAX
#define PS_LOAD_NO_DURATION INT64_MAX

typedef enum {
    PS_LOAD_CONNECT, /* refused, unreachable */
    PS_LOAD_RESET,   /* the server cut the connection off */
    PS_LOAD_CLOSED,  /* it ended the connection before the answer */
    PS_LOAD_TIMEOUT,
    PS_LOAD_PROTOCOL, /* what came is no HTTP answer, or beyond the bounds */
    PS_LOAD_OTHER,    /* no more files, ports or memory here */
    PS_LOAD_FAILURES,
} ps_load_failure;

typedef struct {
    uint8_t address[PS_LOAD_ADDRESS]; /* a sockaddr */
    uint32_t address_size;
    uint32_t server;        /* number of the address among all: targets of one server share connections */
    const uint8_t *request; /* as it goes on the wire */
    size_t size;
    bool head;       /* it is HEAD */
    bool idempotent; /* it may be sent again */
} ps_load_target;

typedef struct {
    const ps_load_target *targets;
    uint32_t targets_size; /* >= 1 */
    uint32_t servers;      /* 1 to targets_size */
    uint32_t first;        /* the target to begin with */
    uint32_t connections;  /* >= 1 */
    uint32_t connecting;   /* of which so many may be on their way at once, >= 1 */
    bool keep_alive;       /* whether a connection serves more than one request */
    double interval;       /* ns between intended starts; 0: closed loop */
    double offset;         /* ns after the beginning of the first one */
    uint64_t count;        /* requests, or PS_LOAD_NO_COUNT */
    int64_t duration;      /* ns in which requests start, or PS_LOAD_NO_DURATION */
    int64_t timeout;       /* ns for each request, from its (actual) start, connecting included */
    ps_http_limits limits; /* of each answer */
} ps_load_plan;

typedef struct {       /* each written by one thread, and read by any; exact once the run is over */
    uint64_t started;  /* requests, also those that found no connection */
    uint64_t sent;     /* of which a byte went out; what is sent again counts again */
    uint64_t answered; /* whole answers, or truncated ones */
    uint64_t failed;
    uint64_t unsent;    /* were intended, before the end or the stop, and never started */
    uint64_t abandoned; /* in flight when the run was stopped */
    uint64_t retried;   /* sent again, for the server had closed an idle connection */
    uint64_t opened;    /* connections */
    uint64_t stamped;   /* answers timed by the kernel */
    uint64_t voided;    /* stamps that were not believed */
    uint64_t truncated; /* answers longer than max_body */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t body_bytes; /* of whole answers */
    uint64_t in_flight;
    uint64_t began_at; /* monotonic ns */
    uint64_t now;      /* monotonic ns at the last turn, and the end once it is over */
    uint64_t cpu;      /* ns of processor that the thread has used since the beginning */
    uint64_t failures[PS_LOAD_FAILURES];
    uint64_t statuses[PS_LOAD_STATUSES];
} ps_load_counts;

typedef struct { /* what happened within one second */
    uint64_t sent;
    uint64_t answered;
    uint64_t failed;
    ps_histogram latency; /* of the answers: total in an open loop, else service; two digits */
} ps_load_window;

typedef struct ps_load_connection ps_load_connection;

typedef struct { /* of connections, by their numbers */
    uint32_t first;
    uint32_t last;
} ps_load_list;

typedef struct {
    ps_load_plan plan;
    ps_load_counts counts;
    ps_histogram service; /* ns from the first byte handed to the kernel to the last byte of the answer */
    ps_histogram total;   /* ns from the intended start; of an open loop */
    ps_histogram lag;     /* ns that the loop was late: for ticks, or in an open loop for intended starts */
    ps_load_window windows[PS_LOAD_WINDOWS];
    uint64_t windows_done; /* window n stands at n % PS_LOAD_WINDOWS, until n + PS_LOAD_WINDOWS begins */
    bool stopping;
    bool over;

    int64_t now, end, window_end, tick, armed; /* monotonic ns */
    int64_t wall;                              /* what the wall clock is ahead of the monotonic one */
    int64_t cpu_began;
    bool stepped; /* the wall clock has just been set */
    bool blocked; /* a request that is due found no connection */
    uint32_t target;
    uint32_t connecting;
    ps_load_connection *connections;
    ps_load_list *idle;   /* of each server: open connections, the one used last first */
    ps_load_list vacant;  /* closed ones */
    ps_load_list busy;    /* with a request, in the order of their starts */
    ps_load_list pausing; /* in the order in which they began to rest, or to wait for their end */
    void *events;         /* of the system */
    uint8_t *buffer;
    int poller, timer;
    ps_allocator allocator;
} ps_load;

/* Makes one that has not begun. PS_NO_MEMORY: memory or files are missing, there is nothing to free. */
ps_status ps_load_init(ps_load *load, ps_load_plan plan, ps_allocator allocator);

/* Closes everything and gives the memory back. No thread may be in it. */
void ps_load_free(ps_load *load);

/* The run begins now. */
void ps_load_begin(ps_load *load);

/* One turn: waits for something to happen (if `wait`, at most PS_LOAD_TICK), and does what follows from it.
 * False: the run is over, all connections are closed. */
bool ps_load_step(ps_load *load, bool wait);

/* Asks the run to end; from any thread. */
void ps_load_stop(ps_load *load);

/* Copies the counts, and into each histogram that is not NULL (3 digits, 1 ns to 1 h) its namesake. */
void ps_load_snapshot(const ps_load *load, ps_load_counts *counts, ps_histogram *service, ps_histogram *total,
                      ps_histogram *lag);

/* How many windows are over, the last one perhaps before its second was; and whether all is. */
uint64_t ps_load_windows_over(const ps_load *load);
bool ps_load_is_over(const ps_load *load);

/* Copies a window (its histogram: 2 digits, 1 ns to 1 h). PS_EMPTY: it is not over yet. PS_REFUSED: it is no
 * longer there. */
ps_status ps_load_window_of(const ps_load *load, uint64_t number, ps_load_window *copy);

/* Makes the histograms of a snapshot, or of a window. */
ps_status ps_load_histogram(ps_histogram *histogram, bool window, ps_allocator allocator);

/* Whether lists and counts fit together, for tests; by the thread that makes the steps. O(connections). */
bool ps_load_check(const ps_load *load);

#endif
