#include "words.h"

#include <string.h>

#include "word_boundaries.h"

#if defined(__SSE2__) && !defined(PS_NO_SIMD)
#include <emmintrin.h>
#define HAS_SSE2 1
#else
#define HAS_SSE2 0
#endif

enum { WINDOW = PS_WORDS_WINDOW, GROUP = 64 };

_Static_assert(PS_WORD_LONGEST + 2 < WINDOW,
               "a word that is not cut has room in a window with what is behind it");

/* ---- what each code point of a window is: a bit for each of 64 ---- */

typedef struct {
    uint64_t high, letters, digits;
    uint64_t low_lines;   /* only these five for PS_WORDS_UNICODE */
    uint64_t letter_mids; /* part no letters that stand on both sides: : . ' */
    uint64_t digit_mids;  /* part no digits that stand on both sides: , ; . ' */
} group_bits;

static inline bool is_letter(uint32_t point) { return (point | 0x20) - 'a' < 26; }

static inline bool is_digit(uint32_t point) { return point - '0' < 10; }

static inline uint32_t lowered(uint32_t point) { return point - 'A' < 26 ? point | 0x20 : point; }

#if HAS_SSE2
/* The next 16, as bytes: 0xff for what is greater. */
static inline __m128i load_16(const void *text, size_t at, unsigned width)
{
    const __m128i *from = (const __m128i *)(const void *)((const uint8_t *)text + at * width);
    if (width == 1) return _mm_loadu_si128(from);
    const __m128i byte = _mm_set1_epi16(0xff);
    __m128i low, high;
    if (width == 2) {
        low = _mm_loadu_si128(from);
        high = _mm_loadu_si128(from + 1);
        low = _mm_sub_epi16(low, _mm_subs_epu16(low, byte)); /* the lesser of both */
        high = _mm_sub_epi16(high, _mm_subs_epu16(high, byte));
    } else {
        low = _mm_packs_epi32(_mm_loadu_si128(from), _mm_loadu_si128(from + 1));
        high = _mm_packs_epi32(_mm_loadu_si128(from + 2), _mm_loadu_si128(from + 3));
        low = _mm_min_epi16(low, byte);
        high = _mm_min_epi16(high, byte);
    }
    return _mm_packus_epi16(low, high);
}

static inline uint64_t bits_of(__m128i truth, unsigned at)
{
    return (uint64_t)(uint32_t)_mm_movemask_epi8(truth) << at;
}

static inline __m128i equal_to(__m128i some, char byte) { return _mm_cmpeq_epi8(some, _mm_set1_epi8(byte)); }

/* Between two bytes, all three below 0x80. */
static inline __m128i within(__m128i some, char least, char most)
{
    return _mm_and_si128(_mm_cmpgt_epi8(some, _mm_set1_epi8((char)(least - 1))),
                         _mm_cmplt_epi8(some, _mm_set1_epi8((char)(most + 1))));
}

static inline void look_at_16(const void *text, size_t at, unsigned width, bool unicode, uint8_t lower,
                              uint8_t *to, group_bits *bits, unsigned shift)
{
    __m128i some = load_16(text, at, width);
    __m128i letters = within(_mm_or_si128(some, _mm_set1_epi8(0x20)), 'a', 'z');
    __m128i low = _mm_or_si128(some, _mm_and_si128(letters, _mm_set1_epi8((char)lower)));
    _mm_storeu_si128((__m128i *)(void *)to, low);
    bits->high |= bits_of(some, shift);
    bits->letters |= bits_of(letters, shift);
    bits->digits |= bits_of(within(some, '0', '9'), shift);
    if (!unicode) return;
    __m128i both = _mm_or_si128(equal_to(some, '.'), equal_to(some, '\''));
    bits->low_lines |= bits_of(equal_to(some, '_'), shift);
    bits->letter_mids |= bits_of(_mm_or_si128(both, equal_to(some, ':')), shift);
    bits->digit_mids |=
        bits_of(_mm_or_si128(both, _mm_or_si128(equal_to(some, ','), equal_to(some, ';'))), shift);
}
#else
static inline void look_at_16(const void *text, size_t at, unsigned width, bool unicode, uint8_t lower,
                              uint8_t *to, group_bits *bits, unsigned shift)
{
    for (unsigned i = 0; i < 16; i++) {
        uint32_t point = code_point(text, at + i, width);
        uint64_t bit = UINT64_C(1) << (shift + i);
        if (point > 0xff) point = 0xff;
        to[i] = (uint8_t)(is_letter(point) ? point | lower : point);
        if (point >= 0x80) bits->high |= bit;
        if (is_letter(point)) bits->letters |= bit;
        if (is_digit(point)) bits->digits |= bit;
        if (!unicode) continue;
        if (point == '_') bits->low_lines |= bit;
        if (point == ':' || point == '.' || point == '\'') bits->letter_mids |= bit;
        if (point == ',' || point == ';' || point == '.' || point == '\'') bits->digit_mids |= bit;
    }
}
#endif

