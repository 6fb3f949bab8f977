/* Many entries of a B-tree at once: loads, cuts and joins, batches of changes. Declared in btree.h.
 *
 * All or nothing comes from copy on write: a change that takes many steps is made to a tree of its own that shares
 * the nodes of the first, which adopts it at the end, or drops it. */
#include <stdlib.h>
#include <string.h>

#include "btree.h"
#include "btree_edit.h"
#include "btree_search.h"

/* ---- loading ---- */

/* A node that waits for its parent. */
typedef struct {
    uint64_t reference;
    ps_btree_separator separator;
    uint32_t count;
} orphan;

/* Frees nodes that were built, not what the words of leaves refer to. */
static void discard(const ps_btree *tree, uint64_t reference, unsigned level)
{
    ps_btree_node *node = ps_btree_at(reference);
    if (level > 0)
        for (unsigned i = 0; i < node->n; i++) discard(tree, ps_btree_children(node, tree->flags)[i], level - 1);
    ps_btree_free_node(tree, node);
}

/* Whether keys[from .. to) ascend, also after the one before; else *unsorted is the first that does not. */
static bool in_order(const ps_btree *tree, const int64_t *keys, size_t from, size_t to, size_t *unsorted)
{
    if (from == 0) from = 1;
    unsigned descents = 0;
    if (tree->flags & PS_BTREE_MULTI)
        for (size_t i = from; i < to; i++) descents |= keys[i] < keys[i - 1];
    else
        for (size_t i = from; i < to; i++) descents |= keys[i] <= keys[i - 1];
    if (!descents) return true;
    for (size_t i = from; i < to; i++) {
        bool holds = tree->flags & PS_BTREE_MULTI ? keys[i] >= keys[i - 1] : keys[i] > keys[i - 1];
        if (holds) continue;
        *unsorted = i;
        break;
    }
    return false;
}

/* How many nodes take n things when each is `fill` full. */
static size_t nodes_for(size_t n, unsigned room, double fill)
{
    double wanted = fill * room;
    size_t each = (size_t)wanted + ((double)(size_t)wanted < wanted);
    if (each < (room + 1) / 2) each = (room + 1) / 2;
    if (each > room) each = room;
    return (n + each - 1) / each;
}

/* Builds the inner nodes of a level over `waiting` of the one below, which they replace; false: no memory. */
static bool build_level(const ps_btree *tree, orphan *waiting, size_t *count, unsigned level, double fill)
{
    size_t m = *count, nodes = nodes_for(m, ps_btree_inner_room(tree->flags), fill), from = 0;
    for (size_t i = 0; i < nodes; i++) {
        ps_btree_node *node = ps_btree_new_node(tree, level);
        if (node == NULL) { /* some have found parents */
            for (size_t j = 0; j < i; j++) discard(tree, waiting[j].reference, level);
            for (size_t j = from; j < m; j++) discard(tree, waiting[j].reference, level - 1);
            return false;
        }
        unsigned n = (unsigned)(m / nodes + (i < m % nodes));
        ps_btree_parts parts = ps_btree_parts_of(node, tree->flags);
        orphan family = {ps_btree_reference(node), waiting[from].separator, 0};
        for (unsigned j = 0; j < n; j++) {
            const orphan *child = &waiting[from + j];
            parts.children[j] = child->reference;
            parts.counts[j] = child->count;
            family.count += child->count;
            if (j > 0) ps_btree_set_separator(parts, j - 1, child->separator);
        }
        node->n = (uint8_t)n;
        ps_btree_set_pivots(node, tree->flags);
        from += n;
        waiting[i] = family; /* i < from: its place is free */
    }
    *count = nodes;
    return true;
}

/* Leaf i of all; NULL: no memory, or the keys are not in order. */
static ps_btree_node *build_leaf(const ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t from,
                                 unsigned n, size_t *unsorted, ps_status *status)
{
    bool is_judged = !(tree->flags & PS_BTREE_OBJECT_KEYS);
    *status = PS_REFUSED;
    if (is_judged && !in_order(tree, keys, from, from + n, unsorted)) return NULL;
    ps_btree_node *leaf = ps_btree_new_node(tree, 0);
    *status = leaf == NULL ? PS_NO_MEMORY : PS_OK;
    if (leaf == NULL) return NULL;
    ps_btree_fill(tree, leaf, keys + from, values != NULL ? values + from : NULL, n);
    return leaf;
}

