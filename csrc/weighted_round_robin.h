/* weighted_round_robin -- whose turn it is, so that everyone gets its share and nobody a burst.
 *
 * Every member has a credit: the picks it is owed. A pick gives each member that is up its share of one
 * pick, weight / (total weight of those up), and the winner pays one pick. A member that is out keeps its
 * credit as it is. With m members up and t = 1 / (2m - 2) picks (1/2 when m = 1), the winner is
 *
 *     the member with the highest credit, when that is 1 - t or more (somebody is late already)
 *                                         or less than t (nobody is owed enough);
 *     else, of those owed t or more, the one that will be owed 1 - t soonest.
 *
 * The first in order wins among equals. The second line is Tijdeman's solution of the chairman assignment
 * problem: started from credits of 0, with the same members up, no credit is ever further from 0 than
 * 1 - t, and no rule can promise less. The highest credit alone, as in nginx, does not keep within 1:
 * weights 12, 12, 3, 1, 1 leave a member 30/29 of a pick behind. What ups and downs bring about,
 * credits beyond 1 - t and sums that are not 0, the first line handles best.
 *
 * A credit is counted in units of 1 / (scale * 2^32) picks, where scale is the total weight of those that
 * were up at the last pick. While the same members are up everything is a whole number: gain weight * 2^32,
 * price scale * 2^32, nothing is ever rounded, and after every `scale` picks from the start each member has
 * had exactly its weight. (Credits are then whole picks, and less than 1.) When the total changes, the next
 * pick first counts the credits in the new unit, rounded towards zero; what rounding leaves over is taken
 * from the side that has it, so that the credits still sum to zero and none has grown. A member moves by
 * less than members / (scale * 2^32) picks in that.
 *
 * Nothing here can overflow. For n members let F(k) = (k * (n - k) + min(k, n - k)) / 2 picks: symmetric,
 * concave, each of its steps at least 1 less than the one before, and those up to the middle at least 1.
 * Whatever the schedule, the k highest credits never sum to more than F(k); as all credits sum to zero,
 * the k lowest are bounded likewise. It holds when all are 0. In a pick, take any set of k members. If the
 * winner is among them, they gain at most 1 and pay 1. If not, and u > 0 of them are up, call their new sum
 * s, the sum of the others d, and let p be what the winner was owed before it paid.
 *   - The winner was owed most: s <= u * p, d <= F(k - u), and d + s + p <= F(k + 1) + 1 as all gain 1
 *     together. Hence d + s <= (F(k - u) + u * (F(k + 1) + 1)) / (u + 1) <= F(k), by the steps of F.
 *   - Else all were owed less than 1 and the winner keeps more than -1. For k <= n / 2, d + s is at most
 *     F(k - u) + u <= F(k). For k > n / 2 look at the other n - k members, the winner among them: they sum
 *     to at least -F(n - k - 1) - 1 >= -F(n - k), so the k to at most F(n - k) = F(k).
 * Counting in a new unit only brings all these sums nearer to zero. So no credit is ever further from zero
 * than F(1) = n / 2 picks: with 1,000 members and a scale of 10^6, less than 2^61 units.
 *
 * The caller owns the members; nothing here allocates or locks, and threads must not share a balancer
 * without a lock of their own. A pick costs O(members).
 *
 * Sources: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32, 1980; the credits are
 * those of nginx's smooth weighted round robin (commit 52327e0627f4, 2012), counted in picks. */
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
    int64_t owed_enough;    /* units, t above */
    int64_t late;           /* units, 1 - t */
    bool settled;           /* the three lines above agree with who is up */
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
