/* The words of random plans in random corpora: how many live documents have them, their lists, the grid. */
#include "search_leaves.h"
#include "search_model.h"

static model m;
static model_plan p;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    model_make(&m, &input, 400);
    ps_leaves leaves = {.allocator = MODEL_ALLOCATOR};
    for (int i = 0; i < 4; i++) {
        ps_scorer scorer = some_scorer(&m);
        plan_tree(&m, &p);
        FUZZ_REQUIRE(ps_leaves_bind(&leaves, &m.index, &p.plan, &scorer) == PS_OK);
        uint64_t postings = 0;
        for (uint32_t w = 0; w < p.plan.word_count; w++) {
            FUZZ_REQUIRE(leaves.dfs[w] == book_df(&m, p.words[w].term));
            for (uint32_t part = 0; part < m.index.part_count; part++)
                postings += ps_leaves_list(&leaves, part, w)->count;
        }
        FUZZ_REQUIRE(postings == leaves.postings);
        book b = {&m, &p.plan, &scorer, 0};
        for (uint32_t n = 0; m.live > 0 && n < p.plan.node_count; n++) {
            const ps_plan_node *node = &p.nodes[n];
            FUZZ_REQUIRE(leaves.impacts[n].grid == leaves.grid);
            if (node->kind == PS_TERM || node->kind == PS_PHRASE)
                FUZZ_REQUIRE(leaves.impacts[n].weight == book_weight(&b, node));
        }
    }
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
