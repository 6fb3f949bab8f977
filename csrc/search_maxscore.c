#include "search_maxscore.h"

#include <float.h>
#include <string.h>

#include "search_filter.h"

#if defined(__SSE2__) && !defined(PS_NO_SIMD)
#include <emmintrin.h>
#define HAS_SSE2_CODE 1
#else
#define HAS_SSE2_CODE 0
#endif

enum {
    WINDOW_POSTINGS = 256, /* that a window should have at least */
    SPARSE = 2,            /* a posting for fewer than each so many documents: these are noted one by one */
    FEW_WORDS = 32,        /* up to so many, each may have many blocks in memory */
    CODED_PER_CANDIDATE = 16, /* postings are coded in the time that it takes to look one candidate up */
    SPARSE_IN_WINDOW = 8,     /* postings: a word with fewer is sparse there */
    LEADS_ALONE = 64,         /* a posting for fewer than each so many documents: a word may lead alone */
    NARROW_WORDS = 8,         /* up to so many words, bounds are summed anew for each block */
};

void ps_maxscore_init(ps_maxscore *ms, ps_allocator allocator)
{
    *ms = (ps_maxscore){
        .allocator = allocator, .outer_dense = 64, .outer_sparse = 512, .narrow = 2048, .wide = 4096};
}

/* ---- the plan ---- */

static bool is_word(const ps_plan_node *node) { return node->kind == PS_TERM && node->words == 1; }

/* Whether even the longest document has an impact of more than 0. */
static bool never_0(const ps_impact *impact)
{
    return impact->weight == 0 && impact->added == 0
               ? false
               : ps_impact_at(impact, impact->field, 0x1p32 * impact->field) > 0;
}

bool ps_maxscore_takes(const ps_leaves *leaves)
{
    const ps_plan *plan = leaves->plan;
    const ps_plan_node *root = &plan->nodes[0];
    if (is_word(root)) return true;
    if (root->kind != PS_ALL && (root->kind != PS_ANY || root->minimum > 1)) return false;
    uint32_t words = 0;
    for (uint32_t c = root->child; c != PS_NO_NODE; c = plan->nodes[c].sibling) {
        if (!is_word(&plan->nodes[c]) || ++words > PS_MAXSCORE_WORDS) return false;
        if (root->kind == PS_ANY && leaves->dfs[plan->nodes[c].word] > 0 && !never_0(&leaves->impacts[c]))
            return false;
    }
    return true;
}

/* ---- candidates ---- */

static inline bool is_allowed(const ps_maxscore *ms, uint32_t doc)
{
    if (ps_part_is_dead(ms->part, doc)) return false;
    uint32_t ordinal = ms->part->base + doc;
    return ms->mask == NULL || (ms->mask[ordinal >> 6] >> (ordinal & 63) & 1) != 0;
}

/* The place of the first of the documents of a block from `place` on that is `doc` or above; PS_NO_DOC stands
 * behind. */
static inline uint32_t seek_from(const uint32_t *docs, uint32_t place, uint32_t doc)
{
#if HAS_SSE2_CODE
    const __m128i top = _mm_set1_epi32(INT32_MIN), all = _mm_xor_si128(_mm_set1_epi32((int)doc), top);
    for (;; place += 8) {
        __m128i low = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(docs + place)), top);
        __m128i high = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(const void *)(docs + place + 4)), top);
        __m128i below = _mm_packs_epi32(_mm_cmplt_epi32(low, all), _mm_cmplt_epi32(high, all));
        unsigned not_below = ~(unsigned)_mm_movemask_epi8(below) & 0xffff; /* two bits for each */
        if (not_below != 0) return place + (unsigned)__builtin_ctz(not_below) / 2;
    }
#else
    while (docs[place] < doc) place++;
    return place;
#endif
}

/* Moves the candidates from number *from on that lie before `end` and score more than `need` down to number
 * `to`; returns how many, and leaves in *from the number behind the last one looked at. */
