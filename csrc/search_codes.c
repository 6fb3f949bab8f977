#include "search_codes.h"

#include <string.h>

#if defined(__x86_64__) && !defined(PS_NO_SIMD)
#include <immintrin.h>
#define HAS_AVX2_CODE 1
#else
#define HAS_AVX2_CODE 0
#endif

enum { MOST_SUM = 254, MARKED = 255 };

static const double NEAR = 0.9;    /* a scale that is so near to the best one stays */
static const double MARGIN = 1e-9; /* far more than products of two doubles are wrong by */

bool ps_codes_scale(ps_codes *codes, double most, uint32_t words)
{
    double scale = most > 0 ? (MOST_SUM - words) / most * (1 - MARGIN) : 0;
    if (codes->scale <= scale && codes->scale > scale * NEAR) return false;
    codes->scale = scale;
    return true;
}

static inline uint8_t code_of(const ps_codes *codes, double bound)
{
    double units = bound * codes->scale * (1 + MARGIN);
    return (uint8_t)((units < MOST_SUM ? (unsigned)units : MOST_SUM) + 1);
}

/* The greatest sum of codes that stands for no more than `need`. */
static inline unsigned greatest_without(const ps_codes *codes, double need)
{
    double units = need * codes->scale * (1 - MARGIN);
    return units < MOST_SUM ? (unsigned)units : MOST_SUM;
}

/* ---- adding ---- */

/* Codes for a block: codes[PS_CODED_FREQ] for all the frequencies from there on. */
static void find_codes(const ps_codes *codes, const ps_pruned_word *word, uint32_t block,
                       ps_code_table *table)
{
    const ps_peak *peaks = ps_pruned_peaks(word, block);
    const ps_impact *impact = word->impact;
    uint8_t most = code_of(codes, ps_pruned_bound(word, block));
    unsigned top = peaks[0].freq < PS_CODED_FREQ ? peaks[0].freq : PS_CODED_FREQ, peak = 0;
    while (peak + 1 < PS_PEAKS && peaks[peak + 1].freq > 0) peak++;
    table->codes[PS_CODED_FREQ] = most;
    for (unsigned freq = 1; freq < top; freq++) {
        while (peak > 0 && peaks[peak].freq < freq) peak--;
        unsigned length = peaks[peak].length; /* of the shortest document with that frequency or more */
        if (length < freq) length = freq;
        if (table->lengths[freq] == length) continue;
        double bound = ps_impact_at(impact, freq * impact->field, length * impact->field) + 2 * impact->step;
        table->lengths[freq] = (uint16_t)length;
        table->codes[freq] = code_of(codes, bound);
    }
    if (top < PS_CODED_FREQ) { /* the greatest frequency: its code is that of the block, or less */
        table->lengths[top] = 0;
        table->codes[top] = most;
    }
}

/* Adds the codes of n postings of the block that the cursor is at. */
static void add_codes(uint8_t *sums, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                      const uint8_t *codes, bool small)
{
    if (small) {
        for (uint32_t i = 0; i < n; i++) {
            uint8_t *sum = sums + docs[i];
            *sum = (uint8_t)(*sum + codes[freqs[i]]);
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *sum = sums + docs[i];
        *sum = (uint8_t)(*sum + codes[freqs[i] < PS_CODED_FREQ ? freqs[i] : PS_CODED_FREQ]);
    }
}

static void add_ones(uint8_t *sums, const uint32_t *docs, uint32_t n, uint8_t code)
{
    for (uint32_t i = 0; i < n; i++) sums[docs[i]] = (uint8_t)(sums[docs[i]] + code);
}

/* Whether the peaks of a block tell little: its shortest document is far shorter than most are. */
static bool is_loose(const ps_pruned_word *word, uint32_t block, uint32_t usual)
{
    const ps_peak *peaks = ps_pruned_peaks(word, block);
    unsigned peak = 0;
    while (peak + 1 < PS_PEAKS && peaks[peak + 1].freq > 0) peak++;
    return peaks[peak].length < usual / 2;
}

/* Adds codes of the impacts themselves; docs: of the window, those of the cursor from number `at` on. */
static void add_impacts(ps_codes *codes, const ps_pruned_word *word, const uint32_t *docs, uint32_t at,
                        uint32_t n)
{
    const ps_cursor *cursor = &codes->cursor;
    double impacts[PS_BLOCK], scale = codes->scale * (1 + MARGIN);
    ps_impact_block(word->impact, cursor->docs + at, cursor->freqs + at, n, word->lengths, impacts);
    for (uint32_t i = 0; i < n; i++) {
        unsigned code = (unsigned)(int)(impacts[i] * scale) + 1;
        codes->sums[docs[i]] = (uint8_t)(codes->sums[docs[i]] + code);
    }
}

/* The numbers within the window of the documents of a block that lie in it; *at: the first of these in the
 * cursor. */
static uint32_t docs_of(ps_codes *codes, const ps_pruned_word *word, uint32_t block, uint32_t lo, uint32_t hi,
                        uint32_t *docs, uint32_t *at)
{
    ps_cursor *cursor = &codes->cursor;
    ps_cursor_stand(cursor, word->list, block);
    ps_cursor_docs(cursor);
    if (cursor->n == 0) {
        codes->broken = true;
        return 0;
    }
    uint32_t i = cursor->docs[0] < lo ? ps_cursor_seek(cursor, lo) : 0;
    uint32_t j = cursor->last < hi ? cursor->n : ps_cursor_seek(cursor, hi);
    for (uint32_t p = i; p < j; p++) docs[p - i] = cursor->docs[p] - lo;
    *at = i;
    return j > i ? j - i : 0;
}

static void add_block(ps_codes *codes, const ps_pruned_word *word, ps_code_table *table, uint32_t block,
                      uint32_t lo, uint32_t hi, uint32_t usual)
{
    ps_cursor *cursor = &codes->cursor;
    uint32_t docs[PS_BLOCK], at, n = docs_of(codes, word, block, lo, hi, docs, &at);
    if (n == 0) return;
    bool packed = block < word->list->blocks;
    uint8_t *sums = codes->sums;
    if (is_loose(word, block, usual)) {
        ps_cursor_freqs(cursor);
        add_impacts(codes, word, docs, at, n);
        return;
    }
    find_codes(codes, word, block, table);
    if (packed && cursor->freq_bits == 0) {
        add_ones(sums, docs, n, table->codes[1]);
        return;
    }
    ps_cursor_freqs(cursor);
    add_codes(sums, docs, cursor->freqs + at, n, table->codes, packed && cursor->freq_bits <= 4);
}

void ps_codes_add(ps_codes *codes, const ps_pruned_word *word, ps_code_table *table, uint32_t lo, uint32_t hi,
                  double need, uint32_t usual)
{
    uint32_t end = word->first + word->held;
    for (uint32_t block = word->at; block < end && ps_pruned_first(word, block) < hi; block++) {
        if (ps_pruned_bound(word, block) <= need) continue;
        add_block(codes, word, table, block, lo, hi, usual);
    }
}

void ps_codes_mark(ps_codes *codes, const ps_pruned_word *word, uint32_t lo, uint32_t hi)
{
    uint32_t end = word->first + word->held;
    for (uint32_t block = word->at; block < end && ps_pruned_first(word, block) < hi; block++) {
        uint32_t docs[PS_BLOCK], at, n = docs_of(codes, word, block, lo, hi, docs, &at);
        for (uint32_t i = 0; i < n; i++) codes->sums[docs[i]] = MARKED;
    }
}

/* ---- finding ---- */

static uint32_t plain_count(const uint8_t *sums, uint32_t n, unsigned without)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) count += sums[i] > without;
    return count;
}

