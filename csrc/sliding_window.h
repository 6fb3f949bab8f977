/* sliding_window -- at most `limit` units in any stretch of `period` ns: the log of hits, as a ring.
 *
 * Exact: the moment of every unit that still counts is kept, 8 bytes each, in a ring that grows by
 * doubling, up to the power of two that holds `limit`. A unit of moment t counts up to and including
 * t + period. Everything is O(1), but for what it costs to write n units and to drop those that count
 * no more, each once.
 *
 * Nothing here locks or reads a clock. */
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
    int64_t *moments; /* ring of `capacity` moments, oldest first, never decreasing */
    uint32_t capacity; /* 0, or a power of two */
    uint32_t oldest;   /* where in the ring the oldest stands */
    uint32_t units;    /* how many there are, at most the limit */
} ps_sliding_window;

/* Gives the memory back and leaves a window without hits. */
void ps_sliding_window_free(ps_sliding_window *log, ps_allocator allocator);

/* Records `n` units, 0 < n <= limit, at clock `now`. PS_REFUSED: it would be more than the limit;
 * PS_NO_MEMORY: the ring could not grow. Neither records any. */
ps_status ps_sliding_window_take(ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t n,
                                 ps_allocator allocator);

/* The units that count at clock `now`. */
uint32_t ps_sliding_window_units(ps_sliding_window *log, const ps_window *window, int64_t now);

/* The least number of nanoseconds after `now` at which `n` units fit, if there are no hits until then. */
int64_t ps_sliding_window_wait(ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t n);

/* The nanoseconds after `now` until the newest unit counts no more; 0 when none counts. */
int64_t ps_sliding_window_reset(ps_sliding_window *log, const ps_window *window, int64_t now);

/* Takes back the newest `n` units, or all that there are. */
void ps_sliding_window_refund(ps_sliding_window *log, uint32_t n);

/* Whether every rule above holds. O(units), for tests. */
bool ps_sliding_window_check(const ps_sliding_window *log, const ps_window *window);

#endif
