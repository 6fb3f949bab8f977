"""How long the ordered trees take to find, count, range over, load and change, and what an entry takes."""

import random
from importlib import import_module

import numpy as np

SIZE = 50_000  # entries of the trees that are asked
ASKED = 1_000
KEY_TYPES = ("int64", "float64", "str", "object")
TYPED = ("int64", "float64")


def made_keys(key_type, count):
    """So many keys of a type in random order, each thrice as far from the next as it has to be."""
    numbers = random.Random(8).sample(range(0, 3 * count, 3), count)
    if key_type == "str":
        return [f"user:{number:09}" for number in numbers]
    return [float(number) for number in numbers] if key_type == "float64" else numbers


class Lookups:
    """Of 1,000 keys at random among 50,000."""

    params = (("c", "py"), KEY_TYPES)
    param_names = ("impl", "key_type")

    def setup(self, impl, key_type):
        trees = import_module(f"penstock.btree._btree_{impl}")
        keys = made_keys(key_type, SIZE)
        self.tree = trees.MapTree(key_type)
        self.tree.insert_many(keys, keys)
        self.asked = random.Random(9).sample(keys, ASKED)
        self.indices = random.Random(10).sample(range(SIZE), ASKED)

    def time_subscript_1k(self, impl, key_type):
        tree = self.tree
        for key in self.asked:
            tree[key]

    def time_get_1k(self, impl, key_type):
        get = self.tree.get
        for key in self.asked:
            get(key)

    def time_contains_1k(self, impl, key_type):
        tree = self.tree
        for key in self.asked:
            key in tree  # noqa: B015  # it is what is timed

    def time_floor_item_1k(self, impl, key_type):
        floor_item = self.tree.floor_item
        for key in self.asked:
            floor_item(key)

    def time_rank_1k(self, impl, key_type):
        rank = self.tree.rank
        for key in self.asked:
            rank(key)

    def time_select_1k(self, impl, key_type):
        select = self.tree.select
        for index in self.indices:
            select(index)

    def time_count_1k(self, impl, key_type):
        count = self.tree.count
        for key in self.asked:
            count(key)

    def time_get_many_1k(self, impl, key_type):
        self.tree.get_many(self.asked)

    def time_rank_many_1k(self, impl, key_type):
        self.tree.rank_many(self.asked)

    def time_first_item_1k(self, impl, key_type):
        first_item = self.tree.first_item
        for _ in range(ASKED):
            first_item()


class Ranges:
    """Over a tree of 50,000: 100 ranges of 100 entries each, or all of it."""

    params = (("c", "py"), KEY_TYPES)
    param_names = ("impl", "key_type")

    def setup(self, impl, key_type):
        trees = import_module(f"penstock.btree._btree_{impl}")
        keys = made_keys(key_type, SIZE)
        self.tree = trees.MapTree(key_type)
        self.tree.insert_many(keys, keys)
        keys.sort()
        starts = random.Random(11).sample(range(SIZE - 100), 100)
        self.bounds = [(keys[start], keys[start + 100]) for start in starts]

    def time_range_of_100_by_100(self, impl, key_type):
        for low, high in self.bounds:
            for _ in self.tree.range(low, high):
                pass

    def time_reverse_range_of_100_by_100(self, impl, key_type):
        for low, high in self.bounds:
            for _ in self.tree.range(low, high, reverse=True):
                pass

    def time_keys_range_of_100_by_100(self, impl, key_type):
        for low, high in self.bounds:
            for _ in self.tree.keys_range(low, high):
                pass

    def time_values_range_of_100_by_100(self, impl, key_type):
        for low, high in self.bounds:
            for _ in self.tree.values_range(low, high):
                pass

    def time_first_of_a_range_by_100(self, impl, key_type):
        for low, _ in self.bounds:
            next(self.tree.range(low))

    def time_iterate_50k(self, impl, key_type):
        for _ in self.tree:
            pass

    def time_iterate_reversed_50k(self, impl, key_type):
        for _ in reversed(self.tree):
            pass


