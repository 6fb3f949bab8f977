"""Descriptor sets become classes, and those that cannot are refused."""

import lzma
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from protoc import descriptor_set

from datasets import require
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import Presence, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, EncodeTypeError, SchemaError
from penstock.protobuf.kinds import Kind
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.schema.descriptor_proto import FileDescriptorSet
from penstock.protobuf.schema.python_names import python_names
from penstock.protobuf.schema.schema import LIMITS, NoSuchType, Schema, build, load_descriptor_set
from penstock.protobuf.well_known import Timestamp
from twins import both_twins

Message = both_twins("penstock.protobuf.message")

SHOP = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";

enum Status { UNKNOWN = 0; PAID = 1; SHIPPED = 2; }

message Order {
  message Item {
    string sku = 1;
    uint32 quantity = 2;
  }
  uint32 order_id = 1;
  repeated Item items = 2;
  map<string, int64> counts = 3;
  map<int32, Item> by_line = 4;
  Status status = 5;
  optional string note = 6;
  oneof payment { string card = 7; Item voucher = 8; }
  repeated sint32 offsets = 9;
  repeated double prices = 10;
  google.protobuf.Timestamp placed = 11;
  Order parent = 12;
  repeated Status history = 13;
}
"""

OLD = """
syntax = "proto2";
package old;

