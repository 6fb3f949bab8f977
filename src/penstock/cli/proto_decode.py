"""`penstock proto decode`: what protobuf bytes say."""

from __future__ import annotations

import binascii
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.text import Text

from penstock.cli.proto_lines import lines_of_bytes, lines_of_message
from penstock.cli.proto_schema import import_option, message_named, printing, read_schema
from penstock.cli.results import cannot_go_on
from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.message import Message
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.varint import decode_varint

__all__ = ["command"]

EXIT_NO_MESSAGE = 1
MAX_BYTES = 64 << 20  # of a message; of text that is one in hex or base64, twice that
MAX_LENGTH_BYTES = 10  # a varint has no more
OPTIONS = DecodeOptions(max_size=MAX_BYTES, partial=True)  # what is there is shown, whatever lacks

HEX_DUMP = re.compile(rb"\s*([0-9a-fA-F]{6,}: |0{6,} )")  # the first offset of xxd, or of hexdump
BETWEEN_DIGITS = re.compile(rb"\\x|\b0x|[\s,:]+")
NO_DIGIT = re.compile(rb"[^0-9a-fA-F]")
PROGRESS_BYTES = 1 << 20  # read since the last word of it

EXAMPLES = """\b
Examples:
  penstock proto decode message.bin
  echo 088d3d1803 | penstock proto decode --hex
  penstock proto decode order.bin --schema shop.proto --type shop.Order
  penstock proto decode orders.bin --delimited --schema shop.proto \\
      --type Order --json
"""


@click.command("decode", short_help="Print what protobuf bytes say.", epilog=EXAMPLES)
@click.argument(
    "file", default="-", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
)
@click.option(
    "--schema",
    "schema_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="F",
    help="A .proto file, or a descriptor set, that declares the message.",
)
@click.option(
    "--type", "type_name", metavar="NAME", help="The message, such as shop.Order, if there are several."
)
@import_option
@click.option("--json", "as_json", is_flag=True, help="Print ProtoJSON; of many messages, one a line.")
@click.option("--delimited", is_flag=True, help="Read many messages, each behind its length.")
@click.option("--hex", "coding", flag_value="hex", help="Read hexadecimal digits, also as 0x08 or 08:96.")
@click.option("--base64", "coding", flag_value="base64", help="Read base64.")
@click.option(
    "--lines",
    "most_lines",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Print no more than that, unless --json.",
)
def command(
    file: str,
    schema_path: Path | None,
    type_name: str | None,
    include: tuple[Path, ...],
    as_json: bool,
    delimited: bool,
    coding: str | None,
    most_lines: int,
) -> None:
    """Print the message in FILE, or on standard input: its fields, by name if there is a schema.

    Without a schema the fields have numbers only, and whether bytes are text, a message or packed numbers is
    a guess. With one, fields that it does not know are printed that way. A terminal gets as much of each line
    as fits, a file or a pipe more: 1,000 characters of a text, 256 bytes, 64 numbers.

    A message must be at most 64 MiB and 100 levels deep; a file of --delimited ones may be of any length.

    Exit code: 0 when all was read, 1 when the bytes are no such message (what was read before is printed),
    2 when the command or a file was wrong, 130 after Ctrl-C.
    """
    if schema_path is None and (as_json or type_name or include):
        raise click.UsageError("--json, --type and -I need names: add --schema FILE.")
    if file == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise click.UsageError("Nothing to decode: name a FILE, or pipe bytes in.")
    found = None
    if schema_path is not None:
        found = message_named(read_schema(schema_path, include), type_name, schema_path)
    try:
        with ExitStack() as files:
            data = bytes_in(files, file, coding)
            messages = with_progress(split(data)) if delimited else whole(data)
            if as_json and found is not None:
                print_json(messages, found, indent=None if delimited else 2)
            else:
                print_lines(messages, lines_by(found), titled=delimited, most=most_lines)
    except BrokenPipeError:
        raise  # whoever read our output has gone; click ends quietly
    except OSError as error:
        raise cannot_go_on(f"{named(file)}: {error.strerror}") from None
    except (DecodeError, EncodeError) as error:
        click.echo(f"Error: {error}", err=True)
        if isinstance(error, EncodeError):
            click.echo("Without --json, it is printed as it is.", err=True)
        elif error.path:  # else it is a length that is wrong, before any message
            click.echo("Without --schema, what was read before that is printed.", err=True)
        sys.exit(EXIT_NO_MESSAGE)


# ---- what is read


def bytes_in(files: ExitStack, file: str, coding: str | None) -> IO[bytes]:
    """The file, open until the stack ends; if its bytes are coded, what they mean.

    Raises:
        ClickException: it is not coded like that, or is too long.
    """
    if file == "-" and sys.stdin is None:
        raise cannot_go_on("standard input is closed.")
    stream: IO[bytes] = files.enter_context(click.open_file(file, "rb"))
    if coding is None:
        return stream
    text = stream.read(2 * MAX_BYTES + 1)
    if len(text) > 2 * MAX_BYTES:
        raise cannot_go_on(f"{named(file)}: must be at most {2 * MAX_BYTES >> 20} MiB of {coding}.")
    try:
        return BytesIO(DECODERS[coding](text))
    except ValueError as error:  # UnicodeDecodeError and binascii.Error are such
        raise cannot_go_on(f"{named(file)}: is not {coding}: {error}.") from None


