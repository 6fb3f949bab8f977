#include "segment_merge.h"

#include <string.h>

#include "bytes.h"
#include "radix_sort.h"
#include "search_segment.h"

enum {
    FIRST_ROOM = 1 << 16, /* bytes */
    FAR_AHEAD = 16,       /* terms whose records are fetched before their turn, */
    NEAR_AHEAD = 8,       /* and those of which the rest is */
};

/* Bytes that grow. */
typedef struct {
    uint8_t *bytes;
    size_t size, room;
} heap_bytes;

/* One of the parts. */
typedef struct {
    const ps_part *part;
    uint32_t *order;  /* numbers of its terms by their order; NULL: they are in order */
    uint32_t at;      /* terms that are done */
    ps_term term;     /* the next, */
    uint64_t key;     /* its field and first bytes, NO_KEY if there is none, */
    uint32_t number;  /* its number, */
    ps_postings list; /* and its postings, once it is its turn */
    uint32_t first;   /* what its first document is called in the new segment */
    uint32_t *ranks;  /* if dead documents go: live ones before each 64 documents; else NULL */
} source;

typedef struct {
    source *sources;
    uint32_t count;
    uint32_t *turn, turns; /* the sources that have the term whose turn it is */
    bool renumber, positions, texts;
    ps_allocator allocator;
    ps_segment_header header;
    uint32_t *lengths[PS_FIELDS]; /* of the new documents */
    int64_t least;                /* of their ids, if these are numbers */
    heap_bytes lists, records, text, place_at, places;
    /* the list that is being written */
    uint32_t docs[PS_BLOCK], freqs[PS_BLOCK], n; /* its last postings, */
    const ps_peak *peaks;  /* and their peaks, if they are a block as it came; else NULL */
    uint32_t total;        /* postings before these */
    uint32_t blocks, most; /* blocks that are written, and for how many heads there is room */
    int64_t before;        /* last document of the block before */
    size_t list_from, heads_from, offsets_from, places_from; /* where its bytes begin */
    uint32_t field;
} merger;

#define NO_KEY UINT64_MAX

/* ---- memory ---- */

static ps_status make_room(merger *m, heap_bytes *to, size_t more)
{
    if (to->room - to->size >= more) return PS_OK;
    if (more > PS_SEGMENT_MOST || to->size > PS_SEGMENT_MOST) return PS_REFUSED;
    size_t room = to->size + more + to->room / 2 + FIRST_ROOM;
    uint8_t *bytes = m->allocator.resize(to->bytes, room);
    if (bytes == NULL) return PS_NO_MEMORY;
    to->bytes = bytes;
    to->room = room;
    return PS_OK;
}

static ps_status append(merger *m, heap_bytes *to, const void *bytes, size_t size)
{
    ps_status status = make_room(m, to, size);
    if (status != PS_OK || size == 0) return status;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    return PS_OK;
}

/* Zeros to the next multiple of 4, and `more` of them. */
static ps_status append_zeros(merger *m, heap_bytes *to, size_t more)
{
    more += -to->size % 4;
    ps_status status = make_room(m, to, more);
    if (status != PS_OK) return status;
    memset(to->bytes + to->size, 0, more);
    to->size += more;
    return PS_OK;
}

static void *some_memory(merger *m, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size - 1) return NULL;
    return m->allocator.resize(NULL, count * size + 1);
}

static void release_all(merger *m)
{
    ps_allocator allocator = m->allocator;
    for (uint32_t i = 0; m->sources != NULL && i < m->count; i++) {
        allocator.release(m->sources[i].order);
        allocator.release(m->sources[i].ranks);
    }
    allocator.release(m->sources);
    allocator.release(m->turn);
    for (unsigned i = 0; i < PS_FIELDS; i++) allocator.release(m->lengths[i]);
    allocator.release(m->lists.bytes);
    allocator.release(m->records.bytes);
    allocator.release(m->text.bytes);
    allocator.release(m->place_at.bytes);
    allocator.release(m->places.bytes);
}

/* ---- the order of terms ---- */

/* Orders as the terms do, as far as it goes: the field and the first seven bytes. Below NO_KEY. */
static uint64_t key_of(ps_term term)
{
    uint64_t key = term.field;
    for (uint32_t i = 0; i < 7; i++) key = key << 8 | (i < term.size ? term.bytes[i] : 0);
    return key;
}

