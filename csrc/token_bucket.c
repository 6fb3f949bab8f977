#include "token_bucket.h"

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t ps_pace_first(const ps_pace *pace, int64_t tick)
{
    unsigned __int128 scaled = (unsigned __int128)tick << PS_SPEED_BITS;
    return (int64_t)((scaled + pace->speed - 1) / pace->speed); /* undoes ps_pace_tick, rounded up */
}

int64_t ps_pace_wait(const ps_pace *pace, int64_t full_at, int64_t now, int64_t cost)
{
    int64_t elapsed = ps_pace_elapsed(pace, now);
    int64_t tick = ps_pace_tick(pace, now);
    int64_t due = later(full_at, tick) + cost - pace->depth;
    if (due <= tick) return 0;
    return ps_pace_first(pace, due) - elapsed;
}

bool ps_pace_check(const ps_pace *pace)
{
    return pace->speed >= UINT64_C(1) << PS_SPEED_BITS && pace->speed <= UINT64_C(2) << PS_SPEED_BITS
        && pace->token > 0 && (pace->token & (pace->token - 1)) == 0
        && pace->token <= pace->depth && pace->depth <= INT64_C(1) << 61;
}

void ps_token_bucket_init(ps_token_bucket *bucket, ps_pace pace, int64_t missing)
{
    bucket->pace = pace;
    atomic_init(&bucket->full_at, missing);
}

static int64_t full_at(const ps_token_bucket *bucket)
{
    return atomic_load_explicit(&bucket->full_at, memory_order_relaxed);
}

ps_status ps_token_bucket_take(ps_token_bucket *bucket, int64_t now, int64_t cost)
{
    int64_t tick = ps_pace_tick(&bucket->pace, now);
    int64_t seen = full_at(bucket);
    int64_t then;
    do {
        then = ps_pace_take(&bucket->pace, seen, tick, cost);
        if (then == PS_NOT_TAKEN) return PS_REFUSED;
        /* relaxed: the moment is the whole state, nothing else is published with it */
    } while (!atomic_compare_exchange_weak_explicit(&bucket->full_at, &seen, then,
                                                    memory_order_relaxed, memory_order_relaxed));
    return PS_OK;
}

int64_t ps_token_bucket_level(const ps_token_bucket *bucket, int64_t now)
{
    int64_t tick = ps_pace_tick(&bucket->pace, now);
    int64_t missing = later(full_at(bucket), tick) - tick;
    return later(bucket->pace.depth - missing, 0); /* debts, or a clock gone back: more than a bucket is missing */
}

int64_t ps_token_bucket_wait(const ps_token_bucket *bucket, int64_t now, int64_t cost)
{
    return ps_pace_wait(&bucket->pace, full_at(bucket), now, cost);
}

int64_t ps_token_bucket_full_at(const ps_token_bucket *bucket) { return full_at(bucket); }

ps_status ps_token_bucket_swap(ps_token_bucket *bucket, int64_t seen, int64_t then)
{
    return atomic_compare_exchange_strong_explicit(&bucket->full_at, &seen, then,
                                                   memory_order_relaxed, memory_order_relaxed)
               ? PS_OK
               : PS_REFUSED;
}

ps_status ps_token_bucket_change(ps_token_bucket *bucket, ps_pace pace, int64_t seen, int64_t then)
{
    ps_status status = ps_token_bucket_swap(bucket, seen, then);
    if (status == PS_OK) bucket->pace = pace;
    return status;
}

bool ps_token_bucket_check(const ps_token_bucket *bucket)
{
    int64_t moment = full_at(bucket);
    return ps_pace_check(&bucket->pace) && moment >= 0 && moment <= INT64_C(1) << 62;
}
