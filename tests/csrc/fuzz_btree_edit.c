/* One or two leaves of every kind, entry by entry, against plain arrays: room, labels, runs, splits, and what goes
 * from one to the other. */
#include "btree_edit.h"
#include "fuzz.h"

enum { MOST = 2 * PS_BTREE_KEYS };

typedef struct {
    int64_t keys[MOST];
    uint64_t values[MOST];
    unsigned n;
} entries;

static ps_btree tree;

/* Several keys have one hint. */
static int64_t hint(void *context, int64_t key)
{
    (void)context;
    return key / 4 * 1000;
}

static void ignore_keys(void *context, const int64_t *keys, size_t n) { (void)context, (void)keys, (void)n; }
static void ignore_values(void *context, const uint64_t *values, size_t n) { (void)context, (void)values, (void)n; }

static void *resize_memory(void *memory, size_t size) { return realloc(memory, size); }

static const ps_btree_owner OWNER = {
    {resize_memory, free}, NULL, hint, ignore_keys, ignore_values, ignore_keys, ignore_values,
};

static unsigned load_of(const entries *e)
{
    if (!(tree.flags & PS_BTREE_RUNS)) return e->n;
    unsigned load = 0;
    for (unsigned i = 0; i < e->n; i++) load += i == 0 || e->keys[i] != e->keys[i - 1] ? 17 : 8;
    return load;
}

static void require_same(const ps_btree_node *leaf, const entries *e)
{
    unsigned flags = tree.flags;
    int64_t keys[PS_BTREE_KEYS];
    FUZZ_REQUIRE(leaf->n == e->n && ps_btree_load_of(leaf, flags) == load_of(e));
    FUZZ_REQUIRE(load_of(e) <= ps_btree_leaf_room(flags));
    ps_btree_read_keys(leaf, flags, 0, e->n, keys);
    FUZZ_REQUIRE(memcmp(keys, e->keys, e->n * sizeof *keys) == 0);
    for (unsigned i = 0; i < e->n; i++) {
        FUZZ_REQUIRE(ps_btree_key_at(leaf, flags, i) == e->keys[i]);
        if (flags & PS_BTREE_VALUES) FUZZ_REQUIRE(ps_btree_leaf_values(leaf, flags)[i] == e->values[i]);
        if (flags & PS_BTREE_OBJECT_KEYS)
            FUZZ_REQUIRE(leaf->named.labels[i] == ps_btree_label_of(leaf, hint(NULL, e->keys[i])));
    }
    if (e->n > 2) { /* a part */
        ps_btree_read_keys(leaf, flags, 1, e->n - 2, keys);
        FUZZ_REQUIRE(memcmp(keys, e->keys + 1, (e->n - 2) * sizeof *keys) == 0);
    }
    if (flags & PS_BTREE_OBJECT_KEYS) return;
    unsigned n = flags & PS_BTREE_RUNS ? leaf->d : leaf->n, step = flags & PS_BTREE_VALUES ? 8 : 16;
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++) {
        unsigned at = step * (i + 1);
        FUZZ_REQUIRE(leaf->pivots[i] == (at < n ? leaf->words[at] : INT64_MAX));
    }
}

static void move(entries *to, unsigned at, const entries *from, unsigned from_at, unsigned n)
{
    memmove(to->keys + at, from->keys + from_at, n * sizeof *to->keys);
    memmove(to->values + at, from->values + from_at, n * sizeof *to->values);
}

static void insert(ps_btree_node *leaf, entries *e, int64_t key, uint64_t value)
{
    unsigned at = 0;
    while (at < e->n && e->keys[at] <= key) at++;
    entries with = *e;
    move(&with, at + 1, e, at, e->n - at);
    with.keys[at] = key;
    with.values[at] = value;
    with.n++;
    bool fits = load_of(&with) <= ps_btree_leaf_room(tree.flags);
    FUZZ_REQUIRE(ps_btree_has_room(&tree, leaf, at, key) == fits);
    if (!fits) return;
    ps_btree_insert_in_leaf(&tree, leaf, at, key, value);
    *e = with;
}

