"""Placement: which of the nodes gets a key, with few keys moving when nodes come and go."""

from penstock.hashring.anchor import AnchorHash, FrozenAnchor
from penstock.hashring.bounded_load import BoundedLoadRing
from penstock.hashring.errors import DuplicateNode, EmptyRing, InvalidSnapshot, UnknownNode
from penstock.hashring.hash_ring import FrozenRing, HashRing
from penstock.hashring.jump import jump_hash, jump_hash_many
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.maglev import FrozenMaglev, MaglevTable
from penstock.hashring.rendezvous import FrozenRendezvous, RendezvousHash
from penstock.hashring.ring_diff import Move, RingDiff

__all__ = [
    "AnchorHash",
    "BoundedLoadRing",
    "DuplicateNode",
    "EmptyRing",
    "FrozenAnchor",
    "FrozenMaglev",
    "FrozenRendezvous",
    "FrozenRing",
    "HashRing",
    "InvalidSnapshot",
    "KeyHash",
    "MaglevTable",
    "Move",
    "RendezvousHash",
    "RingDiff",
    "UnknownNode",
    "jump_hash",
    "jump_hash_many",
]
