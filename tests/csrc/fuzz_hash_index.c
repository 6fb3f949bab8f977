/* The index against a plain array of hashes and numbers, with few homes and tags, so that chunks overflow and
 * are passed in circles, and an allocator that fails. */
#include "fuzz.h"
#include "hash_index.h"

#define MOST 60

typedef struct {
    uint32_t hash, number;
} entry;

typedef struct {
    entry entries[MOST]; /* from the first that was added to the last */
    uint32_t size;
    uint32_t room;
} model;

static bool out_of_memory;

static void *resize(void *memory, size_t size) { return out_of_memory ? NULL : realloc(memory, size); }

/* Of four homes, the last of which is followed by the first, and of few tags; 0 is a tag of nothing. */
static uint32_t some_hash(fuzz_input *input)
{
    uint32_t home = (uint32_t)fuzz_take(input, 1) % 4, tag = (uint32_t)fuzz_take(input, 1) % 3;
    switch (fuzz_take(input, 1) % 4) {
    case 0: return (uint32_t)fuzz_take(input, 4);
    case 1: return UINT32_MAX - tag;
    default: return home << 30 | tag;
    }
}

static bool has_number(const model *expected, uint32_t number)
{
    for (uint32_t i = 0; i < expected->size; i++)
        if (expected->entries[i].number == number) return true;
    return false;
}

static uint32_t new_number(const model *expected, fuzz_input *input)
{
    uint32_t number = (uint32_t)fuzz_take(input, 1) % (2 * MOST);
    while (has_number(expected, number)) number++;
    return number;
}

static uint32_t home_of(const ps_hash_index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->count >> 32);
}

static bool stands_in(const ps_index_chunk *chunk, const entry *wanted)
{
    uint8_t tag = (uint8_t)wanted->hash;
    for (unsigned i = 0; i < PS_CHUNK; i++)
        if (chunk->tags[i] == (tag ? tag : 1) && chunk->numbers[i] == wanted->number) return true;
    return false;
}

/* Each chunk counts the entries that stand further on than it, seen from their home. */
static void require_passed(const ps_hash_index *index, const model *expected)
{
    uint32_t passed[MOST] = {0};
    for (uint32_t i = 0; i < expected->size; i++) {
        const entry *there = &expected->entries[i];
        uint32_t at = home_of(index, there->hash), steps = 0;
        for (; !stands_in(&index->chunks[at], there); at = (at + 1) % index->count, steps++) {
            FUZZ_REQUIRE(steps < index->count);
            passed[at]++;
        }
    }
    for (uint32_t at = 0; at < index->count; at++) FUZZ_REQUIRE(index->chunks[at].passed == passed[at]);
}

/* All entries with `hash` are found by it once, and others of its tag at most once. */
static void require_found(const ps_hash_index *index, const model *expected, uint32_t hash)
{
    uint32_t found[MOST] = {0}, number;
    ps_index_search search = ps_index_begin(index, hash);
    while ((number = ps_index_next(index, &search)) != PS_INDEX_NONE) {
        uint32_t i = 0;
        while (i < expected->size && expected->entries[i].number != number) i++;
        FUZZ_REQUIRE(i < expected->size && ++found[i] == 1);
        FUZZ_REQUIRE(ps_index_tag(expected->entries[i].hash) == ps_index_tag(hash));
    }
    FUZZ_REQUIRE(ps_index_next(index, &search) == PS_INDEX_NONE);
    for (uint32_t i = 0; i < expected->size; i++)
        FUZZ_REQUIRE(expected->entries[i].hash != hash || found[i] == 1);
}

static void require_same(const ps_hash_index *index, const model *expected)
{
    FUZZ_REQUIRE(ps_index_check(index));
    FUZZ_REQUIRE(index->size == expected->size);
    FUZZ_REQUIRE(ps_index_bytes(index) >= index->count * sizeof *index->chunks);
    FUZZ_REQUIRE((uintptr_t)index->chunks % sizeof *index->chunks == 0);
    require_passed(index, expected);
}

static void add(ps_hash_index *index, model *expected, uint32_t hash, fuzz_input *input)
{
    if (expected->size == expected->room) return;
    entry added = {hash, new_number(expected, input)};
    ps_index_add(index, added.hash, added.number);
    expected->entries[expected->size++] = added;
}

static void remove_at(ps_hash_index *index, model *expected, uint32_t i)
{
    ps_index_remove(index, expected->entries[i].hash, expected->entries[i].number);
    expected->size--;
    memmove(&expected->entries[i], &expected->entries[i + 1], (expected->size - i) * sizeof(entry));
}

/* As many of one home as fill a chunk, and then some. */
static void fill_home(ps_hash_index *index, model *expected, fuzz_input *input)
{
    uint32_t hash = some_hash(input);
    for (uint32_t i = 0; i < PS_CHUNK + 1; i++) add(index, expected, hash ^ (i & 1), input);
}

/* The first that were added go, so that those stay which found no room at home. */
static void drain_home(ps_hash_index *index, model *expected, fuzz_input *input)
{
    uint32_t home = index->count ? home_of(index, some_hash(input)) : 0, left = PS_CHUNK;
    for (uint32_t i = 0; i < expected->size && left > 0;) {
        if (home_of(index, expected->entries[i].hash) != home) i++;
        else {
            remove_at(index, expected, i);
            left--;
        }
    }
}

static void renumber(ps_hash_index *index, model *expected, uint32_t i, fuzz_input *input)
{
    uint32_t to = new_number(expected, input);
    ps_index_renumber(index, expected->entries[i].hash, expected->entries[i].number, to);
    expected->entries[i].number = to;
}

static void reset(ps_hash_index *index, model *expected, fuzz_input *input)
{
    uint32_t room = (uint32_t)fuzz_take(input, 1) % (MOST + 1);
    out_of_memory = fuzz_take(input, 1) % 2;
    ps_status status = ps_index_reset(index, room);
    FUZZ_REQUIRE(status == (out_of_memory ? PS_NO_MEMORY : PS_OK));
    if (status == PS_OK) *expected = (model){.room = room};
}

static void change(ps_hash_index *index, model *expected, fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1) % 32;
    uint32_t chosen = expected->size ? (uint32_t)fuzz_take(input, 2) % expected->size : 0;
    if (kind == 0 || expected->room == 0) reset(index, expected, input);
    else if (kind < 4) fill_home(index, expected, input);
    else if (kind < 8) drain_home(index, expected, input);
    else if (kind < 20 || expected->size == 0) add(index, expected, some_hash(input), input);
    else if (kind < 28) remove_at(index, expected, chosen);
    else renumber(index, expected, chosen, input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_hash_index index;
    model expected = {.size = 0};
    ps_index_init(&index, (ps_allocator){resize, free});
    FUZZ_REQUIRE(ps_index_bytes(&index) == 0);
    while (input.left > 0) {
        require_found(&index, &expected, some_hash(&input));
        change(&index, &expected, &input);
        require_same(&index, &expected);
        if (expected.size > 0) require_found(&index, &expected, expected.entries[expected.size - 1].hash);
    }
    ps_index_free(&index);
    return 0;
}
