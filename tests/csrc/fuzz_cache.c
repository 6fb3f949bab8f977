/* The cache against a plain array of entries, for every policy, with few hashes and an allocator that fails.
 *
 * Who is evicted is asked of a second ps_eviction, whose slots are the entries of the array: it has its own
 * test. The rest of the model is as plain as can be, and knows a slot of the cache by its key. */
#include "cache.h"
#include "fuzz.h"

#define MOST_LIMIT 24
#define MOST (MOST_LIMIT + 1)
#define MOST_WAITING 200
#define HEAVIEST 100

typedef struct {
    bool there;
    uintptr_t key; /* never 0, and never used again */
    uint32_t hash;
    uint32_t slot; /* where the cache has it */
    int64_t weight, deadline, at_most;
} entry;

typedef struct {
    uintptr_t key;
    ps_cause cause;
} removal;

typedef struct {
    entry entries[MOST];
    ps_eviction eviction; /* of their numbers */
    ps_slot slots[MOST];
    ps_slot_extra extras[MOST];
    uintptr_t last_key;
    uint32_t limit;
    int64_t max_weight; /* 0: no weights */
    bool idles;
    removal waiting[MOST_WAITING]; /* the one that waits for longest first */
    uint32_t waiting_count;
    uint64_t removals[PS_CAUSES];
    uint32_t swept;
} model;

static uint64_t allocations_left;
static bool was_refused;

