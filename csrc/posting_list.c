#include "posting_list.h"

#include <string.h>

#include "bytes.h"

#if defined(__SSE2__) && !defined(PS_NO_SIMD)
#include <emmintrin.h>
#define HAS_LANES 1
#else
#define HAS_LANES 0
#endif

enum {
    LANES = 4,
    STEPS = PS_BLOCK / LANES, /* values in a lane */
    SAFE_BITS = 24,           /* of gaps: 128 of them and what they come after cannot pass 2^32 unseen */
};

static inline uint32_t low_bits(unsigned bits) { return bits == 32 ? UINT32_MAX : (UINT32_C(1) << bits) - 1; }

static inline unsigned bits_of(uint32_t value)
{
    return value == 0 ? 0 : 32 - (unsigned)__builtin_clz(value);
}

/* ---- full blocks: four lanes ---- */

#if HAS_LANES
#define CONSTANT_WIDTH static inline __attribute__((always_inline))

/* The next four values of `bits` bits. What depends on step and bits alone is known when this is compiled. */
CONSTANT_WIDTH __m128i lanes_value(const __m128i *words, unsigned bits, unsigned step)
{
    unsigned at = step * bits / 32, shift = step * bits % 32;
    __m128i value = _mm_srli_epi32(_mm_loadu_si128(words + at), (int)shift);
    if (shift + bits > 32)
        value = _mm_or_si128(value, _mm_slli_epi32(_mm_loadu_si128(words + at + 1), (int)(32 - shift)));
    return shift + bits == 32 ? value : _mm_and_si128(value, _mm_set1_epi32((int)low_bits(bits)));
}

CONSTANT_WIDTH void lanes_unpack_gaps(const uint8_t *in, unsigned bits, uint32_t before, uint32_t *docs)
{
    const __m128i *words = (const __m128i *)(const void *)in, one = _mm_set1_epi32(1);
    __m128i carry = _mm_set1_epi32((int)before);
#pragma GCC unroll 32
    for (unsigned step = 0; step < STEPS; step++) {
        __m128i sum = bits ? _mm_add_epi32(lanes_value(words, bits, step), one) : one;
        sum = _mm_add_epi32(sum, _mm_slli_si128(sum, 4));
        sum = _mm_add_epi32(sum, _mm_slli_si128(sum, 8));
        _mm_store_si128((__m128i *)(void *)(docs + LANES * step), _mm_add_epi32(sum, carry));
        carry = _mm_add_epi32(carry, _mm_shuffle_epi32(sum, 0xff));
    }
}

CONSTANT_WIDTH void lanes_unpack_freqs(const uint8_t *in, unsigned bits, uint32_t *freqs)
{
    const __m128i *words = (const __m128i *)(const void *)in, one = _mm_set1_epi32(1);
#pragma GCC unroll 32
    for (unsigned step = 0; step < STEPS; step++) {
        __m128i freq = bits ? _mm_add_epi32(lanes_value(words, bits, step), one) : one;
        _mm_store_si128((__m128i *)(void *)(freqs + LANES * step), freq);
    }
}

CONSTANT_WIDTH void lanes_pack(const uint32_t *values, unsigned bits, uint8_t *out)
{
    const __m128i *from = (const __m128i *)(const void *)values;
    __m128i *to = (__m128i *)(void *)out, word = _mm_setzero_si128();
#pragma GCC unroll 32
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned shift = step * bits % 32;
        __m128i value = _mm_loadu_si128(from + step);
        word = shift ? _mm_or_si128(word, _mm_slli_epi32(value, (int)shift)) : value;
        if (shift + bits < 32) continue;
        _mm_storeu_si128(to++, word);
        word = _mm_srli_epi32(value, (int)(32 - shift));
    }
}

#define SMALL_WIDTHS(CASE) \
    CASE(0) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10)

