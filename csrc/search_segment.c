#include "search_segment.h"

#include <string.h>

#include "bytes.h"
#include "utf8.h"

/* The bytes of the header are numbers in the machine's own order. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define IS_LITTLE_ENDIAN false
#else
#define IS_LITTLE_ENDIAN true
#endif

#define NO_SLOT UINT32_MAX

static inline uint64_t text_at(const ps_segment *segment, uint32_t number)
{
    const ps_term_group *group = &segment->groups[number / PS_GROUP];
    return group->text_base + group->texts[number % PS_GROUP];
}

static inline uint64_t list_at(const ps_segment *segment, uint32_t number)
{
    const ps_term_group *group = &segment->groups[number / PS_GROUP];
    return group->list_base + group->lists[number % PS_GROUP];
}

static inline uint32_t count_at(const ps_segment *segment, uint32_t number)
{
    uint32_t count = segment->groups[number / PS_GROUP].counts[number % PS_GROUP];
    return count > 0 ? count : ps_read_little32(segment->lists + list_at(segment, number));
}

static inline uint32_t blocks_of(uint32_t count) { return count / PS_BLOCK + (count % PS_BLOCK != 0); }

/* ---- what the part answers ---- */

static inline ps_term term_of(const ps_segment *segment, uint32_t number, uint32_t field)
{
    uint64_t from = text_at(segment, number), to = text_at(segment, number + 1);
    return (ps_term){segment->texts + from, (uint32_t)(to - from), field};
}

static ps_term segment_term(const ps_part *part, uint32_t number)
{
    const ps_segment *segment = (const ps_segment *)part;
    uint32_t field = 0;
    while (number >= segment->field_terms[field + 1]) field++;
    return term_of(segment, number, field);
}

static inline uint32_t home_of(const ps_segment *segment, uint64_t hash)
{
    return (uint32_t)((hash >> 32) * segment->slot_count >> 32);
}

/* What a slot holds: the number, and above it as many of the lowest bits of the hash as there is room for. */
static inline uint32_t slot_of(const ps_segment *segment, uint64_t hash, uint32_t number)
{
    return (uint32_t)((hash & UINT32_MAX) << segment->number_bits | number);
}

static uint32_t segment_find(const ps_part *part, ps_term term, uint64_t hash)
{
    const ps_segment *segment = (const ps_segment *)part;
    if (part->terms == 0 || term.field >= part->fields) return PS_NO_TERM;
    uint32_t first = segment->field_terms[term.field], behind = segment->field_terms[term.field + 1];
    uint32_t numbers = slot_of(segment, 0, 0) | (uint32_t)((UINT64_C(1) << segment->number_bits) - 1);
    uint32_t wanted = slot_of(segment, hash, 0), slot;
    for (uint32_t at = home_of(segment, hash); (slot = segment->slots[at]) != NO_SLOT;) {
        uint32_t number = slot & numbers;
        if ((slot & ~numbers) == wanted && number >= first && number < behind) {
            ps_term found = term_of(segment, number, term.field);
            if (found.size == term.size &&
                (term.size == 0 || memcmp(found.bytes, term.bytes, term.size) == 0))
                return number;
        }
        if (++at == segment->slot_count) at = 0;
    }
    return PS_NO_TERM;
}

static void find_positions(const ps_segment *segment, uint32_t number, ps_postings *list)
{
    const uint8_t *at = segment->places + segment->place_at[number];
    list->places = at;
    list->places_size = (size_t)(segment->place_at[number + 1] - segment->place_at[number]);
    if (list->count <= PS_BLOCK) return;
    size_t offsets = ((size_t)list->blocks + 1) * 4;
    list->place_offsets = (const uint32_t *)(const void *)at;
    list->places += offsets;
    list->places_size -= offsets;
}

static bool segment_postings(const ps_part *part, uint32_t number, ps_postings *list)
{
    const ps_segment *segment = (const ps_segment *)part;
    uint64_t from = list_at(segment, number), to = list_at(segment, number + 1);
    memset(list, 0, sizeof *list);
    list->packed = segment->lists + from;
    list->packed_size = (size_t)(to - from);
    list->count = count_at(segment, number);
    list->blocks = blocks_of(list->count);
    list->docs = part->docs;
    if (list->count > PS_BRIEF) {
        size_t heads = (size_t)list->blocks * sizeof *list->heads;
        list->heads = (const ps_block_head *)(const void *)(list->packed + 4);
        list->packed += 4 + heads;
        list->packed_size -= 4 + heads;
    } else if (!ps_postings_look(list)) {
        memset(list, 0, sizeof *list);
        return false;
    }
    if (part->positions) find_positions(segment, number, list);
    return true;
}

