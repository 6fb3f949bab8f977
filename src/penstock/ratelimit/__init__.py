"""Rate limiting: who may go now, and who has to wait how long."""

from penstock.ratelimit.token_bucket import TokenBucket

__all__ = ["TokenBucket"]
