/* The LRU kernel against a plain array in order of use, with few hashes and an allocator that fails. */
#include "fuzz.h"
#include "lru_ttl.h"

#define MOST 100

typedef struct {
    uint64_t hash;
    int64_t deadline;
    uint32_t slot;
} entry;

typedef struct {
    entry entries[MOST]; /* least recently used first */
    uint32_t size;
} model;

static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static entry take_out(model *expected, uint32_t i)
{
    entry taken = expected->entries[i];
    expected->size--;
    memmove(&expected->entries[i], &expected->entries[i + 1], (expected->size - i) * sizeof taken);
    return taken;
}

static void put_newest(model *expected, entry added) { expected->entries[expected->size++] = added; }

/* All entries with `hash` are found by it, and only they. */
static void require_found(const ps_lru *lru, const model *expected, uint64_t hash)
{
    uint32_t at, found = 0, there = 0;
    uint32_t slot = ps_lru_first(lru, hash, &at);
    for (; slot != PS_LRU_NONE; slot = ps_lru_next(lru, hash, &at), found++)
        FUZZ_REQUIRE(lru->slots[slot].hash == hash);
    for (uint32_t i = 0; i < expected->size; i++) there += expected->entries[i].hash == hash;
    FUZZ_REQUIRE(found == there);
}

static void require_same(const ps_lru *lru, const model *expected)
{
    FUZZ_REQUIRE(ps_lru_check(lru));
    FUZZ_REQUIRE(lru->size == expected->size);
    uint32_t slot = lru->oldest;
    for (uint32_t i = 0; i < expected->size; i++, slot = ps_lru_newer(lru, slot)) {
        const entry *wanted = &expected->entries[i];
        FUZZ_REQUIRE(slot == wanted->slot && lru->slots[slot].hash == wanted->hash);
        FUZZ_REQUIRE(!ps_lru_expired(lru, slot, wanted->deadline - 1));
        FUZZ_REQUIRE(ps_lru_expired(lru, slot, wanted->deadline));
    }
    FUZZ_REQUIRE(slot == PS_LRU_NONE);
}

/* Hashes that differ only high, only low, in steps of a power of two, or not at all. */
static uint64_t some_hash(fuzz_input *input)
{
    uint64_t small = fuzz_take(input, 1);
    switch (fuzz_take(input, 1) % 4) {
    case 0: return small;
    case 1: return small << 56;
    case 2: return (small % 4) << 32 | small % 4; /* the two halves cancel out: all with one home */
    default: return fuzz_take(input, 8);
    }
}

static void add(ps_lru *lru, model *expected, fuzz_input *input)
{
    entry added = {some_hash(input), fuzz_between(input, INT64_MIN + 1, PS_LRU_NEVER), PS_LRU_NONE};
    allocations_left = fuzz_take(input, 1) % 8;
    bool cannot_grow = lru->size == lru->capacity && allocations_left < 2; /* slots and index */
    ps_status status = ps_lru_add(lru, added.hash, added.deadline, &added.slot);
    if (lru->size > expected->size) {
        FUZZ_REQUIRE(status == PS_OK && !cannot_grow);
        put_newest(expected, added);
    } else {
        FUZZ_REQUIRE(status == (lru->size == lru->limit ? PS_REFUSED : PS_NO_MEMORY));
        FUZZ_REQUIRE(status == PS_REFUSED || cannot_grow);
    }
}

static void change_one(ps_lru *lru, model *expected, fuzz_input *input)
{
    entry chosen = take_out(expected, (uint32_t)fuzz_between(input, 0, expected->size - 1));
    switch (fuzz_take(input, 1) % 4) {
    case 0:
        ps_lru_remove(lru, chosen.slot);
        break;
    case 1: /* what an eviction does: it needs no memory */
        ps_lru_remove(lru, chosen.slot);
        allocations_left = 0;
        chosen.hash = some_hash(input);
        FUZZ_REQUIRE(ps_lru_add(lru, chosen.hash, chosen.deadline, &chosen.slot) == PS_OK);
        put_newest(expected, chosen);
        break;
    default:
        chosen.deadline = fuzz_between(input, INT64_MIN + 1, PS_LRU_NEVER);
        ps_lru_expire_at(lru, chosen.slot, chosen.deadline);
        ps_lru_touch(lru, chosen.slot);
        put_newest(expected, chosen);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_lru lru;
    model expected = {.size = 0};
    ps_lru_init(&lru, (uint32_t)fuzz_between(&input, 1, MOST), (ps_allocator){resize, free});
    FUZZ_REQUIRE(ps_lru_bytes(&lru) == 0);
    require_same(&lru, &expected);
    while (input.left > 0) {
        if (expected.size == 0 || fuzz_take(&input, 1) % 2 == 0) add(&lru, &expected, &input);
        else change_one(&lru, &expected, &input);
        require_same(&lru, &expected);
        require_found(&lru, &expected, some_hash(&input));
    }
    ps_lru_free(&lru);
    return 0;
}
