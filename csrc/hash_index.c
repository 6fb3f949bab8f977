#include "hash_index.h"

#include <string.h>

#define MEAN 8 /* numbers a chunk when all that there is room for are there: few chunks overflow */

#define LINE 64

_Static_assert(sizeof(ps_index_chunk) == LINE, "a chunk is a cache line");

static size_t bytes_of(uint32_t count) { return (size_t)count * LINE + LINE - 1; }

void ps_index_init(ps_hash_index *index, ps_allocator allocator)
{
    *index = (ps_hash_index){.allocator = allocator};
}

void ps_index_free(ps_hash_index *index) { index->allocator.release(index->memory); }

ps_status ps_index_reset(ps_hash_index *index, uint32_t size)
{
    uint32_t count = size / MEAN + 1;
    void *memory = index->allocator.resize(NULL, bytes_of(count));
    if (memory == NULL) return PS_NO_MEMORY;
    memset(memory, 0, bytes_of(count));
    index->allocator.release(index->memory);
    index->memory = memory;
    index->chunks = (ps_index_chunk *)(((uintptr_t)memory + LINE - 1) / LINE * LINE);
    index->count = count;
    index->size = 0;
    return PS_OK;
}

void ps_index_renumber(ps_hash_index *index, uint32_t hash, uint32_t from, uint32_t to)
{
    uint8_t tag = ps_index_tag(hash);
    uint32_t at = ps_index_home(index, hash);
    unsigned place;
    while ((place = ps_index_place(&index->chunks[at], tag, from)) == PS_CHUNK)
        at = ps_index_after(index, at);
    index->chunks[at].numbers[place] = to;
}

size_t ps_index_bytes(const ps_hash_index *index) { return index->memory ? bytes_of(index->count) : 0; }

/* Only a full chunk is passed when a number is added, and removals take the same way. */
bool ps_index_check(const ps_hash_index *index)
{
    uint64_t held = 0;
    for (uint32_t at = 0; at < index->count; at++)
        held += PS_CHUNK - (unsigned)__builtin_popcount(ps_index_matches(&index->chunks[at], 0));
    return held == index->size && (index->count == 0 || index->size <= (uint64_t)index->count * PS_CHUNK);
}
