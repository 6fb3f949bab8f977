# Many entries that come or go in one step: all of them or none. A part of _btree_c.pyx.


cdef BTree new_of_class(BTree self):
    if has_values(self):
        if self.of.tree.flags & PS_BTREE_MULTI:
            return MultiMapTree.__new__(type(self))
        return MapTree.__new__(type(self))
    return SetTree.__new__(type(self))


cdef BTree shared(BTree self):
    """A tree with the same entries and types; the two change apart."""
    cdef unsigned types = types_of(self)
    cdef BTree made = new_of_class(self)
    check_types(self, types)
    ps_object_tree_share(&self.of, &made.of)
    made.mapped = self.mapped
    return made


cdef int adopt(BTree self, BTree work, uint64_t changes, uint64_t moves) except -1:
    """Makes the entries of `work` those of `self`, if nobody has changed it since."""
    check_writable(self)
    if changes != self.of.tree.changes or moves != self.of.tree.moves or types_of(self) != types_of(work):
        raise changed_in_comparison()
    ps_object_tree_swap(&self.of, &work.of)
    self.mapped, work.mapped = work.mapped, self.mapped
    return 0


@cython.critical_section
cdef int load_sorted(BTree self, object keys, object values, object fill, bint checked) except -1:
    cdef Words words, moved = None
    cdef size_t wrong
    cdef double full = checked_fill(fill)
    cdef bint strictly = not self.of.tree.flags & PS_BTREE_MULTI
    cdef unsigned types = types_of(self)
    check_writable(self)
    words = key_words(self, keys) if ps_is_typed(&self.of) else object_words(self, keys)
    if has_values(self):
        moved = value_words(self, values)
    check_lengths(words, moved)
    if not ps_is_typed(&self.of) and checked:
        wrong = ascending_objects(words, strictly)
        if wrong:
            raise unsorted_at(self, words, wrong)
    if not ps_is_typed(&self.of) and words.n == 1:
        PyObject_RichCompareBool(<object><PyObject *>words.at[0], <object><PyObject *>words.at[0], Py_LT)
    check_types(self, types)
    check_writable(self)
    if self.of.tree.length:
        raise not_empty(self.of.tree.length)
    return load_words(self, words, moved, full)


cdef int load_words(BTree self, Words keys, Words values, double fill) except -1:
    """Fills an empty tree with entries in order."""
    cdef uint8_t flags = self.of.tree.flags
    cdef size_t i, unsorted = 0
    cdef unsigned family
    if flags & PS_BTREE_OBJECT_KEYS:
        family = ps_family_of(<PyObject *>keys.at[0]) if keys.n else PS_FAMILY_NONE
        for i in range(keys.known, keys.n):
            if not ps_fits(family, <PyObject *>keys.at[i]):
                family = PS_FAMILY_NONE
                break
        ps_set_family(&self.of, family)
    cdef ps_status status = ps_btree_load(
        &self.of.tree, keys.at, NULL if values is None else <uint64_t *>values.at, keys.n, fill, &unsorted
    )
    if status == PS_OK:  # no code of others has run meanwhile
        if flags & PS_BTREE_OBJECT_KEYS:
            hand_over(keys)
        if flags & PS_BTREE_OBJECT_VALUES:
            hand_over(values)
        return 0
    if status == PS_REFUSED and unsorted < keys.n:
        raise unsorted_at(self, keys, unsorted)
    return failed(self, status)


cdef inline void hand_over(Words words) noexcept:
    """The references to all of the words are a tree's."""
    if words.holds:
        words.holds = False
    else:
        ps_retain_words(words.at, words.n)


@cython.critical_section
cdef object insert_all(BTree self, object keys, object values, bint is_sorted):
    """Inserts all entries or none; how many there are more."""
    cdef Words words, moved = None
    cdef bint typed = ps_is_typed(&self.of), first_try = True
    cdef size_t wrong
    cdef uint64_t changes, moves
    cdef unsigned types = types_of(self)
    cdef object added  # an int made before the change, which then cannot fail
    cdef BTree work
    check_writable(self)
    words = key_words(self, keys) if typed else object_words(self, keys)
    if has_values(self):
        moved = value_words(self, values)
    check_lengths(words, moved)
    check_types(self, types)
    changes, moves = self.of.tree.changes, self.of.tree.moves
    if typed:
        sort_words(self, words, moved, is_sorted)
        check_types(self, types)
        changes, moves = self.of.tree.changes, self.of.tree.moves
    else:
        wrong = ascending_objects(words, False)
        if wrong and is_sorted:
            raise unsorted_at(self, words, wrong)
        if wrong:
            words = sorted_objects(words, moved)
        check_types(self, types)
    work = with_entries(self, words, moved, words.n < LONG)
    if typed and (changes != self.of.tree.changes or moves != self.of.tree.moves):
        changes, moves = self.of.tree.changes, self.of.tree.moves  # another thread was faster: now it has to wait
        check_types(self, types)
        work = with_entries(self, words, moved, True)
    added = work.of.tree.length - self.of.tree.length
    adopt(self, work, changes, moves)
    return added


