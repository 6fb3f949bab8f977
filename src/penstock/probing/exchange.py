"""What came of one HTTP request: a status or an error, and where the time went."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["Exchange", "Failure", "Phases", "TcpFacts", "TlsFacts"]

Failure = Literal[
    "",
    "dns",
    "address",
    "connect",
    "proxy",
    "tls",
    "certificate",
    "timeout",
    "closed",
    "reset",
    "protocol",
    "other",
]
"""Where an exchange failed; empty when it did not.

`address` is an address that the caller's resolver refused; `closed` an end of the connection before the
answer was whole; `protocol` bytes that are no HTTP answer, or more than the bounds allow."""


class Phases(NamedTuple):
    """Nanoseconds of the steps of one exchange, one after the other; a step that was not made took 0."""

    dns: int = 0
    """From asking for the name to having its addresses."""
    connect: int = 0
    """TCP, from the first SYN to the connection that is used."""
    tls: int = 0
    """The TLS handshake."""
    wait: int = 0
    """From handing the request to the kernel to the first byte of the answer."""
    transfer: int = 0
    """From the first byte of the answer to its last."""
    total: int = 0
    """From the beginning to the last byte, without the wait for a turn to connect; what is in no step was
    spent in this process."""

    @property
    def service(self) -> int:
        """From handing the request to the kernel to the last byte of the answer."""
        return self.wait + self.transfer


class TcpFacts(NamedTuple):
    """What the kernel knows of the connection (TCP_INFO of Linux)."""

    rtt: int
    """Smoothed round trip time, nanoseconds."""
    min_rtt: int
    """The least one seen, nanoseconds."""
    retransmits: int
    """Segments that were sent again, over the life of the connection."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What was agreed in the handshake, and what the server's certificate says.

    Attributes:
        version: such as `TLSv1.3`.
        cipher: its name.
        alpn: the protocol chosen, empty when none was.
        resumed: whether an earlier session was used.
        not_after: seconds since 1970 when the certificate ends; None when it was not looked at.
        subject: common name of the certificate, empty when unknown.
        issuer: common name of who signed it, empty when unknown.
    """

    version: str
    cipher: str
    alpn: str = ""
    resumed: bool = False
    not_after: float | None = None
    subject: str = ""
    issuer: str = ""


NO_PHASES = Phases()


@dataclass(slots=True)
class Exchange:
    """What came of one request.

    Attributes:
        status: of the answer, 0 when there was none, or not all of it.
        reason: the server's words beside the status.
        failure: where it failed, empty when it did not.
        error: the same in plain words for people, empty when it did not fail.
        may_pass: whether another attempt may go better.
        began: monotonic nanoseconds at the beginning.
        started_at: wall clock at the beginning, nanoseconds since 1970, UTC.
        phases: where the time went, as far as it got.
        queued: nanoseconds that it waited for its turn to connect, which are in no phase, nor in the timeout.
        clock: `kernel` when the ends of wait and transfer are times that the kernel noted when bytes
            arrived; `user` when they are when this process saw them.
        reused: whether the connection had been used before.
        address: the IP address that was connected to, empty when none was.
        head: the raw status line and headers of the answer.
        body: its first bytes, as many as were to be kept, as they came (compressed, if so).
        size: bytes of the body that were read, chunk framing not counted.
        truncated: whether the body was longer than what may be read; it was left there, status kept.
        tcp: what the kernel knows; None where it does not tell.
        tls: what was agreed; None without TLS.
    """

    status: int = 0
    reason: str = ""
    failure: Failure = ""
    error: str = ""
    may_pass: bool = False
    began: int = 0
    started_at: int = 0
    phases: Phases = NO_PHASES
    queued: int = 0
    clock: Literal["kernel", "user"] = "user"
    reused: bool = False
    address: str = ""
    head: bytes = b""
    body: bytes = b""
    size: int = 0
    truncated: bool = False
    tcp: TcpFacts | None = None
    tls: TlsFacts | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names in lower case and values, in the order in which they came."""
        lines = self.head.split(b"\n")[1:]  # some servers send no CR before it
        pairs = (line.partition(b":") for line in lines if line.strip())
        return [(name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        """The value of a header, by its name in lower case; several joined by commas; None without it."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None
