"""Class statements become messages, or are refused with the place and the rule."""

import dataclasses
import threading
from typing import Annotated, ClassVar, Optional

import numpy as np
import pytest
from messages import Color, Corpus

from penstock.errors import PenstockError
from penstock.protobuf.declaration import declare, describe
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Presence, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.fields import Double, DoubleArray, EnumArray, Int32, Int64, UInt64, camel_case, field
from penstock.protobuf.kinds import Kind, WireType
from penstock.protobuf.options import DecodeOptions
from twins import load


def one_field(Message, annotation, told):
    """The descriptor of a message's only field."""
    cls = type(Message)("Point", (Message,), {"__annotations__": {"x": annotation}, "x": told})
    return describe(cls).fields[0]


@pytest.mark.parametrize(
    ("annotation", "told", "wanted"),
    [
        (Int32, field(1), {"kind": Kind.INT32, "default": 0, "presence": Presence.IMPLICIT}),
        (Int32 | None, field(1), {"kind": Kind.INT32, "default": None, "presence": Presence.EXPLICIT}),
        (Optional[str], field(1), {"kind": Kind.STRING, "presence": Presence.EXPLICIT}),  # noqa: UP045
        (float, field(1), {"kind": Kind.DOUBLE, "default": 0.0}),
        (bool, field(1), {"kind": Kind.BOOL, "default": False}),
        (bytes, field(1), {"kind": Kind.BYTES, "default": b""}),
        (Corpus, field(1), {"kind": Kind.ENUM, "enum": Corpus, "default": Corpus.UNSPECIFIED}),
        (Color, field(1), {"kind": Kind.ENUM, "enum": Color, "default": Color.RED}),
        (Int32, field(1, default=41), {"default": 41, "presence": Presence.EXPLICIT}),
        (str, field(1, required=True), {"default": None, "presence": Presence.REQUIRED}),
        (list[Int64], field(1), {"shape": Shape.REPEATED, "packed": True, "kind": Kind.INT64}),
        (list[Int64], field(1, packed=False), {"shape": Shape.REPEATED, "packed": False}),
        (list[str], field(1), {"shape": Shape.REPEATED, "packed": False, "kind": Kind.STRING}),
        (
            DoubleArray,
            field(1),
            {"shape": Shape.REPEATED, "packed": True, "array": True, "kind": Kind.DOUBLE},
        ),
        (EnumArray, field(1), {"shape": Shape.REPEATED, "array": True, "kind": Kind.ENUM}),
        (dict[str, Double], field(1), {"shape": Shape.MAP, "key": Kind.STRING, "kind": Kind.DOUBLE}),
        (dict[UInt64, Corpus], field(1), {"shape": Shape.MAP, "key": Kind.UINT64, "enum": Corpus}),
        (str | None, field(1, oneof="o"), {"oneof": "o", "presence": Presence.EXPLICIT}),
        (str, field(1, utf8=False), {"utf8": False}),
        (str, field(1, name="class"), {"name": "x", "proto_name": "class", "json_name": "class"}),
        (str, field(1, name="foo_bar", json_name="FB"), {"proto_name": "foo_bar", "json_name": "FB"}),
    ],
)
def test_annotation_and_field_give_the_descriptor(Message, annotation, told, wanted):
    found = dataclasses.asdict(one_field(Message, annotation, told))
    assert {name: found[name] for name in wanted} == wanted


def test_field_tells_how_it_is_written(Message):
    assert one_field(Message, list[Int32], field(4)).tag == 4 << 3 | WireType.LENGTH_DELIMITED
    assert one_field(Message, list[Int32], field(4, packed=False)).tag == 4 << 3
    assert one_field(Message, Double, field(4)).wire_type == WireType.FIXED64


