/* search_tail -- the documents that were added last: postings that grow.
 *
 *     ps_tail_begin(&tail, id, id_size);
 *     ps_tail_word(&tail, term, hash) ...            for each word, in order
 *     ps_tail_end(&tail, cells);                     now it is there; ps_tail_undo instead makes it never
 * have been tail.part ...                                  search_part.h; a document is seen as soon as it
 * has ended
 *
 * Each term has a record of one cache line, its packed blocks of 128, and a rest that is not packed: two
 * postings lie in the record, more in an array that doubles. The rest is packed when a further document
 * comes. Frequencies within the document that is being added are counted in the posting itself, so there is
 * no table for a document.
 *
 * A word of up to 16 bytes waits in a queue until there are some of them; then the cache lines that they need
 * are fetched all at once. So what goes wrong with a word may be said only when a later one comes, or at the
 * end.
 *
 * Not for readers while a call is in. Terms are numbered as they come; the numbers stay. */
#ifndef PS_SEARCH_TAIL_H
#define PS_SEARCH_TAIL_H

#include "allocator.h"
#include "hash_index.h"
#include "search_part.h"
#include "status.h"

#define PS_TAIL_QUEUE 32 /* words that wait */
#define PS_TAIL_SIZES 7  /* sizes of pieces of memory: 16, 32 .. 1,024 bytes */

typedef struct ps_tail_term ps_tail_term;     /* what is known of a term */
typedef struct ps_tail_places ps_tail_places; /* positions of its rest */
typedef struct ps_tail_piece ps_tail_piece;   /* memory that is free */
typedef struct ps_tail_chunk ps_tail_chunk;   /* memory that pieces are cut from */

typedef struct {
    ps_tail_term *records; /* within `memory`, each on a cache line of its own */
    void *memory;
} ps_tail_page;

typedef struct {
    uint64_t head[2]; /* the bytes of the term, zeros behind them */
    uint32_t hash;
    uint32_t key; /* its size and field */
    uint32_t place;
    uint32_t number; /* once it was found */
} ps_tail_word_waiting;

typedef struct {
    uint32_t number;      /* of a term whose last posting is that of the document being added */
    uint32_t places_size; /* bytes of positions before it */
} ps_tail_touched;

typedef struct {
    ps_part part; /* stands first; base, dead and dead_docs are for the caller to set */
    ps_allocator allocator;
    uint64_t seed;
    bool text_ids;
    uint64_t postings, words; /* of all documents in all fields */

    ps_tail_page *pages; /* of records: they never move */
    uint32_t page_count, page_room;
    ps_tail_places *places;
    uint32_t places_room;
    uint32_t term_count; /* part.terms, and those that only the document being added has */
    ps_hash_index by_hash;
    uint32_t hash_room;

    uint32_t docs_room; /* of what there is for each document: */
    uint32_t *lengths[PS_FIELDS];
    uint64_t *cells[PS_COLUMNS];
    int64_t *id_numbers;
    uint64_t *id_offsets;
    uint8_t *id_bytes;
    size_t id_bytes_room;

    bool adding;                /* a document is under way: */
    uint32_t so_far[PS_FIELDS]; /* words of it */
    ps_tail_touched *touched;
    uint32_t touched_count, touched_room;
    uint32_t waiting;
    ps_tail_word_waiting queue[PS_TAIL_QUEUE];

    ps_tail_chunk *chunks;
    ps_tail_piece *pieces[PS_TAIL_SIZES];
    uint8_t *uncut; /* of the newest chunk */
    size_t uncut_size, chunk_bytes;
    size_t bytes; /* allocated, but for by_hash */
} ps_tail;

/* An empty one that allocates nothing yet. text_ids: ids are UTF-8 bytes, else one int64 (8 bytes). */
void ps_tail_init(ps_tail *tail, uint32_t fields, uint32_t columns, bool positions, bool text_ids,
                  uint64_t seed, ps_allocator allocator);
void ps_tail_free(ps_tail *tail);

/* Begins a document. PS_NO_MEMORY: no document has begun. */
ps_status ps_tail_begin(ps_tail *tail, const uint8_t *id, size_t id_size);

/* One word more; hash: ps_term_hash() of it. PS_NO_MEMORY: only ps_tail_undo may follow. O(size). */
ps_status ps_tail_word(ps_tail *tail, ps_term term, uint64_t hash);

/* The document is there. cells: as many as there are columns. PS_NO_MEMORY: only ps_tail_undo may follow. */
ps_status ps_tail_end(ps_tail *tail, const uint64_t *cells);

/* Takes the document that is being added back, if there is one. O(its words). */
void ps_tail_undo(ps_tail *tail);

/* Where the caller remembers how many of a term's postings are dead, 0 at first: for inverted_index.h. */
uint64_t *ps_tail_dead_count(const ps_tail *tail, uint32_t number);

/* The bytes that it has allocated. */
size_t ps_tail_bytes(const ps_tail *tail);

/* Whether all of it holds together. O(postings), for tests; not while a document is being added. */
bool ps_tail_check(const ps_tail *tail);

#endif
