#include "eviction.h"

#include <math.h>

#define push ps_eviction_push
#define pull ps_eviction_pull
#define weight_of ps_eviction_weight

/* ---- queues ---- */

static const ps_queue EMPTY_QUEUE = {.oldest = PS_NO_SLOT, .newest = PS_NO_SLOT};

static bool is_empty(const ps_eviction *e, unsigned queue) { return e->queues[queue].oldest == PS_NO_SLOT; }

static uint32_t uses(const ps_eviction *e, uint32_t slot) { return PS_MARK_USES(e->slots[slot].mark); }

static unsigned queue_of(const ps_eviction *e, uint32_t slot)
{
    return e->policy == PS_LFU ? 0 : e->slots[slot].mark & PS_MARK_QUEUE;
}

/* Its uses begin anew. */
static void move(ps_eviction *e, uint32_t slot, unsigned from, unsigned to)
{
    pull(e, from, slot);
    e->slots[slot].mark = to;
    push(e, to, slot);
}

/* Without overflow, whatever the capacity. */
static int64_t percent(int64_t n, int share) { return n / 100 * share + n % 100 * share / 100; }

/* ---- SIEVE: first in, first out, but for those that were used since the hand passed last ----
 *
 * The hand walks from the oldest to the newest and around. Whoever is marked as used loses the mark and
 * stays in place; the first without one goes.
 * Source: Zhang et al., SIEVE is Simpler than LRU, NSDI 2024. */

static uint32_t sieve_next(ps_eviction *e)
{
    uint32_t slot = e->hand == PS_NO_SLOT ? e->queues[0].oldest : e->hand;
    while (e->slots[slot].mark != 0) {
        e->slots[slot].mark = 0;
        slot = e->slots[slot].newer == PS_NO_SLOT ? e->queues[0].oldest : e->slots[slot].newer;
    }
    return e->hand = slot;
}

static void sieve_remove(ps_eviction *e, uint32_t slot)
{
    if (e->hand == slot) e->hand = e->slots[slot].newer;
    pull(e, 0, slot);
}

/* ---- S3-FIFO: a small queue sifts out what is used once, the main one keeps the rest ----
 *
 * A newcomer enters the small queue, a tenth of the cache. At its end, who was used twice or more goes over
 * to the main queue, and the others leave. Their hashes are remembered, for nine tenths of the capacity, and
 * who returns in that time enters the main queue at once. At the main queue's end an entry starts over for
 * each of up to three uses. Until the first eviction the main queue takes what the small one has no room for.
 * Source: Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP 2023; where that is silent, as
 * their libCacheSim. */

enum { SMALL, MAIN };

#define PROMOTED 2 /* uses after which an entry of the small queue goes over to the main one */
#define GHOSTS 2   /* an entry, at most */

static int64_t small_target(const ps_eviction *e) { return e->capacity / 10 > 1 ? e->capacity / 10 : 1; }

/* What ghosts weigh together at most; without overflow, whatever the capacity. */
static int64_t max_ghost_weight(const ps_eviction *e)
{
    return e->capacity / 10 * 9 + e->capacity % 10 * 9 / 10;
}

/* Ghosts that are remembered at most, however light they are. */
static uint32_t most_ghosts(const ps_eviction *e, uint32_t entries)
{
    int64_t most = (int64_t)GHOSTS * entries;
    return (uint32_t)(e->weighs || most < max_ghost_weight(e) ? most : max_ghost_weight(e));
}

static void s3fifo_add(ps_eviction *e, uint32_t slot)
{
    ps_s3fifo *s3 = &e->of.s3fifo;
    bool fills_up = !s3->has_evicted && e->queues[SMALL].weight >= small_target(e);
    unsigned queue = s3->returns || fills_up ? MAIN : SMALL;
    s3->returns = false;
    e->slots[slot].mark = queue;
    push(e, queue, slot);
}