static void *resize_memory(void *memory, size_t size)
{
    if (allocations_left == 0) {
        was_refused = true;
        return NULL;
    }
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator FAILING = {resize_memory, free};
static const ps_allocator WORKING = {realloc, free};

static void allow(uint64_t allocations)
{
    allocations_left = allocations;
    was_refused = false;
}

/* ---- the model ---- */

static uint32_t size_of(const model *m)
{
    uint32_t size = 0;
    for (uint32_t i = 0; i < MOST; i++) size += m->entries[i].there;
    return size;
}

static int64_t weight_of(const model *m)
{
    int64_t weight = 0;
    for (uint32_t i = 0; i < MOST; i++) weight += m->entries[i].there ? m->entries[i].weight : 0;
    return weight;
}

static bool is_expired(const entry *e, int64_t now) { return e->deadline != PS_NEVER && e->deadline <= now; }

static void leave(model *m, entry *gone, ps_cause cause)
{
    gone->there = false;
    m->waiting[m->waiting_count++] = (removal){gone->key, cause};
    m->removals[cause]++;
}

static void remove_entry(model *m, entry *gone, ps_cause cause)
{
    ps_eviction_remove(&m->eviction, (uint32_t)(gone - m->entries));
    leave(m, gone, cause);
}

static void make_room(model *m, uint32_t entries, int64_t weight, int64_t now)
{
    bool weighs = m->max_weight > 0;
    while (size_of(m) > 0
           && (size_of(m) + entries > m->limit || (weighs && weight_of(m) > m->max_weight - weight))) {
        entry *gone = &m->entries[ps_eviction_victim(&m->eviction, weighs ? weight : entries)];
        leave(m, gone, is_expired(gone, now) ? PS_EXPIRED : PS_SIZE);
    }
}

static uint32_t expire_slot(model *m, uint32_t slot, int64_t now)
{
    for (uint32_t i = 0; i < MOST; i++) {
        entry *e = &m->entries[i];
        if (!e->there || e->slot != slot || !is_expired(e, now)) continue;
        remove_entry(m, e, PS_EXPIRED);
        return 1;
    }
    return 0;
}

static void sweep(model *m, uint32_t slots, int64_t now)
{
    for (int i = 0; i < 2 && slots > 0; i++) {
        if (m->swept >= slots) m->swept = 0;
        expire_slot(m, m->swept++, now);
    }
}

static void add(model *m, entry added)
{
    uint32_t i = 0;
    while (m->entries[i].there) i++;
    m->entries[i] = added;
    m->slots[i].hash = added.hash;
    m->extras[i].weight = added.weight;
    ps_eviction_add(&m->eviction, i);
}

/* ---- one beside the other ---- */

static void *pointer(uintptr_t key) { return (void *)key; }

static uint32_t slot_of(const ps_cache *cache, const entry *wanted)
{
    uint32_t slot, found = PS_NO_SLOT;
    ps_index_search search = ps_cache_begin(cache, wanted->hash);
    while ((slot = ps_cache_next(cache, wanted->hash, &search)) != PS_NO_SLOT) {
        FUZZ_REQUIRE(ps_cache_slot(cache, slot)->hash == wanted->hash);
        if (ps_cache_slot(cache, slot)->key != pointer(wanted->key)) continue;
        FUZZ_REQUIRE(found == PS_NO_SLOT);
        found = slot;
    }
    return found;
}

static void require_same_entry(const ps_cache *cache, const entry *wanted)
{
    const ps_slot *slot = ps_cache_slot(cache, wanted->slot);
    FUZZ_REQUIRE(slot_of(cache, wanted) == wanted->slot);
    FUZZ_REQUIRE(slot->key == pointer(wanted->key) && slot->value == pointer(wanted->key + 1));
    FUZZ_REQUIRE(slot->deadline == wanted->deadline);
    FUZZ_REQUIRE(ps_cache_at_most(cache, wanted->slot) == wanted->at_most);
    if (cache->eviction.weighs) FUZZ_REQUIRE(cache->eviction.extras[wanted->slot].weight == wanted->weight);
    bool ends = wanted->deadline != PS_NEVER, begins = wanted->deadline != INT64_MIN;
    FUZZ_REQUIRE(ps_cache_expired(cache, wanted->slot, wanted->deadline) == ends);
    FUZZ_REQUIRE(!begins || !ps_cache_expired(cache, wanted->slot, wanted->deadline - 1));
}

static void require_same_waiting(const ps_cache *cache, const model *m)
{
    uint32_t slot = cache->removed;
    for (uint32_t i = 0; i < m->waiting_count; i++, slot = ps_cache_slot(cache, slot)->newer) {
        FUZZ_REQUIRE(slot != PS_NO_SLOT && ps_cache_slot(cache, slot)->key == pointer(m->waiting[i].key));
        FUZZ_REQUIRE(ps_cache_slot(cache, slot)->mark == (uint32_t)m->waiting[i].cause);
    }
    FUZZ_REQUIRE(slot == PS_NO_SLOT);
    FUZZ_REQUIRE(memcmp(cache->removals, m->removals, sizeof m->removals) == 0);
}

static void require_same(const ps_cache *cache, const model *m)
{
    FUZZ_REQUIRE(ps_cache_check(cache) && ps_eviction_check(&m->eviction));
    FUZZ_REQUIRE(ps_cache_size(cache) == size_of(m) && ps_cache_size(cache) == m->eviction.size);
    FUZZ_REQUIRE(cache->weight == (m->max_weight > 0 ? weight_of(m) : 0) && cache->swept == m->swept);
    uint32_t slot = ps_eviction_first(&cache->eviction);
    uint32_t i = ps_eviction_first(&m->eviction);
    for (; i != PS_NO_SLOT; i = ps_eviction_after(&m->eviction, i)) {
        FUZZ_REQUIRE(slot == m->entries[i].slot && m->entries[i].there);
        require_same_entry(cache, &m->entries[i]);
        slot = ps_eviction_after(&cache->eviction, slot);
    }
    FUZZ_REQUIRE(slot == PS_NO_SLOT);
    require_same_waiting(cache, m);
}

/* ---- what may happen ---- */

/* Mostly soon, and else where sums overflow. */
static int64_t some_time(fuzz_input *input)
{
    int64_t small = (int64_t)fuzz_take(input, 1);
    switch (fuzz_take(input, 1) % 16) {
    case 0: return PS_NEVER;
    case 1: return PS_NEVER - small;
    case 2: return INT64_MIN + small;
    case 3: return -small;
    default: return small;
    }
}

static uint32_t some_hash(fuzz_input *input)
{
    uint32_t small = (uint32_t)fuzz_take(input, 1);
    return small < 128 ? ps_mixed_hash(small % 32) : small % 4;
}

static int64_t some_weight(const model *m, fuzz_input *input)
{
    uint64_t small = fuzz_take(input, 1);
    if (m->max_weight == 0) return 0;
    if (small < 32) return small < 16 ? m->max_weight : 0;
    return (int64_t)small % (m->max_weight < HEAVIEST ? m->max_weight : HEAVIEST);
}

static int64_t some_max_weight(fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1) % 8;
    return kind == 0 ? PS_MAX_WEIGHT : fuzz_between(input, 1, HEAVIEST * 10);
}