/* ---- opening: the tables are looked at ---- */

static bool header_holds(const ps_segment_header *header, size_t size)
{
    bool positions = (header->flags & PS_SEGMENT_POSITIONS) != 0,
         texts = (header->flags & PS_SEGMENT_TEXT_IDS) != 0;
    if (!IS_LITTLE_ENDIAN || memcmp(header->magic, PS_SEGMENT_MAGIC, sizeof header->magic) != 0) return false;
    if (header->version != PS_SEGMENT_VERSION || header->flags > 15 || header->size != size) return false;
    uint32_t kind = header->flags & ~(uint32_t)PS_SEGMENT_POSITIONS;
    if ((kind & (kind - 1)) != 0 || (header->docs == 0 && kind > PS_SEGMENT_TEXT_IDS)) return false;
    if (header->docs == UINT32_MAX || header->terms == UINT32_MAX) return false;
    if (header->fields < 1 || header->fields > PS_FIELDS || header->columns > PS_COLUMNS) return false;
    if (header->lists_size >= PS_SEGMENT_MOST || header->text_size >= PS_SEGMENT_MOST) return false;
    if (header->places_size >= (positions ? PS_SEGMENT_MOST : 1) ||
        header->id_size >= (texts ? PS_SEGMENT_MOST : 1))
        return false;
    uint32_t before = 0;
    for (unsigned i = 0; i <= PS_FIELDS; i++) {
        uint32_t at = header->field_terms[i];
        if (at < before || (i == 0 && at != 0) || (i >= header->fields && at != header->terms)) return false;
        before = at;
    }
    uint8_t any = 0;
    for (size_t i = 0; i < sizeof header->zeros; i++) any |= header->zeros[i];
    return any == 0;
}

/* Whether `count + 1` ascending offsets begin with 0 and end with `size`. */
static bool offsets_hold(const uint64_t *offsets, uint32_t count, uint64_t size)
{
    if (offsets[0] != 0 || offsets[count] != size) return false;
    bool all = true;
    for (uint32_t i = 0; i < count; i++) all &= offsets[i] <= offsets[i + 1];
    return all;
}

/* Whether a list has room for what its count says must be there, and that is possible. */
static bool list_holds(const ps_segment *segment, uint32_t number, uint64_t from, uint64_t to)
{
    uint32_t brief = segment->groups[number / PS_GROUP].counts[number % PS_GROUP];
    if (brief > 0) return brief <= PS_BRIEF && brief <= segment->part.docs && to - from >= 2;
    if (from % 4 != 0 || to - from < 4) return false;
    uint32_t count = count_at(segment, number);
    return count > PS_BRIEF && count <= segment->part.docs &&
           to - from - 4 >= (uint64_t)blocks_of(count) * sizeof(ps_block_head);
}

/* Whether nothing overflows, and there are zeros behind the last record. */
static bool groups_hold(const ps_segment *segment, const ps_segment_header *header)
{
    uint64_t any = 0;
    for (uint64_t i = 0; i < ps_segment_groups(header->terms); i++) {
        const ps_term_group *group = &segment->groups[i];
        if (group->list_base > header->lists_size || group->text_base > header->text_size) return false;
    }
    const ps_term_group *last = &segment->groups[header->terms / PS_GROUP];
    any |= last->counts[header->terms % PS_GROUP];
    for (uint32_t i = header->terms % PS_GROUP + 1; i < PS_GROUP; i++)
        any |= last->lists[i] | last->texts[i] | last->counts[i];
    return any == 0;
}

static bool records_hold(const ps_segment *segment, const ps_segment_header *header)
{
    uint32_t terms = header->terms;
    uint64_t postings = 0;
    if (!groups_hold(segment, header)) return false;
    if (text_at(segment, 0) != 0 || text_at(segment, terms) != header->text_size) return false;
    if (list_at(segment, 0) != 0 || list_at(segment, terms) != header->lists_size) return false;
    for (uint32_t i = 0; i < terms; i++) {
        uint64_t text = text_at(segment, i), behind_text = text_at(segment, i + 1);
        uint64_t list = list_at(segment, i), behind_list = list_at(segment, i + 1);
        if (behind_text < text || behind_text - text > PS_TERM_BYTES || behind_list < list) return false;
        if (behind_list > header->lists_size || !list_holds(segment, i, list, behind_list)) return false;
        postings += count_at(segment, i);
    }
    return postings == header->postings;
}

