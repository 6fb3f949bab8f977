"""Why an attempt failed, in words for people who do not know aiohttp."""

import ssl
from types import SimpleNamespace

import aiohttp

from penstock.services.http_attempt import failure


def test_certificate_fault_is_told_in_openssls_words():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    key = SimpleNamespace(host="h", port=443, ssl=True, is_ssl=True)
    answer = failure(aiohttp.ClientConnectorCertificateError(key, error), 1.0)
    assert (answer.error, answer.may_pass) == ("certificate refused: certificate has expired", False)


def test_unforeseen_exception_is_told_in_bounded_printable_words():
    answer = failure(RuntimeError("\x1b[2J\n" + "x" * 10_000), 1.0)
    assert answer.error.startswith("RuntimeError: \ufffd[2J\ufffdxxx")
    assert len(answer.error) == 200
