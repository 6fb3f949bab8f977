/* The B-tree entry by entry against a plain sorted array: every kind of tree, snapshots that share its nodes,
 * comparisons that give up or change the tree, and an allocator that fails at every allocation in turn. */
#include "btree_model.h"

static model *trees[MOST_TREES]; /* the first one changes; snapshots of it follow */
static unsigned trees_count;

static uint8_t flags;

static void drop_entry(entry e)
{
    if (flags & PS_BTREE_OBJECT_KEYS) references[e.key]--;
    if (flags & PS_BTREE_OBJECT_VALUES) references[e.value]--;
}

static ps_btree_probe probe_of(int64_t order)
{
    if (!(flags & PS_BTREE_OBJECT_KEYS)) return (ps_btree_probe){.key = order};
    return (ps_btree_probe){new_object(order), order >> 3, true};
}

/* ---- comparisons that misbehave ---- */

static void give_up(bool *stop) { *stop = true; }

static void clear_tree(bool *stop)
{
    (void)stop;
    ps_btree_clear(&trees[0]->tree); /* nothing is released before the seek is over: words stay what they are */
}

static void require_changes_seen(int64_t order, ps_btree_side side)
{
    model *m = trees[0];
    if (m->n == 0) return;
    ps_btree_place place;
    bool found;
    ps_btree_probe probe = probe_of(order);
    misbehave = give_up;
    comparisons_left = 0;
    ps_status status = ps_btree_seek(&m->tree, &probe, side, &place, &found);
    FUZZ_REQUIRE(status == PS_STOPPED || comparisons_left == 0); /* or hints have said all */
    comparisons_left = -1;
}

static void lose_all(int64_t order)
{
    model *m = trees[0];
    if (!(flags & PS_BTREE_OBJECT_KEYS) || m->n == 0) return;
    ps_btree_place place;
    bool found;
    ps_btree_probe probe = probe_of(order);
    misbehave = clear_tree;
    comparisons_left = 0;
    ps_status status = ps_btree_seek(&m->tree, &probe, PS_BTREE_BEFORE, &place, &found);
    if (comparisons_left < 0) {
        FUZZ_REQUIRE(status == PS_CHANGED);
        m->n = 0;
    }
    comparisons_left = -1;
}

/* ---- single entries ---- */

static void require_place(const model *m, const ps_btree_place *place, uint32_t index)
{
    FUZZ_REQUIRE(ps_btree_index(&m->tree, place) == index);
}

/* Finds the gap; it is the right one. */
static bool seek(model *m, int64_t order, ps_btree_side side, ps_btree_place *place)
{
    bool found, expected;
    ps_btree_probe probe = probe_of(order);
    if (objects % 3 == 0) probe.use_hint = false;
    FUZZ_REQUIRE(ps_btree_seek(&m->tree, &probe, side, place, &found) == PS_OK);
    expected = lower(m, order) < upper(m, order);
    FUZZ_REQUIRE(found == expected);
    bool behind = side == PS_BTREE_AFTER && expected;
    uint32_t index = behind ? upper(m, order) : lower(m, order);
    require_place(m, place, index);
    return found;
}

static ps_status put(model *m, entry e, bool *replaced, uint64_t *old)
{
    if (!(flags & PS_BTREE_OBJECT_KEYS)) return ps_btree_put(&m->tree, e.key, e.value, old, replaced);
    ps_btree_place place;
    *replaced = seek(m, e.order, PS_BTREE_AFTER, &place) && !(flags & PS_BTREE_MULTI);
    if (!*replaced) return ps_btree_insert(&m->tree, &place, e.key, e.value);
    *replaced = seek(m, e.order, PS_BTREE_BEFORE, &place);
    *old = 0;
    return flags & PS_BTREE_VALUES ? ps_btree_set_value(&m->tree, &place, e.value, old) : PS_OK;
}

static void require_unchanged(const model *m, uint64_t changes, bool thoroughly)
{
    FUZZ_REQUIRE(m->tree.changes == changes && m->tree.length == m->n);
    if (thoroughly) require_same(m);
}

