"""Lookups, compiled: the twin of _placement_py.py. How a position finds its node, each subclass says in C."""

cimport cython
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int32_t, uint32_t, uint64_t

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_c cimport KeyHash
from penstock.hashring._key_hash_py import changed, checked_keys
from penstock.hashring._placement_py import checked_out, checked_positions, first_of_each_zone, is_array
from penstock.hashring.membership import checked_replicas, index_or_none, no_nodes

__all__ = ["Lookups", "Placement", "own_lookups"]

cdef extern from *:
    """
    /* The method of `name` of a class of C, as a method of its own of the subclass `type`. */
    static PyObject *ps_own_method(PyObject *type, PyObject *descriptor)
    {
        return PyDescr_NewMethod((PyTypeObject *)type, ((PyMethodDescrObject *)descriptor)->d_method);
    }
    """
    object ps_own_method(object type, object descriptor)

cdef KeyHash DEFAULT_HASH = KeyHash()
cdef Py_ssize_t FEW = 256  # keys: to find their nodes takes about 2 us, and the GIL is not worth that
cdef Py_ssize_t FIRST_STEP = 4  # of a walk: mostly, so many nodes are enough


def own_lookups(cls, /):
    """Gives a class lookups of its own: CPython specialises calls of those, inherited ones cost 9 ns more."""
    for name in ("get_node", "get_nodes", "iter_nodes", "get_many"):
        method = getattr(cls, name)
        if method is getattr(Placement, name) or method is getattr(Lookups, name):
            setattr(cls, name, ps_own_method(cls, method))
    return cls


cdef class Placement:
    """Placement(nodes, hash, /)\n--\n
    Which of its nodes gets a key: the lookups of every frozen placement.

    It never changes, so threads may share it, and an index into `nodes` keeps its meaning. Nodes stand in
    the order of their names; the order in which they were named never matters.

    Subclasses say how: `_locate` and `_order` in Python, or their like in C.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
    """

    def __cinit__(self, *_args, **_options):
        self._nodes = ()
        self._hash = DEFAULT_HASH

    def __init__(self, nodes, hash, /):
        self.begin(nodes, hash)

    cdef int refuse_twice(self) except -1:
        if self.begun:
            raise InvalidValue("a frozen placement must be initialised once, got a second time")
        return 0

    cdef int begin(self, tuple nodes, KeyHash hash) except -1:
        """The last step of an initialisation: from here on, lookups look into the table."""
        self.refuse_twice()
        if nodes is None or hash is None:
            raise InvalidType("nodes must be a tuple and hash a KeyHash, got None")
        self._hash = hash
        self._nodes = nodes
        self.begun = True
        return 0

    # ---- what a way to place keys defines

    cdef uint32_t locate(self, uint64_t position) noexcept nogil:
        return 0

    cdef void locate_all(self, const uint64_t *positions, Py_ssize_t n, int32_t *indices) noexcept nogil:
        cdef Py_ssize_t i
        for i in range(n):
            indices[i] = self.locate(positions[i])

    cdef int order(self, uint64_t position, Py_ssize_t n, uint32_t *indices) except -1:
        raise NotImplementedError

    # ---- lookups

    @property
    def nodes(self):
        """The names, sorted: what the indices of `get_many` point into."""
        return self._nodes

    @property
    def hash(self):
        """The hash of the keys."""
        return self._hash

    def get_node(self, key, /):
        """The node that gets `key`.

        Args:
            key: str, hashed as UTF-8; bytes; or int, hashed as 8 bytes.

        Raises:
            LookupError: there is no node.
            ValueError: an int of more than 64 bits, or a str that UTF-8 cannot write.
            TypeError: a key of another type.
        """
        return node_of(self, key)

    def get_nodes(self, key, n, *, distinct_by=None):
        """The first `n` nodes for `key` in its order of preference: where it and its replicas go.

        Args:
            key: as for get_node.
            n: nodes, >= 0. Fewer are returned where there are fewer.
            distinct_by: gives the zone (rack, host) of a node; then only the first node of each zone counts.

        Raises:
            LookupError: there is no node.
            ValueError: n < 0, or as for get_node.
            TypeError: n is no int, distinct_by is not callable, or as for get_node.
        """
        return nodes_of(self, key, n, distinct_by)

    def iter_nodes(self, key, /):
        """All nodes in the order of preference of `key`: the next one takes over when one is down.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node.
        """
        return walk(self, position_of(self, key))

    def get_many(self, keys, *, out=None):
        """The node of each key. The GIL is let go: for arrays at once, for lists while nodes are found.

        Args:
            keys: an iterable of keys, or a numpy array of bytes, str or integers; not to change meanwhile.
            out: for arrays: int32 of the shape of `keys`, takes the answer.

        Returns:
            For an iterable, a list of nodes; for an array, int32 indices into `nodes`.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node; or out does not fit, or keys is one str or bytes.
        """
        return many_of(self, keys, out)

    def locate_many(self, positions, /):
        """The indices of the nodes at positions of the hash circle. Lets go of the GIL.

        Args:
            positions: (n,) uint64, contiguous: values of the hash, moved up to the highest of 64 bits.

        Returns:
            (n,) int32, indices into `nodes`.

        Raises:
            LookupError: there is no node.
            TypeError: positions is no such array.
        """
        if not self._nodes:
            raise no_nodes()
        cdef const uint64_t[::1] where = checked_positions(positions)
        answer = checked_out(None, positions)
        cdef int32_t[::1] indices = answer
        cdef Py_ssize_t n = where.shape[0]
        if n:
            locate_positions(self, &where[0], n, &indices[0])
        return answer

    def __len__(self):
        return PyTuple_GET_SIZE(self._nodes)

    def __contains__(self, name, /):
        return index_or_none(self._nodes, name) is not None

    def __iter__(self):
        return iter(self._nodes)


