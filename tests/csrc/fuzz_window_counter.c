/* The counter against the list of all hits, in 128-bit arithmetic and on any clock; and the error bound that
 * its header proves. */
#include "fuzz.h"
#include "window_counter.h"

#define MOST 4096 /* hits: an input has fewer bytes */

typedef struct {
    __int128 moment;
    uint32_t units;
} hit;

typedef struct {
    hit hits[MOST]; /* all that were taken and not given back, in the order of calls */
    size_t size;
    __int128 number; /* the newest window in which anything was taken */
} model;

static __int128 moment_at(const ps_window *window, int64_t now)
{
    __int128 elapsed = (__int128)now - window->epoch;
    __int128 most = (__int128)1 << 61;
    return elapsed < 0 ? 0 : elapsed > most ? most : elapsed;
}

/* A clock behind the newest window stands at its start. */
static __int128 standing_at(const model *expected, const ps_window *window, __int128 moment)
{
    __int128 start = expected->number * window->period;
    return moment > start ? moment : start;
}

static __int128 units_of(const model *expected, const ps_window *window, __int128 number)
{
    __int128 units = 0;
    for (size_t i = 0; i < expected->size; i++)
        if (expected->hits[i].moment / window->period == number) units += expected->hits[i].units;
    return units;
}

/* The units that count at `moment`, times the period. */
static __int128 counted(const model *expected, const ps_window *window, bool slides, __int128 moment)
{
    moment = standing_at(expected, window, moment);
    __int128 number = moment / window->period;
    __int128 units = units_of(expected, window, number) * window->period;
    if (slides && number > 0)
        units += units_of(expected, window, number - 1) * (window->period - moment % window->period);
    return units;
}

static bool fits(const model *expected, const ps_window *window, bool slides, __int128 moment, uint32_t n)
{
    return counted(expected, window, slides, moment) + (__int128)n * window->period
        <= (__int128)window->limit * window->period;
}

/* Units of the newest window go, the newest first. */
static void give_back(model *expected, const ps_window *window, __int128 moment, uint32_t units)
{
    if (standing_at(expected, window, moment) / window->period != expected->number) return;
    while (units > 0 && expected->size > 0) {
        hit *newest = &expected->hits[expected->size - 1];
        if (newest->moment / window->period != expected->number) return;
        uint32_t taken = units < newest->units ? units : newest->units;
        newest->units -= taken;
        units -= taken;
        if (newest->units == 0) expected->size--;
    }
}

/* Both halves of the promise: windows of the grid, and all others. */
static void require_bounded(const model *expected, const ps_window *window, bool slides)
{
    for (size_t first = 0; first < expected->size; first++) {
        __int128 start = expected->hits[first].moment, units = 0;
        FUZZ_REQUIRE(units_of(expected, window, start / window->period) <= window->limit);
        for (size_t i = 0; i < expected->size; i++) {
            __int128 moment = expected->hits[i].moment;
            if (start <= moment && moment <= start + window->period) units += expected->hits[i].units;
        }
        FUZZ_REQUIRE(units < 2 * (__int128)window->limit + !slides);
    }
}

static void require_same(const ps_window_counter *counter, const model *expected, const ps_window *window,
                         bool slides, int64_t now, uint32_t n)
{
    __int128 moment = moment_at(window, now);
    __int128 units = (counted(expected, window, slides, moment) + window->period - 1) / window->period;
    FUZZ_REQUIRE(ps_window_counter_units(counter, window, slides, now)
                 == (units < window->limit ? units : window->limit));

    int64_t wait = ps_window_counter_wait(counter, window, slides, now, n);
    FUZZ_REQUIRE(wait >= 0);
    FUZZ_REQUIRE(fits(expected, window, slides, moment + wait, n));
    FUZZ_REQUIRE(wait == 0 || !fits(expected, window, slides, moment + wait - 1, n));
    FUZZ_REQUIRE(ps_window_counter_fits(counter, window, slides, now, n) == (wait == 0));

    int64_t reset = ps_window_counter_reset(counter, window, slides, now);
    FUZZ_REQUIRE(reset >= 0);
    FUZZ_REQUIRE(counted(expected, window, slides, moment + reset) == 0);
    FUZZ_REQUIRE(reset == 0 || counted(expected, window, slides, moment + reset - 1) > 0);
}

static void take(ps_window_counter *counter, model *expected, const ps_window *window, bool slides,
                 int64_t now, uint32_t n)
{
    ps_window_counter before = *counter;
    __int128 moment = moment_at(window, now);
    bool expects = fits(expected, window, slides, moment, n);
    ps_status status = ps_window_counter_take(counter, window, slides, now, n);
    FUZZ_REQUIRE(status == (expects ? PS_OK : PS_REFUSED));
    if (status == PS_REFUSED) {
        FUZZ_REQUIRE(memcmp(&before, counter, sizeof before) == 0);
        return;
    }
    moment = standing_at(expected, window, moment);
    expected->number = moment / window->period;
    FUZZ_REQUIRE(expected->size < MOST);
    expected->hits[expected->size++] = (hit){moment, n};
}

/* Mostly a step of up to two periods, sometimes to the nanoseconds around a border, or anywhere. */
static int64_t next_clock(fuzz_input *input, const model *expected, const ps_window *window, int64_t now)
{
    uint64_t choice = fuzz_take(input, 1);
    if (choice % 32 == 0) return fuzz_between(input, INT64_MIN, INT64_MAX);
    __int128 step = fuzz_between(input, -window->period / 8, 2 * window->period >> choice / 16);
    __int128 then = now + step;
    if (choice % 4 == 1)
        then = (expected->number + 1 + choice / 128) * window->period + window->epoch
             + (int64_t)(choice / 4 % 4) - 2;
    return then < INT64_MIN ? INT64_MIN : then > INT64_MAX ? INT64_MAX : (int64_t)then;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    bool slides = fuzz_take(&input, 1) % 4 != 0;
    int64_t most = fuzz_take(&input, 1) % 4 == 0 ? PS_WINDOW_MAX_LIMIT : 40;
    ps_window window = {
        fuzz_between(&input, 1, INT64_C(1) << fuzz_between(&input, 0, 60)),
        fuzz_between(&input, INT64_MIN, INT64_MAX),
        (uint32_t)fuzz_between(&input, 1, most),
    };
    int64_t now = window.epoch;
    ps_window_counter counter = {0};
    static model expected;
    expected = (model){.size = 0};

    while (input.left > 0) {
        uint64_t choice = fuzz_take(&input, 1);
        if (choice % 2 == 0) now = next_clock(&input, &expected, &window, now);
        uint32_t n = (uint32_t)fuzz_between(&input, 1, choice % 8 < 6 ? 1 + window.limit / 8 : window.limit);
        switch (choice / 8 % 16) {
        case 0:
            ps_window_counter_refund(&counter, &window, slides, now, n);
            give_back(&expected, &window, moment_at(&window, now), n);
            break;
        case 1: { /* a lower limit for one call: hits stay, and none is let off */
            ps_window lower = window;
            lower.limit = 1 + window.limit / 2;
            if (n <= lower.limit) require_same(&counter, &expected, &lower, slides, now, n);
            break;
        }
        default: take(&counter, &expected, &window, slides, now, n);
        }
        require_same(&counter, &expected, &window, slides, now, n);
        FUZZ_REQUIRE(ps_window_counter_check(&counter, &window, slides));
    }
    require_bounded(&expected, &window, slides);
    return 0;
}
