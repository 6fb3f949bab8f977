"""TLS of the engines: one context for all, and what was agreed in a handshake."""

import ssl
from functools import cache

from penstock.probing.exchange import TlsFacts

__all__ = ["default_context", "said_its_end", "tls_facts_of"]


@cache
def default_context() -> ssl.SSLContext:
    """The system's CAs, names checked, TLS 1.2 or newer; made once, it takes 30 ms to load the CAs."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_facts_of(tls: ssl.SSLObject, *, certificate: bool) -> TlsFacts:
    """What was agreed.

    Args:
        tls: after its handshake.
        certificate: whether to read the server's certificate, too; one that was not verified tells nothing.
    """
    cipher = tls.cipher()
    found = (tls.getpeercert() or {}) if certificate else {}
    ends = found.get("notAfter")
    return TlsFacts(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=tls.selected_alpn_protocol() or "",
        resumed=bool(tls.session_reused),
        not_after=ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None,
        subject=common_name(found.get("subject")),
        issuer=common_name(found.get("issuer")),
    )


def said_its_end(tls: ssl.SSLObject) -> bool:
    """Whether the server has ended TLS itself (close_notify), after which nothing is left to be read.

    An end of the connection alone may be anybody's on the way (RFC 8446, 6.1).
    """
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:  # ... and so have we
        return True
    except (ssl.SSLError, ValueError):
        return False


def common_name(names: object) -> str:
    """The common name among the names of a certificate, as getpeercert returns them."""
    if isinstance(names, tuple):
        for relative in names:
            for kind, value in relative:
                if kind == "commonName":
                    return str(value)
    return ""
