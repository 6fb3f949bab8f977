#include "frequency_sketch.h"

#include <string.h>

#define ROWS 4
#define BLOCK_WORDS 8
#define LOWER_THREE_BITS UINT64_C(0x7777777777777777)

void ps_sketch_init(ps_sketch *sketch, ps_allocator allocator)
{
    *sketch = (ps_sketch){.allocator = allocator};
}

void ps_sketch_free(ps_sketch *sketch) { sketch->allocator.release(sketch->words); }

static size_t bytes_of(uint32_t blocks) { return (size_t)blocks * BLOCK_WORDS * sizeof(uint64_t); }

static uint32_t blocks_for(uint32_t entries)
{
    uint32_t blocks = 1;
    while ((uint64_t)blocks * BLOCK_WORDS < entries) blocks *= 2;
    return blocks;
}

ps_status ps_sketch_reserve(ps_sketch *sketch, uint32_t entries)
{
    uint32_t wanted = blocks_for(entries);
    if (wanted <= sketch->capacity) return PS_OK;
    uint64_t *words = sketch->allocator.resize(sketch->words, bytes_of(wanted));
    if (words == NULL) return PS_NO_MEMORY;
    if (sketch->capacity == 0) memset(words, 0, bytes_of(sketch->blocks = 1));
    sketch->words = words;
    sketch->capacity = wanted;
    return PS_OK;
}

/* A hash finds its block by its low bits, so in twice the blocks it finds one copy or the other. */
void ps_sketch_cover(ps_sketch *sketch, uint32_t entries)
{
    for (uint32_t wanted = blocks_for(entries); sketch->blocks < wanted; sketch->blocks *= 2)
        memcpy(sketch->words + (size_t)sketch->blocks * BLOCK_WORDS, sketch->words, bytes_of(sketch->blocks));
}

/* Where the four counters of a hash are. */
typedef struct {
    uint64_t *block;
    uint32_t bits; /* eight for each row, five of which choose the counter */
} whereabouts;

/* Multiplied once more, so that the counters do not depend on the bits that chose the block alone. */
static whereabouts find(const ps_sketch *sketch, uint32_t hash)
{
    uint64_t *block = sketch->words + (size_t)(hash & (sketch->blocks - 1)) * BLOCK_WORDS;
    uint32_t bits = hash * UINT32_C(0x31848bab);
    return (whereabouts){block, bits ^ bits >> 14};
}

static uint64_t *word_of(whereabouts there, unsigned row)
{
    return &there.block[2 * row + (there.bits >> (8 * row + 4) & 1)];
}

static unsigned shift_of(whereabouts there, unsigned row) { return (there.bits >> 8 * row & 15) * 4; }

void ps_sketch_add(ps_sketch *sketch, uint32_t hash)
{
    whereabouts there = find(sketch, hash);
    unsigned counted = 0;
    for (unsigned row = 0; row < ROWS; row++) {
        uint64_t *word = word_of(there, row);
        unsigned shift = shift_of(there, row);
        if ((*word >> shift & PS_SKETCH_MAX) == PS_SKETCH_MAX) continue;
        *word += UINT64_C(1) << shift;
        counted = 1;
    }
    sketch->additions += counted;
}

void ps_sketch_halve(ps_sketch *sketch)
{
    for (size_t i = 0; i < (size_t)sketch->blocks * BLOCK_WORDS; i++)
        sketch->words[i] = sketch->words[i] >> 1 & LOWER_THREE_BITS;
    sketch->additions /= 2;
}

void ps_sketch_forget(ps_sketch *sketch)
{
    if (sketch->capacity > 0) memset(sketch->words, 0, bytes_of(sketch->blocks = 1));
    sketch->additions = 0;
}

unsigned ps_sketch_frequency(const ps_sketch *sketch, uint32_t hash)
{
    whereabouts there = find(sketch, hash);
    unsigned least = PS_SKETCH_MAX;
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned count = (unsigned)(*word_of(there, row) >> shift_of(there, row) & PS_SKETCH_MAX);
        if (count < least) least = count;
    }
    return least;
}

size_t ps_sketch_bytes(const ps_sketch *sketch) { return bytes_of(sketch->capacity); }
