/* btree_file -- a B-tree's file: the nodes of btree_node.h, page by page, to be mapped into memory and used there.
 *
 *     ps_btree_write(&tree, PS_BTREE_INT64, PS_BTREE_NO_VALUES, sink, allocator);
 *     ...
 *     ps_btree_file_open(&file, bytes, size, allocator);     looks at the first page only
 *     ps_btree_file_map(&file, &tree);                       bytes and file stay for as long as the tree
 *
 * The format, version 1.0. All numbers have the byte order of the machine that wrote the file; one of the other order
 * is refused. A page has 1024 bytes. Page 0 is the header:
 *
 *     0     8 bytes   magic: 0x89 "BTREE" 0x0d 0x0a, so that a transfer as text is seen
 *     8     uint32    byte order: 0x01020304
 *     12    uint16    major version: a reader refuses a newer one
 *     14    uint16    minor version: a newer one adds what an older reader may pass over
 *     16    uint8     type of keys: 1 int64, 2 uint64, 3 float64
 *     17    uint8     type of values: 0 none, 1 int64, 2 float64
 *     18    uint8     flags: 1 equal keys may stand together; else 0
 *     19    uint8     height: levels, 0 of an empty tree
 *     20    uint32    size of a page: 1024
 *     24    uint64    entries
 *     32    uint32    pages, this one included: the file has as many, and no byte more
 *     36    uint32    root: the last page, 0 of an empty tree
 *     40    uint16    of a leaf: room for entries, 59 with values, 119 without
 *     42    uint16        where its keys begin: 64
 *     44    uint16        where its values begin: 536, 0 without
 *     46    uint16        keys from one pivot to the next: 8 with values, 16 without
 *     48    uint16    of an inner node: room for children, 48
 *     50    uint16        where its keys begin: 64
 *     52    uint16        where its children begin: 440
 *     54    uint16        where its counts begin: 824
 *     56    8 bytes   zeros
 *     64    uint32    x 16: the first page of each level from the leaves up, 0 where there is no level
 *     128   892 bytes zeros; a reader passes over them
 *     1020  uint32    checksum: CRC-32 (crc32.h) of the 1020 bytes before
 *
 * The other pages are the nodes, first the leaves in order of their keys, then each level above, the root last. A
 * page is a node of 1016 bytes and 8 zeros. What the node does not use is zeros too, so equal nodes make equal files:
 *
 *     0     uint8     n: entries of a leaf, children of an inner node
 *     1     uint8     level: 0 is a leaf
 *     2     2 bytes   zeros
 *     4     uint32    checksum: CRC-32 of bytes 0 to 4 and 8 to 1024, begun with the number of the page for a sum
 *     8     int64     x 7: pivots, the key after every eighth (sixteenth: leaf without values), 2^63 - 1 where none is
 *     64    int64     keys. Of a leaf: ascending; uint64 as key - 2^63; float64 as its bits, all but the sign
 *                     flipped if it is negative; never NaN nor -0.0.
 *                     Of an inner node: n - 1, each the first key below the child that follows
 *     536   uint64    values of a leaf: int64, or the bits of a float64
 *     440   uint64    children: number of the page * 2 + 1. They are one after the other, of the level below
 *     824   uint32    counts: entries below each child
 *
 * Nodes are at the least a quarter full (a leaf 14 entries or 29, an inner node 12 children), but an inner root has 2
 * children or more, the first and the last leaf an entry or more. So a level has at least 12 times as many pages
 * as the one above, if that has more than one, and the entries say how many leaves there can be.
 *
 * Hostile files. A page is looked at when a tree first needs it, and is broken unless: its checksum is right, its
 * level is the one that its number says, n is within bounds, entries add up to what its parent said, children are
 * consecutive pages of the level below, pivots fit the keys, and the rest is zeros. So a tree on such a file stays
 * within the file, ends, and counts right. That keys ascend is seen by ps_btree_check only; where they do not, keys
 * are not found that are there. The bytes must not change while they are mapped. */
#ifndef PS_BTREE_FILE_H
#define PS_BTREE_FILE_H

#include "allocator.h"
#include "btree.h"
#include "btree_node.h"
#include "status.h"

#define PS_BTREE_PAGE_BYTES 1024

enum { /* types of keys */
    PS_BTREE_INT64 = 1,
    PS_BTREE_UINT64 = 2,
    PS_BTREE_FLOAT64 = 3,
};

enum { /* types of values */
    PS_BTREE_NO_VALUES = 0,
    PS_BTREE_INT64_VALUES = 1,
    PS_BTREE_FLOAT64_VALUES = 2,
};

/* What takes the bytes of a file, in order; false makes the writing stop. */
typedef struct {
    bool (*put)(void *context, const uint8_t *bytes, size_t size);
    void *context;
} ps_btree_sink;

typedef struct {
    ps_btree_pages pages; /* stands first: what trees ask for nodes */
    uint8_t key_type, value_type;
    bool multi;
    uint8_t height;
    uint32_t entries, count;                  /* count: pages */
    uint32_t starts[PS_BTREE_MAX_HEIGHT + 1]; /* first page of each level; `count` above the last */
    _Atomic uint64_t *leaves;                 /* a bit for each leaf: it has been found good */
    _Atomic uint32_t *sums;                   /* for each inner page: its entries; 0: not yet looked at */
    _Atomic uint32_t broken;                  /* the page found broken last; 0: none */
    ps_allocator allocator;
} ps_btree_file;

/* Opens a file of `size` bytes at `bytes` (aligned to 64), which stay the caller's. Looks at the header only, and
 * allocates a bit for each leaf and four bytes for each inner page. PS_BROKEN: not a file, or of another version;
 * PS_NO_MEMORY. After a failure there is nothing to close. */
ps_status ps_btree_file_open(ps_btree_file *file, const uint8_t *bytes, size_t size, ps_allocator allocator);

/* Gives back what was allocated. No tree may refer to the file any more. */
void ps_btree_file_close(ps_btree_file *file);

/* Makes an empty tree the one in the file, in O(1); it has no runs from then on. PS_REFUSED: the tree is not empty, or
 * its flags (but for RUNS) are not those of the file; nothing changed. */
ps_status ps_btree_file_map(ps_btree_file *file, ps_btree *tree);

/* The number of the page that was found broken last, 0 if none was: what to tell after PS_BROKEN from a tree. */
uint32_t ps_btree_file_broken(const ps_btree_file *file);

/* Writes a tree of int64 keys without objects as a file; changes nothing in it. One with runs is written without, from
 * a copy. PS_NO_MEMORY; PS_STOPPED: by the sink; PS_BROKEN: a page of the file that the tree is mapped from is
 * broken. */
ps_status ps_btree_write(const ps_btree *tree, uint8_t key_type, uint8_t value_type, ps_btree_sink sink,
                         ps_allocator allocator);

#endif
