/* Filters against loops, over arrays of their exact size. */
#include "fuzz.h"
#include "search_filter.h"

#define MOST 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t FREQS[] = {1, 2, 3, 7, 1000, INT32_MAX, UINT32_C(1) << 31};
    static const double SCORES[] = {0, 0.5, 1, 1 + 0x1p-52, 2, 1e300};
    fuzz_input input = {data, size};
    uint32_t n = (uint32_t)fuzz_between(&input, 1, MOST), least = FREQS[fuzz_take(&input, 1) % 7];
    double need = fuzz_take(&input, 1) % 5 == 0 ? -1 : SCORES[fuzz_take(&input, 1) % 6];
    uint32_t *freqs = calloc(n, 4), *at = calloc(n, 4);
    double *scores = calloc(n, 8);
    for (uint32_t i = 0; i < n; i++) {
        freqs[i] = FREQS[fuzz_take(&input, 1) % 7];
        scores[i] = SCORES[fuzz_take(&input, 1) % 6];
    }
    uint32_t found = ps_filter_freqs(freqs, n, least, at), seen = 0;
    for (uint32_t i = 0; i < n; i++)
        if (freqs[i] >= least) FUZZ_REQUIRE(seen < found && at[seen++] == i);
    FUZZ_REQUIRE(seen == found);
    found = ps_filter_scores(scores, n, need, at);
    seen = 0;
    for (uint32_t i = 0; i < n; i++)
        if (scores[i] > need) FUZZ_REQUIRE(seen < found && at[seen++] == i);
    FUZZ_REQUIRE(seen == found);
    free(freqs);
    free(at);
    free(scores);
    return 0;
}
