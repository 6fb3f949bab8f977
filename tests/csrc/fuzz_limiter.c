/* The limiter's table against a plain array of keys with states of their own, with few hashes and an
 * allocator that fails. */
#include "fuzz.h"
#include "limiter.h"

#define MOST 80

static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator FAILING = {resize, free}, SOUND = {realloc, free};

typedef struct {
    uint64_t hash;
    char *key; /* into `names`, unique */
    int64_t state[4];
} entry;

typedef struct {
    entry entries[MOST];
    uint32_t size;
    char names[MOST + 1];
    bool named[MOST + 1];
} model;

static ps_limiter_slot *slot_of(const ps_limiter *table, const entry *wanted)
{
    ps_limiter_slot *slot = ps_limiter_first(table, wanted->hash);
    while (slot != NULL && slot->key != wanted->key) slot = ps_limiter_next(table, wanted->hash, slot);
    return slot;
}

static void require_same(const ps_limiter *table, model *expected, int64_t now)
{
    FUZZ_REQUIRE(ps_limiter_check(table));
    FUZZ_REQUIRE(table->size == expected->size);
    for (uint32_t i = 0; i < expected->size; i++) {
        entry *each = &expected->entries[i];
        ps_limiter_slot *slot = slot_of(table, each);
        FUZZ_REQUIRE(slot != NULL && slot->hash == each->hash);
        void *state = ps_limiter_state(slot);
        FUZZ_REQUIRE(ps_quotas_used(&table->quotas, state, now)
                     == ps_quotas_used(&table->quotas, each->state, now));
        FUZZ_REQUIRE(ps_quotas_reset(&table->quotas, state, now)
                     == ps_quotas_reset(&table->quotas, each->state, now));
    }
}

static entry *entry_of(model *expected, const void *key)
{
    for (uint32_t i = 0; i < expected->size; i++)
        if (expected->entries[i].key == key) return &expected->entries[i];
    return NULL;
}

/* A key that left the table leaves the model. */
static void strike(const ps_limiter *table, model *expected, const void *key)
{
    entry *gone = entry_of(expected, key);
    FUZZ_REQUIRE(gone != NULL);
    ps_quotas_clear(&table->quotas, gone->state, SOUND);
    expected->named[gone->key - expected->names] = false;
    *gone = expected->entries[--expected->size];
}

/* Hashes that differ only high, only low, or not at all. */
static uint64_t some_hash(fuzz_input *input)
{
    uint64_t small = fuzz_take(input, 1);
    switch (fuzz_take(input, 1) % 4) {
    case 0: return small;
    case 1: return small << 56;
    case 2: return small % 2;
    default: return fuzz_take(input, 8);
    }
}

static void add(ps_limiter *table, model *expected, fuzz_input *input)
{
    entry added = {.hash = some_hash(input)};
    uint32_t name = 0;
    while (expected->named[name]) name++;
    added.key = &expected->names[name];
    allocations_left = fuzz_take(input, 1) % 4;
    ps_limiter_slot *slot;
    ps_status status = ps_limiter_add(table, added.hash, added.key, &slot);
    if (table->size == expected->size) {
        FUZZ_REQUIRE(status == (table->size == table->limit ? PS_REFUSED : PS_NO_MEMORY));
        FUZZ_REQUIRE(status == PS_REFUSED || allocations_left == 0);
        return;
    }
    FUZZ_REQUIRE(status == PS_OK && slot->key == added.key && slot->hash == added.hash);
    expected->named[name] = true;
    expected->entries[expected->size++] = added;
}

static void take(ps_limiter *table, model *expected, int64_t now, fuzz_input *input)
{
    entry *chosen = &expected->entries[fuzz_between(input, 0, expected->size - 1)];
    ps_limiter_slot *slot = slot_of(table, chosen);
    uint32_t n = (uint32_t)fuzz_between(input, 1, table->quotas.most);
    allocations_left = fuzz_take(input, 1) % 4;
    ps_status status = ps_quotas_take(&table->quotas, ps_limiter_state(slot), now, n, FAILING);
    if (status == PS_NO_MEMORY) return;
    FUZZ_REQUIRE(ps_quotas_take(&table->quotas, chosen->state, now, n, SOUND) == status);
}

static void sweep(ps_limiter *table, model *expected, int64_t now, fuzz_input *input)
{
    void *removed[64];
    uint32_t steps = (uint32_t)fuzz_between(input, 0, 64);
    uint32_t count = ps_limiter_sweep(table, now, steps, removed);
    FUZZ_REQUIRE(count <= steps);
    for (uint32_t i = 0; i < count; i++) {
        FUZZ_REQUIRE(ps_quotas_idle(&table->quotas, entry_of(expected, removed[i])->state, now));
        strike(table, expected, removed[i]);
    }
}

static void sweep_all(ps_limiter *table, model *expected, int64_t now)
{
    void *removed[MOST];
    uint32_t count = ps_limiter_sweep(table, now, table->capacity + table->size, removed);
    for (uint32_t i = 0; i < count; i++) strike(table, expected, removed[i]);
    for (uint32_t i = 0; i < expected->size; i++)
        FUZZ_REQUIRE(!ps_quotas_idle(&table->quotas, expected->entries[i].state, now));
}

static void evict(ps_limiter *table, model *expected, int64_t now)
{
    int64_t soonest = 0;
    int64_t first_idle = ps_limiter_soonest(table, now);
    FUZZ_REQUIRE(first_idle >= 0);
    const void *key = ps_limiter_evict(table, now, &soonest);
    if (key == NULL) {
        FUZZ_REQUIRE(soonest > 0);
        return;
    }
    FUZZ_REQUIRE(ps_quotas_fit(&table->quotas, entry_of(expected, key)->state, now, 1)); /* was not limited */
    strike(table, expected, key);
}

static void step(ps_limiter *table, model *expected, int64_t now, fuzz_input *input)
{
    switch (fuzz_take(input, 1) % 16) {
    case 0: sweep(table, expected, now, input); break;
    case 1: sweep_all(table, expected, now); break;
    case 2:
        if (table->capacity > 0) evict(table, expected, now);
        break;
    case 3:
        allocations_left = fuzz_take(input, 1) % 2;
        ps_limiter_fit(table);
        break;
    case 4: case 5: case 6: case 7: case 8: case 9: add(table, expected, input); break;
    case 10:
        if (expected->size > 0) {
            entry *chosen = &expected->entries[fuzz_between(input, 0, expected->size - 1)];
            ps_limiter_remove(table, slot_of(table, chosen));
            strike(table, expected, chosen->key);
        }
        break;
    default:
        if (expected->size > 0) take(table, expected, now, input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static const ps_pace pace = {UINT64_C(1) << 62, 16, 64, 0};
    static const ps_window window = {100, 0, 4};
    ps_quotas quotas = {(ps_algorithm)(fuzz_take(&input, 1) % 4), 1, 4, {{pace, window, 4}}};
    ps_limiter table;
    model expected = {.size = 0};
    uint32_t limit = (uint32_t)fuzz_between(&input, 1, MOST);
    ps_limiter_init(&table, &quotas, limit, fuzz_take(&input, 8), FAILING);
    FUZZ_REQUIRE(ps_limiter_bytes(&table) == 0);
    int64_t now = 0;
    for (unsigned steps = 0; input.left > 0 && steps < 300; steps++) {
        now += (int64_t)(fuzz_take(&input, 1) % 40);
        step(&table, &expected, now, &input);
        require_same(&table, &expected, now);
    }
    ps_limiter_free(&table);
    while (expected.size > 0) strike(&table, &expected, expected.entries[0].key);
    return 0;
}
