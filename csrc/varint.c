#include "varint.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HAS_X86_LEVELS 1
#else
#define HAS_X86_LEVELS 0
#endif

enum {
    BLOCK = 64,  /* bytes that are looked at together */
    CHUNK = 512, /* values that are converted together, while they are in the first cache */
    GROUP = 16,  /* values that are written together when each takes one byte */
};

const uint8_t *ps_varint_read_long(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    uint64_t word = 0;
    if (end - at >= PS_VARINT_MOST) {
        uint64_t bytes = ps_read_little64(at);
        uint64_t stops = ~bytes & UINT64_C(0x8080808080808080);
        if (stops != 0) {
            *value = ps_varint_join(bytes & (stops ^ (stops - 1)));
            return at + (__builtin_ctzll(stops) >> 3) + 1;
        }
        word = ps_varint_join(bytes) | (uint64_t)(at[8] & 0x7f) << 56;
        if (at[8] >= 0x80) {
            if (at[9] >= 0x80) return NULL;
            *value = word | (uint64_t)at[9] << 63;
            return at + 10;
        }
        *value = word;
        return at + 9;
    }
    for (int shift = 0; at < end; shift += 7) { /* at most nine bytes: no shift reaches 64 */
        word |= (uint64_t)(*at & 0x7f) << shift;
        if (*at++ < 0x80) {
            *value = word;
            return at;
        }
    }
    return NULL;
}

/* What counts of the first eight bytes and of the last two, by the number of the last byte. */
static const uint64_t KEPT_LOW[16] = {
    0x7f,           0x7f7f,           0x7f7f7f,           0x7f7f7f7f,         0x7f7f7f7f7f,
    0x7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f, 0x7f7f7f7f7f7f7f7f,
};
static const uint16_t KEPT_HIGH[16] = {[8] = 0x7f, [9] = 0x17f};

/* The bits of the first eight bytes that say that there is more, by the size of the varint. */
static const uint64_t MORE[PS_VARINT_MOST + 1] = {
    0,
    0,
    0x80,
    0x8080,
    0x808080,
    0x80808080,
    0x8080808080,
    0x808080808080,
    0x80808080808080,
    0x8080808080808080,
    0x8080808080808080,
};

/* ---- what any processor can do ---- */

static inline uint32_t plain_mask8(const uint8_t *at)
{
    uint64_t bits = ps_read_little64(at) & UINT64_C(0x8080808080808080);
    return (uint32_t)((bits >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline uint32_t plain_mask32(const uint8_t *at)
{
    return plain_mask8(at) | plain_mask8(at + 8) << 8 | plain_mask8(at + 16) << 16 |
           plain_mask8(at + 24) << 24;
}

/* The mask of less than 32 bytes, as if zeros came behind them. */
static uint32_t rest_mask32(const uint8_t *at, size_t size)
{
    uint8_t block[32] = {0};
    memcpy(block, at, size);
    return plain_mask32(block);
}

static inline uint64_t plain_join(const uint8_t *at, unsigned last)
{
    uint64_t low = ps_varint_join(ps_read_little64(at) & KEPT_LOW[last & 15]);
    uint64_t high = (uint64_t)(at[8] | at[9] << 8) & KEPT_HIGH[last & 15];
    return low | (high & 0x7f) << 56 | (high & 0x100) << 55;
}

static inline uint64_t plain_split(uint64_t value) { return ps_varint_split(value); }

#define LEVEL(name) plain_##name
#define LEVEL_TARGET
#include "varint_level.h"
#undef LEVEL
#undef LEVEL_TARGET

/* ---- x86 ---- */

#if HAS_X86_LEVELS
static inline uint32_t sse2_mask32(const uint8_t *at)
{
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(at + 16));
    return (uint32_t)_mm_movemask_epi8(low) | (uint32_t)_mm_movemask_epi8(high) << 16;
}

static inline uint64_t sse2_join(const uint8_t *at, unsigned last) { return plain_join(at, last); }

static inline uint64_t sse2_split(uint64_t value) { return plain_split(value); }

#define LEVEL(name) sse2_##name
#define LEVEL_TARGET
#include "varint_level.h"
#undef LEVEL
#undef LEVEL_TARGET

#define LEVEL(name) avx2_##name
#define LEVEL_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))

LEVEL_TARGET static inline uint32_t avx2_mask32(const uint8_t *at)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_loadu_si256((const __m256i *)(const void *)at));
}

