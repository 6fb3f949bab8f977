# Ranges, and what goes through them. A part of _btree_c.pyx.


cdef object included_by(dict options):
    """The argument `include` of a range; a parameter cannot have that name, it is a word of Cython's."""
    if not options:
        return DEFAULT_INCLUDE
    given = options.pop("include", DEFAULT_INCLUDE)
    for name in options:
        raise TypeError(f"a range has no argument {name!r}")
    return given


cdef inline int sides(object included, ps_btree_side *at_min, ps_btree_side *at_max) except -1:
    if included is not DEFAULT_INCLUDE:
        included = checked_include(included)
    at_min[0] = PS_BTREE_BEFORE if (<tuple>included)[0] is True else PS_BTREE_AFTER
    at_max[0] = PS_BTREE_AFTER if (<tuple>included)[1] is True else PS_BTREE_BEFORE
    return 0


cdef int bounds(
    BTree self, object min, object max, object included, uint32_t *first, uint32_t *last, ps_btree_place *place,
    bint at_last
) except -1:
    """The entries of a range, [first, last), and the place of the first of them, or of the end."""
    cdef ps_btree_side at_min, at_max
    cdef ps_btree_probe low, high
    cdef ps_btree_place other
    cdef cbool found
    cdef uint64_t changes, moves
    sides(included, &at_min, &at_max)
    cdef unsigned types = types_of(self)
    if min is not None:
        probe_for(self, min, &low, "min")
    if max is not None:
        probe_for(self, max, &high, "max")
    check_types(self, types)
    changes, moves = self.of.tree.changes, self.of.tree.moves
    first[0], last[0] = 0, self.of.tree.length
    if min is not None:
        seek(self, &low, at_min, other_of(place, &other, not at_last), &found)
        first[0] = ps_btree_index(&self.of.tree, other_of(place, &other, not at_last))
    if max is not None:
        seek(self, &high, at_max, other_of(place, &other, at_last), &found)
        last[0] = ps_btree_index(&self.of.tree, other_of(place, &other, at_last))
    check_unchanged(self, changes)
    if last[0] < first[0]:
        last[0] = first[0]
    if moves != self.of.tree.moves or (max if at_last else min) is None:
        check(self, ps_btree_seek_index(&self.of.tree, last[0] if at_last else first[0], place))
    return 0


cdef inline ps_btree_place *other_of(ps_btree_place *place, ps_btree_place *other, bint wanted) noexcept:
    return place if wanted else other


cdef int equals(
    BTree self, object key, uint32_t *first, uint32_t *last, ps_btree_place *place
) except -1:
    """The entries of one key, [first, last), and the place of the first."""
    cdef ps_btree_probe probe
    cdef ps_btree_place after
    cdef cbool found
    cdef uint64_t changes = self.of.tree.changes, moves
    probe_for(self, key, &probe)
    seek(self, &probe, PS_BTREE_BEFORE, place, &found)
    moves = self.of.tree.moves
    first[0] = last[0] = ps_btree_index(&self.of.tree, place)
    if not found:
        return 0
    seek(self, &probe, PS_BTREE_AFTER, &after, &found)
    last[0] = ps_btree_index(&self.of.tree, &after)
    check_unchanged(self, changes)
    if last[0] < first[0]:  # `<` lies
        last[0] = first[0]
    if moves != self.of.tree.moves:
        check(self, ps_btree_seek_index(&self.of.tree, first[0], place))
    return 0


cdef class Walk:
    """An iterator over part of a tree, in either direction."""

    cdef BTree tree  # None: at its end
    cdef object pair  # the item given out last
    cdef ps_walk walk

    def __iter__(self):
        return self

    def __length_hint__(self):
        return 0 if self.tree is None else self.walk.remaining

    def __next__(self):
        cdef PyObject *entry = step(self)
        if entry is NULL:
            raise StopIteration
        return ps_owned(entry)


