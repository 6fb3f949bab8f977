"""Shared limiter: exact limits of many keys for several processes of one host, without a server."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.ratelimit._shared_file import SharedFileError
from penstock.ratelimit._shared_limiter_py import SharedStats

__all__ = ["SharedFileError", "SharedRateLimiter", "SharedStats"]

if TYPE_CHECKING:
    from penstock.ratelimit._shared_limiter_py import SharedRateLimiter
else:
    SharedRateLimiter = twin(__name__).SharedRateLimiter