static bool comes_before(const ps_part *part, uint32_t a, uint32_t b)
{
    return ps_term_compare(part->term(part, a), part->term(part, b)) < 0;
}

static void sift_down(const ps_part *part, uint32_t *numbers, size_t from, size_t n)
{
    uint32_t number = numbers[from];
    for (size_t child; (child = 2 * from + 1) < n; from = child) {
        if (child + 1 < n && comes_before(part, numbers[child], numbers[child + 1])) child++;
        if (!comes_before(part, number, numbers[child])) break;
        numbers[from] = numbers[child];
    }
    numbers[from] = number;
}

/* Heap sort, for terms with one key. */
static void sort_alike(const ps_part *part, uint32_t *numbers, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(part, numbers, i, n);
    for (size_t i = n; i-- > 1;) {
        uint32_t number = numbers[0];
        numbers[0] = numbers[i];
        numbers[i] = number;
        sift_down(part, numbers, 0, i);
    }
}

static ps_status sort_by_keys(merger *m, const ps_part *part, int64_t *keys, uint64_t *values,
                              uint32_t *order)
{
    size_t n = part->terms;
    for (size_t i = 0; i < n; i++) {
        keys[i] = (int64_t)key_of(part->term(part, (uint32_t)i)); /* fields are below 16: never negative */
        values[i] = i;
    }
    ps_status status = ps_radix_sort(keys, values, n, m->allocator);
    if (status != PS_OK) return status;
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)values[i];
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && keys[end] == keys[i];) end++;
        if (end - i > 1) sort_alike(part, order + i, end - i);
    }
    return PS_OK;
}

static ps_status sort_terms(merger *m, source *of)
{
    size_t n = of->part->terms;
    if (of->part->sorted) return PS_OK;
    of->order = some_memory(m, n, sizeof *of->order);
    int64_t *keys = some_memory(m, n, sizeof *keys);
    uint64_t *values = some_memory(m, n, sizeof *values);
    ps_status status = PS_NO_MEMORY;
    if (of->order != NULL && keys != NULL && values != NULL)
        status = sort_by_keys(m, of->part, keys, values, of->order);
    m->allocator.release(keys);
    m->allocator.release(values);
    return status;
}

/* Asks for what the terms to come need: in their order they lie everywhere. */
static inline void fetch_ahead(const source *of)
{
    const ps_part *part = of->part;
    if (of->order == NULL || part->fetch == NULL || part->terms - of->at <= FAR_AHEAD) return;
    part->fetch(part, of->order[of->at + FAR_AHEAD], 0);
    part->fetch(part, of->order[of->at + NEAR_AHEAD], 1);
}

static void next_term(source *of)
{
    of->key = NO_KEY;
    if (of->at == of->part->terms) return;
    of->number = of->order != NULL ? of->order[of->at] : of->at;
    of->at++;
    of->term = of->part->term(of->part, of->number);
    fetch_ahead(of);
    of->key = key_of(of->term);
}

/* <0, 0, >0 as the next terms of two sources stand. */
static inline int compare_next(const source *a, const source *b)
{
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    if (a->term.size > 7 && b->term.size > 7) return ps_term_compare(a->term, b->term);
    return a->term.size < b->term.size
               ? -1
               : a->term.size > b->term.size; /* one goes on where the other has ended */
}

/* Finds the sources that have the least of the next terms; false if there are no more. */
static bool find_turn(merger *m)
{
    const source *least = &m->sources[0];
    m->turns = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        int order = compare_next(&m->sources[i], least);
        if (order > 0) continue;
        if (order < 0) m->turns = 0;
        least = &m->sources[i];
        m->turn[m->turns++] = i;
    }
    return least->key != NO_KEY;
}

/* ---- documents ---- */

static inline uint32_t live_docs(const ps_part *part) { return part->docs - part->dead_docs; }

static inline bool has_dead(const ps_part *part) { return part->dead != NULL && part->dead_docs > 0; }

/* What a live document of a part is called in the new segment. */
static inline uint32_t new_number(const source *of, uint32_t doc)
{
    if (of->ranks == NULL) return of->first + doc;
    uint64_t before = ~of->part->dead[doc >> 6] & ((UINT64_C(1) << (doc & 63)) - 1);
    return of->first + of->ranks[doc >> 6] + (uint32_t)__builtin_popcountll(before);
}

