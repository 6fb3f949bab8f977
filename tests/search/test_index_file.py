"""Files of indexes: what comes back, on either twin, and what is refused: all that is not whole."""

import json
import os
import signal
import stat
import subprocess
import sys
from importlib import import_module
from zlib import crc32

import pytest

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search import index_file
from penstock.search.analyzer import Analyzer
from penstock.search.errors import FrozenIndexError, IndexFileError
from penstock.search.fields import Integer, Number, Text
from penstock.search.query import Match, Phrase, Range
from penstock.search.scoring import BM25, TFIDF


def both(monkeypatch, impl):
    """InvertedIndex on one twin."""
    module = import_module("penstock.search.index")
    monkeypatch.setattr(
        module, "TermIndex", import_module(f"penstock.search._inverted_index_{impl}").TermIndex
    )
    return module.InvertedIndex


def filled(InvertedIndex, n=500):
    index = InvertedIndex(
        {"title": Text(2), "body": Text(analyzer="reference"), "year": Integer(), "price": Number()},
        scorer=BM25(0.9, 0.4),
        positions=True,
    )
    index.add_many(
        [f"doc/{i}" for i in range(n)],
        [
            {
                "title": f"Title {i % 7} été",
                "body": f"the body number{i} of some text " * (i % 3),
                "year": 1900 + i % 90,
            }
            for i in range(n)
        ],
    )
    index.delete("doc/3")
    return index


QUERIES = [
    "title 3",
    "number77 text",
    Phrase("number9 some text"),
    Match("été") & Range("year", 1950, 1955),
    ["3"],
]


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("reader", ["c", "py"])
@pytest.mark.parametrize("writer", ["c", "py"])
def test_index_of_a_file_answers_as_the_one_that_was_saved(tmp_path, monkeypatch, writer, reader, mmap):
    index = filled(both(monkeypatch, writer))
    expected = [index.search(query, 30) for query in QUERIES]
    path = tmp_path / "an index"
    index.save(path)
    loaded = both(monkeypatch, reader).load(path, mmap=mmap)
    assert [loaded.search(query, 30) for query in QUERIES] == expected
    assert loaded.ids.tolist() == index.ids.tolist()
    assert loaded.fields == index.fields
    assert loaded.scorer == index.scorer
    assert loaded.analyzer == index.analyzer
    assert loaded.positions
    assert loaded.column("year").tolist() == index.column("year").tolist()
    assert loaded.stats().words == index.stats().words


def test_loaded_index_can_be_changed_and_its_file_stays(tmp_path, InvertedIndex):
    path = tmp_path / "index"
    filled(InvertedIndex).save(path)
    before = path.read_bytes()
    index = InvertedIndex.load(path)
    index.delete("doc/5")
    index.update("doc/6", {"title": "new"})
    index.add("new", {"title": "new"})
    assert sorted(index.search("new").ids.tolist()) == ["doc/6", "new"]
    index.compact()
    assert path.read_bytes() == before
    index.save(path)
    assert InvertedIndex.load(path).ids.tolist() == index.ids.tolist()


def test_index_outlives_the_file_that_it_was_mapped_from(tmp_path, InvertedIndex):
    path = tmp_path / "index"
    index = filled(InvertedIndex)
    index.save(path)
    loaded = InvertedIndex.load(path)
    path.unlink()
    assert loaded.search("title 3", 30) == index.search("title 3", 30)


@pytest.mark.parametrize("ids", [[], [1], ["a"], [-(2**63), 2**63 - 1]])
def test_small_indexes_come_back_too(tmp_path, InvertedIndex, ids):
    index = InvertedIndex(analyzer="keyword", scorer=TFIDF("lucene"))
    index.add_many(ids, ["word"] * len(ids))
    index.save(tmp_path / "index")
    loaded = InvertedIndex.load(str(tmp_path / "index"))
    assert loaded.ids.tolist() == ids
    assert loaded.search("word") == index.search("word")
    loaded.add(ids[0] * 0 + 5 if ids and isinstance(ids[0], int) else "b", "word")
    assert len(loaded) == len(ids) + 1


def test_frozen_index_comes_back_frozen(tmp_path, InvertedIndex):
    index = filled(InvertedIndex)
    index.freeze()
    index.save(tmp_path / "index")
    loaded = InvertedIndex.load(tmp_path / "index")
    assert loaded.frozen
    with pytest.raises(FrozenIndexError):
        loaded.delete("doc/5")
    assert loaded.search("title 3", 30) == index.search("title 3", 30)


def test_index_of_a_subclass_is_one(tmp_path):
    from penstock.search.index import InvertedIndex

    class Mine(InvertedIndex):
        pass

    Mine().save(tmp_path / "index")
    assert type(Mine.load(tmp_path / "index")) is Mine


def shouted(text):
    return text.upper().split()