static uint32_t s3fifo_next(ps_eviction *e)
{
    bool main_is_over = e->queues[MAIN].weight > e->capacity - small_target(e);
    uint32_t slot;
    while (!main_is_over && (slot = e->queues[SMALL].oldest) != PS_NO_SLOT) {
        if (uses(e, slot) < PROMOTED) return slot;
        move(e, slot, SMALL, MAIN);
    }
    while (uses(e, slot = e->queues[MAIN].oldest) > 0) {
        uint32_t left = e->slots[slot].mark - PS_MARK_USE;
        move(e, slot, MAIN, MAIN);
        e->slots[slot].mark = left;
    }
    return slot;
}

static void s3fifo_evict(ps_eviction *e, uint32_t slot)
{
    e->of.s3fifo.has_evicted = true;
    if (queue_of(e, slot) == SMALL)
        ps_ghosts_add(&e->of.s3fifo.ghosts, e->slots[slot].hash, weight_of(e, slot), most_ghosts(e, e->size),
                      max_ghost_weight(e));
    pull(e, queue_of(e, slot), slot);
}

/* ---- W-TinyLFU: a newcomer must have been asked for more often than the one that it would drive out ----
 *
 * Newcomers pass through a window of their own. What leaves it must beat the one on probation for longest, by
 * the frequencies of a sketch. Who is used on probation is protected, until 85 % of what is no window
 * are. The window grows and shrinks for as long as that is good for the hit ratio, in steps that become
 * smaller, and start anew when the load has changed.
 * Sources: Einziger, Friedman and Manes, TinyLFU, ACM ToS 13(4), 2017; Einziger, Eytan, Friedman and Manes,
 * Adaptive Software Cache Management, Middleware 2018; the constants are Caffeine's, but for a smaller step
 * and a window that stays above a hundredth, which did better on real traces. */

enum { PROBATION, PROTECTED, WINDOW };

#define SAMPLE 10       /* requests an entry, after which counters are halved and the window is moved */
#define FLOW 2          /* entries that follow a moved target in one call */
#define PROTECTED_PERCENT 85 /* of what is no window */
#define MOST_WINDOW_PERCENT 80
#define STEP (1.0 / 32) /* of the capacity, by which the window is moved first */
#define DECAY 0.98
#define DECAY_OF_CHANCE 0.8 /* where the hit ratio changed by less than it would by chance */
#define MUCH 0.05 /* a change of the hit ratio after which the steps start anew */

static int64_t least_window(const ps_eviction *e) { return e->capacity / 100 > 1 ? e->capacity / 100 : 1; }

static int64_t protected_target(const ps_eviction *e)
{
    return percent(e->capacity - e->of.tinylfu.window_target, PROTECTED_PERCENT);
}

static uint64_t sample(const ps_eviction *e) { return (uint64_t)SAMPLE * (e->size > 8 ? e->size : 8); }

static void start_climb(ps_eviction *e)
{
    ps_tinylfu *tiny = &e->of.tinylfu;
    tiny->window_target = least_window(e);
    tiny->step = -STEP * (double)e->capacity;
    tiny->last_ratio = 0.0;
    tiny->hits = tiny->requests = 0;
}

static void climb(ps_eviction *e)
{
    ps_tinylfu *tiny = &e->of.tinylfu;
    double ratio = (double)tiny->hits / (double)tiny->requests;
    double change = ratio - tiny->last_ratio;
    double amount = change >= 0 ? tiny->step : -tiny->step;
    double chance = sqrt(2 * ratio * (1 - ratio) / (double)tiny->requests);
    double decay = fabs(change) < chance ? DECAY_OF_CHANCE : DECAY;
    tiny->step = fabs(change) >= MUCH ? copysign(STEP * (double)e->capacity, amount) : decay * amount;
    tiny->last_ratio = ratio;
    tiny->hits = tiny->requests = 0;

    int64_t target = tiny->window_target + (int64_t)amount, least = least_window(e);
    int64_t most = percent(e->capacity, MOST_WINDOW_PERCENT);
    if (target > most) target = most;
    tiny->window_target = target > least ? target : least;
}