cdef uint64_t position_of(Placement placement, object key) except? 0:
    cdef uint64_t position
    placement._hash.position_of(key, &position)
    if PyTuple_GET_SIZE(placement._nodes) == 0:
        raise no_nodes()
    return position


cdef inline object node_of(Placement placement, object key):
    cdef uint64_t position
    placement._hash.position_of(key, &position)
    if PyTuple_GET_SIZE(placement._nodes) == 0:
        raise no_nodes()
    return <object>PyTuple_GET_ITEM(placement._nodes, placement.locate(position))


cdef object nodes_of(Placement placement, object key, object wanted, object distinct_by):
    cdef Py_ssize_t n = wanted if type(wanted) is int and 0 <= wanted < 1000 else checked_replicas(wanted)
    cdef uint64_t position = position_of(placement, key)
    if distinct_by is not None:
        return first_of_each_zone(walk(placement, position), n, distinct_by)
    return first_of(placement, position, min(n, PyTuple_GET_SIZE(placement._nodes)))


cdef list first_of(Placement placement, uint64_t position, Py_ssize_t n):
    """The first n nodes, at most all, in the order of preference of a position."""
    cdef uint32_t few[16]
    cdef uint32_t *indices = few
    if n > 16:
        indices = <uint32_t *>PyMem_Malloc(n * sizeof(uint32_t))
        if indices == NULL:
            raise MemoryError
    try:
        placement.order(position, n, indices)
        return listed(placement._nodes, <int32_t *>indices, n)
    finally:
        if indices != few:
            PyMem_Free(indices)


cdef list listed(tuple nodes, const int32_t *indices, Py_ssize_t n):
    cdef list answer = PyList_New(n)
    cdef PyObject *node
    cdef Py_ssize_t i
    for i in range(n):
        node = PyTuple_GET_ITEM(nodes, indices[i])
        Py_INCREF(<object>node)
        PyList_SET_ITEM(answer, i, <object>node)
    return answer


def walk(Placement placement not None, uint64_t position):
    cdef Py_ssize_t seen = 0, wanted = FIRST_STEP, all_nodes = PyTuple_GET_SIZE(placement._nodes)
    while seen < all_nodes:
        order = first_of(placement, position, min(wanted, all_nodes))
        yield from order[seen:]
        seen = len(order)
        wanted *= 8


cdef object many_of(Placement placement, object keys, object out):
    if is_array(keys):
        answer = checked_out(out, keys)
        locate_keys(placement, checked_keys(keys.ravel()), answer.ravel())
        return answer
    if out is not None:
        raise InvalidType("out must be None unless keys is a numpy array")
    return located(placement, checked_keys(keys))


