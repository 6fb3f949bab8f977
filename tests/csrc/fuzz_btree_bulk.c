/* Loads, cuts, joins and batches of a B-tree against a plain sorted array, while snapshots share its nodes, with an
 * allocator that fails at every allocation in turn. */
#include "btree_model.h"

enum { BATCH = 400 };

static model rooms[MOST_TREES];
static model *main_tree, *right, *snapshot; /* the last two may be empty */
static uint8_t flags;

static bool is_typed(void) { return !(flags & PS_BTREE_OBJECT_KEYS); }

static void require_all(void)
{
    model *all[] = {main_tree, right, snapshot};
    for (unsigned i = 0; i < 3; i++) require_same(all[i]);
    require_references(all, 3);
}

static void empty(model *m)
{
    ps_btree_clear(&m->tree);
    ps_btree_release_dead(&m->tree);
    m->n = 0;
}

/* ---- loads ---- */

static void reload(model *m, fuzz_input *input)
{
    empty(m);
    uint64_t kind = fuzz_take(input, 1);
    uint32_t n = kind < 2 ? MOST - 2 * BATCH : kind < 10 ? 2500 : (uint32_t)fuzz_take(input, 2) % 300;
    double fill = (double)(fuzz_take(input, 1) % 12) / 10;
    load(m, n, (int64_t)fuzz_take(input, 1), 1 + (uint32_t)fuzz_take(input, 1) % 4, fill);
}

static void load_badly(fuzz_input *input)
{
    empty(right);
    int64_t keys[BATCH];
    uint64_t values[BATCH] = {0}; /* zeros where they are not objects */
    uint32_t n = 2 + (uint32_t)fuzz_take(input, 2) % (BATCH - 2);
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = is_typed() ? (int64_t)i : new_object(i);
        if (flags & PS_BTREE_OBJECT_VALUES) values[i] = (uint64_t)new_object(0);
    }
    uint64_t *maybe = flags & PS_BTREE_VALUES ? values : NULL;
    size_t unsorted;
    if (is_typed()) {
        uint32_t bad = 1 + (uint32_t)fuzz_take(input, 2) % (n - 1);
        keys[bad] = keys[bad - 1] - (flags & PS_BTREE_MULTI ? 1 : 0);
        FUZZ_REQUIRE(ps_btree_load(&right->tree, keys, maybe, n, 0.9, &unsorted) == PS_REFUSED && unsorted == bad);
        keys[bad] = keys[bad - 1] + 1;
    }
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; k < 4; k++) {
        allocations_left = k;
        status = ps_btree_load(&right->tree, keys, maybe, n, 0.5, &unsorted);
        if (status == PS_NO_MEMORY) FUZZ_REQUIRE(right->tree.length == 0 && right->tree.root == 0);
        else break;
    }
    allocations_left = -1;
    if (status == PS_OK) { /* without references of its own */
        if (flags & PS_BTREE_OBJECT_KEYS) retain_keys(NULL, keys, n);
        if (flags & PS_BTREE_OBJECT_VALUES) retain_values(NULL, values, n);
    }
    empty(right);
}

/* ---- cuts ---- */

static void require_untouched(uint64_t changes, bool thoroughly)
{
    FUZZ_REQUIRE(main_tree->tree.changes == changes && main_tree->tree.length == main_tree->n);
    FUZZ_REQUIRE(right->tree.length == right->n);
    if (thoroughly) require_all();
}

static void remove_range(model *m, fuzz_input *input)
{
    uint32_t first = (uint32_t)fuzz_take(input, 2) % (m->n + 1), last = (uint32_t)fuzz_take(input, 2) % (m->n + 3);
    if (fuzz_take(input, 1) < 100) last = first + (uint32_t)fuzz_take(input, 1) % 70;
    if (fuzz_take(input, 1) < 40) first = 0;
    bool thoroughly = fuzz_take(input, 1) < 64;
    uint64_t changes = m->tree.changes;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = ps_btree_remove_range(&m->tree, first, last);
        if (status == PS_NO_MEMORY) require_untouched(changes, thoroughly);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
    if (last > m->n) last = m->n;
    bool any = first < last;
    FUZZ_REQUIRE((m->tree.changes != changes) == any);
    if (any) model_remove(m, first, last);
}

