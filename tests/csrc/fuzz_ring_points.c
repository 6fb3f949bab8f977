/* Rings that gain and lose owners, against all points in one list that is searched from end to end. */
#include "fuzz.h"
#include "ring_points.h"

#define MOST 600 /* points */

typedef struct {
    uint64_t points[MOST];
    uint32_t owners[MOST];
    size_t n;
    uint32_t nodes;
} model;

static unsigned failing; /* 0: no allocation fails; else the one so far ahead does */

static void *resize(void *memory, size_t size)
{
    return failing != 0 && --failing == 0 ? NULL : realloc(memory, size);
}

/* Points that are spread out, crowded in one cell, at the ends, or the same. */
static uint64_t some_point(fuzz_input *input, unsigned how)
{
    uint64_t point = fuzz_take(input, 8);
    if (how == 1) return point & 0xFF;
    if (how == 2) return UINT64_MAX - (point & 3);
    if (how == 3) return (point & 1) << 63 | (point & 6);
    return point;
}

static void add_points(model *expected, uint32_t owner, const uint64_t *points, size_t count)
{
    for (size_t i = 0; i < expected->n; i++) expected->owners[i] += expected->owners[i] >= owner;
    for (size_t i = 0; i < count; i++) {
        expected->points[expected->n] = points[i];
        expected->owners[expected->n++] = owner;
    }
    expected->nodes++;
}

static void remove_points(model *expected, uint32_t owner)
{
    size_t left = 0;
    for (size_t i = 0; i < expected->n; i++) {
        if (expected->owners[i] == owner) continue;
        expected->points[left] = expected->points[i];
        expected->owners[left++] = expected->owners[i] - (expected->owners[i] > owner);
    }
    expected->n = left;
    expected->nodes--;
}

/* Whether point i comes before point j on the way from a hash. */
static bool nearer(const model *expected, uint64_t hash, size_t i, size_t j)
{
    uint64_t a = expected->points[i] - hash, b = expected->points[j] - hash;
    return a < b || (a == b && expected->owners[i] < expected->owners[j]);
}

static uint32_t next_owner(const model *expected, uint64_t hash, const bool *seen)
{
    size_t best = MOST;
    for (size_t i = 0; i < expected->n; i++)
        if (!seen[expected->owners[i]] && (best == MOST || nearer(expected, hash, i, best))) best = i;
    if (best < MOST) return expected->owners[best];
    uint32_t owner = 0; /* those without a point come last */
    while (seen[owner]) owner++;
    return owner;
}

static void require_same(const ps_ring *ring, const model *expected, fuzz_input *input)
{
    FUZZ_REQUIRE(ps_ring_check(ring));
    FUZZ_REQUIRE(ring->n == expected->n);
    uint64_t hashes[40];
    int32_t owners[40];
    for (size_t i = 0; i < 40; i++)
        hashes[i] = i % 2 ? expected->points[i % expected->n] + i % 3 - 1 : some_point(input, i % 8);
    ps_ring_owners(ring, hashes, 40, owners);
    for (size_t i = 0; i < 40; i++) {
        bool seen[MOST] = {false};
        FUZZ_REQUIRE((uint32_t)owners[i] == next_owner(expected, hashes[i], seen));
        FUZZ_REQUIRE(ps_ring_owner(ring, hashes[i]) == (uint32_t)owners[i]);
    }
    uint32_t order[MOST];
    uint8_t map[MOST / 8 + 1] = {0};
    bool seen[MOST] = {false};
    size_t wanted = fuzz_take(input, 1) % 2 ? expected->nodes : expected->nodes < 3 ? expected->nodes : 3;
    ps_ring_order(ring, hashes[0], wanted, wanted > PS_RING_NEAR ? map : NULL, order);
    for (size_t i = 0; i < wanted; i++) {
        FUZZ_REQUIRE(order[i] == next_owner(expected, hashes[0], seen));
        seen[order[i]] = true;
    }
}

static bool has_all_points(const model *expected, uint32_t owner)
{
    for (size_t i = 0; i < expected->n; i++)
        if (expected->owners[i] != owner) return false;
    return true;
}

static void change(ps_ring *ring, model *expected, fuzz_input *input)
{
    ps_ring changed;
    bool grows = expected->nodes < 2 || (expected->n < MOST - 60 && fuzz_take(input, 1) % 3 > 0);
    uint32_t owner = (uint32_t)(fuzz_take(input, 2) % (expected->nodes + (grows ? 1 : 0)));
    if (!grows && has_all_points(expected, owner)) return; /* the header asks for points that are left */
    uint64_t points[60];
    size_t count = 1 + fuzz_take(input, 1) % 60;
    unsigned how = (unsigned)fuzz_take(input, 1) % 4;
    for (size_t i = 0; i < count; i++) points[i] = some_point(input, how);
    failing = fuzz_take(input, 1) % 4 == 0 ? 1 + (unsigned)fuzz_take(input, 1) % 9 : 0;
    ps_status status = grows ? ps_ring_add(ring, owner, points, count, &changed)
                             : ps_ring_remove(ring, owner, &changed);
    FUZZ_REQUIRE(status == PS_OK || failing == 0);
    failing = 0;
    FUZZ_REQUIRE(ps_ring_check(ring)); /* the old one is as it was */
    if (status != PS_OK) return;
    if (grows) add_points(expected, owner, points, count);
    else remove_points(expected, owner);
    ps_ring_free(ring);
    *ring = changed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static model expected;
    expected.n = 0;
    expected.nodes = 1 + (uint32_t)(fuzz_take(&input, 1) % 40);
    unsigned how = (unsigned)fuzz_take(&input, 1) % 4;
    for (uint32_t owner = 0; owner < expected.nodes; owner++)
        for (size_t count = fuzz_take(&input, 1) % 9 + (owner == 0); count > 0; count--) {
            expected.points[expected.n] = some_point(&input, how);
            expected.owners[expected.n++] = owner;
        }
    ps_ring ring;
    ps_allocator allocator = {resize, free};
    failing = 1 + (unsigned)fuzz_take(&input, 1) % 3;
    FUZZ_REQUIRE(ps_ring_init(&ring, expected.points, expected.owners, expected.n, allocator) == PS_NO_MEMORY);
    failing = 0;
    FUZZ_REQUIRE(ps_ring_init(&ring, expected.points, expected.owners, expected.n, allocator) == PS_OK);
    require_same(&ring, &expected, &input);
    for (unsigned steps = 0; input.left > 0 && steps < 12; steps++) {
        change(&ring, &expected, &input);
        require_same(&ring, &expected, &input);
    }
    ps_ring_free(&ring);
    return 0;
}
