"""A tree of ten million entries: loaded, saved, mapped and looked up, and what that reads of its file.

Sizes, not times: benchmarks/bench_btree.py has those.
"""

import os
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from penstock.btree import tree_file
from penstock.btree._tree_header import Header

ENTRIES = 10_000_000
PAGE = 1024


def bytes_read() -> int:
    """By system calls of this process, from files and all else."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def bytes_mapped(path: Path) -> int:
    """Of a file's mappings, what the process has touched, and what the system mapped along."""
    sizes, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            sizes += int(line.split()[1]) * 1024
    return sizes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of the saved tree, and the keys and values in it."""
    cls = import_module("penstock.btree._btree_c").MapTree
    keys = np.arange(ENTRIES, dtype=np.int64) * 7 - ENTRIES
    values = keys ^ 0x5A5A5A5A
    tree = cls("int64", "int64")
    tree._load_sorted(keys, values, 0.9, True)
    path = tmp_path_factory.mktemp("ten_million") / "some.tree"
    tree_file.save(tree, path)
    yield cls, path, keys, values
    path.unlink()


def test_an_entry_takes_less_than_twenty_bytes_of_the_file(saved):
    _, path, *_ = saved
    assert os.path.getsize(path) < 20 * ENTRIES


def test_the_levels_of_the_file_are_as_few_as_can_be(saved):
    _, path, *_ = saved
    with open(path, "rb") as file:
        header = Header.decode(file.read(PAGE), os.path.getsize(path), str(path))
    assert (header.entries, len(header.starts)) == (ENTRIES, 5)


def test_mapping_reads_the_header_and_a_lookup_a_page_a_level(saved):
    cls, path, keys, values = saved
    read, size = bytes_read(), os.path.getsize(path)
    tree = tree_file.load(cls, path)
    read = bytes_read() - read
    assert read < 16 * PAGE  # the header, and what /proc says of it
    touched = bytes_mapped(path)
    assert touched < 1 << 20  # the header and what lies near it, in pages of the system
    assert len(tree) == ENTRIES
    for index in (0, ENTRIES // 3, ENTRIES - 1):
        assert tree[int(keys[index])] == int(values[index])
    assert bytes_mapped(path) - touched < 3 * 5 * (1 << 20)  # at most a megabyte around a page
    assert bytes_mapped(path) < size // 10


def test_what_is_mapped_is_what_was_saved(saved):
    cls, path, keys, values = saved
    tree = tree_file.load(cls, path)
    some = np.random.default_rng(1).integers(0, ENTRIES, 1000)
    for index in some.tolist():
        key = int(keys[index])
        assert tree[key] == int(values[index])
        assert key + 1 not in tree
        assert tree.rank(key) == index
        assert tree.select(index)[0] == key
    assert (tree.get_many(keys[some]) == values[some]).all()
    found_keys, found_values = tree.range_arrays()
    assert (found_keys == keys).all()
    assert (found_values == values).all()
    tree.check()


def test_changes_of_a_mapped_tree_copy_what_they_touch_and_no_more(saved):
    cls, path, keys, _ = saved
    tree = tree_file.load(cls, path)
    before = tree.stats()
    for index in range(0, ENTRIES, ENTRIES // 100):
        tree[int(keys[index]) + 1] = 1
    after = tree.stats()
    nodes = after["leaves"] + after["inner_nodes"]
    assert before["shared_nodes"] == before["leaves"] + before["inner_nodes"]
    assert nodes - after["shared_nodes"] <= 100 * 6
    assert len(tree) == ENTRIES + 100
    tree.check()