static inline uint32_t keep_above(ps_maxscore *ms, uint32_t *from, uint32_t n, uint64_t end, uint32_t to,
                                  double need)
{
    uint32_t kept = to, i = *from, *docs = ms->docs;
    double *scores = ms->scores;
    for (; i < n && docs[i] < end; i++) {
        double score = scores[i];
        docs[kept] = docs[i];
        scores[kept] = score;
        kept += score > need;
    }
    *from = i;
    return kept - to;
}

/* Adds what the word gives to those of m candidates, from number `base` on, that are in the block of its
 * cursor. Keeps these, and without ms->all those that score more than `without` as they are; returns how
 * many. */
static uint32_t add_block(ps_maxscore *ms, ps_pruned_word *word, uint32_t base, uint32_t m, double without)
{
    ps_cursor *cursor = &word->cursor;
    uint32_t hits[PS_BLOCK + 1], places[PS_BLOCK + 1], docs[PS_BLOCK], freqs[PS_BLOCK], h = 0, place = 0,
                                                                                        left = base;
    double impacts[PS_BLOCK];
    ps_cursor_docs(cursor);
    if (cursor->n == 0) return 0; /* it is broken */
    if (ms->all) without = DBL_MAX;
    for (uint32_t i = base; i < base + m; i++) {
        uint32_t doc = ms->docs[i];
        double score = ms->scores[i];
        place = seek_from(cursor->docs, place, doc);
        bool hit = cursor->docs[place] == doc;
        ms->docs[left] = doc;
        ms->scores[left] = score;
        hits[h] = left; /* stays if it is one: each document of the block can be hit once */
        places[h] = place;
        h += hit;
        left += hit | (score > without);
    }
    if (h > 0) ps_cursor_freqs(cursor);
    if (cursor->n == 0) return 0;
    for (uint32_t i = 0; i < h; i++) {
        docs[i] = cursor->docs[places[i]];
        freqs[i] = cursor->freqs[places[i]];
    }
    ps_impact_block(word->impact, docs, freqs, h, word->lengths, impacts);
    for (uint32_t i = 0; i < h; i++) ms->scores[hits[i]] += impacts[i];
    return left - base;
}

/* Looks n candidates up among the postings of word t in the order, block by block; keeps those that may still
 * be among the best with what the words before it can give. */
static uint32_t add_word(ps_maxscore *ms, uint32_t t, uint32_t n)
{
    ps_pruned_word *word = ms->order[t];
    ps_cursor *cursor = &word->cursor;
    double without = ms->top->least - ms->sums[t]; /* what a candidate must have then */
    uint32_t kept = 0;
    for (uint32_t from = 0; from < n;) {
        ps_cursor_shallow(cursor, ms->docs[from]);
        if (cursor->n == 0)
            return ms->all ? kept : kept + keep_above(ms, &from, n, UINT64_MAX, kept, without);
        uint32_t place = cursor->block - word->first;
        double bound = place < word->held ? word->bounds[place] : word->most;
        uint32_t m = keep_above(ms, &from, n, (uint64_t)cursor->last + 1, kept, without - bound);
        if (m == 0) continue;
        uint32_t added = kept;
        m = add_block(ms, word, kept, m, without);
        kept += keep_above(ms, &added, kept + m, UINT64_MAX, kept, without);
    }
    return kept;
}

/* Takes n candidates, in ms->docs and ms->scores, through the first `words` words of the order, from the last
 * of them down; what is left at the end is among the best. */
static void take_candidates(ps_maxscore *ms, uint32_t words, uint32_t n)
{
    for (uint32_t t = words; t-- > 0 && n > 0;)
        if (ms->all || ms->order[t]->most > 0) n = add_word(ms, t, n);
    for (uint32_t i = 0; i < n; i++)
        if (ms->scores[i] > ms->top->least) ps_top_add(ms->top, ms->part->base + ms->docs[i], ms->scores[i]);
}

/* ---- one word leads ---- */

