/* The order of terms against one that looks at a byte after the other, and the search in a part that is
 * sorted. */
#include "search_part.h"

#include "fuzz.h"

#define MOST 40

static uint8_t bytes[MOST][16];
static ps_term terms[MOST];

static int compare(const void *a, const void *b)
{
    return ps_term_compare(*(const ps_term *)a, *(const ps_term *)b);
}

static int sign(int order) { return (order > 0) - (order < 0); }

/* By field, then by the first byte that differs, then the one that has ended first. */
static int plainly(ps_term a, ps_term b)
{
    if (a.field != b.field) return a.field < b.field ? -1 : 1;
    for (uint32_t i = 0;; i++) {
        if (i == a.size || i == b.size) return (i < a.size) - (i < b.size);
        if (a.bytes[i] != b.bytes[i]) return a.bytes[i] < b.bytes[i] ? -1 : 1;
    }
}

static ps_term term_of(const ps_part *part, uint32_t number)
{
    FUZZ_REQUIRE(number < part->terms);
    return terms[number];
}

static ps_term draw(fuzz_input *input, uint8_t into[16])
{
    uint64_t choice = fuzz_take(input, 1);
    uint32_t size = (uint32_t)(choice >> 2) % 17;
    for (uint32_t i = 0; i < size; i++)
        into[i] = (uint8_t)(choice & 1 ? fuzz_take(input, 1) : 'a' + fuzz_take(input, 1) % 2);
    return (ps_term){.bytes = into, .size = size, .field = (uint32_t)fuzz_take(input, 1) % 3};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint32_t n = (uint32_t)fuzz_take(&input, 1) % (MOST + 1);
    for (uint32_t i = 0; i < n; i++) terms[i] = draw(&input, bytes[i]);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            FUZZ_REQUIRE(sign(ps_term_compare(terms[i], terms[j])) == plainly(terms[i], terms[j]));
            if (plainly(terms[i], terms[j]) == 0)
                FUZZ_REQUIRE(ps_term_hash(terms[i], 7) == ps_term_hash(terms[j], 7));
        }
    if (n > 0) qsort(terms, n, sizeof *terms, compare);
    ps_part part = {.terms = n, .sorted = true, .term = term_of};
    for (int i = 0; i < 8; i++) {
        uint8_t room[16];
        ps_term term = draw(&input, room);
        uint32_t expected = 0;
        while (expected < n && plainly(terms[expected], term) < 0) expected++;
        FUZZ_REQUIRE(ps_part_first_at(&part, term) == expected);
    }
    return 0;
}
