#include "cache.h"

#include <string.h>

#define FIRST_CAPACITY 8
#define SWEPT_A_STORE 2 /* slots looked at for having expired whenever one is added */

void ps_cache_init(ps_cache *cache, ps_policy policy, uint32_t limit, int64_t max_weight, bool has_extras,
                   ps_allocator allocator)
{
    *cache = (ps_cache){
        .limit = limit,
        .max_weight = max_weight,
        .free = PS_NO_SLOT,
        .removed = PS_NO_SLOT,
        .removed_last = PS_NO_SLOT,
        .has_extras = has_extras || max_weight > 0,
        .allocator = allocator,
    };
    ps_eviction_init(&cache->eviction, policy, max_weight > 0 ? max_weight : limit, max_weight > 0,
                     allocator);
    ps_index_init(&cache->index, allocator);
}

void ps_cache_free(ps_cache *cache)
{
    cache->allocator.release(cache->eviction.slots);
    cache->allocator.release(cache->eviction.extras);
    ps_eviction_free(&cache->eviction);
    ps_index_free(&cache->index);
}

static ps_slot_extra *extra(const ps_cache *cache, uint32_t slot) { return &cache->eviction.extras[slot]; }

static int64_t weight_of(const ps_cache *cache, uint32_t slot)
{
    return cache->eviction.weighs ? extra(cache, slot)->weight : 0;
}

/* ---- memory ---- */

/* Makes the arrays of slots exactly so long; they may move. */
static ps_status resize_slots(ps_cache *cache, uint32_t capacity)
{
    ps_eviction *e = &cache->eviction;
    if (cache->has_extras) {
        ps_slot_extra *extras = cache->allocator.resize(e->extras, capacity * sizeof *extras);
        if (extras == NULL) return PS_NO_MEMORY;
        e->extras = extras;
    }
    ps_slot *slots = cache->allocator.resize(e->slots, capacity * sizeof *slots);
    if (slots == NULL) return PS_NO_MEMORY;
    e->slots = slots;
    cache->capacity = capacity;
    return PS_OK;
}

/* Makes the index large enough for so many entries. */
static ps_status resize_index(ps_cache *cache, uint32_t entries)
{
    if (ps_index_reset(&cache->index, entries) != PS_OK) return PS_NO_MEMORY;
    cache->room = entries;
    const ps_eviction *e = &cache->eviction;
    for (uint32_t slot = ps_eviction_first(e); slot != PS_NO_SLOT; slot = ps_eviction_after(e, slot))
        ps_index_add(&cache->index, e->slots[slot].hash, slot);
    return PS_OK;
}

static bool has_free_slot(const ps_cache *cache)
{
    return cache->free != PS_NO_SLOT || cache->used < cache->capacity;
}

/* There may be slots and no room beside them: of those who waited to be taken when `limit` was lower. */
static bool has_room(const ps_cache *cache)
{
    uint32_t size = ps_cache_size(cache);
    return has_free_slot(cache) && (size < cache->room || size == cache->limit);
}

/* One slot more than `limit` lets a newcomer in before the one that it drives out is taken; more are needed
 * where many wait to be taken. */
static uint64_t wanted_slots(const ps_cache *cache)
{
    if (has_free_slot(cache)) return cache->capacity;
    uint64_t wanted = cache->capacity ? (uint64_t)cache->capacity * 2 : FIRST_CAPACITY;
    return wanted > cache->limit && cache->capacity <= cache->limit ? (uint64_t)cache->limit + 1 : wanted;
}

static ps_status grow(ps_cache *cache)
{
    uint64_t wanted = wanted_slots(cache);
    if (wanted > UINT32_C(1) << 31) return PS_NO_MEMORY;
    uint32_t capacity = (uint32_t)wanted;
    uint32_t entries = capacity < cache->limit ? capacity : cache->limit;
    if (ps_eviction_reserve(&cache->eviction, entries) != PS_OK) return PS_NO_MEMORY;
    if (resize_index(cache, entries) != PS_OK) return PS_NO_MEMORY;
    return resize_slots(cache, capacity);
}

static uint32_t take_free_slot(ps_cache *cache)
{
    uint32_t slot = cache->free;
    if (slot == PS_NO_SLOT) return cache->used++;
    cache->free = ps_cache_slot(cache, slot)->newer;
    return slot;
}

static void give_back_slot(ps_cache *cache, uint32_t slot)
{
    ps_slot *freed = ps_cache_slot(cache, slot);
    freed->key = freed->value = NULL;
    freed->deadline = PS_NEVER;
    freed->newer = cache->free;
    cache->free = slot;
}