#define EACH_WIDTH(CASE) \
    CASE(0) \
    CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) \
        CASE(13) CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) CASE(23) \
            CASE(24) CASE(25) CASE(26) CASE(27) CASE(28) CASE(29) CASE(30) CASE(31) CASE(32)

static void unpack_full_gaps(const uint8_t *in, unsigned bits, uint32_t before, uint32_t *docs)
{
    switch (bits) {
#define CASE(width) \
    case width: \
        lanes_unpack_gaps(in, width, before, docs); \
        break;
        EACH_WIDTH(CASE)
#undef CASE
    }
}

static void unpack_full_freqs(const uint8_t *in, unsigned bits, uint32_t *freqs)
{
    switch (bits) {
#define CASE(width) \
    case width: \
        lanes_unpack_freqs(in, width, freqs); \
        break;
        SMALL_WIDTHS(CASE)
#undef CASE
    default:
        lanes_unpack_freqs(in, bits, freqs); /* seldom */
    }
}

static void pack_full(const uint32_t *values, unsigned bits, uint8_t *out)
{
    switch (bits) {
#define CASE(width) \
    case width: \
        if (width) lanes_pack(values, width, out); \
        break;
        SMALL_WIDTHS(CASE)
#undef CASE
    default:
        lanes_pack(values, bits, out);
    }
}
#else
static inline uint32_t lane_value(const uint8_t *in, unsigned bits, unsigned i)
{
    unsigned lane = i % LANES, at = i / LANES * bits / 32, shift = i / LANES * bits % 32;
    uint64_t word = ps_read_little32(in + 4 * (LANES * at + lane));
    if (shift + bits > 32) word |= (uint64_t)ps_read_little32(in + 4 * (LANES * (at + 1) + lane)) << 32;
    return (uint32_t)(word >> shift) & low_bits(bits);
}

static void unpack_full_gaps(const uint8_t *in, unsigned bits, uint32_t before, uint32_t *docs)
{
    for (unsigned i = 0; i < PS_BLOCK; i++) docs[i] = before += (bits ? lane_value(in, bits, i) : 0) + 1;
}

static void unpack_full_freqs(const uint8_t *in, unsigned bits, uint32_t *freqs)
{
    for (unsigned i = 0; i < PS_BLOCK; i++) freqs[i] = (bits ? lane_value(in, bits, i) : 0) + 1;
}

static void pack_full(const uint32_t *values, unsigned bits, uint8_t *out)
{
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t word = 0;
        unsigned filled = 0;
        uint8_t *to = out + 4 * lane;
        for (unsigned step = 0; step < STEPS; step++) {
            word |= (uint64_t)values[LANES * step + lane] << filled;
            filled += bits;
            if (filled < 32) continue;
            ps_write_little32(to, (uint32_t)word);
            to += 4 * LANES;
            word >>= 32;
            filled -= 32;
        }
    }
}
#endif

/* ---- other blocks: one value behind the other ---- */

static inline size_t loose_bytes(uint32_t n, unsigned bits) { return ((size_t)n * bits + 7) / 8; }

/* Reads up to 8 bytes more than there are. */
static inline uint32_t loose_value(const uint8_t *in, unsigned bits, uint32_t i)
{
    size_t at = (size_t)i * bits;
    return (uint32_t)(ps_read_little64(in + at / 8) >> at % 8) & low_bits(bits);
}

static void unpack_loose_gaps(const uint8_t *in, unsigned bits, uint32_t n, uint32_t before, uint32_t *docs)
{
    for (uint32_t i = 0; i < n; i++) docs[i] = before += loose_value(in, bits, i) + 1;
}

static void unpack_loose_freqs(const uint8_t *in, unsigned bits, uint32_t n, uint32_t *freqs)
{
    for (uint32_t i = 0; i < n; i++) freqs[i] = loose_value(in, bits, i) + 1;
}

