# cython: freethreading_compatible=False
"""Messages, compiled: the twin of _message_py.py.

Reading goes through csrc/wire_tape.c, which holds bytes to schema and limits, and message_read.h, which makes
objects of what it found; writing is message_write.h. Here stand what Python sees of them, the plan of a class
(message_plan.h), and the errors.

Without a GIL, slots and lists would have to be locked one by one while they are read: so this module, other
than the rest, asks a free-threaded interpreter to keep its GIL.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject, PyObject_TypeCheck, PyTypeObject
from libc.stdint cimport SIZE_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from sys import intern

from penstock.errors import InvalidType
from penstock.protobuf import faults
from penstock.protobuf._message_py import buffers, check_oneofs, checked_options, no_such_field, whole
from penstock.protobuf._plan_py import OneofField, link_oneofs
from penstock.protobuf._trees_py import container
from penstock.protobuf._varint_py import octets_of
from penstock.protobuf.declaration import MessageMeta, describe, owner_of, slot
from penstock.protobuf.descriptors import Presence, Shape
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError, SchemaError
from penstock.protobuf.fields import zero
from penstock.protobuf.kinds import WIRE_TYPE, Kind, WireType
from penstock.protobuf.limits import entry_cost, message_cost
from penstock.protobuf.methods import UNLIMITED, MessageMethods, raw
from penstock.protobuf.options import DEFAULT_OPTIONS, DecodeOptions
from penstock.protobuf.required import missing
from penstock.protobuf.values import check_of, elements

__all__ = ["Message"]

cdef extern from "wire_tape.h":  # for setup.py, which looks for kernels here
    pass


# What a class of messages is to the kernels.


cdef class Plan:
    """The plan of a class, and all objects that it points to."""

    cdef ps_plan plan  # first: message_plan.h finds it behind the head of the object
    cdef list kept
    cdef dict enums

    def __cinit__(self):
        self.kept, self.enums = [], {}

    def __dealloc__(self):
        ps_plan_free(&self.plan)


cdef PyObject *keep(Plan self, object value) except NULL:
    self.kept.append(value)
    return <PyObject *>value


cdef int fill(Plan self, object cls, object descriptor, dict plans) except -1:
    """Takes what the schema says; `plans` holds those of all sub-messages."""
    fields = list(descriptor.by_number.values())
    cdef uint32_t n = len(fields), i
    cdef Py_ssize_t at
    cdef ps_plan *plan = &self.plan
    if n >= PS_NO_ONEOF:
        raise SchemaError(f"{descriptor.full_name}: a message has fewer than {PS_NO_ONEOF} fields, got {n}")
    if cls.__dictoffset__ or cls.__weakrefoffset__:  # CPython may keep them before the object
        raise SchemaError(f"{cls.__name__}: a message has slots only, no __dict__ and no __weakref__")
    plan.type = <PyTypeObject *>keep(self, cls)
    plan.n_fields = n
    plan.fields = <ps_plan_field *>ps_plan_memory(plan, n * sizeof(ps_plan_field))
    plan.declared = <uint16_t *>ps_plan_memory(plan, n * sizeof(uint16_t))
    plan.slot_fields = <uint16_t *>ps_plan_memory(plan, n * sizeof(uint16_t))
    plan.initials = <PyObject **>ps_plan_memory(plan, n * sizeof(PyObject *))
    fill_wire(plan, &plan.wire, n, message_cost(descriptor), fields[n - 1].number if fields else 0)
    positions = {each.name: i for i, each in enumerate(fields)}
    for i, field in enumerate(descriptor.fields):
        plan.declared[i] = positions[field.name]
    for i, field in enumerate(fields):
        fill_field(self, &plan.fields[i], field, plans)
        at = slot_position(cls, field.name, n)
        plan.fields[i].offset = sizeof(ps_message) + at * sizeof(PyObject *)
        plan.slot_fields[at] = i
        plan.initials[at] = plan.fields[i].initial
        fill_wire_field(self, &plan.wire, i, &plan.fields[i], field, plans)
    fill_oneofs(self, descriptor, positions)
    return 0


cdef Py_ssize_t slot_position(object cls, str name, uint32_t n) except -1:
    """Which of the n slots of the class is that of the field. What stands there by now can be anything."""
    member = slot(cls, name)
    if not ps_is_slot_of(<PyTypeObject *>cls, member):
        raise SchemaError(f"{cls.__name__}.{name} must be a slot of its class, got {member!r}")
    cdef Py_ssize_t head = sizeof(ps_message), at = (ps_member_offset(member) - head) // sizeof(PyObject *)
    if at >= n:
        raise SchemaError(f"{cls.__name__}: each slot must be a field, got {n} fields and slot {at + 1} for {name}")
    return at


cdef int fill_field(Plan self, ps_plan_field *to, object field, dict plans) except -1:
    cdef bint singular = field.shape is Shape.SINGULAR, implicit = field.presence is Presence.IMPLICIT
    to.shape = SHAPES[field.shape]
    to.presence = PRESENCES[field.presence]
    to.packed, to.array = field.packed, field.array
    to.tag = ps_wire_tag_of(field.number, field.wire_type)
    to.initial = keep(self, field.default if implicit else None) if singular else NULL
    to.name = keep(self, intern(field.name))
    fill_value(self, to, field, field.kind, plans)
    if singular and implicit and isinstance(field.default, int):
        to.zero = <uint64_t><int64_t>int(field.default)
    if to.shape == PS_MAP:
        to.entry = <ps_plan_field *>ps_plan_memory(&self.plan, 2 * sizeof(ps_plan_field))
        fill_part(self, &to.entry[0], field, "key", field.key, plans)
        fill_part(self, &to.entry[1], field, "value", field.kind, plans)
    return 0


cdef int fill_part(Plan self, ps_plan_field *to, object field, str name, object kind, dict plans) except -1:
    """The key or the value of a map's entries."""
    to.shape, to.presence = PS_SINGULAR, PS_EXPLICIT
    to.tag = ps_wire_tag_of(1 if name == "key" else 2, WIRE_TYPE[kind])
    to.name = keep(self, name)
    fill_value(self, to, field, kind, plans)
    to.initial = keep(self, None if ps_is_message(to) else zero(kind, field.enum))
    return 0