/* ---- leaving ---- */

/* Puts a slot that is in no queue any more at the end of those that wait to be taken. */
static void put_aside(ps_cache *cache, uint32_t slot, ps_cause cause)
{
    ps_slot *gone = ps_cache_slot(cache, slot);
    ps_index_remove(&cache->index, gone->hash, slot);
    cache->weight -= weight_of(cache, slot);
    cache->removals[cause]++;
    gone->deadline = PS_NEVER;
    gone->mark = cause;
    gone->newer = PS_NO_SLOT;
    if (cache->removed == PS_NO_SLOT)
        cache->removed = slot;
    else
        ps_cache_slot(cache, cache->removed_last)->newer = slot;
    cache->removed_last = slot;
}

void ps_cache_remove(ps_cache *cache, uint32_t slot, ps_cause cause)
{
    ps_eviction_remove(&cache->eviction, slot);
    put_aside(cache, slot, cause);
}

bool ps_cache_take_removed(ps_cache *cache, ps_removal *removal)
{
    uint32_t slot = cache->removed;
    if (slot == PS_NO_SLOT) return false;
    const ps_slot *gone = ps_cache_slot(cache, slot);
    *removal = (ps_removal){gone->key, gone->value, (ps_cause)gone->mark};
    cache->removed = gone->newer;
    give_back_slot(cache, slot);
    return true;
}

void ps_cache_clear(ps_cache *cache)
{
    uint32_t slot;
    while ((slot = ps_eviction_first(&cache->eviction)) != PS_NO_SLOT)
        ps_cache_remove(cache, slot, PS_CLEARED);
    ps_eviction_forget(&cache->eviction);
}

static bool expire_slot(ps_cache *cache, uint32_t slot, int64_t now)
{
    if (!ps_cache_expired(cache, slot, now)) return false;
    ps_cache_remove(cache, slot, PS_EXPIRED);
    return true;
}

uint32_t ps_cache_expire(ps_cache *cache, int64_t now)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < cache->used; slot++) count += expire_slot(cache, slot, now);
    return count;
}

/* Goes round all slots, a few at each store: what has expired makes room before what has not. */
static void sweep(ps_cache *cache, int64_t now)
{
    for (unsigned i = 0; i < SWEPT_A_STORE && cache->used > 0; i++) {
        if (cache->swept >= cache->used) cache->swept = 0;
        expire_slot(cache, cache->swept++, now);
    }
}

/* Evicts until there is room for so many entries and so much weight more. */
static void make_room(ps_cache *cache, uint32_t entries, int64_t weight, int64_t now)
{
    while (ps_cache_size(cache) > 0 &&
           (ps_cache_size(cache) > cache->limit - entries ||
            (cache->eviction.weighs && cache->weight > cache->max_weight - weight))) {
        uint32_t slot = ps_eviction_victim(&cache->eviction, cache->eviction.weighs ? weight : entries);
        put_aside(cache, slot, ps_cache_expired(cache, slot, now) ? PS_EXPIRED : PS_SIZE);
    }
}

/* ---- coming and changing ---- */

int64_t ps_cache_at_most(const ps_cache *cache, uint32_t slot)
{
    return cache->has_extras ? extra(cache, slot)->at_most : ps_cache_slot(cache, slot)->deadline;
}

void ps_cache_expire_at(ps_cache *cache, uint32_t slot, int64_t deadline, int64_t at_most)
{
    ps_cache_slot(cache, slot)->deadline = deadline;
    if (cache->has_extras) extra(cache, slot)->at_most = at_most;
}

ps_status ps_cache_add(ps_cache *cache, uint32_t hash, void *key, void *value, int64_t weight,
                       int64_t deadline, int64_t at_most, int64_t now)
{
    if (!has_room(cache) && grow(cache) != PS_OK) return PS_NO_MEMORY;
    if (now != PS_NEVER) sweep(cache, now);
    ps_eviction_arrive(&cache->eviction, hash);
    make_room(cache, 1, weight, now);

    uint32_t slot = take_free_slot(cache);
    ps_slot *added = ps_cache_slot(cache, slot);
    added->key = key;
    added->value = value;
    added->hash = hash;
    ps_cache_expire_at(cache, slot, deadline, at_most);
    if (cache->eviction.weighs) extra(cache, slot)->weight = weight;
    cache->weight += weight_of(cache, slot);
    ps_index_add(&cache->index, hash, slot);
    ps_eviction_add(&cache->eviction, slot);
    return PS_OK;
}

