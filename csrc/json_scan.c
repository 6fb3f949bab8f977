#include "json_scan.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* ---- strings ---- */

/* The place behind a character of several bytes; NULL: it is none. A 0 ends what can be read. */
static const uint8_t *past_wide(const uint8_t *at)
{
    uint8_t lead = at[0], low = 0x80, high = 0xbf;
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4) return NULL;
    if (lead == 0xe0) low = 0xa0;  /* else overlong */
    if (lead == 0xed) high = 0x9f; /* else a surrogate */
    if (lead == 0xf0) low = 0x90;  /* else overlong */
    if (lead == 0xf4) high = 0x8f; /* else above U+10FFFF */
    if (at[1] < low || at[1] > high) return NULL;
    for (int i = 2; i <= more; i++)
        if ((at[i] & 0xc0) != 0x80) return NULL;
    return at + more + 1;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number of \uXXXX at `at`; -1: it is none. */
static int32_t code_unit(const uint8_t *at)
{
    if (at[0] != '\\' || at[1] != 'u') return -1;
    int32_t unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* The code point of one or two \uXXXX at `at`, and the place behind; NULL: there is none, or half a pair. */
static const uint8_t *past_code_point(const uint8_t *at, uint32_t *point)
{
    int32_t first = code_unit(at);
    if (first < 0 || (first >= 0xdc00 && first <= 0xdfff)) return NULL;
    *point = (uint32_t)first;
    if (first < 0xd800 || first > 0xdbff) return at + 6;
    int32_t second = code_unit(at + 6);
    if (second < 0xdc00 || second > 0xdfff) return NULL;
    *point = 0x10000 + ((uint32_t)(first - 0xd800) << 10) + (uint32_t)(second - 0xdc00);
    return at + 12;
}

/* The place behind the escape at `at`; NULL: it is none. */
static const uint8_t *past_escape(const uint8_t *at, ps_json_string *string)
{
    uint32_t point;
    string->escapes = true;
    string->rewritten |= at[1] == '/' || at[1] == 'u';
    if (at[1] == 'u') return past_code_point(at, &point);
    return at[1] != 0 && strchr("\"\\bfnrt/", at[1]) != NULL ? at + 2 : NULL;
}

/* The place behind bytes of a string that stand for themselves and are ASCII. */
static const uint8_t *past_plain(const uint8_t *at, const uint8_t *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        special = _mm_or_si128(special, _mm_cmplt_epi8(bytes, space)); /* signed: also 0x80 and above */
        unsigned found = (unsigned)_mm_movemask_epi8(special);
        if (found) return at + __builtin_ctz(found);
    }
#else
    (void)end;
#endif
    while (*at >= ' ' && *at < 0x80 && *at != '"' && *at != '\\') at++;
    return at;
}

const uint8_t *ps_json_past_string(const uint8_t *at, const uint8_t *end, ps_json_string *string)
{
    if (*at++ != '"') return NULL;
    *string = (ps_json_string){.text = at};
    while (at != NULL) {
        at = past_plain(at, end);
        if (*at == '"') {
            string->end = at;
            return at + 1;
        }
        if (*at == '\\')
            at = past_escape(at, string);
        else if (*at < ' ')
            return NULL;
        else
            do at = past_wide(at);
            while (at != NULL && *at >= 0x80);
    }
    return NULL;
}

static uint8_t *write_code_point(uint8_t *to, uint32_t point)
{
    static const char short_escapes[] = "btn\0fr"; /* of U+0008 to U+000D */
    if (point == '"' || point == '\\' || (point >= 8 && point <= 13 && point != 11)) {
        *to++ = '\\';
        *to++ = point >= ' ' ? (uint8_t)point : (uint8_t)short_escapes[point - 8];
    } else if (point < ' ') {
        memcpy(to, "\\u00", 4);
        to[4] = (uint8_t)('0' + (point >> 4));
        to[5] = (uint8_t)"0123456789abcdef"[point & 15];
        to += 6;
    } else if (point < 0x80) {
        *to++ = (uint8_t)point;
    } else if (point < 0x800) {
        *to++ = (uint8_t)(0xc0 | point >> 6);
        *to++ = (uint8_t)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (uint8_t)(0xe0 | point >> 12);
        *to++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (point & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | point >> 18);
        *to++ = (uint8_t)(0x80 | (point >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        *to++ = (uint8_t)(0x80 | (point & 0x3f));
    }
    return to;
}

uint8_t *ps_json_write_string(uint8_t *to, const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] == 'u') {
            uint32_t point = 0;
            at = past_code_point(at, &point);
            to = write_code_point(to, point);
        } else {
            if (at[1] != '/') *to++ = '\\';
            *to++ = at[1];
            at += 2;
        }
    }
    return to;
}

