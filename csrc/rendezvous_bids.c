#include "rendezvous_bids.h"

#include <float.h>
#include <stdlib.h>

#include "mix.h"

/* No fused multiply-add, which rounds once where the fallback rounds twice. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
_Static_assert(FLT_EVAL_METHOD == 0, "doubles must be computed as doubles, not as something wider");

#define TOP 49 /* bits of 1 / u */
#define LN2 0.69314718055994530942
#define SQRT_HALF 0.70710678118654752440
#define SURE (1 - 0x1p-40) /* less than 1 by more than all rounding in an arrival */

/* 2^49 * u, an odd whole number. */
static uint64_t uniform(uint64_t draw) { return (draw >> 16) << 1 | 1; }

/* -ln(x / 2^49), for 0 < x < 2^49. x / 2^49 is m * 2^-k with m within a factor of sqrt(2) of 1, and
 * ln(m) = 2 artanh(s) for s = (m - 1) / (m + 1), |s| < 0.172: eleven terms of its series are exact to
 * 2^-60 of the sum. */
static double ln_inverse(uint64_t x)
{
    int bits = 64 - __builtin_clzll(x), k = TOP - bits;
    double m = (double)x / (double)(UINT64_C(1) << bits);
    if (m < SQRT_HALF) {
        m *= 2;
        k++;
    }
    double s = (m - 1) / (m + 1), z = s * s, sum = 1.0 / 21;
    sum = sum * z + 1.0 / 19;
    sum = sum * z + 1.0 / 17;
    sum = sum * z + 1.0 / 15;
    sum = sum * z + 1.0 / 13;
    sum = sum * z + 1.0 / 11;
    sum = sum * z + 1.0 / 9;
    sum = sum * z + 1.0 / 7;
    sum = sum * z + 1.0 / 5;
    sum = sum * z + 1.0 / 3;
    sum = sum * z + 1;
    return k * LN2 - 2 * s * sum;
}

/* Whether the bid of `draw` certainly comes after `arrival`: -ln(u) >= 1 - u. */
static bool too_late(uint64_t draw, double weight, double arrival)
{
    double distance = (double)((UINT64_C(1) << TOP) - uniform(draw)) * (1 / (double)(UINT64_C(1) << TOP));
    return distance * SURE > arrival * weight;
}

ps_rendezvous_bid ps_rendezvous_bid_of(uint64_t position, uint64_t identity, double weight, uint32_t index)
{
    uint64_t draw = ps_mix64(position ^ identity);
    return (ps_rendezvous_bid){ln_inverse(uniform(draw)) / weight, draw, index};
}

bool ps_rendezvous_beats(const ps_rendezvous_bid *a, const ps_rendezvous_bid *b)
{
    if (a->arrival != b->arrival) return a->arrival < b->arrival;
    if (a->draw != b->draw) return a->draw > b->draw;
    return a->index < b->index;
}

typedef struct {
    double weight;
    uint64_t identity;
    uint32_t index;
} entrant;

