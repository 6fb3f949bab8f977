#include "stop_words.h"

#include <string.h>

#include "xxhash.h"

/* A word with a zero in it would be the same as one without. */
static inline bool is_short(const uint8_t *bytes, uint32_t size)
{
    return size > 0 && size <= PS_STOP_WORD_SHORT && memchr(bytes, 0, size) == NULL;
}

/* The slot where a word that is not short is, or would be. */
static uint32_t *slot_of(const ps_stop_words *set, const uint8_t *bytes, uint32_t size)
{
    uint32_t at = (uint32_t)ps_xxh3_64(bytes, size, 0) & set->mask;
    for (; set->slots[at] != 0; at = (at + 1) & set->mask) {
        uint32_t start = set->starts[set->slots[at] - 1], end = set->starts[set->slots[at]];
        if (end - start == size && memcmp(set->bytes + start, bytes, size) == 0) break;
    }
    return &set->slots[at];
}

bool ps_stop_words_has_long(const ps_stop_words *set, const uint8_t *bytes, uint32_t size)
{
    return *slot_of(set, bytes, size) != 0;
}

ps_status ps_stop_words_init(ps_stop_words **set, const uint8_t *bytes, const uint32_t *sizes, uint32_t count,
                             ps_allocator allocator)
{
    uint64_t total = 0, slots = 4;
    uint32_t bits = 4;
    for (uint32_t i = 0; i < count; i++) total += sizes[i];
    for (; slots < (uint64_t)count * 2; slots *= 2) bits++;
    if (total > UINT32_MAX || slots > UINT32_MAX) return PS_NO_MEMORY;
    size_t shorts = (size_t)1 << bits, numbers = (size_t)slots + count + 1;
    size_t size =
        sizeof(ps_stop_words) + shorts * sizeof(uint64_t) + numbers * sizeof(uint32_t) + (size_t)total;
    ps_stop_words *made = allocator.resize(NULL, size + PS_STOP_WORD_SHORT);
    if (made == NULL) return PS_NO_MEMORY;
    memset(made, 0, size + PS_STOP_WORD_SHORT);
    made->shorts = (uint64_t *)(made + 1);
    made->shift = 64 - bits;
    made->mask = (uint32_t)slots - 1;
    made->slots = (uint32_t *)(made->shorts + shorts);
    made->starts = made->slots + slots;
    made->bytes = (uint8_t *)(made->slots + numbers);
    made->allocator = allocator;
    if (total > 0) memcpy(made->bytes, bytes, (size_t)total);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *word = made->bytes + made->starts[i];
        made->starts[i + 1] = made->starts[i] + sizes[i];
        if (is_short(word, sizes[i])) {
            uint64_t key = ps_stop_word_key(word, sizes[i]);
            *ps_stop_word_place(made, key) = key;
        } else {
            *slot_of(made, word, sizes[i]) = i + 1;
        }
    }
    *set = made;
    return PS_OK;
}

void ps_stop_words_free(ps_stop_words *set)
{
    if (set != NULL) set->allocator.release(set);
}
