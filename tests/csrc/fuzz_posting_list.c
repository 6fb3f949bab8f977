/* Lists of postings against plain arrays: packed and unpacked, walked, sought in; peaks that bound what they
 * must; and with bytes flipped, which a cursor must survive. */
#include "fuzz.h"
#include "posting_list.h"

#define MOST 1200
#define MOST_BLOCKS (MOST / PS_BLOCK + 1)
#define MOST_PLACES 3 /* positions of a posting in the model of positions */

typedef struct {
    uint32_t n, packed_n;
    uint32_t docs[MOST], freqs[MOST], lengths[MOST];
    ps_block_head heads[MOST_BLOCKS];
    uint8_t *packed; /* as long as it must be and no longer */
    uint8_t *places, *rest_places;
    uint32_t place_offsets[MOST_BLOCKS + 1];
    ps_postings list;
} model;

static model m;

/* Ascending documents and frequencies, of magnitudes that the input chooses. */
static void some_postings(fuzz_input *input)
{
    uint64_t choice = fuzz_take(input, 1), state = fuzz_take(input, 8) | 1;
    m.n = (uint32_t)fuzz_between(input, 1, choice % 4 == 0 ? MOST : choice % 4 == 1 ? 9 : 300);
    unsigned doc_bits = (unsigned)fuzz_between(input, 0, 32),
             freq_bits = (unsigned)fuzz_between(input, 0, 31);
    uint64_t at = choice & 64 ? fuzz_take(input, 4) : 0, most = UINT32_MAX - 1;
    for (uint32_t i = 0; i < m.n; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned bits = choice & 128 ? (unsigned)(state >> 58) % (doc_bits + 1) : doc_bits;
        uint64_t gap = (state >> 20) & ((UINT64_C(1) << bits) - 1);
        at += i > 0 ? gap + 1 : gap;
        if (at > most) {
            m.n = i;
            break;
        }
        m.docs[i] = (uint32_t)at;
        m.freqs[i] = 1 + (uint32_t)(state & ((UINT64_C(1) << freq_bits) - 1));
        m.lengths[i] = choice & 32 ? UINT32_MAX - (uint32_t)i % 3 : (uint32_t)(state >> 33) % 1000;
    }
    if (m.n == 0) {
        m.n = 1;
        m.docs[0] = (uint32_t)most;
        m.freqs[0] = PS_FREQ_MOST;
        m.lengths[0] = 0;
    }
}

static bool bounds(const ps_peak *peaks, uint32_t freq, uint32_t length)
{
    for (unsigned i = 0; i < PS_PEAKS && peaks[i].freq > 0; i++)
        if ((peaks[i].freq == UINT16_MAX || peaks[i].freq >= freq) && peaks[i].length <= length) return true;
    return false;
}

/* Peaks are made of documents 0, 1, 2 ..., so that there need not be lengths up to 2^32. */
static void some_peaks(uint32_t from, uint32_t n, ps_peak *peaks)
{
    uint32_t numbers[PS_BLOCK] = {0};
    for (uint32_t i = 0; i < n; i++) numbers[i] = i;
    ps_block_peaks(numbers, m.freqs + from, n, m.lengths + from, peaks);
    for (uint32_t i = 0; i < n; i++) FUZZ_REQUIRE(bounds(peaks, m.freqs[from + i], m.lengths[from + i]));
    for (unsigned i = 1; i < PS_PEAKS && peaks[i].freq > 0; i++)
        FUZZ_REQUIRE(peaks[i].freq <= peaks[i - 1].freq && peaks[i].length <= peaks[i - 1].length);
}

/* The positions of a posting in the model: as many as `stored` says, from its number. */
static uint32_t places_of(uint32_t i, uint32_t *places)
{
    uint32_t n = m.freqs[i] < MOST_PLACES ? m.freqs[i] : MOST_PLACES,
             step = i % 7 == 0 ? 1u << 27 : 1 + i % 200;
    for (uint32_t j = 0; j < n; j++) places[j] = i * 3 + j * step;
    return n;
}

static uint8_t *exact(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = calloc(1, size + PS_READ_AHEAD);
    FUZZ_REQUIRE(copy != NULL);
    if (size > 0) memcpy(copy, bytes, size);
    return copy;
}

static void pack_places(void)
{
    static uint8_t bytes[MOST * MOST_PLACES * 5];
    size_t size = 0, rest = 0;
    uint32_t places[MOST_PLACES];
    for (uint32_t i = 0; i < m.n; i++) {
        if (i == m.packed_n) rest = size;
        if (i <= m.packed_n && i % PS_BLOCK == 0) m.place_offsets[i / PS_BLOCK] = (uint32_t)size;
        size_t more = ps_places_pack(places, places_of(i, places), bytes + size);
        FUZZ_REQUIRE(more <= 5 * (size_t)places_of(i, places));
        size += more;
    }
    if (m.packed_n == m.n) rest = size;
    m.place_offsets[m.list.blocks] = (uint32_t)rest;
    m.places = exact(bytes, rest);
    m.rest_places = exact(bytes + rest, size - rest);
    m.list.places = m.places;
    m.list.places_size = rest;
    m.list.place_offsets = m.list.blocks == 1 ? NULL : m.place_offsets;
    m.list.rest_places = m.rest_places;
    m.list.rest_places_size = size - rest;
}

