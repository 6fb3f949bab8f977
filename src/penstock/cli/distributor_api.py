"""Asking a running distributor: its address and key as options, its refusals as errors of the command."""

import functools
import ssl
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import click
import msgspec

from penstock.cli.program import DISTRIBUTOR_URL, program
from penstock.errors import InvalidValue
from penstock.services.bearer import bearer
from penstock.services.http_url import is_http_url
from penstock.services.printable import one_line

__all__ = [
    "DistributorApi",
    "advice",
    "api_options",
    "ca_file_option",
    "cert_file_option",
    "tls_context",
    "to_option",
]

TIMEOUT = 60.0
MAX_ANSWER_BYTES = 256 * 1024 * 1024


def distributor_url(text: str) -> str:
    """An http or https address with a host and without a query; the path of the API may follow it."""
    if not is_http_url(text) or "?" in text or "#" in text:
        raise click.BadParameter(f"{text!r} is no address such as http://127.0.0.1:8080")
    return text.rstrip("/").removesuffix("/api/v1/logs").removesuffix("/api/v1")


to_option = click.option(
    "--to",
    "url",
    type=distributor_url,
    metavar="URL",
    default=DISTRIBUTOR_URL,
    show_default=True,
    help="Address of the distributor.",
)
ca_file_option = click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Authorities that may sign the distributor's certificate; the system's if not given.",
)
cert_file_option = click.option(
    "--cert-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificate to show, and its key, where the distributor wants one.",
)


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --to, --key, --ca-file and --cert-file; the command gets its `api`."""
    key = click.option(
        "--key",
        metavar="KEY",
        envvar="PENSTOCK_API_KEY",
        help="API key: listing and searching need may_read, replay and purge may_operate. Better in "
        "PENSTOCK_API_KEY, where nobody sees it in the list of processes.",
    )

    @functools.wraps(command)
    def with_api(url: str, key: str | None, ca_file: str | None, cert_file: str | None, **others: Any) -> Any:
        return command(api=DistributorApi(url, key, ca_file, cert_file), **others)

    return to_option(key(ca_file_option(cert_file_option(with_api))))


class DistributorApi:
    """Asks a distributor; an error of it, or of the way to it, ends the command.

    Args:
        url: of the distributor.
        key: the API key, if it wants one.
        ca_file: authorities for https.
        cert_file: what is shown to a distributor that wants a certificate, with its key.
    """

    def __init__(
        self, url: str, key: str | None = None, ca_file: str | None = None, cert_file: str | None = None
    ) -> None:
        self.url = url
        self._headers = {"User-Agent": "penstock", "Content-Type": "application/json"}
        if key is not None:
            try:
                self._headers["Authorization"] = bearer(key)
            except InvalidValue as error:
                raise click.BadParameter(str(error), param_hint="--key") from None
        self._ca_file = ca_file
        self._cert_file = cert_file

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What it answers to a GET; members of the query that are None are left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self.ask("GET", path + (f"?{urlencode(given)}" if given else ""))

    def post(self, path: str, body: object) -> Any:
        """What it answers to a POST of JSON."""
        return self.ask("POST", path, msgspec.json.encode(body))

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """The JSON of an answer.

        Raises:
            ClickException: there is no answer, or it is a refusal.
        """
        status, answer = self._answer(method, path, body)
        try:
            told = msgspec.json.decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            told = None
        if 200 <= status < 300 and told is not None:
            return told
        detail = told.get("detail") if isinstance(told, dict) else None
        if detail is None:
            raise click.ClickException(
                f"{self.url} answers {status}, not as a distributor does; say with --to where one is"
            )
        hint = " (--key, or PENSTOCK_API_KEY)" if status in (401, 403) else ""
        raise click.ClickException(f"{one_line(str(detail), 500)}{hint}")

    def _answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        connection: HTTPConnection
        if parts.scheme == "https":
            context = tls_context(self._ca_file, self._cert_file)
            connection = HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
        else:
            connection = HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        try:
            connection.request(method, parts.path + path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read(MAX_ANSWER_BYTES)
        except (OSError, HTTPException) as error:
            raise click.ClickException(
                f"nothing answers at {self.url}: {one_line(reason(error), 200)}; {advice(error)}"
            ) from None
        finally:
            connection.close()


def tls_context(ca_file: str | None, cert_file: str | None) -> ssl.SSLContext:
    """What --ca-file and --cert-file ask for.

    Raises:
        ClickException: one of them cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise click.ClickException(f"--ca-file must hold certificates in PEM, got {ca_file}") from None
    if cert_file is not None:
        try:
            context.load_cert_chain(cert_file, password=no_password)
        except (OSError, ssl.SSLError):
            raise click.ClickException(
                f"--cert-file must hold a certificate and its key in PEM, got {cert_file}"
            ) from None
    return context


def no_password() -> str:
    """For keys that want one; without it, OpenSSL would ask the terminal."""
    return ""


def reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def advice(error: BaseException | None) -> str:
    """What to do about a distributor that cannot be reached."""
    refused = getattr(error, "certificate_error", error)  # aiohttp wraps it; dead-letter does without aiohttp
    if isinstance(refused, ssl.SSLCertVerificationError):
        return "name who signed that certificate with --ca-file"
    return f"start one with `{program()} distribute`, or say with --to where one is"