static void remove_at(ps_btree_node *leaf, entries *e, unsigned at)
{
    ps_btree_remove_from_leaf(&tree, leaf, at);
    move(e, at, e, at + 1, e->n - at - 1);
    e->n--;
}

/* Splits a leaf and brings its parts together again, in one way or the other. */
static void part_and_join(ps_btree_node **leaf, entries *e, fuzz_input *input)
{
    unsigned kept = (unsigned)fuzz_take(input, 1) % (e->n + 1), kind = (unsigned)fuzz_take(input, 1) % 4;
    ps_btree_node *right = ps_btree_new_node(&tree, 0);
    entries lefts = *e, rights = {.n = e->n - kept};
    FUZZ_REQUIRE(right != NULL);
    ps_btree_split_leaf(&tree, *leaf, right, kept);
    move(&rights, 0, e, kept, rights.n);
    lefts.n = kept;
    require_same(*leaf, &lefts);
    require_same(right, &rights);
    ps_btree_separator separator = {0, 0};
    if (kind == 0 && e->n > 1) {
        int64_t moved = ps_btree_even(&tree, *leaf, right, &separator);
        FUZZ_REQUIRE(separator.key == e->keys[(int64_t)kept + moved]);
        lefts.n = (unsigned)((int64_t)kept + moved);
        rights.n = e->n - lefts.n;
        move(&rights, 0, e, lefts.n, rights.n);
        FUZZ_REQUIRE(lefts.n > 0 && rights.n > 0);
        require_same(*leaf, &lefts);
        require_same(right, &rights);
    }
    if (kind == 1 && e->n > 2) { /* a copy of a part */
        ps_btree_node *copy = ps_btree_new_node(&tree, 0);
        FUZZ_REQUIRE(copy != NULL);
        entries part = {.n = rights.n / 2};
        ps_btree_copy(&tree, copy, right, rights.n - part.n, part.n, false);
        move(&part, 0, &rights, rights.n - part.n, part.n);
        require_same(copy, &part);
        ps_btree_free_node(&tree, copy);
    }
    if (kind == 2) {
        ps_btree_pour(&tree, right, *leaf, ps_btree_reference(*leaf), true, separator);
        *leaf = right;
    } else {
        ps_btree_pour(&tree, *leaf, right, ps_btree_reference(right), false, separator);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t KINDS[] = {
        0, PS_BTREE_VALUES, PS_BTREE_OBJECT_KEYS, PS_BTREE_OBJECT_KEYS | PS_BTREE_VALUES,
        PS_BTREE_VALUES | PS_BTREE_MULTI, PS_BTREE_VALUES | PS_BTREE_MULTI | PS_BTREE_RUNS,
        PS_BTREE_VALUES | PS_BTREE_MULTI | PS_BTREE_RUNS | PS_BTREE_OBJECT_VALUES,
    };
    fuzz_input input = {data, size};
    uint8_t flags = KINDS[fuzz_take(&input, 1) % sizeof KINDS];
    ps_btree_init(&tree, flags, &OWNER, NULL);
    ps_btree_node *leaf = ps_btree_new_node(&tree, 0);
    FUZZ_REQUIRE(leaf != NULL);
    entries e = {.n = 0};
    uint64_t spread = 1 + fuzz_take(&input, 1), value = 0;
    for (unsigned steps = 0; input.left > 0 && steps < 600; steps++) {
        uint64_t kind = fuzz_take(&input, 1);
        if (kind < 160 || e.n == 0) insert(leaf, &e, (int64_t)(fuzz_take(&input, 2) % spread), ++value);
        else if (kind < 225) remove_at(leaf, &e, (unsigned)fuzz_take(&input, 1) % e.n);
        else if (kind < 230) ps_btree_fill(&tree, leaf, e.keys, e.values, e.n);
        else part_and_join(&leaf, &e, &input);
        require_same(leaf, &e);
    }
    ps_btree_free_node(&tree, leaf);
    return 0;
}