static void tinylfu_count(ps_eviction *e, uint32_t hash)
{
    ps_sketch *sketch = &e->of.tinylfu.sketch;
    e->of.tinylfu.requests++;
    ps_sketch_add(sketch, hash);
    if (sketch->additions >= sample(e)) ps_sketch_halve(sketch);
    if (e->of.tinylfu.requests >= sample(e) && !e->of.tinylfu.fixed) climb(e);
}

/* The oldest of a queue that is above its target go on probation. */
static void flow(ps_eviction *e, unsigned queue, int64_t target)
{
    for (unsigned i = 0; i < FLOW && e->queues[queue].weight > target; i++)
        move(e, e->queues[queue].oldest, queue, PROBATION);
}

static void tinylfu_hit(ps_eviction *e, uint32_t slot)
{
    e->of.tinylfu.hits++;
    tinylfu_count(e, e->slots[slot].hash);
    unsigned queue = queue_of(e, slot);
    move(e, slot, queue, queue == PROBATION ? PROTECTED : queue);
    if (queue == PROBATION) flow(e, PROTECTED, protected_target(e));
}

static void tinylfu_add(ps_eviction *e, uint32_t slot)
{
    e->slots[slot].mark = WINDOW;
    push(e, WINDOW, slot);
    flow(e, WINDOW, e->of.tinylfu.window_target);
    ps_sketch_cover(&e->of.tinylfu.sketch, e->size);
}

static unsigned frequency(const ps_eviction *e, uint32_t slot)
{
    return ps_sketch_frequency(&e->of.tinylfu.sketch, e->slots[slot].hash);
}

static uint32_t tinylfu_next(ps_eviction *e, int64_t weight)
{
    uint32_t rival = e->queues[is_empty(e, PROBATION) ? PROTECTED : PROBATION].oldest;
    uint32_t candidate = e->queues[WINDOW].oldest;
    if (rival == PS_NO_SLOT) return candidate;
    if (candidate == PS_NO_SLOT || e->queues[WINDOW].weight <= e->of.tinylfu.window_target - weight)
        return rival;
    move(e, candidate, WINDOW, PROBATION);
    return frequency(e, candidate) > frequency(e, rival) ? rival : candidate;
}

/* ---- LFU: who was used least goes, and among equals who has been at that for longest ----
 *
 * Entries of one frequency form a group, and the groups a list, so a use only moves an entry to the next one.
 * Source: Shah, Mitra and Matani, An O(1) Algorithm for Implementing the LFU Cache Eviction Scheme, 2010. */

static uint32_t lfu_new_group(ps_lfu *lfu, uint64_t frequency, uint32_t rarer, uint32_t commoner)
{
    uint32_t group = lfu->free;
    if (group == PS_NO_SLOT)
        group = lfu->used++;
    else
        lfu->free = lfu->groups[group].commoner;
    lfu->groups[group] = (ps_lfu_group){frequency, PS_NO_SLOT, PS_NO_SLOT, rarer, commoner};
    if (rarer == PS_NO_SLOT)
        lfu->rarest = group;
    else
        lfu->groups[rarer].commoner = group;
    if (commoner == PS_NO_SLOT)
        lfu->commonest = group;
    else
        lfu->groups[commoner].rarer = group;
    return group;
}

static void lfu_drop_group(ps_lfu *lfu, uint32_t group)
{
    uint32_t rarer = lfu->groups[group].rarer, commoner = lfu->groups[group].commoner;
    if (rarer == PS_NO_SLOT)
        lfu->rarest = commoner;
    else
        lfu->groups[rarer].commoner = commoner;
    if (commoner == PS_NO_SLOT)
        lfu->commonest = rarer;
    else
        lfu->groups[commoner].rarer = rarer;
    lfu->groups[group].commoner = lfu->free;
    lfu->free = group;
}

