"""The parser of `.proto` texts alone: its descriptors, its errors, and what it makes of hostile texts."""

import random
import re
from pathlib import Path

import grpc_tools
import pytest
from proto_schemas import ACCEPTED, REFUSED

from penstock.protobuf.compiler.files import compile_text
from penstock.protobuf.compiler.parser import parse_proto
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import FieldDescriptorProto

GOOGLE = Path(grpc_tools.__file__).parent / "_proto"
MEBI = 1 << 20
PROTO2 = 'syntax = "proto2"; '


def test_a_parsed_text_keeps_names_and_options_as_they_are_written():
    file = parse_proto(
        'syntax = "proto3"; package shop; message Order { Item item = 1 [(note) = "x"]; } message Item {}',
        "a.proto",
    )
    (order, item), field = file.message_type, file.message_type[0].field[0]
    assert (file.name, file.package, file.syntax) == ("a.proto", "shop", "proto3")
    assert (order.name, item.name) == ("Order", "Item")
    assert (field.name, field.number, field.type, field.type_name) == ("item", 1, None, "Item")
    assert field.label == FieldDescriptorProto.Label.LABEL_OPTIONAL
    (option,) = field.options.uninterpreted_option
    assert [(part.name_part, part.is_extension) for part in option.name] == [("note", True)]
    assert option.string_value == b"x"


@pytest.mark.parametrize(
    ("value", "field", "parsed"),
    [
        ("name", "identifier_value", "name"),
        ("18446744073709551615", "positive_int_value", 2**64 - 1),
        ("0x10", "positive_int_value", 16),
        ("-9223372036854775808", "negative_int_value", -(2**63)),
        ("18446744073709551616", "double_value", 2.0**64),
        ("-1.5e3", "double_value", -1500.0),
        ("-inf", "double_value", float("-inf")),
        ("\"a\" 'b'", "string_value", b"ab"),
        ("{ a: 1 b { c: [1, 2] } }", "aggregate_value", "a : 1 b { c : [ 1 , 2 ] }"),
    ],
)
def test_the_value_of_an_option_is_kept_by_its_kind(value, field, parsed):
    (option,) = parse_proto(f"option (x) = {value};").options.uninterpreted_option
    assert getattr(option, field) == parsed


def test_comments_are_those_of_the_declarations_below_them():
    file = parse_proto(
        """
        // About nothing.

        // About the message,
        // on two lines.
        message A {
            optional int32 a = 1;  // About a.
            /* About b. */
            optional int32 b = 2;
        }
        """
    )
    said = {tuple(each.path): each for each in file.source_code_info.location}
    assert said[4, 0].leading_comments == " About the message,\n on two lines.\n"
    assert said[4, 0].leading_detached_comments == [" About nothing.\n"]
    assert said[4, 0, 2, 0].trailing_comments == " About a.\n"
    assert said[4, 0, 2, 1].leading_comments == " About b. "


def test_a_byte_order_mark_is_passed_over():
    assert parse_proto("\ufeffmessage A {}").message_type[0].name == "A"


def test_text_in_comments_and_strings_may_be_any_unicode():
    file = parse_proto(
        '// é\nmessage A { optional string a = 1 [default = "é\\u00e9\\U0001F600\\ud83d\\ude00"]; }'
    )
    assert file.message_type[0].field[0].default_value == "éé😀😀"


def test_a_comment_that_is_no_utf_8_is_kept_as_far_as_it_is(tmp_path):
    file = compile_text("// a \udcff b\nmessage A {}").file[0]
    assert file.source_code_info.location[-1].leading_comments == " a ? b\n"
    file.to_bytes()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "message A {\n\toptional int32 a = ;\n}",
            'x.proto:2:21: expected the number of the field, found ";"',
        ),
        ("message", "x.proto:1:8: expected the name of the message, found the end of the text"),
        (
            "message A { optional string a = 1 [default = 'x\n'] }",
            "x.proto:1:46: a string must end on the line",
        ),
        ("message A {} /* for ever", 'x.proto:1:14: a comment must end with "*/", found the end of the text'),
        ("message A { optional int32 a = 1 [x = }", 'x.proto:1:39: expected a value, found "}"'),
        (
            "message Ä {}",
            "x.proto:1:9: expected a token, found the character '\\xc4', which",
        ),
        ("package " + "a" * 3000 + " b;", 'x.proto:1:3010: expected ";", found "b"'),
        ("option x = " + "a" * 3000 + " 1", 'x.proto:1:3013: expected ";", found "1"'),
        ("message A { optional int32 a = 1_000; }", 'x.proto:1:32: expected a number, found "1_000"'),
    ],
)
def test_an_error_tells_line_and_column_and_what_was_expected(text, error):
    with pytest.raises(SchemaError, match=f"^{re.escape(error)}"):
        parse_proto(text, "x.proto")


