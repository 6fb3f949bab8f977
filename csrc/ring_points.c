#include "ring_points.h"

#include <string.h>

#define FEW 24    /* points that are sorted one by one */
#define GROUP 32  /* hashes whose memory is fetched together */

static unsigned shift_for(size_t n)
{
    unsigned bits = 1;
    while (((size_t)1 << bits) < n) bits++;
    return 64 - bits;
}

static size_t cells(const ps_ring *ring) { return (size_t)1 << (64 - ring->shift); }

static ps_status reserve(ps_ring *ring, size_t n, ps_allocator allocator)
{
    *ring = (ps_ring){.n = n, .shift = shift_for(n), .allocator = allocator};
    ring->points = allocator.resize(NULL, (n + 1) * sizeof *ring->points);
    ring->owners = allocator.resize(NULL, (n + 1) * sizeof *ring->owners);
    ring->before = allocator.resize(NULL, (cells(ring) + 1) * sizeof *ring->before);
    if (ring->points && ring->owners && ring->before) return PS_OK;
    ps_ring_free(ring);
    return PS_NO_MEMORY;
}

void ps_ring_free(ps_ring *ring)
{
    if (ring->allocator.release == NULL) return; /* never made */
    ring->allocator.release(ring->points);
    ring->allocator.release(ring->owners);
    ring->allocator.release(ring->before);
    ring->points = NULL;
    ring->owners = ring->before = NULL;
}

static bool comes_before(uint64_t point, uint32_t owner, uint64_t other, uint32_t others)
{
    return point < other || (point == other && owner < others);
}

/* ---- sorting: into cells, then within each */

static void sort_few(uint64_t *points, uint32_t *owners, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t point = points[i];
        uint32_t owner = owners[i];
        size_t at = i;
        for (; at > 0 && comes_before(point, owner, points[at - 1], owners[at - 1]); at--) {
            points[at] = points[at - 1];
            owners[at] = owners[at - 1];
        }
        points[at] = point;
        owners[at] = owner;
    }
}

static void sink(uint64_t *points, uint32_t *owners, size_t at, size_t n)
{
    uint64_t point = points[at];
    uint32_t owner = owners[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && comes_before(points[child], owners[child], points[child + 1], owners[child + 1]))
            child++;
        if (!comes_before(point, owner, points[child], owners[child])) break;
        points[at] = points[child];
        owners[at] = owners[child];
    }
    points[at] = point;
    owners[at] = owner;
}

/* Heapsort: no input makes it slow, and a hash of the caller's own may put all points into one cell. */
static void sort_many(uint64_t *points, uint32_t *owners, size_t n)
{
    for (size_t at = n / 2; at-- > 0;) sink(points, owners, at, n);
    for (size_t end = n - 1; end > 0; end--) {
        uint64_t point = points[0];
        uint32_t owner = owners[0];
        points[0] = points[end];
        owners[0] = owners[end];
        points[end] = point;
        owners[end] = owner;
        sink(points, owners, 0, end);
    }
}

static void close_circle(ps_ring *ring)
{
    ring->points[ring->n] = UINT64_MAX;
    ring->owners[ring->n] = ring->owners[0];
}

ps_status ps_ring_init(ps_ring *ring, const uint64_t *points, const uint32_t *owners, size_t n,
                       ps_allocator allocator)
{
    if (reserve(ring, n, allocator) != PS_OK) return PS_NO_MEMORY;
    uint32_t *before = ring->before;
    memset(before, 0, (cells(ring) + 1) * sizeof *before);
    for (size_t i = 0; i < n; i++) before[points[i] >> ring->shift]++;
    uint32_t sum = 0;
    for (size_t cell = 0; cell <= cells(ring); cell++) before[cell] = sum += before[cell]; /* the end of each */
    for (size_t i = n; i-- > 0;) {
        uint32_t at = --before[points[i] >> ring->shift]; /* at last, the start of each */
        ring->points[at] = points[i];
        ring->owners[at] = owners[i];
    }
    for (size_t cell = 0; cell < cells(ring); cell++) {
        size_t at = before[cell], size = before[cell + 1] - at;
        if (size > FEW) sort_many(ring->points + at, ring->owners + at, size);
        else sort_few(ring->points + at, ring->owners + at, size);
    }
    close_circle(ring);
    return PS_OK;
}

