#include "digests.h"

#include <string.h>

#include "bytes.h"

enum { BLOCK = 64 }; /* bytes, of both digests */

typedef void absorb(uint32_t *state, const uint8_t *block);

/* Both pad alike: a bit, zeros, and the length in bits as the last 8 bytes of a block. */
static void digest(uint32_t *state, absorb *take, const uint8_t *bytes, size_t size, int length_is_big_endian)
{
    size_t left = size;
    for (; left >= BLOCK; bytes += BLOCK, left -= BLOCK) take(state, bytes);

    uint8_t end[2 * BLOCK] = {0};
    size_t ends = left + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    if (left > 0) memcpy(end, bytes, left);
    end[left] = 0x80;
    uint64_t bits = (uint64_t)size * 8;
    if (length_is_big_endian) ps_write_big64(end + ends - 8, bits);
    else ps_write_little64(end + ends - 8, bits);
    for (size_t at = 0; at < ends; at += BLOCK) take(state, end + at);
}

/* ---- MD5 ---- */

/* floor(2^32 * |sin(i + 1)|) */
static const uint32_t SINES[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static const uint8_t SHIFTS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static void md5_absorb(uint32_t *state, const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
#pragma GCC unroll 64 /* then all that depends on i is a constant: a third faster */
    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed;
        unsigned word;
        switch (i / 16) {
        case 0: mixed = d ^ (b & (c ^ d)); word = i; break;
        case 1: mixed = c ^ (d & (b ^ c)); word = 5 * i + 1; break;
        case 2: mixed = b ^ c ^ d; word = 3 * i + 5; break;
        default: mixed = c ^ (b | ~d); word = 7 * i;
        }
        uint32_t sum = a + mixed + SINES[i] + ps_read_little32(block + 4 * (word % 16));
        a = d;
        d = c;
        c = b;
        b += ps_rotate32(sum, SHIFTS[i / 16][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void ps_md5(const uint8_t *bytes, size_t size, uint8_t out[16])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    digest(state, md5_absorb, bytes, size, 0);
    for (size_t i = 0; i < 4; i++) ps_write_little32(out + 4 * i, state[i]);
}

/* ---- SHA-256 ---- */

/* The first 32 bits behind the point of the cube roots of the first 64 primes. */
static const uint32_t ROOTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate_right(uint32_t word, int right) { return ps_rotate32(word, 32 - right); }

static void sha256_schedule(uint32_t words[64], const uint8_t *block)
{
    for (size_t i = 0; i < 16; i++) words[i] = ps_read_big32(block + 4 * i);
    for (size_t i = 16; i < 64; i++) {
        uint32_t early = words[i - 15], late = words[i - 2];
        words[i] = words[i - 16] + words[i - 7]
                 + (rotate_right(early, 7) ^ rotate_right(early, 18) ^ early >> 3)
                 + (rotate_right(late, 17) ^ rotate_right(late, 19) ^ late >> 10);
    }
}

static void sha256_absorb(uint32_t *state, const uint8_t *block)
{
    uint32_t words[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    sha256_schedule(words, block);
    for (size_t i = 0; i < 64; i++) {
        uint32_t first = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25))
                       + (g ^ (e & (f ^ g))) + ROOTS[i] + words[i];
        uint32_t second = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22))
                        + ((a & b) | (c & (a | b)));
        h = g;
        g = f;
        f = e;
        e = d + first;
        d = c;
        c = b;
        b = a;
        a = first + second;
    }
    uint32_t rounds[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; i++) state[i] += rounds[i];
}

void ps_sha256(const uint8_t *bytes, size_t size, uint8_t out[32])
{
    uint32_t state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    digest(state, sha256_absorb, bytes, size, 1);
    for (size_t i = 0; i < 8; i++) ps_write_big32(out + 4 * i, state[i]);
}
