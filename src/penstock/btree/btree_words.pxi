# Many keys and values as words, and their order. A part of _btree_c.pyx.


cdef class Words:
    """Keys or values as words: of an array that `kept` holds, or of memory of its own."""

    cdef int64_t *at
    cdef size_t n
    cdef int64_t *own
    cdef bint holds  # what is in memory of its own are references
    cdef size_t known  # keys from the front that are known to be of one family and to ascend strictly
    cdef unsigned family  # which one
    cdef object kept

    def __dealloc__(self):
        if self.holds:
            ps_release_words(self.own, self.n)
        PyMem_RawFree(self.own)


cdef int allocate(Words words, size_t n) except -1:
    words.own = <int64_t *>PyMem_RawMalloc((n if n else 1) * sizeof(int64_t))
    if words.own is NULL:
        raise MemoryError()
    words.at, words.n = words.own, n
    return 0


cdef int own(Words words) except -1:
    """Gives the words memory of their own, which may be written to; what they refer to is held by others."""
    cdef Words holder
    if words.own is not NULL and not words.holds:
        return 0
    if words.holds:
        holder = Words()
        holder.at, holder.own, holder.n, holder.holds = words.at, words.own, words.n, True
        words.own, words.holds, words.kept = NULL, False, holder
    cdef const int64_t *borrowed = words.at
    allocate(words, words.n)
    memcpy(words.own, borrowed, words.n * sizeof(int64_t))
    return 0


cdef int hold(Words words, object elements) except -1:
    """Makes the elements of a list or tuple words, with references."""
    allocate(words, len(elements))
    ps_take_references(PySequence_Fast_ITEMS(elements), words.own, words.n)
    words.holds = True
    return 0


cdef size_t data_of(object array, void **data, int flags) except? 0:
    """Where a contiguous array has its elements, as long as it lives; how many of 8 bytes."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, flags)
    data[0] = view.buf
    cdef size_t n = view.len // 8
    PyBuffer_Release(&view)  # who holds the array holds its memory
    return n


cdef object elements_of(object items, str name):
    """What an iterable has, as a list or tuple; a list may be the caller's, who may change it when code of his runs."""
    if type(items) is list or type(items) is tuple:
        return items
    return tuple(items) if isinstance(items, (list, tuple)) else items_list(items, name)


cdef Words key_words(BTree self, object keys):
    """The keys of a typed tree as words."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.key_type
    cdef void *data = NULL
    if not is_array(keys):
        keys = elements_of(keys, "keys")
        check_types(self, types)
        allocate(words, len(keys))
        if ps_words_at_once(type, PySequence_Fast_ITEMS(keys), words.own, words.n) == words.n:
            return words
        PyMem_RawFree(words.own)
        words.own = NULL
    array = typed_array(keys, KEY_TYPES[type], "keys")
    check_types(self, types)
    words.n = data_of(array, &data, PyBUF_SIMPLE)
    words.kept = array
    if type == PS_KEY_INT64:
        words.at = <int64_t *>data
    else:
        allocate(words, words.n)
        if type == PS_KEY_FLOAT64:
            ps_map_floats(<const double *>data, words.own, words.n)
        else:
            ps_map_words(PS_KEY_UINT64, <const int64_t *>data, words.own, words.n)
    return words


cdef Words value_words(BTree self, object values):
    """The values as words, and references to them where they are objects."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.value_type
    cdef void *data = NULL
    if type == PS_VALUE_OBJECT or not is_array(values):
        values = elements_of(values, "values")
        check_types(self, types)
        if type == PS_VALUE_OBJECT:
            hold(words, values)
            return words
        allocate(words, len(values))
        if ps_values_at_once(type, PySequence_Fast_ITEMS(values), <uint64_t *>words.own, words.n) == words.n:
            return words
        PyMem_RawFree(words.own)
        words.own = NULL
    words.kept = typed_values(values, VALUE_TYPES[type], "values")
    check_types(self, types)
    words.n = data_of(words.kept, &data, PyBUF_SIMPLE)
    words.at = <int64_t *>data
    return words


cdef Words object_words(BTree self, object keys):
    """The keys of a tree of objects, checked, as words with references."""
    cdef Words words = Words()
    cdef unsigned types = types_of(self)
    cdef int type = self.of.key_type
    cdef size_t i, checked = 0
    hold(words, elements_of(keys, "keys"))
    words.known = ps_known_keys(words.at, words.n, &words.family)
    if words.known and ps_key_at_once(type, <PyObject *>words.at[0]):
        checked = words.known
    for i in range(checked, words.n):
        if not ps_key_at_once(type, <PyObject *>words.at[i]):
            keys_list(objects_of(words), KEY_TYPES[type], "keys")  # raises, unless all are instances of subclasses
            break
    check_types(self, types)
    return words