/* How many entries from one on a leaf of runs takes when it is `fill` full. */
static unsigned run_entries(const int64_t *keys, size_t from, size_t n, double fill)
{
    if (!(fill > 0.5)) fill = 0.5;
    unsigned room = fill < 1 ? (unsigned)(fill * PS_BTREE_RUN_BYTES) : PS_BTREE_RUN_BYTES, taken = 0;
    size_t at = from;
    for (; at < n; at++) {
        taken += at == from || keys[at] != keys[at - 1] ? 17 : 8;
        if (taken > room) break;
    }
    return (unsigned)(at - from);
}

ps_status ps_btree_load(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, double fill,
                        size_t *unsorted)
{
    *unsorted = n;
    if (n > PS_BTREE_MAX_LENGTH) return PS_REFUSED;
    if (n == 0) return PS_OK;
    bool has_runs = tree->flags & PS_BTREE_RUNS; /* of which a leaf takes 28 entries or more */
    size_t leaves = has_runs ? n / 28 + 1 : nodes_for(n, ps_btree_leaf_room(tree->flags), fill), count = 0, from = 0;
    ps_allocator allocator = tree->owner->allocator;
    orphan *waiting = allocator.resize(NULL, leaves * sizeof *waiting);
    if (waiting == NULL) return PS_NO_MEMORY;
    for (; from < n; count++) {
        unsigned some = has_runs ? run_entries(keys, from, n, fill) : (unsigned)(n / leaves + (count < n % leaves));
        ps_status status;
        ps_btree_node *leaf = build_leaf(tree, keys, values, from, some, unsorted, &status);
        if (leaf == NULL) {
            for (size_t i = 0; i < count; i++) discard(tree, waiting[i].reference, 0);
            allocator.release(waiting);
            return status;
        }
        ps_btree_separator separator = {0, 0};
        if (count > 0) separator = ps_btree_separator_of(tree, keys[from]);
        waiting[count] = (orphan){ps_btree_reference(leaf), separator, some};
        from += some;
    }
    unsigned height = 1;
    for (; count > 1; height++) {
        if (!build_level(tree, waiting, &count, height, fill)) {
            allocator.release(waiting);
            return PS_NO_MEMORY;
        }
    }
    tree->root = (uintptr_t)waiting[0].reference;
    tree->height = (uint8_t)height;
    tree->length = (uint32_t)n;
    tree->changes++;
    tree->moves++;
    allocator.release(waiting);
    return PS_OK;
}

/* ---- cutting and joining ---- */

/* An empty tree of the same kind, for what may be adopted. */
static ps_btree like(const ps_btree *tree)
{
    ps_btree other = *tree;
    other.root = 0;
    other.length = other.height = 0;
    other.dead = NULL;
    return other;
}

/* Fills the nodes along the right (or left) edge of a tree: those from which a cut took. From the root down, an inner
 * node gets one child more than the least, so that it can lose one to the level below. */
static ps_status mend(ps_btree *tree, bool right)
{
    ps_status status;
    ps_btree_node *node = ps_btree_own_root(tree, &status);
    if (node == NULL) return status;
    ps_btree_collapse(tree);
    node = ps_btree_own_root(tree, &status);
    while (node != NULL && node->level > 0) {
        unsigned level = node->level - 1u, at = right ? node->n - 1u : 0;
        ps_btree_node *child = ps_btree_own_child(tree, node, at, &status);
        if (child == NULL) return status;
        if (ps_btree_load_of(child, tree->flags) < ps_btree_least(tree->flags, level) + (level > 0)) {
            unsigned beside = right ? at - 1 : at + 1;
            ps_btree_parts parts = ps_btree_parts_of(node, tree->flags);
            const ps_btree_node *sibling =
                ps_btree_node_of(tree, parts.children[beside], level, parts.counts[beside]);
            if (sibling == NULL) return PS_BROKEN;
            unsigned load = ps_btree_load_of(child, tree->flags) + ps_btree_load_of(sibling, tree->flags);
            if (load <= ps_btree_room(tree->flags, level)) {
                ps_btree_absorb(tree, node, at, sibling, right);
            } else {
                if (ps_btree_own_child(tree, node, beside, &status) == NULL) return status;
                ps_btree_balance(tree, node, right ? beside : at);
            }
            ps_btree_collapse(tree); /* only a root can have but one child now */
        }
        node = child;
    }
    return node == NULL ? status : PS_OK;
}