/* Writes up to 7 bytes more than it returns. */
static size_t pack_loose(const uint32_t *values, unsigned bits, uint32_t n, uint8_t *out)
{
    uint64_t word = 0;
    unsigned filled = 0;
    uint8_t *to = out;
    for (uint32_t i = 0; i < n; i++) {
        word |= (uint64_t)values[i] << filled;
        filled += bits;
        if (filled < 32) continue;
        ps_write_little32(to, (uint32_t)word);
        to += 4;
        word >>= 32;
        filled -= 32;
    }
    ps_write_little64(to, word);
    return loose_bytes(n, bits);
}

/* ---- packing a block ---- */

static size_t values_bytes(uint32_t n, unsigned bits)
{
    return n == PS_BLOCK ? (size_t)16 * bits : loose_bytes(n, bits);
}

static size_t pack_values(const uint32_t *values, unsigned bits, uint32_t n, uint8_t *out)
{
    if (n < PS_BLOCK) return pack_loose(values, bits, n, out);
    pack_full(values, bits, out);
    return values_bytes(n, bits);
}

size_t ps_block_pack(const uint32_t *docs, const uint32_t *freqs, uint32_t n, int64_t before, uint8_t *out)
{
    _Alignas(16) uint32_t gaps[PS_BLOCK], counts[PS_BLOCK];
    uint32_t any_gap = gaps[0] = (uint32_t)(docs[0] - before - 1), any_count = 0;
    for (uint32_t i = 1; i < n; i++) any_gap |= gaps[i] = docs[i] - docs[i - 1] - 1;
    for (uint32_t i = 0; i < n; i++) any_count |= counts[i] = freqs[i] - 1;
    unsigned gap_bits = bits_of(any_gap), count_bits = bits_of(any_count);
    out[0] = (uint8_t)gap_bits;
    out[1] = (uint8_t)count_bits;
    size_t size = 2;
    size += pack_values(gaps, gap_bits, n, out + size);
    size += pack_values(counts, count_bits, n, out + size);
    return size;
}

/* ---- peaks ---- */

enum {
    PLAIN_FREQS = 16,               /* frequencies below have a class each, */
    CLASSES = PLAIN_FREQS + 32 - 4, /* the others one for each power of two */
    PEAK_MOST = UINT16_MAX,
};

typedef struct {
    uint32_t freq, length; /* the greatest and the least of a class */
} extreme;

/* How much a posting is worth, roughly: what is of like worth is put together when there are too many peaks.
 */
static inline float rough_worth(uint32_t freq, uint32_t length, float average)
{
    return (float)freq / ((float)freq + 0.3f + 0.9f * (float)length / average);
}

/* Of n extremes by falling frequency and falling length, puts neighbours together until PS_PEAKS are left:
 * those that are worth least when put together. */
static unsigned join_peaks(extreme *front, unsigned n)
{
    float average = (float)front[0].length + 1.0f;
    for (; n > PS_PEAKS; n--) {
        unsigned best = 0;
        float least = 2.0f;
        for (unsigned i = 0; i + 1 < n; i++) {
            float worth = rough_worth(front[i].freq, front[i + 1].length, average);
            if (worth < least) least = worth, best = i;
        }
        front[best].length = front[best + 1].length;
        memmove(front + best + 1, front + best + 2, (n - best - 2) * sizeof *front);
    }
    return n;
}

/* The shortest document, without guesses at what is shorter: few postings are many mistaken guesses. */
static uint32_t shortest_of(const uint32_t *docs, uint32_t n, const uint32_t *lengths)
{
    uint32_t shortest = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = lengths[docs[i]];
        shortest = length < shortest ? length : shortest;
    }
    return shortest;
}

