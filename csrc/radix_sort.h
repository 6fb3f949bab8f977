/* radix_sort -- pairs of an int64 key and a word, by key.
 *
 *     ps_radix_sort(keys, values, n, allocator);
 *
 * Stable: values of equal keys stay in their order. Sorts by one digit of the keys at a time, the lowest first,
 * and only by digits that differ, so O(n) with at most eight moves a pair, three for keys below 2^24. Pairs in order
 * are left as they are after one look.
 * Source: Knuth, The Art of Computer Programming 3, 5.2.5. */
#ifndef PS_RADIX_SORT_H
#define PS_RADIX_SORT_H

#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

/* Sorts keys[n], and values[n] along with them unless NULL. Needs room for as many again while it runs, none
 * for a few or for what is in order. PS_NO_MEMORY: nothing was moved. */
ps_status ps_radix_sort(int64_t *keys, uint64_t *values, size_t n, ps_allocator allocator);

#endif
