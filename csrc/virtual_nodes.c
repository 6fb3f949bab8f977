#include "virtual_nodes.h"

#include <string.h>

#include "bytes.h"
#include "digests.h"

#define DIGITS_MAX 20

/* Appends `number` in decimal; returns the end. */
static char *write_number(char *end, size_t number)
{
    char digits[DIGITS_MAX], *at = digits + DIGITS_MAX;
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    size_t size = (size_t)(digits + DIGITS_MAX - at);
    memcpy(end, at, size);
    return end + size;
}

void ps_replica_points(const ps_key_hash *hash, const char *name, size_t size, size_t count, uint64_t *points)
{
    static const char infix[] = ":replica_";
    char key[PS_NAME_MAX + sizeof infix + DIGITS_MAX];
    memcpy(key, name, size);
    memcpy(key + size, infix, sizeof infix - 1);
    char *number = key + size + sizeof infix - 1;
    for (size_t i = 0; i < count; i++)
        points[i] = ps_key_hash_position(hash, (const uint8_t *)key, (size_t)(write_number(number, i) - key));
}

static size_t without_default_port(const char *name, size_t size)
{
    static const char port[] = ":11211";
    size_t length = sizeof port - 1;
    return size > length && memcmp(name + size - length, port, length) == 0 ? size - length : size;
}

void ps_ketama_points(const char *name, size_t size, size_t each, size_t count, uint64_t *points)
{
    char key[PS_NAME_MAX + 1 + DIGITS_MAX];
    uint8_t digest[16];
    size = without_default_port(name, size);
    memcpy(key, name, size);
    key[size] = '-';
    for (size_t i = 0; i < count / each; i++) {
        ps_md5((const uint8_t *)key, (size_t)(write_number(key + size + 1, i) - key), digest);
        for (size_t j = 0; j < each; j++) points[i * each + j] = (uint64_t)ps_read_little32(digest + 4 * j) << 32;
    }
}