static void split(model *m, fuzz_input *input)
{
    uint32_t index = (uint32_t)fuzz_take(input, 2) % (m->n + 2);
    if (fuzz_take(input, 1) < 40) index = fuzz_take(input, 1) % 2 ? 1 : m->n - 1;
    bool thoroughly = fuzz_take(input, 1) < 64;
    empty(right);
    if (fuzz_take(input, 1) < 8) m->tree.use_hints = false;
    right->tree.flags = index < m->n ? 0 : flags; /* it gets them */
    uint64_t changes = m->tree.changes;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = ps_btree_split(&m->tree, index, &right->tree);
        if (status == PS_NO_MEMORY) require_untouched(changes, thoroughly);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
    if (index >= m->n) return;
    FUZZ_REQUIRE(right->tree.flags == flags && right->tree.use_hints == m->tree.use_hints);
    right->n = m->n - index;
    memcpy(right->entries, m->entries + index, right->n * sizeof(entry));
    m->n = index;
}

/* ---- batches ---- */

static int by_value(const void *one, const void *other)
{
    const int64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

static size_t some_batch(int64_t *keys, fuzz_input *input)
{
    size_t n = fuzz_take(input, 1) < 200 ? fuzz_take(input, 1) % 24 : fuzz_take(input, 2) % BATCH;
    int64_t base = (int64_t)fuzz_take(input, 2) % 6000;
    uint64_t kind = fuzz_take(input, 1);
    int64_t span = INT64_C(1) << kind / 2 % 7; /* 1: equals alone */
    for (size_t i = 0; i < n; i++)
        keys[i] = kind % 2 ? base + (int64_t)fuzz_take(input, 1) % span : (int64_t)fuzz_take(input, 2) % 6000;
    return n;
}

static void put_many(model *m, fuzz_input *input)
{
    int64_t keys[BATCH];
    uint64_t values[BATCH];
    if (flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES)) return;
    size_t n = some_batch(keys, input), added, expected = 0;
    if (m->n + n > MOST) return;
    qsort(keys, n, sizeof *keys, by_value);
    for (size_t i = 0; i < n; i++) values[i] = m->tree.moves + i;
    uint64_t changes = m->tree.changes;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = ps_btree_put_many(&m->tree, keys, flags & PS_BTREE_VALUES ? values : NULL, n, &added);
        if (status == PS_NO_MEMORY) require_untouched(changes, k < 3);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t at = upper(m, keys[i]);
        bool is_there = at > 0 && m->entries[at - 1].order == keys[i] && !(flags & PS_BTREE_MULTI);
        entry e = {keys[i], keys[i], flags & PS_BTREE_VALUES ? values[i] : 0};
        if (is_there) {
            m->entries[at - 1].value = e.value;
        } else {
            model_insert(m, at, e);
            expected++;
        }
    }
    FUZZ_REQUIRE(added == expected && (m->tree.changes != changes) == (added > 0));
}

static void remove_many(model *m, fuzz_input *input)
{
    int64_t keys[BATCH];
    if (!is_typed()) return;
    size_t n = some_batch(keys, input), removed, expected = 0;
    if (m->n > 0 && fuzz_take(input, 1) % 2) { /* few, and there: as likely one of many equals as these are many */
        n = 1 + fuzz_take(input, 1) % 3;
        for (size_t i = 0; i < n; i++) keys[i] = m->entries[fuzz_take(input, 2) % m->n].order;
    }
    qsort(keys, n, sizeof *keys, by_value);
    uint64_t changes = m->tree.changes;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = ps_btree_remove_many(&m->tree, keys, n, &removed);
        if (status == PS_NO_MEMORY) require_untouched(changes, k < 3);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t first = lower(m, keys[i]), last = upper(m, keys[i]);
        model_remove(m, first, last);
        expected += last - first;
    }
    FUZZ_REQUIRE(removed == expected && (m->tree.changes != changes) == (removed > 0));
}

