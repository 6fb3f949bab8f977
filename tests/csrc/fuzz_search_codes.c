/* Sums of codes of a random window against the impacts that they bound: nothing that is good enough is lost.
 */
#include "search_codes.h"
#include "search_leaves.h"
#include "search_model.h"

static model m;
static model_plan p;
static ps_codes codes;
static double impacts[PS_CODES_DOCS];
static bool marked[PS_CODES_DOCS];

/* Adds the impacts of a list in the window, or marks its documents. */
static void read_list(const ps_pruned_word *word, uint32_t lo, uint32_t hi, bool mark)
{
    ps_cursor cursor;
    for (ps_cursor_begin(&cursor, word->list); cursor.n > 0; ps_cursor_next(&cursor)) {
        double some[PS_BLOCK];
        ps_cursor_freqs(&cursor);
        ps_impact_block(word->impact, cursor.docs, cursor.freqs, cursor.n, word->lengths, some);
        for (uint32_t i = 0; i < cursor.n; i++) {
            if (cursor.docs[i] < lo || cursor.docs[i] >= hi) continue;
            if (mark)
                marked[cursor.docs[i] - lo] = true;
            else
                impacts[cursor.docs[i] - lo] += some[i];
        }
    }
}

static void check_need(uint32_t n, double need)
{
    static uint32_t at[PS_CODES_DOCS];
    uint32_t from = 64 * model_random(&m, n / 64 + 1), found = ps_codes_take(&codes, from, n, need, at),
             next = 0;
    for (uint32_t i = from; i < n; i++) {
        bool taken = next < found && at[next] == i;
        next += taken;
        FUZZ_REQUIRE(taken || (impacts[i] <= need && !marked[i]));
    }
    FUZZ_REQUIRE(next == found);
    FUZZ_REQUIRE(ps_codes_count(&codes, n, need) == ps_codes_take(&codes, 0, n, need, at));
}

static void check_window(ps_pruned_word *words, uint32_t n, uint32_t lo, uint32_t hi)
{
    static ps_code_table tables[PS_CODES_WORDS];
    double most = 0;
    memset(impacts, 0, sizeof impacts);
    memset(marked, 0, sizeof marked);
    for (uint32_t w = 0; w < n; w++) {
        ps_pruned_enter(&words[w], lo, hi);
        most += words[w].most;
    }
    if (ps_codes_scale(&codes, most, n)) memset(tables, 0, sizeof tables);
    bool mark_last = n > 1 && model_random(&m, 3) == 0;
    for (uint32_t w = 0; w < n; w++) {
        bool mark = mark_last && w == n - 1;
        if (words[w].most <= 0) continue;
        if (mark)
            ps_codes_mark(&codes, &words[w], lo, hi);
        else
            ps_codes_add(&codes, &words[w], &tables[w], lo, hi, -1, model_random(&m, 3) * 8);
        read_list(&words[w], lo, hi, mark);
    }
    for (unsigned i = 0; i < 4; i++) check_need(hi - lo, most * model_random(&m, 12) / 10);
    ps_codes_clear(&codes, hi - lo);
    for (uint32_t i = 0; i < hi - lo; i++) FUZZ_REQUIRE(codes.sums[i] == 0);
}

static void check_part(const ps_leaves *leaves, uint32_t number)
{
    const ps_part *part = leaves->index->parts[number];
    static ps_pruned_word words[PS_CODES_WORDS];
    uint32_t n = 0, outer = PS_BLOCK * (1 + model_random(&m, 30)), room = outer / PS_BLOCK + 2;
    for (uint32_t i = 0; i < leaves->plan->node_count && n < PS_CODES_WORDS; i++) {
        const ps_plan_node *node = &leaves->plan->nodes[i];
        if (node->kind != PS_TERM || node->words != 1) continue;
        const ps_postings *list = ps_leaves_list(leaves, number, node->word);
        if (list->count == 0) continue;
        words[n].bounds = malloc(sizeof(double) * room);
        ps_pruned_open(&words[n++], list, &leaves->impacts[i],
                       part->lengths[leaves->plan->words[node->word].term.field]);
    }
    codes.scale = 0;
    codes.broken = false;
    for (uint32_t from = 0, to; n > 0 && from < part->docs; from = to) {
        to = part->docs - from > outer ? from + outer : part->docs;
        for (uint32_t w = 0; w < n; w++) FUZZ_REQUIRE(ps_pruned_hold(&words[w], from, to, room));
        for (uint32_t lo = from, hi; lo < to; lo = hi) {
            uint32_t width = 1 + model_random(&m, outer);
            hi = to - lo > width ? lo + width : to;
            check_window(words, n, lo, hi);
        }
    }
    FUZZ_REQUIRE(!codes.broken);
    for (uint32_t w = 0; w < n; w++) free(words[w].bounds);
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
    for (uint32_t part = 0; m.live > 0 && part < m.index.part_count; part++) check_part(&leaves, part);
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
