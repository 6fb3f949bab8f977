#include "search_run.h"

#include <string.h>

#include "search_few.h"
#include "search_leaves.h"
#include "search_maxscore.h"
#include "search_windows.h"

struct ps_run {
    ps_allocator allocator;
    void *memory; /* in which it lies, on a cache line of its own */
    ps_leaves leaves;
    ps_windows windows;
    ps_maxscore maxscore;
    ps_few few;
};

ps_status ps_run_new(ps_run **run, ps_allocator allocator)
{
    void *memory = allocator.resize(NULL, sizeof **run + 64);
    if (memory == NULL) return PS_NO_MEMORY;
    ps_run *made = (ps_run *)(void *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    memset(made, 0, sizeof *made);
    made->memory = memory;
    made->allocator = allocator;
    made->leaves.allocator = made->windows.allocator = allocator;
    ps_maxscore_init(&made->maxscore, allocator);
    *run = made;
    return PS_OK;
}

void ps_run_free(ps_run *run)
{
    if (run == NULL) return;
    ps_leaves_free(&run->leaves);
    ps_windows_free(&run->windows);
    ps_maxscore_free(&run->maxscore);
    run->allocator.release(run->memory);
}

/* ---- every document that matches ---- */

static ps_status end_of(const ps_windows *windows)
{
    return windows->no_memory ? PS_NO_MEMORY : windows->broken ? PS_BROKEN : PS_OK;
}

/* Offers what matches in a window, and is in the mask, to the best. */
static void offer_window(const ps_windows *windows, const uint64_t *mask, ps_top *top)
{
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) {
        uint32_t first = windows->lo + w * 64;
        uint64_t base = (uint64_t)windows->part->base + first, left = windows->bits[w];
        if (left != 0 && mask != NULL)
            left &= ps_bits_at(mask, base, windows->part->base + windows->part->docs);
        for (; left != 0; left &= left - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(left);
            double score = windows->scores[w * 64 + bit];
            if (score > top->least) ps_top_add(top, (uint32_t)base + bit, score);
        }
    }
}

static ps_status run_windows(ps_run *run, const uint64_t *mask, ps_top *top)
{
    for (uint32_t p = 0; p < run->leaves.index->part_count; p++) {
        ps_status status = ps_windows_begin(&run->windows, &run->leaves, p);
        if (status != PS_OK) return status;
        while (ps_windows_next(&run->windows)) offer_window(&run->windows, mask, top);
        status = end_of(&run->windows);
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

ps_status ps_run_bind(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                      uint64_t *cost)
{
    ps_status status = ps_leaves_bind(&run->leaves, index, plan, scorer);
    *cost = run->leaves.postings;
    for (uint32_t n = 0; n < plan->node_count; n++)
        if (plan->nodes[n].kind == PS_MASK || plan->nodes[n].kind == PS_EVERY) *cost += index->live;
    return status;
}

static ps_status run_best(ps_run *run, bool pruned, uint32_t k, const uint64_t *mask, ps_hit *hits,
                          uint32_t *found)
{
    const ps_leaves *leaves = &run->leaves;
    ps_status status;
    ps_top top;
    *found = 0;
    if (leaves->plan->node_count == 0 || leaves->index->live == 0) return PS_OK;
    ps_top_init(&top, hits, k);
    if (pruned && ps_few_takes(leaves))
        status = ps_few_run(&run->few, leaves, mask, &top);
    else if (pruned && ps_maxscore_takes(leaves))
        status = ps_maxscore_run(&run->maxscore, leaves, mask, &top);
    else
        status = run_windows(run, mask, &top);
    if (status != PS_OK) return status;
    ps_top_sort(&top);
    *found = top.n;
    return PS_OK;
}

ps_status ps_run_best(ps_run *run, uint32_t k, const uint64_t *mask, ps_hit *hits, uint32_t *found)
{
    return run_best(run, true, k, mask, hits, found);
}

ps_status ps_run_top(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                     uint32_t k, const uint64_t *mask, ps_hit *hits, uint32_t *found)
{
    *found = 0;
    ps_status status = ps_leaves_bind(&run->leaves, index, plan, scorer);
    return status == PS_OK ? run_best(run, true, k, mask, hits, found) : status;
}

ps_status ps_run_top_exhaustive(ps_run *run, const ps_inverted *index, const ps_plan *plan,
                                const ps_scorer *scorer, uint32_t k, const uint64_t *mask, ps_hit *hits,
                                uint32_t *found)
{
    *found = 0;
    ps_status status = ps_leaves_bind(&run->leaves, index, plan, scorer);
    return status == PS_OK ? run_best(run, false, k, mask, hits, found) : status;
}

static void put_window(const ps_windows *windows, double *scores, uint64_t *matched)
{
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) {
        for (uint64_t left = windows->bits[w]; left != 0; left &= left - 1) {
            uint32_t i = w * 64 + (unsigned)__builtin_ctzll(left),
                     ordinal = windows->part->base + windows->lo + i;
            scores[ordinal] = windows->scores[i];
            if (matched != NULL) matched[ordinal >> 6] |= UINT64_C(1) << (ordinal & 63);
        }
    }
}

ps_status ps_run_scores(ps_run *run, const ps_inverted *index, const ps_plan *plan, const ps_scorer *scorer,
                        double *scores, uint64_t *matched)
{
    uint32_t n = ps_inverted_ordinals(index);
    memset(scores, 0, 8 * (size_t)n);
    if (matched != NULL) memset(matched, 0, 8 * (((size_t)n + 63) / 64));
    if (plan->node_count == 0 || index->live == 0) return PS_OK;
    ps_status status = ps_leaves_bind(&run->leaves, index, plan, scorer);
    for (uint32_t p = 0; status == PS_OK && p < index->part_count; p++) {
        status = ps_windows_begin(&run->windows, &run->leaves, p);
        if (status != PS_OK) break;
        while (ps_windows_next(&run->windows)) put_window(&run->windows, scores, matched);
        status = end_of(&run->windows);
    }
    return status;
}