static void lfu_join(ps_eviction *e, uint32_t slot, uint32_t group)
{
    ps_lfu_group *joined = &e->of.lfu.groups[group];
    ps_queue queue = {joined->oldest, joined->newest, 0};
    ps_queue_link(e->slots, &queue, slot);
    joined->oldest = queue.oldest;
    joined->newest = queue.newest;
    e->slots[slot].mark = group;
}

static void lfu_leave(ps_eviction *e, uint32_t slot)
{
    ps_lfu_group *left = &e->of.lfu.groups[e->slots[slot].mark];
    ps_queue queue = {left->oldest, left->newest, 0};
    ps_queue_unlink(e->slots, &queue, slot);
    left->oldest = queue.oldest;
    left->newest = queue.newest;
    if (left->oldest == PS_NO_SLOT) lfu_drop_group(&e->of.lfu, e->slots[slot].mark);
}

/* The group of the next frequency, made if it is not there. */
static uint32_t lfu_group_after(ps_lfu *lfu, uint32_t group)
{
    uint64_t wanted = lfu->groups[group].frequency + 1;
    uint32_t commoner = lfu->groups[group].commoner;
    bool there = commoner != PS_NO_SLOT && lfu->groups[commoner].frequency == wanted;
    return there ? commoner : lfu_new_group(lfu, wanted, group, commoner);
}

static void lfu_hit(ps_eviction *e, uint32_t slot)
{
    uint32_t group = lfu_group_after(&e->of.lfu, e->slots[slot].mark); /* before the old one may be dropped */
    lfu_leave(e, slot);
    lfu_join(e, slot, group);
}

static void lfu_add(ps_eviction *e, uint32_t slot)
{
    ps_lfu *lfu = &e->of.lfu;
    uint32_t rarest = lfu->rarest;
    bool there = rarest != PS_NO_SLOT && lfu->groups[rarest].frequency == 1;
    lfu_join(e, slot, there ? rarest : lfu_new_group(lfu, 1, PS_NO_SLOT, rarest));
}

static uint32_t lfu_next(const ps_eviction *e) { return e->of.lfu.groups[e->of.lfu.rarest].oldest; }

/* ---- what a cache calls ---- */

static void forget_groups(ps_lfu *lfu)
{
    lfu->used = 0;
    lfu->free = lfu->rarest = lfu->commonest = PS_NO_SLOT;
}

void ps_eviction_init(ps_eviction *e, ps_policy policy, int64_t capacity, bool weighs, ps_allocator allocator)
{
    *e = (ps_eviction){
        .policy = policy,
        .capacity = capacity,
        .weighs = weighs,
        .hand = PS_NO_SLOT,
        .queues = {EMPTY_QUEUE, EMPTY_QUEUE, EMPTY_QUEUE},
        .allocator = allocator,
    };
    if (policy == PS_LFU) forget_groups(&e->of.lfu);
    if (policy == PS_S3FIFO) ps_ghosts_init(&e->of.s3fifo.ghosts, weighs, allocator);
    if (policy == PS_TINYLFU) {
        ps_sketch_init(&e->of.tinylfu.sketch, allocator);
        start_climb(e);
    }
}

void ps_eviction_forget(ps_eviction *e)
{
    e->hand = PS_NO_SLOT;
    if (e->policy == PS_LFU) forget_groups(&e->of.lfu);
    if (e->policy == PS_S3FIFO) {
        ps_ghosts_bound(&e->of.s3fifo.ghosts, 0, 0);
        e->of.s3fifo.has_evicted = e->of.s3fifo.returns = false;
    }
    if (e->policy == PS_TINYLFU) {
        ps_sketch_forget(&e->of.tinylfu.sketch);
        start_climb(e);
    }
}

void ps_eviction_free(ps_eviction *e)
{
    if (e->policy == PS_LFU) e->allocator.release(e->of.lfu.groups);
    if (e->policy == PS_S3FIFO) ps_ghosts_free(&e->of.s3fifo.ghosts);
    if (e->policy == PS_TINYLFU) ps_sketch_free(&e->of.tinylfu.sketch);
}

