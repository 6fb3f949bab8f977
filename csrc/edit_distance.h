/* edit_distance -- whether two words lie within two edits of each other, and how far apart.
 *
 *     ps_near near;
 *     ps_near_init(&near, word, size, limit, prefix);
 *     for each other word: ps_near_distance(&near, other, other_size) ...
 *
 * An edit inserts, removes or replaces one code point, or swaps two neighbours, which then are edited no more
 * (Damerau, optimal string alignment). Words are UTF-8 that has been checked; bytes that are not give some
 * distance, or none, and nothing beyond them is read. O(size of the longer), for what is equal at the start
 * is passed at once, and only a few edits are tried where the words differ. Nothing is allocated, and nothing
 * is written after ps_near_init. Source: Damerau, A Technique for Computer Detection and Correction of
 * Spelling Errors, 1964; Ukkonen, Algorithms for Approximate String Matching, 1985 (with few edits only what
 * is near the diagonal counts). */
#ifndef PS_EDIT_DISTANCE_H
#define PS_EDIT_DISTANCE_H

#include <stdint.h>

#define PS_NEAR_BYTES 1020 /* of 255 code points */

typedef struct {
    uint8_t bytes[PS_NEAR_BYTES]; /* the word that others are held against */
    uint32_t size;                /* bytes */
    uint32_t points;              /* code points */
    uint32_t limit;               /* 0, 1 or 2 */
    uint32_t prefix_size;         /* bytes at the start that must be equal */
} ps_near;

/* Of at most PS_NEAR_BYTES. `prefix`: code points at the start that must be equal, all of the word if it has
 * no more. */
void ps_near_init(ps_near *near, const uint8_t *bytes, uint32_t size, uint32_t limit, uint32_t prefix);

/* The distance of a word from it, or UINT32_MAX if it is above the limit or the prefix differs. */
uint32_t ps_near_distance(const ps_near *near, const uint8_t *bytes, uint32_t size);

#endif
