# What many keys are asked for, and ranges as arrays. A part of _btree_c.pyx.


cdef object new_array(size_t n, object dtype, void **data):
    from numpy import empty

    array = empty(n, dtype)
    data_of(array, data, PyBUF_WRITABLE)
    return array


cdef str key_dtype(BTree self):
    if not ps_is_typed(&self.of):
        raise untyped_keys(KEY_TYPES[self.of.key_type])
    return KEY_TYPES[self.of.key_type]


cdef BTree looked_up(BTree self, unsigned types, Words keys, uint64_t *values, uint8_t *found):
    """Looks up typed keys in a tree that is of these types still.

    Returns the tree that holds the values: a snapshot where it was done without the GIL.
    """
    cdef BTree pinned
    cdef ps_status status
    check_types(self, types)
    if keys.n < LONG:
        check(self, ps_btree_get_many(&self.of.tree, keys.at, keys.n, values, found))
        return self
    pinned = shared(self)
    with nogil:
        status = ps_btree_get_many(&pinned.of.tree, keys.at, keys.n, values, found)
    check(pinned, status)
    return pinned


@cython.critical_section
cdef object ranks_of(BTree self, object keys):
    cdef Words words
    cdef BTree pinned
    cdef void *data
    cdef size_t i
    cdef uint64_t changes
    if ps_is_typed(&self.of):
        return array_of_ranks(self, key_words(self, keys), PS_BTREE_BEFORE)
    words = object_words(self, keys)
    ranks = new_array(words.n, "int64", &data)
    pinned = shared(self)
    changes = self.of.tree.changes
    for i in range(words.n):
        (<int64_t *>data)[i] = rank_of(pinned, <object><PyObject *>words.at[i], PS_BTREE_BEFORE)
    check_unchanged(self, changes)
    return ranks


cdef object array_of_ranks(BTree self, Words keys, ps_btree_side side):
    cdef void *data
    cdef BTree pinned
    cdef ps_status status
    cdef unsigned types = types_of(self)
    ranks = new_array(keys.n, "int64", &data)
    check_types(self, types)
    if keys.n < LONG:
        check(self, ps_btree_rank_many(&self.of.tree, keys.at, keys.n, side, <int64_t *>data))
        return ranks
    pinned = shared(self)
    with nogil:
        status = ps_btree_rank_many(&pinned.of.tree, keys.at, keys.n, side, <int64_t *>data)
    check(pinned, status)
    return ranks


@cython.critical_section
cdef object memberships(BTree self, object keys):
    cdef Words words
    cdef BTree pinned
    cdef ps_btree_probe probe
    cdef uint64_t value
    cdef void *data
    cdef size_t i
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    if ps_is_typed(&self.of):
        words = key_words(self, keys)
        found = new_array(words.n, "bool", &data)
        looked_up(self, types, words, NULL, <uint8_t *>data)
        return found
    words = object_words(self, keys)
    found = new_array(words.n, "bool", &data)
    check_types(self, types)
    pinned = shared(self)
    changes = self.of.tree.changes
    if words.n >= pinned.of.tree.length // 8 and words.n > 1 and not ascending_objects(words, False):
        mark_members(pinned, words, <uint8_t *>data)
    else:
        for i in range(words.n):
            probe_for(pinned, <object><PyObject *>words.at[i], &probe)
            (<uint8_t *>data)[i] = find(pinned, &probe, &value)
    check_unchanged(self, changes)
    return found


cdef int mark_members(BTree self, Words keys, uint8_t *found) except -1:
    """Which of the ascending keys are in a tree of objects that nobody else has: goes through both once."""
    cdef int64_t held[64]
    cdef size_t i = 0, j = 0, n = 0
    cdef int order
    cdef cbool stop = False
    cdef ps_status status = PS_OK
    cdef ps_btree_place place
    check(self, ps_btree_seek_index(&self.of.tree, 0, &place))
    while i < keys.n:
        if j == n:
            j, n = 0, ps_btree_read(&self.of.tree, &place, held, NULL, 64, &status)
            check(self, status)
        order = ps_compare_objects(NULL, keys.at[i], held[j], &stop) if n else -1
        if stop:
            ps_reraise()
        if order > 0:
            j += 1
        else:
            found[i] = order == 0
            i += 1
    return 0


