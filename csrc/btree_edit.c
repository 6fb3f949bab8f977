#include "btree_edit.h"

_Static_assert(offsetof(ps_btree_node, named.labels) == offsetof(ps_btree_node, labelled.labels), "one way to look");

/* ---- nodes ---- */

ps_btree_node *ps_btree_new_node(const ps_btree *tree, unsigned level)
{
    ps_btree_node *node = tree->owner->allocator.resize(NULL, sizeof *node);
    if (node == NULL) return NULL;
    node->n = 0;
    node->level = (uint8_t)level;
    node->zero[0] = node->zero[1] = 0;
    atomic_init(&node->owners, 1);
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++) node->pivots[i] = INT64_MAX;
    return node;
}

void ps_btree_free_node(const ps_btree *tree, ps_btree_node *node) { tree->owner->allocator.release(node); }

void ps_btree_retain(uint64_t reference)
{
    if (!ps_btree_in_file(reference))
        atomic_fetch_add_explicit(&ps_btree_at(reference)->owners, 1, memory_order_relaxed);
}

/* A dead leaf has no use for its pivots, or the base of its labels: the next one that is dead is in their place. */
void ps_btree_bury(ps_btree *tree, ps_btree_node *leaf)
{
    leaf->pivots[0] = (int64_t)(intptr_t)tree->dead;
    tree->dead = leaf;
}

void ps_btree_release(ps_btree *tree, uint64_t reference, unsigned level) /* as deep as the tree is high */
{
    if (ps_btree_in_file(reference)) return;
    ps_btree_node *node = ps_btree_at(reference);
    if (atomic_fetch_sub_explicit(&node->owners, 1, memory_order_acq_rel) != 1) return;
    if (level == 0 && ps_btree_has_objects(tree->flags)) {
        ps_btree_bury(tree, node);
        return;
    }
    if (level > 0) {
        const uint64_t *children = ps_btree_children(node, tree->flags);
        for (unsigned i = 0; i < node->n; i++) ps_btree_release(tree, children[i], level - 1);
    }
    ps_btree_free_node(tree, node);
}

/* One owner more for contents [from, from + n) of a node. */
static void retain_contents(const ps_btree *tree, const ps_btree_node *node, unsigned from, unsigned n)
{
    if (node->level > 0) {
        const uint64_t *children = ps_btree_children(node, tree->flags);
        for (unsigned i = from; i < from + n; i++) ps_btree_retain(children[i]);
        return;
    }
    if (tree->flags & PS_BTREE_OBJECT_KEYS)
        tree->owner->retain_keys(tree->context, ps_btree_leaf_keys(node, tree->flags) + from, n);
    if (tree->flags & PS_BTREE_OBJECT_VALUES)
        tree->owner->retain_values(tree->context, ps_btree_leaf_values(node, tree->flags) + from, n);
}

/* ---- entries of a leaf ---- */

/* Fills a leaf of runs. */
static void fill_runs(ps_btree_node *leaf, const int64_t *keys, const uint64_t *values, unsigned n)
{
    uint8_t starts[PS_BTREE_KEYS];
    unsigned d = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i > 0 && keys[i] == keys[i - 1]) continue;
        leaf->words[d] = keys[i];
        starts[d++] = (uint8_t)i;
    }
    leaf->n = (uint8_t)n;
    leaf->d = (uint8_t)d;
    memcpy(leaf->words + d, starts, d);
    memcpy(leaf->words + PS_BTREE_KEYS - n, values, n * sizeof *values);
    ps_btree_set_pivots(leaf, PS_BTREE_VALUES | PS_BTREE_MULTI | PS_BTREE_RUNS);
}

/* How many runs begin before an entry. */
static unsigned runs_before(const ps_btree_node *leaf, unsigned at)
{
    unsigned run = 0;
    for (unsigned i = 0; i < leaf->d; i++) run += ps_btree_starts(leaf)[i] < at;
    return run;
}

