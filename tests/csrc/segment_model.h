/* segment_model -- a small collection of documents in plain arrays, parts made of it, and what a segment of
 * it must say.
 *
 * Words are numbers of WORDS below; every answer is found by looking at all documents. */
#ifndef PS_SEGMENT_MODEL_H
#define PS_SEGMENT_MODEL_H

#include "fuzz.h"
#include "search_segment.h"

#define MOST_DOCS 700
#define MOST_LENGTH 24
#define MOST_FIELDS 3
#define MOST_COLUMNS 2
#define VOCABULARY 40
#define NOT_THERE UINT32_MAX /* in place of a document that died but kept its number */

static const char *const WORDS[VOCABULARY] = {"a",
                                              "",
                                              "b",
                                              "ab",
                                              "abc",
                                              "abcdefg",
                                              "abcdefgh",
                                              "abcdefghi",
                                              "abcdefg\xc3\xa9",
                                              "abcdefgi",
                                              "zebra",
                                              "the",
                                              "of",
                                              "and",
                                              "\xe6\x97\xa5\xe6\x9c\xac",
                                              "\xf0\x9f\x98\x80",
                                              "\xc3\xbc"
                                              "ber",
                                              "to",
                                              "in",
                                              "is",
                                              "it",
                                              "that",
                                              "was",
                                              "for",
                                              "on",
                                              "with",
                                              "as",
                                              "be",
                                              "at",
                                              "by",
                                              "this",
                                              "had",
                                              "not",
                                              "are",
                                              "but",
                                              "from",
                                              "or",
                                              "have",
                                              "an",
                                              "a word of more than sixteen bytes, and of more than the "
                                              "longest that is hashed in one step, whatever that may be"
                                              "; so it goes on for a while, until there are two hundred and "
                                              "forty bytes and some, which is where hashing turns to"
                                              " stripes"};

typedef struct {
    uint32_t docs, fields, columns;
    bool positions, texts;
    uint8_t length[MOST_DOCS][MOST_FIELDS];
    uint8_t words[MOST_DOCS][MOST_FIELDS][MOST_LENGTH];
    uint64_t cells[MOST_DOCS][MOST_COLUMNS];
    int64_t ids[MOST_DOCS];
} collection;

/* What is in a segment: for each of its documents which one of the collection it is. */
typedef struct {
    uint32_t docs;
    uint32_t of[MOST_DOCS];
} contents;

/* A part of plain arrays, in the manner of a tail. */
typedef struct {
    ps_part part;
    const collection *all;
    uint32_t first, terms;
    struct {
        uint32_t field, word, n, blocks, rest;
        uint32_t docs[MOST_DOCS], freqs[MOST_DOCS];
        ps_block_head heads[MOST_DOCS / PS_BLOCK + 1];
        uint32_t offsets[MOST_DOCS / PS_BLOCK + 2];
        size_t packed_size, places_size, rest_places_size;
        uint8_t packed[(MOST_DOCS / PS_BLOCK + 1) * PS_BLOCK_BYTES + PS_READ_AHEAD];
        uint8_t places[MOST_DOCS * MOST_LENGTH + PS_READ_AHEAD],
            rest_places[PS_BLOCK * MOST_LENGTH + PS_READ_AHEAD];
    } lists[MOST_FIELDS * VOCABULARY];
    uint32_t lengths[MOST_FIELDS][MOST_DOCS + 16];
    uint64_t cells[MOST_COLUMNS][MOST_DOCS];
    int64_t ids[MOST_DOCS];
    uint64_t id_offsets[MOST_DOCS + 1];
    uint8_t id_bytes[MOST_DOCS * 24];
    uint64_t dead[MOST_DOCS / 64 + 9];
} plain_part;

static ps_term word_term(uint32_t field, uint32_t word)
{
    return (ps_term){(const uint8_t *)WORDS[word], (uint32_t)strlen(WORDS[word]), field};
}

static size_t id_text(int64_t id, char *text)
{
    return (size_t)snprintf(text, 24, "%s%lld", id % 3 ? "" : "\xc3\xa9", (long long)id);
}

