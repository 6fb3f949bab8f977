/* window -- what sliding_window and window_counter share: a limit for every stretch of time.
 *
 * Hits are counted in units, a hit of cost n as n of them. Moments are nanoseconds on one monotonic
 * clock; a clock that has gone back counts as standing still. */
#ifndef PS_WINDOW_H
#define PS_WINDOW_H

#include <stdint.h>

#define PS_WINDOW_MAX_LIMIT (UINT32_C(1) << 30)
#define PS_WINDOW_MAX_PERIOD (INT64_C(1) << 60) /* 36 years */

/* Many keys share one; it does not change. */
typedef struct {
    int64_t period; /* nanoseconds, 1 to PS_WINDOW_MAX_PERIOD */
    int64_t epoch;  /* nanoseconds, the clock when it was made: moments below are from there on */
    uint32_t limit; /* units, 1 to PS_WINDOW_MAX_LIMIT */
} ps_window;

/* Nanoseconds from the epoch to clock `now`; a clock before the epoch counts as the epoch, one more than
 * 2 * PS_WINDOW_MAX_PERIOD after it as then: no sum of a moment and a period overflows. */
static inline int64_t ps_window_moment(const ps_window *window, int64_t now)
{
    if (now <= window->epoch) return 0;
    uint64_t elapsed = (uint64_t)now - (uint64_t)window->epoch;
    return elapsed < 2 * PS_WINDOW_MAX_PERIOD ? (int64_t)elapsed : 2 * PS_WINDOW_MAX_PERIOD;
}

#endif