static ps_status count_ranks(merger *m, source *of)
{
    uint32_t words = of->part->docs / 64 + 1, live = 0;
    if (!m->renumber || !has_dead(of->part)) return PS_OK;
    of->ranks = some_memory(m, words, sizeof *of->ranks);
    if (of->ranks == NULL) return PS_NO_MEMORY;
    for (uint32_t i = 0; i < words; i++) {
        of->ranks[i] = live;
        if (i < words - 1) live += (uint32_t)__builtin_popcountll(~of->part->dead[i]);
    }
    return PS_OK;
}

static ps_status number_documents(merger *m)
{
    uint64_t docs = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        source *of = &m->sources[i];
        of->first = (uint32_t)docs;
        docs += m->renumber ? live_docs(of->part) : of->part->docs;
        if (docs >= UINT32_MAX) return PS_REFUSED;
        ps_status status = count_ranks(m, of);
        if (status != PS_OK) return status;
    }
    m->header.docs = (uint32_t)docs;
    return PS_OK;
}

/* Copies what each document of a part has `size` bytes of; of a dead one that stays it becomes zeros. */
static void copy_column(const merger *m, const source *of, const void *from, size_t size, void *to)
{
    const ps_part *part = of->part;
    uint8_t *out = (uint8_t *)to + size * of->first;
    if (!has_dead(part)) {
        if (part->docs > 0) memcpy(out, from, size * part->docs);
        return;
    }
    for (uint32_t doc = 0; doc < part->docs; doc++) {
        bool dead = ps_part_is_dead(part, doc);
        if (dead && m->renumber) continue;
        if (dead)
            memset(out, 0, size);
        else
            memcpy(out, (const uint8_t *)from + size * doc, size);
        out += size;
    }
}

static ps_status copy_lengths(merger *m)
{
    for (uint32_t field = 0; field < m->header.fields; field++) {
        m->lengths[field] = some_memory(m, m->header.docs, 4);
        if (m->lengths[field] == NULL) return PS_NO_MEMORY;
        for (uint32_t i = 0; i < m->count; i++)
            copy_column(m, &m->sources[i], m->sources[i].part->lengths[field], 4, m->lengths[field]);
    }
    return PS_OK;
}

static uint64_t id_texts_size(const merger *m)
{
    uint64_t size = 0;
    for (uint32_t i = 0; m->texts && i < m->count; i++) {
        const ps_part *part = m->sources[i].part;
        for (uint32_t doc = 0; doc < part->docs; doc++)
            if (!ps_part_is_dead(part, doc)) size += part->id_offsets[doc + 1] - part->id_offsets[doc];
    }
    return size;
}

static void copy_id_texts(const merger *m, uint64_t *offsets, uint8_t *texts)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const ps_part *part = m->sources[i].part;
        for (uint32_t doc = 0; doc < part->docs; doc++) {
            bool dead = ps_part_is_dead(part, doc);
            if (dead && m->renumber) continue;
            *offsets++ = at;
            uint64_t from = part->id_offsets[doc], size = dead ? 0 : part->id_offsets[doc + 1] - from;
            if (size > 0) memcpy(texts + at, part->id_bytes + from, (size_t)size);
            at += size;
        }
    }
    *offsets = at;
}

/* Looks how ids that are numbers lie, and says so in the flags. A dead document that stays keeps its own: so
 * those of the others go on to follow one another. */
static void look_at_numbers(merger *m)
{
    int64_t greatest = INT64_MIN, before = 0;
    bool in_a_row = true, first = true;
    m->least = INT64_MAX;
    for (uint32_t i = 0; i < m->count; i++) {
        const ps_part *part = m->sources[i].part;
        for (uint32_t doc = 0; doc < part->docs; doc++) {
            if (m->renumber && ps_part_is_dead(part, doc)) continue;
            int64_t number = ps_part_number(part, doc);
            in_a_row &= first || (before < INT64_MAX && number == before + 1);
            first = false;
            before = number;
            m->least = number < m->least ? number : m->least;
            greatest = number > greatest ? number : greatest;
        }
    }
    if (first) return;
    if (in_a_row)
        m->header.flags |= PS_SEGMENT_IDS_IN_A_ROW;
    else if ((uint64_t)greatest - (uint64_t)m->least <= UINT32_MAX)
        m->header.flags |= PS_SEGMENT_IDS_NEAR;
}

