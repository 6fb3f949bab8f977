/* The hashes against values of the reference implementation, at every border between its formulas; and on any
 * bytes: they read no byte too many, wherever the bytes lie, and the inlined formula is the same as the whole.
 * All lengths are held against the reference in tests/hashring/test_key_hash.py. */
#include "fuzz.h"
#include "xxhash.h"

#define SEED UINT64_C(0x9e3779b97f4a7c15)

typedef struct {
    size_t size;
    uint64_t xxh3, seeded, xxh64;
} golden;

/* Of the bytes (167 * i + 13) % 256, by xxHash 0.8.3: XXH3_64bits, the same with SEED, XXH64. */
static const golden KNOWN[] = {
    {0, UINT64_C(0x2d06800538d394c2), UINT64_C(0x602b0e2cd6662c8b), UINT64_C(0xef46db3751d8e999)},
    {1, UINT64_C(0x8a21d78b1538b1c0), UINT64_C(0x30e3e5af4b171b5b), UINT64_C(0x2078e1ad38ad738b)},
    {3, UINT64_C(0x5f1fa6d2a3aa5a3b), UINT64_C(0x858a1d6c5361b8dd), UINT64_C(0x634d95fc01a189cd)},
    {4, UINT64_C(0xa8a9b82c81542a43), UINT64_C(0x99590f584472ac11), UINT64_C(0xeed340908a1ac6c6)},
    {8, UINT64_C(0x67b8f67a80d308a6), UINT64_C(0xce78802ecdabb9a3), UINT64_C(0x76f916c7bb523126)},
    {9, UINT64_C(0x7df166798fe37670), UINT64_C(0xb00a7aa84b6b05f9), UINT64_C(0x175d7bee83bd73b9)},
    {16, UINT64_C(0xc0967fee676a5837), UINT64_C(0x69e6db9f5beb4608), UINT64_C(0x7bbeff67699312f6)},
    {17, UINT64_C(0xbc307578d06e9d93), UINT64_C(0x6ae7b7695b6ca478), UINT64_C(0x5a63f300c4cb3d87)},
    {128, UINT64_C(0xa45617bfe9bb88d6), UINT64_C(0x08726f02f379f223), UINT64_C(0x048add5a12b8c247)},
    {129, UINT64_C(0x4ca31f6b2cfd9a3e), UINT64_C(0x29ea7c8e1786b720), UINT64_C(0xfa5c536b0660d56c)},
    {240, UINT64_C(0x2817ed3cdf9547e7), UINT64_C(0x6ca0ed75186f14b0), UINT64_C(0xb4b003f42f2d128a)},
    {241, UINT64_C(0x02f838dd48200ee8), UINT64_C(0xc3f22197318b3cd9), UINT64_C(0x32fb4c6ebdd15f19)},
    {1024, UINT64_C(0x4ecde09865c37511), UINT64_C(0x9994f99f09e1e6e8), UINT64_C(0xeda35acc9f9a0551)},
    {1025, UINT64_C(0xa08b2694bf52957e), UINT64_C(0x96750b208574dd0d), UINT64_C(0x36ca6cba133de993)},
    {2048, UINT64_C(0x1d0f40a0ff717f3e), UINT64_C(0xd128b3d61e27c3fa), UINT64_C(0x5557731ab2a0cee7)},
    {3000, UINT64_C(0x3f23088320dc2a15), UINT64_C(0xfb42725cd2127d86), UINT64_C(0x637717a925d4f339)},
};

static void require_known_values(void)
{
    uint8_t bytes[3000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(167 * i + 13);
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        FUZZ_REQUIRE(ps_xxh3_64(bytes, KNOWN[i].size, 0) == KNOWN[i].xxh3);
        FUZZ_REQUIRE(ps_xxh3_64(bytes, KNOWN[i].size, SEED) == KNOWN[i].seeded);
        FUZZ_REQUIRE(ps_xxh64(bytes, KNOWN[i].size, 0) == KNOWN[i].xxh64);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int known;
    if (!known++) require_known_values();

    fuzz_input input = {data, size};
    uint64_t seed = fuzz_take(&input, 8);
    size_t shift = (size_t)fuzz_take(&input, 1) % 8, most = (size_t)fuzz_take(&input, 1) % 2 ? 40 : 4096;
    size_t length = input.left < most ? input.left : most;
    uint8_t *exact = malloc(length), *moved = malloc(length + shift); /* a byte too many is an error */
    FUZZ_REQUIRE(length == 0 || (exact != NULL && moved != NULL));
    if (length > 0) {
        memcpy(exact, input.bytes, length);
        memcpy(moved + shift, input.bytes, length);
    }
    uint64_t hash = ps_xxh3_64(exact, length, seed);
    FUZZ_REQUIRE(hash == ps_xxh3_64(moved + shift, length, seed));
    if (length <= 16) FUZZ_REQUIRE(hash == ps_xxh3_64_short(exact, length, seed));
    FUZZ_REQUIRE(ps_xxh64(exact, length, seed) == ps_xxh64(moved + shift, length, seed));
    free(exact);
    free(moved);
    return 0;
}
