/* search_model -- a corpus held twice: as an index, and as plain arrays that are gone through from end to
 * end; and plans made of a few bytes of input. */
#ifndef PS_SEARCH_MODEL_H
#define PS_SEARCH_MODEL_H

#include <math.h>

#include "fuzz.h"
#include "inverted_index.h"
#include "search_plan.h"
#include "search_scorer.h"
#include "search_top.h"

enum { MODEL_FIELDS = 3, MODEL_TERMS = 40, MODEL_DOCS = 6000, MODEL_NODES = 60, MODEL_WORDS = 80 };

static long allocations_left = -1; /* < 0: no end */

static inline void *model_resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator MODEL_ALLOCATOR = {model_resize, free};

typedef struct {
    uint8_t *words[MODEL_FIELDS]; /* numbers of terms */
    uint32_t lengths[MODEL_FIELDS];
    bool live;
} model_doc;

typedef struct {
    ps_inverted index;
    model_doc docs[MODEL_DOCS];
    uint32_t n, live;
    uint32_t doc_of[MODEL_DOCS]; /* by ordinal; UINT32_MAX: dead */
    uint32_t ordinals;
    bool positions;
    uint64_t random;
} model;

static inline uint32_t model_random(model *m, uint32_t below)
{
    m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((m->random >> 33) % below);
}

/* Terms that lie together, and a great many that lie apart: term t is there in about one document of 2^(t/4).
 */
static inline uint8_t model_term(model *m)
{
    uint32_t t = 0;
    while (t + 4 < MODEL_TERMS && model_random(m, 2) == 0) t += 4;
    return (uint8_t)(t + model_random(m, 4));
}

static inline ps_term model_term_named(uint32_t t, uint32_t field)
{
    static uint8_t names[256];
    names[t] = (uint8_t)('0' + t);
    return (ps_term){&names[t], 1, field};
}

static inline void model_add(model *m, uint32_t longest)
{
    model_doc *doc = &m->docs[m->n];
    FUZZ_REQUIRE(ps_inverted_add_begin(&m->index, (ps_doc_id){.number = m->n}) == PS_OK);
    for (uint32_t f = 0; f < m->index.fields; f++) {
        uint32_t length = model_random(m, longest + 1);
        if (length > 0 && model_random(m, 3) == 0) length = 1 + length / 8;
        doc->words[f] = malloc(length + 1);
        doc->lengths[f] = length;
        uint8_t often = model_term(m);
        for (uint32_t i = 0; i < length; i++) {
            uint8_t t = model_random(m, 4) == 0 ? often : model_term(m);
            ps_term term = model_term_named(t, f);
            doc->words[f][i] = t;
            FUZZ_REQUIRE(ps_inverted_add_word(&m->index, f, term.bytes, term.size) == PS_OK);
        }
    }
    FUZZ_REQUIRE(ps_inverted_add_end(&m->index, NULL) == PS_OK);
    doc->live = true;
    m->n++;
    m->live++;
}

static inline void model_merge(model *m, bool all)
{
    ps_merge *merge = NULL;
    if (!all && !ps_inverted_merge_due(&m->index)) return;
    FUZZ_REQUIRE(ps_inverted_merge_build(&m->index, all, &merge) == PS_OK);
    if (merge == NULL) return;
    ps_inverted_merge_swap(&m->index, merge);
    ps_inverted_merge_free(&m->index, merge);
    if (!ps_inverted_ids_ready(&m->index)) FUZZ_REQUIRE(ps_inverted_make_ids(&m->index) == PS_OK);
}

static inline void model_delete(model *m, uint32_t doc)
{
    ps_status status = ps_inverted_delete(&m->index, (ps_doc_id){.number = doc});
    FUZZ_REQUIRE(status == (m->docs[doc].live ? PS_OK : PS_REFUSED));
    m->live -= m->docs[doc].live;
    m->docs[doc].live = false;
}

