#include "shared_limiter.h"

#include <string.h>

#ifndef PS_SHARED_STEP
#define PS_SHARED_STEP() ((void)0) /* the fuzzer lets other processes act, or kills this one, here */
#endif

#define STATE UINT64_C(3)
#define EMPTY UINT64_C(0)
#define CLAIMED UINT64_C(1)
#define MEMBER UINT64_C(2)
#define GENERATION UINT64_C(0xfffc)
#define TAG UINT64_C(0xffffffffffff0000)

#define WINDOW (2 * PS_SHARED_BUCKET)
#define LAST_MOMENT (INT64_C(1) << 62)
#define STALE_CLAIM (INT64_C(1) << 30) /* ticks, 0.5 to 1 s: whose claim is older was killed, or starts again */
#define ATTEMPTS 1000                  /* a failed one means that another succeeded, unless the table is not sound */

typedef struct {
    uint64_t owner;
    uint64_t full_at;
} cell_value;

/* --- one cell --- */

#if defined(__SANITIZE_THREAD__) /* which does not see into assembly */
static bool swap_16(ps_shared_cell *cell, cell_value seen, cell_value next)
{
    unsigned __int128 old = (unsigned __int128)seen.full_at << 64 | seen.owner;
    unsigned __int128 new = (unsigned __int128)next.full_at << 64 | next.owner;
    return __atomic_compare_exchange_n((unsigned __int128 *)(void *)cell, &old, new, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}
bool ps_shared_supported(void) { return true; }
#elif defined(__x86_64__)
static inline bool swap_16(ps_shared_cell *cell, cell_value seen, cell_value next)
{
    bool swapped;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(swapped), "+m"(*(unsigned __int128 *)(void *)cell), "+a"(seen.owner),
                       "+d"(seen.full_at)
                     : "b"(next.owner), "c"(next.full_at)
                     : "memory");
    return swapped;
}
bool ps_shared_supported(void) /* the first AMD processors of 64 bits lack it */
{
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ecx >> 13 & 1;
}
#elif defined(__aarch64__)
static inline bool swap_16(ps_shared_cell *cell, cell_value seen, cell_value next)
{
    uint64_t owner, full_at;
    uint32_t failed;
    do {
        __asm__ volatile("ldaxp %0, %1, %2"
                         : "=&r"(owner), "=&r"(full_at)
                         : "Q"(*(unsigned __int128 *)(void *)cell)
                         : "memory");
        bool same = owner == seen.owner && full_at == seen.full_at;
        /* what was read is known to be of one moment only when a store succeeds, so it is stored back */
        __asm__ volatile("stlxp %w0, %2, %3, %1"
                         : "=&r"(failed), "=Q"(*(unsigned __int128 *)(void *)cell)
                         : "r"(same ? next.owner : owner), "r"(same ? next.full_at : full_at)
                         : "memory");
        if (!failed) return same;
    } while (true);
}
bool ps_shared_supported(void) { return true; }
#else
static bool swap_16(ps_shared_cell *cell, cell_value seen, cell_value next)
{
    (void)cell, (void)seen, (void)next;
    return false;
}
bool ps_shared_supported(void) { return false; }
#endif

static inline bool swap(ps_shared_cell *cell, cell_value seen, cell_value next)
{
    PS_SHARED_STEP();
    return swap_16(cell, seen, next);
}

/* Both halves as they were at one moment, seen after every swap that came before (so that of two claims
 * of a key one sees the other): the moment changes alone only while the owner stays, and an
 * owner that has gone does not come back, for its generation has passed. */
static inline cell_value load(const ps_shared_cell *cell)
{
    cell_value seen;
    uint64_t again;
    PS_SHARED_STEP();
    do {
        seen.owner = atomic_load_explicit(&cell->owner, memory_order_seq_cst);
        seen.full_at = atomic_load_explicit(&cell->full_at, memory_order_seq_cst);
        again = atomic_load_explicit(&cell->owner, memory_order_seq_cst);
    } while (again != seen.owner);
    return seen;
}

/* A moment is bytes of a file: what no charge can have left counts as the last one that could be. */
static inline int64_t moment(cell_value seen)
{
    return seen.full_at < LAST_MOMENT ? (int64_t)seen.full_at : LAST_MOMENT;
}

