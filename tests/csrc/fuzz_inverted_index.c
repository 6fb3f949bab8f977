/* The index against plain arrays: documents added, replaced, deleted, merged, packed and mapped, while memory
 * ends now and then; after each step it answers what the arrays do. */
#include "inverted_index.h"

#include "documents_model.h"

static long allocations_left = -1; /* < 0: no end */

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};
static const uint64_t SEED = 1234;

static documents_model model;
static int maps_released;

/* The id of a number, as text if the index has texts. */
static ps_doc_id id_of(const ps_inverted *index, int64_t number)
{
    static char text[24];
    if (!index->text_ids) return (ps_doc_id){.number = number};
    int size = number == 0 ? 0 : snprintf(text, sizeof text, "%llx", (unsigned long long)number);
    return (ps_doc_id){.bytes = (const uint8_t *)text, .size = (size_t)size};
}

static uint32_t find_model(int64_t id)
{
    for (uint32_t i = 0; i < model.n; i++)
        if (model.docs[i].live && model.docs[i].id == id) return i;
    return UINT32_MAX;
}

static bool model_ids_ascend(void)
{
    for (uint32_t i = 1; i < model.n; i++)
        if (model.docs[i - 1].id >= model.docs[i].id) return false;
    return true;
}

/* ---- changes ---- */

static ps_status add_words(ps_inverted *index, const model_doc *doc)
{
    for (uint32_t i = 0; i < MODEL_WORDS; i++)
        for (uint32_t field = 0; field < MODEL_FIELDS; field++) {
            if (i >= doc->n[field]) continue;
            ps_term term = model_term(doc->words[field][i], field);
            ps_status status = ps_inverted_add_word(index, field, term.bytes, term.size);
            if (status != PS_OK) return status;
        }
    return PS_OK;
}

static void add(ps_inverted *index, uint64_t *state, int64_t id, bool replace)
{
    model_doc doc = model_draw(state, id);
    uint32_t old = find_model(id);
    ps_doc_id its = id_of(index, id);
    ps_status status = replace ? ps_inverted_replace_begin(index, its) : ps_inverted_add_begin(index, its);
    FUZZ_REQUIRE((status == PS_REFUSED) == (old != UINT32_MAX && !replace) || status == PS_NO_MEMORY);
    if (status == PS_OK) status = add_words(index, &doc);
    if (status == PS_OK) status = ps_inverted_add_end(index, doc.cells);
    if (status != PS_OK) {
        ps_inverted_add_undo(index);
        FUZZ_REQUIRE(status == PS_REFUSED || allocations_left == 0);
        return;
    }
    if (old != UINT32_MAX) model.docs[old].live = false;
    model.docs[model.n++] = doc;
}

static void delete(ps_inverted *index, int64_t id)
{
    uint32_t at = find_model(id);
    ps_status status = ps_inverted_delete(index, id_of(index, id));
    if (status == PS_NO_MEMORY) {
        FUZZ_REQUIRE(allocations_left == 0);
        return;
    }
    FUZZ_REQUIRE(status == (at == UINT32_MAX ? PS_REFUSED : PS_OK));
    if (status == PS_OK) model.docs[at].live = false;
}

static void renumber_model(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < model.n; i++)
        if (model.docs[i].live) model.docs[n++] = model.docs[i];
    model.n = n;
}

static void merge(ps_inverted *index, bool all, bool discard)
{
    ps_merge *merge;
    uint32_t dead = ps_inverted_ordinals(index) - index->live;
    bool whole = all || (dead > index->live && dead >= index->dead_due);
    ps_status status = ps_inverted_merge_build(index, all, &merge);
    FUZZ_REQUIRE(status == PS_OK || (status == PS_NO_MEMORY && allocations_left == 0 && merge == NULL));
    if (merge == NULL) return;
    if (!discard) {
        ps_inverted_merge_swap(index, merge);
        if (whole) renumber_model();
    }
    ps_inverted_merge_free(index, merge);
    if (whole && !discard) FUZZ_REQUIRE(index->part_count <= 1 && !ps_inverted_merge_due(index));
}