/* A corpus from a few bytes: some documents, merged once in a while, some of them deleted. */
static inline void model_make(model *m, fuzz_input *input, uint32_t most)
{
    m->random = fuzz_take(input, 8);
    uint32_t size = (uint32_t)fuzz_take(input, 1), longest = 1 + (uint32_t)fuzz_take(input, 1) % 40;
    m->positions = fuzz_take(input, 1) % 2 == 0;
    uint32_t docs = size < 128 ? size % 20 : size < 240 ? size : 200 + model_random(m, most - 200);
    uint32_t merge_every = 1 + model_random(m, docs + 1), dead = (uint32_t)fuzz_take(input, 1) % 8;
    ps_inverted_init(&m->index, 1 + (uint32_t)fuzz_take(input, 1) % MODEL_FIELDS, 0, m->positions, false,
                     m->random, MODEL_ALLOCATOR);
    m->n = m->live = 0;
    for (uint32_t i = 0; i < docs; i++) {
        model_add(m, i % 97 == 5 ? 8 * longest : longest);
        if (dead > 4 && model_random(m, dead) == 0) model_delete(m, model_random(m, m->n));
        if (i % merge_every == merge_every - 1) model_merge(m, model_random(m, 4) == 0);
    }
    m->ordinals = ps_inverted_ordinals(&m->index);
    for (uint32_t o = 0; o < m->ordinals; o++) m->doc_of[o] = UINT32_MAX;
    for (uint32_t i = 0; i < m->n; i++)
        if (m->docs[i].live) m->doc_of[ps_inverted_ordinal(&m->index, (ps_doc_id){.number = i})] = i;
}

static inline void model_free(model *m)
{
    ps_inverted_free(&m->index);
    for (uint32_t i = 0; i < m->n; i++)
        for (uint32_t f = 0; f < m->index.fields; f++) free(m->docs[i].words[f]);
}

/* Plans
 * ------------------------------------------------------------------------------------------------------ */

typedef struct {
    ps_plan plan;
    ps_plan_node nodes[MODEL_NODES];
    ps_plan_word words[MODEL_WORDS];
    uint64_t masks[4][MODEL_DOCS / 64 + 1];
    uint32_t mask_count;
} model_plan;

static inline double some_weight(model *m)
{
    static const double WEIGHTS[] = {1, 1, 1, 2, 0.5, 0, 1e9, 1e-9, 0.1, 3.7};
    return WEIGHTS[model_random(m, model_random(m, 4) == 0 ? 10 : 3)];
}

static inline void some_mask(model *m, uint64_t *mask)
{
    uint32_t share = 1 + model_random(m, 20);
    for (uint32_t w = 0; w <= m->ordinals / 64; w++) mask[w] = 0;
    for (uint32_t o = 0; o < m->ordinals; o++)
        if (model_random(m, share) == 0) mask[o >> 6] |= UINT64_C(1) << (o & 63);
}

static inline void add_words(model *m, model_plan *p, ps_plan_node *node, uint32_t n, bool one_field)
{
    uint32_t field = model_random(m, m->index.fields), t = model_term(m);
    if (n > MODEL_WORDS - p->plan.word_count) n = MODEL_WORDS - p->plan.word_count;
    node->word = p->plan.word_count;
    node->words = n;
    for (uint32_t w = 0; w < n; w++) {
        if (one_field)
            t = model_random(m, 3) ? model_random(m, 4) : model_term(m); /* phrases: of common words */
        ps_plan_word *word = &p->words[p->plan.word_count++];
        word->term = model_term_named(t, one_field ? field : (field + w) % m->index.fields);
        word->weight = one_field || model_random(m, 2) ? 1 : 0.25 + model_random(m, 9);
    }
}

