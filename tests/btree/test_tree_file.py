"""Files of trees: what comes back, what is refused, and what a hostile file can do (nothing)."""

import gc
import os
import re
import struct
import threading
import zlib
from contextlib import suppress
from importlib import import_module
from math import copysign, inf, isnan, nan

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.btree import BTreeMap, BTreeMultiMap, BTreeSet, tree_file
from penstock.btree._tree_header import Header
from penstock.btree.errors import BrokenTree, TreeFileError
from penstock.errors import InvalidType, PenstockError

PAGE = 1024
KINDS = ["MapTree", "SetTree", "MultiMapTree"]
DTYPES = {"int64": np.int64, "uint64": np.uint64, "float64": np.float64}
TWINS = ["c", "py"]


def twin_module(name):
    return import_module(f"penstock.btree._btree_{name}")


def filled(cls, keys, values=None, key_type="int64", value_type="int64"):
    is_set = cls.__name__ == "SetTree"
    tree = cls(key_type) if is_set else cls(key_type, value_type)
    tree._load_sorted(keys, None if is_set else keys if values is None else values, 0.9, True)
    return tree


def some_tree(cls, n, key_type="int64", value_type="int64"):
    keys = (np.arange(n) // (3 if cls.__name__ == "MultiMapTree" else 1) * 3).astype(DTYPES[key_type])
    return filled(cls, keys, np.arange(n).astype(value_type), key_type, value_type)


def saved(tree, path):
    tree_file.save(tree, path)
    return bytearray(path.read_bytes())


def walk(tree):
    """Reads all there is, in every way."""
    entries = list(tree.range())
    assert list(tree.range(reverse=True)) == entries[::-1]
    tree.range_arrays()
    for index in range(0, len(tree), 50):
        tree.select(index)
    for item in entries[::50]:
        key = item[0] if isinstance(item, tuple) else item
        assert key in tree
        tree.rank(key)
    tree.check()
    return entries


def seal(data, number):
    """Makes the checksum of a page what it must be."""
    page = data[number * PAGE : (number + 1) * PAGE]
    if number == 0:
        struct.pack_into("=I", data, 1020, zlib.crc32(page[:1020]))
    else:
        struct.pack_into("=I", data, number * PAGE + 4, zlib.crc32(page[8:], zlib.crc32(page[:4], number)))


def put(data, number, offset, form, *values):
    """Writes into a page and seals it."""
    struct.pack_into("=" + form, data, number * PAGE + offset, *values)
    seal(data, number)


def store(path, data):
    """Writes a file in place: one that is emptied and filled again some file systems sync."""
    with open(path, "r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()


def refused(cls, path, data, match="", mmap=True):
    """A file that does not pass as a whole: at load, or when its pages are needed."""
    store(path, data)
    with pytest.raises(TreeFileError, match=match) as caught:
        walk(tree_file.load(cls, path, mmap=mmap))
    assert str(path) in str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.tree"


@pytest.fixture(name="Compiled")
def compiled():
    """The map of the twin that maps files; the other one reads them."""
    return twin_module("c").MapTree


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """What was synced, in place of doing it: that takes long, and matters only when the power is cut."""
    descriptors = []
    monkeypatch.setattr(os, "fsync", lambda fd: descriptors.append(os.readlink(f"/proc/self/fd/{fd}")))
    return descriptors


# What comes back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", TWINS)
@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("n", [0, 1, 59, 60, 119, 120, 2376, 2377, 9000])
@pytest.mark.parametrize("key_type", DTYPES)
def test_a_tree_comes_back_on_either_twin(Tree, n, key_type, mmap, reader, path):
    tree = some_tree(Tree, n, key_type)
    tree_file.save(tree, path)
    again = tree_file.load(getattr(twin_module(reader), Tree.__name__), path, mmap=mmap)
    assert (again.key_type, again.value_type, len(again)) == (tree.key_type, tree.value_type, n)
    assert walk(again) == list(tree.range())
    assert not again.frozen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [0, 1, 54, 55, 108, 109, 2376, 2377, 130_000])
@pytest.mark.parametrize("value_type", ["int64", "float64"])
def test_twins_write_the_same_bytes_for_what_was_loaded(kind, n, value_type, path):
    files = [
        saved(some_tree(getattr(twin_module(twin), kind), n, "float64", value_type), path) for twin in TWINS
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("reader", TWINS)
@given(keys=st.lists(st.integers(-300, 300), max_size=300), gone=st.sets(st.integers(-300, 300)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_tree_that_grew_and_shrank_comes_back(Tree, keys, gone, reader, path):
    tree = Tree("int64") if Tree.__name__ == "SetTree" else Tree("int64", "float64")
    for number, key in enumerate(keys):
        for k in range(key, key + 5):
            if Tree.__name__ == "SetTree":
                tree.add(k)
            elif Tree.__name__ == "MapTree":
                tree[k] = number / 2
            else:
                tree.add(k, number / 2)
    tree.delete_many(sorted(gone))
    tree_file.save(tree, path)
    again = tree_file.load(getattr(twin_module(reader), Tree.__name__), path)
    assert walk(again) == list(tree.range())


@pytest.mark.parametrize("reader", TWINS)
def test_the_ends_of_every_type_come_back(MapTree, reader, path):
    extremes = {
        "int64": [-(1 << 63), -1, 0, 1, (1 << 63) - 1],
        "uint64": [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1],
        "float64": [-inf, -1e308, -5e-324, 0.0, 5e-324, 1e308, inf],
    }
    for key_type, keys in extremes.items():
        tree = MapTree(key_type, "float64")
        for key, value in zip(keys, [nan, -0.0, inf, -inf, 5e-324, 1.5, 2.5], strict=False):
            tree[key] = value
        tree_file.save(tree, path)
        again = tree_file.load(twin_module(reader).MapTree, path)
        assert list(again) == keys
        assert isnan(again[keys[0]])
        assert copysign(1.0, again[keys[1]]) == -1.0
        again.check()


def test_negative_zero_is_stored_as_zero(MapTree, path):
    tree = MapTree("float64", "int64")
    tree[-0.0] = 1
    tree_file.save(tree, path)
    (key,) = tree_file.load(MapTree, path, mmap=False)
    assert copysign(1.0, key) == 1.0


def test_a_snapshot_can_be_saved_and_comes_back_writable(MapTree, path):
    tree = some_tree(MapTree, 1000)
    snapshot = tree.snapshot()
    tree[1] = 1
    tree_file.save(snapshot, path)
    again = tree_file.load(MapTree, path)
    assert walk(again) == list(snapshot.range())
    again[1] = 1
    assert walk(again) == list(tree.range())


def test_public_classes_save_and_load_their_like(tmp_path):
    class Mine(BTreeMap):
        pass

    for cls, keys in (
        (BTreeMap, {1: 2.5, 3: 4.5}),
        (BTreeMultiMap, [(1, 2.5), (1, 4.5)]),
        (Mine, {7: 0.5}),
    ):
        tree = cls(keys, key_type="int64", value_type="float64")
        tree.save(tmp_path / "x")
        again = cls.load(tmp_path / "x")
        assert type(again) is cls
        assert again == tree
    BTreeSet([3, 1], key_type="uint64").save(str(tmp_path / "y"))
    assert list(BTreeSet.load(str(tmp_path / "y"), mmap=False)) == [1, 3]


# Mapped trees ----------------------------------------------------------------------------------------------


def test_changes_of_a_mapped_tree_stay_out_of_the_file(MapTree, path):
    before = saved(some_tree(MapTree, 5000), path)
    tree, other = tree_file.load(MapTree, path), tree_file.load(MapTree, path)
    snapshot = tree.snapshot()
    expected = dict(tree.range())
    for key in range(0, 3000, 7):
        tree[key] = expected[key] = -key
    for key in range(0, 6000, 9):
        if key in expected:
            del tree[key], expected[key]
    tree.delete_range(9000, 12_000)
    expected = {key: value for key, value in expected.items() if not 9000 <= key < 12_000}
    assert walk(tree) == sorted(expected.items())
    assert walk(snapshot) == walk(other) == [(3 * i, i) for i in range(5000)]
    assert path.read_bytes() == before


def test_snapshots_and_parts_outlive_the_mapped_tree(MapTree, path):
    tree_file.save(some_tree(MapTree, 5000), path)
    tree = tree_file.load(MapTree, path)
    snapshot, copy = tree.snapshot(), tree.copy()
    right = tree.split_off(9000)
    left = walk(tree)
    del tree
    path.unlink()
    gc.collect()
    assert left + walk(right) == walk(snapshot) == walk(copy) == [(3 * i, i) for i in range(5000)]


def test_a_file_that_is_replaced_leaves_the_trees_that_mapped_it(MapTree, path):
    tree_file.save(some_tree(MapTree, 3000), path)
    tree = tree_file.load(MapTree, path)
    tree_file.save(some_tree(MapTree, 10), path)
    assert len(walk(tree)) == 3000
    assert len(walk(tree_file.load(MapTree, path))) == 10
    tree[1] = 1
    tree_file.save(tree, path)  # over the place of the file that it is mapped from
    assert walk(tree_file.load(MapTree, path)) == walk(tree)


def test_a_mapped_tree_is_written_as_it_was(Tree, path):
    data = saved(some_tree(Tree, 5000), path)
    assert saved(tree_file.load(Tree, path), path) == data


def test_threads_may_touch_the_pages_of_one_tree_together(Compiled, path):
    tree_file.save(some_tree(Compiled, 60_000), path)
    tree = tree_file.load(Compiled, path)
    start, wrong = threading.Barrier(8), []

    def read(seed):
        start.wait()
        keys = np.random.default_rng(seed).integers(0, 60_000, 3000).tolist()
        wrong.extend(key for key in keys if tree[3 * key] != key)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    tree.check()


def test_mapping_looks_at_no_page_but_the_first(Compiled, path):
    data = saved(some_tree(Compiled, 5000), path)
    store(path, data[:PAGE] + bytes(len(data) - PAGE))
    tree = tree_file.load(Compiled, path)
    assert len(tree) == 5000
    with pytest.raises(TreeFileError, match=rf"page {len(data) // PAGE - 1} must be .* broken page, in "):
        tree[0]


# Saving ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["object", "str", "bytes"])
def test_keys_that_are_no_numbers_are_refused_before_a_file_is_made(Tree, key_type, path):
    with pytest.raises(
        InvalidType, match=r"key_type must be 'int64', 'uint64' or 'float64' for a file, got "
    ):
        tree_file.save(Tree(key_type), path)
    assert not list(path.parent.iterdir())


def test_object_values_are_refused(MapTree, path):
    with pytest.raises(
        InvalidType, match=r"value_type must be 'int64' or 'float64' .* got 'object': pickle the tree"
    ):
        tree_file.save(MapTree("int64", "object"), path)


@pytest.mark.parametrize("bad", [None, 3, b"bytes", object()])
def test_a_path_must_be_a_path(MapTree, bad):
    with pytest.raises(InvalidType, match="path must be a str or a path, got "):
        tree_file.save(MapTree("int64", "int64"), bad)
    with pytest.raises(InvalidType, match="path must be a str or a path, got "):
        tree_file.load(MapTree, bad)


def test_the_file_is_synced_before_its_name_and_the_folder_after(MapTree, path, synced, monkeypatch):
    replace = os.replace

    def replaced(old, new):
        synced.append("replaced")
        replace(old, new)

    monkeypatch.setattr(os, "replace", replaced)
    tree_file.save(some_tree(MapTree, 10), path)
    beside, renamed, folder = synced
    assert beside.startswith(f"{path.parent}/.{path.name}.")
    assert (renamed, folder) == ("replaced", str(path.parent))


def test_a_failed_save_leaves_the_file_before_and_nothing_beside_it(MapTree, path, monkeypatch):
    before = saved(some_tree(MapTree, 10), path)

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            tree_file.save(some_tree(MapTree, 5000), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_writing_to_a_closed_descriptor_is_an_os_error(MapTree):
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    with pytest.raises(OSError):  # noqa: PT011  (its words are the system's)
        some_tree(MapTree, 100)._save(write)


def test_a_pipe_that_takes_little_at_once_gets_the_whole_file(MapTree, path):
    tree = some_tree(MapTree, 30_000)
    expected = saved(tree, path)
    read, write = os.pipe()
    chunks = []

    def drain():
        while chunk := os.read(read, 3000):
            chunks.append(chunk)

    thread = threading.Thread(target=drain)
    thread.start()
    tree._save(write)
    os.close(write)
    thread.join()
    os.close(read)
    assert b"".join(chunks) == expected


def test_the_longest_name_is_not_too_long(MapTree, tmp_path):
    tree_file.save(some_tree(MapTree, 10), tmp_path / ("ü" * 127))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_replaced_file_keeps_its_mode_and_a_link_keeps_pointing(MapTree, path, tmp_path):
    tree_file.save(some_tree(MapTree, 10), path)
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    tree_file.save(some_tree(MapTree, 20), link)
    assert path.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert len(tree_file.load(MapTree, path)) == 20


def test_what_is_no_regular_file_is_neither_written_nor_read(MapTree, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for special in (tmp_path, tmp_path / "fifo", "/dev/null"):
        for call in (
            lambda it: tree_file.save(some_tree(MapTree, 3), it),
            lambda it: tree_file.load(MapTree, it),
        ):
            with pytest.raises(TreeFileError, match="path must be a regular file, got "):
                call(special)


def test_a_path_that_cannot_be_opened_is_an_os_error(MapTree, tmp_path):
    with pytest.raises(FileNotFoundError):
        tree_file.load(MapTree, tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        tree_file.save(some_tree(MapTree, 3), tmp_path / "absent" / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        tree_file.load(MapTree, tmp_path / "file" / "x")


# Files that are not as they must be -------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [True, False])
def test_a_file_of_another_kind_is_refused(twin, mmap, path):
    words = {"MapTree": "a map", "SetTree": "a set", "MultiMapTree": "a multimap"}
    for kind in KINDS:
        tree_file.save(some_tree(getattr(twin, kind), 20), path)
        for other in set(KINDS) - {kind}:
            expected = f"the tree must be {words[other]} for {other}, got {words[kind]}, in "
            with pytest.raises(TreeFileError, match=expected):
                tree_file.load(getattr(twin, other), path, mmap=mmap)


@pytest.mark.parametrize("mmap", [True, False])
def test_a_cut_file_is_refused_wherever_it_ends(MapTree, mmap, path):
    data = saved(some_tree(MapTree, 700), path)
    sizes = {*range(0, len(data), PAGE), *range(1, len(data), 517), PAGE - 1, PAGE + 1, len(data) - 1}
    for size in sorted(sizes):
        store(path, data[:size])
        with pytest.raises(TreeFileError, match="must be"):
            tree_file.load(MapTree, path, mmap=mmap)
    for more in (1, PAGE):
        refused(MapTree, path, data + bytes(more), "size of the file must be", mmap)


@pytest.mark.parametrize("n", [0, 700])
def test_every_flipped_byte_of_the_header_is_found(MapTree, n, path):
    data = saved(some_tree(MapTree, n), path)
    for at in range(PAGE):
        data[at] ^= 0x10
        store(path, data)
        with pytest.raises(TreeFileError):
            tree_file.load(MapTree, path)
        data[at] ^= 0x10


@pytest.mark.parametrize("mmap", [True, False])
def test_a_flipped_byte_is_found_when_its_page_is_needed(Tree, mmap, path):
    data = saved(some_tree(Tree, 700), path)
    pages = len(data) // PAGE
    for number in (1, pages - 2, pages - 1):
        for at in range(number * PAGE, (number + 1) * PAGE, 7):
            data[at] ^= 0x04
            refused(Tree, path, data, f"^page {number} must be a node .*, got a broken page, in ", mmap)
            data[at] ^= 0x04


def test_pages_in_each_others_places_are_found(MapTree, path):
    data = saved(some_tree(MapTree, 700), path)
    data[PAGE : 3 * PAGE] = data[2 * PAGE : 3 * PAGE] + data[PAGE : 2 * PAGE]
    refused(MapTree, path, data, "page [12] must be")


HEADER_FIELDS = {
    "magic": (0, "8s", b"\x89BTREE\n\n", "magic must be b'.*', got b'.*'"),
    "other byte order": (
        8,
        "I",
        0x04030201,
        "byte order must be that of this machine, (little|big), got 0x04030201",
    ),
    "newer major version": (12, "H", 2, "major version must be 1, got 2"),
    "no version": (12, "H", 0, "major version must be 1, got 0"),
    "key_type": (16, "B", 4, "code of key_type must be 1, 2 or 3, got 4"),
    "no key_type": (16, "B", 0, "code of key_type"),
    "value_type": (17, "B", 3, "code of value_type must be 0, 1 or 2, got 3"),
    "values that are none": (17, "B", 0, "offsets and room"),
    "flags": (18, "B", 2, "flags must be 0 or 1, got 2"),
    "a multimap": (18, "B", 1, "the tree must be a map for MapTree, got a multimap"),
    "height 17": (19, "B", 17, "height"),
    "height 255": (19, "B", 255, "height"),
    "height 0": (19, "B", 0, "height"),
    "less high": (19, "B", 1, "height"),
    "higher": (19, "B", 3, "root"),
    "page size": (20, "I", 4096, "page size must be 1024 bytes, got 4096"),
    "entries": (24, "Q", 1 << 63, "entries must be what 13 leaves can have"),
    "no entries": (24, "Q", 0, "entries"),
    "too many entries": (24, "Q", 13 * 59 + 1, "entries"),
    "pages": (32, "I", 1 << 31, "size of the file must be 2147483648 pages of 1024 bytes"),
    "no pages": (32, "I", 0, "size of the file"),
    "root 0": (36, "I", 0, "root must be the last page, got 0"),
    "root outside": (36, "I", 1 << 31, "root"),
    "root a leaf": (36, "I", 3, "root"),
    "room": (40, "H", 60, "offsets and room"),
    "keys": (42, "H", 0, "offsets and room"),
    "values": (44, "H", 64, "offsets and room"),
    "pivots": (46, "H", 7, "offsets and room"),
    "children": (48, "H", 255, "offsets and room"),
    "keys of inner nodes": (50, "H", 65535, "offsets and room"),
    "children outside": (52, "H", 1024, "offsets and room"),
    "counts outside": (54, "H", 1024, "offsets and room"),
    "leaves at 0": (64, "I", 0, "pages of levels"),
    "leaves later": (64, "I", 2, "pages of levels"),
    "inner nodes nowhere": (68, "I", 0, "root"),
    "inner nodes outside": (68, "I", 1 << 31, "root"),
    "a level more": (72, "I", 15, "height"),
}


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_wrong_header_with_a_right_checksum_is_refused(MapTree, field, path):
    offset, form, value, match = HEADER_FIELDS[field]
    data = saved(some_tree(MapTree, 700), path)
    put(data, 0, offset, form, value)
    store(path, data)
    with pytest.raises(TreeFileError, match=match):
        tree_file.load(MapTree, path)


def test_the_kernel_trusts_no_header_that_python_has_passed(Compiled, monkeypatch, path):
    whole = saved(some_tree(Compiled, 700), path)
    good = Header.decode(bytes(whole[:PAGE]), len(whole), "")
    monkeypatch.setattr(Header, "decode", classmethod(lambda *arguments: good))
    for field, (offset, form, value, _) in HEADER_FIELDS.items():
        data = bytearray(whole)
        put(data, 0, offset, form, value)
        store(path, data)
        with pytest.raises(TreeFileError):
            tree_file.load(Compiled, path)
        assert field


def test_a_newer_minor_version_is_read_and_what_it_adds_passed_over(MapTree, path):
    data = saved(some_tree(MapTree, 700), path)
    put(data, 0, 14, "H", 7)
    put(data, 0, 500, "Q", 12345)
    store(path, data)
    assert len(walk(tree_file.load(MapTree, path))) == 700


def leaf_values(data, number):
    return struct.unpack_from("=59q", data, number * PAGE + 64)


NODE_FIELDS = {  # page (-1: the root), offset, form, value
    "no entries": (1, 0, "B", 0),
    "fewer entries": (2, 0, "B", 53),
    "more entries than there is room for": (1, 0, "B", 60),
    "many more entries": (1, 0, "B", 255),
    "a leaf of level 1": (1, 1, "B", 1),
    "a byte that must be 0": (1, 3, "B", 1),
    "a pivot": (1, 8, "q", 12345),
    "a pivot where none is": (1, 56, "q", 12345),
    "a key behind the last": (1, 64 + 8 * 58, "q", 1),
    "a value behind the last": (1, 536 + 8 * 58, "Q", 1),
    "a byte behind the node": (1, 1023, "B", 1),
    "the root a leaf": (-1, 1, "B", 0),
    "the root higher": (-1, 1, "B", 2),
    "the root without children": (-1, 0, "B", 0),
    "one child": (-1, 0, "B", 1),
    "a child fewer": (-1, 0, "B", 12),
    "a child more": (-1, 0, "B", 14),
    "too many children": (-1, 0, "B", 49),
    "a child that is an address": (-1, 440, "Q", 1 << 20),
    "a child that is the root": (-1, 440, "Q", 14 * 2 + 1),
    "a child that is the header": (-1, 440, "Q", 1),
    "a child outside": (-1, 440, "Q", (1 << 40) + 1),
    "children far outside": (-1, 440, "13Q", *range((1 << 64) - 25, 1 << 64, 2)),
    "children that are one": (-1, 440, "13Q", *[3] * 13),
    "children one later": (-1, 440, "13Q", *range(5, 31, 2)),
    "a count": (-1, 824, "I", 10),
    "a count of 0": (-1, 824, "I", 0),
    "a count of all": (-1, 824, "I", (1 << 32) - 1),
    "counts of the same sum": (-1, 824, "2I", 53, 55),
    "a key of the root behind the last": (-1, 64 + 8 * 46, "q", 1),
}


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("field", NODE_FIELDS)
def test_a_wrong_node_with_a_right_checksum_is_found(MapTree, field, mmap, path):
    number, offset, form, *values = NODE_FIELDS[field]
    data = saved(some_tree(MapTree, 700), path)
    pages = len(data) // PAGE
    put(data, number % pages, offset, form, *values)
    refused(MapTree, path, data, r"^page \d+ must be a node as its checksum and its parent say", mmap)


def swap_keys(data, number, a, b):
    keys = [struct.unpack_from("=q", data, number * PAGE + 64 + 8 * i)[0] for i in (a, b)]
    put(data, number, 64 + 8 * a, "q", keys[1])
    put(data, number, 64 + 8 * b, "q", keys[0])


def test_keys_out_of_order_are_found_by_check(MapTree, path):
    data = saved(some_tree(MapTree, 700), path)
    swap_keys(data, 3, 1, 2)
    store(path, data)
    with pytest.raises(TreeFileError, match=f"in {re.escape(repr(str(path)))}"):
        tree_file.load(MapTree, path, mmap=False)


def test_check_names_the_broken_page_of_a_mapped_tree(Compiled, path):
    data = saved(some_tree(Compiled, 5000), path)
    data[20 * PAGE + 70] ^= 1
    store(path, data)
    tree = tree_file.load(Compiled, path)
    for broken in (tree, tree.snapshot(), tree.copy()):
        with pytest.raises(TreeFileError, match=r"^page 20 must be a node .*, got a broken page, in "):
            broken.check()
    tree.clear()
    tree.check()


def test_keys_out_of_order_in_a_mapped_file_do_no_harm(Compiled, path):
    data = saved(some_tree(Compiled, 700), path)
    for number in range(1, 14):
        swap_keys(data, number, 1, 5)
        swap_keys(data, number, 9, 30)
    swap_keys(data, 14, 2, 9)
    store(path, data)
    tree = tree_file.load(Compiled, path)
    with pytest.raises(BrokenTree):
        tree.check()
    assert len(list(tree.range())) == len(tree) == 700
    for key in range(-5, 2200):
        assert 0 <= tree.rank(key) <= 700
        tree.get(key)
        tree.floor_item(key)
    tree.get_many(np.arange(2000), 0)
    for change in (
        lambda: tree.insert_many(np.arange(0, 2000, 2), np.arange(1000)),
        lambda: tree.delete_many(np.arange(0, 2000, 3)),
        lambda: tree.delete_range(100, 500),
        lambda: [tree.setdefault(key, 0) for key in range(0, 2000, 11)],
        lambda: [tree.pop(key, None) for key in range(0, 2000, 7)],
    ):
        with suppress(PenstockError):  # it may find that keys do not ascend
            change()
        assert len(list(tree.range())) == len(tree)


def test_a_batch_that_meets_keys_out_of_order_says_so_and_changes_nothing(Compiled, path):
    data = saved(some_tree(Compiled, 700), path)
    swap_keys(data, 3, 1, 5)
    store(path, data)
    tree = tree_file.load(Compiled, path)
    before = list(tree.range())
    words = f"keys must be in ascending order, got keys that are not, in {str(path)!r}"
    with pytest.raises(TreeFileError, match=re.escape(words)):
        tree.delete_many(np.arange(0, 2000, 3))
    with pytest.raises(TreeFileError, match=re.escape(words)):
        tree.insert_many(np.arange(0, 2000, 2), np.arange(1000))
    assert list(tree.range()) == before


@pytest.mark.parametrize("bits", [0x7FF8000000000000, -1, -(1 << 63), (1 << 63) - 1], ids=hex)
def test_keys_that_no_float_can_have_are_found(MapTree, bits, path):
    keys = [-1.0, 1.0] if bits == -1 else [0.0]
    data = saved(filled(MapTree, keys, [1] * len(keys), "float64"), path)
    if bits == -1:  # -0.0, between two others
        put(data, 0, 24, "Q", 3)
        put(data, 1, 0, "B", 3)
        put(data, 1, 64, "3q", struct.unpack_from("=q", data, PAGE + 64)[0], -1, 0x3FF0000000000000)
    else:
        put(data, 1, 64, "q", bits)
    store(path, data)
    if bits == -1 and MapTree.__module__.endswith("_py"):  # reads -0.0 as 0.0
        assert list(tree_file.load(MapTree, path, mmap=False)) == [-1.0, 0.0, 1.0]
        return
    with pytest.raises(TreeFileError):
        tree_file.load(MapTree, path, mmap=False)


@pytest.mark.parametrize("mmap", [True, False])
def test_a_sparse_file_that_claims_much_costs_little(MapTree, mmap, path):
    leaves, inner = 48**3 * 100, [48**2 * 100, 4800, 100, 3, 1]
    starts = tuple(np.cumsum([1, leaves, *inner[:-1]]).tolist())
    header = Header("int64", "int64", False, leaves * 50, 1 + leaves + sum(inner), starts)
    store(path, header.encode())
    os.truncate(path, header.pages * PAGE)  # 11 GB, of which it has one page
    with pytest.raises(TreeFileError, match=r"page \d+ must be"):
        tree_file.load(MapTree, path, mmap=mmap)[5]


def all_operations(cls, path):
    """What anyone might do with a file that someone has made; errors are those of penstock and no others."""
    try:
        tree = tree_file.load(cls, path)
    except TreeFileError:
        return
    is_map = cls.__name__ != "SetTree"
    calls = [
        lambda: list(tree.range()),
        lambda: list(tree.range(reverse=True)),
        lambda: list(tree.range(100, 900)),
        lambda: tree.range_arrays(),
        lambda: [tree.rank(key) for key in range(0, 2200, 13)],
        lambda: [tree.select(index) for index in range(0, len(tree), 17)],
        lambda: [tree.floor_item(key) for key in range(0, 2200, 29)],
        lambda: tree.contains_many(np.arange(0, 2200, 5)),
        lambda: tree.snapshot().check(),
        lambda: tree.stats(),
        lambda: tree.delete_many(np.arange(0, 2200, 31)),
        lambda: tree.insert_many(*[np.arange(0, 2200, 37)] * (2 if is_map else 1)),
        lambda: tree.pop_at(-1) if tree else None,
        lambda: tree.pop_first(),
        lambda: tree.delete_range(700, 900),
        lambda: walk(tree.split_off(1500)),
        lambda: tree.check(),
        lambda: tree_file.save(tree, path.with_suffix(".again")),
        lambda: list(tree),
    ]
    for call in calls:
        with suppress(
            PenstockError, KeyError, AssertionError
        ):  # KeyError: it is empty; AssertionError: in walk
            call()


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, PAGE - 1), st.integers(0, 255)), min_size=1, max_size=6
    ),
    low=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_a_file_holds_no_operation_does_harm(Tree, changes, low, path):
    data = saved(some_tree(Tree, 700 if Tree.__name__ != "SetTree" else 1400), path)
    for number, offset, byte in changes:
        number %= len(data) // PAGE
        data[number * PAGE + (offset % 8 if low else offset)] = byte
    for number in range(len(data) // PAGE):
        seal(data, number)
    store(path, data)
    all_operations(Tree, path)


@given(data=st.binary(max_size=200), pages=st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_bytes_that_are_no_tree_are_refused(MapTree, data, pages, path):
    store(path, data.ljust(pages * PAGE, data[:1] or b"\0"))
    with pytest.raises(TreeFileError):
        tree_file.load(MapTree, path)


def test_file_in_a_folder_that_is_not_there_is_named_as_asked(tmp_path):
    path = tmp_path / "none" / "tree"
    with pytest.raises(FileNotFoundError) as caught:
        BTreeSet([1], key_type="int64").save(path)
    assert caught.value.filename == str(path)
