#include "maglev_slots.h"

#include <string.h>

#include "mix.h"

#define FREE UINT16_MAX
#define GROUP 16 /* reads that a processor can wait for at the same time */

typedef struct {
    double due;    /* when its next turn is */
    double stride; /* between two turns: the greatest weight / its own */
    uint32_t turns; /* taken */
    uint32_t node;
    uint32_t next; /* slot of its list */
    uint32_t skip;
} taker;

static bool before(const taker *a, const taker *b)
{
    return a->due < b->due || (a->due == b->due && a->node < b->node);
}

/* Puts the first taker where it belongs among the others, which are a heap: none comes before its parent. */
static void sink(taker *heap, uint32_t n)
{
    taker moved = heap[0];
    uint32_t hole = 0;
    for (uint32_t child = 1; child < n; child = 2 * hole + 1) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &moved)) break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = moved;
}

/* All are due at 0, so that the order of their indices is a heap. */
static void line_up(taker *heap, uint32_t size, uint32_t nodes, const uint64_t *identities,
                    const double *weights)
{
    double greatest = 0;
    for (uint32_t i = 0; i < nodes; i++)
        if (weights[i] > greatest) greatest = weights[i];
    for (uint32_t i = 0; i < nodes; i++) {
        heap[i] = (taker){
            .stride = greatest / weights[i],
            .node = i,
            .next = (uint32_t)(identities[i] % size),
            .skip = (uint32_t)(1 + ps_mix64(identities[i]) % (size - 1)),
        };
    }
}

static void take_slot(ps_maglev *table, taker *t)
{
    uint32_t size = table->size, slot = t->next;
    while (table->slots[slot] != FREE) {
        slot += t->skip;
        if (slot >= size) slot -= size; /* not modulo, which costs ten times as much; size < 2^31 */
    }
    table->slots[slot] = (uint16_t)t->node;
    t->next = slot;
    t->turns++;
    t->due = t->turns * t->stride;
}

ps_status ps_maglev_init(ps_maglev *table, uint32_t size, uint32_t nodes, const uint64_t *identities,
                         const double *weights, ps_allocator allocator)
{
    uint16_t *slots = allocator.resize(NULL, size * sizeof *slots);
    taker *heap = allocator.resize(NULL, nodes * sizeof *heap);
    if (slots == NULL || heap == NULL) {
        allocator.release(slots);
        allocator.release(heap);
        return PS_NO_MEMORY;
    }
    *table = (ps_maglev){slots, size, nodes, allocator};
    for (uint32_t i = 0; i < size; i++) slots[i] = FREE;
    line_up(heap, size, nodes, identities, weights);
    for (uint32_t taken = 0; taken < size; taken++) {
        take_slot(table, &heap[0]);
        sink(heap, nodes);
    }
    allocator.release(heap);
    return PS_OK;
}

void ps_maglev_free(ps_maglev *table)
{
    table->allocator.release(table->slots);
    table->slots = NULL;
}

void ps_maglev_locate_all(const ps_maglev *table, const uint64_t *positions, size_t n, int32_t *nodes)
{
    uint32_t slots[GROUP];
    for (size_t done = 0; done < n; done += GROUP) { /* so that a large table is waited for once a group */
        size_t some = n - done < GROUP ? n - done : GROUP;
        for (size_t i = 0; i < some; i++) {
            slots[i] = (uint32_t)(positions[done + i] % table->size);
            __builtin_prefetch(&table->slots[slots[i]]);
        }
        for (size_t i = 0; i < some; i++) nodes[done + i] = table->slots[slots[i]];
    }
}

size_t ps_maglev_scratch(const ps_maglev *table) { return (table->nodes + 7) / 8; }

void ps_maglev_order(const ps_maglev *table, uint64_t position, uint32_t n, void *scratch, uint32_t *order)
{
    uint8_t *seen = scratch; /* one bit a node */
    memset(seen, 0, ps_maglev_scratch(table));
    uint32_t slot = (uint32_t)(position % table->size);
    for (uint32_t found = 0; found < n; slot = slot + 1 < table->size ? slot + 1 : 0) {
        uint32_t node = table->slots[slot];
        if (seen[node / 8] >> node % 8 & 1) continue;
        seen[node / 8] |= (uint8_t)(1 << node % 8);
        order[found++] = node;
    }
}

bool ps_maglev_check(const ps_maglev *table)
{
    for (uint32_t i = 0; i < table->size; i++)
        if (table->slots[i] >= table->nodes) return false;
    for (uint32_t node = 0; node < table->nodes; node++) {
        uint32_t i = 0;
        while (i < table->size && table->slots[i] != node) i++;
        if (i == table->size) return false;
    }
    return true;
}
