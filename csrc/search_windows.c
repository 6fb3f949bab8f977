#include "search_windows.h"

#include <string.h>

static inline void set_bit(ps_window_level *level, uint32_t i)
{
    level->bits[i >> 6] |= UINT64_C(1) << (i & 63);
}

/* For each document i of the window whose bit is set in word w of `set`. */
#define FOR_BITS(set, w, i) \
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) \
        for (uint64_t left_ = (set)[w], i; \
             left_ != 0 && (i = w * 64 + (unsigned)__builtin_ctzll(left_), true); left_ &= left_ - 1)

/* ---- words ---- */

/* The first document from `doc` on that holds a word, PS_NO_DOC if there is none. */
static uint32_t next_of_word(const ps_windows *windows, uint32_t word, uint32_t doc)
{
    ps_cursor *cursor = &windows->cursors[word];
    if (cursor->n == 0) return PS_NO_DOC;
    ps_cursor_shallow(cursor, doc);
    ps_cursor_docs(cursor);
    if (cursor->n == 0) return PS_NO_DOC;
    return cursor->docs[ps_cursor_seek(cursor, doc)]; /* never behind the last one */
}

/* The postings of a word within the window, block by block: i to j of the block that its cursor is at. */
static bool next_piece(const ps_windows *windows, uint32_t word, uint32_t *from, uint32_t *i, uint32_t *j)
{
    ps_cursor *cursor = &windows->cursors[word];
    if (cursor->n == 0 || *from >= windows->hi) return false;
    ps_cursor_shallow(cursor, *from);
    ps_cursor_docs(cursor);
    if (cursor->n == 0) return false;
    *i = ps_cursor_seek(cursor, *from);
    *j = cursor->last < windows->hi ? cursor->n : ps_cursor_seek(cursor, windows->hi);
    *from = cursor->last < windows->hi ? cursor->last + 1 : windows->hi;
    if (*i >= *j) return false;
    ps_cursor_freqs(cursor);
    return cursor->n > 0;
}

static void eval_word(const ps_windows *windows, uint32_t node, ps_window_level *level)
{
    uint32_t word = windows->leaves->plan->nodes[node].word, from = windows->lo, i, j;
    uint32_t field = windows->leaves->plan->words[word].term.field;
    double impacts[PS_BLOCK];
    while (next_piece(windows, word, &from, &i, &j)) {
        const ps_cursor *cursor = &windows->cursors[word];
        ps_impact_block(&windows->leaves->impacts[node], cursor->docs + i, cursor->freqs + i, j - i,
                        windows->part->lengths[field], impacts);
        for (uint32_t at = i; at < j; at++) {
            uint32_t doc = cursor->docs[at] - windows->lo;
            set_bit(level, doc);
            level->scores[doc] = impacts[at - i];
        }
    }
}

/* A word in several fields: frequencies and lengths are summed. */
static void eval_fields(const ps_windows *windows, uint32_t node, ps_window_level *level)
{
    const ps_plan_node *leaf = &windows->leaves->plan->nodes[node];
    const ps_plan_word *words = windows->leaves->plan->words + leaf->word;
    for (uint32_t w = 0; w < leaf->words; w++) {
        uint32_t from = windows->lo, i, j;
        while (next_piece(windows, leaf->word + w, &from, &i, &j)) {
            const ps_cursor *cursor = &windows->cursors[leaf->word + w];
            for (; i < j; i++) {
                uint32_t doc = cursor->docs[i] - windows->lo;
                set_bit(level, doc);
                level->scores[doc] += words[w].weight * cursor->freqs[i];
            }
        }
    }
    FOR_BITS(level->bits, part, i)
    {
        double length = 0;
        for (uint32_t w = 0; w < leaf->words; w++)
            length += words[w].weight * windows->part->lengths[words[w].term.field][windows->lo + i];
        level->scores[i] = ps_impact_at(&windows->leaves->impacts[node], level->scores[i], length);
    }
}

/* ---- phrases ---- */

/* The first document from `doc` on that holds all words of a phrase. */
static uint32_t next_of_phrase(const ps_windows *windows, const ps_plan_node *phrase, uint32_t doc)
{
    uint32_t agreed = 0, w = 0;
    if (phrase->words == 0) return PS_NO_DOC;
    while (agreed < phrase->words) {
        uint32_t next = next_of_word(windows, phrase->word + w, doc);
        if (next == PS_NO_DOC) return PS_NO_DOC;
        agreed = next == doc ? agreed + 1 : 1;
        doc = next;
        w = w + 1 == phrase->words ? 0 : w + 1;
    }
    return doc;
}

