#include "utf8.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

static inline uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

bool ps_is_ascii_long(const uint8_t *text, size_t size)
{
    enum { BLOCK = 32 };
    size_t at = 0;
    for (; size - at >= BLOCK; at += BLOCK) {
        const uint8_t *block = text + at;
        if ((word_at(block) | word_at(block + 8) | word_at(block + 16) | word_at(block + 24)) & HIGH_BITS)
            return false;
    }
    uint64_t seen = word_at(text + size - 8);
    for (; size - at >= 8; at += 8) seen |= word_at(text + at);
    return (seen & HIGH_BITS) == 0;
}

/* ---- reading ---- */

static inline bool within(uint8_t byte, uint8_t least, uint8_t most)
{
    return (uint8_t)(byte - least) <= (uint8_t)(most - least);
}

/* Bytes of the well-formed sequence, of a code point above U+007F, that begins there; 0: there is none. */
static inline size_t sequence_size(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];
    if (within(lead, 0xc2, 0xdf)) return left >= 2 && within(at[1], 0x80, 0xbf) ? 2 : 0;
    if (within(lead, 0xe0, 0xef)) {
        uint8_t least = lead == 0xe0 ? 0xa0 : 0x80, most = lead == 0xed ? 0x9f : 0xbf;
        return left >= 3 && within(at[1], least, most) && within(at[2], 0x80, 0xbf) ? 3 : 0;
    }
    if (within(lead, 0xf0, 0xf4)) {
        uint8_t least = lead == 0xf0 ? 0x90 : 0x80, most = lead == 0xf4 ? 0x8f : 0xbf;
        return left >= 4 && within(at[1], least, most) && within(at[2], 0x80, 0xbf) &&
                       within(at[3], 0x80, 0xbf)
                   ? 4
                   : 0;
    }
    return 0;
}

bool ps_utf8_measure(const uint8_t *text, size_t size, ps_text_shape *shape)
{
    uint8_t greatest = 0; /* of the lead bytes: they sort as the code points do */
    size_t n = 0, at = 0;
    while (at < size) {
        if (text[at] < 0x80) {
            size_t step = size - at >= 8 && (word_at(text + at) & HIGH_BITS) == 0 ? 8 : 1;
            at += step;
            n += step;
            continue;
        }
        size_t step = sequence_size(text + at, size - at);
        if (step == 0) return false;
        if (text[at] > greatest) greatest = text[at];
        at += step;
        n++;
    }
    shape->n = n;
    shape->width = greatest >= 0xf0 ? 4 : greatest > 0xc3 ? 2 : 1;
    return true;
}

/* ---- writing ---- */

static inline uint32_t code_point(const void *text, size_t i, unsigned width)
{
    return width == 1   ? ((const uint8_t *)text)[i]
           : width == 2 ? ((const uint16_t *)text)[i]
                        : ((const uint32_t *)text)[i];
}

static inline bool is_surrogate(uint32_t point) { return point - 0xd800 < 0x800; }

static inline bool is_escaped_byte(uint32_t point) { return point - 0xdc80 < 0x80; }

static inline bool measure(const void *text, size_t n, unsigned width, bool escaped, size_t *size)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t point = code_point(text, i, width);
        bool as_byte = escaped && is_escaped_byte(point);
        if ((is_surrogate(point) && !as_byte) || point > 0x10ffff) {
            *size = i;
            return false;
        }
        bytes +=
            as_byte ? 1 : 1 + (size_t)(point > 0x7f) + (size_t)(point > 0x7ff) + (size_t)(point > 0xffff);
    }
    *size = bytes;
    return true;
}

static inline uint8_t *write(uint8_t *at, const void *text, size_t n, unsigned width)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t point = code_point(text, i, width);
        if (point < 0x80 || is_escaped_byte(point)) {
            *at++ = (uint8_t)point; /* U+DC80 ends in 0x80 */
            continue;
        }
        if (point < 0x800) {
            *at++ = (uint8_t)(0xc0 | point >> 6);
        } else {
            if (point < 0x10000) {
                *at++ = (uint8_t)(0xe0 | point >> 12);
            } else {
                *at++ = (uint8_t)(0xf0 | point >> 18);
                *at++ = (uint8_t)(0x80 | (point >> 12 & 0x3f));
            }
            *at++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        }
        *at++ = (uint8_t)(0x80 | (point & 0x3f));
    }
    return at;
}

size_t ps_utf8_size_ucs1(const uint8_t *text, size_t n)
{
    size_t size = n;
    for (size_t i = 0; i < n; i++) size += text[i] >> 7;
    return size;
}

bool ps_utf8_size_ucs2(const uint16_t *text, size_t n, bool escaped, size_t *size)
{
    return measure(text, n, 2, escaped, size);
}

bool ps_utf8_size_ucs4(const uint32_t *text, size_t n, bool escaped, size_t *size)
{
    return measure(text, n, 4, escaped, size);
}

uint8_t *ps_utf8_write_ucs1(uint8_t *at, const uint8_t *text, size_t n) { return write(at, text, n, 1); }

uint8_t *ps_utf8_write_ucs2(uint8_t *at, const uint16_t *text, size_t n) { return write(at, text, n, 2); }

uint8_t *ps_utf8_write_ucs4(uint8_t *at, const uint32_t *text, size_t n) { return write(at, text, n, 4); }
