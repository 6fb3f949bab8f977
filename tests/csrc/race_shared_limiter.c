/* The shared table in the hands of threads that do not stop, for the thread sanitizer: no data race, one
 * slot for each key, and no key is allowed more than its limit between any two moments. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "require.h"
#include "shared_limiter.h"

enum { THREADS = 4, REQUESTS = 30000, SLOTS = 32, QUOTAS = 2, KEYS = 40, ROUNDS = 6 };

typedef struct {
    int64_t at;
    int key;
} admission;

static ps_shared_cell cells[SLOTS * QUOTAS];
static _Atomic uint64_t turned_away;
static ps_shared table;
static admission admitted[THREADS * REQUESTS];
static size_t admissions[THREADS];

static void request(int thread, int number)
{
    ps_shared_trace trace;
    uint8_t name = (uint8_t)number;
    ps_shared_key key = ps_shared_locate(&table, 1, &name, 1);
    int64_t at = ps_monotonic_ns();
    for (;;) {
        ps_shared_answer answer = ps_shared_take(&table, key, at, 1, &trace);
        if (answer == PS_SHARED_ALLOWED) {
            admitted[thread * REQUESTS + (int)admissions[thread]++] = (admission){at, number};
            return;
        }
        if (answer == PS_SHARED_OWING) {
            while (!ps_shared_give_back(&table, at, ps_monotonic_ns(), 1, &trace)) continue;
        }
        if (answer == PS_SHARED_ABSENT) answer = ps_shared_claim(&table, key, at, &trace);
        if (answer == PS_SHARED_CLAIMED) ps_shared_move_in(&table, at = ps_monotonic_ns(), &trace);
        if (answer != PS_SHARED_CLAIMED && answer != PS_SHARED_ALLOWED) return;
    }
}

static void *run(void *argument)
{
    int thread = (int)(intptr_t)argument;
    uint64_t state = (uint64_t)thread + 1;
    for (int i = 0; i < REQUESTS; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        request(thread, (int)(state >> 33) % KEYS);
    }
    return NULL;
}

static int by_key_and_moment(const void *a, const void *b)
{
    const admission *one = a, *other = b;
    if (one->key != other->key) return one->key < other->key ? -1 : 1;
    return (one->at > other->at) - (one->at < other->at);
}

/* By the least slack so far: sum(n) - at of the window's end less that of its start. */
static void check_every_window(admission *all, size_t count, const ps_pace *pace)
{
    qsort(all, count, sizeof *all, by_key_and_moment);
    int64_t taken = 0, least = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t tick = ps_pace_tick(pace, all[i].at);
        if (i == 0 || all[i].key != all[i - 1].key) taken = 0, least = -tick;
        if (taken - tick < least) least = taken - tick;
        taken += pace->token;
        REQUIRE(taken - tick - least <= pace->depth);
    }
}

int main(void)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        table = (ps_shared){.cells = cells, .turned_away = &turned_away, .slots = SLOTS, .secret = {round, 2},
                            .quotas = 1 + round % QUOTAS};
        for (size_t i = 0; i < SLOTS * QUOTAS; i++) cells[i].owner = cells[i].full_at = 0;
        for (uint32_t i = 0; i < QUOTAS; i++) { /* a few microseconds of bucket: slots change hands all the time */
            table.paces[i] = (ps_pace){UINT64_C(1) << PS_SPEED_BITS, 1 << (10 + i), (3 - i) << (10 + i), 0};
        }
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            admissions[i] = 0;
            REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(intptr_t)i) == 0);
        }
        size_t count = 0;
        for (int i = 0; i < THREADS; i++) {
            REQUIRE(pthread_join(threads[i], NULL) == 0);
            for (size_t j = 0; j < admissions[i]; j++) admitted[count++] = admitted[(size_t)i * REQUESTS + j];
        }
        REQUIRE(ps_shared_check(&table));
        REQUIRE(count > 0);
        for (uint32_t i = 0; i < table.quotas; i++) check_every_window(admitted, count, &table.paces[i]);
    }
    printf("race_shared_limiter: %d threads, no race, no key above its limit\n", THREADS);
    return 0;
}
