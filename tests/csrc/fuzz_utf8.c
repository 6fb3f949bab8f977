/* Texts, sound and spoilt: what is taken for UTF-8, and what is written as it, is so by the letter of RFC
 * 3629. */
#include "fuzz.h"
#include "utf8.h"

enum { MOST = 96 };

/* One code point, read as RFC 3629 defines it; its bytes, or 0 when there is none. */
static size_t slow_decode(const uint8_t *at, size_t left, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (size == 0 || size > left) return 0;
    *point = size == 1 ? at[0] : at[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2) return 0;
        *point = *point << 6 | (at[i] & 0x3f);
    }
    bool surrogate = *point >= 0xd800 && *point <= 0xdfff;
    return *point < least[size] || surrogate || *point > 0x10ffff ? 0 : size;
}

/* The memory is exactly as large as the text, so that the sanitizer sees reads beyond it. */
static void *exactly(size_t size)
{
    void *memory = malloc(size ? size : 1);
    FUZZ_REQUIRE(memory != NULL);
    return memory;
}

static void check_reading(const uint8_t *bytes, size_t size)
{
    enum { BEHIND = 32 };
    uint8_t *text = exactly(size), *longer = exactly(size + BEHIND);
    if (size) memcpy(text, bytes, size);
    memset(longer, 0xff, size + BEHIND);
    if (size) memcpy(longer, bytes, size);
    bool ascii = true, valid = true;
    size_t n = 0;
    uint32_t point = 0, greatest = 0;
    for (size_t i = 0; i < size; i++) ascii = ascii && text[i] < 0x80;
    for (size_t at = 0, step; at < size; at += step, n++) {
        step = slow_decode(text + at, size - at, &point);
        valid = step > 0;
        if (!valid) break;
        if (point > greatest) greatest = point;
    }
    ps_text_shape shape = {12345, 67};
    FUZZ_REQUIRE(ps_is_ascii(text, size, size) == ascii);
    FUZZ_REQUIRE(ps_is_ascii(longer, size, size + BEHIND) == ascii);
    FUZZ_REQUIRE(ps_utf8_measure(text, size, &shape) == valid);
    FUZZ_REQUIRE(shape.n == (valid ? n : 12345));
    FUZZ_REQUIRE(shape.width == (valid ? greatest > 0xffff ? 4 : greatest > 0xff ? 2 : 1 : 67));
    free(longer);
    free(text);
}

/* Any bytes, most of them parts of sequences. */
static void read_any(fuzz_input *input)
{
    static const char *const pieces[] = {"a",
                                         "0123456789abcdef",
                                         "\xc2\x80",
                                         "\xdf\xbf",
                                         "\xe0\xa0\x80",
                                         "\xed\x9f\xbf",
                                         "\xee\x80\x80",
                                         "\xef\xbf\xbf",
                                         "\xf0\x90\x80\x80",
                                         "\xf4\x8f\xbf\xbf",
                                         "\xf4\x90\x80\x80",
                                         "\xed\xa0\x80",
                                         "\xe0\x9f\xbf",
                                         "\xc1\xbf",
                                         "\xf0\x8f\xbf\xbf",
                                         "\xf5\x80\x80\x80"};
    enum { SOUND = 10, PIECES = sizeof pieces / sizeof *pieces };
    uint8_t bytes[MOST];
    size_t size = 0, n = fuzz_take(input, 1) % 12;
    size_t choices = fuzz_take(input, 1) % 4 ? SOUND : PIECES;
    for (size_t i = 0; i < n && size + 16 <= MOST; i++) {
        const char *piece = pieces[fuzz_take(input, 1) % choices];
        memcpy(bytes + size, piece, strlen(piece));
        size += strlen(piece);
    }
    if (size > 0 && fuzz_take(input, 1) % 4 == 0)
        bytes[fuzz_take(input, 1) % size] = (uint8_t)fuzz_take(input, 1);
    if (size > 0 && fuzz_take(input, 1) % 4 == 0) size -= fuzz_take(input, 1) % size;
    check_reading(bytes, size);
}

