#include "inverted_index.h"

#include <stdlib.h>
#include <string.h>

#include "mix.h"

enum {
    FULL = 16,      /* segments from which on some neighbours are merged, whether of like size or not */
    LOOKED_UP = 64, /* postings that can be gone through while one document is looked up */
};

#define ORDINALS_MOST (UINT32_MAX - 4096)

struct ps_held_segment {
    ps_segment segment; /* stands first, with its part first */
    ps_deaths deaths;
    uint64_t words;  /* of its documents */
    bool ids_ascend; /* numbers, each above the one before: they are found here, and not in `ids` */
    const uint8_t *bytes;
    size_t size;
    void (*released)(void *owner); /* NULL: the bytes are the allocator's */
    void *owner;
};

struct ps_merge {
    ps_held_segment *made; /* NULL: nothing is left */
    uint32_t first, count; /* of the parts that it takes the place of */
    bool with_tail, renumber, swapped;
    bool has_ids; /* the index of ids as it is after renumbering, made or not: */
    bool ids_ready;
    ps_hash_index ids;
    uint32_t ids_room;
    /* what was replaced, once it was swapped */
    ps_held_segment *old[PS_SEGMENTS];
    uint32_t old_count;
    ps_tail old_tail;
    ps_deaths old_deaths;
};

/* ---- parts ---- */

static bool is_tail(const ps_inverted *index, const ps_part *part) { return part == &index->tail.part; }

static ps_held_segment *held(const ps_part *part) { return (ps_held_segment *)(uintptr_t)part; }

static const ps_deaths *deaths_of(const ps_inverted *index, const ps_part *part)
{
    return is_tail(index, part) ? &index->tail_deaths : &held(part)->deaths;
}

static uint64_t words_of(const ps_inverted *index, const ps_part *part)
{
    return is_tail(index, part) ? index->tail.words : held(part)->words;
}

uint32_t ps_inverted_ordinals(const ps_inverted *index)
{
    return index->tail.part.base + index->tail.part.docs;
}

const ps_part *ps_inverted_part_of(const ps_inverted *index, uint32_t ordinal)
{
    uint32_t low = 0, high = index->part_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (index->parts[middle]->base <= ordinal)
            low = middle;
        else
            high = middle;
    }
    return index->parts[low];
}

/* Sets parts and bases by the segments and the tail. */
static void show_parts(ps_inverted *index)
{
    uint32_t base = 0;
    for (uint32_t i = 0; i < index->segment_count; i++) {
        ps_part *part = &index->segments[i]->segment.part;
        part->base = base;
        base += part->docs;
        index->parts[i] = part;
    }
    index->part_count = index->segment_count;
    index->tail.part.base = base;
    if (index->tail.part.docs > 0) index->parts[index->part_count++] = &index->tail.part;
}

static void release_bytes(ps_inverted *index, ps_held_segment *segment)
{
    if (segment->released != NULL)
        segment->released(segment->owner);
    else
        index->allocator.release((void *)(uintptr_t)segment->bytes);
}

static void free_deaths(ps_inverted *index, ps_deaths *deaths)
{
    index->allocator.release(deaths->bits);
    index->allocator.release(deaths->died);
    index->allocator.release(deaths->counts);
    *deaths = (ps_deaths){0};
}

static void free_held(ps_inverted *index, ps_held_segment *segment)
{
    if (segment == NULL) return;
    ps_segment_close(&segment->segment);
    free_deaths(index, &segment->deaths);
    release_bytes(index, segment);
    index->allocator.release(segment);
}

static uint64_t count_words(const ps_part *part, uint64_t words[PS_FIELDS])
{
    uint64_t all = 0;
    for (uint32_t field = 0; field < part->fields; field++) {
        uint64_t sum = 0;
        for (uint32_t doc = 0; doc < part->docs; doc++) sum += part->lengths[field][doc];
        if (words != NULL) words[field] = sum;
        all += sum;
    }
    return all;
}

static bool ids_ascend(const ps_part *part)
{
    if (part->id_offsets != NULL) return false;
    bool all = true;
    for (uint32_t doc = 1; doc < part->docs; doc++)
        all &= ps_part_number(part, doc - 1) < ps_part_number(part, doc);
    return all;
}

/* A segment over bytes, which stay the caller's when this fails. */
static ps_status hold(ps_inverted *index, const uint8_t *bytes, size_t size, ps_held_segment **made)
{
    ps_held_segment *segment = index->allocator.resize(NULL, sizeof *segment);
    if (segment == NULL) return PS_NO_MEMORY;
    *segment = (ps_held_segment){.bytes = bytes, .size = size};
    ps_status status = ps_segment_open(&segment->segment, bytes, size, index->seed, index->allocator);
    if (status != PS_OK) {
        index->allocator.release(segment);
        return status;
    }
    segment->ids_ascend = ids_ascend(&segment->segment.part);
    *made = segment;
    return PS_OK;
}

/* ---- ids ---- */

static uint32_t id_hash(const ps_inverted *index, ps_doc_id id)
{
    uint64_t hash = id.bytes != NULL ? ps_xxh3_64(id.bytes, id.size, index->seed)
                                     : ps_mix64((uint64_t)id.number ^ index->seed);
    return (uint32_t)(hash >> 32);
}

static ps_doc_id id_at(const ps_part *part, uint32_t doc)
{
    if (part->id_offsets == NULL) return (ps_doc_id){.number = ps_part_number(part, doc)};
    uint64_t from = part->id_offsets[doc];
    return (ps_doc_id){.bytes = part->id_bytes + from, .size = part->id_offsets[doc + 1] - from};
}

