#include "search_scorer.h"

#include <math.h>

#if defined(__x86_64__) && !defined(PS_NO_SIMD)
#include <immintrin.h>
#define HAS_AVX2_CODE 1
#else
#define HAS_AVX2_CODE 0
#endif

enum { RATIO, LONG_RATIO, SHARE, ROOT_SHARE }; /* shapes of the saturation */

#define MOST_FREQ UINT16_MAX /* in a peak: this or more */

double ps_scorer_idf(const ps_scorer *scorer, uint32_t df, uint32_t live)
{
    double n = df, all = live;
    switch (scorer->variant) {
    case PS_BM25_ROBERTSON: {
        double odds = (all - n + 0.5) / (n + 0.5);
        return odds > 1 ? log(odds) : 0;
    }
    case PS_BM25_ATIRE:
    case PS_TFIDF:
        return log(all / n);
    case PS_BM25_PLUS:
        return log((all + 1) / n);
    case PS_BM25_LONG:
        return log((all + 1) / (n + 0.5));
    case PS_TFIDF_CLASSIC: {
        double root = 1 + log((all + 1) / (n + 1));
        return root * root;
    }
    default:
        return log(1 + (all - n + 0.5) / (n + 0.5));
    }
}

ps_impact ps_impact_of(const ps_scorer *scorer, double weight, double idf, double average)
{
    double k1 = scorer->k1, b = scorer->b;
    ps_impact impact = {.weight = weight * idf, .field = 1};
    switch (scorer->variant) {
    case PS_TFIDF:
        impact.shape = SHARE;
        return impact;
    case PS_TFIDF_CLASSIC:
        impact.shape = ROOT_SHARE;
        return impact;
    case PS_BM25_LONG:
        impact.shape = LONG_RATIO;
        impact.weight *= k1 + 1;
        impact.flat = 1 - b;
        impact.slope = average > 0 ? b / average : 0;
        impact.k1 = k1;
        impact.delta = scorer->delta;
        return impact;
    default:
        break;
    }
    if (scorer->variant == PS_BM25_ATIRE || scorer->variant == PS_BM25_PLUS) impact.weight *= k1 + 1;
    if (scorer->variant == PS_BM25_PLUS) impact.added = impact.weight * (scorer->delta / (k1 + 1));
    impact.flat = k1 * (1 - b);
    impact.slope = average > 0 ? k1 * b / average : 0;
    return impact;
}

double ps_impact_grid(double most)
{
    int e = 0;
    if (!(most > 0)) return 0;
    frexp(most, &e); /* most = m * 2^e, m below 1 */
    return ldexp(1, e + 1);
}

void ps_impact_set_grid(ps_impact *impact, double grid)
{
    impact->grid = grid;
    impact->step = grid * 0x1p-52;
}

/* At most 1, and 1 for what is not a number: only files that somebody made up come to that. */
static inline double at_most_1(double x) { return x < 1 ? x : 1; }

static inline double saturation(const ps_impact *impact, double freq, double length)
{
    switch (impact->shape) {
    case RATIO:
        return at_most_1(freq / (freq + (impact->flat + impact->slope * length)));
    case LONG_RATIO: {
        double x = freq / (impact->flat + impact->slope * length) + impact->delta;
        return at_most_1(x / (x + impact->k1));
    }
    case SHARE:
        return at_most_1(freq / length);
    default:
        return at_most_1(sqrt(freq / length));
    }
}

double ps_impact_at(const ps_impact *impact, double freq, double length)
{
    return ps_impact_round(impact, impact->weight * saturation(impact, freq, length) + impact->added);
}

double ps_impact_bound(const ps_impact *impact, const ps_peak peaks[PS_PEAKS])
{
    double most = 0;
    for (unsigned i = 0; i < PS_PEAKS && peaks[i].freq > 0; i++) {
        double x = peaks[i].freq == MOST_FREQ
                       ? impact->weight + impact->added
                       : impact->weight * saturation(impact, peaks[i].freq * impact->field,
                                                     peaks[i].length * impact->field) +
                             impact->added;
        if (x > most) most = x;
    }
    return ps_impact_round(impact, most) + 2 * impact->step;
}

static void plain_block(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                        const uint32_t *lengths, double *out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = ps_impact_at(impact, freqs[i] * impact->field, lengths[docs[i]] * impact->field);
}