message Ticket {
  enum Kind { PLAIN = 1; GOLD = 2; }
  required int32 number = 1;
  optional Kind kind = 2 [default = GOLD];
  optional int64 low = 3 [default = -9223372036854775808];
  optional double endless = 4 [default = -inf];
  optional double no_number = 5 [default = nan];
  optional float third = 6 [default = 0.3333333333];
  optional bool on = 7 [default = true];
  optional string text = 8 [default = "a\\"b\\\\c\\u00e9"];
  optional bytes raw = 9 [default = "\\000\\001\\377\\n'x"];
  repeated int32 spread = 10;
  repeated int32 tight = 11 [packed = true];
  optional group Part = 12 { optional int32 size = 1; }
  repeated group Piece = 13 { optional int32 size = 1; }
  optional Kind plain_kind = 14;
  extensions 100 to 199;
}

extend Ticket { optional string stamp = 100; repeated int32 marks = 101 [packed = true]; }

message Holder { extend Ticket { optional Holder holder = 102; } }
"""


@pytest.fixture
def schema_of(Message):
    """Makes the schema of some `.proto` texts on one twin; its well-known types are those of the set."""

    def made(*texts, arrays=False):
        data = descriptor_set({f"file{index}.proto": text for index, text in enumerate(texts)})
        return Schema(FileDescriptorSet.from_bytes(data), {}, arrays=arrays, module="", root=Message)

    return made


def fields_of(cls):
    return describe(cls).by_name


def test_a_message_of_a_schema_is_a_class_like_a_declared_one(schema_of):
    schema = schema_of(SHOP)
    order_class = schema["shop.Order"]
    item = schema["shop.Order.Item"](sku="WIDGET", quantity=2)
    order = order_class(order_id=1421, items=[item], counts={"a": 1}, card="1234", status=1)
    again = order_class.from_bytes(order.to_bytes())
    assert again == order
    assert again.items[0].sku == "WIDGET"
    assert again.status is schema["shop.Status"].PAID
    assert again.which_oneof("payment") == "card"
    assert again.note is None
    assert repr(again.items[0]) == "Item(sku='WIDGET', quantity=2)"


def test_what_is_defined_within_a_message_is_an_attribute_of_its_class(schema_of):
    schema = schema_of(SHOP, OLD)
    assert schema["shop.Order"].Item is schema["shop.Order.Item"]
    assert schema["shop.Order.Item"].__qualname__ == "Order.Item"
    assert schema["old.Ticket"].Kind is schema["old.Ticket.Kind"]
    assert schema["old.Ticket"].Part is schema["old.Ticket.Part"]


def test_a_class_is_the_same_one_however_it_is_come_by(schema_of):
    schema = schema_of(SHOP)
    inner = schema["shop.Order.Item"]  # first, so that its outer class is made for its sake
    fields = fields_of(schema["shop.Order"])
    assert fields["items"].message is inner
    assert fields["by_line"].message is inner
    assert fields["parent"].message is schema["shop.Order"]
    assert fields["status"].enum is schema["shop.Status"]


def test_a_message_of_another_schema_is_refused_where_its_name_alone_is_right(schema_of):
    text = 'syntax = "proto3"; message Point { Point next = 1; }'
    ours, theirs = schema_of(text)["Point"], schema_of(text)["Point"]
    with pytest.raises(
        EncodeTypeError, match=r"^Point\.next must be a Point, got another class called Point$"
    ):
        ours(next=theirs()).to_bytes()


def test_a_schema_is_a_mapping_of_full_names(schema_of):
    schema = schema_of(SHOP)
    names = {"shop.Status", "shop.Order", "shop.Order.Item", "google.protobuf.Timestamp"}
    assert set(schema) == names
    assert len(schema) == 4
    assert "shop.Order.CountsEntry" not in schema
    assert set(schema.messages) == names - {"shop.Status"}
    assert dict(schema.enums) == {"shop.Status": schema["shop.Status"]}
    assert [file.name for file in schema.files] == ["google/protobuf/timestamp.proto", "file0.proto"]
    assert repr(schema) == "<Schema of 4 messages and enums in 2 files>"
    assert schema == schema
    assert schema != schema_of(SHOP)


def test_a_name_that_is_not_there_is_told_with_what_is_spelled_alike(schema_of):
    schema = schema_of(SHOP)
    with pytest.raises(
        KeyError, match=r"^the schema has no message or enum 'Item', did you mean shop.Order.Item\?$"
    ):
        schema["Item"]
    with pytest.raises(SchemaError, match=r"'shop.Ordre', did you mean shop.Order or shop.Order.Item\?"):
        schema["shop.Ordre"]
    with pytest.raises(NoSuchType, match=r"no message or enum 'zzz'$"):
        schema.messages["zzz"]
    assert schema.get("zzz") is None


def test_kinds_shapes_and_presence_of_proto3(schema_of):
    fields = fields_of(schema_of(SHOP)["shop.Order"])
    assert fields["order_id"].kind is Kind.UINT32
    assert fields["order_id"].presence is Presence.IMPLICIT
    assert fields["order_id"].default == 0
    assert fields["note"].presence is Presence.EXPLICIT
    assert fields["note"].oneof is None  # the oneof of one that protoc writes for `optional` is none
    assert fields["card"].oneof == "payment"
    assert fields["card"].presence is Presence.EXPLICIT
    assert fields["counts"].shape is Shape.MAP
    assert (fields["counts"].key, fields["counts"].kind) == (Kind.STRING, Kind.INT64)
    assert (fields["by_line"].key, fields["by_line"].kind) == (Kind.INT32, Kind.MESSAGE)
    assert fields["offsets"].packed
    assert fields["history"].packed
    assert fields["order_id"].json_name == "orderId"
    assert fields["note"].utf8


def test_defaults_groups_and_closed_enums_of_proto2(schema_of):
    ticket_class = schema_of(OLD)["old.Ticket"]
    fields = fields_of(ticket_class)
    ticket = ticket_class()
    assert fields["number"].presence is Presence.REQUIRED
    assert ticket.kind is ticket_class.Kind.GOLD
    assert not ticket.is_set("kind")
    assert ticket.low == -(2**63)
    assert ticket.endless == float("-inf")
    assert ticket.no_number != ticket.no_number
    assert ticket.third == 0.3333333432674408  # as it comes back from the wire
    assert ticket.on is True
    assert ticket.text == 'a"b\\cé'
    assert ticket.raw == b"\x00\x01\xff\n'x"
    assert ticket.plain_kind is None
    assert ticket_class.Kind.__closed__
    assert not fields["spread"].packed
    assert fields["tight"].packed
    assert not fields["text"].utf8
    assert fields["part"].kind is Kind.GROUP
    assert fields["piece"].kind is Kind.GROUP
    assert fields["piece"].shape is Shape.REPEATED


def test_extensions_are_unknown_fields_with_a_name(schema_of):
    schema = schema_of(OLD)
    extended, field = schema.extensions["old.stamp"]
    assert (extended, field.number, field.kind) == ("old.Ticket", 100, Kind.STRING)
    assert schema.extensions["old.marks"][1].packed
    assert schema.extensions["old.Holder.holder"][1].message is schema["old.Holder"]
    assert 100 not in describe(schema["old.Ticket"]).by_number


def test_extensions_of_a_message_set_have_numbers_beyond_those_of_fields_and_no_names_in_json(schema_of):
    schema = schema_of("""
        syntax = "proto2";
        message Set { option message_set_wire_format = true; extensions 4 to max; }
        message Item { extend Set { optional Item first = 5; optional Item last = 2147483646; } }
    """)
    assert schema.extensions["Item.last"][1].number == 2**31 - 2
    with pytest.raises(DecodeError, match=r"Item\.first"):  # its bytes would be no MessageSet
        schema["Set"].from_json('{"[Item.first]": {}}')


EDITION = """
edition = "2023";
package now;
option features.field_presence = IMPLICIT;
option features.utf8_validation = NONE;

enum Closed { option features.enum_type = CLOSED; FIRST = 3; }
enum Open { ZERO = 0; }

message Everything {
  int32 implicit = 1;
  int32 explicit = 2 [features.field_presence = EXPLICIT];
  int32 required = 3 [features.field_presence = LEGACY_REQUIRED];
  repeated int32 packed = 4;
  repeated int32 expanded = 5 [features.repeated_field_encoding = EXPANDED];
  string unchecked = 6;
  string checked = 7 [features.utf8_validation = VERIFY];
  Everything sub = 8;
  Everything delimited = 9 [features.message_encoding = DELIMITED];
  repeated Everything all_delimited = 10 [features.message_encoding = DELIMITED];
  map<string, Everything> mapped = 11 [features.utf8_validation = VERIFY];
  Closed closed = 12 [features.field_presence = EXPLICIT];
  Open open = 13;
  oneof choice { string chosen = 14; int32 number = 15; }
}
"""

DELIMITED = """
edition = "2023";
package groups;
option features.message_encoding = DELIMITED;
option features.enum_type = CLOSED;
option features.repeated_field_encoding = EXPANDED;

enum Closed { FIRST = 3; }

message Node {
  Node inherited = 1;
  map<int32, Node> never_in_maps = 2;
  Node told_otherwise = 3 [features.message_encoding = LENGTH_PREFIXED];
  repeated int32 expanded = 4;
  repeated int32 packed = 5 [features.repeated_field_encoding = PACKED];
  Closed closed = 6;
}
"""


def test_features_of_editions_are_inherited_and_overridden(schema_of):
    schema = schema_of(EDITION)
    fields = fields_of(schema["now.Everything"])
    assert fields["implicit"].presence is Presence.IMPLICIT
    assert fields["explicit"].presence is Presence.EXPLICIT
    assert fields["required"].presence is Presence.REQUIRED
    assert fields["packed"].packed
    assert not fields["expanded"].packed
    assert not fields["unchecked"].utf8
    assert fields["checked"].utf8
    assert fields["mapped"].utf8
    assert fields["mapped"].kind is Kind.MESSAGE
    assert fields["sub"].kind is Kind.MESSAGE
    assert fields["delimited"].kind is Kind.GROUP
    assert fields["all_delimited"].kind is Kind.GROUP
    assert fields["chosen"].presence is Presence.EXPLICIT
    assert schema["now.Closed"].__closed__
    assert not schema["now.Open"].__closed__


def test_features_of_a_file_hold_for_what_says_nothing_else(schema_of):
    schema = schema_of(DELIMITED)
    fields = fields_of(schema["groups.Node"])
    assert fields["inherited"].kind is Kind.GROUP
    assert fields["never_in_maps"].kind is Kind.MESSAGE
    assert fields["told_otherwise"].kind is Kind.MESSAGE
    assert not fields["expanded"].packed
    assert fields["packed"].packed
    assert schema["groups.Closed"].__closed__


def test_edition_2024_is_read_as_2023_as_far_as_bytes_go(schema_of):
    schema = schema_of(
        'edition = "2024"; package next; message M { int32 a = 1; repeated int32 b = 2; string c = 3; }'
    )
    fields = fields_of(schema["next.M"])
    assert fields["a"].presence is Presence.EXPLICIT
    assert fields["b"].packed
    assert fields["c"].utf8


def agrees_with_google(files, schema):
    """Every field and enum of a schema against what Google's runtime says; how many were compared."""
    pool = descriptor_pool.DescriptorPool()
    for each in files.file:
        pool.Add(each) if hasattr(pool, "Add") else pool.AddSerializedFile(each.SerializeToString())
    compared = 0
    for full_name, cls in schema.items():
        if issubclass(cls, Enum):
            theirs = pool.FindEnumTypeByName(full_name)
            assert cls.__closed__ == theirs.is_closed, full_name
            assert cls.__proto_names__ == {each.name: each.number for each in theirs.values}, full_name
            continue
        for ours, theirs in zip(
            describe(cls).fields, pool.FindMessageTypeByName(full_name).fields, strict=True
        ):
            compared += 1
            place = theirs.full_name
            entry = theirs.message_type and theirs.message_type.GetOptions().map_entry
            value = theirs.message_type.fields_by_name["value"] if entry else theirs
            assert (ours.proto_name, ours.number, ours.json_name) == (
                theirs.name,
                theirs.number,
                theirs.json_name,
            ), place
            assert ours.kind == value.type, place
            assert (ours.shape is Shape.MAP) == bool(entry), place
            assert (ours.shape is not Shape.SINGULAR) == theirs.is_repeated, place
            assert (ours.presence is not Presence.IMPLICIT) == theirs.has_presence, place
            assert (ours.presence is Presence.REQUIRED) == theirs.is_required, place
            assert ours.packed == theirs.is_packed, place
            real = theirs.containing_oneof and theirs.containing_oneof.fields != [theirs]
            assert (ours.oneof is None) or ours.oneof == theirs.containing_oneof.name, place
            assert not real or ours.oneof is not None, place
            target = (ours.message and describe(ours.message).full_name) or (
                ours.enum and ours.enum.__full_name__
            )
            wanted = value.message_type or value.enum_type
            assert target == (wanted.full_name if wanted else None), place
            if theirs.has_default_value:
                assert (
                    str(ours.default) == str(theirs.default_value) or ours.default == theirs.default_value
                ), place
            else:
                assert not ours.has_declared_default, place
    return compared


def test_texts_are_understood_as_google_understands_them(schema_of):
    for text in (SHOP, OLD, EDITION, DELIMITED):
        data = descriptor_set({"file0.proto": text})
        assert agrees_with_google(descriptor_pb2.FileDescriptorSet.FromString(data), schema_of(text)) > 5


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["googleapis.binpb.xz", "otlp.binpb", "gtfs_realtime.binpb", "google_benchmarks.binpb"]
)
def test_real_schemas_are_understood_as_google_understands_them(Message, name):
    data = read(f"protobuf/descriptor_sets/{name}")
    schema = Schema(FileDescriptorSet.from_bytes(data), {}, arrays=False, module="", root=Message)
    compared = agrees_with_google(descriptor_pb2.FileDescriptorSet.FromString(data), schema)
    assert compared >= 50