cdef list objects_of(Words words):
    return [<object><PyObject *>words.at[i] for i in range(words.n)]


cdef size_t ascending(const int64_t *words, size_t n, bint strictly) noexcept nogil:
    """The index of the first that is less than the one before (strictly: not greater); 0: there is none."""
    cdef size_t i
    for i in range(1, n):
        if words[i] < words[i - 1] or (strictly and words[i] == words[i - 1]):
            return i
    return 0


cdef size_t ascending_objects(Words keys, bint strictly) except? 0:
    """The same for objects."""
    cdef size_t i
    cdef int order
    cdef cbool stop = False
    for i in range(keys.known if keys.known else 1, keys.n):
        order = ps_compare_objects(NULL, keys.at[i], keys.at[i - 1], &stop)
        if stop:
            ps_reraise()
        if order < 0 or (strictly and order == 0):
            return i
    return 0


cdef int sort_words(BTree self, Words keys, Words values, bint is_sorted) except -1:
    """Sorts typed keys with their values; refuses what was said to be sorted and is not.

    Both are in memory of one's own after it: nobody writes to what was found in order.
    """
    cdef size_t wrong
    cdef ps_status status
    cdef uint64_t *moved = NULL
    own(keys)
    if values is not None:
        own(values)
        moved = <uint64_t *>values.own
    wrong = ascending(keys.own, keys.n, False)
    if not wrong:
        return 0
    if is_sorted:
        raise unsorted_at(self, keys, wrong)
    if keys.n < LONG:
        status = ps_radix_sort(keys.own, moved, keys.n, PS_PYTHON_MEMORY)
    else:
        with nogil:
            status = ps_radix_sort(keys.own, moved, keys.n, PS_PYTHON_MEMORY)
    return check(self, status)


cdef Words sorted_objects(Words keys, Words values):
    """The keys in order, equal ones in the order given, with the references; and the values along with them."""
    cdef Words ordered = Words(), moved = Words(), order = order_at_once(keys)
    cdef size_t i, at
    if order is None:
        order = Words()
        allocate(order, keys.n)
        for i, at in enumerate(sorted(range(keys.n), key=objects_of(keys).__getitem__)):
            order.own[i] = at
    allocate(ordered, keys.n)
    if values is not None:
        allocate(moved, values.n)
        for i in range(values.n):
            moved.own[i] = values.at[order.own[i]]
        PyMem_RawFree(values.own)
        values.own = values.at = moved.own
        moved.own = NULL
    for i in range(keys.n):
        ordered.own[i] = keys.at[order.own[i]]
    ordered.holds, keys.holds = True, False
    ordered.known = ps_known_keys(ordered.at, ordered.n, &ordered.family)
    return ordered


cdef Words order_at_once(Words keys):
    """The places of the keys in their order, if that can be told without code of others; else None."""
    cdef Words hints = Words(), places = Words(), room
    cdef size_t i
    allocate(hints, keys.n)
    if keys.family == PS_FAMILY_NONE or not ps_hints_of(keys.family, keys.at, hints.own, keys.n):
        return None
    allocate(places, keys.n)
    for i in range(keys.n):
        places.own[i] = i
    # with the GIL: where no code of others runs, no other thread comes between
    if ps_radix_sort(hints.own, <uint64_t *>places.own, keys.n, PS_PYTHON_MEMORY) != PS_OK:
        raise MemoryError()
    room = Words()
    allocate(room, keys.n)
    if not ps_sort_equal_hints(keys.family, keys.at, hints.own, places.own, room.own, keys.n):
        return None
    return places


cdef size_t distinct(BTree self, Words keys, Words values) except? 0:
    """Leaves the first of equal keys, with the last of their values, in words of one's own; how many there are."""
    cdef size_t i, n = keys.known
    cdef bint equal, typed = ps_is_typed(&self.of)
    cdef cbool stop = False
    if n == keys.n:
        return n
    own(keys)
    if values is not None:
        own(values)
    for i in range(n, keys.n):
        if n == 0:
            equal = False
        elif typed:
            equal = keys.own[n - 1] == keys.own[i]
        else:
            equal = ps_compare_objects(NULL, keys.own[n - 1], keys.own[i], &stop) == 0
            if stop:
                ps_reraise()
        if not equal:
            keys.own[n] = keys.own[i]
            n += 1
        if values is not None:
            values.own[n - 1] = values.own[i]
    keys.n = n
    if values is not None:
        values.n = n
    return n


cdef object unsorted_at(BTree self, Words keys, size_t at):
    return unsorted_keys(ps_key_object(&self.of, keys.at[at]), ps_key_object(&self.of, keys.at[at - 1]), at)


cdef int check_lengths(Words keys, Words values) except -1:
    if values is not None and keys.n != values.n:
        raise different_lengths(keys.n, values.n)
    return 0