static void merge_what_is_due(ps_inverted *index)
{
    for (int i = 0; ps_inverted_merge_due(index); i++) {
        FUZZ_REQUIRE(i < 8);
        merge(index, false, false);
    }
}

/* Documents whose ids ascend, of one call. */
static void add_many(ps_inverted *index, uint64_t *state, int64_t id, uint64_t number)
{
    bool pack = number & 128;
    ps_inverted_bulk_begin(index);
    for (uint64_t i = 0; i < number % 64 && model.n + 1 < MODEL_DOCS; i++) {
        add(index, state, id, false);
        id += 1 + (number & 64 ? (int64_t)(i % 3) : 0);
        if (i % 4 == 0 && allocations_left < 0) merge_what_is_due(index);
    }
    ps_inverted_bulk_end(index, pack);
    if (!pack || allocations_left >= 0) return;
    merge_what_is_due(index);
    FUZZ_REQUIRE(index->tail.part.docs == 0);
    FUZZ_REQUIRE(index->part_count < 2 || index->parts[0]->docs >= ps_inverted_ordinals(index) / 2);
}

static void count_release(void *owner)
{
    free(owner);
    maps_released++;
}

/* ---- what it answers ---- */

typedef struct {
    uint32_t field, n;
    ps_near *near;
    uint8_t before[PS_TERM_BYTES];
    uint32_t before_size;
    uint32_t doc; /* whose terms they are; UINT32_MAX: of all */
    uint32_t stop_after;
} taken_terms;

static uint32_t number_of(ps_term term)
{
    uint32_t number = 0;
    while (ps_term_compare(model_term(number, term.field), term) != 0) number++;
    return number;
}

static bool take(void *context, const uint8_t *bytes, uint32_t size, uint32_t df, uint32_t distance)
{
    taken_terms *taken = context;
    ps_term term = {bytes, size, taken->field}, before = {taken->before, taken->before_size, taken->field};
    uint32_t places[MODEL_WORDS], number = number_of(term);
    FUZZ_REQUIRE(taken->n++ == 0 || ps_term_compare(before, term) < 0);
    if (size > 0) memcpy(taken->before, bytes, size);
    taken->before_size = size;
    if (taken->doc != UINT32_MAX)
        FUZZ_REQUIRE(df > 0 && df == model_places(&model.docs[taken->doc], taken->field, number, places));
    else
        FUZZ_REQUIRE(df > 0 && df == model_df(&model, taken->field, number));
    FUZZ_REQUIRE(distance == (taken->near ? ps_near_distance(taken->near, bytes, size) : 0));
    return taken->n != taken->stop_after;
}

static void expect_terms(const ps_inverted *index, uint32_t field, uint32_t prefix_of, uint32_t prefix_size,
                         bool fuzzy)
{
    static taken_terms taken;
    ps_near near;
    ps_term prefix = model_term(prefix_of, field);
    if (prefix_size > prefix.size) prefix_size = prefix.size;
    uint32_t word = prefix.size <= 255 ? prefix.size : 255;
    ps_near_init(&near, prefix.bytes, word, 2, 1);
    taken = (taken_terms){.field = field, .doc = UINT32_MAX, .near = fuzzy ? &near : NULL};
    ps_status status = ps_inverted_terms(index, field, prefix.bytes, prefix_size, taken.near, take, &taken);
    FUZZ_REQUIRE(status == PS_OK);
    uint32_t expected = 0, n = taken.n;
    for (uint32_t i = 0; i < MODEL_TERMS; i++) {
        ps_term term = model_term(i, field);
        bool begins = term.size >= prefix_size && memcmp(term.bytes, prefix.bytes, prefix_size) == 0;
        bool is_near = !fuzzy || ps_near_distance(&near, term.bytes, term.size) != UINT32_MAX;
        expected += begins && is_near && model_df(&model, field, i) > 0;
    }
    FUZZ_REQUIRE(n == expected);
    taken.n = 0;
    taken.stop_after = 2;
    FUZZ_REQUIRE(ps_inverted_terms(index, field, prefix.bytes, prefix_size, taken.near, take, &taken) ==
                 PS_OK);
    FUZZ_REQUIRE(taken.n == (n < 2 ? n : 2));
}

