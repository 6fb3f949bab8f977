/* Words of few postings against a plain model. */
#include "search_few.h"
#include "search_model.h"

static model m;
static model_plan p;
static double book_of[MODEL_DOCS];
static ps_hit hits[MODEL_DOCS];
static ps_few few;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    model_make(&m, &input, 300);
    ps_leaves leaves = {.allocator = MODEL_ALLOCATOR};
    for (int i = 0; i < 8; i++) {
        ps_scorer scorer = some_scorer(&m);
        uint64_t mask[MODEL_DOCS / 64 + 1], *some = NULL;
        if (model_random(&m, 3) == 0) some_mask(&m, some = mask);
        plan_words(&m, &p, 1 + model_random(&m, 3));
        FUZZ_REQUIRE(ps_leaves_bind(&leaves, &m.index, &p.plan, &scorer) == PS_OK);
        FUZZ_REQUIRE(ps_few_takes(&leaves) == (leaves.postings <= PS_FEW));
        if (!ps_few_takes(&leaves) || m.live == 0) continue;
        uint32_t k = 1 + model_random(&m, 30);
        ps_top top;
        ps_top_init(&top, hits, k);
        FUZZ_REQUIRE(ps_few_run(&few, &leaves, some, &top) == PS_OK);
        ps_top_sort(&top);
        book_scores(&m, &p.plan, &scorer, book_of);
        FUZZ_REQUIRE(book_agrees(&m, book_of, some, k, hits, top.n));
    }
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
