#include "search_leaves.h"

#include <string.h>

/* Looks a word up in every part. */
static bool find_word(ps_leaves *leaves, uint32_t word)
{
    const ps_inverted *index = leaves->index;
    ps_term term = leaves->plan->words[word].term;
    uint64_t hash = ps_term_hash(term, index->seed), found = 0, dead = 0;
    for (uint32_t p = 0; p < index->part_count; p++) {
        const ps_part *part = index->parts[p];
        ps_postings *list = &leaves->lists[(size_t)p * leaves->plan->word_count + word];
        uint32_t number = part->find(part, term, hash);
        if (number == PS_NO_TERM) {
            memset(list, 0, sizeof *list);
            continue;
        }
        if (!part->postings(part, number, list)) return false;
        found += list->count;
        if (part->dead_docs > 0) dead += ps_inverted_dead_among(index, part, number, list);
    }
    leaves->postings += found;
    found = found > dead ? found - dead : 0;
    leaves->dfs[word] =
        found < index->live ? (uint32_t)found : index->live; /* above it only in made-up files */
    return true;
}

/* Words of a live document in a field. */
static double average_length(const ps_inverted *index, uint32_t field)
{
    return (double)index->words[field] / (double)index->live;
}

static ps_impact impact_of_term(const ps_leaves *leaves, const ps_plan_node *node, const ps_scorer *scorer)
{
    const ps_plan_word *words = leaves->plan->words + node->word;
    uint32_t df = 0;
    double average = 0;
    for (uint32_t i = 0; i < node->words; i++) {
        uint32_t found = leaves->dfs[node->word + i];
        if (found > df) df = found;
        average += words[i].weight * average_length(leaves->index, words[i].term.field);
    }
    if (df == 0) return (ps_impact){0};
    ps_impact impact =
        ps_impact_of(scorer, node->weight, ps_scorer_idf(scorer, df, leaves->index->live), average);
    if (node->words == 1) impact.field = words->weight;
    return impact;
}

static ps_impact impact_of_phrase(const ps_leaves *leaves, const ps_plan_node *node, const ps_scorer *scorer)
{
    double idf = 0;
    for (uint32_t i = 0; i < node->words; i++) {
        uint32_t df = leaves->dfs[node->word + i];
        if (df == 0) return (ps_impact){0};
        idf += ps_scorer_idf(scorer, df, leaves->index->live);
    }
    if (node->words == 0) return (ps_impact){0};
    uint32_t field = leaves->plan->words[node->word].term.field;
    return ps_impact_of(scorer, node->weight, idf, average_length(leaves->index, field));
}

static void weigh(ps_leaves *leaves, const ps_scorer *scorer)
{
    const ps_plan *plan = leaves->plan;
    double most = 0;
    for (uint32_t i = 0; i < plan->node_count; i++) {
        const ps_plan_node *node = &plan->nodes[i];
        ps_impact *impact = &leaves->impacts[i];
        if (node->kind == PS_TERM) {
            *impact = impact_of_term(leaves, node, scorer);
        } else if (node->kind == PS_PHRASE) {
            *impact = impact_of_phrase(leaves, node, scorer);
        } else {
            *impact = (ps_impact){0};
            if (node->kind != PS_CONST) continue;
            impact->added = node->weight;
            most += node->weight;
            continue;
        }
        most += ps_impact_most(impact, scorer);
    }
    leaves->grid = ps_impact_grid(most);
    for (uint32_t i = 0; i < plan->node_count; i++) {
        ps_impact *impact = &leaves->impacts[i];
        ps_impact_set_grid(impact, leaves->grid);
        if (plan->nodes[i].kind == PS_CONST) impact->added = ps_impact_round(impact, impact->added);
    }
}

static size_t up_to_line(size_t size) { return (size + 63) & ~(size_t)63; }

ps_status ps_leaves_bind(ps_leaves *leaves, const ps_inverted *index, const ps_plan *plan,
                         const ps_scorer *scorer)
{
    size_t impacts = up_to_line(sizeof(ps_impact) * plan->node_count),
           dfs = up_to_line(4 * (size_t)plan->word_count);
    size_t lists = sizeof(ps_postings) * plan->word_count * index->part_count;
    uint8_t *memory = ps_room_of(&leaves->memory, impacts + dfs + lists, leaves->allocator);
    if (memory == NULL) return PS_NO_MEMORY;
    leaves->index = index;
    leaves->plan = plan;
    leaves->impacts = (ps_impact *)(void *)memory;
    leaves->dfs = (uint32_t *)(void *)(memory + impacts);
    leaves->lists = (ps_postings *)(void *)(memory + impacts + dfs);
    leaves->postings = 0;
    for (uint32_t word = 0; word < plan->word_count; word++)
        if (!find_word(leaves, word)) return PS_BROKEN;
    if (index->live > 0) weigh(leaves, scorer);
    return PS_OK;
}

void ps_leaves_free(ps_leaves *leaves) { ps_room_free(&leaves->memory, leaves->allocator); }