/* Makes candidates of the postings from lo to hi - 1 of the block of a word that give more than `need`. */
static uint32_t candidates_of(ps_maxscore *ms, ps_pruned_word *word, uint32_t block, uint32_t lo, uint32_t hi,
                              double need)
{
    ps_cursor *cursor = &word->cursor;
    uint32_t first = ps_pruned_first(word, block), n = 0;
    ps_cursor_shallow(cursor, lo > first ? lo : first);
    if (cursor->n == 0 || cursor->block != block) return 0;
    ps_cursor_docs(cursor);
    ps_cursor_freqs(cursor);
    if (cursor->n == 0) return 0;
    uint32_t i = lo > first ? ps_cursor_seek(cursor, lo) : 0;
    uint32_t j = cursor->last < hi ? cursor->n : ps_cursor_seek(cursor, hi);
    const uint32_t *docs = cursor->docs + i, *freqs = cursor->freqs + i;
    uint32_t some_docs[PS_BLOCK], some_freqs[PS_BLOCK],
        least = need < 0 ? 1 : ps_pruned_least_freq(word, block, need);
    uint32_t count = j - i;
    double impacts[PS_BLOCK];
    if (least > 1) {
        count = ps_filter_freqs(freqs, count, least, ms->at);
        for (uint32_t p = 0; p < count; p++) {
            some_docs[p] = docs[ms->at[p]];
            some_freqs[p] = freqs[ms->at[p]];
        }
        docs = some_docs;
        freqs = some_freqs;
    }
    ps_impact_block(word->impact, docs, freqs, count, word->lengths, impacts);
    count = ps_filter_scores(impacts, count, need, ms->at);
    for (uint32_t p = 0; p < count; p++) {
        uint32_t doc = docs[ms->at[p]];
        if (!is_allowed(ms, doc)) continue;
        ms->docs[n] = doc;
        ms->scores[n++] = impacts[ms->at[p]];
    }
    return n;
}

/* More than all words but the last of the order give in lo .. hi - 1; lo rises from call to call. */
static double others_within(const ps_maxscore *ms, uint32_t lo, uint32_t hi)
{
    double sum = 0;
    for (uint32_t t = 0; t + 1 < ms->n; t++) {
        ps_pruned_word *word = ms->order[t];
        uint32_t end = word->first + word->held;
        while (word->at < end && ps_pruned_last(word, word->at) < lo) word->at++;
        if (word->most > 0) sum += ps_pruned_most(word, word->at, lo, hi);
    }
    return sum;
}

/* The last word of the order leads; the others only add to what it has found. */
static void lead(ps_maxscore *ms, uint32_t lo, uint32_t hi)
{
    ps_pruned_word *word = ms->order[ms->n - 1];
    double others = ms->sums[ms->n - 1];
    uint32_t end = word->first + word->held;
    for (uint32_t block = word->at; block < end && ps_pruned_first(word, block) < hi; block++) {
        double need = ms->top->least - others, bound = ps_pruned_bound(word, block);
        if (bound <= need) continue;
        if (ms->n > 1 && ms->n <= NARROW_WORDS) {
            uint32_t first = ps_pruned_first(word, block), last = ps_pruned_last(word, block);
            if (first < lo) first = lo;
            need = ms->top->least - others_within(ms, first, last < hi ? last + 1 : hi);
            if (bound <= need) continue;
        }
        take_candidates(ms, ms->n - 1, candidates_of(ms, word, block, lo, hi, need));
    }
}

/* ---- several words lead ---- */

/* Adds the impacts of a word to those of the window. */
static void accumulate(ps_maxscore *ms, ps_pruned_word *word, uint32_t lo, uint32_t hi)
{
    ps_cursor *cursor = &word->cursor;
    double others = ms->sums[ms->n] - word->most, impacts[PS_BLOCK];
    uint32_t end = word->first + word->held;
    for (uint32_t block = word->at; block < end && ps_pruned_first(word, block) < hi; block++) {
        if (others + ps_pruned_bound(word, block) <= ms->top->least) continue;
        uint32_t first = ps_pruned_first(word, block);
        ps_cursor_shallow(cursor, lo > first ? lo : first);
        ps_cursor_docs(cursor);
        ps_cursor_freqs(cursor);
        if (cursor->n == 0) return;
        if (cursor->block != block) continue; /* heads that do not ascend, of a made-up file */
        uint32_t i = lo > first ? ps_cursor_seek(cursor, lo) : 0;
        uint32_t j = cursor->last < hi ? cursor->n : ps_cursor_seek(cursor, hi);
        if (i >= j) continue;
        const uint32_t *docs = cursor->docs + i;
        ps_impact_block(word->impact, docs, cursor->freqs + i, j - i, word->lengths, impacts);
        double *sums = ms->impacts;
        for (uint32_t p = 0; p < j - i; p++) sums[docs[p] - lo] += impacts[p];
        uint64_t *touched = ms->touched;
        for (uint32_t p = 0; ms->sparse && p < j - i; p++) {
            uint32_t place = docs[p] - lo;
            touched[place >> 6] |= UINT64_C(1) << (place & 63);
        }
    }
}