class Arrays:
    """Keys and values that are numbers, in and out as numpy arrays."""

    params = (("c", "py"), TYPED)
    param_names = ("impl", "key_type")

    def setup(self, impl, key_type):
        self.trees = import_module(f"penstock.btree._btree_{impl}")
        self.keys = np.array(made_keys(key_type, SIZE))
        self.ascending = np.sort(self.keys)
        self.absent = self.ascending + 1
        self.values = np.arange(SIZE)
        self.tree = self.trees.MapTree(key_type, "int64")
        self.tree.insert_many(self.keys, self.values)

    def time_load_sorted_50k(self, impl, key_type):
        self.trees.MapTree(key_type, "int64")._load_sorted(self.ascending, self.values, 0.9, True)

    def time_insert_many_of_50k_into_an_empty_tree(self, impl, key_type):
        self.trees.MapTree(key_type, "int64").insert_many(self.keys, self.values)

    def time_copy_and_insert_many_of_1k(self, impl, key_type):
        self.tree.copy().insert_many(self.absent[:ASKED], self.values[:ASKED])

    def time_copy_and_delete_many_of_1k(self, impl, key_type):
        self.tree.copy().delete_many(self.keys[:ASKED])

    def time_get_many_of_50k_in_random_order(self, impl, key_type):
        self.tree.get_many(self.keys)

    def time_get_many_of_50k_in_order(self, impl, key_type):
        self.tree.get_many(self.ascending)

    def time_rank_many_of_50k_in_random_order(self, impl, key_type):
        self.tree.rank_many(self.keys)

    def time_contains_many_of_50k_in_random_order(self, impl, key_type):
        self.tree.contains_many(self.keys)

    def time_range_arrays_of_40k(self, impl, key_type):
        self.tree.range_arrays(self.ascending[5_000], self.ascending[45_000])


class Changes:
    """What comes and goes by ones: 1,000 keys in a tree of 50,000."""

    params = (("c", "py"), KEY_TYPES)
    param_names = ("impl", "key_type")

    def setup(self, impl, key_type):
        self.trees = import_module(f"penstock.btree._btree_{impl}")
        self.keys = made_keys(key_type, SIZE)
        self.tree = self.trees.MapTree(key_type)
        self.tree.insert_many(self.keys, self.keys)
        self.held = random.Random(9).sample(self.keys, ASKED)

    def time_insert_10k_into_an_empty_tree(self, impl, key_type):
        tree = self.trees.MapTree(key_type)
        for key in self.keys[:10_000]:
            tree[key] = None

    def time_replace_1k(self, impl, key_type):
        tree = self.tree
        for key in self.held:
            tree[key] = None

    def time_delete_and_insert_1k(self, impl, key_type):
        tree = self.tree
        for key in self.held:
            del tree[key]
        for key in self.held:
            tree[key] = None

    def time_pop_first_and_insert_1k(self, impl, key_type):
        tree = self.tree
        popped = [tree.pop_first() for _ in range(ASKED)]
        for key, value in popped:
            tree[key] = value

    def time_copy_and_delete_range_of_all_but_ends(self, impl, key_type):
        tree = self.tree.copy()
        tree.delete_range(tree.select(100)[0], tree.select(-100)[0])

    def time_copy_and_split_off_in_the_middle(self, impl, key_type):
        tree = self.tree.copy()
        tree.split_off(tree.select(SIZE // 2)[0])

    def time_snapshot_and_write_100(self, impl, key_type):
        """A key written under each of so many snapshots, which makes the tree copy a path each time."""
        tree = self.tree
        for key in self.held[:100]:
            tree.snapshot()
            tree[key] = None


class Duplicates:
    """A multimap of 50,000 entries, ten a key."""

    params = (("c", "py"), KEY_TYPES)
    param_names = ("impl", "key_type")

    def setup(self, impl, key_type):
        self.trees = import_module(f"penstock.btree._btree_{impl}")
        self.distinct = made_keys(key_type, SIZE // 10)
        self.keys = random.Random(12).sample(self.distinct * 10, SIZE)
        self.rows = range(SIZE)
        self.tree = self.trees.MultiMapTree(key_type)
        self.tree.insert_many(self.keys, self.rows)

    def time_insert_many_of_50k_into_an_empty_tree(self, impl, key_type):
        self.trees.MultiMapTree(key_type).insert_many(self.keys, self.rows)

    def time_add_10k_to_an_empty_tree(self, impl, key_type):
        add = self.trees.MultiMapTree(key_type).add
        for row, key in enumerate(self.keys[:10_000]):
            add(key, row)

    def time_get_all_1k(self, impl, key_type):
        get_all = self.tree.get_all
        for key in self.distinct[:ASKED]:
            get_all(key)

    def time_get_many_1k(self, impl, key_type):
        self.tree.get_many(self.distinct[:ASKED])

    def time_remove_and_add_1k(self, impl, key_type):
        tree = self.tree
        for key in self.distinct[:ASKED]:
            value = tree.get(key)
            tree.remove(key, value)
            tree.add(key, value)


class EntryMemory:
    """Bytes of nodes an entry takes in the compiled twin, by its own count; objects aside."""

    params = (("int64", "object"), ("loaded", "random inserts"))
    param_names = ("key_type", "filled")

    def track_bytes_per_entry_of_50k(self, key_type, filled):
        value_type = "int64" if key_type == "int64" else "object"
        tree = import_module("penstock.btree._btree_c").MapTree(key_type, value_type)
        keys = made_keys(key_type, SIZE)
        if filled == "loaded":
            keys.sort()
            tree._load_sorted(keys, keys, 0.9, True)
        else:
            for key in keys:
                tree[key] = key
        return tree.stats()["bytes_per_entry"]

    track_bytes_per_entry_of_50k.unit = "bytes"