/* Appends a node and what is below it, depth first. */
static inline uint32_t add_node(model *m, model_plan *p, uint32_t depth, bool only_words)
{
    uint32_t number = p->plan.node_count++, children = 0;
    ps_plan_node *node = &p->nodes[number];
    *node =
        (ps_plan_node){.child = PS_NO_NODE, .sibling = PS_NO_NODE, .minimum = 1, .weight = some_weight(m)};
    uint32_t choice =
        depth == 0 || p->plan.node_count > MODEL_NODES / 2 ? model_random(m, 3) : model_random(m, 12);
    if (only_words) choice = 0;
    switch (choice) {
    case 2:
        if (m->positions) {
            node->kind = PS_PHRASE;
            node->slop = model_random(m, 2) ? 0 : model_random(m, 6);
            add_words(m, p, node, 1 + model_random(m, 3), true);
            return number;
        } /* fall through */
    case 0:
    case 1:
        node->kind = PS_TERM;
        add_words(m, p, node, only_words || model_random(m, 3) ? 1 : 1 + model_random(m, m->index.fields),
                  false);
        return number;
    case 3:
    case 4:
    case 5:
        node->kind = PS_ANY;
        children = model_random(m, 5);
        node->minimum = 1 + (model_random(m, 2) ? 0 : model_random(m, 3));
        break;
    case 6:
    case 7:
        node->kind = PS_ALL;
        children = model_random(m, 4);
        break;
    case 8:
        node->kind = PS_EXCEPT;
        children = 1 + model_random(m, 2);
        break;
    case 9:
        node->kind = PS_CONST;
        children = 1;
        break;
    case 10:
        node->kind = PS_MASK;
        node->mask = p->masks[p->mask_count % 4];
        if (p->mask_count++ < 4) some_mask(m, p->masks[p->mask_count - 1]);
        return number;
    default:
        node->kind = PS_EVERY;
        return number;
    }
    uint32_t last = PS_NO_NODE;
    for (uint32_t c = 0; c < children && p->plan.node_count < MODEL_NODES; c++) {
        uint32_t child = add_node(m, p, depth - 1, false);
        if (last == PS_NO_NODE)
            node->child = child;
        else
            p->nodes[last].sibling = child;
        last = child;
    }
    return number;
}

static inline void plan_begin(model_plan *p)
{
    p->plan = (ps_plan){.nodes = p->nodes, .words = p->words};
    p->mask_count = 0;
}

static inline void plan_tree(model *m, model_plan *p)
{
    plan_begin(p);
    add_node(m, p, 4, false);
}

/* A word, or ANY or ALL of words in one field. */
static inline void plan_words(model *m, model_plan *p, uint32_t minimum)
{
    plan_begin(p);
    if (model_random(m, 6) == 0) {
        add_node(m, p, 0, true);
        return;
    }
    p->plan.node_count = 1;
    p->nodes[0] = (ps_plan_node){.kind = model_random(m, 3) ? PS_ANY : PS_ALL, .minimum = minimum};
    p->nodes[0].child = p->nodes[0].sibling = PS_NO_NODE;
    uint32_t n = 1 + model_random(m, model_random(m, 8) ? 6 : 50), last = PS_NO_NODE;
    for (uint32_t c = 0; c < n; c++) {
        uint32_t child = add_node(m, p, 0, true);
        if (last == PS_NO_NODE)
            p->nodes[0].child = child;
        else
            p->nodes[last].sibling = child;
        last = child;
    }
}

static inline ps_scorer some_scorer(model *m)
{
    static const double K1[] = {1.2, 0, 0.9, 2, 100}, B[] = {0.75, 0, 1, 0.4}, DELTA[] = {0, 1, 0.5, 30};
    return (ps_scorer){(uint8_t)model_random(m, 7), K1[model_random(m, 5)], B[model_random(m, 4)],
                       DELTA[model_random(m, 4)]};
}

/* Scores by the book
 * ----------------------------------------------------------------------------------------- */

typedef struct {
    model *m;
    const ps_plan *plan;
    const ps_scorer *scorer;
    double grid;
} book;

static inline uint32_t book_freq(const model_doc *doc, ps_term term)
{
    uint32_t freq = 0;
    for (uint32_t i = 0; i < doc->lengths[term.field]; i++)
        freq += doc->words[term.field][i] == term.bytes[0] - '0';
    return freq;
}

static inline uint32_t book_df(const model *m, ps_term term)
{
    uint32_t df = 0;
    for (uint32_t i = 0; i < m->n; i++) df += m->docs[i].live && book_freq(&m->docs[i], term) > 0;
    return df;
}

