/* search_scorer -- what a posting is worth: BM25 in five variants and TF-IDF in two.
 *
 *     weight = boost * how often the query has the word * idf(df, live)
 *     impact = weight * saturation(freq, length) + weight * added
 *
 * Scores are exact sums. Each impact is rounded to a grid that is so fine (2^-51 of the most that the query
 * can give) and so chosen that all sums of impacts are numbers of it which a double holds exactly: so a sum
 * is the same in whatever order it is added up, in pruned and in exhaustive search and in both twins, and
 * equal scores are equal. The grid follows from the plan alone: with S the sum of weight * (1 + added) over
 * all its words and phrases (0 for what is not there), and of the scores of its CONST nodes, from 0 in the
 * order of the nodes, and 2^e the least power of two above S, impact := (impact + 2^(e+1)) - 2^(e+1). The
 * score of a CONST is rounded likewise. If S is 0 all scores are.
 *
 * Expressions are evaluated in double just as written here; the fallback evaluates the same ones:
 *
 *     variant     idf                                  weight *=     saturation(f, n), a = average length
 *     LUCENE      log(1 + (N - df + 0.5)/(df + 0.5))   1             f / (f + (k1*(1 - b) + (k1*b/a)*n))
 *     ROBERTSON   log(max((N - df + 0.5)/(df + 0.5), 1))   1         the same
 *     ATIRE       log(N/df)                            k1 + 1        the same
 *     PLUS        log((N + 1)/df)                      k1 + 1        the same; added = delta / (k1 + 1)
 *     LONG        log((N + 1)/(df + 0.5))              k1 + 1        x / (x + k1), x = f / ((1 - b) +
 * (b/a)*n) + delta TFIDF       log(N/df)                            1             f / n CLASSIC     (1 +
 * log((N + 1)/(df + 1)))^2        1             sqrt(f / n)
 *
 * a is words of live documents / live documents, and b/a is 0 where a is 0. df = 0: the term matches nothing.
 * Of a word in several fields with weights w: f = sum(w*f), n = sum(w*n), a = sum(w*a), df = the greatest of
 * its fields (BM25F as Lucene's CombinedFieldQuery has it: as though a field's text were there w times).
 * Sources: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009; Robertson, Zaragoza and
 * Taylor, Simple BM25 Extension to Multiple Weighted Fields, 2004; Lv and Zhai 2011 (BM25+, BM25L); Trotman
 * et al. 2012 (ATIRE); Kamphuis et al., Which BM25 Do You Mean?, 2020; Demmel and Nguyen, Fast Reproducible
 * Floating-Point Summation, 2013. */
#ifndef PS_SEARCH_SCORER_H
#define PS_SEARCH_SCORER_H

#include <stdint.h>

#include "posting_list.h"

enum {
    PS_BM25_LUCENE = 0,
    PS_BM25_ROBERTSON = 1,
    PS_BM25_ATIRE = 2,
    PS_BM25_PLUS = 3,
    PS_BM25_LONG = 4,
    PS_TFIDF = 5,
    PS_TFIDF_CLASSIC = 6,
};

typedef struct {
    uint8_t variant;
    double k1, b, delta; /* k1 >= 0, 0 <= b <= 1, delta >= 0; TF-IDF has none */
} ps_scorer;

double ps_scorer_idf(const ps_scorer *scorer, uint32_t df, uint32_t live);

/* What a leaf of the plan gives to a document, all that can be known before. */
typedef struct ps_impact {
    double weight, added; /* added: the weight times what the table says */
    double flat, slope;   /* k1*(1-b) and k1*b/a; of LONG (1-b) and b/a */
    double k1, delta;     /* of LONG */
    double field;         /* weight of the field, for a word in one field; else 1 */
    double grid, step;    /* 2^(e+1), and the distance of two numbers of the grid; 0: it has not been set */
    uint8_t shape;
} ps_impact;

/* weight: of the node, boost and repetitions; average: words of a document, weighed by field. No grid yet. */
ps_impact ps_impact_of(const ps_scorer *scorer, double weight, double idf, double average);

/* The most that it gives, which is what it counts in the sum that the grid is made of. */
static inline double ps_impact_most(const ps_impact *impact, const ps_scorer *scorer)
{
    return impact->weight * (1 + (scorer->variant == PS_BM25_PLUS ? scorer->delta / (scorer->k1 + 1) : 0));
}

/* The grid for a plan whose leaves give `most` in sum. */
double ps_impact_grid(double most);
void ps_impact_set_grid(ps_impact *impact, double grid);

static inline double ps_impact_round(const ps_impact *impact, double x)
{
    return (x + impact->grid) - impact->grid;
}

/* The impact of a posting, of frequency and length in sums over fields. Postings of a file that somebody made
 * up, of a frequency above the length, give no more than is possible. */
double ps_impact_at(const ps_impact *impact, double freq, double length);

/* The impacts of n postings in one field, out[i] of docs[i]: as ps_impact_at(impact, freqs[i] * field,
 * lengths[docs[i]] * field). SIMD. */
void ps_impact_block(const ps_impact *impact, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                     const uint32_t *lengths, double *out);

/* More than what a posting can give that the peaks stand for. Two steps of the grid make up for every
 * rounding: each of the few operations errs by 2^-53 of the impact, which is less than a step. */
double ps_impact_bound(const ps_impact *impact, const ps_peak peaks[PS_PEAKS]);

#endif
