/* Files of trees: written, mapped and changed against a plain array; then with bytes flipped, cut and made up, with
 * right checksums or without, under every operation. The bytes lie in a block of their exact size, so that one
 * read too far is an error. */
#define _POSIX_C_SOURCE 200112L /* posix_memalign */
#include "btree_edit.h"
#include "btree_file.h"
#include "crc32.h"
#include "fuzz.h"

#define MOST 9000

typedef struct {
    uint8_t *bytes; /* aligned to 64 */
    size_t size;
    long stops_after; /* puts that succeed; < 0: all */
} blob;

static long allocations_left = -1; /* < 0: no end */

static void *resize(void *memory, size_t size)
{
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    return realloc(memory, size);
}

static const ps_allocator ALLOCATOR = {resize, free};
static const ps_btree_owner OWNER = {.allocator = {resize, free}};

static bool put(void *context, const uint8_t *bytes, size_t size)
{
    blob *to = context;
    if (to->stops_after == 0) return false;
    if (to->stops_after > 0) to->stops_after--;
    void *room = NULL;
    FUZZ_REQUIRE(posix_memalign(&room, 64, to->size + size) == 0);
    if (to->size > 0) memcpy(room, to->bytes, to->size);
    memcpy((uint8_t *)room + to->size, bytes, size);
    free(to->bytes);
    to->bytes = room;
    to->size += size;
    return true;
}

static ps_btree_sink sink_to(blob *to) { return (ps_btree_sink){put, to}; }

/* Makes the checksum of a page right. */
static void seal(blob *file, uint32_t number)
{
    uint8_t *page = file->bytes + (size_t)number * PS_BTREE_PAGE_BYTES;
    size_t at = number ? 4 : 1020;
    uint32_t sum = number ? ps_crc32(ps_crc32(number, page, 4), page + 8, 1016) : ps_crc32(0, page, 1020);
    memcpy(page + at, &sum, sizeof sum);
}

/* The model ------------------------------------------------------------------------------------------------ */

typedef struct {
    int64_t keys[MOST];
    uint64_t values[MOST];
    size_t n;
} model;

/* Ascending keys, some equal if `multi`, made of a few bytes of input. */
static void some_entries(model *m, fuzz_input *input, bool multi)
{
    uint64_t choice = fuzz_take(input, 1), step = 1 + fuzz_take(input, 2);
    size_t most = choice % 4 == 0 ? 3 : choice % 4 == 1 ? 200 : MOST;
    int64_t key = choice % 8 < 2 ? INT64_MIN : fuzz_between(input, -1000, 1000);
    m->n = (size_t)(fuzz_take(input, 2) % (most + 1));
    for (size_t i = 0; i < m->n; i++) {
        m->keys[i] = key;
        m->values[i] = (uint64_t)key * 3 + i;
        if (!multi || i % 5 != 0) key += (int64_t)(1 + (i * step) % 1000);
    }
    if (m->n > 0 && choice % 16 == 5 && m->keys[m->n - 1] < INT64_MAX) m->keys[m->n - 1] = INT64_MAX;
}

static void expect_entries(const ps_btree *tree, const model *m)
{
    ps_btree_place place;
    ps_status status = PS_OK;
    int64_t keys[64];
    uint64_t values[64];
    size_t seen = 0, n;
    const char *rule = NULL;
    FUZZ_REQUIRE(ps_btree_check(tree, &rule) == PS_OK);
    FUZZ_REQUIRE(tree->length == m->n);
    FUZZ_REQUIRE(ps_btree_seek_index(tree, 0, &place) == PS_OK);
    while ((n = ps_btree_read(tree, &place, keys, tree->flags & PS_BTREE_VALUES ? values : NULL, 64, &status)) > 0)
        for (size_t i = 0; i < n; i++, seen++) {
            FUZZ_REQUIRE(seen < m->n && keys[i] == m->keys[seen]);
            FUZZ_REQUIRE(!(tree->flags & PS_BTREE_VALUES) || values[i] == m->values[seen]);
        }
    FUZZ_REQUIRE(status == PS_OK && seen == m->n);
}

