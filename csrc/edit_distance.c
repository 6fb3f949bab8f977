#include "edit_distance.h"

#include <stdbool.h>
#include <string.h>

enum { TOO_FAR = 3 };

typedef struct {
    const uint8_t *bytes;
    uint32_t size, points;
} rest; /* of a word */

static inline bool goes_on(uint8_t byte) { return (byte & 0xc0) == 0x80; }

static uint32_t points_of(const uint8_t *bytes, uint32_t size)
{
    uint32_t points = 0;
    for (uint32_t i = 0; i < size; i++) points += !goes_on(bytes[i]);
    return points;
}

/* Bytes of the code point that begins there; of what is no UTF-8, never more than there are. */
static inline uint32_t step_of(rest word)
{
    uint8_t lead = word.bytes[0];
    uint32_t step = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return step < word.size ? step : word.size;
}

static inline rest without(rest word, uint32_t size, uint32_t points)
{
    return (rest){word.bytes + size, word.size - size, word.points - points};
}

static inline rest behind_point(rest word) { return without(word, step_of(word), 1); }

static inline bool are_one_point(rest word) { return word.size > 0 && step_of(word) == word.size; }

static inline bool are_equal(rest a, rest b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

/* Passes what both begin with. */
static inline void pass_equal(rest *a, rest *b)
{
    uint32_t least = a->size < b->size ? a->size : b->size, same = 0;
    while (same < least && a->bytes[same] == b->bytes[same]) same++;
    if (same < least) /* back to where the code points begin that differ */
        while (same > 0 && (goes_on(a->bytes[same]) || goes_on(b->bytes[same]))) same--;
    uint32_t points = points_of(a->bytes, same);
    *a = without(*a, same, points);
    *b = without(*b, same, points);
}

/* Behind the first two code points of both, if they are the same two the other way round. */
static inline bool swapped(rest *a, rest *b)
{
    if (a->points < 2 || b->points < 2) return false;
    uint32_t first = step_of(*a), second = step_of(*b);
    if (a->size < first + second || b->size < first + second) return false;
    if (memcmp(a->bytes, b->bytes + second, first) != 0 || memcmp(a->bytes + first, b->bytes, second) != 0)
        return false;
    *a = without(*a, first + second, 2);
    *b = without(*b, first + second, 2);
    return true;
}

static inline uint32_t difference(rest a, rest b)
{
    return a.points > b.points ? a.points - b.points : b.points - a.points;
}

/* Their distance, 0 or 1, or TOO_FAR. */
static uint32_t within_one(rest a, rest b)
{
    if (difference(a, b) > 1) return TOO_FAR;
    pass_equal(&a, &b);
    if (a.size == 0 || b.size == 0)
        return a.size == b.size ? 0 : are_one_point(a) || are_one_point(b) ? 1 : TOO_FAR;
    if (a.points > b.points) return are_equal(behind_point(a), b) ? 1 : TOO_FAR;
    if (b.points > a.points) return are_equal(a, behind_point(b)) ? 1 : TOO_FAR;
    if (are_equal(behind_point(a), behind_point(b))) return 1;
    return swapped(&a, &b) && are_equal(a, b) ? 1 : TOO_FAR;
}

static inline uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Their distance up to 2, or TOO_FAR: where they differ first, one edit is made, whichever leaves the least.
 */
static uint32_t within_two(rest a, rest b)
{
    if (difference(a, b) > 2) return TOO_FAR;
    pass_equal(&a, &b);
    if (a.size == 0 || b.size == 0) return lesser(a.points + b.points, TOO_FAR);
    uint32_t least = TOO_FAR; /* of what is left */
    rest next_a = behind_point(a), next_b = behind_point(b);
    if (a.points >= b.points) least = lesser(least, within_one(next_a, b));
    if (least > 0 && b.points >= a.points) least = lesser(least, within_one(a, next_b));
    if (least > 0) least = lesser(least, within_one(next_a, next_b));
    if (least > 0 && swapped(&a, &b)) least = lesser(least, within_one(a, b));
    return least < TOO_FAR ? 1 + least : TOO_FAR;
}

void ps_near_init(ps_near *near, const uint8_t *bytes, uint32_t size, uint32_t limit, uint32_t prefix)
{
    near->size = size < PS_NEAR_BYTES ? size : PS_NEAR_BYTES;
    if (near->size > 0) memcpy(near->bytes, bytes, near->size);
    near->points = points_of(near->bytes, near->size);
    near->limit = limit;
    rest word = {near->bytes, near->size, near->points};
    for (; prefix > 0 && word.size > 0; prefix--) word = behind_point(word);
    near->prefix_size = near->size - word.size;
}

uint32_t ps_near_distance(const ps_near *near, const uint8_t *bytes, uint32_t size)
{
    uint32_t prefix = near->prefix_size;
    if (size < prefix || size > PS_NEAR_BYTES + 8 || size + near->limit < near->points) return UINT32_MAX;
    if (memcmp(near->bytes, bytes, prefix) != 0) return UINT32_MAX;
    rest a = {near->bytes, near->size, near->points}, b = {bytes, size, points_of(bytes, size)};
    uint32_t found;
    if (near->limit == 0)
        found = are_equal(a, b) ? 0 : TOO_FAR;
    else
        found = near->limit == 1 ? within_one(a, b) : within_two(a, b);
    return found == TOO_FAR ? UINT32_MAX : found;
}
