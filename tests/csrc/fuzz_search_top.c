/* The best k of random scores, many of them equal, against a look for the best over and over. */
#include "fuzz.h"
#include "search_top.h"

#include <stdbool.h>

#define MOST 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint32_t n = (uint32_t)fuzz_between(&input, 0, MOST), k = (uint32_t)fuzz_between(&input, 1, MOST);
    uint32_t different = (uint32_t)fuzz_between(&input, 1, 20);
    double scores[MOST];
    ps_hit *hits = malloc(sizeof(ps_hit) * k); /* of its exact size */
    ps_top top;
    ps_top_init(&top, hits, k);
    for (uint32_t i = 0; i < n; i++) {
        scores[i] = (double)(fuzz_take(&input, 1) % different);
        bool worse = scores[i] <= top.least;
        FUZZ_REQUIRE(top.n < k ? top.least == -1 : top.least >= 0);
        if (!worse) ps_top_add(&top, i, scores[i]);
    }
    ps_top_sort(&top);
    FUZZ_REQUIRE(top.n == (n < k ? n : k));
    for (uint32_t i = 0; i < top.n; i++) {
        uint32_t best = 0;
        for (uint32_t j = 1; j < n; j++)
            if (scores[j] > scores[best]) best = j;
        FUZZ_REQUIRE(hits[i].ordinal == best && hits[i].score == scores[best]);
        scores[best] = -1;
    }
    free(hits);
    return 0;
}
