/* shared_limiter -- token buckets of many keys in memory that several processes share, without a lock.
 *
 * A slot is one cell for each quota. A cell is 16 bytes, whose owner and whose moment (token_bucket.h:
 * the tick at which the bucket is full again) change together, by one 16-byte compare-and-swap. Every
 * write is such a swap from the cell as it was read, so a slot that has changed hands since is never
 * charged. Nobody waits for anybody: a process may be killed between any two steps, and what it left is
 * a valid table.
 *
 *     owner = tag of the key, 48 bits | generation, 14 bits | state, 2 bits
 *
 * The generation changes whenever the slot gets another owner, so `owner` says "this key, since then".
 * The states of a slot are those of its first cell:
 *
 *     EMPTY    nobody's. 0 in all was never used: a search ends there, for claims take the first slot
 *              of a key's window that can be had.
 *     CLAIMED  a key is about to move in; full_at is the tick of the claim. Charges nothing.
 *     MEMBER   the key's; every further cell has the same owner.
 *
 * One key, one slot. Who wants to move in claims a slot, and then looks through the window again: of two
 * that do so at once, the one that claimed later sees the other's claim. The claim that comes first in
 * the window stands, the others are undone, and any process can finish it: one that was killed after
 * its claim keeps nobody out. (Purcell and Harris, Non-blocking hashtables with open addressing, 2005.)
 *
 * A slot whose buckets are all full says no more than an empty one, so another key may have it; the swap
 * of its first cell succeeds only if nothing was charged meanwhile, for a charge changes the first cell
 * last. What a clock showed before that may not be used to charge the key that moved out: it could make
 * tokens. That is why moving in has two steps, and the clock is read between them.
 *
 * A process that dies within a charge of several quotas has taken from some of them what its request
 * would have taken from all. The tag and the place of a key are 48 and up to 64 bits of a SipHash under a
 * secret. Two keys share a limit if their tags are equal and their windows overlap: for one pair in
 * a table of 65,536 slots less than one in 10^17, and nobody can look for such pairs without the secret.
 *
 * Nothing here allocates, locks or reads a clock. */
#ifndef PS_SHARED_LIMITER_H
#define PS_SHARED_LIMITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token_bucket.h"

#define PS_SHARED_QUOTAS 8
#define PS_SHARED_BUCKET 16 /* slots; a key's window is two buckets */
#define PS_SHARED_MIN_SLOTS 32
#define PS_SHARED_MAX_SLOTS (UINT64_C(1) << 26)

typedef struct {
    _Alignas(16) _Atomic uint64_t owner;
    _Atomic uint64_t full_at;
} ps_shared_cell;

/* The table as one process sees it; the cells and the counter are shared. */
typedef struct {
    ps_shared_cell *cells;         /* slots * quotas, zero at first */
    _Atomic uint64_t *turned_away; /* newcomers that found no slot */
    uint64_t slots;                /* a multiple of PS_SHARED_BUCKET, at least two of them */
    uint64_t secret[2];            /* of the SipHash */
    uint32_t quotas;               /* 1 to PS_SHARED_QUOTAS */
    ps_pace paces[PS_SHARED_QUOTAS];
} ps_shared;

/* A key: where its window is, and its tag. */
typedef struct {
    uint64_t first;  /* slot at which the first bucket starts */
    uint64_t second; /* another bucket's */
    uint64_t tag;    /* in the upper 48 bits */
} ps_shared_key;

typedef enum {
    PS_SHARED_ALLOWED,
    PS_SHARED_LIMITED, /* too few tokens; nothing is taken */
    PS_SHARED_OWING,   /* the same, but another request came between: call ps_shared_give_back */
    PS_SHARED_ABSENT,  /* the key has no slot: call ps_shared_claim */
    PS_SHARED_CLAIMED, /* a slot is claimed: read the clock, call ps_shared_move_in */
    PS_SHARED_FULL,    /* the window holds limited keys only; nothing is taken */
} ps_shared_answer;

/* What a request was told, and what follow-up calls need. */
typedef struct {
    int64_t full_at[PS_SHARED_QUOTAS]; /* of each quota, after the decision */
    ps_shared_cell *slot;
    uint64_t owner;
    uint32_t first_owed; /* quotas from here on were charged and are to be given back */
} ps_shared_trace;

/* Whether this processor swaps 16 bytes at once. Without, nothing below may be called. */
bool ps_shared_supported(void);

/* SipHash-2-4 with 128 bits of `length` bytes; `kind` keeps equal bytes of different types apart. */
void ps_siphash128(const uint64_t secret[2], uint64_t kind, const void *bytes, size_t length,
                   uint64_t out[2]);

ps_shared_key ps_shared_locate(const ps_shared *table, uint64_t kind, const void *bytes, size_t length);

/* Takes `n` tokens of every quota at clock `now` (ns), or of none; 1 <= n, and n tokens are no more than
 * the depth of any quota. ALLOWED, LIMITED, OWING, ABSENT or FULL (the table is not sound). */
ps_shared_answer ps_shared_take(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n,
                                ps_shared_trace *trace);

/* Gives back what an OWING request was charged at clock `now`; `later` is a reading of the clock since the
 * trace was written. False: others were charged between, the trace has what they left; read the clock again
 * and call again. What has come back by itself meanwhile is not given back: a bucket that was full without
 * the charge would hold too much. */
bool ps_shared_give_back(const ps_shared *table, int64_t now, int64_t later, int64_t n, ps_shared_trace *trace);

/* Claims a slot for a key that has none. ALLOWED: it has one by now. FULL: counted as turned away. */
ps_shared_answer ps_shared_claim(const ps_shared *table, ps_shared_key key, int64_t now,
                                 ps_shared_trace *trace);

/* Finishes a claim with full buckets, at a clock that was read after it. Where another process was
 * faster nothing changes; either way take is to be tried again. */
void ps_shared_move_in(const ps_shared *table, int64_t now, const ps_shared_trace *trace);

/* Reads the moments of a key into the trace: ALLOWED (they are there), ABSENT or FULL (not sound). */
ps_shared_answer ps_shared_read(const ps_shared *table, ps_shared_key key, ps_shared_trace *trace);

/* Puts up to `n` tokens of every quota back; a bucket never holds more than its depth. */
void ps_shared_refund(const ps_shared *table, ps_shared_key key, int64_t now, int64_t n);

/* Forgets what the key has taken. */
void ps_shared_reset(const ps_shared *table, ps_shared_key key);

/* Nanoseconds until a slot of the key's window can be had, if nobody is charged until then. */
int64_t ps_shared_room(const ps_shared *table, ps_shared_key key, int64_t now);

/* Empties the idle slots; how many they were. O(slots). */
uint64_t ps_shared_sweep(const ps_shared *table, int64_t now);

/* Keys that are not idle. O(slots). */
uint64_t ps_shared_live(const ps_shared *table, int64_t now);

/* Newcomers that found no slot. */
uint64_t ps_shared_turned_away(const ps_shared *table);

/* Whether no key has two slots and every member's cells are its own, for tests; nobody else may act. */
bool ps_shared_check(const ps_shared *table);

#endif