static bool has_id(const ps_part *part, uint32_t doc, ps_doc_id id)
{
    if (part->id_offsets == NULL) return ps_part_number(part, doc) == id.number;
    ps_doc_id there = id_at(part, doc);
    return there.size == id.size && (id.size == 0 || memcmp(there.bytes, id.bytes, id.size) == 0);
}

/* Whether the live documents of a part are in `ids`. */
static bool is_indexed(const ps_inverted *index, const ps_part *part)
{
    return is_tail(index, part) || !held(part)->ids_ascend;
}

/* The document of a number among those that ascend; part->docs if there is none that lives. */
static uint32_t find_number(const ps_part *part, int64_t number)
{
    uint32_t low = 0, left = part->docs;
    if (left == 0) return left;
    int64_t first = ps_part_number(part, 0);
    if (number < first || number > ps_part_number(part, left - 1)) return part->docs;
    uint64_t above = (uint64_t)number - (uint64_t)first;
    if (above < left && ps_part_number(part, (uint32_t)above) == number) { /* none is left out, as is usual */
        low = (uint32_t)above;
        left = 1;
    }
    for (; left > 1; left -= left / 2)
        if (ps_part_number(part, low + left / 2) <= number) low += left / 2;
    return ps_part_number(part, low) == number && !ps_part_is_dead(part, low) ? low : part->docs;
}

static uint32_t find_id(const ps_inverted *index, ps_doc_id id, uint32_t hash)
{
    uint32_t ordinal;
    ps_index_search search = ps_index_begin(&index->ids, hash);
    while ((ordinal = ps_index_next(&index->ids, &search)) != PS_INDEX_NONE) {
        const ps_part *part = ps_inverted_part_of(index, ordinal);
        if (has_id(part, ordinal - part->base, id)) return ordinal;
    }
    for (uint32_t i = index->segment_count; i-- > 0;) {
        if (!index->segments[i]->ids_ascend) continue;
        const ps_part *part = &index->segments[i]->segment.part;
        uint32_t doc = find_number(part, id.number);
        if (doc < part->docs) return part->base + doc;
    }
    return PS_NO_ORDINAL;
}

/* How many live documents are to be in `ids`. */
static uint32_t count_indexed(const ps_inverted *index)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < index->part_count; i++)
        if (is_indexed(index, index->parts[i])) live += index->parts[i]->docs - index->parts[i]->dead_docs;
    return live;
}

static void add_ids(const ps_inverted *index, ps_hash_index *ids, const ps_part *part, uint32_t base)
{
    for (uint32_t doc = 0; doc < part->docs; doc++)
        if (!ps_part_is_dead(part, doc)) ps_index_add(ids, id_hash(index, id_at(part, doc)), base + doc);
}

/* Makes room for `room` ids and adds those that belong there. `judge`: bytes from outside may give two
 * documents one id: PS_BROKEN, at the first of them, for to add many of one hash is quadratic. */
static ps_status index_ids(ps_inverted *index, uint32_t room, bool judge)
{
    if (ps_index_reset(&index->ids, room) != PS_OK) return PS_NO_MEMORY;
    index->ids_room = room;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const ps_part *part = index->parts[i];
        if (!is_indexed(index, part)) continue;
        if (!judge) add_ids(index, &index->ids, part, part->base);
        for (uint32_t doc = 0; doc < part->docs && judge; doc++) {
            if (ps_part_is_dead(part, doc)) continue;
            ps_doc_id id = id_at(part, doc);
            uint32_t hash = id_hash(index, id);
            if (find_id(index, id, hash) != PS_NO_ORDINAL) return PS_BROKEN;
            ps_index_add(&index->ids, hash, part->base + doc);
        }
    }
    return PS_OK;
}

bool ps_inverted_ids_ready(const ps_inverted *index) { return index->ids_ready; }

ps_status ps_inverted_make_ids(ps_inverted *index)
{
    if (index->ids_ready) return PS_OK;
    ps_status status = index_ids(index, count_indexed(index) + 24, true);
    index->ids_ready = status == PS_OK;
    return status;
}

uint32_t ps_inverted_ordinal(const ps_inverted *index, ps_doc_id id)
{
    return find_id(index, id, id_hash(index, id));
}

/* ---- the whole ---- */

void ps_inverted_init(ps_inverted *index, uint32_t fields, uint32_t columns, bool positions, bool text_ids,
                      uint64_t seed, ps_allocator allocator)
{
    *index = (ps_inverted){.fields = fields,
                           .columns = columns,
                           .positions = positions,
                           .text_ids = text_ids,
                           .seed = seed,
                           .allocator = allocator,
                           .tail_docs_most = PS_TAIL_DOCS,
                           .tail_bytes_most = PS_TAIL_BYTES,
                           .dead_due = PS_DEAD_DUE,
                           .ids_ready = true,
                           .replaced = PS_NO_ORDINAL};
    ps_tail_init(&index->tail, fields, columns, positions, text_ids, seed, allocator);
    ps_index_init(&index->ids, allocator);
}

void ps_inverted_free(ps_inverted *index)
{
    for (uint32_t i = 0; i < index->segment_count; i++) free_held(index, index->segments[i]);
    ps_tail_free(&index->tail);
    free_deaths(index, &index->tail_deaths);
    ps_index_free(&index->ids);
}

/* ---- deaths ---- */

static size_t bits_bytes(uint32_t docs) { return ((size_t)docs / 64 + 1) * 8 + 64; }

