"""Messages of NATS as they travel: read without what nobody asks for, and written many at a time."""

import msgspec

__all__ = ["Message", "framed", "headers_size"]

VERSION = b"NATS/1.0"


class Message(msgspec.Struct, gc=False):
    """A message that has come."""

    subject: str
    reply: str
    """Where its sender waits for an answer; empty when nobody does."""
    data: bytes
    headers: bytes = b""
    """As they came, from `NATS/1.0` to the empty line."""

    @property
    def status(self) -> str:
        """What the server says instead of a message, such as `404`; empty when it is one."""
        return self._status_line.partition(" ")[0]

    @property
    def description(self) -> str:
        """The server's words for it."""
        return self._status_line.partition(" ")[2]

    @property
    def _status_line(self) -> str:
        line = self.headers[len(VERSION) : self.headers.find(b"\r\n")]
        return line.decode(errors="replace").strip()


def framed(subject: str, payload: bytes, reply: str = "", headers: str = "") -> tuple[bytes, bytes, bytes]:
    """A message as the server takes it, in parts, to be joined with those of others.

    Args:
        subject: where it goes.
        payload: what it says.
        reply: where it is to be answered.
        headers: lines of ASCII such as `Nats-Msg-Id: 7`, each with its end; nothing is checked here.
    """
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        return f"PUB {to} {len(payload)}\r\n".encode(), payload, b"\r\n"
    size = headers_size(headers)
    control = f"HPUB {to} {size} {size + len(payload)}\r\nNATS/1.0\r\n{headers}\r\n"
    return control.encode(), payload, b"\r\n"


def headers_size(headers: str) -> int:
    """Bytes that such lines take in a message; `max_payload` of a server counts them, too."""
    return len(VERSION) + 2 + len(headers) + 2 if headers else 0