/* Makes candidates of the documents of the window with a sum above `need`, and all sums 0. */
static uint32_t candidates_above(ps_maxscore *ms, uint32_t lo, uint32_t hi, double need)
{
    uint32_t n = 0;
    if (!ms->sparse) {
        uint32_t found = ps_filter_scores(ms->impacts, hi - lo, need, ms->at);
        for (uint32_t i = 0; i < found; i++) {
            ms->docs[i] = lo + ms->at[i];
            ms->scores[i] = ms->impacts[ms->at[i]];
        }
        memset(ms->impacts, 0, sizeof(double) * (hi - lo));
        return found;
    }
    double *impacts = ms->impacts, *scores = ms->scores;
    uint32_t *docs = ms->docs;
    for (uint32_t w = 0; w * 64 < hi - lo; w++) {
        uint64_t left = ms->touched[w];
        ms->touched[w] = 0;
        for (; left != 0; left &= left - 1) {
            uint32_t place = w * 64 + (unsigned)__builtin_ctzll(left);
            double impact = impacts[place];
            impacts[place] = 0;
            docs[n] = lo + place;
            scores[n] = impact;
            n += impact > need;
        }
    }
    return n;
}

/* Words from number `leaders` of the order on lead. */
static void lead_together(ps_maxscore *ms, uint32_t leaders, uint32_t lo, uint32_t hi)
{
    for (uint32_t t = leaders; t < ms->n; t++)
        if (ms->order[t]->most > 0) accumulate(ms, ms->order[t], lo, hi);
    double need = ms->top->least - ms->sums[leaders];
    uint32_t found = candidates_above(ms, lo, hi, need > 0 ? need : 0), n = 0;
    for (uint32_t i = 0; i < found; i++) {
        ms->docs[n] = ms->docs[i];
        ms->scores[n] = ms->scores[i];
        n += is_allowed(ms, ms->docs[i]);
    }
    take_candidates(ms, leaders, n);
}

/* ---- windows ---- */

/* Sorts the words by what they can give, least first; from one window to the next there is little to do. */
static void sort_by_most(ps_maxscore *ms)
{
    for (uint32_t i = 1; i < ms->n; i++) {
        ps_pruned_word *word = ms->order[i];
        uint32_t at = i;
        for (; at > 0 && ms->order[at - 1]->most > word->most; at--) ms->order[at] = ms->order[at - 1];
        ms->order[at] = word;
    }
}

/* Sums up the bounds; returns how many words, from the first on, cannot beat the k-th best together. */
static uint32_t sum_up(ps_maxscore *ms)
{
    uint32_t followers = 0;
    for (uint32_t t = 0; t < ms->n; t++) {
        ms->sums[t + 1] = ms->sums[t] + ms->order[t]->most;
        if (ms->sums[t + 1] <= ms->top->least) followers = t + 1;
    }
    return followers;
}

/* Postings of a word in so many documents, about. */
static double postings_in(const ps_maxscore *ms, const ps_pruned_word *word, uint32_t docs)
{
    return (double)word->list->count * docs / ms->part->docs;
}

/* Of the words in the order, those with a few postings in the window are no part of the codes' scale: each of
 * their documents is a candidate. */
static bool is_sparse(const ps_maxscore *ms, const ps_pruned_word *word, uint32_t docs)
{
    return postings_in(ms, word, docs) < SPARSE_IN_WINDOW;
}

