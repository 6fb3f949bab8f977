/* AnchorHash under any removals: keys that must stay stay, and preference is failing over. */
#include "anchor_buckets.h"
#include "fuzz.h"
#include "mix.h"

#define MOST 32 /* buckets */
#define KEYS 8
#define SCRATCH (2 * MOST)

typedef struct {
    uint32_t capacity;
    uint32_t removed[MOST]; /* from the first on, also those that never worked */
    uint32_t size;
} history;

static uint64_t positions[KEYS];
static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};

/* The definition: the key goes on from a bucket when that is removed, with the slots of that time. */
static uint32_t located(const history *past, uint64_t position)
{
    uint32_t slots[MOST], left = past->capacity;
    uint32_t bucket = (uint32_t)ps_below(ps_draw64(position, 0), left);
    for (uint32_t i = 0; i < left; i++) slots[i] = i;
    for (uint32_t i = 0; i < past->size; i++) {
        uint32_t gone = past->removed[i], slot = 0;
        while (slots[slot] != gone) slot++;
        slots[slot] = slots[--left];
        if (bucket == gone) bucket = slots[ps_below(ps_draw64(position, (uint64_t)gone + 1), left)];
    }
    return bucket;
}

static void require_located(const ps_anchor *anchor, const history *past, uint32_t *found)
{
    for (size_t i = 0; i < KEYS; i++) {
        found[i] = ps_anchor_locate(anchor, positions[i]);
        FUZZ_REQUIRE(found[i] == located(past, positions[i]));
        FUZZ_REQUIRE(found[i] < anchor->capacity && anchor->buckets[found[i]].left == 0);
    }
}

/* The keys of a bucket that is removed move, and no others. */
static void remove_one(ps_anchor *anchor, history *past, uint32_t bucket)
{
    uint32_t before[KEYS], after[KEYS];
    bool works = bucket < past->capacity;
    for (uint32_t i = 0; i < past->size; i++) works &= past->removed[i] != bucket;
    if (works) require_located(anchor, past, before);
    FUZZ_REQUIRE(ps_anchor_remove(anchor, bucket) == (works ? PS_OK : PS_REFUSED));
    FUZZ_REQUIRE(ps_anchor_check(anchor));
    if (works) past->removed[past->size++] = bucket;
    if (!works || anchor->working == 0) return;
    require_located(anchor, past, after);
    for (size_t i = 0; i < KEYS; i++) FUZZ_REQUIRE((before[i] == bucket) == (after[i] != before[i]));
}

/* The order of preference is what is found when each choice in turn is really removed. */
static void require_order(const ps_anchor *anchor, const history *past, uint64_t position, uint32_t n)
{
    uint32_t order[MOST];
    ps_anchor_change scratch[SCRATCH];
    history later = *past;
    FUZZ_REQUIRE(ps_anchor_scratch(n) <= SCRATCH);
    ps_anchor_order(anchor, position, n, scratch, order);
    for (uint32_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(order[i] == located(&later, position));
        later.removed[later.size++] = order[i];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    ps_anchor anchor;
    history past = {.capacity = (uint32_t)fuzz_between(&input, 1, fuzz_take(&input, 1) % 4 ? MOST : 3)};
    uint32_t first = (uint32_t)fuzz_between(&input, 0, past.capacity);
    for (uint32_t bucket = past.capacity; bucket-- > first;) past.removed[past.size++] = bucket;
    for (size_t i = 0; i < KEYS; i++) positions[i] = fuzz_take(&input, 8);

    allocations_left = fuzz_take(&input, 1) % 16 == 0 ? fuzz_take(&input, 1) % 3 : UINT64_MAX;
    if (ps_anchor_init(&anchor, past.capacity, first, ALLOCATOR) != PS_OK) {
        FUZZ_REQUIRE(allocations_left == 0 && anchor.buckets == NULL);
        return 0;
    }
    while (input.left > 0 && anchor.working > 0) {
        uint32_t most = fuzz_take(&input, 1) % 8 == 0 || anchor.working < 8 ? anchor.working : 8;
        require_order(&anchor, &past, fuzz_take(&input, 8), (uint32_t)fuzz_between(&input, 0, most));
        remove_one(&anchor, &past, (uint32_t)fuzz_between(&input, 0, MOST));
    }
    ps_anchor_free(&anchor); /* what is not given back, the sanitizer reports */
    return 0;
}