/* Puts an entry into a leaf of runs: into the run before it or behind it, or into one of its own. */
static void insert_in_runs(ps_btree_node *leaf, unsigned at, int64_t key, uint64_t value)
{
    uint64_t *values = (uint64_t *)(leaf->words + PS_BTREE_KEYS - leaf->n);
    memmove(values - 1, values, at * sizeof value); /* the free room is before them */
    values[(int)at - 1] = value;
    leaf->n++;
    uint8_t *starts = (uint8_t *)(leaf->words + leaf->d);
    unsigned run = runs_before(leaf, at), from = run;
    if (run > 0 && leaf->words[run - 1] == key) {
        from = run;
    } else if (run < leaf->d && leaf->words[run] == key) {
        from = run + 1;
    } else {
        unsigned after = leaf->d - run;
        memmove(starts + sizeof key + run + 1, starts + run, after);
        memmove(starts + sizeof key, starts, run);
        memmove(leaf->words + run + 1, leaf->words + run, after * sizeof key);
        leaf->words[run] = key;
        leaf->d++;
        starts += sizeof key;
        starts[run] = (uint8_t)at;
        from = run + 1;
    }
    for (unsigned i = from; i < leaf->d; i++) starts[i]++;
}

static void remove_from_runs(ps_btree_node *leaf, unsigned at)
{
    uint64_t *values = (uint64_t *)(leaf->words + PS_BTREE_KEYS - leaf->n);
    memmove(values + 1, values, at * sizeof *values);
    uint8_t *starts = (uint8_t *)(leaf->words + leaf->d);
    unsigned run = runs_before(leaf, at + 1) - 1, end = run + 1u < leaf->d ? starts[run + 1] : leaf->n;
    bool is_last_one = end - starts[run] == 1;
    leaf->n--;
    for (unsigned i = run + 1; i < leaf->d; i++) starts[i]--;
    if (!is_last_one) return;
    unsigned after = leaf->d - run - 1u;
    memmove(leaf->words + run, leaf->words + run + 1, after * sizeof *leaf->words);
    leaf->d--;
    memmove(starts - sizeof *leaf->words, starts, run);
    memmove(starts - sizeof *leaf->words + run, starts + run + 1, after);
}

/* Copies entries from one leaf to another, or within one; the labels as they are. Not for leaves of runs. */
static void move_entries(const ps_btree *tree, ps_btree_node *to, unsigned at, const ps_btree_node *from,
                         unsigned from_at, unsigned n)
{
    unsigned flags = tree->flags;
    memmove(ps_btree_keys_in(to, flags) + at, ps_btree_leaf_keys(from, flags) + from_at, n * sizeof *to->words);
    if (flags & PS_BTREE_OBJECT_KEYS)
        memmove(to->named.labels + at, from->named.labels + from_at, n * sizeof *to->named.labels);
    if (flags & PS_BTREE_VALUES)
        memmove(ps_btree_values_in(to, flags) + at, ps_btree_leaf_values(from, flags) + from_at,
                n * sizeof *to->entries.values);
}

static void copy_scale(const ps_btree *tree, ps_btree_node *to, const ps_btree_node *from)
{
    if (!(tree->flags & PS_BTREE_OBJECT_KEYS)) return;
    to->named.base = from->named.base;
    to->named.shift = from->named.shift;
}

void ps_btree_label(const ps_btree *tree, ps_btree_node *leaf)
{
    if (!(tree->flags & PS_BTREE_OBJECT_KEYS) || leaf->n == 0) return;
    const int64_t *keys = ps_btree_leaf_keys(leaf, tree->flags);
    for (unsigned i = 0; i < leaf->n; i++) __builtin_prefetch((const void *)(intptr_t)keys[i]);
    int64_t first = ps_btree_hint_of(tree, keys[0]), last = ps_btree_hint_of(tree, keys[leaf->n - 1]);
    uint64_t span = last > first ? (uint64_t)last - (uint64_t)first : 0;
    leaf->named.base = first;
    leaf->named.shift = 0;
    while (span >> leaf->named.shift > UINT8_MAX) leaf->named.shift++;
    for (unsigned i = 0; i < leaf->n; i++)
        leaf->named.labels[i] = ps_btree_label_of(leaf, ps_btree_hint_of(tree, keys[i]));
}

