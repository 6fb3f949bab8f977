/* btree -- ordered entries of an eight-byte key and, if wanted, an eight-byte value: a B+tree.
 *
 *     ps_btree_put(&tree, 7, value, &old, &replaced);
 *     ps_btree_seek(&tree, &probe, PS_BTREE_BEFORE, &place, &found);
 *     while ((n = ps_btree_read(&tree, &place, keys, values, 64))) ...
 *
 * Keys are int64 and compared as such, or words of the caller's (pointers to objects) that the caller compares.
 * With PS_BTREE_MULTI equal keys may stand together, in the order in which they were inserted. With PS_BTREE_RUNS
 * a leaf also holds such a key once: ten values a key take 11 bytes each, where 16 and the room to grow take 19.
 * A file has no runs (btree_file.h), so neither has a tree that began as one.
 *
 * All entries are in leaves of one depth. An inner node holds, for every child but the first, the smallest key
 * of that child's subtree, exactly; and for every child the number of entries below it, so a rank is a sum
 * along one path. Leaves have no links to each other: a link would make the copy of one leaf the copy of its
 * neighbour, and so of all; a place is the path from the root, and steps by it.
 *
 * Copy on write. `ps_btree_snapshot` gives a second tree that shares every node, in O(1); a node with more than
 * one owner, or one that lies in a mapped file, is copied by the first tree that writes to it. Counts of owners are
 * atomic: two trees that share nodes may be used by two threads. One tree is used by one thread at a time.
 *
 * Nothing changes when a call fails: what it may need is allocated before the first write. Any call that looks at
 * the nodes of a tree may answer PS_BROKEN if they lie in a file: a page is broken, or its keys are not in order.
 *
 * Objects. Where keys (or values) are the caller's objects, a leaf owns one reference for each of its words; words in
 * inner nodes are borrowed from the leaves. `retain` is called for the words of a leaf that is copied. Words
 * whose leaf has died wait in the tree until `ps_btree_release_dead`, which the caller calls when it is ready for
 * destructors to run.
 *
 * Sources: Bayer and McCreight, 1972; Comer, The Ubiquitous B-Tree, 1979; Algorithmica, B- and S+ trees (search by
 * counting); Rodeh, B-trees, Shadowing, and Clones, 2008 (copy on write). */
#ifndef PS_BTREE_H
#define PS_BTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator.h"
#include "status.h"

#define PS_BTREE_MAX_HEIGHT 16            /* levels; 2^32 entries need 9 even where every node is a quarter full */
#define PS_BTREE_MAX_LENGTH (UINT32_MAX - 1) /* entries of one tree */

enum { /* flags of a tree */
    PS_BTREE_VALUES = 1,        /* an entry has a value */
    PS_BTREE_MULTI = 2,         /* equal keys may stand together */
    PS_BTREE_OBJECT_KEYS = 4,   /* keys are words of the caller's: compared by `compare`, retained and released */
    PS_BTREE_OBJECT_VALUES = 8, /* values are retained and released */
    PS_BTREE_RUNS = 16,         /* a leaf holds a key once with all its values: for MULTI with VALUES and int64 keys */
};

typedef struct ps_btree_node ps_btree_node; /* csrc/btree_node.h */
typedef struct ps_btree_pages ps_btree_pages; /* csrc/btree_file.h: a mapped file that nodes may lie in */

/* What a tree asks of its caller; one for all trees of a kind. Callbacks get the tree's `context`. */
typedef struct {
    ps_allocator allocator; /* of blocks that are never resized: `resize` gets NULL only. See PS_BTREE_ALLOCATOR */
    /* < 0, 0, > 0: probe before, equal to, after `key`. Sets *stop to give up (PS_STOPPED). May run any code, also
     * code that changes the tree: the kernel sees that by `changes` and answers PS_CHANGED, no node touched. */
    int (*compare)(void *context, int64_t probe, int64_t key, bool *stop);
    /* A number in the order of the keys: hint(a) < hint(b) only if a < b. Runs no code of others. NULL: none.
     * Kept in inner nodes also while `use_hints` is clear, but then neither compared nor checked. */
    int64_t (*hint)(void *context, int64_t key);
    void (*retain_keys)(void *context, const int64_t *keys, size_t n);      /* runs no code of others */
    void (*retain_values)(void *context, const uint64_t *values, size_t n); /* runs no code of others */
    void (*release_keys)(void *context, const int64_t *keys, size_t n);     /* may run any code */
    void (*release_values)(void *context, const uint64_t *values, size_t n);
} ps_btree_owner;

typedef struct {
    uintptr_t root; /* a reference to a node, see btree_node.h; 0: empty */
    uint32_t length;
    uint8_t height; /* levels; 0: empty */
    uint8_t flags;
    bool use_hints;   /* whether hints of probes may be compared with those in inner nodes; the caller clears it */
    uint64_t changes; /* grows with every entry that comes or goes */
    uint64_t moves;   /* grows with everything that makes places and pointers into leaves invalid */
    const ps_btree_owner *owner;
    void *context;         /* of the owner's callbacks */
    ps_btree_node *dead;   /* leaves whose words wait for release */
    ps_btree_pages *pages; /* NULL: no node lies in a file; else borrowed, the caller keeps it for longer */
} ps_btree;

/* A key that is looked for. */
typedef struct {
    int64_t key;
    int64_t hint;  /* read only if `use_hint` and the tree's `use_hints` are set */
    bool use_hint; /* clear for a key that the hints of the tree's keys say nothing about */
} ps_btree_probe;

