/* search_room -- memory that one run of a query after another uses: it grows when it must, and what was in it
 * is lost. */
#ifndef PS_SEARCH_ROOM_H
#define PS_SEARCH_ROOM_H

#include <stddef.h>
#include <stdint.h>

#include "allocator.h"

typedef struct {
    void *memory;
    size_t size;
} ps_room;

/* `size` bytes on a cache line of their own, or NULL: then the room is empty. */
static inline void *ps_room_of(ps_room *room, size_t size, ps_allocator allocator)
{
    if (room->memory == NULL || room->size < size) {
        if (size > SIZE_MAX / 2) return NULL;
        size_t wish = room->size + room->size / 2;
        room->size = size > wish ? size : wish;
        allocator.release(room->memory);
        room->memory = allocator.resize(NULL, room->size + 64);
        if (room->memory == NULL) {
            room->size = 0;
            return NULL;
        }
    }
    return (void *)(((uintptr_t)room->memory + 63) & ~(uintptr_t)63);
}

static inline void ps_room_free(ps_room *room, ps_allocator allocator)
{
    allocator.release(room->memory);
    *room = (ps_room){NULL, 0};
}

#endif
