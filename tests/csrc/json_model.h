/* json_model -- a reader of JSON that does one thing at a time, for targets to compare with.
 *
 * Each skip_ returns the place behind what it is about, NULL if that is not there. It looks at no UTF-8 and
 * pairs no surrogates. */
#ifndef PS_JSON_MODEL_H
#define PS_JSON_MODEL_H

#include <stdbool.h>

#include "fuzz.h"

static inline const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && memchr(" \t\r\n", *at, 4) != NULL) at++;
    return at;
}

static inline bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static inline const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
    if (at == end || *at++ != '"') return NULL;
    for (; at < end && *at != '"'; at++) {
        if (*at < ' ') return NULL;
        if (*at != '\\') continue;
        if (++at == end || memchr("\"\\/bfnrtu", *at, 9) == NULL) return NULL;
        if (*at != 'u') continue;
        if (end - at < 5) return NULL;
        for (int i = 0; i < 4; i++)
            if (!is_hex(*++at)) return NULL;
    }
    return at < end ? at + 1 : NULL;
}

static inline const uint8_t *skip_plain(const uint8_t *at, const uint8_t *end)
{
    static const char *literals[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t size = strlen(literals[i]);
        if ((size_t)(end - at) >= size && memcmp(at, literals[i], size) == 0) return at + size;
    }
    const uint8_t *start = at;
    while (at < end && memchr("+-.0123456789Ee", *at, 15) != NULL) at++;
    if (at == start) return NULL;
    const uint8_t *digits = start + (*start == '-');
    if (digits == at || *digits < '0' || *digits > '9' || at[-1] < '0' || at[-1] > '9') return NULL;
    return *digits == '0' && digits + 1 < at && digits[1] >= '0' && digits[1] <= '9' ? NULL : at;
}

static inline const uint8_t *skip_value(const uint8_t *at, const uint8_t *end, int depth)
{
    if (at == end || depth == 100) return NULL;
    if (*at == '"') return skip_string(at, end);
    if (*at != '{' && *at != '[') return skip_plain(at, end);
    bool object = *at == '{';
    at = skip_space(at + 1, end);
    if (at < end && *at == (object ? '}' : ']')) return at + 1;
    for (;;) {
        if (object) {
            at = skip_string(at, end);
            if (at == NULL) return NULL;
            at = skip_space(at, end);
            if (at == end || *at++ != ':') return NULL;
            at = skip_space(at, end);
        }
        at = skip_value(at, end, depth + 1);
        if (at == NULL) return NULL;
        at = skip_space(at, end);
        if (at == end) return NULL;
        if (*at == (object ? '}' : ']')) return at + 1;
        if (*at != ',') return NULL;
        at = skip_space(at + 1, end);
    }
}

static inline bool has_space(const uint8_t *at, const uint8_t *end)
{
    bool within = false;
    for (; at < end; at++) {
        if (within && *at == '\\')
            at++;
        else if (*at == '"')
            within = !within;
        else if (!within && memchr(" \t\r\n", *at, 4) != NULL)
            return true;
    }
    return false;
}

/* As large as it is and a 0 behind it, so that the sanitizer sees reads beyond. */
static inline uint8_t *copied(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, bytes, size);
    copy[size] = 0;
    return copy;
}

#endif