cdef int fill_value(Plan self, ps_plan_field *to, object field, object kind, dict plans) except -1:
    """What is the same for a field and for a part of an entry."""
    to.kind = kind
    to.utf8 = field.utf8
    to.length_size = 1
    to.cache_score = 32
    to.oneof = PS_NO_ONEOF
    to.descriptor = keep(self, field)
    if ps_is_message(to):
        to.child = &(<Plan>plans[field.message]).plan
        self.kept.append(plans[field.message])
    elif kind == Kind.ENUM and field.enum is not None:
        to.closed = field.enum.__closed__
        to.members = enum(self, field.enum)
    return 0


cdef int fill_wire_field(
    Plan self, ps_wire_message *wire, uint32_t at, ps_plan_field *plan, object field, dict plans
) except -1:
    """Enters a field in the table that the bytes are held to."""
    cdef ps_wire_message *entry
    cdef ps_wire_field *to = <ps_wire_field *>&wire.fields[at]
    cdef ps_wire_field *part
    to.number = field.number
    to.shape = plan.shape
    if to.number < wire.n_dense:
        (<uint16_t *>wire.dense)[to.number] = at + 1
    fill_wire_value(self, to, plan, field)
    to.flags |= PS_FIELD_ARRAY if plan.array else 0
    if plan.shape == PS_MAP:
        inner = describe(field.message).fields if field.message else ()
        entry = <ps_wire_message *>ps_plan_memory(&self.plan, sizeof(ps_wire_message))
        fill_wire(&self.plan, entry, 2, entry_cost(field, inner), 2)
        for i in range(2):
            part = <ps_wire_field *>&entry.fields[i]
            part.number = (<uint16_t *>entry.dense)[i + 1] = i + 1
            fill_wire_value(self, part, &plan.entry[i], field)
        to.kind, to.child, to.values, to.n_values = PS_KIND_MESSAGE, entry, NULL, 0
    return 0


