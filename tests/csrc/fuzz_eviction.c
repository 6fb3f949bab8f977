/* Every policy against entries in one plain array, with and without weights, and an allocator that fails.
 *
 * The entries of the model stand in the order in which they came to their queue, all queues in one array. The
 * sketch of W-TinyLFU is the kernel's own; it has a target of its own. */
#include "eviction.h"
#include "fuzz.h"

#include <math.h>

#define MOST 40 /* entries; there are as many slots, and one for who is moved */
#define MOST_GHOSTS (2 * MOST)

enum { SMALL, MAIN };                  /* S3-FIFO */
enum { PROBATION, PROTECTED, WINDOW }; /* W-TinyLFU */

typedef struct {
    uint32_t slot, hash;
    int64_t weight;
    unsigned queue;
    uint64_t uses; /* since it was stored; those that still count, for S3-FIFO and SIEVE */
} entry;

typedef struct {
    uint32_t hash;
    int64_t weight;
} ghost;

typedef struct {
    ps_policy policy;
    bool weighs;
    int64_t capacity;
    uint32_t room; /* entries for which memory was reserved */
    entry entries[MOST];
    uint32_t size;
    uint32_t hand; /* SIEVE; a slot, or none: at the oldest */
    ghost ghosts[MOST_GHOSTS + 1]; /* S3-FIFO, oldest first */
    uint32_t ghost_count;
    bool has_evicted, returns;
    ps_sketch sketch; /* W-TinyLFU */
    int64_t window_target;
    uint64_t hits, requests;
    double last_ratio, step;
} model;

typedef struct {
    ps_eviction eviction;
    ps_slot slots[MOST + 1];
    ps_slot_extra extras[MOST + 1];
    model expected;
} pair;

static uint64_t allocations_left;