/* Gives the empty tree `to` the entries of `from` before `index` (or from there on), some, in nodes that the two
 * share but along the cut. After a failure `to` may only be abandoned. */
static ps_status cut(const ps_btree *from, ps_btree *to, uint32_t index, bool before)
{
    ps_btree_place path;
    ps_status status = ps_btree_seek_index(from, before ? index - 1 : index, &path);
    if (status != PS_OK) return status;
    uint32_t kept = before ? index : from->length - index;
    uint64_t reference = from->root;
    ps_btree_parts parent = {0};
    unsigned slot = 0;
    for (unsigned step = 0; step < path.height; step++) {
        const ps_btree_node *node = path.steps[step].node;
        unsigned at = path.steps[step].at, first = before ? 0 : at, n = before ? at + 1 : node->n - at;
        ps_btree_node *copy = ps_btree_new_node(to, node->level);
        if (copy == NULL) return PS_NO_MEMORY;
        ps_btree_copy(to, copy, node, first, n, ps_btree_in_file(reference));
        if (step == 0) {
            to->root = (uintptr_t)ps_btree_reference(copy);
            to->height = from->height;
            to->length = kept;
        } else {
            ps_btree_release(to, parent.children[slot], node->level); /* what the copy of its parent had retained */
            parent.children[slot] = ps_btree_reference(copy);
            parent.counts[slot] = kept;
        }
        if (node->level == 0) break;
        reference = ps_btree_child(node, from->flags, at, reference);
        parent = ps_btree_parts_of(copy, to->flags);
        slot = before ? n - 1 : 0;
        kept -= before ? ps_btree_sum(parent.counts, n - 1) : ps_btree_sum(parent.counts + 1, n - 1);
    }
    return mend(to, before);
}

/* The first entry's key. */
static ps_status first_key(const ps_btree *tree, int64_t *key)
{
    ps_btree_place place;
    ps_status status = ps_btree_seek_index(tree, 0, &place);
    if (status == PS_OK) ps_btree_read(tree, &place, key, NULL, 1, &status);
    return status;
}

/* Makes the edge of a tree its own, down to a level, and gives the path to it. */
static ps_status own_edge(ps_btree *tree, bool right, unsigned level, ps_btree_place *path)
{
    ps_status status;
    ps_btree_node *node = ps_btree_own_root(tree, &status);
    path->height = tree->height;
    for (unsigned step = 0; node != NULL; step++) {
        path->steps[step].node = node;
        path->steps[step].at = right ? node->n - 1u : 0;
        if (node->level == level) return PS_OK;
        node = ps_btree_own_child(tree, node, path->steps[step].at, &status);
    }
    return status;
}

/* Joins two trees, not empty, of which all keys of the first come before those of the second, which is used up.
 * After a failure both may only be abandoned. */
