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
    balancer->settled = false;
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

/* Counts the credits in the weight that is up now; until now they were counted in `scale`. */
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

/* Not done in mark, so that a member that is out and back between two picks leaves no trace. */
static ps_status settle(ps_wrr *balancer)
{
    if (balancer->up_weight == 0) return PS_EMPTY;
    if (balancer->scale != balancer->up_weight) rescale(balancer);
    int64_t up = 0;
    for (size_t i = 0; i < balancer->n; i++) up += balancer->members[i].gain != 0;
    int64_t price = in_units(balancer->scale);
    balancer->owed_enough = price / (up > 1 ? 2 * up - 2 : 2);
    balancer->late = price - balancer->owed_enough;
    balancer->settled = true;
    return PS_OK;
}

static ps_wrr_member *owed_most(const ps_wrr *balancer)
{
    ps_wrr_member *best = NULL;
    for (ps_wrr_member *m = balancer->members, *end = m + balancer->n; m < end; m++)
        if (m->gain != 0 && (best == NULL || m->credit > best->credit)) best = m;
    return best;
}

/* The one of those owed enough that has the fewest picks to go until it is late. */
static ps_wrr_member *late_soonest(const ps_wrr *balancer)
{
    ps_wrr_member *best = NULL;
    __int128 left = 0, weight = 0; /* of the best: it is late in left / weight picks' worth of credit */
    for (ps_wrr_member *m = balancer->members, *end = m + balancer->n; m < end; m++) {
        if (m->gain == 0 || m->credit < balancer->owed_enough) continue;
        int64_t to_go = balancer->late - m->credit;
        if (best != NULL && to_go * weight >= left * m->weight) continue;
        best = m;
        left = to_go;
        weight = m->weight;
    }
    return best;
}

ps_status ps_wrr_pick(ps_wrr *balancer, size_t *winner)
{
    if (!balancer->settled && settle(balancer) != PS_OK) return PS_EMPTY;
    for (ps_wrr_member *m = balancer->members, *end = m + balancer->n; m < end; m++) m->credit += m->gain;
    ps_wrr_member *best = owed_most(balancer);
    if (balancer->owed_enough <= best->credit && best->credit < balancer->late) best = late_soonest(balancer);
    best->credit -= in_units(balancer->scale);
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
    ps_wrr_member *members = balancer->members;
    *balancer = *copy;
    balancer->members = members;
    return PS_OK;
}

void ps_wrr_restore(ps_wrr *balancer, int64_t scale, const int64_t *credits)
{
    balancer->scale = scale;
    for (size_t i = 0; i < balancer->n; i++) balancer->members[i].credit = credits[i];
    balancer->settled = false;
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
        int64_t bound = k * (n - k) + (k < n - k ? k : n - k);
        if (2 * highest > (__int128)bound * in_units(balancer->scale)) return false;
    }
    return true;
}
