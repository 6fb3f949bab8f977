#define _POSIX_C_SOURCE 200112L /* posix_memalign */

#include "btree.h"

#include <stdlib.h>
#include <string.h>

#include "btree_edit.h"
#include "btree_node.h"
#include "btree_search.h"

static void *resize_aligned(void *memory, size_t size)
{
    void *block = NULL;
    if (memory != NULL) return NULL; /* none is ever resized */
    return posix_memalign(&block, 64, size) == 0 ? block : NULL;
}

const ps_allocator PS_BTREE_ALLOCATOR = {resize_aligned, free};

/* ---- lifetime ---- */

void ps_btree_init(ps_btree *tree, uint8_t flags, const ps_btree_owner *owner, void *context)
{
    *tree = (ps_btree){.flags = flags, .owner = owner, .context = context, .use_hints = owner->hint != NULL};
}

void ps_btree_clear(ps_btree *tree)
{
    uint64_t root = tree->root;
    unsigned height = tree->height;
    tree->changes += tree->length > 0;
    tree->moves++;
    tree->root = 0;
    tree->length = 0;
    tree->height = 0;
    if (height > 0) ps_btree_release(tree, root, height - 1);
}

void ps_btree_release_dead(ps_btree *tree)
{
    while (tree->dead != NULL) {
        ps_btree_node *leaf = tree->dead;
        tree->dead = ps_btree_next_dead(leaf);
        ps_allocator allocator = tree->owner->allocator;
        const ps_btree_owner *owner = tree->owner;
        unsigned flags = tree->flags;
        if (flags & PS_BTREE_OBJECT_KEYS) owner->release_keys(tree->context, ps_btree_leaf_keys(leaf, flags), leaf->n);
        if (flags & PS_BTREE_OBJECT_VALUES)
            owner->release_values(tree->context, ps_btree_leaf_values(leaf, flags), leaf->n);
        allocator.release(leaf);
    }
}

void ps_btree_snapshot(const ps_btree *tree, ps_btree *into, void *context)
{
    *into = *tree;
    into->context = context;
    into->changes = into->moves = 0;
    into->dead = NULL;
    if (tree->height > 0) ps_btree_retain(tree->root);
}

void ps_btree_adopt(ps_btree *tree, ps_btree *other)
{
    ps_btree_clear(tree); /* counts the change, too */
    tree->changes++;
    tree->root = other->root;
    tree->length = other->length;
    tree->height = other->height;
    other->root = 0;
    other->length = other->height = 0;
    ps_btree_abandon(tree, other);
}

void ps_btree_abandon(ps_btree *tree, ps_btree *other)
{
    ps_btree_clear(other);
    while (other->dead != NULL) {
        ps_btree_node *leaf = other->dead;
        other->dead = ps_btree_next_dead(leaf);
        ps_btree_bury(tree, leaf);
    }
}

typedef int visitor(const int64_t *keys, const uint64_t *values, size_t n, void *arg);

static int visit_leaf(const ps_btree *tree, const ps_btree_node *leaf, visitor *visit, void *arg)
{
    const uint64_t *values = tree->flags & PS_BTREE_VALUES ? ps_btree_leaf_values(leaf, tree->flags) : NULL;
    return visit(ps_btree_leaf_keys(leaf, tree->flags), values, leaf->n, arg);
}

static int traverse(const ps_btree *tree, uint64_t reference, unsigned level, visitor *visit, void *arg)
{
    if (ps_btree_is_shared(reference)) return 0;
    const ps_btree_node *node = ps_btree_at(reference);
    if (level == 0) return visit_leaf(tree, node, visit, arg);
    const uint64_t *children = ps_btree_children(node, tree->flags);
    for (unsigned i = 0; i < node->n; i++) {
        int answer = traverse(tree, children[i], level - 1, visit, arg);
        if (answer != 0) return answer;
    }
    return 0;
}

