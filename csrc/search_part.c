#include "search_part.h"

#include <string.h>

int ps_term_compare(ps_term a, ps_term b)
{
    if (a.field != b.field) return a.field < b.field ? -1 : 1;
    uint32_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.bytes, b.bytes, common) : 0;
    if (order != 0 || a.size == b.size) return order;
    return a.size < b.size ? -1 : 1;
}

uint32_t ps_part_first_at(const ps_part *part, ps_term term)
{
    uint32_t low = 0, high = part->terms;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ps_term_compare(part->term(part, middle), term) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
