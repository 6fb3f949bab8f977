/* window_counter -- a limit for every period in 16 bytes: units of this aligned window and the last.
 *
 * Time is cut into windows of `period` ns from the epoch on. As a fixed window, only the units of the
 * present window count. As a sliding window, those of the last one count as well, by the share of it that
 * the last `period` ns still cover, as if they had come evenly spread:
 *
 *     units(now) = current + previous * (period - elapsed in this window) / period
 *
 * Error. Let a be the units taken in one window of the grid and b those of the next.
 *   - In no window of the grid more than `limit`: current + n <= limit is part of every yes.
 *   - In any stretch of `period` ns, both ends included, fewer than 2 * limit. It reaches into two windows,
 *     up to an offset e < period of the second, and the last yes in it, at an offset <= e, had
 *     b <= limit - a * (period - e) / period. So a + b <= limit + a * e / period < 2 * limit. That is tight:
 *     limit units in the last ns of one window leave limit - 1 for the end of the next.
 *   - Fixed: at most 2 * limit, limit on each side of a border.
 *   - Evenly spread units are judged to less than one: the units at any moment, rounded up, are those of the
 *     last period or one more. The error is in the spread: units that all came in the first ns of a window
 *     still count, in part, all through the next.
 *
 * Compared in integers, units * period against limit * period, in 128 bits. A clock that has gone back to
 * an earlier window counts as the start of the present one; within a window, the last one weighs more again.
 * Neither lets more through. Only take() and refund() change anything.
 *
 * The window that is passed may have another limit than the last time, but not another period or epoch.
 * Nothing here allocates, locks or reads a clock. */
#ifndef PS_WINDOW_COUNTER_H
#define PS_WINDOW_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#include "status.h"
#include "window.h"

/* All zero is a counter without hits. */
typedef struct {
    int64_t number;    /* of the window that `current` counts, from 0 at the epoch on */
    uint32_t current;  /* units of that window */
    uint32_t previous; /* units of the window before; 0 in a fixed window */
} ps_window_counter;

/* The counter as it stands at `moment`, and the nanoseconds of its window that have passed by then. */
static inline ps_window_counter ps_window_counter_seen(const ps_window_counter *counter,
                                                       const ps_window *window, bool slides, int64_t moment,
                                                       int64_t *elapsed)
{
    ps_window_counter seen = *counter;
    int64_t number = moment / window->period;
    if (number <= seen.number) {
        *elapsed = number == seen.number ? moment % window->period : 0;
        return seen;
    }
    *elapsed = moment % window->period;
    seen.previous = slides && number == seen.number + 1 ? seen.current : 0;
    seen.current = 0;
    seen.number = number;
    return seen;
}

/* The whole decision: whether `n` units fit into a counter as it is seen, 0 < n <= limit. */
static inline bool ps_window_counter_holds(ps_window_counter seen, const ps_window *window, int64_t elapsed,
                                           uint32_t n)
{
    int64_t room = (int64_t)window->limit - seen.current - n;
    return room >= 0
        && (__int128)seen.previous * (window->period - elapsed) <= (__int128)room * window->period;
}

/* Whether `n` units fit at clock `now`, 0 < n <= limit. Where several windows decide together, all are
 * asked before any is told. */
static inline bool ps_window_counter_fits(const ps_window_counter *counter, const ps_window *window,
                                          bool slides, int64_t now, uint32_t n)
{
    int64_t elapsed;
    ps_window_counter seen = ps_window_counter_seen(counter, window, slides, ps_window_moment(window, now),
                                                    &elapsed);
    return ps_window_counter_holds(seen, window, elapsed, n);
}

/* Counts `n` units, 0 < n <= limit, at clock `now`. PS_REFUSED: it would be more than the limit, and
 * nothing changed. `slides` is the same in every call on a counter. */
static inline ps_status ps_window_counter_take(ps_window_counter *counter, const ps_window *window,
                                               bool slides, int64_t now, uint32_t n)
{
    int64_t elapsed;
    ps_window_counter seen = ps_window_counter_seen(counter, window, slides, ps_window_moment(window, now),
                                                    &elapsed);
    if (!ps_window_counter_holds(seen, window, elapsed, n)) return PS_REFUSED;
    seen.current += n;
    *counter = seen;
    return PS_OK;
}

/* The units at clock `now`, rounded up, at most the limit: so many that take() succeeds for the rest of it,
 * and for no more. */
uint32_t ps_window_counter_units(const ps_window_counter *counter, const ps_window *window, bool slides,
                                 int64_t now);

/* The least number of nanoseconds after `now` at which `n` units fit, if there are no hits until then. */
int64_t ps_window_counter_wait(const ps_window_counter *counter, const ps_window *window, bool slides,
                               int64_t now, uint32_t n);

/* The nanoseconds after `now` until no unit counts; 0 when none does. */
int64_t ps_window_counter_reset(const ps_window_counter *counter, const ps_window *window, bool slides,
                                int64_t now);

/* Takes back up to `n` units of the present window. */
void ps_window_counter_refund(ps_window_counter *counter, const ps_window *window, bool slides, int64_t now,
                              uint32_t n);

/* Whether every rule above holds, for a window whose limit was not lowered; for tests. */
bool ps_window_counter_check(const ps_window_counter *counter, const ps_window *window, bool slides);

#endif