static void expect_document(const ps_inverted *index, uint32_t doc)
{
    uint32_t places[MODEL_WORDS], expected[MODEL_WORDS], placed, found[MODEL_FIELDS] = {0};
    static taken_terms taken;
    for (uint32_t field = 0; field < MODEL_FIELDS; field++) {
        for (uint32_t term = 0; term < MODEL_TERMS; term++) {
            uint32_t freq = model_places(&model.docs[doc], field, term, expected);
            FUZZ_REQUIRE(
                ps_inverted_freq(index, doc, model_term(term, field), places, MODEL_WORDS, &placed) == freq);
            FUZZ_REQUIRE(placed == (index->positions ? freq : 0) &&
                         memcmp(places, expected, placed * 4) == 0);
            found[field] += freq > 0;
        }
        taken = (taken_terms){.field = field, .doc = doc};
        FUZZ_REQUIRE(ps_inverted_terms_of(index, doc, field, take, &taken) == PS_OK);
        FUZZ_REQUIRE(taken.n == found[field]);
    }
}

static void expect_counts(const ps_inverted *index)
{
    uint64_t words[PS_FIELDS] = {0};
    uint32_t live = 0;
    for (uint32_t i = 0; i < model.n; i++) {
        if (!model.docs[i].live) continue;
        live++;
        for (uint32_t field = 0; field < MODEL_FIELDS; field++) words[field] += model.docs[i].n[field];
    }
    FUZZ_REQUIRE(live == index->live && memcmp(words, index->words, sizeof words) == 0);
    FUZZ_REQUIRE(ps_inverted_ordinals(index) == model.n);
}

static void expect(ps_inverted *index, fuzz_input *input)
{
    expect_counts(index);
    for (uint32_t field = 0; field < MODEL_FIELDS; field++)
        for (uint32_t term = 0; term < MODEL_TERMS; term++)
            FUZZ_REQUIRE(ps_inverted_df(index, model_term(term, field)) == model_df(&model, field, term));
    for (uint32_t i = 0, from = 0; i < index->part_count; i++) {
        FUZZ_REQUIRE(index->parts[i]->base == from);
        model_expect_part(index->parts[i], model.docs + from, SEED);
        from += index->parts[i]->docs;
    }
    if (index->ids_ready)
        for (int64_t id = 0; id < 200; id++)
            FUZZ_REQUIRE(ps_inverted_ordinal(index, id_of(index, id)) == find_model(id));
    FUZZ_REQUIRE(ps_inverted_check(index));
    uint64_t choice = fuzz_take(input, 2);
    expect_terms(index, choice & 1, (uint32_t)(choice >> 2) % MODEL_TERMS, (uint32_t)(choice >> 8) % 12,
                 choice & 2);
    if (model.n > 0) {
        uint32_t doc = (uint32_t)fuzz_take(input, 2) % model.n;
        if (model.docs[doc].live) expect_document(index, doc);
    }
    ps_inverted_sizes sizes;
    ps_inverted_measure(index, &sizes);
    FUZZ_REQUIRE(sizes.dead_docs == model.n - index->live && sizes.segments == index->segment_count);
}

/* Packs the index and goes on with a map of what it packed. */
static void pack_and_map(ps_inverted *index, fuzz_input *input, uint64_t shape)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    ps_status status = ps_inverted_pack(index, &bytes, &size);
    if (status != PS_OK) {
        FUZZ_REQUIRE(status == PS_NO_MEMORY && allocations_left == 0);
        return;
    }
    ps_inverted mapped; /* it must not be moved: it is only tried */
    ps_inverted_init(&mapped, MODEL_FIELDS, MODEL_COLUMNS, !index->positions, index->text_ids, SEED,
                     ALLOCATOR);
    status = ps_inverted_map(&mapped, bytes, size, count_release, bytes);
    FUZZ_REQUIRE(status == PS_REFUSED || (status == PS_NO_MEMORY && allocations_left == 0));
    ps_inverted_free(&mapped);
    status = ps_inverted_map(index, bytes, size, count_release, bytes);
    if (status == PS_OK) { /* an empty one into an empty one */
        FUZZ_REQUIRE(model.n == 0);
        return;
    }
    FUZZ_REQUIRE(model.n > 0 ? status == PS_REFUSED : status == PS_NO_MEMORY && allocations_left == 0);
    ps_inverted_free(index);
    ps_inverted_init(index, MODEL_FIELDS, MODEL_COLUMNS, shape & 1, shape >> 1 & 1, SEED, ALLOCATOR);
    allocations_left = -1;
    bool mine = fuzz_take(input, 1) & 1;
    int before = maps_released;
    status = ps_inverted_map(index, bytes, size, mine ? count_release : NULL, bytes);
    FUZZ_REQUIRE(status == PS_OK);
    renumber_model();
    FUZZ_REQUIRE(maps_released == before + (mine && model.n == 0));
    FUZZ_REQUIRE(index->ids_ready == (model.n == 0 || (!index->text_ids && model_ids_ascend())));
}

