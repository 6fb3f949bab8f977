/* pruned_word -- the postings of a word in a part, and the most that they can give in a window of documents.
 *
 *     ps_pruned_open(&word, list, impact, lengths);
 *     ps_pruned_hold(&word, from, to, room);    the bounds of its blocks that reach into a large window,
 *     ps_pruned_enter(&word, lo, hi);           and word.most, in a small window within it; windows ascend
 *
 * Bounds are those of search_scorer.h: a posting gives less. Lists may be of a file that somebody made up:
 * then bounds may be wrong, but nothing outside of them is touched. */
#ifndef PS_PRUNED_WORD_H
#define PS_PRUNED_WORD_H

#include "posting_list.h"
#include "search_scorer.h"

#define PS_PRUNED_FREQ 8 /* the greatest frequency that is asked for without looking at lengths */

typedef struct ps_pruned_word {
    ps_cursor cursor;
    const ps_postings *list;
    const ps_block_head *heads;
    const ps_impact *impact;
    const uint32_t *lengths;
    double *bounds; /* the caller's; of blocks first to first + held - 1: those that reach into the outer
                       window */
    uint32_t first, held;
    uint32_t at;     /* the first block that reaches into the window */
    uint32_t usual;  /* words of a document, on the average; set by who needs it */
    uint32_t blocks; /* in all, the rest among them */
    double ever;     /* more than it can give anywhere */
    double most;     /* more than it can give in the window; 0: it is not there */
    double asked; /* how much a posting had to give when `least` was found, for lengths from `shortest` on: */
    uint32_t shortest;
    uint32_t least; /* lower frequencies do not give that much */
} ps_pruned_word;

/* At the start of a list that is not empty. `bounds` stays as it is. */
void ps_pruned_open(ps_pruned_word *word, const ps_postings *list, const ps_impact *impact,
                    const uint32_t *lengths);

/* Finds the bounds of the blocks that reach into from .. to - 1, and makes that the window of the word.
 * False: there are more of them than there is `room` for, as can be only in a file that somebody made up, if
 * the room is for (to - from) / PS_BLOCK + 2. */
bool ps_pruned_hold(ps_pruned_word *word, uint32_t from, uint32_t to, uint32_t room);

/* Goes on to the window lo .. hi - 1. */
void ps_pruned_enter(ps_pruned_word *word, uint32_t lo, uint32_t hi);

/* The least frequency of a posting in a block that may give more than `need`; PS_PRUNED_FREQ if it is that or
 * more. */
uint32_t ps_pruned_least_freq(ps_pruned_word *word, uint32_t block, double need);

/* The first document from `from` on that the word may have: exactly, if its block is wide. PS_NO_DOC: there
 * is none. */
uint32_t ps_pruned_next(ps_pruned_word *word, uint32_t from, uint32_t wide);

/* The last document of a block. */
static inline uint32_t ps_pruned_last(const ps_pruned_word *word, uint32_t block)
{
    const ps_postings *list = word->list;
    return block < list->blocks ? word->heads[block].last : list->rest_docs[list->rest - 1];
}

/* The first document that a block may have. */
static inline uint32_t ps_pruned_first(const ps_pruned_word *word, uint32_t block)
{
    return block == 0 ? 0 : ps_pruned_last(word, block - 1) + 1;
}

static inline const ps_peak *ps_pruned_peaks(const ps_pruned_word *word, uint32_t block)
{
    return block < word->list->blocks ? word->heads[block].peaks : word->list->rest_peaks;
}

static inline double ps_pruned_bound(const ps_pruned_word *word, uint32_t block)
{
    return word->bounds[block - word->first];
}

/* The greatest bound of the blocks from `block` on that reach into lo .. hi - 1, 0 if there is none. */
static inline double ps_pruned_most(const ps_pruned_word *word, uint32_t block, uint32_t lo, uint32_t hi)
{
    double most = 0;
    uint32_t end = word->first + word->held;
    while (block < end && ps_pruned_last(word, block) < lo) block++;
    for (; block < end; block++) {
        if (ps_pruned_bound(word, block) > most) most = ps_pruned_bound(word, block);
        if (ps_pruned_last(word, block) >= hi - 1) break;
    }
    return most;
}

#endif
