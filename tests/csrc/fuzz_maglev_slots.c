/* Maglev's table against turns taken one by one, and its order against a walk that remembers everything. */
#include "maglev_slots.h"
#include "fuzz.h"
#include "mix.h"

#define MOST_NODES 40
#define MOST_SLOTS 509
#define MOST_KEYS 40

static const uint32_t PRIMES[] = {2, 3, 5, 7, 13, 41, 101, MOST_SLOTS};
static uint64_t identities[MOST_NODES];
static double weights[MOST_NODES];
static uint64_t allocations_left;

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};

static void draw_nodes(fuzz_input *input, uint32_t nodes)
{
    bool equal = fuzz_take(input, 1) % 2, alike = fuzz_take(input, 1) % 8 == 0;
    for (uint32_t i = 0; i < nodes; i++) {
        identities[i] = alike ? 7 : fuzz_take(input, 8); /* the same list of slots for all */
        weights[i] = equal ? 3 : (double)fuzz_between(input, 1, 1000) / 8;
    }
}

/* The slot that a node takes: the first of its list, counted out from the start, that is free. */
static uint32_t slot_to_take(const int *slots, uint32_t size, uint64_t identity)
{
    uint64_t offset = identity % size, skip = 1 + ps_mix64(identity) % (size - 1);
    for (uint64_t i = 0;; i++) {
        uint32_t slot = (uint32_t)((offset + i * skip) % size);
        if (slots[slot] < 0) return slot;
    }
}

static void require_turns(const ps_maglev *table)
{
    int slots[MOST_SLOTS];
    uint32_t turns[MOST_NODES] = {0};
    double greatest = 0;
    for (uint32_t i = 0; i < table->nodes; i++) greatest = weights[i] > greatest ? weights[i] : greatest;
    for (uint32_t i = 0; i < table->size; i++) slots[i] = -1;
    for (uint32_t taken = 0; taken < table->size; taken++) {
        uint32_t next = 0;
        for (uint32_t i = 1; i < table->nodes; i++)
            if (turns[i] * (greatest / weights[i]) < turns[next] * (greatest / weights[next])) next = i;
        slots[slot_to_take(slots, table->size, identities[next])] = (int)next;
        turns[next]++;
    }
    for (uint32_t i = 0; i < table->size; i++) FUZZ_REQUIRE(table->slots[i] == slots[i]);
}

static void require_order(const ps_maglev *table, uint64_t position, uint32_t n)
{
    uint32_t order[MOST_NODES], found = 0;
    uint8_t scratch[MOST_NODES];
    bool seen[MOST_NODES] = {false};
    FUZZ_REQUIRE(ps_maglev_scratch(table) <= sizeof scratch);
    ps_maglev_order(table, position, n, scratch, order);
    FUZZ_REQUIRE(n == 0 || order[0] == ps_maglev_locate(table, position));
    for (uint32_t i = 0; found < n; i++) {
        uint32_t node = table->slots[(position % table->size + i) % table->size];
        if (seen[node]) continue;
        seen[node] = true;
        FUZZ_REQUIRE(order[found++] == node);
    }
}

/* In place, as callers may have it. */
static void require_located(const ps_maglev *table, fuzz_input *input)
{
    static uint64_t positions[MOST_KEYS], given[MOST_KEYS];
    int32_t nodes[2 * MOST_KEYS];
    size_t n = (size_t)fuzz_between(input, 0, MOST_KEYS);
    for (size_t i = 0; i < n; i++) given[i] = positions[i] = fuzz_take(input, 8);
    ps_maglev_locate_all(table, positions, n, (int32_t *)positions);
    memcpy(nodes, positions, sizeof positions);
    for (size_t i = 0; i < n; i++)
        FUZZ_REQUIRE(nodes[i] == (int32_t)ps_maglev_locate(table, given[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint32_t slots = PRIMES[fuzz_take(&input, 1) % (sizeof PRIMES / sizeof *PRIMES)];
    uint32_t nodes = (uint32_t)fuzz_between(&input, 1, slots < MOST_NODES ? slots : MOST_NODES);
    draw_nodes(&input, nodes);

    ps_maglev table = {0};
    allocations_left = fuzz_take(&input, 1) % 16 == 0 ? fuzz_take(&input, 1) % 2 : UINT64_MAX;
    if (ps_maglev_init(&table, slots, nodes, identities, weights, ALLOCATOR) != PS_OK) {
        FUZZ_REQUIRE(allocations_left == 0 && table.slots == NULL);
        return 0;
    }
    FUZZ_REQUIRE(ps_maglev_check(&table));
    require_turns(&table);
    require_located(&table, &input);
    for (int i = 0; i < 8; i++)
        require_order(&table, fuzz_take(&input, 8), (uint32_t)fuzz_between(&input, 0, nodes));
    ps_maglev_free(&table);
    return 0;
}
