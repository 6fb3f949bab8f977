/* clock -- the monotonic clock that penstock/clock.py names, read without Python. */
#ifndef PS_CLOCK_H
#define PS_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds; only differences have a meaning. The same clock as time.monotonic_ns(). */
static inline int64_t ps_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