static void add_codes(ps_maxscore *ms, ps_pruned_word *word, uint32_t lo, uint32_t hi)
{
    double need = ms->top->least - (ms->sums[ms->n] - word->most);
    ps_codes_add(ms->codes, word, &ms->tables[word - ms->words], lo, hi, need, word->usual);
}

/* Scores the documents of the window whose codes may have more than all that `others` can give. */
static void take_coded(ps_maxscore *ms, double others, uint32_t lo, uint32_t hi)
{
    for (uint32_t from = 0, to; from < hi - lo; from = to) {
        to = hi - lo - from > ms->wide ? from + ms->wide : hi - lo;
        double need = ms->top->least - others;
        uint32_t found = ps_codes_take(ms->codes, from, to, need > 0 ? need : 0, ms->at), n = 0;
        for (uint32_t i = 0; i < found; i++) {
            ms->docs[n] = lo + ms->at[i];
            ms->scores[n] = 0;
            n += is_allowed(ms, ms->docs[n]);
        }
        take_candidates(ms, ms->n, n);
    }
    ps_codes_clear(ms->codes, hi - lo);
}

/* A window of which the candidates are found by codes. Words without which the others cannot beat the k-th
 * best are coded, and more of them as long as there are so many candidates that looking these up would take
 * longer. */
static void lead_coded(ps_maxscore *ms, uint32_t lo, uint32_t hi)
{
    ps_pruned_word *dense[PS_CODES_WORDS];
    double sums[PS_CODES_WORDS + 1] = {0}, least = ms->top->least;
    uint32_t n = 0, leaders = 0;
    for (uint32_t t = 0; t < ms->n; t++) {
        ps_pruned_word *word = ms->order[t];
        if (word->most <= 0 || is_sparse(ms, word, hi - lo)) continue;
        dense[n++] = word;
        sums[n] = sums[n - 1] + word->most;
        if (sums[n] <= least) leaders = n;
    }
    uint32_t coded = n;
    if (ps_codes_scale(ms->codes, sums[n], n)) memset(ms->tables, 0, sizeof *ms->tables * ms->n);
    while (coded > leaders) add_codes(ms, dense[--coded], lo, hi);
    while (coded > 0 && coded < n) {
        uint32_t found = ps_codes_count(ms->codes, hi - lo, least - sums[coded]);
        if (found * CODED_PER_CANDIDATE < postings_in(ms, dense[coded - 1], hi - lo)) break;
        add_codes(ms, dense[--coded], lo, hi);
    }
    for (uint32_t t = 0; t < ms->n; t++)
        if (ms->order[t]->most > 0 && is_sparse(ms, ms->order[t], hi - lo))
            ps_codes_mark(ms->codes, ms->order[t], lo, hi);
    take_coded(ms, sums[coded], lo, hi);
}

/* Whether a window is for codes: at least two words are neither sparse nor absent, and there is not one that
 * leads alone with few candidates. */
static bool is_for_codes(ps_maxscore *ms, uint32_t docs, uint32_t followers)
{
    uint32_t dense = 0;
    for (uint32_t t = 0; t < ms->n; t++)
        dense += ms->order[t]->most > 0 && !is_sparse(ms, ms->order[t], docs);
    if (dense < 2) return false;
    if (followers < ms->n - 1) return true;
    ps_pruned_word *word = ms->order[ms->n - 1];
    if (word->at == word->first + word->held || postings_in(ms, word, docs) * LEADS_ALONE < docs)
        return false;
    return ps_pruned_least_freq(word, word->at, ms->top->least - ms->sums[ms->n - 1]) == 1;
}

/* Bounds of lo .. hi - 1; returns how many words of the order cannot beat the k-th best together. */
static uint32_t enter(ps_maxscore *ms, uint32_t lo, uint32_t hi)
{
    for (uint32_t t = 0; t < ms->n; t++) ps_pruned_enter(ms->order[t], lo, hi);
    sort_by_most(ms);
    return sum_up(ms);
}