/* After a leaf has got fewer keys: where they are few of those that the labels were made for they tell little. */
static void sharpen(const ps_btree *tree, ps_btree_node *leaf)
{
    if (!(tree->flags & PS_BTREE_OBJECT_KEYS) || leaf->n == 0 || leaf->named.shift == 0) return;
    if (leaf->named.labels[leaf->n - 1] - leaf->named.labels[0] < 64) ps_btree_label(tree, leaf);
}

void ps_btree_fill(const ps_btree *tree, ps_btree_node *leaf, const int64_t *keys, const uint64_t *values, unsigned n)
{
    unsigned flags = tree->flags;
    if (flags & PS_BTREE_RUNS) {
        fill_runs(leaf, keys, values, n);
        return;
    }
    memcpy(ps_btree_keys_in(leaf, flags), keys, n * sizeof *keys);
    if (flags & PS_BTREE_VALUES) memcpy(ps_btree_values_in(leaf, flags), values, n * sizeof *values);
    leaf->n = (uint8_t)n;
    ps_btree_set_pivots(leaf, flags);
    ps_btree_label(tree, leaf);
}

bool ps_btree_has_room(const ps_btree *tree, const ps_btree_node *leaf, unsigned at, int64_t key)
{
    unsigned room = ps_btree_leaf_room(tree->flags);
    if (!(tree->flags & PS_BTREE_RUNS)) return leaf->n < room;
    unsigned load = ps_btree_load_of(leaf, tree->flags);
    if (load + 17 <= room || load + 8 > room) return load + 17 <= room;
    return (at > 0 && ps_btree_key_at(leaf, tree->flags, at - 1) == key) ||
           (at < leaf->n && ps_btree_key_at(leaf, tree->flags, at) == key);
}

void ps_btree_insert_in_leaf(const ps_btree *tree, ps_btree_node *leaf, unsigned at, int64_t key, uint64_t value)
{
    unsigned flags = tree->flags, after = leaf->n - at;
    if (flags & PS_BTREE_RUNS) {
        insert_in_runs(leaf, at, key, value);
        ps_btree_set_pivots(leaf, flags);
        return;
    }
    int64_t *keys = ps_btree_keys_in(leaf, flags) + at;
    memmove(keys + 1, keys, after * sizeof key);
    *keys = key;
    if (flags & PS_BTREE_VALUES) {
        uint64_t *values = ps_btree_values_in(leaf, flags) + at;
        memmove(values + 1, values, after * sizeof value);
        *values = value;
    }
    leaf->n++;
    if (flags & PS_BTREE_OBJECT_KEYS) {
        uint8_t *labels = leaf->named.labels + at;
        memmove(labels + 1, labels, after * sizeof *labels);
        *labels = leaf->n == 1 ? 0 : ps_btree_label_of(leaf, ps_btree_hint_of(tree, key));
        if ((leaf->n & (leaf->n - 1)) == 0) ps_btree_label(tree, leaf); /* now and then, as it grows beyond the scale */
    }
    ps_btree_set_pivots(leaf, flags);
}

void ps_btree_remove_from_leaf(const ps_btree *tree, ps_btree_node *leaf, unsigned at)
{
    if (tree->flags & PS_BTREE_RUNS) {
        remove_from_runs(leaf, at);
    } else {
        move_entries(tree, leaf, at, leaf, at + 1, leaf->n - at - 1u);
        leaf->n--;
    }
    ps_btree_set_pivots(leaf, tree->flags);
}