cdef BTree with_entries(BTree self, Words keys, Words values, bint keep_gil):
    """A new tree with the entries of `self` and others, which are sorted."""
    cdef BTree work = shared(self), made
    cdef bint typed = ps_is_typed(&self.of)
    cdef size_t i
    if typed and not self.of.tree.flags & PS_BTREE_OBJECT_VALUES:
        put_words(work, keys, values, keep_gil)
        return work
    if keys.n <= 1 or keys.n < work.of.tree.length // 8:
        for i in range(keys.n):
            insert_one(work, keys, values, i, typed)
        return work
    if not work.of.tree.flags & PS_BTREE_MULTI:
        distinct(work, keys, values)
    if work.of.tree.length:
        keys, values = merged(work, keys, values)
    made = new_of_class(work)
    ps_object_tree_init(&made.of, kind_of(work), work.of.key_type, work.of.value_type)
    load_words(made, keys, values, 0.9)
    return made


cdef inline int insert_one(BTree self, Words keys, Words values, size_t at, bint typed) except -1:
    cdef uint64_t value = 0 if values is None else <uint64_t>values.at[at]
    if typed:
        return insert_typed(self, keys.at[at], value)
    return insert_object(self, <object><PyObject *>keys.at[at], value)


cdef int put_words(BTree work, Words keys, Words values, bint keep_gil) except -1:
    """Puts sorted numbers in a tree that nobody else has yet."""
    cdef ps_status status
    cdef size_t added
    cdef uint64_t *moved = NULL if values is None else <uint64_t *>values.at
    if keep_gil:
        status = ps_btree_put_many(&work.of.tree, keys.at, moved, keys.n, &added)
    else:
        with nogil:
            status = ps_btree_put_many(&work.of.tree, keys.at, moved, keys.n, &added)
    return check(work, status)


cdef tuple merged(BTree self, Words keys, Words values):
    """Keys and values of a tree that nobody else has, and of sorted entries that come into it, in order."""
    cdef Words all_keys = Words(), all_values = None
    cdef uint32_t length = self.of.tree.length
    cdef size_t i = 0, j = 0, n = 0
    cdef int order
    cdef bint typed = ps_is_typed(&self.of), multi = (self.of.tree.flags & PS_BTREE_MULTI) != 0
    cdef cbool stop = False
    cdef ps_btree_place place
    cdef Words old_keys = Words(), old_values = Words()
    allocate(old_keys, length)
    allocate(all_keys, length + keys.n)
    if values is not None:
        all_values = Words()
        allocate(old_values, length)
        allocate(all_values, length + keys.n)
    check(self, ps_btree_seek_index(&self.of.tree, 0, &place))
    check(self, ps_read_words(&self.of, &place, old_keys.own, <uint64_t *>old_values.own, length))
    while i < keys.n or j < length:
        if i == keys.n:
            order = 1
        elif j == length:
            order = -1
        elif typed:
            order = (keys.at[i] > old_keys.own[j]) - (keys.at[i] < old_keys.own[j])
        else:
            order = ps_compare_objects(NULL, keys.at[i], old_keys.own[j], &stop)
            if stop:
                ps_reraise()
        if order > 0 or (order == 0 and multi):
            all_keys.own[n] = old_keys.own[j]
            if values is not None:
                all_values.own[n] = old_values.own[j]
            j += 1
        else:
            all_keys.own[n] = old_keys.own[j] if order == 0 else keys.at[i]
            if values is not None:
                all_values.own[n] = values.at[i]
            i += 1
            j += order == 0
        n += 1
    all_keys.n, all_keys.kept = n, keys  # what is borrowed there
    if values is not None:
        all_values.n, all_values.kept = n, values
    return all_keys, all_values


@cython.critical_section
cdef object delete_all(BTree self, object keys):
    """Removes the entries of all keys that are there; all or nothing. How many there were."""
    cdef Words words
    cdef size_t count, i
    cdef uint64_t changes, moves
    cdef object removed  # an int made before the change, which then cannot fail
    cdef BTree work
    check_writable(self)
    if ps_is_typed(&self.of):
        words = key_words(self, keys)
        sort_words(self, words, None, False)
        changes, moves = self.of.tree.changes, self.of.tree.moves
        work = shared(self)
        check(work, ps_btree_remove_many(&work.of.tree, words.at, words.n, &count))
    else:
        words = object_words(self, keys)
        changes, moves = self.of.tree.changes, self.of.tree.moves
        work = shared(self)
        for i in range(words.n):
            if work.of.tree.flags & PS_BTREE_MULTI:
                delete_equals(work, <object><PyObject *>words.at[i])
            else:
                take(work, <object><PyObject *>words.at[i])
    removed = self.of.tree.length - work.of.tree.length
    check_unchanged(self, changes)
    check_writable(self)
    if removed:
        adopt(self, work, changes, moves)
    return removed


cdef int delete_equals(BTree self, object key) except -1:
    """Removes all entries of a key."""
    cdef uint32_t first, last
    cdef ps_btree_place place
    equals(self, key, &first, &last, &place)
    if first < last:
        check(self, ps_btree_remove_range(&self.of.tree, first, last))
        settle(self)
    return 0


@cython.critical_section
cdef object delete_bounds(BTree self, object min, object max, object included):
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef object removed  # an int made before the change, which then cannot fail
    check_writable(self)
    bounds(self, min, max, included, &first, &last, &place, False)
    removed = last - first
    if first < last:
        check(self, ps_btree_remove_range(&self.of.tree, first, last))
        settle(self)
    return removed
