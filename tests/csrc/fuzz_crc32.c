/* The sum against a division bit by bit, at every alignment, in one piece and in two, by both ways. */
#include "crc32.h"
#include "fuzz.h"

static uint32_t divided(uint32_t crc, const uint8_t *bytes, size_t size)
{
    uint32_t remainder = ~crc;
    for (size_t i = 0; i < size; i++) {
        remainder ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) remainder = remainder & 1 ? remainder >> 1 ^ 0xedb88320 : remainder >> 1;
    }
    return ~remainder;
}

static void known_sums(void) /* the check value of the catalogue; what zlib.crc32 says */
{
    static const uint8_t zeros[1024];
    FUZZ_REQUIRE(ps_crc32(0, NULL, 0) == 0 && ps_crc32(0xcafe, NULL, 0) == 0xcafe);
    FUZZ_REQUIRE(ps_crc32(0, (const uint8_t *)"123456789", 9) == 0xcbf43926);
    FUZZ_REQUIRE(ps_crc32(0, (const uint8_t *)"The quick brown fox jumps over the lazy dog", 43) == 0x414fa339);
    FUZZ_REQUIRE(ps_crc32(0, zeros, sizeof zeros) == 0xefb5af2e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint32_t start = (uint32_t)fuzz_take(&input, 4);
    size_t offset = (size_t)fuzz_take(&input, 1) % 64;
    size_t most = (size_t)fuzz_take(&input, 1) % 2 ? 200 : input.left;
    size_t length = most < input.left ? most : input.left;
    uint8_t *exact = malloc(offset + length + 1); /* a byte too many is an error */
    FUZZ_REQUIRE(exact != NULL);
    uint8_t *bytes = exact + 1 + offset;
    memcpy(bytes, input.bytes, length);
    known_sums();
    uint32_t sum = divided(start, bytes, length);
    FUZZ_REQUIRE(ps_crc32(start, bytes, length) == sum);
    FUZZ_REQUIRE(ps_crc32_sliced(start, bytes, length) == sum);
    size_t cut = length ? (size_t)start % length : 0;
    FUZZ_REQUIRE(ps_crc32(ps_crc32(start, bytes, cut), bytes + cut, length - cut) == sum);
    free(exact);
    return 0;
}
