#include "btree_file.h"

#include <string.h>

#include "crc32.h"

enum {
    PAGE = PS_BTREE_PAGE_BYTES,
    BUFFER_PAGES = 256, /* pages that go to the sink together */
    MAJOR = 1,
    MINOR = 0,
    MULTI = 1,
};

#define FILL 0.9 /* of the nodes of a tree that had runs; as the fallback writes them */

static const uint8_t MAGIC[8] = {0x89, 'B', 'T', 'R', 'E', 'E', '\r', '\n'};
static const uint32_t ORDER = 0x01020304;

typedef struct {
    uint16_t leaf_room, leaf_keys, leaf_values, leaf_pivots;
    uint16_t inner_room, inner_keys, inner_children, inner_counts;
} geometry;

typedef struct {
    uint8_t magic[8];
    uint32_t order;
    uint16_t major, minor;
    uint8_t key_type, value_type, flags, height;
    uint32_t page_bytes;
    uint64_t entries;
    uint32_t pages, root;
    geometry geometry;
    uint8_t zeros[8];
    uint32_t starts[PS_BTREE_MAX_HEIGHT];
    uint8_t more_zeros[892];
    uint32_t checksum;
} header;

_Static_assert(sizeof(header) == PAGE, "the header is a page");
_Static_assert(offsetof(ps_btree_node, checksum) == 4 && offsetof(ps_btree_node, words) == 64, "as in btree_file.h");

static geometry geometry_of(unsigned flags)
{
    bool values = flags & PS_BTREE_VALUES;
    return (geometry){
        .leaf_room = (uint16_t)ps_btree_leaf_room(flags),
        .leaf_keys = offsetof(ps_btree_node, words),
        .leaf_values = values ? offsetof(ps_btree_node, entries.values) : 0,
        .leaf_pivots = values ? 8 : 16,
        .inner_room = PS_BTREE_CHILDREN,
        .inner_keys = offsetof(ps_btree_node, branch.keys),
        .inner_children = offsetof(ps_btree_node, branch.children),
        .inner_counts = offsetof(ps_btree_node, branch.counts),
    };
}

/* The checksum of a node's page: of all but itself; begun with the number, so that no page can stand for another. */
static uint32_t page_checksum(const uint8_t *page, uint32_t number)
{
    enum { BEFORE = offsetof(ps_btree_node, checksum), BEHIND = BEFORE + sizeof(uint32_t) };
    return ps_crc32(ps_crc32(number, page, BEFORE), page + BEHIND, PAGE - BEHIND);
}

/* The key that pivot `i` repeats, of a node with n keys. */
static int64_t pivot_of(const int64_t *keys, unsigned n, unsigned i, unsigned step)
{
    unsigned at = step * (i + 1);
    return at < n ? keys[at] : INT64_MAX;
}

static unsigned pivot_step(unsigned flags, unsigned level) { return level > 0 || flags & PS_BTREE_VALUES ? 8 : 16; }

/* Reading -------------------------------------------------------------------------------------------------- */

static unsigned flags_of(const ps_btree_file *file)
{
    return (file->value_type ? PS_BTREE_VALUES : 0u) | (file->multi ? PS_BTREE_MULTI : 0u);
}

static bool all_zero(const ps_btree_node *node, size_t from, size_t to)
{
    const uint8_t *bytes = (const uint8_t *)node;
    uint8_t any = 0;
    for (size_t i = from; i < to; i++) any |= bytes[i];
    return any == 0;
}

#define END_OF(node, array, n) ((size_t)((const uint8_t *)&(node)->array[n] - (const uint8_t *)(node)))

static bool rest_is_zero(const ps_btree_node *node, unsigned flags)
{
    unsigned n = node->n;
    if (node->zero[0] || node->zero[1]) return false;
    if (node->level > 0)
        return all_zero(node, END_OF(node, branch.keys, n - 1), offsetof(ps_btree_node, branch.children)) &&
               all_zero(node, END_OF(node, branch.children, n), offsetof(ps_btree_node, branch.counts)) &&
               all_zero(node, END_OF(node, branch.counts, n), PAGE);
    if (!(flags & PS_BTREE_VALUES)) return all_zero(node, END_OF(node, words, n), PAGE);
    return all_zero(node, END_OF(node, entries.keys, n), offsetof(ps_btree_node, entries.values)) &&
           all_zero(node, END_OF(node, entries.values, n), PAGE);
}