/* Whether terms are UTF-8, each of them, and ascend within their field. */
static bool terms_hold(const ps_segment *segment, const ps_segment_header *header)
{
    ps_text_shape shape;
    if (!ps_utf8_measure(segment->texts, header->text_size, &shape)) return false;
    for (uint32_t field = 0; field < header->fields; field++) {
        ps_term before = {NULL, 0, field};
        for (uint32_t i = header->field_terms[field]; i < header->field_terms[field + 1]; i++) {
            ps_term term = term_of(segment, i, field);
            if (term.size > 0 && (term.bytes[0] & 0xc0) == 0x80) return false; /* amidst a code point */
            if (before.bytes != NULL && ps_term_compare(before, term) >= 0) return false;
            before = term;
        }
    }
    return true;
}

static bool positions_hold(const ps_segment *segment, const ps_segment_header *header)
{
    const uint64_t *at = segment->place_at;
    if (!offsets_hold(at, header->terms, header->places_size)) return false;
    for (uint32_t i = 0; i < header->terms; i++) {
        uint32_t count = count_at(segment, i);
        if (count <= PS_BLOCK) continue;
        if (at[i] % 4 != 0 || at[i + 1] - at[i] < ((uint64_t)blocks_of(count) + 1) * 4) return false;
    }
    return true;
}

/* Whether no number is beyond those that there are. */
static bool numbers_hold(const ps_part *part)
{
    if (part->id_numbers != NULL) return true;
    uint32_t most = part->docs - 1;
    for (uint32_t i = 0; part->id_steps != NULL && i < part->docs; i++)
        most = i == 0 || part->id_steps[i] > most ? part->id_steps[i] : most;
    return part->id_least <= INT64_MAX - (int64_t)most;
}

static bool ids_hold(const ps_part *part, const ps_segment_header *header)
{
    if (part->id_offsets == NULL) return numbers_hold(part);
    ps_text_shape shape;
    if (!offsets_hold(part->id_offsets, header->docs, header->id_size)) return false;
    if (!ps_utf8_measure(part->id_bytes, header->id_size, &shape)) return false;
    for (uint32_t i = 0; i < header->docs; i++) {
        uint64_t from = part->id_offsets[i], to = part->id_offsets[i + 1];
        if (from < to && (part->id_bytes[from] & 0xc0) == 0x80) return false;
    }
    return true;
}

static bool tables_hold(const ps_segment *segment, const ps_segment_header *header)
{
    if (!records_hold(segment, header) || !terms_hold(segment, header)) return false;
    if (segment->part.positions && !positions_hold(segment, header)) return false;
    return ids_hold(&segment->part, header);
}

/* ---- opening: pointers to the tables ---- */

static const void *section(const ps_segment *segment, uint64_t at) { return segment->bytes + at; }

static void set_part(ps_segment *segment, const ps_segment_header *header, const ps_segment_layout *at)
{
    ps_part *part = &segment->part;
    part->docs = header->docs;
    part->fields = header->fields;
    part->columns = header->columns;
    part->positions = (header->flags & PS_SEGMENT_POSITIONS) != 0;
    part->terms = header->terms;
    part->sorted = true;
    for (uint32_t i = 0; i < header->fields; i++)
        part->lengths[i] = section(segment, at->lengths + i * at->lengths_stride);
    for (uint32_t i = 0; i < header->columns; i++)
        part->cells[i] = section(segment, at->cells + i * at->cells_stride);
    if (header->flags & PS_SEGMENT_TEXT_IDS) {
        part->id_offsets = section(segment, at->ids);
        part->id_bytes = section(segment, at->id_texts);
    } else if (header->flags & (PS_SEGMENT_IDS_IN_A_ROW | PS_SEGMENT_IDS_NEAR)) {
        const int64_t *least = section(segment, at->ids);
        part->id_least = *least;
        if (header->flags & PS_SEGMENT_IDS_NEAR) part->id_steps = (const uint32_t *)(const void *)(least + 1);
    } else {
        part->id_numbers = section(segment, at->ids);
    }
    part->find = segment_find;
    part->term = segment_term;
    part->postings = segment_postings;
}

static void set_tables(ps_segment *segment, const ps_segment_header *header, const ps_segment_layout *at)
{
    segment->postings = header->postings;
    memcpy(segment->field_terms, header->field_terms, sizeof segment->field_terms);
    segment->lists = section(segment, at->lists);
    segment->groups = section(segment, at->records);
    segment->texts = section(segment, at->texts);
    if (!segment->part.positions) return;
    segment->place_at = section(segment, at->place_at);
    segment->places = section(segment, at->places);
}

