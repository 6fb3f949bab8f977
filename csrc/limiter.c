#include "limiter.h"

#include <string.h>

#define LEAST_CAPACITY 16

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

void ps_limiter_init(ps_limiter *table, const ps_quotas *quotas, uint32_t limit, uint64_t seed,
                     ps_allocator allocator)
{
    *table = (ps_limiter){
        .quotas = *quotas,
        .stride = sizeof(ps_limiter_slot) + ps_quotas_bytes(quotas),
        .limit = limit,
        .seed = seed,
        .allocator = allocator,
    };
}

static bool owns_memory(const ps_limiter *table) { return table->quotas.algorithm == PS_SLIDING_WINDOW; }

static void clear_state(ps_limiter *table, ps_limiter_slot *slot)
{
    if (owns_memory(table)) ps_quotas_clear(&table->quotas, ps_limiter_state(slot), table->allocator);
}

void ps_limiter_free(ps_limiter *table)
{
    for (uint32_t at = 0; owns_memory(table) && at < table->capacity; at++)
        if (ps_limiter_slot_at(table, at)->key != NULL) clear_state(table, ps_limiter_slot_at(table, at));
    table->allocator.release(table->slots);
}

/* ---- capacity ---- */

/* The capacity that `limit` keys fill to 4/5; one slot at least stays empty, where every search ends. */
static uint32_t full_capacity(const ps_limiter *table) { return table->limit + table->limit / 4 + 1; }

static bool has_room_for(uint32_t capacity, uint32_t size)
{
    return size < capacity && size <= (uint64_t)capacity * 4 / 5 + 1;
}

/* The least of the full capacity, its half, its quarter ... that holds `size` keys. */
static uint32_t capacity_for(const ps_limiter *table, uint32_t size)
{
    uint32_t capacity = full_capacity(table);
    while (capacity / 2 >= LEAST_CAPACITY && has_room_for(capacity / 2, size)) capacity /= 2;
    return capacity;
}

static ps_limiter_slot *empty_slot_for(const ps_limiter *table, uint64_t hash)
{
    ps_limiter_slot *slot = ps_limiter_slot_at(table, ps_limiter_home(table, hash));
    while (slot->key != NULL) slot = ps_limiter_beyond(table, slot);
    return slot;
}

static ps_status resize(ps_limiter *table, uint32_t capacity)
{
    ps_limiter before = *table;
    size_t bytes = capacity * table->stride;
    char *slots = table->allocator.resize(NULL, bytes);
    if (slots == NULL) return PS_NO_MEMORY;
    memset(slots, 0, bytes);
    table->slots = slots;
    table->capacity = capacity;
    table->hand = 0;
    for (uint32_t at = 0; at < before.capacity; at++) {
        const ps_limiter_slot *slot = ps_limiter_slot_at(&before, at);
        if (slot->key != NULL) memcpy(empty_slot_for(table, slot->hash), slot, table->stride);
    }
    table->allocator.release(before.slots);
    return PS_OK;
}

void ps_limiter_fit(ps_limiter *table)
{
    uint32_t capacity = capacity_for(table, table->size);
    if (table->size == 0) {
        table->allocator.release(table->slots);
        table->slots = NULL;
        table->capacity = table->hand = 0;
    } else if (capacity < table->capacity) {
        (void)resize(table, capacity); /* when it fails the table stays as it is, which is no error */
    }
}

/* ---- keys ---- */

ps_status ps_limiter_add(ps_limiter *table, uint64_t hash, void *key, ps_limiter_slot **slot)
{
    if (table->size == table->limit) return PS_REFUSED;
    if (!has_room_for(table->capacity, table->size + 1)
        && resize(table, capacity_for(table, table->size + 1)) != PS_OK)
        return PS_NO_MEMORY;
    ps_limiter_slot *added = empty_slot_for(table, hash);
    memset(added, 0, table->stride);
    added->hash = hash;
    added->key = key;
    table->size++;
    *slot = added;
    return PS_OK;
}

static uint32_t position(const ps_limiter *table, const ps_limiter_slot *slot)
{
    return (uint32_t)((size_t)((const char *)slot - table->slots) / table->stride);
}

/* How many slots `to` lies behind `from`, going round. */
static uint32_t distance(const ps_limiter *table, uint32_t from, uint32_t to)
{
    return to >= from ? to - from : to + table->capacity - from;
}

