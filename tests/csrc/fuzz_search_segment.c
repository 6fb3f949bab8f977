/* Segments of random collections: opened, asked and judged; then with bytes flipped, made up or cut off,
 * which must be refused or survive every question. The bytes lie in a block of their exact size, so that one
 * read too far is seen. */
#include "search_segment.h"
#include "segment_model.h"

#define SEED 12345

static const ps_allocator ALLOCATOR = {realloc, free};

static collection all;
static plain_part plain;
static contents holds;

/* Whether bytes[size] lie before the zeros at the end, so that PS_READ_AHEAD more can be read. */
static bool lies_within(const ps_segment *segment, const void *bytes, size_t size)
{
    size_t at = (size_t)((const uint8_t *)bytes - segment->bytes), most = segment->size - PS_READ_AHEAD;
    return at <= most && size <= most - at;
}

static void expect_within(const ps_segment *segment, const ps_postings *list)
{
    FUZZ_REQUIRE(list->count >= 1 && list->count <= segment->part.docs && list->rest == 0);
    FUZZ_REQUIRE(list->blocks == (list->count + PS_BLOCK - 1) / PS_BLOCK);
    FUZZ_REQUIRE(list->packed_size <= segment->size && lies_within(segment, list->packed, list->packed_size));
    if (list->heads == NULL)
        FUZZ_REQUIRE(list->blocks == 1 && list->only.last < segment->part.docs);
    else
        FUZZ_REQUIRE((const uint8_t *)(list->heads + list->blocks) == list->packed);
    FUZZ_REQUIRE((list->places != NULL) == segment->part.positions);
    if (list->places == NULL) return;
    FUZZ_REQUIRE(list->places_size <= segment->size && lies_within(segment, list->places, list->places_size));
    FUZZ_REQUIRE((list->place_offsets != NULL) == (list->count > PS_BLOCK));
}

/* Reads everything that can be read; whatever it says, it must end, within the bytes. Whether none of it is
 * broken. */
static bool ask_list(const ps_segment *segment, uint32_t number, fuzz_input *input)
{
    const ps_part *part = &segment->part;
    ps_postings list;
    ps_cursor cursor;
    uint32_t places[4], seen = 0;
    if (!part->postings(part, number, &list)) {
        FUZZ_REQUIRE(list.count == 0 && list.blocks == 0);
        return false;
    }
    expect_within(segment, &list);
    for (ps_cursor_begin(&cursor, &list); cursor.n > 0; ps_cursor_next(&cursor)) {
        ps_cursor_freqs(&cursor);
        seen += cursor.n;
        for (uint32_t i = 0; i < cursor.n; i++)
            FUZZ_REQUIRE(cursor.docs[i] < part->docs && cursor.freqs[i] > 0);
        for (uint32_t i = 0; i < cursor.n; i += 5) FUZZ_REQUIRE(ps_cursor_places(&cursor, i, places, 4) <= 4);
    }
    bool whole = !cursor.broken;
    FUZZ_REQUIRE(!whole || seen == list.count);
    ps_cursor_open(&cursor, &list);
    for (unsigned i = 0; i < 4; i++)
        ps_cursor_freq_of(&cursor, (uint32_t)(fuzz_take(input, 2) % (part->docs + 1)));
    return whole;
}

static bool ask_terms(const ps_segment *segment, fuzz_input *input)
{
    const ps_part *part = &segment->part;
    bool whole = true;
    FUZZ_REQUIRE(segment->field_terms[0] == 0 && segment->field_terms[part->fields] == part->terms);
    for (uint32_t i = 0; i < part->fields; i++)
        FUZZ_REQUIRE(segment->field_terms[i] <= segment->field_terms[i + 1]);
    for (uint32_t i = 0; i < part->terms; i++) {
        ps_term term = part->term(part, i);
        FUZZ_REQUIRE(term.size <= PS_TERM_BYTES && term.field < part->fields);
        FUZZ_REQUIRE(lies_within(segment, term.bytes, term.size));
        FUZZ_REQUIRE(part->find(part, term, ps_term_hash(term, SEED)) == i);
        FUZZ_REQUIRE(ps_part_first_at(part, term) == i);
        whole = ask_list(segment, i, input) && whole;
    }
    return whole;
}

static void ask_documents(const ps_segment *segment)
{
    const ps_part *part = &segment->part;
    for (uint32_t i = 0; i < part->fields; i++)
        FUZZ_REQUIRE(lies_within(segment, part->lengths[i], 4 * (size_t)part->docs));
    for (uint32_t i = 0; i < part->columns; i++)
        FUZZ_REQUIRE(lies_within(segment, part->cells[i], 8 * (size_t)part->docs));
    if (part->id_numbers != NULL)
        FUZZ_REQUIRE(lies_within(segment, part->id_numbers, 8 * (size_t)part->docs));
    if (part->id_steps != NULL) FUZZ_REQUIRE(lies_within(segment, part->id_steps, 4 * (size_t)part->docs));
    for (uint32_t doc = 0; part->id_offsets != NULL && doc < part->docs; doc++) {
        uint64_t from = part->id_offsets[doc], to = part->id_offsets[doc + 1];
        FUZZ_REQUIRE(from <= to && lies_within(segment, part->id_bytes + from, (size_t)(to - from)));
    }
}

