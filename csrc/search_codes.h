/* search_codes -- what words can give to the documents of a window, roughly and from above: a byte for each
 * document.
 *
 *     ps_codes_scale(&codes, most);                        the most that all words together can give
 *     ps_codes_add(&codes, &word, &table, lo, hi);         for some words: adds each posting's code
 *     found = ps_codes_take(&codes, from, to, need, at);   the documents that may have more than `need` of
 * them
 *
 * The code of a posting is its bound in units of (the most) / (254 - words), rounded up, and so never less
 * than its impact: a document with a lower sum of codes has not got `need`. The bound of a posting follows
 * from its frequency and the peaks of its block, so no length is looked at and nothing is divided for a
 * posting. Bytes are added by one load and one store, and 64 of them are compared at once: this is for words
 * that are so frequent that looking candidates up one by one would be slower. */
#ifndef PS_SEARCH_CODES_H
#define PS_SEARCH_CODES_H

#include "pruned_word.h"

#define PS_CODES_WORDS 32   /* that can be added up at the most */
#define PS_CODES_DOCS 16384 /* in a window at the most; a multiple of 64 */
#define PS_CODED_FREQ 16    /* frequencies above have the code of the block's bound */

typedef struct {
    _Alignas(64) uint8_t sums[PS_CODES_DOCS]; /* of codes; all 0 between windows */
    ps_cursor cursor;
    double scale; /* units in 1 */
    bool broken;  /* a list was found to be */
} ps_codes;

/* The codes of the frequencies of a word, kept from block to block. All zeros at first, and whenever the
 * scale or the word is another. */
typedef struct {
    uint16_t lengths[PS_CODED_FREQ]; /* for which codes[freq] has been found; 0: for none */
    uint8_t codes[PS_CODED_FREQ + 1];
} ps_code_table;

/* `most`: sum of `ever` of up to PS_CODES_WORDS words. */
bool ps_codes_scale(ps_codes *codes, double most, uint32_t words);

/* Adds the codes of the postings of a word from lo to hi - 1 (at most PS_CODES_DOCS), within the outer window
 * of the word; those of blocks with a bound of `need` or less are left out. `usual`: words that documents
 * have; a block with far shorter ones has codes made of the impacts themselves. */
void ps_codes_add(ps_codes *codes, const ps_pruned_word *word, ps_code_table *table, uint32_t lo, uint32_t hi,
                  double need, uint32_t usual);

/* Makes all documents of a word in the window such that they may have anything; when no more is added. */
void ps_codes_mark(ps_codes *codes, const ps_pruned_word *word, uint32_t lo, uint32_t hi);

/* How many of the first n documents of the window may have more than `need` (0 or more) of the words added.
 */
uint32_t ps_codes_count(const ps_codes *codes, uint32_t n, double need);

/* Writes to `at` which of the documents from number `from` to `to` - 1 of the window these are, ascending,
 * and returns how many. `from` is a multiple of 64. */
uint32_t ps_codes_take(const ps_codes *codes, uint32_t from, uint32_t to, double need, uint32_t *at);

/* Makes the sums of the first n documents 0. */
void ps_codes_clear(ps_codes *codes, uint32_t n);

#endif