/* 64 code points, or `size` of them and then zeros. */
static inline group_bits look_at_group(const void *text, size_t at, size_t size, unsigned width, bool unicode,
                                       uint8_t lower, uint8_t *to)
{
    group_bits bits = {0};
    uint32_t room[GROUP];
    if (size < GROUP) {
        memset(room, 0, GROUP * width);
        memcpy(room, (const uint8_t *)text + at * width, size * width);
        text = room;
        at = 0;
    }
    unsigned i = 0;
    for (; i < GROUP && i < size; i += 16) look_at_16(text, at + i, width, unicode, lower, to + i, &bits, i);
    if (i < GROUP) to[i] = 0; /* it stands beside the last of the text */
    return bits;
}

/* ---- the runs of a window ---- */

/* Each bit of `bits` moved on by one, and back by one, with what comes in from the groups beside. */
static inline uint64_t moved_on(uint64_t bits, uint64_t before) { return bits << 1 | before >> 63; }

static inline uint64_t moved_back(uint64_t bits, uint64_t behind) { return bits >> 1 | behind << 63; }

/* Writes where the bits are that are set; what is behind the end is overwritten later. */
static inline uint16_t *write_turns(uint16_t *turns, uint64_t bits, unsigned base)
{
    uint16_t *end = turns + __builtin_popcountll(bits);
    while (bits != 0) {
        for (unsigned i = 0; i < 8; i++) {
            turns[i] = (uint16_t)(base + (unsigned)__builtin_ctzll(bits | UINT64_C(1) << 63));
            bits &= bits - 1;
        }
        turns += 8;
    }
    return end;
}

/* In text beyond ASCII, quotes and the like belong to a run if one of such code points stands beside them:
 * only the table tells whether they part it. */
static inline bool is_mid(uint8_t byte)
{
    return byte == ':' || byte == '.' || byte == '\'' || byte == ',' || byte == ';' || byte == '"';
}

static uint64_t mids_beside_high(const uint8_t *window, uint64_t beside)
{
    uint64_t mids = 0;
    for (; beside != 0; beside &= beside - 1) {
        unsigned i = (unsigned)__builtin_ctzll(beside);
        if (is_mid(window[i])) mids |= UINT64_C(1) << i;
    }
    return mids;
}

/* What a run is made of, group by group. For UNICODE: letters, digits, low lines, all that is beyond ASCII,
 * and what parts no word where it stands. */
static inline void find_runs(ps_words *words, size_t size, bool unicode, unsigned width)
{
    enum { GROUPS = WINDOW / GROUP };
    group_bits groups[GROUPS + 2]; /* with one before and one behind */
    unsigned used = (unsigned)((size + GROUP - 1) / GROUP);
    uint8_t lower = words->rules->lower ? 0x20 : 0;
    uint64_t high = 0;
    for (unsigned g = 0; g < used; g++) {
        size_t from = (size_t)g * GROUP;
        groups[g + 1] = look_at_group(words->text, words->base + from, size - from, width, unicode, lower,
                                      words->window + from);
        high |= groups[g + 1].high;
    }
    words->has_high = unicode && high != 0;
    groups[0] = groups[used + 1] = (group_bits){0};
    if (words->base > 0) { /* a word that was cut may go on */
        uint32_t before = code_point(words->text, words->base - 1, width);
        groups[0].letters = (uint64_t)is_letter(before) << 63;
        groups[0].digits = (uint64_t)is_digit(before) << 63;
    }
    uint16_t *turns = words->turns;
    uint64_t run_before = 0;
    for (unsigned g = 1; g <= used; g++) {
        const group_bits *bits = &groups[g], *before = bits - 1, *behind = bits + 1;
        uint64_t run = bits->letters | bits->digits;
        if (unicode) {
            uint64_t letters =
                moved_on(bits->letters, before->letters) & moved_back(bits->letters, behind->letters);
            uint64_t digits =
                moved_on(bits->digits, before->digits) & moved_back(bits->digits, behind->digits);
            run |= bits->low_lines | (letters & bits->letter_mids) | (digits & bits->digit_mids);
        }
        if (words->has_high) {
            uint64_t beside = moved_on(bits->high, before->high) | moved_back(bits->high, behind->high);
            run |=
                bits->high | mids_beside_high(words->window + (size_t)(g - 1) * GROUP, beside & ~bits->high);
            words->high[g - 1] = bits->high;
        }
        turns = write_turns(turns, run ^ moved_on(run, run_before), (g - 1) * GROUP);
        run_before = run;
    }
    if (run_before >> 63) *turns++ = (uint16_t)(used * GROUP);
    words->at = 0;
    words->most = (uint32_t)(turns - words->turns);
}

/* Looks at what begins at `base`. */
static void look_at_window(ps_words *words, size_t base)
{
    size_t left = words->n - base, size = left < WINDOW ? left : WINDOW;
    words->base = base;
    words->next = base + size;
    words->edge = left <= WINDOW ? UINT32_MAX : WINDOW - 1; /* the last one joins what is behind, perhaps */
    bool unicode = words->rules->segmentation == PS_WORDS_UNICODE;
    if (words->width == 1)
        unicode ? find_runs(words, size, true, 1) : find_runs(words, size, false, 1);
    else if (words->width == 2)
        unicode ? find_runs(words, size, true, 2) : find_runs(words, size, false, 2);
    else
        unicode ? find_runs(words, size, true, 4) : find_runs(words, size, false, 4);
}

