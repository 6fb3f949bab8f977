/* btree_edit -- what the changes of a B-tree are made of, node by node: for the other parts of it, not for its
 * callers. */
#ifndef PS_BTREE_EDIT_H
#define PS_BTREE_EDIT_H

#include <string.h>

#include "btree_node.h"

/* Whether the caller counts references of what is in leaves. */
static inline bool ps_btree_has_objects(unsigned flags)
{
    return (flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES)) != 0;
}

static inline uint64_t ps_btree_reference(const ps_btree_node *node) { return (uint64_t)(uintptr_t)node; }

/* A node that is known to have one owner. Nodes are const in paths because most are read only. */
static inline ps_btree_node *ps_btree_own_node(const ps_btree_node *node) { return (ps_btree_node *)(uintptr_t)node; }

static inline ps_btree_node *ps_btree_at(uint64_t reference) { return (ps_btree_node *)(uintptr_t)reference; }

/* Whether to write to the node of a reference is to change what another tree sees. */
static inline bool ps_btree_is_shared(uint64_t reference)
{
    return ps_btree_in_file(reference) ||
           atomic_load_explicit(&ps_btree_at(reference)->owners, memory_order_acquire) != 1;
}

/* The arrays of an inner node; `hints` NULL where it has none. */
typedef struct {
    int64_t *hints, *keys;
    uint64_t *children;
    uint32_t *counts;
} ps_btree_parts;

static inline ps_btree_parts ps_btree_parts_of(const ps_btree_node *inner, unsigned flags)
{
    ps_btree_node *node = ps_btree_own_node(inner);
    if (flags & PS_BTREE_OBJECT_KEYS)
        return (ps_btree_parts){node->guide.hints, node->guide.keys, node->guide.children, node->guide.counts};
    return (ps_btree_parts){NULL, node->branch.keys, node->branch.children, node->branch.counts};
}

/* What separates two neighbours: the first key of the right one. */
typedef struct {
    int64_t key, hint;
} ps_btree_separator;

static inline ps_btree_separator ps_btree_separator_of(const ps_btree *tree, int64_t key)
{
    bool hints = tree->flags & PS_BTREE_OBJECT_KEYS && tree->owner->hint != NULL;
    return (ps_btree_separator){key, hints ? tree->owner->hint(tree->context, key) : 0};
}

static inline ps_btree_separator ps_btree_get_separator(ps_btree_parts parts, unsigned at)
{
    return (ps_btree_separator){parts.keys[at], parts.hints != NULL ? parts.hints[at] : 0};
}

static inline void ps_btree_set_separator(ps_btree_parts parts, unsigned at, ps_btree_separator separator)
{
    parts.keys[at] = separator.key;
    if (parts.hints != NULL) parts.hints[at] = separator.hint;
}

static inline uint32_t ps_btree_sum(const uint32_t *counts, unsigned n)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < n; i++) sum += counts[i];
    return sum;
}

/* Entries below a node. */
static inline uint32_t ps_btree_below(const ps_btree_node *node, unsigned flags)
{
    return node->level == 0 ? node->n : ps_btree_sum(ps_btree_counts(node, flags), node->n);
}

static inline int64_t *ps_btree_keys_in(ps_btree_node *leaf, unsigned flags)
{
    return (int64_t *)(uintptr_t)ps_btree_leaf_keys(leaf, flags);
}

static inline uint64_t *ps_btree_values_in(ps_btree_node *leaf, unsigned flags)
{
    return (uint64_t *)(uintptr_t)ps_btree_leaf_values(leaf, flags);
}

/* After the keys of a node have changed. */
static inline void ps_btree_set_pivots(ps_btree_node *node, unsigned flags)
{
    if (node->level == 0 && flags & PS_BTREE_OBJECT_KEYS) return; /* it has labels */
    unsigned n = node->level > 0 ? node->n - 1u : flags & PS_BTREE_RUNS ? node->d : node->n;
    unsigned step = node->level == 0 && !(flags & PS_BTREE_VALUES) ? 16 : 8;
    for (unsigned i = 0, at = step; i < PS_BTREE_PIVOTS; i++, at += step)
        node->pivots[i] = at < n ? node->words[at] : INT64_MAX;
}

/* Asks the caller how the probe compares with a key, and whether the tree is still what it was. */
static inline ps_status ps_btree_ask(const ps_btree *tree, const ps_btree_probe *probe, int64_t key,
                                     uint64_t moves, int *answer)
{
    bool stop = false;
    *answer = tree->owner->compare(tree->context, probe->key, key, &stop);
    if (tree->moves != moves) return stop ? PS_STOPPED : PS_CHANGED;
    return stop ? PS_STOPPED : PS_OK;
}

static inline int64_t ps_btree_hint_of(const ps_btree *tree, int64_t key)
{
    return tree->owner->hint != NULL ? tree->owner->hint(tree->context, key) : 0;
}

/* What a byte tells of a hint; greater hints have no smaller labels. */
static inline uint8_t ps_btree_label_of(const ps_btree_node *leaf, int64_t hint)
{
    if (hint <= leaf->named.base) return 0;
    uint64_t steps = ((uint64_t)hint - (uint64_t)leaf->named.base) >> leaf->named.shift;
    return steps < UINT8_MAX ? (uint8_t)steps : UINT8_MAX;
}

static inline ps_btree_node *ps_btree_next_dead(const ps_btree_node *leaf)
{
    return (ps_btree_node *)(intptr_t)leaf->pivots[0];
}

/* A node of no contents and one owner; NULL: no memory. */
ps_btree_node *ps_btree_new_node(const ps_btree *tree, unsigned level);

/* Gives back a node whose contents have gone elsewhere. */
void ps_btree_free_node(const ps_btree *tree, ps_btree_node *node);

