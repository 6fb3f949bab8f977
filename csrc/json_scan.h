/* json_scan -- JSON read where it stands: where a string or a value ends, and what it is without what it
 * needs not.
 *
 * Each function takes a place in the text and returns the place behind what it is about, NULL if that is not
 * there. Text is read up to `end`, where a 0 must stand, as behind CPython's bytes: it is in no JSON, so it
 * stops everything. White space, names and values are those of RFC 8259, to the letter; text is UTF-8, and a
 * \uXXXX that is a surrogate has its other half beside it.
 *
 * Nothing here allocates.
 * Source: RFC 8259; RFC 3629. */
#ifndef PS_JSON_SCAN_H
#define PS_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PS_JSON_DEEPEST = 64, /* arrays and objects within each other; deeper ones are not followed */
};

typedef struct {
    const uint8_t *text, *end; /* between the quotes */
    bool escapes;              /* any */
    bool rewritten;            /* ps_json_write_string changes some */
} ps_json_string;

static inline const uint8_t *ps_json_past_space(const uint8_t *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') at++;
    return at;
}

static inline bool ps_json_is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Digits, one or more. */
const uint8_t *ps_json_past_digits(const uint8_t *at);

const uint8_t *ps_json_past_number(const uint8_t *at);

/* Exactly the bytes of `literal`. */
const uint8_t *ps_json_past_literal(const uint8_t *at, const char *literal);

/* A string, of which `string` then tells. */
const uint8_t *ps_json_past_string(const uint8_t *at, const uint8_t *end, ps_json_string *string);

/* Any value; `space` grows by the bytes of white space within it. NULL also where it is deeper than
 * PS_JSON_DEEPEST. */
const uint8_t *ps_json_past_value(const uint8_t *at, const uint8_t *end, size_t *space);

/* ---- writing what was read; each returns the place behind what it wrote ---- */

/* A string, quotes included, with no escapes but those that it needs: \" \\ \b \f \n \r \t, and \u00.. of
 * other control characters. It never gets longer. */
uint8_t *ps_json_write_string(uint8_t *to, const uint8_t *at, size_t size);

/* Bytes that ps_json_write_string writes. */
size_t ps_json_written_size(const uint8_t *at, size_t size);

/* A value without its white space. */
uint8_t *ps_json_write_value(uint8_t *to, const uint8_t *at, size_t size);

#endif