static ps_status reserve_groups(ps_eviction *e, uint32_t count)
{
    ps_lfu *lfu = &e->of.lfu;
    if (count <= lfu->capacity) return PS_OK;
    ps_lfu_group *groups = e->allocator.resize(lfu->groups, count * sizeof *groups);
    if (groups == NULL) return PS_NO_MEMORY;
    lfu->groups = groups;
    lfu->capacity = count;
    return PS_OK;
}

ps_status ps_eviction_reserve(ps_eviction *e, uint32_t entries)
{
    switch (e->policy) {
    case PS_LFU:
        return reserve_groups(e, entries + 1); /* a use makes one before another goes */
    case PS_S3FIFO:
        return ps_ghosts_reserve(&e->of.s3fifo.ghosts, most_ghosts(e, entries));
    case PS_TINYLFU:
        return ps_sketch_reserve(&e->of.tinylfu.sketch, entries);
    default:
        return PS_OK;
    }
}

void ps_eviction_resize(ps_eviction *e, int64_t capacity)
{
    e->capacity = capacity;
    if (e->policy == PS_S3FIFO)
        ps_ghosts_bound(&e->of.s3fifo.ghosts, most_ghosts(e, e->size), max_ghost_weight(e));
    if (e->policy == PS_TINYLFU) start_climb(e);
}

void ps_eviction_arrive_by_policy(ps_eviction *e, uint32_t hash)
{
    if (e->policy == PS_S3FIFO)
        e->of.s3fifo.returns = ps_ghosts_take(&e->of.s3fifo.ghosts, hash);
    else
        tinylfu_count(e, hash);
}

void ps_eviction_hit_by_policy(ps_eviction *e, uint32_t slot)
{
    if (e->policy == PS_LFU)
        lfu_hit(e, slot);
    else
        tinylfu_hit(e, slot);
}

void ps_eviction_add_by_policy(ps_eviction *e, uint32_t slot)
{
    switch (e->policy) {
    case PS_LFU:
        lfu_add(e, slot);
        break;
    case PS_S3FIFO:
        s3fifo_add(e, slot);
        break;
    default:
        tinylfu_add(e, slot);
    }
}

uint32_t ps_eviction_next_by_policy(ps_eviction *e, int64_t weight)
{
    switch (e->policy) {
    case PS_LFU:
        return lfu_next(e);
    case PS_SIEVE:
        return sieve_next(e);
    case PS_S3FIFO:
        return s3fifo_next(e);
    default:
        return tinylfu_next(e, weight);
    }
}

/* Takes out the one that was chosen; S3-FIFO remembers it. */
void ps_eviction_evict_by_policy(ps_eviction *e, uint32_t slot)
{
    if (e->policy != PS_S3FIFO) {
        ps_eviction_remove(e, slot);
        return;
    }
    s3fifo_evict(e, slot);
    e->size--;
}

void ps_eviction_remove(ps_eviction *e, uint32_t slot)
{
    switch (e->policy) {
    case PS_LFU:
        lfu_leave(e, slot);
        break;
    case PS_SIEVE:
        sieve_remove(e, slot);
        break;
    default:
        pull(e, queue_of(e, slot), slot);
    }
    e->size--;
}

void ps_eviction_reweigh(ps_eviction *e, uint32_t slot, int64_t weight)
{
    if (e->policy != PS_LFU) e->queues[queue_of(e, slot)].weight += weight - weight_of(e, slot);
    e->extras[slot].weight = weight;
}

void ps_eviction_relocate(ps_eviction *e, uint32_t from, uint32_t to)
{
    const ps_slot *moved = &e->slots[to];
    ps_queue *queue = &e->queues[queue_of(e, to)];
    ps_lfu_group *group = e->policy == PS_LFU ? &e->of.lfu.groups[moved->mark] : NULL;
    if (moved->newer != PS_NO_SLOT)
        e->slots[moved->newer].older = to;
    else
        *(group ? &group->newest : &queue->newest) = to;
    if (moved->older != PS_NO_SLOT)
        e->slots[moved->older].newer = to;
    else
        *(group ? &group->oldest : &queue->oldest) = to;
    if (e->hand == from) e->hand = to;
}