static ps_status join(ps_btree *left, ps_btree *right)
{
    int64_t key;
    ps_status status = first_key(right, &key);
    if (status != PS_OK) return status;
    ps_btree_separator separator = ps_btree_separator_of(left, key);
    bool is_higher = left->height >= right->height; /* the left one: the other's root goes to its edge */
    ps_btree *tree = is_higher ? left : right, *other = is_higher ? right : left;
    unsigned level = other->height - 1u;
    ps_btree_place path;
    ps_btree_node *root = ps_btree_own_root(other, &status);
    if (root == NULL) return status;
    status = own_edge(tree, is_higher, level, &path);
    if (status != PS_OK) return status;
    int step = tree->height - 1 - (int)level; /* of the root's neighbour */
    ps_btree_node *beside = ps_btree_own_node(path.steps[step].node);
    ps_btree_spare spare;
    if (!ps_btree_reserve(tree, &spare, (unsigned)step + 1)) return PS_NO_MEMORY;

    uint32_t added = other->length, count = is_higher ? right->length : ps_btree_below(beside, tree->flags);
    uint64_t child = is_higher ? right->root : ps_btree_reference(beside);
    unsigned least = ps_btree_least(tree->flags, level), load = ps_btree_load_of(root, tree->flags);
    unsigned load_beside = ps_btree_load_of(beside, tree->flags);
    tree->length += added;
    bool is_poor = load < least || load_beside < least;
    if (is_poor && load + load_beside <= ps_btree_room(tree->flags, level)) {
        ps_btree_pour(tree, beside, root, other->root, !is_higher, separator);
        child = 0;
        count = 0;
    } else {
        if (!is_higher) /* the lower root takes the place of the first child, which goes to the right of it */
            ps_btree_parts_of(path.steps[step - 1].node, tree->flags).children[0] = left->root;
        if (is_poor) {
            ps_btree_node *one = is_higher ? beside : root, *two = is_higher ? root : beside;
            count -= (uint32_t)ps_btree_even(tree, one, two, &separator);
        }
    }
    ps_btree_hang(tree, &path, step - 1, child, count, separator, added, &spare);
    while (spare.n > 0) ps_btree_free_node(tree, spare.nodes[--spare.n]);
    left->root = tree->root;
    left->length = tree->length;
    left->height = tree->height;
    right->root = 0;
    right->length = right->height = 0;
    return PS_OK;
}

ps_status ps_btree_remove_range(ps_btree *tree, uint32_t first, uint32_t last)
{
    if (last > tree->length) last = tree->length;
    if (first >= last) return PS_OK;
    ps_btree left = like(tree), right = like(tree);
    ps_status status = PS_OK;
    if (first > 0) status = cut(tree, &left, first, true);
    if (status == PS_OK && last < tree->length) status = cut(tree, &right, last, false);
    if (status == PS_OK && left.length > 0 && right.length > 0) status = join(&left, &right);
    if (status == PS_OK) ps_btree_adopt(tree, left.length > 0 ? &left : &right);
    ps_btree_abandon(tree, &left);
    ps_btree_abandon(tree, &right);
    return status;
}

ps_status ps_btree_split(ps_btree *tree, uint32_t index, ps_btree *right)
{
    if (index >= tree->length) return PS_OK;
    ps_btree before = like(tree), after = like(tree);
    ps_status status = PS_OK;
    if (index > 0) status = cut(tree, &before, index, true);
    if (status == PS_OK) status = cut(tree, &after, index, false);
    if (status == PS_OK) {
        right->flags = tree->flags;
        right->pages = tree->pages;
        right->use_hints = tree->use_hints;
        ps_btree_adopt(right, &after);
        ps_btree_adopt(tree, &before);
    }
    ps_btree_abandon(tree, &before);
    ps_btree_abandon(tree, &after);
    return status;
}

/* ---- batches ---- */

enum {
    MANY = 64, /* a batch of a MANYth of the tree and more is merged with all of it */
    FEW = 16,  /* so few equals are quicker removed one by one than cut out */
};
static const double MERGED_FILL = 0.9; /* of nodes then */

/* Entries that are merged: room for all in one block. */
typedef struct {
    int64_t *keys;
    uint64_t *values; /* NULL: none */
    size_t n;
} merged;

static bool make_room(const ps_btree *tree, merged *all, size_t room)
{
    bool has_values = tree->flags & PS_BTREE_VALUES;
    *all = (merged){0};
    if (room > SIZE_MAX / 16) return false;
    all->keys = tree->owner->allocator.resize(NULL, room * (has_values ? 16 : 8) + 1);
    if (all->keys == NULL) return false;
    if (has_values) all->values = (uint64_t *)(void *)(all->keys + room);
    return true;
}

static inline void append(merged *all, int64_t key, uint64_t value)
{
    all->keys[all->n] = key;
    if (all->values != NULL) all->values[all->n] = value;
    all->n++;
}

/* The tree holds these instead of its own. What both hold has two owners until the old leaves are dead. */
static ps_status reload(ps_btree *tree, const merged *all)
{
    ps_btree other = like(tree);
    size_t unsorted;
    ps_status status = ps_btree_load(&other, all->keys, all->values, all->n, MERGED_FILL, &unsorted);
    if (status == PS_REFUSED && unsorted < all->n) return PS_BROKEN; /* so they were in the file */
    if (status != PS_OK) return status;
    if (tree->flags & PS_BTREE_OBJECT_VALUES) tree->owner->retain_values(tree->context, all->values, all->n);
    ps_btree_adopt(tree, &other);
    return PS_OK;
}

