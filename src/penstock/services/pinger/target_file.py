"""Targets with all that belongs to them, from a TOML file."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from penstock.errors import InvalidValue
from penstock.probing.request import InvalidRequest, InvalidUrl, Request
from penstock.services.pinger.assertions import Assertion, InvalidAssertion, parse_assertion
from penstock.services.pinger.durations import seconds_of
from penstock.services.pinger.model import Severity, Target

__all__ = ["InvalidTargets", "read_target_file"]

MAX_FILE_BYTES = 16 << 20
MAX_TARGETS = 100_000
MAX_TEXT = 1_000
MAX_SECONDS = 31_536_000
MAX_SHOWN = 80

Value = TypeVar("Value")


class InvalidTargets(InvalidValue):
    """A file of targets does not say what it should."""


def read_target_file(path: str | Path) -> tuple[Target, ...]:
    """The targets of a TOML file, checked to the last key.

    ::

        timeout = "2s"                      # for all; also interval, method, headers, assert, warn, labels

        [[target]]
        url = "https://example.com/health"
        name = "shop"
        assert = ["status==200", "tls<200ms", "body~ready"]
        warn = ["cert>30d"]
        interval = "30s"
        headers = { Accept = "application/json" }
        labels = { team = "web" }

    Raises:
        InvalidTargets: it is no such file; the message names the target, the key, the rule and the value.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise InvalidTargets(f"{path} must be at most {MAX_FILE_BYTES} bytes")
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidTargets(f"{path} must be TOML in UTF-8: {error}") from None
    return targets_of(document, str(path))


def targets_of(document: dict[str, Any], path: str) -> tuple[Target, ...]:
    tables = document.pop("target", None)
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise InvalidTargets(f"{path} must hold targets, each under [[target]]")
    if len(tables) > MAX_TARGETS:
        raise InvalidTargets(f"{path} must hold at most {MAX_TARGETS} targets, got {len(tables)}")
    defaults = checked(document, FOR_ALL, path)
    return tuple(target_of(table, defaults, path, number) for number, table in enumerate(tables, 1))


def target_of(table: dict[str, Any], defaults: Mapping[str, Any], path: str, number: int) -> Target:
    called = table.get("name", table.get("url"))
    place = f"{path}: target {number}" + (f" ({called[:MAX_SHOWN]})" if isinstance(called, str) else "")
    if "url" not in table:
        raise InvalidTargets(f"{place}: url must be given")
    own = checked(table, OF_A_TARGET, place)
    members = {**defaults, **own}
    for name in ("headers", "labels"):
        members[name] = both(defaults.get(name, ()), own.get(name, ()))
    assertions = [
        *members.pop("assert", ()),
        *members.pop("warn", ()),
    ]
    target = Target(**members, assertions=tuple(assertions))
    try:
        Request(target.url, method=target.method or "GET", headers=target.headers, body=target.body or b"")
    except InvalidUrl as error:
        raise InvalidTargets(f"{place}: url must be one that can be pinged: {error}") from None
    except InvalidRequest as error:
        raise InvalidTargets(f"{place}: {error}") from None
    return target


def both(general: Sequence[tuple[str, str]], own: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The pairs of a target, and those of all whose names it does not use itself."""
    names = {name.lower() for name, _ in own}
    return (*(pair for pair in general if pair[0].lower() not in names), *own)


def checked(
    table: dict[str, Any], keys: Mapping[str, Callable[[str, Any], Any]], place: str
) -> dict[str, Any]:
    unknown = table.keys() - keys.keys()
    if unknown:
        raise InvalidTargets(f"{place}: {min(unknown)!r} is no key: choose of {', '.join(keys)}")
    try:
        return {key: keys[key](key, value) for key, value in table.items()}
    except (BadValue, InvalidAssertion) as error:
        raise InvalidTargets(f"{place}: {error}") from None


class BadValue(InvalidValue):
    """A key has a value that is not allowed."""


def bad(key: str, rule: str, value: object) -> BadValue:
    shown = repr(value)
    return BadValue(f"{key} must be {rule}, got {shown[:MAX_SHOWN]}{'…' if len(shown) > MAX_SHOWN else ''}")


def text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > MAX_TEXT:
        raise bad(key, f"a text of 1 to {MAX_TEXT} printable characters", value)
    return value


def url(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise bad(key, "a text", value)
    return value


def duration(key: str, value: Any) -> float:
    found = seconds_of(value) if isinstance(value, str) else None
    if found is None or not 0 < found <= MAX_SECONDS:
        raise bad(key, 'a time > 0 and at most a year with its unit, such as "1.5s"', value)
    return found


def body(key: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise bad(key, "a text", value)
    return value.encode()


def pairs(key: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise bad(key, 'a table of texts, such as { Accept = "text/html" }', value)
    return tuple(value.items())


def assertions(severity: Severity) -> Callable[[str, Any], tuple[Assertion, ...]]:
    def parsed(key: str, value: Any) -> tuple[Assertion, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise bad(key, 'a list of texts, such as ["status==200"]', value)
        found = tuple(parse_assertion(one, severity) for one in value)
        for assertion in found:
            if assertion.of_run:
                raise bad(key, "about one answer; what is about a whole run is an option", assertion.text)
        return found

    return parsed


FOR_ALL: dict[str, Callable[[str, Any], Any]] = {
    "method": text,
    "headers": pairs,
    "timeout": duration,
    "interval": duration,
    "assert": assertions("fail"),
    "warn": assertions("warn"),
    "labels": pairs,
}

OF_A_TARGET: dict[str, Callable[[str, Any], Any]] = {"url": url, "name": text, "body": body, **FOR_ALL}