cdef int fill_wire_value(Plan self, ps_wire_field *to, ps_plan_field *plan, object field) except -1:
    to.kind = plan.kind
    to.flags = PS_FIELD_UTF8 if plan.utf8 else 0
    if plan.child is not NULL:
        to.child = &plan.child.wire
    if plan.closed:
        numbers = sorted({int(each) for each in field.enum})
        to.n_values = len(numbers)
        to.values = <int32_t *>ps_plan_memory(&self.plan, len(numbers) * sizeof(int32_t))
        for i, number in enumerate(numbers):
            (<int32_t *>to.values)[i] = number
    return 0


cdef int fill_oneofs(Plan self, object descriptor, dict positions) except -1:
    cdef ps_plan *plan = &self.plan
    cdef uint16_t taken = 0, i
    plan.n_oneofs = len(descriptor.oneofs)
    plan.oneofs = <ps_plan_oneof *>ps_plan_memory(plan, plan.n_oneofs * sizeof(ps_plan_oneof))
    plan.oneof_fields = <uint16_t *>ps_plan_memory(plan, plan.n_fields * sizeof(uint16_t))
    for i, members in enumerate(descriptor.oneofs.values()):
        plan.oneofs[i].first, plan.oneofs[i].n = taken, len(members)
        for field in members:
            plan.oneof_fields[taken] = positions[field.name]
            plan.fields[plan.oneof_fields[taken]].oneof = i
            taken += 1
    return 0


cdef ps_enum *enum(Plan self, object cls) except NULL:
    """The members of an enum by number: in a table where the numbers lie close enough together."""
    if cls in self.enums:
        return <ps_enum *><size_t>self.enums[cls]
    cdef ps_enum *made = <ps_enum *>ps_plan_memory(&self.plan, sizeof(ps_enum))
    members = {int(each): each for each in cls}
    made.by_number = keep(self, members)
    if members and max(members) - min(members) < 4 * len(members) + 64:
        made.low = min(members)
        made.n_members = max(members) - made.low + 1
        made.members = <PyObject **>ps_plan_memory(&self.plan, made.n_members * sizeof(PyObject *))
        for number, each in members.items():
            made.members[<int64_t>number - made.low] = <PyObject *>each
    self.enums[cls] = <size_t>made
    return made


cdef dict SHAPES = {Shape.SINGULAR: PS_SINGULAR, Shape.REPEATED: PS_REPEATED, Shape.MAP: PS_MAP}
cdef dict PRESENCES = {
    Presence.IMPLICIT: PS_IMPLICIT, Presence.EXPLICIT: PS_EXPLICIT, Presence.REQUIRED: PS_REQUIRED
}
cdef uint32_t MOST_DENSE = 1024  # field numbers that are looked up in a table


cdef int fill_wire(ps_plan *plan, ps_wire_message *wire, uint32_t n, uint32_t cost, uint32_t last) except -1:
    """Makes an empty table of n fields, `last` the greatest number."""
    wire.n_fields = n
    wire.cost = cost
    wire.fields = <ps_wire_field *>ps_plan_memory(plan, n * sizeof(ps_wire_field))
    wire.n_dense = min(last + 1, MOST_DENSE)
    wire.dense = <uint16_t *>ps_plan_memory(plan, wire.n_dense * sizeof(uint16_t))
    return 0


cdef const ps_plan *link(PyTypeObject *type) except NULL:
    """Hook: makes the plans of a class and of all that its messages can hold."""
    link_all(<object>type)
    return ps_plan_of(type)


cdef int link_all(object cls) except -1:
    cdef Plan plan
    cdef PyObject *known
    cdef dict plans = {}
    descriptors, waiting = {}, [cls]
    while waiting:
        each = waiting.pop()
        if each in plans:
            continue
        if not issubclass(each, _Message):
            raise SchemaError(f"{cls.__name__} holds a {each.__name__}, which is a message of the other twin")
        known = ps_plan_object(<PyTypeObject *>each)
        if known is not NULL:
            plans[each] = <Plan>known
            continue
        plans[each], descriptors[each] = Plan(), describe(each)
        waiting += [field.message for field in descriptors[each].fields if field.message is not None]
    for each, descriptor in descriptors.items():
        fill(plans[each], each, descriptor, plans)
    mark_requiring(plans, descriptors)
    for each in descriptors:
        plan = plans[each]
        ps_adopt(plan.plan.type)
        if plan.plan.n_oneofs:
            watch_oneofs(each, descriptors[each])
        ps_set_plan(plan.plan.type, <PyObject *>plan)
    return 0


