#include "btree_search.h"

#if defined(__x86_64__) && !defined(PS_NO_SIMD)
#include <immintrin.h>
#define HAS_X86_CODES 1
#else
#define HAS_X86_CODES 0
#endif

enum { TOGETHER = 16 }; /* queries of a batch that go down side by side */

/* The first entry of a run of a leaf, the end of the leaf for the one behind the last. */
static inline unsigned start_of(const ps_btree_node *leaf, unsigned run)
{
    return run < leaf->d ? ps_btree_starts(leaf)[run] : leaf->n;
}

/* ---- what any processor can do ---- */

static inline unsigned plain_pivots(const ps_btree_node *node, int64_t key, ps_btree_side side)
{
    unsigned before = 0;
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++)
        before += side == PS_BTREE_BEFORE ? node->pivots[i] < key : node->pivots[i] <= key;
    return before;
}

static inline unsigned plain_eight(const int64_t *words, int64_t key, ps_btree_side side)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < 8; i++)
        mask |= (unsigned)(side == PS_BTREE_BEFORE ? words[i] >= key : words[i] > key) << i;
    return mask;
}

static inline uint64_t plain_sum(const uint32_t *counts, unsigned n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) sum += counts[i];
    return sum;
}

#define LEVEL(name) plain_##name
#define LEVEL_TARGET
#include "btree_search_level.h"
#undef LEVEL
#undef LEVEL_TARGET

/* ---- x86 ---- */

#if HAS_X86_CODES
#define LEVEL(name) avx2_##name
#define LEVEL_TARGET __attribute__((target("avx2,bmi,popcnt")))

/* A bit for each of 4 words that is less than the key (AFTER: not greater). */
LEVEL_TARGET static inline unsigned avx2_before(const int64_t *words, int64_t key, ps_btree_side side)
{
    __m256i some = _mm256_loadu_si256((const __m256i *)(const void *)words), all = _mm256_set1_epi64x(key);
    __m256i truth = side == PS_BTREE_BEFORE ? _mm256_cmpgt_epi64(all, some) : _mm256_cmpgt_epi64(some, all);
    unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(truth));
    return side == PS_BTREE_BEFORE ? mask : mask ^ 15;
}

LEVEL_TARGET static inline unsigned avx2_pivots(const ps_btree_node *node, int64_t key, ps_btree_side side)
{
    unsigned mask = avx2_before(node->pivots, key, side) | avx2_before(node->pivots + 3, key, side) << 3;
    return (unsigned)__builtin_popcount(mask); /* the fourth is in both */
}

LEVEL_TARGET static inline unsigned avx2_eight(const int64_t *words, int64_t key, ps_btree_side side)
{
    return (avx2_before(words, key, side) | avx2_before(words + 4, key, side) << 4) ^ 255;
}

LEVEL_TARGET static inline uint64_t avx2_sum(const uint32_t *counts, unsigned n) { return plain_sum(counts, n); }

#include "btree_search_level.h"
#undef LEVEL
#undef LEVEL_TARGET

#define LEVEL(name) avx512_##name
#define LEVEL_TARGET __attribute__((target("avx512f,bmi,popcnt")))

/* The pivots and what stands before them are one aligned line, but the owners may change meanwhile: masked out. */
LEVEL_TARGET static inline unsigned avx512_pivots(const ps_btree_node *node, int64_t key, ps_btree_side side)
{
    __m512i line = _mm512_maskz_loadu_epi64(0xfe, node), all = _mm512_set1_epi64(key);
    __mmask8 before = side == PS_BTREE_BEFORE ? _mm512_mask_cmplt_epi64_mask(0xfe, line, all)
                                              : _mm512_mask_cmple_epi64_mask(0xfe, line, all);
    return (unsigned)__builtin_popcount(before);
}

LEVEL_TARGET static inline unsigned avx512_eight(const int64_t *words, int64_t key, ps_btree_side side)
{
    __m512i some = _mm512_loadu_si512(words), all = _mm512_set1_epi64(key);
    return side == PS_BTREE_BEFORE ? _mm512_cmpge_epi64_mask(some, all) : _mm512_cmpgt_epi64_mask(some, all);
}

LEVEL_TARGET static inline uint64_t avx512_sum(const uint32_t *counts, unsigned n)
{
    uint64_t some = (UINT64_C(1) << n) - 1; /* n < 48 */
    __m512i sum = _mm512_maskz_loadu_epi32((__mmask16)some, counts);
    sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32((__mmask16)(some >> 16), counts + 16));
    sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32((__mmask16)(some >> 32), counts + 32));
    return (uint32_t)_mm512_reduce_add_epi32(sum); /* they are of one tree: no more than 32 bits */
}

#include "btree_search_level.h"
#undef LEVEL
#undef LEVEL_TARGET
#endif

/* ---- the choice ---- */