void ps_btree_split_leaf(const ps_btree *tree, ps_btree_node *leaf, ps_btree_node *right, unsigned kept)
{
    unsigned n = leaf->n;
    if (tree->flags & PS_BTREE_RUNS) {
        int64_t keys[PS_BTREE_KEYS];
        uint64_t values[PS_BTREE_KEYS];
        ps_btree_read_keys(leaf, tree->flags, 0, n, keys);
        memcpy(values, ps_btree_leaf_values(leaf, tree->flags), n * sizeof *values);
        fill_runs(leaf, keys, values, kept);
        fill_runs(right, keys + kept, values + kept, n - kept);
        return;
    }
    move_entries(tree, right, 0, leaf, kept, n - kept);
    copy_scale(tree, right, leaf);
    right->n = (uint8_t)(n - kept);
    leaf->n = (uint8_t)kept;
    ps_btree_set_pivots(leaf, tree->flags);
    ps_btree_set_pivots(right, tree->flags);
    sharpen(tree, leaf);
    sharpen(tree, right);
}

/* ---- children of an inner node ---- */

/* Copies n keys with their hints from one inner node to another, or within one. */
static void move_keys(ps_btree_parts to, unsigned at, ps_btree_parts from, unsigned from_at, unsigned n)
{
    memmove(to.keys + at, from.keys + from_at, n * sizeof *to.keys);
    if (to.hints != NULL) memmove(to.hints + at, from.hints + from_at, n * sizeof *to.hints);
}

static void move_children(ps_btree_parts to, unsigned at, ps_btree_parts from, unsigned from_at, unsigned n)
{
    memmove(to.children + at, from.children + from_at, n * sizeof *to.children);
    memmove(to.counts + at, from.counts + from_at, n * sizeof *to.counts);
}

/* at > 0: what is first has no separator. */
static void insert_child(const ps_btree *tree, ps_btree_node *node, unsigned at, uint64_t child, uint32_t count,
                         ps_btree_separator separator)
{
    ps_btree_parts parts = ps_btree_parts_of(node, tree->flags);
    move_children(parts, at + 1, parts, at, node->n - at);
    move_keys(parts, at, parts, at - 1, node->n - at);
    parts.children[at] = child;
    parts.counts[at] = count;
    ps_btree_set_separator(parts, at - 1, separator);
    node->n++;
    ps_btree_set_pivots(node, tree->flags);
}

/* Takes the child at `at` out, and the separator before it (of the first: the one after it). */
static void remove_child(const ps_btree *tree, ps_btree_node *node, unsigned at)
{
    ps_btree_parts parts = ps_btree_parts_of(node, tree->flags);
    unsigned key = at > 0 ? at - 1 : 0;
    move_children(parts, at, parts, at + 1, node->n - at - 1u);
    move_keys(parts, key, parts, key + 1, node->n - 2u - key);
    node->n--;
    ps_btree_set_pivots(node, tree->flags);
}

/* Splits a full inner node into itself and `right`, with the new child among them. Returns what separates the two. */
static ps_btree_separator split_inner(const ps_btree *tree, ps_btree_node *node, ps_btree_node *right, unsigned kept,
                                      unsigned at, uint64_t child, uint32_t count, ps_btree_separator separator)
{
    ps_btree_parts parts = ps_btree_parts_of(node, tree->flags), others = ps_btree_parts_of(right, tree->flags);
    ps_btree_separator between = ps_btree_get_separator(parts, kept - 1);
    right->n = (uint8_t)(node->n - kept);
    move_children(others, 0, parts, kept, right->n);
    move_keys(others, 0, parts, kept, right->n - 1u);
    node->n = (uint8_t)kept;
    if (at <= kept) insert_child(tree, node, at, child, count, separator);
    else insert_child(tree, right, at - kept, child, count, separator);
    ps_btree_set_pivots(node, tree->flags);
    ps_btree_set_pivots(right, tree->flags);
    return between;
}

/* ---- copy on write ---- */

void ps_btree_copy(const ps_btree *tree, ps_btree_node *to, const ps_btree_node *node, unsigned from, unsigned n,
                   bool in_file)
{
    if (node->level == 0 && tree->flags & PS_BTREE_RUNS) {
        int64_t keys[PS_BTREE_KEYS];
        ps_btree_read_keys(node, tree->flags, from, n, keys);
        fill_runs(to, keys, ps_btree_leaf_values(node, tree->flags) + from, n);
    } else if (node->level == 0) {
        move_entries(tree, to, 0, node, from, n);
        copy_scale(tree, to, node);
    } else {
        ps_btree_parts parts = ps_btree_parts_of(to, tree->flags), others = ps_btree_parts_of(node, tree->flags);
        move_children(parts, 0, others, from, n);
        move_keys(parts, 0, others, from, n - 1);
        if (in_file)
            for (unsigned i = 0; i < n; i++) parts.children[i] |= 1;
    }
    to->n = (uint8_t)n;
    retain_contents(tree, to, 0, n);
    ps_btree_set_pivots(to, tree->flags);
}