int ps_btree_traverse(const ps_btree *tree, visitor *visit, void *arg)
{
    for (const ps_btree_node *leaf = tree->dead; leaf != NULL; leaf = ps_btree_next_dead(leaf)) {
        int answer = visit_leaf(tree, leaf, visit, arg);
        if (answer != 0) return answer;
    }
    return tree->height > 0 ? traverse(tree, tree->root, tree->height - 1u, visit, arg) : 0;
}

/* ---- places ---- */

/* The node at a step of a path. */
static const ps_btree_node *node_at(const ps_btree_place *place, unsigned step) { return place->steps[step].node; }

/* The reference to it. */
static uint64_t reference_at(const ps_btree *tree, const ps_btree_place *place, unsigned step)
{
    uint64_t reference = tree->root;
    for (unsigned i = 0; i < step; i++)
        reference = ps_btree_child(node_at(place, i), tree->flags, place->steps[i].at, reference);
    return reference;
}

/* Goes from the child that steps[step].at says down to the first or the last entry below. */
static ps_status descend(const ps_btree *tree, ps_btree_place *place, unsigned step, bool to_last)
{
    unsigned flags = tree->flags;
    uint64_t reference = reference_at(tree, place, step);
    for (; step + 1u < place->height; step++) {
        const ps_btree_node *node = node_at(place, step);
        unsigned at = place->steps[step].at;
        reference = ps_btree_child(node, flags, at, reference);
        const ps_btree_node *child =
            ps_btree_node_of(tree, reference, node->level - 1u, ps_btree_counts(node, flags)[at]);
        if (child == NULL) return PS_BROKEN;
        place->steps[step + 1].node = child;
        place->steps[step + 1].at = to_last ? child->n - (child->level > 0 ? 1u : 0u) : 0;
    }
    return PS_OK;
}

/* From the end of a leaf to the beginning of the next one, if there is one; else nothing changes. */
static ps_status advance(const ps_btree *tree, ps_btree_place *place)
{
    if (place->height == 0) return PS_OK;
    unsigned step = place->height - 1u;
    if (place->steps[step].at < node_at(place, step)->n) return PS_OK;
    while (step > 0 && place->steps[step - 1].at + 1u == node_at(place, step - 1)->n) step--;
    if (step == 0) return PS_OK;
    ps_btree_place next = *place;
    next.steps[step - 1].at++;
    ps_status status = descend(tree, &next, step - 1, false);
    if (status == PS_OK) *place = next;
    return status;
}

/* From the beginning of a leaf to the end of the one before, if there is one; else nothing changes. */
static ps_status retreat(const ps_btree *tree, ps_btree_place *place)
{
    if (place->height == 0) return PS_OK;
    unsigned step = place->height - 1u;
    if (place->steps[step].at > 0) return PS_OK;
    while (step > 0 && place->steps[step - 1].at == 0) step--;
    if (step == 0) return PS_OK;
    ps_btree_place before = *place;
    before.steps[step - 1].at--;
    ps_status status = descend(tree, &before, step - 1, true);
    if (status == PS_OK) *place = before;
    return status;
}

/* Fetches the objects that the next three comparisons of a bisection may ask for: it is their misses that take
 * the time. The words need not be addresses; then it is in vain. */
static void fetch(const int64_t *keys, unsigned n)
{
    for (unsigned i = 1; i < 8; i++) {
        uintptr_t object = (uintptr_t)keys[n * i / 8]; /* a number: of what is no address there is none 48 behind */
        __builtin_prefetch((const void *)object);
        __builtin_prefetch((const void *)(object + 48)); /* where a str's text begins, or a bytes' ends */
    }
}

/* The number of keys before the gap among words [low, high) of a node; *equal: whether one beside the gap is equal.
 * Where no two keys are equal it ends at an equal one: *exact. */