typedef struct {
    int64_t *at, *end; /* places of a word that are left, each less the number of the word */
} place_list;

typedef struct {
    int64_t start; /* where a word's list is */
    uint32_t word;
} place_head;

typedef struct {
    place_list *lists;  /* of each word */
    place_head *heads;  /* room for one of each word */
    uint32_t *standing; /* and for its place */
} phrase_places;

/* Fills in the places of the words of a phrase in the document that all their cursors are at. */
static bool places_of(ps_windows *windows, const ps_plan_node *phrase, uint32_t doc, phrase_places *found)
{
    uint64_t total = 0, most = 0;
    for (uint32_t w = 0; w < phrase->words; w++) {
        ps_cursor *cursor = &windows->cursors[phrase->word + w];
        ps_cursor_freqs(cursor);
        if (cursor->n == 0) return false;
        uint64_t freq = cursor->freqs[ps_cursor_seek(cursor, doc)];
        size_t bytes =
            cursor->list->places_size + cursor->list->rest_places_size; /* a place takes one at least */
        if (freq > bytes) freq = bytes;
        total += freq;
        if (freq > most) most = freq;
    }
    size_t lists = (sizeof(place_list) * phrase->words + 63) & ~(size_t)63;
    size_t heads = sizeof(place_head) * phrase->words;
    size_t bytes = lists + heads + 8 * (size_t)total + 4 * ((size_t)most + phrase->words);
    uint8_t *memory = ps_room_of(&windows->place_room, bytes, windows->allocator);
    if (memory == NULL) {
        windows->no_memory = true;
        return false;
    }
    place_list *list = (place_list *)(void *)memory;
    int64_t *places = (int64_t *)(void *)(memory + lists + heads);
    uint32_t *raw = (uint32_t *)(void *)(places + total);
    *found = (phrase_places){list, (place_head *)(void *)(memory + lists), raw + most};
    for (uint32_t w = 0; w < phrase->words; w++) {
        ps_cursor *cursor = &windows->cursors[phrase->word + w];
        uint32_t i = ps_cursor_seek(cursor, doc), room = cursor->freqs[i];
        if (room > most) room = (uint32_t)most;
        uint32_t n = ps_cursor_places(cursor, i, raw, room);
        list[w].at = places;
        for (uint32_t p = 0; p < n; p++) *places++ = (int64_t)raw[p] - w;
        list[w].end = places;
    }
    return true;
}

/* Matches of slop 0: places that are in all lists. */
static double count_exact(place_list *lists, uint32_t n)
{
    double matches = 0;
    for (; lists[0].at < lists[0].end; lists[0].at++) {
        int64_t place = *lists[0].at;
        bool all = true;
        for (uint32_t w = 1; w < n && all; w++) {
            while (lists[w].at < lists[w].end && *lists[w].at < place) lists[w].at++;
            if (lists[w].at == lists[w].end) return matches;
            all = *lists[w].at == place;
        }
        matches += all;
    }
    return matches;
}

/* Whether a list comes before another in the walk of search_plan.h. */
static inline bool is_before(place_head a, place_head b)
{
    return a.start < b.start || (a.start == b.start && a.word < b.word);
}

/* Puts a head into the heap of n heads, from `at` down; heads[at] is free. */
static void sift(place_head *heads, uint32_t n, uint32_t at, place_head head)
{
    for (uint32_t below; (below = 2 * at + 1) < n; at = below) {
        if (below + 1 < n && is_before(heads[below + 1], heads[below])) below++;
        if (!is_before(heads[below], head)) break;
        heads[at] = heads[below];
    }
    heads[at] = head;
}

static uint32_t count_of(const uint32_t *standing, uint32_t n, uint32_t place)
{
    uint32_t count = 0;
    for (uint32_t w = 0; w < n; w++) count += standing[w] == place;
    return count;
}

/* Matches of another slop: a heap tells whose list is least, and pairs of words at one place are counted as
 * they come and go, so that a step is no more than a look at each word's place. */