def test_analyzer_of_ones_own_is_given_again(tmp_path, InvertedIndex):
    own = Analyzer(custom=shouted)
    for fields, given in ((None, own), ({"a": Text(analyzer=own), "b": Text()}, {"a": own})):
        index = InvertedIndex(fields, analyzer=own if fields is None else "ascii")
        index.add(1, "big data" if fields is None else {"a": "big data", "b": "big"})
        index.save(tmp_path / "index")
        name = "text" if fields is None else "a"
        with pytest.raises(InvalidValue, match=f"analyzer must be given for field {name} of .*index"):
            InvertedIndex.load(tmp_path / "index")
        loaded = InvertedIndex.load(tmp_path / "index", analyzer=given)
        assert loaded.search("data") == index.search("data")
        assert len(loaded.search("data")) == 1
    with pytest.raises(
        InvalidType, match="analyzer must be an Analyzer or a mapping of fields to them, got 'ascii'"
    ):
        InvertedIndex.load(tmp_path / "index", analyzer="ascii")


def test_pickle_keeps_an_analyzer_of_ones_own_if_it_can_be_pickled():
    import pickle

    from penstock.search.index import InvertedIndex

    index = InvertedIndex(analyzer=Analyzer(custom=shouted))
    index.add(1, "big data")
    assert pickle.loads(pickle.dumps(index)).search("data") == index.search("data")


# What is not whole


@pytest.fixture
def small(tmp_path, InvertedIndex):
    index = InvertedIndex(positions=True)
    index.add_many(range(40), [f"word{n % 7} other text {'a ' * (n % 5)}" for n in range(40)])
    path = tmp_path / "index"
    index.save(path)
    return path


