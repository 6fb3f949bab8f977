"""Threads: some search while another adds, deletes and merges; what each finds is from one moment."""

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.search.errors import DuplicateDocument
from penstock.search.plan import AllNode, AnyNode, ConstNode, EveryNode, TermNode
from penstock.search.scoring import BM25
from penstock.search.words import WordRules

READERS = 8
RULES = WordRules("ascii")
BEST = BM25()
DIGITS = tuple(f"digit{n}" for n in range(10))


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works):
    """Every work in a thread of its own, all at once; the first error is raised."""
    start = threading.Barrier(len(works))

    def begin(work):
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result() for done in [pool.submit(begin, work) for work in works]]


def text_of(number):
    """Words of a document, always three: so all that have one of them in common score the same."""
    return f"all digit{number % 10} number{number}"


def term(word):
    return TermNode(((0, word, 1.0),), 1.0)


def check_once(index, dice):
    """Asks an index whose ids rise in many ways; whatever is told is of one moment."""
    digit = DIGITS[dice % 10]
    ids, scores = index.top_words(f"all {digit}", 1, BEST, 20, None)
    assert len(ids) == len(set(ids)) == len(scores)
    assert scores == sorted(scores, reverse=True)
    same = [doc_id for doc_id, score in zip(ids, scores, strict=True) if score == scores[0]]
    assert same == sorted(same)  # in the order of adding
    assert len({doc_id % 10 for doc_id in same}) == 1
    found, _ = index.top(AllNode((term("all"), term(digit))), BEST, 10_000, None)
    assert found == sorted(found)
    assert all(doc_id % 10 == dice % 10 for doc_id in found)
    listed = index.ids()
    assert listed == list(range(listed[0], listed[-1] + 1))
    many, values = index.top_many([digit, "all", digit, "nothing"], 1, BEST, 3)
    assert many[:3] == many[6:9]
    assert values[:3] == values[6:9]
    assert list(many[9:]) == [-1] * 3
    everything = index.matches(EveryNode())
    assert everything == b"\1" * len(everything)
    assert set(index.scores(ConstNode(EveryNode(), 1.0), BEST)) == {1.0}
    cells = index.cells(0)
    assert list(cells) == list(range(cells[0], cells[0] + len(cells)))


def filled(TermIndex, documents):
    index = TermIndex(1, 1, True, RULES)
    numbers = range(documents)
    index.add_many(numbers, [text_of(n) for n in numbers], [(n,) for n in numbers])
    return index


def size_for(TermIndex, compiled, plain):
    return compiled if TermIndex.__module__.endswith("_c") else plain


def test_eight_threads_search_while_one_adds_deletes_and_merges(TermIndex):
    documents = size_for(TermIndex, 1_000, 300)
    index = filled(TermIndex, documents)
    rounds = size_for(TermIndex, 40, 6)
    over = threading.Event()

    def write():
        try:
            at = documents
            for n in range(rounds):
                for _ in range(20):
                    index.add(at, (text_of(at),), (at,))
                    assert index.delete(at - documents)
                    at += 1
                numbers = range(at, at + 100)
                index.add_many(numbers, [text_of(k) for k in numbers], [(k,) for k in numbers])
                for k in numbers:
                    assert index.delete(k - documents)
                at += 100
                if n % 4 == 0:
                    index.compact()
        finally:
            over.set()
        return True

    def read(seed):
        def check():
            asked = 0
            while asked < 5 or not over.is_set():
                check_once(index, seed + asked)
                asked += 1
            return True

        return check

    assert all(together(write, *[read(7 * n) for n in range(READERS)]))
    assert len(index) == documents
    assert index.doc_freq(0, "all") == documents


def test_full_tails_are_merged_while_others_search(TermIndex):
    """As many documents as make the compiled index merge by itself, twice."""
    documents = size_for(TermIndex, 70_000, 1_000)
    index = filled(TermIndex, 10)
    over = threading.Event()

    def write():
        try:
            for at in range(10, documents, 500):
                numbers = range(at, min(at + 500, documents))
                index.add_many(numbers, [f"all digit{n % 10} x" for n in numbers], [(n,) for n in numbers])
        finally:
            over.set()
        return True

    def read():
        before = 0
        while not over.is_set():
            ids, _ = index.top_words("digit3", 1, BEST, 5, None)
            assert ids == sorted(ids)
            assert {doc_id % 10 for doc_id in ids} == {3}
            now = index.doc_freq(0, "digit3")
            assert now >= before
            before = now
        return True

    assert all(together(write, read, read, read))
    assert index.doc_freq(0, "digit3") == documents // 10
    assert index.ids() == list(range(documents))


