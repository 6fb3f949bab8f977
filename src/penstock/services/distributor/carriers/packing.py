"""Deliveries made smaller."""

import gzip
from typing import Literal

from penstock.errors import PenstockError

__all__ = ["CannotCarry", "check_packing", "packed"]

Packing = Literal["none", "gzip", "zstd"]

GZIP_LEVEL = 1
"""Level 6 takes two and a half times as long, and makes a sixth less of log lines."""
ZSTD_LEVEL = 3


class CannotCarry(PenstockError, ValueError):
    """An analyzer's settings ask for what cannot be done here."""


def check_packing(packing: Packing) -> None:
    """Whether deliveries can be packed so.

    Raises:
        CannotCarry: what it needs is not installed.
    """
    if packing == "zstd":
        try:
            from backports import zstd  # noqa: F401
        except ImportError:
            raise CannotCarry("compression zstd needs backports.zstd: pip install 'penstock[zstd]'") from None


def packed(body: bytes, packing: Packing) -> bytes:
    """`body` packed, as its Content-Encoding says.

    Raises:
        CannotCarry: what it needs is not installed.
    """
    if packing == "gzip":
        return gzip.compress(body, GZIP_LEVEL, mtime=0)
    if packing == "zstd":
        check_packing(packing)
        from backports import zstd

        return zstd.compress(body, ZSTD_LEVEL)
    return body
