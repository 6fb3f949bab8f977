/* term_plan -- queries written as the kernel runs them.
 *
 *     ps_plan_begin(search); ps_plan_node_add(search, ...); ps_plan_word_add(search, ...); ...       any tree
 *     ps_query_begin(search); ps_query_word(search, ...); ...; ps_query_end(search, minimum);       words of
 * a field ps_plans_end(search);
 *
 * Several plans may follow one another in the same memory. No object of Python's is touched here. */
#ifndef PS_TERM_PLAN_H
#define PS_TERM_PLAN_H

#include "term_memory.h"

#define PS_QUERY_WORDS 1024 /* different words that a query can have; the fallback knows the same number */
#define PS_FEW_WORDS 16     /* so many are looked through for one that comes again */

/* ---- a plan: nodes in preorder, the numbers of children and siblings from the first node of the plan */

/* Forgets plans and ids. */
static inline void ps_search_clear(ps_search *search)
{
    search->node_count = search->word_count = search->text.size = search->mask_count = search->slot_count = 0;
    search->first_node = search->first_word = search->id_count = search->names.size = 0;
}

/* A further plan in the same memory. */
static inline void ps_plan_begin(ps_search *search)
{
    search->first_node = search->node_count;
    search->first_word = search->word_count;
    search->slot_count = 0;
}

/* NULL: no memory, or PS_PLAN_NODES are there (then there is room). */
static inline ps_plan_node *ps_plan_node_add(ps_search *search, uint8_t kind, double weight)
{
    if (search->node_count - search->first_node >= PS_PLAN_NODES) return NULL;
    if (!PS_ROOM(search, nodes, node_room, search->node_count + 1)) return NULL;
    ps_plan_node *node = &search->nodes[search->node_count++];
    *node = (ps_plan_node){
        .kind = kind,
        .child = PS_NO_NODE,
        .sibling = PS_NO_NODE,
        .word = (uint32_t)(search->word_count - search->first_word),
        .weight = weight,
    };
    return node;
}

/* Adds a word of which `size` bytes were written behind search->text, and which belong to it then. */
static inline bool ps_plan_word_add(ps_search *search, uint32_t field, uint32_t size, double weight)
{
    if (!PS_ROOM(search, words, word_room, search->word_count + 1)) return false;
    ps_plan_word *word = &search->words[search->word_count++];
    word->term.bytes = (const uint8_t *)(uintptr_t)search->text.size;
    word->term.size = size;
    word->term.field = field;
    word->weight = weight;
    search->text.size += size;
    return true;
}

/* A mask for a node. */
static inline bool ps_plan_mask_add(ps_search *search, size_t node, const void *bytes, size_t size,
                                    size_t same_as)
{
    if (!PS_ROOM(search, masks, mask_room, search->mask_count + 1)) return false;
    search->masks[search->mask_count++] = (ps_plan_mask){(uint32_t)node, bytes, size, (uint32_t)same_as};
    return true;
}

/* Words get the places of their bytes: nothing may be added to any plan from here on. */
static inline void ps_plans_end(ps_search *search)
{
    for (size_t i = 0; i < search->word_count; i++)
        search->words[i].term.bytes = search->text.at + (uintptr_t)search->words[i].term.bytes;
}

/* The plan from a node and a word on. */
static inline ps_plan ps_plan_at(const ps_search *search, size_t node, size_t nodes, size_t word,
                                 size_t words)
{
    return (ps_plan){search->nodes + node, (uint32_t)nodes, search->words + word, (uint32_t)words};
}

static inline ps_plan ps_only_plan(const ps_search *search)
{
    return ps_plan_at(search, 0, search->node_count, 0, search->word_count);
}

/* ---- a plan of words of field 0: ANY or ALL above a TERM for each word, which weighs as much as the word
 * comes often */

static inline bool ps_query_begin(ps_search *search)
{
    ps_plan_begin(search);
    return ps_plan_node_add(search, PS_ANY, 0) != NULL;
}

static inline bool ps_same_word(const ps_search *search, size_t number, const uint8_t *bytes, uint32_t size)
{
    const ps_term *term = &search->words[search->first_word + number].term;
    return term->size == size && memcmp(search->text.at + (uintptr_t)term->bytes, bytes, size) == 0;
}

