/* Histogram under any values, limits and bytes: its own rules, the counts by their definition, its encoding. */
#include <math.h>

#include "fuzz.h"
#include "histogram.h"

#define MOST_VALUES 600

static int failures; /* allocations that are still to succeed; below 0: all do */

static void *resize(void *memory, size_t size)
{
    if (failures == 0) return NULL;
    if (failures > 0) failures--;
    return realloc(memory, size);
}

static const ps_allocator memory = {resize, free};

static int64_t values[MOST_VALUES]; /* all that was recorded, while that is few; sorted when asked for */
static size_t n_values;
static bool all_known;

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void remember(int64_t value, int64_t n)
{
    if (n > (int64_t)(MOST_VALUES - n_values)) all_known = false;
    for (int64_t i = 0; all_known && i < n; i++) values[n_values++] = value;
}

static int64_t draw_value(fuzz_input *input, const ps_histogram *histogram)
{
    switch (fuzz_take(input, 1) % 8) {
    case 0: return fuzz_between(input, INT64_MIN, INT64_MAX);
    case 1: return ps_histogram_limit(histogram) - fuzz_between(input, 0, 1);
    case 2: return fuzz_between(input, 0, 3);
    default: return fuzz_between(input, 0, ps_histogram_limit(histogram)) >> (fuzz_take(input, 1) % 63);
    }
}

static bool init(fuzz_input *input, ps_histogram *histogram)
{
    int64_t lowest = fuzz_between(input, 0, 4), highest = fuzz_between(input, 0, INT64_MAX);
    if (fuzz_take(input, 1) % 4 == 0) lowest = fuzz_between(input, INT64_MIN, INT64_MAX);
    highest >>= fuzz_take(input, 1) % 56;
    int digits = (int)fuzz_between(input, 0, fuzz_take(input, 1) % 16 == 0 ? 6 : 3);
    failures = fuzz_take(input, 1) % 16 == 0 ? 0 : -1;
    ps_status status = ps_histogram_init(histogram, lowest, highest, digits, memory);
    if (status != PS_OK) {
        FUZZ_REQUIRE(histogram->counts == NULL);
        FUZZ_REQUIRE(status == PS_REFUSED || failures == 0);
        FUZZ_REQUIRE(status == PS_NO_MEMORY || lowest < 1 || highest / 2 < lowest || digits < 1 || digits > 5
                     || lowest >= INT64_C(1) << 44);
    }
    failures = -1;
    return status == PS_OK;
}

static void record(fuzz_input *input, ps_histogram *histogram)
{
    int64_t value = draw_value(input, histogram), total = histogram->total;
    int64_t n = fuzz_take(input, 1) % 8 == 0 ? fuzz_between(input, INT64_MIN, INT64_MAX) : 1;
    ps_status status = ps_histogram_record_n(histogram, value, n);
    bool fits = value >= 0 && value <= ps_histogram_limit(histogram) && n >= 0 && n <= INT64_MAX - total;
    FUZZ_REQUIRE((status == PS_OK) == fits);
    FUZZ_REQUIRE(histogram->total == (fits ? total + n : total));
    if (!fits) return;
    int64_t slot = ps_histogram_slot(histogram, value);
    FUZZ_REQUIRE(ps_histogram_bottom(histogram, slot) <= value && value <= ps_histogram_top(histogram, slot));
    remember(value, n);
}

static void record_many(fuzz_input *input, ps_histogram *histogram)
{
    int64_t batch[20];
    size_t n = (size_t)fuzz_between(input, 0, 20), done = 0, refused = n;
    for (size_t i = 0; i < n; i++) {
        batch[i] = draw_value(input, histogram);
        if (refused == n && (batch[i] < 0 || batch[i] > ps_histogram_limit(histogram))) refused = i;
    }
    int64_t total = histogram->total;
    ps_status status = ps_histogram_record_many(histogram, batch, n, &done);
    FUZZ_REQUIRE(done == refused);
    FUZZ_REQUIRE((status == PS_OK) == (refused == n && (int64_t)n <= INT64_MAX - total));
    if (status != PS_OK) FUZZ_REQUIRE(histogram->total == total);
    for (size_t i = 0; status == PS_OK && i < n; i++) remember(batch[i], 1);
}

/* Slot by slot, as it is done, or value by value: as long as that is quick. */
static void record_corrected(fuzz_input *input, ps_histogram *histogram)
{
    int64_t value = draw_value(input, histogram), total = histogram->total;
    int64_t interval = fuzz_between(input, -2, INT64_MAX) >> (fuzz_take(input, 1) % 64);
    bool fits = value >= 0 && value <= ps_histogram_limit(histogram);
    int64_t times = fits && interval > 0 && value > interval ? value / interval : 1;
    fits = fits && times <= INT64_MAX - total;
    FUZZ_REQUIRE((ps_histogram_record_corrected(histogram, value, 1, interval) == PS_OK) == fits);
    FUZZ_REQUIRE(histogram->total == (fits ? total + times : total));
    if (!fits) return;
    if (times > MOST_VALUES) all_known = false;
    else
        for (int64_t i = 0; i < times; i++) remember(value - i * interval, 1);
}

