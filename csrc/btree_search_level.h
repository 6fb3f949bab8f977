/* btree_search_level -- searches, once for each level of a processor.
 *
 * btree_search.c alone includes it, once a level: so there is no guard. Before, it defines
 *     LEVEL(name)      the name of a function at this level
 *     LEVEL_TARGET     what lets the compiler use the instructions of the level
 * and the functions at this level
 *     pivots(node, key, side)   how many of the 7 pivots are less than the key (AFTER: not greater)
 *     eight(words, key, side)   a bit for each of 8 words that is not less than the key (AFTER: greater)
 *     sum(counts, n)            of the first n counts of a node
 * `side` is known at compile time. */

LEVEL_TARGET static inline unsigned LEVEL(within)(const ps_btree_node *node, unsigned line, bool wide, unsigned n,
                                                  int64_t key, ps_btree_side side)
{
    unsigned at;
    if (wide) { /* the last sixteen begin earlier, or they would end behind the node */
        unsigned start = line * 16 < PS_BTREE_KEYS - 16 ? line * 16 : PS_BTREE_KEYS - 16;
        unsigned mask = LEVEL(eight)(node->words + start, key, side);
        mask |= LEVEL(eight)(node->words + start + 8, key, side) << 8;
        at = start + (unsigned)__builtin_ctz(mask | 1u << 16);
    } else {
        unsigned start = line * 8;
        at = start + (unsigned)__builtin_ctz(LEVEL(eight)(node->words + start, key, side) | 1u << 8);
    }
    return at < n ? at : n; /* words beyond n are anything, and so may be pivots of a hostile file */
}

LEVEL_TARGET static inline unsigned LEVEL(search)(const ps_btree_node *node, unsigned n, bool wide, int64_t key,
                                                  ps_btree_side side)
{
    return LEVEL(within)(node, LEVEL(pivots)(node, key, side), wide, n, key, side);
}

LEVEL_TARGET static unsigned LEVEL(position)(const ps_btree_node *node, unsigned n, bool wide, int64_t key,
                                             ps_btree_side side)
{
    return side == PS_BTREE_BEFORE ? LEVEL(search)(node, n, wide, key, PS_BTREE_BEFORE)
                                   : LEVEL(search)(node, n, wide, key, PS_BTREE_AFTER);
}

LEVEL_TARGET static inline ps_status LEVEL(walk)(const ps_btree *tree, int64_t key, ps_btree_side inner,
                                                 ps_btree_side leaf, ps_btree_place *place)
{
    uint64_t reference = tree->root;
    unsigned step = 0, level = tree->height - 1u;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, tree->length);
    place->height = tree->height;
    for (; level > 0; level--, step++) {
        if (node == NULL) return PS_BROKEN;
        unsigned at = LEVEL(search)(node, node->n - 1u, false, key, inner);
        place->steps[step].node = node;
        place->steps[step].at = at;
        reference = node->branch.children[at] | (reference & 1);
        node = ps_btree_node_of(tree, reference, level - 1, node->branch.counts[at]);
    }
    if (node == NULL) return PS_BROKEN;
    place->steps[step].node = node;
    if (tree->flags & PS_BTREE_RUNS)
        place->steps[step].at = start_of(node, LEVEL(search)(node, node->d, false, key, leaf));
    else
        place->steps[step].at = LEVEL(search)(node, node->n, !(tree->flags & PS_BTREE_VALUES), key, leaf);
    return PS_OK;
}

LEVEL_TARGET static ps_status LEVEL(find)(const ps_btree *tree, int64_t key, ps_btree_side inner, ps_btree_side leaf,
                                          ps_btree_place *place)
{
    if (inner == PS_BTREE_BEFORE) return LEVEL(walk)(tree, key, PS_BTREE_BEFORE, PS_BTREE_BEFORE, place);
    if (leaf == PS_BTREE_BEFORE) return LEVEL(walk)(tree, key, PS_BTREE_AFTER, PS_BTREE_BEFORE, place);
    return LEVEL(walk)(tree, key, PS_BTREE_AFTER, PS_BTREE_AFTER, place);
}

