#include "weighted_round_robin.h"

#include <string.h>

static int64_t in_units(int64_t weight) { return weight * (INT64_C(1) << PS_WRR_FRACTION_BITS); }

void ps_wrr_init(ps_wrr *balancer, ps_wrr_member *members, size_t n)
{
    int64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        members[i].gain = in_units(members[i].weight);
        members[i].credit = 0;
        total += members[i].weight;
    }
    *balancer = (ps_wrr){.members = members, .n = n, .scale = total, .up_weight = total};
}

void ps_wrr_mark(ps_wrr *balancer, size_t member, bool up)
{
    ps_wrr_member *m = &balancer->members[member];
    if ((m->gain != 0) == up) return;
    m->gain = up ? in_units(m->weight) : 0;
    balancer->up_weight += up ? m->weight : -m->weight;
    balancer->changes++;
}

/* Takes `surplus`, the sum of all credits, from those with its sign, each at most down to zero. */
static void level(ps_wrr *balancer, int64_t surplus)
{
    for (size_t i = 0; surplus != 0; i++) {
        int64_t *credit = &balancer->members[i].credit;
        if (*credit == 0 || (*credit > 0) != (surplus > 0)) continue;
        int64_t part = (*credit > surplus) == (surplus > 0) ? surplus : *credit;
        *credit -= part;
        surplus -= part;
    }
}

/* Counts the credits in the weight that is up now: those it had until now were in `scale`. */
static void rescale(ps_wrr *balancer)
{
    int64_t sum = 0;
    for (size_t i = 0; i < balancer->n; i++) {
        int64_t *credit = &balancer->members[i].credit;
        *credit = (int64_t)((__int128)*credit * balancer->up_weight / balancer->scale);
        sum += *credit;
    }
    level(balancer, sum);
    balancer->scale = balancer->up_weight;
}

ps_status ps_wrr_pick(ps_wrr *balancer, size_t *winner)
{
    /* here and not in mark: a member that is out and back between two picks leaves no trace */
    if (balancer->scale != balancer->up_weight) {
        if (balancer->up_weight == 0) return PS_EMPTY;
        rescale(balancer);
    }
    ps_wrr_member *best = NULL;
    int64_t highest = INT64_MIN;
    for (ps_wrr_member *m = balancer->members, *end = m + balancer->n; m < end; m++) {
        if (m->gain == 0) continue;
        m->credit += m->gain;
        if (m->credit > highest) {
            highest = m->credit;
            best = m;
        }
    }
    best->credit = highest - in_units(balancer->scale);
    balancer->changes++;
    *winner = (size_t)(best - balancer->members);
    return PS_OK;
}

ps_status ps_wrr_pick_many(ps_wrr *balancer, size_t count, ptrdiff_t *winners)
{
    for (size_t i = 0; i < count; i++) {
        size_t winner;
        if (ps_wrr_pick(balancer, &winner) != PS_OK) return PS_EMPTY; /* at the first pick or never */
        winners[i] = (ptrdiff_t)winner;
    }
    return PS_OK;
}

void ps_wrr_copy(const ps_wrr *balancer, ps_wrr_member *members, ps_wrr *copy)
{
    memcpy(members, balancer->members, balancer->n * sizeof *members);
    *copy = *balancer;
    copy->members = members;
}

ps_status ps_wrr_adopt(ps_wrr *balancer, const ps_wrr *copy, uint64_t since)
{
    if (balancer->changes != since) return PS_REFUSED;
    memcpy(balancer->members, copy->members, balancer->n * sizeof *copy->members);
    balancer->scale = copy->scale;
    balancer->up_weight = copy->up_weight;
    balancer->changes = copy->changes;
    return PS_OK;
}

void ps_wrr_restore(ps_wrr *balancer, int64_t scale, const int64_t *credits)
{
    balancer->scale = scale;
    for (size_t i = 0; i < balancer->n; i++) balancer->members[i].credit = credits[i];
    balancer->changes++;
}

/* The sum of the credits that are at least `floor`, and how many these are. */
static __int128 sum_from(const ps_wrr *balancer, int64_t floor, int64_t *count)
{
    __int128 sum = 0;
    *count = 0;
    for (size_t i = 0; i < balancer->n; i++) {
        if (balancer->members[i].credit < floor) continue;
        sum += balancer->members[i].credit;
        ++*count;
    }
    return sum;
}

static bool weights_hold(const ps_wrr *balancer)
{
    int64_t total = 0, up = 0;
    for (size_t i = 0; i < balancer->n; i++) {
        const ps_wrr_member *m = &balancer->members[i];
        if (m->weight < 1 || (m->gain != 0 && m->gain != in_units(m->weight))) return false;
        total += m->weight;
        up += m->gain ? m->weight : 0;
    }
    return total <= PS_WRR_MAX_TOTAL && up == balancer->up_weight && balancer->scale <= total;
}

bool ps_wrr_check(const ps_wrr *balancer)
{
    int64_t n = (int64_t)balancer->n, k;
    if (n < 1 || n > PS_WRR_MAX_MEMBERS || balancer->scale < 1 || !weights_hold(balancer)) return false;
    if (sum_from(balancer, INT64_MIN, &k) != 0) return false;
    /* equal credits count together: F is concave, so it holds between two ends where it holds at both */
    for (size_t i = 0; i < balancer->n; i++) {
        __int128 highest = sum_from(balancer, balancer->members[i].credit, &k);
        if (2 * highest > (__int128)k * (n - k) * in_units(balancer->scale)) return false;
    }
    return true;
}
