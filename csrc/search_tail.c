#include "search_tail.h"

#include <string.h>

enum {
    LINE = 64,
    SHORT = 16,    /* bytes of a term that its record has room for */
    IN_RECORD = 2, /* postings of the rest that it has room for */
    PAGE = 64,     /* records that are allocated at once */
    PAGE_BYTES = PAGE * LINE + LINE - 1,
    CHUNK_LEAST = 1024,
    CHUNK_MOST = 1 << 16,
};

#define NOT_BELOW UINT64_C(0xffffffff) /* sizes that are counted in 32 bits stay below this */

/* The packed blocks of a term. */
typedef struct {
    ps_block_head *heads;
    uint8_t *packed;
    uint32_t *place_offsets; /* one more than heads; NULL without positions */
    uint8_t *places;
    size_t packed_size, packed_room, places_size, places_room;
    uint32_t count, room, offsets_room;
} blocks_of_term;

struct ps_tail_term {
    union {
        uint64_t head[2]; /* all bytes of the term, if it is short; zeros behind them */
        uint8_t short_bytes[SHORT];
        uint8_t *long_bytes;
    } name;
    uint32_t hash;
    uint32_t key;  /* size and field */
    uint32_t last; /* document of the last posting; PS_NO_DOC: it cannot be the one that is being added */
    uint8_t rest;  /* postings that are not packed */
    uint8_t room;  /* and that there is room for */
    union {
        uint32_t inner[2 * IN_RECORD]; /* documents, then frequencies; likewise in `outer` */
        uint32_t *outer;
    } postings;
    blocks_of_term *blocks; /* NULL: none */
    uint64_t dead;          /* ps_tail_dead_count() */
};

struct ps_tail_places {
    uint8_t *bytes;
    uint32_t size, room;
    uint32_t last; /* place of the last word; 0 before the first of a document */
};

struct ps_tail_piece {
    ps_tail_piece *next;
};

struct ps_tail_chunk {
    ps_tail_chunk *next;
    size_t size;
};

_Static_assert(sizeof(ps_tail_term) == LINE, "a record is a cache line");
_Static_assert(sizeof(ps_tail_chunk) <= 16, "pieces stay aligned to 16 bytes behind it");

/* ---- memory ---- */

static void *resize(ps_tail *tail, void *memory, size_t from, size_t to)
{
    void *moved = tail->allocator.resize(memory, to);
    if (moved != NULL) tail->bytes += to - from;
    return moved;
}

static void release(ps_tail *tail, void *memory, size_t size)
{
    if (memory == NULL) return;
    tail->allocator.release(memory);
    tail->bytes -= size;
}

/* The number of the least size of pieces that holds `size` bytes, at most 1,024. */
static unsigned piece_of(size_t size)
{
    return size <= 16 ? 0 : 32 - (unsigned)__builtin_clz((unsigned)size - 1) - 4;
}

static void give_back(ps_tail *tail, void *memory, unsigned piece)
{
    ps_tail_piece *freed = memory;
    freed->next = tail->pieces[piece];
    tail->pieces[piece] = freed;
}

/* What is left of the newest chunk becomes pieces, so that nothing is lost when another takes its place. */
static void cut_up(ps_tail *tail)
{
    for (unsigned piece = PS_TAIL_SIZES; piece-- > 0;)
        while (tail->uncut_size >= (size_t)16 << piece) {
            give_back(tail, tail->uncut, piece);
            tail->uncut += (size_t)16 << piece;
            tail->uncut_size -= (size_t)16 << piece;
        }
}

static bool add_chunk(ps_tail *tail)
{
    size_t size = tail->chunk_bytes;
    size = size < CHUNK_LEAST ? CHUNK_LEAST : size > CHUNK_MOST ? CHUNK_MOST : size & ~(size_t)15;
    size += 16;
    ps_tail_chunk *chunk = resize(tail, NULL, 0, size);
    if (chunk == NULL) return false;
    cut_up(tail);
    chunk->next = tail->chunks;
    chunk->size = size;
    tail->chunks = chunk;
    tail->chunk_bytes += size;
    tail->uncut = (uint8_t *)chunk + 16;
    tail->uncut_size = size - 16;
    return true;
}