@pytest.mark.data
def test_googles_own_test_schemas_are_understood_as_google_understands_them(Message):
    data = read("protobuf/golden/descriptors.binpb")
    schema = Schema(FileDescriptorSet.from_bytes(data), {}, arrays=False, module="", root=Message)
    assert agrees_with_google(descriptor_pb2.FileDescriptorSet.FromString(data), schema) > 1000


def test_well_known_types_are_those_of_penstock_in_every_schema():
    schema = load_descriptor_set(descriptor_set({"shop.proto": SHOP}))
    assert schema["google.protobuf.Timestamp"] is Timestamp
    assert fields_of(schema["shop.Order"])["placed"].message is Timestamp
    without_imports = FileDescriptorSet(file=[schema.files[-1]])
    assert fields_of(build(without_imports)["shop.Order"])["placed"].message is Timestamp


def test_repeated_numbers_are_arrays_where_that_is_asked_for(schema_of):
    everywhere = fields_of(schema_of(SHOP, arrays=True)["shop.Order"])
    assert {name for name, each in everywhere.items() if each.array} == {"offsets", "prices"}
    here = fields_of(schema_of(SHOP, arrays=["shop.Order.history"])["shop.Order"])
    assert {name for name, each in here.items() if each.array} == {"history"}
    order_class = schema_of(SHOP, arrays=True)["shop.Order"]
    order = order_class.from_bytes(order_class(prices=[0.5, 2.0]).to_bytes())
    assert order.prices.tolist() == [0.5, 2.0]
    assert order.prices.dtype == "float64"