/* Bits for at least so many documents. */
static bool grow_bits(ps_inverted *index, ps_deaths *deaths, uint32_t docs)
{
    if (deaths->bits != NULL && deaths->bits_room >= docs) return true;
    uint32_t room = docs > ORDINALS_MOST / 2 ? docs : docs + docs / 2;
    size_t from = deaths->bits != NULL ? bits_bytes(deaths->bits_room) : 0;
    uint64_t *bits = index->allocator.resize(deaths->bits, bits_bytes(room));
    if (bits == NULL) return false;
    memset((uint8_t *)bits + from, 0, bits_bytes(room) - from);
    deaths->bits = bits;
    deaths->bits_room = room;
    return true;
}

/* The part of an ordinal with its deaths, to be changed. */
static ps_part *part_to_change(ps_inverted *index, uint32_t ordinal, ps_deaths **deaths)
{
    ps_part *part = (ps_part *)(uintptr_t)ps_inverted_part_of(index, ordinal);
    *deaths = is_tail(index, part) ? &index->tail_deaths : &held(part)->deaths;
    return part;
}

/* Allocates what the death of a document takes. */
static ps_status prepare_death(ps_inverted *index, uint32_t ordinal)
{
    ps_deaths *deaths;
    ps_part *part = part_to_change(index, ordinal, &deaths);
    if (!is_tail(index, part) && deaths->counts == NULL && part->terms > 0) {
        size_t size = (size_t)part->terms * sizeof *deaths->counts;
        uint64_t *counts = index->allocator.resize(NULL, size);
        if (counts == NULL) return PS_NO_MEMORY;
        memset(counts, 0, size);
        deaths->counts = counts;
    }
    if (deaths->died_count == deaths->died_room) {
        uint32_t room = deaths->died_room + deaths->died_room / 2 + 16;
        uint32_t *died = index->allocator.resize(deaths->died, (size_t)room * sizeof *died);
        if (died == NULL) return PS_NO_MEMORY;
        deaths->died = died;
        deaths->died_room = room;
    }
    bool has_bits = grow_bits(index, deaths, part->docs);
    if (part->dead != NULL) part->dead = deaths->bits;
    return has_bits ? PS_OK : PS_NO_MEMORY;
}

static void kill_document(ps_inverted *index, uint32_t ordinal)
{
    ps_deaths *deaths;
    ps_part *part = part_to_change(index, ordinal, &deaths);
    uint32_t doc = ordinal - part->base;
    deaths->bits[doc >> 6] |= UINT64_C(1) << (doc & 63);
    deaths->died[deaths->died_count++] = doc;
    part->dead = deaths->bits;
    part->dead_docs++;
    index->live--;
    for (uint32_t field = 0; field < index->fields; field++) index->words[field] -= part->lengths[field][doc];
}

ps_status ps_inverted_delete(ps_inverted *index, ps_doc_id id)
{
    ps_status status = ps_inverted_make_ids(index);
    if (status != PS_OK) return status;
    uint32_t hash = id_hash(index, id), ordinal = find_id(index, id, hash);
    if (ordinal == PS_NO_ORDINAL) return PS_REFUSED;
    if (prepare_death(index, ordinal) != PS_OK) return PS_NO_MEMORY;
    kill_document(index, ordinal);
    if (is_indexed(index, ps_inverted_part_of(index, ordinal))) ps_index_remove(&index->ids, hash, ordinal);
    return PS_OK;
}

static void sort_few(uint32_t *numbers, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        uint32_t number = numbers[i], at = i;
        for (; at > 0 && numbers[at - 1] > number; at--) numbers[at] = numbers[at - 1];
        numbers[at] = number;
    }
}

/* How many of some documents are among the postings. */
static uint32_t count_found(const ps_postings *list, const uint32_t *died, uint32_t n)
{
    enum { AT_ONCE = 32 };
    uint32_t docs[AT_ONCE], found = 0;
    for (uint32_t from = 0; from < n; from += AT_ONCE) {
        uint32_t some = n - from < AT_ONCE ? n - from : AT_ONCE;
        memcpy(docs, died + from, some * sizeof *docs);
        sort_few(docs, some);
        ps_cursor cursor;
        ps_cursor_open(&cursor, list);
        for (uint32_t i = 0; i < some && cursor.n > 0; i++) {
            ps_cursor_shallow(&cursor, docs[i]);
            if (cursor.n == 0) break;
            ps_cursor_docs(&cursor);
            uint32_t at = ps_cursor_seek(&cursor, docs[i]);
            found += at < cursor.n && cursor.docs[at] == docs[i];
        }
    }
    return found;
}

static uint32_t count_dead(const ps_part *part, const ps_postings *list)
{
    ps_cursor cursor;
    uint32_t dead = 0;
    for (ps_cursor_begin(&cursor, list); cursor.n > 0; ps_cursor_next(&cursor))
        for (uint32_t i = 0; i < cursor.n; i++) dead += ps_part_is_dead(part, cursor.docs[i]);
    return dead;
}

/* Whoever finds `counts` behind counts anew; readers that do so at one time come to the same. */
uint32_t ps_inverted_dead_among(const ps_inverted *index, const ps_part *part, uint32_t number,
                                const ps_postings *list)
{
    const ps_deaths *deaths = deaths_of(index, part);
    uint32_t died = deaths->died_count;
    if (died == 0) return 0;
    uint64_t *count =
        is_tail(index, part) ? ps_tail_dead_count(&index->tail, number) : &deaths->counts[number];
    uint64_t known = __atomic_load_n(count, __ATOMIC_RELAXED);
    uint32_t dead = (uint32_t)known, seen = (uint32_t)(known >> 32);
    if (seen == died) return dead;
    if ((uint64_t)(died - seen) * LOOKED_UP < list->count)
        dead += count_found(list, deaths->died + seen, died - seen);
    else
        dead = count_dead(part, list);
    __atomic_store_n(count, (uint64_t)died << 32 | dead, __ATOMIC_RELAXED);
    return dead;
}

