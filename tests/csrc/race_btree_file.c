/* Four threads read and change trees on one mapped file, and are the first to touch its pages together, for the
 * thread sanitizer. One page is broken: each thread that needs it hears so. */
#define _POSIX_C_SOURCE 200112L /* pthread_barrier_t */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btree_file.h"
#include "require.h"

enum { THREADS = 4, ROUNDS = 30, ENTRIES = 20000, BYTES = 1 << 20, BROKEN = 7 };

static const ps_allocator MEMORY = {realloc, free};
static const ps_btree_owner OWNER = {.allocator = {realloc, free}};
static _Alignas(64) uint8_t bytes[BYTES];
static size_t size;
static ps_btree_file file;
static pthread_barrier_t start;

static bool put(void *context, const uint8_t *from, size_t n)
{
    (void)context;
    REQUIRE(size + n <= BYTES);
    memcpy(bytes + size, from, n);
    size += n;
    return true;
}

static void write_file(void)
{
    static int64_t keys[ENTRIES];
    static uint64_t values[ENTRIES];
    ps_btree tree;
    size_t unsorted;
    for (int64_t i = 0; i < ENTRIES; i++) values[i] = (uint64_t)(keys[i] = 3 * i);
    ps_btree_init(&tree, PS_BTREE_VALUES, &OWNER, NULL);
    REQUIRE(ps_btree_load(&tree, keys, values, ENTRIES, 0.9, &unsorted) == PS_OK);
    REQUIRE(ps_btree_write(&tree, PS_BTREE_INT64, PS_BTREE_INT64_VALUES, (ps_btree_sink){put, NULL}, MEMORY) == PS_OK);
    ps_btree_clear(&tree);
    bytes[BROKEN * PS_BTREE_PAGE_BYTES + 100] ^= 1;
}

static void *use(void *seed)
{
    ps_btree tree;
    uint64_t broken = 0, value, old, at = (uint64_t)(uintptr_t)seed;
    bool replaced;
    ps_btree_init(&tree, PS_BTREE_VALUES, &OWNER, NULL);
    REQUIRE(ps_btree_file_map(&file, &tree) == PS_OK);
    pthread_barrier_wait(&start);
    for (int64_t i = 0; i < ENTRIES; i++) {
        at = (at + 7919) % ENTRIES;
        int64_t key = (int64_t)(3 * at);
        ps_status status = ps_btree_get(&tree, key, &value);
        REQUIRE(status == PS_BROKEN || (status == PS_OK && (value == 3 * at || value == 1)));
        broken += status == PS_BROKEN;
        if (i % 50 == 0) REQUIRE(ps_btree_put(&tree, key, 1, &old, &replaced) == status);
    }
    REQUIRE(broken > 0 && broken < PS_BTREE_ENTRIES && ps_btree_file_broken(&file) == BROKEN);
    ps_btree_clear(&tree);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    write_file();
    REQUIRE(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (int round = 0; round < ROUNDS; round++) { /* opened anew, no page has been touched */
        REQUIRE(ps_btree_file_open(&file, bytes, size, MEMORY) == PS_OK);
        for (size_t i = 0; i < THREADS; i++)
            REQUIRE(pthread_create(&threads[i], NULL, use, (void *)(uintptr_t)(i * 5003)) == 0);
        for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        ps_btree_file_close(&file);
    }
    pthread_barrier_destroy(&start);
    printf("race_btree_file: %d rounds of %d threads, no race\n", ROUNDS, THREADS);
    return 0;
}
