/* Rendezvous against all bids sorted, its logarithm against libm's, and the rule that keys stay. */
#include <math.h>

#include "rendezvous_bids.h"
#include "fuzz.h"

#define MOST 64 /* nodes */

static uint64_t identities[MOST];
static double weights[MOST];
static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};

static void draw_nodes(fuzz_input *input, uint32_t nodes)
{
    int64_t kinds = fuzz_between(input, 1, fuzz_take(input, 1) % 2 ? 3 : 1000000);
    bool alike = fuzz_take(input, 1) % 8 == 0;
    for (uint32_t i = 0; i < nodes; i++) {
        identities[i] = fuzz_take(input, alike ? 0 : 8); /* all the same: the index decides */
        weights[i] = (double)fuzz_between(input, 1, kinds) / 64;
    }
}

static void require_logarithm(uint64_t position, double weight)
{
    ps_rendezvous_bid bid = ps_rendezvous_bid_of(position, 0, weight, 0);
    double u = (double)(2 * (bid.draw >> 16) + 1) / 0x1p49;
    double expected = -log(u);
    FUZZ_REQUIRE(fabs(bid.arrival * weight - expected) <= 0x1p-50 * expected);
}

static bool beats_by_definition(const ps_rendezvous_bid *a, const ps_rendezvous_bid *b)
{
    return a->arrival < b->arrival
        || (a->arrival == b->arrival
            && (a->draw > b->draw || (a->draw == b->draw && a->index < b->index)));
}

/* How many of the bids win against the one of each node says where in the order it stands. */
static void require_order(const ps_rendezvous *placement, uint64_t position, uint32_t n)
{
    uint32_t order[MOST];
    ps_rendezvous_bid bids[MOST], scratch[MOST];
    ps_rendezvous_order(placement, position, n, scratch, order);
    for (uint32_t i = 0; i < placement->nodes; i++)
        bids[i] = ps_rendezvous_bid_of(position, identities[i], weights[i], i);
    for (uint32_t i = 0; i < placement->nodes; i++) {
        uint32_t better = 0;
        for (uint32_t j = 0; j < placement->nodes; j++) {
            better += beats_by_definition(&bids[j], &bids[i]);
            FUZZ_REQUIRE(ps_rendezvous_beats(&bids[j], &bids[i]) == beats_by_definition(&bids[j], &bids[i]));
            if (weights[i] == weights[j]) /* the higher draw never arrives later */
                FUZZ_REQUIRE(bids[i].draw <= bids[j].draw || bids[i].arrival <= bids[j].arrival);
        }
        FUZZ_REQUIRE(better >= n || order[better] == i);
        FUZZ_REQUIRE(better > 0 || ps_rendezvous_locate(placement, position) == i);
    }
}

/* What mix64 makes `mixed` of. */
static uint64_t unmixed(uint64_t mixed)
{
    mixed = (mixed ^ mixed >> 31 ^ mixed >> 62) * UINT64_C(0x319642b2d24d8ec3);
    mixed = (mixed ^ mixed >> 27 ^ mixed >> 54) * UINT64_C(0x96de1b173f119089);
    return mixed ^ mixed >> 30 ^ mixed >> 60;
}

/* The same values are in tests/hashring/test_rendezvous.py. */
static void require_frozen(void)
{
    static const struct {
        uint64_t draw;
        double logarithm;
    } FROZEN[] = {
        {0, 0x1.0fb6b4b37945bp+5},
        {UINT64_C(1) << 16, 0x1.06ecbf7622c43p+5},
        {UINT64_C(0x0123456789abcdef), 0x1.5aa16394d4931p+2},
        {UINT64_C(1) << 63, 0x1.62e42fefa39cfp-1},
        {UINT64_C(0xb504f333f9de6484), 0x1.62e42fefa39e6p-2},
        {UINT64_C(0xfedcba9876543210), 0x1.23eb9913549c7p-8},
        {UINT64_MAX, 0x1.0000000000004p-49},
    };
    for (size_t i = 0; i < sizeof FROZEN / sizeof *FROZEN; i++) {
        ps_rendezvous_bid bid = ps_rendezvous_bid_of(unmixed(FROZEN[i].draw), 0, 1, 0);
        FUZZ_REQUIRE(bid.draw == FROZEN[i].draw && bid.arrival == FROZEN[i].logarithm);
    }
}

/* Neighbouring values of u around the places where the logarithm changes its branch. */
static void require_monotone(fuzz_input *input)
{
    static const double EDGES[] = {1, 0.70710678118654752440, 0.5, 0.35355339059327376220, 0.25};
    double edge = EDGES[fuzz_take(input, 1) % 5];
    uint64_t top = (uint64_t)(edge * 0x1p48) - 1 - fuzz_take(input, 2);
    ps_rendezvous_bid low = ps_rendezvous_bid_of(0, unmixed((top - 1) << 16), 1, 0);
    ps_rendezvous_bid high = ps_rendezvous_bid_of(0, unmixed(top << 16), 1, 0);
    FUZZ_REQUIRE(high.draw == top << 16 && high.arrival < low.arrival);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint32_t nodes = (uint32_t)fuzz_between(&input, 1, MOST);
    draw_nodes(&input, nodes);
    require_frozen();

    ps_rendezvous placement = {0};
    allocations_left = fuzz_take(&input, 1) % 16 == 0 ? fuzz_take(&input, 1) % 4 : UINT64_MAX;
    if (ps_rendezvous_init(&placement, nodes, identities, weights, ALLOCATOR) != PS_OK) {
        FUZZ_REQUIRE(allocations_left == 0 && placement.identities == NULL);
        return 0;
    }
    FUZZ_REQUIRE(ps_rendezvous_check(&placement));
    for (int i = 0; i < 4; i++) {
        uint64_t position = fuzz_take(&input, 8);
        require_order(&placement, position, (uint32_t)fuzz_between(&input, 0, nodes));
        require_logarithm(position, weights[0]);
        require_monotone(&input);
    }
    ps_rendezvous_free(&placement);
    return 0;
}
