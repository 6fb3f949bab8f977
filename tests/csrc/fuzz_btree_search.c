/* The search of nodes, with each code that the processor knows, against counting one key after the other. Words
 * beyond the keys are anything, as they are in memory and in hostile files, and so may pivots be: then the answer may
 * be wrong, but is within the node. */
#include "btree_edit.h"
#include "btree_search.h"
#include "fuzz.h"

static int64_t some_key(fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1);
    if (kind < 4) return INT64_MAX - (int64_t)kind % 2;
    if (kind < 8) return INT64_MIN + (int64_t)kind % 2;
    return kind < 128 ? (int64_t)fuzz_take(input, 1) % 50 : (int64_t)fuzz_take(input, 8);
}

static int by_value(const void *one, const void *other)
{
    const int64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

static unsigned count(const ps_btree_node *node, unsigned n, int64_t key, ps_btree_side side)
{
    unsigned before = 0;
    for (unsigned i = 0; i < n; i++)
        before += side == PS_BTREE_BEFORE ? node->words[i] < key : node->words[i] <= key;
    return before;
}

static void search(const ps_btree_node *node, unsigned n, bool wide, bool is_hostile, fuzz_input *input)
{
    for (unsigned i = 0; i < 24; i++) {
        int64_t key = some_key(input);
        if (n > 0 && i % 2) key = node->words[fuzz_take(input, 1) % n];
        for (ps_btree_code code = PS_BTREE_PLAIN; code < PS_BTREE_CODES; code++) {
            if (!ps_btree_use(code)) continue;
            FUZZ_REQUIRE(ps_btree_used() == code);
            for (ps_btree_side side = PS_BTREE_BEFORE; side <= PS_BTREE_AFTER; side++) {
                unsigned at = ps_btree_position(node, n, wide, key, side);
                FUZZ_REQUIRE(at <= n);
                if (!is_hostile) FUZZ_REQUIRE(at == count(node, n, key, side));
            }
        }
    }
}

static void sum(const ps_btree_node *node, unsigned n)
{
    for (ps_btree_code code = PS_BTREE_PLAIN; code < PS_BTREE_CODES; code++) {
        if (!ps_btree_use(code)) continue;
        FUZZ_REQUIRE(ps_btree_first_counts(node->branch.counts, n) == ps_btree_sum(node->branch.counts, n));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint64_t kind = fuzz_take(&input, 1) % 3;
    bool wide = kind == 0, is_leaf = kind < 2, is_hostile = fuzz_take(&input, 1) < 32;
    unsigned flags = wide ? 0 : PS_BTREE_VALUES, room = is_leaf ? ps_btree_leaf_room(flags) : PS_BTREE_CHILDREN - 1;
    unsigned n = (unsigned)fuzz_take(&input, 1) % (room + 1);
    ps_btree_node *node = malloc(sizeof *node); /* its own block: what is read behind it is seen */
    FUZZ_REQUIRE(node != NULL);
    memset(node, (int)fuzz_take(&input, 1), sizeof *node);
    node->level = !is_leaf;
    node->n = (uint8_t)(is_leaf ? n : n + 1);
    bool is_plain = fuzz_take(&input, 1) % 2; /* few different ones */
    for (unsigned i = 0; i < n; i++)
        node->words[i] = is_plain ? (int64_t)fuzz_take(&input, 1) % 16 : some_key(&input);
    if (!is_hostile) qsort(node->words, n, sizeof *node->words, by_value);
    ps_btree_set_pivots(node, flags);
    if (is_hostile)
        for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++) node->pivots[i] = some_key(&input);
    search(node, n, wide, is_hostile, &input);
    if (!is_leaf) {
        for (unsigned i = 0; i < n; i++) node->branch.counts[i] = (uint32_t)fuzz_take(&input, 3);
        for (unsigned i = 0; i <= n; i++) sum(node, i);
    }
    free(node);
    return 0;
}