static uint32_t any_point(fuzz_input *input, uint32_t most, bool sound)
{
    static const uint32_t edges[] = {0,      0x7f,   0x80,   0xff,   0x100,    0x7ff,     0x800,  0xd7ff,
                                     0xdc80, 0xdcff, 0xe000, 0xffff, 0x10000,  0x10ffff,  0xd800, 0xdbff,
                                     0xdc00, 0xdc7f, 0xdd00, 0xdfff, 0x110000, UINT32_MAX};
    enum { SOUND = 14, EDGES = sizeof edges / sizeof *edges };
    uint32_t point = fuzz_take(input, 1) % 2 ? edges[fuzz_take(input, 1) % (sound ? SOUND : EDGES)]
                                             : (uint32_t)fuzz_take(input, 2);
    return point > most ? point & most : point;
}

/* Writes points[n], all below 2^(8 * width), and reads them back. */
static void check_writing(const uint32_t *points, size_t n, unsigned width, bool escaped)
{
    uint8_t *text = exactly(n * width);
    for (size_t i = 0; i < n; i++) {
        uint16_t half = (uint16_t)points[i];
        if (width == 1)
            text[i] = (uint8_t)points[i];
        else if (width == 2)
            memcpy(text + 2 * i, &half, 2);
        else
            memcpy(text + 4 * i, &points[i], 4);
    }
    size_t expected = 0, refused = n;
    for (size_t i = n; i-- > 0;) {
        bool byte = escaped && points[i] >= 0xdc80 && points[i] <= 0xdcff;
        if (points[i] > 0x10ffff || (points[i] >= 0xd800 && points[i] <= 0xdfff && !byte)) refused = i;
        expected += points[i] < 0x80 || byte ? 1 : points[i] < 0x800 ? 2 : points[i] < 0x10000 ? 3 : 4;
    }
    size_t size = 0;
    bool fine = true;
    if (width == 1)
        size = ps_utf8_size_ucs1(text, n);
    else if (width == 2)
        fine = ps_utf8_size_ucs2((const uint16_t *)(const void *)text, n, escaped, &size);
    else
        fine = ps_utf8_size_ucs4((const uint32_t *)(const void *)text, n, escaped, &size);
    FUZZ_REQUIRE(fine == (refused == n));
    FUZZ_REQUIRE(size == (fine ? expected : refused));
    if (fine) {
        uint8_t *bytes = exactly(size), *end;
        if (width == 1)
            end = ps_utf8_write_ucs1(bytes, text, n);
        else if (width == 2)
            end = ps_utf8_write_ucs2(bytes, (const uint16_t *)(const void *)text, n);
        else
            end = ps_utf8_write_ucs4(bytes, (const uint32_t *)(const void *)text, n);
        FUZZ_REQUIRE(end == bytes + size);
        const uint8_t *at = bytes;
        for (size_t i = 0; i < n; i++) {
            uint32_t point = 0;
            if (points[i] >= 0xdc80 && points[i] <= 0xdcff) {
                FUZZ_REQUIRE(*at++ == points[i] - 0xdc00);
                continue;
            }
            size_t step = slow_decode(at, (size_t)(end - at), &point);
            FUZZ_REQUIRE(step > 0 && point == points[i]);
            at += step;
        }
        FUZZ_REQUIRE(at == end);
        free(bytes);
    }
    free(text);
}

static void write_any(fuzz_input *input)
{
    static const uint32_t most[] = {[1] = 0xff, [2] = 0xffff, [4] = UINT32_MAX};
    uint32_t points[MOST];
    unsigned width = 1U << fuzz_take(input, 1) % 3;
    bool sound = fuzz_take(input, 1) % 4 != 0, escaped = fuzz_take(input, 1) % 2;
    size_t n = fuzz_take(input, 1) % MOST;
    for (size_t i = 0; i < n; i++) {
        points[i] = any_point(input, most[width], sound);
        if (sound && !escaped && points[i] >= 0xd800 && points[i] <= 0xdfff) points[i] = 'a';
    }
    check_writing(points, n, width, escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    check_reading(data, size < 2 * MOST ? size : 2 * MOST);
    while (input.left > 0) {
        read_any(&input);
        write_any(&input);
    }
    return 0;
}
