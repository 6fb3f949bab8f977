/* weighted_round_robin -- whose turn it is, so that everyone gets its share and nobody a burst.
 *
 * Every member has a credit: the picks it is owed. A pick gives each member that is up its share of one
 * pick, weight / (total weight of those up); the highest credit wins, the first in order among equals,
 * and the winner pays one pick. A member that is out keeps its credit as it is.
 *
 * A credit is counted in units of 1 / (scale * 2^32) picks, where scale is the total weight of those that
 * were up at the last pick. While the same members are up everything is a whole number: gain weight * 2^32,
 * price scale * 2^32, nothing is ever rounded, and after every `scale` picks each member has had exactly
 * its weight. When the total changes, the next pick first counts the credits in the new unit, rounded
 * towards zero; what rounding leaves over is taken from the side that has it, so that the credits still
 * sum to zero and none has grown. A member moves by less than members / 2^32 picks in that.
 *
 * Nothing here can overflow. Let F(k) = k * (members - k) / 2 picks. Whatever the schedule, the k highest
 * credits never sum to more than F(k), for every k. It holds at the start (all 0). In a pick, take any k
 * members, u of them up. If the winner is one of them, their sum gained at most 1 and paid 1. If not,
 * let d be the sum of those out, p the winner's credit before it pays, and s the new sum of those up:
 * s <= u * p as the winner was highest, d <= F(k - u), and d + s + p <= F(k + 1) + 1 as all gain at most 1
 * together. Hence d + s <= (F(k - u) + u * (F(k + 1) + 1)) / (u + 1), which is at most F(k) because F is
 * concave and each of its steps is 1 less than the one before. Rounding as above only lowers the sum of
 * the k highest. As all credits sum to zero, the lowest is bounded likewise: no credit is ever further
 * from zero than (members - 1) / 2 picks. With at most 1,000 members and a scale of at most 10^6 that is
 * less than 2^61 units.
 *
 * The caller owns the members; nothing here allocates or locks, and threads must not share a balancer
 * without a lock of their own. A pick costs O(members).
 *
 * Source: smooth weighted round robin, nginx commit 52327e0627f4 (2012), with the credits counted in picks
 * and not in weights, so that they keep their meaning when a member goes out or comes back. */
#ifndef PS_WEIGHTED_ROUND_ROBIN_H
#define PS_WEIGHTED_ROUND_ROBIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define PS_WRR_FRACTION_BITS 32
#define PS_WRR_MAX_MEMBERS 1000
#define PS_WRR_MAX_TOTAL 1000000 /* of all weights */

typedef struct {
    int64_t weight; /* >= 1 */
    int64_t gain;   /* units a pick: weight * 2^32 while it is up, 0 while it is out */
    int64_t credit; /* units it is owed; below zero: it has had more than its share */
} ps_wrr_member;

typedef struct {
    ps_wrr_member *members; /* in the order that decides among equal credits */
    size_t n;               /* 1 to PS_WRR_MAX_MEMBERS */
    int64_t scale;          /* what the credits are counted in, >= 1 */
    int64_t up_weight;      /* total weight of those up */
    uint64_t changes;       /* made to the balancer so far, so that a copy can tell that it is stale */
} ps_wrr;

/* Makes a balancer over `n` members whose weights are set; all are up and none is owed anything. */
void ps_wrr_init(ps_wrr *balancer, ps_wrr_member *members, size_t n);

/* Takes a member out, or back in, from the next pick on. */
void ps_wrr_mark(ps_wrr *balancer, size_t member, bool up);

/* Picks one member. PS_EMPTY: none is up, nothing changed. */
ps_status ps_wrr_pick(ps_wrr *balancer, size_t *winner);

/* Picks `count` times, into winners[count]. PS_EMPTY as above. */
ps_status ps_wrr_pick_many(ps_wrr *balancer, size_t count, ptrdiff_t *winners);

/* Copies a balancer into `copy`, with its members in members[balancer->n]. */
void ps_wrr_copy(const ps_wrr *balancer, ps_wrr_member *members, ps_wrr *copy);

/* Takes over what `copy` has become since it was made, when balancer->changes was `since`.
 * PS_REFUSED: the balancer has itself changed since then, and stays as it is. */
ps_status ps_wrr_adopt(ps_wrr *balancer, const ps_wrr *copy, uint64_t since);

/* Sets all credits, counted in `scale`. They must sum to zero and respect F above. */
void ps_wrr_restore(ps_wrr *balancer, int64_t scale, const int64_t *credits);

/* True when every rule of this header holds. O(members^2). */
bool ps_wrr_check(const ps_wrr *balancer);

#endif