static ps_status bisect(const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side, const int64_t *keys,
                        unsigned low, unsigned high, uint64_t moves, unsigned *at, bool *equal, bool *exact)
{
    bool is_multi = tree->flags & PS_BTREE_MULTI;
    for (unsigned round = 0; low < high; round++) {
        unsigned middle = low + (high - low) / 2;
        int answer;
        if (round % 3 == 0 && high - low > 1) fetch(keys + low, high - low);
        ps_status status = ps_btree_ask(tree, probe, keys[middle], moves, &answer);
        if (status != PS_OK) return status;
        if (answer == 0 && !is_multi) {
            *at = middle;
            *exact = true;
            return PS_OK;
        }
        if (answer > 0 || (answer == 0 && side == PS_BTREE_AFTER)) {
            low = middle + 1;
            if (side == PS_BTREE_AFTER) *equal = answer == 0;
        } else {
            high = middle;
            if (side == PS_BTREE_BEFORE) *equal = answer == 0;
        }
    }
    *at = low;
    return PS_OK;
}

/* The keys [low, high) of a leaf that have a label. */
static void find_label(const ps_btree_node *leaf, unsigned n, uint8_t label, unsigned *low, unsigned *high)
{
    unsigned before = 0, not_after = 0;
    for (unsigned i = 0; i < n; i++) {
        before += leaf->named.labels[i] < label;
        not_after += leaf->named.labels[i] <= label;
    }
    *low = before;
    *high = not_after;
}

/* The path to a key of the caller's, from the root down. Hints leave those separators to compare that have the
 * probe's own. */
static ps_status seek_object(const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side,
                             ps_btree_place *place, bool *found)
{
    uint64_t moves = tree->moves, reference = tree->root;
    unsigned at = 0;
    bool equal = false, exact = false;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, tree->height - 1u, tree->length);
    for (unsigned step = 0;; step++) {
        place->steps[step].node = node;
        unsigned n = node->level > 0 ? node->n - 1u : node->n, low = 0, high = n;
        if (tree->use_hints && probe->use_hint) {
            if (node->level > 0) {
                low = ps_btree_position(node, n, false, probe->hint, PS_BTREE_BEFORE);
                high = ps_btree_position(node, n, false, probe->hint, PS_BTREE_AFTER);
            } else {
                find_label(node, n, ps_btree_label_of(node, probe->hint), &low, &high);
            }
        }
        const int64_t *keys = node->level > 0 ? node->guide.keys : ps_btree_leaf_keys(node, tree->flags);
        ps_status status = bisect(tree, probe, side, keys, low, high, moves, &at, &equal, &exact);
        if (status != PS_OK) return status;
        if (exact) { /* the first below a child, or an entry */
            place->steps[step].at = node->level > 0 ? at + 1 : at;
            *found = true;
            if (node->level > 0) status = descend(tree, place, step, false);
            if (side == PS_BTREE_AFTER) place->steps[place->height - 1u].at++;
            return status;
        }
        place->steps[step].at = at;
        if (node->level == 0) break;
        reference = ps_btree_child(node, tree->flags, at, reference);
        node = ps_btree_node_of(tree, reference, node->level - 1u, node->guide.counts[at]);
    }
    *found = equal;
    return PS_OK;
}

ps_status ps_btree_seek(const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side, ps_btree_place *place,
                        bool *found)
{
    *found = false;
    place->height = tree->height;
    if (tree->height == 0) return PS_OK;
    if (tree->flags & PS_BTREE_OBJECT_KEYS) {
        uint64_t changes = tree->changes;
        ps_status status = PS_CHANGED;
        for (int i = 0; i < 4 && status == PS_CHANGED && tree->changes == changes; i++) {
            *found = false; /* once more where comparisons only replaced values, which may copy nodes */
            place->height = tree->height;
            status = seek_object(tree, probe, side, place, found);
        }
        return status == PS_OK ? advance(tree, place) : status;
    }
    ps_btree_side inner = tree->flags & PS_BTREE_MULTI ? side : PS_BTREE_AFTER;
    ps_status status = ps_btree_find(tree, probe->key, inner, side, place);
    unsigned leaf = place->height - 1u, at = place->steps[leaf].at;
    if (status != PS_OK) return status;
    if (side == PS_BTREE_AFTER)
        *found = at > 0 && ps_btree_key_at(node_at(place, leaf), tree->flags, at - 1) == probe->key;
    status = advance(tree, place);
    if (status != PS_OK) return status;
    const ps_btree_node *node = node_at(place, leaf);
    at = place->steps[leaf].at;
    if (side == PS_BTREE_BEFORE) *found = at < node->n && ps_btree_key_at(node, tree->flags, at) == probe->key;
    return PS_OK;
}

