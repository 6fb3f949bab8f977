"""Where libmemcached puts keys, as its source says: plain Python that shares nothing with penstock.

Source: update_continuum in hosts.cc and dispatch_host in hash.cc of libmemcached 1.0.16 to 1.1.4.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from hashlib import md5
from typing import NamedTuple

import numpy as np

DEFAULT_PORT = 11211  # a server there is hashed without its port
POINTS = 100  # a server, unweighted
WEIGHTED_POINTS = np.float32(160)  # a server of mean weight
POINTS_OF_A_DIGEST = 4


class Point(NamedTuple):
    """A place on the circle of 2**32."""

    value: int
    server: str


class Continuum:
    """The points of all servers, in order."""

    def __init__(self, points: list[Point], hash_key: Callable[[bytes], int]) -> None:
        self.points = sorted(points)
        self._hash_key = hash_key

    def point(self, key: str) -> Point:
        """The first point that is not before the key's, or else the first of all."""
        at = bisect_left(self.points, self._hash_key(key.encode()), key=lambda point: point.value)
        return self.points[at % len(self.points)]

    def server(self, key: str) -> str:
        return self.point(key).server


def ketama(servers: Mapping[str, int], hash_key: Callable[[bytes], int] | None = None) -> Continuum:
    """The distribution "ketama": one hash a point, weights count for nothing."""
    hash_key = hash_key or md5_little_endian
    points = [
        Point(hash_key(f"{hashed_name(server)}-{i}".encode()), server)
        for server in servers
        for i in range(POINTS)
    ]
    return Continuum(points, hash_key)


def ketama_weighted(servers: Mapping[str, int]) -> Continuum:
    """The distribution "ketama_weighted": one digest for four points, as many as the weight says."""
    total = sum(servers.values())
    points = [
        Point(value, server)
        for server, weight in servers.items()
        for i in range(digests(weight, total, len(servers)))
        for value in md5_words(f"{hashed_name(server)}-{i}".encode())
    ]
    return Continuum(points, md5_little_endian)


def digests(weight: int, total: int, servers: int) -> int:
    """How many a server gets, in the 32-bit floats that libmemcached counts with."""
    share = np.float32(weight) / np.float32(total)
    return int(share * WEIGHTED_POINTS / np.float32(POINTS_OF_A_DIGEST) * np.float32(servers))


def hashed_name(server: str) -> str:
    return server.removesuffix(f":{DEFAULT_PORT}")


def md5_words(data: bytes) -> list[int]:
    """The digest as four little-endian numbers."""
    return np.frombuffer(md5(data).digest(), "<u4").tolist()


def md5_little_endian(data: bytes) -> int:
    return md5_words(data)[0]


def one_at_a_time(data: bytes) -> int:
    """libmemcached's default hash, by Bob Jenkins; its bytes are signed, and 2**32 its modulus."""
    value = 0
    for byte in data:
        value += byte - 256 if byte > 127 else byte
        value += value << 10
        value = (value ^ (value & 0xFFFFFFFF) >> 6) & 0xFFFFFFFF
    value += value << 3
    value = (value ^ (value & 0xFFFFFFFF) >> 11) & 0xFFFFFFFF
    return (value + (value << 15)) & 0xFFFFFFFF
