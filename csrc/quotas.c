#include "quotas.h"

#include <string.h>

static bool slides(const ps_quotas *quotas) { return quotas->algorithm == PS_SLIDING_COUNTER; }

/* The state of quota `i`. */
static void *part(const ps_quotas *quotas, const void *state, unsigned i)
{
    return (char *)state + i * ps_quota_bytes(quotas->algorithm);
}

/* ---- one quota ---- */

static int64_t ticks(const ps_pace *pace, uint32_t n) { return n * pace->token; }

static bool fits(const ps_quotas *quotas, const void *state, unsigned i, int64_t now, uint32_t n)
{
    const ps_quota *quota = &quotas->quotas[i];
    const void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET:
        return ps_pace_take(&quota->pace, *(const int64_t *)own, ps_pace_tick(&quota->pace, now),
                            ticks(&quota->pace, n)) != PS_NOT_TAKEN;
    case PS_SLIDING_WINDOW: return ps_sliding_window_fits(own, &quota->window, now, n);
    default: return ps_window_counter_fits(own, &quota->window, slides(quotas), now, n);
    }
}

static ps_status take(const ps_quotas *quotas, void *state, unsigned i, int64_t now, uint32_t n,
                      ps_allocator allocator)
{
    const ps_quota *quota = &quotas->quotas[i];
    void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET: {
        int64_t *full_at = own;
        int64_t then = ps_pace_take(&quota->pace, *full_at, ps_pace_tick(&quota->pace, now),
                                    ticks(&quota->pace, n));
        if (then == PS_NOT_TAKEN) return PS_REFUSED;
        *full_at = then;
        return PS_OK;
    }
    case PS_SLIDING_WINDOW: return ps_sliding_window_take(own, &quota->window, now, n, allocator);
    default: return ps_window_counter_take(own, &quota->window, slides(quotas), now, n);
    }
}

static int64_t wait(const ps_quotas *quotas, const void *state, unsigned i, int64_t now, uint32_t n)
{
    const ps_quota *quota = &quotas->quotas[i];
    const void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET:
        return ps_pace_wait(&quota->pace, *(const int64_t *)own, now, ticks(&quota->pace, n));
    case PS_SLIDING_WINDOW: return ps_sliding_window_wait(own, &quota->window, now, n);
    default: return ps_window_counter_wait(own, &quota->window, slides(quotas), now, n);
    }
}

static int64_t reset(const ps_quotas *quotas, const void *state, unsigned i, int64_t now)
{
    const ps_quota *quota = &quotas->quotas[i];
    const void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET: /* when the whole depth is there again */
        return ps_pace_wait(&quota->pace, *(const int64_t *)own, now, quota->pace.depth);
    case PS_SLIDING_WINDOW: return ps_sliding_window_reset(own, &quota->window, now);
    default: return ps_window_counter_reset(own, &quota->window, slides(quotas), now);
    }
}

static uint32_t remaining(const ps_quotas *quotas, const void *state, unsigned i, int64_t now)
{
    const ps_quota *quota = &quotas->quotas[i];
    const void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET: {
        int64_t missing = *(const int64_t *)own - ps_pace_tick(&quota->pace, now);
        if (missing <= 0) return quota->limit;
        if (missing >= quota->pace.depth) return 0; /* more when the clock has gone back */
        return (uint32_t)((quota->pace.depth - missing) / quota->pace.token);
    }
    case PS_SLIDING_WINDOW: return quota->limit - ps_sliding_window_units(own, &quota->window, now);
    default: return quota->limit - ps_window_counter_units(own, &quota->window, slides(quotas), now);
    }
}

static void refund(const ps_quotas *quotas, void *state, unsigned i, int64_t now, uint32_t n)
{
    const ps_quota *quota = &quotas->quotas[i];
    void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET: {
        int64_t *full_at = own;
        int64_t given = ticks(&quota->pace, n);
        int64_t tick = ps_pace_tick(&quota->pace, now);
        if (*full_at > tick) *full_at = *full_at - tick > given ? *full_at - given : tick;
        break;
    }
    case PS_SLIDING_WINDOW: ps_sliding_window_refund(own, n); break;
    default: ps_window_counter_refund(own, &quota->window, slides(quotas), now, n);
    }
}

/* ---- all of them ---- */

