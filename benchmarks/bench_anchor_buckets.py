"""How long AnchorHash takes to be built and to find the nodes of a key; with room for 4 times the nodes."""

from importlib import import_module

KEYS = [f"user:{i}" for i in range(1_000)]
NAMES = tuple(sorted(f"node-{i}" for i in range(100)))


class AnchorBuckets:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.cls = import_module(f"penstock.hashring._anchor_buckets_{impl}").AnchorBuckets
        self.hash = import_module(f"penstock.hashring._key_hash_{impl}").KeyHash()
        self.placement = self.build()

    def build(self):
        return self.cls(NAMES, self.hash, 512, range(100), ())

    def time_build_100_of_512(self, impl):
        self.build()

    def time_get_node_1k(self, impl):
        get_node = self.placement.get_node
        for key in KEYS:
            get_node(key)

    def time_get_3_nodes_1k(self, impl):
        get_nodes = self.placement.get_nodes
        for key in KEYS:
            get_nodes(key, 3)

    def time_get_many_1k(self, impl):
        self.placement.get_many(KEYS)