typedef struct {
    unsigned (*position)(const ps_btree_node *node, unsigned n, bool wide, int64_t key, ps_btree_side side);
    uint64_t (*sum)(const uint32_t *counts, unsigned n);
    ps_status (*find)(const ps_btree *tree, int64_t key, ps_btree_side inner, ps_btree_side leaf,
                      ps_btree_place *place);
    ps_status (*get)(const ps_btree *tree, int64_t key, uint64_t *value);
    ps_status (*rank)(const ps_btree *tree, int64_t key, ps_btree_side side, int64_t *rank);
    ps_status (*get_many)(const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values, uint8_t *found);
    ps_status (*rank_many)(const ps_btree *tree, const int64_t *keys, size_t n, ps_btree_side side, int64_t *ranks);
} code;

static const code CODES[PS_BTREE_CODES] = {
    [PS_BTREE_PLAIN] = {plain_position, plain_sum, plain_find, plain_get, plain_rank, plain_get_many, plain_rank_many},
#if HAS_X86_CODES
    [PS_BTREE_AVX2] = {avx2_position, avx2_sum, avx2_find, avx2_get, avx2_rank, avx2_get_many, avx2_rank_many},
    [PS_BTREE_AVX512] = {avx512_position, avx512_sum, avx512_find, avx512_get, avx512_rank, avx512_get_many,
                         avx512_rank_many},
#endif
};

static ps_btree_code used;

static bool has(ps_btree_code wanted)
{
#if HAS_X86_CODES
    __builtin_cpu_init();
    if (wanted == PS_BTREE_AVX512) return __builtin_cpu_supports("avx512f") && has(PS_BTREE_AVX2);
    if (wanted == PS_BTREE_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt");
#endif
    return wanted == PS_BTREE_PLAIN;
}

__attribute__((constructor)) static void choose(void)
{
    for (ps_btree_code wanted = PS_BTREE_PLAIN; wanted < PS_BTREE_CODES; wanted++)
        if (has(wanted)) used = wanted;
}

bool ps_btree_use(ps_btree_code wanted)
{
    if (!has(wanted)) return false;
    used = wanted;
    return true;
}

ps_btree_code ps_btree_used(void) { return used; }

unsigned ps_btree_position(const ps_btree_node *node, unsigned n, bool wide, int64_t key, ps_btree_side side)
{
    return CODES[used].position(node, n, wide, key, side);
}

uint32_t ps_btree_first_counts(const uint32_t *counts, unsigned n) { return (uint32_t)CODES[used].sum(counts, n); }

ps_status ps_btree_find(const ps_btree *tree, int64_t key, ps_btree_side inner, ps_btree_side leaf,
                        ps_btree_place *place)
{
    return CODES[used].find(tree, key, inner, leaf, place);
}

/* ---- the public ones ---- */

/* The first of several: where a leaf ends before it, the next one begins with it. */
static ps_status get_first(const ps_btree *tree, int64_t key, uint64_t *value)
{
    ps_btree_place place;
    bool found;
    ps_status status = ps_btree_seek(tree, &(ps_btree_probe){.key = key}, PS_BTREE_BEFORE, &place, &found);
    if (status != PS_OK || !found) return status == PS_OK ? PS_EMPTY : status;
    int64_t same;
    return ps_btree_read(tree, &place, &same, tree->flags & PS_BTREE_VALUES ? value : NULL, 1, &status) == 1
               ? PS_OK
               : status;
}

ps_status ps_btree_get(const ps_btree *tree, int64_t key, uint64_t *value)
{
    if (tree->height == 0) return PS_EMPTY;
    if (tree->flags & PS_BTREE_MULTI) return get_first(tree, key, value);
    return CODES[used].get(tree, key, value);
}

ps_status ps_btree_rank(const ps_btree *tree, int64_t key, ps_btree_side side, int64_t *rank)
{
    *rank = 0;
    return tree->height > 0 ? CODES[used].rank(tree, key, side, rank) : PS_OK;
}

ps_status ps_btree_get_many(const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values, uint8_t *found)
{
    if (tree->height > 0 && !(tree->flags & PS_BTREE_MULTI))
        return CODES[used].get_many(tree, keys, n, values, found);
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        ps_status status = ps_btree_get(tree, keys[i], &value);
        if (status != PS_OK && status != PS_EMPTY) return status;
        found[i] = status == PS_OK;
        if (found[i] && values != NULL) values[i] = value;
    }
    return PS_OK;
}

ps_status ps_btree_rank_many(const ps_btree *tree, const int64_t *keys, size_t n, ps_btree_side side, int64_t *ranks)
{
    if (tree->height > 0) return CODES[used].rank_many(tree, keys, n, side, ranks);
    for (size_t i = 0; i < n; i++) ranks[i] = 0;
    return PS_OK;
}
