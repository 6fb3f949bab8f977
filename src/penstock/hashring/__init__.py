"""Placement: which of the nodes gets a key, with few keys moving when nodes come and go."""

from penstock.hashring.key_hash import KeyHash

__all__ = ["KeyHash"]
