/* posting_list -- the documents that hold a term, and how often: blocks of 128, packed, each with its
 * greatest impacts.
 *
 *     ps_cursor cursor;
 *     for (ps_cursor_begin(&cursor, &list); cursor.n > 0; ps_cursor_next(&cursor))
 *         for (i = 0; i < cursor.n; i++) ... cursor.docs[i], and after ps_cursor_freqs(&cursor)
 * cursor.freqs[i]
 *
 * Documents are numbers within their part of an index (search_part.h), ascending, each once. The format of a
 * block, all of it little-endian:
 *
 *     byte 0        bits of a gap, 0 to 32; the gap of a document is its distance from the one before (of the
 * first in the list from -1), less one byte 1        bits of a frequency, 0 to 31; stored is the frequency
 * less one then          the gaps, then the frequencies, each packed on its own
 *
 * Each takes as many bits as the greatest needs, 0 if all are 0. Of a block of 128, value i stands in lane i
 * mod 4; a lane is a stream of bits from the lowest, and its 32-bit words alternate with those of the other
 * lanes: word w of lane l is number 4 * w + l; so 16 bytes for each bit. A block of fewer postings (the last
 * of a list) has its values one behind the other, a stream of bits from the lowest, in whole bytes.
 *
 * The peaks of a block bound what any of its postings can score, whatever the scorer, as long as that rises
 * with the frequency and falls with the length of the document: for each posting there is a peak with no
 * lower frequency and no greater length. They stay true while documents are deleted and averages move.
 *
 * Blocks may come from a file that somebody made up. Each is checked when it is unpacked: that it lies within
 * the list, that its documents ascend, follow those of the block before, end with the one that its head names
 * and are below `docs`. One that is not so ends the list: cursor.broken. Sources: Lemire and Boytsov,
 * Decoding Billions of Integers per Second through Vectorization, 2015 (SIMD-BP128); Ding and Suel, Faster
 * Top-k Document Retrieval Using Block-Max Indexes, 2011; Grand, Muir, Ferenczi and Lin, From MaxScore to
 * Block-Max WAND, 2020 (pairs of frequency and length in place of scores). */
#ifndef PS_POSTING_LIST_H
#define PS_POSTING_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define PS_BLOCK 128 /* postings in a block */
#define PS_PEAKS 3   /* pairs kept for a block */
#define PS_BLOCK_BYTES \
    (2 + 2 * 4 * PS_BLOCK + 16) /* that a packed block takes at the most; packing may touch them all */
#define PS_READ_AHEAD 64        /* bytes that must be readable behind packed blocks and positions */
#define PS_FREQ_MOST (UINT32_C(1) << 31)
#define PS_NO_DOC UINT32_MAX

typedef struct {
    uint16_t freq;   /* 0: no further peak; 65535: that or more, however many */
    uint16_t length; /* of the document in this field, in words: this or more */
} ps_peak;

typedef struct {
    uint32_t last;           /* document of the last posting */
    uint32_t offset;         /* bytes from `packed` of the list to the block */
    ps_peak peaks[PS_PEAKS]; /* the greatest frequency first; there is always one */
} ps_block_head;

/* The postings of one term, in one field, in one part of the index: where they lie. Whoever filled this in
 * owns what it points to. It may be copied. */
typedef struct {
    const ps_block_head *heads; /* of the packed blocks; read them by ps_postings_heads() */
    const uint8_t *packed;
    size_t packed_size; /* bytes from `packed` that belong to the list; PS_READ_AHEAD more can be read */
    uint32_t blocks;    /* of them; all but the last are full if there is no rest */
    uint32_t count;     /* postings in all, those of dead documents among them */
    const uint32_t *rest_docs, *rest_freqs; /* postings behind the blocks that are not packed (of a tail), */
    uint32_t rest;                          /* up to 128 of them; then each of the blocks is full */
    ps_peak rest_peaks[PS_PEAKS];
    uint32_t docs; /* documents in the part: every number is below */
    const uint8_t
        *places; /* where the term stands in each document: positions of the packed blocks; NULL: not kept */
    size_t places_size;            /* bytes of them; PS_READ_AHEAD more can be read */
    const uint32_t *place_offsets; /* for each block, bytes from `places`; the one after the last too. NULL:
                                      the only block has them all */
    const uint8_t *rest_places;    /* positions of the rest, as those of a block */
    size_t rest_places_size;
    ps_block_head only; /* the head of the only block, if `heads` is NULL: its peak is a loose one */
} ps_postings;

static inline const ps_block_head *ps_postings_heads(const ps_postings *list)
{
    return list->heads != NULL ? list->heads : &list->only;
}

