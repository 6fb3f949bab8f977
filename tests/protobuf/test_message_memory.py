"""What only the compiled twin of Message could get wrong: references, stacks, memory that fails or moves."""

import gc
import sys
import threading
import weakref

import pytest

from penstock.protobuf._message_c import Message
from penstock.protobuf.declaration import declare, describe
from penstock.protobuf.descriptors import MessageDescriptor
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, EncodeError, SchemaError
from penstock.protobuf.fields import DoubleArray, Int32, Int64, SInt64Array, field
from penstock.protobuf.options import DecodeOptions


class Node(Message):
    value: Int64 = field(1)
    next: "Node | None" = field(2)
    children: list["Node"] = field(3)
    named: dict[str, "Node"] = field(4)
    text: str = field(5)
    numbers: list[Int32] = field(6)
    doubles: DoubleArray = field(7)
    signed: SInt64Array = field(8)
    left: str | None = field(9, oneof="side")
    right: "Node | None" = field(10, oneof="side")


def full():
    return Node(
        value=2**60,
        next=Node(value=300, text="é"),
        children=[Node(text="a"), Node(numbers=[1, 2, 300])],
        named={"k": Node(value=1), "日本": Node()},
        text="some text, not too short to be cached",
        numbers=[5, -5],
        doubles=[0.5, 1.5],
        signed=[-1, 1],
        right=Node(left="x"),
    )


DATA = full().to_bytes() + b"\x98\x06\x01"  # an unknown field at the end
DEEPEST = DecodeOptions(max_depth=1000)


def chain(length, link):
    node = Node()
    for _ in range(length):
        node = link(node)
    return node


@pytest.mark.parametrize(
    "link",
    [
        lambda inner: Node(next=inner),
        lambda inner: Node(children=[inner]),
        lambda inner: Node(named={"": inner}),
        lambda inner: Node(right=Node(children=[inner, Node()])),
    ],
    ids=["sub-message", "list", "map", "mixed"],
)
def test_a_chain_of_200_000_messages_is_freed_on_a_small_stack(link):
    def build_and_free():
        chain(200_000, link)

    run_on_stack_of(256 * 1024, build_and_free)


def test_messages_as_deep_as_the_limit_need_little_stack():
    def work():
        node = chain(999, lambda inner: Node(next=inner))
        data = node.to_bytes()
        read = Node.from_bytes(data, DEEPEST)
        read.merge_from(data, DEEPEST)
        assert read == node
        assert read.copy() == node

    run_on_stack_of(512 * 1024, work)


def run_on_stack_of(size, work):
    failures = []

    def guarded():
        try:
            work()
        except BaseException as error:
            failures.append(error)

    before = threading.stack_size(size)
    try:
        thread = threading.Thread(target=guarded)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert failures == []


def test_messages_are_no_work_for_the_collector():
    node = full()
    assert not gc.is_tracked(node)
    assert not gc.is_tracked(Node.from_bytes(DATA))
    assert sys.getsizeof(node) == Node.__basicsize__


def test_a_class_that_nobody_holds_is_collected_with_its_plan():
    def used():
        class Passing(Message):
            inner: "Passing | None" = field(1)
            nodes: list[Node] = field(2)

        assert Passing.from_bytes(Passing(inner=Passing(), nodes=[Node()]).to_bytes()).nodes == [Node()]
        return weakref.ref(Passing)

    passing = used()
    gc.collect()
    assert passing() is None


def test_a_message_keeps_its_class_alive():
    class Passing(Message):
        value: Int32 = field(1)

    message = Passing(value=3)
    del Passing
    gc.collect()
    assert type(message)(value=message.value) == message


class Tracked:
    """A value that can be watched going away."""


@pytest.mark.parametrize("slot", ["value", "next", "children", "left"])
def test_a_message_lets_go_of_what_its_slots_held(slot):
    value = Tracked()
    gone = weakref.ref(value)
    node = Node()
    setattr(node, slot, value)
    del value
    assert gone() is not None
    del node
    assert gone() is None


