#include "window_counter.h"

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static ps_window_counter seen_at(const ps_window_counter *counter, const ps_window *window, bool slides,
                                 int64_t now, int64_t *elapsed)
{
    return ps_window_counter_seen(counter, window, slides, ps_window_moment(window, now), elapsed);
}

uint32_t ps_window_counter_units(const ps_window_counter *counter, const ps_window *window, bool slides,
                                 int64_t now)
{
    int64_t elapsed;
    ps_window_counter seen = seen_at(counter, window, slides, now, &elapsed);
    uint32_t weighed = 0;
    if (seen.previous > 0) {
        __int128 covered = (__int128)seen.previous * (window->period - elapsed);
        weighed = (uint32_t)((covered + window->period - 1) / window->period);
    }
    return least(seen.current + weighed, window->limit);
}

/* The offset in a window from which on `previous` units of the last one leave `room` for others, 0 to
 * period: the first e with previous * (period - e) <= room * period. */
static int64_t offset_with_room(const ps_window *window, uint32_t previous, int64_t room)
{
    if (previous <= room) return 0;
    return window->period - (int64_t)((__int128)room * window->period / previous);
}

int64_t ps_window_counter_wait(const ps_window_counter *counter, const ps_window *window, bool slides,
                               int64_t now, uint32_t n)
{
    int64_t elapsed;
    ps_window_counter seen = seen_at(counter, window, slides, now, &elapsed);
    if (ps_window_counter_holds(seen, window, elapsed, n)) return 0;

    int64_t number = seen.number;
    int64_t room = (int64_t)window->limit - seen.current - n;
    uint32_t previous = seen.previous;
    if (room < 0) { /* not in this window, whose units are the previous ones of the next */
        number++;
        room = (int64_t)window->limit - n;
        previous = slides ? seen.current : 0;
    }
    /* an offset of a whole period is the start of the window after: there it fits, by less than a unit */
    return number * window->period + offset_with_room(window, previous, room) - ps_window_moment(window, now);
}

int64_t ps_window_counter_reset(const ps_window_counter *counter, const ps_window *window, bool slides,
                                int64_t now)
{
    int64_t elapsed;
    ps_window_counter seen = seen_at(counter, window, slides, now, &elapsed);
    int64_t windows = seen.current > 0 ? (slides ? 2 : 1) : seen.previous > 0 ? 1 : 0;
    if (windows == 0) return 0;
    return (seen.number + windows) * window->period - ps_window_moment(window, now);
}

void ps_window_counter_refund(ps_window_counter *counter, const ps_window *window, bool slides, int64_t now,
                              uint32_t n)
{
    int64_t elapsed;
    ps_window_counter seen = seen_at(counter, window, slides, now, &elapsed);
    if (seen.number == counter->number) counter->current -= least(n, counter->current);
}

bool ps_window_counter_check(const ps_window_counter *counter, const ps_window *window, bool slides)
{
    return counter->number >= 0 && counter->number <= 2 * PS_WINDOW_MAX_PERIOD / window->period
        && counter->current <= window->limit && counter->previous <= window->limit
        && (slides || counter->previous == 0);
}
