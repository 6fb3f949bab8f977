"""TLS of what listens: which clients get in, how certificates are renewed, and how a bad file is told."""

import asyncio
import os
import ssl

import pytest
import trustme

from penstock.services.distributor.config import TlsConfig
from penstock.services.distributor.tls import BadCertificate, Certificates


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """Certificate, key and authority as files; `config` names them."""

    class Files:
        cert, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"

        def issue(self, authority):
            leaf = authority.issue_cert("localhost")
            self.replace(self.cert, leaf.cert_chain_pems[0].bytes())
            self.replace(self.key, leaf.private_key_pem.bytes())
            return leaf

        def replace(self, file, content):
            """As certificate tools do it: another file in the old one's place."""
            beside = file.with_suffix(".new")
            beside.write_bytes(content)
            os.replace(beside, file)

        def trust(self, authority):
            self.replace(self.ca, authority.cert_pem.bytes())

        def config(self, **changes):
            return TlsConfig(**{"cert_file": str(self.cert), "key_file": str(self.key)} | changes)

    files = Files()
    files.issue(authority)
    files.trust(authority)
    return files


class Server:
    """Echoes a line over TLS."""

    def __init__(self, certificates):
        self.certificates = certificates

    async def __aenter__(self):
        async def echo(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # of refused handshakes
        self.server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=self.certificates.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def certificate_shown(self, context):
        """Echoes a line; the certificate that the server showed, as DER."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, server_hostname="localhost"
            )
            try:
                writer.write(b"hello\n")
                assert await reader.readline() == b"hello\n"
                return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.close()
                await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])


def client_of(*authorities, shows=None):
    context = ssl.create_default_context()
    for authority in authorities:
        authority.configure_trust(context)
    if shows is not None:
        shows.configure_cert(context)
    return context


async def refused(server, context):
    with pytest.raises((OSError, AssertionError)):  # TLS 1.3 tells it with the first byte that is read
        await server.certificate_shown(context)


async def test_client_that_trusts_the_authority_gets_in_and_others_do_not(files, authority):
    async with Server(Certificates(files.config())) as server:
        await server.certificate_shown(client_of(authority))
        await refused(server, client_of(trustme.CA()))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_mutual_tls_lets_in_only_those_with_a_certificate_of_the_authority(files, authority, version):
    async with Server(Certificates(files.config(client_ca_file=str(files.ca)))) as server:
        for shows, welcome in [
            (authority.issue_cert("client"), True),
            (None, False),
            (trustme.CA().issue_cert("client"), False),
        ]:
            context = client_of(authority, shows=shows)
            context.minimum_version = context.maximum_version = version
            if welcome:
                await server.certificate_shown(context)
            else:
                await refused(server, context)


async def test_tls_before_1_2_is_refused(files, authority):
    context = client_of(authority)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or the client itself would not
    for bound in ("minimum_version", "maximum_version"):
        with pytest.warns(DeprecationWarning, match="deprecated"):
            setattr(context, bound, ssl.TLSVersion.TLSv1_1)
    async with Server(Certificates(files.config())) as server:
        await refused(server, context)


async def test_renewed_certificate_is_shown_to_the_next_connection(files, authority):
    certificates = Certificates(files.config())
    async with Server(certificates) as server:
        first = await server.certificate_shown(client_of(authority))
        assert not certificates.reload()
        files.issue(authority)
        assert await server.certificate_shown(client_of(authority)) == first
        assert certificates.reload()
        assert await server.certificate_shown(client_of(authority)) != first
        assert not certificates.reload()


async def test_authority_of_clients_that_is_replaced_opens_no_more(files, authority):
    certificates = Certificates(files.config(client_ca_file=str(files.ca)))
    old, new = authority.issue_cert("client"), (other := trustme.CA()).issue_cert("client")
    async with Server(certificates) as server:
        first = client_of(authority, shows=old)
        await server.certificate_shown(first)
        await refused(server, client_of(authority, shows=new))
        files.trust(other)
        assert certificates.reload()
        await refused(server, first)
        await refused(server, client_of(authority, shows=old))
        await server.certificate_shown(client_of(authority, shows=new))


async def test_bad_renewal_is_complained_of_once_and_the_old_certificate_goes_on(files, authority, caplog):
    certificates = Certificates(files.config())
    async with Server(certificates) as server:
        first = await server.certificate_shown(client_of(authority))
        files.replace(files.key, b"no key")
        for _ in range(2):
            certificates.reload_or_complain()
        assert len(caplog.records) == 1
        assert "the certificate from before goes on" in caplog.text
        assert await server.certificate_shown(client_of(authority)) == first
        files.issue(authority)
        certificates.reload_or_complain()
        assert await server.certificate_shown(client_of(authority)) != first


async def test_files_are_looked_at_again_and_again(files, authority):
    certificates = Certificates(files.config())
    async with Server(certificates) as server:
        first = await server.certificate_shown(client_of(authority))
        watch = asyncio.create_task(certificates.reload_for_ever(0.005))
        files.issue(authority)
        async with asyncio.timeout(10):
            while await server.certificate_shown(client_of(authority)) == first:
                assert not watch.done()
        watch.cancel()


# What is wrong with a file


def test_certificate_and_key_may_share_a_file(files, authority):
    leaf = authority.issue_cert("localhost")
    files.replace(files.cert, leaf.private_key_and_cert_chain_pem.bytes())
    Certificates(files.config(key_file=""))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.cert.unlink(), "tls.cert_file must be a file that can be read, got {cert}: No such"),
        (lambda f: f.key.unlink(), "tls.key_file must be a file that can be read, got {key}: No such"),
        (lambda f: f.ca.unlink(), "tls.client_ca_file must be a file that can be read, got {ca}: No such"),
        (lambda f: f.cert.write_text("x"), "must hold a certificate and its key in PEM, got {cert}, {key}"),
        (lambda f: f.key.write_text("x"), "must hold a certificate and its key in PEM, got {cert}, {key}"),
        (lambda f: f.ca.write_text("x"), "tls.client_ca_file must hold certificates in PEM, got {ca}"),
        (
            lambda f: f.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes()),
            "tls.key_file must hold the key of {cert}, got another one's, in {key}",
        ),
    ],
)  # fmt: skip
def test_file_that_cannot_be_used_is_named_with_what_it_must_be(files, spoil, words):
    spoil(files)
    with pytest.raises(BadCertificate) as told:
        Certificates(files.config(client_ca_file=str(files.ca)))
    assert words.format(cert=files.cert, key=files.key, ca=files.ca) in str(told.value)


def test_certificate_without_key_and_no_key_file_is_told(files):
    with pytest.raises(BadCertificate, match=r"tls\.cert_file must hold a certificate and, without key_file"):
        Certificates(files.config(key_file=""))


def test_key_with_a_password_is_told_and_no_password_is_asked_for(files, authority):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(files.key.read_bytes(), None)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.replace(files.key, secret)
    with pytest.raises(BadCertificate, match=r"must hold a key without a password, got .*openssl pkey"):
        Certificates(files.config())