static int by_weight_and_index(const void *left, const void *right)
{
    const entrant *a = left, *b = right;
    if (a->weight != b->weight) return a->weight > b->weight ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static void set_up(ps_rendezvous *placement, const entrant *sorted)
{
    for (uint32_t i = 0; i < placement->nodes; i++) {
        placement->identities[i] = sorted[i].identity;
        placement->indices[i] = sorted[i].index;
        if (i == 0 || sorted[i].weight != sorted[i - 1].weight)
            placement->classes[placement->class_count++].weight = sorted[i].weight;
        placement->classes[placement->class_count - 1].end = i + 1;
    }
}

ps_status ps_rendezvous_init(ps_rendezvous *placement, uint32_t nodes, const uint64_t *identities,
                             const double *weights, ps_allocator allocator)
{
    entrant *sorted = allocator.resize(NULL, nodes * sizeof *sorted);
    *placement = (ps_rendezvous){
        .identities = allocator.resize(NULL, nodes * sizeof *placement->identities),
        .indices = allocator.resize(NULL, nodes * sizeof *placement->indices),
        .classes = allocator.resize(NULL, nodes * sizeof *placement->classes),
        .nodes = nodes,
        .allocator = allocator,
    };
    if (!sorted || !placement->identities || !placement->indices || !placement->classes) {
        allocator.release(sorted);
        ps_rendezvous_free(placement);
        return PS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < nodes; i++) sorted[i] = (entrant){weights[i], identities[i], i};
    qsort(sorted, nodes, sizeof *sorted, by_weight_and_index);
    set_up(placement, sorted);
    allocator.release(sorted);
    return PS_OK;
}

void ps_rendezvous_free(ps_rendezvous *placement)
{
    placement->allocator.release(placement->identities);
    placement->allocator.release(placement->indices);
    placement->allocator.release(placement->classes);
    placement->identities = NULL;
}

/* The first of the highest draws among the nodes from `begin` to `end`. */
static uint32_t highest_draw(const ps_rendezvous *placement, uint64_t position, uint32_t begin, uint32_t end,
                             uint64_t *draw)
{
    uint32_t champion = begin;
    uint64_t highest = ps_mix64(position ^ placement->identities[begin]);
    for (uint32_t i = begin + 1; i < end; i++) {
        uint64_t other = ps_mix64(position ^ placement->identities[i]);
        champion = other > highest ? i : champion;
        highest = other > highest ? other : highest;
    }
    *draw = highest;
    return champion;
}

uint32_t ps_rendezvous_locate(const ps_rendezvous *placement, uint64_t position)
{
    uint64_t draw;
    uint32_t begin = 0;
    ps_rendezvous_bid best = {.index = 0};
    for (uint32_t c = 0; c < placement->class_count; c++) {
        const ps_rendezvous_class *class = &placement->classes[c];
        uint32_t champion = highest_draw(placement, position, begin, class->end, &draw);
        begin = class->end;
        if (placement->class_count == 1) return placement->indices[champion];
        if (c > 0 && too_late(draw, class->weight, best.arrival)) continue;
        ps_rendezvous_bid bid = {ln_inverse(uniform(draw)) / class->weight, draw,
                                 placement->indices[champion]};
        if (c == 0 || ps_rendezvous_beats(&bid, &best)) best = bid;
    }
    return best.index;
}

void ps_rendezvous_locate_all(const ps_rendezvous *placement, const uint64_t *positions, size_t n,
                              int32_t *indices)
{
    for (size_t i = 0; i < n; i++) indices[i] = (int32_t)ps_rendezvous_locate(placement, positions[i]);
}

/* Puts the first bid where it belongs among the others, which are a heap: none is beaten by its parent. */
static void sink(ps_rendezvous_bid *heap, uint32_t n)
{
    ps_rendezvous_bid moved = heap[0];
    uint32_t hole = 0;
    for (uint32_t child = 1; child < n; child = 2 * hole + 1) {
        if (child + 1 < n && ps_rendezvous_beats(&heap[child], &heap[child + 1])) child++;
        if (!ps_rendezvous_beats(&moved, &heap[child])) break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = moved;
}

/* Puts one more bid into the heap of `n`. */
static void rise(ps_rendezvous_bid *heap, uint32_t n, ps_rendezvous_bid bid)
{
    uint32_t hole = n;
    while (hole > 0 && ps_rendezvous_beats(&heap[(hole - 1) / 2], &bid)) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = bid;
}

/* Keeps the best `n` of all bids so far in a heap, the worst of them first. */
static void keep(ps_rendezvous_bid *heap, uint32_t n, uint32_t *kept, ps_rendezvous_bid bid)
{
    if (*kept < n) {
        rise(heap, (*kept)++, bid);
    } else if (ps_rendezvous_beats(&bid, &heap[0])) {
        heap[0] = bid;
        sink(heap, n);
    }
}

void ps_rendezvous_order(const ps_rendezvous *placement, uint64_t position, uint32_t n,
                         ps_rendezvous_bid *bids, uint32_t *order)
{
    uint32_t kept = 0, i = 0;
    bool even = placement->class_count == 1;
    if (n == 0) return;
    for (uint32_t c = 0; c < placement->class_count; c++) {
        double weight = placement->classes[c].weight;
        for (; i < placement->classes[c].end; i++) {
            uint64_t draw = ps_mix64(position ^ placement->identities[i]);
            if (kept == n && (even ? draw < bids[0].draw : too_late(draw, weight, bids[0].arrival))) continue;
            double arrival = even ? 0 : ln_inverse(uniform(draw)) / weight; /* the draw says enough */
            keep(bids, n, &kept, (ps_rendezvous_bid){arrival, draw, placement->indices[i]});
        }
    }
    while (kept > 0) { /* the worst that is left goes last */
        order[kept - 1] = bids[0].index;
        bids[0] = bids[kept - 1];
        sink(bids, --kept);
    }
}

bool ps_rendezvous_check(const ps_rendezvous *placement)
{
    uint32_t begin = 0;
    for (uint32_t c = 0; c < placement->class_count; c++) {
        const ps_rendezvous_class *class = &placement->classes[c];
        if (!(class->weight > 0) || class->end <= begin) return false;
        if (c > 0 && !(class->weight < placement->classes[c - 1].weight)) return false;
        for (uint32_t i = begin + 1; i < class->end; i++)
            if (placement->indices[i] <= placement->indices[i - 1]) return false;
        begin = class->end;
    }
    return begin == placement->nodes;
}
