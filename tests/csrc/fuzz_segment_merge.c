/* Segments made of random parts, with and without dead documents, and again of those segments: each against
 * the plain documents; and with an allocator that fails. */
#include "segment_merge.h"
#include "segment_model.h"

#define MOST_PARTS 4
#define SEED 77

static long allocations_left = -1; /* < 0: no end */
static long held;                  /* pieces of memory */

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    void *now = realloc(memory, size);
    held += memory == NULL && now != NULL;
    return now;
}

static void release(void *memory)
{
    held -= memory != NULL;
    free(memory);
}

static const ps_allocator ALLOCATOR = {resize, release};

static collection all;
static plain_part plain[MOST_PARTS];
static contents of_part[MOST_PARTS];

typedef struct {
    ps_segment segment;
    uint8_t *bytes;
    uint64_t dead[MOST_DOCS / 64 + 9];
    contents holds;
} made;

/* Fails at some allocation first, leaving nothing behind; then does not. */
static void merge(const ps_part **parts, uint32_t count, bool renumber, fuzz_input *input, made *to)
{
    size_t size;
    long before = held;
    allocations_left = (long)(fuzz_take(input, 1) % 16);
    ps_status status = ps_segment_merge(parts, count, renumber, ALLOCATOR, &to->bytes, &size);
    allocations_left = -1;
    if (status == PS_OK) {
        release(to->bytes);
    } else {
        FUZZ_REQUIRE(status == PS_NO_MEMORY);
    }
    FUZZ_REQUIRE(held == before);
    FUZZ_REQUIRE(ps_segment_merge(parts, count, renumber, ALLOCATOR, &to->bytes, &size) == PS_OK);
    uint8_t *exact = realloc(to->bytes, size); /* so that one byte too far is seen */
    FUZZ_REQUIRE(exact != NULL && held == before + 1);
    to->bytes = exact;
    allocations_left = 0;
    status = ps_segment_open(&to->segment, to->bytes, size, SEED, ALLOCATOR);
    allocations_left = -1;
    if (status == PS_OK) ps_segment_close(&to->segment);
    FUZZ_REQUIRE(status == PS_OK || status == PS_NO_MEMORY);
    FUZZ_REQUIRE(ps_segment_open(&to->segment, to->bytes, size, SEED, ALLOCATOR) == PS_OK);
    expect_segment(&to->segment, &all, &to->holds);
}

static void drop(made *of)
{
    ps_segment_close(&of->segment);
    release(of->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static made first[2], second;
    fuzz_input input = {data, size};
    const ps_part *parts[MOST_PARTS];
    uint32_t count = (uint32_t)fuzz_between(&input, 1, MOST_PARTS), at = 0;
    some_collection(&all, &input);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t docs = i + 1 == count ? all.docs - at : (uint32_t)fuzz_between(&input, 0, all.docs - at);
        plain_part_of(&plain[i], &all, at, docs, &input);
        for (uint32_t doc = 0; doc < docs; doc++) of_part[i].of[doc] = at + doc;
        let_die(&plain[i].part, plain[i].dead, fuzz_take(&input, 1) % 6);
        parts[i] = &plain[i].part;
        at += docs;
    }
    uint32_t half = count / 2;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t from = i ? half : 0, to = i ? count : half;
        bool renumber = fuzz_take(&input, 1) % 2;
        first[i].holds.docs = 0;
        for (uint32_t j = from; j < to; j++) add_contents(&first[i].holds, parts[j], &of_part[j], renumber);
        if (from < to) merge(parts + from, to - from, renumber, &input, &first[i]);
    }
    second.holds.docs = 0;
    bool renumber = fuzz_take(&input, 1) % 2;
    for (uint32_t i = half == 0; i < 2; i++) {
        let_die(&first[i].segment.part, first[i].dead, fuzz_take(&input, 1) % 6);
        add_contents(&second.holds, &first[i].segment.part, &first[i].holds, renumber);
        parts[i] = &first[i].segment.part;
    }
    uint32_t begin = half == 0;
    merge(parts + begin, 2 - begin, renumber, &input, &second);
    drop(&second);
    for (uint32_t i = begin; i < 2; i++) drop(&first[i]);
    FUZZ_REQUIRE(held == 0);
    return 0;
}
