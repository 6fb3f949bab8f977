"""TLS for what listens: the certificate that is shown, and those that clients must show.

Certificates are renewed while the service runs: a new pair of files is taken up within `LOOK_INTERVAL`, or at
once on SIGHUP, for connections made from then on. While the new files are no good, the old ones go on.
"""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import NamedTuple

from penstock.errors import PenstockError
from penstock.services.distributor.config import TlsConfig

__all__ = ["BadCertificate", "Certificates"]

log = logging.getLogger(__name__)

LOOK_INTERVAL = 10.0
"""Seconds between two looks at the files."""


class BadCertificate(PenstockError, ValueError):
    """A file of a certificate or a key cannot be used; the message says which, why, and what to do."""


class Stamp(NamedTuple):
    """What tells that a file is another one than before."""

    inode: int
    mtime_ns: int
    size: int


class Certificates:
    """The certificates of a server.

    Args:
        config: where the files are.

    Attributes:
        context: for whatever listens; it shows the newest certificate to each connection.

    Raises:
        BadCertificate: they cannot be used.
    """

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._seen = self._stamps()
        self._newest = self.context = server_context(config)
        self.context.sni_callback = self._show_newest

    def _show_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called at the start of every handshake, whether or not the client names a server."""
        connection.context = self._newest

    def reload(self) -> bool:
        """Takes up the files when they have changed since the last look; tells whether they have.

        Raises:
            BadCertificate: the new ones cannot be used; the old ones stay.
        """
        seen = self._stamps()
        if seen == self._seen:
            return False
        self._seen = seen  # also when they are bad: one complaint is enough
        self._newest = server_context(self._config)
        log.info("new certificate: %s", self._config.cert_file)
        return True

    async def reload_for_ever(self, interval: float = LOOK_INTERVAL) -> None:
        """Looks at the files again and again."""
        while True:
            await asyncio.sleep(interval)
            self.reload_or_complain()

    def reload_or_complain(self) -> None:
        """As `reload`; what is wrong is logged."""
        try:
            self.reload()
        except BadCertificate as error:
            log.error("%s; the certificate from before goes on", error)

    def _stamps(self) -> list[Stamp | None]:
        files = (self._config.cert_file, self._config.key_file, self._config.client_ca_file)
        return [stamp_of(Path(file)) for file in files if file]


def stamp_of(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:  # said by whoever reads it
        return None
    return Stamp(status.st_ino, status.st_mtime_ns, status.st_size)


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 and later, with these certificates.

    Raises:
        BadCertificate: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, config)
    if config.client_ca_file:
        load_authorities(context, config.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
        # a resumed session shows no certificate, and would outlive a change of the authorities
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def load_certificate(context: ssl.SSLContext, config: TlsConfig) -> None:
    key_file = config.key_file or config.cert_file
    must_be_readable(config.cert_file, "cert_file")
    must_be_readable(key_file, "key_file")
    try:
        context.load_cert_chain(config.cert_file, key_file, password=no_password)
    except KeyIsEncrypted:
        raise BadCertificate(
            f"tls.key_file must hold a key without a password, got {key_file}; `openssl pkey` takes it off"
        ) from None
    except ssl.SSLError as error:
        raise BadCertificate(in_words(error, config.cert_file, key_file)) from None


def load_authorities(context: ssl.SSLContext, file: str) -> None:
    must_be_readable(file, "client_ca_file")
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise BadCertificate(f"tls.client_ca_file must hold certificates in PEM, got {file}") from None


def must_be_readable(file: str, field: str) -> None:
    try:
        with open(file, "rb"):
            pass
    except OSError as error:
        raise BadCertificate(
            f"tls.{field} must be a file that can be read, got {file}: {error.strerror}"
        ) from None


def in_words(error: ssl.SSLError, cert_file: str, key_file: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls.key_file must hold the key of {cert_file}, got another one's, in {key_file}"
    if key_file == cert_file:
        return f"tls.cert_file must hold a certificate and, without key_file, its key in PEM, got {cert_file}"
    return (
        f"tls.cert_file and key_file must hold a certificate and its key in PEM, got {cert_file}, {key_file}"
    )


class KeyIsEncrypted(Exception):
    """OpenSSL asks for a password."""


def no_password() -> str:
    """Without it, OpenSSL would ask the terminal."""
    raise KeyIsEncrypted
