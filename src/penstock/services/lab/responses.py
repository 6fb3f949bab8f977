"""What the simulated server writes: HTTP/1.1 responses as bytes."""

from email.utils import formatdate
from http import HTTPStatus
from time import time

import msgspec

from penstock.services.lab.request_head import Head

__all__ = ["Responses"]

JSON, PROBLEM = "application/json", "application/problem+json"

encode = msgspec.json.Encoder().encode


class Responses:
    """Writes responses; keeps the current Date, which changes once a second only."""

    def __init__(self) -> None:
        self._second = -1
        self._date = ""

    def write(
        self, to: Head, status: int, body: bytes, *, content_type: str = JSON, headers: str = ""
    ) -> bytes:
        """A whole response; without the body for HEAD.

        Args:
            to: the request.
            status: of HTTP.
            body: its bytes.
            content_type: what they are.
            headers: further lines, each with its line end.
        """
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"Server: penstock-lab\r\nDate: {self._now()}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'keep-alive' if to.keep_alive else 'close'}\r\n{headers}\r\n"
        ).encode("latin-1")
        return head if to.method == "HEAD" else head + body

    def json(self, to: Head, status: int, members: dict[str, object]) -> bytes:
        """A JSON object, with a line end so that curl leaves the prompt on a line of its own."""
        return self.write(to, status, encode(members) + b"\n")

    def problem(self, to: Head, status: int, detail: str, headers: str = "") -> bytes:
        """An error as problem details, RFC 9457."""
        title = HTTPStatus(status).phrase
        members = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return self.write(to, status, encode(members) + b"\n", content_type=PROBLEM, headers=headers)

    def _now(self) -> str:
        second = int(time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
        return self._date
