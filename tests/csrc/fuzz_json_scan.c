#include "json_scan.h"

#include "fuzz.h"
#include "json_model.h"

/* Where values end, against the model; what is written of them is read as itself, and no longer. */

typedef struct {
    uint8_t bytes[1 << 14];
    size_t size;
} text;

static void put(text *t, const char *piece)
{
    size_t size = strlen(piece);
    if (size > sizeof t->bytes - t->size) size = sizeof t->bytes - t->size;
    memcpy(t->bytes + t->size, piece, size);
    t->size += size;
}

static void put_space(fuzz_input *input, text *t)
{
    static const char *spaces[] = {"", "", "", "", " ", "\n", "\t \r\n", ""};
    put(t, spaces[fuzz_take(input, 1) % 8]);
}

static void put_string(fuzz_input *input, text *t)
{
    static const char *pieces[] = {
        "a",
        "plain text of more than 16",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0041",
        "\\u001F",
        "\\u000a",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "[",
        "}",
        ":",
        " ",
        "\x7f",
        /* no JSON from here on */
        "\\ud83d",
        "\\ude00",
        "\\x",
        "\xc0\x80",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\x80",
        "\x1f",
        "\"",
        "\\u12",
    };
    enum { ALL = sizeof pieces / sizeof *pieces, RIGHT = 19 };
    put(t, "\"");
    for (unsigned n = (unsigned)fuzz_take(input, 1) % 6; n > 0; n--)
        put(t, pieces[fuzz_take(input, 1) % (fuzz_take(input, 1) % 16 ? RIGHT : ALL)]);
    put(t, "\"");
}

static void put_value(fuzz_input *input, text *t, unsigned depth)
{
    static const char *plain[] = {"null", "true", "false", "0", "-1.50", "2e+3", "12", "-0", "1E-07",
                                  "01",   "1.",   "-",     "e", "nul",   "",     "+1", "1e", "tru"};
    unsigned kind = (unsigned)fuzz_take(input, 1) % 8;
    if (input->left == 0 || kind < 2) {
        put(t, plain[fuzz_take(input, 1) % (fuzz_take(input, 1) % 16 ? 9 : 18)]);
    } else if (kind < 4) {
        put_string(input, t);
    } else {
        bool object = kind % 2, last;
        unsigned members = depth > 6 && kind < 7 ? 1 : (unsigned)fuzz_take(input, 1) % 4;
        put(t, object ? "{" : "[");
        put_space(input, t);
        for (unsigned i = 0; i < members; i++) {
            last = i + 1 == members;
            if (object) {
                put_string(input, t);
                put_space(input, t);
                put(t, ":");
                put_space(input, t);
            }
            put_value(input, t, depth + 1);
            put_space(input, t);
            if (!last) put(t, ",");
            put_space(input, t);
        }
        put(t, object ? "}" : "]");
    }
}

static void put_deep(fuzz_input *input, text *t)
{
    unsigned depth = 60 + (unsigned)fuzz_take(input, 1) % 8, kinds = (unsigned)fuzz_take(input, 1);
    for (unsigned i = 0; i < depth; i++) put(t, kinds >> i % 8 & 1 ? "[" : "{\"\":");
    put_value(input, t, 100);
    while (depth-- > 0) put(t, kinds >> depth % 8 & 1 ? "]" : "}");
}

/* The model counts neither levels nor what is no UTF-8, so it may say yes where the scan says no. */
static const uint8_t *agreed(const uint8_t *at, const uint8_t *end, size_t *space)
{
    const uint8_t *behind = ps_json_past_value(at, end, space);
    if (behind == NULL) return NULL;
    if (behind < end && memchr("+-.0123456789Ee", *behind, 15) != NULL)
        return NULL; /* as in 01: 0 is a value */
    FUZZ_REQUIRE(skip_value(at, end, 0) == behind);
    return behind;
}

static void check_value(const uint8_t *at, const uint8_t *end)
{
    size_t space = 0, none = 0;
    const uint8_t *behind = agreed(at, end, &space);
    if (behind == NULL) return;
    size_t size = (size_t)(behind - at);
    FUZZ_REQUIRE(space < size);
    uint8_t *written = malloc(size - space + 1);
    FUZZ_REQUIRE(written != NULL);
    FUZZ_REQUIRE(ps_json_write_value(written, at, size) == written + size - space);
    written[size - space] = 0;
    FUZZ_REQUIRE(!has_space(written, written + size - space));
    FUZZ_REQUIRE(agreed(written, written + size - space, &none) == written + size - space && none == 0);
    free(written);
}

static void check_string(const uint8_t *at, const uint8_t *end)
{
    ps_json_string string, again;
    const uint8_t *behind = ps_json_past_string(at, end, &string);
    if (behind == NULL) return;
    FUZZ_REQUIRE(skip_string(at, end) == behind && string.text == at + 1 && string.end == behind - 1);
    FUZZ_REQUIRE(string.escapes == (memchr(at, '\\', (size_t)(behind - at)) != NULL));
    size_t size = (size_t)(behind - at), written_size = ps_json_written_size(at, size);
    FUZZ_REQUIRE(written_size <= size);
    uint8_t *written = malloc(written_size + 1);
    FUZZ_REQUIRE(written != NULL);
    FUZZ_REQUIRE(ps_json_write_string(written, at, size) == written + written_size);
    written[written_size] = 0;
    if (!string.rewritten) FUZZ_REQUIRE(written_size == size && memcmp(written, at, size) == 0);
    const uint8_t *last = written + written_size;
    FUZZ_REQUIRE(ps_json_past_string(written, last, &again) == last);
    uint8_t *twice = malloc(written_size);
    FUZZ_REQUIRE(twice != NULL && ps_json_written_size(written, written_size) == written_size);
    ps_json_write_string(twice, written, written_size);
    FUZZ_REQUIRE(memcmp(twice, written, written_size) == 0);
    free(twice);
    free(written);
}

static void try_text(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = copied(bytes, size);
    const uint8_t *end = copy + size;
    for (const uint8_t *at = copy; at < end; at++) { /* whatever stands somewhere is read as if it were all */
        if (*at == '"') check_string(at, end);
        if (at == copy || (*at == '{' && at - copy < 100)) check_value(at, end);
    }
    const uint8_t *behind = ps_json_past_number(copy);
    if (behind != NULL && behind == end) FUZZ_REQUIRE(skip_plain(copy, end) == end);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static text t;
    fuzz_input input = {data, size};
    try_text(data, size < 256 ? size : 256);
    for (unsigned i = 0; i < 4 && input.left > 0; i++) {
        t.size = 0;
        if (i % 4 == 3)
            put_deep(&input, &t);
        else
            put_value(&input, &t, 0);
        try_text(t.bytes, t.size);
    }
    return 0;
}