typedef struct {
    _Alignas(64) uint32_t docs[PS_BLOCK + 16]; /* the postings of this block; PS_NO_DOC behind them */
    _Alignas(64) uint32_t freqs[PS_BLOCK + 16];
    uint32_t
        n; /* postings in this block, known before it is unpacked; 0: the list has ended (or is broken) */
    uint32_t block; /* number of this block, list->blocks for the rest */
    uint32_t last;  /* last document of the block that the cursor is at; PS_NO_DOC past the end */
    bool docs_ready, freqs_ready;
    bool broken;                 /* a block was found that breaks the rules: the cursor stands at the end */
    uint8_t doc_bits, freq_bits; /* of the block, once anything of it is unpacked, */
    const uint8_t *packed_freqs; /* and where its frequencies lie */
    uint32_t placed;             /* positions of this posting of the block begin at `place`; */
    const uint8_t *place;        /* NULL: none is known yet */
    const ps_postings *list;
} ps_cursor;

/* ---- packing ---- */

/* Packs n (1 to 128) postings whose documents are above `before` (-1 for none) and whose frequencies are 1 to
 * PS_FREQ_MOST, into `out`, which has room for PS_BLOCK_BYTES; returns the bytes that the block takes. */
size_t ps_block_pack(const uint32_t *docs, const uint32_t *freqs, uint32_t n, int64_t before, uint8_t *out);

/* Peaks of n (1 or more) postings; lengths[docs[i]] are the lengths of the documents. */
void ps_block_peaks(const uint32_t *docs, const uint32_t *freqs, uint32_t n, const uint32_t *lengths,
                    ps_peak peaks[PS_PEAKS]);

/* ---- reading ---- */

/* Fills in `only` of a list of one packed block without a head, from what it holds. O(count). False: it is
 * broken. */
bool ps_postings_look(ps_postings *list);

/* At the first block, of which nothing is unpacked: peaks and cursor.last can be looked at. n == 0 if the
 * list is empty. */
void ps_cursor_open(ps_cursor *cursor, const ps_postings *list);

/* At block number `block` (the rest has the number list->blocks), of which nothing is unpacked. n == 0 if
 * there is none. */
void ps_cursor_stand(ps_cursor *cursor, const ps_postings *list, uint32_t block);

/* At the first block, unpacked (docs). n == 0 if the list is empty. */
void ps_cursor_begin(ps_cursor *cursor, const ps_postings *list);

/* At the first block whose last document is `doc` or above, which is unpacked (docs) only when ps_cursor_docs
 * is called: peaks can be looked at before. Never moves back. */
void ps_cursor_shallow(ps_cursor *cursor, uint32_t doc);

/* Unpacks the documents of the block that the cursor is at, if they are not yet. */
void ps_cursor_docs(ps_cursor *cursor);

/* Unpacks the frequencies of the block that the cursor is at, if they are not yet; its documents may still be
 * packed. */
void ps_cursor_freqs(ps_cursor *cursor);

/* At the next block, unpacked (docs). */
void ps_cursor_next(ps_cursor *cursor);

/* The peaks of the block that the cursor is at; n > 0. */
const ps_peak *ps_cursor_peaks(const ps_cursor *cursor);

/* The number of the first posting in docs (unpacked) whose document is `doc` or above; n if there is none.
 * SIMD. */
uint32_t ps_cursor_seek(const ps_cursor *cursor, uint32_t doc);

/* The frequency of one document: moves there (shallow, docs, seek, freqs); 0 if it is not among the postings.
 */
uint32_t ps_cursor_freq_of(ps_cursor *cursor, uint32_t doc);

/* Positions of posting i of the block that the cursor is at, ascending, into places[0 .. freq]. `most`: room.
 * Returns how many; 0 if they are not kept or are broken. Unpacks frequencies. Quickest when i ascends. */
uint32_t ps_cursor_places(ps_cursor *cursor, uint32_t i, uint32_t *places, uint32_t most);

/* The bytes that hold the positions of the block that the cursor is at. False: there are none, or they are
 * broken. */
bool ps_cursor_place_bytes(const ps_cursor *cursor, const uint8_t **at, const uint8_t **end);

/* Behind so many positions, NULL if there are not so many before `end`. */
const uint8_t *ps_places_pass(const uint8_t *at, const uint8_t *end, uint64_t places);

/* Packs freq ascending positions behind one another: the first, then each one's distance from the one before,
 * as variable-length numbers (seven bits a byte, the lowest first, the eighth set on all but the last).
 * Returns the bytes, at most 5 * freq. A block's positions are those of its postings one after the other, and
 * nothing else. */
size_t ps_places_pack(const uint32_t *places, uint32_t freq, uint8_t *out);

#endif
