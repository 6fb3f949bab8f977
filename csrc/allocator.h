/* allocator -- where a kernel gets its memory; a test passes one that fails when told to. */
#ifndef PS_ALLOCATOR_H
#define PS_ALLOCATOR_H

#include <stddef.h>

typedef struct {
    void *(*resize)(void *memory, size_t size); /* as realloc, size > 0: NULL leaves `memory` as it was */
    void (*release)(void *memory);              /* as free: NULL is allowed */
} ps_allocator;

#endif
