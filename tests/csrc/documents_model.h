/* documents_model -- documents as plain arrays of words, to hold the tail and the index against. */
#ifndef PS_DOCUMENTS_MODEL_H
#define PS_DOCUMENTS_MODEL_H

#include <string.h>

#include "fuzz.h"
#include "search_part.h"

#define MODEL_FIELDS 2
#define MODEL_COLUMNS 2
#define MODEL_TERMS 48 /* words that there are, at most 64 */
#define MODEL_WORDS 60 /* words of a document in a field */
#define MODEL_DOCS 1500

typedef struct {
    int64_t id;
    bool live;
    uint32_t n[MODEL_FIELDS];
    uint8_t words[MODEL_FIELDS][MODEL_WORDS];
    uint64_t has[MODEL_FIELDS]; /* a bit for each word that there is */
    uint64_t cells[MODEL_COLUMNS];
} model_doc;

typedef struct {
    model_doc docs[MODEL_DOCS];
    uint32_t n;
} documents_model;

/* Word number i: no other has its bytes. Lengths are 0 to 20, some about 130, one the greatest. */
static ps_term model_term(uint32_t i, uint32_t field)
{
    static uint8_t bytes[MODEL_TERMS][PS_TERM_BYTES];
    static uint32_t sizes[MODEL_TERMS];
    if (i > 0 && sizes[i] == 0) {
        sizes[i] = i < 40 ? (i + 1) / 2 : i < 47 ? 90 + i : PS_TERM_BYTES;
        memset(bytes[i], 'a', sizes[i]);
        bytes[i][sizes[i] - 1] = (uint8_t)('a' + i % 2);
        if (i % 3 == 0 && sizes[i] > 1) bytes[i][0] = 'b';
    }
    return (ps_term){.bytes = bytes[i], .size = sizes[i], .field = field};
}

static inline uint64_t model_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 24;
}

/* A document of pseudo-random words: low numbers come more often. */
static model_doc model_draw(uint64_t *state, int64_t id)
{
    model_doc doc = {.id = id, .live = true};
    uint64_t shape = model_random(state) >> 8 & 255;
    for (uint32_t field = 0; field < MODEL_FIELDS; field++) {
        uint32_t n = shape % 16 == 0 ? 0 : shape % 16 == 1 ? MODEL_WORDS : (uint32_t)(shape >> 4) % 6 + field;
        doc.n[field] = n;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t drawn = model_random(state);
            doc.words[field][i] = (uint8_t)((drawn >> 16) % MODEL_TERMS >> (drawn >> 8) % 6);
            doc.has[field] |= UINT64_C(1) << doc.words[field][i];
        }
    }
    for (uint32_t i = 0; i < MODEL_COLUMNS; i++) doc.cells[i] = *state ^ i;
    return doc;
}

static uint32_t model_places(const model_doc *doc, uint32_t field, uint32_t term,
                             uint32_t places[MODEL_WORDS])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < doc->n[field]; i++)
        if (doc->words[field][i] == term) places[n++] = i;
    return n;
}

static bool model_has(const model_doc *doc, uint32_t field, uint32_t term)
{
    return doc->has[field] >> term & 1;
}

static inline uint32_t model_df(const documents_model *model, uint32_t field, uint32_t term)
{
    uint32_t df = 0;
    for (uint32_t i = 0; i < model->n; i++)
        df += model->docs[i].live && model_has(&model->docs[i], field, term);
    return df;
}

/* Whether some peak has no lower frequency and no greater length. */
static bool model_is_bound(const ps_peak *peaks, uint32_t freq, uint32_t length)
{
    for (uint32_t i = 0; i < PS_PEAKS && peaks[i].freq > 0; i++)
        if ((peaks[i].freq >= freq || peaks[i].freq == 65535) && peaks[i].length <= length) return true;
    return false;
}

/* The next document from `at` on that lives and has the term. */
static uint32_t model_next(const model_doc *docs, uint32_t n, uint32_t at, uint32_t field, uint32_t term)
{
    while (at < n && !(docs[at].live && model_has(&docs[at], field, term))) at++;
    return at;
}

/* The postings of one term in a part that holds these documents; those of dead ones may be there or not. */
static void model_expect_postings(const ps_part *part, const model_doc *docs, uint32_t field, uint32_t term,
                                  uint32_t number)
{
    uint32_t at = 0, count = 0, expected[MODEL_WORDS], places[MODEL_WORDS];
    ps_postings list;
    ps_cursor cursor;
    FUZZ_REQUIRE(part->postings(part, number, &list) && list.docs == part->docs);
    for (ps_cursor_begin(&cursor, &list); cursor.n > 0; ps_cursor_next(&cursor)) {
        ps_cursor_freqs(&cursor);
        for (uint32_t i = 0; i < cursor.n; i++, count++) {
            uint32_t doc = cursor.docs[i];
            if (ps_part_is_dead(part, doc)) continue;
            at = model_next(docs, part->docs, at, field, term);
            FUZZ_REQUIRE(at == doc);
            uint32_t freq = model_places(&docs[doc], field, term, expected);
            FUZZ_REQUIRE(cursor.freqs[i] == freq);
            FUZZ_REQUIRE(model_is_bound(ps_cursor_peaks(&cursor), freq, docs[doc].n[field]));
            if (part->positions) {
                FUZZ_REQUIRE(ps_cursor_places(&cursor, i, places, MODEL_WORDS) == freq);
                FUZZ_REQUIRE(memcmp(places, expected, freq * sizeof *places) == 0);
            }
            at++;
        }
    }
    FUZZ_REQUIRE(!cursor.broken && count == list.count);
    FUZZ_REQUIRE(model_next(docs, part->docs, at, field, term) == part->docs);
}

/* A part holds the documents of the model from `docs` on. */
static void model_expect_part(const ps_part *part, const model_doc *docs, uint64_t seed)
{
    for (uint32_t doc = 0; doc < part->docs; doc++) {
        FUZZ_REQUIRE(ps_part_is_dead(part, doc) == !docs[doc].live);
        if (!docs[doc].live) continue;
        for (uint32_t field = 0; field < part->fields; field++)
            FUZZ_REQUIRE(part->lengths[field][doc] == docs[doc].n[field]);
        for (uint32_t i = 0; i < part->columns; i++) FUZZ_REQUIRE(part->cells[i][doc] == docs[doc].cells[i]);
    }
    for (uint32_t field = 0; field < part->fields; field++)
        for (uint32_t term = 0; term < MODEL_TERMS; term++) {
            ps_term bytes = model_term(term, field);
            uint32_t number = part->find(part, bytes, ps_term_hash(bytes, seed));
            if (number == PS_NO_TERM) {
                FUZZ_REQUIRE(model_next(docs, part->docs, 0, field, term) == part->docs);
                continue;
            }
            FUZZ_REQUIRE(number < part->terms && ps_term_compare(part->term(part, number), bytes) == 0);
            model_expect_postings(part, docs, field, term, number);
        }
}

#endif
