/* Weighted round robin under any schedule: its own rules, the pick by its definition, the fluid share. */
#include <math.h>

#include "fuzz.h"
#include "weighted_round_robin.h"

#define PRICE(balancer) ((balancer)->scale * (INT64_C(1) << PS_WRR_FRACTION_BITS))
#define LONGEST_BATCH 64

static ps_wrr_member members[PS_WRR_MAX_MEMBERS], before[PS_WRR_MAX_MEMBERS], apart[PS_WRR_MAX_MEMBERS];
static long double ideal[PS_WRR_MAX_MEMBERS]; /* picks that each should have had, less those it had */

static size_t number_of_members(fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1) % 16;
    return (size_t)fuzz_between(input, 1, kind == 0 ? PS_WRR_MAX_MEMBERS : kind < 4 ? 40 : 8);
}

static void draw_weights(fuzz_input *input, size_t n)
{
    int64_t largest = fuzz_take(input, 1) % 2 ? 10 : PS_WRR_MAX_TOTAL / (int64_t)n;
    for (size_t i = 0; i < n; i++) members[i].weight = fuzz_between(input, 1, largest);
}

/* Whether `winner` is who the header says, from the credits `owed` with the gains of this pick in them. */
static bool wins_by_definition(const ps_wrr_member *owed, size_t n, __int128 price, size_t winner)
{
    __int128 up = 0, highest = 0;
    size_t first_highest = n, soonest = n;
    for (size_t i = 0; i < n; i++) up += owed[i].gain != 0;
    __int128 enough = price / (up > 1 ? 2 * up - 2 : 2);
    for (size_t i = 0; i < n; i++) {
        if (owed[i].gain == 0) continue;
        if (first_highest == n || owed[i].credit > highest) {
            first_highest = i;
            highest = owed[i].credit;
        }
        if (owed[i].credit < enough) continue;
        if (soonest == n || (price - enough - owed[i].credit) * owed[soonest].weight <
                                (price - enough - owed[soonest].credit) * owed[i].weight)
            soonest = i;
    }
    return winner == (highest >= price - enough || highest < enough ? first_highest : soonest);
}

static void follow_share(const ps_wrr *balancer, ptrdiff_t winner)
{
    for (size_t i = 0; i < balancer->n; i++)
        if (balancer->members[i].gain != 0)
            ideal[i] += (long double)balancer->members[i].weight / (long double)balancer->up_weight;
    ideal[winner] -= 1;
}

static void require_share_followed(const ps_wrr *balancer, size_t changes)
{
    long double rounding = (long double)(changes * balancer->n) / 4294967296.0L + 1e-9L;
    for (size_t i = 0; i < balancer->n; i++) {
        long double owed = (long double)balancer->members[i].credit / (long double)PRICE(balancer);
        FUZZ_REQUIRE(fabsl(owed - ideal[i]) <= rounding);
    }
}

/* From credits of 0 with all up: nobody ever late, and everybody exact after a whole cycle. */
static void run_two_cycles(ps_wrr *balancer)
{
    int64_t total = balancer->up_weight;
    if (total > 2000) return;
    for (int64_t turn = 1; turn <= 2 * total; turn++) {
        size_t winner;
        FUZZ_REQUIRE(ps_wrr_pick(balancer, &winner) == PS_OK && winner < balancer->n);
        for (size_t i = 0; i < balancer->n; i++) {
            int64_t credit = balancer->members[i].credit;
            FUZZ_REQUIRE(-balancer->late <= credit && credit <= balancer->late);
            FUZZ_REQUIRE(turn % total != 0 || credit == 0);
        }
    }
}

static void pick_one(ps_wrr *balancer)
{
    size_t winner = SIZE_MAX;
    ps_status status = ps_wrr_pick(balancer, &winner);
    if (balancer->up_weight == 0) {
        FUZZ_REQUIRE(status == PS_EMPTY && winner == SIZE_MAX);
        return;
    }
    FUZZ_REQUIRE(status == PS_OK && winner < balancer->n && balancer->members[winner].gain != 0);
    FUZZ_REQUIRE(balancer->scale == balancer->up_weight);
    memcpy(before, balancer->members, balancer->n * sizeof *before);
    before[winner].credit += PRICE(balancer);
    FUZZ_REQUIRE(wins_by_definition(before, balancer->n, PRICE(balancer), winner));
    follow_share(balancer, (ptrdiff_t)winner);
}

/* A batch on a copy, taken over unless the balancer was changed meanwhile; then made again. */
static void pick_batch(ps_wrr *balancer, fuzz_input *input)
{
    ptrdiff_t winners[LONGEST_BATCH], again[LONGEST_BATCH];
    size_t count = (size_t)fuzz_between(input, 0, LONGEST_BATCH);
    uint64_t since = balancer->changes;
    ps_wrr copy;
    ps_wrr_copy(balancer, apart, &copy);
    ps_status status = ps_wrr_pick_many(&copy, count, winners);
    FUZZ_REQUIRE(status == (count != 0 && balancer->up_weight == 0 ? PS_EMPTY : PS_OK));
    if (status != PS_OK) return;

    if (count != 0 && fuzz_take(input, 1) % 4 == 0) {
        FUZZ_REQUIRE(ps_wrr_pick_many(balancer, count, again) == PS_OK);
        FUZZ_REQUIRE(memcmp(winners, again, count * sizeof *winners) == 0);
        FUZZ_REQUIRE(ps_wrr_adopt(balancer, &copy, since) == PS_REFUSED);
    } else {
        FUZZ_REQUIRE(ps_wrr_adopt(balancer, &copy, since) == PS_OK);
    }
    FUZZ_REQUIRE(balancer->members == members && balancer->changes == since + count);
    for (size_t i = 0; i < count; i++) follow_share(balancer, winners[i]);
}

/* Undoes a batch: the credits are again what they were, and so is the next pick. */
static void pick_and_undo(ps_wrr *balancer)
{
    int64_t credits[PS_WRR_MAX_MEMBERS], scale = balancer->scale;
    size_t first, second;
    for (size_t i = 0; i < balancer->n; i++) credits[i] = balancer->members[i].credit;
    if (ps_wrr_pick(balancer, &first) != PS_OK) return;
    ps_wrr_restore(balancer, scale, credits);
    for (size_t i = 0; i < balancer->n; i++) FUZZ_REQUIRE(balancer->members[i].credit == credits[i]);
    FUZZ_REQUIRE(ps_wrr_pick(balancer, &second) == PS_OK && second == first);
    follow_share(balancer, (ptrdiff_t)first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_wrr balancer;
    size_t n = number_of_members(&input), changes = 0;
    draw_weights(&input, n);
    ps_wrr_init(&balancer, members, n);
    FUZZ_REQUIRE(ps_wrr_check(&balancer));
    for (size_t i = 0; i < n; i++) ideal[i] = 0;
    if (n <= 40) run_two_cycles(&balancer);

    while (input.left > 0) {
        switch (fuzz_take(&input, 1) % 8) {
        case 0: case 1: case 2:
            ps_wrr_mark(&balancer, (size_t)fuzz_between(&input, 0, (int64_t)n - 1), fuzz_take(&input, 1) % 2);
            changes++;
            break;
        case 3: pick_batch(&balancer, &input); break;
        case 4: pick_and_undo(&balancer); break;
        default: pick_one(&balancer);
        }
        if (n <= 40 || input.left % 16 == 0) FUZZ_REQUIRE(ps_wrr_check(&balancer));
        require_share_followed(&balancer, changes);
    }
    return 0;
}
