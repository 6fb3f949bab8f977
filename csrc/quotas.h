/* quotas -- several limits on one key, decided together or not at all.
 *
 * All quotas of a key go by one algorithm. What a key has used is its state: one after another the words of
 * each quota, an int64 for a token bucket, a ps_window_counter or a ps_sliding_window. All zero is a key
 * that was never used; a key that is idle, with nothing in use, decides as one that was never used does.
 *
 * Units are whole. Moments are nanoseconds on the clock whose start is each quota's epoch. Nothing here
 * locks or reads a clock, and only a sliding window allocates. */
#ifndef PS_QUOTAS_H
#define PS_QUOTAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "sliding_window.h"
#include "status.h"
#include "token_bucket.h"
#include "window_counter.h"

#define PS_QUOTAS_MAX 8

typedef enum {
    PS_TOKEN_BUCKET,
    PS_SLIDING_WINDOW,
    PS_SLIDING_COUNTER,
    PS_FIXED_WINDOW,
} ps_algorithm;

typedef struct {
    ps_pace pace;     /* of a token bucket, whose depth is `limit` tokens */
    ps_window window; /* of the others */
    uint32_t limit;   /* units that it gives at once, 1 to PS_WINDOW_MAX_LIMIT */
} ps_quota;

/* Many keys share one; it does not change. */
typedef struct {
    ps_algorithm algorithm;
    unsigned count; /* 1 to PS_QUOTAS_MAX */
    uint32_t most;  /* the smallest limit: no n is above it */
    ps_quota quotas[PS_QUOTAS_MAX];
} ps_quotas;

/* What there is to say about one quota. */
typedef struct {
    unsigned which;     /* quota */
    uint32_t remaining; /* units of it that are left */
    int64_t retry;      /* nanoseconds until the units that were asked for are there; 0 when they are */
    int64_t reset;      /* nanoseconds until it is as if never used */
} ps_verdict;

/* The bytes of each quota's state, and of the state of a key. */
static inline size_t ps_quota_bytes(ps_algorithm algorithm)
{
    switch (algorithm) {
    case PS_TOKEN_BUCKET: return sizeof(int64_t);
    case PS_SLIDING_WINDOW: return sizeof(ps_sliding_window);
    default: return sizeof(ps_window_counter);
    }
}

static inline size_t ps_quotas_bytes(const ps_quotas *quotas)
{
    return quotas->count * ps_quota_bytes(quotas->algorithm);
}

/* As ps_quotas_take, for token buckets: what nearly all calls come down to. */
static inline bool ps_quotas_take_tokens(const ps_quotas *quotas, int64_t *full_at, int64_t now, uint32_t n)
{
    int64_t then[PS_QUOTAS_MAX];
    for (unsigned i = 0; i < quotas->count; i++) {
        const ps_pace *pace = &quotas->quotas[i].pace;
        then[i] = ps_pace_take(pace, full_at[i], ps_pace_tick(pace, now), n * pace->token);
        if (then[i] == PS_NOT_TAKEN) return false;
    }
    for (unsigned i = 0; i < quotas->count; i++) full_at[i] = then[i];
    return true;
}

/* As ps_quotas_take, whatever the algorithm. */
ps_status ps_quotas_take_units(const ps_quotas *quotas, void *state, int64_t now, uint32_t n,
                               ps_allocator allocator);

/* Takes `n` units, 0 < n <= most, of every quota at clock `now`. PS_REFUSED: one has too few; PS_NO_MEMORY:
 * a sliding window could not grow. Both take none of any. */
static inline ps_status ps_quotas_take(const ps_quotas *quotas, void *state, int64_t now, uint32_t n,
                                       ps_allocator allocator)
{
    if (quotas->algorithm == PS_TOKEN_BUCKET)
        return ps_quotas_take_tokens(quotas, state, now, n) ? PS_OK : PS_REFUSED;
    return ps_quotas_take_units(quotas, state, now, n, allocator);
}

/* Whether every quota has `n` units at clock `now`. */
bool ps_quotas_fit(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n);

/* The least number of nanoseconds after `now` at which every quota has `n` units, if nobody takes any. */
int64_t ps_quotas_wait(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n);

/* The nanoseconds after `now` until the key is idle; 0 when it is. */
int64_t ps_quotas_reset(const ps_quotas *quotas, const void *state, int64_t now);

/* Whether nothing is in use, so that the key may be forgotten. */
bool ps_quotas_idle(const ps_quotas *quotas, const void *state, int64_t now);

/* The quota with the longest wait for `n` units; when all of them have these, the one with the smallest
 * share of its limit left. Of equals the first. */
ps_verdict ps_quotas_tightest(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n);

/* As ps_quotas_tightest when it is known that nothing has to wait, such as right after a take: retry is 0. */
ps_verdict ps_quotas_scarcest(const ps_quotas *quotas, const void *state, int64_t now);

/* The most units that any quota has in use, rounded up. */
uint32_t ps_quotas_used(const ps_quotas *quotas, const void *state, int64_t now);

/* Takes back the last `n` units, of each quota no more than are in use. */
void ps_quotas_refund(const ps_quotas *quotas, void *state, int64_t now, uint32_t n);

/* Of a key that was never used: takes `used` units, of each quota no more than its limit. PS_NO_MEMORY
 * takes none. */
ps_status ps_quotas_charge(const ps_quotas *quotas, void *state, int64_t now, uint32_t used,
                           ps_allocator allocator);

/* Gives back the memory that a state owns and makes it that of a key never used. */
void ps_quotas_clear(const ps_quotas *quotas, void *state, ps_allocator allocator);

/* The bytes that a state owns elsewhere. */
size_t ps_quotas_owned(const ps_quotas *quotas, const void *state);

/* Whether every rule above holds, for tests. */
bool ps_quotas_check(const ps_quotas *quotas, const void *state);

#endif