cdef int locate_keys(Placement placement, object keys, int32_t[::1] indices) except -1:
    cdef Py_ssize_t n = len(keys)
    if n != indices.shape[0]:
        raise changed(min(n, indices.shape[0]))  # by an array whose class is the caller's own
    cdef uint64_t *positions = <uint64_t *>PyMem_Malloc(max(n, 1) * sizeof(uint64_t))
    if positions == NULL:
        raise MemoryError
    try:
        placement._hash.positions_of(keys, n, positions)
        if not placement._nodes:
            raise no_nodes()
        if n:
            locate_positions(placement, positions, n, &indices[0])
    finally:
        PyMem_Free(positions)
    return 0


cdef void locate_positions(Placement placement, const uint64_t *positions, Py_ssize_t n, int32_t *indices):
    if n <= FEW:
        placement.locate_all(positions, n, indices)
    else:
        with nogil:
            placement.locate_all(positions, n, indices)


cdef list located(Placement placement, object keys):
    cdef Py_ssize_t n = len(keys)  # of a list or tuple; no copy, which would touch every key twice more
    cdef uint64_t *positions = <uint64_t *>PyMem_Malloc((n + 1) * sizeof(uint64_t))
    cdef int32_t *indices = <int32_t *>PyMem_Malloc((n + 1) * sizeof(int32_t))
    try:
        if positions == NULL or indices == NULL:
            raise MemoryError
        placement._hash.positions_of(keys, n, positions)
        if not placement._nodes:
            raise no_nodes()
        locate_positions(placement, positions, n, indices)
        return listed(placement._nodes, indices, n)
    finally:
        PyMem_Free(positions)
        PyMem_Free(indices)


@cython.no_gc_clear  # as a Placement is not
cdef class Lookups:
    """Lookups(current, /)\n--\n
    The lookups of a placement that changes: each call uses the one that is current.

    The current placement is exchanged whole, so a lookup never waits, and its answer belongs to a membership
    that there was.
    """

    cdef Placement current
    cdef object __weakref__

    def __cinit__(self, *_args, **_options):
        self.current = Placement((), DEFAULT_HASH)

    def __init__(self, Placement current not None, /):
        with cython.critical_section(self):
            self.current = current

    cdef inline Placement now(self):
        cdef Placement current
        with cython.critical_section(self):
            current = self.current
        return current

    @property
    def _current(self):
        return self.now()

    def snapshot(self):
        """The current placement, which never changes."""
        return self.now()

    def _replace(self, Placement old not None, Placement new not None, /):
        cdef bint is_current
        with cython.critical_section(self):
            is_current = self.current is old
            if is_current:
                self.current = new
        return is_current

    def get_node(self, key, /):
        """The node that gets `key`.

        Args:
            key: str, hashed as UTF-8; bytes; or int, hashed as 8 bytes.

        Raises:
            LookupError: there is no node.
            ValueError: an int of more than 64 bits, or a str that UTF-8 cannot write.
            TypeError: a key of another type.
        """
        return node_of(self.now(), key)

    def get_nodes(self, key, n, *, distinct_by=None):
        """The first `n` nodes for `key` in its order of preference: where it and its replicas go.

        Args:
            key: as for get_node.
            n: nodes, >= 0. Fewer are returned where there are fewer.
            distinct_by: gives the zone (rack, host) of a node; then only the first node of each zone counts.

        Raises:
            LookupError: there is no node.
            ValueError: n < 0, or as for get_node.
            TypeError: n is no int, distinct_by is not callable, or as for get_node.
        """
        return nodes_of(self.now(), key, n, distinct_by)

    def iter_nodes(self, key, /):
        """All nodes in the order of preference of `key`: the next one takes over when one is down.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node.
        """
        cdef Placement current = self.now()
        return walk(current, position_of(current, key))

    def get_many(self, keys, *, out=None):
        """The node of each key. The GIL is let go: for arrays at once, for lists while nodes are found.

        Args:
            keys: an iterable of keys, or a numpy array of bytes, str or integers; not to change meanwhile.
            out: for arrays: int32 of the shape of `keys`, takes the answer.

        Returns:
            For an iterable, a list of nodes; for an array, int32 indices into `nodes`.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node; or out does not fit, or keys is one str or bytes.
        """
        return many_of(self.now(), keys, out)

    @property
    def nodes(self):
        """The names, sorted. For indices of `get_many`, ask the snapshot that it was called on."""
        return self.now()._nodes

    @property
    def hash(self):
        """The hash of the keys."""
        return self.now()._hash

    def __len__(self):
        return len(self.now())

    def __contains__(self, name, /):
        return name in self.now()

    def __iter__(self):
        return iter(self.now())
