"""Exceptions in plain words."""

import errno
import socket
import ssl

import pytest

from penstock.probing.failures import (
    CLOSED,
    CONNECTING,
    CUT_SHORT,
    HANDSHAKE_CLOSED,
    HANDSHAKING,
    NOT_HTTP,
    READING,
    RESOLVING,
    WAITING,
    Fault,
    fault_of,
    timed_out,
)
from penstock.probing.resolver import AddressRefused, NameNotResolved
from penstock.probing.response_parser import BadResponse


def tls_error(reason, kind=ssl.SSLError):
    error = kind(1, f"[SSL: {reason}] text (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "stage", "fault"),
    [
        (NameNotResolved("name not resolved: h"), RESOLVING, ("dns", "name not resolved: h", True)),
        (AddressRefused("address refused: h"), RESOLVING, ("address", "address refused: h", False)),
        (OSError(errno.ECONNREFUSED, "x"), CONNECTING, ("connect", "connection refused", True)),
        (OSError(errno.ENETUNREACH, "x"), CONNECTING, ("connect", "network unreachable", True)),
        (OSError(errno.ECONNRESET, "x"), CONNECTING, ("connect", "connection reset", True)),
        (OSError(errno.EADDRNOTAVAIL, "x"), CONNECTING, ("connect", "cannot assign requested address", True)),
        (OSError(errno.ECONNRESET, "x"), HANDSHAKING, ("tls", "TLS failed: connection reset", True)),
        (ConnectionResetError(), HANDSHAKING, HANDSHAKE_CLOSED),
        (tls_error("UNEXPECTED_EOF", ssl.SSLEOFError), HANDSHAKING, HANDSHAKE_CLOSED),
        (tls_error("WRONG_VERSION_NUMBER"), HANDSHAKING, ("tls", "TLS failed: wrong version number", True)),
        (tls_error(""), HANDSHAKING, ("tls", "TLS failed: [SSL: ] text (_ssl.c:1006)", True)),
        (tls_error("UNEXPECTED_EOF", ssl.SSLEOFError), WAITING, CLOSED),
        (tls_error("UNEXPECTED_EOF", ssl.SSLEOFError), READING, CUT_SHORT),
        (OSError(errno.EPIPE, "x"), WAITING, ("reset", "connection reset", True)),
        (OSError(errno.ECONNRESET, "x"), READING, CUT_SHORT),
        (OSError(errno.ETIMEDOUT, "x"), WAITING, ("other", "connection timed out", True)),
        (BadResponse("x"), READING, NOT_HTTP),
        (RuntimeError("odd\n"), WAITING, ("other", "RuntimeError: odd\ufffd", True)),
        (socket.gaierror(socket.EAI_NONAME, "x"), RESOLVING, ("connect", "name not resolved", True)),
    ],
)
def test_an_exception_is_told_in_words_that_need_no_library(error, stage, fault):
    assert fault_of(error, stage) == fault


def test_a_certificate_is_refused_in_openssl_s_words_and_not_tried_again():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    assert fault_of(error, HANDSHAKING) == (
        "certificate",
        "certificate refused: certificate has expired",
        False,
    )


def test_words_are_bounded():
    assert len(fault_of(RuntimeError("x" * 10_000), WAITING).error) == 200


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (RESOLVING, "resolving the name"),
        (CONNECTING, "connecting"),
        (HANDSHAKING, "in the TLS handshake"),
        (WAITING, "waiting for the answer"),
        (READING, "reading the answer"),
    ],
)
def test_a_timeout_says_how_long_and_what_for(stage, words):
    assert timed_out(1.2, stage) == Fault("timeout", f"timed out after 1.2 s {words}")
