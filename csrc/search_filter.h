/* search_filter -- which of many numbers are great enough. SIMD. */
#ifndef PS_SEARCH_FILTER_H
#define PS_SEARCH_FILTER_H

#include <stdint.h>

/* Writes to `at` the places of the scores that are above `need`, ascending; returns how many. `at` has room
 * for n. */
uint32_t ps_filter_scores(const double *scores, uint32_t n, double need, uint32_t *at);

/* The same of the frequencies (below 2^31 + 1) that are `least` (1 or more) or above. */
uint32_t ps_filter_freqs(const uint32_t *freqs, uint32_t n, uint32_t least, uint32_t *at);

#endif