/* A window for which bounds have been found. */
static void run_outer(ps_maxscore *ms, uint32_t from, uint32_t to, uint32_t width)
{
    if (!ms->all) sort_by_most(ms);
    uint32_t followers = sum_up(ms), coded = 2 * width < PS_CODES_DOCS ? 2 * width : PS_CODES_DOCS;
    if (followers == ms->n) return;
    if (ms->all || (followers == ms->n - 1 && !(ms->coded && is_for_codes(ms, to - from, followers)))) {
        lead(ms, from, to);
        return;
    }
    for (uint32_t lo = from, hi; lo < to; lo = hi) {
        if (ms->coded && ms->top->least > 0) {
            hi = to - lo > coded ? lo + coded : to;
            followers = enter(ms, lo, hi);
            if (followers == ms->n) continue;
            if (is_for_codes(ms, hi - lo, followers)) {
                lead_coded(ms, lo, hi);
                if (coded < PS_CODES_DOCS) coded *= 2;
                continue;
            }
        }
        hi = to - lo > width ? lo + width : to;
        followers = enter(ms, lo, hi);
        if (followers < ms->n - 1)
            lead_together(ms, followers, lo, hi);
        else if (followers == ms->n - 1)
            lead(ms, lo, hi);
    }
}

/* The first document from `from` on that may be among the best: one of a word without which the others
 * cannot. */
static uint32_t next_start(ps_maxscore *ms, uint32_t from, uint32_t wide)
{
    if (ms->all) return ps_pruned_next(ms->order[ms->n - 1], from, wide);
    for (uint32_t t = 0; t < ms->n; t++) ms->order[t]->most = ms->order[t]->ever;
    sort_by_most(ms);
    uint32_t next = PS_NO_DOC;
    for (uint32_t t = sum_up(ms); t < ms->n && next > from; t++) {
        uint32_t found = ps_pruned_next(ms->order[t], from, wide);
        if (found < next) next = found;
    }
    return next;
}

/* ---- a part ---- */

/* The words of the plan that the part has; false: it has no document that matches. */
static bool open_words(ps_maxscore *ms, uint32_t number)
{
    const ps_plan *plan = ms->leaves->plan;
    const ps_inverted *index = ms->leaves->index;
    uint32_t root = 0, node = plan->nodes[0].kind == PS_TERM ? root : plan->nodes[0].child;
    ms->n = 0;
    for (; node != PS_NO_NODE; node = node == root ? PS_NO_NODE : plan->nodes[node].sibling) {
        const ps_postings *list = ps_leaves_list(ms->leaves, number, plan->nodes[node].word);
        if (list->count == 0) {
            if (ms->all) return false;
            continue;
        }
        ms->order[ms->n] = &ms->words[ms->n];
        uint32_t field = plan->words[plan->nodes[node].word].term.field;
        ps_pruned_open(ms->order[ms->n], list, &ms->leaves->impacts[node], ms->part->lengths[field]);
        ms->order[ms->n++]->usual = (uint32_t)(index->words[field] / index->live);
    }
    if (ms->all) /* from the commonest to the rarest */
        for (uint32_t i = 1; i < ms->n; i++) {
            ps_pruned_word *word = ms->order[i];
            uint32_t at = i;
            for (; at > 0 && ms->order[at - 1]->list->count < word->list->count; at--)
                ms->order[at] = ms->order[at - 1];
            ms->order[at] = word;
        }
    return ms->n > 0;
}

/* Documents in a window, so that it has enough postings to be worth the while; and how its sums are gone
 * through. */
static uint32_t window_width(ps_maxscore *ms)
{
    uint64_t postings = 1;
    for (uint32_t t = 0; t < ms->n; t++) postings += ms->order[t]->list->count;
    uint64_t wish = (uint64_t)ms->part->docs * WINDOW_POSTINGS / postings;
    uint32_t width = ms->narrow;
    while (width < ms->wide && width < wish) width *= 2;
    ms->sparse = postings * SPARSE < ms->part->docs;
    ms->coded = !ms->all && ms->n > 1 && ms->n <= PS_CODES_WORDS;
    ms->codes->broken = false;
    ms->codes->scale = 0;
    return width;
}

