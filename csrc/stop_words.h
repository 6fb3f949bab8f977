/* stop_words -- a set of words that never changes, asked for every word of a text.
 *
 * Words are any bytes. Those of up to 8 are compared as numbers, which takes a look or two; others are found
 * by their hash, which has no seed: texts only ask, so nobody but the owner of the set could make it slow.
 * Nothing is written after ps_stop_words_init, so any number of threads may ask. */
#ifndef PS_STOP_WORDS_H
#define PS_STOP_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator.h"
#include "bytes.h"
#include "status.h"

#define PS_STOP_WORD_SHORT 8 /* bytes of a word that is compared as one number */

typedef struct {
    uint64_t *shorts; /* the bytes of each, zeros behind them; 0: none */
    uint32_t shift;  /* of a hash, so that a place in `shorts` is left: a quarter of them are taken at most */
    uint32_t mask;   /* of `slots`: a power of two less one; at most half of them are taken */
    uint32_t *slots; /* numbers of the other words, and one more; 0: none */
    uint32_t *starts; /* where each word begins, and where the last ends */
    uint8_t *bytes;
    ps_allocator allocator;
} ps_stop_words;

/* A set of `count` words of those sizes, one behind the other in `bytes`; the same one may come twice.
 * PS_NO_MEMORY: `set` is as it was. */
ps_status ps_stop_words_init(ps_stop_words **set, const uint8_t *bytes, const uint32_t *sizes, uint32_t count,
                             ps_allocator allocator);
void ps_stop_words_free(ps_stop_words *set);

/* ps_stop_words_has of more than 8 bytes, or of none. */
bool ps_stop_words_has_long(const ps_stop_words *set, const uint8_t *bytes, uint32_t size);

/* Up to 8 bytes as a number. As many can be read. */
static inline uint64_t ps_stop_word_key(const uint8_t *bytes, uint32_t size)
{
    return ps_read_little64(bytes) & UINT64_MAX >> (64 - 8 * size);
}

static inline uint64_t *ps_stop_word_place(const ps_stop_words *set, uint64_t key)
{
    uint64_t at = key * UINT64_C(0x9E3779B97F4A7C15) >> set->shift, last = UINT64_MAX >> set->shift;
    while (set->shorts[at] != 0 && set->shorts[at] != key) at = (at + 1) & last;
    return &set->shorts[at];
}

/* Whether a word without zeros is in it. 8 bytes can be read from where it begins, whatever is behind it. */
static inline bool ps_stop_words_has(const ps_stop_words *set, const uint8_t *bytes, uint32_t size)
{
    if (size > PS_STOP_WORD_SHORT || size == 0) return ps_stop_words_has_long(set, bytes, size);
    return *ps_stop_word_place(set, ps_stop_word_key(bytes, size)) != 0;
}

#endif
