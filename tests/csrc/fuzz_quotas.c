/* Quotas together against each of them alone, with an allocator that fails. */
#include "fuzz.h"
#include "quotas.h"

static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};

static ps_quota some_quota(fuzz_input *input, ps_algorithm algorithm)
{
    ps_quota quota = {.limit = (uint32_t)fuzz_between(input, 1, 20)};
    int64_t epoch = fuzz_between(input, 0, 1000);
    if (algorithm == PS_TOKEN_BUCKET) {
        quota.pace.speed = (uint64_t)fuzz_between(input, INT64_C(1) << 62, INT64_MAX);
        quota.pace.token = INT64_C(1) << fuzz_between(input, 0, 20);
        quota.pace.depth = quota.limit * quota.pace.token;
        quota.pace.epoch = epoch;
    } else {
        quota.window = (ps_window){fuzz_between(input, 1, 100000), epoch, quota.limit};
    }
    return quota;
}

static ps_quotas some_quotas(fuzz_input *input)
{
    ps_quotas quotas = {.algorithm = (ps_algorithm)(fuzz_take(input, 1) % 4), .most = UINT32_MAX};
    quotas.count = (unsigned)fuzz_between(input, 1, PS_QUOTAS_MAX);
    for (unsigned i = 0; i < quotas.count; i++) {
        quotas.quotas[i] = some_quota(input, quotas.algorithm);
        if (quotas.quotas[i].limit < quotas.most) quotas.most = quotas.quotas[i].limit;
    }
    return quotas;
}

/* One of the quotas, and its part of the state. */
static ps_quotas alone(const ps_quotas *quotas, unsigned i)
{
    ps_quotas one = {quotas->algorithm, 1, quotas->quotas[i].limit, {quotas->quotas[i]}};
    return one;
}

static void *part(const ps_quotas *quotas, void *state, unsigned i)
{
    return (char *)state + i * ps_quota_bytes(quotas->algorithm);
}

/* What is said of all together follows from what is said of each. */
static void require_sums_up(const ps_quotas *quotas, void *state, int64_t now, uint32_t n)
{
    int64_t wait = 0, reset = 0;
    uint32_t used = 0;
    bool fit = true, idle = true;
    for (unsigned i = 0; i < quotas->count; i++) {
        ps_quotas one = alone(quotas, i);
        void *own = part(quotas, state, i);
        int64_t own_wait = ps_quotas_wait(&one, own, now, n), own_reset = ps_quotas_reset(&one, own, now);
        uint32_t own_used = ps_quotas_used(&one, own, now);
        fit = fit && ps_quotas_fit(&one, own, now, n);
        idle = idle && ps_quotas_idle(&one, own, now);
        if (own_wait > wait) wait = own_wait;
        if (own_reset > reset) reset = own_reset;
        if (own_used > used) used = own_used;
    }
    FUZZ_REQUIRE(ps_quotas_wait(quotas, state, now, n) == wait);
    FUZZ_REQUIRE(ps_quotas_reset(quotas, state, now) == reset);
    FUZZ_REQUIRE(ps_quotas_used(quotas, state, now) == used);
    FUZZ_REQUIRE(ps_quotas_fit(quotas, state, now, n) == fit && fit == (wait == 0));
    FUZZ_REQUIRE(ps_quotas_idle(quotas, state, now) == idle && idle == (reset == 0));

    ps_verdict verdict = ps_quotas_tightest(quotas, state, now, n);
    ps_quotas one = alone(quotas, verdict.which);
    FUZZ_REQUIRE(verdict.retry == wait && verdict.remaining <= one.most);
    FUZZ_REQUIRE(ps_quotas_wait(&one, part(quotas, state, verdict.which), now, n) == wait);
}

