/* term_search -- plans run over the index that threads share, and what they find copied out of it.
 *
 *     in the lock: ps_search_top(&shared, search, &plan, ...)         search->found, hits, ids
 *
 * All of it is for whoever is in to read; what is called [read] here needs that. No object of Python's is
 * touched here. */
#ifndef PS_TERM_SEARCH_H
#define PS_TERM_SEARCH_H

#include "term_plan.h"

#define PS_LONG 20000 /* postings from which on a search lets others have the GIL */

/* ---- masks: a byte for each live document, made a bit for each ordinal */

/* Bits of 64 bytes: those that are not 0. */
static inline uint64_t ps_bits_of_bytes(const uint8_t *bytes, size_t n)
{
    uint64_t bits = 0;
#if defined(__SSE2__) && !defined(PS_NO_SIMD)
    if (n == 64) {
        const __m128i zero = _mm_setzero_si128();
        for (int i = 0; i < 4; i++) {
            __m128i some = _mm_loadu_si128((const __m128i *)(const void *)(bytes + 16 * i));
            bits |= (uint64_t)(uint16_t)~_mm_movemask_epi8(_mm_cmpeq_epi8(some, zero)) << 16 * i;
        }
        return bits;
    }
#endif
    for (size_t i = 0; i < n; i++) bits |= (uint64_t)(bytes[i] != 0) << i;
    return bits;
}

/* The live among 64 documents of a part (fewer at its end), as bits. */
static inline uint64_t ps_live_bits(const ps_part *part, uint32_t doc)
{
    uint32_t n = part->docs - doc;
    uint64_t all = n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
    return part->dead == NULL ? all : all & ~part->dead[doc >> 6];
}

/* Sets the bits at a place that need not be aligned. */
static inline void ps_put_bits(uint64_t *bits, uint64_t at, uint64_t word)
{
    bits[at >> 6] |= word << (at & 63);
    if ((at & 63) != 0) bits[(at >> 6) + 1] |= word >> (64 - (at & 63));
}

/* The bits of `packed`, from the lowest on, at the places of the bits of `to`. */
static inline uint64_t ps_spread_bits(uint64_t packed, uint64_t to)
{
    uint64_t gaps = ~to;
    if ((to & (to + 1)) == 0) return packed; /* there are no gaps between them */
    if (__builtin_popcountll(gaps) <= 32) {
        for (; gaps != 0; gaps &= gaps - 1) {
            uint64_t below = (gaps & -gaps) - 1;
            packed = (packed & below) | (packed & ~below) << 1;
        }
        return packed;
    }
    uint64_t spread = 0;
    for (; to != 0; to &= to - 1, packed >>= 1) spread |= (packed & 1) * (to & -to);
    return spread;
}

/* [read] mask[live] -> bits of ordinals, which are 0 and have a word to spare. */
static inline void ps_mask_bits(const ps_inverted *index, const uint8_t *mask, uint64_t *bits)
{
    for (uint32_t p = 0; p < index->part_count; p++) {
        const ps_part *part = index->parts[p];
        for (uint32_t doc = 0; doc < part->docs; doc += 64) {
            uint64_t live = ps_live_bits(part, doc);
            unsigned n = (unsigned)__builtin_popcountll(live);
            ps_put_bits(bits, (uint64_t)part->base + doc, ps_spread_bits(ps_bits_of_bytes(mask, n), live));
            mask += n;
            if (part->docs - doc <= 64) break; /* the next number might not fit */
        }
    }
}

/* [read] bits of ordinals -> bytes[live] of 0 and 1. */
static inline void ps_bytes_of_bits(const ps_inverted *index, const uint64_t *bits, uint8_t *bytes)
{
    for (uint32_t p = 0; p < index->part_count; p++) {
        const ps_part *part = index->parts[p];
        for (uint64_t doc = 0; doc < part->docs; doc++) {
            uint64_t ordinal = part->base + doc;
            if (!ps_part_is_dead(part, (uint32_t)doc)) *bytes++ = bits[ordinal >> 6] >> (ordinal & 63) & 1;
        }
    }
}

/* [read] scores[ordinals] -> scores[live], in place. */
static inline void ps_live_scores(const ps_inverted *index, double *scores)
{
    double *to = scores;
    for (uint32_t p = 0; p < index->part_count; p++) {
        const ps_part *part = index->parts[p];
        if (part->dead == NULL) {
            memmove(to, scores + part->base, part->docs * sizeof *to);
            to += part->docs;
            continue;
        }
        for (uint64_t doc = 0; doc < part->docs; doc++)
            if (!ps_part_is_dead(part, (uint32_t)doc)) *to++ = scores[part->base + doc];
    }
}

static inline size_t ps_bit_words(const ps_inverted *index) { return ps_inverted_ordinals(index) / 64 + 2; }

/* [read] Makes bits of the masks of the plan, and of one more in front of them unless `outer` is NULL.
 * PS_REFUSED: a mask has not as many bytes as there are documents; `wrong` is its size. */
