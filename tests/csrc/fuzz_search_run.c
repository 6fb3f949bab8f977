/* Plans of all kinds over corpora that were added, deleted and merged: the best k as they are found, the best
 * k without pruning, all scores, all against a plain model; and with allocations that fail. */
#include "search_model.h"
#include "search_run.h"

/* Postings that a plan would go through if nothing were pruned. */
static uint64_t counted_cost(const ps_inverted *index, const ps_plan *plan)
{
    uint64_t cost = 0;
    for (uint32_t w = 0; w < plan->word_count; w++) {
        uint64_t hash = ps_term_hash(plan->words[w].term, index->seed);
        for (uint32_t p = 0; p < index->part_count; p++) {
            ps_postings list = {0};
            const ps_part *part = index->parts[p];
            uint32_t number = part->find(part, plan->words[w].term, hash);
            if (number != PS_NO_TERM && part->postings(part, number, &list)) cost += list.count;
        }
    }
    for (uint32_t n = 0; n < plan->node_count; n++)
        if (plan->nodes[n].kind == PS_MASK || plan->nodes[n].kind == PS_EVERY) cost += index->live;
    return cost;
}

static model m;
static model_plan p;
static double book_of[MODEL_DOCS], copy[MODEL_DOCS], scores[MODEL_DOCS];
static ps_hit hits[MODEL_DOCS];

static void pass_over(void *owner) { (void)owner; }

static void check_scores(ps_run *run, const ps_scorer *scorer)
{
    uint64_t matched[MODEL_DOCS / 64 + 1];
    FUZZ_REQUIRE(ps_run_scores(run, &m.index, &p.plan, scorer, scores, matched) == PS_OK);
    for (uint32_t o = 0; o < m.ordinals; o++) {
        bool matches = matched[o >> 6] >> (o & 63) & 1;
        FUZZ_REQUIRE(matches == (book_of[o] >= 0));
        FUZZ_REQUIRE(scores[o] == (matches ? book_of[o] : 0));
    }
}

static void check_top(ps_run *run, const ps_scorer *scorer)
{
    uint64_t mask[MODEL_DOCS / 64 + 1], *some = NULL, cost;
    uint32_t k = 1 + model_random(&m, model_random(&m, 3) ? 12 : m.n + 2), found;
    if (model_random(&m, 3) == 0) some_mask(&m, some = mask);
    memcpy(copy, book_of, sizeof(double) * m.ordinals);
    FUZZ_REQUIRE(ps_run_top(run, &m.index, &p.plan, scorer, k, some, hits, &found) == PS_OK);
    FUZZ_REQUIRE(book_agrees(&m, copy, some, k, hits, found));
    memcpy(copy, book_of, sizeof(double) * m.ordinals);
    FUZZ_REQUIRE(ps_run_top_exhaustive(run, &m.index, &p.plan, scorer, k, some, hits, &found) == PS_OK);
    FUZZ_REQUIRE(book_agrees(&m, copy, some, k, hits, found));
    FUZZ_REQUIRE(ps_run_bind(run, &m.index, &p.plan, scorer, &cost) == PS_OK);
    FUZZ_REQUIRE(cost == counted_cost(&m.index, &p.plan));
    memcpy(copy, book_of, sizeof(double) * m.ordinals);
    FUZZ_REQUIRE(ps_run_best(run, k, some, hits, &found) == PS_OK);
    FUZZ_REQUIRE(book_agrees(&m, copy, some, k, hits, found));
}

static void check_failures(const ps_scorer *scorer)
{
    ps_run *run = NULL;
    ps_status status = PS_NO_MEMORY;
    for (long stops = 0; status == PS_NO_MEMORY; stops++) {
        uint32_t found = 0;
        allocations_left = stops;
        status = ps_run_new(&run, MODEL_ALLOCATOR);
        if (status == PS_OK) {
            status = ps_run_top(run, &m.index, &p.plan, scorer, 10, NULL, hits, &found);
            FUZZ_REQUIRE(status == PS_OK || found == 0);
            ps_run_free(run);
        }
        FUZZ_REQUIRE(stops < 100);
    }
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK);
}

/* The corpus as a file of which bytes were changed: it may be refused, break or answer anything, but no more.
 */
static void check_hostile(ps_run *run)
{
    uint8_t *packed = NULL;
    size_t size = 0;
    if (m.live == 0 || ps_inverted_pack(&m.index, &packed, &size) != PS_OK) return;
    uint8_t *bytes = malloc(size); /* of its exact size */
    for (int tries = 0; tries < 8; tries++) {
        static ps_inverted index;
        uint32_t found = 0;
        memcpy(bytes, packed, size);
        for (uint32_t flips = model_random(&m, 4); flips > 0; flips--)
            bytes[model_random(&m, (uint32_t)size)] ^= (uint8_t)(1u << model_random(&m, 8));
        ps_inverted_init(&index, m.index.fields, 0, m.positions, false, m.random, MODEL_ALLOCATOR);
        if (ps_inverted_map(&index, bytes, size, pass_over, NULL) == PS_OK) {
            ps_scorer scorer = some_scorer(&m);
            if (tries % 2 == 0)
                plan_tree(&m, &p);
            else
                plan_words(&m, &p, 1);
            ps_status status = ps_run_top(run, &index, &p.plan, &scorer, 10, NULL, hits, &found);
            FUZZ_REQUIRE(status == PS_OK || (status == PS_BROKEN && found == 0));
            for (uint32_t i = 0; i < found; i++) FUZZ_REQUIRE(hits[i].ordinal < ps_inverted_ordinals(&index));
            status = ps_run_top_exhaustive(run, &index, &p.plan, &scorer, 10, NULL, hits, &found);
            FUZZ_REQUIRE(status == PS_OK || status == PS_BROKEN);
        }
        ps_inverted_free(&index);
    }
    free(bytes);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_run *run;
    model_make(&m, &input, 1200);
    FUZZ_REQUIRE(ps_run_new(&run, MODEL_ALLOCATOR) == PS_OK);
    for (int i = 0; i < 6; i++) {
        ps_scorer scorer = some_scorer(&m);
        if (i % 2 == 0)
            plan_tree(&m, &p);
        else
            plan_words(&m, &p, model_random(&m, 4) ? 1 : 2);
        book_scores(&m, &p.plan, &scorer, book_of);
        check_scores(run, &scorer);
        check_top(run, &scorer);
        if (i == 0) check_failures(&scorer);
    }
    check_hostile(run);
    ps_run_free(run);
    model_free(&m);
    return 0;
}
