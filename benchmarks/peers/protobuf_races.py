"""Who races with which message, and what is timed: every contestant with every workload."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
from protobuf_peers import MSGPACK, MSGPACK_ARRAYS, PURE_PYTHON, UPB, contestants_for, plain
from protobuf_workloads import (
    CALLS,
    LogRequest,
    builds_orders,
    log_request,
    log_request_in_place,
    log_request_of_unions,
    log_request_reader,
    order,
    read_any,
    read_any_by_name,
    read_log_request_of_unions,
    read_order,
    read_user,
    reads_orders,
    user_in_place,
)

from penstock.protobuf import DoubleArray, Message, UInt64Array, field
from penstock.protobuf.otlp import ExportLogsServiceRequest
from protobuf.messages import order_class, user, user_classes

MSGPACK_UNIONS = f"{MSGPACK_ARRAYS}, unions"
UPB_BY_KEYWORDS = f"{UPB}, by keywords"
NUMBERS = 10_000


class Entrant(NamedTuple):
    """A contestant in the races of one workload."""

    name: str
    classes: Any
    build: Callable[[Any], Any]
    """Makes the message of the classes."""
    read: Callable[[Any], Any]
    """Reads every field of it."""
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    message: Any
    data: bytes
    """What it writes of the message."""


class Workload(NamedTuple):
    """One message and its data."""

    title: str
    cls: Any
    build: Callable[[Any], Any]
    read: Callable[[Any], Any]
    build_in_place: Callable[[Any], Any] | None = None
    """How Google's runtime is faster than with `build`."""
    read_zeros: Callable[[Any], Any] | None = None
    """Reads it where unset members of a oneof are zeros, as they are in Google's runtime."""

    @property
    def calls(self):
        """How often an operation is done in one call that is timed."""
        return CALLS if self is ORDER else 1


ORDER = Workload("Order", order_class(Message), order, read_order)
USER_459 = Workload("User of 459 bytes", user_classes(Message).User, user, read_user, user_in_place)
OTLP = Workload(
    "OTLP request of 100 records",
    ExportLogsServiceRequest,
    log_request,
    log_request_reader(read_any),
    log_request_in_place,
    log_request_reader(read_any_by_name),
)
WORKLOADS = (ORDER, USER_459, OTLP)


@cache
def entrants(workload):
    """Who takes part, each of whom has shown that it writes and reads the same data."""
    found = []
    for each in contestants_for(workload.cls):
        builds, read = {each.name: workload.build}, workload.read
        if each.name == UPB:
            read = workload.read_zeros or read
            if workload.build_in_place is not None:
                builds = {UPB: workload.build_in_place, UPB_BY_KEYWORDS: workload.build}
        root = getattr(each.classes, workload.cls.__name__)
        for name, build in builds.items():
            encode, decode, message = each.encoder(root), each.decoder(root), build(each.classes)
            found.append(Entrant(name, each.classes, build, read, encode, decode, message, encode(message)))
    check_same_data(found, workload.cls)
    return [*found, msgspec_of_unions()] if workload is OTLP else found


def msgspec_of_unions():
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(LogRequest).decode
    message = log_request_of_unions(None)
    assert decode(encode(message)) == message
    return Entrant(
        MSGPACK_UNIONS,
        None,
        log_request_of_unions,
        read_log_request_of_unions,
        encode,
        decode,
        message,
        encode(message),
    )


def check_same_data(found, cls):
    """Whether all mean the same by their messages, before and after the wire, and by penstock's bytes."""
    penstock = found[0]
    expected = plain(penstock.message, cls)
    for each in found:
        assert plain(each.message, cls) == expected, each.name
        assert plain(each.decode(each.data), cls) == expected, each.name
        if each.name not in (MSGPACK, MSGPACK_ARRAYS):
            assert plain(each.decode(penstock.data), cls) == expected, each.name
            assert plain(penstock.decode(each.data), cls) == expected, each.name


def build_and_encode(workload):
    """Name -> a call that does so."""
    return {each.name: writes(workload, each) for each in entrants(workload)}


def writes(workload, entrant):
    build, classes, encode = entrant.build, entrant.classes, entrant.encode
    if workload is ORDER:
        return builds_orders(classes, encode)
    return lambda: encode(build(classes))


def decode_and_read(workload):
    return {each.name: reads(workload, each) for each in readers(workload)}


def readers(workload):
    """Who differs in reading."""
    return [each for each in entrants(workload) if each.name != UPB_BY_KEYWORDS]


def reads(workload, entrant):
    decode, data, read = entrant.decode, entrant.data, entrant.read
    if workload is ORDER:
        return reads_orders(decode, data)
    return lambda: read(decode(data))


def encode(workload):
    return {each.name: repeated(each.encode, each.message, workload.calls) for each in readers(workload)}


def decode(workload):
    return {each.name: repeated(each.decode, each.data, workload.calls) for each in readers(workload)}


def repeated(function, argument, times):
    """A call that calls `function(argument)` so many times."""

    def run():
        for _ in range(times):
            function(argument)

    return run


OPERATIONS = (build_and_encode, decode_and_read, encode, decode)


def raced(race, operation, workload, names=None):
    """The medians of a race, of all entrants or of those so named, in nanoseconds an operation."""
    calls = operation(workload)
    chosen = {name: call for name, call in calls.items() if names is None or name in names}
    return race(f"{workload.title}: {title_of(operation)}", chosen, workload.calls)


def title_of(operation):
    return operation.__name__.replace("_and_", " + ")


# ---- fields, numbers, varints


def gets(message):
    """Reads one field."""

    def run():
        for _ in range(CALLS):
            message.age  # noqa: B018  # to name it is to read it

    return run


def sets(message):
    def run():
        for _ in range(CALLS):
            message.age = 43

    return run


def decodes_at(function, data):
    """Decodes the varint at the beginning."""

    def run():
        for _ in range(CALLS):
            function(data, 0)

    return run


class Series(Message):
    """Packed numbers as numpy arrays."""

    varints: UInt64Array = field(1)
    doubles: DoubleArray = field(2)


def numbers():
    """Varints of 1 to 5 bytes, and doubles."""
    rng = np.random.default_rng(7)
    varints = rng.integers(0, 1 << rng.integers(1, 33, NUMBERS, np.uint64), dtype=np.uint64)
    return varints, rng.normal(size=NUMBERS)


@cache
def series():
    """What writes and what reads the numbers, by name; all have shown that they have the same."""
    varints, doubles = numbers()
    writes, reads = {}, {}
    for each in contestants_for(Series):
        cls = each.classes.Series
        encode, decode = each.encoder(cls), each.decoder(cls)
        from_numpy = from_arrays if each.name in ("penstock", PURE_PYTHON, UPB) else from_lists
        writes[each.name] = from_numpy(cls, encode, varints, doubles)
        to_numpy = as_arrays if each.name in ("penstock", PURE_PYTHON) else to_arrays
        reads[each.name] = to_numpy(decode, writes[each.name]())
        for found, expected in zip(reads[each.name](), (varints, doubles), strict=True):
            assert (found == expected).all(), each.name
    return writes, reads


def from_arrays(cls, encode, varints, doubles):
    return lambda: encode(cls(varints=varints, doubles=doubles))


def from_lists(cls, encode, varints, doubles):
    return lambda: encode(cls(varints=varints.tolist(), doubles=doubles.tolist()))


def as_arrays(decode, data):
    def run():
        made = decode(data)
        return made.varints, made.doubles

    return run


def to_arrays(decode, data):
    def run():
        made = decode(data)
        return np.array(made.varints, np.uint64), np.array(made.doubles)

    return run
