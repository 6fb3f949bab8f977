"""What _btree_c.pyx knows of the kernels in csrc, and of btree_objects.h beside it."""

from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "<stdbool.h>":
    ctypedef bint cbool "bool"

cdef extern from "radix_sort.h" nogil:
    ps_status ps_radix_sort(int64_t *keys, uint64_t *values, size_t n, ps_allocator allocator)

cdef extern from "btree.h" nogil:
    ctypedef enum ps_status:
        PS_OK
        PS_REFUSED
        PS_EMPTY
        PS_NO_MEMORY
        PS_CHANGED
        PS_STOPPED
        PS_BROKEN

    ctypedef struct ps_allocator:
        pass

    const ps_allocator PS_BTREE_ALLOCATOR

    enum:
        PS_BTREE_VALUES
        PS_BTREE_MULTI
        PS_BTREE_OBJECT_KEYS
        PS_BTREE_OBJECT_VALUES

    ctypedef struct ps_btree_owner:
        ps_allocator allocator

    ctypedef struct ps_btree_pages:
        pass

    ctypedef struct ps_btree:
        uint32_t length
        uint8_t height
        uint8_t flags
        uint64_t changes
        uint64_t moves
        void *dead
        ps_btree_pages *pages

    ctypedef struct ps_btree_probe:
        int64_t key
        bint use_hint

    ctypedef enum ps_btree_side:
        PS_BTREE_BEFORE
        PS_BTREE_AFTER

    ctypedef struct ps_btree_place:
        pass

    ctypedef struct ps_btree_stats:
        uint64_t leaves
        uint64_t inner_nodes
        uint64_t node_bytes
        uint64_t shared_nodes
        double fill

    void ps_btree_clear(ps_btree *tree)
    void ps_btree_snapshot(const ps_btree *tree, ps_btree *into, void *context)
    ps_status ps_btree_get(const ps_btree *tree, int64_t key, uint64_t *value)
    ps_status ps_btree_put(ps_btree *tree, int64_t key, uint64_t value, uint64_t *old, cbool *replaced)
    ps_status ps_btree_seek(
        const ps_btree *tree, const ps_btree_probe *probe, ps_btree_side side, ps_btree_place *place, cbool *found
    )
    ps_status ps_btree_seek_index(const ps_btree *tree, uint32_t index, ps_btree_place *place)
    uint32_t ps_btree_index(const ps_btree *tree, const ps_btree_place *place)
    size_t ps_btree_read(
        const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most, ps_status *status
    )
    size_t ps_btree_read_back(
        const ps_btree *tree, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t most, ps_status *status
    )
    ps_status ps_btree_insert(ps_btree *tree, ps_btree_place *place, int64_t key, uint64_t value)
    ps_status ps_btree_set_value(ps_btree *tree, ps_btree_place *place, uint64_t value, uint64_t *old)
    ps_status ps_btree_remove(ps_btree *tree, ps_btree_place *place, int64_t *key, uint64_t *value)
    ps_status ps_btree_remove_range(ps_btree *tree, uint32_t first, uint32_t last)
    ps_status ps_btree_split(ps_btree *tree, uint32_t index, ps_btree *right)
    ps_status ps_btree_load(
        ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, double fill, size_t *unsorted
    )
    ps_status ps_btree_get_many(
        const ps_btree *tree, const int64_t *keys, size_t n, uint64_t *values, uint8_t *found
    )
    ps_status ps_btree_rank(const ps_btree *tree, int64_t key, ps_btree_side side, int64_t *rank)
    ps_status ps_btree_rank_many(
        const ps_btree *tree, const int64_t *keys, size_t n, ps_btree_side side, int64_t *ranks
    )
    ps_status ps_btree_put_many(
        ps_btree *tree, const int64_t *keys, const uint64_t *values, size_t n, size_t *added
    )
    ps_status ps_btree_remove_many(ps_btree *tree, const int64_t *keys, size_t n, size_t *removed)
    ps_status ps_btree_measure(const ps_btree *tree, ps_btree_stats *stats)
    ps_status ps_btree_check(const ps_btree *tree, const char **rule)

cdef extern from "btree.h":  # these call back, or may run any code
    void ps_btree_release_dead(ps_btree *tree) noexcept

cdef extern from "btree_file.h" nogil:
    enum:
        PS_BTREE_NO_VALUES

    ctypedef struct ps_btree_file:
        pass

    ps_status ps_btree_file_open(ps_btree_file *file, const uint8_t *bytes, size_t size, ps_allocator allocator)
    void ps_btree_file_close(ps_btree_file *file)
    ps_status ps_btree_file_map(ps_btree_file *file, ps_btree *tree)
    uint32_t ps_btree_file_broken(const ps_btree_file *file)

