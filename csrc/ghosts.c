#include "ghosts.h"

void ps_ghosts_init(ps_ghosts *ghosts, bool weighs, ps_allocator allocator)
{
    *ghosts = (ps_ghosts){.weighs = weighs, .allocator = allocator};
    ps_index_init(&ghosts->index, allocator);
}

void ps_ghosts_free(ps_ghosts *ghosts)
{
    ghosts->allocator.release(ghosts->hashes);
    ghosts->allocator.release(ghosts->weights);
    ps_index_free(&ghosts->index);
}

/* The place of a hash, PS_INDEX_NONE if it is not there. No hash is there twice. */
static uint32_t find(const ps_ghosts *ghosts, uint32_t hash)
{
    ps_index_search search = ps_index_begin(&ghosts->index, hash);
    uint32_t found;
    do found = ps_index_next(&ghosts->index, &search);
    while (found != PS_INDEX_NONE && ghosts->hashes[found] != hash);
    return found;
}

static bool lives(const ps_ghosts *ghosts, uint32_t place)
{
    return find(ghosts, ghosts->hashes[place]) == place;
}

static int64_t weight_of(const ps_ghosts *ghosts, uint32_t place)
{
    return ghosts->weighs ? ghosts->weights[place] : 1;
}

static void bury(ps_ghosts *ghosts, uint32_t place)
{
    ps_index_remove(&ghosts->index, ghosts->hashes[place], place);
    ghosts->weight -= weight_of(ghosts, place);
}

/* Half as many places again as hashes, and a few: so the living seldom move together. */
static uint64_t places_for(uint32_t hashes) { return (uint64_t)hashes + hashes / 2 + 8; }

static ps_status make_places(ps_ghosts *ghosts, uint32_t places)
{
    ghosts->hashes = ghosts->allocator.resize(NULL, places * sizeof *ghosts->hashes);
    if (ghosts->weighs) ghosts->weights = ghosts->allocator.resize(NULL, places * sizeof *ghosts->weights);
    ghosts->places = places;
    return ghosts->hashes && (ghosts->weights || !ghosts->weighs) ? PS_OK : PS_NO_MEMORY;
}

ps_status ps_ghosts_reserve(ps_ghosts *ghosts, uint32_t hashes)
{
    uint64_t places = places_for(hashes);
    if (places <= ghosts->places) return PS_OK;
    ps_ghosts grown;
    ps_ghosts_init(&grown, ghosts->weighs, ghosts->allocator);
    if (places >= UINT32_MAX || make_places(&grown, (uint32_t)places) != PS_OK ||
        ps_index_reset(&grown.index, hashes + 1) != PS_OK) { /* one more: it comes before another goes */
        ps_ghosts_free(&grown);
        return PS_NO_MEMORY;
    }
    for (uint32_t place = ghosts->first; place < ghosts->end; place++)
        if (lives(ghosts, place))
            ps_ghosts_add(&grown, ghosts->hashes[place], weight_of(ghosts, place), hashes, INT64_MAX);
    ps_ghosts_free(ghosts);
    *ghosts = grown;
    return PS_OK;
}

/* Moves the living to the front, in their order. */
static void move_together(ps_ghosts *ghosts)
{
    uint32_t to = 0;
    for (uint32_t place = ghosts->first; place < ghosts->end; place++) {
        if (!lives(ghosts, place)) continue;
        uint32_t hash = ghosts->hashes[place];
        ps_index_renumber(&ghosts->index, hash, place, to);
        ghosts->hashes[to] = hash;
        if (ghosts->weighs) ghosts->weights[to] = ghosts->weights[place];
        to++;
    }
    ghosts->first = 0;
    ghosts->end = to;
}

void ps_ghosts_add(ps_ghosts *ghosts, uint32_t hash, int64_t weight, uint32_t most, int64_t max_weight)
{
    ps_ghosts_take(ghosts, hash);
    if (ghosts->end == ghosts->places) move_together(ghosts);
    uint32_t place = ghosts->end++;
    ghosts->hashes[place] = hash;
    if (ghosts->weighs) ghosts->weights[place] = weight;
    ghosts->weight += weight_of(ghosts, place);
    ps_index_add(&ghosts->index, hash, place);
    ps_ghosts_bound(ghosts, most, max_weight);
}

void ps_ghosts_bound(ps_ghosts *ghosts, uint32_t most, int64_t max_weight)
{
    while (ghosts->index.size > most || ghosts->weight > max_weight) {
        if (lives(ghosts, ghosts->first)) bury(ghosts, ghosts->first);
        ghosts->first++;
    }
}

bool ps_ghosts_take(ps_ghosts *ghosts, uint32_t hash)
{
    uint32_t found = find(ghosts, hash);
    if (found == PS_INDEX_NONE) return false;
    bury(ghosts, found);
    return true;
}

size_t ps_ghosts_bytes(const ps_ghosts *ghosts)
{
    size_t place = sizeof *ghosts->hashes + (ghosts->weighs ? sizeof *ghosts->weights : 0);
    return ghosts->places * place + ps_index_bytes(&ghosts->index);
}

bool ps_ghosts_check(const ps_ghosts *ghosts)
{
    uint32_t living = 0;
    int64_t weight = 0;
    for (uint32_t place = ghosts->first; place < ghosts->end; place++) {
        if (!lives(ghosts, place)) continue;
        living++;
        weight += weight_of(ghosts, place);
    }
    return ghosts->first <= ghosts->end && ghosts->end <= ghosts->places && living == ghosts->index.size &&
           weight == ghosts->weight && ps_index_check(&ghosts->index);
}