/* ---- one owner more or less */

/* Fills the table from the sorted points. */
static void count_before(ps_ring *ring)
{
    size_t cell = 0;
    for (size_t i = 0; i < ring->n; i++)
        for (size_t its = ring->points[i] >> ring->shift; cell <= its; cell++) ring->before[cell] = (uint32_t)i;
    for (; cell <= cells(ring); cell++) ring->before[cell] = (uint32_t)ring->n;
}

/* Fills the table from that of a ring with the same cells that has the n sorted `points` less (change = 1) or
 * more (-1). It moves in whole stretches, which is several times faster than to count anew. */
static void shift_before(ps_ring *ring, const ps_ring *from, const uint64_t *points, size_t n, int change)
{
    size_t cell = 0;
    for (size_t k = 0; k <= n; k++) {
        size_t end = k < n ? (points[k] >> ring->shift) + 1 : cells(ring) + 1;
        uint32_t sum = (uint32_t)((int64_t)k * change);
        for (; cell < end; cell++) ring->before[cell] = from->before[cell] + sum;
    }
}

/* Copies the points [from, to) of a ring to place `at` of another; owners from `owner` on move by `change`. */
static void copy_points(ps_ring *ring, size_t at, const ps_ring *source, size_t from, size_t to, uint32_t owner,
                        int change)
{
    memcpy(ring->points + at, source->points + from, (to - from) * sizeof *ring->points);
    for (size_t i = from; i < to; i++, at++) {
        uint32_t old = source->owners[i];
        ring->owners[at] = old + (old >= owner ? (uint32_t)change : 0);
    }
}

/* The place of a new point in a ring: after the points below it, and those as high of lower owners. */
static size_t place_for(const ps_ring *ring, uint64_t point, uint32_t owner)
{
    size_t at = ps_ring_place(ring, point);
    while (at < ring->n && ring->points[at] == point && ring->owners[at] < owner) at++;
    return at;
}

static void merge(const ps_ring *ring, uint32_t owner, const ps_ring *added, ps_ring *grown)
{
    size_t from = 0, at = 0;
    for (size_t i = 0; i < added->n; i++) {
        size_t to = place_for(ring, added->points[i], owner);
        copy_points(grown, at, ring, from, to, owner, 1);
        at += to - from;
        grown->points[at] = added->points[i];
        grown->owners[at++] = owner;
        from = to;
    }
    copy_points(grown, at, ring, from, ring->n, owner, 1);
    close_circle(grown);
}

static ps_status sorted(ps_ring *ring, const uint64_t *points, size_t count, ps_allocator allocator)
{
    uint32_t *owners = allocator.resize(NULL, count * sizeof *owners);
    if (owners == NULL) return PS_NO_MEMORY;
    memset(owners, 0, count * sizeof *owners);
    ps_status status = ps_ring_init(ring, points, owners, count, allocator);
    allocator.release(owners);
    return status;
}

ps_status ps_ring_add(const ps_ring *ring, uint32_t owner, const uint64_t *points, size_t count,
                      ps_ring *grown)
{
    ps_ring added;
    if (sorted(&added, points, count, ring->allocator) != PS_OK) return PS_NO_MEMORY;
    ps_status status = reserve(grown, ring->n + count, ring->allocator);
    if (status == PS_OK) {
        merge(ring, owner, &added, grown);
        if (grown->shift == ring->shift) shift_before(grown, ring, added.points, added.n, 1);
        else count_before(grown);
    }
    ps_ring_free(&added);
    return status;
}

/* The place of the next point of an owner, n if there is none. */
static size_t next_of(const ps_ring *ring, uint32_t owner, size_t at)
{
    while (at < ring->n && ring->owners[at] != owner) at++;
    return at;
}

