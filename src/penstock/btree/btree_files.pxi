# Files. A part of _btree_c.pyx.


cdef class Mapped:
    """A file in memory that nodes of trees lie in; every tree that shares them holds it."""

    cdef ps_btree_file file
    cdef Py_buffer view
    cdef bint is_open, is_viewed
    cdef str path

    def __dealloc__(self):
        if self.is_open:
            ps_btree_file_close(&self.file)
        if self.is_viewed:
            PyBuffer_Release(&self.view)


cdef inline bint has_broken_page(BTree self) noexcept:
    return self.mapped is not None and ps_btree_file_broken(&self.mapped.file) != 0


cdef object broken_page(BTree self):
    from penstock.btree import _tree_header

    cdef Mapped mapped = self.mapped
    if mapped is None:
        return broken_tree("nodes do not hold what their counts say")
    return _tree_header.broken_page(mapped.path, ps_btree_file_broken(&mapped.file))


@cython.critical_section
cdef int map_file(BTree self, object mapping, str path, str key_type, object value_type) except -1:
    cdef Mapped mapped = Mapped()
    cdef unsigned kind = kind_of(self)
    cdef ps_status status
    PyObject_GetBuffer(mapping, &mapped.view, PyBUF_SIMPLE)
    mapped.is_viewed = True
    mapped.path = path
    status = ps_btree_file_open(&mapped.file, <const uint8_t *>mapped.view.buf, mapped.view.len, PS_PYTHON_MEMORY)
    if status == PS_OK:
        mapped.is_open = True
        if self.of.tree.length:
            raise not_empty(self.of.tree.length)
        ps_object_tree_init(&self.of, kind, KEY_TYPES.index(key_type), VALUE_TYPES.index(value_type or "object"))
        status = ps_btree_file_map(&mapped.file, &self.of.tree)
    self.mapped = mapped
    return check(self, PS_BROKEN if status == PS_REFUSED else status)


@cython.critical_section
cdef int save_file(BTree self, int fd) except -1:
    cdef BTree pinned = shared(self)
    cdef int error = 0
    cdef ps_status status
    cdef uint8_t key_type = self.of.key_type
    cdef uint8_t value_type = self.of.value_type if has_values(self) else PS_BTREE_NO_VALUES
    with nogil:
        status = ps_save_tree(&pinned.of.tree, key_type, value_type, fd, &error)
    if status == PS_STOPPED:
        raise OSError(error, strerror(error))
    return check(pinned, status)