ps_status ps_btree_seek_index(const ps_btree *tree, uint32_t index, ps_btree_place *place)
{
    place->height = tree->height;
    if (tree->height == 0) return PS_OK;
    uint64_t reference = tree->root;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, tree->height - 1u, tree->length);
    for (unsigned step = 0; node != NULL; step++) {
        place->steps[step].node = node;
        if (node->level == 0) {
            place->steps[step].at = index < node->n ? index : node->n;
            return PS_OK;
        }
        const uint32_t *counts = ps_btree_counts(node, tree->flags);
        unsigned at = 0;
        for (; at + 1u < node->n && index >= counts[at]; at++) index -= counts[at];
        place->steps[step].at = at;
        reference = ps_btree_child(node, tree->flags, at, reference);
        node = ps_btree_node_of(tree, reference, node->level - 1u, counts[at]);
    }
    return PS_BROKEN;
}

uint32_t ps_btree_index(const ps_btree *tree, const ps_btree_place *place)
{
    uint32_t index = 0;
    for (unsigned step = 0; step < place->height; step++) {
        const ps_btree_node *node = node_at(place, step);
        unsigned at = place->steps[step].at;
        index += node->level == 0 ? at : ps_btree_first_counts(ps_btree_counts(node, tree->flags), at);
    }
    return index;
}

size_t ps_btree_read(const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most,
                     ps_status *status)
{
    *status = advance(tree, place);
    if (*status != PS_OK || place->height == 0) return 0;
    const ps_btree_node *leaf = node_at(place, place->height - 1u);
    uint32_t *at = &place->steps[place->height - 1u].at;
    size_t n = leaf->n - *at < most ? leaf->n - *at : most;
    ps_btree_read_keys(leaf, tree->flags, *at, (unsigned)n, keys);
    bool copies_values = values != NULL && tree->flags & PS_BTREE_VALUES;
    if (copies_values) memcpy(values, ps_btree_leaf_values(leaf, tree->flags) + *at, n * sizeof *values);
    *at += (uint32_t)n;
    return n;
}

size_t ps_btree_read_back(const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most,
                          ps_status *status)
{
    *status = retreat(tree, place);
    if (*status != PS_OK || place->height == 0) return 0;
    const ps_btree_node *leaf = node_at(place, place->height - 1u);
    uint32_t *at = &place->steps[place->height - 1u].at;
    size_t n = *at < most ? *at : most;
    int64_t forward[PS_BTREE_KEYS];
    ps_btree_read_keys(leaf, tree->flags, *at - (unsigned)n, (unsigned)n, forward);
    for (size_t i = 0; i < n; i++) keys[i] = forward[n - 1 - i];
    if (values != NULL && tree->flags & PS_BTREE_VALUES)
        for (size_t i = 0; i < n; i++) values[i] = ps_btree_leaf_values(leaf, tree->flags)[*at - 1 - i];
    *at -= (uint32_t)n;
    return n;
}

/* ---- changing one entry ---- */

/* The first step whose node the tree does not own alone, and so none below it; the height if it owns all. */
static unsigned first_shared(const ps_btree *tree, const ps_btree_place *path)
{
    uint64_t reference = tree->root;
    for (unsigned step = 0; step < path->height; step++) {
        if (ps_btree_is_shared(reference)) return step;
        if (step + 1u < path->height)
            reference = ps_btree_children(node_at(path, step), tree->flags)[path->steps[step].at];
    }
    return path->height;
}

