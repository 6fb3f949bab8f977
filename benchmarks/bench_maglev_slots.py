"""How long a Maglev table takes to be built, and to find the nodes of a key."""

from importlib import import_module

KEYS = [f"user:{i}" for i in range(1_000)]
NAMES = tuple(sorted(f"node-{i}" for i in range(100)))


class MaglevSlots:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.cls = import_module(f"penstock.hashring._maglev_slots_{impl}").MaglevSlots
        self.hash = import_module(f"penstock.hashring._key_hash_{impl}").KeyHash()
        self.table = self.cls(NAMES, self.hash, 65_537, [1.0] * 100)

    def time_build_100_nodes_65537_slots(self, impl):
        self.cls(NAMES, self.hash, 65_537, [1.0] * 100)

    def time_get_node_1k(self, impl):
        get_node = self.table.get_node
        for key in KEYS:
            get_node(key)

    def time_get_3_nodes_1k(self, impl):
        get_nodes = self.table.get_nodes
        for key in KEYS:
            get_nodes(key, 3)

    def time_get_many_1k(self, impl):
        self.table.get_many(KEYS)
