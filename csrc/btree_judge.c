#include <string.h>

#include "btree_edit.h"

static ps_status measure(const ps_btree *tree, uint64_t reference, unsigned level, uint32_t entries, bool shared,
                         ps_btree_stats *stats)
{
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, entries);
    if (node == NULL) return PS_BROKEN;
    shared = shared || ps_btree_is_shared(reference); /* what lies below a shared node is shared, too */
    stats->shared_nodes += shared;
    stats->node_bytes += ps_btree_in_file(reference) ? 0 : sizeof *node;
    stats->leaves += level == 0;
    stats->fill += level == 0 ? ps_btree_load_of(node, tree->flags) : 0; /* what is in leaves, until all is seen */
    stats->inner_nodes += level > 0;
    for (unsigned i = 0; level > 0 && i < node->n; i++) {
        ps_status status = measure(tree, ps_btree_child(node, tree->flags, i, reference), level - 1,
                                   ps_btree_counts(node, tree->flags)[i], shared, stats);
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

ps_status ps_btree_measure(const ps_btree *tree, ps_btree_stats *stats)
{
    *stats = (ps_btree_stats){0};
    if (tree->height == 0) return PS_OK;
    ps_status status = measure(tree, tree->root, tree->height - 1u, tree->length, false, stats);
    if (status == PS_OK) stats->fill /= (double)stats->leaves * ps_btree_leaf_room(tree->flags);
    return status;
}

typedef struct {
    const ps_btree *tree;
    const char **rule;
    uint64_t moves;
    const int64_t *before; /* the key before the one that is judged; NULL: it is the first */
    uint32_t seen;         /* entries */
} judge;

static ps_status broken(const judge *j, const char *rule)
{
    *j->rule = rule;
    return PS_BROKEN;
}

static bool runs_hold(const ps_btree_node *leaf)
{
    const uint8_t *starts = ps_btree_starts(leaf);
    if (leaf->d == 0 || starts[0] != 0) return false;
    for (unsigned i = 1; i < leaf->d; i++)
        if (starts[i] <= starts[i - 1] || starts[i] >= leaf->n) return false;
    return true;
}

static ps_status check_order(judge *j, const ps_btree_node *leaf)
{
    bool is_multi = j->tree->flags & PS_BTREE_MULTI, has_runs = j->tree->flags & PS_BTREE_RUNS;
    for (unsigned i = 0; i < (has_runs ? leaf->d : leaf->n); i++) {
        const int64_t *key = &ps_btree_leaf_keys(leaf, j->tree->flags)[i];
        if (j->before != NULL) {
            int answer = *key > *j->before ? 1 : *key < *j->before ? -1 : 0;
            if (j->tree->flags & PS_BTREE_OBJECT_KEYS) {
                ps_btree_probe probe = {.key = *key};
                ps_status status = ps_btree_ask(j->tree, &probe, *j->before, j->moves, &answer);
                if (status != PS_OK) return status;
            }
            if (answer < 0 || (answer == 0 && !is_multi)) return broken(j, "keys ascend");
            if (answer == 0 && has_runs && i > 0) return broken(j, "a leaf of runs holds a key once");
        }
        j->before = key;
    }
    j->seen += leaf->n;
    return PS_OK;
}

static bool labels_hold(const ps_btree *tree, const ps_btree_node *leaf)
{
    if (!tree->use_hints) return true;
    const int64_t *keys = ps_btree_leaf_keys(leaf, tree->flags);
    for (unsigned i = 0; i < leaf->n; i++)
        if (leaf->named.labels[i] != ps_btree_label_of(leaf, ps_btree_hint_of(tree, keys[i]))) return false;
    return true;
}

static bool pivots_hold(const ps_btree *tree, const ps_btree_node *node)
{
    if (node->level == 0 && tree->flags & PS_BTREE_OBJECT_KEYS) return labels_hold(tree, node);
    ps_btree_node expected = {.n = node->n, .level = node->level, .d = node->d};
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++) expected.pivots[i] = INT64_MAX;
    memcpy(expected.words, node->words, sizeof expected.words);
    ps_btree_set_pivots(&expected, tree->flags);
    return memcmp(expected.pivots, node->pivots, sizeof expected.pivots) == 0;
}