/* Makes the nodes of a path from a step on the tree's own. */
static void own_path(ps_btree *tree, ps_btree_place *path, unsigned step, ps_btree_spare *spare)
{
    for (; step < path->height; step++) {
        const ps_btree_node *node = node_at(path, step);
        ps_btree_node *copy = ps_btree_take_spare(spare, node->level);
        if (step == 0) {
            uint64_t root = tree->root;
            ps_btree_replace(tree, &root, node, copy);
            tree->root = (uintptr_t)root;
        } else {
            ps_btree_parts parent = ps_btree_parts_of(node_at(path, step - 1), tree->flags);
            ps_btree_replace(tree, &parent.children[path->steps[step - 1].at], node, copy);
        }
        path->steps[step].node = copy;
    }
}

/* Whether a path goes along the right (or left) edge of the tree, above its leaf. */
static bool is_edge(const ps_btree_place *path, bool right)
{
    for (unsigned step = 0; step + 1u < path->height; step++)
        if (path->steps[step].at != (right ? node_at(path, step)->n - 1u : 0)) return false;
    return true;
}

/* Whether nothing is to be allocated for an insertion: no node of the path is shared, and there is room in its
 * leaf. */
static bool is_easy(const ps_btree *tree, const ps_btree_place *path, int64_t key)
{
    if (tree->pages != NULL || path->height == 0) return false;
    bool is_own = true;
    for (unsigned step = 0; step < path->height; step++)
        is_own &= atomic_load_explicit(&node_at(path, step)->owners, memory_order_acquire) == 1;
    unsigned leaf = path->height - 1u;
    return is_own && ps_btree_has_room(tree, node_at(path, leaf), path->steps[leaf].at, key);
}

/* Whether a path leads before all entries or behind them: there more will come, and the full leaf stays full. */
static bool is_end(const ps_btree_place *path)
{
    unsigned leaf = path->height - 1u;
    return path->height > 0 && (path->steps[leaf].at == 0 ||
                                (path->steps[leaf].at == node_at(path, leaf)->n && is_edge(path, true)));
}

/* Makes room in a full leaf by giving some of it to a neighbour that has much, and moves the path along. It needs no
 * memory, and leaves that are filled in any order end up four fifths full instead of two thirds. */
static void give_some(ps_btree *tree, ps_btree_place *path)
{
    if (path->height < 2) return;
    unsigned step = path->height - 2u, at = path->steps[step].at, here = path->steps[step + 1].at;
    ps_btree_node *parent = ps_btree_own_node(node_at(path, step));
    const uint64_t *children = ps_btree_children(parent, tree->flags);
    unsigned enough = ps_btree_leaf_room(tree->flags) / 4 * 3;
    for (unsigned side = 0; side < 2; side++) {
        if (side == 0 ? at == 0 : at + 1u == parent->n) continue;
        uint64_t beside = children[side == 0 ? at - 1 : at + 1];
        if (ps_btree_is_shared(beside) || ps_btree_load_of(ps_btree_at(beside), tree->flags) > enough) continue;
        unsigned left = side == 0 ? at - 1 : at;
        if (side == 0) here += ps_btree_at(beside)->n;
        ps_btree_balance(tree, parent, left);
        unsigned n = ps_btree_at(children[left])->n;
        bool to_right = here > n;
        path->steps[step].at = left + to_right;
        path->steps[step + 1].node = ps_btree_at(children[left + to_right]);
        path->steps[step + 1].at = here - (to_right ? n : 0);
        tree->moves++;
        return;
    }
}

/* Where is_easy holds, or has been made to hold. */
static void insert_easily(ps_btree *tree, const ps_btree_place *path, int64_t key, uint64_t value)
{
    unsigned leaf = path->height - 1u;
    for (unsigned step = 0; step < leaf; step++)
        ps_btree_parts_of(node_at(path, step), tree->flags).counts[path->steps[step].at]++;
    ps_btree_insert_in_leaf(tree, ps_btree_own_node(node_at(path, leaf)), path->steps[leaf].at, key, value);
}