/* Of each frequency below PLAIN_FREQS the shortest document, the greatest frequency first. */
static unsigned plain_extremes(const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                               const uint32_t *lengths, extreme *front)
{
    uint32_t shortest[PLAIN_FREQS];
    uint32_t seen = 0; /* a bit for each frequency */
    memset(shortest, 0xff, sizeof shortest);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t freq = freqs[i], length = lengths[docs[i]];
        seen |= 1u << freq;
        if (length < shortest[freq]) shortest[freq] = length; /* seldom, so no write is waited for */
    }
    unsigned found = 0;
    for (; seen != 0; seen ^= 1u << front[found - 1].freq) {
        unsigned freq = bits_of(seen) - 1;
        front[found++] = (extreme){freq, shortest[freq]};
    }
    return found;
}

static unsigned all_extremes(const uint32_t *docs, const uint32_t *freqs, uint32_t n, const uint32_t *lengths,
                             extreme *front)
{
    extreme classes[CLASSES];
    for (unsigned i = 0; i < CLASSES; i++) classes[i] = (extreme){0, UINT32_MAX};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t freq = freqs[i], length = lengths[docs[i]];
        extreme *class = &classes[freq < PLAIN_FREQS ? freq : PLAIN_FREQS + bits_of(freq) - 5];
        if (freq > class->freq) class->freq = freq;
        if (length < class->length) class->length = length;
    }
    unsigned found = 0;
    for (unsigned i = CLASSES; i-- > 1;)
        if (classes[i].freq > 0) front[found++] = classes[i];
    return found;
}

/* Leaves only what is not bounded by another one. */
static unsigned leave_front(extreme *front, unsigned n)
{
    unsigned left = 0;
    for (unsigned i = 0; i < n; i++)
        if (left == 0 || front[i].length < front[left - 1].length) front[left++] = front[i];
    return left;
}

void ps_block_peaks(const uint32_t *docs, const uint32_t *freqs, uint32_t n, const uint32_t *lengths,
                    ps_peak peaks[PS_PEAKS])
{
    extreme front[CLASSES];
    uint32_t any = 0;
    for (uint32_t i = 0; i < n; i++) any |= freqs[i];
    unsigned found = 1;
    if (any == 1)
        front[0] = (extreme){1, shortest_of(docs, n, lengths)};
    else if (any < PLAIN_FREQS)
        found = plain_extremes(docs, freqs, n, lengths, front);
    else
        found = all_extremes(docs, freqs, n, lengths, front);
    found = join_peaks(front, leave_front(front, found));
    memset(peaks, 0, PS_PEAKS * sizeof *peaks);
    for (unsigned i = 0; i < found; i++) {
        peaks[i].freq = (uint16_t)(front[i].freq < PEAK_MOST ? front[i].freq : PEAK_MOST);
        peaks[i].length = (uint16_t)(front[i].length < PEAK_MOST ? front[i].length : PEAK_MOST);
    }
}

/* ---- a list without heads ---- */

bool ps_postings_look(ps_postings *list)
{
    const uint8_t *block = list->packed;
    uint32_t n = list->count;
    if (list->packed_size < 2 || block[0] > 32 || block[1] > 31) return false;
    unsigned doc_bits = block[0], freq_bits = block[1];
    if (list->packed_size - 2 < loose_bytes(n, doc_bits) + loose_bytes(n, freq_bits)) return false;
    uint64_t behind = 0; /* the last document */
    for (uint32_t i = 0; i < n; i++) behind += (uint64_t)loose_value(block + 2, doc_bits, i) + 1;
    if (behind > list->docs) return false;
    uint16_t most = (uint16_t)(freq_bits < 16 ? 1u << freq_bits : (unsigned)PEAK_MOST);
    list->only = (ps_block_head){.last = (uint32_t)behind - 1, .offset = 0, .peaks = {{most, 1}}};
    return true;
}

/* ---- reading: where the cursor is ---- */

static void stand_at_end(ps_cursor *cursor)
{
    cursor->n = 0;
    cursor->last = PS_NO_DOC;
    cursor->block = cursor->list->blocks + 1;
}

