"""How long an index of terms takes to add, search and delete documents of 80 words; one thread.

Words are drawn as Zipf has it, the r-th as often as 1/r, from 20,000: the 50 commonest are `common`; of those
that are `rare` each stands in some 20 documents.
"""

from importlib import import_module

import numpy as np

from penstock.search.plan import AnyNode, TermNode
from penstock.search.scoring import BM25
from penstock.search.words import WordRules

WORDS = 20_000
DOCUMENTS = 10_000
LENGTH = 80
BEST = BM25()


def empty(impl):
    return import_module(f"penstock.search._inverted_index_{impl}").TermIndex(1, 0, False, WordRules())


def texts(documents):
    shares = np.cumsum(1 / np.arange(1, WORDS + 1))
    dice = np.random.default_rng(7).random((documents, LENGTH)) * shares[-1]
    return [" ".join(f"word{rank}" for rank in row) for row in np.searchsorted(shares, dice).tolist()]


def queries(least, most, n=100):
    ranks = np.random.default_rng(8).integers(least, most, (n, 3)).tolist()
    return [" ".join(f"word{rank}" for rank in row) for row in ranks]


class Adding:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.texts = texts(1_000)

    def time_add_1k_documents(self, impl):
        add = empty(impl).add
        for number, text in enumerate(self.texts):
            add(number, (text,))

    def time_add_many_1k_documents(self, impl):
        empty(impl).add_many(range(1_000), self.texts)


class Searching:
    params = (("c", "py"), ("rare", "common"))
    param_names = ("impl", "words")

    def setup(self, impl, words):
        self.index = empty(impl)
        self.index.add_many(range(DOCUMENTS), texts(DOCUMENTS))
        self.queries = queries(3_000, 5_000) if words == "rare" else queries(0, 50)
        self.plans = [
            AnyNode(1, tuple(TermNode(((0, word, 1.0),), 1.0) for word in query.split()))
            for query in self.queries
        ]
        self.mask = np.arange(DOCUMENTS) % 3 == 0

    def time_top_words_100(self, impl, words):
        top_words = self.index.top_words
        for query in self.queries:
            top_words(query, 1, BEST, 10, None)

    def time_top_words_masked_100(self, impl, words):
        top_words = self.index.top_words
        for query in self.queries:
            top_words(query, 1, BEST, 10, self.mask)

    def time_top_of_plans_100(self, impl, words):
        top = self.index.top
        for plan in self.plans:
            top(plan, BEST, 10, None)

    def time_top_many_100(self, impl, words):
        self.index.top_many(self.queries, 1, BEST, 10)


class Calls:
    """What a call costs whatever it finds: an index of one document."""

    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.index = empty(impl)
        self.index.add(1, ("hello",))

    def time_top_words_1k(self, impl):
        top_words = self.index.top_words
        for _ in range(1_000):
            top_words("hello", 1, BEST, 10, None)

    def time_doc_freq_1k(self, impl):
        doc_freq = self.index.doc_freq
        for _ in range(1_000):
            doc_freq(0, "hello")


class Deleting:
    params = ("c", "py")
    param_names = ("impl",)
    number = 1  # a document can be deleted once
    warmup_time = 0

    def setup(self, impl):
        self.index = empty(impl)
        self.index.add_many(range(DOCUMENTS), texts(DOCUMENTS))

    def time_delete_1k_documents(self, impl):
        delete = self.index.delete
        for number in range(0, DOCUMENTS, 10):
            delete(number)


class Whole:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        self.index = empty(impl)
        self.index.add_many(range(DOCUMENTS), texts(DOCUMENTS))
        self.segment = self.index.pack()

    def time_pack_10k_documents(self, impl):
        self.index.pack()

    def time_map_10k_documents(self, impl):
        empty(impl).map(self.segment)
