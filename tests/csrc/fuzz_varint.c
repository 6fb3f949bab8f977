/* Varints at every level of the processor against reading them byte by byte; also where the bytes or the
 * values have changed since they were counted. */
#include "fuzz.h"
#include "varint.h"

#define MOST 640 /* bytes of one batch, and values */

/* The definition. */
static size_t read_simply(const uint8_t *at, size_t size, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < size && i < PS_VARINT_MOST; i++) {
        *value |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (at[i] < 0x80) return i + 1;
    }
    return 0;
}

/* Memory of exactly that size, so that the sanitizer sees whatever goes beyond it. */
static void *exactly(size_t size)
{
    void *memory = malloc(size);
    FUZZ_REQUIRE(memory != NULL || size == 0);
    return memory;
}

/* Bytes of which a share goes on, from none to nearly all: short varints, long ones, and what is none. */
static size_t compose(fuzz_input *input, uint8_t *bytes)
{
    unsigned share = (unsigned)fuzz_take(input, 1);
    bool endless = share % 4 == 0;
    size_t size = input->left < MOST ? input->left : MOST;
    unsigned more = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)fuzz_take(input, 1);
        bool goes_on = (byte * 7U & 0xff) < share;
        if (!endless && (++more == PS_VARINT_MOST || i + 1 == size)) goes_on = false;
        if (!goes_on) more = 0;
        bytes[i] = (uint8_t)((byte & 0x7f) | (goes_on ? 0x80 : 0));
    }
    return size;
}

static void require_zigzag(uint64_t word)
{
    int64_t number = ps_unzigzag64(word);
    FUZZ_REQUIRE(ps_zigzag64(number) == word);
    FUZZ_REQUIRE((number < 0) == (word & 1));
    FUZZ_REQUIRE(ps_zigzag32(ps_unzigzag32((uint32_t)word)) == (uint32_t)word);
    if (word <= UINT32_MAX) FUZZ_REQUIRE(ps_unzigzag32((uint32_t)word) == number);
}

static void require_single(const uint8_t *at, size_t size)
{
    uint64_t expected, value = 0x5555;
    size_t length = read_simply(at, size, &expected);
    const uint8_t *next = ps_varint_read(at, at + size, &value);
    if (length == 0) {
        FUZZ_REQUIRE(next == NULL && value == 0x5555);
        return;
    }
    FUZZ_REQUIRE(next == at + length && value == expected);
    uint8_t shortest[PS_VARINT_MOST];
    size_t written = (size_t)(ps_varint_write(shortest, value) - shortest);
    FUZZ_REQUIRE(written == (size_t)ps_varint_size(value) && written <= length);
    FUZZ_REQUIRE(read_simply(shortest, written, &expected) == written && expected == value);
    require_zigzag(value);
}

/* What a batch comes to, as `values`; what is none as its place. */
static bool count_simply(const uint8_t *bytes, size_t size, uint64_t *values, size_t *count, size_t *bad)
{
    *count = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = read_simply(bytes + at, size - at, &values[*count]);
        if (length == 0) {
            *bad = at;
            return false;
        }
        ++*count;
    }
    return true;
}

static void require_values(const uint8_t *bytes, size_t size, const uint64_t *values, size_t n)
{
    uint64_t *words = exactly(n * sizeof *words);
    uint32_t *halves = exactly(n * sizeof *halves);
    uint8_t *truths = exactly(n);
    for (int zigzag = 0; zigzag < 2; zigzag++) {
        FUZZ_REQUIRE(ps_varints_to_u64(bytes, size, zigzag, words, n));
        FUZZ_REQUIRE(ps_varints_to_u32(bytes, size, zigzag, halves, n));
        for (size_t i = 0; i < n; i++) {
            FUZZ_REQUIRE(words[i] == (zigzag ? (uint64_t)ps_unzigzag64(values[i]) : values[i]));
            uint32_t half = (uint32_t)values[i];
            FUZZ_REQUIRE(halves[i] == (zigzag ? (uint32_t)ps_unzigzag32(half) : half));
        }
    }
    FUZZ_REQUIRE(ps_varints_to_bool(bytes, size, truths, n));
    for (size_t i = 0; i < n; i++) FUZZ_REQUIRE(truths[i] == (values[i] != 0));
    free(words);
    free(halves);
    free(truths);
}

/* Bytes that are not n varints, as when they have changed: refused, or as many others, and nothing beyond. */
static void require_changed_bytes_to_do_no_harm(const uint8_t *bytes, size_t size, size_t n)
{
    uint64_t *words = exactly(n * sizeof *words);
    uint32_t *halves = exactly(n * sizeof *halves);
    uint8_t *truths = exactly(n);
    ps_varints_to_u64(bytes, size, false, words, n);
    ps_varints_to_u32(bytes, size, false, halves, n);
    ps_varints_to_bool(bytes, size, truths, n);
    free(words);
    free(halves);
    free(truths);
}