LEVEL_TARGET static inline uint64_t avx2_join(const uint8_t *at, unsigned last)
{
    uint64_t low = _pext_u64(ps_read_little64(at), KEPT_LOW[last & 15]);
    uint64_t high = _pext_u64(at[8] | (unsigned)at[9] << 8, KEPT_HIGH[last & 15]);
    return low | high << 56;
}

LEVEL_TARGET static inline uint64_t avx2_split(uint64_t value)
{
    return _pdep_u64(value, UINT64_C(0x7f7f7f7f7f7f7f7f));
}

#include "varint_level.h"
#undef LEVEL
#undef LEVEL_TARGET
#endif

/* ---- the choice ---- */

typedef struct {
    bool (*count)(const uint8_t *at, size_t size, size_t *count, size_t *bad);
    size_t (*read)(const uint8_t **from, const uint8_t *end, uint64_t *words, size_t room);
    size_t (*size)(const uint64_t *words, size_t n);
    size_t (*write)(uint8_t **to, const uint8_t *end, const uint64_t *words, size_t n);
} level_code;

static const level_code LEVELS[PS_VARINT_LEVELS] = {
    [PS_VARINT_PLAIN] = {plain_count, plain_read, plain_size, plain_write},
#if HAS_X86_LEVELS
    [PS_VARINT_SSE2] = {sse2_count, sse2_read, sse2_size, sse2_write},
    [PS_VARINT_AVX2] = {avx2_count, avx2_read, avx2_size, avx2_write},
#endif
};

static ps_varint_level used;