static inline uint64_t next_generation(uint64_t owner) /* never 0, which is for what was never used */
{
    uint64_t generation = (owner & GENERATION) + 4;
    return generation > GENERATION ? 4 : generation;
}

static inline cell_value emptied(uint64_t owner)
{
    return (cell_value){owner & GENERATION, 0};
}

/* --- where a key is --- */

static inline uint64_t rotate(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static inline void rounds(uint64_t v[4], int times)
{
    while (times-- > 0) {
        v[0] += v[1], v[1] = rotate(v[1], 13), v[1] ^= v[0], v[0] = rotate(v[0], 32);
        v[2] += v[3], v[3] = rotate(v[3], 16), v[3] ^= v[2];
        v[0] += v[3], v[3] = rotate(v[3], 21), v[3] ^= v[0];
        v[2] += v[1], v[1] = rotate(v[1], 17), v[1] ^= v[2], v[2] = rotate(v[2], 32);
    }
}

static inline uint64_t word_at(const uint8_t *bytes) /* any order does: the table stays on its host */
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

void ps_siphash128(const uint64_t secret[2], uint64_t kind, const void *data, size_t length, uint64_t out[2])
{
    const uint8_t *bytes = data;
    uint64_t k0 = secret[0] ^ kind, k1 = secret[1];
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t left = length;
    for (; left >= 8; left -= 8, bytes += 8) {
        uint64_t word = word_at(bytes);
        v[3] ^= word;
        rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++) word |= (uint64_t)bytes[i] << (8 * i);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
    v[2] ^= 0xee;
    rounds(v, 4);
    out[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    out[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint64_t below(uint32_t random, uint64_t end) { return random * end >> 32; }

ps_shared_key ps_shared_locate(const ps_shared *table, uint64_t kind, const void *bytes, size_t length)
{
    uint64_t hash[2];
    ps_siphash128(table->secret, kind, bytes, length, hash);
    uint64_t buckets = table->slots / PS_SHARED_BUCKET;
    uint64_t first = below((uint32_t)hash[0], buckets);
    uint64_t second = first + 1 + below((uint32_t)(hash[0] >> 32), buckets - 1);
    if (second >= buckets) second -= buckets;
    return (ps_shared_key){first * PS_SHARED_BUCKET, second * PS_SHARED_BUCKET, hash[1] & TAG};
}

static inline ps_shared_cell *slot_at(const ps_shared *table, ps_shared_key key, uint32_t place)
{
    uint64_t slot = place < PS_SHARED_BUCKET ? key.first + place : key.second + place - PS_SHARED_BUCKET;
    return table->cells + slot * table->quotas;
}

static inline bool is(cell_value seen, ps_shared_key key, uint64_t state)
{
    return (seen.owner & (TAG | STATE)) == (key.tag | state);
}

/* The slot of a key and its first cell, or NULL. */
static inline ps_shared_cell *find(const ps_shared *table, ps_shared_key key, cell_value *seen)
{
    for (uint32_t place = 0; place < WINDOW; place++) {
        ps_shared_cell *slot = slot_at(table, key, place);
        uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_relaxed);
        if ((owner & (TAG | STATE)) == (key.tag | MEMBER)) {
            *seen = load(slot);
            if (is(*seen, key, MEMBER)) return slot;
        }
        if (owner == 0) return NULL;
    }
    return NULL;
}

/* --- charging --- */

/* The further cells of a slot; false when it is not the owner's any more. */
static inline bool load_rest(const ps_shared *table, const ps_shared_cell *slot, cell_value *seen)
{
    for (uint32_t i = 1; i < table->quotas; i++) {
        seen[i] = load(slot + i);
        if (seen[i].owner != seen[0].owner) return false;
    }
    return true;
}

typedef enum { TAKEN, REFUSED, MOVED } outcome;

/* Takes from one cell; `seen` is what it held, then what it holds. */
static inline outcome charge(ps_shared_cell *cell, const ps_pace *pace, int64_t tick, int64_t cost,
                             cell_value *seen)
{
    for (;;) {
        int64_t then = ps_pace_take(pace, moment(*seen), tick, cost);
        if (then == PS_NOT_TAKEN) return REFUSED;
        cell_value next = {seen->owner, (uint64_t)then};
        if (swap(cell, *seen, next)) {
            *seen = next;
            return TAKEN;
        }
        next = load(cell);
        if (next.owner != seen->owner) return MOVED;
        *seen = next;
    }
}

/* All quotas are tested before one is charged. The first cell comes last: while it stands as it was
 * read the slot is the owner's, and with it the request is decided. */
static outcome charge_all(const ps_shared *table, ps_shared_cell *slot, cell_value *seen, int64_t now, int64_t n,
                          uint32_t *first_owed)
{
    int64_t ticks[PS_SHARED_QUOTAS];
    for (uint32_t i = 0; i < table->quotas; i++) {
        const ps_pace *pace = &table->paces[i];
        ticks[i] = ps_pace_tick(pace, now);
        if (ps_pace_take(pace, moment(seen[i]), ticks[i], n * pace->token) == PS_NOT_TAKEN) return REFUSED;
    }
    for (uint32_t i = table->quotas; i-- > 0;) {
        const ps_pace *pace = &table->paces[i];
        outcome got = charge(slot + i, pace, ticks[i], n * pace->token, &seen[i]);
        if (got == TAKEN) *first_owed = i;
        if (got != TAKEN) return got;
    }
    return TAKEN;
}

static inline void keep(const ps_shared *table, ps_shared_cell *slot, const cell_value *seen, ps_shared_trace *trace)
{
    trace->slot = slot;
    trace->owner = seen[0].owner;
    for (uint32_t i = 0; i < table->quotas; i++) trace->full_at[i] = moment(seen[i]);
}

static ps_shared_answer take_all(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n,
                                 ps_shared_trace *trace)
{
    cell_value seen[PS_SHARED_QUOTAS];
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ps_shared_cell *slot = find(table, key, &seen[0]);
        if (slot == NULL) return PS_SHARED_ABSENT;
        if (!load_rest(table, slot, seen)) continue;
        trace->first_owed = table->quotas;
        outcome got = charge_all(table, slot, seen, now, n, &trace->first_owed);
        if (got == MOVED) continue; /* what was charged went with the owner: it is nobody's now */
        keep(table, slot, seen, trace);
        if (got == TAKEN) return PS_SHARED_ALLOWED;
        return trace->first_owed < table->quotas ? PS_SHARED_OWING : PS_SHARED_LIMITED;
    }
    return PS_SHARED_FULL;
}

ps_shared_answer ps_shared_take(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n,
                                ps_shared_trace *trace)
{
    if (table->quotas > 1) return take_all(table, key, now, n, trace);
    cell_value seen;
    const ps_pace *pace = &table->paces[0];
    int64_t tick = ps_pace_tick(pace, now);
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ps_shared_cell *slot = find(table, key, &seen);
        if (slot == NULL) return PS_SHARED_ABSENT;
        outcome got = charge(slot, pace, tick, n * pace->token, &seen);
        if (got == MOVED) continue;
        trace->full_at[0] = moment(seen);
        return got == TAKEN ? PS_SHARED_ALLOWED : PS_SHARED_LIMITED;
    }
    return PS_SHARED_FULL;
}

bool ps_shared_give_back(const ps_shared *table, int64_t now, int64_t later, int64_t n, ps_shared_trace *trace)
{
    for (; trace->first_owed < table->quotas; trace->first_owed++) {
        uint32_t i = trace->first_owed;
        const ps_pace *pace = &table->paces[i];
        int64_t since = ps_pace_tick(pace, later) - ps_pace_tick(pace, now);
        /* What has come back since the charge would have run over without it, had the bucket been full.
         * The rest is in the moment still: all charges in it are of clocks that were read before `later`. */
        int64_t rest = n * pace->token - (since > 0 ? since : 0), full_at = trace->full_at[i];
        if (rest <= 0 || full_at < rest) continue;
        cell_value seen = {trace->owner, (uint64_t)full_at};
        if (swap(trace->slot + i, seen, (cell_value){trace->owner, (uint64_t)(full_at - rest)})) continue;
        seen = load(trace->slot + i);
        if (seen.owner != trace->owner) continue; /* the charge went with the owner */
        trace->full_at[i] = moment(seen);
        return false;
    }
    return true;
}

/* --- moving in and out --- */

/* Whether the slot, whose first cell is `seen`, can be had: all its buckets are full. */
static bool idle(const ps_shared *table, const ps_shared_cell *slot, cell_value seen, int64_t now)
{
    if ((seen.owner & STATE) != MEMBER) return false;
    for (uint32_t i = 0; i < table->quotas; i++) {
        cell_value cell = i == 0 ? seen : load(slot + i);
        if (cell.owner != seen.owner || moment(cell) >= ps_pace_tick(&table->paces[i], now)) return false;
    }
    return true;
}

static bool free_to_claim(const ps_shared *table, const ps_shared_cell *slot, cell_value seen, int64_t now)
{
    uint64_t state = seen.owner & STATE;
    if (state == EMPTY) return true;
    if (state == CLAIMED) return moment(seen) < ps_pace_tick(&table->paces[0], now) - STALE_CLAIM;
    return idle(table, slot, seen, now);
}

/* What a look through the window found. */
typedef struct {
    ps_shared_cell *slot; /* the first claim of the key, else the first slot to be had, else NULL */
    cell_value seen;
    bool member, claimed;
} view;

static view look(const ps_shared *table, ps_shared_key key, int64_t now)
{
    view found = {NULL, {0, 0}, false, false};
    for (uint32_t place = 0; place < WINDOW; place++) {
        ps_shared_cell *slot = slot_at(table, key, place);
        cell_value seen = load(slot);
        if (is(seen, key, MEMBER)) {
            found.member = true;
            return found;
        }
        bool claimed = is(seen, key, CLAIMED);
        if ((claimed && !found.claimed) || (found.slot == NULL && free_to_claim(table, slot, seen, now))) {
            found.slot = slot;
            found.seen = seen;
            found.claimed |= claimed;
        }
        if (seen.owner == 0) break;
    }
    return found;
}

/* After a claim was seen or made: true when no other slot of the window is the key's. Else the claim
 * that comes later in the window is undone, or ours where the key has moved in already. */
static bool alone(const ps_shared *table, ps_shared_key key, ps_shared_cell *slot, cell_value claim)
{
    bool passed = false;
    for (uint32_t place = 0; place < WINDOW; place++) {
        ps_shared_cell *other = slot_at(table, key, place);
        if (other == slot) {
            passed = true;
            continue;
        }
        cell_value seen = load(other);
        if (is(seen, key, MEMBER) || (is(seen, key, CLAIMED) && !passed)) {
            swap(slot, claim, emptied(claim.owner));
            return false;
        }
        if (is(seen, key, CLAIMED) && !swap(other, seen, emptied(seen.owner))) return false;
        if (seen.owner == 0) break;
    }
    return true;
}

ps_shared_answer ps_shared_claim(const ps_shared *table, ps_shared_key key, int64_t now, ps_shared_trace *trace)
{
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        view found = look(table, key, now);
        if (found.member) return PS_SHARED_ALLOWED;
        if (found.slot == NULL) break;
        if (!found.claimed) {
            uint64_t tick = (uint64_t)ps_pace_tick(&table->paces[0], now);
            cell_value claim = {key.tag | next_generation(found.seen.owner) | CLAIMED, tick};
            if (!swap(found.slot, found.seen, claim)) continue;
            found.seen = claim;
        }
        if (!alone(table, key, found.slot, found.seen)) continue;
        trace->slot = found.slot;
        trace->owner = found.seen.owner;
        trace->full_at[0] = (int64_t)found.seen.full_at;
        return PS_SHARED_CLAIMED;
    }
    atomic_fetch_add_explicit(table->turned_away, 1, memory_order_relaxed);
    return PS_SHARED_FULL;
}

