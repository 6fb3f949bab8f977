/* The most that a word gives in random windows, against each of its postings. */
#include "pruned_word.h"
#include "search_leaves.h"
#include "search_model.h"

static model m;
static model_plan p;

typedef struct {
    uint32_t n, docs[MODEL_DOCS], freqs[MODEL_DOCS];
    double impacts[MODEL_DOCS];
} list_model;

static list_model l;

static void read_list(const ps_postings *list, const ps_impact *impact, const uint32_t *lengths)
{
    ps_cursor cursor;
    l.n = 0;
    for (ps_cursor_begin(&cursor, list); cursor.n > 0; ps_cursor_next(&cursor)) {
        ps_cursor_freqs(&cursor);
        memcpy(l.docs + l.n, cursor.docs, 4 * (size_t)cursor.n);
        memcpy(l.freqs + l.n, cursor.freqs, 4 * (size_t)cursor.n);
        ps_impact_block(impact, cursor.docs, cursor.freqs, cursor.n, lengths, l.impacts + l.n);
        l.n += cursor.n;
    }
}

static double most_in(uint32_t lo, uint32_t hi)
{
    double most = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (l.docs[i] >= lo && l.docs[i] < hi && l.impacts[i] > most) most = l.impacts[i];
    return most;
}

static void check_freqs(ps_pruned_word *word, uint32_t block)
{
    double need = ps_pruned_bound(word, block) * model_random(&m, 11) / 10;
    uint32_t least = ps_pruned_least_freq(word, block, need);
    for (uint32_t i = 0; i < l.n; i++)
        if (l.docs[i] >= ps_pruned_first(word, block) && l.docs[i] <= ps_pruned_last(word, block))
            FUZZ_REQUIRE(l.freqs[i] >= least || l.impacts[i] <= need);
}

static void check_word(const ps_postings *list, const ps_impact *impact, const uint32_t *lengths,
                       uint32_t docs)
{
    uint32_t outer = PS_BLOCK * (1 + model_random(&m, 6)), room = outer / PS_BLOCK + 2;
    ps_pruned_word word;
    word.bounds = malloc(sizeof(double) * room); /* of its exact size */
    read_list(list, impact, lengths);
    ps_pruned_open(&word, list, impact, lengths);
    for (uint32_t from = 0, to; from < docs; from = to) {
        uint32_t next = ps_pruned_next(&word, from, outer);
        for (uint32_t i = 0; i < l.n; i++) FUZZ_REQUIRE(l.docs[i] < from || l.docs[i] >= next);
        if (model_random(&m, 2)) from = next;
        if (from >= docs) break;
        to = docs - from > outer ? from + outer : docs;
        FUZZ_REQUIRE(ps_pruned_hold(&word, from, to, room));
        FUZZ_REQUIRE(most_in(from, to) <= word.most && word.most <= word.ever);
        for (uint32_t lo = from, hi; lo < to; lo = hi) {
            hi = lo + 1 + model_random(&m, to - lo);
            ps_pruned_enter(&word, lo, hi);
            FUZZ_REQUIRE(most_in(lo, hi) <= word.most);
            if (word.at < word.first + word.held) check_freqs(&word, word.at);
        }
    }
    free(word.bounds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    bool large = fuzz_take(&input, 1) % 16 == 0;
    model_make(&m, &input, large ? MODEL_DOCS : 1000);
    ps_leaves leaves = {.allocator = MODEL_ALLOCATOR};
    ps_scorer scorer = some_scorer(&m);
    plan_words(&m, &p, 1);
    FUZZ_REQUIRE(ps_leaves_bind(&leaves, &m.index, &p.plan, &scorer) == PS_OK);
    for (uint32_t n = 0; m.live > 0 && n < p.plan.node_count; n++) {
        if (p.nodes[n].kind != PS_TERM) continue;
        for (uint32_t part = 0; part < m.index.part_count; part++) {
            const ps_postings *list = ps_leaves_list(&leaves, part, p.nodes[n].word);
            const ps_part *of = m.index.parts[part];
            uint32_t field = p.words[p.nodes[n].word].term.field;
            if (list->count > 0) check_word(list, &leaves.impacts[n], of->lengths[field], of->docs);
        }
    }
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
