/* The ghosts against a plain list, with and without weights, few hashes and an allocator that fails. */
#include "fuzz.h"
#include "ghosts.h"

#define MOST 32
#define HEAVIEST (INT64_MAX / MOST)

typedef struct {
    uint32_t hash;
    int64_t weight;
} ghost;

typedef struct {
    ghost ghosts[MOST + 1]; /* oldest first */
    uint32_t count;
    bool weighs;
    int64_t room; /* -1 before any is made */
} model;

static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

/* Few, some of which differ only high or only low. */
static uint32_t some_hash(fuzz_input *input)
{
    uint32_t small = (uint32_t)fuzz_take(input, 1);
    return small % 2 ? small % 16 << 28 : small % 32;
}

static int64_t some_weight(const model *expected, fuzz_input *input)
{
    if (!expected->weighs) return 1;
    int64_t small = (int64_t)fuzz_take(input, 1);
    return small == 255 ? HEAVIEST : small % 16;
}

static void take_out(model *expected, uint32_t i)
{
    expected->count--;
    memmove(&expected->ghosts[i], &expected->ghosts[i + 1], (expected->count - i) * sizeof(ghost));
}

static bool take(model *expected, uint32_t hash)
{
    uint32_t i = 0;
    while (i < expected->count && expected->ghosts[i].hash != hash) i++;
    if (i == expected->count) return false;
    take_out(expected, i);
    return true;
}

static int64_t weight_of(const model *expected)
{
    int64_t weight = 0;
    for (uint32_t i = 0; i < expected->count; i++) weight += expected->ghosts[i].weight;
    return weight;
}

static void bound(model *expected, uint32_t most, int64_t max_weight)
{
    while (expected->count > most || weight_of(expected) > max_weight) take_out(expected, 0);
}

/* The place that the index names for a hash, PS_INDEX_NONE if none. */
static uint32_t indexed(const ps_ghosts *ghosts, uint32_t hash)
{
    ps_index_search search = ps_index_begin(&ghosts->index, hash);
    uint32_t at;
    while ((at = ps_index_next(&ghosts->index, &search)) != PS_INDEX_NONE)
        if (ghosts->hashes[at] == hash) break;
    return at;
}

static void require_same(const ps_ghosts *ghosts, const model *expected)
{
    FUZZ_REQUIRE(ps_ghosts_check(ghosts));
    FUZZ_REQUIRE(ghosts->weight == weight_of(expected));
    uint32_t i = 0;
    for (uint32_t at = ghosts->first; at < ghosts->end; at++) {
        if (indexed(ghosts, ghosts->hashes[at]) != at) continue;
        const ghost *wanted = &expected->ghosts[i++];
        FUZZ_REQUIRE(i <= expected->count && ghosts->hashes[at] == wanted->hash);
        if (expected->weighs) FUZZ_REQUIRE(ghosts->weights[at] == wanted->weight);
    }
    FUZZ_REQUIRE(i == expected->count && ghosts->index.size == i);
}

static void reserve(ps_ghosts *ghosts, model *expected, fuzz_input *input)
{
    uint32_t room = (uint32_t)fuzz_take(input, 1) % (MOST + 1);
    allocations_left = fuzz_take(input, 1) % 4;
    bool grows = room > expected->room;
    bool can = !grows || allocations_left >= (expected->weighs ? 3 : 2); /* hashes, weights and index */
    size_t before = ps_ghosts_bytes(ghosts);
    FUZZ_REQUIRE(ps_ghosts_reserve(ghosts, room) == (can ? PS_OK : PS_NO_MEMORY));
    if (can && grows) expected->room = room;
    FUZZ_REQUIRE((ps_ghosts_bytes(ghosts) > before) == (can && grows));
}

static void add(ps_ghosts *ghosts, model *expected, uint32_t most, int64_t max_weight, fuzz_input *input)
{
    ghost added = {some_hash(input), some_weight(expected, input)};
    ps_ghosts_add(ghosts, added.hash, added.weight, most, max_weight);
    take(expected, added.hash);
    expected->ghosts[expected->count++] = added;
    bound(expected, most, max_weight);
}

static void change(ps_ghosts *ghosts, model *expected, fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1) % 64;
    if (kind < 3 || expected->room < 0) {
        reserve(ghosts, expected, input);
    } else if (kind < 20) {
        uint32_t hash = some_hash(input);
        FUZZ_REQUIRE(ps_ghosts_take(ghosts, hash) == take(expected, hash));
    } else if (kind < 60) {
        add(ghosts, expected, (uint32_t)expected->room, INT64_MAX, input);
    } else { /* fewer than there is room for, and lighter; perhaps none */
        uint32_t most = (uint32_t)fuzz_take(input, 1) % ((uint32_t)expected->room + 1);
        int64_t max_weight = (int64_t)fuzz_take(input, 1);
        if (kind < 63) add(ghosts, expected, most, max_weight, input);
        else {
            ps_ghosts_bound(ghosts, most, max_weight);
            bound(expected, most, max_weight);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_ghosts ghosts;
    model expected = {.weighs = fuzz_take(&input, 1) % 2, .room = -1};
    ps_ghosts_init(&ghosts, expected.weighs, (ps_allocator){resize, free});
    FUZZ_REQUIRE(ps_ghosts_bytes(&ghosts) == 0);
    require_same(&ghosts, &expected);
    for (unsigned steps = 0; input.left > 0 && steps < 200; steps++) {
        change(&ghosts, &expected, &input);
        require_same(&ghosts, &expected);
    }
    ps_ghosts_free(&ghosts);
    return 0;
}
