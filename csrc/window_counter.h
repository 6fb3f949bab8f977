/* window_counter -- a limit for every period in 16 bytes: units of this aligned window and the last.
 *
 * Time is cut into windows of `period` ns from the epoch on. As a fixed window, only the units of the
 * present window count. As a sliding window, those of the last one count as well, by the share of it that
 * the last `period` ns still cover, as if they had come evenly spread:
 *
 *     units(now) = current + previous * (period - elapsed in this window) / period
 *
 * Error: in no window of the grid more than `limit` units are taken; in any other stretch of `period` ns
 * fewer than 2 * limit (fixed: at most 2 * limit). Evenly spread units are judged exactly. Compared in
 * integers, units * period against limit * period, in 128 bits.
 *
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

/* Counts `n` units, 0 < n <= limit, at clock `now`. PS_REFUSED: it would be more than the limit, and
 * nothing changed that counts. `slides` is the same in every call on a counter. */
ps_status ps_window_counter_take(ps_window_counter *counter, const ps_window *window, bool slides,
                                 int64_t now, uint32_t n);

/* The units at clock `now`, rounded up: take() succeeds for `limit` minus these, and for no more. */
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

/* Whether every rule above holds, for tests. */
bool ps_window_counter_check(const ps_window_counter *counter, const ps_window *window, bool slides);

#endif