cdef int watch_oneofs(object cls, object descriptor) except -1:
    """Lets each member of a oneof that is set unset the others.

    A __setattr__ of Python goes on to object.__setattr__, which wants no class between to set in C: there the
    descriptors of the other twin do it, for all classes with these fields.
    """
    first = next(iter(descriptor.oneofs.values()))[0]
    if not isinstance(owner_of(cls).__dict__[first.name], OneofField):
        if not ps_watch_oneofs(<PyTypeObject *>cls):
            link_oneofs(cls, descriptor)
    return 0


cdef int mark_requiring(dict plans, dict descriptors) except -1:
    """Finds the classes of which a message, or one that it holds, can lack a required field."""
    changed = True
    while changed:
        changed = False
        for each, descriptor in descriptors.items():
            if (<Plan>plans[each]).plan.requires:
                continue
            for field in descriptor.fields:
                below = field.message is not None and (<Plan>plans[field.message]).plan.requires
                if below or field.presence is Presence.REQUIRED:
                    (<Plan>plans[each]).plan.requires = changed = True


# What is wrong, in the words of both twins.


cdef int refuse_arguments(
    PyTypeObject *type, Py_ssize_t n, PyObject *names, PyObject *const *values
) except -1:
    cls = <object>type
    if n:
        raise InvalidType(f"Message.__init__() takes 1 positional argument but {n + 1} were given")
    cdef dict given = {}
    cdef Py_ssize_t i
    descriptor = describe(cls)
    for i, name in enumerate(<tuple>names):
        if name not in descriptor.by_name:
            raise no_such_field(cls, descriptor, name)
        given[name] = <object>values[i]
    check_oneofs(cls, descriptor, given)
    raise InvalidType(f"{cls.__name__} cannot be made of {', '.join(<tuple>names)}")


cdef int refuse_value(const ps_plan_field *field, PyObject *value) except -1:
    if ps_is_message(field):
        raise EncodeTypeError(wrong_message(field, <object>value))
    check_of(Kind(field.kind), field.utf8)(<object>value)
    raise EncodeTypeError(faults.wrong_type(f"of kind {Kind(field.kind).name}", <object>value))


cdef int refuse_slot(const ps_plan_field *field, PyObject *value) except -1:
    if field.shape == PS_SINGULAR:
        raise EncodeTypeError(wrong_message(field, <object>value))
    raise EncodeTypeError(faults.wrong_type("a dict" if field.shape == PS_MAP else "a list", <object>value))


cdef object wrong_message(const ps_plan_field *field, object value):
    return faults.wrong_type(faults.a((<object>field.child.type).__name__), value)


cdef int refuse_depth() except -1:
    raise EncodeError(faults.TOO_NESTED)


cdef int refuse_unset() except -1:
    raise EncodeError(faults.REQUIRED)


cdef int check_keys(const ps_plan_field *field, PyObject *map) except -1:
    checked_keys(field, <object>map)
    return 0


cdef object sorted_keys(const ps_plan_field *field, PyObject *map):
    pairs = sorted(checked_keys(field, <object>map), key=first)
    return [key for _, key in pairs]


cdef object first(pair):
    return pair[0]


cdef list checked_keys(const ps_plan_field *field, map):
    """Each key as it is written, and as it is."""
    check = check_of(Kind(field.entry[0].kind), field.utf8)
    try:
        return [(check(key), key) for key in list(map)]
    except EncodeError as error:
        raise type(error)(f"keys {error.reason}") from None


cdef object elements_of(const ps_plan_field *field, PyObject *value):
    if ps_is_message(field):
        raise EncodeTypeError(faults.wrong_type("a list", <object>value))
    return list(elements(<object>value))


# Arrays, the only part that needs numpy.


cdef object ARRAYS = None


cdef object arrays():
    """The module; it imports numpy, which messages without arrays do not need."""
    global ARRAYS
    if ARRAYS is None:
        from penstock.protobuf import arrays as found

        ARRAYS = found
    return ARRAYS


cdef object new_array(int kind, Py_ssize_t n):
    found = arrays()
    return found.np.empty(n, found.DTYPE[kind])


cdef object as_array(const ps_plan_field *field, PyObject *value):
    return arrays().array_of(Kind(field.kind), <object>value)