static void load(ps_btree *tree, const model *m, uint8_t flags, double fill)
{
    size_t unsorted;
    ps_btree_init(tree, flags, &OWNER, NULL);
    const uint64_t *values = flags & PS_BTREE_VALUES ? m->values : NULL;
    FUZZ_REQUIRE(ps_btree_load(tree, m->keys, values, m->n, fill, &unsorted) == PS_OK);
}

/* Changes the tree and the model alike. */
static void change(ps_btree *tree, model *m, fuzz_input *input, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        size_t at = m->n ? (size_t)(fuzz_take(input, 2) % m->n) : 0, rest = m->n - at;
        ps_btree_place place;
        int64_t key;
        uint64_t value, old;
        bool replaced;
        switch (fuzz_take(input, 1) % 4) {
        case 0: /* a key replaced, or one more among its equals */
            if (m->n == 0 || m->n == MOST) break;
            value = fuzz_take(input, 8);
            FUZZ_REQUIRE(ps_btree_put(tree, m->keys[at], value, &old, &replaced) == PS_OK);
            if (!(tree->flags & PS_BTREE_MULTI)) {
                m->values[at] = value;
                break;
            }
            while (at < m->n && m->keys[at] == m->keys[m->n - rest]) at++;
            key = m->keys[at - 1];
            memmove(m->keys + at + 1, m->keys + at, (m->n - at) * sizeof *m->keys);
            memmove(m->values + at + 1, m->values + at, (m->n - at) * sizeof *m->values);
            m->keys[at] = key;
            m->values[at] = value;
            m->n++;
            break;
        case 1: /* one removed */
            if (m->n == 0) break;
            FUZZ_REQUIRE(ps_btree_seek_index(tree, (uint32_t)at, &place) == PS_OK);
            FUZZ_REQUIRE(ps_btree_remove(tree, &place, &key, &value) == PS_OK && key == m->keys[at]);
            memmove(m->keys + at, m->keys + at + 1, (rest - 1) * sizeof *m->keys);
            memmove(m->values + at, m->values + at + 1, (rest - 1) * sizeof *m->values);
            m->n--;
            break;
        case 2: /* many removed */
            if (fuzz_take(input, 1) % 4 != 0) rest = rest < 40 ? rest : 40;
            FUZZ_REQUIRE(ps_btree_remove_range(tree, (uint32_t)at, (uint32_t)(at + rest)) == PS_OK);
            memmove(m->keys + at, m->keys + at + rest, (m->n - at - rest) * sizeof *m->keys);
            memmove(m->values + at, m->values + at + rest, (m->n - at - rest) * sizeof *m->values);
            m->n -= rest;
            break;
        default: /* one appended */
            if (m->n == 0 || m->n == MOST || m->keys[m->n - 1] == INT64_MAX) break;
            key = m->keys[m->n - 1] + 1;
            FUZZ_REQUIRE(ps_btree_put(tree, key, (uint64_t)key, &old, &replaced) == PS_OK);
            m->keys[m->n] = key;
            m->values[m->n++] = (uint64_t)key;
        }
    }
}

/* Whole files ---------------------------------------------------------------------------------------------- */

static void write_to(const ps_btree *tree, blob *to)
{
    *to = (blob){NULL, 0, -1};
    uint8_t values = tree->flags & PS_BTREE_VALUES ? PS_BTREE_INT64_VALUES : PS_BTREE_NO_VALUES;
    allocations_left = 0;
    FUZZ_REQUIRE(ps_btree_write(tree, PS_BTREE_INT64, values, sink_to(to), ALLOCATOR) == PS_NO_MEMORY);
    allocations_left = -1;
    to->stops_after = 0;
    FUZZ_REQUIRE(ps_btree_write(tree, PS_BTREE_INT64, values, sink_to(to), ALLOCATOR) == PS_STOPPED);
    FUZZ_REQUIRE(to->size == 0);
    to->stops_after = -1;
    FUZZ_REQUIRE(ps_btree_write(tree, PS_BTREE_INT64, values, sink_to(to), ALLOCATOR) == PS_OK);
}

