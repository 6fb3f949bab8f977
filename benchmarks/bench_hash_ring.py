"""How long a ring of 100 nodes takes to place keys, and to change."""

from importlib import import_module

import numpy as np

NODES = tuple(sorted(f"node{i}" for i in range(100)))
VNODES = 160


class HashRing:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.ring_points = import_module(f"penstock.hashring._ring_points_{impl}").RingPoints
        self.hash = import_module(f"penstock.hashring._key_hash_{impl}").KeyHash()
        self.ring = self.made(NODES)
        self.keys = [f"user:{i}" for i in range(1_000)]
        self.array = np.array(self.keys, "S12")

    def made(self, nodes):
        return self.ring_points(nodes, self.hash, "replicas", [VNODES] * len(nodes))

    def time_get_node_1k(self, impl):
        get_node = self.ring.get_node
        for key in self.keys:
            get_node(key)

    def time_get_nodes_3_1k(self, impl):
        get_nodes = self.ring.get_nodes
        for key in self.keys:
            get_nodes(key, 3)

    def time_get_many_1k(self, impl):
        self.ring.get_many(self.keys)

    def time_get_many_array_1k(self, impl):
        self.ring.get_many(self.array)

    def time_build_100_nodes(self, impl):
        self.made(NODES)

    def time_add_node(self, impl):
        grown = self.ring_points.__new__(self.ring_points)
        grown._begin_with(self.ring, (*NODES, "z"), len(NODES), "replicas", VNODES)

    def time_remove_node(self, impl):
        shrunk = self.ring_points.__new__(self.ring_points)
        shrunk._begin_without(self.ring, NODES[:-1], len(NODES) - 1)