/* A last moment of its own where it is kept. */
static void some_deadline(const model *m, entry *e, fuzz_input *input)
{
    e->deadline = some_time(input);
    e->at_most = e->deadline;
    if (m->idles && fuzz_take(input, 1) % 2) e->at_most = some_time(input);
}

static void store(ps_cache *cache, model *m, int64_t now, fuzz_input *input)
{
    entry added = {.there = true, .key = m->last_key += 2};
    added.hash = some_hash(input);
    added.weight = some_weight(m, input);
    some_deadline(m, &added, input);
    uint32_t slots = cache->used;
    uint64_t allocations = fuzz_take(input, 1);
    allow(allocations < 16 ? allocations % 8 : UINT64_MAX);
    ps_status status = ps_cache_add(cache, added.hash, pointer(added.key), pointer(added.key + 1),
                                    added.weight, added.deadline, added.at_most, now);
    FUZZ_REQUIRE(status == (was_refused ? PS_NO_MEMORY : PS_OK));
    if (status != PS_OK) return;
    if (now != PS_NEVER) sweep(m, slots, now);
    ps_eviction_arrive(&m->eviction, added.hash);
    make_room(m, 1, added.weight, now);
    added.slot = slot_of(cache, &added);
    add(m, added);
}

static void hit(ps_cache *cache, model *m, entry *found, int64_t now, fuzz_input *input)
{
    int64_t idle = m->idles ? some_time(input) : PS_NEVER;
    if (idle < 0) idle = INT64_MAX - 1; /* so long that it overflows */
    ps_cache_hit(cache, found->slot, now, idle);
    ps_eviction_hit(&m->eviction, (uint32_t)(found - m->entries));
    if (idle == PS_NEVER) return;
    __int128 deadline = (__int128)now + idle;
    found->deadline = deadline < found->at_most ? (int64_t)deadline : found->at_most;
}

static void reweigh(ps_cache *cache, model *m, entry *chosen, int64_t now, fuzz_input *input)
{
    if (m->max_weight == 0) return;
    chosen->weight = some_weight(m, input);
    ps_cache_reweigh(cache, chosen->slot, chosen->weight, now);
    ps_eviction_reweigh(&m->eviction, (uint32_t)(chosen - m->entries), chosen->weight);
    make_room(m, 0, 0, now);
}

static void clear(ps_cache *cache, model *m)
{
    ps_cache_clear(cache);
    uint32_t i;
    while ((i = ps_eviction_first(&m->eviction)) != PS_NO_SLOT) remove_entry(m, &m->entries[i], PS_CLEARED);
    ps_eviction_forget(&m->eviction);
}

static void expire(ps_cache *cache, model *m, int64_t now)
{
    uint32_t expected = 0;
    for (uint32_t slot = 0; slot < cache->used; slot++) expected += expire_slot(m, slot, now);
    FUZZ_REQUIRE(ps_cache_expire(cache, now) == expected);
}

static void take(ps_cache *cache, model *m, uint32_t most)
{
    uint32_t taken = 0;
    for (ps_removal gone; taken < most && ps_cache_take_removed(cache, &gone); taken++) {
        FUZZ_REQUIRE(taken < m->waiting_count && gone.cause == m->waiting[taken].cause);
        FUZZ_REQUIRE(gone.key == pointer(m->waiting[taken].key));
        FUZZ_REQUIRE(gone.value == pointer(m->waiting[taken].key + 1));
    }
    FUZZ_REQUIRE(taken == (most < m->waiting_count ? most : m->waiting_count));
    m->waiting_count -= taken;
    memmove(&m->waiting[0], &m->waiting[taken], m->waiting_count * sizeof(removal));
}