@pytest.mark.parametrize("level", [32, 33])
def test_messages_are_nested_at_most_32_deep(level):
    text = "message A {" * level + "}" * level
    if level == 32:
        assert len(parse_proto(text).message_type) == 1
        return
    with pytest.raises(SchemaError, match="messages must be nested at most 32 levels deep"):
        parse_proto(text)


HOSTILE = {
    "braces": "{" * MEBI,
    "parentheses": "option " + "(" * MEBI,
    "unclosed comments": "/*" * (MEBI // 2),
    "closed comments": "/* */" * (MEBI // 5),
    "line comments": "//\n" * (MEBI // 3),
    "empty statements": ";" * (MEBI // 4),
    "quotes": '"' * MEBI,
    "backslashes": '"' + "\\" * MEBI,
    "nested messages": "message A {" * (MEBI // 11),
    "nested groups": PROTO2 + "message A {" + " optional group G = 1 {" * (MEBI // 23),
    "a long package": "package " + "a." * (MEBI // 2) + "a;",
    "a long type": "message A { optional " + "a." * (MEBI // 2) + "a b = 1; }",
    "a long name of an option": "option " + "(a)." * (MEBI // 4) + "a = 1;",
    "options within options": 'import "google/protobuf/descriptor.proto"; message A { optional A a = 1; }'
    "extend google.protobuf.FileOptions { optional A a = 50000; }"
    "option (a)" + ".a" * (MEBI // 2) + " = {};",
    "nested values": "option (a) = " + "{" * MEBI,
    "one number": "message A { optional int32 a = " + "1" * MEBI,
    "one name": "message " + "A" * MEBI + " {}",
    "many imports": "".join(f'import "{at}.proto";' for at in range(20_000)),
    "many reserved names": "message A { reserved " + ",".join(f'"a{at}"' for at in range(20_000)) + "; }",
    "many reserved numbers": "message A { reserved " + ",".join(map(str, range(20_001, 1, -2))) + "; }",
    "many ranges": "message A { extensions " + ",".join(map(str, range(1, 20_001, 2))) + "; }",
    "many options of many ranges": "message A { extensions "
    + ",".join(map(str, range(1, 4001, 2)))
    + " ["
    + ",".join(["(r) = 1"] * 2000)
    + "]; }",
    "many defaults": "enum E {"
    + "".join(f"A{at} = {at};" for at in range(5000))
    + "} message M {"
    + "".join(f"optional E a{at} = {at + 20_000} [default = A4999];" for at in range(5000))
    + "}",
    "names that synthetic oneofs must avoid": 'syntax = "proto3"; message A { optional int32 a = 1;'
    + "".join(f"int32 {'X' * at}_a = {at + 20_000};" for at in range(700))
    + "}",
    "more than 16 Mi characters": " " * (16 * MEBI + 1),
}


def refusal(text: str) -> str:
    """Why a text does not compile, nothing if it does."""
    try:
        compile_text(text)
    except SchemaError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_or_read_in_linear_time(name):
    assert len(refusal(HOSTILE[name])) < 400  # quadratic time would be minutes, more than a test is given


WORD = re.compile(r"\s+|\w+|[^\w\s]")


def texts() -> list[str]:
    files = [*GOOGLE.rglob("*.proto")]
    return [*ACCEPTED, *REFUSED, *(path.read_text() for path in files if path.stat().st_size < 10_000)]


def mutated(dice: random.Random, text: str, words: list[str]) -> str:
    parts = WORD.findall(text)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(parts) or 1)
        match dice.randrange(4):
            case 0:
                del parts[at : at + dice.randint(1, 3)]
            case 1:
                parts[at : at + 1] = [dice.choice(words)]
            case 2:
                parts.insert(at, dice.choice(words))
            case 3:
                parts[at:at] = parts[at : at + dice.randint(1, 12)]
    return "".join(parts)


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_text_compiles_or_is_refused_with_its_place(seed):
    dice, known = random.Random(seed), texts()
    words = sorted({word for text in known for word in WORD.findall(text)})
    refusals = [refusal(mutated(dice, dice.choice(known), words)) for _ in range(400)]
    refused = [each for each in refusals if each]
    assert len(refused) > 200
    assert [each for each in refused if not re.match(r"input\.proto:\d+:\d+: ", each)] == []