static void *take_piece(ps_tail *tail, unsigned piece)
{
    ps_tail_piece *taken = tail->pieces[piece];
    if (taken != NULL) {
        tail->pieces[piece] = taken->next;
        __builtin_prefetch(taken->next, 1); /* the next one to be taken */
        return taken;
    }
    size_t size = (size_t)16 << piece;
    if (tail->uncut_size < size && !add_chunk(tail)) return NULL;
    taken = (ps_tail_piece *)(void *)tail->uncut;
    tail->uncut += size;
    tail->uncut_size -= size;
    return taken;
}

static uint32_t half_more(uint32_t room, uint32_t needed, uint32_t least)
{
    uint64_t more = (uint64_t)room + room / 2;
    if (more < needed) more = needed;
    if (more < least) more = least;
    return more > UINT32_MAX - 64 ? UINT32_MAX - 64 : (uint32_t)more;
}

/* ---- terms ---- */

static inline ps_tail_term *record_at(const ps_tail *tail, uint32_t number)
{
    return &tail->pages[number / PAGE].records[number % PAGE];
}

static uint32_t key_of(ps_term term) { return term.size | term.field << 16; }
static uint32_t size_of(const ps_tail_term *record) { return record->key & 0xffff; }
static uint32_t field_of(const ps_tail_term *record) { return record->key >> 16; }
static uint32_t hash_of(uint64_t hash) { return (uint32_t)(hash >> 32); }

static const uint8_t *bytes_of(const ps_tail_term *record)
{
    return size_of(record) <= SHORT ? record->name.short_bytes : record->name.long_bytes;
}

/* The bytes of a short term as two words, without reading beyond them. */
static inline void read_head(ps_term term, uint64_t head[2])
{
    const uint8_t *bytes = term.bytes;
    uint32_t size = term.size;
    uint64_t low = 0, high = 0;
    if (size >= 8) {
        low = ps_read_little64(bytes);
        if (size > 8) high = ps_read_little64(bytes + size - 8) >> 8 * (16 - size);
    } else if (size >= 4) {
        low = ps_read_little32(bytes) | (uint64_t)ps_read_little32(bytes + size - 4) << 8 * (size - 4);
    } else if (size > 0) {
        low = bytes[0] | (uint64_t)bytes[size >> 1] << 8 * (size >> 1) |
              (uint64_t)bytes[size - 1] << 8 * (size - 1);
    }
    head[0] = PS_LITTLE64(low);
    head[1] = PS_LITTLE64(high);
}

static inline uint32_t find_short(const ps_tail *tail, const uint64_t head[2], uint32_t hash, uint32_t key)
{
    uint32_t number;
    ps_index_search search = ps_index_begin(&tail->by_hash, hash);
    while ((number = ps_index_next(&tail->by_hash, &search)) != PS_INDEX_NONE) {
        const ps_tail_term *record = record_at(tail, number);
        if (record->key == key && record->name.head[0] == head[0] && record->name.head[1] == head[1]) break;
    }
    return number;
}

static uint32_t find_long(const ps_tail *tail, ps_term term, uint32_t hash)
{
    uint32_t number, key = key_of(term);
    ps_index_search search = ps_index_begin(&tail->by_hash, hash);
    while ((number = ps_index_next(&tail->by_hash, &search)) != PS_INDEX_NONE) {
        const ps_tail_term *record = record_at(tail, number);
        if (record->key == key && record->hash == hash &&
            memcmp(record->name.long_bytes, term.bytes, term.size) == 0)
            break;
    }
    return number;
}

static uint32_t find_any(const ps_tail *tail, ps_term term, uint64_t hash)
{
    if (term.size > SHORT) return find_long(tail, term, hash_of(hash));
    uint64_t head[2];
    read_head(term, head);
    return find_short(tail, head, hash_of(hash), key_of(term));
}

static bool grow_hash(ps_tail *tail, uint32_t needed)
{
    if (needed <= tail->hash_room) return true;
    uint32_t room = half_more(tail->hash_room, needed, 24);
    if (ps_index_reset(&tail->by_hash, room) != PS_OK) return false;
    for (uint32_t i = 0; i < tail->term_count; i++) ps_index_add(&tail->by_hash, record_at(tail, i)->hash, i);
    tail->hash_room = room;
    return true;
}