static void break_off(ps_cursor *cursor)
{
    cursor->broken = true;
    stand_at_end(cursor);
}

static void stand_at(ps_cursor *cursor, uint32_t block)
{
    const ps_postings *list = cursor->list;
    cursor->block = block;
    cursor->docs_ready = cursor->freqs_ready = false;
    cursor->place = NULL;
    if (block < list->blocks) {
        bool full = block + 1 < list->blocks || list->rest > 0;
        cursor->n = full ? PS_BLOCK : list->count - PS_BLOCK * block;
        cursor->last = ps_postings_heads(list)[block].last;
    } else if (block == list->blocks && list->rest > 0) {
        cursor->n = list->rest;
        cursor->last = list->rest_docs[list->rest - 1];
    } else {
        stand_at_end(cursor);
    }
}

void ps_cursor_stand(ps_cursor *cursor, const ps_postings *list, uint32_t block)
{
    cursor->list = list;
    cursor->broken = false;
    stand_at(cursor, block);
}

void ps_cursor_open(ps_cursor *cursor, const ps_postings *list) { ps_cursor_stand(cursor, list, 0); }

void ps_cursor_begin(ps_cursor *cursor, const ps_postings *list)
{
    ps_cursor_open(cursor, list);
    ps_cursor_docs(cursor);
}

void ps_cursor_next(ps_cursor *cursor)
{
    if (cursor->n == 0) return;
    stand_at(cursor, cursor->block + 1);
    ps_cursor_docs(cursor);
}

void ps_cursor_shallow(ps_cursor *cursor, uint32_t doc)
{
    if (cursor->last >= doc) return;
    const ps_block_head *heads = ps_postings_heads(cursor->list);
    uint32_t blocks = cursor->list->blocks, low = cursor->block + 1, high = low;
    for (uint32_t step = 1; high < blocks && heads[high].last < doc; step *= 2) {
        low = high + 1;
        high += step;
    }
    if (high > blocks) high = blocks;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (heads[middle].last < doc)
            low = middle + 1;
        else
            high = middle;
    }
    stand_at(cursor, low);
    if (cursor->last < doc) stand_at_end(cursor); /* it was the rest */
}

const ps_peak *ps_cursor_peaks(const ps_cursor *cursor)
{
    const ps_postings *list = cursor->list;
    return cursor->block < list->blocks ? ps_postings_heads(list)[cursor->block].peaks : list->rest_peaks;
}

/* ---- reading: unpacking ---- */

/* Where the block's values lie and how many bits they have, if that is possible at all. `gaps` may be NULL.
 */
static bool find_values(ps_cursor *cursor, const uint8_t **gaps)
{
    const ps_postings *list = cursor->list;
    uint32_t n = cursor->n, offset = ps_postings_heads(list)[cursor->block].offset;
    if (offset > list->packed_size || list->packed_size - offset < 2) return false;
    const uint8_t *block = list->packed + offset;
    unsigned doc_bits = block[0], freq_bits = block[1];
    if (doc_bits > 32 || freq_bits > 31) return false;
    size_t doc_bytes = values_bytes(n, doc_bits), freq_bytes = values_bytes(n, freq_bits);
    if (list->packed_size - offset - 2 < doc_bytes + freq_bytes) return false;
    cursor->doc_bits = (uint8_t)doc_bits;
    cursor->freq_bits = (uint8_t)freq_bits;
    cursor->packed_freqs = block + 2 + doc_bytes;
    if (gaps != NULL) *gaps = block + 2;
    return true;
}

static bool ascend(const uint32_t *docs, uint32_t n)
{
    bool all = true;
    for (uint32_t i = 1; i < n; i++) all &= docs[i - 1] < docs[i];
    return all;
}