def test_a_oneof_lets_go_of_the_member_that_is_replaced():
    value = Tracked()
    gone = weakref.ref(value)
    node = Node()
    node.right = value
    del value
    node.left = "x"
    assert gone() is None
    assert node.right is None


def refused(call, error):
    def work():
        with pytest.raises(error):
            call()

    return work


def merged():
    node = full()
    node.merge_from(DATA)
    node.merge_from(DATA)


NESTED = b"\x12" + bytes([len(DATA) & 127 | 128, len(DATA) >> 7]) + DATA
OPERATIONS = {
    "construct": full,
    "construct, unknown name": refused(lambda: Node(value=1, children=(), nothing=2), TypeError),
    "construct, two of a oneof": refused(lambda: Node(left="a", right=Node()), ValueError),
    "read": lambda: Node.from_bytes(DATA),
    "read, arrays in pieces": lambda: Node.from_bytes(DATA + b"\x42\x01\x02" * 9),
    "read a bytearray": lambda: Node.from_bytes(bytearray(DATA)),
    "read, cut off": refused(lambda: Node.from_bytes(NESTED[:-1]), DecodeError),
    "read, too much": refused(lambda: Node.from_bytes(DATA, DecodeOptions(max_elements=3)), DecodeError),
    "merge": merged,
    "write": lambda: full().to_bytes(),
    "write, sorted": lambda: full().to_bytes(deterministic=True),
    "write, out of range": refused(
        lambda: Node(next=Node(children=[Node(value=2**70)])).to_bytes(), EncodeError
    ),
    "write, wrong key": refused(lambda: Node(named={1: Node()}).to_bytes(), TypeError),
    "copy": lambda: full().copy(),
    "compare": lambda: full() == full(),
    "many": lambda: Node.decode_many(*Node.encode_many([full()] * 3)),
    "unknown fields": lambda: Node.from_bytes(DATA).unknown_fields,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_leaves_anything_behind(name):
    operation = OPERATIONS[name]
    for _ in range(50):
        operation()  # what is cached is cached now
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(500):
        operation()
    gc.collect()
    assert sys.getallocatedblocks() - before < 250  # a leak of one object a call is 500


class Tree(Message):
    """As Node, but without arrays: numpy does not always come through when memory runs out."""

    value: Int64 = field(1)
    next: "Tree | None" = field(2)
    children: list["Tree"] = field(3)
    named: dict[str, "Tree"] = field(4)
    text: str = field(5)
    raw: bytes = field(6)
    numbers: list[Int32] = field(7)
    left: str | None = field(8, oneof="side")
    right: "Tree | None" = field(9, oneof="side")


def tree():
    return Tree(
        value=2**60,
        next=Tree(text="é" * 3000),
        children=[Tree(text="a"), Tree(numbers=(1, 2, 300))],
        named={"k": Tree(value=1)},
        raw=bytearray(b"raw"),
        right=Tree(left="x"),
    )


GROWN = tree()
PLAIN = GROWN.to_bytes() + b"\x98\x06\x01"
WITHOUT_MEMORY = {
    "construct": tree,
    "read": lambda: Tree.from_bytes(PLAIN + b"\x08\x05" + b"\x98\x06\x01"),
    "read into": lambda: tree().merge_from(PLAIN),
    "write": GROWN.to_bytes,
    "copy": GROWN.copy,
    "compare": lambda: Tree.from_bytes(PLAIN) == Tree.from_bytes(PLAIN),
}


@pytest.mark.parametrize("name", WITHOUT_MEMORY)
def test_memory_that_runs_out_anywhere_is_a_memory_error_and_no_harm(name):
    operation = WITHOUT_MEMORY[name]
    _testcapi = pytest.importorskip(
        "_testcapi", reason="this Python has no allocator that can be made to fail"
    )
    operation()
    outcomes = []
    while outcomes[-10:] != ["done"] * 10:
        _testcapi.set_nomemory(len(outcomes), len(outcomes) + 1)
        try:
            operation()
            outcome = "done"
        except MemoryError:
            outcome = "MemoryError"
        finally:
            _testcapi.remove_mem_hooks()
        outcomes.append(outcome)  # which takes memory, too
    assert "MemoryError" in outcomes
    operation()


# Code that runs while a message is written, and changes it.


class Meddler:
    """An integer that does something when it is asked for its value."""

    def __init__(self, deed):
        self.deed = deed

    def __index__(self):
        self.deed()
        return 7


def meddled(node, change):
    """What is read of the bytes of a node that changes while they are made."""
    node.numbers[0] = Meddler(lambda: change(node))
    return Node.from_bytes(node.to_bytes())


def emptied(node):
    node.numbers.clear()
    node.children.clear()
    node.named.clear()


def grown(node):
    node.numbers.extend(range(1000))
    node.children.extend([Node(value=1)] * 1000)
    node.text = "x" * 10_000


def deleted(node):
    for name in (
        "value",
        "next",
        "children",
        "named",
        "text",
        "numbers",
        "doubles",
        "signed",
        "left",
        "right",
    ):
        delattr(node, name)


def replaced(node):
    node.numbers = (1, 2)
    node.doubles = [9.5]
    node.right = Node(children=[Node()])


@pytest.mark.parametrize("change", [emptied, grown, deleted, replaced])
def test_a_message_that_changes_while_it_is_written_is_framed_rightly(change):
    inner = Node(numbers=[0, 1, 2], children=[Node(), Node()], named={"a": Node()}, doubles=[1.0], text="t")
    assert meddled(inner, change).numbers[0] == 7
    root = Node(
        next=inner,
        children=[Node(numbers=[Meddler(lambda: change(root)), 5])],
        numbers=[1],
        named={"b": inner},
    )
    assert Node.from_bytes(root.to_bytes()).value == 0


def test_a_list_that_grows_with_each_of_its_values_is_written_to_its_first_length():
    node = Node()
    node.numbers = [Meddler(lambda: node.numbers.append(node.numbers[0]))] * 3
    assert Node.from_bytes(node.to_bytes()).numbers == [7, 7, 7]


def test_a_map_whose_value_is_dropped_while_it_is_written_is_framed_rightly():
    node = Node(named={"a": Node(numbers=[Meddler(lambda: node.named.clear())], text="after"), "b": Node()})
    assert Node.from_bytes(node.to_bytes()).named["a"].text == "after"


def test_threads_that_change_a_message_while_others_write_it_do_no_harm():
    node = full()
    stop = threading.Event()

    def change():
        at = 0
        while not stop.is_set():
            at += 1
            node.numbers = list(range(at % 50))
            node.text = "y" * (at % 300)
            node.children = [Node(value=at)] * (at % 5)
            node.next = None if at % 2 else Node(text="z" * (at % 200))
            node.left = "left" if at % 3 else None

    threads = [threading.Thread(target=change) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):
            Node.from_bytes(node.to_bytes())
            node.copy()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# Bytes that are not ours.


def test_a_buffer_is_neither_kept_nor_shared():
    data = bytearray(DATA)
    node = Node.from_bytes(data)
    data.clear()  # a BufferError if it were still lent
    assert node == Node.from_bytes(DATA)


def test_a_large_bytearray_that_changes_while_it_is_read_gives_one_state_of_it():
    data = bytearray(Node(children=[Node(text="a" * 100)] * 2000).to_bytes())
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            data[500] ^= 3  # a letter becomes another one

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(50):
            assert {"".join(set(each.text)) for each in Node.from_bytes(data).children} <= {"a", "ab", "ba"}
    finally:
        stop.set()
        thread.join()


def test_what_grows_by_small_records_takes_time_in_proportion():
    """300,000 records of one value each, between others: a copy for each would take minutes."""
    records = b"\x42\x01\x02" + b"\x98\x06\x01" + b"\x08\x01"
    node = Node.from_bytes(records * 300_000)
    assert len(node.signed) == 300_000
    assert len(node.unknown_fields) == 900_000


class Color(Enum, closed=True):
    RED = 1


class Paint(Message):
    colors: list[Color] = field(3)


@pytest.mark.parametrize(("unknown", "kept"), [("keep", b"\x18\x05"), ("drop", b"")])
def test_numbers_without_a_name_in_a_packed_list_are_unknown_fields(unknown, kept):
    paint = Paint.from_bytes(b"\x1a\x03\x01\x05\x01", DecodeOptions(unknown=unknown))
    assert paint.colors == [Color.RED, Color.RED]
    assert paint.unknown_fields == kept


# Classes that are more than their fields.


def test_a_class_may_have_its_own_constructor_and_destructor():
    seen = []

    class Counted(Message):
        value: Int32 = field(1)

        def __init__(self, start):
            super().__init__(value=start)

        def __del__(self):
            seen.append(self.value)

    assert Counted(5).to_bytes() == b"\x08\x05"
    assert Counted.from_bytes(b"\x08\x06").value == 6
    assert seen == [5, 6]


def test_a_message_that_is_initialised_again_starts_anew():
    node = Node.from_bytes(DATA)
    node.__init__(value=5)
    assert node == Node(value=5)


def test_a_message_that_its_destructor_saves_lives_on():
    saved = []

    class Phoenix(Message):
        value: Int32 = field(1)
        text: str = field(2)

        def __del__(self):
            saved.append(self)

    Phoenix(value=9, text="still here")
    assert saved[0] == Phoenix(value=9, text="still here")


def test_an_instance_that_was_never_initialised_is_an_empty_message():
    node = Node.__new__(Node)
    assert node.to_bytes() == b""
    assert node == Node()
    assert node.copy().children == []
    node.merge_from(DATA)
    assert node == Node.from_bytes(DATA)


def test_a_class_may_have_its_own_hook_for_subclasses():
    class Aloof(Message):
        x: Int32 = field(1)

        def __init_subclass__(cls):
            """Says nothing to its own base."""

    class Point(Aloof):
        pass

    assert Point.from_bytes(Point(x=4).to_bytes()) == Point(x=4)
    assert not gc.is_tracked(Point())


def test_a_base_that_brings_a_dict_along_is_refused():
    class Mixin:
        pass

    with pytest.raises(
        SchemaError, match="Mixed: a message has slots only, so its other bases need __slots__"
    ):

        class Mixed(Message, Mixin):
            x: Int32 = field(1)


def test_a_base_with_empty_slots_is_welcome():
    class Doubling:
        __slots__ = ()

        def double(self):
            return 2 * self.x

    class Mixed(Message, Doubling):
        x: Int32 = field(1)

    assert Mixed.from_bytes(b"\x08\x04").double() == 8


def test_a_class_of_a_class_with_fields_has_the_same_slots():
    class Special(Node):
        def double(self):
            return 2 * self.value

    special = Special.from_bytes(DATA)
    assert special.double() == 2**61
    assert special.to_bytes() == DATA
    assert Node(next=special).to_bytes() == Node(next=Node.from_bytes(DATA)).to_bytes()
    special.left = "x"
    assert special.right is None


def test_the_slot_of_another_class_is_not_taken_for_a_field():
    class Small(Message):
        value: Int32 = field(1)

    Small.value = Node.__dict__["signed"]
    with pytest.raises(SchemaError, match=r"^Small.value must be a slot of its class, got <member 'signed'"):
        Small(value=1)


def test_a_slot_without_a_field_is_refused():
    wider = declare(Message, "Wider", ["first", "value"], lambda _: described("Wider"), module=__name__)
    with pytest.raises(
        SchemaError, match=r"^Wider: each slot must be a field, got 1 fields and slot 2 for value"
    ):
        wider()


def test_a_class_that_holds_an_impossible_one_stays_impossible():
    impossible = declare(Message, "Odd", ["value", "__dict__"], lambda _: described("Odd"), module=__name__)

    class Holder(Message):
        odd: impossible | None = field(1)

    for _ in range(2):
        with pytest.raises(SchemaError, match=r"^Odd: a message has slots only, no __dict__"):
            Holder.from_bytes(b"\x0a\x02\x08\x05")


def described(name):
    class Plain(Message):
        value: Int32 = field(1)

    return MessageDescriptor(name, describe(Plain).fields)