/* Documents of random words; few of many documents, so that inputs stay quick. */
static void some_collection(collection *all, fuzz_input *input)
{
    uint64_t choice = fuzz_take(input, 1);
    uint32_t most = choice < 20 ? MOST_DOCS : choice < 64 ? 290 : choice < 128 ? 40 : 12;
    all->docs = (uint32_t)fuzz_between(input, 0, most);
    all->fields = (uint32_t)fuzz_between(input, 1, MOST_FIELDS);
    all->columns = (uint32_t)fuzz_between(input, 0, MOST_COLUMNS);
    all->positions = fuzz_take(input, 1) % 2;
    all->texts = fuzz_take(input, 1) % 2;
    uint64_t state = fuzz_take(input, 8) | 1, vocabulary = (uint64_t)fuzz_between(input, 1, VOCABULARY);
    uint64_t longest = (uint64_t)fuzz_between(input, 0, MOST_LENGTH);
    for (uint32_t doc = 0; doc < all->docs; doc++) {
        for (uint32_t field = 0; field < all->fields; field++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            all->length[doc][field] = (uint8_t)((state >> 33) % (longest + 1));
            for (uint32_t i = 0; i < all->length[doc][field]; i++) {
                state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                uint64_t word = (state >> 33) % vocabulary; /* often the first ones */
                all->words[doc][field][i] =
                    (uint8_t)(state >> 60 < 8 ? word : word * (state >> 50 & 1023) >> 10);
            }
        }
        for (uint32_t i = 0; i < all->columns; i++) all->cells[doc][i] = state * (i + 1);
        all->ids[doc] = (int64_t)(state >> 20) * (state & 1 ? 1 : -1);
    }
}

static uint32_t freq_in(const collection *all, uint32_t doc, uint32_t field, uint32_t word)
{
    uint32_t freq = 0;
    for (uint32_t i = 0; i < all->length[doc][field]; i++) freq += all->words[doc][field][i] == word;
    return freq;
}

static uint32_t places_in(const collection *all, uint32_t doc, uint32_t field, uint32_t word,
                          uint32_t *places)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < all->length[doc][field]; i++)
        if (all->words[doc][field][i] == word) places[n++] = i;
    return n;
}

/* ---- plain parts ---- */

static ps_term plain_term(const ps_part *part, uint32_t number)
{
    const plain_part *plain = (const plain_part *)part;
    return word_term(plain->lists[number].field, plain->lists[number].word);
}

static bool plain_postings(const ps_part *part, uint32_t number, ps_postings *list)
{
    const plain_part *plain = (const plain_part *)part;
    memset(list, 0, sizeof *list);
    list->heads = plain->lists[number].heads;
    list->packed = plain->lists[number].packed;
    list->packed_size = plain->lists[number].packed_size;
    list->blocks = plain->lists[number].blocks;
    list->count = plain->lists[number].n;
    list->rest = plain->lists[number].rest;
    list->rest_docs = plain->lists[number].docs + list->count - list->rest;
    list->rest_freqs = plain->lists[number].freqs + list->count - list->rest;
    if (list->rest > 0 && number % 2) /* a rest may come without peaks */
        ps_block_peaks(list->rest_docs, list->rest_freqs, list->rest,
                       part->lengths[plain->lists[number].field], list->rest_peaks);
    list->docs = part->docs;
    if (!part->positions) return true;
    list->places = plain->lists[number].places;
    list->places_size = plain->lists[number].places_size;
    list->place_offsets = plain->lists[number].offsets;
    list->rest_places = plain->lists[number].rest_places;
    list->rest_places_size = plain->lists[number].rest_places_size;
    return true;
}

static void pack_places(plain_part *plain, uint32_t number, uint32_t from, uint32_t n, uint8_t *out,
                        size_t *size)
{
    uint32_t places[MOST_LENGTH];
    for (uint32_t i = from; i < from + n; i++) {
        uint32_t freq = places_in(plain->all, plain->first + plain->lists[number].docs[i],
                                  plain->lists[number].field, plain->lists[number].word, places);
        *size += ps_places_pack(places, freq, out + *size);
    }
}

