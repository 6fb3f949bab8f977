/* search_run -- runs a plan over an index: the best k, every score, or how many match.
 *
 * The best k of words joined by ANY or ALL, with or without a mask, are found by block-max MaxScore over
 * windows of documents: what the peaks of blocks show cannot be among the best is not unpacked, let alone
 * scored. Any other tree is evaluated window by window for every document that matches. Both give the same
 * scores to the last bit (search_scorer.h), and of equal scores the document that was added first. Sources:
 * Turtle and Flood, Query Evaluation: Strategies and Optimizations, 1995 (MaxScore); Chakrabarti, Chaudhuri
 * and Ganti, Interval-Based Pruning for Top-k Processing, 2011; Lucene's MaxScoreBulkScorer. */
#ifndef PS_SEARCH_RUN_H
#define PS_SEARCH_RUN_H

#include "allocator.h"
#include "inverted_index.h"
#include "search_plan.h"
#include "search_top.h"
#include "status.h"

typedef struct ps_run ps_run; /* memory for running plans, one after the other; not by two threads at once */

ps_status ps_run_new(ps_run **run, ps_allocator allocator);
void ps_run_free(ps_run *run);

/* [read] The k (1 or more) best, best first, into `hits` (k of them, the caller's); `mask` (may be NULL): a
 * bit for each ordinal, only those can be hits. PS_NO_MEMORY; PS_BROKEN: a segment is; PS_REFUSED: the tree
 * is too deep; then there are none. */
ps_status ps_run_top(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                     uint32_t k, const uint64_t *mask, ps_hit *hits, uint32_t *found);

/* The same in two steps, for who must know before what it may cost: `cost` is how many postings it would go
 * through if nothing were pruned. Plan and index must not change until ps_run_best is over. */
ps_status ps_run_bind(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                      uint64_t *cost);
ps_status ps_run_best(ps_run *run, uint32_t k, const uint64_t *mask, ps_hit *hits, uint32_t *found);

/* The same without pruning; for tests. */
ps_status ps_run_top_exhaustive(ps_run *run, const ps_inverted *index, const ps_plan *plan,
                                const ps_scorer *scorer, uint32_t k, const uint64_t *mask, ps_hit *hits,
                                uint32_t *found);

/* [read] The score of every ordinal (0 where nothing matches) and, if `matched` is not NULL, a bit for each
 * that does. */
ps_status ps_run_scores(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                        double *scores, uint64_t *matched);

#endif