/* The entries before the gap on a side of a key, counted on the way down. */
LEVEL_TARGET static inline ps_status LEVEL(count_before)(const ps_btree *tree, int64_t key, ps_btree_side side,
                                                         int64_t *rank)
{
    uint64_t reference = tree->root, before = 0;
    unsigned level = tree->height - 1u;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, tree->length);
    for (; level > 0; level--) {
        if (node == NULL) return PS_BROKEN;
        unsigned at = LEVEL(search)(node, node->n - 1u, false, key, side);
        reference = node->branch.children[at] | (reference & 1);
        before += LEVEL(sum)(node->branch.counts, at);
        node = ps_btree_node_of(tree, reference, level - 1, node->branch.counts[at]);
    }
    if (node == NULL) return PS_BROKEN;
    bool runs = tree->flags & PS_BTREE_RUNS, wide = !(tree->flags & PS_BTREE_VALUES);
    unsigned at = LEVEL(search)(node, runs ? node->d : node->n, wide, key, side);
    *rank = (int64_t)before + (runs ? start_of(node, at) : at);
    return PS_OK;
}

LEVEL_TARGET static ps_status LEVEL(rank)(const ps_btree *tree, int64_t key, ps_btree_side side, int64_t *rank)
{
    return side == PS_BTREE_BEFORE ? LEVEL(count_before)(tree, key, PS_BTREE_BEFORE, rank)
                                   : LEVEL(count_before)(tree, key, PS_BTREE_AFTER, rank);
}

/* The value at a key that is there once at most. */
LEVEL_TARGET static ps_status LEVEL(get)(const ps_btree *tree, int64_t key, uint64_t *value)
{
    uint64_t reference = tree->root;
    unsigned level = tree->height - 1u;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, tree->length);
    for (; level > 0; level--) {
        if (node == NULL) return PS_BROKEN;
        unsigned at = LEVEL(search)(node, node->n - 1u, false, key, PS_BTREE_AFTER);
        reference = node->branch.children[at] | (reference & 1);
        node = ps_btree_node_of(tree, reference, level - 1, node->branch.counts[at]);
    }
    if (node == NULL) return PS_BROKEN;
    bool wide = !(tree->flags & PS_BTREE_VALUES);
    unsigned line = LEVEL(pivots)(node, key, PS_BTREE_BEFORE);
    if (!wide) { /* fetched together with the keys, not after them */
        __builtin_prefetch(&node->entries.values[line * 8 < PS_BTREE_ENTRIES ? line * 8 : 0]);
        __builtin_prefetch(&node->entries.values[line * 8 + 7 < PS_BTREE_ENTRIES ? line * 8 + 7 : 0]);
    }
    unsigned at = LEVEL(within)(node, line, wide, node->n, key, PS_BTREE_BEFORE);
    if (at == node->n || node->words[at] != key) return PS_EMPTY;
    if (!wide) *value = node->entries.values[at];
    return PS_OK;
}

/* The leaves of n keys; `ranks` NULL, or what lies before each leaf is added there. The keys may be `in_order`. */
LEVEL_TARGET static inline ps_status LEVEL(leaves)(const ps_btree *tree, const int64_t *keys, unsigned n,
                                                   ps_btree_side side, bool in_order, const ps_btree_node **leaves,
                                                   int64_t *ranks)
{
    unsigned level = tree->height - 1u;
    uint64_t reference = tree->root;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, tree->length);
    if (node == NULL) return PS_BROKEN;
    uint64_t before = 0;
    for (; in_order && level > 0; level--) { /* all go the same way while the first and the last do */
        unsigned at = LEVEL(search)(node, node->n - 1u, false, keys[0], side);
        if (n > 1 && LEVEL(search)(node, node->n - 1u, false, keys[n - 1], side) != at) break;
        if (ranks != NULL) before += LEVEL(sum)(node->branch.counts, at);
        reference = node->branch.children[at] | (reference & 1);
        node = ps_btree_node_of(tree, reference, level - 1, node->branch.counts[at]);
        if (node == NULL) return PS_BROKEN;
    }
    uint64_t in_file = reference & 1;
    uint64_t files = 0; /* a bit for each key whose node lies in a file */
    _Static_assert(TOGETHER <= 64, "a bit each");
    if (in_file) files = ~UINT64_C(0);
    for (unsigned i = 0; i < n; i++) leaves[i] = node;
    if (ranks != NULL)
        for (unsigned i = 0; i < n; i++) ranks[i] = (int64_t)before;
    for (; level > 0; level--) {
        for (unsigned i = 0; i < n; i++) {
            unsigned at = LEVEL(search)(leaves[i], leaves[i]->n - 1u, false, keys[i], side);
            if (ranks != NULL) ranks[i] += (int64_t)LEVEL(sum)(leaves[i]->branch.counts, at);
            uint64_t child = leaves[i]->branch.children[at] | (files >> i & 1);
            if (ps_btree_in_file(child)) {
                files |= UINT64_C(1) << i;
                leaves[i] = ps_btree_node_of(tree, child, level - 1, leaves[i]->branch.counts[at]);
                if (leaves[i] == NULL) return PS_BROKEN;
            } else {
                leaves[i] = (const ps_btree_node *)(uintptr_t)child;
            }
            __builtin_prefetch(leaves[i]);
        }
    }
    return PS_OK;
}

