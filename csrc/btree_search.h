/* btree_search -- where an int64 key stands among the nodes of a tree, with the instructions that there are.
 *
 * A node is searched in two steps: its pivots, one cache line, say which eight (or sixteen) keys, and those say
 * where. Each step compares all at once and counts, so nothing depends on a branch that is guessed.
 * Source: Algorithmica, Static B-Trees; S+ trees: curiouscoding.nl, Static search trees, 2024 (queries of a batch
 * go down level by level, side by side, so that their misses of the cache overlap).
 *
 * ps_btree_get, ps_btree_rank, ps_btree_get_many and ps_btree_rank_many of btree.h are in btree_search.c. */
#ifndef PS_BTREE_SEARCH_H
#define PS_BTREE_SEARCH_H

#include "btree_node.h"

/* The code that is used: the last that the processor knows; tests choose. */
typedef enum {
    PS_BTREE_PLAIN,
    PS_BTREE_AVX2,
    PS_BTREE_AVX512,
    PS_BTREE_CODES,
} ps_btree_code;

/* False: this processor does not know it; nothing changed. Not while another thread searches. */
bool ps_btree_use(ps_btree_code code);
ps_btree_code ps_btree_used(void);

/* How many of the first n words of a node are less than `key` (AFTER: not greater). Words are its keys or hints,
 * and its pivots are every 16th of them if `wide`, else every 8th. */
unsigned ps_btree_position(const ps_btree_node *node, unsigned n, bool wide, int64_t key, ps_btree_side side);

/* The sum of the first n counts of an inner node. */
uint32_t ps_btree_first_counts(const uint32_t *counts, unsigned n);

/* The path to the gap on a side of `key`: among the children of inner nodes on side `inner`, in the leaf on side
 * `leaf`; so the place may be past the end of a leaf that is not the last. The tree has int64 keys and is not
 * empty. */
ps_status ps_btree_find(const ps_btree *tree, int64_t key, ps_btree_side inner, ps_btree_side leaf,
                        ps_btree_place *place);

#endif