def test_descriptor_lists_fields_by_name_by_number_and_by_oneof(Message):
    class Shape3(Message, package="geo.v1"):
        last: str | None = field(9, oneof="what")
        kept: ClassVar[int] = 5
        first: Int32 | None = field(1, oneof="what")

    found = describe(Shape3)
    assert found.full_name == "geo.v1.Shape3"
    assert [each.name for each in found.fields] == ["last", "first"]
    assert list(found.by_number) == [1, 9]
    assert list(found.by_name) == ["last", "first"]
    assert {name: [each.name for each in members] for name, members in found.oneofs.items()} == {
        "what": ["last", "first"]
    }
    assert Shape3.kept == 5
    assert describe(Shape3(last="a")) is found


def test_message_may_hold_itself_and_classes_inside_it(Message):
    class Tree(Message):
        class Leaf(Message):
            text: str = field(1)

        leaf: Leaf | None = field(1)
        left: "Tree | None" = field(2)
        rest: "list[Tree]" = field(3)
        leaves: "list[Leaf]" = field(4)

    tree = Tree(left=Tree(leaf=Tree.Leaf(text="a")), rest=[Tree()], leaves=[Tree.Leaf()])
    assert Tree.from_bytes(tree.to_bytes()) == tree


def test_derived_class_adds_methods_only(Message):
    class Point(Message):
        x: Int32 = field(1)

    class Handy(Point):
        def moved(self, by):
            return Handy(x=self.x + by)

    assert Handy(x=1).moved(2).x == 3
    assert describe(Handy) is describe(Point)
    with pytest.raises(
        SchemaError, match=r"^Wider: a message adds no fields to another, got Point as its base$"
    ):

        class Wider(Point):
            y: Int32 = field(2)


def test_class_derived_of_a_derived_one_keeps_the_fields(Message):
    class Point(Message):
        x: Int32 = field(1)
        y: Int32 = field(2)

    class Handy(Point):
        def moved(self, by):
            return type(self)(x=self.x + by, y=self.y)

    class Handier(Handy):
        pass

    assert Handier.from_bytes(Handier(x=1, y=2).moved(4).to_bytes()) == Handier(x=5, y=2)
    assert describe(Handier) is describe(Point)
    with pytest.raises(
        SchemaError, match=r"^Wider: a message adds no fields to another, got Point as its base$"
    ):

        class Wider(Handy):
            z: Int32 = field(3)


def test_class_has_the_fields_of_one_message(Message):
    class Point(Message):
        x: Int32 = field(1)

    class Empty(Message):
        pass

    class Left(Point):
        pass

    class Right(Point):
        pass

    class Both(Left, Right):
        pass

    assert Both(x=1).to_bytes() == b"\x08\x01"
    with pytest.raises(
        SchemaError, match=r"^Two: a class has the fields of one message, got the bases Empty, Point$"
    ):

        class Two(Empty, Point):
            pass


def test_derived_class_hides_no_field(Message):
    class Point(Message):
        x: Int32 = field(1)

    class Mixin:
        __slots__ = ()
        x = 7

    with pytest.raises(SchemaError, match=r"^Hiding\.x: Hiding hides the field of Point$"):

        class Hiding(Point):
            @property
            def x(self):
                return 5

    with pytest.raises(SchemaError, match=r"^Mixed\.x: Mixin hides the field of Point$"):

        class Mixed(Mixin, Point):
            pass


def test_derived_class_may_make_itself_of_other_arguments(Message):
    class Point(Message):
        x: Int32 = field(1)
        names: list[str] = field(2)
        next: "Point | None" = field(3)

    class Bare(Point):
        def __init__(self, ignored):
            pass

    bare = Bare(5)
    assert (bare.to_bytes(), bare.unknown_fields, repr(bare)) == (b"", b"", "Bare()")
    assert bare == Bare(6) == bare.copy()
    bare.merge_from(b"\x12\x01a\x1a\x02\x08\x07\x78\x01")
    assert (bare.names, bare.next, bare.unknown_fields) == (["a"], Point(x=7), b"\x78\x01")


def test_keywords_of_the_class_statement_reach_a_mixin(Message):
    class Tagged:
        __slots__ = ()

        def __init_subclass__(cls, *, label):
            cls.label = label

    class Point(Message, Tagged, package="geo", label="p"):
        x: Int32 = field(1)

    assert (Point.label, describe(Point).full_name) == ("p", "geo.Point")