/* Moves whoever probed past the gap into it, until the run ends, so that every run stays unbroken. */
void ps_limiter_remove(ps_limiter *table, ps_limiter_slot *slot)
{
    clear_state(table, slot);
    ps_limiter_slot *gap = slot, *next = slot;
    while ((next = ps_limiter_beyond(table, next))->key != NULL) {
        uint32_t at = position(table, next);
        uint32_t probed = distance(table, ps_limiter_home(table, next->hash), at);
        if (probed < distance(table, position(table, gap), at)) continue; /* its home lies behind the gap */
        memcpy(gap, next, table->stride);
        gap = next;
    }
    memset(gap, 0, table->stride);
    table->size--;
}

/* ---- the hand ---- */

static uint32_t next_position(const ps_limiter *table, uint32_t at)
{
    return at + 1 == table->capacity ? 0 : at + 1;
}

static uint32_t looks(const ps_limiter *table) { return least(PS_LIMITER_LOOKS, table->capacity); }

uint32_t ps_limiter_sweep(ps_limiter *table, int64_t now, uint32_t steps, void **removed)
{
    uint32_t count = 0;
    for (uint32_t step = 0; step < steps && table->size > 0; step++) {
        ps_limiter_slot *slot = ps_limiter_slot_at(table, table->hand);
        if (slot->key != NULL && ps_quotas_idle(&table->quotas, ps_limiter_state(slot), now)) {
            removed[count++] = slot->key;
            ps_limiter_remove(table, slot); /* another may have moved here: the hand stays */
        } else {
            table->hand = next_position(table, table->hand);
        }
    }
    return count;
}

/* Where the slots begin that the hand has passed last. */
static uint32_t behind_hand(const ps_limiter *table)
{
    return (table->hand + table->capacity - looks(table)) % table->capacity;
}

int64_t ps_limiter_soonest(const ps_limiter *table, int64_t now)
{
    int64_t soonest = INT64_MAX;
    uint32_t at = behind_hand(table);
    for (uint32_t look = looks(table); look > 0; look--) {
        ps_limiter_slot *slot = ps_limiter_slot_at(table, at);
        at = next_position(table, at);
        if (slot->key == NULL) continue;
        int64_t idle_in = ps_quotas_reset(&table->quotas, ps_limiter_state(slot), now);
        if (idle_in < soonest) soonest = idle_in;
    }
    return soonest;
}

void *ps_limiter_evict(ps_limiter *table, int64_t now, int64_t *soonest)
{
    ps_limiter_slot *found = NULL;
    int64_t idle_first = INT64_MAX;
    uint32_t at = behind_hand(table);
    *soonest = INT64_MAX;
    for (uint32_t look = looks(table); look > 0; look--) {
        ps_limiter_slot *slot = ps_limiter_slot_at(table, at);
        at = next_position(table, at);
        if (slot->key == NULL) continue;
        int64_t limited_for = ps_quotas_wait(&table->quotas, ps_limiter_state(slot), now, 1);
        if (limited_for > 0) {
            if (limited_for < *soonest) *soonest = limited_for;
            continue;
        }
        int64_t idle_in = ps_quotas_reset(&table->quotas, ps_limiter_state(slot), now);
        if (idle_in < idle_first) {
            idle_first = idle_in;
            found = slot;
        }
    }
    if (found == NULL) return NULL;
    void *key = found->key;
    ps_limiter_remove(table, found);
    return key;
}

/* ---- what tests ask ---- */

size_t ps_limiter_bytes(const ps_limiter *table)
{
    size_t bytes = table->capacity * table->stride;
    for (uint32_t at = 0; owns_memory(table) && at < table->capacity; at++) {
        ps_limiter_slot *slot = ps_limiter_slot_at(table, at);
        if (slot->key != NULL) bytes += ps_quotas_owned(&table->quotas, ps_limiter_state(slot));
    }
    return bytes;
}

static bool is_reached(const ps_limiter *table, const ps_limiter_slot *slot)
{
    const ps_limiter_slot *found = ps_limiter_first(table, slot->hash);
    while (found != NULL && found != slot)
        found = ps_limiter_next(table, slot->hash, (ps_limiter_slot *)found);
    return found == slot;
}

bool ps_limiter_check(const ps_limiter *table)
{
    uint32_t keys = 0;
    for (uint32_t at = 0; at < table->capacity; at++) {
        ps_limiter_slot *slot = ps_limiter_slot_at(table, at);
        if (slot->key == NULL) continue;
        keys++;
        if (!is_reached(table, slot) || !ps_quotas_check(&table->quotas, ps_limiter_state(slot))) return false;
    }
    return keys == table->size && table->size <= table->limit && (table->slots == NULL) == (table->capacity == 0)
        && table->capacity <= full_capacity(table) && (table->capacity == 0 || table->size < table->capacity)
        && (table->capacity == 0 ? table->hand == 0 : table->hand < table->capacity);
}
