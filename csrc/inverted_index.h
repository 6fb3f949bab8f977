/* inverted_index -- which documents hold which terms: segments, the tail behind them, and what is dead.
 *
 *     ps_inverted_add_begin(&index, id); ps_inverted_add_word(...) ...; ps_inverted_add_end(&index, cells);
 *     while (ps_inverted_merge_due(&index)) { ps_inverted_merge_build(&index, false, &merge);
 * ..._swap(&index, merge);
 *         ..._free(&index, merge); }
 *     index.parts, index.live, index.words, ps_inverted_df()            what search_run.h searches
 *
 * Locks are the caller's, two of them: a mutex that whoever changes the index holds from beginning to end,
 * and a readers' lock. Each function says what it needs: [read] the readers' lock shared, [write] the mutex
 * (others may read meanwhile), [alone] the mutex and the readers' lock alone.
 *
 * Deleting sets a bit and notes the ordinal: O(1). How many documents with a term are dead is found out when
 * the term is next asked for, from those that died since, and remembered with the term: so document
 * frequencies are always exactly those of live documents, and an index from which a document was deleted
 * scores as one that never had it.
 *
 * Ids are found through an index of their hashes; but in a segment whose ids are numbers that ascend, as most
 * do, by halving, and the index is spared them.
 *
 * Ordinals are given in the order of adding, and stay until ps_inverted_compact or a merge of everything
 * renumbers them. Sources: O'Neil et al., The Log-Structured Merge-Tree, 1996; Busch et al., Earlybird:
 * Real-Time Search at Twitter, 2012; Lucene's tiered merge policy. */
#ifndef PS_INVERTED_INDEX_H
#define PS_INVERTED_INDEX_H

#include "allocator.h"
#include "edit_distance.h"
#include "hash_index.h"
#include "search_part.h"
#include "search_segment.h"
#include "search_tail.h"
#include "status.h"

#define PS_TAIL_DOCS 32768        /* documents that make the tail due for a merge, */
#define PS_TAIL_BYTES (16u << 20) /* or bytes */
#define PS_MERGE_WIDTH 4  /* parts of like size that are merged into one: the greatest a third of all */
#define PS_SEGMENTS 32    /* segments at the most; of 10 million documents there are about a dozen */
#define PS_BULK_DOCS 4096 /* documents that, added by one call, are packed when it ends */
#define PS_DEAD_DUE 65536 /* dead documents, if more than live ones, that make a merge of everything due */
#define PS_NO_ORDINAL UINT32_MAX

typedef struct {
    const uint8_t *bytes; /* a text's UTF-8; NULL: the id is a number */
    size_t size;
    int64_t number;
} ps_doc_id;

typedef struct ps_held_segment ps_held_segment; /* a segment with who owns its bytes, and its deaths */

/* Which documents of a part are dead. */
typedef struct {
    uint64_t *bits; /* part.dead: a bit for each document; NULL until one dies */
    uint32_t bits_room;
    uint32_t *died; /* numbers of the documents that died while in this part, in that order */
    uint32_t died_count, died_room;
    uint64_t *counts; /* of a segment, for each term: how many of its postings are dead, among the first so
                         many of `died` (the upper 32 bits); written by readers, atomically. The tail has them
                         in its terms */
} ps_deaths;

typedef struct {
    const ps_part
        *parts[PS_SEGMENTS + 1]; /* in the order of their bases; the tail last, if it has documents */
    uint32_t part_count;
    uint32_t live;             /* documents */
    uint64_t words[PS_FIELDS]; /* of live documents */
    uint32_t fields, columns;
    bool positions, text_ids;
    bool frozen; /* for the caller to set and to heed */
    uint64_t seed;
    ps_allocator allocator;

    uint32_t tail_docs_most; /* PS_TAIL_DOCS, PS_TAIL_BYTES and PS_DEAD_DUE: here a test may make them less */
    size_t tail_bytes_most;
    uint32_t dead_due;

    ps_held_segment *segments[PS_SEGMENTS];
    uint32_t segment_count;
    ps_tail tail;
    ps_deaths tail_deaths;
    ps_hash_index ids; /* ordinals of live documents by their id, but for segments whose ids ascend */
    uint32_t ids_room;
    bool ids_ready;
    bool segments_due;    /* some of them are to be merged, whatever the tail is */
    uint32_t bulks;       /* calls under way that add many documents */
    bool tail_due;        /* the tail is to be packed, however small, */
    bool whole_due;       /* together with everything */
    uint32_t adding_hash; /* of the id of the document that is being added, */
    uint32_t replaced;    /* and the ordinal of the one that dies for it */
} ps_inverted;

typedef struct ps_merge
    ps_merge; /* a merge that was built: the new segment, and which parts it takes the place of */

/* An empty one that allocates nothing yet. It must stay where it is. fields: 1 to PS_FIELDS, columns: 0 to
 * PS_COLUMNS. */
void ps_inverted_init(ps_inverted *index, uint32_t fields, uint32_t columns, bool positions, bool text_ids,
                      uint64_t seed, ps_allocator allocator);
void ps_inverted_free(ps_inverted *index);

/* ---- changing */

/* [alone] Begins a document. PS_REFUSED: there is a live document with this id. PS_NO_MEMORY, also when there
 * have been 2^32 - 4,097 documents, changes nothing. PS_BROKEN: of a map, two documents have one id. */
