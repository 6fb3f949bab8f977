/* Trees over parts, window by window, against a plain model: each document that matches once, with its score.
 */
#include "search_model.h"
#include "search_windows.h"

static model m;
static model_plan p;
static double book_of[MODEL_DOCS];

/* A chain of `depth` nodes. */
static void plan_chain(uint32_t depth)
{
    static ps_plan_node nodes[PS_PLAN_DEPTH + 1];
    for (uint32_t i = 0; i < depth; i++)
        nodes[i] = (ps_plan_node){.kind = PS_ANY, .minimum = 1, .child = i + 1, .sibling = PS_NO_NODE};
    nodes[depth - 1] = (ps_plan_node){.kind = PS_EVERY, .child = PS_NO_NODE, .sibling = PS_NO_NODE};
    p.plan = (ps_plan){.nodes = nodes, .node_count = depth, .words = p.words};
}

static void check_depth(ps_windows *windows, ps_leaves *leaves)
{
    ps_scorer scorer = {PS_BM25_LUCENE, 1.2, 0.75, 0};
    for (uint32_t depth = PS_PLAN_DEPTH; depth <= PS_PLAN_DEPTH + 1; depth++) {
        plan_chain(depth);
        FUZZ_REQUIRE(ps_leaves_bind(leaves, &m.index, &p.plan, &scorer) == PS_OK);
        for (uint32_t part = 0; part < m.index.part_count; part++) {
            ps_status status = ps_windows_begin(windows, leaves, part);
            FUZZ_REQUIRE(status == (depth > PS_PLAN_DEPTH ? PS_REFUSED : PS_OK));
            while (status == PS_OK && ps_windows_next(windows)) continue;
        }
    }
}

static void check_part(ps_windows *windows)
{
    const ps_part *part = windows->part;
    uint32_t next = 0; /* the first document that has not been seen */
    while (ps_windows_next(windows)) {
        FUZZ_REQUIRE(windows->lo >= next && windows->hi > windows->lo && windows->hi <= part->docs);
        for (; next < windows->lo; next++) FUZZ_REQUIRE(book_of[part->base + next] < 0);
        for (; next < windows->lo + PS_WINDOW; next++) {
            uint32_t i = next - windows->lo;
            bool matches = windows->bits[i >> 6] >> (i & 63) & 1;
            if (next >= windows->hi)
                FUZZ_REQUIRE(!matches);
            else if (matches)
                FUZZ_REQUIRE(book_of[part->base + next] == windows->scores[i]);
            else
                FUZZ_REQUIRE(book_of[part->base + next] < 0);
        }
        next = windows->hi;
    }
    FUZZ_REQUIRE(!windows->broken && !windows->no_memory);
    for (; next < part->docs; next++) FUZZ_REQUIRE(book_of[part->base + next] < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    bool large = fuzz_take(&input, 1) % 16 == 0;
    model_make(&m, &input, large ? MODEL_DOCS : 600);
    ps_leaves leaves = {.allocator = MODEL_ALLOCATOR};
    ps_windows windows = {.allocator = MODEL_ALLOCATOR};
    for (int i = 0; i < 4; i++) {
        ps_scorer scorer = some_scorer(&m);
        plan_tree(&m, &p);
        book_scores(&m, &p.plan, &scorer, book_of);
        FUZZ_REQUIRE(ps_leaves_bind(&leaves, &m.index, &p.plan, &scorer) == PS_OK);
        for (uint32_t part = 0; m.live > 0 && part < m.index.part_count; part++) {
            FUZZ_REQUIRE(ps_windows_begin(&windows, &leaves, part) == PS_OK);
            check_part(&windows);
        }
    }
    check_depth(&windows, &leaves);
    ps_windows_free(&windows);
    ps_leaves_free(&leaves);
    model_free(&m);
    return 0;
}
