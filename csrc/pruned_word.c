#include "pruned_word.h"

#include <string.h>

void ps_pruned_open(ps_pruned_word *word, const ps_postings *list, const ps_impact *impact,
                    const uint32_t *lengths)
{
    word->list = list;
    word->heads = ps_postings_heads(list);
    word->impact = impact;
    word->lengths = lengths;
    word->first = word->held = word->at = 0;
    word->blocks = list->blocks + (list->rest > 0);
    word->ever = ps_impact_round(impact, impact->weight + impact->added) + 2 * impact->step;
    word->most = 0;
    word->asked = -1;
    word->shortest = 0;
    word->least = 1;
    ps_cursor_open(&word->cursor, list);
}

bool ps_pruned_hold(ps_pruned_word *word, uint32_t from, uint32_t to, uint32_t room)
{
    uint32_t first = word->first, end = word->first + word->held;
    while (first < word->blocks && ps_pruned_last(word, first) < from) first++;
    if (first >= end) {
        end = first;
    } else if (first > word->first) {
        memmove(word->bounds, word->bounds + (first - word->first), sizeof(double) * (end - first));
    }
    word->first = word->at = first;
    word->most = 0;
    for (uint32_t block = first; block < word->blocks; block++) {
        if (block > first && ps_pruned_last(word, block - 1) >= to - 1) break;
        if (block - first == room) return false;
        if (block == end)
            word->bounds[end++ - first] = ps_impact_bound(word->impact, ps_pruned_peaks(word, block));
        if (ps_pruned_bound(word, block) > word->most) word->most = ps_pruned_bound(word, block);
    }
    word->held = end - first;
    return true;
}

void ps_pruned_enter(ps_pruned_word *word, uint32_t lo, uint32_t hi)
{
    uint32_t end = word->first + word->held;
    while (word->at < end && ps_pruned_last(word, word->at) < lo) word->at++;
    word->most = 0;
    if (word->at == end) return;
    const ps_cursor *cursor = &word->cursor;
    if (cursor->n > 0 && cursor->block == word->at && cursor->docs_ready && cursor->last >= hi &&
        cursor->docs[ps_cursor_seek(cursor, lo)] >= hi)
        return; /* its next document is known to lie behind */
    word->most = ps_pruned_most(word, word->at, lo, hi);
}

uint32_t ps_pruned_least_freq(ps_pruned_word *word, uint32_t block, double need)
{
    const ps_peak *peaks = ps_pruned_peaks(word, block);
    uint32_t shortest = peaks[0].length;
    for (unsigned i = 1; i < PS_PEAKS && peaks[i].freq > 0; i++)
        if (peaks[i].length < shortest) shortest = peaks[i].length;
    if (need == word->asked && shortest == word->shortest) return word->least;
    double field = word->impact->field, step = 2 * word->impact->step;
    uint32_t freq = 1;
    for (; freq < PS_PRUNED_FREQ; freq++) {
        uint32_t length = freq > shortest ? freq : shortest;
        if (ps_impact_at(word->impact, freq * field, length * field) + step > need) break;
    }
    word->asked = need;
    word->shortest = shortest;
    return word->least = freq;
}

uint32_t ps_pruned_next(ps_pruned_word *word, uint32_t from, uint32_t wide)
{
    ps_cursor *cursor = &word->cursor;
    ps_cursor_shallow(cursor, from);
    if (cursor->n == 0) return PS_NO_DOC;
    uint32_t first = ps_pruned_first(word, cursor->block);
    if (cursor->last - (first > from ? first : from) < wide) return first > from ? first : from;
    ps_cursor_docs(cursor);
    return cursor->n == 0 ? PS_NO_DOC : cursor->docs[ps_cursor_seek(cursor, from)];
}
