/* Every batch against the keys one by one, on memory of exactly their size, for every kind of hash. */
#include "fuzz.h"
#include "key_hash.h"

#define MOST 64 /* keys, and bytes of one */

static ps_key_hash any_hash(fuzz_input *input)
{
    ps_key_hash hash = {0};
    hash.kind = (ps_hash_kind)(fuzz_take(input, 1) % PS_HASH_KINDS);
    hash.shift = 64 - ps_key_hash_bits(hash.kind);
    if (hash.kind <= PS_HASH_MURMUR3_32) hash.seed = fuzz_take(input, hash.kind == PS_HASH_MURMUR3_32 ? 4 : 8);
    return hash;
}

static uint8_t *room_for(size_t size)
{
    uint8_t *room = malloc(size);
    FUZZ_REQUIRE(size == 0 || room != NULL);
    return room;
}

/* Keys of any size, in any order. */
static void require_same_of_many(const ps_key_hash *hash, fuzz_input *input)
{
    ps_key keys[MOST] = {{0}};
    uint64_t positions[MOST];
    size_t n = (size_t)fuzz_take(input, 1) % (MOST + 1);
    for (size_t i = 0; i < n; i++) {
        size_t size = (size_t)fuzz_take(input, 1) % MOST;
        uint8_t *bytes = room_for(size);
        for (size_t at = 0; at < size; at++) bytes[at] = (uint8_t)fuzz_take(input, 1);
        keys[i] = (ps_key){bytes, size, n - 1 - i};
    }
    ps_key_hash_many(hash, keys, n, positions);
    for (size_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(positions[n - 1 - i] == ps_key_hash_position(hash, keys[i].bytes, keys[i].size));
        if (ps_key_hash_is_short(hash, keys[i].size))
            FUZZ_REQUIRE(positions[n - 1 - i] == ps_xxh3_64_short(keys[i].bytes, keys[i].size, hash->seed));
        if (hash->shift > 0) FUZZ_REQUIRE(positions[n - 1 - i] << (64 - hash->shift) == 0);
        free((void *)keys[i].bytes);
    }
}

/* Every other item, or all of them backwards. */
static void require_same_of_padded(const ps_key_hash *hash, fuzz_input *input)
{
    uint64_t positions[MOST];
    size_t n = 1 + (size_t)fuzz_take(input, 1) % MOST, width = (size_t)fuzz_take(input, 1) % 24;
    bool backwards = fuzz_take(input, 1) % 2;
    size_t step = backwards ? width : 2 * width;
    uint8_t *items = room_for((n - 1) * step + width);
    for (size_t i = 0; i < (n - 1) * step + width; i++) {
        uint8_t byte = (uint8_t)fuzz_take(input, 1);
        items[i] = byte % 4 == 0 ? 0 : byte;
    }
    const uint8_t *first = backwards ? items + (n - 1) * step : items;
    ptrdiff_t stride = backwards ? -(ptrdiff_t)step : (ptrdiff_t)step;
    ps_key_hash_padded(hash, first, stride, width, n, positions);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *item = first + (ptrdiff_t)i * stride;
        size_t size = width;
        while (size > 0 && item[size - 1] == 0) size--;
        FUZZ_REQUIRE(positions[i] == ps_key_hash_position(hash, item, size));
    }
    free(items);
}

static uint32_t any_point(fuzz_input *input)
{
    static const uint32_t borders[] = {0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff,
                                       0x10000, 0x10ffff, 0x110000, 0xffffffff};
    uint64_t choice = fuzz_take(input, 1);
    if (choice % 32 == 0) return borders[choice / 32 + fuzz_take(input, 1) % 7];
    return (uint32_t)(fuzz_take(input, 4) >> choice % 28) % 0x110000;
}

/* UTF-8 as its definition has it: the fewest bytes whose bits are enough. 0 for what has none. */
static size_t encoded(uint32_t point, uint8_t out[4])
{
    static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
    size_t size = point > 0xffff ? 4 : point > 0x7ff ? 3 : point > 0x7f ? 2 : 1;
    for (size_t i = size; i-- > 1; point >>= 6) out[i] = (uint8_t)(0x80 | (point & 0x3f));
    out[0] = (uint8_t)(leads[size] | point);
    return size;
}

static void require_same_of_text(const ps_key_hash *hash, fuzz_input *input)
{
    uint32_t points[MOST * 8];
    uint64_t positions[MOST];
    uint8_t expected[32];
    size_t n = 1 + (size_t)fuzz_take(input, 1) % MOST, width = (size_t)fuzz_take(input, 1) % 9, done = 99;
    for (size_t i = 0; i < n * width; i++) points[i] = any_point(input);
    uint8_t *items = room_for(4 * n * width), *room = room_for(4 * width);
    if (width > 0) memcpy(items, points, 4 * n * width);
    ps_status status = ps_key_hash_text(hash, items, (ptrdiff_t)(4 * width), width, n, room, positions, &done);
    for (size_t i = 0; i < n; i++) {
        size_t used = width, size = 0;
        while (used > 0 && points[i * width + used - 1] == 0) used--;
        for (size_t at = 0; at < used; at++) {
            size_t step = encoded(points[i * width + at], expected + size);
            if (step == 0) {
                FUZZ_REQUIRE(status == PS_REFUSED && done == i);
                goto over;
            }
            size += step;
        }
        FUZZ_REQUIRE(positions[i] == ps_key_hash_position(hash, expected, size));
    }
    FUZZ_REQUIRE(status == PS_OK && done == n);
over:
    free(items);
    free(room);
}

static void require_same_of_words(const ps_key_hash *hash, fuzz_input *input)
{
    uint64_t words[MOST] = {0}, positions[MOST];
    uint8_t bytes[8];
    size_t n = (size_t)fuzz_take(input, 1) % (MOST + 1);
    for (size_t i = 0; i < n; i++) words[i] = fuzz_take(input, 8);
    ps_key_hash_words(hash, words, n, positions);
    for (size_t i = 0; i < n; i++) {
        for (size_t at = 0; at < 8; at++) bytes[at] = (uint8_t)(words[i] >> 8 * at);
        FUZZ_REQUIRE(positions[i] == ps_key_hash_position(hash, bytes, 8));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_key_hash hash = any_hash(&input);
    switch (fuzz_take(&input, 1) % 4) {
    case 0: require_same_of_many(&hash, &input); break;
    case 1: require_same_of_padded(&hash, &input); break;
    case 2: require_same_of_text(&hash, &input); break;
    default: require_same_of_words(&hash, &input);
    }
    return 0;
}
