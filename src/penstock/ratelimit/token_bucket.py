"""Token bucket: so many a second, with bursts up to a capacity."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["TokenBucket"]

if TYPE_CHECKING:
    from penstock.ratelimit._token_bucket_py import TokenBucket
else:
    TokenBucket = twin(__name__).TokenBucket
