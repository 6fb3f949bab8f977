/* search_few -- the best k of words that have few postings: decoded, scored, merged. No bounds, no windows.
 */
#ifndef PS_SEARCH_FEW_H
#define PS_SEARCH_FEW_H

#include "search_leaves.h"
#include "search_top.h"

#define PS_FEW 1024 /* postings of all words in all parts */

typedef struct {
    uint32_t doc, count; /* count: how many words it has */
    double score;
} ps_few_entry;

typedef struct {
    ps_cursor cursor;
    ps_few_entry entries[2][PS_FEW];
    uint32_t starts[PS_FEW + 1]; /* where the words' entries begin */
} ps_few;

/* Whether the plan is a word, or ANY or ALL of words, each in one field, with at most PS_FEW postings. */
bool ps_few_takes(const ps_leaves *leaves);

/* Adds the best of all parts to `top`; `mask`: a bit for each ordinal, or NULL. PS_BROKEN: a list is. */
ps_status ps_few_run(ps_few *few, const ps_leaves *leaves, const uint64_t *mask, ps_top *top);

#endif
