/* search_maxscore -- the best k of words that are joined by ANY or ALL, without scoring what cannot be among
 * them.
 *
 *     if (ps_maxscore_takes(&leaves)) ps_maxscore_run(&maxscore, &leaves, mask, &top);
 *
 * A part is gone through in windows of documents. In each, no word can give more than the greatest bound of
 * its blocks that reach into it. Words are taken from the least bound up for as long as all of them together
 * cannot beat the k-th best so far: no document can be among the best for these alone. If one word is left,
 * each of its blocks is looked at: how much a posting must give, and so which frequency it must have at
 * least; what has it is scored, and what is still good enough looks its other words up, the greatest bound
 * first. If several words are left, their impacts are summed up for the window, and what is good enough goes
 * on in the same way. Once there are k hits, and words are frequent, candidates are found by rough sums first
 * (search_codes.h), and only these are scored. ALL has its rarest word for the one that is left.
 *
 * Ordinals rise, so a document must beat the k-th best, not equal it. Sums of bounds and impacts are exact
 * (search_scorer.h), so nothing here depends on the order of additions. */
#ifndef PS_SEARCH_MAXSCORE_H
#define PS_SEARCH_MAXSCORE_H

#include "pruned_word.h"
#include "search_codes.h"
#include "search_leaves.h"
#include "search_top.h"

#define PS_MAXSCORE_WORDS 1024 /* plans of more are not taken */

typedef struct {
    ps_allocator allocator;
    uint32_t outer_dense,
        outer_sparse; /* blocks of a word for which bounds are found at once, of many words and of few */
    uint32_t narrow,
        wide; /* documents in a window, at least and at the most; powers of 2, PS_BLOCK or more */
    const ps_leaves *leaves;
    const ps_part *part;
    const uint64_t *mask;
    ps_top *top;
    ps_pruned_word *words; /* those that the part has, */
    ps_pruned_word *
        *order;      /* from the least bound in the window up; of ALL, from the commonest to the rarest */
    double *sums;    /* sums[i]: of the bounds of the first i in that order */
    ps_codes *codes; /* of a window, */
    ps_code_table *tables; /* and of each of the words */
    bool coded;            /* whether these are used: there are 2 to PS_CODES_WORDS words */
    uint32_t n;
    bool all;        /* every word must be there */
    uint32_t room;   /* blocks of a word whose bounds are kept */
    double *impacts; /* of documents of the window, 0 if none of the words left is there */
    uint64_t
        *touched; /* a bit for each document of the window that has an impact, if these are few; else 0 */
    bool sparse;  /* whether they are */
    uint32_t *docs, *at; /* candidates, and places of what passes a filter */
    double *scores;
    ps_room memory;
} ps_maxscore;

/* An empty one that allocates nothing yet. A test may set other sizes of windows before the first run. */
void ps_maxscore_init(ps_maxscore *maxscore, ps_allocator allocator);

/* Whether the plan is a word, or ANY with a minimum of 1 or ALL of words, each in one field, none of which
 * can give an impact that the grid rounds to 0. */
bool ps_maxscore_takes(const ps_leaves *leaves);

/* Adds the best of all parts to `top`. PS_NO_MEMORY; PS_BROKEN: a list is. */
ps_status ps_maxscore_run(ps_maxscore *maxscore, const ps_leaves *leaves, const uint64_t *mask, ps_top *top);

void ps_maxscore_free(ps_maxscore *maxscore);

#endif
