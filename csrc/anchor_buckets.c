#include "anchor_buckets.h"

#include "mix.h"

#define FREE UINT32_MAX

ps_status ps_anchor_init(ps_anchor *anchor, uint32_t capacity, uint32_t first, ps_allocator allocator)
{
    *anchor = (ps_anchor){
        .buckets = allocator.resize(NULL, capacity * sizeof *anchor->buckets),
        .slots = allocator.resize(NULL, capacity * sizeof *anchor->slots),
        .slot_of = allocator.resize(NULL, capacity * sizeof *anchor->slot_of),
        .capacity = capacity,
        .working = first,
        .allocator = allocator,
    };
    if (!anchor->buckets || !anchor->slots || !anchor->slot_of) {
        ps_anchor_free(anchor);
        return PS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < capacity; i++) {
        anchor->buckets[i] = (ps_anchor_bucket){i < first ? 0 : i, i};
        anchor->slots[i] = anchor->slot_of[i] = i;
    }
    return PS_OK;
}

void ps_anchor_free(ps_anchor *anchor)
{
    anchor->allocator.release(anchor->buckets);
    anchor->allocator.release(anchor->slots);
    anchor->allocator.release(anchor->slot_of);
    anchor->buckets = NULL;
}

static bool works(const ps_anchor *anchor, uint32_t bucket)
{
    uint32_t slot = anchor->slot_of[bucket];
    return slot < anchor->working && anchor->slots[slot] == bucket;
}

ps_status ps_anchor_remove(ps_anchor *anchor, uint32_t bucket)
{
    if (bucket >= anchor->capacity || !works(anchor, bucket)) return PS_REFUSED;
    uint32_t left = --anchor->working, last = anchor->slots[left], slot = anchor->slot_of[bucket];
    anchor->buckets[bucket] = (ps_anchor_bucket){left, last};
    anchor->slots[slot] = last;
    anchor->slot_of[last] = slot;
    return PS_OK;
}

uint32_t ps_anchor_locate(const ps_anchor *anchor, uint64_t position)
{
    const ps_anchor_bucket *buckets = anchor->buckets;
    uint32_t bucket = (uint32_t)ps_below(ps_draw64(position, 0), anchor->capacity), left;
    while ((left = buckets[bucket].left) > 0) {
        uint32_t asked = (uint32_t)ps_below(ps_draw64(position, (uint64_t)bucket + 1), left);
        /* what was in slot `asked` then: bucket `asked` at first, and whenever the one in it was removed, up
         * to that time, its successor */
        while (buckets[asked].left >= left) asked = buckets[asked].successor;
        bucket = asked;
    }
    return bucket;
}

size_t ps_anchor_scratch(uint32_t n)
{
    size_t size = 4;
    while (size < 2 * (size_t)n) size *= 2;
    return size;
}

/* The entry of a slot, or the free one for it, in a table that is at most half full. */
static ps_anchor_change *entry_of(ps_anchor_change *changes, size_t size, uint32_t slot)
{
    size_t at = ps_mix64(slot) & (size - 1);
    while (changes[at].bucket != FREE && changes[at].slot != slot) at = (at + 1) & (size - 1);
    return &changes[at];
}

void ps_anchor_order(const ps_anchor *anchor, uint64_t position, uint32_t n, ps_anchor_change *scratch,
                     uint32_t *order)
{
    if (n == 0) return;
    size_t size = ps_anchor_scratch(n);
    for (size_t i = 0; i < size; i++) scratch[i].bucket = FREE;
    uint32_t left = anchor->working, bucket = ps_anchor_locate(anchor, position);
    uint32_t slot = anchor->slot_of[bucket];
    order[0] = bucket;
    for (uint32_t i = 1; i < n; i++) { /* as if order[i - 1] were removed from its slot */
        left--;
        uint32_t last = entry_of(scratch, size, left)->bucket;
        *entry_of(scratch, size, slot) = (ps_anchor_change){slot, last == FREE ? anchor->slots[left] : last};
        slot = (uint32_t)ps_below(ps_draw64(position, (uint64_t)bucket + 1), left);
        bucket = entry_of(scratch, size, slot)->bucket;
        if (bucket == FREE) bucket = anchor->slots[slot];
        order[i] = bucket;
    }
}

bool ps_anchor_check(const ps_anchor *anchor)
{
    uint32_t working = 0;
    for (uint32_t bucket = 0; bucket < anchor->capacity; bucket++) {
        const ps_anchor_bucket *b = &anchor->buckets[bucket];
        if (works(anchor, bucket)) {
            working++;
            if (b->left != 0 || b->successor != bucket) return false;
        } else if (b->left < anchor->working || b->left >= anchor->capacity
                   || b->successor >= anchor->capacity) {
            return false;
        }
    }
    return working == anchor->working;
}