static bool add_page(ps_tail *tail)
{
    if (tail->page_count == tail->page_room) {
        uint32_t room = half_more(tail->page_room, tail->page_count + 1, 4);
        ps_tail_page *pages =
            resize(tail, tail->pages, tail->page_room * sizeof *pages, room * sizeof *pages);
        if (pages == NULL) return false;
        tail->pages = pages;
        tail->page_room = room;
    }
    void *memory = resize(tail, NULL, 0, PAGE_BYTES);
    if (memory == NULL) return false;
    ps_tail_term *records = (ps_tail_term *)(((uintptr_t)memory + LINE - 1) / LINE * LINE);
    tail->pages[tail->page_count++] = (ps_tail_page){records, memory};
    return true;
}

static bool grow_records(ps_tail *tail, uint32_t needed)
{
    while ((uint64_t)tail->page_count * PAGE < needed)
        if (!add_page(tail)) return false;
    if (!tail->part.positions || needed <= tail->places_room) return true;
    uint32_t room = half_more(tail->places_room, needed, 16);
    void *places = resize(tail, tail->places, (size_t)tail->places_room * sizeof(ps_tail_places),
                          (size_t)room * sizeof(ps_tail_places));
    if (places == NULL) return false;
    tail->places = places;
    tail->places_room = room;
    return true;
}

static bool grow_touched(ps_tail *tail, uint32_t needed)
{
    if (needed <= tail->touched_room) return true;
    uint32_t room = half_more(tail->touched_room, needed, 128);
    void *touched = resize(tail, tail->touched, (size_t)tail->touched_room * sizeof(ps_tail_touched),
                           (size_t)room * sizeof(ps_tail_touched));
    if (touched == NULL) return false;
    tail->touched = touched;
    tail->touched_room = room;
    return true;
}

/* Room for so many words more, be they all new. */
static bool make_room(ps_tail *tail, uint32_t words)
{
    if (tail->term_count > UINT32_MAX - 4096 || tail->touched_count > UINT32_MAX - 4096) return false;
    return grow_records(tail, tail->term_count + words) && grow_hash(tail, tail->term_count + words) &&
           grow_touched(tail, tail->touched_count + words);
}

/* A new record, without its name. */
static uint32_t add_record(ps_tail *tail, uint32_t hash, uint32_t key)
{
    uint32_t number = tail->term_count++;
    *record_at(tail, number) = (ps_tail_term){.hash = hash, .key = key, .last = PS_NO_DOC, .room = IN_RECORD};
    if (tail->part.positions) tail->places[number] = (ps_tail_places){0};
    ps_index_add(&tail->by_hash, hash, number);
    return number;
}

/* ---- postings ---- */

static uint32_t *docs_of(ps_tail_term *record)
{
    return record->room == IN_RECORD ? record->postings.inner : record->postings.outer;
}

static unsigned postings_piece(uint32_t room) { return piece_of(8 * room); }

static void drop_rest_array(ps_tail *tail, ps_tail_term *record)
{
    if (record->room == IN_RECORD) return;
    give_back(tail, record->postings.outer, postings_piece(record->room));
    record->room = IN_RECORD;
}

static bool grow_rest(ps_tail *tail, ps_tail_term *record)
{
    uint32_t room = 2u * record->room, rest = record->rest;
    uint32_t *outer = take_piece(tail, postings_piece(room)), *from = docs_of(record);
    if (outer == NULL) return false;
    memcpy(outer, from, rest * sizeof *outer);
    memcpy(outer + room, from + record->room, rest * sizeof *outer);
    drop_rest_array(tail, record);
    record->postings.outer = outer;
    record->room = (uint8_t)room;
    return true;
}