@pytest.mark.parametrize("mmap", [True, False])
def test_truncated_file_is_refused(small, InvertedIndex, mmap):
    data = small.read_bytes()
    for size in {0, 1, 8, 63, 64, 100, len(data) // 2, len(data) - 1}:
        small.write_bytes(data[:size])
        with pytest.raises(IndexFileError, match=r"index must (have|begin)"):
            InvertedIndex.load(small, mmap=mmap)
    small.write_bytes(data + b"\0")
    with pytest.raises(
        IndexFileError, match=f"must have {len(data)} bytes to be an index, got {len(data) + 1}"
    ):
        InvertedIndex.load(small, mmap=mmap)


def test_every_flipped_bit_is_found(small, InvertedIndex):
    data = small.read_bytes()
    for at in sorted({*range(200), *range(0, len(data), 97), len(data) - 1}):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        small.write_bytes(flipped)
        with pytest.raises(IndexFileError):
            InvertedIndex.load(small, mmap=False)


def with_checksum(data):
    """Bytes as someone has made them on purpose: with the checksum that fits."""
    data = bytearray(data)
    data[12:16] = crc32(data[16:], crc32(data[:12])).to_bytes(4, "little")
    return bytes(data)


def test_other_versions_and_kinds_are_refused_and_named(small, InvertedIndex):
    data = bytearray(small.read_bytes())
    small.write_bytes(with_checksum(data[:8] + b"\2\0\0\0" + data[12:]))
    with pytest.raises(
        IndexFileError, match="must be of version 1 to be an index, got 2: a newer penstock reads it"
    ):
        InvertedIndex.load(small)
    small.write_bytes(b"SQLite format 3\0" + bytes(1000))
    with pytest.raises(
        IndexFileError, match=r"must begin with b'.x89PSINV.r.n' to be an index, got b'SQLite f'"
    ):
        InvertedIndex.load(small)


def test_forged_files_are_refused_or_answer_and_never_more(small, InvertedIndex):
    """Flipped bits with the right checksum: whatever they say, no reader leaves the bytes."""
    data = small.read_bytes()
    for at in range(16, len(data), 3):
        forged = bytearray(data)
        forged[at] ^= 1 << at % 7
        small.write_bytes(with_checksum(forged))
        try:
            index = InvertedIndex.load(small, mmap=at % 2 == 0)
            for query in ("word1 text", Phrase("other text")):
                index.search(query, 50)
            index.ids, index.terms(), index.stats()
        except (PenstockError, ValueError):
            pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(scorer={"name": "pagerank"}), "config must be that of a scorer"),
        (lambda said: said.update(analyzer={"name": "klingon"}), "name must be one of"),
        (lambda said: said.update(analyzer={"what": 5}), "config of an analyzer must have keys"),
        (lambda said: said.update(fields=[{"name": "t", "kind": "vector"}]), "kind of a field must be text"),
        (lambda said: said.update(fields=[{"name": "a b", "kind": "text"}]), "field must be a letter"),
        (lambda said: said.update(fields=[]), "fields must hold 1 to 16 of text"),
        (
            lambda said: said.update(fields=[{"name": "t", "kind": "text"}, {"name": "n", "kind": "number"}]),
            "segment",
        ),
        (lambda said: said.update(documents=41), "must hold 41 documents to be an index, got 40"),
        (lambda said: said.update(positions="yes"), "Expected `bool`"),
        (lambda said: said.pop("scorer"), "missing required field `scorer`"),
    ],
)
def test_file_that_says_what_cannot_be_is_refused(small, InvertedIndex, change, message):
    _, segment = index_file.read(small, mmap=False)
    head = small.read_bytes()[: len(small.read_bytes()) - len(segment)]
    said = json.loads(head[64:].rstrip(b"\0"))
    change(said)
    text = json.dumps(said).encode()
    offset = -(-(64 + len(text)) // 64) * 64
    header = index_file.HEADER.pack(
        b"\x89PSINV\r\n", 1, 0, offset + len(segment), len(text), offset, len(segment)
    )
    small.write_bytes(with_checksum((header + text).ljust(offset, b"\0") + bytes(segment)))
    with pytest.raises(IndexFileError, match=message):
        InvertedIndex.load(small)


@pytest.mark.parametrize("mmap", [True, False])
def test_great_file_that_is_none_is_refused_before_it_is_read(tmp_path, InvertedIndex, mmap):
    """A terabyte, of which the disk holds nothing, would not fit into memory."""
    with open(tmp_path / "great", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(IndexFileError, match="great must begin with"):
        InvertedIndex.load(tmp_path / "great", mmap=mmap)


def test_text_that_nests_deeply_is_refused(small, InvertedIndex):
    _, segment = index_file.read(small, mmap=False)
    text = b"[" * 100_000
    offset = -(-(64 + len(text)) // 64) * 64
    header = index_file.HEADER.pack(
        b"\x89PSINV\r\n", 1, 0, offset + len(segment), len(text), offset, len(segment)
    )
    small.write_bytes(with_checksum((header + text).ljust(offset, b"\0") + bytes(segment)))
    with pytest.raises(IndexFileError, match="must say what its index is"):
        InvertedIndex.load(small)


def test_what_is_no_file_is_refused(tmp_path, InvertedIndex):
    index = InvertedIndex()
    with pytest.raises(IndexFileError, match="path must be a regular file"):
        index.save(tmp_path)
    with pytest.raises((IndexFileError, IsADirectoryError)):
        InvertedIndex.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for call in (index.save, InvertedIndex.load):
        with pytest.raises(IndexFileError, match="path must be a regular file"):
            call(tmp_path / "pipe")
        with pytest.raises(InvalidType, match="path must be a str or a path, got 5"):
            call(5)
    with pytest.raises(FileNotFoundError):
        InvertedIndex.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        index.save(tmp_path / "no folder" / "index")


# Saving


def test_failed_save_leaves_the_old_file_and_nothing_beside_it(small, InvertedIndex, monkeypatch):
    before = small.read_bytes()

    def fail(fd):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        filled(InvertedIndex).save(small)
    assert small.read_bytes() == before
    assert os.listdir(small.parent) == [small.name]


def test_save_keeps_the_mode_of_the_file_and_follows_a_link(tmp_path, InvertedIndex):
    real, link = tmp_path / "real", tmp_path / "link"
    InvertedIndex().save(real)
    real.chmod(0o640)
    link.symlink_to(real)
    filled(InvertedIndex).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert len(InvertedIndex.load(link)) == 499


SAVER = """
import os, sys
from penstock.search import InvertedIndex

path, step = sys.argv[1:]
index = InvertedIndex()
index.add_many(range(3_000), (f"new text of document{n} " * 5 for n in range(3_000)))
write, fsync, replace = os.write, os.fsync, os.replace


def die(*ignored):
    os.kill(os.getpid(), 9)


def write_half(fd, data):
    write(fd, bytes(data)[: len(data) // 2])
    die()


def then_die(call):
    return lambda *arguments: die(call(*arguments))


setattr(os, *{
    "first write": ("write", die),
    "half a write": ("write", write_half),
    "fsync": ("fsync", die),
    "after fsync": ("fsync", then_die(fsync)),
    "rename": ("replace", die),
    "after rename": ("replace", then_die(replace)),
}[step])
index.save(path)
"""

STEPS = {
    "first write": 1,
    "half a write": 1,
    "fsync": 1,
    "after fsync": 1,
    "rename": 1,
    "after rename": 3_000,
}


@pytest.mark.parametrize("impl", ["c", "py"])
@pytest.mark.parametrize(("step", "documents"), STEPS.items(), ids=STEPS)
def test_kill_during_save_leaves_the_old_file_or_the_new_one_whole(
    tmp_path, monkeypatch, impl, step, documents
):
    cls = both(monkeypatch, impl)
    path = tmp_path / "index"
    old = cls()
    old.add(7, "old")
    old.save(path)
    environment = os.environ | {"PENSTOCK_IMPL": impl}
    done = subprocess.run([sys.executable, "-c", SAVER, str(path), step], env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(cls.load(path)) == documents
