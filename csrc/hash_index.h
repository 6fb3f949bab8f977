/* hash_index -- numbers by hash, one cache line a look, without tombstones.
 *
 * A number is what the caller calls an entry by; several entries may have one hash. The index keeps 8 bits of
 * each hash, its tag, so it answers with candidates, and the caller looks whether it means them:
 *
 *     ps_index_search search = ps_index_begin(&index, hash);
 *     while ((n = ps_index_next(&index, &search)) != PS_INDEX_NONE)
 *         if (entry n is the one that is looked for) ...
 *
 * A chunk of 64 bytes holds twelve numbers and their tags, which are compared all at once. What finds no room
 * in its chunk goes to one of the next, and the chunks on its way count it, so that a search knows where to
 * end and a removal leaves nothing behind.
 * Sources: Bronson and Shi, Open-sourcing F14, Facebook Engineering 2019; Lemire, Fast Random Integer
 * Generation in an Interval, 2019 (a multiplication, not a division, chooses the chunk, so their number need
 * not be a power of two). */
#ifndef PS_HASH_INDEX_H
#define PS_HASH_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__) && !defined(PS_NO_SIMD)
#include <emmintrin.h>
#endif

#include "allocator.h"
#include "status.h"

#define PS_INDEX_NONE UINT32_MAX /* no number */
#define PS_CHUNK 12              /* numbers in a chunk */

typedef struct {
    uint8_t tags[PS_CHUNK]; /* 0 where there is no number */
    uint32_t passed;        /* numbers that found no room here and went on */
    uint32_t numbers[PS_CHUNK];
} ps_index_chunk;

typedef struct {
    ps_index_chunk *chunks; /* within `memory`, each on a cache line of its own */
    void *memory;
    uint32_t count; /* of chunks; 0 until the first room is made */
    uint32_t size;  /* numbers held */
    ps_allocator allocator;
} ps_hash_index;

typedef struct {
    uint32_t home;    /* where the search began */
    uint32_t chunk;   /* where it stands */
    uint32_t matches; /* a bit for each place of it that is still to be looked at */
    uint8_t tag;
} ps_index_search;

/* 32 well mixed bits of a hash that may be as plain as an int: the upper half is folded in, then the
 * multiplication carries every bit to the top (Fibonacci hashing, Knuth, TAOCP vol. 3, 6.4). */
static inline uint32_t ps_mixed_hash(uint64_t hash)
{
    return (uint32_t)(((hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* Makes an empty one that allocates nothing yet. */
void ps_index_init(ps_hash_index *index, ps_allocator allocator);

/* Gives the memory back; only ps_index_init may follow. */
void ps_index_free(ps_hash_index *index);

/* Forgets all numbers and makes room for `size`: 8 bytes each. PS_NO_MEMORY changes nothing. */
ps_status ps_index_reset(ps_hash_index *index, uint32_t size);

/* Gives the entry called `from`, there under `hash`, the number `to`. */
void ps_index_renumber(ps_hash_index *index, uint32_t hash, uint32_t from, uint32_t to);

/* The bytes that it has allocated. */
size_t ps_index_bytes(const ps_hash_index *index);

/* Whether the counts hold, as far as they can be seen without the hashes. O(size), for tests. */
bool ps_index_check(const ps_hash_index *index);

/* ---- searching, adding and removing: in line, for they make up most of what a cache does ---- */

static inline uint32_t ps_index_home(const ps_hash_index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->count >> 32);
}

static inline uint32_t ps_index_after(const ps_hash_index *index, uint32_t chunk)
{
    return chunk + 1 == index->count ? 0 : chunk + 1;
}

/* From the bits that choose the chunk least; 0 is no tag. */
static inline uint8_t ps_index_tag(uint32_t hash) { return (hash & 0xff) ? (uint8_t)hash : 1; }

/* A bit for each place of a chunk with that tag. */
static inline uint32_t ps_index_matches(const ps_index_chunk *chunk, uint8_t tag)
{
#if defined(__SSE2__) && !defined(PS_NO_SIMD)
    __m128i tags =
        _mm_loadu_si128((const __m128i *)(const void *)chunk); /* `passed` behind them is masked out */
    __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag));
    return (uint32_t)_mm_movemask_epi8(equal) & ((1u << PS_CHUNK) - 1);
#else
    uint32_t matches = 0;
    for (unsigned i = 0; i < PS_CHUNK; i++) matches |= (uint32_t)(chunk->tags[i] == tag) << i;
    return matches;
#endif
}

static inline ps_index_search ps_index_begin(const ps_hash_index *index, uint32_t hash)
{
    if (index->size == 0) return (ps_index_search){0};
    uint32_t home = ps_index_home(index, hash);
    uint8_t tag = ps_index_tag(hash);
    return (ps_index_search){home, home, ps_index_matches(&index->chunks[home], tag), tag};
}

/* The next candidate, PS_INDEX_NONE when there are no more. A change of the index ends the search.
 *
 * Each chunk may have been passed once, so a search also ends where it has come round. */
static inline uint32_t ps_index_next(const ps_hash_index *index, ps_index_search *search)
{
    while (search->matches == 0) {
        if (index->size == 0 || index->chunks[search->chunk].passed == 0) return PS_INDEX_NONE;
        uint32_t after = ps_index_after(index, search->chunk);
        if (after == search->home) return PS_INDEX_NONE;
        search->chunk = after;
        search->matches = ps_index_matches(&index->chunks[search->chunk], search->tag);
    }
    unsigned place = (unsigned)__builtin_ctz(search->matches);
    search->matches &= search->matches - 1;
    return index->chunks[search->chunk].numbers[place];
}

/* Adds a number for which there is room. */
static inline void ps_index_add(ps_hash_index *index, uint32_t hash, uint32_t number)
{
    uint32_t at = ps_index_home(index, hash), empty;
    while ((empty = ps_index_matches(&index->chunks[at], 0)) == 0) {
        index->chunks[at].passed++;
        at = ps_index_after(index, at);
    }
    unsigned place = (unsigned)__builtin_ctz(empty);
    index->chunks[at].tags[place] = ps_index_tag(hash);
    index->chunks[at].numbers[place] = number;
    index->size++;
}

/* Where a number stands in a chunk, PS_CHUNK if it does not. */
static inline unsigned ps_index_place(const ps_index_chunk *chunk, uint8_t tag, uint32_t number)
{
    for (uint32_t matches = ps_index_matches(chunk, tag); matches != 0; matches &= matches - 1) {
        unsigned place = (unsigned)__builtin_ctz(matches);
        if (chunk->numbers[place] == number) return place;
    }
    return PS_CHUNK;
}

/* Removes a number that is there under `hash`. */
static inline void ps_index_remove(ps_hash_index *index, uint32_t hash, uint32_t number)
{
    uint8_t tag = ps_index_tag(hash);
    uint32_t at = ps_index_home(index, hash);
    unsigned place;
    while ((place = ps_index_place(&index->chunks[at], tag, number)) == PS_CHUNK) {
        index->chunks[at].passed--;
        at = ps_index_after(index, at);
    }
    index->chunks[at].tags[place] = 0;
    index->size--;
}

#endif
