/* frequency_sketch -- roughly how often a hash was seen lately, in four bits.
 *
 * A count-min sketch of 4 rows: a hash has a counter in each, the least of them is its frequency, 0 to 15.
 * The four lie in one block of 64 bytes, so that a look costs one cache line. Halving all counters now and
 * then lets the past fade.
 * Sources: Einziger, Friedman and Manes, TinyLFU: A Highly Efficient Cache Admission Policy, ACM Transactions
 * on Storage 13(4), 2017; the layout is that of Caffeine's FrequencySketch. */
#ifndef PS_FREQUENCY_SKETCH_H
#define PS_FREQUENCY_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_SKETCH_MAX 15 /* the highest frequency */

typedef struct {
    uint64_t *words;    /* sixteen counters each, eight words a block */
    uint32_t blocks;    /* in use, a power of two */
    uint32_t capacity;  /* blocks that there is room for; 0 until room is made */
    uint64_t additions; /* since the last halving */
    ps_allocator allocator;
} ps_sketch;

/* Makes an empty one that allocates nothing yet. */
void ps_sketch_init(ps_sketch *sketch, ps_allocator allocator);

/* Gives the memory back; only ps_sketch_init may follow. */
void ps_sketch_free(ps_sketch *sketch);

/* Makes room for the words of so many entries, one each. PS_NO_MEMORY changes nothing. */
ps_status ps_sketch_reserve(ps_sketch *sketch, uint32_t entries);

/* Takes as many words in use as there are entries, if it has fewer; what was counted stays. Room was made. */
void ps_sketch_cover(ps_sketch *sketch, uint32_t entries);

/* Counts `hash` once more. Room was made. */
void ps_sketch_add(ps_sketch *sketch, uint32_t hash);

/* Counts all that was seen half. */
void ps_sketch_halve(ps_sketch *sketch);

/* Counts nothing as seen. The room stays. */
void ps_sketch_forget(ps_sketch *sketch);

/* How often `hash` was counted lately, at most PS_SKETCH_MAX; too high where hashes share counters. */
unsigned ps_sketch_frequency(const ps_sketch *sketch, uint32_t hash);

/* The bytes that it has allocated. */
size_t ps_sketch_bytes(const ps_sketch *sketch);

#endif
