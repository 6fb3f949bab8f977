"""`penstock proto`: bytes printed, schemas listed, modules written."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from penstock.cli import main
from terminal import drawn_lines, on_terminal

ORDER = bytes.fromhex("088d3d12105749444745542d412d5052454d49554d180520b717")
SHOP = """
syntax = "proto3";
package shop;
import "money.proto";

enum Status { UNKNOWN = 0; OPEN = 1; PAID = 2; LOST = 3; SENT = 4; }

// What somebody bought.
message Order {
  uint32 order_id = 1;
  string item_sku = 2;
  uint32 quantity = 3;
  uint32 price_cents = 4;
}

message Basket {
  Status status = 1;
  repeated Order orders = 2;
  map<string, int32> counts = 3;
  optional double discount = 4;
  Money total = 5;
  oneof who {
    string user = 6;
    bytes token = 7;
  }
  repeated sint32 deltas = 8;
  repeated bool flags = 9 [packed = false];
  int32 class = 10;
}
"""
MONEY = 'syntax = "proto3"; package shop; message Money { int64 units = 1; string currency = 2; }'
OLD = """
syntax = "proto2";
package old;
message Ticket {
  required int32 number = 1;
  optional string note = 2 [default = "none"];
  optional group Seat = 3 { optional int32 row = 4; }
}
"""


@pytest.fixture
def shop(tmp_path):
    """A schema in two files."""
    (tmp_path / "money.proto").write_text(MONEY)
    path = tmp_path / "shop.proto"
    path.write_text(SHOP)
    return path


@pytest.fixture
def file(tmp_path):
    """Writes bytes to a file; returns its path."""

    def write(data, name="message.bin"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def proto(*arguments, stdin=None):
    """Exit code, stdout and stderr of a run."""
    result = CliRunner().invoke(main, ["proto", *map(str, arguments)], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def length(data):
    """The varint in front of a message."""
    assert len(data) < 128
    return bytes([len(data)])


# ---- decode, without a schema


def test_fields_are_printed_by_number_with_what_they_seem_to_be(file):
    assert proto("decode", file(ORDER)) == (
        0,
        '1: varint 7821\n2: text "WIDGET-A-PREMIUM"\n3: varint 5\n4: varint 2999\n',
        "",
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--hex", b"08ac 02\n12 03 616263\n"),
        ("--hex", b"0x08, 0xac, 0x02, 0x12, 0x03, 0x61, 0x62, 0x63"),
        ("--hex", b"08:AC:02:12:03:61:62:63"),
        ("--hex", rb"\x08\xac\x02\x12\x03\x61\x62\x63"),
        ("--base64", b"CKwCEgNh\nYmM=\n"),
        ("--base64", b"CKwCEgNhYmM"),
    ],
)
def test_coded_bytes_come_from_standard_input(option, text):
    assert proto("decode", option, stdin=text)[:2] == (0, '1: varint 300\n2: text "abc"\n')


def test_url_safe_base64_is_read_too():
    assert proto("decode", "--base64", stdin=b"CgL_-w")[1] == "1: bytes fffb\n"


def test_sub_messages_are_indented_and_integers_say_what_else_they_could_be():
    text = "0a 0b 08 feffffffffffffffff 01  15 ffffffff  19 000000000000e03f  23 08 01 24  2a 00"
    assert proto("decode", "--hex", stdin=text.encode())[1].splitlines() == [
        "1: message 11 bytes",
        "  1: varint 18446744073709551614 or -2",
        "2: fixed32 4294967295 or -1",
        "3: fixed64 4602678819172646912 or 0.5",
        "4: group",
        "  1: varint 1",
        "5: empty",
    ]


def test_packed_numbers_are_shown_as_such():
    text = "0a06 038e029ea705 1210 000000000000e03f 0000000000001040"
    assert proto("decode", "--hex", stdin=text.encode())[1].splitlines() == [
        "1: bytes 038e029ea705 or varints [3, 270, 86942]",
        "2: doubles [0.5, 4.0] 16 bytes",
    ]


def test_text_of_strangers_cannot_move_the_cursor(file):
    sent = 'a\N{RIGHT-TO-LEFT OVERRIDE}\x85b"'.encode()
    _, out, _ = proto("decode", file(b"\x0a" + length(sent) + sent))
    assert out == '1: text "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\\""\n'


def test_what_could_be_read_before_a_fault_is_printed(file):
    code, out, err = proto("decode", file(ORDER[:-1]))
    assert (code, len(out.splitlines())) == (1, 3)
    assert err == "Error: byte 23: the value is truncated\n"


def test_no_more_lines_than_asked_for_are_printed(file):
    path = file(b"\x08\x01" * 50)
    code, out, err = proto("decode", path, "--lines", 7)
    assert (code, out, err) == (0, "1: varint 1\n" * 7, "Stopped after 7 lines; --lines N prints more.\n")
    assert proto("decode", path, "--lines", 50) == (0, "1: varint 1\n" * 50, "")


def test_long_values_are_cut(file):
    text, raw = b"x" * 5_000, bytes([0xFF]) * 5_000
    data = b"".join(b"\x0a\x88\x27" + each for each in (text, raw))
    _, out, _ = proto("decode", file(data))
    first, second = out.splitlines()
    assert first.endswith('x"… 5,000 characters')
    assert second.endswith("ff… 5,000 bytes")
    assert len(out) < 2_000


def test_empty_input_prints_nothing(file):
    assert proto("decode", file(b"")) == (0, "", "")


def test_thousands_of_levels_of_nesting_stay_bounded():
    data = b""
    while len(data) < 30_000:
        size = len(data)
        prefix = b"\x0a" + bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
        data = prefix + data
    code, out, _ = proto("decode", "-", stdin=data)
    assert code == 0
    assert len(out.splitlines()) <= 100


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["--hex"], b"08ag", "standard input: is not hex: got 'g' among the digits."),
        (["--hex"], b"08\xff", "standard input: is not hex: got '\\xff' among the digits."),
        (["--hex"], b"089", "is not hex: got 3 digits, of which the last one is half a byte."),
        (["--hex"], b"00000000: 08ac 02   ...", "is not hex: it has offsets; if xxd made it, `xxd -r` makes"),
        (["--hex"], b"00000000  08 ac 02  |...|", "is not hex: it has offsets; if xxd made it"),
        (["--base64"], b"!!!", "standard input: is not base64: "),
        (["--json"], b"", "--json, --type and -I need names: add --schema FILE."),
        (["--type", "X"], b"", "--json, --type and -I need names: add --schema FILE."),
        (["no/such/file"], b"", "File 'no/such/file' does not exist."),
    ],
)
def test_wrong_command_is_exit_2(arguments, stdin, said):
    code, out, err = proto("decode", *arguments, stdin=stdin)
    assert (code, out) == (2, "")
    assert said in err


# ---- decode, with a schema


def basket():
    order, total = ORDER, bytes.fromhex("0807 1203 455552".replace(" ", ""))
    data = b"\x08\x01" + b"\x12" + length(order) + order + bytes.fromhex("1a05 0a0161 1003".replace(" ", ""))
    data += bytes.fromhex("21000000000000e03f") + b"\x2a" + length(total) + total
    return data + bytes.fromhex("3a02fffe 42020102 4801 4800 5009 a20602 6869".replace(" ", ""))


def test_fields_are_printed_by_name(shop, file):
    code, out, err = proto("decode", file(basket()), "--schema", shop, "--type", "shop.Basket")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "status: OPEN (1)",
        "orders[0]:",
        "  order_id: 7821",
        '  item_sku: "WIDGET-A-PREMIUM"',
        "  quantity: 5",
        "  price_cents: 2999",
        'counts["a"]: 3',
        "discount: 0.5",
        "total:",
        "  units: 7",
        '  currency: "EUR"',
        "token: fffe",
        "deltas: [-1, 1]",
        "flags: [true, false]",
        "class: 9",
        "unknown fields:",
        '  100: text "hi"',
    ]


def test_the_package_may_be_left_out_of_the_type(shop, file):
    assert proto("decode", file(ORDER), "--schema", shop, "--type", "Order")[1].startswith("order_id: 7821\n")


def test_the_only_message_need_not_be_named(tmp_path, file):
    path = tmp_path / "one.proto"
    path.write_text('syntax = "proto3"; import "google/protobuf/any.proto"; message One { int32 a = 1; }')
    assert proto("decode", file(b"\x08\x07"), "--schema", path) == (0, "a: 7\n", "")


def test_well_known_message_can_be_named(tmp_path, file):
    path = tmp_path / "one.proto"
    path.write_text('syntax = "proto3"; import "google/protobuf/any.proto"; message One { int32 a = 1; }')
    arguments = ("--schema", path, "--type", "google.protobuf.Any")
    assert proto("decode", file(b"\x0a\x01x"), *arguments) == (0, 'type_url: "x"\n', "")


def test_message_without_its_required_field_is_printed(tmp_path, file):
    path = tmp_path / "old.proto"
    path.write_text(OLD)
    _, out, err = proto("decode", file(b"\x1b\x20\x05\x1c"), "--schema", path, "--type", "Ticket")
    assert (out.splitlines(), err) == (["seat:", "  row: 5"], "")


def test_json_is_protojson(shop, file):
    code, out, _ = proto("decode", file(ORDER), "--schema", shop, "--type", "Order", "--json")
    assert code == 0
    assert json.loads(out) == {
        "orderId": 7821,
        "itemSku": "WIDGET-A-PREMIUM",
        "quantity": 5,
        "priceCents": 2999,
    }


def test_bytes_that_are_no_such_message_are_exit_1(shop, file):
    code, out, err = proto("decode", file(b"\x08\x01\x12\x05ab"), "--schema", shop, "--type", "Order")
    assert (code, out) == (1, "")
    assert "Order.item_sku at byte 2: a length of 5 runs past the end, 2 bytes are left" in err
    assert "Without --schema, what was read before that is printed." in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "declares 3 messages, choose one by --type: shop.Money, shop.Order, shop.Basket."),
        (["--type", "Ordr"], "declares no message 'Ordr'; it has shop.Order."),
        (["--type", "shop.Status"], "declares no message 'shop.Status'"),
    ],
)
def test_message_that_is_not_named_well_is_exit_2_and_says_what_there_is(shop, file, arguments, said):
    code, out, err = proto("decode", file(ORDER), "--schema", shop, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_mistake_in_a_schema_is_exit_2_and_tells_its_place(tmp_path, file):
    path = tmp_path / "bad.proto"
    path.write_text('syntax = "proto3";\nmessage X {\n  nothing a = 1;\n}\n')
    code, out, err = proto("decode", file(ORDER), "--schema", path)
    assert (code, out) == (2, "")
    assert "bad.proto:3:3: " in err


def test_descriptor_set_is_a_schema_too(tmp_path, file):
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet()
    made = files.file.add(name="a.proto", package="a", syntax="proto3").message_type.add(name="A")
    made.field.add(name="n", number=1, type="TYPE_INT32", label="LABEL_OPTIONAL")
    path = file(files.SerializeToString(), "a.binpb")
    assert proto("decode", file(b"\x08\x07"), "--schema", path) == (0, "n: 7\n", "")


def test_file_that_is_no_schema_is_exit_2_and_says_as_what_it_was_read(file):
    code, _, err = proto("decode", file(ORDER), "--schema", file(b"\x0f", "notes.txt"))
    assert code == 2
    assert "notes.txt is read as a descriptor set: its name has no .proto." in err


# ---- decode, many messages


def test_delimited_messages_are_printed_one_after_the_other(file):
    data = length(ORDER) + ORDER + b"\x00" + b"\x02\x08\x01"
    code, out, _ = proto("decode", file(data), "--delimited")
    assert code == 0
    assert out.splitlines()[::5] == ["[0] 26 bytes at byte 1", "[1] 0 bytes at byte 28"]
    assert out.splitlines()[-2:] == ["[2] 2 bytes at byte 29", "1: varint 1"]


def test_delimited_messages_as_json_are_one_a_line(shop, file):
    arguments = ("--delimited", "--schema", shop, "--type", "Order", "--json")
    _, out, _ = proto("decode", file(b"\x02\x08\x01\x02\x08\x02"), *arguments)
    assert [json.loads(line) for line in out.splitlines()] == [{"orderId": 1}, {"orderId": 2}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x02\x08\x01\x05\x08\x01", "byte 4: a message of 5 bytes ends after 2"),
        (b"\x02\x08\x01\x80", "byte 3: as a length, "),
        (b"\x02\x08\x01" + b"\xff" * 11, "byte 3: as a length, "),
        (b"\xff\xff\xff\xff\x0f", "byte 5: a message must be at most 67108864 bytes, got 4294967295"),
        (b"\x02\x08\x01\x02\x0f\x01", "byte 4: wire type 7 does not exist"),
    ],
)
def test_fault_in_delimited_messages_tells_its_place_in_the_file(file, data, said):
    code, out, err = proto("decode", file(data), "--delimited")
    assert code == 1
    assert said in err
    assert "1: varint 1" in out or data.startswith(b"\xff")


def test_advice_after_a_fault_fits_it(tmp_path, file):
    path = tmp_path / "log.proto"
    path.write_text(
        'syntax = "proto3"; import "google/protobuf/timestamp.proto";'
        "message Log { google.protobuf.Timestamp at = 1; }"
    )
    far = b"\x0a\x0a\x08" + b"\xff" * 8 + b"\x7f"
    schema = ("--schema", path, "--type", "Log")
    code, _, err = proto("decode", file(far), *schema, "--json")
    assert (code, err.splitlines()[1:]) == (1, ["Without --json, it is printed as it is."])
    assert proto("decode", file(far), *schema)[0] == 0
    code, _, err = proto("decode", file(b"\x05\x0a"), *schema, "--delimited")
    assert (code, err) == (1, "Error: byte 1: a message of 5 bytes ends after 1\n")


# ---- list


def test_messages_and_enums_are_listed(shop):
    code, out, _ = proto("list", shop)
    assert code == 0
    rows = [line.split(maxsplit=1) for line in out.splitlines() if "shop." in line]
    assert [(name, rest.strip()) for name, rest in rows] == [
        ("shop.Money", "2"),
        ("shop.Order", "4"),
        ("shop.Basket", "10"),
        ("shop.Status", "UNKNOWN = 0, OPEN = 1, PAID = 2, LOST = 3, …"),
    ]


def test_fields_of_a_message_are_listed(shop):
    _, out, _ = proto("list", shop, "Basket")
    rows = [" ".join(line.split()) for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == [
        "1 status shop.Status",
        "2 orders repeated shop.Order",
        "3 counts map<string, int32>",
        "4 discount double optional",
        "5 total shop.Money",
        "6 user string oneof who",
        "7 token bytes oneof who",
        "8 deltas repeated sint32",
        "9 flags repeated bool not packed",
        "10 class int32 in Python class_",
    ]


def test_fields_of_proto2_are_listed_with_what_they_have_besides(tmp_path):
    path = tmp_path / "old.proto"
    path.write_text(OLD)
    _, out, _ = proto("list", path, "old.Ticket")
    rows = [" ".join(line.split()) for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert rows == [
        "1 number int32 required",
        "2 note string optional, default 'none'",
        "3 seat old.Ticket.Seat group",
    ]


def test_numbers_of_an_enum_are_listed(shop):
    code, out, _ = proto("list", shop, "Status")
    assert code == 0
    assert "shop.Status, open" in out
    assert [line.split() for line in out.splitlines() if "SENT" in line] == [["4", "SENT"]]


def test_import_that_is_not_found_is_told_with_the_option_that_helps(tmp_path):
    (tmp_path / "a.proto").write_text('syntax = "proto3"; import "api/b.proto";')
    code, _, err = proto("list", tmp_path / "a.proto")
    assert code == 2
    assert err.endswith("-I DIR names the folder that imports start from.\n")


def test_list_names_what_there_is_when_asked_for_what_is_not(shop):
    code, _, err = proto("list", shop, "Ordr")
    assert code == 2
    assert "declares no message 'Ordr'; it has shop.Order." in err


# ---- compile


def test_modules_are_written_and_can_be_imported(shop, tmp_path):
    code, out, err = proto("compile", shop, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == [
        str(tmp_path / "out" / name) for name in ("money_pb.py", "shop_pb.py")
    ]
    code = "import shop_pb; print(shop_pb.Order(order_id=7, item_sku='a').to_bytes().hex())"
    ended = run_python(code, tmp_path / "out")
    assert (ended.stdout, ended.stderr) == ("0807120161\n", "")


def test_repeated_numbers_can_be_arrays(shop, tmp_path):
    proto("compile", shop, "--out", tmp_path / "out", "--arrays")
    assert "deltas: SInt32Array" in (tmp_path / "out" / "shop_pb.py").read_text()


def test_modules_of_a_package_import_each_other_from_there(shop, tmp_path):
    out = tmp_path / "lib" / "acme" / "api"
    assert proto("compile", shop, "--out", out, "--package", "acme.api")[0] == 0
    ended = run_python("from acme.api.shop_pb import Basket; print(Basket().total)", tmp_path / "lib")
    assert (ended.stdout, ended.stderr) == ("None\n", "")


def run_python(code, folder):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_imports_are_found_in_the_folders_named(tmp_path):
    for folder, name, text in (("a", "shop.proto", SHOP), ("b", "money.proto", MONEY)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    path, out = tmp_path / "a" / "shop.proto", tmp_path / "out"
    code, _, err = proto("compile", path, "--out", out)
    assert code == 2
    assert "money.proto" in err
    assert proto("compile", path, "--out", out, "-I", tmp_path / "a", "-I", tmp_path / "b")[0] == 0


def test_modules_written_before_are_written_over(shop, tmp_path):
    out = tmp_path / "out"
    proto("compile", shop, "--out", out)
    before = (out / "shop_pb.py").read_text()
    (out / "shop_pb.py").write_text(before.replace("order_id", "old_id"))
    assert proto("compile", shop, "--out", out)[0] == 0
    assert (out / "shop_pb.py").read_text() == before


def test_module_written_by_hand_is_not_written_over(shop, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "shop_pb.py").write_text("print('mine')\n")
    code, _, err = proto("compile", shop, "--out", out)
    assert code == 2
    assert "shop_pb.py was not generated, and would be lost. Choose another --out." in err
    assert os.listdir(out) == ["shop_pb.py"]
    assert (out / "shop_pb.py").read_text() == "print('mine')\n"


def test_nothing_is_written_when_a_file_is_wrong(shop, tmp_path):
    (tmp_path / "bad.proto").write_text('syntax = "proto3"; message X { nothing a = 1; }')
    code, out, err = proto("compile", shop, tmp_path / "bad.proto", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "bad.proto:1:" in err
    assert not (tmp_path / "out").exists()


def test_file_without_messages_is_exit_2(tmp_path):
    (tmp_path / "empty.proto").write_text('syntax = "proto3";')
    code, _, err = proto("compile", tmp_path / "empty.proto", "--out", tmp_path)
    assert code == 2
    assert "there is nothing to write" in err


def test_folder_that_cannot_be_written_is_exit_2(shop, tmp_path):
    (tmp_path / "taken").write_text("")
    code, _, err = proto("compile", shop, "--out", tmp_path / "taken" / "deeper")
    assert code == 2
    assert "Error: " in err


# ---- as people see it


async def test_lines_fit_a_terminal_of_80_columns(shop, file):
    sent = b"x" * 120
    path = file(b"\x12" + length(sent) + sent)
    runs = (
        ["decode", path],
        ["decode", path, "--schema", shop, "--type", "Order"],
        ["list", shop],
        ["list", shop, "Basket"],
        *([name, "--help"] for name in ("decode", "list", "compile")),
    )
    for arguments in runs:
        command = (sys.executable, "-m", "penstock", "proto", *map(str, arguments))
        shown = await on_terminal(asyncio.create_subprocess_exec, *command)
        assert max(map(len, drawn_lines(shown))) <= 80, arguments
        if arguments[0] == "decode" and "--help" not in arguments:
            assert "\x1b[" in shown


async def test_decode_asks_for_bytes_when_nobody_pipes_any():
    command = (sys.executable, "-m", "penstock", "proto", "decode")
    shown = await on_terminal(asyncio.create_subprocess_exec, *command)
    assert "Nothing to decode: name a FILE, or pipe bytes in." in shown


def test_reader_that_goes_away_ends_the_command_quietly(file):
    path = file(b"\x08\x01" * 5_000)
    command = f"'{sys.executable}' -m penstock proto decode '{path}' | head -n 1"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("1: varint 1\n", "")


@pytest.mark.parametrize("command", ["decode", "decode --json", "list", "compile"])
def test_full_disk_is_exit_2_and_says_that_output_is_at_fault(shop, file, tmp_path, command):
    arguments = {
        "decode": ["decode", file(ORDER)],
        "decode --json": ["decode", file(ORDER), "--schema", shop, "--type", "Order", "--json"],
        "list": ["list", shop],
        "compile": ["compile", shop, "--out", tmp_path / "out"],
    }[command]
    run = [sys.executable, "-m", "penstock", "proto", *map(str, arguments)]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (2, "Error: standard output: No space left on device\n")


async def test_progress_is_told_to_who_waits_for_a_file(file, tmp_path):
    path = file((b"\x84\x80\x04" + b"\x0a\x80\x80\x04" + b"x" * 65_536) * 40)
    command = (sys.executable, "-m", "penstock", "proto", "decode", str(path), "--delimited")
    with (tmp_path / "out").open("wb") as out:
        shown = await on_terminal(asyncio.create_subprocess_exec, *command, stdout=out)
    assert "2 MiB are read" in shown
    assert (tmp_path / "out").read_bytes().count(b"\n") == 40 * 2