static bool unpack_docs(ps_cursor *cursor)
{
    const ps_postings *list = cursor->list;
    uint32_t n = cursor->n, last = cursor->last, block = cursor->block, *docs = cursor->docs;
    uint32_t first =
        block > 0 ? ps_postings_heads(list)[block - 1].last + 1 : 0; /* the least that may come */
    const uint8_t *gaps;
    if (last < first || last >= list->docs || !find_values(cursor, &gaps)) return false;
    if (n == PS_BLOCK)
        unpack_full_gaps(gaps, cursor->doc_bits, first - 1, docs);
    else
        unpack_loose_gaps(gaps, cursor->doc_bits, n, first - 1, docs);
    if (docs[n - 1] != last) return false;
    return cursor->doc_bits <= SAFE_BITS || (docs[0] >= first && ascend(docs, n));
}

void ps_cursor_docs(ps_cursor *cursor)
{
    if (cursor->docs_ready || cursor->n == 0) return;
    if (cursor->block == cursor->list->blocks) {
        memcpy(cursor->docs, cursor->list->rest_docs, cursor->n * sizeof *cursor->docs);
    } else if (!unpack_docs(cursor)) {
        break_off(cursor);
        return;
    }
    memset(cursor->docs + cursor->n, 0xff, 16 * sizeof *cursor->docs); /* PS_NO_DOC */
    cursor->docs_ready = true;
}

void ps_cursor_freqs(ps_cursor *cursor)
{
    if (cursor->freqs_ready || cursor->n == 0) return;
    uint32_t n = cursor->n;
    if (cursor->block == cursor->list->blocks) {
        memcpy(cursor->freqs, cursor->list->rest_freqs, n * sizeof *cursor->freqs);
    } else if (!cursor->docs_ready && !find_values(cursor, NULL)) {
        break_off(cursor);
        return;
    } else if (n == PS_BLOCK) {
        unpack_full_freqs(cursor->packed_freqs, cursor->freq_bits, cursor->freqs);
    } else {
        unpack_loose_freqs(cursor->packed_freqs, cursor->freq_bits, n, cursor->freqs);
    }
    cursor->freqs_ready = true;
}

/* ---- reading: one document ---- */

#if HAS_LANES
/* How many of 16 documents are below `doc`. */
static inline uint32_t below_of_16(const uint32_t *docs, uint32_t doc)
{
    const __m128i sign = _mm_set1_epi32(INT32_MIN), key = _mm_xor_si128(_mm_set1_epi32((int)doc), sign);
    const __m128i *from = (const __m128i *)(const void *)docs;
    __m128i less[4];
    for (unsigned i = 0; i < 4; i++)
        less[i] = _mm_cmplt_epi32(_mm_xor_si128(_mm_loadu_si128(from + i), sign), key);
    __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(less[0], less[1]), _mm_packs_epi32(less[2], less[3]));
    return (uint32_t)__builtin_ctz(~(unsigned)_mm_movemask_epi8(bytes));
}
#else
static inline uint32_t below_of_16(const uint32_t *docs, uint32_t doc)
{
    uint32_t below = 0;
    for (unsigned i = 0; i < 16; i++) below += docs[i] < doc;
    return below;
}
#endif

uint32_t ps_cursor_seek(const ps_cursor *cursor, uint32_t doc)
{
    const uint32_t *docs = cursor->docs;
    uint32_t n = cursor->n, at = 0;
    if (n == 0) return 0;
    if (n == PS_BLOCK) { /* the number of steps is known: none of them waits for another */
        for (unsigned i = 15; i < PS_BLOCK - 16; i += 16) at += docs[i] < doc ? 16 : 0;
    } else {
        for (unsigned i = 15; i < n - 1; i += 16) at += docs[i] < doc ? 16 : 0;
    }
    at += below_of_16(docs + at, doc);
    return at < n ? at : n;
}

