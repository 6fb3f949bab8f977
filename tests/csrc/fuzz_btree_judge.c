/* The judge sees what is broken: in a sound tree one thing is made wrong, and it says which rule does not hold. */
#include "btree_edit.h"
#include "btree_model.h"

static uint8_t flags;
static model m;

static ps_btree_node *root(void) { return ps_btree_at(m.tree.root); }

static void require_broken(const char *expected)
{
    const char *rule = "none";
    ps_status status = ps_btree_check(&m.tree, &rule);
    if (status != PS_BROKEN || strstr(rule, expected) == NULL) fprintf(stderr, "expected %s, got %s\n", expected, rule);
    FUZZ_REQUIRE(status == PS_BROKEN && strstr(rule, expected) != NULL);
}

/* A leaf somewhere, and the path to it. */
static ps_btree_node *some_leaf(ps_btree_place *path, fuzz_input *input)
{
    uint32_t index = (uint32_t)fuzz_take(input, 2) % m.n;
    FUZZ_REQUIRE(ps_btree_seek_index(&m.tree, index, path) == PS_OK);
    return ps_btree_own_node(path->steps[path->height - 1u].node);
}

static void break_node(ps_btree_node *node, fuzz_input *input)
{
    ps_btree_node before = *node;
    switch (fuzz_take(input, 1) % 4) {
    case 0:
        node->level++;
        require_broken("equally deep");
        break;
    case 1:
        atomic_store(&node->owners, 0);
        require_broken("owner");
        break;
    case 2:
        node->n = 255;
        require_broken("room");
        break;
    default:
        if (node->level == 0 && flags & PS_BTREE_OBJECT_KEYS) {
            node->named.labels[fuzz_take(input, 1) % node->n] ^= 1;
            if (m.tree.use_hints) require_broken("labels");
        } else {
            node->pivots[fuzz_take(input, 1) % PS_BTREE_PIVOTS] ^= 1;
            require_broken("pivots");
        }
    }
    memcpy(node, &before, sizeof before);
}

static void break_inner(ps_btree_node *node, fuzz_input *input)
{
    ps_btree_parts parts = ps_btree_parts_of(node, flags);
    unsigned at = (unsigned)fuzz_take(input, 1) % (node->n - 1u);
    switch (fuzz_take(input, 1) % 3) {
    case 0:
        parts.counts[at]++;
        require_broken("counts");
        parts.counts[at]--;
        break;
    case 1:
        parts.keys[at]--;
        ps_btree_set_pivots(node, flags);
        require_broken("separators");
        parts.keys[at]++;
        ps_btree_set_pivots(node, flags);
        break;
    default:
        if (parts.hints == NULL || !m.tree.use_hints) return;
        parts.hints[at]--;
        ps_btree_set_pivots(node, flags);
        require_broken("hints");
        parts.hints[at]++;
        ps_btree_set_pivots(node, flags);
    }
}

/* Two neighbours that are not equal change their places. */
static void break_order(ps_btree_node *leaf, fuzz_input *input)
{
    unsigned n = flags & PS_BTREE_RUNS ? leaf->d : leaf->n;
    if (n < 3) return;
    unsigned at = 1 + (unsigned)fuzz_take(input, 1) % (n - 2);
    int64_t *keys = ps_btree_keys_in(leaf, flags), one = keys[at], other = keys[at + 1];
    bool is_object = flags & PS_BTREE_OBJECT_KEYS;
    if (is_object ? orders[one] == orders[other] : one == other) return;
    keys[at] = other;
    keys[at + 1] = one;
    ps_btree_set_pivots(leaf, flags);
    ps_btree_label(&m.tree, leaf);
    require_broken("ascend");
    keys[at] = one;
    keys[at + 1] = other;
    ps_btree_set_pivots(leaf, flags);
    ps_btree_label(&m.tree, leaf);
}