static bool grow_heads(ps_tail *tail, blocks_of_term *blocks)
{
    if (blocks->count < blocks->room) return true;
    uint32_t room = half_more(blocks->room, blocks->count + 1, 2);
    if (tail->part.positions && blocks->offsets_room < room) {
        size_t from = blocks->offsets_room ? (size_t)blocks->offsets_room + 1 : 0;
        void *offsets = resize(tail, blocks->place_offsets, from * 4, ((size_t)room + 1) * 4);
        if (offsets == NULL) return false;
        blocks->place_offsets = offsets;
        blocks->place_offsets[0] = 0;
        blocks->offsets_room = room;
    }
    void *heads = resize(tail, blocks->heads, (size_t)blocks->room * sizeof(ps_block_head),
                         (size_t)room * sizeof(ps_block_head));
    if (heads == NULL) return false;
    blocks->heads = heads;
    blocks->room = room;
    return true;
}

/* Room for `more` bytes behind `size`, and `ahead` zeros behind these. */
static bool grow_bytes(ps_tail *tail, uint8_t **bytes, size_t size, size_t *room, size_t more, size_t ahead)
{
    if (size + more + ahead <= *room) return true;
    if (size + more > NOT_BELOW) return false;
    size_t to = size + more + ahead + size / 2;
    uint8_t *moved = resize(tail, *bytes, *room, to);
    if (moved == NULL) return false;
    memset(moved + size, 0, to - size);
    *bytes = moved;
    *room = to;
    return true;
}

/* Makes a block of a rest of 128, all of finished documents. */
static bool pack_rest(ps_tail *tail, uint32_t number)
{
    ps_tail_term *record = record_at(tail, number);
    ps_tail_places *places = tail->part.positions ? &tail->places[number] : NULL;
    if (record->blocks == NULL) {
        blocks_of_term *made = resize(tail, NULL, 0, sizeof *made);
        if (made == NULL) return false;
        *made = (blocks_of_term){0};
        record->blocks = made;
    }
    blocks_of_term *blocks = record->blocks;
    const uint32_t *docs = docs_of(record), *freqs = docs + record->room;
    uint8_t packed[PS_BLOCK_BYTES];
    int64_t before = blocks->count > 0 ? (int64_t)blocks->heads[blocks->count - 1].last : -1;
    size_t size = ps_block_pack(docs, freqs, PS_BLOCK, before, packed);
    if (!grow_heads(tail, blocks) ||
        !grow_bytes(tail, &blocks->packed, blocks->packed_size, &blocks->packed_room, size, PS_READ_AHEAD) ||
        (places && !grow_bytes(tail, &blocks->places, blocks->places_size, &blocks->places_room, places->size,
                               PS_READ_AHEAD)))
        return false;
    ps_block_head *head = &blocks->heads[blocks->count];
    head->last = docs[PS_BLOCK - 1];
    head->offset = (uint32_t)blocks->packed_size;
    ps_block_peaks(docs, freqs, PS_BLOCK, tail->part.lengths[field_of(record)], head->peaks);
    memcpy(blocks->packed + blocks->packed_size, packed, size);
    blocks->packed_size += size;
    blocks->count++;
    if (places != NULL) {
        memcpy(blocks->places + blocks->places_size, places->bytes, places->size);
        blocks->places_size += places->size;
        blocks->place_offsets[blocks->count] = (uint32_t)blocks->places_size;
        places->size = 0;
    }
    drop_rest_array(tail, record);
    record->rest = 0;
    return true;
}

/* ---- positions ---- */

static void drop_places(ps_tail *tail, ps_tail_places *places)
{
    if (places->room > 1024)
        release(tail, places->bytes, places->room);
    else if (places->room > 0)
        give_back(tail, places->bytes, piece_of(places->room));
    *places = (ps_tail_places){0};
}

static bool grow_places(ps_tail *tail, ps_tail_places *places)
{
    if (places->room >= UINT32_C(1) << 31) return false;
    ps_tail_places grown = *places;
    grown.room = places->room ? 2 * places->room : 16;
    grown.bytes =
        grown.room > 1024 ? resize(tail, NULL, 0, grown.room) : take_piece(tail, piece_of(grown.room));
    if (grown.bytes == NULL) return false;
    if (places->size > 0) memcpy(grown.bytes, places->bytes, places->size);
    drop_places(tail, places);
    *places = grown;
    return true;
}

