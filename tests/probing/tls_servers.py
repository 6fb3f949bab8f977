"""Certificates for tests: an authority that the clients trust, and servers with certificates of it."""

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache

import trustme


@cache
def authority():
    return trustme.CA()


@cache
def strange_authority():
    """One that no client trusts."""
    return trustme.CA()


def client_context():
    """Trusts `authority`, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    authority().configure_trust(context)
    return context


@cache
def server_context(kind):
    """Of a server with a certificate that is good, expired, wrong or strange, or who wants the client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    ca, names, ends = authority(), ["127.0.0.1", "localhost"], datetime.now(UTC) + timedelta(days=30)
    match kind:
        case "expired":
            ends = datetime.now(UTC) - timedelta(days=1)
        case "wrong host":
            names = ["example.org"]
        case "strange":
            ca = strange_authority()
        case "wants a certificate":
            context.verify_mode = ssl.CERT_REQUIRED
            authority().configure_trust(context)
        case "old TLS":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
    ca.issue_cert(*names, common_name=names[0], not_after=ends).configure_cert(context)
    return context