ps_btree_node *ps_btree_replace(ps_btree *tree, uint64_t *slot, const ps_btree_node *node, ps_btree_node *copy)
{
    ps_btree_copy(tree, copy, node, 0, node->n, ps_btree_in_file(*slot));
    uint64_t old = *slot;
    *slot = ps_btree_reference(copy);
    ps_btree_release(tree, old, copy->level);
    return copy;
}

static ps_btree_node *own(ps_btree *tree, uint64_t *slot, unsigned level, uint32_t entries, ps_status *status)
{
    const ps_btree_node *node = ps_btree_node_of(tree, *slot, level, entries);
    *status = node == NULL ? PS_BROKEN : PS_OK;
    if (node == NULL || !ps_btree_is_shared(*slot)) return ps_btree_own_node(node);
    ps_btree_node *copy = ps_btree_new_node(tree, level);
    if (copy == NULL) {
        *status = PS_NO_MEMORY;
        return NULL;
    }
    return ps_btree_replace(tree, slot, node, copy);
}

ps_btree_node *ps_btree_own_child(ps_btree *tree, ps_btree_node *parent, unsigned at, ps_status *status)
{
    ps_btree_parts parts = ps_btree_parts_of(parent, tree->flags);
    return own(tree, &parts.children[at], parent->level - 1u, parts.counts[at], status);
}

ps_btree_node *ps_btree_own_root(ps_btree *tree, ps_status *status)
{
    uint64_t root = tree->root;
    ps_btree_node *node = own(tree, &root, tree->height - 1u, tree->length, status);
    tree->root = (uintptr_t)root;
    return node;
}

bool ps_btree_reserve(const ps_btree *tree, ps_btree_spare *spare, unsigned n)
{
    for (spare->n = 0; spare->n < n; spare->n++) {
        spare->nodes[spare->n] = ps_btree_new_node(tree, 0);
        if (spare->nodes[spare->n] == NULL) {
            while (spare->n > 0) ps_btree_free_node(tree, spare->nodes[--spare->n]);
            return false;
        }
    }
    return true;
}

ps_btree_node *ps_btree_take_spare(ps_btree_spare *spare, unsigned level)
{
    ps_btree_node *node = spare->nodes[--spare->n];
    node->level = (uint8_t)level;
    return node;
}

/* ---- neighbours ---- */

void ps_btree_pour(ps_btree *tree, ps_btree_node *to, const ps_btree_node *from, uint64_t reference, bool from_left,
                   ps_btree_separator separator)
{
    unsigned n = to->n, more = from->n, level = to->level;
    bool is_shared = ps_btree_is_shared(reference);
    if (level == 0 && tree->flags & PS_BTREE_RUNS) {
        const ps_btree_node *first = from_left ? from : to, *second = from_left ? to : from;
        int64_t keys[PS_BTREE_KEYS];
        uint64_t values[PS_BTREE_KEYS];
        ps_btree_read_keys(first, tree->flags, 0, first->n, keys);
        ps_btree_read_keys(second, tree->flags, 0, second->n, keys + first->n);
        memcpy(values, ps_btree_leaf_values(first, tree->flags), first->n * sizeof *values);
        memcpy(values + first->n, ps_btree_leaf_values(second, tree->flags), second->n * sizeof *values);
        fill_runs(to, keys, values, n + more);
    } else if (level == 0) {
        if (from_left) move_entries(tree, to, more, to, 0, n);
        move_entries(tree, to, from_left ? 0 : n, from, 0, more);
    } else {
        ps_btree_parts parts = ps_btree_parts_of(to, tree->flags), others = ps_btree_parts_of(from, tree->flags);
        if (from_left) {
            move_children(parts, more, parts, 0, n);
            move_keys(parts, more, parts, 0, n - 1);
        }
        unsigned at = from_left ? 0 : n;
        move_children(parts, at, others, 0, more);
        move_keys(parts, at, others, 0, more - 1);
        ps_btree_set_separator(parts, from_left ? more - 1 : n - 1, separator);
        if (ps_btree_in_file(reference))
            for (unsigned i = at; i < at + more; i++) parts.children[i] |= 1;
    }
    to->n = (uint8_t)(n + more);
    ps_btree_set_pivots(to, tree->flags);
    if (level == 0) ps_btree_label(tree, to);
    if (is_shared) {
        retain_contents(tree, to, from_left ? 0 : n, more);
        ps_btree_release(tree, reference, level);
    } else {
        ps_btree_free_node(tree, ps_btree_at(reference));
    }
}

