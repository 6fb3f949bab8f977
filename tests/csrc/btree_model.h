/* btree_model -- a B-tree beside a plain sorted array, objects that count their references, and memory that runs out.
 *
 * What fuzz_btree.c and fuzz_btree_bulk.c share. A key that is an object is its number in `objects`; its order is
 * a property of the object, so that many objects may be equal. */
#ifndef BTREE_MODEL_H
#define BTREE_MODEL_H

#include "btree.h"
#include "btree_node.h"
#include "btree_search.h"
#include "fuzz.h"

enum { MOST = 9000, MOST_OBJECTS = 1 << 16, MOST_TREES = 4, MOST_LEAVES = 4096 };

typedef struct {
    int64_t order;
    int64_t key; /* the word */
    uint64_t value;
} entry;

/* A tree and what it should hold. */
typedef struct {
    ps_btree tree;
    entry entries[MOST];
    uint32_t n;
} model;

static int64_t orders[MOST_OBJECTS];
static int32_t references[MOST_OBJECTS];
static uint32_t objects; /* made so far */
static long allocations_left, allocated;
static int comparisons_left; /* until one misbehaves; < 0: none does */
static void (*misbehave)(bool *stop);

static void *resize_memory(void *memory, size_t size)
{
    FUZZ_REQUIRE(memory == NULL);
    if (allocations_left == 0) return NULL;
    allocations_left--;
    allocated++;
    return malloc(size);
}

static void release_memory(void *memory)
{
    allocated -= memory != NULL;
    free(memory);
}

static int compare(void *context, int64_t probe, int64_t key, bool *stop)
{
    (void)context;
    FUZZ_REQUIRE(references[key] > 0);
    int answer = orders[probe] < orders[key] ? -1 : orders[probe] > orders[key];
    if (comparisons_left >= 0 && comparisons_left-- == 0) misbehave(stop);
    return answer;
}

/* Several orders have one hint. */
static int64_t hint(void *context, int64_t key)
{
    (void)context;
    return orders[key] >> 3;
}

static void count_references(const int64_t *words, size_t n, int32_t by)
{
    for (size_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(words[i] >= 0 && words[i] < (int64_t)objects);
        references[words[i]] += by;
        FUZZ_REQUIRE(references[words[i]] >= 0);
    }
}

static void retain_keys(void *context, const int64_t *keys, size_t n)
{
    (void)context;
    count_references(keys, n, 1);
}

static void retain_values(void *context, const uint64_t *values, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) count_references(&(int64_t){(int64_t)values[i]}, 1, 1);
}

static void release_keys(void *context, const int64_t *keys, size_t n)
{
    (void)context;
    count_references(keys, n, -1);
}

static void release_values(void *context, const uint64_t *values, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++) count_references(&(int64_t){(int64_t)values[i]}, 1, -1);
}

static const ps_btree_owner OWNER = {
    {resize_memory, release_memory}, compare,        hint,           retain_keys,
    retain_values,                   release_keys,   release_values,
};
static const ps_btree_owner WITHOUT_HINTS = {
    {resize_memory, release_memory}, compare,        NULL,           retain_keys,
    retain_values,                   release_keys,   release_values,
};

static uint8_t some_flags(fuzz_input *input)
{
    uint8_t flags = (uint8_t)fuzz_take(input, 1) & 15;
    if (flags & PS_BTREE_OBJECT_VALUES) flags |= PS_BTREE_VALUES;
    bool may_have_runs = flags & PS_BTREE_MULTI && flags & PS_BTREE_VALUES && !(flags & PS_BTREE_OBJECT_KEYS);
    if (may_have_runs && fuzz_take(input, 1) % 2) flags |= PS_BTREE_RUNS;
    return flags;
}

static void begin(void)
{
    objects = 0;
    allocated = 0;
    allocations_left = -1;
    comparisons_left = -1;
}

/* ---- words ---- */

static int64_t new_object(int64_t order)
{
    FUZZ_REQUIRE(objects < MOST_OBJECTS);
    orders[objects] = order;
    references[objects] = 0;
    return objects++;
}

/* A new entry, with references for the tree to take over. */
static entry new_entry(uint8_t flags, int64_t order, uint64_t value)
{
    entry e = {order, order, value};
    if (flags & PS_BTREE_OBJECT_KEYS) references[e.key = new_object(order)]++;
    if (flags & PS_BTREE_OBJECT_VALUES) references[e.value = (uint64_t)new_object(0)]++;
    if (!(flags & PS_BTREE_VALUES)) e.value = 0;
    return e;
}

/* ---- the array ---- */

/* Entries before an order, or not after it. */
static inline uint32_t rank_of(const model *m, int64_t order, ps_btree_side side)
{
    uint32_t low = 0, high = m->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int64_t there = m->entries[middle].order;
        if (there < order || (there == order && side == PS_BTREE_AFTER)) low = middle + 1;
        else high = middle;
    }
    return low;
}

