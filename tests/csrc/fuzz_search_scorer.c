/* Impacts against the formulas as the header writes them; blocks against single postings; bounds against what
 * they bound; sums against other orders. */
#include "fuzz.h"
#include "search_scorer.h"

#include <math.h>

#define DOCS 300

static double real(fuzz_input *input, double most)
{
    static const double SOME[] = {0, 1, 0.75, 1.2, 1e-6, 1e6};
    uint64_t choice = fuzz_take(input, 1);
    double x = choice < 128 ? SOME[choice % 6] : (double)fuzz_take(input, 4) / 0x1p32 * most;
    return x > most ? most : x;
}

static double saturation(const ps_scorer *s, double f, double n, double a)
{
    double x;
    switch (s->variant) {
    case PS_TFIDF:
        return f / n;
    case PS_TFIDF_CLASSIC:
        return sqrt(f / n);
    case PS_BM25_LONG:
        x = f / ((1 - s->b) + (s->b / a) * n) + s->delta;
        return x / (x + s->k1);
    default:
        return f / (f + (s->k1 * (1 - s->b) + (s->k1 * s->b / a) * n));
    }
}

static double weight_of(const ps_scorer *s, double weight, double idf)
{
    bool more = s->variant == PS_BM25_ATIRE || s->variant == PS_BM25_PLUS || s->variant == PS_BM25_LONG;
    return more ? weight * idf * (s->k1 + 1) : weight * idf;
}

static void check_peaks(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                        const uint32_t *lengths, const double *impacts)
{
    ps_peak peaks[PS_PEAKS];
    ps_block_peaks(docs, freqs, n, lengths, peaks);
    double bound = ps_impact_bound(impact, peaks);
    for (uint32_t i = 0; i < n; i++) FUZZ_REQUIRE(impacts[i] <= bound);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_scorer scorer = {(uint8_t)(fuzz_take(&input, 1) % 7), real(&input, 1e6), real(&input, 1),
                        real(&input, 1e6)};
    uint32_t live = (uint32_t)fuzz_between(&input, 1, UINT32_MAX),
             df = (uint32_t)fuzz_between(&input, 1, live);
    double idf = ps_scorer_idf(&scorer, df, live), boost = real(&input, 1e9), average = 1 + real(&input, 1e6);
    FUZZ_REQUIRE(idf >= 0 && idf < 1e4);
    ps_impact impact = ps_impact_of(&scorer, boost, idf, average);
    double added = scorer.variant == PS_BM25_PLUS ? scorer.delta / (scorer.k1 + 1) : 0;
    double weight = weight_of(&scorer, boost, idf), other = real(&input, 1e9);
    FUZZ_REQUIRE(impact.weight == weight && ps_impact_most(&impact, &scorer) == weight * (1 + added));
    double grid = ps_impact_grid(weight * (1 + added) + other);
    ps_impact_set_grid(&impact, grid);
    if (fuzz_take(&input, 1) % 4 == 0) impact.field = 0.5;

    uint32_t lengths[DOCS + 16], docs[PS_BLOCK], freqs[PS_BLOCK],
        n = (uint32_t)fuzz_between(&input, 1, PS_BLOCK);
    double impacts[PS_BLOCK], there = 0, back = 0;
    for (uint32_t i = 0; i < DOCS; i++) lengths[i] = 1 + (uint32_t)(i * (1 + (uint64_t)average) % 100003);
    for (uint32_t i = 0, doc = 0; i < n; i++) {
        docs[i] = doc;
        doc += 1 + (uint32_t)(fuzz_take(&input, 1) % 2);
        uint32_t length = lengths[docs[i]];
        freqs[i] =
            1 + (uint32_t)(fuzz_take(&input, 4) % (fuzz_take(&input, 1) % 2 || length < 4 ? length : 4));
    }
    ps_impact_block(&impact, docs, freqs, n, lengths, impacts);
    for (uint32_t i = 0; i < n; i++) {
        double f = freqs[i] * impact.field, length = lengths[docs[i]] * impact.field;
        double x = weight * saturation(&scorer, f, length, average) + weight * added;
        FUZZ_REQUIRE(impacts[i] == (x + grid) - grid);
        FUZZ_REQUIRE(impacts[i] == ps_impact_at(&impact, f, length));
        FUZZ_REQUIRE(impacts[i] >= 0 && impacts[i] <= weight * (1 + added) + impact.step);
    }
    check_peaks(&impact, docs, freqs, n, lengths, impacts);

    /* Sums of at most S are exact: the same from either end. */
    ps_impact_set_grid(&impact, ps_impact_grid(weight * (1 + added) * n));
    ps_impact_block(&impact, docs, freqs, n, lengths, impacts);
    for (uint32_t i = 0; i < n; i++) there += impacts[i];
    for (uint32_t i = n; i-- > 0;) back += impacts[i];
    FUZZ_REQUIRE(there == back);
    return 0;
}