/* Where the leaf is full: splits it, and what is full above. All of the path is the tree's own. */
static void insert_and_split(ps_btree *tree, ps_btree_place *path, int64_t key, uint64_t value, ps_btree_spare *spare)
{
    unsigned last = path->height - 1u, at = path->steps[last].at;
    ps_btree_node *leaf = ps_btree_own_node(node_at(path, last)), *right = ps_btree_take_spare(spare, 0);
    unsigned n = leaf->n, kept = n / 2;
    if (at == n && is_edge(path, true)) kept = n; /* at an end of the tree the full leaf stays as it is */
    if (at == 0) kept = 0;
    ps_btree_split_leaf(tree, leaf, right, kept);
    if (at > kept || kept == n) ps_btree_insert_in_leaf(tree, right, at - kept, key, value);
    else ps_btree_insert_in_leaf(tree, leaf, at, key, value);
    ps_btree_hang(tree, path, (int)last - 1, ps_btree_reference(right), right->n,
                  ps_btree_separator_of(tree, ps_btree_leaf_keys(right, tree->flags)[0]), 1, spare);
}

static void insert_first(ps_btree *tree, int64_t key, uint64_t value, ps_btree_spare *spare)
{
    ps_btree_node *leaf = ps_btree_take_spare(spare, 0);
    ps_btree_insert_in_leaf(tree, leaf, 0, key, value);
    tree->root = (uintptr_t)ps_btree_reference(leaf);
    tree->height = 1;
}

static void count_one(ps_btree *tree)
{
    tree->length++;
    tree->changes++;
    tree->moves++;
}

/* Inserts where a path leads. An entry that comes before all others of its leaf is the first of the tree. */
static ps_status insert(ps_btree *tree, ps_btree_place *path, int64_t key, uint64_t value)
{
    if (tree->length >= PS_BTREE_MAX_LENGTH) return PS_REFUSED;
    unsigned height = tree->height;
    if (is_easy(tree, path, key)) {
        insert_easily(tree, path, key, value);
        count_one(tree);
        return PS_OK;
    }
    unsigned full = 0, shared = first_shared(tree, path);
    bool is_own = shared == height && !(tree->flags & PS_BTREE_OBJECT_KEYS); /* their labels would be made anew */
    if (is_own && !is_end(path)) give_some(tree, path);
    ps_btree_spare spare = {.n = 0};
    if (height > 0 && !ps_btree_has_room(tree, node_at(path, height - 1), path->steps[height - 1].at, key)) full = 1;
    while (full > 0 && full < height && node_at(path, height - 1 - full)->n == ps_btree_inner_room(tree->flags)) full++;
    if (full == height && height == PS_BTREE_MAX_HEIGHT) return PS_REFUSED;
    unsigned needed = height - shared + full + (full == height);
    if (needed > 0 && !ps_btree_reserve(tree, &spare, needed)) return PS_NO_MEMORY;
    own_path(tree, path, shared, &spare);
    count_one(tree); /* before the split: a new root counts what is below it */
    if (height == 0) insert_first(tree, key, value, &spare);
    else if (full == 0) insert_easily(tree, path, key, value);
    else insert_and_split(tree, path, key, value, &spare);
    return PS_OK;
}

ps_status ps_btree_insert(ps_btree *tree, ps_btree_place *place, int64_t key, uint64_t value)
{
    ps_status status = retreat(tree, place); /* behind the entry before, so that no separator changes */
    return status == PS_OK ? insert(tree, place, key, value) : status;
}

static ps_status set_value(ps_btree *tree, ps_btree_place *path, uint64_t value, uint64_t *old)
{
    unsigned shared = first_shared(tree, path), leaf = path->height - 1u;
    ps_btree_spare spare = {.n = 0};
    if (shared < path->height && !ps_btree_reserve(tree, &spare, path->height - shared)) return PS_NO_MEMORY;
    own_path(tree, path, shared, &spare);
    uint64_t *place = ps_btree_values_in(ps_btree_own_node(node_at(path, leaf)), tree->flags) + path->steps[leaf].at;
    *old = *place;
    *place = value;
    tree->moves++;
    return PS_OK;
}