static void open_and_map(const blob *from, ps_btree_file *file, ps_btree *tree, uint8_t flags)
{
    allocations_left = 0;
    ps_status status = ps_btree_file_open(file, from->bytes, from->size, ALLOCATOR);
    allocations_left = -1;
    FUZZ_REQUIRE(status == PS_OK || status == PS_NO_MEMORY); /* an empty one needs no memory */
    if (status == PS_NO_MEMORY) FUZZ_REQUIRE(ps_btree_file_open(file, from->bytes, from->size, ALLOCATOR) == PS_OK);
    ps_btree_init(tree, flags ^ PS_BTREE_VALUES, &OWNER, NULL);
    FUZZ_REQUIRE(ps_btree_file_map(file, tree) == PS_REFUSED);
    ps_btree_init(tree, flags, &OWNER, NULL);
    FUZZ_REQUIRE(ps_btree_file_map(file, tree) == PS_OK);
    FUZZ_REQUIRE(tree->length == 0 || !(tree->flags & PS_BTREE_RUNS));
    if (tree->length > 0) FUZZ_REQUIRE(ps_btree_file_map(file, tree) == PS_REFUSED);
}

static void round_trip(model *m, fuzz_input *input, uint8_t flags, blob *written)
{
    ps_btree tree, mapped, other;
    ps_btree_file file;
    blob again;
    load(&tree, m, flags, 0.5 + (double)(fuzz_take(input, 1) % 6) / 10);
    change(&tree, m, input, (unsigned)fuzz_take(input, 1) % 40);
    expect_entries(&tree, m);
    write_to(&tree, written);
    ps_btree_clear(&tree);

    open_and_map(written, &file, &mapped, flags);
    FUZZ_REQUIRE(ps_btree_file_broken(&file) == 0);
    write_to(&mapped, &again); /* what is mapped is written as it was */
    FUZZ_REQUIRE(again.size == written->size && memcmp(again.bytes, written->bytes, again.size) == 0);
    expect_entries(&mapped, m);
    ps_btree_snapshot(&mapped, &other, NULL);
    static model changed;
    changed = *m;
    change(&mapped, &changed, input, 20); /* copies on write: neither the file nor the snapshot changes */
    expect_entries(&mapped, &changed);
    expect_entries(&other, m);
    FUZZ_REQUIRE(memcmp(again.bytes, written->bytes, again.size) == 0);
    ps_btree_clear(&mapped);
    ps_btree_clear(&other);
    ps_btree_file_close(&file);
    free(again.bytes);
}

/* Hostile files -------------------------------------------------------------------------------------------- */