static uint32_t plain_take(const uint8_t *sums, uint32_t from, uint32_t to, unsigned without, uint32_t *at)
{
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++)
        if (sums[i] > without) at[n++] = i;
    return n;
}

#if HAS_AVX2_CODE
#define AVX2 __attribute__((target("avx2")))

AVX2 static uint32_t avx2_count(const uint8_t *sums, uint32_t n, unsigned without)
{
    const __m256i low = _mm256_set1_epi8((char)without), zero = _mm256_setzero_si256();
    uint32_t i = 0;
    __m256i total = zero;
    while (i + 32 <= n) {
        __m256i some = zero; /* counts of not more than 255 */
        for (unsigned step = 0; step < UINT8_MAX && i + 32 <= n; step++, i += 32) {
            __m256i sum = _mm256_load_si256((const __m256i *)(const void *)(sums + i));
            __m256i not_above = _mm256_cmpeq_epi8(_mm256_subs_epu8(sum, low), zero);
            some = _mm256_sub_epi8(some, not_above);
        }
        total = _mm256_add_epi64(total, _mm256_sad_epu8(some, zero));
    }
    uint64_t parts[4];
    _mm256_storeu_si256((__m256i *)(void *)parts, total);
    return i - (uint32_t)(parts[0] + parts[1] + parts[2] + parts[3]) + plain_count(sums + i, n - i, without);
}

AVX2 static uint32_t avx2_take(const uint8_t *sums, uint32_t from, uint32_t to, unsigned without,
                               uint32_t *at)
{
    const __m256i low = _mm256_set1_epi8((char)without), zero = _mm256_setzero_si256();
    uint32_t n = 0, i = from;
    for (; i + 64 <= to; i += 64) {
        const __m256i *pair = (const __m256i *)(const void *)(sums + i);
        __m256i first = _mm256_subs_epu8(_mm256_load_si256(pair), low);
        __m256i second = _mm256_subs_epu8(_mm256_load_si256(pair + 1), low);
        __m256i any = _mm256_or_si256(first, second);
        if (_mm256_testz_si256(any, any)) continue;
        uint64_t none = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(first, zero));
        none |= (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(second, zero)) << 32;
        for (uint64_t left = ~none; left != 0; left &= left - 1)
            at[n++] = i + (unsigned)__builtin_ctzll(left);
    }
    return n + plain_take(sums, i, to, without, at + n);
}

static bool has_avx2;

__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    has_avx2 = __builtin_cpu_supports("avx2");
}
#endif

uint32_t ps_codes_count(const ps_codes *codes, uint32_t n, double need)
{
    unsigned without = greatest_without(codes, need);
#if HAS_AVX2_CODE
    if (has_avx2) return avx2_count(codes->sums, n, without);
#endif
    return plain_count(codes->sums, n, without);
}

uint32_t ps_codes_take(const ps_codes *codes, uint32_t from, uint32_t to, double need, uint32_t *at)
{
    unsigned without = greatest_without(codes, need);
#if HAS_AVX2_CODE
    if (has_avx2) return avx2_take(codes->sums, from, to, without, at);
#endif
    return plain_take(codes->sums, from, to, without, at);
}

void ps_codes_clear(ps_codes *codes, uint32_t n) { memset(codes->sums, 0, n); }
