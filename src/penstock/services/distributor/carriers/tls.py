"""The TLS that analyzers are met with: whom to believe, and what to show them."""

import asyncio
import os
import ssl

from penstock.services.distributor.carriers.packing import CannotCarry
from penstock.services.distributor.config import AnalyzerConfig

__all__ = ["TlsContexts", "context_of"]

Files = tuple[str, str, str]
"""The paths of the authorities, the certificate and the key; empty where there is none."""
Stamps = tuple[tuple[int, int, int], ...]
"""What tells that a file is another one now."""


class TlsContexts:
    """The contexts of analyzers with files of their own, made again once a file has changed.

    Certificates are renewed every few weeks, and nobody wants to restart for it.
    """

    def __init__(self) -> None:
        self._contexts: dict[Files, tuple[Stamps, ssl.SSLContext]] = {}

    async def get(self, analyzer: AnalyzerConfig) -> ssl.SSLContext | bool:
        """The context for an analyzer; True: what aiohttp has for everybody.

        Raises:
            CannotCarry: a file cannot be used.
        """
        files = files_of(analyzer)
        if not any(files):
            return True
        stamps = stamps_of(files)
        known = self._contexts.get(files)
        if known is not None and known[0] == stamps:
            return known[1]
        context = await asyncio.to_thread(context_of, analyzer)  # the system's authorities take 30 ms to read
        self._contexts[files] = stamps, context
        return context

    def forget(self, analyzer: AnalyzerConfig) -> None:
        """Lets go of an analyzer's context."""
        self._contexts.pop(files_of(analyzer), None)


def files_of(analyzer: AnalyzerConfig) -> Files:
    return analyzer.ca_file, analyzer.cert_file, analyzer.key_file


def stamps_of(files: Files) -> Stamps:
    stamps = []
    for path in filter(None, files):
        try:
            found = os.stat(path)
        except OSError:  # reading it says so in words
            stamps.append((0, 0, 0))
        else:
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


def context_of(analyzer: AnalyzerConfig) -> ssl.SSLContext:
    """A new context of the analyzer's files.

    Raises:
        CannotCarry: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=analyzer.ca_file or None)
    except OSError as error:
        rule = "a PEM file of certificates"
        raise unusable("ca_file", analyzer, rule, analyzer.ca_file, error) from None
    if analyzer.cert_file:
        try:  # a password, so that OpenSSL does not ask the terminal for one and wait
            context.load_cert_chain(analyzer.cert_file, analyzer.key_file or None, password="")
        except OSError as error:
            files = " and ".join(filter(None, (analyzer.cert_file, analyzer.key_file)))
            rule = "PEM files of a certificate and its key, without a password"
            raise unusable("cert_file and key_file", analyzer, rule, files, error) from None
    return context


def unusable(field: str, analyzer: AnalyzerConfig, rule: str, path: str, error: OSError) -> CannotCarry:
    why = error.reason if isinstance(error, ssl.SSLError) else (error.strerror or str(error)).lower()
    return CannotCarry(f"{field} of analyzer {analyzer.id} must be {rule}, got {path}: {why or 'not PEM'}")
