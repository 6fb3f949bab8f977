/* search_plan -- a query as the index runs it: a tree in an array, words by their bytes.
 *
 * The caller owns all of it. Node 0 is the root. A document that a node matches has a score there:
 *
 *     TERM     holds the word in one of its fields               its impact
 *     PHRASE   holds the words one after the other, or nearly    its impact; f = matches, idf = sum of idfs
 *     ANY      at least `minimum` of the children match          sum of those that match
 *     ALL      all children match (of none: no document)         sum of them
 *     EXCEPT   the first child matches, and no other one does    that of the first
 *     MASK     its bit is set in `mask` (by ordinal)             0
 *     CONST    its only child matches                            `weight`
 *     EVERY    every live document                               0
 *
 * Dead documents match nothing. Phrases: word i at place p stands at p - i. The words' lists of p - i are
 * walked together: with lo and hi the least and greatest of their heads, if hi - lo <= slop and no two words
 * stand at one place, the match counts 1 / (1 + hi - lo); then the list whose head is least (of equal ones
 * the first) moves on; it ends where a list does. f is at the most the length of the document. */
#ifndef PS_SEARCH_PLAN_H
#define PS_SEARCH_PLAN_H

#include <stdint.h>

#include "search_part.h"
#include "search_scorer.h"

#define PS_NO_NODE UINT32_MAX
#define PS_PLAN_DEPTH 64    /* levels of a tree */
#define PS_PLAN_NODES 65536 /* nodes of it */

enum { PS_TERM, PS_PHRASE, PS_ANY, PS_ALL, PS_EXCEPT, PS_MASK, PS_CONST, PS_EVERY };

typedef struct {
    ps_term term;
    double weight; /* of the field, > 0 */
} ps_plan_word;

typedef struct {
    uint8_t kind;
    uint32_t child, sibling; /* first child, next sibling; PS_NO_NODE */
    uint32_t word, words;    /* TERM: the word in each field. PHRASE: the words in order, all in one field */
    uint32_t slop;           /* PHRASE */
    uint32_t minimum;        /* ANY: 1 or more */
    double weight;           /* TERM, PHRASE: >= 0, times idf and the scorer's own. CONST: the score */
    const uint64_t *mask;    /* MASK */
} ps_plan_node;

typedef struct {
    const ps_plan_node *nodes;
    uint32_t node_count;
    const ps_plan_word *words;
    uint32_t word_count;
} ps_plan;

#endif
