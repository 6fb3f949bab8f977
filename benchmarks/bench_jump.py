"""How long jump hash takes to find the bucket of a key."""

from importlib import import_module

import numpy as np


class JumpHash:
    params = (("c", "py"), (10, 1_000))
    param_names = ("impl", "buckets")

    def setup(self, impl, buckets):
        jump = import_module(f"penstock.hashring._jump_{impl}")
        self.jump_hash, self.jump_hash_many = jump.jump_hash, jump.jump_hash_many
        self.keys = np.random.default_rng(1).integers(0, 2**64, 10_000, np.uint64)
        self.listed = self.keys[:1_000].tolist()

    def time_jump_hash_1k(self, impl, buckets):
        jump_hash = self.jump_hash
        for key in self.listed:
            jump_hash(key, buckets)

    def time_jump_hash_many_10k(self, impl, buckets):
        self.jump_hash_many(self.keys, buckets)
