"""`compile_proto`: from a file, or a text, to classes that work; and how imports are found."""

from pathlib import Path

import grpc_tools
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from penstock.errors import InvalidType
from penstock.protobuf.compiler.files import compile_files, compile_proto, compile_text
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import Presence, Shape
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.kinds import Kind
from penstock.protobuf.well_known import Timestamp

ORDER = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Order {
    uint32 order_id = 1;
    repeated Item items = 2;
    map<string, int64> counts = 3;
    optional string note = 4;
    oneof payment { string card = 5; bool cash = 6; }
    Status status = 7;
    google.protobuf.Timestamp placed = 8;
    repeated double prices = 9;
    message Item { string sku = 1; }
    enum Status { UNKNOWN = 0; PAID = 1; }
}
"""


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.proto"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_text_gives_classes_that_carry_its_messages():
    schema = compile_proto(ORDER)
    order_class = schema["shop.Order"]
    order = order_class(
        order_id=7,
        items=[schema["shop.Order.Item"](sku="a")],
        counts={"x": -1},
        card="1234",
        status=1,
        placed=Timestamp(seconds=5),
        prices=[0.5],
    )
    again = order_class.from_bytes(order.to_bytes())
    assert again == order
    assert again.status is schema["shop.Order.Status"].PAID
    assert again.which_oneof("payment") == "card"
    assert not again.is_set("note")


def test_a_text_says_of_its_fields_what_a_declared_class_says():
    fields = describe(compile_proto(ORDER)["shop.Order"]).by_name
    assert (fields["order_id"].kind, fields["order_id"].json_name) == (Kind.UINT32, "orderId")
    assert (fields["counts"].shape, fields["counts"].key, fields["counts"].kind) == (
        Shape.MAP,
        Kind.STRING,
        Kind.INT64,
    )
    assert (fields["note"].presence, fields["note"].oneof) == (Presence.EXPLICIT, None)
    assert fields["prices"].packed


def test_repeated_numbers_are_arrays_where_they_are_wanted():
    order_class = compile_proto(ORDER, arrays=True)["shop.Order"]
    prices = order_class.from_bytes(order_class(prices=np.array([1.0, 2.0])).to_bytes()).prices
    assert isinstance(prices, np.ndarray)
    assert prices.tolist() == [1.0, 2.0]


def test_a_proto2_text_has_groups_defaults_required_fields_and_closed_enums():
    schema = compile_proto(
        """
        syntax = "proto2";
        enum Color { RED = 1; BLUE = 2; }
        message A {
            required int32 id = 1;
            optional string name = 2 [default = "n\\n"];
            optional bytes raw = 3 [default = "\\377"];
            optional double ratio = 4 [default = -inf];
            optional Color color = 5 [default = BLUE];
            optional group Part = 6 { optional int32 n = 7; }
            repeated int32 numbers = 8 [packed = true];
        }
        """
    )
    message = schema["A"]
    fields = describe(message).by_name
    empty = message()
    assert (empty.name, empty.raw, empty.ratio, empty.color) == ("n\n", b"\xff", float("-inf"), 2)
    assert fields["id"].presence is Presence.REQUIRED
    assert (fields["part"].kind, fields["part"].message) == (Kind.GROUP, schema["A.Part"])
    assert fields["numbers"].packed
    assert message(id=1, part=schema["A.Part"](n=3)).to_bytes() == b"\x08\x01\x33\x38\x03\x34"


def test_features_of_an_edition_change_the_wire():
    schema = compile_proto(
        """
        edition = "2023";
        option features.repeated_field_encoding = EXPANDED;
        enum E { option features.enum_type = CLOSED; ONE = 1; }
        message A {
            repeated int32 expanded = 1;
            repeated int32 packed = 2 [features.repeated_field_encoding = PACKED];
            A delimited = 3 [features.message_encoding = DELIMITED];
            int32 implicit = 4 [features.field_presence = IMPLICIT];
            string raw = 5 [features.utf8_validation = NONE];
        }
        """
    )
    fields = describe(schema["A"]).by_name
    assert (fields["expanded"].packed, fields["packed"].packed) == (False, True)
    assert fields["delimited"].kind is Kind.GROUP
    assert fields["implicit"].presence is Presence.IMPLICIT
    assert not fields["raw"].utf8
    assert schema["E"].__closed__


def test_custom_options_are_kept_in_the_bytes_that_protoc_writes():
    text = (
        'syntax = "proto3"; import "google/protobuf/descriptor.proto"; '
        "extend google.protobuf.FieldOptions { uint32 limit = 50000; } "
        "message A { int32 a = 1 [(limit) = 300, deprecated = true]; }"
    )
    options = compile_text(text).file[-1].message_type[0].field[0].options
    assert options.deprecated
    assert options.unknown_fields == b"\x80\xb5\x18\xac\x02"


def test_a_path_is_read_and_its_imports_are_found_beside_it(tmp_path):
    write(tmp_path, main='import "other.proto"; message A { optional B b = 1; }', other="message B {}")
    schema = compile_proto(tmp_path / "main.proto")
    assert sorted(schema) == ["A", "B"]
    assert sorted(compile_proto(str(tmp_path / "main.proto"))) == ["A", "B"]


def test_files_are_known_by_their_path_below_the_include_folder(tmp_path):
    write(
        tmp_path,
        x__y__main='import "x/other.proto"; message A { optional B b = 1; }',
        x__other="message B {}",
    )
    files = compile_files([tmp_path / "x/y/main.proto"], [tmp_path]).file
    assert [file.name for file in files] == ["x/other.proto", "x/y/main.proto"]


def test_the_first_include_folder_that_has_an_import_wins(tmp_path):
    write(tmp_path, one__a="message One {}", two__a="message Two {}")
    files = compile_text('import "a.proto";', include=[tmp_path / "two", tmp_path / "one"]).file
    assert files[0].message_type[0].name == "Two"


def test_an_include_folder_comes_before_what_is_bundled(tmp_path):
    write(tmp_path, google__protobuf__empty="package google.protobuf; message Empty {} message Mine {}")
    files = compile_text('import "google/protobuf/empty.proto";', include=[tmp_path]).file
    assert [each.name for each in files[0].message_type] == ["Empty", "Mine"]


def test_each_file_comes_once_and_after_its_imports(tmp_path):
    write(tmp_path, a="", b='import "a.proto";', c='import "a.proto"; import "b.proto";')
    files = compile_files([tmp_path / "c.proto", tmp_path / "b.proto"], [tmp_path]).file
    assert [file.name for file in files] == ["a.proto", "b.proto", "c.proto"]


def test_a_long_chain_of_imports_is_followed(tmp_path):
    write(tmp_path, **{f"f{at}": f'import "f{at + 1}.proto";' for at in range(1500)}, f1500="message Last {}")
    assert len(compile_files([tmp_path / "f0.proto"]).file) == 1501


def test_names_are_seen_through_public_imports_only(tmp_path):
    write(tmp_path, a="message A {}", public='import public "a.proto";', private='import "a.proto";')
    using = "message M {{ optional A a = 1; }}"
    compile_text(f'import "public.proto"; {using.format()}', include=[tmp_path])
    with pytest.raises(SchemaError, match=r"^input\.proto:1:\d+: A is not imported, a\.proto declares it$"):
        compile_text(f'import "private.proto"; {using.format()}', include=[tmp_path])


def test_a_circle_of_imports_is_refused(tmp_path):
    write(tmp_path, a='import "b.proto";', b='import "c.proto";', c='import "b.proto";')
    circle = r"^c\.proto:1:8: files must not import each other: b\.proto -> c\.proto -> b\.proto$"
    with pytest.raises(SchemaError, match=circle):
        compile_proto(tmp_path / "a.proto")


def test_a_missing_import_says_where_was_looked(tmp_path):
    with pytest.raises(SchemaError) as refused:
        compile_text('\nimport "nope.proto";', include=[tmp_path, tmp_path / "more"])
    assert str(refused.value) == (
        f"input.proto:2:8: nope.proto is not found; looked in {tmp_path}, {tmp_path / 'more'}"
    )


@pytest.mark.parametrize(
    "name",
    [
        "../secret.proto",
        "/etc/passwd",
        "a/../../secret.proto",
        "./a.proto",
        "a//b.proto",
        "a\\\\b.proto",
        "c:x",
        "a\\0b",
    ],
)
def test_an_import_never_leaves_the_include_folders(tmp_path, name):
    write(tmp_path, secret="message Secret {}", inner__a="")
    with pytest.raises(SchemaError, match="an import must be a path within the include folders"):
        compile_text(f'import "{name}";', include=[tmp_path / "inner"])


def test_an_import_that_is_no_file_is_not_found(tmp_path):
    (tmp_path / "folder.proto").mkdir()
    with pytest.raises(SchemaError, match="not found"):
        compile_text('import "folder.proto";', include=[tmp_path])
    with pytest.raises(SchemaError, match=r"(not found|cannot be read)"):
        compile_text(f'import "{"a" * 5000}";', include=[tmp_path])


def test_an_error_in_an_import_names_the_import(tmp_path):
    write(tmp_path, broken="message A {")
    with pytest.raises(SchemaError, match=r"^broken\.proto:1:12: "):
        compile_text('import "broken.proto";', include=[tmp_path])


def test_a_file_of_windows_is_read_and_utf_16_is_named(tmp_path):
    (tmp_path / "a.proto").write_bytes(b"\xef\xbb\xbfmessage A {\r\n}\r\n")
    assert list(compile_proto(tmp_path / "a.proto")) == ["A"]
    (tmp_path / "b.proto").write_text("message B {}", "utf-16")
    with pytest.raises(SchemaError, match=r"^b\.proto:1:1: a file must be UTF-8, got UTF-16$"):
        compile_proto(tmp_path / "b.proto")


def test_a_file_that_does_not_exist_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        compile_proto(tmp_path / "nope.proto")


def test_one_path_in_place_of_a_sequence_of_them_is_refused(tmp_path):
    write(tmp_path, a="message A {}")
    with pytest.raises(InvalidType, match=r"^include must be a sequence of paths, got the str '.*'$"):
        compile_proto('import "a.proto";', include=str(tmp_path))
    with pytest.raises(InvalidType, match=r"^paths must be a sequence of paths, got the str '.*a\.proto'$"):
        compile_files(str(tmp_path / "a.proto"))


def test_what_is_bundled_is_what_comes_with_protoc(tmp_path):
    root = Path(grpc_tools.__file__).parent / "_proto"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("google/protobuf/*.proto"))
    text = "".join(f'import "{name}"; ' for name in names)
    ours = {file.name: file for file in compile_text(text).file}
    out = tmp_path / "set.binpb"
    flags = ["--include_imports", "--retain_options", f"--descriptor_set_out={out}"]
    assert protoc.main(["protoc", f"-I{root}", *flags, *names]) == 0
    theirs = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in theirs.file:
        known = {each.name for each in ours[file.name].message_type}  # a newer protoc may know more
        assert known <= {each.name for each in file.message_type}
        assert ours[file.name].package == file.package
