/* The sort against insertion, with keys that differ in few or many digits, and an allocator that fails. */
#include "fuzz.h"
#include "radix_sort.h"

#define MOST 600

static int room_is_left;

static void *resize(void *memory, size_t size) { return room_is_left ? realloc(memory, size) : NULL; }

static const ps_allocator ALLOCATOR = {resize, free};

static int64_t some_key(fuzz_input *input, unsigned kind)
{
    uint64_t low = fuzz_take(input, 1);
    switch (kind) {
    case 0: return (int64_t)(low % 4) - 2;                                        /* few, around 0 */
    case 1: return (int64_t)(low << 8 * (fuzz_take(input, 1) % 8));               /* one digit is not 0 */
    case 2: return low % 2 ? INT64_MAX - (int64_t)low : INT64_MIN + (int64_t)low; /* the ends */
    case 3: return (int64_t)(low | UINT64_C(0x4142434445460000));                 /* digits in common */
    default: return (int64_t)(low << 56 | fuzz_take(input, 7));
    }
}

/* Sorts the slow way; values tell where each key was, so they ascend among equal keys. */
static void expect(int64_t *keys, uint64_t *values, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t at = i; at > 0 && keys[at - 1] > keys[at]; at--) {
            int64_t key = keys[at];
            uint64_t value = values[at];
            keys[at] = keys[at - 1], values[at] = values[at - 1];
            keys[at - 1] = key, values[at - 1] = value;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    unsigned kind = (unsigned)fuzz_take(&input, 1) % 5;
    size_t most = fuzz_take(&input, 1) % 2 ? 40 : MOST;
    size_t n = (size_t)fuzz_take(&input, 2) % (most + 1);
    int64_t expected_keys[MOST];
    uint64_t expected_values[MOST];
    int64_t *keys = malloc(n * sizeof *keys), *alone = malloc(n * sizeof *alone); /* exact: one too many is an error */
    uint64_t *values = malloc(n * sizeof *values);
    FUZZ_REQUIRE(n == 0 || (keys && alone && values));
    for (size_t i = 0; i < n; i++) {
        keys[i] = alone[i] = expected_keys[i] = some_key(&input, kind);
        values[i] = expected_values[i] = (uint64_t)i;
    }
    expect(expected_keys, expected_values, n);

    room_is_left = 0;
    ps_status status = ps_radix_sort(keys, values, n, ALLOCATOR);
    if (status == PS_NO_MEMORY) {
        for (size_t i = 0; i < n; i++) FUZZ_REQUIRE(keys[i] == alone[i] && values[i] == i);
        room_is_left = 1;
        status = ps_radix_sort(keys, values, n, ALLOCATOR);
    }
    FUZZ_REQUIRE(status == PS_OK);
    FUZZ_REQUIRE(n == 0 || memcmp(keys, expected_keys, n * sizeof *keys) == 0);
    FUZZ_REQUIRE(n == 0 || memcmp(values, expected_values, n * sizeof *values) == 0);
    room_is_left = 1;
    FUZZ_REQUIRE(ps_radix_sort(alone, NULL, n, ALLOCATOR) == PS_OK);
    FUZZ_REQUIRE(n == 0 || memcmp(alone, expected_keys, n * sizeof *alone) == 0);
    room_is_left = 0; /* what is in order needs no room */
    FUZZ_REQUIRE(ps_radix_sort(keys, values, n, ALLOCATOR) == PS_OK);
    free(keys), free(alone), free(values);
    return 0;
}