/* Packs the postings; as many as fill no block stay behind as they are, if `open`. */
static void pack_list(bool open, bool keeps_full)
{
    static uint8_t bytes[MOST_BLOCKS * PS_BLOCK_BYTES];
    size_t size = 0;
    m.packed_n = open ? (m.n - keeps_full) / PS_BLOCK * PS_BLOCK : m.n;
    m.list = (ps_postings){.heads = m.heads, .count = m.n, .docs = m.docs[m.n - 1] + 1};
    for (uint32_t from = 0; from < m.packed_n; from += PS_BLOCK) {
        uint32_t n = m.packed_n - from < PS_BLOCK ? m.packed_n - from : PS_BLOCK;
        ps_block_head *head = &m.heads[m.list.blocks++];
        *head = (ps_block_head){.last = m.docs[from + n - 1], .offset = (uint32_t)size};
        some_peaks(from, n, head->peaks);
        size_t more = ps_block_pack(m.docs + from, m.freqs + from, n, from ? (int64_t)m.docs[from - 1] : -1,
                                    bytes + size);
        FUZZ_REQUIRE(more >= 2 && more <= PS_BLOCK_BYTES);
        size += more;
    }
    m.packed = exact(bytes, size);
    m.list.packed = m.packed;
    m.list.packed_size = size;
    m.list.rest = m.n - m.packed_n;
    m.list.rest_docs = m.docs + m.packed_n;
    m.list.rest_freqs = m.freqs + m.packed_n;
    if (m.list.rest > 0) some_peaks(m.packed_n, m.list.rest, m.list.rest_peaks);
    pack_places();
}

static void expect_whole(void)
{
    ps_cursor cursor;
    uint32_t seen = 0, places[MOST_PLACES], expected[MOST_PLACES];
    bool exact_places = true;
    for (ps_cursor_begin(&cursor, &m.list); cursor.n > 0; ps_cursor_next(&cursor)) {
        FUZZ_REQUIRE(seen + cursor.n <= m.n && cursor.last == m.docs[seen + cursor.n - 1]);
        ps_cursor_freqs(&cursor);
        for (uint32_t i = 0; i < 16; i++) FUZZ_REQUIRE(cursor.docs[cursor.n + i] == PS_NO_DOC);
        for (uint32_t i = 0; i < cursor.n; i++, seen++) {
            FUZZ_REQUIRE(cursor.docs[i] == m.docs[seen] && cursor.freqs[i] == m.freqs[seen]);
            FUZZ_REQUIRE(bounds(ps_cursor_peaks(&cursor), m.freqs[seen], m.lengths[seen]) ||
                         m.list.heads == NULL);
            exact_places =
                exact_places && m.freqs[seen] <= MOST_PLACES; /* else the model has fewer than it says */
            if (!exact_places || seen % 3 == 2) continue;
            uint32_t n = places_of(seen, expected);
            FUZZ_REQUIRE(ps_cursor_places(&cursor, i, places, MOST_PLACES) == n);
            for (uint32_t j = 0; j < n; j++) FUZZ_REQUIRE(places[j] == expected[j]);
        }
        exact_places = true;
    }
    FUZZ_REQUIRE(seen == m.n && !cursor.broken && cursor.last == PS_NO_DOC);
}

static uint32_t model_seek(uint32_t doc)
{
    uint32_t i = 0;
    while (i < m.n && m.docs[i] < doc) i++;
    return i;
}

/* Moves on to documents that ascend, by all ways there are. */
static void expect_moves(fuzz_input *input)
{
    ps_cursor cursor;
    uint64_t doc = 0;
    ps_cursor_open(&cursor, &m.list);
    for (unsigned step = 0; step < 40 && doc <= PS_NO_DOC; step++) {
        uint64_t choice = fuzz_take(input, 1);
        uint32_t to = (uint32_t)doc;
        if (choice & 1) {
            uint32_t near = model_seek(to) + (uint32_t)(choice >> 3) * (choice & 2 ? 7 : 1);
            uint32_t sought = near < m.n ? m.docs[near] + (choice & 4 ? 1 : 0) : PS_NO_DOC;
            if (sought > to) to = sought;
        }
        uint32_t i = model_seek(to);
        if (choice & 2) {
            uint32_t freq = i < m.n && m.docs[i] == to ? m.freqs[i] : 0;
            FUZZ_REQUIRE(ps_cursor_freq_of(&cursor, to) == freq);
        } else {
            ps_cursor_shallow(&cursor, to);
            FUZZ_REQUIRE((cursor.n > 0) == (i < m.n) && cursor.last >= to);
            if (choice & 4) ps_cursor_freqs(&cursor);
            ps_cursor_docs(&cursor);
            uint32_t at = ps_cursor_seek(&cursor, to);
            FUZZ_REQUIRE(i == m.n || (at < cursor.n && cursor.docs[at] == m.docs[i]));
            FUZZ_REQUIRE(i == m.n || !(choice & 4) || cursor.freqs[at] == m.freqs[i]);
        }
        doc = (uint64_t)to + (choice >> 5);
    }
    FUZZ_REQUIRE(!cursor.broken);
}