static bool add_place(ps_tail *tail, ps_tail_places *places, uint32_t place)
{
    uint32_t gap = place - places->last;
    if (places->size + 5 > places->room && !grow_places(tail, places)) return false;
    for (; gap >= 128; gap >>= 7) places->bytes[places->size++] = (uint8_t)(gap | 128);
    places->bytes[places->size++] = (uint8_t)gap;
    places->last = place;
    return true;
}

/* ---- a document ---- */

static bool grow_array(ps_tail *tail, void *array, uint32_t to, size_t width)
{
    void *old, *moved;
    memcpy(&old, array, sizeof old);
    size_t ahead = width == 4 ? 16 : 1; /* lengths are read ahead, offsets have one more */
    moved = tail->allocator.resize(old, (to + ahead) * width);
    if (moved == NULL) return false;
    size_t from = old != NULL ? tail->docs_room + ahead : 0;
    memset((uint8_t *)moved + from * width, 0, (to + ahead - from) * width);
    memcpy(array, &moved, sizeof moved);
    return true;
}

static void show_arrays(ps_tail *tail)
{
    static const uint32_t no_lengths[16];
    static const uint64_t no_cells[1];
    static const int64_t no_numbers[1];
    static const uint8_t no_bytes[1];
    ps_part *part = &tail->part;
    for (uint32_t i = 0; i < part->fields; i++)
        part->lengths[i] = tail->lengths[i] ? tail->lengths[i] : no_lengths;
    for (uint32_t i = 0; i < part->columns; i++) part->cells[i] = tail->cells[i] ? tail->cells[i] : no_cells;
    if (tail->text_ids) {
        part->id_offsets = tail->id_offsets ? tail->id_offsets : no_cells;
        part->id_bytes = tail->id_bytes ? tail->id_bytes : no_bytes;
    } else {
        part->id_numbers = tail->id_numbers ? tail->id_numbers : no_numbers;
    }
}

static bool grow_docs(ps_tail *tail)
{
    if (tail->part.docs < tail->docs_room) return true;
    if (tail->part.docs >= UINT32_MAX - 64) return false;
    uint32_t room = half_more(tail->docs_room, tail->part.docs + 1, 16);
    bool grown = tail->text_ids ? grow_array(tail, &tail->id_offsets, room, 8)
                                : grow_array(tail, &tail->id_numbers, room, 8);
    for (uint32_t i = 0; i < tail->part.fields && grown; i++)
        grown = grow_array(tail, &tail->lengths[i], room, 4);
    for (uint32_t i = 0; i < tail->part.columns && grown; i++)
        grown = grow_array(tail, &tail->cells[i], room, 8);
    if (grown) tail->docs_room = room;
    show_arrays(tail);
    return grown;
}

ps_status ps_tail_begin(ps_tail *tail, const uint8_t *id, size_t id_size)
{
    ps_tail_undo(tail);
    if (!grow_docs(tail)) return PS_NO_MEMORY;
    uint32_t doc = tail->part.docs;
    if (tail->text_ids) {
        size_t at = tail->id_offsets[doc];
        if (at + id_size > tail->id_bytes_room) {
            size_t room = at + id_size + at / 2;
            void *moved = resize(tail, tail->id_bytes, tail->id_bytes_room, room);
            if (moved == NULL) return PS_NO_MEMORY;
            tail->id_bytes = moved;
            tail->id_bytes_room = room;
            show_arrays(tail);
        }
        if (id_size > 0) memcpy(tail->id_bytes + at, id, id_size);
        tail->id_offsets[doc + 1] = at + id_size;
    } else {
        memcpy(&tail->id_numbers[doc], id, sizeof tail->id_numbers[doc]);
    }
    tail->adding = true;
    return PS_OK;
}

/* One occurrence more of a term in the document that is being added. */
static ps_status add_posting(ps_tail *tail, uint32_t number, uint32_t place)
{
    ps_tail_term *record = record_at(tail, number);
    ps_tail_places *places = tail->part.positions ? &tail->places[number] : NULL;
    uint32_t doc = tail->part.docs;
    if (record->last == doc) {
        docs_of(record)[record->room + record->rest - 1u]++;
    } else {
        if (record->rest == PS_BLOCK && !pack_rest(tail, number)) return PS_NO_MEMORY;
        if (record->rest == record->room && !grow_rest(tail, record)) return PS_NO_MEMORY;
        uint32_t *docs = docs_of(record);
        docs[record->rest] = doc;
        docs[record->room + record->rest] = 1;
        record->rest++;
        record->last = doc;
        tail->touched[tail->touched_count++] = (ps_tail_touched){number, places ? places->size : 0};
        if (places != NULL) places->last = 0;
    }
    return places == NULL || add_place(tail, places, place) ? PS_OK : PS_NO_MEMORY;
}

