"""Arguments that lie about lengths, about bounds and about what they hold; and interrupts."""

import _thread
import gc
import os
import signal
import threading

import numpy as np
import pytest

from penstock.errors import InvalidType, InvalidValue
from penstock.search._inverted_index_py import TermIndex as PlainTermIndex
from penstock.search.plan import EveryNode, MaskNode
from penstock.search.scoring import BM25
from penstock.search.words import WordRules, WordSplitter

RULES = WordRules("unicode")
BEST = BM25()


class Short(tuple):
    """Says that it has one item, and tells none."""

    def __len__(self):
        return 1

    def __iter__(self):
        return iter(())


class Agreeing(int):
    """Is within all bounds."""

    def __lt__(self, other):
        return False

    def __gt__(self, other):
        return False

    def __le__(self, other):
        return True

    def __ge__(self, other):
        return True


class Ascii(str):
    """Says that it is ASCII, and that UTF-8 can hold it."""

    def isascii(self):
        return True

    def encode(self, *_):
        return b"x"

    def lower(self):
        return 12

    def __str__(self):
        return "other"


@pytest.fixture
def index(TermIndex):
    made = TermIndex(1, 1, True, RULES)
    made.add_many(range(5), [f"all digit{n}" for n in range(5)], [(n,) for n in range(5)])
    return made


def test_cells_that_are_fewer_than_their_length_are_refused(index):
    with pytest.raises(InvalidValue, match="cells must have one number for each of the 1 columns, got 0"):
        index.add(5, ("all",), Short())
    with pytest.raises(InvalidValue, match="texts must have one entry for each of the 1 fields, got 0"):
        index.add(5, Short(), (1,))
    assert len(index) == 5


def test_mask_that_runs_backwards_or_in_steps_is_refused(index):
    for mask in (memoryview(bytes(5))[::-1], memoryview(bytes(10))[::2], np.ones(10, bool)[::2]):
        with pytest.raises(InvalidType, match="mask must be contiguous bytes or bools"):
            index.top(EveryNode(), BEST, 5, mask)
        with pytest.raises(InvalidType, match="mask must be contiguous bytes or bools"):
            index.matches(MaskNode(mask))
    assert index.top(EveryNode(), BEST, 5, np.array([0, 1, 0, 0, 1], bool))[0] == [1, 4]


def test_compiled_index_does_not_read_behind_a_short_kernel(index):
    """The fallback does not look at it."""
    for kernel in ((0,), ()):
        scorer = BM25()
        object.__setattr__(scorer, "kernel", kernel)
        if type(index).__module__.endswith("_c"):
            with pytest.raises(ValueError, match="unpack"):
                index.top(EveryNode(), scorer, 5, None)


def test_numbers_that_agree_with_every_bound_are_refused(index):
    with pytest.raises(InvalidValue, match="field must be from 0 to 0"):
        index.words_of(Agreeing(1_000_000))
    with pytest.raises(InvalidValue, match="column must be from 0 to 0"):
        index.cells(Agreeing(1_000_000))
    with pytest.raises(InvalidValue, match="k must be >= 0"):
        index.top_words("all", 1, BEST, Agreeing(-1), None)
    with pytest.raises(InvalidValue, match="doc_id must be from"):
        index.add(Agreeing(1 << 70), ("all",), (1,))
    with pytest.raises(InvalidValue, match="cell must be from"):
        index.add(5, ("all",), (Agreeing(1 << 70),))
    assert index.ids() == list(range(5))


def test_text_of_any_class_of_str_is_taken(index):
    text = type("Text", (str,), {})
    assert index.terms(0, text("al"), 5) == [("all", 5)]
    assert index.near_terms(0, np.str_("alk"), 1, 0, 5) == [("all", 5, 1)]
    assert index.top_words(text("digit3"), 1, BEST, 5, None)[0] == [3]
    assert index.doc_freq(0, text("all")) == 5