/* ---- lists that somebody made up ---- */

static void survive(fuzz_input *input)
{
    ps_cursor cursor;
    uint32_t places[4], blocks = 0;
    uint64_t before = 0;
    bool seen_docs = false;
    for (ps_cursor_begin(&cursor, &m.list); cursor.n > 0; ps_cursor_next(&cursor)) {
        FUZZ_REQUIRE(++blocks <= m.list.blocks + 1);
        for (uint32_t i = 0; i < cursor.n; i++) { /* what was not broken is in order and below docs */
            FUZZ_REQUIRE(cursor.docs[i] < m.list.docs || cursor.block == m.list.blocks);
            FUZZ_REQUIRE(!seen_docs || cursor.docs[i] > before || cursor.block == m.list.blocks);
            before = cursor.docs[i];
            seen_docs = true;
        }
        if (fuzz_take(input, 1) & 1) ps_cursor_freqs(&cursor);
        for (uint32_t i = 0; i < cursor.n; i += 1 + (uint32_t)fuzz_take(input, 1)) {
            uint32_t n = ps_cursor_places(&cursor, i, places, 4);
            FUZZ_REQUIRE(n <= 4);
        }
    }
    ps_cursor_open(&cursor, &m.list);
    for (uint32_t step = 0; step < 20 && cursor.n > 0; step++) {
        uint32_t doc = m.docs[fuzz_take(input, 2) % m.n];
        uint32_t block = cursor.block;
        if (step % 2)
            ps_cursor_shallow(&cursor, doc);
        else
            ps_cursor_freq_of(&cursor, doc);
        FUZZ_REQUIRE(cursor.block >= block && (cursor.n == 0 || cursor.last >= doc));
    }
}

static void damage(fuzz_input *input)
{
    uint64_t what = fuzz_take(input, 1), bit = fuzz_take(input, 3);
    if (what % 8 == 0) m.list.docs = (uint32_t)fuzz_take(input, 4);
    if (what % 8 == 1 && m.list.packed_size > 0) m.list.packed_size = bit % m.list.packed_size;
    if (what % 8 == 2 && m.list.places_size > 0) m.list.places_size = bit % m.list.places_size;
    if (what % 8 == 3) m.place_offsets[bit % (m.list.blocks + 1)] = (uint32_t)fuzz_take(input, 4);
    if (what % 8 == 4 && m.list.blocks > 0)
        m.heads[bit % m.list.blocks].offset = (uint32_t)fuzz_take(input, 4);
    if (what % 8 == 5 && m.list.blocks > 0) m.heads[bit % m.list.blocks].last = (uint32_t)fuzz_take(input, 4);
    if (what % 8 == 6 && m.list.places_size > 0)
        m.places[bit / 8 % m.list.places_size] ^= (uint8_t)(1 << bit % 8);
    if (what % 2 == 1 && m.list.packed_size > 0)
        m.packed[bit / 8 % m.list.packed_size] ^= (uint8_t)(1 << bit % 8);
}

/* The only block of a list shows its head where it has none. */
static void expect_only(void)
{
    ps_postings with = m.list;
    if (m.list.blocks != 1 || m.list.rest > 0) return;
    m.list.heads = NULL;
    FUZZ_REQUIRE(ps_postings_look(&m.list) && m.list.only.last == m.docs[m.n - 1]);
    for (uint32_t i = 0; i < m.n; i++) FUZZ_REQUIRE(bounds(m.list.only.peaks, m.freqs[i], 1));
    ps_postings copy = m.list;
    FUZZ_REQUIRE(ps_postings_heads(&copy)->last == m.docs[m.n - 1]);
    expect_whole();
    m.list.docs--;
    FUZZ_REQUIRE(!ps_postings_look(&m.list));
    m.list = with;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    some_postings(&input);
    uint64_t choice = fuzz_take(&input, 1);
    pack_list(choice & 1, choice & 2);
    expect_whole();
    expect_moves(&input);
    if (m.n < PS_BLOCK) expect_only();
    for (unsigned i = 0; i < 8; i++) {
        damage(&input);
        survive(&input);
        if (m.list.blocks == 1 && m.list.rest == 0 && m.n < PS_BLOCK) {
            ps_postings copy = m.list;
            if (ps_postings_look(&copy)) FUZZ_REQUIRE(copy.only.last < copy.docs);
        }
    }
    free(m.packed);
    free(m.places);
    free(m.rest_places);
    return 0;
}
