#include "sliding_window.h"

#include <string.h>

#define LEAST_CAPACITY 4

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

void ps_sliding_window_free(ps_sliding_window *log, ps_allocator allocator)
{
    allocator.release(log->moments);
    *log = (ps_sliding_window){0};
}

/* How many of the oldest units count no more at `moment`. Steps double from the oldest on, then halve: it
 * costs the logarithm of what it finds, and one comparison when it finds nothing. */
static uint32_t gone(const ps_sliding_window *log, const ps_window *window, int64_t moment)
{
    uint32_t low = 0, step = 1; /* the first `low` units are gone */
    while (low < log->units) {
        uint32_t next = least(low + step, log->units);
        if (ps_sliding_window_at(log, next - 1) + window->period >= moment) break;
        low = next;
        step *= 2;
    }
    uint32_t high = least(low + step, log->units); /* the unit before `high` counts, unless all are gone */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ps_sliding_window_at(log, middle) + window->period < moment) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Makes room for `units` units; the ring wraps at twice its size or more, so what had wrapped before moves
 * behind the rest, where now there is room for it. */
static bool grow(ps_sliding_window *log, uint32_t units, ps_allocator allocator)
{
    uint32_t capacity = LEAST_CAPACITY;
    while (capacity < units) capacity *= 2;
    int64_t *moments = allocator.resize(log->moments, (size_t)capacity * sizeof *moments);
    if (moments == NULL) return false;
    uint32_t end = log->oldest + log->units;
    if (end > log->capacity)
        memcpy(moments + log->capacity, moments, (size_t)(end - log->capacity) * sizeof *moments);
    log->moments = moments;
    log->capacity = capacity;
    return true;
}

ps_status ps_sliding_window_take(ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t n,
                                 ps_allocator allocator)
{
    if (!ps_sliding_window_fits(log, window, now, n)) return PS_REFUSED;
    int64_t moment = ps_sliding_window_moment(log, window, now);
    uint32_t dropped = gone(log, window, moment);
    uint32_t kept = log->units - dropped;
    if (kept + n > log->capacity && !grow(log, kept + n, allocator)) return PS_NO_MEMORY;

    uint32_t mask = log->capacity - 1;
    log->oldest = (log->oldest + dropped) & mask;
    for (uint32_t i = 0; i < n; i++) log->moments[(log->oldest + kept + i) & mask] = moment;
    log->units = kept + n;
    log->latest = moment;
    return PS_OK;
}

uint32_t ps_sliding_window_units(const ps_sliding_window *log, const ps_window *window, int64_t now)
{
    uint32_t count = log->units - gone(log, window, ps_sliding_window_moment(log, window, now));
    return least(count, window->limit);
}

/* From clock `now` until the unit `after` places newer than the oldest is gone. */
static int64_t until_gone(const ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t after)
{
    return ps_sliding_window_at(log, after) + window->period + 1 - ps_window_moment(window, now);
}

int64_t ps_sliding_window_wait(const ps_sliding_window *log, const ps_window *window, int64_t now, uint32_t n)
{
    if (ps_sliding_window_fits(log, window, now, n)) return 0;
    return until_gone(log, window, now, ps_sliding_window_excess(log, window, n) - 1);
}

int64_t ps_sliding_window_reset(const ps_sliding_window *log, const ps_window *window, int64_t now)
{
    if (log->units == 0) return 0;
    int64_t left = until_gone(log, window, now, log->units - 1);
    return left > 0 ? left : 0;
}

void ps_sliding_window_refund(ps_sliding_window *log, uint32_t n) { log->units -= least(n, log->units); }

bool ps_sliding_window_check(const ps_sliding_window *log, const ps_window *window)
{
    if (log->capacity == 0) return log->moments == NULL && log->units == 0 && log->oldest == 0;
    if ((log->capacity & (log->capacity - 1)) != 0 || log->oldest >= log->capacity) return false;
    if (log->units > log->capacity || log->units > window->limit) return false;
    if (log->capacity > LEAST_CAPACITY && log->capacity / 2 >= window->limit) return false;
    int64_t before = 0;
    for (uint32_t i = 0; i < log->units; i++) {
        if (ps_sliding_window_at(log, i) < before) return false;
        before = ps_sliding_window_at(log, i);
    }
    return before <= log->latest && log->latest <= 2 * PS_WINDOW_MAX_PERIOD;
}
