"""Analyzers over TLS: whom the distributor believes, what it shows them, and what it says of bad files."""

import ssl
from contextlib import asynccontextmanager

import msgspec
import pytest
import trustme
from aiohttp import web

from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.carriers import CannotCarry, Carriers, check
from penstock.services.distributor.config import AnalyzerConfig, Config
from services.distributor.analyzer_servers import http_server, packets


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def client_files(authority, folder, name="client"):
    """Certificate and key in one file, and each in its own."""
    certificate = authority.issue_cert("penstock@example.org")
    both, chain, key = (folder / f"{name}{end}" for end in (".both.pem", ".pem", ".key"))
    certificate.private_key_and_cert_chain_pem.write_to_path(both)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    return str(both), str(chain), str(key)


@asynccontextmanager
async def tls_analyzer(authority, *, wants_certificate=False, identity="127.0.0.1", **settings):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(identity).configure_cert(context)
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)

    async def take(request):
        await request.read()
        return web.Response()

    async with http_server(take, ssl=context, **settings) as analyzer:
        yield analyzer


async def failure(analyzer):
    async with Carriers(Config()) as client:
        with pytest.raises(DeliveryFailed) as failed:
            await client.deliver(analyzer, packets())
    return str(failed.value)


async def test_analyzer_whose_authority_is_named_is_believed(authority, ca_file):
    async with tls_analyzer(authority, ca_file=ca_file) as analyzer, Carriers(Config()) as client:
        assert await client.deliver(analyzer, packets()) == {}
        await client.probe(analyzer)


async def test_analyzer_of_an_unknown_authority_gets_nothing(authority):
    async with tls_analyzer(authority) as analyzer:
        assert "certificate refused: unable to get local issuer certificate" in await failure(analyzer)


async def test_analyzer_with_the_certificate_of_another_host_gets_nothing(authority, ca_file):
    async with tls_analyzer(authority, ca_file=ca_file, identity="example.org") as analyzer:
        assert "certificate refused: IP address mismatch" in await failure(analyzer)


async def test_certificate_is_shown_to_an_analyzer_that_wants_one(authority, ca_file, tmp_path):
    both, chain, key = client_files(authority, tmp_path)
    for shown in ({"cert_file": both}, {"cert_file": chain, "key_file": key}):
        async with (
            tls_analyzer(authority, wants_certificate=True, ca_file=ca_file, **shown) as analyzer,
            Carriers(Config()) as client,
        ):
            assert await client.deliver(analyzer, packets()) == {}
            await client.probe(analyzer)


async def test_analyzer_that_wants_a_certificate_and_sees_none_or_a_strangers_takes_nothing(
    authority, ca_file, tmp_path
):
    both, _, _ = client_files(trustme.CA(), tmp_path)
    for shown in ({}, {"cert_file": both}):
        async with tls_analyzer(authority, wants_certificate=True, ca_file=ca_file, **shown) as analyzer:
            assert await failure(analyzer)


async def test_renewed_file_is_used_without_a_restart(authority, ca_file, tmp_path):
    stranger, _, _ = client_files(trustme.CA(), tmp_path, "stranger")
    ours, _, _ = client_files(authority, tmp_path)
    in_use = tmp_path / "in_use.pem"
    in_use.symlink_to(stranger)
    async with (
        tls_analyzer(authority, wants_certificate=True, ca_file=ca_file, cert_file=str(in_use)) as analyzer,
        Carriers(Config()) as client,
    ):
        with pytest.raises(DeliveryFailed):
            await client.deliver(analyzer, packets())
        in_use.unlink()
        in_use.symlink_to(ours)
        assert await client.deliver(analyzer, packets()) == {}


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such file"), (b"no pem", ""), (b"", "")], ids=["none", "text", "empty"]
)
@pytest.mark.parametrize("field", ["ca_file", "cert_file"])
async def test_file_that_cannot_be_used_is_named(field, content, reason, tmp_path):
    path = tmp_path / "some.pem"
    if content is not None:
        path.write_bytes(content)
    analyzer = AnalyzerConfig("a1", "https://127.0.0.1:9/", **{field: str(path)})
    with pytest.raises(CannotCarry, match=rf"{field}.* of analyzer a1 must be .*PEM.*, got {path}: {reason}"):
        check(analyzer)
    assert str(path) in await failure(analyzer)


def test_key_of_another_certificate_is_refused(authority, tmp_path):
    _, chain, _ = client_files(authority, tmp_path)
    _, _, key = client_files(authority, tmp_path, "other")
    with pytest.raises(CannotCarry, match="KEY_VALUES_MISMATCH"):
        check(AnalyzerConfig("a1", "https://x/", cert_file=chain, key_file=key))


def test_key_with_a_password_is_refused_and_nobody_is_asked_for_it(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    _, chain, _ = client_files(trustme.CA(), tmp_path)
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(CannotCarry, match="without a password"):
        check(AnalyzerConfig("a1", "https://x/", cert_file=chain, key_file=str(tmp_path / "locked.key")))


async def test_forgotten_analyzer_has_no_context_kept(authority, ca_file):
    async with tls_analyzer(authority, ca_file=ca_file) as analyzer, Carriers(Config()) as client:
        await client.deliver(analyzer, packets())
        await client.forget(analyzer)
        assert await client.deliver(msgspec.structs.replace(analyzer, name="again"), packets()) == {}