static void store(model *m, int64_t order, fuzz_input *input)
{
    if (m->n + 1 >= MOST) return;
    entry e = new_entry(flags, order, fuzz_take(input, 2));
    bool replaced = false, thoroughly = fuzz_take(input, 1) < 16;
    uint64_t old = 0, changes = m->tree.changes, moves = m->tree.moves;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        status = put(m, e, &replaced, &old);
        if (status == PS_NO_MEMORY) require_unchanged(m, changes, thoroughly);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
    uint32_t at = upper(m, order);
    bool expected = !(flags & PS_BTREE_MULTI) && at > 0 && m->entries[at - 1].order == order;
    FUZZ_REQUIRE(replaced == expected && m->tree.changes == changes + !expected);
    FUZZ_REQUIRE(m->tree.moves > moves || (replaced && !(flags & PS_BTREE_VALUES))); /* a copied value is an old one */
    if (!replaced) {
        model_insert(m, at, e);
        return;
    }
    entry gone = {order, e.key, flags & PS_BTREE_VALUES ? old : e.value};
    if (flags & PS_BTREE_VALUES) {
        FUZZ_REQUIRE(old == m->entries[at - 1].value);
        m->entries[at - 1].value = e.value;
    }
    drop_entry(gone); /* the new key, which was not taken, and the old value */
}

static void remove_at(model *m, uint32_t index, fuzz_input *input)
{
    ps_btree_place place;
    int64_t key = 0;
    uint64_t value = 0, changes = m->tree.changes;
    bool thoroughly = fuzz_take(input, 1) < 16;
    ps_status status = PS_NO_MEMORY;
    for (long k = 0; status == PS_NO_MEMORY; k++) {
        allocations_left = k;
        FUZZ_REQUIRE(ps_btree_seek_index(&m->tree, index, &place) == PS_OK);
        status = ps_btree_remove(&m->tree, &place, &key, &value);
        if (status == PS_NO_MEMORY) require_unchanged(m, changes, thoroughly);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == (index < m->n ? PS_OK : PS_EMPTY));
    if (status != PS_OK) return;
    entry gone = m->entries[index];
    FUZZ_REQUIRE(key == gone.key && m->tree.changes == changes + 1);
    if (flags & PS_BTREE_VALUES) FUZZ_REQUIRE(value == gone.value);
    drop_entry(gone);
    model_remove(m, index, index + 1);
}

/* ---- looking ---- */

static void look(model *m, int64_t order)
{
    ps_btree_place place;
    seek(m, order, PS_BTREE_BEFORE, &place);
    bool found = seek(m, order, PS_BTREE_AFTER, &place);
    if (flags & PS_BTREE_OBJECT_KEYS) return;
    uint64_t value = 0;
    uint32_t at = lower(m, order);
    FUZZ_REQUIRE(ps_btree_get(&m->tree, order, &value) == (found ? PS_OK : PS_EMPTY));
    if (found && flags & PS_BTREE_VALUES) FUZZ_REQUIRE(value == m->entries[at].value);
}

static void read_back(model *m, uint32_t from)
{
    ps_btree_place place;
    ps_status status;
    int64_t keys[50];
    uint64_t values[50];
    bool has_values = flags & PS_BTREE_VALUES;
    FUZZ_REQUIRE(ps_btree_seek_index(&m->tree, from, &place) == PS_OK);
    size_t n;
    while ((n = ps_btree_read_back(&m->tree, &place, keys, values, 50, &status)) > 0) {
        for (size_t i = 0; i < n; i++) {
            FUZZ_REQUIRE(from > 0 && keys[i] == m->entries[--from].key);
            if (has_values) FUZZ_REQUIRE(values[i] == m->entries[from].value);
        }
        require_place(m, &place, from);
    }
    FUZZ_REQUIRE(from == 0 && status == PS_OK);
}

static int count_visit(const int64_t *keys, const uint64_t *values, size_t n, void *arg)
{
    size_t *seen = arg;
    FUZZ_REQUIRE(n > 0 && keys != NULL && (values != NULL) == ((flags & PS_BTREE_VALUES) != 0));
    *seen += n;
    return *seen > 1000;
}

static void survey(const model *m)
{
    ps_btree_stats stats;
    size_t seen = 0;
    FUZZ_REQUIRE(ps_btree_measure(&m->tree, &stats) == PS_OK);
    FUZZ_REQUIRE(stats.node_bytes == (stats.leaves + stats.inner_nodes) * PS_BTREE_NODE_BYTES);
    FUZZ_REQUIRE(stats.fill >= 0 && stats.fill <= 1 && (m->n == 0) == (stats.leaves == 0));
    int stopped = ps_btree_traverse(&m->tree, count_visit, &seen);
    if (stats.shared_nodes == 0 && m->tree.dead == NULL) FUZZ_REQUIRE(stopped || seen == m->n);
}

/* ---- snapshots ---- */

static void take_snapshot(void)
{
    if (trees_count == MOST_TREES) return;
    model *m = trees[0], *copy = trees[trees_count++];
    ps_btree_snapshot(&m->tree, &copy->tree, NULL);
    memcpy(copy->entries, m->entries, m->n * sizeof *m->entries);
    copy->n = m->n;
}