void ps_shared_move_in(const ps_shared *table, int64_t now, const ps_shared_trace *trace)
{
    cell_value claim = {trace->owner, (uint64_t)trace->full_at[0]};
    uint64_t owner = (trace->owner & ~STATE) | MEMBER;
    for (uint32_t i = 1; i < table->quotas; i++) {
        cell_value mine = {owner, (uint64_t)ps_pace_tick(&table->paces[i], now)};
        for (;;) {
            cell_value seen = load(trace->slot + i);
            if (seen.owner == owner) break; /* another process has done it */
            cell_value first = load(trace->slot); /* after `seen`: a later owner's cell differs from it */
            if (first.owner != claim.owner || first.full_at != claim.full_at) return;
            if (swap(trace->slot + i, seen, mine)) break;
        }
    }
    swap(trace->slot, claim, (cell_value){owner, (uint64_t)ps_pace_tick(&table->paces[0], now)});
}

/* --- the rest --- */

ps_shared_answer ps_shared_read(const ps_shared *table, ps_shared_key key, ps_shared_trace *trace)
{
    cell_value seen[PS_SHARED_QUOTAS];
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ps_shared_cell *slot = find(table, key, &seen[0]);
        if (slot == NULL) return PS_SHARED_ABSENT;
        if (!load_rest(table, slot, seen)) continue;
        keep(table, slot, seen, trace);
        return PS_SHARED_ALLOWED;
    }
    return PS_SHARED_FULL;
}