static void write_numbers(const merger *m, uint8_t *out)
{
    bool near = (m->header.flags & PS_SEGMENT_IDS_NEAR) != 0;
    if (near || (m->header.flags & PS_SEGMENT_IDS_IN_A_ROW)) ps_write_little64(out, (uint64_t)m->least);
    if (m->header.flags & PS_SEGMENT_IDS_IN_A_ROW) return;
    if (near) out += 8;
    for (uint32_t i = 0; i < m->count; i++) {
        const ps_part *part = m->sources[i].part;
        for (uint32_t doc = 0; doc < part->docs; doc++) {
            if (m->renumber && ps_part_is_dead(part, doc)) continue;
            uint64_t number = (uint64_t)ps_part_number(part, doc);
            if (near)
                ps_write_little32(out, (uint32_t)(number - (uint64_t)m->least));
            else
                ps_write_little64(out, number);
            out += near ? 4 : 8;
        }
    }
}

/* ---- a list ---- */

/* `most`: postings that it may have. */
static ps_status begin_list(merger *m, uint64_t most)
{
    ps_status status = PS_OK;
    m->n = m->total = m->blocks = 0;
    m->before = -1;
    m->list_from = m->heads_from = m->lists.size;
    m->places_from = m->offsets_from = m->places.size;
    m->most = (uint32_t)((most + PS_BLOCK - 1) / PS_BLOCK);
    if (most > PS_BRIEF) {
        /* its count comes first */
        status = append_zeros(m, &m->lists, 4 + (size_t)m->most * sizeof(ps_block_head));
        m->heads_from = m->lists.size - (size_t)m->most * sizeof(ps_block_head);
    }
    if (m->positions && most > PS_BLOCK && status == PS_OK) {
        status = append_zeros(m, &m->places, ((size_t)m->most + 1) * 4);
        m->offsets_from = m->places.size - ((size_t)m->most + 1) * 4;
    }
    return status;
}

static size_t packed_from(const merger *m) { return m->heads_from + (size_t)m->most * sizeof(ps_block_head); }

/* Notes that the places of a block begin, or those of the last end, where places end now. */
static ps_status note_places(merger *m)
{
    if (!m->positions || m->most <= 1) return PS_OK;
    size_t offset = m->places.size - (m->offsets_from + ((size_t)m->most + 1) * 4);
    if (offset > UINT32_MAX) return PS_REFUSED;
    ps_write_little32(m->places.bytes + m->offsets_from + (size_t)m->blocks * 4, (uint32_t)offset);
    return PS_OK;
}

/* Packs the postings at hand as a block with a head. */
static ps_status write_block(merger *m)
{
    ps_status status = make_room(m, &m->lists, PS_BLOCK_BYTES);
    if (status != PS_OK) return status;
    size_t offset = m->lists.size - packed_from(m);
    if (offset > UINT32_MAX) return PS_REFUSED;
    ps_block_head head = {.last = m->docs[m->n - 1], .offset = (uint32_t)offset};
    if (m->peaks != NULL)
        memcpy(head.peaks, m->peaks, sizeof head.peaks);
    else
        ps_block_peaks(m->docs, m->freqs, m->n, m->lengths[m->field], head.peaks);
    memcpy(m->lists.bytes + m->heads_from + (size_t)m->blocks * sizeof head, &head, sizeof head);
    m->lists.size += ps_block_pack(m->docs, m->freqs, m->n, m->before, m->lists.bytes + m->lists.size);
    m->before = head.last;
    m->total += m->n;
    m->blocks++;
    m->n = 0;
    return note_places(m);
}

/* Takes the positions of postings[from .. to); `at` is where they begin, and moves on. */
static ps_status take_places(merger *m, const uint32_t *freqs, uint32_t from, uint32_t to, const uint8_t **at,
                             const uint8_t *end)
{
    uint64_t words = 0;
    for (uint32_t i = from; i < to; i++) words += freqs[i];
    const uint8_t *behind = ps_places_pass(*at, end, words);
    if (behind == NULL) return PS_BROKEN;
    ps_status status = append(m, &m->places, *at, (size_t)(behind - *at));
    *at = behind;
    return status;
}