/* whole: none of its lists is broken, though positions may be. */
static void merge_again(const ps_segment *segment, uint64_t *dead, bool whole)
{
    ps_part part = segment->part;
    ps_segment copy = *segment;
    copy.part.dead = dead;
    const ps_part *parts[] = {&segment->part, &copy.part};
    uint8_t *bytes;
    size_t size;
    copy.part.dead_docs = 0;
    for (uint32_t doc = 0; doc < part.docs; doc++) copy.part.dead_docs += ps_part_is_dead(&copy.part, doc);
    ps_status status = ps_segment_merge(parts, 2, part.docs % 2, ALLOCATOR, &bytes, &size);
    FUZZ_REQUIRE(status == PS_BROKEN || (status == PS_OK && whole));
    FUZZ_REQUIRE(status == PS_OK || !whole || part.positions);
    if (status != PS_OK) return;
    ps_segment again;
    FUZZ_REQUIRE(ps_segment_open(&again, bytes, size, SEED, ALLOCATOR) == PS_OK);
    ps_segment_close(&again);
    free(bytes);
}

static void survive(const uint8_t *bytes, size_t size, fuzz_input *input)
{
    ps_segment segment;
    uint8_t *exact = malloc(size ? size : 1);
    FUZZ_REQUIRE(exact != NULL);
    memcpy(exact, bytes, size);
    if (ps_segment_open(&segment, exact, size, SEED, ALLOCATOR) == PS_OK) {
        FUZZ_REQUIRE(ps_segment_overhead(&segment) <= 8 * (size_t)segment.part.terms + 8);
        bool whole = ask_terms(&segment, input);
        ask_documents(&segment);
        FUZZ_REQUIRE(whole || !ps_segment_check(&segment));
        merge_again(&segment, plain.dead, whole);
        ps_segment_close(&segment);
    }
    free(exact);
}

static uint32_t field_at(const uint8_t *bytes, size_t at)
{
    uint32_t value;
    memcpy(&value, bytes + at, sizeof value);
    return value;
}

/* Changes a few bytes: where headers, heads or tables are as often as anywhere else. */
static void damage(uint8_t *bytes, size_t size, fuzz_input *input)
{
    uint64_t times = 1 + fuzz_take(input, 1) % 3;
    size_t records = 256 + (size_t)field_at(bytes, 48), near = (records + 63) / 64 * 64;
    for (uint64_t i = 0; i < times; i++) {
        uint64_t where = fuzz_take(input, 1), at = fuzz_take(input, 4), how = fuzz_take(input, 1);
        if (where % 4 == 0)
            at %= 256;
        else if (where % 4 == 1)
            at = near + at % 256;
        else if (where % 4 == 2)
            at = 256 + at % (records - 256 + 1);
        if (at >= size) at %= size;
        if (how % 4 < 2)
            bytes[at] ^= (uint8_t)(1 << how / 4 % 8);
        else if (how % 4 == 2)
            bytes[at] = (uint8_t)(how & 8 ? 0xff : 0);
        else
            bytes[at] = (uint8_t)(bytes[at] + (how & 8 ? 1 : -1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_segment segment;
    uint8_t *bytes, *changed;
    size_t whole;
    some_collection(&all, &input);
    plain_part_of(&plain, &all, 0, all.docs, &input);
    let_die(&plain.part, plain.dead, 0);
    for (holds.docs = 0; holds.docs < all.docs; holds.docs++) holds.of[holds.docs] = holds.docs;
    const ps_part *parts[] = {&plain.part};
    FUZZ_REQUIRE(ps_segment_merge(parts, 1, true, ALLOCATOR, &bytes, &whole) == PS_OK);
    FUZZ_REQUIRE(ps_segment_open(&segment, bytes, whole, SEED, ALLOCATOR) == PS_OK);
    expect_segment(&segment, &all, &holds);
    ps_segment_close(&segment);
    let_die(&plain.part, plain.dead, 3);
    FUZZ_REQUIRE((changed = malloc(whole)) != NULL);
    for (unsigned i = 0; i < 6; i++) {
        memcpy(changed, bytes, whole);
        damage(changed, whole, &input);
        survive(changed, whole, &input);
    }
    size_t cut = (size_t)(fuzz_take(&input, 4) % whole);
    FUZZ_REQUIRE(ps_segment_open(&segment, bytes, cut, SEED, ALLOCATOR) == PS_BROKEN);
    survive(bytes, cut, &input);
    free(changed);
    free(bytes);
    return 0;
}