/* Numbers of terms by their hash: half as many slots again as there are terms, so that ways are short. */
static ps_status make_slots(ps_segment *segment)
{
    uint32_t terms = segment->part.terms;
    if (terms == 0) return PS_OK;
    uint64_t slots = (uint64_t)terms + terms / 2 + 1;
    segment->slot_count = (uint32_t)(slots < UINT32_MAX ? slots : UINT32_MAX);
    segment->number_bits =
        32 - (unsigned)__builtin_clz(terms); /* of terms, so no slot with a number is NO_SLOT */
    segment->slots = segment->allocator.resize(NULL, (size_t)segment->slot_count * 4);
    if (segment->slots == NULL) return PS_NO_MEMORY;
    memset(segment->slots, 0xff, (size_t)segment->slot_count * 4); /* NO_SLOT */
    for (uint32_t field = 0; field < segment->part.fields; field++) {
        for (uint32_t i = segment->field_terms[field]; i < segment->field_terms[field + 1]; i++) {
            uint64_t hash = ps_term_hash(term_of(segment, i, field), segment->seed);
            uint32_t at = home_of(segment, hash);
            while (segment->slots[at] != NO_SLOT)
                if (++at == segment->slot_count) at = 0;
            segment->slots[at] = slot_of(segment, hash, i);
        }
    }
    return PS_OK;
}

ps_status ps_segment_open(ps_segment *segment, const uint8_t *bytes, size_t size, uint64_t seed,
                          ps_allocator allocator)
{
    ps_segment_header header;
    if (size < sizeof header || (uintptr_t)bytes % 8 != 0) return PS_BROKEN;
    memcpy(&header, bytes, sizeof header);
    if (!header_holds(&header, size)) return PS_BROKEN;
    ps_segment_layout layout = ps_segment_lay_out(&header);
    if (layout.size != size) return PS_BROKEN;
    *segment = (ps_segment){.bytes = bytes, .size = size, .seed = seed, .allocator = allocator};
    set_part(segment, &header, &layout);
    set_tables(segment, &header, &layout);
    return tables_hold(segment, &header) ? make_slots(segment) : PS_BROKEN;
}

void ps_segment_close(ps_segment *segment)
{
    segment->allocator.release(segment->slots);
    segment->slots = NULL;
}

size_t ps_segment_overhead(const ps_segment *segment) { return (size_t)segment->slot_count * 4; }

/* ---- everything is looked at ---- */

static bool peaks_hold(const ps_cursor *cursor, const uint32_t *lengths)
{
    const ps_peak *peaks = ps_cursor_peaks(cursor);
    for (uint32_t i = 0; i < cursor->n; i++) {
        uint32_t freq = cursor->freqs[i], length = lengths[cursor->docs[i]];
        bool bound = false;
        for (unsigned j = 0; j < PS_PEAKS && peaks[j].freq > 0; j++)
            bound |= (peaks[j].freq == UINT16_MAX || peaks[j].freq >= freq) && peaks[j].length <= length;
        if (!bound || freq > length) return false;
    }
    return peaks[0].freq > 0;
}

static bool places_hold(ps_cursor *cursor)
{
    const uint8_t *at, *end;
    uint32_t place;
    if (!ps_cursor_place_bytes(cursor, &at, &end)) return false;
    for (uint32_t i = 0; i < cursor->n; i++)
        if (ps_cursor_places(cursor, i, &place, 1) != 1) return false;
    return cursor->list->place_offsets != NULL ? cursor->place == end : end - cursor->place < 4;
}

static bool list_is_whole(const ps_segment *segment, uint32_t number, uint32_t field, uint64_t *words)
{
    const ps_part *part = &segment->part;
    ps_postings list;
    ps_cursor cursor;
    uint32_t seen = 0;
    if (!part->postings(part, number, &list)) return false;
    for (ps_cursor_begin(&cursor, &list); cursor.n > 0; ps_cursor_next(&cursor)) {
        ps_cursor_freqs(&cursor);
        if (!peaks_hold(&cursor, part->lengths[field])) return false;
        if (part->positions && !places_hold(&cursor)) return false;
        for (uint32_t i = 0; i < cursor.n; i++) *words += cursor.freqs[i];
        seen += cursor.n;
    }
    return !cursor.broken && seen == list.count;
}

bool ps_segment_check(const ps_segment *segment)
{
    const ps_part *part = &segment->part;
    for (uint32_t field = 0; field < part->fields; field++) {
        uint64_t words = 0;
        for (uint32_t i = segment->field_terms[field]; i < segment->field_terms[field + 1]; i++) {
            ps_term term = term_of(segment, i, field);
            if (part->find(part, term, ps_term_hash(term, segment->seed)) != i) return false;
            if (!list_is_whole(segment, i, field, &words)) return false;
        }
        for (uint32_t doc = 0; doc < part->docs; doc++) words -= part->lengths[field][doc];
        if (words != 0) return false; /* each word is in a list */
    }
    return true;
}