static inline ps_status ps_search_masks(ps_search *search, const ps_inverted *index,
                                        const ps_plan_mask *outer, size_t *wrong)
{
    size_t words = ps_bit_words(index), count = outer != NULL;
    const ps_plan_mask *refused = outer != NULL && outer->size != index->live ? outer : NULL;
    for (size_t i = 0; i < search->mask_count && refused == NULL; i++) {
        if (search->masks[i].size != index->live) refused = &search->masks[i];
        count += search->masks[i].same_as == i;
    }
    if (refused != NULL) {
        *wrong = refused->size;
        return PS_REFUSED;
    }
    if (count > SIZE_MAX / 8 / words || !PS_ROOM(search, bits, bit_room, count * words)) return PS_NO_MEMORY;
    memset(search->bits, 0, count * words * sizeof *search->bits);
    uint64_t *bits = search->bits;
    if (outer != NULL) {
        ps_mask_bits(index, outer->bytes, bits);
        bits += words;
    }
    for (size_t i = 0; i < search->mask_count; i++) {
        ps_plan_mask *mask = &search->masks[i];
        if (mask->same_as != i) {
            search->nodes[mask->node].mask = search->nodes[search->masks[mask->same_as].node].mask;
            continue;
        }
        ps_mask_bits(index, mask->bytes, bits);
        search->nodes[mask->node].mask = bits;
        bits += words;
    }
    return PS_OK;
}

/* ---- results */

/* [read] One id more: of document `doc` of a part. */
static inline bool ps_id_add(ps_search *search, const ps_part *part, uint32_t doc)
{
    if (!PS_ROOM(search, ids, id_room, search->id_count + 1)) return false;
    if (part->id_offsets == NULL) {
        search->ids[search->id_count++] = ps_part_number(part, doc);
        return true;
    }
    size_t size = part->id_offsets[doc + 1] - part->id_offsets[doc];
    if (!ps_pile_room(search->allocator, &search->names, size)) return false;
    if (size > 0) memcpy(search->names.at + search->names.size, part->id_bytes + part->id_offsets[doc], size);
    search->names.size += size;
    search->ids[search->id_count++] = (int64_t)search->names.size;
    return true;
}

static inline void ps_search_look(ps_search *search, const ps_inverted *index)
{
    search->live = index->live;
    search->text_ids = index->text_ids;
}

/* [read] The ids of all live documents. */
static inline ps_status ps_search_all_ids(ps_shared_index *shared, ps_search *search)
{
    const ps_inverted *index = shared->index;
    ps_search_look(search, index);
    for (uint32_t p = 0; p < index->part_count; p++)
        for (uint32_t doc = 0; doc < index->parts[p]->docs; doc++)
            if (!ps_part_is_dead(index->parts[p], doc) && !ps_id_add(search, index->parts[p], doc))
                return PS_NO_MEMORY;
    return PS_OK;
}

/* [read] Looks up the words of a plan; `cost` tells how many postings there are to go through. PS_REFUSED:
 * see ps_search_masks. */
static inline ps_status ps_search_bind(ps_shared_index *shared, ps_search *search, const ps_plan *plan,
                                       const ps_scorer *scorer, const ps_plan_mask *mask, size_t *wrong,
                                       uint64_t *cost)
{
    ps_status status = PS_OK;
    search->found = 0;
    ps_search_look(search, shared->index);
    if (mask != NULL || search->mask_count > 0) status = ps_search_masks(search, shared->index, mask, wrong);
    search->bits_ahead = mask != NULL;
    return status == PS_OK ? ps_run_bind(search->run, shared->index, plan, scorer, cost) : status;
}

/* [read], since ps_search_bind. The best k and their ids. */
static inline ps_status ps_search_best(ps_shared_index *shared, ps_search *search, size_t k)
{
    const ps_inverted *index = shared->index;
    if (k > index->live) k = index->live;
    if (k == 0) return PS_OK;
    if (!PS_ROOM(search, hits, hit_room, k)) return PS_NO_MEMORY;
    ps_status status = ps_run_best(search->run, (uint32_t)k, search->bits_ahead ? search->bits : NULL,
                                   search->hits, &search->found);
    for (uint32_t i = 0; i < search->found && status == PS_OK; i++) {
        const ps_part *part = ps_inverted_part_of(index, search->hits[i].ordinal);
        if (!ps_id_add(search, part, search->hits[i].ordinal - part->base)) status = PS_NO_MEMORY;
    }
    return status;
}

/* [read] Both. */
static inline ps_status ps_search_top(ps_shared_index *shared, ps_search *search, const ps_plan *plan,
                                      const ps_scorer *scorer, size_t k, const ps_plan_mask *mask,
                                      size_t *wrong)
{
    uint64_t cost;
    ps_status status = ps_search_bind(shared, search, plan, scorer, mask, wrong, &cost);
    return status == PS_OK ? ps_search_best(shared, search, k) : status;
}

/* [read] Whether to make the masks of a search takes so long that others should have the GIL meanwhile. */
static inline bool ps_masks_are_long(const ps_shared_index *shared, const ps_search *search,
                                     const ps_plan_mask *mask)
{
    return (mask != NULL || search->mask_count > 0) && shared->index->live > 8 * PS_LONG;
}

