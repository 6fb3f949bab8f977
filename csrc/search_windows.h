/* search_windows -- runs any plan over one part of an index: every document that matches, window by window.
 *
 *     ps_windows_begin(&windows, &leaves, part);
 *     while (ps_windows_next(&windows)) ... windows.lo, windows.bits, windows.scores ...
 *     windows.broken
 *
 * A window is PS_WINDOW documents. Each node of the plan gives the documents that it matches there as bits,
 * and their scores; those of its children lie one level below. Where no word stands, no window is. */
#ifndef PS_SEARCH_WINDOWS_H
#define PS_SEARCH_WINDOWS_H

#include "search_leaves.h"

#define PS_WINDOW 1024
#define PS_WINDOW_WORDS (PS_WINDOW / 64)

typedef struct {
    uint64_t bits[PS_WINDOW_WORDS];
    double scores[PS_WINDOW];   /* 0 where there is no bit */
    uint32_t counts[PS_WINDOW]; /* how many children of an ANY match; 0 when it is done */
} ps_window_level;

/* All zeros but for the allocator at first. */
typedef struct {
    uint32_t lo;          /* first document of the window, */
    uint32_t hi;          /* and the one behind its last */
    const uint64_t *bits; /* of its documents that match, the dead ones not among them, */
    const double *scores; /* and their scores */
    bool broken;          /* a list has been found to be broken */
    const ps_leaves *leaves;
    const ps_part *part;
    uint32_t number;    /* of the part */
    ps_cursor *cursors; /* of each word of the plan; n == 0 at the end or if it is not there */
    ps_window_level *levels;
    bool no_memory;         /* for the positions of a phrase */
    ps_allocator allocator; /* set by the caller, once */
    ps_room cursor_room, level_room, place_room;
} ps_windows;

/* PS_NO_MEMORY. PS_REFUSED: the tree has more than PS_PLAN_DEPTH levels. The lists of `leaves` must stay. */
ps_status ps_windows_begin(ps_windows *windows, const ps_leaves *leaves, uint32_t part);

/* The next window with matches; false: there is none, or something has failed (broken, no_memory). */
bool ps_windows_next(ps_windows *windows);

void ps_windows_free(ps_windows *windows);

/* 64 bits of a set of bits, from number `at` on; `end`: how many it has. */
static inline uint64_t ps_bits_at(const uint64_t *bits, uint64_t at, uint64_t end)
{
    uint64_t word = at >> 6, shift = at & 63;
    if (at >= end) return 0;
    uint64_t low = bits[word] >> shift;
    return shift == 0 || (word + 1) << 6 >= end ? low : low | bits[word + 1] << (64 - shift);
}

#endif