static void copy_without_runs(const model *m)
{
    if (flags & (PS_BTREE_OBJECT_KEYS | PS_BTREE_OBJECT_VALUES)) return;
    static model copy;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = ps_btree_without_runs(&m->tree, &copy.tree, 0.9);
        if (status == PS_NO_MEMORY) FUZZ_REQUIRE(copy.tree.root == 0 && copy.tree.length == 0);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK && !(copy.tree.flags & PS_BTREE_RUNS));
    memcpy(copy.entries, m->entries, m->n * sizeof(entry));
    copy.n = m->n;
    require_same(&copy);
    ps_btree_clear(&copy.tree);
}

static void query(const model *m, fuzz_input *input)
{
    int64_t keys[BATCH], before[BATCH], after[BATCH];
    uint64_t values[BATCH];
    uint8_t found[BATCH];
    if (!is_typed()) return;
    size_t n = some_batch(keys, input);
    if (fuzz_take(input, 1) % 2) qsort(keys, n, sizeof *keys, by_value);
    if (n > 0 && fuzz_take(input, 1) < 32) keys[fuzz_take(input, 1) % n] = INT64_MAX;
    for (size_t i = 0; i < n; i++) values[i] = i;
    bool has_values = flags & PS_BTREE_VALUES;
    FUZZ_REQUIRE(ps_btree_get_many(&m->tree, keys, n, has_values ? values : NULL, found) == PS_OK);
    FUZZ_REQUIRE(ps_btree_rank_many(&m->tree, keys, n, PS_BTREE_BEFORE, before) == PS_OK);
    FUZZ_REQUIRE(ps_btree_rank_many(&m->tree, keys, n, PS_BTREE_AFTER, after) == PS_OK);
    for (size_t i = 0; i < n; i++) {
        uint32_t first = lower(m, keys[i]), last = upper(m, keys[i]);
        FUZZ_REQUIRE(before[i] == first && after[i] == last && found[i] == (first < last));
        for (ps_btree_side side = PS_BTREE_BEFORE; side <= PS_BTREE_AFTER; side++) {
            int64_t rank;
            FUZZ_REQUIRE(ps_btree_rank(&m->tree, keys[i], side, &rank) == PS_OK);
            FUZZ_REQUIRE(rank == (side == PS_BTREE_BEFORE ? first : last));
        }
        if (has_values) FUZZ_REQUIRE(values[i] == (found[i] ? m->entries[first].value : i));
    }
}

/* ---- what may happen ---- */

static void change(fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1);
    model *m = main_tree;
    if (kind < 20) {
        reload(m, input);
    } else if (kind < 30) {
        load_badly(input);
    } else if (kind < 90) {
        remove_range(m, input);
    } else if (kind < 120) {
        split(m, input);
        if (fuzz_take(input, 1) % 2) {
            main_tree = right;
            right = m;
        }
    } else if (kind < 145) {
        put_many(m, input);
    } else if (kind < 165) {
        remove_many(m, input);
    } else if (kind < 200) {
        query(m, input);
        if (kind < 170) copy_without_runs(m);
    } else if (kind < 240) {
        empty(snapshot);
        ps_btree_snapshot(&m->tree, &snapshot->tree, NULL);
        memcpy(snapshot->entries, m->entries, m->n * sizeof(entry));
        snapshot->n = m->n;
    } else {
        main_tree = snapshot;
        snapshot = m;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    begin();
    flags = some_flags(&input);
    const ps_btree_owner *owner = fuzz_take(&input, 1) % 4 ? &OWNER : &WITHOUT_HINTS;
    ps_btree_use((ps_btree_code)(fuzz_take(&input, 1) % PS_BTREE_CODES));
    for (unsigned i = 0; i < 3; i++) {
        ps_btree_init(&rooms[i].tree, flags, owner, NULL);
        rooms[i].n = 0;
    }
    main_tree = &rooms[0];
    right = &rooms[1];
    snapshot = &rooms[2];
    reload(main_tree, &input);
    for (unsigned steps = 0; input.left > 0 && steps < 40 && objects < MOST_OBJECTS - MOST * 2; steps++) {
        change(&input);
        require_all();
    }
    for (unsigned i = 0; i < 3; i++) empty(&rooms[i]);
    for (uint32_t i = 0; i < objects; i++) FUZZ_REQUIRE(references[i] == 0);
    FUZZ_REQUIRE(allocated == 0);
    return 0;
}