/* One owner more. */
void ps_btree_retain(uint64_t reference);

/* One owner less. The last one's words wait among the dead of the tree. */
void ps_btree_release(ps_btree *tree, uint64_t reference, unsigned level);

/* Labels the keys of a leaf anew, as finely as a byte can; in a tree without words of the caller's as keys it
 * does nothing. */
void ps_btree_label(const ps_btree *tree, ps_btree_node *leaf);

/* The key of an entry of a leaf. */
static inline int64_t ps_btree_key_at(const ps_btree_node *leaf, unsigned flags, unsigned at)
{
    if (!(flags & PS_BTREE_RUNS)) return ps_btree_leaf_keys(leaf, flags)[at];
    unsigned run = 0;
    for (unsigned i = 1; i < leaf->d; i++) run += ps_btree_starts(leaf)[i] <= at;
    return leaf->words[run];
}

/* Copies the keys of entries [from, from + n) of a leaf. */
static inline void ps_btree_read_keys(const ps_btree_node *leaf, unsigned flags, unsigned from, unsigned n,
                                      int64_t *keys)
{
    if (!(flags & PS_BTREE_RUNS)) {
        memcpy(keys, ps_btree_leaf_keys(leaf, flags) + from, n * sizeof *keys);
        return;
    }
    const uint8_t *starts = ps_btree_starts(leaf);
    unsigned run = 0;
    while (run + 1u < leaf->d && starts[run + 1] <= from) run++;
    for (unsigned at = from; at < from + n; run++) {
        unsigned end = run + 1u < leaf->d && starts[run + 1] < from + n ? starts[run + 1] : from + n;
        for (; at < end; at++) keys[at - from] = leaf->words[run];
    }
}

/* Fills a leaf with n entries, which are no more than it has room for. */
void ps_btree_fill(const ps_btree *tree, ps_btree_node *leaf, const int64_t *keys, const uint64_t *values, unsigned n);

/* Whether a leaf has room for one entry more. */
bool ps_btree_has_room(const ps_btree *tree, const ps_btree_node *leaf, unsigned at, int64_t key);

/* Puts an entry where there is room for it. */
void ps_btree_insert_in_leaf(const ps_btree *tree, ps_btree_node *leaf, unsigned at, int64_t key, uint64_t value);

/* Takes an entry out; its references are the caller's. */
void ps_btree_remove_from_leaf(const ps_btree *tree, ps_btree_node *leaf, unsigned at);

/* Leaves the first entries in a leaf and moves the others to an empty one. */
void ps_btree_split_leaf(const ps_btree *tree, ps_btree_node *leaf, ps_btree_node *right, unsigned kept);

/* Makes a leaf, whose words nobody else releases, one of the dead. */
void ps_btree_bury(ps_btree *tree, ps_btree_node *leaf);

/* Fills a new node with contents [from, from + n) of another one, which keeps its own. */
void ps_btree_copy(const ps_btree *tree, ps_btree_node *to, const ps_btree_node *node, unsigned from, unsigned n,
                   bool in_file);

/* Puts a copy of a node into `slot` in place of it, and returns the copy. */
ps_btree_node *ps_btree_replace(ps_btree *tree, uint64_t *slot, const ps_btree_node *node, ps_btree_node *copy);

/* Makes the child at `at` of a node of this tree's own its own too; NULL: no memory, or a page is broken. */
ps_btree_node *ps_btree_own_child(ps_btree *tree, ps_btree_node *parent, unsigned at, ps_status *status);

/* Makes the root the tree's own. */
ps_btree_node *ps_btree_own_root(ps_btree *tree, ps_status *status);

/* Pours what `from` has into its neighbour `to`, which has room for it and is the tree's own; gives `from` up. */
void ps_btree_pour(ps_btree *tree, ps_btree_node *to, const ps_btree_node *from, uint64_t reference, bool from_left,
                   ps_btree_separator separator);

/* Makes two neighbours of the tree's own equally full. Returns the entries that went to the left one (< 0: right). */
int64_t ps_btree_even(ps_btree *tree, ps_btree_node *left, ps_btree_node *right, ps_btree_separator *separator);

/* Pours the child at `at` +- 1, which is `sibling`, into the one at `at`, which is the tree's own. */
void ps_btree_absorb(ps_btree *tree, ps_btree_node *parent, unsigned at, const ps_btree_node *sibling, bool left);

/* Makes the children at `at` and `at` + 1, both the tree's own, equally full. */
void ps_btree_balance(ps_btree *tree, ps_btree_node *parent, unsigned at);

/* Drops roots that have but one child. The root is the tree's own. */
void ps_btree_collapse(ps_btree *tree);

/* Nodes that are allocated before the first write. */
typedef struct {
    ps_btree_node *nodes[2 * PS_BTREE_MAX_HEIGHT + 2];
    unsigned n;
} ps_btree_spare;

bool ps_btree_reserve(const ps_btree *tree, ps_btree_spare *spare, unsigned n);

ps_btree_node *ps_btree_take_spare(ps_btree_spare *spare, unsigned level);

/* Puts `child` right of the child at steps[step].at and `added` entries more below, and splits what is full on
 * the way up with nodes of `spare`. Nodes of the path from that step up are the tree's own; step < 0: above the
 * root. */
void ps_btree_hang(ps_btree *tree, ps_btree_place *path, int step, uint64_t child, uint32_t count,
                   ps_btree_separator separator, uint32_t added, ps_btree_spare *spare);

/* The tree takes over what `other` holds in place of its own entries; `other` is used up. */
void ps_btree_adopt(ps_btree *tree, ps_btree *other);

/* Drops a tree that came to nothing; what waits in it for release waits in `tree` then. */
void ps_btree_abandon(ps_btree *tree, ps_btree *other);

#endif
