/* The checksum against a division bit by bit, and the slot against the words of the specification. */
#include <stdbool.h>

#include "crc16.h"
#include "fuzz.h"

static uint16_t divided(const uint8_t *bytes, size_t size)
{
    uint32_t remainder = 0;
    for (size_t i = 0; i < size; i++) {
        remainder ^= (uint32_t)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) remainder = remainder & 0x8000 ? remainder << 1 ^ 0x11021 : remainder << 1;
    }
    return (uint16_t)remainder;
}

static uint16_t specified_slot(const uint8_t *bytes, size_t size)
{
    size_t open = 0, close;
    while (open < size && bytes[open] != '{') open++;
    for (close = open; close < size && bytes[close] != '}';) close++;
    bool tagged = close < size && close > open + 1;
    return (tagged ? divided(bytes + open + 1, close - open - 1) : divided(bytes, size)) & 16383;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    uint8_t choice = (uint8_t)fuzz_take(&input, 1);
    size_t length = choice % 2 && input.left > 12 ? 12 : input.left;
    uint8_t *exact = malloc(length); /* a byte too many is an error */
    FUZZ_REQUIRE(length == 0 || exact != NULL);
    for (size_t i = 0; i < length; i++) /* of letters that matter, every other time */
        exact[i] = choice % 4 < 2 ? (uint8_t)"{}ab"[input.bytes[i] % 4] : input.bytes[i];
    FUZZ_REQUIRE(ps_crc16((const uint8_t *)"123456789", 9) == 0x31c3);
    FUZZ_REQUIRE(ps_crc16(exact, length) == divided(exact, length));
    FUZZ_REQUIRE(ps_redis_slot(exact, length) == specified_slot(exact, length));
    free(exact);
    return 0;
}
