/* btree_judge -- figures of a B-tree, and whether every rule holds. A part of btree.h, which includes it. */
#ifndef PS_BTREE_JUDGE_H
#define PS_BTREE_JUDGE_H

typedef struct {
    uint64_t leaves, inner_nodes;
    uint64_t node_bytes;   /* of all nodes, also those shared with other trees */
    uint64_t shared_nodes; /* that another tree owns too, or that lie in a file */
    double fill;           /* entries / room for entries in leaves; 0 when empty */
} ps_btree_stats;

ps_status ps_btree_measure(const ps_btree *tree, ps_btree_stats *stats);

/* Whether every rule holds: the depth of leaves, counts, fill, exact separators, hints, order (by `compare` where
 * keys are objects; PS_STOPPED and PS_CHANGED from it). PS_BROKEN: *rule says which one does not, in words. */
ps_status ps_btree_check(const ps_btree *tree, const char **rule);

#endif