static uint32_t live_in(const ps_inverted *index, const ps_part *part, uint32_t number)
{
    ps_postings list;
    if (!part->postings(part, number, &list)) return 0;
    return list.count - ps_inverted_dead_among(index, part, number, &list);
}

uint32_t ps_inverted_df(const ps_inverted *index, ps_term term)
{
    uint64_t hash = ps_term_hash(term, index->seed);
    uint32_t df = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        uint32_t number = index->parts[i]->find(index->parts[i], term, hash);
        if (number != PS_NO_TERM) df += live_in(index, index->parts[i], number);
    }
    return df;
}

/* ---- adding ---- */

static ps_status begin(ps_inverted *index, ps_doc_id id, bool replace)
{
    ps_inverted_add_undo(index);
    ps_status status = ps_inverted_make_ids(index);
    if (status != PS_OK) return status;
    uint32_t hash = id_hash(index, id), there = find_id(index, id, hash);
    if (there != PS_NO_ORDINAL && !replace) return PS_REFUSED;
    if (ps_inverted_ordinals(index) >= ORDINALS_MOST) return PS_NO_MEMORY;
    if (index->ids.size >= index->ids_room) {
        uint32_t room =
            index->ids_room > ORDINALS_MOST / 2 ? ORDINALS_MOST : index->ids_room + index->ids_room / 2 + 24;
        if (index_ids(index, room, false) != PS_OK) return PS_NO_MEMORY;
    }
    if (index->tail_deaths.bits != NULL) {
        bool has_bits = grow_bits(index, &index->tail_deaths, index->tail.part.docs + 1);
        if (index->tail.part.dead != NULL) index->tail.part.dead = index->tail_deaths.bits;
        if (!has_bits) return PS_NO_MEMORY;
    }
    const uint8_t *bytes = id.bytes != NULL ? id.bytes : (const uint8_t *)&id.number;
    status = ps_tail_begin(&index->tail, bytes, id.bytes != NULL ? id.size : sizeof id.number);
    if (status != PS_OK) return status;
    index->adding_hash = hash;
    index->replaced = there;
    return PS_OK;
}

ps_status ps_inverted_add_begin(ps_inverted *index, ps_doc_id id) { return begin(index, id, false); }

ps_status ps_inverted_replace_begin(ps_inverted *index, ps_doc_id id) { return begin(index, id, true); }

ps_status ps_inverted_add_word(ps_inverted *index, uint32_t field, const uint8_t *bytes, uint32_t size)
{
    ps_term term = {.bytes = bytes, .size = size, .field = field};
    return ps_tail_word(&index->tail, term, ps_term_hash(term, index->seed));
}

ps_status ps_inverted_add_end(ps_inverted *index, const uint64_t *cells)
{
    if (index->replaced != PS_NO_ORDINAL && prepare_death(index, index->replaced) != PS_OK)
        return PS_NO_MEMORY;
    ps_part *part = &index->tail.part;
    if (index->tail_deaths.bits != NULL && !grow_bits(index, &index->tail_deaths, part->docs + 1))
        return PS_NO_MEMORY;
    if (part->dead != NULL) part->dead = index->tail_deaths.bits;
    if (ps_tail_end(&index->tail, cells) != PS_OK) return PS_NO_MEMORY;
    uint32_t doc = part->docs - 1, ordinal = part->base + doc;
    if (doc == 0) show_parts(index);
    index->live++;
    for (uint32_t field = 0; field < index->fields; field++) index->words[field] += part->lengths[field][doc];
    uint32_t replaced = index->replaced;
    index->replaced = PS_NO_ORDINAL;
    if (replaced != PS_NO_ORDINAL) kill_document(index, replaced);
    if (replaced != PS_NO_ORDINAL && is_indexed(index, ps_inverted_part_of(index, replaced)))
        ps_index_renumber(&index->ids, index->adding_hash, replaced, ordinal);
    else
        ps_index_add(&index->ids, index->adding_hash, ordinal);
    return PS_OK;
}

void ps_inverted_add_undo(ps_inverted *index)
{
    ps_tail_undo(&index->tail);
    index->replaced = PS_NO_ORDINAL;
}

/* ---- merging ---- */

/* The fewest last parts, or the most of them, PS_MERGE_WIDTH or more, of which none has more than a third of
 * all; 0 if there are none. So a posting that is written anew comes into a part three times as large, and
 * there are few parts of one size. */
static uint32_t like_sized(const uint64_t *sizes, uint32_t n, bool most)
{
    uint64_t total = 0, greatest = 0;
    uint32_t found = 0;
    for (uint32_t k = 1; k <= n && (most || found == 0); k++) {
        uint64_t size = sizes[n - k];
        total += size;
        if (size > greatest) greatest = size;
        if (k >= PS_MERGE_WIDTH && greatest <= total / 3) found = k;
    }
    return found;
}

/* How many of the last parts are merged. What a merge makes may be of like size with what is before it: then
 * all of that is one merge. */
static uint32_t last_to_merge(uint64_t *sizes, uint32_t n)
{
    uint32_t merged = 0, left = n, k;
    while ((k = like_sized(sizes, left, false)) > 0) {
        merged = n - left + k;
        uint64_t total = 0;
        for (uint32_t i = left - k; i < left; i++) total += sizes[i];
        left = left - k + 1;
        sizes[left - 1] = total;
    }
    return merged;
}

/* How many of the last n parts are to be merged, 0 if none must. While many documents come by one call, parts
 * wait until there are as many as can be, and then as many as are of like size become one. */
