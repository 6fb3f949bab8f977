/* segment_layout -- where the sections of a segment lie (search_segment.h): what follows from its header
 * alone. */
#ifndef PS_SEGMENT_LAYOUT_H
#define PS_SEGMENT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "search_part.h"

#define PS_SEGMENT_MAGIC "PSSEGMNT"
#define PS_SEGMENT_VERSION 2
#define PS_SEGMENT_ALIGNMENT 64
#define PS_SEGMENT_MOST (UINT64_C(1) << 48) /* bytes that a section is below */

enum {
    PS_SEGMENT_POSITIONS = 1,
    PS_SEGMENT_TEXT_IDS = 2,
    PS_SEGMENT_IDS_IN_A_ROW = 4,
    PS_SEGMENT_IDS_NEAR = 8,
};

typedef struct {
    char magic[8];
    uint32_t version, flags;
    uint64_t size;
    uint32_t docs, terms, fields, columns;
    uint64_t postings, lists_size, text_size, places_size, id_size;
    uint32_t field_terms[PS_FIELDS + 1];
    uint8_t zeros[108];
} ps_segment_header;

_Static_assert(sizeof(ps_segment_header) == 256, "the header is read as it lies");

#define PS_GROUP 16 /* terms in a group */

/* The records of some terms that follow one another, as they lie. */
typedef struct {
    uint64_t list_base, text_base;
    uint32_t lists[PS_GROUP];
    uint16_t texts[PS_GROUP];
    uint8_t counts[PS_GROUP];
} ps_term_group;

_Static_assert(sizeof(ps_term_group) == 128, "groups are read as they lie");
_Static_assert(sizeof(ps_block_head) == 20, "heads are read as they lie");

/* Where each section begins, from the start of the segment. */
typedef struct {
    uint64_t lists, records, texts, place_at, places;
    uint64_t lengths, lengths_stride; /* bytes from one field to the next */
    uint64_t cells, cells_stride;
    uint64_t ids, id_texts;
    uint64_t size; /* of the whole */
} ps_segment_layout;

/* Groups of so many terms; there is always room for one record more. */
static inline uint64_t ps_segment_groups(uint32_t terms) { return terms / PS_GROUP + 1; }

static inline uint64_t ps_segment_ids_size(uint32_t docs, uint32_t flags)
{
    if (flags & PS_SEGMENT_TEXT_IDS) return ((uint64_t)docs + 1) * 8;
    if (flags & PS_SEGMENT_IDS_IN_A_ROW) return 8;
    return flags & PS_SEGMENT_IDS_NEAR ? 8 + (uint64_t)docs * 4 : (uint64_t)docs * 8;
}

static inline uint64_t ps_segment_aligned(uint64_t size)
{
    return (size + PS_SEGMENT_ALIGNMENT - 1) / PS_SEGMENT_ALIGNMENT * PS_SEGMENT_ALIGNMENT;
}

/* The layout of a header with numbers that are possible; nothing can overflow then. */
static inline ps_segment_layout ps_segment_lay_out(const ps_segment_header *header)
{
    bool positions = (header->flags & PS_SEGMENT_POSITIONS) != 0;
    uint64_t docs = header->docs, records = (uint64_t)header->terms + 1;
    ps_segment_layout at;
    at.lists = sizeof *header;
    at.records = ps_segment_aligned(at.lists + header->lists_size);
    at.texts = ps_segment_aligned(at.records + ps_segment_groups(header->terms) * sizeof(ps_term_group));
    at.place_at = ps_segment_aligned(at.texts + header->text_size);
    at.places = ps_segment_aligned(at.place_at + (positions ? records * 8 : 0));
    at.lengths = ps_segment_aligned(at.places + header->places_size);
    at.lengths_stride = ps_segment_aligned(docs * 4);
    at.cells = at.lengths + header->fields * at.lengths_stride;
    at.cells_stride = ps_segment_aligned(docs * 8);
    at.ids = at.cells + header->columns * at.cells_stride;
    at.id_texts = ps_segment_aligned(at.ids + ps_segment_ids_size(header->docs, header->flags));
    at.size = ps_segment_aligned(at.id_texts + header->id_size) + PS_READ_AHEAD;
    return at;
}

#endif