/* ---- iteration ---- */

static uint32_t first_from(const ps_eviction *e, unsigned queue)
{
    while (queue < 3 && is_empty(e, queue)) queue++;
    return queue < 3 ? e->queues[queue].oldest : PS_NO_SLOT;
}

uint32_t ps_eviction_first(const ps_eviction *e)
{
    if (e->policy != PS_LFU) return first_from(e, 0);
    return e->of.lfu.rarest == PS_NO_SLOT ? PS_NO_SLOT : lfu_next(e);
}

uint32_t ps_eviction_after(const ps_eviction *e, uint32_t slot)
{
    uint32_t newer = e->slots[slot].newer;
    if (newer != PS_NO_SLOT) return newer;
    if (e->policy != PS_LFU) return first_from(e, queue_of(e, slot) + 1);
    uint32_t group = e->of.lfu.groups[e->slots[slot].mark].commoner;
    return group == PS_NO_SLOT ? PS_NO_SLOT : e->of.lfu.groups[group].oldest;
}

/* ---- what tests ask ---- */

size_t ps_eviction_bytes(const ps_eviction *e)
{
    switch (e->policy) {
    case PS_LFU:
        return e->of.lfu.capacity * sizeof *e->of.lfu.groups;
    case PS_S3FIFO:
        return ps_ghosts_bytes(&e->of.s3fifo.ghosts);
    case PS_TINYLFU:
        return ps_sketch_bytes(&e->of.tinylfu.sketch);
    default:
        return 0;
    }
}

/* The length of a list whose links and marks hold; more than `size` where they do not. */
static uint64_t length(const ps_eviction *e, uint32_t oldest, uint32_t newest, uint32_t bits, uint32_t mark,
                       int64_t *weight)
{
    uint64_t count = 0;
    uint32_t older = PS_NO_SLOT, slot = oldest;
    for (; slot != PS_NO_SLOT && count <= e->size; older = slot, slot = e->slots[slot].newer, count++) {
        if (e->slots[slot].older != older || (e->slots[slot].mark & bits) != mark) return UINT64_MAX / 4;
        *weight += weight_of(e, slot);
    }
    return older == newest ? count : UINT64_MAX / 4;
}

static bool queues_hold(const ps_eviction *e)
{
    uint64_t count = 0;
    for (unsigned queue = 0; queue < 3; queue++) {
        const ps_queue *q = &e->queues[queue];
        int64_t weight = 0;
        count += length(e, q->oldest, q->newest, PS_MARK_QUEUE, queue, &weight);
        if (weight != q->weight) return false;
    }
    return count == e->size;
}

static bool groups_hold(const ps_eviction *e)
{
    const ps_lfu *lfu = &e->of.lfu;
    uint64_t count = 0, last = 0;
    uint32_t rarer = PS_NO_SLOT, group = lfu->rarest, groups = 0;
    for (; group != PS_NO_SLOT && groups <= e->size; rarer = group, group = lfu->groups[group].commoner) {
        const ps_lfu_group *g = &lfu->groups[group];
        int64_t weight = 0;
        uint64_t members = length(e, g->oldest, g->newest, UINT32_MAX, group, &weight);
        if (g->rarer != rarer || g->frequency <= last || members == 0) return false;
        last = g->frequency;
        count += members;
        groups++;
    }
    return count == e->size && lfu->commonest == rarer && lfu->used <= lfu->capacity;
}

bool ps_eviction_check(const ps_eviction *e)
{
    if (e->policy == PS_LFU) return groups_hold(e);
    if (e->policy == PS_S3FIFO && !ps_ghosts_check(&e->of.s3fifo.ghosts)) return false;
    return queues_hold(e);
}