static uint32_t due_of(const ps_inverted *index, uint32_t n)
{
    uint64_t sizes[PS_SEGMENTS + 1];
    uint32_t last = 0;
    for (uint32_t i = 0; i < n; i++) sizes[i] = words_of(index, index->parts[i]) + index->parts[i]->docs;
    if (index->bulks == 0)
        last = last_to_merge(sizes, n);
    else if (n >= FULL)
        last = like_sized(sizes, n, true);
    return last == 0 && n >= FULL ? PS_MERGE_WIDTH : last;
}

static bool tail_is_full(const ps_inverted *index)
{
    return index->tail.part.docs >= index->tail_docs_most ||
           (index->tail.part.docs > 0 && ps_tail_bytes(&index->tail) >= index->tail_bytes_most);
}

static bool mostly_dead(const ps_inverted *index)
{
    uint32_t dead = ps_inverted_ordinals(index) - index->live;
    return dead > index->live && dead >= index->dead_due;
}

static bool tail_is_due(const ps_inverted *index)
{
    return tail_is_full(index) || (index->tail_due && index->tail.part.docs > 0);
}

static bool whole_is_due(const ps_inverted *index) { return index->whole_due && index->part_count > 1; }

bool ps_inverted_merge_due(const ps_inverted *index)
{
    return tail_is_due(index) || whole_is_due(index) || index->segments_due || mostly_dead(index);
}

void ps_inverted_bulk_begin(ps_inverted *index)
{
    index->bulks++;
    index->segments_due = due_of(index, index->segment_count) > 0;
}

void ps_inverted_bulk_end(ps_inverted *index, bool pack)
{
    index->bulks--;
    uint32_t packed = index->segment_count > 0 ? index->parts[0]->docs : 0;
    index->tail_due |= pack && index->tail.part.docs > 0;
    index->whole_due |= pack && index->part_count > 1 && packed < ps_inverted_ordinals(index) / 2;
    index->segments_due = due_of(index, index->segment_count) > 0;
}

/* Chooses the parts to be merged; count 0: none. */
static void choose(const ps_inverted *index, bool all, ps_merge *merge)
{
    uint32_t parts = index->part_count, segments = index->segment_count;
    if (all || mostly_dead(index)) {
        bool whole = parts == 1 && segments == 1 && index->parts[0]->dead_docs == 0;
        merge->renumber = true;
        merge->count = whole ? 0 : parts;
    } else if (whole_is_due(index)) {
        merge->count = parts;
    } else if (tail_is_due(index)) {
        merge->count = due_of(index, parts);
        if (merge->count == 0) merge->count = 1;
        merge->first = parts - merge->count;
    } else if (index->segments_due) {
        merge->count = due_of(index, segments);
        merge->first = segments - merge->count;
    }
    merge->with_tail = merge->count > 0 && merge->first + merge->count > segments;
}

/* The bits of dead documents of all merged parts, one behind the other. */
static ps_status join_bits(ps_inverted *index, ps_merge *merge)
{
    ps_part *made = &merge->made->segment.part;
    ps_deaths *deaths = &merge->made->deaths;
    uint32_t at = 0;
    for (uint32_t i = merge->first; i < merge->first + merge->count; i++) {
        const ps_part *part = index->parts[i];
        if (part->dead_docs > 0 && deaths->bits == NULL) {
            if (!grow_bits(index, deaths, made->docs)) return PS_NO_MEMORY;
            made->dead = deaths->bits;
        }
        for (uint32_t doc = 0; doc < part->docs && part->dead_docs > 0; doc++)
            if (ps_part_is_dead(part, doc)) deaths->bits[(at + doc) >> 6] |= UINT64_C(1) << ((at + doc) & 63);
        made->dead_docs += part->dead_docs;
        at += part->docs;
    }
    return PS_OK;
}

/* Whether ids go from `ids` into the segment that is made, or come out of it. A segment into which few would
 * go stays among the indexed ones: all the others would have to be put in their place anew. */
static bool ids_move(const ps_inverted *index, ps_merge *merge)
{
    uint32_t last = merge->first + merge->count - 1, elsewhere = 0;
    bool go = false, come = false;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const ps_part *part = index->parts[i];
        bool indexed = is_indexed(index, part);
        if (i >= merge->first && i <= last)
            *(indexed ? &go : &come) = true;
        else if (indexed)
            elsewhere += part->docs - part->dead_docs;
    }
    if (go && elsewhere > merge->made->segment.part.docs) merge->made->ids_ascend = false;
    return merge->made->ids_ascend ? go : come;
}

/* The index of ids for when the segment that was made is in its place. */
static ps_status sort_ids(ps_inverted *index, ps_merge *merge)
{
    if (!index->ids_ready || !ids_move(index, merge)) return PS_OK;
    const ps_part *made = &merge->made->segment.part;
    uint32_t last = merge->first + merge->count - 1, ids = merge->made->ids_ascend ? 0 : made->docs;
    merge->has_ids = merge->ids_ready = true;
    ps_index_init(&merge->ids, index->allocator);
    for (uint32_t i = 0; i < index->part_count; i++)
        if ((i < merge->first || i > last) && is_indexed(index, index->parts[i]))
            ids += index->parts[i]->docs;
    merge->ids_room = ids + ids / 4 + 24;
    if (ps_index_reset(&merge->ids, merge->ids_room) != PS_OK) return PS_NO_MEMORY;
    for (uint32_t i = 0; i < index->part_count; i++)
        if ((i < merge->first || i > last) && is_indexed(index, index->parts[i]))
            add_ids(index, &merge->ids, index->parts[i], index->parts[i]->base);
    if (!merge->made->ids_ascend) add_ids(index, &merge->ids, made, index->parts[merge->first]->base);
    return PS_OK;
}