static inline uint32_t lower(const model *m, int64_t order) { return rank_of(m, order, PS_BTREE_BEFORE); }
static inline uint32_t upper(const model *m, int64_t order) { return rank_of(m, order, PS_BTREE_AFTER); }

static inline void model_insert(model *m, uint32_t at, entry e)
{
    memmove(&m->entries[at + 1], &m->entries[at], (m->n - at) * sizeof e);
    m->entries[at] = e;
    m->n++;
}

static inline void model_remove(model *m, uint32_t first, uint32_t last)
{
    memmove(&m->entries[first], &m->entries[last], (m->n - last) * sizeof(entry));
    m->n -= last - first;
}

/* Fills an empty tree and its array by one load: n entries, every `step`th order from `order` on, or each of
 * them twice. */
static void load(model *m, uint32_t n, int64_t order, uint32_t step, double fill)
{
    static int64_t keys[MOST];
    static uint64_t values[MOST];
    uint8_t flags = m->tree.flags;
    size_t unsorted;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t steps = flags & PS_BTREE_MULTI ? i / 2 : i;
        m->entries[i] = new_entry(flags, order + (int64_t)steps * step, i);
        keys[i] = m->entries[i].key;
        values[i] = m->entries[i].value;
    }
    m->n = n;
    FUZZ_REQUIRE(ps_btree_load(&m->tree, keys, flags & PS_BTREE_VALUES ? values : NULL, n, fill, &unsorted) == PS_OK);
}

/* ---- one beside the other ---- */

static void require_checks(const ps_btree *tree)
{
    const char *rule = "";
    int before = comparisons_left;
    comparisons_left = -1;
    ps_status status = ps_btree_check(tree, &rule);
    comparisons_left = before;
    if (status != PS_OK) fprintf(stderr, "broken: %s\n", rule);
    FUZZ_REQUIRE(status == PS_OK);
}

static void require_same(const model *m)
{
    const ps_btree *tree = &m->tree;
    FUZZ_REQUIRE(tree->length == m->n);
    require_checks(tree);
    ps_btree_place place;
    ps_status status;
    int64_t keys[128];
    uint64_t values[128];
    bool has_values = tree->flags & PS_BTREE_VALUES;
    FUZZ_REQUIRE(ps_btree_seek_index(tree, 0, &place) == PS_OK);
    size_t n;
    uint32_t seen = 0;
    while ((n = ps_btree_read(tree, &place, keys, values, 100, &status)) > 0)
        for (size_t i = 0; i < n; i++, seen++) {
            FUZZ_REQUIRE(seen < m->n && keys[i] == m->entries[seen].key);
            if (has_values) FUZZ_REQUIRE(values[i] == m->entries[seen].value);
        }
    FUZZ_REQUIRE(seen == m->n && status == PS_OK);
}

typedef struct {
    const ps_btree_node *nodes[MOST_LEAVES]; /* by hash, NULL where there is none */
    int32_t counts[MOST_OBJECTS];
} leaves_seen;

static inline void count_leaves(leaves_seen *seen, const ps_btree *tree, uint64_t reference, unsigned level)
{
    const ps_btree_node *node = (const ps_btree_node *)(uintptr_t)reference;
    if (level > 0) {
        for (unsigned i = 0; i < node->n; i++)
            count_leaves(seen, tree, ps_btree_children(node, tree->flags)[i], level - 1);
        return;
    }
    size_t slot = (size_t)(reference >> 4) * 31 % MOST_LEAVES;
    for (; seen->nodes[slot] != NULL; slot = (slot + 1) % MOST_LEAVES)
        if (seen->nodes[slot] == node) return; /* another tree came by */
    seen->nodes[slot] = node;
    for (unsigned i = 0; i < node->n; i++) {
        if (tree->flags & PS_BTREE_OBJECT_KEYS) seen->counts[ps_btree_leaf_keys(node, tree->flags)[i]]++;
        if (tree->flags & PS_BTREE_OBJECT_VALUES) seen->counts[ps_btree_leaf_values(node, tree->flags)[i]]++;
    }
}

/* Each leaf counts one reference for each of its words, and nothing else does. */
static inline void require_references(model *const *models, unsigned n)
{
    static leaves_seen seen;
    memset(seen.nodes, 0, sizeof seen.nodes);
    memset(seen.counts, 0, objects * sizeof *seen.counts);
    for (unsigned i = 0; i < n; i++) {
        ps_btree *tree = &models[i]->tree;
        if (!(tree->flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES))) return;
        ps_btree_release_dead(tree);
    }
    for (unsigned i = 0; i < n; i++) {
        const ps_btree *tree = &models[i]->tree;
        if (tree->height > 0) count_leaves(&seen, tree, tree->root, tree->height - 1u);
    }
    FUZZ_REQUIRE(memcmp(seen.counts, references, objects * sizeof *references) == 0);
}

#endif