static bool take_any(void *context, const uint8_t *bytes, uint32_t size, uint32_t df, uint32_t distance)
{
    uint64_t *sum = context;
    for (uint32_t i = 0; i < size; i++) *sum += bytes[i];
    *sum += df + distance;
    return true;
}

/* What is in it may be wrong, but nothing is read or written that should not be. */
static void use_anything(ps_inverted *index, fuzz_input *input, uint64_t *state)
{
    uint64_t sum = 0;
    uint32_t places[MODEL_WORDS], placed;
    for (int round = 0; round < 2; round++) {
        for (uint32_t term = 0; term < MODEL_TERMS; term += 5)
            sum += ps_inverted_df(index, model_term(term, 0));
        ps_inverted_terms(index, 1, (const uint8_t *)"a", (uint32_t)round, NULL, take_any, &sum);
        for (uint32_t i = 0; i < 3 && ps_inverted_ordinals(index) > 0; i++) {
            uint32_t ordinal = (uint32_t)fuzz_take(input, 2) % ps_inverted_ordinals(index);
            ps_inverted_terms_of(index, ordinal, 0, take_any, &sum);
            sum += ps_inverted_freq(index, ordinal, model_term(i, 0), places, MODEL_WORDS, &placed);
        }
        ps_inverted_check(index);
        for (int64_t id = 0; id < 9; id++)
            ps_inverted_delete(index, id_of(index, (int64_t)fuzz_take(input, 1)));
        model_doc doc = model_draw(state, 5);
        if (ps_inverted_replace_begin(index, id_of(index, doc.id)) == PS_OK) {
            FUZZ_REQUIRE(add_words(index, &doc) == PS_OK);
            FUZZ_REQUIRE(ps_inverted_add_end(index, doc.cells) == PS_OK);
        }
        ps_merge *merge;
        if (ps_inverted_merge_build(index, fuzz_take(input, 1) & 1, &merge) != PS_OK || merge == NULL)
            continue;
        ps_inverted_merge_swap(index, merge);
        ps_inverted_merge_free(index, merge);
    }
}

/* Maps what the index packs, with some bytes changed. */
static void map_changed(const ps_inverted *index, fuzz_input *input, uint64_t *state)
{
    static ps_inverted mapped;
    uint8_t *bytes;
    size_t size;
    FUZZ_REQUIRE(ps_inverted_pack(index, &bytes, &size) == PS_OK);
    for (uint64_t n = fuzz_take(input, 1) % 4; n > 0; n--) {
        size_t at = 256 + model_random(state) % (size - 256); /* the header's own are another target's */
        bytes[at] ^= (uint8_t)(1 + fuzz_take(input, 1) % 255);
    }
    ps_inverted_init(&mapped, MODEL_FIELDS, MODEL_COLUMNS, index->positions, index->text_ids, SEED,
                     ALLOCATOR);
    ps_status status = ps_inverted_map(&mapped, bytes, size, NULL, NULL);
    FUZZ_REQUIRE(status == PS_OK || status == PS_BROKEN);
    if (status == PS_OK)
        use_anything(&mapped, input, state);
    else
        free(bytes);
    ps_inverted_free(&mapped);
}