static inline uint32_t ps_query_hash(const ps_search *search, const uint8_t *bytes, uint32_t size)
{
    return (uint32_t)ps_term_hash((ps_term){bytes, size, 0}, search->seed);
}

/* The slot of a word, or the free one where it belongs. */
static inline uint32_t *ps_query_slot(const ps_search *search, const uint8_t *bytes, uint32_t size)
{
    size_t at = ps_query_hash(search, bytes, size) & (search->slot_count - 1);
    while (search->slots[at] != 0 && !ps_same_word(search, search->slots[at] - 1, bytes, size))
        at = (at + 1) & (search->slot_count - 1);
    return &search->slots[at];
}

/* Twice as many slots as words or more; a power of two. */
static inline bool ps_query_slots(ps_search *search, size_t words)
{
    if (words * 2 < search->slot_count) return true;
    size_t count = search->slot_count == 0 ? 4 * PS_FEW_WORDS : 2 * search->slot_count;
    if (!PS_ROOM(search, slots, slot_room, count)) return false;
    memset(search->slots, 0, count * sizeof *search->slots);
    search->slot_count = count;
    for (size_t i = 0; i < words; i++) {
        const ps_term *term = &search->words[search->first_word + i].term;
        *ps_query_slot(search, search->text.at + (uintptr_t)term->bytes, term->size) = (uint32_t)i + 1;
    }
    return true;
}

/* The number of a word of the query, or the number of words. False: no memory. */
static inline bool ps_query_find(ps_search *search, const uint8_t *bytes, uint32_t size, size_t *number,
                                 uint32_t **slot)
{
    size_t words = search->word_count - search->first_word;
    *slot = NULL;
    if (words < PS_FEW_WORDS) {
        for (*number = 0; *number < words && !ps_same_word(search, *number, bytes, size);) ++*number;
        return true;
    }
    if (!ps_query_slots(search, words)) return false;
    *slot = ps_query_slot(search, bytes, size);
    *number = **slot == 0 ? words : **slot - 1;
    return true;
}

/* One word more; `bytes` may lie behind search->text. Of more than PS_QUERY_WORDS different ones the first
 * count. */
static inline ps_status ps_query_word(ps_search *search, const uint8_t *bytes, uint32_t size)
{
    size_t number;
    uint32_t *slot;
    if (!ps_query_find(search, bytes, size, &number, &slot)) return PS_NO_MEMORY;
    if (number < search->word_count - search->first_word) {
        search->nodes[search->first_node + 1 + number].weight += 1;
        return PS_OK;
    }
    if (number >= PS_QUERY_WORDS) return PS_OK;
    if (bytes != search->text.at + search->text.size) {
        if (!ps_pile_room(search->allocator, &search->text, size)) return PS_NO_MEMORY;
        memcpy(search->text.at + search->text.size, bytes, size);
    }
    ps_plan_node *node = ps_plan_node_add(search, PS_TERM, 1);
    if (node == NULL) return PS_NO_MEMORY;
    node->words = 1;
    if (!ps_plan_word_add(search, 0, size, 1)) return PS_NO_MEMORY;
    if (slot != NULL) *slot = (uint32_t)number + 1;
    return PS_OK;
}

/* Words of a text. */
static inline ps_status ps_query_text(ps_search *search, const ps_word_rules *rules, const void *text,
                                      size_t n, unsigned width)
{
    ps_words words;
    ps_word word;
    ps_status status = PS_OK;
    ps_words_begin(&words, rules, text, n, width);
    while (status == PS_OK && ps_words_next(&words, &word))
        status = ps_query_word(search, word.bytes, word.size);
    return status;
}

/* `minimum` words are to be found; 0: all of them. */
static inline void ps_query_end(ps_search *search, uint32_t minimum)
{
    ps_plan_node *nodes = search->nodes + search->first_node;
    uint32_t words = (uint32_t)(search->word_count - search->first_word);
    nodes[0].kind = minimum == 0 ? PS_ALL : PS_ANY;
    nodes[0].minimum = minimum;
    nodes[0].child = words == 0 ? PS_NO_NODE : 1;
    for (uint32_t i = 1; i < words; i++) nodes[i].sibling = i + 1;
}

#endif
