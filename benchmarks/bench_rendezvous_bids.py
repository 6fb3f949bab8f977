"""How long rendezvous hashing takes to find the nodes of a key, among equal nodes and others."""

from importlib import import_module

KEYS = [f"user:{i}" for i in range(1_000)]
NAMES = tuple(sorted(f"node-{i}" for i in range(100)))
WEIGHTS = {"equal": [1.0] * 100, "different": [1 + i / 100 for i in range(100)]}


class RendezvousBids:
    params = (("c", "py"), tuple(WEIGHTS))
    param_names = ("impl", "weights")

    def setup(self, impl, weights):
        cls = import_module(f"penstock.hashring._rendezvous_bids_{impl}").RendezvousBids
        key_hash = import_module(f"penstock.hashring._key_hash_{impl}").KeyHash()
        self.placement = cls(NAMES, key_hash, WEIGHTS[weights])

    def time_get_node_1k(self, impl, weights):
        get_node = self.placement.get_node
        for key in KEYS:
            get_node(key)

    def time_get_3_nodes_1k(self, impl, weights):
        get_nodes = self.placement.get_nodes
        for key in KEYS:
            get_nodes(key, 3)

    def time_get_many_1k(self, impl, weights):
        self.placement.get_many(KEYS)