cdef int same_arrays(PyObject *one, PyObject *other) except -1:
    return arrays().np.array_equal(<object>one, <object>other)


cdef object copied_array(PyObject *value):
    given = <object>value
    if isinstance(given, arrays().np.ndarray):
        return given.copy()
    return list(given) if isinstance(given, (list, tuple)) else given


ps_hooks = ps_message_hooks(
    link=link,
    refuse_arguments=refuse_arguments,
    refuse_value=refuse_value,
    refuse_slot=refuse_slot,
    refuse_depth=refuse_depth,
    refuse_unset=refuse_unset,
    check_keys=check_keys,
    sorted_keys=sorted_keys,
    elements=elements_of,
    new_array=new_array,
    as_array=as_array,
    same_arrays=same_arrays,
    copied_array=copied_array,
)


# Reading.


cdef ps_wire_limits DEFAULT_LIMITS
set_limits(&DEFAULT_LIMITS, DEFAULT_OPTIONS)


cdef int set_limits(ps_wire_limits *limits, options) except -1:
    checked_options(options)
    limits.max_size = options.max_size
    limits.max_depth = options.max_depth
    limits.max_elements = options.max_elements
    limits.max_memory = options.max_memory
    limits.max_unknown = options.max_unknown
    limits.refuse_unknown = options.unknown == "error"
    limits.keep_unknown = options.unknown == "keep"
    return 0


cdef object read(
    const ps_plan *plan, PyObject *message, const uint8_t *bytes, size_t size, options, Py_ssize_t at
):
    """Reads bytes into a message, or into a new one; `at` is its place among many, or -1."""
    cdef ps_wire_limits limits = DEFAULT_LIMITS
    cdef ps_wire_error error
    if options is not None:
        set_limits(&limits, options)
    cdef PyObject *made = ps_read(plan, <ps_message *>message, bytes, size, &limits, &error)
    if made is NULL:
        raise_refusal(&error, plan, &limits, at)
    result = <object>made
    Py_DECREF(result)
    return result


cdef bytes whole_of(data, options, const ps_plan *plan, Py_ssize_t at):
    """The input as bytes that nobody changes."""
    if PyBytes_CheckExact(data):
        return data
    return whole(data, checked_options(options), label(plan, at))


cdef object label(const ps_plan *plan, Py_ssize_t at):
    """What the path to a field begins with."""
    name = (<object>plan.type).__name__
    return name if at < 0 else f"{name}[{at}]"


cdef int raise_refusal(
    const ps_wire_error *error, const ps_plan *plan, const ps_wire_limits *limits, Py_ssize_t at
) except -1:
    """Raises the exception that there is, or what the bytes were refused for."""
    if PyErr_Occurred():
        ps_raised()
    path = label(plan, at) + path_to(error, plan)
    cdef Py_ssize_t offset = <Py_ssize_t>error.offset  # SIZE_MAX, of no place, is -1
    raise DecodeError(reason_of(error, limits), offset=offset, path=path)


cdef object path_to(const ps_wire_error *error, const ps_plan *plan):
    cdef const ps_plan_field *field
    cdef const ps_plan_field *fields = plan.fields
    cdef uint32_t i
    path = ""
    for i in range(error.n_steps):
        field = &fields[error.steps[i].field]
        path += f".{<object>field.name}"
        if error.steps[i].indexed:
            path += f"[{error.steps[i].index}]"
        if field.entry is not NULL:
            fields = field.entry
        elif field.child is not NULL:
            fields = field.child.fields
    return path