/* Waits are exact: not a nanosecond before, and no later. */
static void require_exact(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
{
    int64_t wait = ps_quotas_wait(quotas, state, now, n), reset = ps_quotas_reset(quotas, state, now);
    if (wait > 0) FUZZ_REQUIRE(!ps_quotas_fit(quotas, state, now + wait - 1, n));
    FUZZ_REQUIRE(ps_quotas_fit(quotas, state, now + wait, n));
    if (reset > 0) FUZZ_REQUIRE(!ps_quotas_idle(quotas, state, now + reset - 1));
    FUZZ_REQUIRE(ps_quotas_idle(quotas, state, now + reset));
}

static void require_same_units(const ps_quotas *quotas, void *state, const uint32_t *left, int64_t now,
                               uint32_t taken)
{
    for (unsigned i = 0; i < quotas->count; i++) {
        ps_quotas one = alone(quotas, i);
        uint32_t remaining = one.most - ps_quotas_used(&one, part(quotas, state, i), now);
        FUZZ_REQUIRE(remaining + taken == left[i]);
    }
}

static void take(const ps_quotas *quotas, void *state, int64_t now, uint32_t n, fuzz_input *input)
{
    uint32_t left[PS_QUOTAS_MAX];
    for (unsigned i = 0; i < quotas->count; i++) {
        ps_quotas one = alone(quotas, i);
        left[i] = one.most - ps_quotas_used(&one, part(quotas, state, i), now);
    }
    bool fit = ps_quotas_fit(quotas, state, now, n);
    allocations_left = fuzz_take(input, 1) % 16;
    ps_status status = ps_quotas_take(quotas, state, now, n, ALLOCATOR);
    FUZZ_REQUIRE((status == PS_REFUSED) == !fit);
    FUZZ_REQUIRE(status != PS_NO_MEMORY || (allocations_left == 0 && quotas->algorithm == PS_SLIDING_WINDOW));
    require_same_units(quotas, state, left, now, status == PS_OK ? n : 0);
    if (status == PS_OK) FUZZ_REQUIRE(ps_quotas_scarcest(quotas, state, now).retry == 0);
}

static void start_anew(const ps_quotas *quotas, void *state, int64_t now, fuzz_input *input)
{
    uint32_t used = (uint32_t)fuzz_between(input, 0, 30);
    ps_quotas_clear(quotas, state, ALLOCATOR);
    FUZZ_REQUIRE(ps_quotas_idle(quotas, state, now) && ps_quotas_owned(quotas, state) == 0);
    allocations_left = fuzz_take(input, 1) % 16;
    if (ps_quotas_charge(quotas, state, now, used, ALLOCATOR) != PS_OK) {
        FUZZ_REQUIRE(allocations_left == 0 && ps_quotas_idle(quotas, state, now));
        return;
    }
    for (unsigned i = 0; i < quotas->count; i++) {
        ps_quotas one = alone(quotas, i);
        uint32_t wanted = used < one.most ? used : one.most;
        FUZZ_REQUIRE(ps_quotas_used(&one, part(quotas, state, i), now) == wanted);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_quotas quotas = some_quotas(&input);
    void *state = calloc(1, ps_quotas_bytes(&quotas));
    FUZZ_REQUIRE(state != NULL);
    int64_t now = fuzz_between(&input, 1000, 3000); /* waits are exact from the epochs on */
    for (unsigned steps = 0; input.left > 0 && steps < 200; steps++) {
        now += fuzz_take(&input, 1) % 4 ? (int64_t)fuzz_take(&input, 1) : (int64_t)fuzz_take(&input, 2);
        uint32_t n = (uint32_t)fuzz_between(&input, 1, quotas.most);
        switch (fuzz_take(&input, 1) % 8) {
        case 0: ps_quotas_refund(&quotas, state, now, n); break;
        case 1: start_anew(&quotas, state, now, &input); break;
        default: take(&quotas, state, now, n, &input);
        }
        FUZZ_REQUIRE(ps_quotas_check(&quotas, state));
        require_sums_up(&quotas, state, now, n);
        require_exact(&quotas, state, now, n);
    }
    ps_quotas_clear(&quotas, state, ALLOCATOR);
    free(state);
    return 0;
}