enum { SOME = 64 };

/* The entries of a tree, a leaf's at a time. */
typedef struct {
    ps_btree_place place;
    int64_t keys[SOME];
    uint64_t values[SOME];
    size_t n, at;
} reader;

static ps_status begin_reading(const ps_btree *tree, reader *r)
{
    r->n = r->at = 0;
    return ps_btree_seek_index(tree, 0, &r->place);
}

/* False: there are no more, or *status says why not. */
static bool has_next(const ps_btree *tree, reader *r, ps_status *status)
{
    if (r->at < r->n) return true;
    r->at = 0;
    r->n = ps_btree_read(tree, &r->place, r->keys, tree->flags & PS_BTREE_VALUES ? r->values : NULL, SOME, status);
    return r->n > 0;
}

/* The last of equal keys that begin at i, where no two may be equal. */
static size_t last_equal(const ps_btree *tree, const int64_t *keys, size_t n, size_t i)
{
    if (!(tree->flags & PS_BTREE_MULTI))
        while (i + 1 < n && keys[i + 1] == keys[i]) i++;
    return i;
}

ps_status ps_btree_without_runs(const ps_btree *tree, ps_btree *into, double fill)
{
    merged all;
    reader r;
    *into = like(tree);
    into->flags &= (uint8_t)~PS_BTREE_RUNS;
    if (!make_room(tree, &all, tree->length)) return PS_NO_MEMORY;
    ps_status status = begin_reading(tree, &r);
    for (; status == PS_OK && has_next(tree, &r, &status); r.at++) append(&all, r.keys[r.at], r.values[r.at]);
    size_t unsorted;
    if (status == PS_OK) status = ps_btree_load(into, all.keys, all.values, all.n, fill, &unsorted);
    tree->owner->allocator.release(all.keys);
    return status;
}

static ps_status merge(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n)
{
    merged all;
    bool has_values = tree->flags & PS_BTREE_VALUES, is_multi = tree->flags & PS_BTREE_MULTI;
    if (n > SIZE_MAX - tree->length || !make_room(tree, &all, (size_t)tree->length + n)) return PS_NO_MEMORY;
    static const size_t NONE = SIZE_MAX;
    reader r;
    ps_status status = begin_reading(tree, &r);
    size_t i = n > 0 ? last_equal(tree, keys, n, 0) : NONE;
    bool more = status == PS_OK && has_next(tree, &r, &status);
    while (status == PS_OK && (more || i < n)) {
        bool old_first = more && (i >= n || (is_multi ? r.keys[r.at] <= keys[i] : r.keys[r.at] < keys[i]));
        if (old_first) {
            append(&all, r.keys[r.at], r.values[r.at]);
        } else {
            append(&all, keys[i], has_values ? values[i] : 0);
            bool replaces = more && !is_multi && r.keys[r.at] == keys[i];
            i = i + 1 < n ? last_equal(tree, keys, n, i + 1) : n;
            if (!replaces) continue;
        }
        r.at++;
        more = has_next(tree, &r, &status);
    }
    if (status == PS_OK) status = reload(tree, &all);
    tree->owner->allocator.release(all.keys);
    return status;
}

static ps_status put_each(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n)
{
    ps_btree other;
    ps_btree_snapshot(tree, &other, tree->context);
    ps_status status = PS_OK;
    for (size_t i = 0; i < n && status == PS_OK; i++) {
        uint64_t old;
        bool replaced;
        status = ps_btree_put(&other, keys[i], values != NULL ? values[i] : 0, &old, &replaced);
    }
    if (status == PS_OK) ps_btree_adopt(tree, &other);
    ps_btree_abandon(tree, &other);
    return status;
}

ps_status ps_btree_put_many(ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, size_t *added)
{
    uint64_t changes = tree->changes;
    uint32_t before = tree->length;
    *added = 0;
    if (n == 0) return PS_OK;
    bool is_large = n >= tree->length / MANY;
    ps_status status = is_large ? merge(tree, keys, values, n) : put_each(tree, keys, values, n);
    if (status != PS_OK) return status;
    *added = tree->length - before;
    if (*added == 0) tree->changes = changes; /* nothing but values was replaced */
    return PS_OK;
}

