#include "crc32.h"

#include <stdbool.h>

#include "bytes.h"

#if defined(__x86_64__) && !defined(PS_NO_SIMD)
#include <immintrin.h>
#define HAS_FOLDING 1
#else
#define HAS_FOLDING 0
#endif

enum {
    SLICE = 16, /* bytes that are looked up together */
    BLOCK = 64, /* bytes that are folded together */
};

/* The remainders of all bytes, made of those of the eight bits. */
#define BIT(byte, i, bit) ((byte) >> (i) & 1 ? UINT32_C(bit) : 0)
#define OF_BYTE(byte, a, b, c, d, e, f, g, h)                                                  \
    (BIT(byte, 0, a) ^ BIT(byte, 1, b) ^ BIT(byte, 2, c) ^ BIT(byte, 3, d) ^ BIT(byte, 4, e) ^ \
     BIT(byte, 5, f) ^ BIT(byte, 6, g) ^ BIT(byte, 7, h))
#define OF_4(byte, ...)                                         \
    OF_BYTE(byte, __VA_ARGS__), OF_BYTE(byte + 1, __VA_ARGS__), \
    OF_BYTE(byte + 2, __VA_ARGS__), OF_BYTE(byte + 3, __VA_ARGS__)
#define OF_16(byte, ...)                                  \
    OF_4(byte, __VA_ARGS__), OF_4(byte + 4, __VA_ARGS__), \
    OF_4(byte + 8, __VA_ARGS__), OF_4(byte + 12, __VA_ARGS__)
#define OF_64(byte, ...)                                     \
    OF_16(byte, __VA_ARGS__), OF_16(byte + 16, __VA_ARGS__), \
    OF_16(byte + 32, __VA_ARGS__), OF_16(byte + 48, __VA_ARGS__)
#define ROW(...)                                         \
    {                                                    \
        OF_64(0, __VA_ARGS__), OF_64(64, __VA_ARGS__),   \
        OF_64(128, __VA_ARGS__), OF_64(192, __VA_ARGS__) \
    }

/* REMAINDERS[n][byte]: of the byte with n more behind it. */
static const uint32_t REMAINDERS[SLICE][256] = {
    ROW(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190, 0xedb88320),
    ROW(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05, 0x3b83984b),
    ROW(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0, 0xe1351b80),
    ROW(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d, 0xed59b63b),
    ROW(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849, 0xb1e6b092),
    ROW(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c, 0x1eb014d8),
    ROW(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579, 0x8816eaf2),
    ROW(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed, 0x533b85da),
    ROW(0x177b1443, 0x2ef62886, 0x5dec510c, 0xbbd8a218, 0xacc04271, 0x82f182a3, 0xde920307, 0x6655004f),
    ROW(0xefc26b3e, 0x04f5d03d, 0x09eba07a, 0x13d740f4, 0x27ae81e8, 0x4f5d03d0, 0x9eba07a0, 0xe6050901),
    ROW(0xc18edfc0, 0x586cb9c1, 0xb0d97382, 0xbac3e145, 0xaef6c4cb, 0x869c8fd7, 0xd64819ef, 0x77e1359f),
    ROW(0x9ba54c6f, 0xec3b9e9f, 0x03063b7f, 0x060c76fe, 0x0c18edfc, 0x1831dbf8, 0x3063b7f0, 0x60c76fe0),
    ROW(0xdd96d985, 0x605cb54b, 0xc0b96a96, 0x5a03d36d, 0xb407a6da, 0xb37e4bf5, 0xbd8d91ab, 0xa06a2517),
    ROW(0x9d0fe176, 0xe16ec4ad, 0x19ac8f1b, 0x33591e36, 0x66b23c6c, 0xcd6478d8, 0x41b9f7f1, 0x8373efe2),
    ROW(0xb9fbdbe8, 0xa886b191, 0x8a7c6563, 0xcf89cc87, 0x44629f4f, 0x88c53e9e, 0xcafb7b7d, 0x4e87f0bb),
    ROW(0xae689191, 0x87a02563, 0xd4314c87, 0x73139f4f, 0xe6273e9e, 0x173f7b7d, 0x2e7ef6fa, 0x5cfdedf4),
};

static inline uint32_t of_word(uint32_t word, size_t behind)
{
    return REMAINDERS[behind + 3][word & 0xff] ^ REMAINDERS[behind + 2][word >> 8 & 0xff] ^
           REMAINDERS[behind + 1][word >> 16 & 0xff] ^ REMAINDERS[behind][word >> 24];
}

/* `state` is the sum with all bits flipped, here and below. */
static uint32_t slice(uint32_t state, const uint8_t *bytes, size_t size)
{
    for (; size >= SLICE; bytes += SLICE, size -= SLICE)
        state = of_word(ps_read_little32(bytes) ^ state, 12) ^ of_word(ps_read_little32(bytes + 4), 8) ^
                of_word(ps_read_little32(bytes + 8), 4) ^ of_word(ps_read_little32(bytes + 12), 0);
    for (; size > 0; bytes++, size--) state = state >> 8 ^ REMAINDERS[0][(state ^ *bytes) & 0xff];
    return state;
}

uint32_t ps_crc32_sliced(uint32_t crc, const uint8_t *bytes, size_t size) { return ~slice(~crc, bytes, size); }

#if HAS_FOLDING
#define FOLDING __attribute__((target("pclmul,sse2")))

FOLDING static inline __m128i load(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

/* Moves 128 bits on by the distance of `powers`, to where `next` lies. */
FOLDING static inline __m128i fold(__m128i bits, __m128i powers, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(bits, powers, 0x00), high = _mm_clmulepi64_si128(bits, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Folds whole blocks, at least one, to 16 bytes with the same remainder, which the tables then take. */
FOLDING static uint32_t fold_blocks(uint32_t state, const uint8_t *bytes, size_t blocks)
{
    /* x^(distance + 32) and x^(distance - 32) modulo the polynomial, reflected, for 64 and 16 bytes */
    const __m128i by_block = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by_slice = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i a = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128((int)state));
    __m128i b = load(bytes + 16), c = load(bytes + 32), d = load(bytes + 48);
    for (; blocks > 1; blocks--) {
        bytes += BLOCK;
        a = fold(a, by_block, load(bytes));
        b = fold(b, by_block, load(bytes + 16));
        c = fold(c, by_block, load(bytes + 32));
        d = fold(d, by_block, load(bytes + 48));
    }
    uint8_t rest[SLICE];
    a = fold(fold(fold(a, by_slice, b), by_slice, c), by_slice, d);
    _mm_storeu_si128((__m128i *)(void *)rest, a);
    return slice(0, rest, SLICE);
}

static bool folds;

__attribute__((constructor)) static void choose(void)
{
    __builtin_cpu_init();
    folds = __builtin_cpu_supports("pclmul");
}

uint32_t ps_crc32(uint32_t crc, const uint8_t *bytes, size_t size)
{
    uint32_t state = ~crc;
    size_t blocks = folds ? size / BLOCK : 0;
    if (blocks == 0) return ~slice(state, bytes, size); /* of no bytes there may be no address to count from */
    state = fold_blocks(state, bytes, blocks);
    return ~slice(state, bytes + blocks * BLOCK, size - blocks * BLOCK);
}
#else
uint32_t ps_crc32(uint32_t crc, const uint8_t *bytes, size_t size) { return ps_crc32_sliced(crc, bytes, size); }
#endif