static void shrink(ps_cache *cache, model *m, fuzz_input *input)
{
    take(cache, m, UINT32_MAX);
    size_t before = ps_cache_bytes(cache);
    uint32_t slots = cache->capacity, needed = size_of(m) + 1;
    allow(fuzz_take(input, 1) % 4);
    ps_status status = ps_cache_shrink(cache);
    FUZZ_REQUIRE(status == (was_refused ? PS_NO_MEMORY : PS_OK));
    if (status == PS_OK) FUZZ_REQUIRE(cache->capacity == (slots < needed ? slots : needed));
    FUZZ_REQUIRE(ps_cache_bytes(cache) <= before);
    for (uint32_t i = 0; i < MOST; i++)
        if (m->entries[i].there) m->entries[i].slot = slot_of(cache, &m->entries[i]);
}

static void resize(ps_cache *cache, model *m, int64_t now, fuzz_input *input)
{
    m->limit = (uint32_t)fuzz_take(input, 1) % MOST_LIMIT + 1;
    if (m->max_weight > 0) m->max_weight = some_max_weight(input);
    ps_cache_resize(cache, m->limit, m->max_weight, now);
    ps_eviction_resize(&m->eviction, m->max_weight > 0 ? m->max_weight : m->limit);
    make_room(m, 0, 0, now);
}

static entry *some_entry(model *m, fuzz_input *input)
{
    uint32_t i = (uint32_t)fuzz_take(input, 1) % MOST;
    while (!m->entries[i].there) i = (i + 1) % MOST;
    return &m->entries[i];
}

static void change_one(ps_cache *cache, model *m, int64_t now, fuzz_input *input)
{
    entry *chosen = some_entry(m, input);
    switch (fuzz_take(input, 1) % 8) {
    case 0: {
        ps_cause cause = fuzz_take(input, 1) % 2 ? PS_EXPLICIT : PS_REPLACED;
        ps_cache_remove(cache, chosen->slot, cause);
        remove_entry(m, chosen, cause);
        break;
    }
    case 1:
        some_deadline(m, chosen, input);
        ps_cache_expire_at(cache, chosen->slot, chosen->deadline, chosen->at_most);
        break;
    case 2:
    case 3: reweigh(cache, m, chosen, now, input); break;
    default: hit(cache, m, chosen, now, input);
    }
}

static void change(ps_cache *cache, model *m, fuzz_input *input)
{
    uint64_t kind = fuzz_take(input, 1);
    int64_t now = some_time(input);
    if (m->waiting_count + MOST >= MOST_WAITING) take(cache, m, UINT32_MAX);
    switch (kind) {
    case 0:
    case 1: clear(cache, m); break;
    case 2:
    case 3: expire(cache, m, now); break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: resize(cache, m, now, input); break;
    case 9:
    case 10:
    case 11: shrink(cache, m, input); break;
    default:
        if (kind < 40) take(cache, m, (uint32_t)fuzz_take(input, 1) % 32);
        else if (kind < 170 || size_of(m) == 0) store(cache, m, now, input);
        else change_one(cache, m, now, input);
    }
}

static void begin(ps_cache *cache, model *m, fuzz_input *input)
{
    ps_policy policy = (ps_policy)(fuzz_take(input, 1) % (PS_TINYLFU + 1));
    m->limit = (uint32_t)fuzz_take(input, 1) % MOST_LIMIT + 1;
    m->idles = fuzz_take(input, 1) % 2;
    m->max_weight = fuzz_take(input, 1) % 2 ? some_max_weight(input) : 0;
    m->last_key = 1;

    bool weighs = m->max_weight > 0;
    ps_eviction_init(&m->eviction, policy, weighs ? m->max_weight : MOST, weighs, WORKING);
    FUZZ_REQUIRE(ps_eviction_reserve(&m->eviction, MOST) == PS_OK);
    ps_eviction_resize(&m->eviction, weighs ? m->max_weight : m->limit);
    m->eviction.slots = m->slots;
    m->eviction.extras = m->extras;

    ps_cache_init(cache, policy, m->limit, m->max_weight, m->idles, FAILING);
    m->idles = m->idles || weighs; /* they lie beside the weights */
    FUZZ_REQUIRE(ps_cache_bytes(cache) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static model expected;
    memset(&expected, 0, sizeof expected);
    ps_cache cache;
    begin(&cache, &expected, &input);
    require_same(&cache, &expected);
    for (unsigned steps = 0; input.left > 0 && steps < 250; steps++) {
        change(&cache, &expected, &input);
        require_same(&cache, &expected);
    }
    ps_cache_free(&cache);
    ps_eviction_free(&expected.eviction);
    return 0;
}