static void require_read(const uint8_t *bytes, size_t size, const uint8_t *other)
{
    static uint64_t values[MOST];
    size_t expected, expected_bad = 0, count = 0, bad = 0;
    bool fine = count_simply(bytes, size, values, &expected, &expected_bad);
    FUZZ_REQUIRE(ps_varints_count(bytes, size, &count, &bad) == fine);
    FUZZ_REQUIRE(bad == expected_bad);
    if (fine) {
        FUZZ_REQUIRE(count == expected);
        require_values(bytes, size, values, count);
        if (count > 0) FUZZ_REQUIRE(!ps_varints_to_bool(bytes, size, (uint8_t *)values, count - 1));
    }
    require_changed_bytes_to_do_no_harm(other, size, expected);
}

/* Writes into memory of exactly that size, and finds what is expected there. */
#define REQUIRE_WRITTEN(size_of, write, words, n) \
    do { \
        size_t needed = size_of; \
        uint8_t *octets = exactly(needed); \
        uint8_t *at = octets; \
        FUZZ_REQUIRE(write == octets + needed); \
        for (size_t i = 0; i < (n); i++) { \
            uint64_t found; \
            size_t length = read_simply(at, needed - (size_t)(at - octets), &found); \
            FUZZ_REQUIRE(length == (size_t)ps_varint_size(words) && found == (words)); \
            at += length; \
        } \
        FUZZ_REQUIRE(at == octets + needed); \
        free(octets); \
    } while (0)

static void require_written(const uint64_t *values, size_t n)
{
    int32_t *signed32 = exactly(n * sizeof *signed32);
    uint32_t *unsigned32 = exactly(n * sizeof *unsigned32);
    uint8_t *truths = exactly(n);
    for (size_t i = 0; i < n; i++) {
        unsigned32[i] = (uint32_t)values[i];
        signed32[i] = (int32_t)unsigned32[i];
        truths[i] = values[i] % 3 ? (uint8_t)values[i] : 0;
    }
    REQUIRE_WRITTEN(ps_varints_size_u64(values, n, false),
                    ps_varints_write_u64(octets, needed, values, n, false), values[i], n);
    REQUIRE_WRITTEN(ps_varints_size_u64(values, n, true),
                    ps_varints_write_u64(octets, needed, values, n, true), ps_zigzag64((int64_t)values[i]),
                    n);
    REQUIRE_WRITTEN(ps_varints_size_i32(signed32, n, false),
                    ps_varints_write_i32(octets, needed, signed32, n, false), (uint64_t)(int64_t)signed32[i],
                    n);
    REQUIRE_WRITTEN(ps_varints_size_i32(signed32, n, true),
                    ps_varints_write_i32(octets, needed, signed32, n, true), ps_zigzag32(signed32[i]), n);
    REQUIRE_WRITTEN(ps_varints_size_u32(unsigned32, n), ps_varints_write_u32(octets, needed, unsigned32, n),
                    unsigned32[i], n);
    REQUIRE_WRITTEN(n, (ps_varints_write_bool(octets, truths, n), octets + n), (uint64_t)(truths[i] != 0), n);
    free(signed32);
    free(unsigned32);
    free(truths);
}

/* Values that were smaller when they were sized: NULL, and nothing beyond. */
static void require_grown_values_to_be_refused(const uint64_t *values, size_t n)
{
    size_t needed = ps_varints_size_u64(values, n, false);
    if (needed == n) return;
    for (size_t room = n; room < needed; room += 1 + (needed - n) / 4) {
        uint8_t *octets = exactly(room);
        FUZZ_REQUIRE(ps_varints_write_u64(octets, room, values, n, false) == NULL);
        free(octets);
    }
}

static size_t compose_values(fuzz_input *input, uint64_t *values)
{
    size_t n = 0;
    unsigned widest = 1 + (unsigned)fuzz_take(input, 1) % 64;
    for (; input->left > 0 && n < MOST; n++) {
        unsigned width = 1 + (unsigned)fuzz_take(input, 1) % widest;
        values[n] = fuzz_take(input, (width + 7) / 8) & (UINT64_MAX >> (64 - width));
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t composed[MOST];
    static uint64_t values[MOST];
    fuzz_input input = {data, size};
    size_t composed_size = compose(&input, composed);
    uint8_t *bytes = exactly(composed_size);
    if (composed_size > 0) memcpy(bytes, composed, composed_size);
    fuzz_input value_input = {data, size};
    size_t n = compose_values(&value_input, values);

    ps_varint_level best = ps_varint_used();
    for (ps_varint_level level = PS_VARINT_PLAIN; level < PS_VARINT_LEVELS; level++) {
        if (!ps_varint_use(level)) continue;
        FUZZ_REQUIRE(ps_varint_used() == level);
        require_read(bytes, composed_size, data);
        require_written(values, n);
        require_grown_values_to_be_refused(values, n);
    }
    FUZZ_REQUIRE(ps_varint_use(best));
    for (size_t i = 0; i < composed_size; i += 1 + i / 8) require_single(bytes + i, composed_size - i);
    free(bytes);
    return 0;
}
