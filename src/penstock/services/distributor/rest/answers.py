"""The forms of answers: JSON, times and waits."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from aiohttp import web

__all__ = ["answer", "in_go_style", "moment_told", "retry_after", "timestamp"]

encode = msgspec.json.Encoder().encode


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON with a line end, so that curl leaves the prompt on a line of its own."""
    return web.Response(
        body=encode(body) + b"\n", status=status, content_type="application/json", headers=headers
    )


def retry_after(seconds: float) -> dict[str, str]:
    """The field that says when to come again: whole seconds, at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def timestamp(unix: float | None = None) -> str:
    """RFC 3339 in UTC, to the second; now when no time is given."""
    moment = datetime.now(UTC) if unix is None else datetime.fromtimestamp(unix, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_told(unix_ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def in_go_style(seconds: float) -> str:
    """A duration as the reference prints it: 5m23.891s."""
    hours, rest = divmod(round(seconds, 3), 3600)
    minutes, rest = divmod(rest, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours:.0f}h{minutes:.0f}m{text}"
    return f"{minutes:.0f}m{text}" if minutes else text
