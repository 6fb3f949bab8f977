"""Placement: which of the nodes gets a key, with few keys moving when nodes come and go."""

from penstock.hashring.bounded_load import BoundedLoadRing
from penstock.hashring.errors import DuplicateNode, EmptyRing, InvalidSnapshot, UnknownNode
from penstock.hashring.hash_ring import FrozenRing, HashRing
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.ring_diff import Move, RingDiff

__all__ = [
    "BoundedLoadRing",
    "DuplicateNode",
    "EmptyRing",
    "FrozenRing",
    "HashRing",
    "InvalidSnapshot",
    "KeyHash",
    "Move",
    "RingDiff",
    "UnknownNode",
]
