/* btree_node -- what a node of a B-tree (btree.h) looks like: 1016 bytes, the same in memory and in a file.
 *
 *     0     n, level, d, a byte of zeros, owners      8 bytes: with the pivots a cache line
 *     8     7 pivots: every eighth key                a pivot tells which eight keys to look at
 *     64    952 bytes, by kind:
 *
 *           entries      59 keys, 59 values           a leaf of a tree with values
 *           keys        119 keys                      a leaf of a tree without; a pivot for every sixteen
 *           branch       47 keys, 48 children, 48 counts             an inner node
 *           guide        33 hints, 33 keys, 34 children, 34 counts   one where keys are words of the caller's
 *
 *           runs         keys, starts and values of a tree with runs: d keys from the front, d bytes that
 *                        say which entry is the first with each key, n values at the end
 *
 *     8     1008 bytes of a leaf where keys are words of the caller's:
 *
 *           labelled     base, shift, 58 labels, 58 keys, 58 values
 *           named        base, shift, 111 labels, 111 keys           without values
 *
 * 1016 and what malloc keeps beside it are 1 KiB, so in memory nodes lie as in a file, back to back.
 *
 * pivots[i] is keys[8 * (i + 1)] (keys[16 * (i + 1)] in a leaf without values, hints[8 * (i + 1)] in a guide), and
 * INT64_MAX where there is no such key. A label is what a byte can tell of a key's hint, (hint - base) >> shift
 * within 0 and 255: to look at a key of the caller's is to miss the cache, and the labels say which few to look at.
 * Inner nodes have n children and n - 1 keys: keys[i] is the first key below children[i + 1]; counts[i] are the
 * entries below children[i].
 *
 * A reference to a node is its address, or for a page of a mapped file `number << 1 | 1`. Nodes of a file
 * belong to no tree: their `owners` is the checksum of the page, and who writes to them makes a copy.
 * Children of a node in a file are in the file too. Words of the caller's are never in a file. */
#ifndef PS_BTREE_NODE_H
#define PS_BTREE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "btree.h"

enum {
    PS_BTREE_NODE_BYTES = 1016,
    PS_BTREE_PIVOTS = 7,
    PS_BTREE_ENTRIES = 59,  /* room of a leaf with values */
    PS_BTREE_KEYS = 119,    /* of one without */
    PS_BTREE_LABELLED = 58, /* of a leaf with values where keys are words of the caller's */
    PS_BTREE_NAMED = 111,   /* of one without */
    PS_BTREE_RUN_BYTES = 952, /* of a leaf of runs, for all that it holds */
    PS_BTREE_CHILDREN = 48, /* of an inner node */
    PS_BTREE_GUIDED = 34,   /* of one where keys are words of the caller's */
};

struct ps_btree_node {
    uint8_t n;       /* entries of a leaf, children of an inner node; never 0 */
    uint8_t level;   /* 0: a leaf */
    union {
        uint8_t zero[2]; /* so that two files with the same entries are the same */
        uint8_t d;       /* different keys of a leaf of runs */
    };
    union {
        _Atomic uint32_t owners; /* trees and nodes that refer to it */
        uint32_t checksum;       /* in a file */
    };
    union {
        struct {
            int64_t pivots[PS_BTREE_PIVOTS];
            union {
                int64_t words[PS_BTREE_KEYS]; /* keys, or hints, begin here whatever the kind */
                struct {
                    int64_t keys[PS_BTREE_ENTRIES];
                    uint64_t values[PS_BTREE_ENTRIES];
                } entries;
                struct {
                    int64_t keys[PS_BTREE_CHILDREN - 1];
                    uint64_t children[PS_BTREE_CHILDREN];
                    uint32_t counts[PS_BTREE_CHILDREN];
                } branch;
                struct {
                    int64_t hints[PS_BTREE_GUIDED - 1];
                    int64_t keys[PS_BTREE_GUIDED - 1];
                    uint64_t children[PS_BTREE_GUIDED];
                    uint32_t counts[PS_BTREE_GUIDED];
                } guide;
            };
        };
        struct {
            int64_t base; /* a hint */
            uint8_t shift, labels[PS_BTREE_LABELLED];
            int64_t keys[PS_BTREE_LABELLED];
            uint64_t values[PS_BTREE_LABELLED];
        } labelled;
        struct {
            int64_t base;
            uint8_t shift, labels[PS_BTREE_NAMED];
            int64_t keys[PS_BTREE_NAMED];
        } named;
    };
};

_Static_assert(sizeof(ps_btree_node) == PS_BTREE_NODE_BYTES, "a node and malloc's word for it are 1 KiB");