static inline double book_idf(const book *b, double df)
{
    double n = b->m->live;
    switch (b->scorer->variant) {
    case PS_BM25_LUCENE:
        return log(1 + (n - df + 0.5) / (df + 0.5));
    case PS_BM25_ROBERTSON:
        return log(fmax((n - df + 0.5) / (df + 0.5), 1));
    case PS_BM25_PLUS:
        return log((n + 1) / df);
    case PS_BM25_LONG:
        return log((n + 1) / (df + 0.5));
    case PS_TFIDF_CLASSIC:
        return (1 + log((n + 1) / (df + 1))) * (1 + log((n + 1) / (df + 1)));
    default:
        return log(n / df);
    }
}

static inline double book_weight(const book *b, const ps_plan_node *node)
{
    double idf = 0, factor = 1;
    uint32_t df = 0;
    for (uint32_t w = 0; w < node->words; w++) {
        uint32_t found = book_df(b->m, b->plan->words[node->word + w].term);
        if (node->kind == PS_PHRASE) {
            if (found == 0) return 0;
            idf += book_idf(b, found);
        }
        if (found > df) df = found;
    }
    if (df == 0) return 0;
    if (node->kind == PS_TERM) idf = book_idf(b, df);
    if (b->scorer->variant >= PS_BM25_ATIRE && b->scorer->variant <= PS_BM25_LONG) factor = b->scorer->k1 + 1;
    return node->weight * idf * factor;
}

static inline double book_added(const book *b)
{
    return b->scorer->variant == PS_BM25_PLUS ? b->scorer->delta / (b->scorer->k1 + 1) : 0;
}

static inline double book_rounded(const book *b, double x) { return (x + b->grid) - b->grid; }

static inline double book_average(const book *b, uint32_t field)
{
    double words = 0;
    for (uint32_t i = 0; i < b->m->n; i++)
        if (b->m->docs[i].live) words += b->m->docs[i].lengths[field];
    return words / b->m->live;
}

static inline double book_impact(const book *b, double weight, double f, double n, double a)
{
    double k1 = b->scorer->k1, x, s;
    switch (b->scorer->variant) {
    case PS_TFIDF:
        s = f / n;
        break;
    case PS_TFIDF_CLASSIC:
        s = sqrt(f / n);
        break;
    case PS_BM25_LONG:
        x = f / ((1 - b->scorer->b) + (a > 0 ? b->scorer->b / a : 0) * n) + b->scorer->delta;
        s = x / (x + k1);
        break;
    default:
        s = f / (f + (k1 * (1 - b->scorer->b) + (a > 0 ? k1 * b->scorer->b / a : 0) * n));
    }
    return book_rounded(b, weight * s + weight * book_added(b));
}

static inline double book_phrase(const book *b, const ps_plan_node *node, const model_doc *doc)
{
    const ps_plan_word *words = b->plan->words + node->word;
    int64_t at[16];
    double matches = 0;
    uint32_t field = words[0].term.field, n = node->words;
    for (uint32_t w = 0; w < n; w++) at[w] = -1;
    for (uint32_t w = 0;;) { /* list w goes to its next place */
        if (matches < 0) matches = 0;
        do at[w]++;
        while (at[w] < doc->lengths[field] && doc->words[field][at[w]] != words[w].term.bytes[0] - '0');
        if (at[w] >= doc->lengths[field]) return fmin(matches, doc->lengths[field]);
        if (w + 1 < n && at[w + 1] == -1) { /* not all have begun */
            w++;
            continue;
        }
        int64_t lo = INT64_MAX, hi = INT64_MIN;
        bool apart = true;
        for (uint32_t v = 0; v < n; v++) {
            if (at[v] - v < lo) lo = at[v] - v, w = v;
            if (at[v] - v > hi) hi = at[v] - v;
            for (uint32_t u = 0; u < v; u++) apart &= at[u] != at[v];
        }
        if (hi - lo <= node->slop && apart) matches += 1 / (double)(1 + hi - lo);
    }
}

static double book_leaf_weights[MODEL_NODES]; /* of the plan that is looked at */
static double book_averages[MODEL_FIELDS];