/* What every node must be so that searches stay inside. */
static bool is_good(const ps_btree_file *file, const ps_btree_node *node, uint32_t number, unsigned level)
{
    unsigned flags = flags_of(file), n = node->n;
    unsigned least = level == 0 ? 1 : level + 1u == file->height ? 2 : ps_btree_least(flags, level);
    if (page_checksum((const uint8_t *)node, number) != node->checksum) return false;
    if (node->level != level || n < least || n > ps_btree_room(flags, level)) return false;
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++)
        if (node->pivots[i] != pivot_of(node->words, level > 0 ? n - 1 : n, i, pivot_step(flags, level))) return false;
    return rest_is_zero(node, flags);
}

/* The entries below an inner node; 0 if its children are not what they must be, or the entries too many. */
static uint32_t sum_of(const ps_btree_file *file, const ps_btree_node *node, unsigned level)
{
    uint64_t first = node->branch.children[0], sum = 0;
    uint64_t least = ps_btree_page_reference(file->starts[level - 1]);
    uint64_t end = ps_btree_page_reference(file->starts[level]);
    if (!ps_btree_in_file(first) || first < least || first > end || end - first < 2u * node->n) return 0;
    for (unsigned i = 0; i < node->n; i++) {
        if (node->branch.children[i] != first + 2 * (uint64_t)i) return 0;
        sum += node->branch.counts[i];
    }
    return sum <= file->entries ? (uint32_t)sum : 0;
}

static const ps_btree_node *broken(ps_btree_file *file, uint32_t number)
{
    atomic_store_explicit(&file->broken, number, memory_order_relaxed);
    return NULL;
}

static const ps_btree_node *node_of(ps_btree_pages *pages, uint32_t number, unsigned level, uint32_t entries)
{
    ps_btree_file *file = (ps_btree_file *)pages;
    if (level >= file->height) return broken(file, number);
    uint32_t at = number - file->starts[level]; /* a number before the level gives a large one */
    if (at >= file->starts[level + 1] - file->starts[level]) return broken(file, number);
    const ps_btree_node *node = (const ps_btree_node *)(const void *)(file->pages.bytes + (size_t)number * PAGE);
    /* Relaxed: what was found good are bytes that do not change. At worst two threads look at the same page. */
    if (level == 0) {
        _Atomic uint64_t *word = &file->leaves[at / 64];
        uint64_t bit = UINT64_C(1) << at % 64;
        if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) {
            if (!is_good(file, node, number, level)) return broken(file, number);
            atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
        }
        return node->n == entries ? node : broken(file, number);
    }
    _Atomic uint32_t *known = &file->sums[number - file->starts[1]];
    uint32_t sum = atomic_load_explicit(known, memory_order_relaxed);
    if (sum == 0) {
        if (!is_good(file, node, number, level)) return broken(file, number);
        sum = sum_of(file, node, level);
        atomic_store_explicit(known, sum, memory_order_relaxed);
    }
    return sum == entries && sum > 0 ? node : broken(file, number);
}

/* Whether levels have as many pages as they can have, one root, and as many entries as fit. */
static bool levels_fit(const header *head, unsigned flags)
{
    const uint32_t *starts = head->starts;
    unsigned height = head->height;
    if (height > PS_BTREE_MAX_HEIGHT) return false;
    for (unsigned level = height; level < PS_BTREE_MAX_HEIGHT; level++)
        if (starts[level] != 0) return false;
    if (height == 0) return head->entries == 0 && head->root == 0 && head->pages == 1;
    if (starts[0] != 1 || starts[height - 1] != head->root || head->root != head->pages - 1) return false;
    uint64_t above = 1, here = 1; /* pages of a level and of the one below, from the root down */
    for (unsigned level = height - 1; level-- > 0; above = here) {
        if (starts[level] >= starts[level + 1]) return false;
        here = starts[level + 1] - starts[level];
        if (here < (above > 1 ? above * ps_btree_least(flags, 1) : 2)) return false;
    }
    uint64_t least = here > 2 ? (here - 2) * ps_btree_least(flags, 0) + 2 : here;
    return head->entries >= least && head->entries <= here * ps_btree_leaf_room(flags) &&
           head->entries <= PS_BTREE_MAX_LENGTH;
}

static bool is_header(const header *head, size_t size)
{
    if (memcmp(head->magic, MAGIC, sizeof MAGIC) != 0 || head->order != ORDER || head->major != MAJOR) return false;
    if (ps_crc32(0, (const uint8_t *)head, offsetof(header, checksum)) != head->checksum) return false;
    if (head->key_type < PS_BTREE_INT64 || head->key_type > PS_BTREE_FLOAT64) return false;
    if (head->value_type > PS_BTREE_FLOAT64_VALUES || head->flags > MULTI) return false;
    if (head->page_bytes != PAGE || head->pages != size / PAGE || size % PAGE != 0) return false;
    unsigned flags = head->value_type ? PS_BTREE_VALUES : 0;
    geometry expected = geometry_of(flags);
    return memcmp(&head->geometry, &expected, sizeof expected) == 0 && levels_fit(head, flags);
}

