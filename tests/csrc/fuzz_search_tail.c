/* The tail against plain arrays: documents added and taken back, whole or half way, and memory that ends. */
#include "documents_model.h"
#include "search_tail.h"

static long allocations_left = -1; /* < 0: no end */

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};
static const uint64_t SEED = 99;

static documents_model model;

/* A text id of some bytes that tells the number. */
static size_t id_text(int64_t id, uint8_t text[16])
{
    size_t size = (size_t)((uint64_t)id % 9);
    memset(text, 'x', 16);
    return size;
}

static ps_status add_words(ps_tail *tail, const model_doc *doc, uint32_t most)
{
    for (uint32_t i = 0; i < MODEL_WORDS; i++)
        for (uint32_t field = 0; field < MODEL_FIELDS; field++) {
            if (i >= doc->n[field]) continue;
            if (most-- == 0) return PS_STOPPED;
            ps_term term = model_term(doc->words[field][i], field);
            ps_status status = ps_tail_word(tail, term, ps_term_hash(term, SEED));
            if (status != PS_OK) return status;
        }
    return PS_OK;
}

static ps_status add(ps_tail *tail, const model_doc *doc, uint32_t most)
{
    uint8_t text[16];
    size_t size = id_text(doc->id, text);
    ps_status status = tail->text_ids ? ps_tail_begin(tail, text, size)
                                      : ps_tail_begin(tail, (const uint8_t *)&doc->id, sizeof doc->id);
    if (status == PS_OK) status = add_words(tail, doc, most);
    return status == PS_OK ? ps_tail_end(tail, doc->cells) : status;
}

static void expect(const ps_tail *tail)
{
    FUZZ_REQUIRE(ps_tail_check(tail));
    FUZZ_REQUIRE(tail->part.docs == model.n);
    model_expect_part(&tail->part, model.docs, SEED);
    for (uint32_t doc = 0; doc < model.n; doc++) {
        uint8_t text[16];
        if (!tail->text_ids) {
            FUZZ_REQUIRE(tail->part.id_numbers[doc] == model.docs[doc].id);
            continue;
        }
        uint64_t from = tail->part.id_offsets[doc];
        FUZZ_REQUIRE(tail->part.id_offsets[doc + 1] - from == id_text(model.docs[doc].id, text));
        FUZZ_REQUIRE(memcmp(tail->part.id_bytes + from, text, id_text(model.docs[doc].id, text)) == 0);
    }
}

/* Of a document that is under way nothing is seen. */
static void half_a_document(ps_tail *tail, uint64_t *state, uint32_t most)
{
    model_doc doc = model_draw(state, 1);
    size_t bytes = tail->part.docs == 0 ? 0 : ps_tail_bytes(tail);
    ps_status status = add(tail, &doc, most);
    if (status == PS_OK) {
        model.docs[model.n++] = doc;
        return;
    }
    if (status == PS_STOPPED && model.n < 200) model_expect_part(&tail->part, model.docs, SEED);
    ps_tail_undo(tail);
    ps_tail_undo(tail);
    FUZZ_REQUIRE(ps_tail_bytes(tail) >= bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint64_t shape = fuzz_take(&input, 1), state = fuzz_take(&input, 8);
    ps_tail tail;
    ps_tail_init(&tail, MODEL_FIELDS, MODEL_COLUMNS, shape & 1, shape >> 1 & 1, SEED, ALLOCATOR);
    model.n = 0;
    expect(&tail);
    uint32_t most = shape >= 224 ? MODEL_DOCS : shape & 16 ? 400 : 60;
    for (int step = 0; step < 40 && model.n + most / 6 < most; step++) {
        uint64_t choice = fuzz_take(&input, 1), number = fuzz_take(&input, 1);
        if (choice % 4 == 0) {
            half_a_document(&tail, &state, (uint32_t)number % 40);
        } else if (choice % 4 == 1) {
            allocations_left = (long)(number % 24);
            half_a_document(&tail, &state, UINT32_MAX);
            allocations_left = -1;
        } else {
            for (uint64_t i = number % (most / 6); i > 0; i--) {
                model_doc doc = model_draw(&state, (int64_t)state);
                FUZZ_REQUIRE(add(&tail, &doc, UINT32_MAX) == PS_OK);
                model.docs[model.n++] = doc;
            }
        }
        if (step % 8 == 0) expect(&tail);
    }
    expect(&tail);
    ps_tail_free(&tail);
    return 0;
}
