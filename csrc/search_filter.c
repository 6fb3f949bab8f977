#include "search_filter.h"

#include <stdbool.h>

#if defined(__x86_64__) && !defined(PS_NO_SIMD)
#include <immintrin.h>
#define HAS_AVX2_CODE 1
#else
#define HAS_AVX2_CODE 0
#endif

static uint32_t plain_scores(const double *scores, uint32_t from, uint32_t n, double need, uint32_t *at,
                             uint32_t found)
{
    for (uint32_t i = from; i < n; i++)
        if (scores[i] > need) at[found++] = i;
    return found;
}

static uint32_t plain_freqs(const uint32_t *freqs, uint32_t from, uint32_t n, uint32_t least, uint32_t *at,
                            uint32_t found)
{
    for (uint32_t i = from; i < n; i++)
        if (freqs[i] >= least) at[found++] = i;
    return found;
}

#if HAS_AVX2_CODE
#define AVX2 __attribute__((target("avx2,bmi")))

/* The numbers of the bits, each with `first` added. */
AVX2 static inline uint32_t put_bits(unsigned bits, uint32_t first, uint32_t *at, uint32_t found)
{
    for (; bits != 0; bits &= bits - 1) at[found++] = first + (unsigned)__builtin_ctz(bits);
    return found;
}

AVX2 static inline unsigned four_above(const double *scores, __m256d need)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(scores), need, _CMP_GT_OQ));
}

AVX2 static uint32_t avx2_scores(const double *scores, uint32_t n, double need, uint32_t *at)
{
    __m256d all = _mm256_set1_pd(need);
    uint32_t i = 0, found = 0;
    for (; i + 16 <= n; i += 16) {
        unsigned bits = four_above(scores + i, all) | four_above(scores + i + 4, all) << 4 |
                        four_above(scores + i + 8, all) << 8 | four_above(scores + i + 12, all) << 12;
        found = put_bits(bits, i, at, found);
    }
    return plain_scores(scores, i, n, need, at, found);
}

AVX2 static inline unsigned eight_above(const uint32_t *freqs, __m256i below)
{
    __m256i some = _mm256_loadu_si256((const __m256i *)(const void *)freqs);
    __m256i most = _mm256_max_epu32(some, below); /* unsigned: a frequency may have its upper bit set */
    return ~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(most, below))) & 255;
}

AVX2 static uint32_t avx2_freqs(const uint32_t *freqs, uint32_t n, uint32_t least, uint32_t *at)
{
    __m256i below = _mm256_set1_epi32((int)(least - 1));
    uint32_t i = 0, found = 0;
    for (; i + 32 <= n; i += 32) {
        unsigned bits = eight_above(freqs + i, below) | eight_above(freqs + i + 8, below) << 8 |
                        eight_above(freqs + i + 16, below) << 16 | eight_above(freqs + i + 24, below) << 24;
        found = put_bits(bits, i, at, found);
    }
    return plain_freqs(freqs, i, n, least, at, found);
}

static bool has_avx2;

__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
}

uint32_t ps_filter_scores(const double *scores, uint32_t n, double need, uint32_t *at)
{
    return has_avx2 ? avx2_scores(scores, n, need, at) : plain_scores(scores, 0, n, need, at, 0);
}

uint32_t ps_filter_freqs(const uint32_t *freqs, uint32_t n, uint32_t least, uint32_t *at)
{
    return has_avx2 ? avx2_freqs(freqs, n, least, at) : plain_freqs(freqs, 0, n, least, at, 0);
}
#else
uint32_t ps_filter_scores(const double *scores, uint32_t n, double need, uint32_t *at)
{
    return plain_scores(scores, 0, n, need, at, 0);
}

uint32_t ps_filter_freqs(const uint32_t *freqs, uint32_t n, uint32_t least, uint32_t *at)
{
    return plain_freqs(freqs, 0, n, least, at, 0);
}
#endif