/* Statuses do not matter here: nothing may be read or written outside, go on for ever or leak. */
static void look_at(const ps_btree *tree, fuzz_input *input)
{
    int64_t keys[64], others[64];
    uint64_t room[64], value, *values = tree->flags & PS_BTREE_VALUES ? room : NULL;
    uint8_t found[64];
    ps_btree_place place;
    ps_btree_stats stats;
    ps_status status;
    const char *rule;
    size_t n, read = 0, read_back = 0;
    bool seen;
    for (size_t i = 0; i < 64; i++)
        keys[i] = i % 3 ? fuzz_between(input, -5000, 5000) : fuzz_between(input, INT64_MIN, INT64_MAX);
    if (ps_btree_seek_index(tree, 0, &place) == PS_OK)
        while ((n = ps_btree_read(tree, &place, others, values, 64, &status)) > 0)
            FUZZ_REQUIRE((read += n) <= tree->length);
    if (ps_btree_seek_index(tree, tree->length, &place) == PS_OK)
        while ((n = ps_btree_read_back(tree, &place, others, values, 64, &status)) > 0)
            FUZZ_REQUIRE((read_back += n) <= tree->length);
    for (size_t i = 0; i < 64; i++) {
        ps_btree_probe probe = {.key = keys[i]};
        ps_btree_get(tree, keys[i], &value);
        if (ps_btree_seek(tree, &probe, i % 2 ? PS_BTREE_BEFORE : PS_BTREE_AFTER, &place, &seen) != PS_OK) continue;
        FUZZ_REQUIRE(ps_btree_index(tree, &place) <= tree->length);
        ps_btree_read(tree, &place, others, values, 64, &status);
    }
    ps_btree_get_many(tree, keys, 64, values, found);
    if (ps_btree_rank_many(tree, keys, 64, PS_BTREE_AFTER, others) == PS_OK)
        for (size_t i = 0; i < 64; i++) FUZZ_REQUIRE(others[i] >= 0 && others[i] <= (int64_t)tree->length);
    int64_t rank;
    if (ps_btree_rank(tree, keys[0], PS_BTREE_BEFORE, &rank) == PS_OK)
        FUZZ_REQUIRE(rank >= 0 && rank <= (int64_t)tree->length);
    ps_btree_check(tree, &rule);
    ps_btree_measure(tree, &stats);
    blob to = {NULL, 0, -1};
    ps_btree_write(tree, PS_BTREE_INT64, values ? PS_BTREE_INT64_VALUES : PS_BTREE_NO_VALUES, sink_to(&to), ALLOCATOR);
    free(to.bytes);
}

/* A tree that is whole is written as it was: pages have one form, down to the bytes that nothing is in. */
static void require_written_as_it_is(const ps_btree *tree, const blob *file)
{
    blob to = {NULL, 0, -1};
    uint8_t values = tree->flags & PS_BTREE_VALUES ? PS_BTREE_INT64_VALUES : PS_BTREE_NO_VALUES;
    if (ps_btree_write(tree, PS_BTREE_INT64, values, sink_to(&to), ALLOCATOR) == PS_OK) {
        size_t header = PS_BTREE_PAGE_BYTES; /* a flip may have made the keys others, or the minor version */
        FUZZ_REQUIRE(to.size == file->size);
        FUZZ_REQUIRE(memcmp(to.bytes + header, file->bytes + header, to.size - header) == 0);
    }
    free(to.bytes);
}

static uint32_t some_index(const ps_btree *tree, fuzz_input *input)
{
    return tree->length ? (uint32_t)fuzz_take(input, 2) % tree->length : 0;
}

static void change_freely(ps_btree *tree, fuzz_input *input)
{
    int64_t keys[64], key = fuzz_between(input, -5000, 5000);
    uint64_t values[64] = {0}, old;
    ps_btree_place place;
    ps_btree right;
    size_t count;
    bool replaced;
    const char *rule;
    for (unsigned i = 0; i < 12; i++) {
        ps_btree_put(tree, fuzz_between(input, -5000, 5000), 1, &old, &replaced);
        if (tree->length > 0 && ps_btree_seek_index(tree, some_index(tree, input), &place) == PS_OK)
            ps_btree_remove(tree, &place, &keys[0], &values[0]);
    }
    for (size_t i = 0; i < 64; i++) keys[i] = key + 77 * (int64_t)i;
    ps_status put = ps_btree_put_many(tree, keys, tree->flags & PS_BTREE_VALUES ? values : NULL, 64, &count);
    ps_status removed = ps_btree_remove_many(tree, keys, 32, &count);
    FUZZ_REQUIRE(put == PS_OK || put == PS_BROKEN); /* our keys ascend: if any do not, they are the file's */
    FUZZ_REQUIRE(removed == PS_OK || removed == PS_BROKEN);
    uint32_t first = some_index(tree, input);
    ps_btree_remove_range(tree, first, first + (tree->length - first) / 2);
    ps_btree_init(&right, tree->flags, &OWNER, NULL);
    ps_btree_split(tree, tree->length / 3, &right);
    ps_btree_check(&right, &rule);
    ps_btree_check(tree, &rule);
    ps_btree_clear(&right);
}

