/* readers_lock -- many readers or one writer, and a writer that waits is the next.
 *
 *     if (!ps_read_try(&lock)) ps_read_wait(&lock);        whoever holds something that others wait for tries
 * first
 *     ... ps_read_end(&lock);
 *     if (!ps_write_try(&lock)) ps_write_wait(&lock);
 *     ... ps_write_end(&lock);
 *
 * Writers take turns among themselves by a mutex that they hold before they come here: one at a time asks. As
 * soon as it waits, no further reader gets in, so it waits for those only that are in. A reader must not ask
 * again while it is in: with a writer waiting, it would wait for itself.
 *
 * Free of waiting, each call is one atomic instruction. What a writer did is seen by all who come in after
 * it. After a fork the lock is as it was: taken for good, if another thread of the parent had it. */
#ifndef PS_READERS_LOCK_H
#define PS_READERS_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "status.h"

#define PS_WRITER UINT32_C(0x80000000)       /* a writer is in */
#define PS_WRITER_WAITS UINT32_C(0x40000000) /* a writer waits; below these bits readers are counted */
#define PS_READERS (PS_WRITER_WAITS - 1)

typedef struct {
    _Atomic uint32_t state;
    _Atomic uint32_t waiting; /* readers that wait */
    pthread_mutex_t mutex;    /* is held for a moment by whoever goes to sleep or wakes others */
    pthread_cond_t changed;
} ps_readers_lock;

/* PS_NO_MEMORY: the system has no room for a lock; there is nothing to destroy. */
static inline ps_status ps_readers_lock_init(ps_readers_lock *lock)
{
    atomic_init(&lock->state, 0);
    atomic_init(&lock->waiting, 0);
    if (pthread_mutex_init(&lock->mutex, NULL) != 0) return PS_NO_MEMORY;
    if (pthread_cond_init(&lock->changed, NULL) == 0) return PS_OK;
    pthread_mutex_destroy(&lock->mutex);
    return PS_NO_MEMORY;
}

static inline void ps_readers_lock_destroy(ps_readers_lock *lock)
{
    pthread_cond_destroy(&lock->changed);
    pthread_mutex_destroy(&lock->mutex);
}

/* ---- readers ---- */

static inline bool ps_read_try(ps_readers_lock *lock)
{
    uint32_t state = atomic_load(&lock->state);
    while (state < PS_READERS) /* neither bit is set, and there is room for one more */
        if (atomic_compare_exchange_weak_explicit(&lock->state, &state, state + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    return false;
}

static inline void ps_read_wait(ps_readers_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    atomic_fetch_add(&lock->waiting,
                     1); /* before the look at the state: a writer does both the other way round */
    while (!ps_read_try(lock)) pthread_cond_wait(&lock->changed, &lock->mutex);
    atomic_fetch_sub(&lock->waiting, 1);
    pthread_mutex_unlock(&lock->mutex);
}

static inline void ps_readers_lock_wake(ps_readers_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    pthread_cond_broadcast(&lock->changed);
    pthread_mutex_unlock(&lock->mutex);
}

static inline void ps_read_end(ps_readers_lock *lock)
{
    uint32_t before = atomic_fetch_sub_explicit(&lock->state, 1, memory_order_release);
    if (before == (PS_WRITER_WAITS | 1))
        ps_readers_lock_wake(lock); /* the last one that a writer waits for */
}

/* ---- the writer ---- */

static inline bool ps_write_try(ps_readers_lock *lock)
{
    uint32_t none = 0;
    return atomic_compare_exchange_strong_explicit(&lock->state, &none, PS_WRITER, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void ps_write_wait(ps_readers_lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    atomic_fetch_or(&lock->state, PS_WRITER_WAITS);
    uint32_t gone = PS_WRITER_WAITS;
    while (!atomic_compare_exchange_strong(&lock->state, &gone, PS_WRITER)) {
        pthread_cond_wait(&lock->changed, &lock->mutex);
        gone = PS_WRITER_WAITS;
    }
    pthread_mutex_unlock(&lock->mutex);
}

static inline void ps_write_end(ps_readers_lock *lock)
{
    atomic_store(&lock->state, 0);
    if (atomic_load(&lock->waiting) > 0) ps_readers_lock_wake(lock);
}

#endif