static void drop_snapshot(unsigned which)
{
    if (which == 0 || which >= trees_count) return;
    model *dropped = trees[which];
    require_same(dropped);
    ps_btree_clear(&dropped->tree);
    ps_btree_release_dead(&dropped->tree);
    trees[which] = trees[--trees_count];
    trees[trees_count] = dropped;
}

/* The tree that changes from now on was a snapshot. */
static void swap_trees(unsigned which)
{
    if (which >= trees_count) return;
    model *first = trees[0];
    trees[0] = trees[which];
    trees[which] = first;
}

/* ---- what may happen ---- */

static int64_t some_order(fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1);
    if (kind == 0 && !(flags & PS_BTREE_OBJECT_KEYS)) return INT64_MAX;
    if (kind == 1 && !(flags & PS_BTREE_OBJECT_KEYS)) return INT64_MIN;
    return kind < 64 ? (int64_t)fuzz_take(input, 1) : (int64_t)fuzz_take(input, 2) % 6000;
}

/* Many of one kind in a row, so that nodes fill and drain. */
static void run(model *m, fuzz_input *input)
{
    unsigned n = (unsigned)fuzz_take(input, 1);
    uint64_t kind = fuzz_take(input, 1) % 7;
    int64_t order = some_order(input) % 6000;
    if (objects > MOST_OBJECTS / 2) return;
    for (unsigned i = 0; i < n; i++) switch (kind) {
        case 0: store(m, 7000 + (int64_t)m->tree.changes, input); break; /* ascending at the end */
        case 1: store(m, -(int64_t)m->tree.changes, input); break;
        case 2: store(m, order + i, input); break;
        case 6: store(m, order, input); break; /* equals, in a tree that takes them */
        case 3: remove_at(m, 0, input); break;
        case 4: remove_at(m, m->n > 0 ? m->n - 1 : 0, input); break;
        default: remove_at(m, lower(m, order), input);
        }
}

static void change(fuzz_input *input)
{
    model *m = trees[0];
    uint64_t kind = fuzz_take(input, 1);
    int64_t order = some_order(input);
    if (kind < 70) store(m, order, input);
    else if (kind < 130) remove_at(m, m->n > 0 ? (uint32_t)fuzz_take(input, 2) % (m->n + 1) : 0, input);
    else if (kind < 150) look(m, order);
    else if (kind < 170) run(m, input);
    else if (kind < 185) take_snapshot();
    else if (kind < 200) drop_snapshot((unsigned)fuzz_take(input, 1) % MOST_TREES);
    else if (kind < 210) swap_trees((unsigned)fuzz_take(input, 1) % MOST_TREES);
    else if (kind < 225) read_back(m, m->n > 0 ? (uint32_t)fuzz_take(input, 2) % (m->n + 1) : 0);
    else if (kind < 235 && flags & PS_BTREE_OBJECT_KEYS) require_changes_seen(order, (ps_btree_side)(kind % 2));
    else if (kind < 238) lose_all(order);
    else if (kind < 240) m->tree.use_hints = false;
    else survey(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static model rooms[MOST_TREES];
    fuzz_input input = {data, size};
    begin();
    flags = some_flags(&input);
    const ps_btree_owner *owner = fuzz_take(&input, 1) % 4 ? &OWNER : &WITHOUT_HINTS;
    ps_btree_use((ps_btree_code)(fuzz_take(&input, 1) % PS_BTREE_CODES));
    for (unsigned i = 0; i < MOST_TREES; i++) trees[i] = &rooms[i];
    trees_count = 1;
    ps_btree_init(&trees[0]->tree, flags, owner, NULL);
    trees[0]->n = 0;
    uint64_t seeds = fuzz_take(&input, 1);
    uint32_t n = seeds < 128 ? 0 : seeds < 250 ? (uint32_t)fuzz_take(&input, 1) : seeds < 254 ? 2500 : 8800;
    load(trees[0], n, (int64_t)fuzz_take(&input, 1), 1 + (uint32_t)fuzz_take(&input, 1) % 4,
         seeds % 2 || n > 8000 ? 1.0 : 0.5);
    unsigned most = n > 8000 ? 12 : n > 2000 ? 25 : 60;
    for (unsigned steps = 0; input.left > 0 && steps < most; steps++) {
        change(&input);
        require_same(trees[0]);
        require_references(trees, trees_count);
    }
    while (trees_count > 0) {
        require_same(trees[trees_count - 1]);
        ps_btree_clear(&trees[--trees_count]->tree);
        ps_btree_release_dead(&trees[trees_count]->tree);
    }
    for (uint32_t i = 0; i < objects; i++) FUZZ_REQUIRE(references[i] == 0);
    FUZZ_REQUIRE(allocated == 0);
    return 0;
}