/* Who asks for everything in one part may only search from then on: the index of ids waits until it is
 * needed. */
static ps_status renumber_ids(ps_inverted *index, bool all, ps_merge *merge)
{
    merge->has_ids = true;
    ps_index_init(&merge->ids, index->allocator);
    bool without = merge->made == NULL || merge->made->ids_ascend;
    merge->ids_ready = without || (index->ids_ready && !all);
    if (without || !merge->ids_ready) return PS_OK;
    merge->ids_room = index->live + index->live / 4 + 24;
    if (ps_index_reset(&merge->ids, merge->ids_room) != PS_OK) return PS_NO_MEMORY;
    add_ids(index, &merge->ids, &merge->made->segment.part, 0);
    return PS_OK;
}

static ps_status build(ps_inverted *index, bool all, ps_merge *merge)
{
    if (!merge->renumber || index->live > 0) {
        uint8_t *bytes;
        size_t size;
        ps_status status = ps_segment_merge(index->parts + merge->first, merge->count, merge->renumber,
                                            index->allocator, &bytes, &size);
        if (status != PS_OK) return status;
        status = hold(index, bytes, size, &merge->made);
        if (status != PS_OK) {
            index->allocator.release(bytes);
            return status;
        }
        merge->made->words = count_words(&merge->made->segment.part, NULL);
    }
    if (merge->renumber) return renumber_ids(index, all, merge);
    ps_status status = join_bits(index, merge);
    return status == PS_OK ? sort_ids(index, merge) : status;
}

ps_status ps_inverted_merge_build(ps_inverted *index, bool all, ps_merge **made)
{
    *made = NULL;
    ps_merge *merge = index->allocator.resize(NULL, sizeof *merge);
    if (merge == NULL) return PS_NO_MEMORY;
    memset(merge, 0, sizeof *merge);
    choose(index, all, merge);
    ps_status status = merge->count > 0 ? build(index, all, merge) : PS_OK;
    if (status == PS_OK && merge->count > 0)
        *made = merge;
    else
        ps_inverted_merge_free(index, merge);
    return status;
}

void ps_inverted_merge_swap(ps_inverted *index, ps_merge *merge)
{
    uint32_t made = merge->made != NULL, behind = merge->first + merge->count;
    if (merge->with_tail) {
        merge->old_tail = index->tail;
        merge->old_deaths = index->tail_deaths;
        index->tail_deaths = (ps_deaths){0};
        ps_tail_init(&index->tail, index->fields, index->columns, index->positions, index->text_ids,
                     index->seed, index->allocator);
        behind--;
    }
    merge->old_count = behind - merge->first;
    memcpy(merge->old, index->segments + merge->first, merge->old_count * sizeof *merge->old);
    memmove(index->segments + merge->first + made, index->segments + behind,
            (index->segment_count - behind) * sizeof *merge->old);
    if (made) index->segments[merge->first] = merge->made;
    index->segment_count = index->segment_count - merge->old_count + made;
    merge->made = NULL;
    if (merge->has_ids) {
        ps_hash_index old = index->ids;
        index->ids = merge->ids;
        index->ids_room = merge->ids_room;
        index->ids_ready = merge->ids_ready;
        merge->ids = old;
    }
    merge->swapped = true;
    if (index->tail.part.docs == 0) index->tail_due = index->whole_due = false;
    show_parts(index);
    index->segments_due = due_of(index, index->segment_count) > 0;
}

void ps_inverted_merge_free(ps_inverted *index, ps_merge *merge)
{
    if (merge == NULL) return;
    free_held(index, merge->made);
    for (uint32_t i = 0; i < merge->old_count; i++) free_held(index, merge->old[i]);
    if (merge->swapped && merge->with_tail) ps_tail_free(&merge->old_tail);
    free_deaths(index, &merge->old_deaths);
    if (merge->has_ids) ps_index_free(&merge->ids);
    index->allocator.release(merge);
}

/* ---- files ---- */

ps_status ps_inverted_pack(const ps_inverted *index, uint8_t **bytes, size_t *size)
{
    const ps_part *empty = &index->tail.part;
    bool is_empty = index->part_count == 0;
    return ps_segment_merge(is_empty ? &empty : index->parts, is_empty ? 1 : index->part_count, true,
                            index->allocator, bytes, size);
}

static bool is_alike(const ps_inverted *index, const ps_part *part)
{
    return part->fields == index->fields && part->columns == index->columns &&
           part->positions == index->positions && (part->id_offsets != NULL) == index->text_ids;
}

ps_status ps_inverted_map(ps_inverted *index, const uint8_t *bytes, size_t size,
                          void (*released)(void *owner), void *owner)
{
    ps_held_segment *segment;
    if (ps_inverted_ordinals(index) > 0 || index->tail.adding) return PS_REFUSED;
    ps_status status = hold(index, bytes, size, &segment);
    if (status != PS_OK) return status;
    if (!is_alike(index, &segment->segment.part)) {
        ps_segment_close(&segment->segment);
        index->allocator.release(segment);
        return PS_REFUSED;
    }
    segment->released = released;
    segment->owner = owner;
    if (segment->segment.part.docs == 0) {
        free_held(index, segment);
        return PS_OK;
    }
    segment->words = count_words(&segment->segment.part, index->words);
    index->segments[0] = segment;
    index->segment_count = 1;
    index->live = segment->segment.part.docs;
    index->ids_ready = segment->ids_ascend;
    show_parts(index);
    return PS_OK;
}

