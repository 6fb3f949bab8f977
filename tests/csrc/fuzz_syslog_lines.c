/* Streams of syslog, broken and whole, in chunks: every record is one line of JSON in UTF-8 within its
 * bounds, and however a stream comes, the same records come out of it. */
#include <stdbool.h>

#include "fuzz.h"
#include "syslog_lines.h"
#include "utf8.h"

enum { MOST = 20000, SPACE = 1 << 20 };

static const char *const PIECES[] = {
    "<34>1 ",
    "<13>",
    "<191>1 ",
    "<192>",
    "1 ",
    "2003-10-11T22:14:15.003Z ",
    "- ",
    "host ",
    "app[12]: ",
    "tag: ",
    "[x] ",
    "Oct 11 22:14:15 ",
    "[id a=\"b\"",
    "\\]\\\"",
    "\"]",
    " ",
    "\n",
    "Feb 29 01:02:03.5 ",
    "\r\n",
    "5 <1>a",
    "12 <1>",
    "300 <1>",
    "18000 <1>",
    "99999999 <",
    "\xef\xbb\xbf",
    "\xe2\x82\xac",
    "\xe2\x82",
    "\xf0\x9f\x98\x80",
    "\xff",
    "- - - - - ",
    "text ",
    "\"",
    "\\",
    "[",
    "Jan  1 00:00:00 ",
    "fe80::1 ",
};

/* ---- a line of JSON ---- */

static size_t skip_string(const uint8_t *at, size_t size)
{
    size_t i = 1;
    FUZZ_REQUIRE(size > 0 && at[0] == '"');
    while (i < size && at[i] != '"') {
        FUZZ_REQUIRE(at[i] >= 0x20);
        i += at[i] == '\\' ? 2 : 1;
    }
    FUZZ_REQUIRE(i < size);
    return i + 1;
}

/* An object of strings and objects. */
static size_t skip_object(const uint8_t *at, size_t size, unsigned depth)
{
    size_t i = 1;
    FUZZ_REQUIRE(size > 1 && at[0] == '{' && depth < 4);
    while (at[i] != '}') {
        i += skip_string(at + i, size - i);
        FUZZ_REQUIRE(size - i > 1 && at[i] == ':');
        i++;
        i += at[i] == '{' ? skip_object(at + i, size - i, depth + 1) : skip_string(at + i, size - i);
        FUZZ_REQUIRE(i < size && (at[i] == ',' || at[i] == '}'));
        if (at[i] == ',') i++;
    }
    return i + 1;
}

static void judge(const ps_syslog *lines, const ps_syslog_record *record, const uint8_t *written)
{
    ps_text_shape shape;
    size_t least = lines->most_record < record->size ? record->text_size : 0;
    FUZZ_REQUIRE(record->text_size > 0);
    FUZZ_REQUIRE(record->size <= lines->most_record || least <= 4); /* a character is never parted */
    FUZZ_REQUIRE(ps_utf8_measure(written, record->size, &shape));
    FUZZ_REQUIRE(skip_object(written, record->size, 0) == record->size);
    FUZZ_REQUIRE(record->size > 12 && memcmp(written, "{\"message\":\"", 12) == 0 && written[12] != '"');
}

/* ---- streams ---- */

typedef struct {
    uint8_t *bytes;
    size_t size;
} text;

static void add(text *to, const void *bytes, size_t size)
{
    if (size > MOST - to->size) size = MOST - to->size;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void any_stream(fuzz_input *input, text *stream)
{
    enum { KINDS = sizeof PIECES / sizeof *PIECES };
    size_t parts = fuzz_take(input, 1) % 200;
    for (stream->size = 0; parts > 0 && input->left > 0; parts--) {
        unsigned byte = (unsigned)fuzz_take(input, 1);
        uint8_t raw = (uint8_t)fuzz_take(input, 1);
        if (byte < 200) {
            add(stream, PIECES[byte % KINDS], strlen(PIECES[byte % KINDS]));
        } else if (byte < 250) {
            add(stream, &raw, 1);
        } else {
            for (unsigned i = 0; i < 20u * raw; i++) add(stream, byte == 255 ? "\xc3\xa4" : "\"x", 2);
        }
    }
}

/* Reads `stream` in chunks of `step` bytes, each in memory of its own, so that the sanitizer sees reads
 * beyond it. */
static void read_stream(ps_syslog *lines, const text *stream, size_t step, bool cut, text *out)
{
    static uint8_t written[SPACE];
    size_t from = 0;
    out->size = 0;
    for (size_t end = 0; end < stream->size;) {
        end = stream->size - end > step ? end + step : stream->size;
        size_t size = end - from;
        uint8_t *chunk = malloc(size > 0 ? size : 1);
        FUZZ_REQUIRE(chunk != NULL);
        memcpy(chunk, stream->bytes + from, size);
        ps_syslog_begin(lines, chunk, size, cut);
        ps_syslog_record record;
        while (ps_syslog_next(lines, &record)) {
            FUZZ_REQUIRE(ps_syslog_check(lines) && record.size <= SPACE);
            ps_syslog_write(&record, written);
            judge(lines, &record, written);
            if (out->bytes == NULL || record.size > (size_t)4 * SPACE - out->size) continue;
            memcpy(out->bytes + out->size, written, record.size);
            out->size += record.size;
        }
        FUZZ_REQUIRE(ps_syslog_check(lines));
        FUZZ_REQUIRE(!cut || lines->at == size);
        FUZZ_REQUIRE(size - lines->at <= lines->most_frame + step); /* what waits is bounded */
        from += lines->at;
        free(chunk);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[MOST];
    static uint8_t outs[2][4 * SPACE];
    static const size_t limits[] = {1, 3, 50, 1000, 100000};
    static ps_syslog lines;
    fuzz_input input = {data, size};
    text stream = {bytes, 0}, whole = {outs[0], 0}, pieces = {outs[1], 0}, none = {NULL, 0};
    size_t most_text = limits[fuzz_take(&input, 1) % 5], most_record = 1u << fuzz_take(&input, 1) % 18;
    size_t step = 1 + (size_t)fuzz_take(&input, 2) % 3000;
    any_stream(&input, &stream);

    ps_syslog_init(&lines, most_text, most_record);
    lines.month = 1 + (int)(size % 12);
    lines.offset = (int)(size % 2879) - 1439;
    ps_syslog cutter = lines, second = lines;
    read_stream(&lines, &stream, MOST, false, &whole);
    read_stream(&second, &stream, step, false, &pieces);
    FUZZ_REQUIRE(whole.size == pieces.size && memcmp(whole.bytes, pieces.bytes, whole.size) == 0);
    read_stream(&cutter, &stream, step, true, &none);

    ps_syslog_record record;
    ps_syslog_begin_datagram(&cutter, stream.bytes, stream.size);
    while (ps_syslog_next_part(&cutter, &record))
        FUZZ_REQUIRE(record.text_size > 0 && ps_syslog_check(&cutter));
    return 0;
}
