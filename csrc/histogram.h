/* histogram -- counts of values to so many significant digits, over any range: an HdrHistogram.
 *
 * Values are whole numbers from 0 on, by convention nanoseconds. Buckets are log-linear: the first holds
 * 2 * half slots of one unit each, every later one `half` slots, twice as wide as those before; half is the
 * power of two for which a slot is never wider than 10^-digits of the values in it. The unit is the highest
 * power of two that is not above `lowest`. So the slot of a value is found by its leading zeros, two shifts
 * and a sum, and a histogram of 1 ns to one hour with 3 digits has 32 buckets, 33,792 slots in 264 KiB.
 *
 *     slot  = (bucket << log2 half) + (value >> (bucket + unit))
 *     width = 1 << (bucket + unit)
 *
 * Buckets are whole: the last one may reach beyond `highest`, and what fits into it is counted, as in the
 * original. All values of a slot are equivalent; answers are the lowest or the highest of them.
 *
 * One thread at a time may change a histogram. While it does, others may call ps_histogram_snapshot() and
 * nothing else. Only _init allocates; nothing locks.
 *
 * Source: Gil Tene, HdrHistogram 2.1 (Java), the same slots, percentiles, sums and encoding. */
#ifndef PS_HISTOGRAM_H
#define PS_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_HISTOGRAM_MIN_DIGITS 1
#define PS_HISTOGRAM_MAX_DIGITS 5
#define PS_HISTOGRAM_MAX_LENGTH 6160384 /* slots: 47 MiB, 1 to 2^63 - 1 with 5 digits */
#define PS_HISTOGRAM_MAX_PIECE 9        /* bytes that one count takes when it is encoded */

typedef struct {
    int64_t *counts;  /* of `length` slots */
    int64_t total;    /* of all counts, at most INT64_MAX */
    int64_t lowest;   /* the lowest value that is told from 0, >= 1 */
    int64_t highest;  /* the highest value that must fit, >= 2 * lowest */
    int32_t length;   /* slots, at most PS_HISTOGRAM_MAX_LENGTH */
    int32_t first;    /* the lowest slot that counts anything; `length` when none does */
    int32_t last;     /* the highest slot that counts anything; -1 when none does */
    uint8_t digits;   /* significant ones, PS_HISTOGRAM_MIN_DIGITS to PS_HISTOGRAM_MAX_DIGITS */
    uint8_t unit;     /* log2 of the width of the first slots */
    uint8_t half;     /* log2 of the slots of a bucket after the first */
    ps_allocator allocator;
} ps_histogram;

/* Makes one that counts nothing. PS_REFUSED: not 1 <= lowest <= highest / 2, or the digits are out of range,
 * or so many digits of `lowest` do not fit into 62 bits. Neither this nor PS_NO_MEMORY leaves anything to free. */
ps_status ps_histogram_init(ps_histogram *histogram, int64_t lowest, int64_t highest, int digits,
                            ps_allocator allocator);

/* Gives the memory back; one that is all zero, or was freed, has none. */
void ps_histogram_free(ps_histogram *histogram);

/* Forgets all counts. */
void ps_histogram_reset(ps_histogram *histogram);

/* The slot of a value, which must not be below 0; `length` or more when there is no bucket for it. */
static inline int64_t ps_histogram_slot(const ps_histogram *histogram, int64_t value)
{
    unsigned base = histogram->unit + histogram->half + 1u; /* bits of the highest value of the first bucket */
    uint64_t bits = (uint64_t)value | ((UINT64_C(1) << base) - 1);
    unsigned bucket = 64u - (unsigned)__builtin_clzll(bits) - base;
    return ((int64_t)bucket << histogram->half) + (value >> (bucket + histogram->unit));
}

/* log2 of the width of a slot. */
static inline unsigned ps_histogram_width(const ps_histogram *histogram, int64_t slot)
{
    int64_t bucket = (slot >> histogram->half) - 1;
    return histogram->unit + (bucket > 0 ? (unsigned)bucket : 0u);
}

/* The lowest of the equivalent values of a slot. */
static inline int64_t ps_histogram_bottom(const ps_histogram *histogram, int64_t slot)
{
    int64_t bucket = (slot >> histogram->half) - 1;
    if (bucket <= 0) return slot << histogram->unit;
    return (slot - (bucket << histogram->half)) << (bucket + histogram->unit);
}

/* The highest of the equivalent values of a slot. */
static inline int64_t ps_histogram_top(const ps_histogram *histogram, int64_t slot)
{
    return ps_histogram_bottom(histogram, slot) + ((INT64_C(1) << ps_histogram_width(histogram, slot)) - 1);
}