/* ---- asking ---- */

uint32_t ps_inverted_freq(const ps_inverted *index, uint32_t ordinal, ps_term term, uint32_t *places,
                          uint32_t most, uint32_t *placed)
{
    const ps_part *part = ps_inverted_part_of(index, ordinal);
    uint32_t number = part->find(part, term, ps_term_hash(term, index->seed)), doc = ordinal - part->base;
    ps_postings list;
    ps_cursor cursor;
    *placed = 0;
    if (number == PS_NO_TERM || !part->postings(part, number, &list)) return 0;
    ps_cursor_open(&cursor, &list);
    uint32_t freq = ps_cursor_freq_of(&cursor, doc);
    if (freq > 0 && most > 0 && part->positions)
        *placed = ps_cursor_places(&cursor, ps_cursor_seek(&cursor, doc), places, most);
    return freq;
}

typedef struct {
    ps_term term;
    uint32_t number;
} numbered_term;

typedef struct {
    numbered_term *terms;
    uint32_t n, room;
} found_terms;

/* The terms of one part that are asked for, in order. */
typedef struct {
    const ps_part *part;
    found_terms found; /* of a part that is not sorted; of another, numbers are the order */
    uint32_t at, end;
    ps_term term; /* the one that it is at */
} term_walk;

static int compare_terms(const void *a, const void *b)
{
    return ps_term_compare(((const numbered_term *)a)->term, ((const numbered_term *)b)->term);
}

static bool begins_with(ps_term term, ps_term prefix)
{
    return term.field == prefix.field && term.size >= prefix.size &&
           (prefix.size == 0 || memcmp(term.bytes, prefix.bytes, prefix.size) == 0);
}

static bool add_found(const ps_inverted *index, found_terms *found, ps_term term, uint32_t number)
{
    if (found->n == found->room) {
        uint32_t room = found->room + found->room / 2 + 64;
        void *grown = index->allocator.resize(found->terms, (size_t)room * sizeof *found->terms);
        if (grown == NULL) return false;
        found->terms = grown;
        found->room = room;
    }
    found->terms[found->n++] = (numbered_term){term, number};
    return true;
}

static void sort_found(found_terms *found)
{
    if (found->n > 0) qsort(found->terms, found->n, sizeof *found->terms, compare_terms);
}

/* The terms of a part, sorted, that begin with the prefix, and lie near. */
static ps_status find_terms(const ps_inverted *index, const ps_part *part, ps_term prefix,
                            const ps_near *near, found_terms *found)
{
    for (uint32_t number = 0; number < part->terms; number++) {
        ps_term term = part->term(part, number);
        if (!begins_with(term, prefix)) continue;
        if (near != NULL && ps_near_distance(near, term.bytes, term.size) == UINT32_MAX) continue;
        if (!add_found(index, found, term, number)) return PS_NO_MEMORY;
    }
    sort_found(found);
    return PS_OK;
}

static ps_status begin_walk(const ps_inverted *index, const ps_part *part, ps_term prefix,
                            const ps_near *near, term_walk *walk)
{
    *walk = (term_walk){.part = part, .end = part->terms};
    if (part->sorted) {
        walk->at = ps_part_first_at(part, prefix);
        return PS_OK;
    }
    ps_status status = find_terms(index, part, prefix, near, &walk->found);
    walk->end = walk->found.n;
    return status;
}

static uint32_t number_at(const term_walk *walk)
{
    return walk->part->sorted ? walk->at : walk->found.terms[walk->at].number;
}

/* Looks at the term that the walk has come to; false if there is none any more. */
static bool look(term_walk *walk, ps_term prefix)
{
    if (walk->at >= walk->end) return false;
    walk->term = walk->part->term(walk->part, number_at(walk));
    if (begins_with(walk->term, prefix)) return true;
    walk->at = walk->end;
    return false;
}

/* The least term of all walks; false: they have ended. */
static bool least_term(const term_walk *walks, uint32_t n, ps_term *least)
{
    const term_walk *first = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (walks[i].at < walks[i].end && (first == NULL || ps_term_compare(walks[i].term, first->term) < 0))
            first = &walks[i];
    if (first != NULL) *least = first->term;
    return first != NULL;
}

/* Moves the walks that are at a term on; returns its df if `wanted`. */
static uint32_t pass_term(const ps_inverted *index, term_walk *walks, uint32_t n, ps_term term,
                          ps_term prefix, bool wanted)
{
    uint32_t df = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (walks[i].at >= walks[i].end || ps_term_compare(walks[i].term, term) != 0) continue;
        if (wanted) df += live_in(index, walks[i].part, number_at(&walks[i]));
        walks[i].at++;
        look(&walks[i], prefix);
    }
    return df;
}

ps_status ps_inverted_terms(const ps_inverted *index, uint32_t field, const uint8_t *prefix,
                            uint32_t prefix_size, const ps_near *near, ps_take_term take, void *context)
{
    term_walk walks[PS_SEGMENTS + 1];
    ps_term from = {.bytes = prefix, .size = prefix_size, .field = field}, term;
    ps_status status = PS_OK;
    uint32_t n = 0;
    for (; n < index->part_count && status == PS_OK; n++) {
        status = begin_walk(index, index->parts[n], from, near, &walks[n]);
        if (status == PS_OK) look(&walks[n], from);
    }
    while (status == PS_OK && least_term(walks, n, &term)) {
        uint32_t distance = near != NULL ? ps_near_distance(near, term.bytes, term.size) : 0;
        uint32_t df = pass_term(index, walks, n, term, from, distance != UINT32_MAX);
        if (df > 0 && !take(context, term.bytes, term.size, df, distance)) break;
    }
    for (uint32_t i = 0; i < n; i++) index->allocator.release(walks[i].found.terms);
    return status;
}