@pytest.mark.parametrize(
    ("arrays", "refused"),
    [
        (
            ["shop.Order.sums"],
            "arrays must be full names of fields, such as geo.Track.samples, got 'shop.Order.sums'",
        ),
        (
            ["Order.prices"],
            "arrays must be full names of fields, such as geo.Track.samples, got 'Order.prices'",
        ),
        (
            "shop.Order.prices",
            "arrays must be a bool or a collection of full names, got the str 'shop.Order.prices'",
        ),
    ],
)
def test_arrays_of_no_field_are_refused(schema_of, arrays, refused):
    with pytest.raises(SchemaError) as caught:
        schema_of(SHOP, arrays=arrays)
    assert str(caught.value) == refused


@pytest.mark.parametrize("name", ["items", "note"])
def test_arrays_of_what_are_no_numbers_are_refused(schema_of, name):
    schema = schema_of(SHOP, arrays=[f"shop.Order.{name}"])
    with pytest.raises(
        SchemaError, match=rf"^shop.Order.{name}: an array holds repeated numbers, bools or values"
    ):
        describe(schema["shop.Order"])


NAMES = """
syntax = "proto3";
message class { int32 x = 1; }
message Names {
  int32 class = 1;
  int32 to_bytes = 3;
  int32 _hidden = 4;
  int32 __slots__ = 5;
  int32 _7 = 6;
  message copy { }
  enum None { zero = 0; real = 1; def = 2; __x = 3; value = 4; }
  None none = 7;
}
"""


