/* sliding_window -- at most `limit` units in any stretch of `period` ns: the log of hits, as a ring.
 *
 * Exact: the moment of every unit that still counts is kept, 8 bytes each, in a ring that grows by
 * doubling, up to the power of two that holds `limit`. A unit of moment t counts up to and including
 * t + period, so it is gone at t + period + 1.
 *
 * Whether n units fit is one comparison: of the units there are, units + n - limit must be gone, and as
 * moments never decrease, they are if the last of those is. Units that count no more are dropped when
 * others are recorded, found by steps that double: O(1) amortised, O(log limit) at worst. Only take() and
 * refund() change anything, and a take() that says no changes nothing: a clock that was read ahead, and
 * then goes back, has dropped nothing that still counts.
 *
 * The window that is passed may have another limit or period than the last time: the hits stay, but for
 * those that were dropped. Nothing here locks or reads a clock.
 *
 * Source: example 37 of the system design examples, whose log is filtered on every call. */
#ifndef PS_SLIDING_WINDOW_H
#define PS_SLIDING_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"
#include "window.h"

/* All zero is a window without hits; it owns no memory. */
typedef struct {
    int64_t *moments;  /* ring of `capacity` moments, oldest first, never decreasing */
    int64_t latest;    /* the newest moment ever recorded: time does not go back behind it */
    uint32_t capacity; /* 0, or a power of two */
    uint32_t oldest;   /* where in the ring the oldest stands, < capacity */
    uint32_t units;    /* how many there are, at most the limit; some may count no more */
} ps_sliding_window;

/* The moment at which a hit at clock `now` would be recorded. */
static inline int64_t ps_sliding_window_moment(const ps_sliding_window *log, const ps_window *window,
                                               int64_t now)
{
    int64_t moment = ps_window_moment(window, now);
    return moment > log->latest ? moment : log->latest;
}

/* The moment of the unit that is `after` places newer than the oldest; after < units. */
static inline int64_t ps_sliding_window_at(const ps_sliding_window *log, uint32_t after)
{
    return log->moments[(log->oldest + after) & (log->capacity - 1)];
}

/* The whole decision: how many of the oldest units must be gone for `n` to fit, 0 < n <= limit. When that
 * is more than 0, the answer is whether the last of them is gone. At most `units`. */
static inline uint32_t ps_sliding_window_excess(const ps_sliding_window *log, const ps_window *window,
                                                uint32_t n)
{
    int64_t excess = (int64_t)log->units + n - window->limit;
    return excess > 0 ? (uint32_t)excess : 0;
}

/* Whether `n` units fit at clock `now`, 0 < n <= limit. Where several windows decide together, all are
 * asked before any is told. */
static inline bool ps_sliding_window_fits(const ps_sliding_window *log, const ps_window *window, int64_t now,
                                          uint32_t n)
{
    uint32_t excess = ps_sliding_window_excess(log, window, n);
    if (excess == 0) return true;
    int64_t moment = ps_sliding_window_moment(log, window, now);
    return ps_sliding_window_at(log, excess - 1) + window->period < moment;
}

/* Gives the memory back and leaves a window without hits. */
void ps_sliding_window_free(ps_sliding_window *log, ps_allocator allocator);

/* Records `n` units, 0 < n <= limit, at clock `now`. PS_REFUSED: it would be more than the limit;
 * PS_NO_MEMORY: the ring could not grow. Neither changes anything. O(n) for the writing of n units. */
ps_status ps_sliding_window_take(ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t n,
                                 ps_allocator allocator);

/* The units that count at clock `now`, at most the limit: so many that take() succeeds for the rest of it,
 * and for no more. */
uint32_t ps_sliding_window_units(const ps_sliding_window *log, const ps_window *window, int64_t now);

/* The least number of nanoseconds after `now` at which `n` units fit, if there are no hits until then. */
int64_t ps_sliding_window_wait(const ps_sliding_window *log, const ps_window *window, int64_t now,
                               uint32_t n);

/* The nanoseconds after `now` until the newest unit counts no more; 0 when none counts. Right after a hit
 * that is period + 1; what users are shown is one less, the time for which it still counts. */
int64_t ps_sliding_window_reset(const ps_sliding_window *log, const ps_window *window, int64_t now);

/* Takes back the newest `n` units, or all that there are. */
void ps_sliding_window_refund(ps_sliding_window *log, uint32_t n);

/* Whether every rule above holds, for a window whose limit was not lowered. O(units), for tests. */
bool ps_sliding_window_check(const ps_sliding_window *log, const ps_window *window);

#endif
