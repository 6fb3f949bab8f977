#include "radix_sort.h"

#include <stdbool.h>
#include <string.h>

enum {
    DIGIT_BITS = 8, /* 11 make fewer moves, but to more places than the processor keeps at hand: slower */
    DIGITS = 1 << DIGIT_BITS,
    PASSES = 64 / DIGIT_BITS,
    FEW = 32, /* so few are quicker inserted one by one */
};

/* Where the pairs lie, or shall lie. */
typedef struct {
    int64_t *keys;
    uint64_t *values; /* NULL: keys alone */
} pairs;

static bool ascend(const int64_t *keys, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (keys[i - 1] > keys[i]) return false;
    return true;
}

static void insert_each(pairs all, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int64_t key = all.keys[i];
        uint64_t value = all.values ? all.values[i] : 0;
        size_t at = i;
        for (; at > 0 && all.keys[at - 1] > key; at--) {
            all.keys[at] = all.keys[at - 1];
            if (all.values) all.values[at] = all.values[at - 1];
        }
        all.keys[at] = key;
        if (all.values) all.values[at] = value;
    }
}

/* Keys as unsigned numbers in the same order. */
static inline uint64_t unsigned_of(int64_t key) { return (uint64_t)key ^ UINT64_C(1) << 63; }

static inline size_t digit_of(int64_t key, unsigned pass)
{
    return (size_t)(unsigned_of(key) >> DIGIT_BITS * pass) % DIGITS;
}

static void count_digits(const int64_t *keys, size_t n, size_t counts[PASSES][DIGITS])
{
    memset(counts, 0, sizeof(size_t[PASSES][DIGITS]));
    for (size_t i = 0; i < n; i++)
        for (unsigned pass = 0; pass < PASSES; pass++) counts[pass][digit_of(keys[i], pass)]++;
}

/* Turns counts into the places where the first of each digit goes. */
static void places_of(size_t *counts)
{
    size_t before = 0;
    for (size_t digit = 0; digit < DIGITS; digit++) {
        size_t count = counts[digit];
        counts[digit] = before;
        before += count;
    }
}

static void move(pairs from, pairs to, size_t n, unsigned pass, size_t *places)
{
    if (from.values == NULL)
        for (size_t i = 0; i < n; i++) to.keys[places[digit_of(from.keys[i], pass)]++] = from.keys[i];
    else
        for (size_t i = 0; i < n; i++) {
            size_t place = places[digit_of(from.keys[i], pass)]++;
            to.keys[place] = from.keys[i];
            to.values[place] = from.values[i];
        }
}

ps_status ps_radix_sort(int64_t *keys, uint64_t *values, size_t n, ps_allocator allocator)
{
    pairs all = {keys, values};
    if (ascend(keys, n)) return PS_OK;
    if (n <= FEW) {
        insert_each(all, n);
        return PS_OK;
    }
    size_t size = sizeof *keys + (values ? sizeof *values : 0);
    int64_t *room = n <= SIZE_MAX / size ? allocator.resize(NULL, n * size) : NULL;
    if (room == NULL) return PS_NO_MEMORY;
    size_t counts[PASSES][DIGITS];
    count_digits(keys, n, counts);
    pairs from = all, to = {room, values ? (uint64_t *)(room + n) : NULL};
    for (unsigned pass = 0; pass < PASSES; pass++) {
        if (counts[pass][digit_of(keys[0], pass)] == n) continue;
        places_of(counts[pass]);
        move(from, to, n, pass, counts[pass]);
        pairs moved = to;
        to = from;
        from = moved;
    }
    if (from.keys != keys) {
        memcpy(keys, from.keys, n * sizeof *keys);
        if (values) memcpy(values, from.values, n * sizeof *values);
    }
    allocator.release(room);
    return PS_OK;
}
