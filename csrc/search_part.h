/* search_part -- documents that were added one after the other, with their postings: what an index is made
 * of.
 *
 * A part is a segment (search_segment.h), packed and never changed, or the tail (search_tail.h), to which
 * documents are added. To whoever searches or merges, both look like this. Documents have numbers within
 * their part, from 0 in the order in which they were added; the number of a document in the whole index, base
 * + number, is its ordinal. */
#ifndef PS_SEARCH_PART_H
#define PS_SEARCH_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "posting_list.h"
#include "xxhash.h"

#define PS_FIELDS 16       /* fields that an index can have */
#define PS_COLUMNS 64      /* columns: 8 bytes of every document, of which the caller knows the meaning */
#define PS_TERM_BYTES 1020 /* bytes that a term can have */
#define PS_NO_TERM UINT32_MAX

typedef struct {
    const uint8_t *bytes; /* UTF-8 */
    uint32_t size;
    uint32_t field;
} ps_term;

typedef struct ps_part ps_part;

struct ps_part {
    uint32_t base; /* ordinal of the first document */
    uint32_t docs; /* documents, the dead ones among them */
    uint32_t fields, columns;
    const uint32_t *lengths[PS_FIELDS]; /* words of each document in each field; 64 bytes more can be read */
    const uint64_t *cells[PS_COLUMNS];  /* of each document */
    const uint64_t *id_offsets;         /* ids of documents, if they are texts: docs + 1 offsets */
    const uint8_t *id_bytes;            /* into these, UTF-8. Else NULL, and they are numbers: */
    const int64_t *id_numbers;          /* all of them; or if NULL, how much each is above */
    const uint32_t *id_steps;           /* the least; or if NULL too, they follow one another from the */
    int64_t id_least;                   /* least one on */
    const uint64_t *dead; /* a bit for each document, 64 bytes more can be read; NULL: none is dead */
    uint32_t dead_docs;
    bool positions; /* whether they are kept */
    uint32_t terms;
    bool sorted; /* numbers of terms are in their order (of a segment); else in that of their first coming (of
                    the tail) */

    /* The number of a term within the part, PS_NO_TERM if it is not there. hash: ps_term_hash() of it. */
    uint32_t (*find)(const ps_part *part, ps_term term, uint64_t hash);
    /* The term with a number (below `terms`). */
    ps_term (*term)(const ps_part *part, uint32_t number);
    /* Its postings. False: they are broken (only in a file that somebody made up), and `list` is empty. */
    bool (*postings)(const ps_part *part, uint32_t number, ps_postings *list);
    /* Asks for the cache lines of what is known of a term (stage 0), or of what that points to (stage 1), so
     * that they are there a little later. NULL: there is no need. */
    void (*fetch)(const ps_part *part, uint32_t number, unsigned stage);
};

/* The id of a document, if ids are numbers. */
static inline int64_t ps_part_number(const ps_part *part, uint32_t doc)
{
    if (part->id_numbers != NULL) return part->id_numbers[doc];
    return part->id_least + (int64_t)(part->id_steps != NULL ? part->id_steps[doc] : doc);
}

static inline bool ps_part_is_dead(const ps_part *part, uint32_t doc)
{
    return part->dead != NULL && (part->dead[doc >> 6] >> (doc & 63) & 1) != 0;
}

/* The hash by which terms are found; the seed is one for the whole index, and nobody outside knows it. */
static inline uint64_t ps_term_hash(ps_term term, uint64_t seed)
{
    uint64_t mine = seed + term.field * UINT64_C(0x9E3779B97F4A7C15);
    return term.size <= 16 ? ps_xxh3_64_short(term.bytes, term.size, mine)
                           : ps_xxh3_64(term.bytes, term.size, mine);
}

/* The order of terms: by field, then by bytes, which is by code point. <0, 0, >0. */
int ps_term_compare(ps_term a, ps_term b);

/* The number of the first term that is not below `term`, `terms` if there is none; of a part that is sorted.
 */
uint32_t ps_part_first_at(const ps_part *part, ps_term term);

#endif