static void use(ps_btree *tree, fuzz_input *input)
{
    ps_btree before;
    ps_btree_snapshot(tree, &before, NULL);
    look_at(tree, input);
    change_freely(tree, input);
    look_at(tree, input);
    ps_btree_clear(tree);
    look_at(&before, input);
    ps_btree_clear(&before);
}

/* Takes children from the end of an inner node as if it had never had them. */
static void shrink(ps_btree_node *node, uint64_t by)
{
    if (node->level == 0 || node->n < 2 || node->n > PS_BTREE_CHILDREN) return;
    node->n = (uint8_t)(1 + by % (node->n - 1u));
    for (unsigned i = node->n; i < PS_BTREE_CHILDREN; i++) {
        node->branch.keys[i - 1] = 0;
        node->branch.children[i] = 0;
        node->branch.counts[i] = 0;
    }
    ps_btree_set_pivots(node, 0);
}

/* Changes one field of a node, in the ways that could matter. The last pages are inner nodes. */
static void spoil(blob *file, fuzz_input *input)
{
    uint32_t pages = (uint32_t)(file->size / PS_BTREE_PAGE_BYTES), near = pages < 8 ? pages : 8;
    bool inner = fuzz_take(input, 1) % 4;
    uint32_t number = (uint32_t)(inner ? pages - 1 - fuzz_take(input, 1) % near : fuzz_take(input, 2) % pages);
    ps_btree_node *node = (ps_btree_node *)(void *)(file->bytes + (size_t)number * PS_BTREE_PAGE_BYTES);
    unsigned how = (unsigned)fuzz_take(input, 1) % 13, i = (unsigned)fuzz_take(input, 1) % (node->n ? node->n : 1u);
    uint64_t word = fuzz_take(input, 2);
    if (i >= PS_BTREE_CHILDREN) i = 0;
    switch (how) {
    case 0: node->n = (uint8_t)word; break;
    case 1: node->n = (uint8_t)(node->n + (word % 2 ? 1 : -1)); break;
    case 2: node->level = (uint8_t)(word % 8); break;
    case 3: node->branch.children[i] = word; break;
    case 4: node->branch.children[i] ^= UINT64_C(2) << word % 10; break;
    case 5: node->branch.children[i] = ps_btree_page_reference((uint32_t)(word % 2 ? number : word % pages)); break;
    case 6: /* all of them further on, or back */
        for (unsigned j = 0; j < node->n && j < PS_BTREE_CHILDREN; j++) node->branch.children[j] += word - 0x8000;
        break;
    case 7: node->branch.counts[i] += (uint32_t)word - 0x8000; break;
    case 8: /* the sum stays */
        node->branch.counts[i] += (uint32_t)word;
        node->branch.counts[0] -= (uint32_t)word;
        break;
    case 9: node->words[i] = (int64_t)(word << 48); break;
    case 11: shrink(node, word); break;
    case 10: node->pivots[i % PS_BTREE_PIVOTS] = (int64_t)(word << 48); break;
    default: memcpy(node, file->bytes + word % pages * PS_BTREE_PAGE_BYTES, PS_BTREE_PAGE_BYTES);
    }
}

/* Changes one number of the header a little, or much. */
static void spoil_header(blob *file, fuzz_input *input)
{
    static const uint8_t FIELDS[] = {24, 24, 32, 36, 64, 68, 72, 76, 120, 40, 42, 46, 48, 54};
    uint8_t *at = file->bytes + FIELDS[fuzz_take(input, 1) % sizeof FIELDS];
    uint16_t before;
    memcpy(&before, at, sizeof before);
    uint64_t by = fuzz_take(input, 2);
    uint64_t pages = file->size / PS_BTREE_PAGE_BYTES;
    uint16_t after = (uint16_t)(by % 4 == 0 ? before + by : by % 4 == 1 ? by / 4 % pages : before + by / 4 % 5 - 2);
    memcpy(at, &after, sizeof after);
}