def named(file: str) -> str:
    return "standard input" if file == "-" else file


def from_hex(text: bytes) -> bytes:
    if HEX_DUMP.match(text):
        raise ValueError("it has offsets; if xxd made it, `xxd -r` makes bytes of it")
    digits = BETWEEN_DIGITS.sub(b"", text)
    if other := NO_DIGIT.search(digits):
        raise ValueError(f"got {other[0].decode('latin-1')!a} among the digits")
    if len(digits) % 2:
        raise ValueError(f"got {len(digits):,} digits, of which the last one is half a byte")
    return bytes.fromhex(digits.decode())


def from_base64(text: bytes) -> bytes:
    """Of both alphabets, with or without padding."""
    joined = b"".join(text.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    return binascii.a2b_base64(joined + b"=" * (-len(joined) % 4), strict_mode=True)


DECODERS: dict[str, Callable[[bytes], bytes]] = {"hex": from_hex, "base64": from_base64}


def whole(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The one message, at byte 0."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DecodeError(f"must be at most {MAX_BYTES} bytes; are these --delimited messages?")
    yield 0, data


def split(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every message and the byte at which it begins, behind the varint that is its length."""
    position = 0
    while prefix := length_prefix(stream):
        length, _ = decode_varint_at(prefix, position)
        position += len(prefix)
        if length > MAX_BYTES:
            raise DecodeError(f"a message must be at most {MAX_BYTES} bytes, got {length}", offset=position)
        data = stream.read(length)
        if len(data) < length:
            raise DecodeError(f"a message of {length} bytes ends after {len(data)}", offset=position)
        yield position, data
        position += length


def length_prefix(stream: IO[bytes]) -> bytes:
    """The bytes of one varint, or fewer at the end."""
    prefix = bytearray()
    while len(prefix) < MAX_LENGTH_BYTES and (byte := stream.read(1)):
        prefix += byte
        if byte < b"\x80":
            break
    return bytes(prefix)


def decode_varint_at(prefix: bytes, position: int) -> tuple[int, int]:
    try:
        return decode_varint(prefix)
    except DecodeError as error:
        raise DecodeError(f"as a length, {error.reason}", offset=position) from None


def with_progress(messages: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The same; a person who waits for a file to be written is told how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal or (sys.stdout is not None and sys.stdout.isatty()):
        yield from messages
        return
    told = 0
    with console.status("decoding") as status:
        for start, data in messages:
            if start - told >= PROGRESS_BYTES:
                status.update(Text(f"decoding: {start >> 20:,} MiB are read"))
                told = start
            yield start, data


# ---- what is printed


def lines_by(found: type[Message] | None) -> Callable[[bytes], Iterator[Text]]:
    """What makes lines of the bytes of a message."""
    if found is None:
        return lines_of_bytes
    return lambda data: lines_of_message(found.from_bytes(data, OPTIONS))


def print_lines(
    messages: Iterator[tuple[int, bytes]],
    lines_of: Callable[[bytes], Iterator[Text]],
    *,
    titled: bool,
    most: int,
) -> None:
    """Prints so many lines at most; on a terminal, in colours and as much of each as fits."""
    console = Console(highlight=False)
    lines = all_lines(messages, lines_of, titled=titled)
    for each in islice(lines, most):
        with printing():
            if console.is_terminal:
                console.print(each, no_wrap=True, overflow="ellipsis")
            else:
                click.echo(each.plain)
    if next(lines, None) is not None:
        click.echo(f"Stopped after {most:,} lines; --lines N prints more.", err=True)


def all_lines(
    messages: Iterator[tuple[int, bytes]], lines_of: Callable[[bytes], Iterator[Text]], *, titled: bool
) -> Iterator[Text]:
    for index, (start, data) in enumerate(messages):
        if titled:
            yield Text(f"[{index}] {len(data):,} bytes at byte {start:,}", "bold")
        try:
            yield from lines_of(data)
        except DecodeError as error:
            raise moved(error, start) from None


def print_json(messages: Iterator[tuple[int, bytes]], found: type[Message], *, indent: int | None) -> None:
    for start, data in messages:
        try:
            message = found.from_bytes(data, OPTIONS)
        except DecodeError as error:
            raise moved(error, start) from None
        text = message.to_json(indent=indent)
        with printing():
            click.echo(text)


def moved(error: DecodeError, start: int) -> DecodeError:
    """The same error of a message that begins there in the input."""
    offset = error.offset + start if error.offset >= 0 else error.offset
    return DecodeError(error.reason, offset=offset, path=error.path)
