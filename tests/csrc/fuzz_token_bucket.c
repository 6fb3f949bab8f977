/* The token bucket against its definition in 128-bit arithmetic, on any clock. */
#include "fuzz.h"
#include "token_bucket.h"

static const __int128 MAX_ELAPSED = INT64_C(1) << 60;

static __int128 elapsed_at(const ps_token_bucket *bucket, __int128 now)
{
    __int128 elapsed = now - bucket->pace.epoch;
    return elapsed < 0 ? 0 : elapsed > MAX_ELAPSED ? MAX_ELAPSED : elapsed;
}

static int64_t level_by_definition(const ps_token_bucket *bucket, int64_t full_at, __int128 elapsed)
{
    __int128 tick = elapsed * bucket->pace.speed >> PS_SPEED_BITS;
    __int128 missing = full_at > tick ? full_at - tick : 0;
    return missing > bucket->pace.depth ? 0 : (int64_t)(bucket->pace.depth - missing);
}

/* Mostly a small step forward, sometimes anywhere at all. */
static int64_t next_moment(fuzz_input *input, int64_t now)
{
    if (fuzz_take(input, 1) % 8 == 0) return fuzz_between(input, INT64_MIN, INT64_MAX);
    int64_t step = fuzz_between(input, 0, INT64_C(1) << 40);
    return now > INT64_MAX - step ? INT64_MAX : now + step;
}

/* Debts beyond the full bucket, given back again in part; then perhaps another pace. */
static void owe(fuzz_input *input, ps_token_bucket *bucket)
{
    int64_t before = ps_token_bucket_full_at(bucket);
    int64_t then = fuzz_between(input, 0, INT64_C(1) << 62);
    FUZZ_REQUIRE(ps_token_bucket_swap(bucket, before ^ 1, then) == PS_REFUSED);
    FUZZ_REQUIRE(ps_token_bucket_full_at(bucket) == before);
    if (fuzz_take(input, 1) % 2) {
        FUZZ_REQUIRE(ps_token_bucket_swap(bucket, before, then) == PS_OK);
    } else {
        ps_pace pace = bucket->pace;
        pace.speed = (UINT64_C(1) << 62) + fuzz_take(input, 8) % (UINT64_C(1) << 62);
        pace.depth = fuzz_between(input, 1, INT64_C(1) << fuzz_between(input, 0, 61));
        FUZZ_REQUIRE(ps_token_bucket_change(bucket, pace, before ^ 1, then) == PS_REFUSED);
        FUZZ_REQUIRE(ps_token_bucket_change(bucket, pace, before, then) == PS_OK);
        FUZZ_REQUIRE(bucket->pace.depth == pace.depth && bucket->pace.speed == pace.speed);
    }
    FUZZ_REQUIRE(ps_token_bucket_full_at(bucket) == then);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint64_t speed = (UINT64_C(1) << 62) + fuzz_take(&input, 8) % (UINT64_C(1) << 62);
    int64_t depth = fuzz_between(&input, 1, INT64_C(1) << fuzz_between(&input, 0, 61));
    int64_t missing = fuzz_between(&input, 0, depth);
    int64_t now = fuzz_between(&input, INT64_MIN, INT64_MAX);

    ps_token_bucket bucket;
    ps_token_bucket_init(&bucket, (ps_pace){speed, 1, depth, now}, missing);
    FUZZ_REQUIRE(ps_token_bucket_level(&bucket, now) == depth - missing);

    FUZZ_REQUIRE(ps_token_bucket_check(&bucket));

    while (input.left > 0) {
        now = next_moment(&input, now);
        if (fuzz_take(&input, 1) % 8 == 0) owe(&input, &bucket);
        __int128 elapsed = elapsed_at(&bucket, now);
        int64_t before = bucket.full_at;
        int64_t level = ps_token_bucket_level(&bucket, now);
        FUZZ_REQUIRE(level == level_by_definition(&bucket, before, elapsed));
        FUZZ_REQUIRE(0 <= level && level <= bucket.pace.depth);

        int64_t cost = fuzz_between(&input, 1, bucket.pace.depth);
        int64_t wait = ps_token_bucket_wait(&bucket, now, cost);
        FUZZ_REQUIRE(wait >= 0);
        ps_status status = ps_token_bucket_take(&bucket, now, cost);
        FUZZ_REQUIRE((status == PS_OK) == (wait == 0));
        FUZZ_REQUIRE(ps_token_bucket_check(&bucket));
        if (status == PS_OK) {
            FUZZ_REQUIRE(ps_token_bucket_level(&bucket, now) == level - cost);
        } else { /* nothing changed, and `wait` is the first moment at which the cost is there */
            FUZZ_REQUIRE(status == PS_REFUSED && bucket.full_at == before);
            FUZZ_REQUIRE(level_by_definition(&bucket, before, elapsed + wait) >= cost);
            FUZZ_REQUIRE(level_by_definition(&bucket, before, elapsed + wait - 1) < cost);
        }
    }
    return 0;
}