/* A page in place of another, with its checksum. */
static void misplace(blob *file, fuzz_input *input)
{
    size_t pages = file->size / PS_BTREE_PAGE_BYTES;
    size_t from = fuzz_take(input, 2) % pages, to = fuzz_take(input, 2) % pages;
    memmove(file->bytes + to * PS_BTREE_PAGE_BYTES, file->bytes + from * PS_BTREE_PAGE_BYTES, PS_BTREE_PAGE_BYTES);
}

/* Changes a byte; of any page, or of what matters most in one. */
static void flip(blob *file, fuzz_input *input)
{
    uint64_t at = fuzz_take(input, 3) % file->size, to = fuzz_take(input, 2);
    if (to % 4 == 1) at = at / 1024 * 1024 + at % 72 % (file->size - at / 1024 * 1024);
    file->bytes[at] = (uint8_t)(to & 0x8000 ? file->bytes[at] ^ UINT64_C(1) << to % 8 : to);
}

/* What a header may say: levels that fit into the file and on each other, so that no claim is much larger than it. */
static void require_levels(const ps_btree_file *file, const blob *bytes, const blob *whole)
{
    FUZZ_REQUIRE(bytes->size == (size_t)file->count * PS_BTREE_PAGE_BYTES);
    FUZZ_REQUIRE(memcmp(bytes->bytes + 40, whole->bytes + 40, 8) == 0 || bytes->bytes[17] != whole->bytes[17]);
    FUZZ_REQUIRE(memcmp(bytes->bytes + 48, whole->bytes + 48, 8) == 0);
    FUZZ_REQUIRE(file->starts[0] == 1 && file->starts[file->height] == file->count);
    uint32_t starts[PS_BTREE_MAX_HEIGHT], above = 1, here = 1;
    memcpy(starts, bytes->bytes + 64, sizeof starts);
    for (unsigned level = file->height; level < PS_BTREE_MAX_HEIGHT; level++) FUZZ_REQUIRE(starts[level] == 0);
    for (unsigned level = file->height; level-- > 0; above = here) {
        here = file->starts[level + 1] - file->starts[level];
        if (level + 1u == file->height) FUZZ_REQUIRE(here == 1);
        else FUZZ_REQUIRE(here >= (above > 1 ? 12 * above : 2));
    }
    if (file->height == 0) return;
    unsigned flags = file->value_type ? PS_BTREE_VALUES : 0;
    FUZZ_REQUIRE(file->entries <= (uint64_t)here * ps_btree_leaf_room(flags));
    FUZZ_REQUIRE(here < 3 || file->entries >= 2 + (here - 2) * ps_btree_least(flags, 0));
}