static double count_sloppy(phrase_places *places, uint32_t n, uint32_t slop)
{
    place_head *heads = places->heads;
    int64_t hi = INT64_MIN;
    for (uint32_t w = 0; w < n; w++) {
        const place_list *list = &places->lists[w];
        if (list->at == list->end) return 0;
        heads[w] = (place_head){*list->at, w};
        places->standing[w] = (uint32_t)(*list->at + w);
        if (*list->at > hi) hi = *list->at;
    }
    for (uint32_t at = n / 2; at-- > 0;) sift(heads, n, at, heads[at]);
    uint64_t pairs = 0;
    for (uint32_t w = 1; w < n; w++) pairs += count_of(places->standing, w, places->standing[w]);
    double matches = 0;
    for (;;) {
        place_head first = heads[0];
        int64_t spread = hi - first.start;
        if (spread <= slop && pairs == 0) matches += 1 / (double)(1 + spread);
        place_list *list = &places->lists[first.word];
        if (++list->at == list->end) return matches;
        uint32_t *place = &places->standing[first.word], next = (uint32_t)(*list->at + first.word);
        pairs -= count_of(places->standing, n, *place) - 1;
        *place = next;
        pairs += count_of(places->standing, n, next) - 1;
        if (*list->at > hi) hi = *list->at;
        sift(heads, n, 0, (place_head){*list->at, first.word});
    }
}

typedef struct {
    uint32_t word, times;
} repeated_word;

/* The word that a phrase has most often. A document must have it as often: no two stand at one place. */
static repeated_word most_repeated(const ps_plan_word *words, uint32_t n)
{
    repeated_word most = {0, 1};
    for (uint32_t w = 0; w + most.times < n; w++) {
        uint32_t times = 1;
        for (uint32_t v = w + 1; v < n; v++)
            times += words[v].term.size == words[w].term.size &&
                     memcmp(words[v].term.bytes, words[w].term.bytes, words[w].term.size) == 0;
        if (times > most.times) most = (repeated_word){w, times};
    }
    return most;
}

/* How often the document that a cursor is at has its word. */
static uint32_t times_there(ps_cursor *cursor, uint32_t doc)
{
    ps_cursor_freqs(cursor);
    return cursor->n == 0 ? 0 : cursor->freqs[ps_cursor_seek(cursor, doc)];
}

static void eval_phrase(ps_windows *windows, uint32_t node, ps_window_level *level)
{
    const ps_plan_node *phrase = &windows->leaves->plan->nodes[node];
    uint32_t doc = next_of_phrase(windows, phrase, windows->lo);
    if (doc >= windows->hi) return;
    const ps_plan_word *words = windows->leaves->plan->words + phrase->word;
    const uint32_t *lengths = windows->part->lengths[words->term.field];
    repeated_word most = most_repeated(words, phrase->words);
    for (; doc < windows->hi; doc = next_of_phrase(windows, phrase, doc + 1)) {
        if (most.times > 1 && times_there(&windows->cursors[phrase->word + most.word], doc) < most.times)
            continue;
        phrase_places places;
        if (!places_of(windows, phrase, doc, &places)) return;
        double matches = phrase->slop == 0 ? count_exact(places.lists, phrase->words)
                                           : count_sloppy(&places, phrase->words, phrase->slop);
        if (matches > lengths[doc]) matches = lengths[doc];
        if (matches > 0) {
            set_bit(level, doc - windows->lo);
            level->scores[doc - windows->lo] =
                ps_impact_at(&windows->leaves->impacts[node], matches, lengths[doc]);
        }
    }
}

/* ---- trees: as deep as PS_PLAN_DEPTH ---- */

static void eval(ps_windows *windows, uint32_t node, ps_window_level *level);

static const ps_plan_node *node_of(const ps_windows *windows, uint32_t node)
{
    return &windows->leaves->plan->nodes[node];
}

/* Makes a level empty again. */
static void clear(ps_window_level *level)
{
    FOR_BITS(level->bits, w, i) level->scores[i] = 0;
    memset(level->bits, 0, sizeof level->bits);
}

/* Takes the documents of `bits` away. */
static void drop(ps_window_level *level, uint32_t word, uint64_t bits)
{
    level->bits[word] &= ~bits;
    for (; bits != 0; bits &= bits - 1) level->scores[word * 64 + (unsigned)__builtin_ctzll(bits)] = 0;
}

