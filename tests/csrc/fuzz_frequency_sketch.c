/* The sketch against counters that lie apart, and against the true counts, with an allocator that fails. */
#include "frequency_sketch.h"
#include "fuzz.h"

#include <stdbool.h>

#define HASHES 64
#define ROWS 4
#define ROW 32 /* counters of a row in one block */
#define MOST_BLOCKS 8
#define MOST_ENTRIES (MOST_BLOCKS * 8)

typedef struct {
    uint8_t counters[MOST_BLOCKS][ROWS][ROW];
    uint8_t seen[HASHES]; /* how often, halved whenever all is, and at most PS_SKETCH_MAX */
    uint32_t blocks, room;
    uint64_t additions;
} model;

static bool out_of_memory;

static void *resize(void *memory, size_t size) { return out_of_memory ? NULL : realloc(memory, size); }

/* Half of them differ only high. */
static uint32_t hash_of(uint32_t which) { return which % 2 ? which << 24 : which; }

typedef struct {
    uint32_t block;
    uint32_t places[ROWS];
} whereabouts;

static whereabouts find(const model *expected, uint32_t hash)
{
    whereabouts found = {.block = hash % expected->blocks};
    uint64_t x = (uint64_t)hash * 0x31848bab % (UINT64_C(1) << 32);
    x ^= x >> 14;
    for (unsigned row = 0; row < ROWS; row++) found.places[row] = (uint32_t)(x >> 8 * row) % ROW;
    return found;
}

static unsigned counter(const ps_sketch *sketch, uint32_t block, unsigned row, unsigned place)
{
    uint64_t word = sketch->words[block * 8 + row * 2 + place / 16];
    return (unsigned)(word >> place % 16 * 4) & 15;
}

static void require_same_counters(const ps_sketch *sketch, const model *expected)
{
    for (uint32_t block = 0; block < expected->blocks; block++)
        for (unsigned row = 0; row < ROWS; row++)
            for (unsigned place = 0; place < ROW; place++)
                FUZZ_REQUIRE(counter(sketch, block, row, place) == expected->counters[block][row][place]);
}

static void require_frequency(const ps_sketch *sketch, const model *expected, uint32_t which)
{
    whereabouts there = find(expected, hash_of(which));
    unsigned least = PS_SKETCH_MAX;
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned count = expected->counters[there.block][row][there.places[row]];
        if (count < least) least = count;
    }
    FUZZ_REQUIRE(ps_sketch_frequency(sketch, hash_of(which)) == least);
    FUZZ_REQUIRE(least >= expected->seen[which]);
}

static void require_same(const ps_sketch *sketch, const model *expected)
{
    FUZZ_REQUIRE(sketch->additions == expected->additions);
    FUZZ_REQUIRE(sketch->blocks == expected->blocks && sketch->capacity == expected->room);
    FUZZ_REQUIRE(ps_sketch_bytes(sketch) == expected->room * UINT64_C(64));
}

static uint32_t blocks_for(uint32_t entries)
{
    uint32_t blocks = 1;
    while (blocks * 8 < entries) blocks *= 2;
    return blocks;
}

static void add(ps_sketch *sketch, model *expected, uint32_t which)
{
    whereabouts there = find(expected, hash_of(which));
    bool counted = false;
    for (unsigned row = 0; row < ROWS; row++) {
        uint8_t *count = &expected->counters[there.block][row][there.places[row]];
        if (*count == PS_SKETCH_MAX) continue;
        ++*count;
        counted = true;
    }
    expected->additions += counted;
    if (expected->seen[which] < PS_SKETCH_MAX) expected->seen[which]++;
    ps_sketch_add(sketch, hash_of(which));
}

static void halve(ps_sketch *sketch, model *expected)
{
    ps_sketch_halve(sketch);
    uint8_t *counters = &expected->counters[0][0][0];
    for (size_t i = 0; i < sizeof expected->counters; i++) counters[i] /= 2;
    for (unsigned which = 0; which < HASHES; which++) expected->seen[which] /= 2;
    expected->additions /= 2;
}

static void reserve(ps_sketch *sketch, model *expected, fuzz_input *input)
{
    uint32_t entries = (uint32_t)fuzz_take(input, 1) % (MOST_ENTRIES + 1), wanted = blocks_for(entries);
    out_of_memory = fuzz_take(input, 1) % 2;
    bool can = wanted <= expected->room || !out_of_memory;
    FUZZ_REQUIRE(ps_sketch_reserve(sketch, entries) == (can ? PS_OK : PS_NO_MEMORY));
    if (!can || wanted <= expected->room) return;
    if (expected->room == 0) expected->blocks = 1;
    expected->room = wanted;
}

static void cover(ps_sketch *sketch, model *expected, fuzz_input *input)
{
    uint32_t entries = (uint32_t)fuzz_take(input, 1) % (expected->room * 8 + 1);
    ps_sketch_cover(sketch, entries);
    uint32_t before = expected->blocks, wanted = blocks_for(entries);
    if (wanted <= before) return;
    size_t bytes = sizeof expected->counters[0];
    for (uint32_t block = before; block < wanted; block++)
        memcpy(expected->counters[block], expected->counters[block % before], bytes);
    expected->blocks = wanted;
}

static void forget(ps_sketch *sketch, model *expected)
{
    ps_sketch_forget(sketch);
    *expected = (model){.room = expected->room, .blocks = expected->room ? 1 : 0};
}

/* What moves many counters at once. */
static void change_all(ps_sketch *sketch, model *expected, fuzz_input *input)
{
    switch (fuzz_take(input, 1) % 8) {
    case 0: forget(sketch, expected); break;
    case 1: reserve(sketch, expected, input); break;
    case 2:
    case 3:
        if (expected->room > 0) cover(sketch, expected, input);
        break;
    default: halve(sketch, expected);
    }
    require_same_counters(sketch, expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_sketch sketch;
    model expected = {.blocks = 0};
    ps_sketch_init(&sketch, (ps_allocator){resize, free});
    require_same(&sketch, &expected);
    forget(&sketch, &expected);
    while (expected.room == 0 && input.left > 0) reserve(&sketch, &expected, &input);
    while (input.left > 0) {
        if (fuzz_take(&input, 1) % 64 == 0) change_all(&sketch, &expected, &input);
        else add(&sketch, &expected, (uint32_t)fuzz_take(&input, 1) % HASHES);
        require_same(&sketch, &expected);
        require_frequency(&sketch, &expected, (uint32_t)fuzz_take(&input, 1) % HASHES);
    }
    require_same_counters(&sketch, &expected);
    for (uint32_t which = 0; which < HASHES && expected.room > 0; which++)
        require_frequency(&sketch, &expected, which);
    ps_sketch_free(&sketch);
    return 0;
}
