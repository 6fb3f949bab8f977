#include "histogram.h"

#include <math.h>
#include <string.h>

#define GROUP 64 /* counts that are summed before anyone asks where among them the rank lies */

/* ---- what it is made of */

static unsigned bits_for(int64_t slots)
{
    unsigned bits = 0;
    while ((INT64_C(1) << bits) < slots) bits++;
    return bits;
}

/* How many buckets reach up to `highest`, the first of which has `base` bits. */
static int32_t buckets_for(int64_t highest, unsigned base)
{
    int32_t buckets = 1;
    while (base < 63 && highest >> base > 0) {
        buckets++;
        base++;
    }
    return buckets;
}

ps_status ps_histogram_init(ps_histogram *histogram, int64_t lowest, int64_t highest, int digits,
                            ps_allocator allocator)
{
    *histogram = (ps_histogram){0};
    if (lowest < 1 || highest / 2 < lowest) return PS_REFUSED;
    if (digits < PS_HISTOGRAM_MIN_DIGITS || digits > PS_HISTOGRAM_MAX_DIGITS) return PS_REFUSED;
    int64_t exact = 2; /* values up to here are told apart by one */
    for (int i = 0; i < digits; i++) exact *= 10;
    unsigned unit = 63u - (unsigned)__builtin_clzll((uint64_t)lowest), bits = bits_for(exact);
    if (unit + bits > 62) return PS_REFUSED;

    int32_t length = (buckets_for(highest, unit + bits) + 1) << (bits - 1);
    int64_t *counts = allocator.resize(NULL, (size_t)length * sizeof *counts);
    if (counts == NULL) return PS_NO_MEMORY;
    *histogram = (ps_histogram){
        .counts = counts,
        .lowest = lowest,
        .highest = highest,
        .length = length,
        .digits = (uint8_t)digits,
        .unit = (uint8_t)unit,
        .half = (uint8_t)(bits - 1),
        .allocator = allocator,
    };
    ps_histogram_reset(histogram);
    return PS_OK;
}

void ps_histogram_free(ps_histogram *histogram)
{
    if (histogram->counts != NULL) histogram->allocator.release(histogram->counts);
    *histogram = (ps_histogram){0};
}

void ps_histogram_reset(ps_histogram *histogram)
{
    memset(histogram->counts, 0, (size_t)histogram->length * sizeof *histogram->counts);
    histogram->total = 0;
    histogram->first = histogram->length;
    histogram->last = -1;
}

/* ---- counting */

/* The place of the first value that has no slot, n if there is none. */
static size_t first_outside(const ps_histogram *histogram, const int64_t *values, size_t n)
{
    int64_t limit = ps_histogram_limit(histogram);
    for (size_t i = 0; i < n; i++)
        if (values[i] < 0 || values[i] > limit) return i;
    return n;
}

ps_status ps_histogram_record_many(ps_histogram *histogram, const int64_t *values, size_t n, size_t *done)
{
    *done = first_outside(histogram, values, n);
    if (*done < n || n > (uint64_t)(INT64_MAX - histogram->total)) return PS_REFUSED;
    for (size_t i = 0; i < n; i++) ps_histogram_record(histogram, values[i]);
    return PS_OK;
}

ps_status ps_histogram_record_corrected(ps_histogram *histogram, int64_t value, int64_t n, int64_t interval)
{
    int64_t times = interval > 0 && value > interval ? value / interval : 1; /* the value and those that miss */
    int64_t left = INT64_MAX - histogram->total;
    if (n < 0 || n > left / times) return PS_REFUSED;
    if (ps_histogram_record_n(histogram, value, n) != PS_OK) return PS_REFUSED;
    for (times--; times > 0;) {
        value -= interval; /* the highest that is not counted yet, with all others of its slot */
        int64_t bottom = ps_histogram_bottom(histogram, ps_histogram_slot(histogram, value));
        int64_t same = (value - bottom) / interval + 1;
        if (same > times) same = times;
        ps_histogram_record_n(histogram, value, same * n);
        value -= (same - 1) * interval;
        times -= same;
    }
    return PS_OK;
}

static bool are_alike(const ps_histogram *histogram, const ps_histogram *other)
{
    return histogram->length == other->length && histogram->unit == other->unit
        && histogram->half == other->half;
}

static bool has_room(const ps_histogram *histogram, const ps_histogram *other)
{
    return other->total <= INT64_MAX - histogram->total
        && (other->last < 0 || ps_histogram_top(other, other->last) <= ps_histogram_limit(histogram));
}

