/* A histogram that one thread records into while another takes snapshots: under ThreadSanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "histogram.h"

#define VALUES 200000
#define SNAPSHOTS 200

static ps_histogram histogram;

static void *record(void *unused)
{
    (void)unused;
    for (int64_t i = 0; i < VALUES; i++) ps_histogram_record(&histogram, i * 7919 % 1000000);
    return NULL;
}

static void require(bool truth, const char *what)
{
    if (truth) return;
    fprintf(stderr, "race_histogram: does not hold: %s\n", what);
    abort();
}

int main(void)
{
    ps_allocator memory = {realloc, free};
    ps_histogram copy;
    require(ps_histogram_init(&histogram, 1, 1000000, 3, memory) == PS_OK, "init");
    require(ps_histogram_init(&copy, 1, 1000000, 3, memory) == PS_OK, "init of the copy");
    pthread_t thread;
    require(pthread_create(&thread, NULL, record, NULL) == 0, "a thread");
    int64_t before = 0;
    for (int i = 0; i < SNAPSHOTS; i++) {
        require(ps_histogram_snapshot(&histogram, &copy) == PS_OK, "snapshot");
        require(ps_histogram_check(&copy), "each snapshot is a histogram");
        require(copy.total >= before && copy.total <= VALUES, "counts only grow");
        before = copy.total;
    }
    pthread_join(thread, NULL);
    ps_histogram_snapshot(&histogram, &copy);
    require(copy.total == VALUES && ps_histogram_check(&histogram), "nothing is lost");
    ps_histogram_free(&histogram);
    ps_histogram_free(&copy);
    printf("race_histogram: %d snapshots, no race\n", SNAPSHOTS);
    return 0;
}
