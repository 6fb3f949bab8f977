#include "lru_ttl.h"

#include <string.h>

#define FIRST_CAPACITY 8

/* Ints hash to themselves: the upper half is folded in, then the multiplication spreads every bit to
 * the top, where the position is taken from (Fibonacci hashing, Knuth, TAOCP vol. 3, 6.4). */
static uint32_t home(const ps_lru *lru, uint64_t hash)
{
    uint64_t mixed = (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> (64 - lru->index_bits));
}

static uint32_t mask(const ps_lru *lru) { return (UINT32_C(1) << lru->index_bits) - 1; }

void ps_lru_init(ps_lru *lru, uint32_t limit, ps_allocator allocator)
{
    *lru = (ps_lru){
        .limit = limit,
        .newest = PS_LRU_NONE,
        .oldest = PS_LRU_NONE,
        .free = PS_LRU_NONE,
        .allocator = allocator,
    };
}

void ps_lru_free(ps_lru *lru)
{
    lru->allocator.release(lru->slots);
    lru->allocator.release(lru->index);
}

/* The first slot with `hash` from position `at` on. */
static uint32_t probe(const ps_lru *lru, uint64_t hash, uint32_t *at)
{
    uint32_t slot;
    while ((slot = lru->index[*at]) != PS_LRU_NONE && lru->slots[slot].hash != hash)
        *at = (*at + 1) & mask(lru);
    return slot;
}

uint32_t ps_lru_first(const ps_lru *lru, uint64_t hash, uint32_t *at)
{
    if (lru->size == 0) return PS_LRU_NONE;
    *at = home(lru, hash);
    return probe(lru, hash, at);
}

uint32_t ps_lru_next(const ps_lru *lru, uint64_t hash, uint32_t *at)
{
    *at = (*at + 1) & mask(lru);
    return probe(lru, hash, at);
}

/* ---- the list from oldest to newest ---- */

static void link_newest(ps_lru *lru, uint32_t slot)
{
    lru->slots[slot].newer = PS_LRU_NONE;
    lru->slots[slot].older = lru->newest;
    if (lru->newest != PS_LRU_NONE) lru->slots[lru->newest].newer = slot;
    else lru->oldest = slot;
    lru->newest = slot;
}

static void unlink_slot(ps_lru *lru, uint32_t slot)
{
    uint32_t newer = lru->slots[slot].newer, older = lru->slots[slot].older;
    if (newer != PS_LRU_NONE) lru->slots[newer].older = older;
    else lru->newest = older;
    if (older != PS_LRU_NONE) lru->slots[older].newer = newer;
    else lru->oldest = newer;
}

void ps_lru_touch(ps_lru *lru, uint32_t slot)
{
    if (slot == lru->newest) return;
    unlink_slot(lru, slot);
    link_newest(lru, slot);
}

/* ---- the index ---- */

static void index_slot(ps_lru *lru, uint32_t slot)
{
    uint32_t at = home(lru, lru->slots[slot].hash);
    while (lru->index[at] != PS_LRU_NONE) at = (at + 1) & mask(lru);
    lru->index[at] = slot;
}

/* Moves whoever probed past the gap into it, until the run ends, so that every run stays unbroken. */
static void unindex_slot(ps_lru *lru, uint32_t slot)
{
    uint32_t gap = home(lru, lru->slots[slot].hash);
    while (lru->index[gap] != slot) gap = (gap + 1) & mask(lru);

    uint32_t at = gap, next;
    while ((next = lru->index[at = (at + 1) & mask(lru)]) != PS_LRU_NONE) {
        uint32_t probed = (at - home(lru, lru->slots[next].hash)) & mask(lru);
        if (probed < ((at - gap) & mask(lru))) continue; /* its home lies behind the gap */
        lru->index[gap] = next;
        gap = at;
    }
    lru->index[gap] = PS_LRU_NONE;
}

/* ---- growth ---- */

static unsigned bits_for(uint32_t capacity)
{
    unsigned bits = 1;
    while ((UINT64_C(1) << bits) < UINT64_C(2) * capacity) bits++;
    return bits;
}

static size_t index_bytes(unsigned bits) { return sizeof(uint32_t) << bits; }