/* Adds the words that wait. Each step asks for the cache lines that the next one looks at, for all words. */
static ps_status add_waiting(ps_tail *tail)
{
    uint32_t n = tail->waiting;
    tail->waiting = 0;
    if (!make_room(tail, n)) return PS_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        ps_index_search search = ps_index_begin(&tail->by_hash, tail->queue[i].hash);
        uint32_t number = ps_index_next(&tail->by_hash, &search);
        if (number != PS_INDEX_NONE) __builtin_prefetch(record_at(tail, number), 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        ps_tail_word_waiting *word = &tail->queue[i];
        uint32_t number = find_short(tail, word->head, word->hash, word->key);
        if (number == PS_INDEX_NONE) {
            number = add_record(tail, word->hash, word->key);
            memcpy(record_at(tail, number)->name.head, word->head, sizeof word->head);
        }
        word->number = number;
        ps_tail_term *record = record_at(tail, number);
        if (record->room > IN_RECORD) {
            __builtin_prefetch(record->postings.outer + record->rest, 1);
            __builtin_prefetch(record->postings.outer + record->room + record->rest, 1);
        }
        if (tail->part.positions) __builtin_prefetch(&tail->places[number], 1);
    }
    for (uint32_t i = 0; i < n; i++)
        if (add_posting(tail, tail->queue[i].number, tail->queue[i].place) != PS_OK) return PS_NO_MEMORY;
    return PS_OK;
}

/* A term of more than 16 bytes, which is as rare as it is slow. */
static ps_status add_long(ps_tail *tail, ps_term term, uint32_t hash, uint32_t place)
{
    if (add_waiting(tail) != PS_OK || !make_room(tail, 1)) return PS_NO_MEMORY;
    uint32_t number = find_long(tail, term, hash);
    if (number == PS_INDEX_NONE) {
        uint8_t *bytes = take_piece(tail, piece_of(term.size));
        if (bytes == NULL) return PS_NO_MEMORY;
        memcpy(bytes, term.bytes, term.size);
        number = add_record(tail, hash, key_of(term));
        record_at(tail, number)->name.long_bytes = bytes;
    }
    return add_posting(tail, number, place);
}

ps_status ps_tail_word(ps_tail *tail, ps_term term, uint64_t hash)
{
    uint32_t place = tail->so_far[term.field];
    if (place >= PS_FREQ_MOST) return PS_NO_MEMORY;
    tail->so_far[term.field] = place + 1;
    if (term.size > SHORT) return add_long(tail, term, hash_of(hash), place);
    ps_tail_word_waiting *word = &tail->queue[tail->waiting++];
    read_head(term, word->head);
    word->hash = hash_of(hash);
    word->key = key_of(term);
    word->place = place;
    if (tail->by_hash.count > 0)
        __builtin_prefetch(&tail->by_hash.chunks[ps_index_home(&tail->by_hash, word->hash)]);
    return tail->waiting < PS_TAIL_QUEUE ? PS_OK : add_waiting(tail);
}

/* What is left when a document has ended, or was taken back. */
static void begin_anew(ps_tail *tail)
{
    tail->adding = false;
    tail->waiting = 0;
    tail->touched_count = 0;
    memset(tail->so_far, 0, sizeof tail->so_far);
}

ps_status ps_tail_end(ps_tail *tail, const uint64_t *cells)
{
    if (add_waiting(tail) != PS_OK) return PS_NO_MEMORY;
    ps_part *part = &tail->part;
    for (uint32_t i = 0; i < part->fields; i++) {
        tail->lengths[i][part->docs] = tail->so_far[i];
        tail->words += tail->so_far[i];
    }
    for (uint32_t i = 0; i < part->columns; i++) tail->cells[i][part->docs] = cells[i];
    tail->postings += tail->touched_count;
    part->terms = tail->term_count;
    part->docs++;
    begin_anew(tail);
    return PS_OK;
}