/* Takes n postings whose documents, moved by `shift`, are above all so far. peaks: of all of them, if they
 * are known. at: where their positions begin, if they are kept. */
static ps_status take_postings(merger *m, const uint32_t *docs, const uint32_t *freqs, uint32_t n,
                               uint32_t shift, const ps_peak *peaks, const uint8_t **at, const uint8_t *end)
{
    ps_status status = PS_OK;
    for (uint32_t from = 0, to; from < n && status == PS_OK; from = to) {
        to = n - from < PS_BLOCK - m->n ? n : from + PS_BLOCK - m->n;
        for (uint32_t i = from; i < to; i++) m->docs[m->n + i - from] = docs[i] + shift;
        memcpy(m->freqs + m->n, freqs + from, (to - from) * sizeof *freqs);
        m->peaks = m->n == 0 && to - from == n ? peaks : NULL;
        m->n += to - from;
        if (m->positions) status = take_places(m, freqs, from, to, at, end);
        if (status == PS_OK && m->n == PS_BLOCK) status = write_block(m);
    }
    return status;
}

/* Takes the live postings of the block that a cursor is at. */
static ps_status take_live(merger *m, const source *of, const ps_cursor *cursor, const uint8_t *at,
                           const uint8_t *end)
{
    for (uint32_t i = 0; i < cursor->n; i++) {
        uint32_t doc = cursor->docs[i], freq = cursor->freqs[i];
        ps_status status = PS_OK;
        if (!ps_part_is_dead(of->part, doc)) {
            uint32_t now = new_number(of, doc);
            status = take_postings(m, &now, &freq, 1, 0, NULL, &at, end);
        } else if (m->positions) {
            at = ps_places_pass(at, end, freq);
            if (at == NULL) return PS_BROKEN;
        }
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

/* The peaks of the block that a cursor is at, if they are those that ps_block_peaks makes; else NULL. */
static const ps_peak *known_peaks(const ps_cursor *cursor)
{
    const ps_peak *peaks = ps_cursor_peaks(cursor);
    bool loose = cursor->list->heads == NULL && cursor->block < cursor->list->blocks;
    return loose || peaks[0].freq == 0 ? NULL : peaks; /* a rest may come without */
}

static ps_status take_list(merger *m, const source *of)
{
    ps_cursor cursor;
    ps_status status = PS_OK;
    bool dead = has_dead(of->part);
    for (ps_cursor_begin(&cursor, &of->list); cursor.n > 0 && status == PS_OK; ps_cursor_next(&cursor)) {
        const uint8_t *at = NULL, *end = NULL;
        ps_cursor_freqs(&cursor);
        if (m->positions && !ps_cursor_place_bytes(&cursor, &at, &end)) return PS_BROKEN;
        const ps_peak *peaks = known_peaks(&cursor);
        status = dead ? take_live(m, of, &cursor, at, end)
                      : take_postings(m, cursor.docs, cursor.freqs, cursor.n, of->first, peaks, &at, end);
    }
    return cursor.broken ? PS_BROKEN : status;
}

/* Moves what lies from `from` on to `to`, which is before. */
static void close_gap(heap_bytes *of, size_t to, size_t from)
{
    if (to == from) return;
    memmove(of->bytes + to, of->bytes + from, of->size - from);
    of->size -= from - to;
}

/* Gives back the room for heads and offsets that are not needed after all. */
static void tighten(merger *m)
{
    size_t head = sizeof(ps_block_head), place_heads = m->offsets_from + ((size_t)m->most + 1) * 4;
    close_gap(&m->lists, m->heads_from + m->blocks * head, m->heads_from + m->most * head);
    if (!m->positions || m->most <= 1) return;
    if (m->blocks > 1)
        close_gap(&m->places, m->offsets_from + ((size_t)m->blocks + 1) * 4, place_heads);
    else
        close_gap(&m->places, m->places_from, place_heads);
}

/* A list of few postings, without heads. */
static ps_status end_brief(merger *m, uint64_t most)
{
    m->lists.size = m->list_from;
    if (m->positions && most > PS_BLOCK)
        close_gap(&m->places, m->places_from, m->offsets_from + ((size_t)m->most + 1) * 4);
    ps_status status = make_room(m, &m->lists, PS_BLOCK_BYTES);
    if (status == PS_OK && m->n > 0)
        m->lists.size += ps_block_pack(m->docs, m->freqs, m->n, -1, m->lists.bytes + m->lists.size);
    m->total = m->n;
    return status;
}

static ps_status end_list(merger *m, uint64_t most)
{
    if (m->total + m->n <= PS_BRIEF) return end_brief(m, most);
    ps_status status = m->n > 0 ? write_block(m) : PS_OK;
    if (status == PS_OK) tighten(m);
    return status;
}

/* ---- a term ---- */

/* Notes where the list, the text and the places of a term begin. */
static ps_status write_record(merger *m, uint32_t count, size_t list_at, size_t places_at)
{
    ps_status status = PS_OK;
    uint32_t i = m->header.terms % PS_GROUP;
    uint64_t list = list_at - sizeof m->header /* lies before the lists already */, place = places_at;
    if (i == 0) {
        ps_term_group begun = {.list_base = list, .text_base = m->text.size};
        status = append(m, &m->records, &begun, sizeof begun);
        if (status != PS_OK) return status;
    }
    ps_term_group *group =
        (ps_term_group *)(void *)(m->records.bytes + m->records.size - sizeof(ps_term_group));
    if (list - group->list_base > UINT32_MAX) return PS_REFUSED;
    group->lists[i] = (uint32_t)(list - group->list_base);
    group->texts[i] = (uint16_t)(m->text.size - group->text_base);
    group->counts[i] = (uint8_t)(count > PS_BRIEF ? 0 : count);
    return m->positions ? append(m, &m->place_at, &place, sizeof place) : status;
}

static ps_status finish_term(merger *m, ps_term term)
{
    if (m->total == 0) { /* all its documents are dead */
        m->lists.size = m->list_from;
        m->places.size = m->places_from;
        return PS_OK;
    }
    size_t list_at = m->total > PS_BRIEF ? m->heads_from - 4 : m->list_from;
    if (m->total > PS_BRIEF) ps_write_little32(m->lists.bytes + list_at, m->total);
    size_t places_at = m->total > PS_BLOCK ? m->offsets_from : m->places_from;
    ps_status status = write_record(m, m->total, list_at, places_at);
    if (status == PS_OK) status = append(m, &m->text, term.bytes, term.size);
    m->header.terms++;
    m->header.postings += m->total;
    m->header.field_terms[term.field + 1]++; /* how many, until all are there */
    if (m->header.terms == UINT32_MAX) return PS_REFUSED;
    return status;
}

static ps_status find_lists(const merger *m, uint64_t *postings)
{
    *postings = 0;
    for (uint32_t i = 0; i < m->turns; i++) {
        source *of = &m->sources[m->turn[i]];
        if (!of->part->postings(of->part, of->number, &of->list)) return PS_BROKEN;
        *postings += of->list.count;
    }
    return *postings < UINT32_MAX ? PS_OK : PS_REFUSED;
}

/* Whichever term's turn it is. */
static ps_status merge_term(merger *m)
{
    ps_term term = m->sources[m->turn[0]].term;
    uint64_t most;
    m->field = term.field;
    ps_status status = find_lists(m, &most);
    if (status == PS_OK) status = begin_list(m, most);
    if (status == PS_OK) status = note_places(m);
    for (uint32_t i = 0; i < m->turns && status == PS_OK; i++) status = take_list(m, &m->sources[m->turn[i]]);
    if (status == PS_OK) status = end_list(m, most);
    if (status == PS_OK) status = finish_term(m, term);
    for (uint32_t i = 0; i < m->turns; i++)
        next_term(&m->sources[m->turn[i]]); /* only now: `term` is one of these */
    return status;
}

static ps_status merge_terms(merger *m)
{
    ps_status status = PS_OK;
    for (uint32_t i = 0; i < m->count; i++) next_term(&m->sources[i]);
    while (status == PS_OK && find_turn(m)) status = merge_term(m);
    for (unsigned i = 0; i < PS_FIELDS; i++) m->header.field_terms[i + 1] += m->header.field_terms[i];
    return status == PS_OK ? write_record(m, 0, m->lists.size, m->places.size) : status;
}

/* ---- the whole ---- */

static ps_status begin_sources(merger *m, const ps_part *const *parts)
{
    m->sources = some_memory(m, m->count, sizeof *m->sources);
    m->turn = some_memory(m, m->count, sizeof *m->turn);
    for (uint32_t i = 0; m->sources != NULL && i < m->count; i++) m->sources[i] = (source){.part = parts[i]};
    if (m->sources == NULL || m->turn == NULL) return PS_NO_MEMORY;
    for (uint32_t i = 0; i < m->count; i++) {
        ps_status status = sort_terms(m, &m->sources[i]);
        if (status != PS_OK) return status;
    }
    return PS_OK;
}

static void fill(uint8_t *bytes, size_t *end, uint64_t at, const heap_bytes *from)
{
    memset(bytes + *end, 0, (size_t)at - *end);
    if (from->size > 0) memcpy(bytes + at, from->bytes, from->size);
    *end = (size_t)at + from->size;
}

static void write_documents(const merger *m, uint8_t *bytes, const ps_segment_layout *at)
{
    for (uint32_t i = 0; i < m->header.fields && m->header.docs > 0; i++)
        memcpy(bytes + at->lengths + i * at->lengths_stride, m->lengths[i], (size_t)m->header.docs * 4);
    for (uint32_t i = 0; i < m->count; i++) {
        const source *of = &m->sources[i];
        for (uint32_t j = 0; j < m->header.columns; j++)
            copy_column(m, of, of->part->cells[j], 8, bytes + at->cells + j * at->cells_stride);
    }
    if (m->texts)
        copy_id_texts(m, (uint64_t *)(void *)(bytes + at->ids), bytes + at->id_texts);
    else if (m->header.docs > 0)
        write_numbers(m, bytes + at->ids);
}

/* Puts the sections behind the lists, which lie where they will already. */
static ps_status assemble(merger *m, uint8_t **bytes, size_t *size)
{
    ps_segment_header *header = &m->header;
    header->lists_size = m->lists.size - sizeof *header;
    header->text_size = m->text.size;
    header->places_size = m->places.size;
    header->id_size = id_texts_size(m);
    if (!m->texts) look_at_numbers(m);
    ps_segment_layout at = ps_segment_lay_out(header);
    header->size = at.size;
    uint8_t *whole = m->allocator.resize(m->lists.bytes, (size_t)at.size);
    if (whole == NULL) return PS_NO_MEMORY;
    size_t end = m->lists.size;
    m->lists = (heap_bytes){0};
    memcpy(whole, header, sizeof *header);
    fill(whole, &end, at.records, &m->records);
    fill(whole, &end, at.texts, &m->text);
    fill(whole, &end, at.place_at, &m->place_at);
    fill(whole, &end, at.places, &m->places);
    memset(whole + end, 0, (size_t)at.size - end);
    write_documents(m, whole, &at);
    *bytes = whole;
    *size = (size_t)at.size;
    return PS_OK;
}

ps_status ps_segment_merge(const ps_part *const *parts, uint32_t count, bool renumber, ps_allocator allocator,
                           uint8_t **bytes, size_t *size)
{
    merger m = {.count = count, .renumber = renumber, .allocator = allocator};
    m.positions = parts[0]->positions;
    m.texts = parts[0]->id_offsets != NULL;
    memcpy(m.header.magic, PS_SEGMENT_MAGIC, sizeof m.header.magic);
    m.header.version = PS_SEGMENT_VERSION;
    m.header.flags = (m.positions ? PS_SEGMENT_POSITIONS : 0) | (m.texts ? PS_SEGMENT_TEXT_IDS : 0);
    m.header.fields = parts[0]->fields;
    m.header.columns = parts[0]->columns;
    ps_status status = begin_sources(&m, parts);
    if (status == PS_OK) status = number_documents(&m);
    if (status == PS_OK) status = copy_lengths(&m);
    if (status == PS_OK) status = append(&m, &m.lists, &m.header, sizeof m.header); /* filled in at the end */
    if (status == PS_OK) status = merge_terms(&m);
    if (status == PS_OK) status = assemble(&m, bytes, size);
    release_all(&m);
    return status;
}
