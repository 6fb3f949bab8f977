/* One thread changes a B-tree and hands out snapshots, four read them, write to them and drop them, for the thread
 * sanitizer: no data race, and each snapshot holds what the tree held when it was made. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "btree.h"
#include "require.h"

enum { READERS = 4, SNAPSHOTS = 200, ENTRIES = 3000 };

/* One place where a snapshot lies until a reader takes it. */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    ps_btree tree;
    uint64_t total; /* of all its values */
    bool is_full, is_over;
} shelf;

static shelf shelves[READERS];
static ps_btree_owner owner;

static uint64_t total_of(const ps_btree *tree)
{
    ps_btree_place place;
    ps_status status;
    int64_t keys[64];
    uint64_t values[64], total = 0;
    REQUIRE(ps_btree_seek_index(tree, 0, &place) == PS_OK);
    size_t n;
    while ((n = ps_btree_read(tree, &place, keys, values, 64, &status)) > 0)
        for (size_t i = 0; i < n; i++) total += values[i];
    return total;
}

/* Reads a snapshot, then writes to it: what it shares with the others is copied. */
static void use(ps_btree *tree, uint64_t total)
{
    const char *rule;
    REQUIRE(total_of(tree) == total);
    for (int64_t key = 0; key < ENTRIES; key += 97) {
        uint64_t value, old, again;
        bool replaced;
        if (ps_btree_get(tree, key, &value) != PS_OK) continue;
        REQUIRE(ps_btree_put(tree, key, value + 1, &old, &replaced) == PS_OK && replaced && old == value);
        REQUIRE(ps_btree_get(tree, key, &again) == PS_OK && again == value + 1);
        total++;
    }
    if (tree->length > 300) {
        ps_btree right;
        ps_btree_init(&right, PS_BTREE_VALUES, &owner, NULL);
        REQUIRE(ps_btree_split(tree, tree->length / 2, &right) == PS_OK);
        REQUIRE(total_of(tree) + total_of(&right) == total);
        REQUIRE(ps_btree_check(&right, &rule) == PS_OK);
        ps_btree_clear(&right);
    }
    REQUIRE(ps_btree_check(tree, &rule) == PS_OK);
    ps_btree_clear(tree);
}

static void *read_snapshots(void *arg)
{
    shelf *mine = arg;
    for (;;) {
        pthread_mutex_lock(&mine->lock);
        while (!mine->is_full && !mine->is_over) pthread_cond_wait(&mine->changed, &mine->lock);
        bool got = mine->is_full;
        ps_btree tree = mine->tree;
        uint64_t total = mine->total;
        mine->is_full = false;
        pthread_cond_signal(&mine->changed);
        pthread_mutex_unlock(&mine->lock);
        if (!got) return NULL;
        use(&tree, total);
    }
}

static void hand_out(shelf *to, const ps_btree *tree, uint64_t total)
{
    pthread_mutex_lock(&to->lock);
    while (to->is_full) pthread_cond_wait(&to->changed, &to->lock);
    ps_btree_snapshot(tree, &to->tree, NULL);
    to->total = total;
    to->is_full = true;
    pthread_cond_signal(&to->changed);
    pthread_mutex_unlock(&to->lock);
}

int main(void)
{
    owner.allocator = PS_BTREE_ALLOCATOR;
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++) {
        pthread_mutex_init(&shelves[i].lock, NULL);
        pthread_cond_init(&shelves[i].changed, NULL);
        pthread_create(&threads[i], NULL, read_snapshots, &shelves[i]);
    }
    ps_btree tree;
    ps_btree_init(&tree, PS_BTREE_VALUES, &owner, NULL);
    uint64_t total = 0, state = 1;
    for (int i = 0; i < SNAPSHOTS * READERS; i++) {
        for (int j = 0; j < 50; j++) {
            state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            int64_t key = (int64_t)(state >> 33) % ENTRIES;
            uint64_t value = state >> 50, old = 0;
            bool replaced;
            ps_btree_place place;
            if (state >> 63 && tree.length > 0) {
                REQUIRE(ps_btree_seek_index(&tree, (uint32_t)((uint64_t)key % tree.length), &place) == PS_OK);
                REQUIRE(ps_btree_remove(&tree, &place, NULL, &old) == PS_OK);
                total -= old;
            } else {
                REQUIRE(ps_btree_put(&tree, key, value, &old, &replaced) == PS_OK);
                total += value - (replaced ? old : 0);
            }
        }
        hand_out(&shelves[i % READERS], &tree, total);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_mutex_lock(&shelves[i].lock);
        shelves[i].is_over = true;
        pthread_cond_signal(&shelves[i].changed);
        pthread_mutex_unlock(&shelves[i].lock);
        pthread_join(threads[i], NULL);
    }
    REQUIRE(total_of(&tree) == total);
    ps_btree_clear(&tree);
    printf("race_btree: %d snapshots, all rules held\n", SNAPSHOTS * READERS);
    return 0;
}
