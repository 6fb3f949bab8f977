"""Log messages in the form of the REST API, made so that the distributor takes them whatever is in them.

What its rules leave no room for in its place goes on elsewhere: a text beyond MAX_TEXT bytes in the metadata,
as `continued`; a value that JSON does not have is told by its `repr`. Only what makes a message larger than
MAX_MESSAGE bytes is cut, and the message says so.
"""

import logging
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

__all__ = ["MAX_MESSAGE", "MAX_TEXT", "encoded", "encoded_record"]

MAX_TEXT = 10_000
"""Bytes of a text, in UTF-8."""
MAX_MESSAGE = 512 * 1024
"""Bytes of a whole message, as JSON."""
MAX_DEPTH = 60
"""Levels of arrays and objects; what is deeper is told by its `repr`."""
MAX_LEVEL = 32
MAX_SOURCE = 256
MAX_REPR = 10_000
"""Characters that stand for a value that JSON does not have."""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every LogRecord has; the rest is what the program added by `extra`."""


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """A message as it is sent."""

    message: str
    level: str
    source: str = ""
    timestamp: str = ""
    metadata: Mapping[str, Any] = {}


def repr_of(value: object) -> str:
    """What stands for a value that JSON does not have; objects of a program may do anything when asked."""
    try:
        return repr(value)[:MAX_REPR]
    except Exception:
        return f"<{type(value).__name__}>"


encode = msgspec.json.Encoder(enc_hook=repr_of).encode


def encoded(
    level: str, text: str, source: str = "", timestamp: str = "", metadata: Mapping[str, Any] | None = None
) -> bytes:
    """A message as compact JSON."""
    fields = dict(metadata) if metadata else {}
    if len(text) * 4 > MAX_TEXT and (size := len(utf8(text))) > MAX_TEXT:
        text, fields["continued"] = split(text)
        if size > MAX_MESSAGE // 2:
            fields["continued"] = cut(fields["continued"])
    line = Line(text or " ", level[:MAX_LEVEL] or "INFO", source[:MAX_SOURCE], timestamp, fields)
    body = encoded_line(line)
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and depth_of(body) > MAX_DEPTH:
        line.metadata = {name: repr_of(value) for name, value in line.metadata.items()}
        body = encoded_line(line)
    return body if len(body) <= MAX_MESSAGE else encoded_line(without_metadata(line, len(body)))


def encoded_line(line: Line) -> bytes:
    try:
        return encode(line)
    except Exception:  # half a surrogate pair, a key that is no text, a value within itself: rare, and told
        line.metadata = {text_of(key): as_json(value) for key, value in line.metadata.items()}
        line.message, line.source, line.level = map(text_of, (line.message, line.source, line.level))
        return encode(line)


def depth_of(body: bytes) -> int:
    """How deeply arrays and objects are nested in valid JSON."""
    depth = deepest = 0
    for bracket in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(bracket, 0)
        deepest = max(deepest, depth)
    return deepest


def without_metadata(line: Line, size: int) -> Line:
    """A message whose metadata is too large: the text stays, and the message says what is missing."""
    names = [text_of(name)[:64] for name in line.metadata][:20]
    cut_ = {"cut": f"metadata of {size} bytes, at most {MAX_MESSAGE} are sent", "names": names}
    return Line(line.message, line.level, line.source, line.timestamp, cut_)


def as_json(value: object) -> object:
    """A value, or its `repr` when it cannot be JSON."""
    try:
        return msgspec.Raw(encode(value))
    except Exception:
        return text_of(value if isinstance(value, str) else repr_of(value))


def text_of(value: object) -> str:
    """Any value as text that is valid in UTF-8."""
    return utf8(value if isinstance(value, str) else repr_of(value)).decode()


def utf8(text: str) -> bytes:
    """UTF-8, with `?` in place of half a surrogate pair."""
    return text.encode("utf-8", "replace")


def split(text: str) -> tuple[str, str]:
    """The part of a long text that is within the bound, and the rest."""
    head = utf8(text)[:MAX_TEXT].decode("utf-8", "ignore")
    return head, text[len(head) :]


def cut(text: str) -> str:
    head = utf8(text)[: MAX_MESSAGE // 2].decode("utf-8", "ignore")
    return f"{head}... ({len(text) - len(head)} more characters were cut)"


# Records of the standard library's logging


def encoded_record(
    record: logging.LogRecord, formatter: logging.Formatter | None = None, source: str = ""
) -> bytes:
    """A LogRecord as a message: its level, text, logger, time, exception, stack and what `extra` gave it."""
    text = text_of_record(record) if formatter is None else formatter.format(record)
    metadata: dict[str, Any] = {name: value for name, value in vars(record).items() if name not in STANDARD}
    if formatter is None:
        if record.exc_info:
            metadata["exception"] = record.exc_text or exception_told(record.exc_info)
        elif record.exc_text:
            metadata["exception"] = record.exc_text
        if record.stack_info:
            metadata["stack"] = record.stack_info
    level, name = str(record.levelname or "INFO"), str(record.name or "")  # None in records that are made up
    return encoded(level, text, source or name, time_told(record.created), metadata)


def text_of_record(record: logging.LogRecord) -> str:
    """Its text; when its arguments do not fit its message, both, as nobody else will tell."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{text_of(record.msg)} {repr_of(record.args)} ({type(error).__name__}: {error})"


def exception_told(exc_info: Any) -> str:
    return "".join(traceback.format_exception(*exc_info)).rstrip("\n")


def time_told(unix: float) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    try:
        second, microseconds = divmod(round(unix * 1e6), 1_000_000)
        return f"{second_told(second)}.{microseconds:06d}Z"
    except (ValueError, OverflowError, OSError, TypeError):  # a record that somebody made up
        return ""


@lru_cache(maxsize=8)
def second_told(second: int) -> str:
    """The second, which many messages share."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
