/* Readers and writers that share two numbers: under ThreadSanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "readers_lock.h"

#define READERS 4
#define WRITERS 2
#define ROUNDS 20000

static ps_readers_lock lock;
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;
static long first, second; /* equal whenever no writer is in */

static void require(bool truth, const char *what)
{
    if (truth) return;
    fprintf(stderr, "race_readers_lock: does not hold: %s\n", what);
    abort();
}

static void *read_often(void *unused)
{
    (void)unused;
    long before = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 3 == 0 || !ps_read_try(&lock)) ps_read_wait(&lock);
        require(first == second, "no reader sees half a change");
        require(first >= before, "changes stay");
        before = first;
        ps_read_end(&lock);
    }
    return NULL;
}

static void *write_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&writers);
        if (i % 3 == 0 || !ps_write_try(&lock)) ps_write_wait(&lock);
        first++;
        second++;
        ps_write_end(&lock);
        pthread_mutex_unlock(&writers);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[READERS + WRITERS];
    require(ps_readers_lock_init(&lock) == PS_OK, "init");
    require(ps_read_try(&lock) && ps_read_try(&lock) && !ps_write_try(&lock),
            "readers share, writers do not");
    ps_read_end(&lock);
    ps_read_end(&lock);
    require(ps_write_try(&lock) && !ps_read_try(&lock), "a writer is alone");
    ps_write_end(&lock);
    for (int i = 0; i < READERS + WRITERS; i++)
        require(pthread_create(&threads[i], NULL, i < READERS ? read_often : write_often, NULL) == 0,
                "a thread");
    for (int i = 0; i < READERS + WRITERS; i++) pthread_join(threads[i], NULL);
    require(first == (long)WRITERS * ROUNDS && second == first, "nothing is lost");
    ps_readers_lock_destroy(&lock);
    printf("race_readers_lock: %d changes, no race\n", WRITERS * ROUNDS);
    return 0;
}