static void remove_newest_term(ps_tail *tail)
{
    uint32_t number = --tail->term_count;
    ps_tail_term *record = record_at(tail, number);
    ps_index_remove(&tail->by_hash, record->hash, number);
    if (size_of(record) > SHORT) give_back(tail, record->name.long_bytes, piece_of(size_of(record)));
    drop_rest_array(tail, record);
    if (tail->part.positions) drop_places(tail, &tail->places[number]);
}

void ps_tail_undo(ps_tail *tail)
{
    if (!tail->adding) return;
    for (uint32_t i = 0; i < tail->touched_count; i++) {
        ps_tail_touched touched = tail->touched[i];
        record_at(tail, touched.number)->rest--;
        record_at(tail, touched.number)->last = PS_NO_DOC;
        if (tail->part.positions) tail->places[touched.number].size = touched.places_size;
    }
    while (tail->term_count > tail->part.terms) remove_newest_term(tail);
    begin_anew(tail);
}

/* ---- as a part ---- */

static uint32_t part_find(const ps_part *part, ps_term term, uint64_t hash)
{
    const ps_tail *tail = (const ps_tail *)(const void *)part;
    if (term.size > PS_TERM_BYTES || term.field >= part->fields) return PS_NO_TERM;
    uint32_t number = find_any(tail, term, hash);
    return number < part->terms ? number : PS_NO_TERM;
}

static ps_term part_term(const ps_part *part, uint32_t number)
{
    const ps_tail_term *record = record_at((const ps_tail *)(const void *)part, number);
    return (ps_term){.bytes = bytes_of(record), .size = size_of(record), .field = field_of(record)};
}

static bool part_postings(const ps_part *part, uint32_t number, ps_postings *list)
{
    const ps_tail *tail = (const ps_tail *)(const void *)part;
    ps_tail_term *record = record_at(tail, number);
    const blocks_of_term *blocks = record->blocks;
    const uint32_t *docs = docs_of(record);
    uint32_t rest = record->rest;
    if (tail->adding && rest > 0 && docs[rest - 1] == part->docs) rest--; /* not yet there */
    *list =
        (ps_postings){.docs = part->docs, .rest = rest, .rest_docs = docs, .rest_freqs = docs + record->room};
    if (blocks != NULL) {
        list->heads = blocks->heads;
        list->packed = blocks->packed;
        list->packed_size = blocks->packed_size;
        list->blocks = blocks->count;
        list->places = blocks->places;
        list->places_size = blocks->places_size;
        list->place_offsets = blocks->place_offsets;
    }
    list->count = list->blocks * PS_BLOCK + rest;
    if (part->positions) {
        static const uint8_t nothing[1];
        list->rest_places = tail->places[number].bytes ? tail->places[number].bytes : nothing;
        list->rest_places_size = tail->places[number].size;
        if (list->places == NULL) list->places = nothing;
    }
    if (rest > 0)
        ps_block_peaks(docs, list->rest_freqs, rest, part->lengths[field_of(record)], list->rest_peaks);
    return true;
}

/* A record; or, once that is there, what it points to. */
static void part_fetch(const ps_part *part, uint32_t number, unsigned stage)
{
    ps_tail_term *record = record_at((const ps_tail *)(const void *)part, number);
    if (stage == 0) {
        __builtin_prefetch(record);
        return;
    }
    if (record->blocks != NULL) __builtin_prefetch(record->blocks);
    if (record->room == IN_RECORD) return;
    __builtin_prefetch(record->postings.outer);
    __builtin_prefetch(record->postings.outer + record->room);
}

uint64_t *ps_tail_dead_count(const ps_tail *tail, uint32_t number) { return &record_at(tail, number)->dead; }

/* ---- the whole ---- */