/* Equally full of bytes: as many entries may be of one key here and of many there. */
static int64_t even_runs(const ps_btree *tree, ps_btree_node *left, ps_btree_node *right, ps_btree_separator *separator)
{
    int64_t keys[2 * PS_BTREE_KEYS];
    uint64_t values[2 * PS_BTREE_KEYS];
    unsigned flags = tree->flags, n = left->n, whole = n + right->n, wanted = 0, taken = 0;
    unsigned half = (ps_btree_load_of(left, flags) + ps_btree_load_of(right, flags)) / 2;
    ps_btree_read_keys(left, flags, 0, n, keys);
    ps_btree_read_keys(right, flags, 0, right->n, keys + n);
    memcpy(values, ps_btree_leaf_values(left, flags), n * sizeof *values);
    memcpy(values + n, ps_btree_leaf_values(right, flags), right->n * sizeof *values);
    for (; wanted < whole - 1 && taken < half; wanted++)
        taken += wanted == 0 || keys[wanted] != keys[wanted - 1] ? 17 : 8;
    fill_runs(left, keys, values, wanted);
    fill_runs(right, keys + wanted, values + wanted, whole - wanted);
    *separator = ps_btree_separator_of(tree, keys[wanted]);
    return (int64_t)wanted - (int64_t)n;
}

int64_t ps_btree_even(ps_btree *tree, ps_btree_node *left, ps_btree_node *right, ps_btree_separator *separator)
{
    if (left->level == 0 && tree->flags & PS_BTREE_RUNS) return even_runs(tree, left, right, separator);
    unsigned whole = left->n + (unsigned)right->n, n = left->n, wanted = whole / 2;
    bool to_left = n < wanted;
    unsigned moved = to_left ? wanted - n : n - wanted;
    int64_t entries = moved;
    if (left->level == 0) {
        if (to_left) {
            move_entries(tree, left, n, right, 0, moved);
            move_entries(tree, right, 0, right, moved, right->n - moved);
        } else {
            move_entries(tree, right, moved, right, 0, right->n);
            move_entries(tree, right, 0, left, wanted, moved);
        }
        *separator = ps_btree_separator_of(tree, ps_btree_leaf_keys(right, tree->flags)[0]);
    } else if (moved > 0) {
        ps_btree_parts lefts = ps_btree_parts_of(left, tree->flags), rights = ps_btree_parts_of(right, tree->flags);
        if (to_left) {
            entries = ps_btree_sum(rights.counts, moved);
            ps_btree_set_separator(lefts, n - 1, *separator);
            *separator = ps_btree_get_separator(rights, moved - 1);
            move_children(lefts, n, rights, 0, moved);
            move_keys(lefts, n, rights, 0, moved - 1);
            move_children(rights, 0, rights, moved, right->n - moved);
            move_keys(rights, 0, rights, moved, right->n - moved - 1);
        } else {
            entries = ps_btree_sum(lefts.counts + wanted, moved);
            move_children(rights, moved, rights, 0, right->n);
            move_keys(rights, moved, rights, 0, right->n - 1u);
            ps_btree_set_separator(rights, moved - 1, *separator);
            *separator = ps_btree_get_separator(lefts, wanted - 1);
            move_children(rights, 0, lefts, wanted, moved);
            move_keys(rights, 0, lefts, wanted, moved - 1);
        }
    }
    left->n = (uint8_t)wanted;
    right->n = (uint8_t)(whole - wanted);
    ps_btree_set_pivots(left, tree->flags);
    ps_btree_set_pivots(right, tree->flags);
    if (left->level == 0) {
        ps_btree_label(tree, left);
        ps_btree_label(tree, right);
    }
    return to_left ? entries : -entries;
}

