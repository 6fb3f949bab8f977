/* Readers ask an index under a readers' lock while one thread adds, replaces, deletes and merges, for the
 * thread sanitizer: no data race, though readers remember counts of dead documents, and merges are built
 * while they read; and each answer is right: every document has the first word, one of three has the second.
 */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "inverted_index.h"
#include "require.h"

enum { READERS = 3, STEPS = 20000, IDS = 400 };

static ps_inverted search;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t door =
    PTHREAD_MUTEX_INITIALIZER; /* whoever wants the lock comes through it: nobody starves */
static bool is_over;           /* under the lock */
static bool is_live[IDS];
static long asked; /* times; atomically */

static const ps_allocator ALLOCATOR = {realloc, free};

static ps_term word(const char *text, uint32_t size)
{
    return (ps_term){.bytes = (const uint8_t *)text, .size = size};
}

static uint32_t live_of_three(void)
{
    uint32_t live = 0;
    for (uint32_t id = 0; id < IDS; id += 3) live += is_live[id];
    return live;
}

static bool count_term(void *context, const uint8_t *bytes, uint32_t size, uint32_t df, uint32_t distance)
{
    (void)bytes, (void)size, (void)distance;
    *(uint64_t *)context += df;
    return true;
}

static void ask(void)
{
    uint64_t sum = 0;
    uint32_t third = live_of_three(), placed, place;
    REQUIRE(ps_inverted_df(&search, word("all", 3)) == search.live);
    REQUIRE(ps_inverted_df(&search, word("third", 5)) == third);
    REQUIRE(ps_inverted_terms(&search, 0, (const uint8_t *)"", 0, NULL, count_term, &sum) == PS_OK);
    REQUIRE(sum == (uint64_t)search.live + third);
    for (uint32_t id = 0; id < IDS && ps_inverted_ids_ready(&search); id += 7) {
        uint32_t ordinal = ps_inverted_ordinal(&search, (ps_doc_id){.number = id});
        REQUIRE((ordinal != PS_NO_ORDINAL) == is_live[id]);
        if (ordinal == PS_NO_ORDINAL) continue;
        REQUIRE(ps_inverted_freq(&search, ordinal, word("all", 3), &place, 1, &placed) == 1);
        REQUIRE(placed == 1 && place == 0);
    }
}

static void *read_on(void *arg)
{
    (void)arg;
    for (bool over = false; !over;) {
        pthread_mutex_lock(&door);
        pthread_rwlock_rdlock(&lock);
        pthread_mutex_unlock(&door);
        ask();
        __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
        over = is_over;
        pthread_rwlock_unlock(&lock);
    }
    return NULL;
}

static void lock_alone(void)
{
    pthread_mutex_lock(&door);
    pthread_rwlock_wrlock(&lock);
    pthread_mutex_unlock(&door);
}

static void put(uint32_t id)
{
    REQUIRE(ps_inverted_replace_begin(&search, (ps_doc_id){.number = id}) == PS_OK);
    REQUIRE(ps_inverted_add_word(&search, 0, (const uint8_t *)"all", 3) == PS_OK);
    if (id % 3 == 0) REQUIRE(ps_inverted_add_word(&search, 0, (const uint8_t *)"third", 5) == PS_OK);
    REQUIRE(ps_inverted_add_end(&search, NULL) == PS_OK);
    is_live[id] = true;
}

static void drop(uint32_t id)
{
    REQUIRE(ps_inverted_delete(&search, (ps_doc_id){.number = id}) == (is_live[id] ? PS_OK : PS_REFUSED));
    is_live[id] = false;
}

/* Only the writer is here, so nothing changes while a merge is built without the lock. */
static void merge(bool all)
{
    ps_merge *merge;
    REQUIRE(ps_inverted_merge_build(&search, all, &merge) == PS_OK);
    if (merge == NULL) return;
    lock_alone();
    ps_inverted_merge_swap(&search, merge);
    pthread_rwlock_unlock(&lock);
    ps_inverted_merge_free(&search, merge);
}

static void write_on(void)
{
    uint64_t state = 1;
    for (uint32_t step = 0; step < STEPS; step++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t id = (uint32_t)(state >> 33) % IDS;
        lock_alone();
        if (state >> 62 == 0)
            drop(id);
        else
            put(id);
        pthread_rwlock_unlock(&lock);
        while (ps_inverted_merge_due(&search)) merge(false);
        if (step % 1000 == 999) merge(true);
    }
}

int main(void)
{
    pthread_t readers[READERS];
    ps_inverted_init(&search, 1, 0, true, false, 5, ALLOCATOR);
    search.tail_docs_most = 200;
    search.dead_due = 500;
    for (int i = 0; i < READERS; i++) REQUIRE(pthread_create(&readers[i], NULL, read_on, NULL) == 0);
    write_on();
    lock_alone();
    is_over = true;
    pthread_rwlock_unlock(&lock);
    for (int i = 0; i < READERS; i++) pthread_join(readers[i], NULL);
    REQUIRE(ps_inverted_check(&search));
    ps_inverted_free(&search);
    REQUIRE(asked > READERS);
    printf("race_inverted_index: %d changes, %ld readings\n", STEPS, asked);
    return 0;
}