static bool has(ps_varint_level level)
{
#if HAS_X86_LEVELS
    __builtin_cpu_init();
    if (level == PS_VARINT_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
               !__builtin_cpu_is("znver1") &&
               !__builtin_cpu_is("znver2"); /* their pext takes 100 times as long */
    return level < PS_VARINT_AVX2;
#else
    return level == PS_VARINT_PLAIN;
#endif
}

__attribute__((constructor)) static void choose(void)
{
    for (ps_varint_level level = PS_VARINT_PLAIN; level < PS_VARINT_LEVELS; level++)
        if (has(level)) used = level;
}

bool ps_varint_use(ps_varint_level level)
{
    if (!has(level)) return false;
    used = level;
    return true;
}

ps_varint_level ps_varint_used(void) { return used; }

/* ---- reading ---- */

bool ps_varints_count(const uint8_t *at, size_t size, size_t *count, size_t *bad)
{
    size_t more;
    if (!LEVELS[used].count(at, size, &more, bad)) return false;
    if (size > 0 && at[size - 1] >= 0x80) {
        size_t begin = size - 1;
        while (begin > 0 && at[begin - 1] >= 0x80) begin--;
        *bad = begin;
        return false;
    }
    *count = size - more;
    return true;
}

/* Reads some varints, up to `room`, and moves `from` behind them; 0 when there are none or no room. */
static size_t read_words(const uint8_t **from, const uint8_t *end, uint64_t *words, size_t room)
{
    size_t n = LEVELS[used].read(from, end, words, room);
    if (n > 0) return n;
    while (n < room) {
        const uint8_t *next = ps_varint_read(*from, end, &words[n]);
        if (next == NULL) break;
        *from = next;
        n++;
    }
    return n;
}

static inline size_t smaller(size_t one, size_t other) { return one < other ? one : other; }

bool ps_varints_to_u64(const uint8_t *at, size_t size, bool zigzag, uint64_t *values, size_t n)
{
    const uint8_t *end = at + size;
    while (n > 0) {
        size_t got = read_words(&at, end, values, smaller(n, CHUNK));
        if (got == 0) return false;
        if (zigzag)
            for (size_t i = 0; i < got; i++) values[i] = (uint64_t)ps_unzigzag64(values[i]);
        values += got;
        n -= got;
    }
    return at == end;
}

bool ps_varints_to_u32(const uint8_t *at, size_t size, bool zigzag, uint32_t *values, size_t n)
{
    const uint8_t *end = at + size;
    uint64_t words[CHUNK];
    while (n > 0) {
        size_t got = read_words(&at, end, words, smaller(n, CHUNK));
        if (got == 0) return false;
        for (size_t i = 0; i < got; i++) values[i] = (uint32_t)words[i];
        if (zigzag)
            for (size_t i = 0; i < got; i++) values[i] = (uint32_t)ps_unzigzag32(values[i]);
        values += got;
        n -= got;
    }
    return at == end;
}

bool ps_varints_to_bool(const uint8_t *at, size_t size, uint8_t *values, size_t n)
{
    const uint8_t *end = at + size;
    uint64_t words[CHUNK];
    while (n > 0) {
        size_t got = read_words(&at, end, words, smaller(n, CHUNK));
        if (got == 0) return false;
        for (size_t i = 0; i < got; i++) values[i] = words[i] != 0;
        values += got;
        n -= got;
    }
    return at == end;
}

/* ---- writing ---- */

/* How n values of a type become 64-bit words. */
typedef void widening(const void *values, size_t n, uint64_t *words);

static void widen_u32(const void *values, size_t n, uint64_t *words)
{
    const uint32_t *each = values;
    for (size_t i = 0; i < n; i++) words[i] = each[i];
}

static void widen_i32(const void *values, size_t n, uint64_t *words)
{
    const int32_t *each = values;
    for (size_t i = 0; i < n; i++) words[i] = (uint64_t)(int64_t)each[i];
}

static void zigzag_i32(const void *values, size_t n, uint64_t *words)
{
    const int32_t *each = values;
    for (size_t i = 0; i < n; i++) words[i] = ps_zigzag32(each[i]);
}

static void zigzag_i64(const void *values, size_t n, uint64_t *words)
{
    const int64_t *each = values;
    for (size_t i = 0; i < n; i++) words[i] = ps_zigzag64(each[i]);
}

static size_t size_widened(const void *values, size_t width, size_t n, widening *widen)
{
    const uint8_t *from = values;
    uint64_t words[CHUNK];
    size_t size = 0;
    for (size_t some; n > 0; from += some * width, n -= some) {
        some = smaller(n, CHUNK);
        widen(from, some, words);
        size += LEVELS[used].size(words, some);
    }
    return size;
}

size_t ps_varints_size_u64(const uint64_t *values, size_t n, bool zigzag)
{
    return zigzag ? size_widened(values, sizeof *values, n, zigzag_i64) : LEVELS[used].size(values, n);
}

size_t ps_varints_size_i32(const int32_t *values, size_t n, bool zigzag)
{
    return size_widened(values, sizeof *values, n, zigzag ? zigzag_i32 : widen_i32);
}

size_t ps_varints_size_u32(const uint32_t *values, size_t n)
{
    return size_widened(values, sizeof *values, n, widen_u32);
}

static uint8_t *write_words(uint8_t *at, const uint8_t *end, const uint64_t *words, size_t n)
{
    for (size_t i = LEVELS[used].write(&at, end, words, n); i < n; i++) {
        uint64_t word = words[i]; /* once: another thread may change it */
        if (end - at < ps_varint_size(word)) return NULL;
        at = ps_varint_write(at, word);
    }
    return at;
}

static uint8_t *write_widened(uint8_t *at, const uint8_t *end, const void *values, size_t width, size_t n,
                              widening *widen)
{
    const uint8_t *from = values;
    uint64_t words[CHUNK];
    for (size_t some; n > 0 && at != NULL; from += some * width, n -= some) {
        some = smaller(n, CHUNK);
        widen(from, some, words);
        at = write_words(at, end, words, some);
    }
    return at;
}

uint8_t *ps_varints_write_u64(uint8_t *at, size_t size, const uint64_t *values, size_t n, bool zigzag)
{
    if (!zigzag) return write_words(at, at + size, values, n);
    return write_widened(at, at + size, values, sizeof *values, n, zigzag_i64);
}

uint8_t *ps_varints_write_i32(uint8_t *at, size_t size, const int32_t *values, size_t n, bool zigzag)
{
    return write_widened(at, at + size, values, sizeof *values, n, zigzag ? zigzag_i32 : widen_i32);
}

uint8_t *ps_varints_write_u32(uint8_t *at, size_t size, const uint32_t *values, size_t n)
{
    return write_widened(at, at + size, values, sizeof *values, n, widen_u32);
}

void ps_varints_write_bool(uint8_t *at, const uint8_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) at[i] = values[i] != 0;
}