cdef object reason_of(const ps_wire_error *error, const ps_wire_limits *limits):
    fault, one, other = error.fault, error.detail[0], error.detail[1]
    if fault == PS_WIRE_NO_SUCH_TYPE:
        return faults.no_such_wire_type(one)
    if fault == PS_WIRE_LENGTH_PAST_END:
        return faults.length_past_end(one, other)
    if fault == PS_WIRE_GROUP_OPEN:
        return faults.group_open(one)
    if fault == PS_WIRE_GROUP_MISMATCH:
        return faults.group_mismatch(one, other)
    if fault == PS_WIRE_STRAY_END:
        return faults.stray_end(one)
    if fault == PS_WIRE_TOO_DEEP:
        return faults.too_deep(limits.max_depth)
    if fault == PS_WIRE_TOO_LARGE:
        return faults.too_large(other, one)
    if fault == PS_WIRE_TOO_MANY:
        return faults.too_many_elements(limits.max_elements)
    if fault == PS_WIRE_TOO_MUCH_MEMORY:
        return faults.too_much_memory(limits.max_memory)
    if fault == PS_WIRE_TOO_MANY_UNKNOWN:
        return faults.too_many_unknown(limits.max_unknown)
    if fault == PS_WIRE_UNKNOWN:
        return faults.unknown_field(one)
    return PLAIN_REASONS[fault]


cdef dict PLAIN_REASONS = {
    PS_WIRE_TAG_TRUNCATED: faults.TAG_TRUNCATED,
    PS_WIRE_TAG_TOO_LARGE: faults.TAG_TOO_LARGE,
    PS_WIRE_FIELD_ZERO: faults.FIELD_ZERO,
    PS_WIRE_VALUE_TRUNCATED: faults.VALUE_TRUNCATED,
    PS_WIRE_VARINT_TOO_LONG: faults.VARINT_TOO_LONG,
    PS_WIRE_NOT_UTF8: faults.NOT_UTF8,
    PS_WIRE_PACKED_PARTIAL: faults.PACKED_PARTIAL,
}


cdef object decoded(const ps_plan *plan, const uint8_t *bytes, size_t size, options, Py_ssize_t at):
    """A new message, with all that is required."""
    message = read(plan, NULL, bytes, size, options, at)
    if plan.requires and not (options is not None and options.partial):
        if not ps_is_complete(<ps_message *><PyObject *>message, plan):
            raise DecodeError(faults.REQUIRED, path=missing(message, label(plan, at)))
    return message


cdef object decoded_of(const ps_plan *plan, data, options, Py_ssize_t at):
    """The same, of what lends its bytes."""
    cdef bytes held = whole_of(data, options, plan, at)
    return decoded(plan, <uint8_t *>PyBytes_AS_STRING(held), PyBytes_GET_SIZE(held), options, at)


cdef list decoded_parts(const ps_plan *plan, data, offsets, options):
    """The messages between each of the offsets and the next."""
    cdef bytes held = data if PyBytes_CheckExact(data) else bytes(octets_of(data))
    cdef const int64_t[::1] bounds = arrays().checked_offsets(offsets, len(held))
    cdef const uint8_t *start = <uint8_t *>PyBytes_AS_STRING(held)
    cdef Py_ssize_t at
    return [
        decoded(plan, start + bounds[at], bounds[at + 1] - bounds[at], options, at)
        for at in range(bounds.shape[0] - 1)
    ]


cdef int make_ready(_Message message) except -1:
    """Gives a message, and those in it that more may be merged into, the lists, dicts and arrays needed."""
    waiting, changes = [(message, type(message).__name__, 1)], []
    while waiting:
        inner, path, depth = waiting.pop()
        if depth > PS_WRITE_DEEPEST:
            raise EncodeError(faults.TOO_NESTED, path=type(message).__name__)
        for field in describe(inner).fields:
            member, place = slot(type(inner), field.name), f"{path}.{field.name}"
            value = raw(inner, field)
            if field.shape is not Shape.SINGULAR:
                changes.append((member, inner, container(field, value, place)))
            elif field.message is not None and value is not None:
                if not isinstance(value, field.message):
                    wanted = faults.a(field.message.__name__)
                    raise EncodeTypeError(faults.wrong_type(wanted, value), path=place)
                waiting.append((value, place, depth + 1))
    for member, inner, value in changes:
        member.__set__(inner, value)
    return 0


# Writing.


cdef object written(_Message message, bint deterministic, bint partial, Py_ssize_t at):
    cdef uint8_t memory[2048]
    cdef ps_writer writer
    cdef const ps_plan *plan = ps_plan_of(Py_TYPE(message))
    ps_writer_init(&writer, memory, sizeof(memory), deterministic, partial)
    if ps_write_root(&writer, plan, <ps_message *>message) < 0:
        raise_failure(&writer, plan, at)
    return ps_written(&writer)