static void *resize_memory(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator FAILING = {resize_memory, free};
static const ps_allocator WORKING = {realloc, free};

/* ---- the array ---- */

static entry *oldest_of(model *m, unsigned queue)
{
    for (uint32_t i = 0; i < m->size; i++)
        if (m->entries[i].queue == queue) return &m->entries[i];
    return NULL;
}

static int64_t weight_of(const model *m, unsigned queue)
{
    int64_t weight = 0;
    for (uint32_t i = 0; i < m->size; i++)
        if (m->entries[i].queue == queue) weight += m->entries[i].weight;
    return weight;
}

static int64_t total_of(const model *m) { return weight_of(m, 0) + weight_of(m, 1) + weight_of(m, 2); }

static entry take_out(model *m, entry *where)
{
    entry taken = *where;
    m->size--;
    memmove(where, where + 1, (size_t)(&m->entries[m->size] - where) * sizeof taken);
    return taken;
}

/* What is behind it moves up: pointers to entries end here. */
static entry *move(model *m, entry *where, unsigned queue)
{
    entry moved = take_out(m, where);
    moved.queue = queue;
    m->entries[m->size] = moved;
    return &m->entries[m->size++];
}

/* ---- S3-FIFO ---- */

static int64_t at_least_1(int64_t n) { return n > 1 ? n : 1; }

static void take_out_ghost(model *m, uint32_t i)
{
    m->ghost_count--;
    memmove(&m->ghosts[i], &m->ghosts[i + 1], (m->ghost_count - i) * sizeof(ghost));
}

static bool take_ghost(model *m, uint32_t hash)
{
    uint32_t i = 0;
    while (i < m->ghost_count && m->ghosts[i].hash != hash) i++;
    if (i == m->ghost_count) return false;
    take_out_ghost(m, i);
    return true;
}

static bool is_haunted(const model *m)
{
    __int128 weight = 0;
    for (uint32_t i = 0; i < m->ghost_count; i++) weight += m->ghosts[i].weight;
    return m->ghost_count > 2 * m->size || weight > (__int128)m->capacity * 9 / 10;
}

static void bound_ghosts(model *m)
{
    while (is_haunted(m)) take_out_ghost(m, 0);
}

/* While its entry is still there. */
static void remember_ghost(model *m, const entry *gone)
{
    take_ghost(m, gone->hash);
    m->ghosts[m->ghost_count++] = (ghost){gone->hash, gone->weight};
    bound_ghosts(m);
}

static entry *next_of_s3fifo(model *m)
{
    entry *chosen;
    if (weight_of(m, MAIN) <= m->capacity - at_least_1(m->capacity / 10)) {
        while ((chosen = oldest_of(m, SMALL)) != NULL) {
            if (chosen->uses < 2) return chosen;
            move(m, chosen, MAIN)->uses = 0;
        }
    }
    while ((chosen = oldest_of(m, MAIN))->uses > 0) move(m, chosen, MAIN)->uses--;
    return chosen;
}

static void add_to_s3fifo(model *m, entry *added)
{
    bool fills_up = !m->has_evicted && weight_of(m, SMALL) >= at_least_1(m->capacity / 10);
    added->queue = m->returns || fills_up ? MAIN : SMALL;
    m->returns = false;
}

/* ---- W-TinyLFU ---- */

static void start_climb(model *m)
{
    m->window_target = at_least_1(m->capacity / 100);
    m->step = -(double)m->capacity / 32;
    m->last_ratio = 0;
    m->hits = m->requests = 0;
}

static uint64_t sample_of(const model *m) { return 10 * (m->size > 8 ? m->size : 8); }

static int64_t percent(int64_t n, int share) { return (int64_t)((__int128)n * share / 100); }

static void climb(model *m)
{
    double ratio = (double)m->hits / (double)m->requests, change = ratio - m->last_ratio;
    double amount = change < 0 ? -m->step : m->step;
    double afresh = (double)m->capacity / 32;
    bool by_chance = fabs(change) < sqrt(2 * ratio * (1 - ratio) / (double)m->requests);
    if (fabs(change) < 0.05) m->step = (by_chance ? 0.8 : 0.98) * amount;
    else m->step = signbit(amount) ? -afresh : afresh;
    m->last_ratio = ratio;
    m->hits = m->requests = 0;
    m->window_target += (int64_t)amount;
    int64_t least = at_least_1(m->capacity / 100), most = percent(m->capacity, 80);
    if (m->window_target > most) m->window_target = most;
    if (m->window_target < least) m->window_target = least;
}

static void count(model *m, uint32_t hash)
{
    m->requests++;
    ps_sketch_add(&m->sketch, hash);
    if (m->sketch.additions >= sample_of(m)) ps_sketch_halve(&m->sketch);
    if (m->requests >= sample_of(m)) climb(m);
}

static void flow(model *m, unsigned queue, int64_t target)
{
    for (int i = 0; i < 2; i++)
        if (weight_of(m, queue) > target) move(m, oldest_of(m, queue), PROBATION);
}

static void hit_tinylfu(model *m, entry *found)
{
    m->hits++;
    count(m, found->hash);
    if (found->queue == PROBATION) {
        move(m, found, PROTECTED);
        flow(m, PROTECTED, percent(m->capacity - m->window_target, 85));
    } else {
        move(m, found, found->queue);
    }
}

static entry *next_of_tinylfu(model *m, int64_t weight)
{
    entry *rival = oldest_of(m, PROBATION), *candidate = oldest_of(m, WINDOW);
    if (rival == NULL) rival = oldest_of(m, PROTECTED);
    if (rival == NULL) return candidate;
    if (candidate == NULL || weight_of(m, WINDOW) + weight <= m->window_target) return rival;
    unsigned rivals = ps_sketch_frequency(&m->sketch, rival->hash);
    unsigned candidates = ps_sketch_frequency(&m->sketch, candidate->hash);
    uint32_t rival_slot = rival->slot;
    candidate = move(m, candidate, PROBATION);
    if (candidates <= rivals) return candidate;
    for (rival = m->entries; rival->slot != rival_slot;) rival++;
    return rival;
}

/* ---- SIEVE and LFU ---- */

static entry *next_of_sieve(model *m)
{
    uint32_t at = 0;
    while (m->hand != PS_NO_SLOT && m->entries[at].slot != m->hand) at++;
    for (; m->entries[at].uses > 0; at = (at + 1) % m->size) m->entries[at].uses = 0;
    m->hand = m->entries[at].slot;
    return &m->entries[at];
}

/* The rarest of those that are used more often than `uses` times; the first of equals. */
static entry *rarest_above(model *m, uint64_t uses)
{
    entry *rarest = NULL;
    for (uint32_t i = 0; i < m->size; i++) {
        entry *other = &m->entries[i];
        if (other->uses > uses && (rarest == NULL || other->uses < rarest->uses)) rarest = other;
    }
    return rarest;
}

/* ---- all of them ---- */

static void hit(model *m, entry *found)
{
    switch (m->policy) {
    case PS_LRU: move(m, found, 0); break;
    case PS_FIFO: break;
    case PS_LFU: move(m, found, 0)->uses++; break;
    case PS_SIEVE: found->uses = 1; break;
    case PS_S3FIFO: found->uses += found->uses < 3; break;
    case PS_TINYLFU: hit_tinylfu(m, found); break;
    }
}

static void arrive(model *m, uint32_t hash)
{
    if (m->policy == PS_S3FIFO) m->returns = take_ghost(m, hash);
    if (m->policy == PS_TINYLFU) count(m, hash);
}

static entry *next(model *m, int64_t weight)
{
    switch (m->policy) {
    case PS_LFU: return rarest_above(m, 0);
    case PS_SIEVE: return next_of_sieve(m);
    case PS_S3FIFO: return next_of_s3fifo(m);
    case PS_TINYLFU: return next_of_tinylfu(m, weight);
    default: return &m->entries[0];
    }
}

static void remove_entry(model *m, entry *gone)
{
    entry *newer = gone + 1;
    if (m->hand == gone->slot) m->hand = newer < &m->entries[m->size] ? newer->slot : PS_NO_SLOT;
    take_out(m, gone);
}

static uint32_t evict(model *m, int64_t weight)
{
    entry *gone = next(m, weight);
    uint32_t slot = gone->slot;
    m->has_evicted = true;
    if (m->policy == PS_S3FIFO && gone->queue == SMALL) remember_ghost(m, gone);
    remove_entry(m, gone);
    return slot;
}

static void add(model *m, entry added)
{
    if (m->policy == PS_LFU) added.uses = 1;
    if (m->policy == PS_S3FIFO) add_to_s3fifo(m, &added);
    if (m->policy == PS_TINYLFU) added.queue = WINDOW;
    m->entries[m->size++] = added;
    if (m->policy != PS_TINYLFU) return;
    flow(m, WINDOW, m->window_target);
    ps_sketch_cover(&m->sketch, m->size);
}

static void forget(model *m)
{
    m->hand = PS_NO_SLOT;
    m->ghost_count = 0;
    m->has_evicted = m->returns = false;
    ps_sketch_forget(&m->sketch);
    start_climb(m);
}

static bool has_room(const model *m, int64_t weight)
{
    if (m->size == MOST) return false;
    return m->weighs ? total_of(m) <= m->capacity - weight : m->size < m->capacity;
}

static bool is_over(const model *m) { return m->weighs ? total_of(m) > m->capacity : m->size > m->capacity; }

/* ---- one beside the other ---- */

static uint32_t require_next_in_order(pair *p, uint32_t slot, const entry *wanted)
{
    FUZZ_REQUIRE(slot == wanted->slot && p->slots[slot].hash == wanted->hash);
    uint32_t mark = p->slots[slot].mark;
    if (p->expected.policy == PS_LFU) FUZZ_REQUIRE(p->eviction.of.lfu.groups[mark].frequency == wanted->uses);
    else FUZZ_REQUIRE((mark & PS_MARK_QUEUE) == wanted->queue && PS_MARK_USES(mark) == wanted->uses);
    return ps_eviction_after(&p->eviction, slot);
}

static void require_same_order(pair *p)
{
    model *m = &p->expected;
    uint32_t slot = ps_eviction_first(&p->eviction);
    uint64_t last = 0;
    for (entry *rarest; m->policy == PS_LFU && (rarest = rarest_above(m, last)) != NULL; last = rarest->uses)
        for (uint32_t i = 0; i < m->size; i++)
            if (m->entries[i].uses == rarest->uses) slot = require_next_in_order(p, slot, &m->entries[i]);
    for (unsigned queue = 0; m->policy != PS_LFU && queue < 3; queue++)
        for (uint32_t i = 0; i < m->size; i++)
            if (m->entries[i].queue == queue) slot = require_next_in_order(p, slot, &m->entries[i]);
    FUZZ_REQUIRE(slot == PS_NO_SLOT);
}

static void require_same(pair *p)
{
    const ps_eviction *e = &p->eviction;
    const model *m = &p->expected;
    FUZZ_REQUIRE(ps_eviction_check(e));
    FUZZ_REQUIRE(e->size == m->size && e->capacity == m->capacity);
    require_same_order(p);
    for (unsigned queue = 0; queue < 3; queue++)
        FUZZ_REQUIRE(e->queues[queue].weight == (m->policy == PS_LFU ? 0 : weight_of(m, queue)));
    if (m->policy == PS_SIEVE) FUZZ_REQUIRE(e->hand == m->hand);
    if (m->policy == PS_S3FIFO) FUZZ_REQUIRE(e->of.s3fifo.ghosts.index.size == m->ghost_count);
    if (m->policy != PS_TINYLFU) return;
    const ps_tinylfu *tiny = &e->of.tinylfu;
    FUZZ_REQUIRE(tiny->window_target == m->window_target && tiny->step == m->step);
    FUZZ_REQUIRE(tiny->hits == m->hits && tiny->requests == m->requests);
    FUZZ_REQUIRE(tiny->sketch.additions == m->sketch.additions);
    FUZZ_REQUIRE(tiny->sketch.blocks == m->sketch.blocks || m->room == 0);
}

/* What the cache does with a slot that was taken out: its links and marks are nobody's any more. */
static void reuse(pair *p, uint32_t slot)
{
    memset(&p->slots[slot], 0xA5, sizeof p->slots[slot]);
    memset(&p->extras[slot], 0x5A, sizeof p->extras[slot]);
}

static bool is_used(const model *m, uint32_t slot)
{
    for (uint32_t i = 0; i < m->size; i++)
        if (m->entries[i].slot == slot) return true;
    return false;
}

static uint32_t free_slot(const model *m, fuzz_input *input)
{
    uint32_t slot = (uint32_t)fuzz_take(input, 1) % (MOST + 1);
    while (is_used(m, slot)) slot = (slot + 1) % (MOST + 1);
    return slot;
}

static int64_t some_weight(const model *m, fuzz_input *input)
{
    int64_t parts = (int64_t)fuzz_take(input, 1), part = m->capacity / 16;
    if (!m->weighs) return 1;
    if (parts == 255) return m->capacity;
    return parts == 0 ? 0 : part * (parts % 4) + parts % at_least_1(part);
}

/* Entries for which there can be a use: the capacity bounds them, where they do not weigh. */
static uint32_t most_entries(const model *m)
{
    return m->weighs || m->capacity > MOST ? MOST : (uint32_t)m->capacity;
}

static void reserve(pair *p, fuzz_input *input)
{
    model *m = &p->expected;
    uint32_t wanted = m->size + 1 + (uint32_t)fuzz_take(input, 1) % 8;
    if (wanted > most_entries(m)) wanted = most_entries(m);
    if (wanted < m->room) return;
    allocations_left = fuzz_take(input, 1) % 8;
    size_t before = ps_eviction_bytes(&p->eviction);
    if (ps_eviction_reserve(&p->eviction, wanted) == PS_OK) m->room = wanted;
    else FUZZ_REQUIRE(allocations_left == 0 && ps_eviction_bytes(&p->eviction) == before);
}

static void require_same_victim(pair *p, int64_t weight)
{
    uint32_t wanted = evict(&p->expected, weight);
    FUZZ_REQUIRE(ps_eviction_victim(&p->eviction, weight) == wanted);
    reuse(p, wanted);
}

static void newcomer(pair *p, fuzz_input *input)
{
    model *m = &p->expected;
    uint32_t hash = (uint32_t)fuzz_take(input, 1) % 64 * UINT32_C(0x04000001);
    int64_t weight = some_weight(m, input);
    if (m->size == m->room && m->size < most_entries(m)) reserve(p, input);
    if (m->size == m->room && m->size < most_entries(m)) return; /* no memory */

    ps_eviction_arrive(&p->eviction, hash);
    arrive(m, hash);
    while (!has_room(m, weight)) require_same_victim(p, weight);
    entry added = {.slot = free_slot(m, input), .hash = hash, .weight = weight};
    p->slots[added.slot].hash = hash;
    p->extras[added.slot].weight = weight;
    ps_eviction_add(&p->eviction, added.slot);
    add(m, added);
}

static void make_room(pair *p)
{
    while (is_over(&p->expected)) require_same_victim(p, 0);
}

static int64_t some_capacity(const model *m, fuzz_input *input)
{
    if (!m->weighs) return fuzz_between(input, 1, MOST);
    switch (fuzz_take(input, 1) % 4) {
    case 0: return (INT64_C(1) << 62) - 1 - (int64_t)fuzz_take(input, 1); /* the largest, or nearly */
    case 1: return fuzz_between(input, 1, 20);
    default: return fuzz_between(input, 100, 10000);
    }
}

/* A capacity of another order could not be kept apart from the weights that are there. */
static void resize(pair *p, fuzz_input *input)
{
    model *m = &p->expected;
    m->capacity = m->weighs ? m->capacity / 4 * fuzz_between(input, 1, 4) + 1 : some_capacity(m, input);
    ps_eviction_resize(&p->eviction, m->capacity);
    start_climb(m);
    bound_ghosts(m);
    make_room(p);
}

static void reweigh(pair *p, entry *chosen, fuzz_input *input)
{
    if (!p->expected.weighs) return;
    int64_t weight = some_weight(&p->expected, input);
    ps_eviction_reweigh(&p->eviction, chosen->slot, weight);
    FUZZ_REQUIRE(p->extras[chosen->slot].weight == weight);
    chosen->weight = weight;
    make_room(p);
}

static void remove_one(pair *p, entry *gone)
{
    uint32_t slot = gone->slot;
    ps_eviction_remove(&p->eviction, slot);
    remove_entry(&p->expected, gone);
    reuse(p, slot);
}

static void relocate(pair *p, entry *moved, fuzz_input *input)
{
    uint32_t from = moved->slot, to = free_slot(&p->expected, input);
    p->slots[to] = p->slots[from];
    p->extras[to] = p->extras[from];
    ps_eviction_relocate(&p->eviction, from, to);
    reuse(p, from);
    moved->slot = to;
    if (p->expected.hand == from) p->expected.hand = to;
}

/* The same one for as long as nothing else happens, but for a window that gives one up each time. */
static void look_at_next(pair *p, bool take)
{
    entry *wanted = next(&p->expected, 0);
    FUZZ_REQUIRE(ps_eviction_next(&p->eviction) == wanted->slot);
    if (take) remove_one(p, wanted);
}

static void clear(pair *p)
{
    uint32_t slot;
    while ((slot = ps_eviction_first(&p->eviction)) != PS_NO_SLOT) {
        ps_eviction_remove(&p->eviction, slot);
        reuse(p, slot);
    }
    ps_eviction_forget(&p->eviction);
    p->expected.size = 0;
    forget(&p->expected);
}

static void hit_one(pair *p, entry *found)
{
    ps_eviction_hit(&p->eviction, found->slot);
    hit(&p->expected, found);
}

static void change(pair *p, fuzz_input *input)
{
    model *m = &p->expected;
    uint64_t kind = fuzz_take(input, 1);
    if (m->size == 0 || kind < 90) {
        newcomer(p, input);
        return;
    }
    entry *chosen = &m->entries[fuzz_take(input, 1) % m->size];
    switch (kind) {
    case 90: clear(p); break;
    case 91: reserve(p, input); break;
    case 92:
    case 93:
    case 94: resize(p, input); break;
    default:
        if (kind < 100) remove_one(p, chosen);
        else if (kind < 105) look_at_next(p, kind % 2);
        else if (kind < 115) relocate(p, chosen, input);
        else if (kind < 125) reweigh(p, chosen, input);
        else hit_one(p, chosen);
    }
}

static void begin(pair *p, fuzz_input *input)
{
    model *m = &p->expected;
    m->policy = (ps_policy)(fuzz_take(input, 1) % (PS_TINYLFU + 1));
    m->weighs = fuzz_take(input, 1) % 2;
    m->capacity = some_capacity(m, input);
    ps_sketch_init(&m->sketch, WORKING);
    FUZZ_REQUIRE(ps_sketch_reserve(&m->sketch, MOST) == PS_OK);
    forget(m);

    ps_eviction_init(&p->eviction, m->policy, m->capacity, m->weighs, FAILING);
    FUZZ_REQUIRE(ps_eviction_bytes(&p->eviction) == 0);
    p->eviction.slots = p->slots;
    p->eviction.extras = p->extras;
    for (uint32_t slot = 0; slot <= MOST; slot++) reuse(p, slot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static pair tested;
    memset(&tested, 0, sizeof tested);
    begin(&tested, &input);
    for (unsigned steps = 0; input.left > 0 && steps < 400; steps++) {
        change(&tested, &input);
        require_same(&tested);
    }
    ps_eviction_free(&tested.eviction);
    ps_sketch_free(&tested.expected.sketch);
    return 0;
}
