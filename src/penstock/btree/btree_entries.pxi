# One entry: by its key, by its index, beside a key. A part of _btree_c.pyx.


cdef inline int probe_for(BTree self, object key, ps_btree_probe *probe, str name="key") except -1:
    """What looks for `key`, an argument called `name`."""
    if ps_is_typed(&self.of):
        probe.use_hint = False
        if not ps_word_at_once(self.of.key_type, <PyObject *>key, &probe.key):
            return probe_for_other(self, key, probe, name)
    else:
        if not ps_key_at_once(self.of.key_type, <PyObject *>key):
            checked_key(key, KEY_TYPES[self.of.key_type], name)
        ps_object_probe(&self.of, <PyObject *>key, probe)
    return 0


cdef int probe_for_other(BTree self, object key, ps_btree_probe *probe, str name) except -1:
    """For what is no exact int or float."""
    cdef unsigned types = types_of(self)
    number = checked_key(key, KEY_TYPES[self.of.key_type], name)
    check_types(self, types)
    if not ps_word_at_once(self.of.key_type, <PyObject *>number, &probe.key):
        raise AssertionError(f"{name} was checked and still is no {KEY_TYPES[self.of.key_type]}")
    return 0


cdef inline int value_word(BTree self, object value, uint64_t *word) except -1:
    """The word of a value; borrowed where it is an object."""
    if not ps_value_at_once(self.of.value_type, <PyObject *>value, word):
        return word_of_other_value(self, value, word)
    return 0


cdef int word_of_other_value(BTree self, object value, uint64_t *word) except -1:
    cdef unsigned types = types_of(self)
    number = checked_value(value, VALUE_TYPES[self.of.value_type])
    check_types(self, types)
    if not ps_value_at_once(self.of.value_type, <PyObject *>number, word):
        raise AssertionError(f"value was checked and still is no {VALUE_TYPES[self.of.value_type]}")
    return 0


cdef inline int seek(
    BTree self, ps_btree_probe *probe, ps_btree_side side, ps_btree_place *place, cbool *found
) except -1:
    return check(self, ps_btree_seek(&self.of.tree, probe, side, place, found))


cdef inline int find(BTree self, ps_btree_probe *probe, uint64_t *value) except -1:
    """Whether there is such a key; the (first) value of it, borrowed."""
    cdef ps_status status
    cdef ps_btree_place place
    cdef cbool found
    cdef int64_t key
    if ps_is_typed(&self.of):
        status = ps_btree_get(&self.of.tree, probe.key, value)
        if status == PS_EMPTY:
            return False
        check(self, status)
        return True
    seek(self, probe, PS_BTREE_BEFORE, &place, &found)
    if found and has_values(self):
        ps_btree_read(&self.of.tree, &place, &key, value, 1, &status)
    return found


@cython.critical_section
cdef object look_up(BTree self, object key):
    """The value of `key`; MISSING if there is none."""
    cdef ps_btree_probe probe
    cdef uint64_t value
    probe_for(self, key, &probe)
    return ps_value_object(&self.of, value) if find(self, &probe, &value) else MISSING


cdef int begin_family(BTree self, object key, ps_btree_probe *probe) except -1:
    """Called with the first key of an empty tree: refuses one that has no order."""
    cdef unsigned family = ps_family_of(<PyObject *>key)
    cdef uint64_t changes = self.of.tree.changes
    if family == PS_FAMILY_NONE:
        PyObject_RichCompareBool(key, key, Py_LT)
        check_unchanged(self, changes)
    ps_set_family(&self.of, family)
    ps_object_probe(&self.of, <PyObject *>key, probe)
    return 0