static void set_limits(ps_inverted *index, uint64_t shape)
{
    static const uint32_t docs[] = {3, 20, 90, PS_TAIL_DOCS};
    index->tail_docs_most = docs[shape >> 4 & 3];
    index->dead_due = shape >> 6 & 1 ? 30 : PS_DEAD_DUE;
    if (shape >> 7 & 1) index->tail_bytes_most = 40000;
}

static void step(ps_inverted *index, fuzz_input *input, uint64_t *state, uint64_t shape)
{
    uint64_t choice = fuzz_take(input, 1), number = fuzz_take(input, 1);
    int64_t id = (int64_t)(fuzz_take(input, 1) % 200);
    if (choice >= 224) allocations_left = (long)(number % 40);
    switch (choice % 16) {
    case 0:
        merge(index, true, false);
        break;
    case 1:
        merge(index, number & 1, number & 2);
        break;
    case 9:
        allocations_left = -1;
        map_changed(index, input, state);
        break;
    case 2:
        pack_and_map(index, input, shape);
        break;
    case 3:
        add(index, state, id, true);
        break;
    case 4:
        for (uint64_t i = 0; i < number % 32; i++) delete(index, id + (int64_t)i);
        break;
    case 5:
    case 6:
        delete(index, id);
        break;
    case 7:
    case 8:
        for (uint64_t i = 0; i < number % 100 && model.n + 1 < MODEL_DOCS; i++) {
            add(index, state, 200 + (int64_t)(*state >> 34), false);
            if (i % 4 == 0 && allocations_left < 0) merge_what_is_due(index);
        }
        break;
    case 10:
        add_many(index, state, choice & 16 ? id : 200 + (int64_t)(*state >> 40), number);
        break;
    default:
        add(index, state, id, choice & 16);
        break;
    }
    allocations_left = -1;
    if (choice & 32) merge_what_is_due(index);
}

/* A thousand tails that come by one call: a document is written anew a few times, not once for every few
 * tails. */
static void expect_little_written_anew(void)
{
    enum { TAILS = 1000 };
    uint64_t written = 0, cells[MODEL_COLUMNS] = {0};
    ps_inverted index;
    ps_inverted_init(&index, MODEL_FIELDS, MODEL_COLUMNS, false, false, SEED, ALLOCATOR);
    index.tail_docs_most = 1;
    ps_inverted_bulk_begin(&index);
    for (int64_t id = 0; id < TAILS; id++) {
        ps_merge *merge;
        FUZZ_REQUIRE(ps_inverted_add_begin(&index, (ps_doc_id){.number = id}) == PS_OK);
        FUZZ_REQUIRE(ps_inverted_add_end(&index, cells) == PS_OK);
        while (ps_inverted_merge_due(&index)) {
            FUZZ_REQUIRE(ps_inverted_merge_build(&index, false, &merge) == PS_OK && merge != NULL);
            ps_inverted_merge_swap(&index, merge);
            ps_inverted_merge_free(&index, merge);
            uint32_t last = index.segment_count - 1;
            written += index.parts[last]->docs; /* no other is made while many come */
        }
        FUZZ_REQUIRE(index.segment_count <= 16);
    }
    ps_inverted_bulk_end(&index, true);
    FUZZ_REQUIRE(written <= 5 * TAILS && ps_inverted_check(&index));
    ps_inverted_free(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint64_t shape = fuzz_take(&input, 1), state = fuzz_take(&input, 8),
             every = 1 + fuzz_take(&input, 1) % 12;
    static ps_inverted index;
    static bool looked = false;
    if (!looked) expect_little_written_anew();
    looked = true;
    ps_inverted_init(&index, MODEL_FIELDS, MODEL_COLUMNS, shape & 1, shape >> 1 & 1, SEED, ALLOCATOR);
    set_limits(&index, shape);
    model.n = 0;
    expect(&index, &input);
    for (uint64_t i = 0; i < 60 && input.left > 0 && model.n + 100 < MODEL_DOCS; i++) {
        step(&index, &input, &state, shape);
        set_limits(&index, shape);
        expect_counts(&index);
        if (i % every == 0) expect(&index, &input);
    }
    expect(&index, &input);
    ps_inverted_free(&index);
    return 0;
}
