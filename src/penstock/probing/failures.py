"""Why there is no answer: the same kinds and the same plain words from every engine."""

import errno
import os
import socket
import ssl
from typing import NamedTuple

from penstock.errors import PenstockError
from penstock.probing.exchange import Failure
from penstock.probing.resolver import AddressRefused, NameNotResolved

__all__ = [
    "CLOSED",
    "CUT_SHORT",
    "ENGINE_CLOSED",
    "ERRNO_WORDS",
    "HANDSHAKE_CLOSED",
    "MAX_WORDS",
    "NOT_HTTP",
    "NO_ADDRESS",
    "STAGES",
    "Fault",
    "fault_of",
    "timed_out",
]

ERRNO_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EMFILE: "too many open files: lower the concurrency or raise `ulimit -n`",
}

RESETS = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})

STAGES = (
    "resolving the name",
    "connecting",
    "in the TLS handshake",
    "waiting for the answer",
    "reading the answer",
)
"""What an exchange does, one after the other; the words end `timed out after 1.2 s`."""

RESOLVING, CONNECTING, HANDSHAKING, WAITING, READING = range(5)

MAX_WORDS = 200
"""Characters of an error's words."""


class Fault(NamedTuple):
    """Why an exchange failed.

    Attributes:
        failure: where.
        error: in plain words, printable.
        may_pass: whether another attempt may go better.
    """

    failure: Failure
    error: str
    may_pass: bool = True


NOT_HTTP = Fault("protocol", "not a valid HTTP answer")
CLOSED = Fault("closed", "connection closed without an answer")
CUT_SHORT = Fault("closed", "answer cut short")
ENGINE_CLOSED = Fault("closed", "the engine was closed")
HANDSHAKE_CLOSED = Fault("tls", "TLS failed: connection closed in the handshake")
NO_ADDRESS = Fault("connect", "no address to connect to")


def timed_out(timeout: float, stage: int) -> Fault:
    """The deadline came in one of the STAGES."""
    return Fault("timeout", f"timed out after {timeout:g} s {STAGES[stage]}")


def fault_of(error: BaseException, stage: int) -> Fault:
    """What an exception of the resolver, the socket, TLS or the parser means at one of the STAGES."""
    failure, words, may_pass = _fault_of(error, stage)
    shown = words if words.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in words)
    return Fault(failure, shown[:MAX_WORDS], may_pass)


def _fault_of(error: BaseException, stage: int) -> Fault:
    match error:
        case NameNotResolved():
            return Fault("dns", str(error), error.may_pass)
        case AddressRefused():
            return Fault("address", str(error), may_pass=False)
        case ssl.SSLCertVerificationError() | ssl.CertificateError():
            reason = getattr(error, "verify_message", "") or error
            return Fault("certificate", f"certificate refused: {reason}", may_pass=False)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() if stage <= HANDSHAKING:
            return HANDSHAKE_CLOSED
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():  # the connection ended without TLS saying so
            return CLOSED if stage == WAITING else CUT_SHORT
        case ssl.SSLError():
            return Fault("tls", f"TLS failed: {tls_words(error)}")
        case PenstockError() if isinstance(error, ValueError):  # of the parser
            return NOT_HTTP
        case socket.gaierror():  # of the event loop: an address that is none here
            return Fault("connect", "name not resolved")
        case ConnectionError(errno=None) if stage == HANDSHAKING:  # so says asyncio that there was no more
            return HANDSHAKE_CLOSED
        case OSError(errno=int(number)) if number in RESETS and stage == HANDSHAKING:
            return Fault("tls", "TLS failed: connection reset")
        case OSError(errno=int(number)) if number in RESETS and stage == READING:
            return CUT_SHORT
        case OSError(errno=int(number)):
            words = ERRNO_WORDS.get(number) or os.strerror(number).lower()
            if stage <= CONNECTING:
                return Fault("connect", words)
            return Fault("reset" if number in RESETS else "other", words)
        case _:
            return Fault("other", f"{type(error).__name__}: {error}")


def tls_words(error: ssl.SSLError) -> str:
    """OpenSSL's reason as words: WRONG_VERSION_NUMBER reads `wrong version number`."""
    if error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error.strerror or error)