static void require_answers(ps_histogram *histogram)
{
    double mean = NAN, deviation = NAN;
    int64_t value = -1;
    ps_status expected = histogram->total == 0 ? PS_EMPTY : PS_OK;
    FUZZ_REQUIRE(ps_histogram_mean(histogram, &mean) == expected);
    FUZZ_REQUIRE(ps_histogram_deviation(histogram, &deviation) == expected);
    FUZZ_REQUIRE(ps_histogram_percentile(histogram, 0.5, &value) == expected);
    if (expected == PS_OK) FUZZ_REQUIRE(mean >= 0 && deviation >= 0 && value >= 0);
    if (!all_known) return;

    FUZZ_REQUIRE(histogram->total == (int64_t)n_values);
    qsort(values, n_values, sizeof *values, by_value);
    for (size_t i = 0; i < n_values; i += 1 + n_values / 7) {
        double share = (double)(i + 1) / (double)n_values;
        FUZZ_REQUIRE(ps_histogram_percentile(histogram, share, &value) == PS_OK);
        int64_t slot = ps_histogram_slot(histogram, values[i]);
        FUZZ_REQUIRE(value == ps_histogram_top(histogram, slot));
        size_t upto = i + 1;
        while (upto < n_values && ps_histogram_slot(histogram, values[upto]) == slot) upto++;
        FUZZ_REQUIRE(ps_histogram_count_to(histogram, values[i]) == (int64_t)upto);
    }
}

static void require_same(const ps_histogram *histogram, const ps_histogram *other)
{
    FUZZ_REQUIRE(histogram->total == other->total);
    FUZZ_REQUIRE(histogram->first == other->first && histogram->last == other->last);
    FUZZ_REQUIRE(memcmp(histogram->counts, other->counts, (size_t)histogram->length * sizeof(int64_t)) == 0);
}

static void copy_and_code(const ps_histogram *histogram)
{
    ps_histogram copy;
    FUZZ_REQUIRE(ps_histogram_init(&copy, histogram->lowest, histogram->highest, histogram->digits, memory)
                 == PS_OK);
    FUZZ_REQUIRE(ps_histogram_snapshot(histogram, &copy) == PS_OK);
    require_same(histogram, &copy);

    size_t size = ps_histogram_encoded_size(histogram);
    uint8_t *bytes = malloc(size); /* exactly so much: one byte more is an error that the sanitizer sees */
    ps_histogram_encode(histogram, bytes);
    ps_histogram_reset(&copy);
    FUZZ_REQUIRE(ps_histogram_decode(&copy, bytes, size) == PS_OK);
    require_same(histogram, &copy);
    free(bytes);

    ps_histogram_reset(&copy);
    FUZZ_REQUIRE(ps_histogram_merge(&copy, histogram) == PS_OK);
    require_same(histogram, &copy);
    ps_histogram_free(&copy);
    ps_histogram_free(&copy);
}

static void merge_into_another(fuzz_input *input, const ps_histogram *histogram)
{
    ps_histogram other;
    if (!init(input, &other)) return;
    bool fits = histogram->last < 0
             || ps_histogram_top(histogram, histogram->last) <= ps_histogram_limit(&other);
    FUZZ_REQUIRE((ps_histogram_merge(&other, histogram) == PS_OK) == fits);
    FUZZ_REQUIRE(other.total == (fits ? histogram->total : 0));
    FUZZ_REQUIRE(ps_histogram_check(&other));
    ps_histogram_merge_corrected(&other, histogram, fuzz_between(input, 1, INT64_MAX) >> (fuzz_take(input, 1) % 63));
    FUZZ_REQUIRE(ps_histogram_check(&other));
    ps_histogram_free(&other);
}

/* Bytes of anybody: counted whole, or nothing is. */
static void decode_anything(fuzz_input *input, ps_histogram *histogram)
{
    size_t size = (size_t)fuzz_between(input, 0, 40);
    if (size > input->left) size = input->left;
    ps_status status = ps_histogram_decode(histogram, input->bytes, size);
    FUZZ_REQUIRE(status == PS_OK || (status == PS_REFUSED && histogram->total == 0));
    if (status != PS_OK) n_values = 0;
    all_known = status != PS_OK;
    input->bytes += size;
    input->left -= size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size < 300 ? size : 300};
    ps_histogram histogram;
    n_values = 0;
    all_known = true;
    if (!init(&input, &histogram)) return 0;
    FUZZ_REQUIRE(ps_histogram_check(&histogram));
    while (input.left > 0) {
        switch (fuzz_take(&input, 1) % 32) {
        case 0: copy_and_code(&histogram); break;
        case 1: merge_into_another(&input, &histogram); break;
        case 2: decode_anything(&input, &histogram); break;
        case 3:
            ps_histogram_reset(&histogram);
            n_values = 0;
            all_known = true;
            break;
        case 4: case 5: case 6: record_many(&input, &histogram); break;
        case 7: case 8: case 9: record_corrected(&input, &histogram); break;
        default: record(&input, &histogram);
        }
    }
    FUZZ_REQUIRE(ps_histogram_check(&histogram));
    require_answers(&histogram);
    copy_and_code(&histogram);
    ps_histogram_free(&histogram);
    return 0;
}