#if HAS_AVX2_CODE
#define AVX2 \
    __attribute__(( \
        target("avx2"))) /* without fma, so that nothing is rounded once where it should be twice */

/* Four unsigned numbers as doubles, exactly: put behind the exponent of 2^52, which is then taken away. */
AVX2 static inline __m256d four_doubles(__m128i numbers)
{
    __m256i wide = _mm256_or_si256(_mm256_cvtepu32_epi64(numbers), _mm256_set1_epi64x(0x4330000000000000));
    return _mm256_sub_pd(_mm256_castsi256_pd(wide), _mm256_set1_pd(0x1p52));
}

AVX2 static inline __m128i four_lengths(const uint32_t *lengths, const uint32_t *docs)
{
    return _mm_setr_epi32((int)lengths[docs[0]], (int)lengths[docs[1]], (int)lengths[docs[2]],
                          (int)lengths[docs[3]]);
}

AVX2 static inline __m256d four_saturations(const ps_impact *impact, uint8_t shape, __m256d freq,
                                            __m256d length)
{
    __m256d one = _mm256_set1_pd(1), flat = _mm256_set1_pd(impact->flat),
            slope = _mm256_set1_pd(impact->slope);
    if (shape == RATIO) {
        __m256d norm = _mm256_add_pd(flat, _mm256_mul_pd(slope, length));
        return _mm256_min_pd(_mm256_div_pd(freq, _mm256_add_pd(freq, norm)), one); /* one, if not a number */
    }
    if (shape == LONG_RATIO) {
        __m256d norm = _mm256_add_pd(flat, _mm256_mul_pd(slope, length));
        __m256d x = _mm256_add_pd(_mm256_div_pd(freq, norm), _mm256_set1_pd(impact->delta));
        return _mm256_min_pd(_mm256_div_pd(x, _mm256_add_pd(x, _mm256_set1_pd(impact->k1))), one);
    }
    __m256d share = _mm256_div_pd(freq, length);
    if (shape == ROOT_SHARE) share = _mm256_sqrt_pd(share);
    return _mm256_min_pd(share, one);
}

AVX2 static inline void shaped_block(const ps_impact *impact, uint8_t shape, const uint32_t *docs,
                                     const uint32_t *freqs, uint32_t n, const uint32_t *lengths, double *out)
{
    __m256d field = _mm256_set1_pd(impact->field), weight = _mm256_set1_pd(impact->weight);
    __m256d added = _mm256_set1_pd(impact->added), grid = _mm256_set1_pd(impact->grid);
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256d freq = four_doubles(_mm_loadu_si128((const __m128i *)(const void *)(freqs + i)));
        __m256d length = four_doubles(four_lengths(lengths, docs + i));
        __m256d part =
            four_saturations(impact, shape, _mm256_mul_pd(freq, field), _mm256_mul_pd(length, field));
        __m256d x = _mm256_add_pd(_mm256_mul_pd(weight, part), added);
        _mm256_storeu_pd(out + i, _mm256_sub_pd(_mm256_add_pd(x, grid), grid));
    }
    plain_block(impact, docs + i, freqs + i, n - i, lengths, out + i);
}

AVX2 static void avx2_block(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                            const uint32_t *lengths, double *out)
{
    switch (impact->shape) { /* so that each loop is compiled for its shape */
    case RATIO:
        shaped_block(impact, RATIO, docs, freqs, n, lengths, out);
        break;
    case LONG_RATIO:
        shaped_block(impact, LONG_RATIO, docs, freqs, n, lengths, out);
        break;
    case SHARE:
        shaped_block(impact, SHARE, docs, freqs, n, lengths, out);
        break;
    default:
        shaped_block(impact, ROOT_SHARE, docs, freqs, n, lengths, out);
        break;
    }
}

static bool has_avx2;

__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    has_avx2 = __builtin_cpu_supports("avx2");
}

void ps_impact_block(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                     const uint32_t *lengths, double *out)
{
    if (has_avx2)
        avx2_block(impact, docs, freqs, n, lengths, out);
    else
        plain_block(impact, docs, freqs, n, lengths, out);
}
#else
void ps_impact_block(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                     const uint32_t *lengths, double *out)
{
    plain_block(impact, docs, freqs, n, lengths, out);
}
#endif
