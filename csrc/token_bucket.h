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

typedef struct {
    uint64_t speed;          /* ticks per nanosecond, times 2^62, rounded up; 2^62 to 2^63 */
    int64_t token;           /* ticks of one token, a power of two, at most `depth` */
    int64_t depth;           /* ticks of the full bucket, > 0, at most 2^61 */
    int64_t epoch;           /* nanoseconds, the clock at tick 0 */
    _Atomic int64_t full_at; /* tick at which the bucket is full again, 0 to 2^62 */
} ps_token_bucket;

/* Makes a bucket that lacks `missing` ticks of being full, 0 <= missing <= depth. */
void ps_token_bucket_init(ps_token_bucket *bucket, uint64_t speed, int64_t token, int64_t depth,
                          int64_t epoch, int64_t missing);

/* Takes `cost` ticks, 0 < cost <= depth, at clock `now` (ns). PS_REFUSED: too few, nothing changed.
 * A clock that has gone back makes no tokens and takes none away. */
ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost);

/* The ticks that are there at clock `now`, in [0, depth]. */
int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now);

/* The least number of nanoseconds after which `cost` ticks are there, if nobody takes any until then. */
int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost);

/* Whether every rule above holds, for tests. */
bool ps_token_bucket_check(const ps_token_bucket *bucket);

#endif