typedef enum {
    PS_BTREE_BEFORE, /* before the first entry whose key is not less (lower bound) */
    PS_BTREE_AFTER,  /* after the last entry whose key is not greater (upper bound) */
} ps_btree_side;

/* A gap between two entries, or before the first, or after the last: the path to the entry that follows it (or
 * past the end of the last leaf). Valid until the tree's `moves` changes. */
typedef struct {
    uint8_t height;
    struct {
        const ps_btree_node *node;
        uint32_t at; /* the child; at the last step, the entry */
    } steps[PS_BTREE_MAX_HEIGHT];
} ps_btree_place;

/* malloc's, of blocks that begin with a cache line: what a tree of the process wants. */
extern const ps_allocator PS_BTREE_ALLOCATOR;

/* Lifetime ------------------------------------------------------------------------------------------------ */

/* Makes an empty tree that allocates nothing yet. `owner` outlives it. */
void ps_btree_init(ps_btree *tree, uint8_t flags, const ps_btree_owner *owner, void *context);

/* Drops all entries; words to release wait among the dead. The tree is empty and usable. Cannot fail. */
void ps_btree_clear(ps_btree *tree);

/* Releases what waits: hands the words of each dead leaf to the owner, which may use this tree meanwhile. */
void ps_btree_release_dead(ps_btree *tree);

/* Makes `into` (not initialised) a tree with the same entries, in O(1); the two change apart. Cannot fail. */
void ps_btree_snapshot(const ps_btree *tree, ps_btree *into, void *context);

/* For a garbage collector: calls `visit` for each leaf that this tree alone owns (an object in a leaf that two
 * trees own is kept alive by both) and each that is dead, until it returns non-zero, and returns that. Of a leaf of
 * runs `keys` are only the different ones, fewer than the n values. */
int ps_btree_traverse(const ps_btree *tree,
                      int (*visit)(const int64_t *keys, const uint64_t *values, size_t n, void *arg), void *arg);

/* One entry by key; int64 keys only --------------------------------------------------------------------------- */

/* The value at `key` (the first one of several): PS_EMPTY if there is none. */
ps_status ps_btree_get(const ps_btree *tree, int64_t key, uint64_t *value);

/* Inserts, or replaces the value of the key, in a tree without MULTI; with MULTI always inserts, last among equals.
 * *old is the value replaced if *replaced. PS_NO_MEMORY; PS_REFUSED: the tree is full. */
ps_status ps_btree_put(ps_btree *tree, int64_t key, uint64_t value, uint64_t *old, bool *replaced);

/* Places ------------------------------------------------------------------------------------------------------ */

/* The gap on `side` of a key; *found: whether an entry with that key stands beside it (after it for BEFORE, before
 * it for AFTER). PS_STOPPED, PS_CHANGED: from compare. PS_BROKEN: a page of the file is broken. */
ps_status ps_btree_seek(const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side,
                        ps_btree_place *place, bool *found);

/* The gap before entry `index`, 0 <= index <= length. */
ps_status ps_btree_seek_index(const ps_btree *tree, uint32_t index, ps_btree_place *place);

/* How many entries lie before a place. */
uint32_t ps_btree_index(const ps_btree *tree, const ps_btree_place *place);

/* Copies up to `most` entries that follow the place, in order, and moves it behind them; `values` may be NULL,
 * and stays as it is in a tree without. Returns how many: fewer than `most` at the end of a leaf, too; 0 at the
 * end of the tree, and when a page is broken (*status, PS_OK else). Words are copied, not retained. */
size_t ps_btree_read(const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most,
                     ps_status *status);

/* The same towards the front: entries before the place, nearest first. */
size_t ps_btree_read_back(const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values,
                          size_t most, ps_status *status);

/* Changes at a place; each uses the place up. */

/* Inserts in the gap. The caller vouches for the order. Takes over the references of key and value. */
ps_status ps_btree_insert(ps_btree *tree, ps_btree_place *place, int64_t key, uint64_t value);

/* Replaces the value of the entry that follows; the caller owns *old. The key word stays the old one. */
ps_status ps_btree_set_value(ps_btree *tree, ps_btree_place *place, uint64_t value, uint64_t *old);

/* Removes the entry that follows; the caller owns *key and *value (NULL: not for trees of objects). */
ps_status ps_btree_remove(ps_btree *tree, ps_btree_place *place, int64_t *key, uint64_t *value);

/* Many ---------------------------------------------------------------------------------------------------------- */

/* int64 keys only; for queries in any order, fast when they ascend. Without Python code, so without the GIL. */

/* values[i] and found[i] (0 or 1) for keys[i]; `values` may be NULL; where not found values[i] stays as it is. */
ps_status ps_btree_get_many(const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values, uint8_t *found);

/* Entries before a key (side BEFORE), or not after (AFTER). PS_BROKEN: *rank is anything. */
ps_status ps_btree_rank(const ps_btree *tree, int64_t key, ps_btree_side side, int64_t *rank);

/* The same for each of keys. */
ps_status ps_btree_rank_many(const ps_btree *tree, const int64_t *keys, size_t n, ps_btree_side side, int64_t *ranks);

#include "btree_bulk.h"  /* many at once: loads, cuts, batches */
#include "btree_judge.h" /* figures, and whether all rules hold */

#endif