/* Many plans one after the other: of plan i the nodes and words from starts[i] on. Each gets `k` places in
 * `scores`, and in `numbers` unless ids are texts; counts[i] of them are filled. */
typedef struct {
    size_t node, word;
} ps_plan_start;

/* [read] */
static inline ps_status ps_search_many(ps_shared_index *shared, ps_search *search,
                                       const ps_plan_start *starts, size_t n, const ps_scorer *scorer,
                                       size_t k, uint32_t *counts, int64_t *numbers, double *scores)
{
    ps_search_look(search, shared->index);
    for (size_t i = 0; i < n; i++) {
        size_t unused;
        if (!search->text_ids) search->id_count = 0; /* they are handed over at once */
        ps_plan plan = {search->nodes + starts[i].node, (uint32_t)(starts[i + 1].node - starts[i].node),
                        search->words + starts[i].word, (uint32_t)(starts[i + 1].word - starts[i].word)};
        ps_status status = ps_search_top(shared, search, &plan, scorer, k, NULL, &unused);
        if (status != PS_OK) return status;
        counts[i] = search->found;
        for (uint32_t j = 0; j < search->found; j++) scores[i * k + j] = search->hits[j].score;
        if (!search->text_ids && search->found > 0)
            memcpy(numbers + i * k, search->ids, search->found * sizeof *numbers);
    }
    return PS_OK;
}

/* [read] The score of each live document into *scores, 0 where the plan does not match, and into *matched a
 * byte, 1 where it does; both are the caller's to release, and either may be NULL. PS_REFUSED: see
 * ps_search_masks. */
static inline ps_status ps_search_scores(ps_shared_index *shared, ps_search *search, const ps_plan *plan,
                                         const ps_scorer *scorer, double **scores, uint8_t **matched,
                                         size_t *wrong)
{
    const ps_inverted *index = shared->index;
    ps_allocator allocator = shared->allocator;
    size_t ordinals = ps_inverted_ordinals(index), words = ps_bit_words(index);
    ps_search_look(search, index);
    ps_status status = search->mask_count > 0 ? ps_search_masks(search, index, NULL, wrong) : PS_OK;
    if (status != PS_OK) return status;
    double *values = allocator.resize(NULL, (ordinals + 64) * sizeof *values);
    uint64_t *bits = allocator.resize(NULL, words * sizeof *bits);
    uint8_t *bytes = allocator.resize(NULL, index->live + 1);
    status = PS_NO_MEMORY;
    if (values != NULL && bits != NULL && bytes != NULL) {
        memset(bits, 0, words * sizeof *bits);
        status = ps_run_scores(search->run, index, plan, scorer, values, bits);
    }
    if (status == PS_OK && scores != NULL) {
        ps_live_scores(index, values);
        *scores = values;
        values = NULL;
    }
    if (status == PS_OK && matched != NULL) {
        ps_bytes_of_bits(index, bits, bytes);
        *matched = bytes;
        bytes = NULL;
    }
    allocator.release(values);
    allocator.release(bits);
    allocator.release(bytes);
    return status;
}

/* [read] A column of all live documents into *cells, the caller's to release. */
static inline ps_status ps_search_cells(ps_shared_index *shared, ps_search *search, uint32_t column,
                                        uint64_t **cells)
{
    const ps_inverted *index = shared->index;
    ps_search_look(search, index);
    uint64_t *to = *cells = shared->allocator.resize(NULL, ((size_t)index->live + 1) * sizeof *to);
    if (to == NULL) return PS_NO_MEMORY;
    for (uint32_t p = 0; p < index->part_count; p++)
        for (uint32_t doc = 0; doc < index->parts[p]->docs; doc++)
            if (!ps_part_is_dead(index->parts[p], doc)) *to++ = index->parts[p]->cells[column][doc];
    return PS_OK;
}

/* [read] A byte for each live document into *bytes, the caller's to release: 1 for those with one of these
 * ids. */
static inline ps_status ps_search_ids_mask(ps_shared_index *shared, ps_search *search, const ps_doc_id *ids,
                                           size_t n, uint8_t **bytes)
{
    const ps_inverted *index = shared->index;
    ps_search_look(search, index);
    size_t words = ps_bit_words(index);
    *bytes = shared->allocator.resize(NULL, (size_t)index->live + 1);
    uint64_t *bits = shared->allocator.resize(NULL, words * sizeof *bits);
    if (*bytes != NULL && bits != NULL) {
        memset(bits, 0, words * sizeof *bits);
        for (size_t i = 0; i < n; i++) {
            uint32_t ordinal = ps_ordinal_of(shared, ids[i]);
            if (ordinal != UINT32_MAX) bits[ordinal >> 6] |= UINT64_C(1) << (ordinal & 63);
        }
        ps_bytes_of_bits(index, bits, *bytes);
        shared->allocator.release(bits);
        return PS_OK;
    }
    shared->allocator.release(*bytes);
    shared->allocator.release(bits);
    *bytes = NULL;
    return PS_NO_MEMORY;
}

#endif