def test_names_that_python_cannot_have_are_changed_and_known_by_both(schema_of):
    schema = schema_of(NAMES)
    names_class = schema["Names"]
    fields = describe(names_class).fields
    assert [(each.proto_name, each.name) for each in fields] == [
        ("class", "class_"),
        ("to_bytes", "to_bytes_"),
        ("_hidden", "hidden"),
        ("__slots__", "slots__"),
        ("_7", "x_7"),
        ("none", "none"),
    ]
    assert schema["class"].__name__ == "class_"
    assert names_class.copy_ is schema["Names.copy"]
    assert list(names_class.None_.__members__) == ["zero", "real_", "def_", "x", "value_"]
    assert names_class.None_.__proto_names__ == {"zero": 0, "real": 1, "def": 2, "__x": 3, "value": 4}
    assert names_class(class_=1, none=names_class.None_.value_).to_bytes() == b"\x08\x01\x38\x04"


def test_no_two_names_become_one():
    assert python_names(["class", "class_", "_x", "x", "__x"]) == {
        "class": "class_2",
        "class_": "class_",
        "_x": "x_",
        "x": "x",
        "__x": "x_2",
    }


def test_aliases_of_an_enum_are_kept(schema_of):
    enum = schema_of('syntax = "proto3"; enum E { option allow_alias = true; A = 0; B = 0; C = 1; }')["E"]
    assert enum.B is enum.A
    assert enum.__proto_names__ == {"A": 0, "B": 0, "C": 1}


