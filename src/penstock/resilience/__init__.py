"""Resilience: what a caller does when the other side fails."""

from penstock.resilience.backoff import ExponentialBackoff

__all__ = ["ExponentialBackoff"]
