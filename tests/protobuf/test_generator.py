"""Python modules made of schemas: typed, formatted, with the classes that `load_descriptor_set` gives."""

import importlib
import lzma
import subprocess
import sys
from itertools import count

import pytest
from comparable import comparable
from hypothesis import given
from hypothesis import strategies as st
from protoc import descriptor_set

from datasets import require
from penstock.protobuf.declaration import describe
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    SourceCodeInfo,
)
from penstock.protobuf.schema.generator import generate, module_path
from penstock.protobuf.schema.python_text import docstring, literal
from penstock.protobuf.schema.schema import build
from penstock.protobuf.well_known import Timestamp

ORDER = """
syntax = "proto3";
package shop.v1;
import "shop/v1/money.proto";
import "google/protobuf/timestamp.proto";

// What has become of an order.
enum Status {
  UNKNOWN = 0;  // nobody knows
  PAID = 1;
}

// An order, as the till writes it.
//
// Kept for ten years.
message Order {
  // One line of it.
  message Item { string sku = 1; }
  uint32 order_id = 1;
  // In the order of the receipt.
  repeated Item items = 2;
  map<string, int64> counts = 3;
  Status status = 4;
  optional string note = 5;
  oneof payment { string card = 6; Money cash = 7; }
  repeated double prices = 8;
  google.protobuf.Timestamp placed = 9;
  bool class = 10 [json_name = "kind"];
  repeated Status history = 11;
}
"""

MONEY = 'syntax = "proto3"; package shop.v1; message Money { int64 cents = 1; }'

ORDER_MODULE = '''"""Messages of shop/v1/order.proto.

Made by `penstock proto compile`: change the schema, not this.
"""

from __future__ import annotations

from penstock.protobuf import Double, Enum, Int64, Message, UInt32, field
from penstock.protobuf.well_known import Timestamp
from tills.shop.v1.money_pb import Money

__all__ = ["Order", "Status"]


class Status(Enum, package="shop.v1"):
    """What has become of an order."""

    UNKNOWN = 0
    """nobody knows"""
    PAID = 1


class Order(Message, package="shop.v1"):
    """An order, as the till writes it.

    Kept for ten years.
    """

    class Item(Message, full_name="shop.v1.Order.Item"):
        """One line of it."""

        sku: str = field(1)

    order_id: UInt32 = field(1)
    items: list[Order.Item] = field(2)
    """In the order of the receipt."""
    counts: dict[str, Int64] = field(3)
    status: Status = field(4)
    note: str | None = field(5)
    card: str | None = field(6, oneof="payment")
    cash: Money | None = field(7, oneof="payment")
    prices: list[Double] = field(8)
    placed: Timestamp | None = field(9)
    class_: bool = field(10, name="class", json_name="kind")
    history: list[Status] = field(11)
'''

CROWDED = """
syntax = "proto2";
package crowded;

message Message { optional string str = 1; optional string other = 2; repeated bool list = 3; }
message Enum { optional Message field = 1; repeated Enum Enum = 2; optional Int32 number = 3; }
message Int32 { optional int32 bool = 1; optional float float = 2 [default = inf]; optional bool on = 3; }
message Timestamp {
  optional google.protobuf.Timestamp Status = 1;
  optional Status status = 2;
  map<string, bytes> dict = 3;
}
enum Status { OK = 0; None = 1; }
message Outer {
  message Status { optional crowded.Status status = 1; optional Inner inner = 2; }
  message Inner {
    enum Kind { A = 1; B = 2; }
    optional Outer.Status status = 1;
    optional crowded.Status top = 2;
  }
  optional Inner.Kind kind = 1 [default = B];
  optional Later.Kind later = 2 [default = D];
  optional crowded.Status named_none = 3 [default = None];
  optional group Part = 4 { required string text = 1 [default = "it's \\"quoted\\"\\n"]; }
  optional int32 mro = 5;
  map<string, ANameThatIsSoLongThatTheTwoTypesOfAMapDoNotFitOnOneLine.OfAModuleAsRuffWritesIt> long = 6;
}
message Set { option message_set_wire_format = true; extensions 4 to max; }
message ANameThatIsSoLongThatTheTwoTypesOfAMapDoNotFitOnOneLine { message OfAModuleAsRuffWritesIt {} }
message Later { enum Kind { C = 1; D = 2; } optional Outer.Inner.Kind earlier = 1 [default = B]; }
import "google/protobuf/timestamp.proto";
"""

