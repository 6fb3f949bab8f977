#include "search_top.h"

#include <stdbool.h>

static inline bool is_worse(ps_hit a, ps_hit b)
{
    return a.score < b.score || (a.score == b.score && a.ordinal > b.ordinal);
}

/* Puts `hit` into the heap of n at place `at`, or below it. */
static void sink(ps_hit *hits, uint32_t n, uint32_t at, ps_hit hit)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= n) break;
        if (child + 1 < n && is_worse(hits[child + 1], hits[child])) child++;
        if (!is_worse(hits[child], hit)) break;
        hits[at] = hits[child];
        at = (uint32_t)child;
    }
    hits[at] = hit;
}

static void rise(ps_hit *hits, uint32_t at, ps_hit hit)
{
    while (at > 0 && is_worse(hit, hits[(at - 1) / 2])) {
        hits[at] = hits[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    hits[at] = hit;
}

void ps_top_add(ps_top *top, uint32_t ordinal, double score)
{
    ps_hit hit = {ordinal, score};
    if (top->n < top->k)
        rise(top->hits, top->n++, hit);
    else
        sink(top->hits, top->n, 0, hit);
    if (top->n == top->k) top->least = top->hits[0].score;
}

void ps_top_sort(ps_top *top)
{
    for (uint32_t n = top->n; n > 1; n--) {
        ps_hit worst = top->hits[0], last = top->hits[n - 1];
        sink(top->hits, n - 1, 0, last);
        top->hits[n - 1] = worst;
    }
}
