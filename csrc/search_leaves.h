/* search_leaves -- the words of a plan as the parts of an index have them, and what each leaf of the plan is
 * worth.
 *
 *     ps_leaves_bind(&leaves, index, plan, scorer);
 *     ps_leaves_list(&leaves, part, word)           its postings there; of count 0 if there are none
 *     leaves.impacts[node]                          of TERM and PHRASE; for a CONST, the rounded score is its
 * `added`
 *
 * Each word is looked up once in each part. The index must not change while its lists are in use. */
#ifndef PS_SEARCH_LEAVES_H
#define PS_SEARCH_LEAVES_H

#include "inverted_index.h"
#include "search_plan.h"
#include "search_room.h"
#include "status.h"

/* All zeros but for the allocator at first. */
typedef struct {
    const ps_inverted *index;
    const ps_plan *plan;
    uint32_t *dfs;      /* of each word of the plan: live documents; 0: none */
    ps_postings *lists; /* of each word, in each part */
    ps_impact *impacts; /* of each node */
    uint64_t postings;  /* in all lists */
    double grid;
    ps_allocator allocator; /* set by the caller, once */
    ps_room memory;
} ps_leaves;

/* PS_NO_MEMORY, PS_BROKEN: a list is. Nothing is found in an index without live documents. */
ps_status ps_leaves_bind(ps_leaves *leaves, const ps_inverted *index, const ps_plan *plan,
                         const ps_scorer *scorer);

static inline const ps_postings *ps_leaves_list(const ps_leaves *leaves, uint32_t part, uint32_t word)
{
    return &leaves->lists[(size_t)part * leaves->plan->word_count + word];
}

void ps_leaves_free(ps_leaves *leaves);

#endif
