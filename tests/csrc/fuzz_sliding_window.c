/* The log of hits against the list of all of them, in 128-bit arithmetic, on any clock and with an
 * allocator that fails. */
#include "fuzz.h"
#include "sliding_window.h"

#define MOST 4096 /* hits: an input has fewer bytes */

typedef struct {
    __int128 moment;
    uint32_t units;
} hit;

typedef struct {
    hit hits[MOST]; /* all that were taken and not given back, in order */
    size_t size;
    __int128 latest;
} model;

static uint64_t allocations_left;
static bool denied;

static void *resize(void *memory, size_t size)
{
    denied = allocations_left == 0 || size > (1 << 20);
    if (denied) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};

/* Where clock `now` stands; beyond INT64_MAX too, so that any wait can be looked at. */
static __int128 moment_at(const ps_window *window, int64_t now)
{
    __int128 elapsed = (__int128)now - window->epoch;
    __int128 most = (__int128)1 << 61;
    return elapsed < 0 ? 0 : elapsed > most ? most : elapsed;
}

static __int128 units_by_definition(const model *expected, const ps_window *window, __int128 moment)
{
    if (moment < expected->latest) moment = expected->latest;
    __int128 units = 0;
    for (size_t i = 0; i < expected->size; i++)
        if (expected->hits[i].moment >= moment - window->period) units += expected->hits[i].units;
    return units;
}

static void give_back(model *expected, __int128 units)
{
    while (units > 0 && expected->size > 0) {
        hit *newest = &expected->hits[expected->size - 1];
        uint32_t taken = units < newest->units ? (uint32_t)units : newest->units;
        newest->units -= taken;
        units -= taken;
        if (newest->units == 0) expected->size--;
    }
}

/* The promise: no stretch of a period holds more than the limit. */
static void require_limited(const model *expected, const ps_window *window)
{
    for (size_t last = 0; last < expected->size; last++) {
        __int128 units = 0, start = expected->hits[last].moment - window->period;
        for (size_t i = last + 1; i-- > 0 && expected->hits[i].moment >= start;)
            units += expected->hits[i].units;
        FUZZ_REQUIRE(units <= window->limit);
    }
}

static void require_same(const ps_sliding_window *log, const model *expected, const ps_window *window,
                         int64_t now, uint32_t n)
{
    __int128 moment = moment_at(window, now);
    __int128 units = units_by_definition(expected, window, moment);
    FUZZ_REQUIRE(ps_sliding_window_units(log, window, now)
                 == (units < window->limit ? units : window->limit));

    int64_t wait = ps_sliding_window_wait(log, window, now, n);
    FUZZ_REQUIRE(wait >= 0);
    FUZZ_REQUIRE(units_by_definition(expected, window, moment + wait) + n <= window->limit);
    FUZZ_REQUIRE(wait == 0 || units_by_definition(expected, window, moment + wait - 1) + n > window->limit);
    FUZZ_REQUIRE(ps_sliding_window_fits(log, window, now, n) == (wait == 0));

    int64_t reset = ps_sliding_window_reset(log, window, now);
    FUZZ_REQUIRE(reset >= 0);
    FUZZ_REQUIRE(units_by_definition(expected, window, moment + reset) == 0);
    FUZZ_REQUIRE(reset == 0 || units_by_definition(expected, window, moment + reset - 1) > 0);
}

static void take(ps_sliding_window *log, model *expected, const ps_window *window, int64_t now, uint32_t n,
                 uint64_t allocations)
{
    ps_sliding_window before = *log;
    bool fits = units_by_definition(expected, window, moment_at(window, now)) + n <= window->limit;
    allocations_left = allocations;
    denied = false;
    ps_status status = ps_sliding_window_take(log, window, now, n, ALLOCATOR);
    FUZZ_REQUIRE(status == (!fits ? PS_REFUSED : denied ? PS_NO_MEMORY : PS_OK));
    if (status != PS_OK) {
        FUZZ_REQUIRE(memcmp(&before, log, sizeof before) == 0);
        return;
    }
    __int128 moment = moment_at(window, now);
    if (moment > expected->latest) expected->latest = moment;
    FUZZ_REQUIRE(expected->size < MOST);
    expected->hits[expected->size++] = (hit){expected->latest, n};
}

/* Mostly a step of up to two periods, sometimes to one nanosecond beside the end of a hit, or anywhere. */
static int64_t next_clock(fuzz_input *input, const model *expected, const ps_window *window, int64_t now)
{
    uint64_t choice = fuzz_take(input, 1);
    if (choice % 16 == 0) return fuzz_between(input, INT64_MIN, INT64_MAX);
    __int128 step = fuzz_between(input, -window->period / 8, 2 * window->period >> choice / 16);
    __int128 then = now + step;
    if (choice % 4 == 1 && expected->size > 0) {
        size_t which = fuzz_take(input, 1) % expected->size;
        then = expected->hits[which].moment + window->epoch + window->period + (int64_t)(choice / 4 % 3);
    }
    return then < INT64_MIN ? INT64_MIN : then > INT64_MAX ? INT64_MAX : (int64_t)then;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    int64_t most = fuzz_take(&input, 1) % 8 == 0 ? PS_WINDOW_MAX_LIMIT : 40;
    ps_window window = {
        fuzz_between(&input, 1, INT64_C(1) << fuzz_between(&input, 0, 60)),
        fuzz_between(&input, INT64_MIN, INT64_MAX),
        (uint32_t)fuzz_between(&input, 1, most),
    };
    int64_t now = window.epoch;
    ps_sliding_window log = {0};
    static model expected;
    expected = (model){.size = 0};

    while (input.left > 0) {
        uint64_t choice = fuzz_take(&input, 1);
        if (choice % 2 == 0) now = next_clock(&input, &expected, &window, now);
        uint32_t largest = choice % 8 < 6 && window.limit > 3 ? 3 : window.limit;
        uint32_t n = (uint32_t)fuzz_between(&input, 1, largest);
        switch (choice / 8 % 16) {
        case 0:
            ps_sliding_window_refund(&log, n);
            give_back(&expected, n);
            break;
        case 1:
            if (choice % 8 == 1) {
                ps_sliding_window_free(&log, ALLOCATOR);
                expected = (model){.size = 0};
            }
            break;
        case 2: { /* a lower limit for one call: hits stay, and none is let off */
            ps_window lower = window;
            lower.limit = 1 + window.limit / 2;
            if (n <= lower.limit) require_same(&log, &expected, &lower, now, n);
            break;
        }
        default: take(&log, &expected, &window, now, n, choice % 8);
        }
        require_same(&log, &expected, &window, now, n);
        FUZZ_REQUIRE(ps_sliding_window_check(&log, &window));
    }
    require_limited(&expected, &window);
    ps_sliding_window_free(&log, ALLOCATOR);
    FUZZ_REQUIRE(ps_sliding_window_check(&log, &window));
    return 0;
}