static void rebuild_index(ps_lru *lru, uint32_t *index, unsigned bits)
{
    lru->allocator.release(lru->index);
    lru->index = index;
    lru->index_bits = bits;
    memset(index, 0xff, index_bytes(bits)); /* PS_LRU_NONE everywhere */
    for (uint32_t slot = lru->oldest; slot != PS_LRU_NONE; slot = lru->slots[slot].newer)
        index_slot(lru, slot);
}

/* Called when all slots are handed out and the limit is not reached. */
static ps_status grow(ps_lru *lru)
{
    uint32_t wanted = lru->capacity ? lru->capacity * 2 : FIRST_CAPACITY;
    uint32_t capacity = wanted < lru->limit ? wanted : lru->limit;
    unsigned bits = bits_for(capacity);

    uint32_t *index = lru->allocator.resize(NULL, index_bytes(bits));
    if (index == NULL) return PS_NO_MEMORY;
    ps_lru_slot *slots = lru->allocator.resize(lru->slots, capacity * sizeof *slots);
    if (slots == NULL) {
        lru->allocator.release(index);
        return PS_NO_MEMORY;
    }
    lru->slots = slots;
    lru->capacity = capacity;
    rebuild_index(lru, index, bits);
    return PS_OK;
}

/* ---- handing out and taking back ---- */

static uint32_t take_free_slot(ps_lru *lru)
{
    uint32_t slot = lru->free;
    if (slot == PS_LRU_NONE) return lru->used++;
    lru->free = lru->slots[slot].newer;
    return slot;
}

ps_status ps_lru_add(ps_lru *lru, uint64_t hash, int64_t deadline, uint32_t *slot)
{
    if (lru->size == lru->limit) return PS_REFUSED;
    if (lru->size == lru->capacity && grow(lru) != PS_OK) return PS_NO_MEMORY;
    uint32_t taken = take_free_slot(lru);
    lru->slots[taken].hash = hash;
    lru->slots[taken].deadline = deadline;
    index_slot(lru, taken);
    link_newest(lru, taken);
    lru->size++;
    *slot = taken;
    return PS_OK;
}

void ps_lru_remove(ps_lru *lru, uint32_t slot)
{
    unindex_slot(lru, slot);
    unlink_slot(lru, slot);
    lru->slots[slot].newer = lru->free;
    lru->free = slot;
    lru->size--;
}

/* ---- what tests ask ---- */

size_t ps_lru_bytes(const ps_lru *lru)
{
    return lru->capacity * sizeof *lru->slots + (lru->index ? index_bytes(lru->index_bits) : 0);
}

static bool is_indexed(const ps_lru *lru, uint32_t slot)
{
    uint32_t at;
    uint64_t hash = lru->slots[slot].hash;
    uint32_t found = ps_lru_first(lru, hash, &at);
    while (found != slot && found != PS_LRU_NONE) found = ps_lru_next(lru, hash, &at);
    return found == slot;
}

static uint64_t count_indexed(const ps_lru *lru)
{
    uint64_t count = 0;
    for (uint32_t at = 0; lru->index != NULL && at <= mask(lru); at++) count += lru->index[at] != PS_LRU_NONE;
    return count;
}

static bool list_holds(const ps_lru *lru)
{
    uint32_t count = 0, older = PS_LRU_NONE, slot = lru->oldest;
    for (; slot != PS_LRU_NONE && count < lru->size; older = slot, slot = lru->slots[slot].newer, count++) {
        if (slot >= lru->used || lru->slots[slot].older != older || !is_indexed(lru, slot)) return false;
    }
    return slot == PS_LRU_NONE && older == lru->newest && count == lru->size;
}

static bool free_list_holds(const ps_lru *lru)
{
    uint32_t count = 0, spare = lru->used - lru->size, slot = lru->free;
    for (; slot != PS_LRU_NONE && count < spare; slot = lru->slots[slot].newer, count++) {
        if (slot >= lru->used) return false;
    }
    return slot == PS_LRU_NONE && count == spare;
}

bool ps_lru_check(const ps_lru *lru)
{
    return lru->size <= lru->used && lru->used <= lru->capacity && lru->capacity <= lru->limit
        && (lru->index == NULL) == (lru->capacity == 0)
        && (lru->index == NULL || UINT64_C(1) << lru->index_bits >= UINT64_C(2) * lru->capacity)
        && list_holds(lru) && free_list_holds(lru) && count_indexed(lru) == lru->size;
}