/* PS_BROKEN: a list is. */
static ps_status run_part(ps_maxscore *ms, uint32_t number)
{
    ms->part = ms->leaves->index->parts[number];
    if (!open_words(ms, number)) return PS_OK;
    uint32_t docs = ms->part->docs, width = window_width(ms), outer = (ms->room - 2) * PS_BLOCK;
    for (uint32_t to = 0; to < docs;) {
        uint32_t from = next_start(ms, to, outer);
        if (from >= docs) break;
        to = docs - from > outer ? from + outer : docs;
        for (uint32_t t = 0; t < ms->n; t++)
            if (!ps_pruned_hold(ms->order[t], from, to, ms->room)) return PS_BROKEN;
        run_outer(ms, from, to, width);
    }
    for (uint32_t t = 0; t < ms->n; t++)
        if (ms->order[t]->cursor.broken) return PS_BROKEN;
    return ms->coded && ms->codes->broken ? PS_BROKEN : PS_OK;
}

/* ---- memory ---- */

/* Lays the arrays out one behind the other, each on a cache line of its own. */
static void *cut(uint8_t **memory, size_t size)
{
    void *piece = *memory;
    *memory += (size + 63) & ~(size_t)63;
    return piece;
}

static ps_status make_room(ps_maxscore *ms, uint32_t words)
{
    size_t n = words, held = ms->memory.size;
    ms->room = (words <= FEW_WORDS ? ms->outer_sparse : ms->outer_dense) + 2;
    size_t a_word = sizeof(ps_pruned_word) + sizeof(ps_pruned_word *) + 8 + 8 * (size_t)ms->room + 64;
    uint8_t *memory = ps_room_of(&ms->memory,
                                 n * a_word + ms->wide * (8 + 8 + 4 + 4 + 1) + sizeof *ms->codes +
                                     sizeof *ms->tables * PS_CODES_WORDS + 64 * 12,
                                 ms->allocator);
    if (memory == NULL) return PS_NO_MEMORY;
    ms->impacts = cut(&memory, ms->wide * sizeof(double));
    ms->touched = cut(&memory, ms->wide / 8);
    ms->codes = cut(&memory, sizeof *ms->codes);
    if (held != ms->memory.size) { /* later each window leaves it so */
        memset(ms->impacts, 0, ms->wide * sizeof(double));
        memset(ms->touched, 0, ms->wide / 8);
        ps_codes_clear(ms->codes, PS_CODES_DOCS);
    }
    ms->tables = cut(&memory, sizeof *ms->tables * PS_CODES_WORDS);
    ms->scores = cut(&memory, ms->wide * sizeof(double));
    ms->docs = cut(&memory, ms->wide * sizeof(uint32_t));
    ms->at = cut(&memory, ms->wide * sizeof(uint32_t));
    ms->words = cut(&memory, n * sizeof(ps_pruned_word));
    ms->order = cut(&memory, n * sizeof(ps_pruned_word *));
    ms->sums = cut(&memory, (n + 1) * sizeof(double));
    for (uint32_t w = 0; w < words; w++) ms->words[w].bounds = cut(&memory, ms->room * sizeof(double));
    ms->sums[0] = 0;
    return PS_OK;
}

ps_status ps_maxscore_run(ps_maxscore *ms, const ps_leaves *leaves, const uint64_t *mask, ps_top *top)
{
    const ps_plan *plan = leaves->plan;
    uint32_t words = 1;
    if (plan->nodes[0].kind != PS_TERM) {
        words = 0;
        for (uint32_t c = plan->nodes[0].child; c != PS_NO_NODE; c = plan->nodes[c].sibling) words++;
    }
    if (words == 0) return PS_OK;
    ps_status status = make_room(ms, words);
    ms->leaves = leaves;
    ms->mask = mask;
    ms->top = top;
    ms->all = plan->nodes[0].kind == PS_ALL;
    for (uint32_t p = 0; status == PS_OK && p < leaves->index->part_count; p++) status = run_part(ms, p);
    return status;
}

void ps_maxscore_free(ps_maxscore *ms) { ps_room_free(&ms->memory, ms->allocator); }
