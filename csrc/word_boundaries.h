/* word_boundaries -- the part of words.c that goes by the rules of UAX #29, over any code points.
 *
 * `words` stands for its text alone. Rules are called WB as the annex calls them. What lies between two
 * boundaries is passed twice at most. */
#ifndef PS_WORD_BOUNDARIES_H
#define PS_WORD_BOUNDARIES_H

#include "word_breaks.h"
#include "words.h"

static inline uint32_t code_point(const void *text, size_t i, unsigned width)
{
    return width == 1   ? ((const uint8_t *)text)[i]
           : width == 2 ? ((const uint16_t *)text)[i]
                        : ((const uint32_t *)text)[i];
}

static inline uint8_t break_at(const ps_words *words, size_t i)
{
    return ps_word_break(code_point(words->text, i, words->width));
}

static inline bool is_passed_over(unsigned class) /* WB4 */
{
    return class == PS_BREAK_EXTEND || class == PS_BREAK_FORMAT || class == PS_BREAK_ZWJ;
}

static inline bool is_any_letter(unsigned class)
{
    return class == PS_BREAK_LETTER || class == PS_BREAK_HEBREW;
}

/* The first from `i` on that is not passed over; n if there is none. */
static inline size_t behind_extenders(const ps_words *words, size_t i)
{
    while (i < words->n && is_passed_over(break_at(words, i) & PS_BREAK_CLASS)) i++;
    return i;
}

/* Whether the rules for two neighbours have no boundary between `last` and `class`. */
static inline bool joined(unsigned last, unsigned class)
{
    bool letter = is_any_letter(class), number = class == PS_BREAK_NUMERIC;
    switch (last) {
    case PS_BREAK_HEBREW:
        if (class == PS_BREAK_SINGLE_QUOTE) return true; /* WB7a */
        return letter || number || class == PS_BREAK_EXTEND_NUM_LET;
    case PS_BREAK_LETTER:
    case PS_BREAK_NUMERIC:
        return letter || number || class == PS_BREAK_EXTEND_NUM_LET; /* WB5, 8, 9, 10, 13a */
    case PS_BREAK_KATAKANA:
        return class == PS_BREAK_KATAKANA || class == PS_BREAK_EXTEND_NUM_LET; /* WB13, 13a */
    case PS_BREAK_EXTEND_NUM_LET:
        return letter || number || class == PS_BREAK_KATAKANA || class == last; /* WB13a, 13b */
    default:
        return false;
    }
}

/* Whether what is of `class` parts not what stands on both of its sides. */
static inline bool bridges(unsigned last, unsigned class, unsigned behind)
{
    switch (class) {
    case PS_BREAK_SINGLE_QUOTE:
    case PS_BREAK_MID_NUM_LET: /* WB6, 7, 11, 12 */
        return (is_any_letter(last) && is_any_letter(behind)) ||
               (last == PS_BREAK_NUMERIC && behind == PS_BREAK_NUMERIC);
    case PS_BREAK_MID_LETTER:
        return is_any_letter(last) && is_any_letter(behind);
    case PS_BREAK_MID_NUM:
        return last == PS_BREAK_NUMERIC && behind == PS_BREAK_NUMERIC;
    case PS_BREAK_DOUBLE_QUOTE: /* WB7b, 7c */
        return last == PS_BREAK_HEBREW && behind == PS_BREAK_HEBREW;
    default:
        return false;
    }
}

/* Where what begins at `start`, which is a boundary, ends; whether something in it makes it a word. */
static size_t next_boundary(const ps_words *words, size_t start, bool *is_word)
{
    size_t n = words->n, i = start + 1;
    uint8_t first = break_at(words, start);
    unsigned last = first & PS_BREAK_CLASS; /* of the last that was not passed over */
    unsigned previous = last;               /* of the last */
    uint8_t seen = first;
    if (last == PS_BREAK_CR || last == PS_BREAK_LF || last == PS_BREAK_NEWLINE) { /* WB3, 3a, 3b */
        *is_word = false;
        bool pair = last == PS_BREAK_CR && i < n && break_at(words, i) == PS_BREAK_LF;
        return i + pair;
    }
    bool odd = last == PS_BREAK_REGIONAL; /* an odd number of them: another one is the second of two */
    for (; i < n; i++) {
        uint8_t value = break_at(words, i);
        unsigned class = value & PS_BREAK_CLASS;
        if (is_passed_over(class)) {
            previous = class;
            continue;
        }
        if (previous == PS_BREAK_ZWJ && (value & PS_BREAK_PICTURE) != 0) { /* WB3c */
            odd = false;
        } else if (class == PS_BREAK_REGIONAL && odd) { /* WB15, 16 */
            odd = false;
        } else if (class == PS_BREAK_SPACE && previous == PS_BREAK_SPACE) { /* WB3d */
        } else if (!joined(last, class)) {
            if (class < PS_BREAK_SINGLE_QUOTE || class > PS_BREAK_MID_NUM) break; /* it bridges nothing */
            size_t behind = behind_extenders(words, i + 1);
            if (behind == n) break;
            uint8_t next = break_at(words, behind);
            if (!bridges(last, class, next & PS_BREAK_CLASS)) break;
            i = behind;
            value = next;
            class = next & PS_BREAK_CLASS;
        } else if (last == PS_BREAK_HEBREW && class == PS_BREAK_SINGLE_QUOTE) {
            size_t behind = behind_extenders(words, i + 1); /* it goes with the letter, and bridges perhaps */
            if (behind < n && is_any_letter(break_at(words, behind) & PS_BREAK_CLASS)) {
                i = behind;
                value = break_at(words, behind);
                class = value & PS_BREAK_CLASS;
            }
        }
        seen |= value;
        last = previous = class;
    }
    *is_word = (seen & PS_BREAK_WORD) != 0;
    return i;
}

static inline bool is_space(const ps_words *words, size_t i)
{
    return code_point(words->text, i, words->width) == ' ';
}

/* The boundary in front of a run that begins at `start`: its first may go with what stands before it, as
 * marks and spaces do. */
static size_t boundary_before(const ps_words *words, size_t start)
{
    unsigned class = break_at(words, start) & PS_BREAK_CLASS;
    if (start == 0 || !(is_passed_over(class) || class == PS_BREAK_SPACE)) return start;
    if (class == PS_BREAK_SPACE && !is_space(words, start - 1)) return start;
    start--;
    while (start > 0 && is_space(words, start) && is_space(words, start - 1)) start--; /* WB3d */
    return start;
}

#endif
