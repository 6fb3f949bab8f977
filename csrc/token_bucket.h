/* token_bucket -- the generic cell rate algorithm (GCRA) on one int64.
 *
 * The bucket is kept as the moment at which it will be full again. Taking tokens pushes that moment
 * into the future, by the time the rate needs to make them; a request is refused when it would land
 * more than a full bucket ahead of now.
 *
 * Moments are ticks since `epoch`. One token is a whole number of ticks, a power of two, and a tick is
 * 0.5 to 1 ns: every refill is computed from the time that has passed in all, never added up step by
 * step, so a rate such as 7 per second does not drift. Nothing here allocates, locks or reads a clock;
 * threads may share a bucket, the moment is moved by compare-and-swap.
 *
 * Source: ITU-T I.371, GCRA as virtual scheduling. */
#ifndef PS_TOKEN_BUCKET_H
#define PS_TOKEN_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "status.h"

#define PS_SPEED_BITS 62 /* fraction bits of `speed` */

/* How fast a bucket fills and how much it holds. Many buckets share one; it does not change. */
typedef struct {
    uint64_t speed; /* ticks per nanosecond, times 2^62, rounded up; 2^62 to 2^63 */
    int64_t token;  /* ticks of one token, a power of two, at most `depth` */
    int64_t depth;  /* ticks of the full bucket, > 0, at most 2^61 */
    int64_t epoch;  /* nanoseconds, the clock at tick 0 */
} ps_pace;

/* 36 years in ns. Ticks then stay below 2^61 and full_at below 2^62: no sum here overflows. */
#define PS_MAX_ELAPSED (INT64_C(1) << 60)

#define PS_NOT_TAKEN INT64_C(-1)

/* Nanoseconds from the epoch to clock `now`; a clock before the epoch counts as the epoch. */
static inline int64_t ps_pace_elapsed(const ps_pace *pace, int64_t now)
{
    if (now <= pace->epoch) return 0;
    uint64_t elapsed = (uint64_t)now - (uint64_t)pace->epoch;
    return elapsed < PS_MAX_ELAPSED ? (int64_t)elapsed : PS_MAX_ELAPSED;
}

/* The tick of clock `now`. */
static inline int64_t ps_pace_tick(const ps_pace *pace, int64_t now)
{
    return (int64_t)((unsigned __int128)ps_pace_elapsed(pace, now) * pace->speed >> PS_SPEED_BITS);
}

/* The first nanosecond after the epoch whose tick is `tick`, 0 <= tick < 2^63. */
int64_t ps_pace_first(const ps_pace *pace, int64_t tick);

/* The whole algorithm: when a bucket that is full at `full_at` is full again after `cost` ticks were
 * taken at `tick`, or PS_NOT_TAKEN when they are not there. 0 < cost <= depth. A bucket that was never
 * used has full_at 0. */
static inline int64_t ps_pace_take(const ps_pace *pace, int64_t full_at, int64_t tick, int64_t cost)
{
    int64_t then = (full_at > tick ? full_at : tick) + cost;
    return then - tick > pace->depth ? PS_NOT_TAKEN : then;
}

/* The least number of nanoseconds after clock `now` at which a bucket that is full at `full_at` has
 * `cost` ticks, if nobody takes any until then. */
int64_t ps_pace_wait(const ps_pace *pace, int64_t full_at, int64_t now, int64_t cost);

/* Whether every rule above holds, for tests. */
bool ps_pace_check(const ps_pace *pace);

typedef struct {
    ps_pace pace;
    _Atomic int64_t full_at; /* tick at which the bucket is full again, 0 to 2^62 */
} ps_token_bucket;

/* Makes a bucket that lacks `missing` ticks of being full, 0 <= missing <= depth. */
void ps_token_bucket_init(ps_token_bucket *bucket, ps_pace pace, int64_t missing);

/* Takes `cost` ticks, 0 < cost <= depth, at clock `now` (ns). PS_REFUSED: too few, nothing changed.
 * A clock that has gone back makes no tokens and takes none away. */
ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost);

/* The ticks that are there at clock `now`, in [0, depth]. */
int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now);

/* The least number of nanoseconds after which `cost` ticks are there, if nobody takes any until then. */
int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost);

/* What follows is for debts: full_at may be moved more than a full bucket ahead of now, as long as it stays
 * <= 2^62. Takes are then refused until the debts are paid. */

/* The tick at which the bucket will be full. */
int64_t ps_token_bucket_full_at(const ps_token_bucket *bucket);

/* Makes the bucket full at tick `then` if it is `seen` now. PS_REFUSED: it is not, nothing changed. */
ps_status ps_token_bucket_swap(ps_token_bucket *bucket, int64_t seen, int64_t then);

/* As ps_token_bucket_swap, and gives the bucket another pace. The caller keeps every other call away. */
ps_status ps_token_bucket_change(ps_token_bucket *bucket, ps_pace pace, int64_t seen, int64_t then);

/* Whether every rule above holds, for tests. */
bool ps_token_bucket_check(const ps_token_bucket *bucket);

#endif