/* Where the nodes of a file come from. btree_file.h makes one; it stands first in a struct of its own. */
struct ps_btree_pages {
    /* The node of a page, NULL when it is broken: the number is not one of a node, the checksum is wrong, the
     * level is another, n is 0 or beyond the room, a child is not a page of the file, or there are not `entries`
     * below. So all that the tree relies on so as not to read outside, or without end, is checked there; that
     * keys ascend is not. May be called from any thread. */
    const ps_btree_node *(*node)(ps_btree_pages *pages, uint32_t number, unsigned level, uint32_t entries);
    const unsigned char *bytes; /* page n begins at bytes + 1024 * n: to fetch it early, unchecked */
};

static inline bool ps_btree_in_file(uint64_t reference) { return reference & 1; }
static inline uint64_t ps_btree_page_reference(uint32_t number) { return (uint64_t)number << 1 | 1; }
static inline uint32_t ps_btree_page_number(uint64_t reference) { return (uint32_t)(reference >> 1); }

/* The room of a leaf, and of an inner node, of a tree with these flags: entries, children; of a leaf of runs bytes. */
static inline unsigned ps_btree_leaf_room(unsigned flags)
{
    if (flags & PS_BTREE_RUNS) return PS_BTREE_RUN_BYTES;
    if (flags & PS_BTREE_OBJECT_KEYS) return flags & PS_BTREE_VALUES ? PS_BTREE_LABELLED : PS_BTREE_NAMED;
    return flags & PS_BTREE_VALUES ? PS_BTREE_ENTRIES : PS_BTREE_KEYS;
}

static inline unsigned ps_btree_inner_room(unsigned flags)
{
    return flags & PS_BTREE_OBJECT_KEYS ? PS_BTREE_GUIDED : PS_BTREE_CHILDREN;
}

static inline unsigned ps_btree_room(unsigned flags, unsigned level)
{
    return level == 0 ? ps_btree_leaf_room(flags) : ps_btree_inner_room(flags);
}

/* All but the root, and the first and the last leaf (which grow and shrink at the end), are at the least so full. */
static inline unsigned ps_btree_least(unsigned flags, unsigned level) { return ps_btree_room(flags, level) / 4; }

/* The keys of a leaf; of one of runs the different ones. */
static inline const int64_t *ps_btree_leaf_keys(const ps_btree_node *leaf, unsigned flags)
{
    if (!(flags & PS_BTREE_OBJECT_KEYS)) return leaf->words;
    return flags & PS_BTREE_VALUES ? leaf->labelled.keys : leaf->named.keys;
}

static inline const uint64_t *ps_btree_leaf_values(const ps_btree_node *leaf, unsigned flags)
{
    if (flags & PS_BTREE_RUNS) return (const uint64_t *)(leaf->words + PS_BTREE_KEYS - leaf->n);
    return flags & PS_BTREE_OBJECT_KEYS ? leaf->labelled.values : leaf->entries.values;
}

/* Of a leaf of runs: the first entry of each key. */
static inline const uint8_t *ps_btree_starts(const ps_btree_node *leaf)
{
    return (const uint8_t *)(leaf->words + leaf->d);
}

/* What the entries or children of a node take of its room. */
static inline unsigned ps_btree_load_of(const ps_btree_node *node, unsigned flags)
{
    return node->level == 0 && flags & PS_BTREE_RUNS ? 8u * node->n + 9u * node->d : node->n;
}

/* The arrays of an inner node. */
static inline const uint64_t *ps_btree_children(const ps_btree_node *node, unsigned flags)
{
    return flags & PS_BTREE_OBJECT_KEYS ? node->guide.children : node->branch.children;
}

static inline const uint32_t *ps_btree_counts(const ps_btree_node *node, unsigned flags)
{
    return flags & PS_BTREE_OBJECT_KEYS ? node->guide.counts : node->branch.counts;
}

/* The node of a reference at a level, with so many entries below it; NULL: its page is broken. */
static inline const ps_btree_node *ps_btree_node_of(const ps_btree *tree, uint64_t reference, unsigned level,
                                                    uint32_t entries)
{
    if (!ps_btree_in_file(reference)) return (const ps_btree_node *)(uintptr_t)reference;
    return tree->pages->node(tree->pages, ps_btree_page_number(reference), level, entries);
}

/* Child `at` of an inner node that was reached by `reference`. Children of a file's node are in the file,
 * whatever it says. */
static inline uint64_t ps_btree_child(const ps_btree_node *node, unsigned flags, unsigned at, uint64_t reference)
{
    return ps_btree_children(node, flags)[at] | (reference & 1);
}

#endif
