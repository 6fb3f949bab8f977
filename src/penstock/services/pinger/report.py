"""Sinks that write results to a file, which is valid after every row: CSV, JSON and NDJSON."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.errors import InvalidValue
from penstock.probing.exchange import Exchange, Phases
from penstock.services.pinger.model import Attempt, Hop, PingResult
from penstock.services.row_files import CsvRows, JsonLines, JsonRows, rfc3339

__all__ = ["ALL_COLUMNS", "COLUMNS", "CsvReport", "JsonReport", "NdjsonReport", "checked_columns"]

Cell = Callable[[PingResult], Any]


class CsvReport(CsvRows[PingResult]):
    """Writes the reference's CSV: `timestamp,url,status,latency_ms,error`, RFC 3339 and milliseconds.

    Args:
        path: see CsvRows.
        columns: others, see COLUMNS.

    Raises:
        ValueError: there is no such column.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] = ()) -> None:
        names = checked_columns(columns) or CSV_COLUMNS
        read = [COLUMNS[name] for name in names]
        super().__init__(path, names, lambda result: [as_cell(cell(result)) for cell in read])


class JsonReport(JsonRows[PingResult]):
    """Writes a JSON array with an object a line: the columns of the CSV, and `attempts`.

    Args:
        path: see JsonRows.
        columns: others, see COLUMNS.

    Raises:
        ValueError: there is no such column.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] = ()) -> None:
        names = checked_columns(columns) or JSON_COLUMNS
        read = {name: COLUMNS[name] for name in names}
        super().__init__(path, lambda result: {name: cell(result) for name, cell in read.items()})


class NdjsonReport(JsonLines[PingResult]):
    """Writes a JSON object a line, with all that is known of the result.

    Args:
        path: see JsonLines.
        columns: fewer, see COLUMNS.

    Raises:
        ValueError: there is no such column.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] = ()) -> None:
        names = checked_columns(columns) or ALL_COLUMNS
        read = {name: COLUMNS[name] for name in names}

        def encoded(result: PingResult) -> bytes:
            row = {name: cell(result) for name, cell in read.items()}
            return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")

        super().__init__(path, encoded)


def checked_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The names, where each is one of COLUMNS; `all` stands for all of them.

    Raises:
        ValueError: one is not.
    """
    if tuple(names) == ("all",):
        return ALL_COLUMNS
    for name in names:
        if name not in COLUMNS:
            raise InvalidValue(f"column must be one of {', '.join(COLUMNS)} or all, got {name[:100]!r}")
    return tuple(names)


def as_cell(value: object) -> object:
    """A value as CSV holds it: three digits behind the point, nothing for None, JSON for what is nested."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.3f}"
        case list() | dict():
            return json.dumps(value, ensure_ascii=False)
    return value


def ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)


def of_last(read: Callable[[Exchange], Any]) -> Cell:
    """A column that tells of the last request; null before there was one."""
    return lambda result: None if result.last is None else read(result.last)


def of_tls(name: str) -> Cell:
    return of_last(lambda last: getattr(last.tls, name) if last.tls else None)


def phase_ms(name: str) -> Cell:
    """A column with a phase of the last attempt, added up over its requests."""
    return lambda result: ms(sum(getattr(hop.exchange.phases, name) for hop in result.hops))


def certificate_ends(result: PingResult) -> str | None:
    facts = result.last.tls if result.last else None
    if facts is None or facts.not_after is None:
        return None
    return rfc3339(datetime.fromtimestamp(facts.not_after, UTC))


def of_tcp(name: str, scale: Callable[[int], Any]) -> Cell:
    return of_last(lambda last: scale(getattr(last.tcp, name)) if last.tcp else None)


COLUMNS: dict[str, Cell] = {
    "timestamp": lambda result: result.rfc3339,
    "url": lambda result: result.url,
    "status": lambda result: result.status,
    "latency_ms": lambda result: round(result.latency_ms, 3),
    "error": lambda result: result.error,
    "attempts": lambda result: result.attempts,
    "state": lambda result: result.state,
    "why": lambda result: result.why,
    "name": lambda result: result.name,
    "method": lambda result: result.method,
    "line": lambda result: result.line,
    "labels": lambda result: dict(result.labels),
    "number": lambda result: result.number,
    "total_ms": lambda result: ms(result.total),
    "late_ms": lambda result: ms(result.late),
    "queued_ms": lambda result: ms(sum(hop.exchange.queued for hop in result.hops)),
    "service_ms": lambda result: ms(result.service),
    "ttfb_ms": lambda result: ms(result.ttfb),
    "dns_ms": phase_ms("dns"),
    "connect_ms": phase_ms("connect"),
    "tls_ms": phase_ms("tls"),
    "wait_ms": phase_ms("wait"),
    "transfer_ms": phase_ms("transfer"),
    "failure": of_last(lambda last: last.failure),
    "final_url": lambda result: result.hops[-1].url if result.hops else None,
    "redirects": lambda result: max(len(result.hops) - 1, 0),
    "address": lambda result: result.address,
    "reused": of_last(lambda last: last.reused),
    "clock": of_last(lambda last: last.clock),
    "size": of_last(lambda last: last.size),
    "truncated": of_last(lambda last: last.truncated),
    "rtt_ms": of_tcp("rtt", ms),
    "min_rtt_ms": of_tcp("min_rtt", ms),
    "retransmits": of_tcp("retransmits", int),
    "tls_version": of_tls("version"),
    "tls_cipher": of_tls("cipher"),
    "tls_resumed": of_tls("resumed"),
    "certificate_ends": certificate_ends,
    "certificate_issuer": of_tls("issuer"),
    "verdicts": lambda result: [
        {"assertion": verdict.assertion, "severity": verdict.severity, "found": verdict.found}
        for verdict in result.verdicts
    ],
    "tries": lambda result: [attempt_members(attempt) for attempt in result.tries],
}
"""Name -> what a result has there. Times in milliseconds; what is of the last attempt is told in the docs."""

CSV_COLUMNS = ("timestamp", "url", "status", "latency_ms", "error")
JSON_COLUMNS = (*CSV_COLUMNS, "attempts")
ALL_COLUMNS = tuple(COLUMNS)


def attempt_members(attempt: Attempt) -> dict[str, object]:
    return {
        "status": attempt.status,
        "error": attempt.error,
        "hops": [hop_members(hop) for hop in attempt.hops],
    }


def hop_members(hop: Hop) -> dict[str, object]:
    exchange, phases = hop.exchange, hop.exchange.phases
    return {
        "url": hop.url,
        "status": exchange.status,
        "failure": exchange.failure,
        "error": exchange.error,
        "address": exchange.address,
        "reused": exchange.reused,
        "clock": exchange.clock,
        "size": exchange.size,
        **phases_ms(phases),
    }


def phases_ms(phases: Phases) -> dict[str, float]:
    return {
        f"{name}_ms": ms(getattr(phases, name))
        for name in ("dns", "connect", "tls", "wait", "transfer", "total")
    }
