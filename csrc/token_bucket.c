#include "token_bucket.h"

/* 36 years in ns. Ticks then stay below 2^61 and full_at below 2^62: no sum here overflows. */
#define MAX_ELAPSED (INT64_C(1) << 60)

static int64_t elapsed_at(const ps_token_bucket *bucket, int64_t now)
{
    if (now <= bucket->epoch) return 0;
    uint64_t elapsed = (uint64_t)now - (uint64_t)bucket->epoch;
    return elapsed < MAX_ELAPSED ? (int64_t)elapsed : MAX_ELAPSED;
}

static int64_t tick_at(const ps_token_bucket *bucket, int64_t elapsed)
{
    return (int64_t)((unsigned __int128)elapsed * bucket->speed >> PS_SPEED_BITS);
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

void ps_token_bucket_init(ps_token_bucket *bucket, uint64_t speed, int64_t token, int64_t depth,
                          int64_t epoch, int64_t missing)
{
    bucket->speed = speed;
    bucket->token = token;
    bucket->depth = depth;
    bucket->epoch = epoch;
    atomic_init(&bucket->full_at, missing);
}

ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost)
{
    int64_t tick = tick_at(bucket, elapsed_at(bucket, now));
    int64_t seen = atomic_load_explicit(&bucket->full_at, memory_order_relaxed);
    int64_t full_at;
    do {
        full_at = later(seen, tick) + cost;
        if (full_at - tick > bucket->depth) return PS_REFUSED;
        /* relaxed: the moment is the whole state, nothing else is published with it */
    } while (!atomic_compare_exchange_weak_explicit(&bucket->full_at, &seen, full_at,
                                                    memory_order_relaxed, memory_order_relaxed));
    return PS_OK;
}

int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now)
{
    int64_t tick = tick_at(bucket, elapsed_at(bucket, now));
    int64_t missing = later(atomic_load_explicit(&bucket->full_at, memory_order_relaxed), tick) - tick;
    return later(bucket->depth - missing, 0); /* a clock gone back can show more than a bucket missing */
}

int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost)
{
    int64_t elapsed = elapsed_at(bucket, now);
    int64_t tick = tick_at(bucket, elapsed);
    int64_t full_at = later(atomic_load_explicit(&bucket->full_at, memory_order_relaxed), tick);
    int64_t due = full_at + cost - bucket->depth;
    if (due <= tick) return 0;
    /* the first nanosecond whose tick is `due`: the division undoes tick_at, rounded up */
    unsigned __int128 scaled = (unsigned __int128)due << PS_SPEED_BITS;
    return (int64_t)((scaled + bucket->speed - 1) / bucket->speed) - elapsed;
}

bool ps_token_bucket_check(const ps_token_bucket *bucket)
{
    int64_t full_at = atomic_load_explicit(&bucket->full_at, memory_order_relaxed);
    return bucket->speed >= UINT64_C(1) << PS_SPEED_BITS && bucket->speed <= UINT64_C(2) << PS_SPEED_BITS
        && bucket->token > 0 && (bucket->token & (bucket->token - 1)) == 0
        && bucket->token <= bucket->depth && bucket->depth <= INT64_C(1) << 61
        && full_at >= 0 && full_at <= INT64_C(1) << 62;
}