cdef int insert_object(BTree self, object key, uint64_t value) except -1:
    """Stores an entry in a tree whose keys are objects; whether there is one more."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef cbool found
    cdef uint64_t old
    cdef bint holds = (self.of.tree.flags & PS_BTREE_OBJECT_VALUES) != 0
    probe_for(self, key, &probe)
    if self.of.tree.length == 0:
        begin_family(self, key, &probe)
    cdef bint multi = (self.of.tree.flags & PS_BTREE_MULTI) != 0
    seek(self, &probe, PS_BTREE_AFTER if multi else PS_BTREE_BEFORE, &place, &found)
    if found and not multi:
        if not has_values(self):
            return False
        check(self, ps_btree_set_value(&self.of.tree, &place, value, &old))
        if holds:
            Py_INCREF(<object><PyObject *>value)
        settle(self)
        if holds:
            Py_XDECREF(<PyObject *>old)
        return False
    if not probe.use_hint and self.of.family != PS_FAMILY_NONE:
        ps_set_family(&self.of, PS_FAMILY_NONE)
    Py_INCREF(key)
    if holds:
        Py_INCREF(<object><PyObject *>value)
    cdef ps_status status = ps_btree_insert(&self.of.tree, &place, <int64_t><PyObject *>key, value)
    if status != PS_OK:
        Py_XDECREF(<PyObject *>key)
        if holds:
            Py_XDECREF(<PyObject *>value)
        return failed(self, status)
    settle(self)
    return True


cdef inline int insert_typed(BTree self, int64_t key, uint64_t value) except -1:
    """The same for a tree of numbers; replaces, except in a multimap."""
    cdef uint64_t old
    cdef cbool replaced
    cdef bint holds = (self.of.tree.flags & PS_BTREE_OBJECT_VALUES) != 0
    if holds:
        Py_INCREF(<object><PyObject *>value)
    cdef ps_status status = ps_btree_put(&self.of.tree, key, value, &old, &replaced)
    if status != PS_OK:
        if holds:
            Py_XDECREF(<PyObject *>value)
        return failed(self, status)
    settle(self)
    if replaced and holds:
        Py_XDECREF(<PyObject *>old)
    return not replaced


@cython.critical_section
cdef int insert(BTree self, object key, object value) except -1:
    """Stores an entry: in a map for its key, in a multimap after its equals; whether there is one more."""
    cdef ps_btree_probe probe
    cdef uint64_t word = 0
    check_writable(self)
    cdef bint typed = ps_is_typed(&self.of)
    if typed:
        probe_for(self, key, &probe)
    if has_values(self):
        value_word(self, value, &word)
    return insert_typed(self, probe.key, word) if typed else insert_object(self, key, word)


cdef int remove_at(BTree self, ps_btree_place *place) except -1:
    """Removes the entry that follows."""
    cdef int64_t key
    cdef uint64_t value
    check(self, ps_btree_remove(&self.of.tree, place, &key, &value))
    cdef uint8_t flags = self.of.tree.flags
    settle(self)
    if flags & PS_BTREE_OBJECT_KEYS:
        Py_XDECREF(<PyObject *>key)
    if flags & PS_BTREE_OBJECT_VALUES:
        Py_XDECREF(<PyObject *>value)
    return 0


@cython.critical_section
cdef object take(BTree self, object key):
    """Removes the (first) entry of `key` and returns its value, True for a set; MISSING if there is none."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place, ahead
    cdef ps_status status
    cdef cbool found
    cdef int64_t word
    cdef uint64_t value
    check_writable(self)
    probe_for(self, key, &probe)
    seek(self, &probe, PS_BTREE_BEFORE, &place, &found)
    if not found:
        return MISSING
    taken = True
    if has_values(self):
        ahead = place
        ps_btree_read(&self.of.tree, &ahead, &word, &value, 1, &status)
        check(self, status)
        taken = ps_value_object(&self.of, value)  # numbers: makes nothing that a collection would begin with
    remove_at(self, &place)
    return taken


@cython.critical_section
cdef object item_at(BTree self, uint32_t index, bint remove):
    """The item at an index, which is there; removes it if asked to."""
    cdef ps_btree_place place, ahead
    cdef ps_status status = PS_OK
    cdef int64_t key
    cdef uint64_t value = 0
    cdef uint64_t moves = self.of.tree.moves
    if index >= self.of.tree.length:  # another thread has been here
        raise bad_index(index, self.of.tree.length)
    check(self, ps_btree_seek_index(&self.of.tree, index, &place))
    ahead = place
    if ps_btree_read(&self.of.tree, &ahead, &key, value_room(self, &value), 1, &status) == 0:
        failed(self, PS_BROKEN)
    item = ps_item_object(&self.of, key, value)
    if remove:
        if moves != self.of.tree.moves:
            raise changed_in_comparison()  # by a destructor, in a collection that making the pair has begun
        remove_at(self, &place)
    return item


cdef inline int64_t index_of(BTree self, object index) except -1:
    """An index as one from the front."""
    cdef int64_t at
    if ps_word_at_once(PS_KEY_INT64, <PyObject *>index, &at) and 0 <= at < self.of.tree.length:
        return at
    return checked_index(index, self.of.tree.length)


@cython.critical_section
cdef object neighbour(BTree self, object key, ps_btree_side side, bint ahead):
    """The item before or after the gap on that side of `key`; None if there is none."""
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef ps_status status = PS_OK
    cdef cbool found
    cdef int64_t word
    cdef uint64_t value = 0
    cdef size_t n
    probe_for(self, key, &probe)
    seek(self, &probe, side, &place, &found)
    if ahead:
        n = ps_btree_read(&self.of.tree, &place, &word, value_room(self, &value), 1, &status)
    else:
        n = ps_btree_read_back(&self.of.tree, &place, &word, value_room(self, &value), 1, &status)
    check(self, status)
    return ps_item_object(&self.of, word, value) if n else None


@cython.critical_section
cdef int64_t rank_of(BTree self, object key, ps_btree_side side) except -1:
    cdef ps_btree_probe probe
    cdef ps_btree_place place
    cdef cbool found
    cdef int64_t rank
    probe_for(self, key, &probe)
    if ps_is_typed(&self.of):
        check(self, ps_btree_rank(&self.of.tree, probe.key, side, &rank))
        return rank
    seek(self, &probe, side, &place, &found)
    return ps_btree_index(&self.of.tree, &place)
