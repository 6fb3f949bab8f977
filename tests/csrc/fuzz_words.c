/* Texts of all widths, taken apart: the words are those between the boundaries of UAX #29 as a plain model
 * finds them, rule by rule and looking both ways at each place, or the runs of ASCII letters and digits. */
#include <stdbool.h>

#include "fuzz.h"
#include "word_breaks.h"
#include "words.h"

enum { MOST = 3000 };

static const uint32_t PALETTE[] = {
    'a',    'b',    'Z',    '0',    '9',     '_',     '.',     ',',     ':',      ';',
    '\'',   '"',    ' ',    '\r',   '\n',    '-',     0,       0x7f,    0xe9,     0xad,
    0xb7,   0xff,   0x301,  0x345,  0x5d0,   0x5d1,   0x663,   0xe17,   0xe35,    0x200d,
    0x2019, 0x203f, 0x2014, 0x24c2, 0x2764,  0x3000,  0x3042,  0x30ab,  0x4e00,   0xac00,
    0xd800, 0xdfff, 0xfe0f, 0xffff, 0x1f600, 0x1f1e6, 0x1d7d8, 0x20000, 0x10ffff,
};

/* ---- the model ---- */

typedef struct {
    uint32_t points[MOST];
    size_t n;
} text;

static unsigned class_at(const text *t, size_t i) { return ps_word_break(t->points[i]) & PS_BREAK_CLASS; }

static bool ends_line(unsigned class)
{
    return class == PS_BREAK_CR || class == PS_BREAK_LF || class == PS_BREAK_NEWLINE;
}

static bool extends(unsigned class)
{
    return class == PS_BREAK_EXTEND || class == PS_BREAK_FORMAT || class == PS_BREAK_ZWJ;
}

/* The place of what `i` extends, itself if it extends nothing. */
static size_t extended(const text *t, size_t i)
{
    while (extends(class_at(t, i)) && i > 0 && !ends_line(class_at(t, i - 1))) i--;
    return i;
}

/* The class of the first from `i` on that does not extend; OTHER at the end. */
static unsigned class_from(const text *t, size_t i)
{
    while (i < t->n && extends(class_at(t, i))) i++;
    return i < t->n ? class_at(t, i) : PS_BREAK_OTHER;
}

static bool is_letter(unsigned class) { return class == PS_BREAK_LETTER || class == PS_BREAK_HEBREW; }

static bool is_quote(unsigned class)
{
    return class == PS_BREAK_MID_NUM_LET || class == PS_BREAK_SINGLE_QUOTE;
}

static bool is_boundary(const text *t, size_t i)
{
    if (i == 0 || i == t->n) return true; /* WB1, 2 */
    unsigned before = class_at(t, i - 1), behind = class_at(t, i);
    if (before == PS_BREAK_CR && behind == PS_BREAK_LF) return false; /* WB3 */
    if (ends_line(before) || ends_line(behind)) return true;          /* WB3a, 3b */
    if (before == PS_BREAK_ZWJ && (ps_word_break(t->points[i]) & PS_BREAK_PICTURE)) return false; /* WB3c */
    if (before == PS_BREAK_SPACE && behind == PS_BREAK_SPACE) return false;                       /* WB3d */
    if (extends(behind)) return false;                                                            /* WB4 */
    size_t at = extended(t, i - 1);
    unsigned last = class_at(t, at), next = class_from(t, i + 1), earlier = PS_BREAK_OTHER;
    if (at > 0) earlier = class_at(t, extended(t, at - 1));
    bool number = behind == PS_BREAK_NUMERIC;
    if (is_letter(last) && is_letter(behind)) return false; /* WB5 */
    if (is_letter(last) && (behind == PS_BREAK_MID_LETTER || is_quote(behind)) && is_letter(next))
        return false;
    if (is_letter(earlier) && (last == PS_BREAK_MID_LETTER || is_quote(last)) && is_letter(behind))
        return false;
    if (last == PS_BREAK_HEBREW && behind == PS_BREAK_SINGLE_QUOTE) return false; /* WB7a */
    if (last == PS_BREAK_HEBREW && behind == PS_BREAK_DOUBLE_QUOTE && next == PS_BREAK_HEBREW) return false;
    if (earlier == PS_BREAK_HEBREW && last == PS_BREAK_DOUBLE_QUOTE && behind == PS_BREAK_HEBREW)
        return false;
    if ((last == PS_BREAK_NUMERIC || is_letter(last)) && number) return false; /* WB8, 9 */
    if (last == PS_BREAK_NUMERIC && is_letter(behind)) return false;           /* WB10 */
    if (earlier == PS_BREAK_NUMERIC && (last == PS_BREAK_MID_NUM || is_quote(last)) && number) return false;
    if (last == PS_BREAK_NUMERIC && (behind == PS_BREAK_MID_NUM || is_quote(behind)) &&
        next == PS_BREAK_NUMERIC)
        return false;                                                           /* WB12 */
    if (last == PS_BREAK_KATAKANA && behind == PS_BREAK_KATAKANA) return false; /* WB13 */
    bool joins = is_letter(last) || last == PS_BREAK_NUMERIC || last == PS_BREAK_KATAKANA;
    if ((joins || last == PS_BREAK_EXTEND_NUM_LET) && behind == PS_BREAK_EXTEND_NUM_LET)
        return false; /* WB13a */
    if (last == PS_BREAK_EXTEND_NUM_LET && (is_letter(behind) || number || behind == PS_BREAK_KATAKANA))
        return false;
    if (behind == PS_BREAK_REGIONAL) { /* WB15, 16 */
        unsigned in_front = 0;
        for (size_t k = i; k > 0; k = extended(t, k - 1)) {
            if (class_at(t, extended(t, k - 1)) != PS_BREAK_REGIONAL) break;
            in_front++;
        }
        if (in_front % 2 == 1) return false;
    }
    return true;
}