ps_status ps_inverted_add_begin(ps_inverted *index, ps_doc_id id);
/* [alone] The same, but if there is a live document with this id, it dies when the new one ends. */
ps_status ps_inverted_replace_begin(ps_inverted *index, ps_doc_id id);
/* [alone] One word more, in a field, of up to PS_TERM_BYTES. The hash of the term is computed within. */
ps_status ps_inverted_add_word(ps_inverted *index, uint32_t field, const uint8_t *bytes, uint32_t size);
/* [alone] The document is there. */
ps_status ps_inverted_add_end(ps_inverted *index, const uint64_t *cells);
/* [alone] After any of these has failed, or instead of the last: the document has never been. */
void ps_inverted_add_undo(ps_inverted *index);

/* [alone] Many documents are to come: until the end, segments are not merged before there are as many as can
 * be; then as many of like size as there are. */
void ps_inverted_bulk_begin(ps_inverted *index);
/* [alone] `pack`: there were so many that the tail is due for a merge, however small; with everything, if the
 * first part has not half of all documents. So a posting is written anew for this as seldom as documents
 * double, and what was added by one call lies as ps_inverted_merge_build of all would leave it. */
void ps_inverted_bulk_end(ps_inverted *index, bool pack);

/* [alone] PS_REFUSED: there is no live document with this id. PS_NO_MEMORY changes nothing. O(1), but for the
 * first document of a segment that dies: O(terms of the segment). */
ps_status ps_inverted_delete(ps_inverted *index, ps_doc_id id);

/* [write] Whether parts should be merged: the tail is full, some neighbours are of like size, or more
 * documents are dead than live, or ps_inverted_bulk_end wants it. */
bool ps_inverted_merge_due(const ps_inverted *index);
/* [write] Builds that merge; `all`: of all parts into one, without dead documents, whether due or not; then
 * the index of ids, unless they ascend, is made only when it is needed, as after ps_inverted_map. *merge is
 * NULL if there is nothing to do. PS_NO_MEMORY, PS_BROKEN, PS_REFUSED (as ps_segment_merge): there is no
 * merge. */
ps_status ps_inverted_merge_build(ps_inverted *index, bool all, ps_merge **merge);
/* [alone] Puts it in place. Cannot fail. O(segments). ps_inverted_merge_free must follow. */
void ps_inverted_merge_swap(ps_inverted *index, ps_merge *merge);
/* [write] Gives back what the merge has replaced; of one that was not put in place, what it has built. */
void ps_inverted_merge_free(ps_inverted *index, ps_merge *merge);

/* ---- files: one segment without dead documents */

/* [read] The bytes of a segment with everything that lives; as ps_segment_merge. Not while a document is
 * under way. */
ps_status ps_inverted_pack(const ps_inverted *index, uint8_t **bytes, size_t *size);
/* [alone] Makes an empty index the one in the bytes, which stay the caller's for as long as the index refers
 * to them: until `released(owner)` is called (by ps_inverted_merge_free or ps_inverted_free); NULL: they are
 * released by the allocator. PS_NO_MEMORY; PS_BROKEN; PS_REFUSED: the index is not empty, or its fields,
 * columns, positions or ids are others; then the bytes stay the caller's and nothing has changed. */
ps_status ps_inverted_map(ps_inverted *index, const uint8_t *bytes, size_t size,
                          void (*released)(void *owner), void *owner);

/* ---- asking */

/* [read] Live documents that hold a term in a field. */
uint32_t ps_inverted_df(const ps_inverted *index, ps_term term);
/* [read] How many postings of a term are of dead documents: `list` is that of part->postings(part, number).
 * The df of a term is the sum over parts of list.count less this. */
uint32_t ps_inverted_dead_among(const ps_inverted *index, const ps_part *part, uint32_t number,
                                const ps_postings *list);
/* [read, once ps_inverted_ids_ready] The ordinal of a live document, UINT32_MAX: there is none. */
uint32_t ps_inverted_ordinal(const ps_inverted *index, ps_doc_id id);
/* [read] Whether the index of ids is made; after ps_inverted_map and a merge of `all` only if ids ascend.
 */
bool ps_inverted_ids_ready(const ps_inverted *index);
ps_status ps_inverted_make_ids(ps_inverted *index); /* [alone] PS_NO_MEMORY, PS_BROKEN. O(documents) */
/* [read] The part of an ordinal that is below the ordinals given so far. */
const ps_part *ps_inverted_part_of(const ps_inverted *index, uint32_t ordinal);
/* [read] Ordinals given so far. */
uint32_t ps_inverted_ordinals(const ps_inverted *index);
/* [read] Frequency of a term in a document, 0: none; and up to `most` positions of it. */
uint32_t ps_inverted_freq(const ps_inverted *index, uint32_t ordinal, ps_term term, uint32_t *places,
                          uint32_t most, uint32_t *placed);

/* [read] Terms of a field that begin with `prefix`, ascending, each once with its df (live, never 0): calls
 * `take` for each until it says false. PS_NO_MEMORY. near: only those within its distance (edit_distance.h);
 * NULL: all. */
typedef bool (*ps_take_term)(void *context, const uint8_t *bytes, uint32_t size, uint32_t df,
                             uint32_t distance);
ps_status ps_inverted_terms(const ps_inverted *index, uint32_t field, const uint8_t *prefix,
                            uint32_t prefix_size, const ps_near *near, ps_take_term take, void *context);
/* [read] Terms of one document in a field, ascending, df is its frequency in the document. O(terms of its
 * part). */
ps_status ps_inverted_terms_of(const ps_inverted *index, uint32_t ordinal, uint32_t field, ps_take_term take,
                               void *context);

typedef struct {
    uint64_t segments, segment_bytes, mapped_bytes, tail_docs, tail_bytes, id_bytes, dead_docs, terms,
        postings, other;
} ps_inverted_sizes;
void ps_inverted_measure(const ps_inverted *index, ps_inverted_sizes *sizes); /* [read] */
bool ps_inverted_check(const ps_inverted *index);                             /* [read] O(all), for tests */

#endif