def test_several_threads_add_and_no_document_is_lost(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    each = size_for(TermIndex, 1_500, 198)

    def add(first):
        def run():
            for n in range(first, first + each, 3):
                index.add(n, (text_of(n),))
                index.add_many([n + 1, n + 2], [text_of(n + 1), text_of(n + 2)])
            return True

        return run

    assert all(together(*[add(1_000_000 * k) for k in range(6)]))
    assert sorted(index.ids()) == [1_000_000 * k + n for k in range(6) for n in range(each)]
    assert index.doc_freq(0, "all") == 6 * each
    for k in range(6):
        alone = [doc_id for doc_id in index.ids() if doc_id // 1_000_000 == k]
        assert alone == sorted(alone)


def test_one_of_many_threads_that_add_the_same_id_succeeds(TermIndex):
    index = TermIndex(1, 0, False, RULES)

    def add():
        added = 0
        for n in range(300):
            try:
                index.add(n, (text_of(n),))
                added += 1
            except DuplicateDocument:
                pass
        return added

    assert sum(together(*[add] * READERS)) == 300
    assert sorted(index.ids()) == list(range(300))


def test_replaced_document_is_never_missing(TermIndex):
    index = filled(TermIndex, 10)
    over = threading.Event()

    def write():
        try:
            for n in range(size_for(TermIndex, 3_000, 300)):
                index.replace(3, (f"all digit3 version{n}",), (3,))
                if n % 500 == 0:
                    index.compact()
        finally:
            over.set()
        return True

    def read():
        while not over.is_set():
            assert index.top_words("digit3", 1, BEST, 5, None)[0] == [3]
            assert 3 in index
            assert len(index) == 10
            assert len(index.top(EveryNode(), BEST, 20, None)[0]) == 10
        return True

    assert all(together(write, *[read] * 4))


def test_index_is_packed_and_mapped_while_it_is_written(TermIndex):
    documents = 300
    index = filled(TermIndex, documents)
    over = threading.Event()

    def write():
        try:
            for n in range(documents, documents + size_for(TermIndex, 3_000, 400)):
                index.add(n, (text_of(n),), (n,))
                assert index.delete(n - documents)
        finally:
            over.set()
        return True

    def pack():
        while not over.is_set():
            copied = TermIndex(1, 1, True, RULES)
            copied.map(index.pack())
            check_once(copied, 5)
            assert len(copied) in (documents, documents + 1)
        return True

    assert all(together(write, pack, pack))


def test_text_ids_are_copied_out_whole(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    names = [f"document {n} äöü\N{GRINNING FACE}" * (1 + n % 5) for n in range(200)]
    index.add_many(names, ["all words"] * len(names))
    over = threading.Event()

    def write():
        try:
            for n in range(size_for(TermIndex, 2_000, 300)):
                name = names[n % len(names)]
                assert index.delete(name)
                index.add(name, ("all words",))
                if n % 300 == 0:
                    index.compact()
        finally:
            over.set()
        return True

    def read():
        known = set(names)
        while not over.is_set():
            assert known.issuperset(index.top_words("all", 1, BEST, 50, None)[0])
            assert known.issuperset(index.ids())
            found, _ = index.top_many(["all", "nothing"] * 40, 1, BEST, 7)
            assert known.issuperset(name for name in found if name is not None)
        return True

    assert all(together(write, read, read, read))


def test_code_of_others_runs_in_no_lock(TermIndex):
    """Ids, words and masks whose own code asks and changes the same index."""
    index = filled(TermIndex, 50)

    class Number:
        def __init__(self, number):
            self.number = number

        def __index__(self):
            index.top_words("all", 1, BEST, 3, None)
            index.delete(40)
            return self.number

    class Words(list):
        def __iter__(self):
            index.delete(41)
            return super().__iter__()

    class Dies:
        def __del__(self):
            index.delete(42)
            index.top_words("all", 1, BEST, 3, None)

    index.add(Number(1_000), (Words(["all", "more"]),), (Number(7),))
    assert index.top_words(Words(["more"]), Number(1), BEST, Number(5), None)[0] == [1_000]
    assert index.frequency(Number(1_000), Number(0), "more") == (1, 2)
    gc.collect()
    before = gc.get_threshold()
    gc.set_threshold(1)  # lists that are made may find garbage
    try:
        for _ in range(20):
            ring = [Dies()]
            ring.append(ring)
            del ring
            index.top_words("all digit1", 1, BEST, 10, None)
            index.ids(), index.terms(0, "digit", 5), index.top_many(["all"], 1, BEST, 2)
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert not {40, 41, 42} & set(index.ids())


def test_index_outlives_nothing_that_it_was_given(TermIndex):
    """What a mapped segment was lent is given back when it is merged away, and when the index dies."""
    segment = filled(TermIndex, 20).pack()

    class Lent(bytes):
        alive = 0

        def __new__(cls, value):
            cls.alive += 1
            return super().__new__(cls, value)

        def __del__(self):
            type(self).alive -= 1

    index = TermIndex(1, 1, True, RULES)
    index.map(Lent(segment))
    assert index.top(AnyNode(1, (term("digit3"),)), BEST, 5, None)[0] == [3, 13]
    index.delete(3)
    index.compact()
    assert Lent.alive == 0
    assert index.top(AnyNode(1, (term("digit3"),)), BEST, 5, None)[0] == [13]
    index = TermIndex(1, 1, True, RULES)
    index.map(Lent(segment))
    del index
    gc.collect()
    assert Lent.alive == 0


def test_threads_find_the_same_in_development_mode(twin):
    """Python checks memory and the GIL in this mode; errors end the process."""
    name = twin.__name__
    code = f"""
import threading
from {name} import TermIndex
from penstock.search.scoring import BM25
from penstock.search.words import WordRules

index = TermIndex(1, 0, True, WordRules("ascii"))
index.add_many(range(300), [f"all digit{{n % 10}} number{{n}}" for n in range(300)])

def read():
    for n in range(40):
        ids, scores = index.top_words(f"all digit{{n % 10}}", 1, BM25(), 5, None)
        assert len(ids) == len(scores) == 5
        index.top_many(["all", "digit3"] * 40, 1, BM25(), 3)
        index.ids(), index.terms(0, "d", 3), index.mask_of([1, 2, "x"])

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for n in range(300, 700):
    index.add(n, (f"all digit{{n % 10}} number{{n}}",))
    assert index.delete(n - 300)
    if n % 100 == 0:
        index.compact()
for thread in threads:
    thread.join()
assert index.ids() == list(range(400, 700))
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(twin.__file__).parents[2]), "PYTHONDEVMODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")