/* Makes a list of its postings: full blocks, and up to 128 behind them that are not packed. */
static void pack_list(plain_part *plain, uint32_t number, bool keeps_full)
{
    uint32_t n = plain->lists[number].n, *docs = plain->lists[number].docs,
             *freqs = plain->lists[number].freqs;
    uint32_t blocks = n / PS_BLOCK;
    if (keeps_full && blocks > 0 && n % PS_BLOCK == 0) blocks--;
    plain->lists[number].blocks = blocks;
    plain->lists[number].rest = n - blocks * PS_BLOCK;
    size_t *size = &plain->lists[number].packed_size, *places_size = &plain->lists[number].places_size;
    *size = *places_size = plain->lists[number].rest_places_size = 0;
    plain->lists[number].offsets[0] = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t from = i * PS_BLOCK;
        ps_block_head *head = &plain->lists[number].heads[i];
        head->last = docs[from + PS_BLOCK - 1];
        head->offset = (uint32_t)*size;
        ps_block_peaks(docs + from, freqs + from, PS_BLOCK, plain->lengths[plain->lists[number].field],
                       head->peaks);
        *size += ps_block_pack(docs + from, freqs + from, PS_BLOCK, from ? (int64_t)docs[from - 1] : -1,
                               plain->lists[number].packed + *size);
        pack_places(plain, number, from, PS_BLOCK, plain->lists[number].places, places_size);
        plain->lists[number].offsets[i + 1] = (uint32_t)*places_size;
    }
    pack_places(plain, number, blocks * PS_BLOCK, n - blocks * PS_BLOCK, plain->lists[number].rest_places,
                &plain->lists[number].rest_places_size);
}

/* A part of documents first .. first + docs of a collection; its terms stand in some order that is none. */
static void plain_part_of(plain_part *plain, const collection *all, uint32_t first, uint32_t docs,
                          fuzz_input *input)
{
    static uint32_t turn;
    memset(&plain->part, 0, sizeof plain->part);
    plain->all = all;
    plain->first = first;
    ps_part *part = &plain->part;
    part->docs = docs;
    part->fields = all->fields;
    part->columns = all->columns;
    part->positions = all->positions;
    part->term = plain_term;
    part->postings = plain_postings;
    size_t id_size = 0;
    for (uint32_t doc = 0; doc < docs; doc++) {
        for (uint32_t i = 0; i < all->fields; i++) plain->lengths[i][doc] = all->length[first + doc][i];
        for (uint32_t i = 0; i < all->columns; i++) plain->cells[i][doc] = all->cells[first + doc][i];
        plain->ids[doc] = all->ids[first + doc];
        plain->id_offsets[doc] = id_size;
        char text[24];
        size_t size = id_text(plain->ids[doc], text);
        memcpy(plain->id_bytes + id_size, text, size);
        id_size += size;
    }
    plain->id_offsets[docs] = id_size;
    for (uint32_t i = 0; i < all->fields; i++) part->lengths[i] = plain->lengths[i];
    for (uint32_t i = 0; i < all->columns; i++) part->cells[i] = plain->cells[i];
    if (all->texts) {
        part->id_offsets = plain->id_offsets;
        part->id_bytes = plain->id_bytes;
    } else {
        part->id_numbers = plain->ids;
    }
    turn = (turn + 7) % (all->fields * VOCABULARY);
    plain->terms = 0;
    for (uint32_t i = 0; i < all->fields * VOCABULARY; i++) {
        uint32_t which = (i * 7 + turn) % (all->fields * VOCABULARY), number = plain->terms,
                 n = 0; /* 7 has no part in 40, 80, 120 */
        plain->lists[number].field = which % all->fields;
        plain->lists[number].word = which / all->fields;
        for (uint32_t doc = 0; doc < docs; doc++) {
            uint32_t freq = freq_in(all, first + doc, which % all->fields, which / all->fields);
            if (freq == 0) continue;
            plain->lists[number].docs[n] = doc;
            plain->lists[number].freqs[n++] = freq;
        }
        if (n == 0) continue;
        plain->lists[number].n = n;
        pack_list(plain, number, fuzz_take(input, 1) % 2);
        plain->terms++;
    }
    part->terms = plain->terms;
}

/* Lets some documents of a part die, every `every`th; 0: none. */
static void let_die(ps_part *part, uint64_t *dead, uint64_t every)
{
    part->dead_docs = 0;
    part->dead = NULL;
    memset(dead, 0, ((size_t)part->docs / 64 + 9) * 8);
    if (every == 0) return;
    for (uint32_t doc = 0; doc < part->docs; doc++)
        if ((doc * UINT64_C(2654435761) >> 7) % every == 0) {
            dead[doc >> 6] |= UINT64_C(1) << (doc & 63);
            part->dead_docs++;
        }
    part->dead = dead;
}