def test_text_is_what_it_holds_whatever_its_methods_say(TermIndex):
    index = TermIndex(1, 0, False, RULES)
    index.add(Ascii("näme"), (Ascii("É all"),))
    assert index.ids() == ["näme"]
    assert Ascii("näme") in index
    assert index.terms_of("näme", 0) == [("all", 1), ("é", 1)]
    assert index.top_words(Ascii("É"), 1, BEST, 5, None)[0] == ["näme"]
    with pytest.raises(InvalidValue, match="doc_id must be text that UTF-8 can hold"):
        index.add(Ascii("\ud800"), ("all",))
    assert Ascii("\ud800") not in index
    assert index.mask_of([Ascii("\ud800"), Ascii("näme")]) == b"\1"
    with pytest.raises(InvalidValue, match="term must be text that UTF-8 can hold"):
        index.add("b", ([Ascii("\ud800")],))


def test_stop_words_are_what_they_hold_whatever_their_methods_say(TermIndex):
    rules = WordRules("unicode", stop_words=frozenset([Ascii("all")]))
    index = TermIndex(1, 0, False, rules)
    index.add(1, ("all x",))
    assert index.terms(0, "", 5) == [("x", 1)]
    assert WordSplitter(rules).words("all x") == ["x"]
    assert WordSplitter(rules).words(Ascii("ALL É")) == ["é"]


@pytest.fixture
def no_collections():
    """No code of others, which hears of collections and in which an interrupt would be lost."""
    gc.disable()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    yield
    signal.signal(signal.SIGINT, before)
    gc.enable()


def interrupted(work, *arguments):
    """Calls, and interrupts soon after."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        work(*arguments)
    finally:
        timer.join()


def test_interrupt_comes_through_many_searches_and_additions(TermIndex, no_collections):
    index = TermIndex(1, 0, False, WordRules("ascii"))
    index.add_many(range(100), [f"all digit{n % 10}" for n in range(100)])
    queries = ["all digit3"] * 2_000_000
    with pytest.raises(KeyboardInterrupt):
        interrupted(index.top_many, queries, 1, BEST, 1)
    texts = ["all digit3 and more words"] * 2_000_000
    with pytest.raises(KeyboardInterrupt):
        interrupted(index.add_many, range(1_000, 2_001_000), texts)
    assert 100 <= len(index) < 2_000_000
    assert index.doc_freq(0, "all") == len(index)


def test_fallback_takes_back_a_document_at_which_it_was_interrupted(monkeypatch):
    index = PlainTermIndex(2, 0, True, RULES)
    index.add(1, ("all", "all words"))
    calls = []

    class Interrupted(dict):
        def __setitem__(self, ordinal, words):
            calls.append(ordinal)
            raise KeyboardInterrupt

    monkeypatch.setattr(index._fields[1], "texts", Interrupted(index._fields[1].texts))
    with pytest.raises(KeyboardInterrupt):
        index.add(2, ("all stray", "stray words"))
    monkeypatch.undo()
    assert calls
    index.add(3, ("other", "other"))
    assert index.ids() == [1, 3]
    assert index.terms(0, "", 9) == [("all", 1), ("other", 1)]
    assert index.terms(1, "", 9) == [("all", 1), ("other", 1), ("words", 1)]
    assert [index.words_of(0), index.words_of(1)] == [2, 3]


def test_interrupt_waits_for_small_parts_only_where_threads_search(InvertedIndex, no_collections):
    parts, once = [], threading.Lock()

    class Interrupted(InvertedIndex):
        def _many(self, queries, k, mode):
            parts.append(len(queries))
            if once.acquire(blocking=False):
                _thread.interrupt_main()
            return super()._many(queries, k, mode)

    index = Interrupted()
    index.add_many(range(20), ["all words"] * 20)
    with pytest.raises(KeyboardInterrupt):
        index.search_many(["all"] * 100_000, 1, threads=2)
    assert max(parts) <= 1_024
    assert sum(parts) < 100_000