uint32_t ps_cursor_freq_of(ps_cursor *cursor, uint32_t doc)
{
    ps_cursor_shallow(cursor, doc);
    ps_cursor_docs(cursor);
    uint32_t i = ps_cursor_seek(cursor, doc);
    if (i >= cursor->n || cursor->docs[i] != doc) return 0;
    ps_cursor_freqs(cursor);
    return cursor->freqs[i];
}

/* ---- positions ---- */

bool ps_cursor_place_bytes(const ps_cursor *cursor, const uint8_t **at, const uint8_t **end)
{
    const ps_postings *list = cursor->list;
    const uint8_t *places = list->places;
    size_t from = 0, to = list->places_size;
    if (cursor->block == list->blocks) {
        places = list->rest_places;
        to = list->rest_places_size;
    } else if (list->place_offsets != NULL) {
        from = list->place_offsets[cursor->block];
        to = list->place_offsets[cursor->block + 1];
        if (from > to || to > list->places_size) return false;
    }
    if (places == NULL) return false;
    *at = places + from;
    *end = places + to;
    return true;
}

const uint8_t *ps_places_pass(const uint8_t *at, const uint8_t *end, uint64_t numbers)
{
#if HAS_LANES
    while (numbers >= 16 && at < end) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned ends = ~(unsigned)_mm_movemask_epi8(bytes) & 0xffff; /* the last bytes of numbers */
        numbers -= (unsigned)__builtin_popcount(ends);
        at += 16;
    }
#endif
    while (numbers > 0 && at < end) numbers -= *at++ < 0x80;
    return numbers == 0 && at <= end ? at : NULL;
}

/* Behind a number, NULL if it is cut off or above 2^32 - 1. */
static const uint8_t *read_number(const uint8_t *at, const uint8_t *end, uint32_t *number)
{
    uint64_t value = 0;
    for (unsigned shift = 0; at < end && shift < 35; shift += 7) {
        uint8_t byte = *at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte >= 0x80) continue;
        *number = (uint32_t)value;
        return value <= UINT32_MAX ? at : NULL;
    }
    return NULL;
}

/* Behind the positions of one posting, NULL if they are broken; the first `most` of them are taken. */
static const uint8_t *read_places(const uint8_t *at, const uint8_t *end, uint32_t freq, uint32_t *places,
                                  uint32_t most)
{
    uint32_t place = 0, distance;
    for (uint32_t i = 0; i < freq; i++) {
        at = read_number(at, end, &distance);
        if (at == NULL || (i > 0 && (distance == 0 || distance > UINT32_MAX - place))) return NULL;
        place += distance;
        if (i < most) places[i] = place;
    }
    return at;
}

uint32_t ps_cursor_places(ps_cursor *cursor, uint32_t i, uint32_t *places, uint32_t most)
{
    const uint8_t *at, *end;
    ps_cursor_freqs(cursor);
    if (i >= cursor->n || !ps_cursor_place_bytes(cursor, &at, &end)) return 0;
    uint32_t from = 0;
    if (cursor->place != NULL && cursor->placed <= i) {
        at = cursor->place;
        from = cursor->placed;
    }
    uint64_t between = 0;
    for (; from < i; from++) between += cursor->freqs[from];
    if ((at = ps_places_pass(at, end, between)) == NULL) return 0;
    cursor->place = at;
    cursor->placed = i;
    uint32_t freq = cursor->freqs[i];
    if ((at = read_places(at, end, freq, places, most)) == NULL) return 0;
    cursor->place = at;
    cursor->placed = i + 1;
    return freq < most ? freq : most;
}

size_t ps_places_pack(const uint32_t *places, uint32_t freq, uint8_t *out)
{
    uint8_t *to = out;
    uint32_t before = 0;
    for (uint32_t i = 0; i < freq; i++) {
        uint32_t distance = places[i] - before;
        before = places[i];
        for (; distance >= 0x80; distance >>= 7) *to++ = (uint8_t)(distance | 0x80);
        *to++ = (uint8_t)distance;
    }
    return (size_t)(to - out);
}