bool ps_quotas_fit(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
{
    for (unsigned i = 0; i < quotas->count; i++)
        if (!fits(quotas, state, i, now, n)) return false;
    return true;
}

ps_status ps_quotas_take_units(const ps_quotas *quotas, void *state, int64_t now, uint32_t n,
                               ps_allocator allocator)
{
    if (!ps_quotas_fit(quotas, state, now, n)) return PS_REFUSED;
    for (unsigned i = 0; i < quotas->count; i++) {
        ps_status status = take(quotas, state, i, now, n, allocator);
        if (status == PS_OK) continue;
        while (i-- > 0) refund(quotas, state, i, now, n); /* no memory for this one: back with the others */
        return status;
    }
    return PS_OK;
}

int64_t ps_quotas_wait(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
{
    int64_t longest = 0;
    for (unsigned i = 0; i < quotas->count; i++) {
        int64_t own = wait(quotas, state, i, now, n);
        if (own > longest) longest = own;
    }
    return longest;
}

int64_t ps_quotas_reset(const ps_quotas *quotas, const void *state, int64_t now)
{
    int64_t longest = 0;
    for (unsigned i = 0; i < quotas->count; i++) {
        int64_t own = reset(quotas, state, i, now);
        if (own > longest) longest = own;
    }
    return longest;
}

bool ps_quotas_idle(const ps_quotas *quotas, const void *state, int64_t now)
{
    if (quotas->algorithm != PS_TOKEN_BUCKET) return ps_quotas_reset(quotas, state, now) == 0;
    const int64_t *full_at = state; /* without the division that a reset takes */
    for (unsigned i = 0; i < quotas->count; i++)
        if (full_at[i] > ps_pace_tick(&quotas->quotas[i].pace, now)) return false;
    return true;
}

ps_verdict ps_quotas_scarcest(const ps_quotas *quotas, const void *state, int64_t now)
{
    ps_verdict found = {0, remaining(quotas, state, 0, now), 0, 0};
    for (unsigned i = 1; i < quotas->count; i++) {
        uint32_t left = remaining(quotas, state, i, now);
        uint64_t share = (uint64_t)left * quotas->quotas[found.which].limit;
        if (share < (uint64_t)found.remaining * quotas->quotas[i].limit) {
            found.which = i;
            found.remaining = left;
        }
    }
    found.reset = reset(quotas, state, found.which, now);
    return found;
}

ps_verdict ps_quotas_tightest(const ps_quotas *quotas, const void *state, int64_t now, uint32_t n)
{
    ps_verdict found = {0, 0, 0, 0};
    for (unsigned i = 0; i < quotas->count; i++) {
        int64_t own = wait(quotas, state, i, now, n);
        if (own > found.retry) {
            found.which = i;
            found.retry = own;
        }
    }
    if (found.retry == 0) return ps_quotas_scarcest(quotas, state, now);
    found.remaining = remaining(quotas, state, found.which, now);
    found.reset = reset(quotas, state, found.which, now);
    return found;
}

uint32_t ps_quotas_used(const ps_quotas *quotas, const void *state, int64_t now)
{
    uint32_t most = 0;
    for (unsigned i = 0; i < quotas->count; i++) {
        uint32_t used = quotas->quotas[i].limit - remaining(quotas, state, i, now);
        if (used > most) most = used;
    }
    return most;
}

void ps_quotas_refund(const ps_quotas *quotas, void *state, int64_t now, uint32_t n)
{
    for (unsigned i = 0; i < quotas->count; i++) refund(quotas, state, i, now, n);
}

ps_status ps_quotas_charge(const ps_quotas *quotas, void *state, int64_t now, uint32_t used,
                           ps_allocator allocator)
{
    for (unsigned i = 0; i < quotas->count && used > 0; i++) {
        uint32_t limit = quotas->quotas[i].limit;
        if (take(quotas, state, i, now, used < limit ? used : limit, allocator) == PS_NO_MEMORY) {
            ps_quotas_clear(quotas, state, allocator);
            return PS_NO_MEMORY;
        }
    }
    return PS_OK;
}

void ps_quotas_clear(const ps_quotas *quotas, void *state, ps_allocator allocator)
{
    if (quotas->algorithm == PS_SLIDING_WINDOW)
        for (unsigned i = 0; i < quotas->count; i++) ps_sliding_window_free(part(quotas, state, i), allocator);
    memset(state, 0, ps_quotas_bytes(quotas));
}

size_t ps_quotas_owned(const ps_quotas *quotas, const void *state)
{
    if (quotas->algorithm != PS_SLIDING_WINDOW) return 0;
    size_t bytes = 0;
    for (unsigned i = 0; i < quotas->count; i++) {
        const ps_sliding_window *log = part(quotas, state, i);
        bytes += log->capacity * sizeof *log->moments;
    }
    return bytes;
}

static bool part_holds(const ps_quotas *quotas, const void *state, unsigned i)
{
    const ps_quota *quota = &quotas->quotas[i];
    const void *own = part(quotas, state, i);
    switch (quotas->algorithm) {
    case PS_TOKEN_BUCKET:
        return ps_pace_check(&quota->pace) && *(const int64_t *)own >= 0
            && quota->pace.depth == quota->limit * quota->pace.token;
    case PS_SLIDING_WINDOW:
        return quota->limit == quota->window.limit && ps_sliding_window_check(own, &quota->window);
    default:
        return quota->limit == quota->window.limit
            && ps_window_counter_check(own, &quota->window, slides(quotas));
    }
}

bool ps_quotas_check(const ps_quotas *quotas, const void *state)
{
    if (quotas->count < 1 || quotas->count > PS_QUOTAS_MAX) return false;
    for (unsigned i = 0; i < quotas->count; i++)
        if (quotas->quotas[i].limit < quotas->most || !part_holds(quotas, state, i)) return false;
    return true;
}