numbers = count()


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes the modules of a descriptor set as a package, and gives its name and its folder."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(data, **options):
        package = f"generated_{next(numbers)}"
        for path, source in generate(FileDescriptorSet.from_bytes(data), package=package, **options).items():
            file = tmp_path / package / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return package, tmp_path / package

    return write


def classes_of(package, folder):
    """The classes of all modules of a package, inner ones included."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        module = importlib.import_module(".".join((package, *path.relative_to(folder).with_suffix("").parts)))
        waiting = [getattr(module, name) for name in module.__all__]
        while waiting:
            cls = waiting.pop()
            found.append(cls)
            inside = [] if issubclass(cls, Enum) else vars(cls).values()
            waiting += [
                each for each in inside if isinstance(each, type) and each.__module__ == module.__name__
            ]
    return found


def are_those_of_the_schema(data, package, folder, **options):
    """Whether the generated classes are like those that are loaded; how many there are."""
    schema = build(FileDescriptorSet.from_bytes(data), **options)
    classes = classes_of(package, folder)
    for cls in classes:
        full_name = cls.__full_name__ if issubclass(cls, Enum) else describe(cls).full_name
        assert comparable(cls) == comparable(schema[full_name])
        assert cls.__qualname__ == schema[full_name].__qualname__
    return len(classes)


def test_a_module_reads_as_if_written_by_hand():
    data = descriptor_set({"shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY}, comments=True)
    made = generate(FileDescriptorSet.from_bytes(data), package="tills")
    assert set(made) == {"shop/v1/order_pb.py", "shop/v1/money_pb.py"}
    assert made["shop/v1/order_pb.py"] == ORDER_MODULE


def test_generated_classes_are_those_of_the_schema(written):
    data = descriptor_set({"shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY})
    package, folder = written(data)
    assert are_those_of_the_schema(data, package, folder) == 4
    order_class = importlib.import_module(f"{package}.shop.v1.order_pb").Order
    order = order_class(order_id=7, items=[order_class.Item(sku="a")], placed=Timestamp(seconds=1))
    assert order_class.from_bytes(order.to_bytes()) == order


def test_names_that_hide_each_other_are_told_apart(written):
    data = descriptor_set({"crowded.proto": CROWDED})
    package, folder = written(data)
    assert are_those_of_the_schema(data, package, folder) == 15
    module = importlib.import_module(f"{package}.crowded_pb")
    assert module.Outer().kind is module.Outer.Inner.Kind.B
    assert module.Outer().later is module.Later.Kind.D  # named before it is defined, so by its number
    assert describe(module.Set).message_set
    assert module.Outer.Part(text=None).text == 'it\'s "quoted"\n'


def test_well_known_types_are_imported_and_not_made_again():
    text = """
        syntax = "proto3";
        import "google/protobuf/struct.proto";
        message Any { google.protobuf.Struct struct = 1; google.protobuf.Field field = 2; }
        import "google/protobuf/type.proto";
        message Field { google.protobuf.Any any = 1; }
        import "google/protobuf/any.proto";
    """
    [(path, source)] = generate(FileDescriptorSet.from_bytes(descriptor_set({"a.proto": text}))).items()
    assert path == "a_pb.py"
    assert "struct: Struct | None = field_(1)" in source
    assert (
        "from penstock.protobuf.well_known import Any as Any_\n"
        "from penstock.protobuf.well_known import Field as Field_\n"
        "from penstock.protobuf.well_known import Struct\n"
    ) in source


def test_repeated_numbers_are_arrays_where_that_is_asked_for(written):
    data = descriptor_set({"shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY})
    package, folder = written(data, arrays=["shop.v1.Order.history"])
    assert "history: EnumArray = field(11)" in (folder / "shop/v1/order_pb.py").read_text()
    assert are_those_of_the_schema(data, package, folder, arrays=["shop.v1.Order.history"]) == 4
    package, folder = written(data, arrays=True)
    assert "prices: DoubleArray = field(8)" in (folder / "shop/v1/order_pb.py").read_text()
    assert are_those_of_the_schema(data, package, folder, arrays=True) == 4


def test_only_what_is_wanted_is_made():
    files = FileDescriptorSet.from_bytes(
        descriptor_set({"shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY})
    )
    assert set(generate(files, ["shop/v1/money.proto"])) == {"shop/v1/money_pb.py"}
    assert set(generate(files, ["google/protobuf/timestamp.proto"])) == {"google/protobuf/timestamp_pb.py"}
    with pytest.raises(
        SchemaError, match=r"^wanted must be names of files in the descriptor set, got 'a.proto'$"
    ):
        generate(files, ["a.proto"])


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("a.proto", "a_pb.py"),
        ("a/b-c.d.proto", "a/b_c_d_pb.py"),
        ("import/2d/x.proto", "_import/_2d/x_pb.py"),
        ("noext", "noext_pb.py"),
    ],
)
def test_the_path_of_a_module_is_one_that_python_can_import(file, path):
    assert module_path(file) == path


@pytest.mark.parametrize("file", ["../a.proto", "/etc/a.proto", "a//b.proto", "a/./b.proto", "..", ".proto"])
def test_files_that_would_leave_the_folder_are_refused(file):
    with pytest.raises(
        SchemaError, match=r"^the name of a file must be a relative path without . and .., got"
    ):
        module_path(file)


def test_two_files_may_share_a_module_but_not_a_name():
    files = FileDescriptorSet.from_bytes(
        descriptor_set({"shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY})
    )
    [(path, source)] = generate(files, path_of=lambda _: "all.py").items()
    assert path == "all.py"
    assert "cash: Money | None" in source
    same = [
        FileDescriptorProto(name=f"{name}.proto", package=name, message_type=[DescriptorProto(name="M")])
        for name in ("a", "b")
    ]
    with pytest.raises(
        SchemaError, match=r"^a.proto, b.proto define two classes of one name for the same module$"
    ):
        generate(FileDescriptorSet(file=same), path_of=lambda _: "all.py")


@given(st.text())
def test_no_comment_breaks_out_of_its_docstring(comment):
    location = SourceCodeInfo.Location(path=[4, 0], leading_comments=comment)
    file = FileDescriptorProto(
        name="a.proto",
        message_type=[DescriptorProto(name="M")],
        source_code_info=SourceCodeInfo(location=[location]),
    )
    namespace = {"__name__": __name__}
    exec(generate(FileDescriptorSet(file=[file]))["a_pb.py"], namespace)
    words = comment.split()
    if comment.strip():
        assert namespace["M"].__doc__.split() == words or any(not each.isprintable() for each in words)


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_literals_are_read_back_as_what_they_were(value):
    assert eval(literal(value)) == value


def test_a_docstring_may_begin_and_end_with_a_quote():
    assert eval(docstring('"a"', "").strip()) == ' "a" '


def check_with(tool, *arguments, folder):
    done = subprocess.run(
        [sys.executable, "-m", tool, *arguments], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_would_format_nothing_otherwise_and_mypy_accepts_every_type(written):
    data = descriptor_set(
        {"crowded.proto": CROWDED, "shop/v1/order.proto": ORDER, "shop/v1/money.proto": MONEY}, comments=True
    )
    package, folder = written(data)
    check_with("ruff", "format", "--isolated", "--check", ".", folder=folder)
    check_with("ruff", "check", "--isolated", "--select", "E9,F,I", ".", folder=folder)
    check_with(
        "mypy", "--strict", "--explicit-package-bases", "--cache-dir=.cache", package, folder=folder.parent
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "classes"),
    [
        ("golden/descriptors.binpb", 199),
        ("descriptor_sets/googleapis.binpb.xz", 2728),
        ("descriptor_sets/gtfs_realtime.binpb", 40),
        ("descriptor_sets/osm.binpb", 15),
    ],
)
def test_modules_of_real_schemas_are_formatted_and_like_the_schema(written, path, classes):
    data = require(f"protobuf/{path}").read_bytes()
    data = lzma.decompress(data) if path.endswith(".xz") else data
    package, folder = written(data)
    check_with("ruff", "format", "--isolated", "--check", ".", folder=folder)
    assert are_those_of_the_schema(data, package, folder) == classes