/* ---- what must come out ---- */

static inline void add_contents(contents *now, const ps_part *part, const contents *of, bool renumber)
{
    for (uint32_t doc = 0; doc < part->docs; doc++) {
        bool dead = ps_part_is_dead(part, doc) || of->of[doc] == NOT_THERE;
        if (ps_part_is_dead(part, doc) && renumber) continue;
        now->of[now->docs++] = dead ? NOT_THERE : of->of[doc];
    }
}

static uint32_t expect_list(const ps_part *part, const collection *all, const contents *now, uint32_t field,
                            uint32_t word, uint64_t seed)
{
    ps_term term = word_term(field, word);
    uint32_t number = part->find(part, term, ps_term_hash(term, seed)), count = 0;
    ps_cursor cursor = {0};
    ps_postings list;
    if (number != PS_NO_TERM) {
        FUZZ_REQUIRE(number < part->terms && ps_term_compare(part->term(part, number), term) == 0);
        FUZZ_REQUIRE(part->postings(part, number, &list));
        ps_cursor_begin(&cursor, &list);
    }
    uint32_t i = 0, places[MOST_LENGTH], expected[MOST_LENGTH];
    for (uint32_t doc = 0; doc < now->docs; doc++) {
        uint32_t freq = now->of[doc] == NOT_THERE ? 0 : freq_in(all, now->of[doc], field, word);
        if (freq == 0) continue;
        if (i == cursor.n && number != PS_NO_TERM) {
            ps_cursor_next(&cursor);
            i = 0;
        }
        FUZZ_REQUIRE(i < cursor.n && cursor.docs[i] == doc);
        ps_cursor_freqs(&cursor);
        FUZZ_REQUIRE(cursor.freqs[i] == freq);
        uint32_t placed = ps_cursor_places(&cursor, i, places, MOST_LENGTH);
        FUZZ_REQUIRE(placed == (all->positions ? freq : 0));
        places_in(all, now->of[doc], field, word, expected);
        for (uint32_t j = 0; j < placed; j++) FUZZ_REQUIRE(places[j] == expected[j]);
        i++;
        count++;
    }
    if (number == PS_NO_TERM) {
        FUZZ_REQUIRE(count == 0);
        return 0;
    }
    FUZZ_REQUIRE(count == list.count && count > 0);
    if (i == cursor.n) ps_cursor_next(&cursor);
    FUZZ_REQUIRE(cursor.n == 0 && !cursor.broken && cursor.last == PS_NO_DOC);
    return 1;
}

static void expect_document(const ps_part *part, const collection *all, const contents *now, uint32_t doc)
{
    uint32_t of = now->of[doc];
    bool there = of != NOT_THERE;
    for (uint32_t i = 0; i < all->fields; i++)
        FUZZ_REQUIRE(part->lengths[i][doc] == (there ? all->length[of][i] : 0));
    for (uint32_t i = 0; i < all->columns; i++)
        FUZZ_REQUIRE(part->cells[i][doc] == (there ? all->cells[of][i] : 0));
    if (!all->texts) {
        FUZZ_REQUIRE(!there || ps_part_number(part, doc) == all->ids[of]);
        return;
    }
    char text[24];
    size_t size = there ? id_text(all->ids[of], text) : 0;
    FUZZ_REQUIRE(part->id_offsets[doc + 1] - part->id_offsets[doc] == size);
    FUZZ_REQUIRE(size == 0 || memcmp(part->id_bytes + part->id_offsets[doc], text, size) == 0);
}

static void expect_segment(const ps_segment *segment, const collection *all, const contents *now)
{
    const ps_part *part = &segment->part;
    uint32_t terms = 0;
    FUZZ_REQUIRE(ps_segment_check(segment));
    FUZZ_REQUIRE(part->docs == now->docs && part->fields == all->fields && part->columns == all->columns);
    FUZZ_REQUIRE(part->positions == all->positions && part->sorted);
    FUZZ_REQUIRE((part->id_offsets != NULL) == all->texts);
    for (uint32_t doc = 0; doc < now->docs; doc++) expect_document(part, all, now, doc);
    for (uint32_t field = 0; field < all->fields; field++)
        for (uint32_t word = 0; word < VOCABULARY; word++)
            terms += expect_list(part, all, now, field, word, segment->seed);
    FUZZ_REQUIRE(terms == part->terms);
}

#endif