void ps_shared_refund(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n)
{
    cell_value first;
    ps_shared_cell *slot = find(table, key, &first);
    if (slot == NULL) return;
    for (uint32_t i = table->quotas; i-- > 0;) {
        const ps_pace *pace = &table->paces[i];
        int64_t tick = ps_pace_tick(pace, now);
        cell_value seen = load(slot + i);
        while (seen.owner == first.owner && moment(seen) > tick) {
            int64_t then = moment(seen) - n * pace->token;
            if (swap(slot + i, seen, (cell_value){seen.owner, (uint64_t)(then > tick ? then : tick)})) break;
            seen = load(slot + i);
        }
    }
}

void ps_shared_reset(const ps_shared *table, ps_shared_key key)
{
    cell_value seen;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        ps_shared_cell *slot = find(table, key, &seen);
        if (slot == NULL || swap(slot, seen, emptied(seen.owner))) return;
    }
}

int64_t ps_shared_room(const ps_shared *table, ps_shared_key key, int64_t now)
{
    int64_t least = INT64_MAX;
    for (uint32_t place = 0; place < WINDOW; place++) {
        const ps_shared_cell *slot = slot_at(table, key, place);
        int64_t longest = 0;
        if (free_to_claim(table, slot, load(slot), now)) return 0;
        for (uint32_t i = 0; i < table->quotas; i++) {
            const ps_pace *pace = &table->paces[i];
            int64_t wait = ps_pace_wait(pace, moment(load(slot + i)), now, pace->depth);
            if (wait > longest) longest = wait;
        }
        if (longest < least) least = longest;
    }
    return least + 2; /* a slot can be had a tick after it is full: at most two nanoseconds */
}