/* The leaf that the first entry below a node is in. */
static const ps_btree_node *first_leaf(const ps_btree *tree, uint64_t reference, const ps_btree_node *node,
                                       unsigned level)
{
    for (; node != NULL && level > 0; level--) {
        reference = ps_btree_child(node, tree->flags, 0, reference);
        node = ps_btree_node_of(tree, reference, level - 1, ps_btree_counts(node, tree->flags)[0]);
    }
    return node;
}

static ps_status check_separator(const judge *j, const ps_btree_node *node, unsigned at, uint64_t child,
                                 const ps_btree_node *child_node)
{
    ps_btree_separator there = ps_btree_get_separator(ps_btree_parts_of(node, j->tree->flags), at - 1);
    const ps_btree_node *leaf = first_leaf(j->tree, child, child_node, node->level - 1u);
    if (leaf == NULL) return broken(j, "pages of the file are whole");
    ps_btree_separator wanted = ps_btree_separator_of(j->tree, ps_btree_leaf_keys(leaf, j->tree->flags)[0]);
    if (there.key != wanted.key) return broken(j, "separators are the first keys of subtrees");
    if (j->tree->use_hints && there.hint != wanted.hint) return broken(j, "hints are those of their keys");
    return PS_OK;
}

static ps_status check_node(judge *j, uint64_t reference, unsigned level, uint32_t entries, bool is_root, bool first,
                            bool last)
{
    const ps_btree *tree = j->tree;
    unsigned flags = tree->flags, least = ps_btree_least(flags, level);
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, entries);
    if (node == NULL) return broken(j, "pages of the file are whole");
    if (node->level != level) return broken(j, "all leaves are equally deep");
    if (level == 0 && (first || last)) least = 1;
    if (is_root) least = level == 0 ? 1 : 2;
    if (ps_btree_load_of(node, flags) < least) return broken(j, "nodes are full enough");
    if (ps_btree_load_of(node, flags) > ps_btree_room(flags, level))
        return broken(j, "nodes have room for what they hold");
    if (!ps_btree_in_file(reference) && atomic_load(&ps_btree_at(reference)->owners) == 0)
        return broken(j, "nodes have an owner");
    if (ps_btree_below(node, flags) != entries) return broken(j, "counts are right");
    if (!pivots_hold(tree, node)) return broken(j, "pivots and labels are those of their keys");
    if (level == 0 && flags & PS_BTREE_RUNS && !runs_hold(node)) return broken(j, "runs follow each other");
    if (level == 0) return check_order(j, node);
    unsigned n = node->n;
    for (unsigned i = 0; i < n; i++) { /* the node may be gone after a status that is not PS_OK */
        uint64_t child = ps_btree_child(node, flags, i, reference);
        uint32_t below = ps_btree_counts(node, flags)[i];
        const ps_btree_node *child_node = ps_btree_node_of(tree, child, level - 1, below);
        if (child_node == NULL) return broken(j, "pages of the file are whole");
        if (child_node->level + 1u != level) return broken(j, "all leaves are equally deep");
        if (i > 0) {
            ps_status status = check_separator(j, node, i, child, child_node);
            if (status != PS_OK) return status;
        }
        ps_status status = check_node(j, child, level - 1, below, false, first && i == 0, last && i + 1 == n);
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

ps_status ps_btree_check(const ps_btree *tree, const char **rule)
{
    judge j = {.tree = tree, .rule = rule, .moves = tree->moves};
    if ((tree->height == 0) != (tree->root == 0) || (tree->height == 0) != (tree->length == 0))
        return broken(&j, "an empty tree has no nodes");
    if (tree->height == 0) return PS_OK;
    if (tree->height > PS_BTREE_MAX_HEIGHT) return broken(&j, "a tree has 16 levels at most");
    ps_status status = check_node(&j, tree->root, tree->height - 1u, tree->length, true, true, true);
    if (status == PS_OK && j.seen != tree->length) return broken(&j, "the length is that of all leaves");
    return status;
}