cdef extern from "btree_objects.h":
    ctypedef enum ps_key_type:
        PS_KEY_OBJECT
        PS_KEY_INT64
        PS_KEY_UINT64
        PS_KEY_FLOAT64
        PS_KEY_STR
        PS_KEY_BYTES

    ctypedef enum ps_value_type:
        PS_VALUE_OBJECT
        PS_VALUE_INT64
        PS_VALUE_FLOAT64

    enum:
        PS_FAMILY_NONE

    ctypedef struct ps_object_tree:
        ps_btree tree
        uint8_t key_type
        uint8_t value_type
        uint8_t family
        bint frozen

    ctypedef enum ps_walk_kind:
        PS_WALK_ITEMS
        PS_WALK_KEYS
        PS_WALK_VALUES

    ctypedef struct ps_walk:
        ps_btree_place place
        uint64_t changes
        uint64_t moves
        uint32_t next
        uint32_t remaining
        uint8_t at
        uint8_t n
        uint8_t room
        uint8_t kind
        bint reverse

    const ps_allocator PS_PYTHON_MEMORY
    ps_btree_owner PS_OBJECT_OWNER

    bint ps_is_typed(const ps_object_tree *self)
    bint ps_word_at_once(int type, PyObject *key, int64_t *word)
    bint ps_value_at_once(int type, PyObject *value, uint64_t *word)
    bint ps_key_at_once(int type, PyObject *key)
    size_t ps_words_at_once(int type, PyObject **numbers, int64_t *words, size_t n)
    size_t ps_values_at_once(int type, PyObject **values, uint64_t *words, size_t n)
    object ps_key_object(const ps_object_tree *self, int64_t word)
    object ps_value_object(const ps_object_tree *self, uint64_t word)
    object ps_item_object(const ps_object_tree *self, int64_t key, uint64_t value)
    void ps_map_words(ps_key_type type, const int64_t *source, int64_t *to, size_t n) noexcept nogil
    void ps_map_floats(const double *source, int64_t *to, size_t n) noexcept nogil
    int ps_compare_objects(void *context, int64_t probe, int64_t key, cbool *stop)
    bint ps_fits(unsigned family, PyObject *key)
    unsigned ps_family_of(PyObject *key)
    void ps_set_family(ps_object_tree *self, unsigned family)
    void ps_object_probe(const ps_object_tree *self, PyObject *key, ps_btree_probe *probe)
    void ps_retain_words(const void *words, size_t n)
    void ps_release_words(const void *words, size_t n)
    void ps_object_tree_init(ps_object_tree *self, unsigned kind, int key_type, int value_type)
    void ps_object_tree_share(const ps_object_tree *self, ps_object_tree *into)
    void ps_object_tree_swap(ps_object_tree *a, ps_object_tree *b)
    ps_status ps_walk_fill(ps_walk *walk, const ps_object_tree *of)
    PyObject *ps_walk_take(ps_walk *walk, const ps_object_tree *of, PyObject *pair) except NULL
    object ps_owned(PyObject *reference)
    int ps_reraise() except -1
    void ps_take_references(PyObject **elements, int64_t *words, size_t n)
    size_t ps_known_keys(const int64_t *keys, size_t n, unsigned *family)
    bint ps_hints_of(unsigned family, const int64_t *keys, int64_t *hints, size_t n)
    bint ps_sort_equal_hints(
        unsigned family, const int64_t *keys, const int64_t *hints, int64_t *places, int64_t *room, size_t n
    )
    void ps_fill_list(PyObject *list, const int64_t *words, size_t n)
    PyObject *ps_run_of(
        const ps_object_tree *self, ps_btree_place *place, int64_t key, ps_status *status
    ) except? NULL
    ps_status ps_list_values(
        const ps_object_tree *self, ps_btree_place *place, PyObject *list, size_t first, size_t last
    )
    ps_status ps_read_values(const ps_object_tree *self, ps_btree_place *place, uint64_t *values, size_t n)
    ps_status ps_read_words(
        const ps_object_tree *self, ps_btree_place *place, int64_t *keys, uint64_t *values, size_t n
    )
    ps_status ps_read_objects(
        const ps_object_tree *self, ps_btree_place *place, int64_t *keys, PyObject **values, size_t n
    )
    ps_status ps_save_tree(const ps_btree *tree, uint8_t key_type, uint8_t value_type, int fd, int *error) nogil
    void ps_collect_through(PyTypeObject *type, size_t offset)
