/* Words a few edits apart, and others: the distance is that of the whole matrix, whatever stands behind their
 * bytes. */
#include <stdbool.h>

#include "edit_distance.h"
#include "fuzz.h"

enum { MOST = 24 };

static const uint32_t PALETTE[] = {'a', 'b', 'c', 0xe9, 0xe8, 0x4e00, 0x4e01, 0x1f600, 0x10ffff};

typedef struct {
    uint32_t points[2 * MOST], n;
    uint8_t *bytes; /* as large as they are, so that the sanitizer sees reads beyond them */
    uint32_t size;
} text;

static uint32_t put(uint8_t *to, uint32_t point)
{
    if (point < 0x80) return to[0] = (uint8_t)point, 1;
    uint32_t more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (uint8_t)(leads[more] | point >> (6 * more));
    for (uint32_t i = 1; i <= more; i++) to[i] = (uint8_t)(0x80 | (point >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

static void encode(text *word)
{
    uint8_t room[8 * MOST];
    word->size = 0;
    for (uint32_t i = 0; i < word->n; i++) word->size += put(room + word->size, word->points[i]);
    word->bytes = malloc(word->size ? word->size : 1);
    FUZZ_REQUIRE(word->bytes != NULL);
    memcpy(word->bytes, room, word->size);
}

static uint32_t any_point(fuzz_input *input, uint32_t kinds) { return PALETTE[fuzz_take(input, 1) % kinds]; }

static void edit(fuzz_input *input, text *word, uint32_t kinds)
{
    uint32_t at = (uint32_t)fuzz_take(input, 1) % (word->n + 1), kind = (uint32_t)fuzz_take(input, 1) % 4;
    uint32_t *points = word->points;
    if (kind == 0 && word->n < MOST) {
        memmove(points + at + 1, points + at, (word->n - at) * sizeof *points);
        points[at] = any_point(input, kinds);
        word->n++;
    } else if (kind == 1 && at < word->n) {
        memmove(points + at, points + at + 1, (word->n - at - 1) * sizeof *points);
        word->n--;
    } else if (kind == 2 && at < word->n) {
        points[at] = any_point(input, kinds);
    } else if (kind == 3 && at + 1 < word->n) {
        uint32_t kept = points[at];
        points[at] = points[at + 1];
        points[at + 1] = kept;
    }
}

static uint32_t least_of(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t whole_matrix(const text *a, const text *b)
{
    static uint32_t d[2 * MOST + 1][2 * MOST + 1];
    for (uint32_t i = 0; i <= a->n; i++)
        for (uint32_t j = 0; j <= b->n; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            bool same = a->points[i - 1] == b->points[j - 1];
            d[i][j] = least_of(least_of(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a->points[i - 1] == b->points[j - 2] &&
                a->points[i - 2] == b->points[j - 1])
                d[i][j] = least_of(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a->n][b->n];
}

static uint32_t expected(const text *a, const text *b, uint32_t limit, uint32_t prefix)
{
    for (uint32_t i = 0; i < prefix && i < a->n; i++)
        if (i >= b->n || a->points[i] != b->points[i]) return UINT32_MAX;
    uint32_t distance = whole_matrix(a, b);
    return distance <= limit ? distance : UINT32_MAX;
}

static void compare(fuzz_input *input)
{
    text a = {.n = (uint32_t)fuzz_take(input, 1) % MOST}, b;
    uint32_t kinds = 1 + (uint32_t)fuzz_take(input, 1) % (sizeof PALETTE / sizeof *PALETTE);
    for (uint32_t i = 0; i < a.n; i++) a.points[i] = any_point(input, kinds);
    b = a;
    for (uint32_t edits = (uint32_t)fuzz_take(input, 1) % 5; edits > 0; edits--) edit(input, &b, kinds);
    encode(&a);
    encode(&b);
    for (uint32_t limit = 0; limit <= 2; limit++)
        for (uint32_t prefix = 0; prefix < 4; prefix++) {
            ps_near near;
            ps_near_init(&near, a.bytes, a.size, limit, prefix);
            FUZZ_REQUIRE(ps_near_distance(&near, b.bytes, b.size) == expected(&a, &b, limit, prefix));
        }
    free(a.bytes);
    free(b.bytes);
}

/* What is no UTF-8 may be at any distance, but nothing beyond it is read. */
static void compare_any_bytes(fuzz_input *input)
{
    uint32_t sizes[2] = {(uint32_t)fuzz_take(input, 1) % 12, (uint32_t)fuzz_take(input, 1) % 12};
    uint8_t *words[2];
    for (unsigned w = 0; w < 2; w++) {
        words[w] = malloc(sizes[w] ? sizes[w] : 1);
        FUZZ_REQUIRE(words[w] != NULL);
        for (uint32_t i = 0; i < sizes[w]; i++)
            words[w][i] = (uint8_t)(fuzz_take(input, 1) % 5 * 0x33 + 0x33);
    }
    ps_near near;
    ps_near_init(&near, words[0], sizes[0], (uint32_t)fuzz_take(input, 1) % 3,
                 (uint32_t)fuzz_take(input, 1) % 3);
    uint32_t found = ps_near_distance(&near, words[1], sizes[1]);
    FUZZ_REQUIRE(found <= near.limit || found == UINT32_MAX);
    free(words[0]);
    free(words[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    for (unsigned i = 0; i < 12 && input.left > 0; i++) {
        compare(&input);
        compare_any_bytes(&input);
    }
    return 0;
}