static void eval_any(ps_windows *windows, const ps_plan_node *any, ps_window_level *level)
{
    ps_window_level *below = level + 1;
    for (uint32_t c = any->child; c != PS_NO_NODE; c = node_of(windows, c)->sibling) {
        eval(windows, c, below);
        FOR_BITS(below->bits, w, i)
        {
            level->scores[i] += below->scores[i];
            below->scores[i] = 0;
            level->counts[i]++;
        }
        for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) {
            level->bits[w] |= below->bits[w];
            below->bits[w] = 0;
        }
    }
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) {
        uint64_t few = 0;
        for (uint64_t left = level->bits[w]; left != 0; left &= left - 1) {
            unsigned bit = (unsigned)__builtin_ctzll(left);
            if (level->counts[w * 64 + bit] < any->minimum) few |= UINT64_C(1) << bit;
            level->counts[w * 64 + bit] = 0;
        }
        drop(level, w, few);
    }
}

static bool is_empty(const ps_window_level *level)
{
    uint64_t all = 0;
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) all |= level->bits[w];
    return all == 0;
}

static void eval_all(ps_windows *windows, const ps_plan_node *all, ps_window_level *level)
{
    ps_window_level *below = level + 1;
    if (all->child == PS_NO_NODE) return;
    eval(windows, all->child, level);
    for (uint32_t c = node_of(windows, all->child)->sibling; c != PS_NO_NODE;
         c = node_of(windows, c)->sibling) {
        if (is_empty(level)) return;
        eval(windows, c, below);
        for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) drop(level, w, level->bits[w] & ~below->bits[w]);
        FOR_BITS(level->bits, w, i) level->scores[i] += below->scores[i];
        clear(below);
    }
}

static void eval_except(ps_windows *windows, const ps_plan_node *except, ps_window_level *level)
{
    ps_window_level *below = level + 1;
    if (except->child == PS_NO_NODE) return;
    eval(windows, except->child, level);
    for (uint32_t c = node_of(windows, except->child)->sibling; c != PS_NO_NODE;
         c = node_of(windows, c)->sibling) {
        if (is_empty(level)) return;
        eval(windows, c, below);
        for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) drop(level, w, level->bits[w] & below->bits[w]);
        clear(below);
    }
}

/* Documents of the window whose bits are set by ordinal; those behind its end are left out by who takes them.
 */
static void eval_mask(const ps_windows *windows, const uint64_t *mask, ps_window_level *level)
{
    const ps_part *last = windows->leaves->index->parts[windows->leaves->index->part_count - 1];
    uint64_t end = (uint64_t)last->base + last->docs, from = (uint64_t)windows->part->base + windows->lo;
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++)
        level->bits[w] = mask == NULL ? UINT64_MAX : ps_bits_at(mask, from + w * 64, end);
}

/* Leaves in `level`, which is empty, what a node matches in the window. */
static void eval(ps_windows *windows, uint32_t number, ps_window_level *level)
{
    const ps_plan_node *node = node_of(windows, number);
    switch (node->kind) {
    case PS_TERM:
        if (node->words == 1)
            eval_word(windows, number, level);
        else
            eval_fields(windows, number, level);
        break;
    case PS_PHRASE:
        eval_phrase(windows, number, level);
        break;
    case PS_ANY:
        eval_any(windows, node, level);
        break;
    case PS_ALL:
        eval_all(windows, node, level);
        break;
    case PS_EXCEPT:
        eval_except(windows, node, level);
        break;
    case PS_MASK:
        eval_mask(windows, node->mask, level);
        break;
    case PS_CONST: {
        if (node->child != PS_NO_NODE) eval(windows, node->child, level);
        FOR_BITS(level->bits, w, i) level->scores[i] = windows->leaves->impacts[number].added;
        break;
    }
    default:
        eval_mask(windows, NULL, level);
        break;
    }
}

/* The first document from `doc` on that a node may match, PS_NO_DOC if there is none. */
static uint32_t next_of(const ps_windows *windows, uint32_t number, uint32_t doc)
{
    const ps_plan_node *node = node_of(windows, number);
    uint32_t next = PS_NO_DOC;
    switch (node->kind) {
    case PS_TERM:
        for (uint32_t w = 0; w < node->words && next > doc; w++) {
            uint32_t found = next_of_word(windows, node->word + w, doc);
            if (found < next) next = found;
        }
        return next;
    case PS_PHRASE:
        return next_of_phrase(windows, node, doc);
    case PS_ANY:
        for (uint32_t c = node->child; c != PS_NO_NODE && next > doc; c = node_of(windows, c)->sibling) {
            uint32_t found = next_of(windows, c, doc);
            if (found < next) next = found;
        }
        return next;
    case PS_ALL:
        if (node->child == PS_NO_NODE) return PS_NO_DOC;
        for (uint32_t c = node->child; c != PS_NO_NODE && doc != PS_NO_DOC; c = node_of(windows, c)->sibling)
            doc = next_of(windows, c, doc);
        return doc;
    case PS_EXCEPT:
    case PS_CONST:
        return node->child == PS_NO_NODE ? PS_NO_DOC : next_of(windows, node->child, doc);
    default:
        return doc;
    }
}