void ps_cache_reweigh(ps_cache *cache, uint32_t slot, int64_t weight, int64_t now)
{
    cache->weight += weight - weight_of(cache, slot);
    ps_eviction_reweigh(&cache->eviction, slot, weight);
    make_room(cache, 0, 0, now);
}

/* ---- another size ---- */

void ps_cache_resize(ps_cache *cache, uint32_t limit, int64_t max_weight, int64_t now)
{
    cache->limit = limit;
    cache->max_weight = max_weight;
    ps_eviction_resize(&cache->eviction, cache->eviction.weighs ? max_weight : limit);
    make_room(cache, 0, 0, now);
}

/* Moves entries from the slots beyond the first `count` into free ones among them. */
static void pack(ps_cache *cache, uint32_t count)
{
    uint32_t to = 0;
    for (uint32_t from = count; from < cache->used; from++) {
        ps_slot *moved = ps_cache_slot(cache, from);
        if (moved->key == NULL) continue;
        while (ps_cache_slot(cache, to)->key != NULL) to++;
        *ps_cache_slot(cache, to) = *moved;
        if (cache->has_extras) *extra(cache, to) = *extra(cache, from);
        ps_index_renumber(&cache->index, moved->hash, from, to);
        ps_eviction_relocate(&cache->eviction, from, to);
    }
    cache->used = cache->used < count ? cache->used : count;
}

static void relist_free_slots(ps_cache *cache)
{
    cache->free = PS_NO_SLOT;
    for (uint32_t slot = cache->used; slot-- > 0;)
        if (ps_cache_slot(cache, slot)->key == NULL) give_back_slot(cache, slot);
}

ps_status ps_cache_shrink(ps_cache *cache)
{
    uint32_t capacity = ps_cache_size(cache) + 1;
    if (capacity >= cache->capacity) return PS_OK;
    uint32_t room = capacity < cache->room ? capacity : cache->room; /* no more than the policy has, too */
    if (resize_index(cache, room) != PS_OK) return PS_NO_MEMORY;
    pack(cache, capacity);
    relist_free_slots(cache);
    cache->capacity = capacity; /* even if only one of the arrays, or none, becomes shorter */
    return resize_slots(cache, capacity);
}

/* ---- what tests ask ---- */

size_t ps_cache_bytes(const ps_cache *cache)
{
    size_t extras = cache->has_extras ? cache->capacity * sizeof(ps_slot_extra) : 0;
    return cache->capacity * sizeof(ps_slot) + extras + ps_index_bytes(&cache->index) +
           ps_eviction_bytes(&cache->eviction);
}

static bool is_indexed(const ps_cache *cache, uint32_t slot)
{
    uint32_t hash = ps_cache_slot(cache, slot)->hash, found;
    ps_index_search search = ps_cache_begin(cache, hash);
    while ((found = ps_cache_next(cache, hash, &search)) != slot && found != PS_NO_SLOT) continue;
    return found == slot;
}

static bool entries_hold(const ps_cache *cache)
{
    int64_t weight = 0;
    uint32_t count = 0;
    uint32_t slot = ps_eviction_first(&cache->eviction);
    for (; slot != PS_NO_SLOT; slot = ps_eviction_after(&cache->eviction, slot), count++) {
        if (slot >= cache->used || !is_indexed(cache, slot)) return false;
        weight += weight_of(cache, slot);
    }
    return weight == cache->weight && count == ps_cache_size(cache);
}

/* The length of a list of slots that hold no entry; more than there are slots if it has no end. */
static uint32_t length(const ps_cache *cache, uint32_t slot, bool with_key)
{
    uint32_t count = 0;
    for (; slot != PS_NO_SLOT && count <= cache->used; slot = ps_cache_slot(cache, slot)->newer, count++)
        if (slot >= cache->used || (ps_cache_slot(cache, slot)->key != NULL) != with_key)
            return UINT32_MAX / 2;
    return count;
}

bool ps_cache_check(const ps_cache *cache)
{
    uint32_t apart = length(cache, cache->free, false) + length(cache, cache->removed, true);
    return ps_eviction_check(&cache->eviction) && ps_index_check(&cache->index) && entries_hold(cache) &&
           ps_cache_size(cache) <= cache->limit && cache->used <= cache->capacity &&
           cache->index.size == ps_cache_size(cache) && apart == cache->used - ps_cache_size(cache) &&
           (!cache->eviction.weighs || cache->weight <= cache->max_weight);
}
