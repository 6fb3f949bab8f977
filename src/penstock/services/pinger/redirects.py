"""Where a redirect leads: the rules of the Fetch standard, as browsers and curl keep them."""

from urllib.parse import urljoin

from penstock.probing.exchange import Exchange
from penstock.probing.request import InvalidUrl, Request
from penstock.services.printable import printable

__all__ = ["BadRedirect", "next_request"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

OF_THE_ORIGIN = frozenset({"authorization", "cookie", "host", "proxy-authorization"})
"""Headers that are nobody else's business: they do not follow to another scheme, host or port."""

OF_THE_BODY = frozenset({"content-encoding", "content-language", "content-location", "content-type"})

MAX_SHOWN = 150


class BadRedirect(InvalidUrl):
    """A redirect leads to what no request can be sent to."""


def next_request(request: Request, answer: Exchange) -> Request | None:
    """The request that a redirect asks for; None when the answer is none, or says no place.

    303 makes a GET of everything but HEAD, 301 and 302 of a POST; the body is then left behind.

    Raises:
        BadRedirect: the place is no http or https URL.
    """
    if answer.status not in REDIRECTS:
        return None
    place = answer.header("location")
    if not place:
        return None
    url = resolved(request.url, place)
    method, body, dropped = request.method, request.body, frozenset[str]()
    if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
        method, body, dropped = "GET", b"", OF_THE_BODY
    try:
        return rebuilt(request, url, method, body, dropped)
    except InvalidUrl:
        raise BadRedirect(f"redirected to what is no http URL: {printable(url)[:MAX_SHOWN]}") from None


def resolved(base: str, place: str) -> str:
    """The absolute URL of a Location, without its fragment; Request refuses what is none."""
    try:
        # Headers are read as Latin-1; what servers send raw is UTF-8, nearly always.
        text = place.encode("latin-1").decode("utf-8")
    except UnicodeError:
        text = place
    try:
        return urljoin(base, text.strip().replace(" ", "%20")).partition("#")[0]
    except ValueError:  # such as http://[::1
        return text


def rebuilt(request: Request, url: str, method: str, body: bytes, dropped: frozenset[str]) -> Request:
    if Request(url).origin != request.origin:
        dropped |= OF_THE_ORIGIN
    return Request(
        url,
        method=method,
        headers=[field for field in request.fields if field[0].lower() not in dropped],
        body=body,
        keep_alive=request.keep_alive,
        keep_body=request.keep_body,
        max_body=request.max_body,
    )