ps_status ps_btree_file_open(ps_btree_file *file, const uint8_t *bytes, size_t size, ps_allocator allocator)
{
    header head;
    if (size < PAGE || (uintptr_t)bytes % 64 != 0) return PS_BROKEN;
    memcpy(&head, bytes, sizeof head);
    if (!is_header(&head, size)) return PS_BROKEN;
    memset(file, 0, sizeof *file);
    file->pages.node = node_of;
    file->pages.bytes = bytes;
    file->key_type = head.key_type;
    file->value_type = head.value_type;
    file->multi = head.flags & MULTI;
    file->height = head.height;
    file->entries = (uint32_t)head.entries;
    file->count = head.pages;
    file->allocator = allocator;
    for (unsigned level = 0; level <= PS_BTREE_MAX_HEIGHT; level++)
        file->starts[level] = level < head.height ? head.starts[level] : head.pages;
    if (head.height == 0) return PS_OK;
    size_t words = ((size_t)file->starts[1] - 1 + 63) / 64, inner = file->count - file->starts[1];
    size_t room = words * sizeof *file->leaves + inner * sizeof *file->sums;
    file->leaves = allocator.resize(NULL, room);
    if (file->leaves == NULL) return PS_NO_MEMORY;
    memset((void *)file->leaves, 0, room);
    file->sums = (_Atomic uint32_t *)(void *)(file->leaves + words);
    return PS_OK;
}

void ps_btree_file_close(ps_btree_file *file)
{
    file->allocator.release((void *)file->leaves);
    file->leaves = NULL;
    file->sums = NULL;
    file->height = 0;
}

ps_status ps_btree_file_map(ps_btree_file *file, ps_btree *tree)
{
    if (tree->length != 0 || (tree->flags & ~PS_BTREE_RUNS) != flags_of(file)) return PS_REFUSED;
    if (file->height == 0) return PS_OK;
    tree->flags = (uint8_t)flags_of(file);
    tree->root = (uintptr_t)ps_btree_page_reference(file->count - 1);
    tree->length = file->entries;
    tree->height = file->height;
    tree->pages = &file->pages;
    tree->changes++;
    tree->moves++;
    return PS_OK;
}

uint32_t ps_btree_file_broken(const ps_btree_file *file)
{
    return atomic_load_explicit(&file->broken, memory_order_relaxed);
}

/* Writing -------------------------------------------------------------------------------------------------- */

typedef struct {
    const ps_btree *tree;
    ps_btree_sink sink;
    uint8_t *buffer;
    size_t filled;       /* pages in the buffer */
    uint32_t number;     /* of the next page */
    uint32_t next_child; /* the page of the first child of the next inner node */
} writer;

static ps_status flush(writer *w)
{
    size_t filled = w->filled;
    w->filled = 0;
    return w->sink.put(w->sink.context, w->buffer, filled * PAGE) ? PS_OK : PS_STOPPED;
}

static void fill_leaf(ps_btree_node *page, const ps_btree_node *node, unsigned flags)
{
    memcpy(page->words, node->words, node->n * sizeof *node->words);
    if (flags & PS_BTREE_VALUES)
        memcpy(page->entries.values, node->entries.values, node->n * sizeof *node->entries.values);
}

static void fill_inner(writer *w, ps_btree_node *page, const ps_btree_node *node)
{
    memcpy(page->branch.keys, node->branch.keys, (node->n - 1u) * sizeof *node->branch.keys);
    memcpy(page->branch.counts, node->branch.counts, node->n * sizeof *node->branch.counts);
    for (unsigned i = 0; i < node->n; i++) page->branch.children[i] = ps_btree_page_reference(w->next_child++);
}

static ps_status write_node(writer *w, const ps_btree_node *node)
{
    uint8_t *bytes = w->buffer + w->filled * PAGE;
    ps_btree_node *page = (ps_btree_node *)(void *)bytes;
    unsigned flags = w->tree->flags, n_keys = node->level > 0 ? node->n - 1u : node->n;
    memset(bytes, 0, PAGE); /* nothing of what lay in memory beside the entries gets out */
    page->n = node->n;
    page->level = node->level;
    for (unsigned i = 0; i < PS_BTREE_PIVOTS; i++)
        page->pivots[i] = pivot_of(node->words, n_keys, i, pivot_step(flags, node->level));
    if (node->level > 0)
        fill_inner(w, page, node);
    else
        fill_leaf(page, node, flags);
    page->checksum = page_checksum(bytes, w->number++);
    return ++w->filled < BUFFER_PAGES ? PS_OK : flush(w);
}

