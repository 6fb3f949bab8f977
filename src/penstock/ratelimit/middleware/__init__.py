"""Middleware that limits the requests of HTTP clients: for aiohttp in `.aiohttp`, for ASGI in `.asgi`.

Both refuse with 429, `Retry-After`, the fields `RateLimit` and `RateLimit-Policy`, and problem details, and
decide by the same core: per client IP unless told otherwise.

Source: draft-ietf-httpapi-ratelimit-headers-10; RFC 9457; RFC 6585, section 4.
"""

from penstock.ratelimit.middleware._core import Limiter, Options
from penstock.ratelimit.middleware.client_ip import ClientIP, client_ip, ip_key

__all__ = ["ClientIP", "Limiter", "Options", "client_ip", "ip_key"]