uint64_t ps_shared_sweep(const ps_shared *table, int64_t now)
{
    uint64_t swept = 0;
    for (uint64_t i = 0; i < table->slots; i++) {
        ps_shared_cell *slot = table->cells + i * table->quotas;
        cell_value seen = load(slot);
        if (idle(table, slot, seen, now)) swept += swap(slot, seen, emptied(seen.owner));
    }
    return swept;
}

uint64_t ps_shared_live(const ps_shared *table, int64_t now)
{
    uint64_t live = 0;
    for (uint64_t i = 0; i < table->slots; i++) {
        const ps_shared_cell *slot = table->cells + i * table->quotas;
        cell_value seen = load(slot);
        live += (seen.owner & STATE) == MEMBER && !idle(table, slot, seen, now);
    }
    return live;
}

uint64_t ps_shared_turned_away(const ps_shared *table)
{
    return atomic_load_explicit(table->turned_away, memory_order_relaxed);
}

bool ps_shared_check(const ps_shared *table)
{
    for (uint64_t i = 0; i < table->slots; i++) {
        const ps_shared_cell *slot = table->cells + i * table->quotas;
        uint64_t owner = slot->owner;
        if ((owner & STATE) == STATE || ((owner & STATE) == EMPTY && owner & TAG)) return false;
        if ((owner & STATE) != MEMBER) continue;
        for (uint32_t each = 1; each < table->quotas; each++) {
            if (slot[each].owner != owner) return false;
        }
        for (uint64_t j = 0; j < i; j++) { /* tags of different keys differ in a test */
            uint64_t other = table->cells[j * table->quotas].owner;
            if ((other & (TAG | STATE)) == (owner & (TAG | STATE))) return false;
        }
    }
    return true;
}