static ps_status keep_others(ps_btree *tree, const int64_t *keys, size_t n)
{
    merged all;
    if (!make_room(tree, &all, tree->length)) return PS_NO_MEMORY;
    reader r;
    ps_status status = begin_reading(tree, &r);
    for (size_t i = 0; status == PS_OK && has_next(tree, &r, &status); r.at++) {
        while (i < n && keys[i] < r.keys[r.at]) i++;
        if (i == n || keys[i] != r.keys[r.at]) append(&all, r.keys[r.at], r.values[r.at]);
    }
    if (status == PS_OK && all.n < tree->length) status = reload(tree, &all);
    tree->owner->allocator.release(all.keys);
    return status;
}

/* Keeps a value that was removed for release: among the dead of a tree, in a leaf, of which there is one with
 * room for it. */
static ps_status keep_for_release(ps_btree *tree, ps_btree_node **leaf)
{
    if (!(tree->flags & PS_BTREE_OBJECT_VALUES) || (*leaf != NULL && (*leaf)->n < PS_BTREE_ENTRIES)) return PS_OK;
    ps_btree_node *next = ps_btree_new_node(tree, 0);
    if (next == NULL) return PS_NO_MEMORY;
    if (*leaf != NULL) ps_btree_bury(tree, *leaf);
    *leaf = next;
    return PS_OK;
}

/* Removes one entry of `other`, a copy of the tree. */
static ps_status remove_one(ps_btree *tree, ps_btree *other, ps_btree_place *place, ps_btree_node **gone)
{
    uint64_t value;
    ps_status status = keep_for_release(tree, gone);
    if (status == PS_OK) status = ps_btree_remove(other, place, NULL, &value);
    if (status != PS_OK || *gone == NULL) return status;
    (*gone)->n++; /* values of a leaf of runs stand at its end, so that the new one is their first */
    ps_btree_values_in(*gone, tree->flags)[tree->flags & PS_BTREE_RUNS ? 0 : (*gone)->n - 1] = value;
    return PS_OK;
}

/* Removes the entries of `other` that follow a place and have this key. */
static ps_status remove_equals(ps_btree *tree, ps_btree *other, ps_btree_place *place, int64_t key,
                               ps_btree_node **gone)
{
    if (!(tree->flags & PS_BTREE_MULTI)) return remove_one(tree, other, place, gone);
    uint32_t first = ps_btree_index(other, place);
    int64_t end;
    ps_status status = ps_btree_rank_many(other, &key, 1, PS_BTREE_AFTER, &end);
    if (status == PS_OK && end > (int64_t)first + FEW) return ps_btree_remove_range(other, first, (uint32_t)end);
    for (; status == PS_OK && end > first; end--) {
        status = ps_btree_seek_index(other, first, place);
        if (status == PS_OK) status = remove_one(tree, other, place, gone);
    }
    return status;
}

static ps_status remove_each(ps_btree *tree, const int64_t *keys, size_t n)
{
    ps_btree other;
    ps_btree_snapshot(tree, &other, tree->context);
    ps_btree_node *gone = NULL;
    ps_status status = PS_OK;
    for (size_t i = 0; i < n && status == PS_OK; i++) {
        ps_btree_probe probe = {.key = keys[i]};
        ps_btree_place place;
        bool found;
        status = ps_btree_seek(&other, &probe, PS_BTREE_BEFORE, &place, &found);
        if (status == PS_OK && found) status = remove_equals(tree, &other, &place, keys[i], &gone);
    }
    if (status == PS_OK && other.length < tree->length) ps_btree_adopt(tree, &other);
    ps_btree_abandon(tree, &other);
    if (gone != NULL) ps_btree_bury(tree, gone);
    return status;
}

ps_status ps_btree_remove_many(ps_btree *tree, const int64_t *keys, size_t n, size_t *removed)
{
    uint32_t before = tree->length;
    *removed = 0;
    if (n == 0 || tree->length == 0) return PS_OK;
    bool is_large = n >= tree->length / MANY;
    ps_status status = is_large ? keep_others(tree, keys, n) : remove_each(tree, keys, n);
    if (status == PS_OK) *removed = before - tree->length;
    return status;
}