static void add_counts(ps_histogram *histogram, const ps_histogram *other)
{
    int64_t added = other->total;
    for (int32_t slot = other->first; slot <= other->last; slot++)
        __atomic_store_n(&histogram->counts[slot], histogram->counts[slot] + other->counts[slot],
                         __ATOMIC_RELAXED);
    histogram->total += added;
    if (other->first < histogram->first) histogram->first = other->first;
    if (other->last > histogram->last) histogram->last = other->last;
}

ps_status ps_histogram_merge(ps_histogram *histogram, const ps_histogram *other)
{
    if (!has_room(histogram, other)) return PS_REFUSED;
    if (are_alike(histogram, other)) {
        add_counts(histogram, other);
        return PS_OK;
    }
    for (int64_t slot = ps_histogram_next(other, 0); slot < other->length; slot = ps_histogram_next(other, slot + 1))
        ps_histogram_record_n(histogram, ps_histogram_bottom(other, slot), other->counts[slot]);
    return PS_OK;
}

ps_status ps_histogram_merge_corrected(ps_histogram *histogram, const ps_histogram *other, int64_t interval)
{
    if (!has_room(histogram, other)) return PS_REFUSED;
    for (int64_t slot = ps_histogram_next(other, 0); slot < other->length; slot = ps_histogram_next(other, slot + 1)) {
        int64_t value = ps_histogram_bottom(other, slot);
        ps_status status = ps_histogram_record_corrected(histogram, value, other->counts[slot], interval);
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

ps_status ps_histogram_snapshot(const ps_histogram *histogram, ps_histogram *copy)
{
    if (!are_alike(histogram, copy)) return PS_REFUSED;
    copy->total = 0;
    copy->first = copy->length;
    copy->last = -1;
    for (int32_t slot = 0; slot < copy->length; slot++) {
        int64_t count = __atomic_load_n(&histogram->counts[slot], __ATOMIC_RELAXED);
        copy->counts[slot] = count;
        copy->total += count;
        if (count == 0) continue;
        if (copy->last < 0) copy->first = slot;
        copy->last = slot;
    }
    return PS_OK;
}

/* ---- asking */

/* Which of the counted values, the least being 1, has `share` of all below it or at it. The next lower share
 * is taken: 0.07 is a little more than seven hundredths, and the seventh of a hundred must not become the
 * eighth by that. */
static int64_t rank_of(int64_t total, double share)
{
    if (!(share > 0)) return 1;
    if (share >= 1) return total;
    double rank = ceil(nextafter(share, -1.0) * (double)total);
    if (rank < 1) return 1;
    return rank < (double)total ? (int64_t)rank : total;
}

ps_status ps_histogram_percentile(const ps_histogram *histogram, double share, int64_t *value)
{
    if (histogram->total == 0) return PS_EMPTY;
    int64_t rank = rank_of(histogram->total, share);
    int64_t slot = histogram->first, before = 0;
    for (; slot + GROUP <= histogram->last; slot += GROUP) {
        int64_t sum = 0;
        for (int64_t i = slot; i < slot + GROUP; i++) sum += histogram->counts[i];
        if (before + sum >= rank) break;
        before += sum;
    }
    while (slot < histogram->last && (before += histogram->counts[slot]) < rank) slot++;
    *value = share > 0 ? ps_histogram_top(histogram, slot) : ps_histogram_bottom(histogram, slot);
    return PS_OK;
}

int64_t ps_histogram_count_to(const ps_histogram *histogram, int64_t value)
{
    if (value < 0) return 0;
    int64_t end = ps_histogram_slot(histogram, value), sum = 0;
    if (end > histogram->last) return histogram->total;
    for (int64_t slot = histogram->first; slot <= end; slot++) sum += histogram->counts[slot];
    return sum;
}

int64_t ps_histogram_next(const ps_histogram *histogram, int64_t slot)
{
    if (slot < histogram->first) return histogram->first;
    for (; slot <= histogram->last; slot++)
        if (histogram->counts[slot] != 0) return slot;
    return histogram->length;
}

ps_status ps_histogram_mean(const ps_histogram *histogram, double *mean)
{
    if (histogram->total == 0) return PS_EMPTY;
    __int128 sum = 0; /* exact: fewer than 2^63 values below 2^63 */
    for (int64_t slot = histogram->first; slot <= histogram->last; slot++)
        sum += (__int128)ps_histogram_middle(histogram, slot) * histogram->counts[slot];
    *mean = (double)sum / (double)histogram->total;
    return PS_OK;
}

ps_status ps_histogram_deviation(const ps_histogram *histogram, double *deviation)
{
    double mean, sum = 0;
    if (ps_histogram_mean(histogram, &mean) != PS_OK) return PS_EMPTY;
    for (int64_t slot = histogram->first; slot <= histogram->last; slot++) {
        if (histogram->counts[slot] == 0) continue;
        double away = (double)ps_histogram_middle(histogram, slot) - mean;
        double square = away * away; /* one operation a line: the twins agree to the last bit */
        double weighed = square * (double)histogram->counts[slot];
        sum += weighed;
    }
    *deviation = sqrt(sum / (double)histogram->total);
    return PS_OK;
}

/* ---- encoding V2 */

static uint64_t zigzag(int64_t number) { return ((uint64_t)number << 1) ^ (uint64_t)(number >> 63); }

static int64_t unzigzag(uint64_t code) { return (int64_t)(code >> 1) ^ -(int64_t)(code & 1); }

/* Seven bits a byte, the lowest first; the ninth has eight. Without `bytes` it only says how many there are. */
static size_t put(uint8_t *bytes, uint64_t code)
{
    size_t size = 1;
    for (; code > 0x7f && size < PS_HISTOGRAM_MAX_PIECE; code >>= 7, size++)
        if (bytes != NULL) *bytes++ = (uint8_t)(code | 0x80);
    if (bytes != NULL) *bytes = (uint8_t)code;
    return size;
}

/* The bytes read, 0 when the number does not end within `size` of them. */
static size_t take(const uint8_t *bytes, size_t size, uint64_t *code)
{
    *code = 0;
    for (size_t i = 0; i < size; i++) {
        bool whole = i + 1 == PS_HISTOGRAM_MAX_PIECE;
        *code |= (uint64_t)(whole ? bytes[i] : bytes[i] & 0x7f) << (7 * i);
        if (whole || bytes[i] < 0x80) return i + 1;
    }
    return 0;
}

static size_t put_counts(const ps_histogram *histogram, uint8_t *bytes)
{
    size_t size = 0;
    if (histogram->last < 0) return put(bytes, 0); /* as the original: there always is slot 0 */
    for (int64_t slot = 0; slot <= histogram->last;) {
        int64_t next = ps_histogram_next(histogram, slot);
        int64_t number = next > slot ? slot - next : histogram->counts[slot];
        if (number == -1) number = 0; /* as the original: a single slot is its count, even of nothing */
        size += put(bytes == NULL ? NULL : bytes + size, zigzag(number));
        slot = next > slot ? next : slot + 1;
    }
    return size;
}

size_t ps_histogram_encoded_size(const ps_histogram *histogram) { return put_counts(histogram, NULL); }

void ps_histogram_encode(const ps_histogram *histogram, uint8_t *bytes) { put_counts(histogram, bytes); }

/* One number from `*slot` on, which moves behind what it stands for. */
static bool decode_number(ps_histogram *histogram, int64_t number, int64_t *slot)
{
    int64_t room = histogram->length - *slot;
    if (number < 0) {
        if (number < -room) return false;
        *slot -= number;
        return true;
    }
    if (room < 1) return false;
    return ps_histogram_record_n(histogram, ps_histogram_bottom(histogram, (*slot)++), number) == PS_OK;
}

ps_status ps_histogram_decode(ps_histogram *histogram, const uint8_t *bytes, size_t size)
{
    int64_t slot = 0;
    for (size_t at = 0; at < size;) {
        uint64_t code;
        size_t taken = take(bytes + at, size - at, &code);
        if (taken == 0 || !decode_number(histogram, unzigzag(code), &slot)) {
            ps_histogram_reset(histogram);
            return PS_REFUSED;
        }
        at += taken;
    }
    return PS_OK;
}

/* ---- invariants */

bool ps_histogram_check(const ps_histogram *histogram)
{
    if (histogram->length < 1 || histogram->length > PS_HISTOGRAM_MAX_LENGTH) return false;
    if (histogram->highest > ps_histogram_limit(histogram)) return false;
    int64_t total = 0, first = histogram->length, last = -1;
    for (int64_t slot = 0; slot < histogram->length; slot++) {
        if (ps_histogram_slot(histogram, ps_histogram_bottom(histogram, slot)) != slot) return false;
        if (ps_histogram_slot(histogram, ps_histogram_top(histogram, slot)) != slot) return false;
        if (histogram->counts[slot] < 0 || histogram->counts[slot] > INT64_MAX - total) return false;
        total += histogram->counts[slot];
        if (histogram->counts[slot] == 0) continue;
        if (last < 0) first = slot;
        last = slot;
    }
    return total == histogram->total && first == histogram->first && last == histogram->last;
}