def test_annotations_of_a_mixin_are_not_looked_at(Message):
    class Mixin:
        __slots__ = ()
        cached: "Nowhere"  # noqa: F821

    class Point(Mixin, Message):
        x: "Int32" = field(1)

    assert Point(x=1).to_bytes() == b"\x08\x01"


def test_class_variables_are_known_by_any_name_of_typing(Message):
    class Point(Message):
        kept: "dataclasses.ClassVar[int]" = 5
        x: Int32 = field(1)

    assert (Point.kept, Point(x=1).x) == (5, 1)


def test_message_without_fields_is_a_message(Message):
    class Empty(Message):
        pass

    assert Empty().to_bytes() == b""
    assert Empty.from_bytes(b"\x08\x01").to_bytes() == b"\x08\x01"


def test_first_use_from_many_threads_links_the_class_once(Message):
    class Point(Message):
        x: Int32 = field(1, default=7)
        a: str | None = field(2, oneof="o")
        b: str | None = field(3, oneof="o")

    start, failed = threading.Barrier(8), []

    def use():
        start.wait()
        point = Point(a="a")
        point.b = "b"
        if (point.x, point.a, Point.from_bytes(b"\x08\x05").x) != (7, None, 5):
            failed.append(point)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed


def test_an_attribute_that_another_thread_sets_while_a_class_is_described_does_no_harm(Message):
    class Meddler:
        @property
        def __class__(self):
            type.__setattr__(Point, "late", 1)
            return Meddler

    class Point(Message):
        x: Int32 = field(1)

    type.__setattr__(Point, "early", Meddler())
    assert [each.name for each in describe(Point).fields] == ["x"]
    assert Point.late == 1


def test_fields_of_a_schema_are_asked_for_once_and_late(Message):
    asked = []

    def describing(cls):
        asked.append(cls)
        return MessageDescriptor(
            "lab.Node",
            (
                FieldDescriptor(name="text", number=1, kind=Kind.STRING, default=""),
                FieldDescriptor(
                    name="next", number=2, kind=Kind.MESSAGE, message=cls, presence=Presence.EXPLICIT
                ),
            ),
        )

    node_class = declare(Message, "Node", ["text", "next"], describing, module="lab", qualname="Outer.Node")
    assert not asked
    node = node_class(text="a", next=node_class(text="b"))
    assert node_class.from_bytes(node.to_bytes()) == node
    assert asked == [node_class]
    assert (node_class.__module__, node_class.__qualname__) == ("lab", "Outer.Node")


# What is no message.