@cython.critical_section
cdef object values_of(BTree self, object keys, object default):
    """The value of each key, or the default; without one (`...`), KeyError."""
    cdef Words words, held
    cdef uint8_t *found
    cdef BTree pinned
    cdef size_t i
    cdef bint strict = default is ...
    cdef uint64_t otherwise = 0
    cdef void *data
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    if not strict:
        default = checked_value(default, VALUE_TYPES[self.of.value_type], "default")
        value_word(self, default, &otherwise)
    if not ps_is_typed(&self.of):
        words = object_words(self, keys)
        answers = []
        pinned = shared(self)
        changes = self.of.tree.changes
        for i in range(words.n):
            key = <object><PyObject *>words.at[i]
            value = look_up(pinned, key)
            if value is MISSING:
                if strict:
                    raise KeyError(key)
                value = default
            answers.append(value)
        check_unchanged(self, changes)
        return answers

    words = key_words(self, keys)
    marks = bytearray(words.n)
    found = <uint8_t *><char *>marks
    held = Words()
    allocate(held, words.n)
    if self.of.value_type == PS_VALUE_OBJECT:
        answers = PyList_New(words.n)  # before the values are borrowed
    else:
        answers = new_array(words.n, VALUE_TYPES[self.of.value_type], &data)
        held.at = <int64_t *>data
    pinned = looked_up(self, types, words, <uint64_t *>held.at, found)
    for i in range(words.n):
        if not found[i]:
            if strict:
                raise KeyError(ps_key_object(&pinned.of, words.at[i]))
            held.at[i] = <int64_t>otherwise
    if self.of.value_type == PS_VALUE_OBJECT:
        ps_fill_list(<PyObject *>answers, held.at, words.n)
    del pinned
    return answers


@cython.critical_section
cdef object runs_of(BTree self, object keys):
    """The values of each key of a multimap, one key's after the other's, and where they begin and end."""
    cdef Words words
    cdef size_t n, i
    cdef bint typed = ps_is_typed(&self.of)
    cdef int64_t *ends
    cdef int64_t *begins
    cdef void *data
    cdef int64_t total = 0
    cdef ps_btree_place place
    cdef BTree pinned
    cdef unsigned types = types_of(self)
    cdef uint64_t changes
    words = key_words(self, keys) if typed else object_words(self, keys)
    n = words.n
    starts = new_array(n, "int64", &data)
    begins = <int64_t *>data
    offsets = new_array(n + 1, "int64", &data)
    ends = <int64_t *>data
    ends[0] = 0
    check_types(self, types)
    pinned = shared(self)  # of one moment, whatever others do
    changes = self.of.tree.changes
    if typed:
        check(pinned, ps_btree_rank_many(&pinned.of.tree, words.at, n, PS_BTREE_BEFORE, begins))
        check(pinned, ps_btree_rank_many(&pinned.of.tree, words.at, n, PS_BTREE_AFTER, ends + 1))
    else:
        for i in range(n):
            key = <object><PyObject *>words.at[i]
            begins[i] = rank_of(pinned, key, PS_BTREE_BEFORE)
            ends[i + 1] = rank_of(pinned, key, PS_BTREE_AFTER)
        check_unchanged(self, changes)
    for i in range(n):
        total += ends[i + 1] - begins[i] if ends[i + 1] > begins[i] else 0
        ends[i + 1] = total
    cdef bint as_list = not typed or pinned.of.value_type == PS_VALUE_OBJECT
    if as_list:
        values = PyList_New(total)
    else:
        values = new_array(total, VALUE_TYPES[pinned.of.value_type], &data)
    for i in range(n):
        if ends[i + 1] > ends[i]:
            check(pinned, ps_btree_seek_index(&pinned.of.tree, begins[i], &place))
            if as_list:
                check(pinned, ps_list_values(&pinned.of, &place, <PyObject *>values, ends[i], ends[i + 1]))
            else:
                check(pinned, ps_read_values(&pinned.of, &place, <uint64_t *>data + ends[i], ends[i + 1] - ends[i]))
    return values, offsets


@cython.critical_section
cdef object arrays_of(BTree self, object min, object max, object included):
    """The keys of a range as an array, or keys and values."""
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef void *key_data
    cdef void *value_data = NULL
    cdef size_t n
    cdef ps_status status
    dtype = key_dtype(self)
    cdef BTree pinned = shared(self)  # of one moment, whatever others do
    bounds(pinned, min, max, included, &first, &last, &place, False)
    n = last - first
    keys = new_array(n, dtype, &key_data)
    values = None
    if has_values(pinned):
        values = new_array(n, VALUE_TYPES[pinned.of.value_type], &value_data)
    if has_values(pinned) and pinned.of.value_type == PS_VALUE_OBJECT:
        status = ps_read_objects(&pinned.of, &place, <int64_t *>key_data, <PyObject **>value_data, n)
    else:
        status = ps_read_words(&pinned.of, &place, <int64_t *>key_data, <uint64_t *>value_data, n)
    check(pinned, status)
    ps_map_words(<ps_key_type>pinned.of.key_type, <int64_t *>key_data, <int64_t *>key_data, n)
    return (keys, values) if has_values(pinned) else keys