size_t ps_json_written_size(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    uint8_t one[6];
    size_t written = 0;
    while (at < end) {
        if (*at != '\\') {
            written++, at++;
        } else if (at[1] == 'u') {
            uint32_t point = 0;
            at = past_code_point(at, &point);
            written += (size_t)(write_code_point(one, point) - one);
        } else {
            written += at[1] == '/' ? 1 : 2;
            at += 2;
        }
    }
    return written;
}

/* ---- values ---- */

static const uint8_t *past_counted_space(const uint8_t *at, size_t *space)
{
    const uint8_t *behind = ps_json_past_space(at);
    *space += (size_t)(behind - at);
    return behind;
}

const uint8_t *ps_json_past_digits(const uint8_t *at)
{
    if (!ps_json_is_digit(*at)) return NULL;
    while (ps_json_is_digit(*at)) at++;
    return at;
}

const uint8_t *ps_json_past_number(const uint8_t *at)
{
    if (*at == '-') at++;
    at = *at == '0' ? at + 1 : ps_json_past_digits(at);
    if (at != NULL && *at == '.') at = ps_json_past_digits(at + 1);
    if (at != NULL && (*at == 'e' || *at == 'E')) {
        at++;
        if (*at == '+' || *at == '-') at++;
        at = ps_json_past_digits(at);
    }
    return at;
}

const uint8_t *ps_json_past_literal(const uint8_t *at, const char *literal)
{
    for (; *literal; literal++, at++)
        if (*at != (uint8_t)*literal) return NULL;
    return at;
}

/* The place behind a value that has no parts; NULL: there is none. */
static const uint8_t *past_scalar(const uint8_t *at, const uint8_t *end)
{
    ps_json_string ignored;
    switch (*at) {
    case '"':
        return ps_json_past_string(at, end, &ignored);
    case 't':
        return ps_json_past_literal(at, "true");
    case 'f':
        return ps_json_past_literal(at, "false");
    case 'n':
        return ps_json_past_literal(at, "null");
    default:
        return ps_json_past_number(at);
    }
}

/* The place behind the name of a member and its colon; NULL: there is none. */
static const uint8_t *past_name(const uint8_t *at, const uint8_t *end, size_t *space)
{
    ps_json_string ignored;
    at = ps_json_past_string(at, end, &ignored);
    if (at == NULL) return NULL;
    at = past_counted_space(at, space);
    return *at == ':' ? past_counted_space(at + 1, space) : NULL;
}

const uint8_t *ps_json_past_value(const uint8_t *at, const uint8_t *end, size_t *space)
{
    uint64_t objects = 0; /* a bit for each level, the lowest of the innermost: whether it is an object */
    unsigned depth = 0;
    for (;;) {
        if (*at == '{' || *at == '[') {
            bool object = *at == '{';
            if (depth++ == PS_JSON_DEEPEST) return NULL;
            objects = objects << 1 | object;
            at = past_counted_space(at + 1, space);
            if (*at != (object ? '}' : ']')) {
                if (object && (at = past_name(at, end, space)) == NULL) return NULL;
                continue;
            }
        } else if ((at = past_scalar(at, end)) == NULL) {
            return NULL;
        } else if (depth > 0) {
            at = past_counted_space(at, space);
        }
        while (depth > 0 && *at == ((objects & 1) ? '}' : ']')) {
            at++; /* more levels may end here */
            objects >>= 1;
            if (--depth > 0) at = past_counted_space(at, space);
        }
        if (depth == 0) return at;
        if (*at != ',') return NULL;
        at = past_counted_space(at + 1, space);
        if ((objects & 1) && (at = past_name(at, end, space)) == NULL) return NULL;
    }
}

uint8_t *ps_json_write_value(uint8_t *to, const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    while (at < end) {
        const uint8_t *start = at;
        if (*at == '"') {
            ps_json_string string;
            at = ps_json_past_string(at, end, &string);
            memcpy(to, start, (size_t)(at - start));
            to += at - start;
        } else {
            at = ps_json_past_space(at);
            if (at == start) *to++ = *at++;
        }
    }
    return to;
}
