"""How long a KeyHash takes for one key, and for many."""

from importlib import import_module

import numpy as np


def key_hash(impl, name="xxh3_64"):
    return import_module(f"penstock.hashring._key_hash_{impl}").KeyHash(name)


class KeyHash:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.hash = key_hash(impl)
        self.names = [f"user:{i:07d}" for i in range(10_000)]
        self.array = np.array(self.names, "S16")
        self.numbers = np.arange(10_000)

    def time_position_of_str_1k(self, impl):
        position = self.hash.position
        for _ in range(1_000):
            position("user:1234567")

    def time_position_of_int_1k(self, impl):
        position = self.hash.position
        for _ in range(1_000):
            position(1234567)

    def time_call_1k(self, impl):
        hashed = self.hash
        for _ in range(1_000):
            hashed("user:1234567")

    def time_many_str_10k(self, impl):
        self.hash.many(self.names)

    def time_many_bytes_array_10k(self, impl):
        self.hash.many(self.array)

    def time_many_int_array_10k(self, impl):
        self.hash.many(self.numbers)


class Names:
    params = (
        ("c", "py"),
        ("xxh3_64", "xxh64", "murmur3_32", "sha256-be64", "ketama", "murmur2", "murmur3-cassandra", "crc16"),
    )
    param_names = ("impl", "name")

    def setup(self, impl, name):
        self.hash = key_hash(impl, name)
        self.array = np.array([f"user:{i:07d}" for i in range(1_000)], "S16")

    def time_many_1k(self, impl, name):
        self.hash.many(self.array)
