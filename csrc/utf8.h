/* utf8 -- text as UTF-8, told apart from what is none, and written from arrays of code points.
 *
 * Arrays of code points are those of CPython's strings: 1, 2 or 4 bytes for each code point, as many as the
 * greatest one in the text needs. Nothing here allocates; the caller owns all memory.
 * Source: RFC 3629; The Unicode Standard, table 3-7, Well-Formed UTF-8 Byte Sequences. */
#ifndef PS_UTF8_H
#define PS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- reading ---- */

/* ps_is_ascii of 8 bytes and more. */
bool ps_is_ascii_long(const uint8_t *text, size_t size);

#ifdef __SSE2__
/* ps_is_ascii of up to 32 bytes, where 32 can be read: the same steps for all of them. */
static inline bool ps_is_ascii_short(const uint8_t *text, size_t size)
{
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(text + 16));
    uint64_t seen = (uint32_t)_mm_movemask_epi8(low) | (uint64_t)_mm_movemask_epi8(high) << 16;
    return (seen & ((UINT64_C(1) << size) - 1)) == 0;
}
#endif

/* Whether all bytes are below 128; `left` bytes, `size` or more, can be read. */
static inline bool ps_is_ascii(const uint8_t *text, size_t size, size_t left)
{
    if (size > 32) return ps_is_ascii_long(text, size);
#ifdef __SSE2__
    if (left >= 32) return ps_is_ascii_short(text, size);
#endif
    (void)left;
    uint64_t seen = 0, word;
    if (size >= 8) { /* the last word overlaps the one before: any size takes whole words */
        for (size_t i = 0; i < size - 8; i += 8) {
            memcpy(&word, text + i, sizeof word);
            seen |= word;
        }
        memcpy(&word, text + size - 8, sizeof word);
        return ((seen | word) & UINT64_C(0x8080808080808080)) == 0;
    }
    if (size >= 4) {
        uint32_t first, last;
        memcpy(&first, text, sizeof first);
        memcpy(&last, text + size - 4, sizeof last);
        return ((first | last) & UINT32_C(0x80808080)) == 0;
    }
    return size == 0 || (text[0] | text[size / 2] | text[size - 1]) < 0x80;
}

typedef struct {
    size_t n;       /* code points */
    unsigned width; /* bytes that the greatest of them needs: 1 up to U+00FF, 2 up to U+FFFF, else 4 */
} ps_text_shape;

/* Whether text[size] is UTF-8: no overlong form, no surrogate, nothing above U+10FFFF, nothing cut off.
 * `shape` is changed only if it is. */
bool ps_utf8_measure(const uint8_t *text, size_t size, ps_text_shape *shape);

/* ---- writing ---- */

/* Bytes that text[n] takes as UTF-8.
 *
 * False where it has a surrogate, or a number above U+10FFFF; then `size` is the index of the first of them.
 * With `escaped`, U+DC80 to U+DCFF stand for the bytes 0x80 to 0xFF, which were no UTF-8 when they were read
 * (Python calls this surrogateescape), and take one byte. */
size_t ps_utf8_size_ucs1(const uint8_t *text, size_t n);
bool ps_utf8_size_ucs2(const uint16_t *text, size_t n, bool escaped, size_t *size);
bool ps_utf8_size_ucs4(const uint32_t *text, size_t n, bool escaped, size_t *size);

/* Writes text[n], for which ps_utf8_size_* was true, into as many bytes; returns the place behind them. */
uint8_t *ps_utf8_write_ucs1(uint8_t *at, const uint8_t *text, size_t n);
uint8_t *ps_utf8_write_ucs2(uint8_t *at, const uint16_t *text, size_t n);
uint8_t *ps_utf8_write_ucs4(uint8_t *at, const uint32_t *text, size_t n);

#endif