ps_status ps_ring_remove(const ps_ring *ring, uint32_t owner, ps_ring *shrunk)
{
    size_t removed = 0, from = 0, at = 0;
    for (size_t i = 0; i < ring->n; i++) removed += ring->owners[i] == owner;
    uint64_t *points = ring->allocator.resize(NULL, (removed + 1) * sizeof *points);
    if (points == NULL) return PS_NO_MEMORY;
    ps_status status = reserve(shrunk, ring->n - removed, ring->allocator);
    for (size_t i = 0; status == PS_OK && i <= removed; i++) {
        size_t to = next_of(ring, owner, from);
        copy_points(shrunk, at, ring, from, to, owner, -1);
        at += to - from;
        if (to < ring->n) points[i] = ring->points[to];
        from = to + 1;
    }
    if (status == PS_OK) {
        close_circle(shrunk);
        if (shrunk->shift == ring->shift) shift_before(shrunk, ring, points, removed, -1);
        else count_before(shrunk);
    }
    ring->allocator.release(points);
    return status;
}

/* ---- lookups */

size_t ps_ring_search(const ps_ring *ring, size_t at, uint64_t hash)
{
    size_t end = ring->before[(hash >> ring->shift) + 1]; /* the first point of a later cell is not below */
    while (at < end) {
        size_t middle = at + (end - at) / 2;
        if (ring->points[middle] < hash) at = middle + 1;
        else end = middle;
    }
    return at;
}

void ps_ring_owners(const ps_ring *ring, const uint64_t *hashes, size_t n, int32_t *owners)
{
    for (size_t done = 0; done < n; done += GROUP) {
        size_t some = n - done < GROUP ? n - done : GROUP;
        const uint64_t *hash = hashes + done;
        for (size_t i = 0; i < some; i++) __builtin_prefetch(&ring->before[hash[i] >> ring->shift]);
        for (size_t i = 0; i < some; i++) {
            size_t at = ring->before[hash[i] >> ring->shift];
            __builtin_prefetch(&ring->points[at]);
            __builtin_prefetch(&ring->owners[at]);
        }
        for (size_t i = 0; i < some; i++) owners[done + i] = (int32_t)ps_ring_owner(ring, hash[i]);
    }
}

static bool is_new(const uint32_t *order, size_t n, uint32_t owner, uint8_t *seen)
{
    if (seen != NULL) {
        uint8_t bit = (uint8_t)(1u << (owner & 7));
        if (seen[owner >> 3] & bit) return false;
        seen[owner >> 3] |= bit;
        return true;
    }
    for (size_t i = 0; i < n; i++)
        if (order[i] == owner) return false;
    return true;
}

void ps_ring_order(const ps_ring *ring, uint64_t hash, size_t n, uint8_t *seen, uint32_t *order)
{
    size_t at = ps_ring_place(ring, hash), found = 0;
    for (size_t steps = 0; found < n && steps < ring->n; steps++, at++) {
        if (at >= ring->n) at = 0;
        uint32_t owner = ring->owners[at];
        if (is_new(order, found, owner, seen)) order[found++] = owner;
    }
    for (uint32_t owner = 0; found < n; owner++) /* those that have no point */
        if (is_new(order, found, owner, seen)) order[found++] = owner;
}

/* ---- invariants */

bool ps_ring_check(const ps_ring *ring)
{
    if (ring->n < 1 || ring->n > PS_RING_MAX_POINTS || ring->shift != shift_for(ring->n)) return false;
    if (ring->points[ring->n] != UINT64_MAX || ring->owners[ring->n] != ring->owners[0]) return false;
    for (size_t i = 1; i < ring->n; i++)
        if (comes_before(ring->points[i], ring->owners[i], ring->points[i - 1], ring->owners[i - 1])) return false;
    size_t below = 0;
    for (size_t cell = 0; cell <= cells(ring); cell++) {
        while (below < ring->n && ring->points[below] >> ring->shift < cell) below++;
        if (ring->before[cell] != below) return false;
    }
    return true;
}