static bool has_high(const ps_words *words, uint32_t start, uint32_t end)
{
    for (uint32_t g = start / GROUP; g <= (end - 1) / GROUP; g++) {
        uint64_t bits = words->high[g];
        if (g == start / GROUP) bits &= UINT64_MAX << start % GROUP;
        if (g == (end - 1) / GROUP) bits &= UINT64_MAX >> (GROUP - 1 - (end - 1) % GROUP);
        if (bits != 0) return true;
    }
    return false;
}

/* ---- words ---- */

static inline uint8_t *write_utf8(uint8_t *to, uint32_t point)
{
    if (point < 0x80) {
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

static inline bool is_kept(const ps_word_rules *rules, const ps_word *word)
{
    if (word->end - word->start < rules->shortest) return false;
    return rules->stop_words == NULL || !ps_stop_words_has(rules->stop_words, word->bytes, word->size);
}

/* The next of a run that the table is for; false where the run ends. */
static bool next_slow(ps_words *words, ps_word *word)
{
    const ps_word_rules *rules = words->rules;
    for (;;) {
        while (words->piece_at == words->piece_end) {
            if (words->slow_at >= words->slow_end) return false;
            bool is_word;
            words->piece_at = words->slow_at;
            words->slow_at = words->piece_end = next_boundary(words, words->slow_at, &is_word);
            if (!is_word) words->piece_at = words->piece_end;
        }
        size_t start = words->piece_at, left = words->piece_end - start;
        size_t end = start + (left < rules->longest ? left : rules->longest);
        uint8_t *to = words->word, seen = 0;
        for (size_t i = start; i < end; i++) {
            uint32_t point = code_point(words->text, i, words->width);
            seen |= ps_word_break(point);
            to = write_utf8(to, rules->lower ? lowered(point) : point);
        }
        words->piece_at = end;
        *word = (ps_word){words->word, (uint32_t)(to - words->word), start, end};
        if ((seen & PS_BREAK_WORD) != 0 && is_kept(rules, word)) return true;
    }
}

/* Whether a run that has none but ASCII is a word: `_`, or what a word was cut before, may be there alone. */
static bool has_letter_or_digit(const uint8_t *run, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        if (is_letter(run[i]) || is_digit(run[i])) return true;
    return false;
}

/* What begins at `start`, be it in the middle of a word that is being cut, up to `end` is for the table. */
static void begin_slow(ps_words *words, size_t start, size_t end)
{
    bool is_word;
    words->slow_end = end;
    words->piece_at = start;
    if (start == words->cut_at)
        words->slow_at = words->piece_end = next_boundary(words, words->cut_from, &is_word);
    else
        words->slow_at = words->piece_at = words->piece_end = boundary_before(words, start);
}

/* The last word may have gone on behind the run, into the next window, or the next run, whose rest is for the
 * table too. */
static void end_slow(ps_words *words)
{
    words->slow_end = 0;
    if (words->slow_at > words->next) words->next = words->slow_at;
    while (words->at < words->most && words->base + words->turns[words->at] < words->slow_at) {
        size_t end = words->base + words->turns[words->at + 1];
        words->at += 2;
        if (end > words->slow_at) words->slow_end = end;
    }
}

void ps_words_begin(ps_words *words, const ps_word_rules *rules, const void *text, size_t n, unsigned width)
{
    words->rules = rules;
    words->text = text;
    words->n = n;
    words->width = width;
    words->base = words->next = 0;
    words->at = words->most = 0;
    words->slow_end = 0;
    words->cut_from = words->cut_at = n;
}

bool ps_words_next(ps_words *words, ps_word *word)
{
    const ps_word_rules *rules = words->rules;
    for (;;) {
        while (words->slow_end > 0) {
            if (next_slow(words, word)) return true;
            end_slow(words);
        }
        while (words->at == words->most) {
            if (words->next == words->n) return false;
            look_at_window(words, words->next);
        }
        uint32_t start = words->turns[words->at], end = words->turns[words->at + 1];
        if (words->has_high && has_high(words, start, end)) {
            words->at += 2;
            begin_slow(words, words->base + start, words->base + end);
            continue;
        }
        if (end - start > rules->longest) {
            if (words->base + start != words->cut_at) words->cut_from = words->base + start;
            end = start + rules->longest;
            words->turns[words->at] = (uint16_t)end;
            words->cut_at = words->base + end;
        } else if (end >= words->edge) {
            look_at_window(words, words->base + start);
            continue;
        } else {
            words->at += 2;
        }
        const uint8_t *bytes = words->window + start;
        *word = (ps_word){bytes, end - start, words->base + start, words->base + end};
        bool plain = is_letter(*bytes) || is_digit(*bytes);
        if ((plain || has_letter_or_digit(bytes, end - start)) && is_kept(rules, word)) return true;
    }
}