/* Writes the nodes of level `wanted` below a reference. Recursion is at most PS_BTREE_MAX_HEIGHT deep. */
static ps_status write_level(writer *w, uint64_t reference, unsigned level, uint32_t entries, unsigned wanted)
{
    const ps_btree_node *node = ps_btree_node_of(w->tree, reference, level, entries);
    if (node == NULL) return PS_BROKEN;
    if (level == wanted) return write_node(w, node);
    ps_status status = PS_OK;
    for (unsigned i = 0; i < node->n && status == PS_OK; i++)
        status = write_level(w, node->branch.children[i], level - 1, node->branch.counts[i], wanted);
    return status;
}

/* Adds the nodes below a reference to nodes[level]; leaves are not looked at, their parents know how many they are. */
static ps_status count_nodes(const ps_btree *tree, uint64_t reference, unsigned level, uint32_t entries,
                             uint64_t *nodes)
{
    nodes[level]++;
    if (level == 0) return PS_OK;
    const ps_btree_node *node = ps_btree_node_of(tree, reference, level, entries);
    if (node == NULL) return PS_BROKEN;
    if (level == 1) {
        nodes[0] += node->n;
        return PS_OK;
    }
    ps_status status = PS_OK;
    for (unsigned i = 0; i < node->n && status == PS_OK; i++)
        status = count_nodes(tree, node->branch.children[i], level - 1, node->branch.counts[i], nodes);
    return status;
}

static void fill_header(header *head, const ps_btree *tree, uint8_t key_type, uint8_t value_type, const uint64_t *nodes)
{
    memset(head, 0, sizeof *head);
    memcpy(head->magic, MAGIC, sizeof MAGIC);
    head->order = ORDER;
    head->major = MAJOR;
    head->minor = MINOR;
    head->key_type = key_type;
    head->value_type = value_type;
    head->flags = tree->flags & PS_BTREE_MULTI ? MULTI : 0;
    head->height = tree->height;
    head->page_bytes = PAGE;
    head->entries = tree->length;
    head->geometry = geometry_of(tree->flags);
    head->pages = 1;
    for (unsigned level = 0; level < tree->height; level++) {
        head->starts[level] = head->pages;
        head->pages += (uint32_t)nodes[level];
    }
    head->root = tree->height > 0 ? head->pages - 1 : 0;
    head->checksum = ps_crc32(0, (const uint8_t *)head, offsetof(header, checksum));
}

static ps_status write_pages(writer *w, uint8_t key_type, uint8_t value_type)
{
    const ps_btree *tree = w->tree;
    uint64_t nodes[PS_BTREE_MAX_HEIGHT] = {0};
    ps_status status = PS_OK;
    if (tree->height > 0) status = count_nodes(tree, tree->root, tree->height - 1u, tree->length, nodes);
    if (status != PS_OK) return status;
    header *head = (header *)(void *)w->buffer;
    fill_header(head, tree, key_type, value_type, nodes);
    w->filled = w->number = 1;
    for (unsigned level = 0; level < tree->height && status == PS_OK; level++) {
        w->next_child = level > 0 ? w->number - (uint32_t)nodes[level - 1] : 0;
        status = write_level(w, tree->root, tree->height - 1u, tree->length, level);
    }
    return status == PS_OK && w->filled > 0 ? flush(w) : status;
}

static ps_status write_plain(const ps_btree *tree, uint8_t key_type, uint8_t value_type, ps_btree_sink sink,
                             ps_allocator allocator)
{
    writer w = {.tree = tree, .sink = sink, .buffer = allocator.resize(NULL, BUFFER_PAGES * PAGE)};
    if (w.buffer == NULL) return PS_NO_MEMORY;
    ps_status status = write_pages(&w, key_type, value_type);
    allocator.release(w.buffer);
    return status;
}

ps_status ps_btree_write(const ps_btree *tree, uint8_t key_type, uint8_t value_type, ps_btree_sink sink,
                         ps_allocator allocator)
{
    if (!(tree->flags & PS_BTREE_RUNS)) return write_plain(tree, key_type, value_type, sink, allocator);
    ps_btree plain;
    ps_status status = ps_btree_without_runs(tree, &plain, FILL);
    if (status != PS_OK) return status;
    status = write_plain(&plain, key_type, value_type, sink, allocator);
    ps_btree_clear(&plain);
    return status;
}