void ps_btree_absorb(ps_btree *tree, ps_btree_node *parent, unsigned at, const ps_btree_node *sibling, bool left)
{
    ps_btree_parts parts = ps_btree_parts_of(parent, tree->flags);
    unsigned gone = left ? at - 1 : at + 1;
    ps_btree_pour(tree, ps_btree_at(parts.children[at]), sibling, parts.children[gone], left,
                  ps_btree_get_separator(parts, left ? at - 1 : at));
    parts.counts[at] += parts.counts[gone];
    if (left) { /* stays where the sibling was, whose separator is that of both */
        parts.children[gone] = parts.children[at];
        parts.counts[gone] = parts.counts[at];
        gone = at;
    }
    remove_child(tree, parent, gone);
}

void ps_btree_balance(ps_btree *tree, ps_btree_node *parent, unsigned at)
{
    ps_btree_parts parts = ps_btree_parts_of(parent, tree->flags);
    ps_btree_separator separator = ps_btree_get_separator(parts, at);
    uint32_t moved = (uint32_t)ps_btree_even(tree, ps_btree_at(parts.children[at]),
                                             ps_btree_at(parts.children[at + 1]), &separator);
    parts.counts[at] += moved;
    parts.counts[at + 1] -= moved;
    ps_btree_set_separator(parts, at, separator);
    ps_btree_set_pivots(parent, tree->flags);
}

void ps_btree_collapse(ps_btree *tree)
{
    while (tree->height > 1 && ps_btree_at(tree->root)->n == 1) {
        ps_btree_node *root = ps_btree_at(tree->root);
        tree->root = (uintptr_t)ps_btree_children(root, tree->flags)[0];
        tree->height--;
        ps_btree_free_node(tree, root);
        if (ps_btree_in_file(tree->root)) return; /* no inner node of a file has one child */
    }
}

void ps_btree_hang(ps_btree *tree, ps_btree_place *path, int step, uint64_t child, uint32_t count,
                   ps_btree_separator separator, uint32_t added, ps_btree_spare *spare)
{
    for (; step >= 0; step--) {
        ps_btree_node *node = ps_btree_own_node(path->steps[step].node);
        ps_btree_parts parts = ps_btree_parts_of(node, tree->flags);
        unsigned at = path->steps[step].at, room = ps_btree_inner_room(tree->flags);
        parts.counts[at] += added - (child != 0 ? count : 0);
        if (child == 0) continue;
        if (node->n < room) {
            insert_child(tree, node, at + 1, child, count, separator);
            child = 0;
            continue;
        }
        /* Where all comes at one end the other side stays as full as may be. */
        unsigned least = ps_btree_least(tree->flags, node->level), kept = room / 2;
        if (at + 1 == room) kept = room - least;
        if (at == 0) kept = least;
        ps_btree_node *right = ps_btree_take_spare(spare, node->level);
        separator = split_inner(tree, node, right, kept, at + 1, child, count, separator);
        child = ps_btree_reference(right);
        count = ps_btree_below(right, tree->flags);
    }
    if (child == 0) return;
    ps_btree_node *root = ps_btree_take_spare(spare, tree->height);
    ps_btree_parts parts = ps_btree_parts_of(root, tree->flags);
    root->n = 1;
    parts.children[0] = tree->root;
    parts.counts[0] = tree->length - count;
    insert_child(tree, root, 1, child, count, separator);
    tree->root = (uintptr_t)ps_btree_reference(root);
    tree->height++;
}