/* Asks for pages of any number and level. What is given out is a node of that level with no more entries than all. */
static void ask_for_pages(ps_btree_file *file, fuzz_input *input)
{
    unsigned flags = (file->value_type ? PS_BTREE_VALUES : 0u) | (file->multi ? PS_BTREE_MULTI : 0u);
    for (unsigned i = 0; i < 24; i++) {
        uint32_t number = (uint32_t)fuzz_take(input, 2) % (file->count + 2);
        if (i % 2 && file->count > 3) number = file->count - 1 - number % 3; /* an inner one */
        unsigned level = (unsigned)fuzz_take(input, 1) % (file->height + 1u), own_level = 0;
        while (own_level < file->height && number >= file->starts[own_level + 1]) own_level++;
        if (i % 4) level = own_level;
        const uint8_t *bytes = file->pages.bytes + (size_t)(number < file->count ? number : 0) * PS_BTREE_PAGE_BYTES;
        const ps_btree_node *page = (const ps_btree_node *)(const void *)bytes;
        uint64_t entries = level == 0 ? page->n : 0;
        for (unsigned j = 0; level > 0 && j < page->n && j < PS_BTREE_CHILDREN; j++) entries += page->branch.counts[j];
        const ps_btree_node *node = file->pages.node(&file->pages, number, level, (uint32_t)entries);
        FUZZ_REQUIRE(file->pages.node(&file->pages, number, level, (uint32_t)entries + 1) == NULL);
        if (node == NULL) continue;
        FUZZ_REQUIRE(node == page && number > 0 && number < file->count && level == own_level && node->level == level);
        FUZZ_REQUIRE(node->n > 0 && node->n <= ps_btree_room(flags, level));
        bool is_root = level + 1u == file->height;
        FUZZ_REQUIRE(level == 0 || node->n >= (is_root ? 2 : ps_btree_least(flags, level)));
        FUZZ_REQUIRE(level == 0 || entries <= file->entries); /* a leaf has no more than its parent says, see above */
    }
}

static void damage(const blob *whole, fuzz_input *input, uint8_t flags)
{
    uint64_t how = fuzz_take(input, 1) % 8;
    blob bad = {NULL, 0, -1};
    size_t size = how == 0 ? (size_t)(fuzz_take(input, 3) % whole->size) : whole->size;
    FUZZ_REQUIRE(put(&bad, whole->bytes, size));
    if (how == 1 && fuzz_take(input, 1) % 2) { /* longer */
        size = whole->size + 1 + fuzz_take(input, 1) * 8;
        FUZZ_REQUIRE(put(&bad, (const uint8_t[8 * 256]){0}, size - whole->size));
    }
    bool sealed = how > 2;
    unsigned times = 1 + (sealed ? (unsigned)fuzz_take(input, 1) % 4 : 0);
    for (unsigned i = 0; i < times && size > 0; i++)
        if (how == 2) misplace(&bad, input);
        else if (how == 4) spoil_header(&bad, input);
        else if (how < 5 || size < 2048) flip(&bad, input);
        else spoil(&bad, input);
    bool same = size == whole->size && memcmp(bad.bytes, whole->bytes, size) == 0;
    if (sealed)
        for (uint32_t i = 0; i < size / PS_BTREE_PAGE_BYTES; i++) seal(&bad, i);
    ps_btree_file file;
    ps_btree tree;
    ps_btree_init(&tree, flags, &OWNER, NULL);
    if (ps_btree_file_open(&file, bad.bytes, bad.size, ALLOCATOR) != PS_OK) {
        FUZZ_REQUIRE(!same);
        free(bad.bytes);
        return;
    }
    FUZZ_REQUIRE(bad.size == whole->size || sealed);
    if (file.height > 0) require_levels(&file, &bad, whole);
    if (ps_btree_file_map(&file, &tree) == PS_OK) {
        const char *rule = NULL;
        if (!sealed) { /* no flip goes unseen */
            FUZZ_REQUIRE((ps_btree_check(&tree, &rule) == PS_OK) == same);
            FUZZ_REQUIRE(same || ps_btree_file_broken(&file) > 0);
        }
        ask_for_pages(&file, input);
        require_written_as_it_is(&tree, &bad);
        use(&tree, input);
    }
    ps_btree_file_close(&file);
    free(bad.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input input = {data, size};
    static model m;
    blob whole;
    uint8_t flags = (uint8_t)(fuzz_take(&input, 1) % 5); /* with values or without, multi or not, */
    if (flags == 4) flags = PS_BTREE_VALUES | PS_BTREE_MULTI | PS_BTREE_RUNS; /* with runs, which no file has */
    some_entries(&m, &input, flags & PS_BTREE_MULTI);
    round_trip(&m, &input, flags, &whole);
    for (unsigned i = 0; i < 6; i++) damage(&whole, &input, flags);
    free(whole.bytes);
    return 0;
}
