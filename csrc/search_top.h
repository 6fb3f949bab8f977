/* search_top -- the best k of the hits that are offered, in ascending order of their ordinals.
 *
 *     ps_top_init(&top, hits, k);
 *     if (score > top.least) ps_top_add(&top, ordinal, score);      of equal scores the first one offered is
 * better ps_top_sort(&top);                                            best first
 *
 * A heap with the worst on top, in the caller's memory. */
#ifndef PS_SEARCH_TOP_H
#define PS_SEARCH_TOP_H

#include <stdint.h>

typedef struct {
    uint32_t ordinal;
    double score;
} ps_hit;

typedef struct {
    ps_hit *hits;
    uint32_t k, n;
    double least; /* a hit must score more than this; -1 while there is room */
} ps_top;

/* k: 1 or more. */
static inline void ps_top_init(ps_top *top, ps_hit *hits, uint32_t k) { *top = (ps_top){hits, k, 0, -1}; }

/* Takes a hit whose score is above `least`; scores are 0 or more. */
void ps_top_add(ps_top *top, uint32_t ordinal, double score);

void ps_top_sort(ps_top *top);

#endif