ps_status ps_btree_set_value(ps_btree *tree, ps_btree_place *place, uint64_t value, uint64_t *old)
{
    ps_status status = advance(tree, place);
    if (status != PS_OK) return status;
    unsigned leaf = place->height - 1u;
    if (place->height == 0 || place->steps[leaf].at == node_at(place, leaf)->n) return PS_EMPTY;
    return set_value(tree, place, value, old);
}

ps_status ps_btree_put(ps_btree *tree, int64_t key, uint64_t value, uint64_t *old, bool *replaced)
{
    ps_btree_place path = {.height = tree->height};
    bool is_multi = tree->flags & PS_BTREE_MULTI;
    *replaced = false;
    if (tree->height > 0) {
        ps_btree_side side = is_multi ? PS_BTREE_AFTER : PS_BTREE_BEFORE;
        ps_status status = ps_btree_find(tree, key, PS_BTREE_AFTER, side, &path);
        if (status != PS_OK) return status;
        const ps_btree_node *leaf = node_at(&path, tree->height - 1u);
        unsigned at = path.steps[tree->height - 1u].at;
        if (!is_multi && at < leaf->n && leaf->words[at] == key) {
            ps_status done = PS_OK;
            *old = 0;
            if (tree->flags & PS_BTREE_VALUES) done = set_value(tree, &path, value, old);
            *replaced = done == PS_OK;
            return done;
        }
    }
    return insert(tree, &path, key, value);
}

/* How the nodes of a path are kept full enough when an entry goes: from the leaf up they absorb a neighbour each,
 * until one has enough or takes some from a neighbour. */
typedef struct {
    unsigned merges;
    bool borrows;
    struct {
        const ps_btree_node *sibling;
        bool left;
    } levels[PS_BTREE_MAX_HEIGHT];
} removal;

/* What a leaf holds when an entry is gone. */
static unsigned load_without(const ps_btree_node *leaf, unsigned flags, unsigned at)
{
    if (!(flags & PS_BTREE_RUNS)) return leaf->n - 1u;
    int64_t key = ps_btree_key_at(leaf, flags, at);
    bool has_equal = (at > 0 && ps_btree_key_at(leaf, flags, at - 1) == key) ||
                     (at + 1u < leaf->n && ps_btree_key_at(leaf, flags, at + 1) == key);
    return ps_btree_load_of(leaf, flags) - (has_equal ? 8 : 17);
}

static ps_status plan_removal(const ps_btree *tree, const ps_btree_place *path, removal *plan)
{
    unsigned flags = tree->flags, step = path->height - 1u;
    unsigned n = load_without(node_at(path, step), flags, path->steps[step].at);
    plan->merges = 0;
    plan->borrows = false;
    unsigned least = is_edge(path, true) || is_edge(path, false) ? 1 : ps_btree_least(flags, 0);
    for (unsigned level = 0; step > 0 && n < least; step--, level++) {
        const ps_btree_node *parent = node_at(path, step - 1);
        unsigned at = path->steps[step - 1].at, most = 0;
        uint64_t reference = reference_at(tree, path, step - 1);
        for (unsigned side = 0; side < 2; side++) { /* the fuller one, but rather one that fits */
            bool left = side == 0;
            if (left ? at == 0 : at + 1u == parent->n) continue;
            unsigned other = left ? at - 1 : at + 1;
            const ps_btree_node *sibling =
                ps_btree_node_of(tree, ps_btree_child(parent, flags, other, reference), level,
                                 ps_btree_counts(parent, flags)[other]);
            if (sibling == NULL) return PS_BROKEN;
            unsigned load = ps_btree_load_of(sibling, flags);
            bool fits = n + load <= ps_btree_room(flags, level);
            if (!fits && load <= most) continue;
            plan->levels[level].sibling = sibling;
            plan->levels[level].left = left;
            plan->borrows = !fits;
            if (fits) break;
            most = load;
        }
        if (plan->borrows) return PS_OK;
        plan->merges++;
        n = parent->n - 1u;
        least = ps_btree_least(flags, level + 1);
    }
    return PS_OK;
}