/* The value in the middle of a slot, which stands for it in sums. */
static inline int64_t ps_histogram_middle(const ps_histogram *histogram, int64_t slot)
{
    return ps_histogram_bottom(histogram, slot) + ((INT64_C(1) << ps_histogram_width(histogram, slot)) >> 1);
}

/* The highest value that is counted: the end of the last bucket. */
static inline int64_t ps_histogram_limit(const ps_histogram *histogram)
{
    return ps_histogram_top(histogram, histogram->length - 1);
}

/* Counts a value n times. PS_REFUSED: the value is below 0 or above the limit, n is below 0, or the total
 * would not fit; nothing changed. */
static inline ps_status ps_histogram_record_n(ps_histogram *histogram, int64_t value, int64_t n)
{
    if (value < 0) return PS_REFUSED;
    int64_t slot = ps_histogram_slot(histogram, value);
    if (slot >= histogram->length || n < 0 || n > INT64_MAX - histogram->total) return PS_REFUSED;
    if (n == 0) return PS_OK;
    int64_t *count = &histogram->counts[slot];
    __atomic_store_n(count, *count + n, __ATOMIC_RELAXED); /* a plain store, which a snapshot may see */
    histogram->total += n;
    if (slot < histogram->first) histogram->first = (int32_t)slot;
    if (slot > histogram->last) histogram->last = (int32_t)slot;
    return PS_OK;
}

static inline ps_status ps_histogram_record(ps_histogram *histogram, int64_t value)
{
    return ps_histogram_record_n(histogram, value, 1);
}

/* Counts n values. PS_REFUSED: values[*done] is below 0 or above the limit or, where *done is n, the total would
 * not fit; nothing changed. */
ps_status ps_histogram_record_many(ps_histogram *histogram, const int64_t *values, size_t n, size_t *done);

/* Counts a value n times, and as often each of those that a client which should have asked every `interval`,
 * but waited for this answer, did not ask for: value - interval, value - 2 * interval, ... down to `interval`.
 * An interval of 0 or less corrects nothing. Refuses as record_n does; nothing changed then. O(slots), however
 * many values that makes. */
ps_status ps_histogram_record_corrected(ps_histogram *histogram, int64_t value, int64_t n, int64_t interval);

/* Adds the counts of another, which may have other limits and digits: then by the lowest value of each slot.
 * PS_REFUSED: it counts a value above the limit of this one, or the total would not fit; nothing changed. */
ps_status ps_histogram_merge(ps_histogram *histogram, const ps_histogram *other);

/* Adds the counts of another as record_corrected would have counted them. PS_REFUSED as for merge, but the
 * slots before the one that did not fit are counted. */
ps_status ps_histogram_merge_corrected(ps_histogram *histogram, const ps_histogram *other, int64_t interval);

/* Makes `copy`, which was made with the same limits and digits, count what `histogram` counts, while one other
 * thread may be recording into that: each count is one that was, and the total is theirs. PS_REFUSED: they are
 * not alike; nothing changed. */
ps_status ps_histogram_snapshot(const ps_histogram *histogram, ps_histogram *copy);

/* The highest value equivalent to the one below or at which lie `share` (0 to 1; what is outside counts as the
 * nearest) of all that were counted; for 0, the lowest equivalent to the least. PS_EMPTY: nothing is counted. */
ps_status ps_histogram_percentile(const ps_histogram *histogram, double share, int64_t *value);

/* How many of the counted values are equivalent to one in [0, value], or below. */
int64_t ps_histogram_count_to(const ps_histogram *histogram, int64_t value);

/* The next slot from `slot` on that counts anything; `length` if there is none. */
int64_t ps_histogram_next(const ps_histogram *histogram, int64_t slot);

/* Mean and standard deviation (of the population) of the middles of the slots. PS_EMPTY: nothing is counted. */
ps_status ps_histogram_mean(const ps_histogram *histogram, double *mean);
ps_status ps_histogram_deviation(const ps_histogram *histogram, double *deviation);

/* The counts of slots 0 to `last` as bytes, the payload of encoding V2: each a ZigZag LEB128 number of up to
 * PS_HISTOGRAM_MAX_PIECE bytes; one below 0 stands for as many slots that count nothing. Writes at most
 * PS_HISTOGRAM_MAX_PIECE * (last + 1) bytes, those of ps_histogram_encoded_size(). */
size_t ps_histogram_encoded_size(const ps_histogram *histogram);
void ps_histogram_encode(const ps_histogram *histogram, uint8_t *bytes);

/* Adds the counts of such bytes. PS_REFUSED: they end within a number, go beyond the last slot, or the total
 * would not fit; the histogram then counts nothing. */
ps_status ps_histogram_decode(ps_histogram *histogram, const uint8_t *bytes, size_t size);

/* Whether every rule above holds. O(slots), for tests. */
bool ps_histogram_check(const ps_histogram *histogram);

#endif
