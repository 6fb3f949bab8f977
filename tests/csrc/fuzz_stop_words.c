/* Sets of any bytes: what was put in is in, what was not is not, and an allocation that fails leaves nothing.
 */
#include "fuzz.h"
#include "stop_words.h"

enum { MOST = 40, LONGEST = 12, BEHIND = 8 };

typedef struct {
    uint8_t bytes[LONGEST + BEHIND];
    uint32_t size;
} word;

static bool memory_ends;

static void *resize(void *memory, size_t size) { return memory_ends ? NULL : realloc(memory, size); }

/* Of two bytes, so that words repeat; `zeros` are bytes that no text has. */
static void any_word(fuzz_input *input, bool zeros, word *made)
{
    made->size = (uint32_t)fuzz_take(input, 1) % (LONGEST + 1);
    for (uint32_t i = 0; i < sizeof made->bytes; i++)
        made->bytes[i] = fuzz_take(input, 1) % 2 ? 'a' : zeros && i % 3 == 0 ? 0 : 'b';
}

static bool is_among(const word *words, uint32_t count, const word *one)
{
    for (uint32_t i = 0; i < count; i++)
        if (words[i].size == one->size && memcmp(words[i].bytes, one->bytes, one->size) == 0) return true;
    return false;
}

static void try_set(fuzz_input *input)
{
    word words[MOST], asked;
    uint32_t sizes[MOST], count = (uint32_t)fuzz_take(input, 1) % MOST, total = 0;
    uint8_t bytes[MOST * LONGEST];
    for (uint32_t i = 0; i < count; i++) {
        any_word(input, true, &words[i]);
        sizes[i] = words[i].size;
        memcpy(bytes + total, words[i].bytes, sizes[i]);
        total += sizes[i];
    }
    ps_stop_words *set = NULL;
    const ps_allocator allocator = {resize, free};
    memory_ends = true;
    FUZZ_REQUIRE(ps_stop_words_init(&set, bytes, sizes, count, allocator) == PS_NO_MEMORY && set == NULL);
    memory_ends = false;
    FUZZ_REQUIRE(ps_stop_words_init(&set, bytes, sizes, count, allocator) == PS_OK);
    for (uint32_t i = 0; i < 2 * MOST; i++) {
        if (i % 2 && count > 0)
            asked = words[i % count];
        else
            any_word(input, false, &asked);
        if (memchr(asked.bytes, 0, asked.size) == NULL)
            FUZZ_REQUIRE(ps_stop_words_has(set, asked.bytes, asked.size) == is_among(words, count, &asked));
    }
    ps_stop_words_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    for (unsigned i = 0; i < 2 && input.left > 0; i++) try_set(&input);
    ps_stop_words_free(NULL);
    return 0;
}
