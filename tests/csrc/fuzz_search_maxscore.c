/* The pruned best k against a plain model, with windows of all sizes. */
#include "search_maxscore.h"
#include "search_model.h"

static model m;
static model_plan p;
static double book_of[MODEL_DOCS], copy[MODEL_DOCS];
static ps_hit hits[MODEL_DOCS];

static void some_windows(ps_maxscore *maxscore)
{
    ps_maxscore_free(maxscore);
    ps_maxscore_init(maxscore, MODEL_ALLOCATOR);
    if (model_random(&m, 3) == 0) return;
    maxscore->outer_dense = 1 + model_random(&m, 8);
    maxscore->outer_sparse = 1 + model_random(&m, 8);
    maxscore->narrow = 128u << model_random(&m, 3);
    maxscore->wide = maxscore->narrow << model_random(&m, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    bool large = fuzz_take(&input, 1) % 16 == 0;
    model_make(&m, &input, large ? MODEL_DOCS : 1000);
    ps_leaves leaves = {.allocator = MODEL_ALLOCATOR};
    ps_maxscore maxscore;
    ps_maxscore_init(&maxscore, MODEL_ALLOCATOR);
    for (int i = 0; i < 4; i++) {
        ps_scorer scorer = some_scorer(&m);
        uint64_t mask[MODEL_DOCS / 64 + 1], *some = NULL;
        if (model_random(&m, 3) == 0) some_mask(&m, some = mask);
        plan_words(&m, &p, 1);
        FUZZ_REQUIRE(ps_leaves_bind(&leaves, &m.index, &p.plan, &scorer) == PS_OK);
        if (m.live == 0 || !ps_maxscore_takes(&leaves)) continue;
        book_scores(&m, &p.plan, &scorer, book_of);
        for (int j = 0; j < 4; j++) {
            uint32_t k = 1 + model_random(&m, model_random(&m, 3) ? 12 : m.n + 2);
            ps_top top;
            some_windows(&maxscore);
            ps_top_init(&top, hits, k);
            FUZZ_REQUIRE(ps_maxscore_run(&maxscore, &leaves, some, &top) == PS_OK);
            ps_top_sort(&top);
            memcpy(copy, book_of, sizeof(double) * m.ordinals);
            FUZZ_REQUIRE(book_agrees(&m, copy, some, k, hits, top.n));
        }
    }
    ps_maxscore_free(&maxscore);
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