cdef inline PyObject *step(Walk self) except? NULL:
    """The next entry, a new reference; NULL without an error at the end."""
    cdef BTree tree = self.tree
    cdef PyObject *entry
    if tree is None:
        return NULL
    with cython.critical_section(tree):
        if self.walk.changes != tree.of.tree.changes:
            raise changed_in_iteration()
        if self.walk.at == self.walk.n or self.walk.moves != tree.of.tree.moves:
            if self.walk.remaining:
                check(tree, ps_walk_fill(&self.walk, &tree.of))
            if self.walk.at == self.walk.n:
                self.tree = self.pair = None
                return NULL
        entry = ps_walk_take(&self.walk, &tree.of, <PyObject *>self.pair)
        if self.walk.kind == PS_WALK_ITEMS and entry != <PyObject *>self.pair:
            self.pair = <object>entry
    return entry


@cython.critical_section
cdef Walk walk_all(BTree self, ps_walk_kind kind, bint reverse):
    cdef Walk made = Walk.__new__(Walk)
    cdef uint32_t length = self.of.tree.length
    check(self, ps_btree_seek_index(&self.of.tree, length if reverse else 0, &made.walk.place))
    begin_walk(made, self, kind, reverse, length if reverse else 0, length)
    return made


cdef inline void begin_walk(
    Walk made, BTree tree, ps_walk_kind kind, bint reverse, uint32_t first, uint32_t n
) noexcept:
    made.tree = tree
    made.walk.changes, made.walk.moves = tree.of.tree.changes, tree.of.tree.moves
    made.walk.next, made.walk.remaining, made.walk.room = first, n, 8
    made.walk.kind = kind if has_values(tree) else PS_WALK_KEYS
    made.walk.reverse = reverse


@cython.critical_section
cdef Walk walk_range(
    BTree self, object min, object max, object included, object reverse, object limit, ps_walk_kind kind
):
    cdef Walk made = Walk.__new__(Walk)
    cdef uint32_t first, last, n
    cdef bint backwards = reverse
    if limit is not None:
        limit = checked_limit(limit)
    bounds(self, min, max, included, &first, &last, &made.walk.place, backwards)
    n = last - first
    if limit is not None and limit < n:
        n = limit
    begin_walk(made, self, kind, backwards, last if backwards else first, n)
    return made


cdef list values_of_key(BTree self, object key):
    cdef uint32_t first, last
    cdef ps_btree_place place
    cdef ps_btree_probe probe
    cdef uint64_t moves
    cdef ps_status status = PS_OK
    cdef PyObject *values
    cdef cbool found
    if ps_is_typed(&self.of):
        probe_for(self, key, &probe)
        seek(self, &probe, PS_BTREE_BEFORE, &place, &found)
        values = ps_run_of(&self.of, &place, probe.key, &status)
        check(self, status)
        return ps_owned(values)
    equals(self, key, &first, &last, &place)
    moves = self.of.tree.moves
    answer = PyList_New(last - first)
    if moves != self.of.tree.moves:  # by a destructor, in a collection that making the list has begun
        raise changed_in_comparison()
    check(self, ps_list_values(&self.of, &place, <PyObject *>answer, 0, last - first))
    return answer


cdef list listed(BTree self, uint32_t first, uint32_t last, ps_walk_kind kind):
    """Entries [first, last) as a list."""
    cdef Walk walk = Walk.__new__(Walk)
    check(self, ps_btree_seek_index(&self.of.tree, first, &walk.walk.place))
    begin_walk(walk, self, kind, False, first, last - first)
    return list(walk)


cdef uint32_t place_of_value(
    BTree self, object value, uint32_t first, uint32_t last, uint64_t changes
) except? 0:
    """The first of entries [first, last) with an equal value; `last` if there is none.

    Few at a time and then more: whoever looks for one at the front pays for few.
    """
    cdef uint32_t at, end, some = 8
    while first < last:
        end = first + min(some, last - first)
        for at, held in enumerate(listed(self, first, end, PS_WALK_VALUES), first):
            if PyObject_RichCompareBool(held, value, Py_EQ):
                check_unchanged(self, changes)
                return at
        check_unchanged(self, changes)
        first, some = end, some * 2
    return last
