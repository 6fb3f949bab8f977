/* fuzz -- one target, two drivers: libFuzzer when built with it, else random inputs from a fixed seed.
 *
 * A target defines LLVMFuzzerTestOneInput and draws its decisions from the bytes with the functions
 * below, so that a failing input replays byte for byte. Bytes that have run out read as 0. */
#ifndef PS_FUZZ_H
#define PS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"

typedef struct {
    const uint8_t *bytes;
    size_t left;
} fuzz_input;

static inline uint64_t fuzz_take(fuzz_input *input, size_t width)
{
    uint64_t value = 0;
    size_t n = width < input->left ? width : input->left;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)input->bytes[i] << (8 * i);
    input->bytes += n;
    input->left -= n;
    return value;
}

/* A value in [low, high], from up to eight bytes. */
static inline int64_t fuzz_between(fuzz_input *input, int64_t low, int64_t high)
{
    uint64_t span = (uint64_t)high - (uint64_t)low + 1;
    uint64_t value = fuzz_take(input, 8);
    return (int64_t)((uint64_t)low + (span ? value % span : value));
}

#define FUZZ_REQUIRE REQUIRE

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef PS_LIBFUZZER
/* usage: NAME [RUNS [SEED]] */
int main(int argc, char **argv)
{
    long runs = argc > 1 ? atol(argv[1]) : 20000;
    uint64_t state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static uint8_t bytes[4096];
    for (long run = 0; run < runs; run++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t size = (size_t)(state >> 33) % sizeof bytes;
        for (size_t i = 0; i < size; i++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[i] = (uint8_t)(state >> 56);
        }
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("%s: %ld inputs, all rules held\n", argv[0], runs);
    return 0;
}
#endif

#endif
