#include "search_few.h"

bool ps_few_takes(const ps_leaves *leaves)
{
    const ps_plan_node *nodes = leaves->plan->nodes;
    if (leaves->postings > PS_FEW) return false;
    if (nodes[0].kind == PS_TERM) return nodes[0].words == 1;
    if (nodes[0].kind != PS_ANY && nodes[0].kind != PS_ALL) return false;
    for (uint32_t c = nodes[0].child; c != PS_NO_NODE; c = nodes[c].sibling)
        if (nodes[c].kind != PS_TERM || nodes[c].words != 1) return false;
    return true;
}

/* Puts the postings of a node behind the n entries there are; returns how many there are then. */
static uint32_t gather(ps_few *few, const ps_leaves *leaves, uint32_t part, uint32_t node, uint32_t n)
{
    uint32_t word = leaves->plan->nodes[node].word, field = leaves->plan->words[word].term.field;
    const ps_postings *list = ps_leaves_list(leaves, part, word);
    const uint32_t *lengths = leaves->index->parts[part]->lengths[field];
    ps_cursor *cursor = &few->cursor;
    double impacts[PS_BLOCK];
    for (ps_cursor_begin(cursor, list); cursor->n > 0; ps_cursor_next(cursor)) {
        ps_cursor_freqs(cursor);
        if (cursor->n > PS_FEW - n) { /* a list of more postings than it says */
            cursor->broken = true;
            return n;
        }
        ps_impact_block(&leaves->impacts[node], cursor->docs, cursor->freqs, cursor->n, lengths, impacts);
        for (uint32_t i = 0; i < cursor->n; i++)
            few->entries[0][n++] = (ps_few_entry){cursor->docs[i], 1, impacts[i]};
    }
    return n;
}

/* Merges entries a .. b - 1 and b .. c - 1, both ascending, to place `to`; returns the end. */
static uint32_t merge_two(const ps_few_entry *from, uint32_t a, uint32_t b, uint32_t c, ps_few_entry *out,
                          uint32_t to)
{
    uint32_t i = a, j = b;
    while (i < b && j < c) {
        uint32_t left = from[i].doc, right = from[j].doc;
        out[to] = left <= right ? from[i] : from[j];
        if (left == right) {
            out[to].count += from[j].count;
            out[to].score += from[j].score;
        }
        i += left <= right;
        j += right <= left;
        to++;
    }
    while (i < b) out[to++] = from[i++];
    while (j < c) out[to++] = from[j++];
    return to;
}

/* Merges all runs, two and two; returns what holds the one that is left. */
static const ps_few_entry *merge_runs(ps_few *few, uint32_t runs)
{
    unsigned side = 0;
    for (; runs > 1; runs = (runs + 1) / 2, side ^= 1) {
        uint32_t to = 0, made = 0;
        for (uint32_t run = 0; run < runs; run += 2) {
            uint32_t last = run + 2 <= runs ? run + 2 : runs, middle = run + 1, start = to;
            to = merge_two(few->entries[side], few->starts[run], few->starts[middle], few->starts[last],
                           few->entries[side ^ 1], to);
            few->starts[made++] = start;
        }
        few->starts[made] = to;
    }
    return few->entries[side];
}

static void offer(const ps_part *part, const ps_few_entry *entries, uint32_t n, uint32_t minimum,
                  const uint64_t *mask, ps_top *top)
{
    for (uint32_t i = 0; i < n; i++) {
        if (entries[i].count < minimum || !(entries[i].score > top->least)) continue;
        uint32_t ordinal = part->base + entries[i].doc;
        if (ps_part_is_dead(part, entries[i].doc)) continue;
        if (mask != NULL && (mask[ordinal >> 6] >> (ordinal & 63) & 1) == 0) continue;
        ps_top_add(top, ordinal, entries[i].score);
    }
}

ps_status ps_few_run(ps_few *few, const ps_leaves *leaves, const uint64_t *mask, ps_top *top)
{
    const ps_plan_node *nodes = leaves->plan->nodes;
    uint32_t minimum = 1, first = nodes[0].kind == PS_TERM ? 0 : nodes[0].child;
    if (nodes[0].kind == PS_ANY) minimum = nodes[0].minimum;
    if (nodes[0].kind == PS_ALL)
        for (uint32_t c = (minimum = 0, first); c != PS_NO_NODE; c = nodes[c].sibling) minimum++;
    for (uint32_t p = 0; p < leaves->index->part_count; p++) {
        uint32_t n = 0, runs = 0;
        for (uint32_t c = first; c != PS_NO_NODE; c = c == 0 ? PS_NO_NODE : nodes[c].sibling) {
            if (ps_leaves_list(leaves, p, nodes[c].word)->count == 0) continue;
            few->starts[runs++] = n;
            n = gather(few, leaves, p, c, n);
            if (few->cursor.broken) return PS_BROKEN;
        }
        few->starts[runs] = n;
        if (runs < minimum || n == 0) continue;
        const ps_few_entry *merged = merge_runs(few, runs);
        offer(leaves->index->parts[p], merged, few->starts[1], minimum, mask, top);
    }
    return PS_OK;
}