/* Whether the sibling to borrow from is to be copied when the path is the tree's own. */
static bool borrows_shared(const ps_btree *tree, const ps_btree_place *path, const removal *plan, unsigned shared)
{
    if (!plan->borrows) return false;
    unsigned step = path->height - 1u - plan->merges - 1u; /* of the parent */
    if (shared <= step) return true;
    unsigned at = path->steps[step].at + (plan->levels[plan->merges].left ? -1u : 1u);
    return ps_btree_is_shared(ps_btree_children(node_at(path, step), tree->flags)[at]);
}

/* The first entry below a path has changed: so has the separator where the path last turned away from the left. */
static void renew_separator(ps_btree *tree, const ps_btree_place *path, int64_t key)
{
    for (int step = (int)path->height - 2; step >= 0; step--) {
        if (path->steps[step].at == 0) continue;
        ps_btree_node *node = ps_btree_own_node(node_at(path, (unsigned)step));
        ps_btree_set_separator(ps_btree_parts_of(node, tree->flags), path->steps[step].at - 1,
                               ps_btree_separator_of(tree, key));
        ps_btree_set_pivots(node, tree->flags);
        return;
    }
}

static void refill(ps_btree *tree, ps_btree_place *path, const removal *plan, ps_btree_spare *spare)
{
    unsigned level = 0;
    for (; level < plan->merges; level++) {
        unsigned step = path->height - 2u - level;
        ps_btree_absorb(tree, ps_btree_own_node(node_at(path, step)), path->steps[step].at,
                        plan->levels[level].sibling, plan->levels[level].left);
        path->steps[step].at -= plan->levels[level].left;
    }
    if (plan->borrows) {
        unsigned step = path->height - 2u - level, at = path->steps[step].at;
        bool left = plan->levels[level].left;
        ps_btree_node *parent = ps_btree_own_node(node_at(path, step));
        uint64_t *slot = &ps_btree_parts_of(parent, tree->flags).children[left ? at - 1 : at + 1];
        if (spare->n > 0) ps_btree_replace(tree, slot, plan->levels[level].sibling, ps_btree_take_spare(spare, level));
        ps_btree_balance(tree, parent, left ? at - 1 : at);
    }
    ps_btree_collapse(tree);
}

ps_status ps_btree_remove(ps_btree *tree, ps_btree_place *place, int64_t *key, uint64_t *value)
{
    ps_status status = advance(tree, place);
    if (status != PS_OK) return status;
    unsigned height = place->height;
    if (height == 0 || place->steps[height - 1].at == node_at(place, height - 1)->n) return PS_EMPTY;
    removal plan;
    status = plan_removal(tree, place, &plan);
    if (status != PS_OK) return status;
    ps_btree_spare spare = {.n = 0};
    unsigned shared = first_shared(tree, place);
    unsigned needed = height - shared + borrows_shared(tree, place, &plan, shared);
    if (needed > 0 && !ps_btree_reserve(tree, &spare, needed)) return PS_NO_MEMORY;
    own_path(tree, place, shared, &spare);

    tree->length--;
    tree->changes++;
    tree->moves++;
    ps_btree_node *leaf = ps_btree_own_node(node_at(place, height - 1));
    unsigned at = place->steps[height - 1].at;
    if (key != NULL) *key = ps_btree_key_at(leaf, tree->flags, at);
    if (value != NULL && tree->flags & PS_BTREE_VALUES) *value = ps_btree_leaf_values(leaf, tree->flags)[at];
    ps_btree_remove_from_leaf(tree, leaf, at);
    for (unsigned step = 0; step + 1 < height; step++)
        ps_btree_parts_of(node_at(place, step), tree->flags).counts[place->steps[step].at]--;
    if (tree->length == 0) {
        ps_btree_free_node(tree, leaf);
        tree->root = 0;
        tree->height = 0;
        return PS_OK;
    }
    if (at == 0 && leaf->n > 0) renew_separator(tree, place, ps_btree_leaf_keys(leaf, tree->flags)[0]);
    refill(tree, place, &plan, &spare);
    return PS_OK;
}