/* Whether a document matches a node, and its score there. */
static inline bool book_match(const book *b, uint32_t number, uint32_t ordinal, double *score)
{
    const ps_plan_node *node = &b->plan->nodes[number];
    const model_doc *doc = &b->m->docs[b->m->doc_of[ordinal]];
    const ps_plan_word *words = b->plan->words + node->word;
    double below, f = 0, n = 0, a = 0;
    uint32_t matches = 0, children = 0;
    bool first = false, others = false;
    *score = 0;
    if (node->kind == PS_TERM) {
        for (uint32_t w = 0; w < node->words; w++) {
            f += words[w].weight * book_freq(doc, words[w].term);
            n += words[w].weight * doc->lengths[words[w].term.field];
            a += words[w].weight * book_averages[words[w].term.field];
        }
        if (f > 0) *score = book_impact(b, book_leaf_weights[number], f, n, a);
        return f > 0;
    }
    if (node->kind == PS_PHRASE) {
        f = node->words > 0 ? book_phrase(b, node, doc) : 0;
        if (f > 0)
            *score = book_impact(b, book_leaf_weights[number], f, doc->lengths[words[0].term.field],
                                 book_averages[words[0].term.field]);
        return f > 0;
    }
    if (node->kind == PS_MASK) return node->mask[ordinal >> 6] >> (ordinal & 63) & 1;
    if (node->kind == PS_EVERY) return true;
    for (uint32_t c = node->child; c != PS_NO_NODE; c = b->plan->nodes[c].sibling, children++) {
        if (!book_match(b, c, ordinal, &below)) continue;
        matches++;
        if (children == 0) first = true;
        if (children > 0) others = true;
        if (node->kind == PS_ANY || node->kind == PS_ALL || children == 0) *score += below;
    }
    if (node->kind == PS_CONST) *score = book_rounded(b, node->weight);
    if (node->kind == PS_ANY) return matches > 0 && matches >= node->minimum;
    if (node->kind == PS_ALL) return children > 0 && matches == children;
    return node->kind == PS_CONST ? first : first && !others;
}

/* The score of every ordinal, -1 where nothing matches. */
static inline void book_scores(model *m, const ps_plan *plan, const ps_scorer *scorer, double *scores)
{
    book b = {m, plan, scorer, 0};
    double most = 0;
    for (uint32_t i = 0; m->live > 0 && i < plan->node_count; i++) {
        const ps_plan_node *node = &plan->nodes[i];
        book_leaf_weights[i] = node->kind == PS_TERM || node->kind == PS_PHRASE ? book_weight(&b, node) : 0;
        most += node->kind == PS_CONST ? node->weight : book_leaf_weights[i] * (1 + book_added(&b));
    }
    if (most > 0) {
        int e;
        frexp(most, &e);
        b.grid = ldexp(1, e + 1);
    }
    for (uint32_t f = 0; m->live > 0 && f < m->index.fields; f++) book_averages[f] = book_average(&b, f);
    for (uint32_t o = 0; o < m->ordinals; o++)
        if (m->doc_of[o] == UINT32_MAX || !book_match(&b, 0, o, &scores[o])) scores[o] = -1;
}

/* Whether hits are the k best of scores that a mask lets through, equal ones in the order of ordinals. Scores
 * that were taken are lost. */
static inline bool book_agrees(const model *m, double *scores, const uint64_t *mask, uint32_t k,
                               const ps_hit *hits, uint32_t found)
{
    for (uint32_t o = 0; mask != NULL && o < m->ordinals; o++)
        if ((mask[o >> 6] >> (o & 63) & 1) == 0) scores[o] = -1;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t best = 0;
        for (uint32_t o = 1; o < m->ordinals; o++)
            if (scores[o] > scores[best]) best = o;
        bool none = m->ordinals == 0 || scores[best] < 0;
        if (none) return i == found;
        if (i >= found || hits[i].ordinal != best || hits[i].score != scores[best]) return false;
        scores[best] = -1;
    }
    return found == k;
}

#endif
