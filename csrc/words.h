/* words -- text taken apart into words, as a search index takes documents and queries apart.
 *
 *     ps_words words;
 *     ps_words_begin(&words, &rules, text, n, width);
 *     while (ps_words_next(&words, &word)) ...             word.bytes is good until the next call
 *
 * Two ways of segmentation. PS_WORDS_ASCII: maximal runs of [A-Za-z0-9]; everything else parts them.
 * PS_WORDS_UNICODE: the word boundaries of UAX #29 (default rules, without tailoring); of what lies between
 * two boundaries, that is a word which holds a letter, a digit, a kana or an ideograph, or a letter of a
 * script that parts its words nowhere (which comes out alone, as an ideograph does).
 *
 * ASCII letters are lowered here if the rules say so; whoever wants other letters lowered does so before (the
 * whole of it, for a sigma is lowered by its place). A word of more than `longest` code points is cut into
 * pieces of that many; a piece without letter, digit, kana or ideograph is passed over. So are words, and
 * pieces, shorter than `shortest`, and stop words. Words come as UTF-8. Text is an array of code points as
 * CPython's strings are (utf8.h). A lone surrogate is never in a word.
 *
 * Text is looked at in windows, 16 code points at a time; what is between ASCII code points that part words
 * and has none but ASCII needs no table. O(n), whatever the text. Nothing here allocates.
 * Source: Unicode Standard Annex #29, 4.1; the properties are those of word_breaks.h. */
#ifndef PS_WORDS_H
#define PS_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stop_words.h"

#define PS_WORD_LONGEST 255                 /* code points that a word can have */
#define PS_WORD_BYTES (4 * PS_WORD_LONGEST) /* and the bytes that they take */
#define PS_WORD_BEHIND 16                   /* bytes behind a word that can be read, whatever they are */
#define PS_WORDS_WINDOW 1024                /* code points that are looked at together */

enum { PS_WORDS_ASCII = 0, PS_WORDS_UNICODE = 1 };

typedef struct {
    uint8_t segmentation;
    bool lower;                      /* A to Z become a to z */
    uint32_t shortest;               /* code points, of words that are kept */
    uint32_t longest;                /* 1 to PS_WORD_LONGEST */
    const ps_stop_words *stop_words; /* the caller's; NULL: none */
} ps_word_rules;

typedef struct {
    const uint8_t *bytes; /* UTF-8; PS_WORD_BEHIND more can be read */
    uint32_t size;        /* bytes */
    size_t start, end;    /* where it stands in the text: code points */
} ps_word;

/* 4.5 KB, none of which needs to be set before ps_words_begin. */
typedef struct {
    const ps_word_rules *rules;
    const void *text;
    size_t n;
    unsigned width; /* bytes of a code point: 1, 2 or 4 */

    size_t base;       /* where the window begins */
    size_t next;       /* where the next window begins */
    uint32_t edge;     /* a run that ends there or behind it may go on in the next window */
    uint32_t at, most; /* of `turns`: the next start of a run, the end of all of them */
    bool has_high;     /* some are beyond ASCII */

    size_t cut_from, cut_at; /* a word that is being cut, and where its next piece begins */
    size_t slow_at,
        slow_end; /* what is left of a run that the table is for; slow_end is 0 when there is none */
    size_t piece_at, piece_end; /* what is left of a word of that run */

    uint64_t high[PS_WORDS_WINDOW / 64];  /* a bit for each that is beyond ASCII, if any is */
    uint16_t turns[PS_WORDS_WINDOW + 64]; /* starts and ends of runs by turns */
    uint8_t window[PS_WORDS_WINDOW + 64]; /* lowered; 0x80 and more for what is beyond ASCII */
    uint8_t word[PS_WORD_BYTES + PS_WORD_BEHIND];
} ps_words;

void ps_words_begin(ps_words *words, const ps_word_rules *rules, const void *text, size_t n, unsigned width);

/* The next word; false where the text ends. */
bool ps_words_next(ps_words *words, ps_word *word);

#endif