def class_statement(Message, body, **keywords):
    return type(Message)("Point", (Message,), body, **keywords)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"x": field(1)}, "Point.x: a field needs an annotation: `x: Int32 = field(1)`"),
        (
            {"__annotations__": {"x": Int32}},
            "Point.x: what is annotated is a field: `x: ... = field(NUMBER)`",
        ),
        (
            {"__annotations__": {"copy": Int32}, "copy": field(1)},
            "Point.copy: Message has that name itself; write `copy_: ... = field(N, name='copy')`",
        ),
        ({"__slots__": ("x",)}, "Point: a message has a slot for each field and no other, got __slots__"),
    ],
)
def test_class_statement_that_declares_no_message_is_refused_at_once(Message, body, text):
    with pytest.raises(SchemaError) as caught:
        class_statement(Message, body)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("annotation", "told", "text"),
    [
        (
            int,
            field(1),
            "Point.x: int says too little, write Int32, Int64, UInt32, UInt64, SInt32, Fixed64, ...",
        ),
        (object, field(1), "Point.x: no protobuf field can be <class 'object'>"),
        (
            Annotated[int, "width"],
            field(1),
            "Point.x: no protobuf field can be typing.Annotated[int, 'width']",
        ),
        (list, field(1), "Point.x: no protobuf field can be <class 'list'>"),
        (list[list[str]], field(1), "Point.x: no protobuf field can be list[str]"),
        (
            dict[float, str],
            field(1),
            "Point.x: a map's keys must be integers, bool or str, got <class 'float'>",
        ),
        (
            list[str] | None,
            field(1),
            "Point.x: a list, array or dict is never None, required, in a oneof or with a default",
        ),
        (
            list[str],
            field(1, required=True),
            "Point.x: a list, array or dict is never None, required, in a oneof or with a default",
        ),
        (str, field(1, oneof="o"), "Point.x: a member of a oneof must be `T | None`"),
        (
            list[str],
            field(1, packed=True),
            "Point.x: packed=True is for lists and arrays of numbers, bools and enums",
        ),
        (str, field(1, group=True), "Point.x: group=True is for sub-messages, got <class 'str'>"),
        (Int32, field(1, default="a"), "Point.x: the default must be an int, got str"),
        (
            Int32,
            field(1, default=2**31),
            "Point.x: the default must be -2147483648 to 2147483647, got 2147483648",
        ),
        (
            str,
            field(1, default="\ud800"),
            "Point.x: the default must be Unicode text without lone surrogates, got '\\ud800'",
        ),
        (Color, field(1, default=77), "Point.x: the default must be a member of Color, got 77"),
    ],
)
def test_annotation_that_is_no_field_is_refused_at_the_first_use(Message, annotation, told, text):
    with pytest.raises(SchemaError) as caught:
        one_field(Message, annotation, told)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("list[", "Forward reference must be an expression -- got 'list['"),
        ("dataclasses.Nothing", "module 'dataclasses' has no attribute 'Nothing'"),
    ],
)
def test_annotation_that_cannot_be_evaluated_is_refused(Message, annotation, reason):
    class Point(Message):
        x: annotation = field(1)

    with pytest.raises(SchemaError) as caught:
        describe(Point)
    assert str(caught.value).endswith(f"Point: its annotations make no types: {reason}")


def test_annotation_that_is_no_type_at_all_is_refused(Message):
    with pytest.raises(SchemaError, match=r"^Point\.x: no protobuf field can be \[<class 'int'>\]$"):
        one_field(Message, [int], field(1))


@pytest.mark.parametrize(
    ("annotation", "given", "wanted"),
    [
        (bytes, bytearray(b"a"), b"a"),
        (Double, 1, 1.0),
        (Int32, True, 1),
        (bool, 1, True),
        (Int32, np.int32(5), 5),
        (str, np.str_("a"), "a"),
        (Corpus, 1, Corpus.WEB),
    ],
)
def test_default_has_the_type_of_its_field(Message, annotation, given, wanted):
    default = one_field(Message, annotation, field(1, default=given)).default
    assert default == wanted
    assert type(default) is type(wanted)


@pytest.mark.parametrize("annotation", [Int32 | str, Int32 | str | None])
def test_union_is_no_field(Message, annotation):
    with pytest.raises(SchemaError, match=r"^Point\.x: no protobuf field can be "):
        one_field(Message, annotation, field(1))


@pytest.mark.parametrize("annotation", [list[DoubleArray], dict[str, DoubleArray]])
def test_arrays_are_not_repeated(Message, annotation):
    with pytest.raises(SchemaError, match=r"^Point\.x: a list or dict holds no arrays, got "):
        one_field(Message, annotation, field(1))


def test_sub_message_must_be_optional(Message):
    class Inner(Message):
        pass

    with pytest.raises(
        SchemaError, match=r"^Point\.x: a sub-message must be `T \| None`, None while it is not set$"
    ):
        one_field(Message, Inner, field(1))
    with pytest.raises(SchemaError, match=r"^Point\.x: only scalars have a default, got 5$"):
        one_field(Message, Inner | None, field(1, default=5))


def test_message_of_the_other_twin_is_no_field(Message):
    other = load("penstock.protobuf.message", "py" if Message.__module__.endswith("_c") else "c")

    class Inner(other):
        pass

    with pytest.raises(SchemaError, match=r"^Point\.x: a sub-message must be of the same twin"):
        one_field(Message, Inner | None, field(1))


