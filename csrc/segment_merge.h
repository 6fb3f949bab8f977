/* segment_merge -- one segment made of parts: how an index is packed, and how it is kept in few parts.
 *
 *     ps_segment_merge(parts, count, renumber, allocator, &bytes, &size);
 *
 * The terms of all parts are gone through side by side, in order; the lists of a term follow one another. */
#ifndef PS_SEGMENT_MERGE_H
#define PS_SEGMENT_MERGE_H

#include "allocator.h"
#include "search_part.h"
#include "status.h"

/* Makes one segment of `count` (1 or more) parts that follow one another (of equal fields, columns, positions
 * and kind of ids, which are texts if the first part has id_offsets; each with base = base + docs of the one
 * before). Postings of dead documents are left out. With `renumber`, so are the dead documents themselves;
 * else they stay as documents without words, cells or, if ids are texts, id, so that no other changes its
 * ordinal. The parts are only read. `bytes` is the caller's, to be released with the allocator, and aligned
 * as its memory is (to 16). `size` includes the zeros at the end, so nothing beyond is ever read.
 * PS_NO_MEMORY; PS_BROKEN: a part is; PS_REFUSED: what a list or all documents together need is too much for
 * the format (4 GB for the blocks or positions of one term or the lists of 16 neighbours, 2^32 - 2
 * documents). */
ps_status ps_segment_merge(const ps_part *const *parts, uint32_t count, bool renumber, ps_allocator allocator,
                           uint8_t **bytes, size_t *size);

#endif