/* ---- a part ---- */

/* Levels of the tree, more than PS_PLAN_DEPTH if there are. */
static uint32_t depth_of(const ps_plan *plan)
{
    uint32_t path[PS_PLAN_DEPTH + 1], depth = 1, deepest = 1;
    path[0] = 0;
    while (depth > 0) {
        uint32_t next = plan->nodes[path[depth - 1]].child;
        if (next != PS_NO_NODE) {
            if (depth == PS_PLAN_DEPTH) return PS_PLAN_DEPTH + 1;
            path[depth++] = next;
            if (depth > deepest) deepest = depth;
            continue;
        }
        do { /* up, until there is a sibling */
            depth--;
            next = depth > 0 ? plan->nodes[path[depth]].sibling : PS_NO_NODE;
        } while (depth > 0 && next == PS_NO_NODE);
        if (depth > 0) path[depth++] = next;
    }
    return deepest;
}

ps_status ps_windows_begin(ps_windows *windows, const ps_leaves *leaves, uint32_t part)
{
    const ps_plan *plan = leaves->plan;
    uint32_t depth = depth_of(plan);
    if (depth > PS_PLAN_DEPTH) return PS_REFUSED;
    size_t levels = sizeof(ps_window_level) * (depth + 1);
    windows->cursors =
        ps_room_of(&windows->cursor_room, sizeof(ps_cursor) * plan->word_count, windows->allocator);
    windows->levels = ps_room_of(&windows->level_room, levels, windows->allocator);
    if (windows->cursors == NULL || windows->levels == NULL) return PS_NO_MEMORY;
    memset(windows->levels, 0, levels);
    windows->leaves = leaves;
    windows->number = part;
    windows->part = leaves->index->parts[part];
    windows->lo = windows->hi = 0;
    windows->broken = windows->no_memory = false;
    for (uint32_t w = 0; w < plan->word_count; w++) {
        windows->cursors[w].n = 0;
        windows->cursors[w].broken = false;
        const ps_postings *list = ps_leaves_list(leaves, part, w);
        if (list->count > 0) ps_cursor_open(&windows->cursors[w], list);
    }
    return PS_OK;
}

/* Takes dead documents, and those behind the end of the window, out of the root's level. */
static void keep_live(ps_windows *windows, ps_window_level *root)
{
    for (uint32_t w = 0; w < PS_WINDOW_WORDS; w++) {
        uint32_t from = windows->lo + w * 64;
        uint64_t out = 0;
        if (from >= windows->hi)
            out = UINT64_MAX;
        else if (windows->hi - from < 64)
            out = UINT64_MAX << (windows->hi - from);
        if (windows->part->dead != NULL && from < windows->hi)
            out |= ps_bits_at(windows->part->dead, from, windows->part->docs);
        drop(root, w, root->bits[w] & out);
    }
}

bool ps_windows_next(ps_windows *windows)
{
    ps_window_level *root = windows->levels;
    clear(root);
    while (windows->hi < windows->part->docs && !windows->no_memory) {
        uint32_t doc = next_of(windows, 0, windows->hi);
        if (doc >= windows->part->docs) break;
        windows->lo = doc;
        windows->hi = windows->part->docs - doc > PS_WINDOW ? doc + PS_WINDOW : windows->part->docs;
        eval(windows, 0, root);
        keep_live(windows, root);
        windows->bits = root->bits;
        windows->scores = root->scores;
        if (!is_empty(root)) return true;
    }
    for (uint32_t w = 0; w < windows->leaves->plan->word_count; w++)
        windows->broken |= windows->cursors[w].broken;
    return false;
}

void ps_windows_free(ps_windows *windows)
{
    ps_room_free(&windows->cursor_room, windows->allocator);
    ps_room_free(&windows->level_room, windows->allocator);
    ps_room_free(&windows->place_room, windows->allocator);
}