cdef tuple written_many(cls, list messages):
    """All into one buffer, and where each begins."""
    cdef uint8_t memory[2048]
    cdef ps_writer writer
    cdef const ps_plan *plan = ps_plan_of(<PyTypeObject *>cls)
    offsets = arrays().np.zeros(len(messages) + 1, "int64")
    cdef int64_t[::1] ends = offsets
    cdef Py_ssize_t at
    ps_writer_init(&writer, memory, sizeof(memory), False, False)
    try:
        for at, each in enumerate(messages):
            if not PyObject_TypeCheck(each, <PyTypeObject *>cls):  # isinstance believes a Mock
                raise EncodeTypeError(faults.wrong_type(faults.a(cls.__name__), each), path=label(plan, at))
            if ps_write_root(&writer, ps_plan_of(Py_TYPE(each)), <ps_message *><PyObject *>each) < 0:
                raise_failure(&writer, plan, at)
            ends[at + 1] = writer.at - writer.start
        return ps_written(&writer), offsets
    finally:
        ps_writer_free(&writer)


cdef int raise_failure(ps_writer *writer, const ps_plan *plan, Py_ssize_t at) except -1:
    """Raises what the writing failed for, with the way to it."""
    try:
        ps_raised()
    except EncodeError as error:
        steps = <object>writer.steps if writer.steps is not NULL else ()
        path = "".join([shown_step(each) for each in reversed(steps)])
        raise type(error)(error.reason, path=f"{label(plan, at)}{path}{error.path}") from None
    finally:
        ps_writer_free(writer)


cdef object shown_step(tuple step):
    return f".{step[0]}" if len(step) == 1 else f".{step[0]}[{faults.shown_key(step[1])}]"