void ps_tail_init(ps_tail *tail, uint32_t fields, uint32_t columns, bool positions, bool text_ids,
                  uint64_t seed, ps_allocator allocator)
{
    *tail = (ps_tail){.allocator = allocator, .seed = seed, .text_ids = text_ids};
    tail->part = (ps_part){.fields = fields,
                           .columns = columns,
                           .positions = positions,
                           .find = part_find,
                           .term = part_term,
                           .postings = part_postings,
                           .fetch = part_fetch};
    ps_index_init(&tail->by_hash, allocator);
    show_arrays(tail);
}

static void free_term(ps_tail *tail, uint32_t number)
{
    blocks_of_term *blocks = record_at(tail, number)->blocks;
    if (tail->part.positions && tail->places[number].room > 1024)
        tail->allocator.release(tail->places[number].bytes);
    if (blocks == NULL) return;
    tail->allocator.release(blocks->heads);
    tail->allocator.release(blocks->packed);
    tail->allocator.release(blocks->place_offsets);
    tail->allocator.release(blocks->places);
    tail->allocator.release(blocks);
}

void ps_tail_free(ps_tail *tail)
{
    ps_allocator allocator = tail->allocator;
    for (uint32_t i = 0; i < tail->term_count; i++) free_term(tail, i);
    for (ps_tail_chunk *chunk = tail->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        allocator.release(chunk);
    }
    for (uint32_t i = 0; i < tail->part.fields; i++) allocator.release(tail->lengths[i]);
    for (uint32_t i = 0; i < tail->part.columns; i++) allocator.release(tail->cells[i]);
    allocator.release(tail->id_numbers);
    allocator.release(tail->id_offsets);
    allocator.release(tail->id_bytes);
    allocator.release(tail->touched);
    allocator.release(tail->places);
    for (uint32_t i = 0; i < tail->page_count; i++) allocator.release(tail->pages[i].memory);
    allocator.release(tail->pages);
    ps_index_free(&tail->by_hash);
}

size_t ps_tail_bytes(const ps_tail *tail)
{
    size_t a_doc = 8 + 4 * (size_t)tail->part.fields + 8 * (size_t)tail->part.columns;
    return tail->bytes + ps_index_bytes(&tail->by_hash) + a_doc * tail->docs_room;
}

/* Whether the postings of a term ascend and are below `docs`, and how many words they are. */
static bool check_term(const ps_tail *tail, uint32_t number, uint64_t words[PS_FIELDS], uint64_t *postings)
{
    const ps_part *part = &tail->part;
    const ps_tail_term *record = record_at(tail, number);
    ps_term term = part_term(part, number);
    ps_postings list;
    ps_cursor cursor;
    int64_t before = -1;
    uint32_t count = 0;
    if (part_find(part, term, ps_term_hash(term, tail->seed)) != number) return false;
    if (!part_postings(part, number, &list) || list.count == 0 || record->rest > record->room) return false;
    for (ps_cursor_begin(&cursor, &list); cursor.n > 0; ps_cursor_next(&cursor)) {
        ps_cursor_freqs(&cursor);
        for (uint32_t i = 0; i < cursor.n; i++, count++) {
            if (cursor.docs[i] <= before || cursor.docs[i] >= part->docs || cursor.freqs[i] == 0)
                return false;
            if (cursor.freqs[i] > part->lengths[term.field][cursor.docs[i]]) return false;
            before = cursor.docs[i];
            words[term.field] += cursor.freqs[i];
        }
    }
    *postings += count;
    return !cursor.broken && count == list.count;
}

bool ps_tail_check(const ps_tail *tail)
{
    uint64_t words[PS_FIELDS] = {0}, postings = 0, all = 0;
    if (tail->adding || tail->term_count != tail->part.terms) return false;
    if (tail->by_hash.size != tail->term_count || !ps_index_check(&tail->by_hash)) return false;
    for (uint32_t i = 0; i < tail->term_count; i++)
        if (!check_term(tail, i, words, &postings)) return false;
    for (uint32_t field = 0; field < tail->part.fields; field++) {
        for (uint32_t doc = 0; doc < tail->part.docs; doc++) words[field] -= tail->part.lengths[field][doc];
        if (words[field] != 0) return false;
        for (uint32_t doc = 0; doc < tail->part.docs; doc++) all += tail->part.lengths[field][doc];
    }
    return postings == tail->postings && all == tail->words;
}