def test_two_fields_with_one_number_are_refused(Message):
    class Point(Message, package="geo"):
        x: Int32 = field(1)
        y: Int32 = field(1)

    with pytest.raises(SchemaError, match=r"^geo\.Point: x and y have one field number, 1$"):
        Point()


def test_name_that_nothing_has_is_refused_with_the_module(Message):
    class Point(Message):
        x: "Nowhere | None" = field(1)  # noqa: F821

    with pytest.raises(
        SchemaError, match=r"its annotations name 'Nowhere', which test_declaration does not define$"
    ):
        Point()
    with pytest.raises(SchemaError):  # and again: nothing half made is left behind
        Point.from_bytes(b"")


@pytest.mark.parametrize("number", [0, -1, 2**29])
def test_field_numbers_that_protobuf_has_not_are_refused(number):
    with pytest.raises(SchemaError, match=f"^a field number must be 1 to 536870911, got {number}$"):
        field(number)


def test_integers_that_python_would_not_write_out_are_refused_by_their_size():
    with pytest.raises(
        SchemaError, match=r"^a field number must be 1 to 536870911, got an integer of 16610 bits$"
    ):
        field(10**5000)
    with pytest.raises(ValueError, match=r"^max_size must be 0 to 2147483647, got an integer of 16610 bits$"):
        DecodeOptions(max_size=10**5000)


@pytest.mark.parametrize("number", [19_000, 19_999])
def test_field_numbers_that_are_protobufs_own_are_refused(number):
    with pytest.raises(SchemaError, match=f"^field numbers 19000 to 19999 are protobuf's own, got {number}$"):
        field(number)


@pytest.mark.parametrize("number", ["1", 1.0, True, None])
def test_field_numbers_are_integers(number):
    with pytest.raises(SchemaError, match=r"^a field number must be an integer, got "):
        field(number)


def test_required_member_of_a_oneof_is_refused():
    with pytest.raises(
        SchemaError, match=r"^a member of a oneof cannot be required, got required=True, oneof='o'$"
    ):
        field(1, required=True, oneof="o")


def test_what_is_no_message_is_not_described():
    with pytest.raises(PenstockError, match="a message is an instance of a class with fields, got int"):
        describe(5)


# Enums, names, options.


def test_enum_knows_its_name_and_whether_it_is_closed():
    class Level(Enum, package="logs", closed=True, proto_names={"NONE_": "None"}):
        NONE_ = 0
        WARN = 4

    assert (Level.__full_name__, Level.__closed__) == ("logs.Level", True)
    assert Level.__proto_names__ == {"None": 0, "WARN": 4}
    assert not Corpus.__closed__


def test_closed_enum_has_a_member():
    with pytest.raises(SchemaError, match=r"^Nothing: a closed enum has a member, as its fields read as its"):

        class Nothing(Enum, closed=True):
            pass


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("foo_bar", "fooBar"),
        ("_foo", "Foo"),
        ("foo__bar", "fooBar"),
        ("foo_1a", "foo1a"),
        ("FOO", "FOO"),
        ("a_", "a"),
    ],
)
def test_json_names_are_those_of_protoc(name, wanted):
    assert camel_case(name) == wanted


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_size": -1}, ValueError, "max_size must be 0 to 2147483647, got -1"),
        ({"max_depth": 0}, ValueError, "max_depth must be 1 to 1000, got 0"),
        ({"max_depth": 1001}, ValueError, "max_depth must be 1 to 1000, got 1001"),
        ({"max_elements": 1.0}, TypeError, "max_elements must be an integer, got float"),
        ({"max_unknown": True}, TypeError, "max_unknown must be an integer, got bool"),
        ({"max_memory": 2**47}, ValueError, "max_memory must be 0 to 70368744177664, got 140737488355328"),
        ({"unknown": "ignore"}, ValueError, "unknown must be keep, drop or error, got 'ignore'"),
        ({"partial": 1}, TypeError, "partial must be a bool, got int"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error, text):
    with pytest.raises(error) as caught:
        DecodeOptions(**options)
    assert str(caught.value) == text
    assert isinstance(caught.value, PenstockError)