@cython.auto_pickle(False)
cdef class _Message:
    """_Message(**fields)\n--\n
    What Message has in C: the unknown fields, and all methods whose speed matters.
    """

    cdef PyObject *unknown  # message_plan.h knows this layout as ps_message

    def __init__(self, /, **fields):
        plan = ps_plan_of(Py_TYPE(self))
        names, values = tuple([intern(str(name)) for name in fields]), list(fields.values())
        ps_empty(<ps_message *><PyObject *>self, plan)
        ps_set_arguments(<ps_message *><PyObject *>self, plan, <PyObject *>names, items_of(values))

    @property
    def unknown_fields(self):
        """The fields that were read without being in the schema: tags and values, in the order they came."""
        return b"" if self.unknown is NULL else bytes(<object>self.unknown)

    def to_bytes(self, *, deterministic=False):
        """The message in protobuf's wire format: fields ascending by number, then the unknown ones.

        Args:
            deterministic: whether maps are sorted by their keys (numbers by value, text by its UTF-8 bytes)
                instead of written in their own order.

        Raises:
            EncodeError: a value is out of its range, text is no Unicode, a required field is not set, or the
                message is nested more than 1000 levels deep; `path` says where.
            TypeError: a value has another type than its field (EncodeTypeError, which is an EncodeError).

        Source: https://protobuf.dev/programming-guides/encoding
        """
        return written(self, deterministic, False, -1)

    @classmethod
    def from_bytes(cls, data, options=None, /):
        """The message that was written as these bytes, which are copied where they are kept.

        Args:
            data: bytes, or whatever lends them in one piece.
            options: the limits it must keep, and what becomes of unknown fields; DecodeOptions() if None.

        Raises:
            DecodeError: it is no such message, or is above a limit; `offset` and `path` say where.
            TypeError: data has no contiguous buffer.
        """
        return decoded_of(ps_plan_of(<PyTypeObject *>cls), data, options, -1)

    def merge_from(self, other, options=None, /):
        """Adds another message to this one, as if its bytes followed those of this one.

        Scalars that the other has set replace those here, lists are extended, maps updated, sub-messages
        merged. Nothing is shared with the other afterwards. Required fields need not be there yet.

        Args:
            other: a message of the same class, or bytes of one.
            options: the limits that such bytes must keep; DecodeOptions() if None.

        Raises:
            DecodeError: the bytes are refused; the message is as it was before.
            EncodeError: the other message cannot be written; this one is as it was before.
            TypeError: the other is no message of this class, nor bytes.
        """
        cdef const ps_plan *plan = ps_plan_of(Py_TYPE(self))
        cdef bytes held
        if isinstance(other, _Message):
            if type(other) is not type(self):
                wanted = f"{faults.a(type(self).__name__)} or bytes"
                raise InvalidType(f"other {faults.wrong_type(wanted, other)}")
            checked_options(options)
            held, options = written(other, False, True, -1), UNLIMITED
        else:
            held = whole_of(other, options, plan, -1)
        cdef const uint8_t *bytes = <uint8_t *>PyBytes_AS_STRING(held)
        if not ps_is_ready(<ps_message *><PyObject *>self, plan, 1):
            read(plan, NULL, bytes, len(held), options, -1)  # refused before anything changes
            make_ready(self)
        read(plan, <PyObject *>self, bytes, len(held), options, -1)

    def byte_size(self):
        """The length of `to_bytes()`, which it has to make.

        Raises:
            EncodeError: as `to_bytes`.
        """
        return len(written(self, False, False, -1))

    def __getstate__(self):
        """The bytes that pickle keeps; required fields may be unset."""
        return written(self, False, True, -1)

    @classmethod
    def encode_many(cls, messages, /):
        """The bytes of all messages back to back, and where each begins.

        Args:
            messages: n of this class.

        Returns:
            The bytes, and (n + 1,) int64: message i is at offsets[i] to offsets[i + 1].

        Raises:
            EncodeError: as `to_bytes`; `path` starts with the class and the index.
        """
        return written_many(cls, list(messages))

    @classmethod
    def decode_many(cls, data, offsets=None, options=None, /):
        """The messages that `encode_many` made this of, or one of each buffer of a sequence.

        Args:
            data: all bytes back to back, with `offsets`; or a sequence of n buffers, without.
            offsets: (n + 1,) integers that do not go down, the first and last within data.
            options: the limits that each message must keep; DecodeOptions() if None.

        Returns:
            n messages.

        Raises:
            DecodeError: one is no such message; `path` starts with the class and the index, `offset` counts
                from the first byte of that message.
            ValueError: the offsets go down or lie outside of data.
            TypeError: data has no contiguous buffer, or offsets are no integers.
        """
        cdef const ps_plan *plan = ps_plan_of(<PyTypeObject *>cls)
        if offsets is None:
            return [decoded_of(plan, each, options, at) for at, each in enumerate(buffers(data))]
        return decoded_parts(plan, data, offsets, options)

    def copy(self):
        """A message of the same class with equal fields, sharing no list, dict, array or message with it.

        Raises:
            EncodeError: it is nested more than 1000 levels deep.
        """
        try:
            return ps_copy_message(<PyObject *>self, 0)
        except EncodeError as error:
            raise EncodeError(error.reason, path=type(self).__name__) from None

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        try:
            return ps_same_messages(<PyObject *>self, <PyObject *>other, 0) != 0
        except EncodeError as error:
            raise EncodeError(error.reason, path=type(self).__name__) from None

    __hash__ = None


cdef PyObject *const *items_of(list values):
    return (<PyListObject *>values).ob_item


ps_set_root(<PyTypeObject *>_Message, <PyTypeObject *>MessageMeta)


class Message(_Message, MessageMethods, metaclass=MessageMeta):
    """A protobuf message; derive from it to declare one.

    Each field has an annotation, which tells its type, and a number, which names it on the wire::

        class Order(Message, package="shop"):
            order_id: UInt32 = field(1)
            tags: list[str] = field(2)
            note: str | None = field(3)

    An instance has a slot for each field and nothing else. What was not set is the zero of its type, an
    empty list, dict or array of its own, or None for `T | None`. Values are checked when they are written,
    not when they are set. Of a oneof, setting one member to other than None sets the others to None.

    Messages are trees: one that holds itself cannot be written, and its memory may never be freed. Threads
    may read and write a message at the same time, as they may a list; bytes made meanwhile are those of
    some mixture of its states.

    Args:
        fields: values by name; None leaves a field as it is in a new message. A list, dict or array is kept,
            not copied; another iterable for a repeated field becomes a list.

    Raises:
        TypeError: the message has no field of that name.
        ValueError: two members of one oneof are given.
        SchemaError: the class declares no possible message; found out when it is first used.
    """

    __slots__ = ()
