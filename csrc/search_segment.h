/* search_segment -- documents and their postings, packed into one run of bytes that is used as it lies: in
 * memory, or mapped from a file.
 *
 *     ps_segment_merge(parts, count, renumber, allocator, &bytes, &size);
 *     ps_segment_open(&segment, bytes, size, seed, allocator);       looks at the tables; blocks when read
 *     segment.part ...                                               search_part.h
 *
 * The format, version 2. All numbers are little-endian. Sections follow one another without choice: each
 * begins at the next multiple of 64 behind the one before, what lies between is zeros; behind the last come
 * zeros to the next multiple of 64 and 64 zeros more. So sizes say where everything is. A machine that is
 * big-endian refuses all.
 *
 *     header, 256 bytes:
 *       0  8   "PSSEGMNT"
 *       8  u32 version, 2
 *      12  u32 flags: 1 = positions are kept, 2 = ids are texts, 4 = they are numbers that follow one
 *          another, 8 = they are numbers of which none is 2^32 above the least; of 2, 4 and 8 at most one
 *      16  u64 size of the whole
 *      24  u32 docs, below 2^32 - 1
 *      28  u32 terms, below 2^32 - 1
 *      32  u32 fields, 1 to 16
 *      36  u32 columns, 0 to 64
 *      40  u64 postings: sum of the counts of all terms
 *      48  u64 lists_size
 *      56  u64 text_size
 *      64  u64 places_size, 0 without positions
 *      72  u64 id_size, 0 if ids are numbers
 *      80  u32 field_terms[17]: the number of the first term of each field; `terms` from [fields] on
 *     148      zeros to 256
 *     lists    lists_size bytes: see below
 *     records  of (terms + 1), sorted by field, then by the bytes of the term: the number of a term is its
 *              rank; in groups of 16, which have 128 bytes:
 *       0  u64 from where the lists of the group are counted, from the start of lists
 *       8  u64 from where its texts are counted, from the start of texts
 *      16  u32 [16] where the list of each begins
 *      80  u16 [16] where the bytes of each begin
 *     112  u8 [16] count of postings, 1 to 127; 0: the list says how many
 *              They end where those of the next record begin; the record after the last has count 0 and comes
 *              to text_size and lists_size; behind it are zeros
 *     texts    text_size bytes: the terms in order, UTF-8, 0 to 1,020 bytes each
 *     place_at (terms + 1) of u64, only with positions: where its positions begin, from the start of places
 *     places   places_size bytes, only with positions
 *     lengths  for each field docs of u32: words of each document; the next field's at the next multiple
 *              of 64
 *     cells    for each column docs of u64; the next column's at the next multiple of 64
 *     ids      by the flags: docs of i64; or (docs + 1) of u64, where each text begins, from the start of
 *              id texts; or an i64, the first of numbers that follow one another; or an i64, the least,
 *              and docs of u32, how much each is above it
 *     id texts id_size bytes, UTF-8, only if ids are texts
 *
 * The list of a term with a count of up to 127 is a packed block (posting_list.h) of so many postings. That
 * of any other begins at a multiple of 4, with its count, u32, at most docs, and a head of 20 bytes for each
 * of its blocks, ceil(count / 128) of them:
 *       0  u32 last document
 *       4  u32 offset: bytes from behind the last head to the block
 *       8  3 times u16 frequency, u16 length: peaks, the greatest frequency first; frequency 0 where there is
 *          no further
 * and then has its packed blocks. There may be bytes between and behind blocks; 0 to 3 stand before a list
 * that is aligned.
 *
 * The positions of a term with a count of up to 128 are those of its only block. Those of any other begin at
 * a multiple of 4 with (blocks + 1) of u32: where each block's begin, from behind these, and where the last
 * ones end; then they follow. */
#ifndef PS_SEARCH_SEGMENT_H
#define PS_SEARCH_SEGMENT_H

#include "allocator.h"
#include "search_part.h"
#include "segment_layout.h"
#include "segment_merge.h"
#include "status.h"

#define PS_BRIEF 127 /* postings that a list can have without a head */

typedef struct {
    ps_part part; /* stands first; base, dead and dead_docs are for the caller to set: 0, NULL and 0 after
                     opening */
    const uint8_t *bytes;
    size_t size;
    uint64_t postings;
    uint32_t field_terms[PS_FIELDS + 1]; /* terms of field f are numbered from [f] to below [f + 1] */
    const ps_term_group *groups;
    const uint8_t *lists, *texts, *places;
    const uint64_t *place_at;
    uint32_t
        *slots; /* numbers of terms by hash, with bits of the hash above them; all that opening allocates */
    uint32_t slot_count;
    unsigned number_bits; /* of a slot: those of the number */
    uint64_t seed;
    ps_allocator allocator;
} ps_segment;

/* Opens a segment over bytes[size], aligned to 8, which stay the caller's and must not change while it is
 * open. The tables are looked at whole: whatever they say lies within the bytes, is sorted, and adds up; so
 * no bytes, however hostile, make a reader leave them. Terms and ids are UTF-8. Postings are checked block by
 * block as they are read. Bytes need not be readable beyond `size`: the format ends with PS_READ_AHEAD zeros.
 * O(terms + docs of text ids). PS_BROKEN, PS_NO_MEMORY: there is nothing to close. */
ps_status ps_segment_open(ps_segment *segment, const uint8_t *bytes, size_t size, uint64_t seed,
                          ps_allocator allocator);

void ps_segment_close(ps_segment *segment);

/* The bytes that it has allocated beside those that it lies in. */
size_t ps_segment_overhead(const ps_segment *segment);

/* Whether everything in it holds: every block too, peaks included. O(size), for tests. */
bool ps_segment_check(const ps_segment *segment);

#endif