/* Where each of n keys stands in its leaf. */
LEVEL_TARGET static inline void LEVEL(places)(const ps_btree_node *const *leaves, const int64_t *keys, unsigned n,
                                              bool wide, bool runs, ps_btree_side side, unsigned *at)
{
    for (unsigned i = 0; i < n; i++) {
        at[i] = LEVEL(pivots)(leaves[i], keys[i], side);
        const int64_t *line = leaves[i]->words + at[i] * (wide ? 16 : 8);
        __builtin_prefetch(line);
        if (wide) __builtin_prefetch(line + 8);
    }
    for (unsigned i = 0; i < n; i++)
        at[i] = LEVEL(within)(leaves[i], at[i], wide, runs ? leaves[i]->d : leaves[i]->n, keys[i], side);
}

LEVEL_TARGET static inline bool LEVEL(ascend)(const int64_t *keys, unsigned n)
{
    int descents = 0;
    for (unsigned i = 1; i < n; i++) descents |= keys[i] < keys[i - 1];
    return !descents;
}

/* In a tree where no two keys are equal. */
LEVEL_TARGET static ps_status LEVEL(get_many)(const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values,
                                              uint8_t *found)
{
    bool wide = !(tree->flags & PS_BTREE_VALUES);
    const ps_btree_node *leaves[TOGETHER];
    unsigned at[TOGETHER];
    for (; n > 0;) {
        unsigned some = n < TOGETHER ? (unsigned)n : TOGETHER;
        ps_status status =
            LEVEL(leaves)(tree, keys, some, PS_BTREE_AFTER, LEVEL(ascend)(keys, some), leaves, NULL);
        if (status != PS_OK) return status;
        LEVEL(places)(leaves, keys, some, wide, false, PS_BTREE_BEFORE, at);
        if (!wide && values != NULL)
            for (unsigned i = 0; i < some; i++)
                __builtin_prefetch(&leaves[i]->entries.values[at[i] < PS_BTREE_ENTRIES ? at[i] : 0]);
        for (unsigned i = 0; i < some; i++) {
            bool is_there = at[i] < leaves[i]->n && leaves[i]->words[at[i]] == keys[i];
            found[i] = is_there;
            if (is_there && !wide && values != NULL) values[i] = leaves[i]->entries.values[at[i]];
        }
        n -= some;
        keys += some;
        found += some;
        if (values != NULL) values += some;
    }
    return PS_OK;
}

LEVEL_TARGET static inline ps_status LEVEL(ranks)(const ps_btree *tree, const int64_t *keys, size_t n,
                                                  ps_btree_side side, int64_t *ranks)
{
    bool wide = !(tree->flags & PS_BTREE_VALUES), runs = tree->flags & PS_BTREE_RUNS;
    const ps_btree_node *leaves[TOGETHER];
    unsigned at[TOGETHER];
    for (; n > 0;) {
        unsigned some = n < TOGETHER ? (unsigned)n : TOGETHER;
        int64_t before[TOGETHER];
        ps_status status = LEVEL(leaves)(tree, keys, some, side, LEVEL(ascend)(keys, some), leaves, before);
        if (status != PS_OK) return status;
        LEVEL(places)(leaves, keys, some, wide, runs, side, at);
        for (unsigned i = 0; i < some; i++) ranks[i] = before[i] + (runs ? start_of(leaves[i], at[i]) : at[i]);
        n -= some;
        keys += some;
        ranks += some;
    }
    return PS_OK;
}

LEVEL_TARGET static ps_status LEVEL(rank_many)(const ps_btree *tree, const int64_t *keys, size_t n,
                                               ps_btree_side side, int64_t *ranks)
{
    return side == PS_BTREE_BEFORE ? LEVEL(ranks)(tree, keys, n, PS_BTREE_BEFORE, ranks)
                                   : LEVEL(ranks)(tree, keys, n, PS_BTREE_AFTER, ranks);
}