def test_messages_of_a_schema_that_names_its_module_are_pickled(tmp_path, monkeypatch):
    data = descriptor_set({"shop.proto": SHOP})
    (tmp_path / "shop.binpb").write_bytes(data)
    (tmp_path / "shop_messages.py").write_text(
        "from pathlib import Path\n"
        "from penstock.protobuf.schema.schema import load_descriptor_set\n"
        "schema = load_descriptor_set(Path(__file__).with_name('shop.binpb'), module=__name__)\n"
        "Order = schema['shop.Order']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import shop_messages

    order = shop_messages.Order(items=[shop_messages.Order.Item(sku="a")])
    assert pickle.loads(pickle.dumps(order)) == order
    assert pickle.loads(pickle.dumps(order.items[0])) == order.items[0]


def test_threads_that_ask_for_a_class_at_once_get_the_same_one():
    data = descriptor_set({"shop.proto": SHOP})

    def ask(schema, together):
        together.wait()
        return schema["shop.Order.Item"]

    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            schema, together = load_descriptor_set(data), Barrier(4)
            asked = [threads.submit(ask, schema, together) for _ in range(4)]
            assert {each.result() for each in asked} == {schema["shop.Order"].Item}


def test_a_file_a_path_as_text_and_bytes_are_the_same_to_load(tmp_path):
    path = tmp_path / "shop.binpb"
    path.write_bytes(descriptor_set({"shop.proto": SHOP}))
    assert list(load_descriptor_set(path)) == list(load_descriptor_set(str(path)))
    assert list(load_descriptor_set(path)) == list(load_descriptor_set(path.read_bytes()))
    with pytest.raises(FileNotFoundError):
        load_descriptor_set(tmp_path / "absent")


def test_a_file_that_is_too_large_or_no_descriptor_set_is_refused(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(SchemaError, match=r"large must be a FileDescriptorSet: .* at most 67108864 bytes"):
        load_descriptor_set(path)
    with pytest.raises(
        SchemaError, match=r"^the bytes must be a FileDescriptorSet: FileDescriptorSet.file\[1\] at byte 258"
    ):
        load_descriptor_set(descriptor_set({"shop.proto": SHOP})[:-1])


@pytest.mark.data
def test_a_schema_as_large_as_a_file_may_be_stays_within_the_other_limits():
    data = lzma.decompress(require("protobuf/descriptor_sets/googleapis.binpb.xz").read_bytes())
    share = len(data) / LIMITS.max_size
    elements, memory = int(LIMITS.max_elements * share), int(LIMITS.max_memory * share)
    FileDescriptorSet.from_bytes(data, DecodeOptions(max_elements=elements, max_memory=memory))


def test_loading_a_schema_imports_neither_numpy_nor_otlp():
    code = (
        "import sys; from penstock.protobuf.schema import load_descriptor_set; load_descriptor_set(b'');"
        "print([name for name in sys.modules if name == 'numpy' or 'otlp' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def read(path):
    data = require(path).read_bytes()
    return lzma.decompress(data) if path.endswith(".xz") else data