static bool is_plain(uint32_t point)
{
    return (point >= '0' && point <= '9') || (point >= 'A' && point <= 'Z') || (point >= 'a' && point <= 'z');
}

/* The end of what begins at `start` for the way of segmentation. */
static size_t end_of(const text *t, const ps_word_rules *rules, size_t start)
{
    size_t end = start + 1;
    if (rules->segmentation == PS_WORDS_UNICODE)
        while (!is_boundary(t, end)) end++;
    else if (is_plain(t->points[start]))
        while (end < t->n && is_plain(t->points[end])) end++;
    return end;
}

static bool makes_word(const ps_word_rules *rules, uint32_t point)
{
    return rules->segmentation == PS_WORDS_UNICODE ? (ps_word_break(point) & PS_BREAK_WORD) != 0
                                                   : is_plain(point);
}

static uint32_t encode(uint8_t *to, uint32_t point)
{
    if (point < 0x80) return to[0] = (uint8_t)point, 1;
    uint32_t more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (uint8_t)(leads[more] | point >> (6 * more));
    for (uint32_t i = 1; i <= more; i++) to[i] = (uint8_t)(0x80 | (point >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

static bool is_stop_word(const uint8_t *bytes, uint32_t size)
{
    return (size == 1 && bytes[0] == 'a') || (size == 2 && memcmp(bytes, "ab", 2) == 0) ||
           (size == 3 && memcmp(bytes, "\xe4\xb8\x80", 3) == 0) || size == 0;
}

/* The words of the whole text, by the model, against those of the kernel. */
static void compare(const text *t, const ps_word_rules *rules, ps_words *words)
{
    ps_word word;
    uint8_t bytes[PS_WORD_BYTES];
    for (size_t start = 0; start < t->n;) {
        size_t end = end_of(t, rules, start);
        for (size_t at = start; at < end; at += rules->longest) {
            size_t behind = end - at < rules->longest ? end : at + rules->longest;
            uint32_t size = 0;
            bool makes = false;
            for (size_t i = at; i < behind; i++) {
                uint32_t point = t->points[i];
                makes = makes || makes_word(rules, point);
                if (rules->lower && point >= 'A' && point <= 'Z') point += 'a' - 'A';
                size += encode(bytes + size, point);
            }
            if (!makes || behind - at < rules->shortest) continue;
            if (rules->stop_words != NULL && is_stop_word(bytes, size)) continue;
            FUZZ_REQUIRE(ps_words_next(words, &word));
            FUZZ_REQUIRE(word.start == at && word.end == behind);
            FUZZ_REQUIRE(word.size == size && memcmp(word.bytes, bytes, size) == 0);
            volatile uint8_t last = word.bytes[word.size + PS_WORD_BEHIND - 1]; /* it can be read */
            (void)last;
        }
        start = end;
    }
    FUZZ_REQUIRE(!ps_words_next(words, &word));
    FUZZ_REQUIRE(!ps_words_next(words, &word));
}

/* ---- texts ---- */

/* Some code points of one kind: ASCII, what is tied over spaces, or any. */
static uint32_t choose(fuzz_input *input, uint32_t *chosen)
{
    static const uint32_t tied[] = {' ', '.', 'a', '\r', 0xe9, 0x301, 0x200d, 0x24c2, 0x2764, 0x3000};
    enum { KINDS = sizeof PALETTE / sizeof *PALETTE, ASCII = 18, TIED = sizeof tied / sizeof *tied };
    uint32_t choices = 1 + (uint32_t)fuzz_take(input, 1) % 10;
    unsigned kind = (unsigned)fuzz_take(input, 1) % 4;
    for (uint32_t i = 0; i < choices; i++) {
        unsigned byte = (unsigned)fuzz_take(input, 1);
        chosen[i] = kind == 0 ? tied[byte % TIED] : PALETTE[byte % (kind == 1 ? ASCII : KINDS)];
    }
    return choices;
}

static void any_text(fuzz_input *input, text *t)
{
    uint32_t chosen[10], choices = choose(input, chosen);
    size_t parts = fuzz_take(input, 1) % 100;
    t->n = 0;
    for (size_t p = 0; p < parts && input->left > 0; p++) {
        unsigned byte = (unsigned)fuzz_take(input, 1);
        size_t times = byte % 64 == 0 ? 200 + (size_t)fuzz_take(input, 2) % 1000 : byte % 16 == 0 ? 20 : 1;
        for (; times > 0 && t->n < MOST; times--) t->points[t->n++] = chosen[byte / 7 % choices];
    }
}

/* As large as it is, so that the sanitizer sees reads beyond it. */
static void *narrowed(const text *t, unsigned width)
{
    uint8_t *memory = malloc(t->n > 0 ? t->n * width : 1);
    FUZZ_REQUIRE(memory != NULL);
    for (size_t i = 0; i < t->n; i++) {
        uint16_t half = (uint16_t)t->points[i];
        if (width == 1) memory[i] = (uint8_t)t->points[i];
        if (width == 2) memcpy(memory + 2 * i, &half, 2);
        if (width == 4) memcpy(memory + 4 * i, &t->points[i], 4);
    }
    return memory;
}

static bool memory_ends;

static void *resize(void *memory, size_t size) { return memory_ends ? NULL : realloc(memory, size); }

static void try_rules(fuzz_input *input, const text *t)
{
    static const uint32_t sizes[] = {1, 2, 3, 0, 1};
    static const uint32_t longest[] = {1, 2, 5, 100, 254, 255, 255, 255};
    const ps_allocator allocator = {resize, free};
    ps_stop_words *set = NULL;
    memory_ends = fuzz_take(input, 1) % 8 == 0;
    ps_status status = ps_stop_words_init(&set,
                                          (const uint8_t *)"aab\xe4\xb8\x80"
                                                           "a",
                                          sizes, 5, allocator);
    FUZZ_REQUIRE(status == (memory_ends ? PS_NO_MEMORY : PS_OK));
    ps_word_rules rules = {
        .segmentation = fuzz_take(input, 1) % 4 ? PS_WORDS_UNICODE : PS_WORDS_ASCII,
        .lower = fuzz_take(input, 1) % 2,
        .shortest = (uint32_t)fuzz_take(input, 1) % 4,
        .longest = longest[fuzz_take(input, 1) % 8],
        .stop_words = fuzz_take(input, 1) % 2 ? set : NULL,
    };
    uint32_t greatest = 0;
    for (size_t i = 0; i < t->n; i++) greatest = t->points[i] > greatest ? t->points[i] : greatest;
    for (unsigned width = greatest > 0xffff ? 4 : greatest > 0xff ? 2 : 1; width <= 4; width *= 2) {
        void *memory = narrowed(t, width);
        ps_words words;
        memset(&words, 0xa5, sizeof words); /* nothing that was there before counts */
        ps_words_begin(&words, &rules, memory, t->n, width);
        compare(t, &rules, &words);
        free(memory);
    }
    ps_stop_words_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static text t;
    fuzz_input input = {data, size};
    for (unsigned i = 0; i < 3 && input.left > 0; i++) {
        any_text(&input, &t);
        try_rules(&input, &t);
    }
    return 0;
}