/* A leaf between others that has lost nearly all. */
static void break_fill(ps_btree_node *leaf, const ps_btree_place *path)
{
    bool is_first = true, is_last = true;
    for (unsigned step = 0; step + 1u < path->height; step++) {
        is_first &= path->steps[step].at == 0;
        is_last &= path->steps[step].at + 1u == path->steps[step].node->n;
    }
    ps_btree_node before = *leaf;
    leaf->n = 1;
    if (flags & PS_BTREE_RUNS) leaf->d = 1;
    if (!is_first && !is_last) require_broken("full enough");
    memcpy(leaf, &before, sizeof before);
}

static void break_runs(ps_btree_node *leaf, fuzz_input *input)
{
    if (!(flags & PS_BTREE_RUNS) || leaf->d < 2) return;
    uint8_t *start = (uint8_t *)(uintptr_t)ps_btree_starts(leaf) + 1 + fuzz_take(input, 1) % (leaf->d - 1u);
    uint8_t before = *start;
    *start = fuzz_take(input, 1) % 2 ? start[-1] : leaf->n;
    require_broken("runs");
    *start = before;
    unsigned at = 1 + (unsigned)fuzz_take(input, 1) % (leaf->d - 1u);
    int64_t key = leaf->words[at];
    leaf->words[at] = leaf->words[at - 1];
    ps_btree_set_pivots(leaf, flags);
    require_broken("once");
    leaf->words[at] = key;
    ps_btree_set_pivots(leaf, flags);
}

/* All nodes are shared with a snapshot, and none when it is gone. */
static void require_shares(void)
{
    ps_btree other;
    ps_btree_stats stats;
    ps_btree_snapshot(&m.tree, &other, NULL);
    FUZZ_REQUIRE(ps_btree_measure(&m.tree, &stats) == PS_OK);
    FUZZ_REQUIRE(stats.shared_nodes > 0 && stats.shared_nodes == stats.leaves + stats.inner_nodes);
    ps_btree_clear(&other);
    FUZZ_REQUIRE(ps_btree_measure(&m.tree, &stats) == PS_OK && stats.shared_nodes == 0);
}

static void break_tree(fuzz_input *input)
{
    ps_btree before = m.tree;
    switch (fuzz_take(input, 1) % 3) {
    case 0:
        m.tree.length++;
        require_broken("counts");
        break;
    case 1:
        m.tree.height = PS_BTREE_MAX_HEIGHT + 1;
        require_broken("16 levels");
        break;
    default:
        m.tree.root = 0;
        require_broken("empty");
    }
    m.tree = before;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    begin();
    flags = some_flags(&input);
    ps_btree_init(&m.tree, flags, fuzz_take(&input, 1) % 4 ? &OWNER : &WITHOUT_HINTS, NULL);
    m.n = 0;
    uint32_t n = 1 + (uint32_t)fuzz_take(&input, 2) % 400, step = 1 + (uint32_t)fuzz_take(&input, 1) % 20;
    load(&m, fuzz_take(&input, 1) < 16 ? 2000 : n, 0, step, 0.5 + (double)(fuzz_take(&input, 1) % 6) / 10);
    for (unsigned steps = 0; input.left > 0 && steps < 20; steps++) {
        ps_btree_place path;
        ps_btree_node *leaf = some_leaf(&path, &input);
        unsigned up = (unsigned)fuzz_take(&input, 1) % path.height;
        switch (fuzz_take(&input, 1) % 8) {
        case 0: break_node(leaf, &input); break;
        case 1: break_node(ps_btree_own_node(path.steps[up].node), &input); break;
        case 2:
            if (up + 1u == path.height) up = 0;
            if (root()->level > 0) break_inner(ps_btree_own_node(path.steps[up].node), &input);
            break;
        case 3: break_order(leaf, &input); break;
        case 4: break_runs(leaf, &input); break;
        case 5: break_fill(leaf, &path); break;
        case 6: require_shares(); break;
        default: break_tree(&input);
        }
        require_same(&m);
    }
    ps_btree_clear(&m.tree);
    ps_btree_release_dead(&m.tree);
    FUZZ_REQUIRE(allocated == 0);
    return 0;
}