/* Whether a document may be among the postings, by what can be seen without unpacking them. */
static bool may_hold(const ps_postings *list, uint32_t doc)
{
    if (list->rest > 0 && list->blocks == 0 && doc < list->rest_docs[0]) return false;
    uint32_t last =
        list->rest > 0 ? list->rest_docs[list->rest - 1] : ps_postings_heads(list)[list->blocks - 1].last;
    return list->count == 1 ? doc == last : doc <= last;
}

static uint32_t freq_in(const ps_part *part, uint32_t number, uint32_t doc)
{
    ps_postings list;
    ps_cursor cursor;
    if (!part->postings(part, number, &list) || list.count == 0 || !may_hold(&list, doc)) return 0;
    ps_cursor_open(&cursor, &list);
    return ps_cursor_freq_of(&cursor, doc);
}

ps_status ps_inverted_terms_of(const ps_inverted *index, uint32_t ordinal, uint32_t field, ps_take_term take,
                               void *context)
{
    const ps_part *part = ps_inverted_part_of(index, ordinal);
    ps_term first = {.bytes = (const uint8_t *)"", .field = field};
    found_terms found = {0};
    ps_status status = PS_OK;
    for (uint32_t number = part->sorted ? ps_part_first_at(part, first) : 0; number < part->terms; number++) {
        ps_term term = part->term(part, number);
        if (term.field != field && part->sorted) break;
        uint32_t freq = term.field == field ? freq_in(part, number, ordinal - part->base) : 0;
        if (freq == 0 || add_found(index, &found, term, freq)) continue;
        status = PS_NO_MEMORY;
        break;
    }
    if (!part->sorted) sort_found(&found);
    for (uint32_t i = 0; i < found.n && status == PS_OK; i++) {
        ps_term term = found.terms[i].term;
        if (!take(context, term.bytes, term.size, found.terms[i].number, 0)) break;
    }
    index->allocator.release(found.terms);
    return status;
}

/* ---- measures ---- */

static size_t deaths_bytes(const ps_deaths *deaths, uint32_t terms)
{
    return (deaths->bits != NULL ? bits_bytes(deaths->bits_room) : 0) + (size_t)deaths->died_room * 4 +
           (deaths->counts != NULL ? (size_t)terms * 8 : 0);
}

void ps_inverted_measure(const ps_inverted *index, ps_inverted_sizes *sizes)
{
    *sizes = (ps_inverted_sizes){.segments = index->segment_count,
                                 .tail_docs = index->tail.part.docs,
                                 .tail_bytes = ps_tail_bytes(&index->tail),
                                 .id_bytes = ps_index_bytes(&index->ids),
                                 .dead_docs = ps_inverted_ordinals(index) - index->live,
                                 .terms = index->tail.part.terms,
                                 .postings = index->tail.postings,
                                 .other = sizeof *index + deaths_bytes(&index->tail_deaths, 0)};
    for (uint32_t i = 0; i < index->segment_count; i++) {
        const ps_held_segment *segment = index->segments[i];
        *(segment->released != NULL ? &sizes->mapped_bytes : &sizes->segment_bytes) += segment->size;
        sizes->terms += segment->segment.part.terms;
        sizes->postings += segment->segment.postings;
        sizes->other += sizeof *segment + ps_segment_overhead(&segment->segment) +
                        deaths_bytes(&segment->deaths, segment->segment.part.terms);
    }
}

/* Whether the deaths of a part are those of its bits, and each count that is remembered is right. */
static bool check_deaths(const ps_inverted *index, const ps_part *part)
{
    uint32_t dead = 0;
    for (uint32_t doc = 0; doc < part->docs; doc++) dead += ps_part_is_dead(part, doc);
    if (dead != part->dead_docs || deaths_of(index, part)->died_count > dead) return false;
    for (uint32_t number = 0; number < part->terms; number++) {
        ps_postings list;
        if (!part->postings(part, number, &list)) return false;
        if (ps_inverted_dead_among(index, part, number, &list) != count_dead(part, &list)) return false;
    }
    return true;
}

static bool check_documents(const ps_inverted *index, const ps_part *part, uint64_t words[PS_FIELDS])
{
    for (uint32_t doc = 0; doc < part->docs; doc++) {
        if (ps_part_is_dead(part, doc)) continue;
        for (uint32_t field = 0; field < part->fields; field++) words[field] += part->lengths[field][doc];
        if (index->ids_ready && ps_inverted_ordinal(index, id_at(part, doc)) != part->base + doc)
            return false;
    }
    return true;
}

bool ps_inverted_check(const ps_inverted *index)
{
    uint64_t words[PS_FIELDS] = {0};
    uint32_t docs = 0, live = 0;
    if (index->part_count != index->segment_count + (index->tail.part.docs > 0)) return false;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const ps_part *part = index->parts[i];
        if (part->base != docs || part->docs == 0) return false;
        if (is_tail(index, part) ? i + 1 != index->part_count : !ps_segment_check(&held(part)->segment))
            return false;
        if (!check_deaths(index, part) || !check_documents(index, part, words)) return false;
        docs += part->docs;
        live += part->docs - part->dead_docs;
    }
    if (docs != ps_inverted_ordinals(index) || live != index->live) return false;
    if (memcmp(words, index->words, sizeof words) != 0) return false;
    if (index->ids_ready && (index->ids.size != count_indexed(index) || !ps_index_check(&index->ids)))
        return false;
    return ps_tail_check(&index->tail);
}
