/* btree_bulk -- many entries of a B-tree at once. A part of btree.h, which includes it. */
#ifndef PS_BTREE_BULK_H
#define PS_BTREE_BULK_H

/* Removes entries [first, last), in O(log n) and what the subtrees take to be freed; words wait among the dead. */
ps_status ps_btree_remove_range(ps_btree *tree, uint32_t first, uint32_t last);

/* Moves the entries from `index` on to `right`, an empty tree of the same owner; if there are any, it gets the
 * flags, too. In O(log n). */
ps_status ps_btree_split(ps_btree *tree, uint32_t index, ps_btree *right);

/* Fills an empty tree with n entries in order, nodes `fill` full (0.5 to 1), and takes over their references.
 * For int64 keys it checks the order: PS_REFUSED, and *unsorted is the index of the first entry that is less than
 * (without MULTI: not greater than) the one before; n if they are too many. `values` NULL for trees without. */
ps_status ps_btree_load(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, double fill,
                        size_t *unsorted);

/* int64 keys only. Without Python code, so without the GIL. */

/* Inserts or replaces n entries with *ascending* keys (of equal ones the last wins; with MULTI all are inserted, in
 * order, after equals that are there). *added: entries more than before. For trees without objects. All or nothing.
 * PS_NO_MEMORY; PS_REFUSED: too many; PS_BROKEN also where the file's entries are not in order. */
ps_status ps_btree_put_many(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, size_t *added);

/* Makes `into` (not initialised) a tree with the same entries and flags but RUNS, its leaves `fill` full: what
 * goes to a file. Without objects. PS_NO_MEMORY: `into` is empty. */
ps_status ps_btree_without_runs(const ps_btree *tree, ps_btree *into, double fill);

/* Removes the entries with these *ascending* keys (with MULTI all of each). *removed: entries gone. All or nothing,
 * and refusals as above. */
ps_status ps_btree_remove_many(ps_btree *tree, const int64_t *keys, size_t n, size_t *removed);

#endif
