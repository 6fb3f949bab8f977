"""Frozen hashes of keys: the same number for the same key everywhere, by which keys are placed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.hashring._key_hash_py import Key

__all__ = ["Key", "KeyHash"]

if TYPE_CHECKING:
    from penstock.hashring._key_hash_py import KeyHash
else:
    KeyHash = twin(__name__).KeyHash


def restored(name: str | Callable[[bytes], int], seed: int) -> KeyHash:
    """A hash from a pickle, which names this function: it may come from a process with the other twin."""
    return KeyHash(name, seed)
