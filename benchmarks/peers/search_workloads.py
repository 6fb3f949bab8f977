"""What search indexes are asked for in the races: documents, queries by class, and which answers are right.

Every contestant takes text apart alike: lower case, maximal runs of [a-z0-9].
"""

import re
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np

K = 10  # documents wanted
K1, B = 1.2, 0.75
VOCABULARY = 100_000
LONGEST_WORD = 8
QUERY_WORDS = 3
COMMON_WORDS = 50
MIXED_WORDS = 5  # at the most
MIXED_SHARES = (1 / 2, 1 / 3, 1 / 6)  # of rare, mid and common words: tantivy does about what the issue says
RARE, MID = (3, 50), (500, 5_000)  # documents that have such a word, of 100,000

WORD = re.compile("[a-z0-9]+")


class Sizes(NamedTuple):
    """How many documents of how many tokens, and how many queries of a class."""

    documents: int
    tokens: int
    queries: int
    mixed: int


GOALS = Sizes(documents=100_000, tokens=80, queries=200, mixed=1_000)
"""That of the table of goals."""
SCALE = Sizes(documents=200_000, tokens=60, queries=200, mixed=1_000)
"""That of the figures in the issue."""
SMALL = Sizes(documents=2_000, tokens=80, queries=5, mixed=10)


# ---- documents


class Postings(NamedTuple):
    """Which documents hold a word, and how often, by the number of the word."""

    numbers: dict[str, int]
    starts: np.ndarray
    documents: np.ndarray
    frequencies: np.ndarray
    lengths: np.ndarray

    def of(self, word):
        """(documents, frequencies) of a word."""
        number = self.numbers.get(word)
        if number is None:
            return self.documents[:0], self.frequencies[:0]
        between = slice(self.starts[number], self.starts[number + 1])
        return self.documents[between], self.frequencies[between]


class Corpus(NamedTuple):
    """Texts, the same as postings, and queries by class; a query is words with blanks between them."""

    name: str
    texts: list[str]
    postings: Postings
    queries: dict[str, list[str]]


def synthetic(sizes):
    """Documents of so many tokens, drawn from a bounded Zipf distribution with exponent 1."""
    words = random_words(VOCABULARY)
    ranks = zipf_ranks(sizes)
    postings = postings_of(ranks, words)
    name = f"{sizes.documents:,} synthetic documents of {sizes.tokens} tokens"
    return Corpus(name, texts_of(ranks, words), postings, synthetic_queries(words, postings, sizes))


def random_words(count):
    """Distinct words of 3 to 8 letters, always the same."""
    dice = np.random.default_rng(9)
    words = {}
    while len(words) < count:
        letters = dice.integers(ord("a"), ord("z") + 1, (count, LONGEST_WORD), np.uint8)
        lengths = dice.integers(3, LONGEST_WORD + 1, count)
        for row, length in zip(letters, lengths, strict=True):
            words[row[:length].tobytes().decode()] = None
    return list(words)[:count]


def zipf_ranks(sizes):
    """(documents, tokens) uint32: ranks of words, 0 for the commonest."""
    shares = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
    dice = np.random.default_rng(sizes.documents).random(sizes.documents * sizes.tokens)
    ranks = np.searchsorted(shares, dice * shares[-1]).astype(np.uint32)
    return ranks.reshape(sizes.documents, sizes.tokens)


def texts_of(ranks, words):
    return [" ".join([words[rank] for rank in row.tolist()]) for row in ranks]


def postings_of(ranks, words):
    documents, tokens = ranks.shape
    numbers = {word: number for number, word in enumerate(words)}
    holders = np.repeat(np.arange(documents), tokens)
    return gathered(numbers, ranks.ravel(), holders, np.full(documents, tokens))


def gathered(numbers, words, holders, lengths):
    """Postings of (word, document) pairs in any order."""
    pairs, frequencies = np.unique(words.astype(np.int64) * len(lengths) + holders, return_counts=True)
    word_of, document_of = np.divmod(pairs, len(lengths))
    starts = np.searchsorted(word_of, np.arange(len(numbers) + 1))
    return Postings(numbers, starts, document_of, frequencies, lengths)


# ---- queries


def synthetic_queries(words, postings, sizes):
    """Queries of three rare, mid and common words, and of one to five from any of these classes."""
    frequencies = np.diff(postings.starts)
    per_document = sizes.documents / GOALS.documents
    classes = {
        "rare": with_frequency(words, frequencies, *RARE),
        "mid": with_frequency(words, frequencies, *(round(bound * per_document) for bound in MID)),
        "common": words[:COMMON_WORDS],
    }
    dice = np.random.default_rng(10)
    queries = {
        name: [" ".join(drawn(dice, some, QUERY_WORDS)) for _ in range(sizes.queries)]
        for name, some in classes.items()
    }
    queries["mixed"] = [mixed_query(dice, list(classes.values())) for _ in range(sizes.mixed)]
    return queries


def with_frequency(words, frequencies, least, most):
    return [words[rank] for rank in np.flatnonzero((frequencies >= least) & (frequencies <= most))]


def drawn(dice, words, count):
    """So many distinct words."""
    return [words[place] for place in dice.choice(len(words), count, replace=False)]


def mixed_query(dice, classes):
    wanted = dice.integers(1, MIXED_WORDS + 1)
    found = {}
    while len(found) < wanted:
        some = classes[dice.choice(len(classes), p=MIXED_SHARES)]
        found[some[dice.integers(len(some))]] = None
    return " ".join(found)


# ---- what is right


def lucene_idf(frequency, documents):
    return np.log1p((documents - frequency + 0.5) / (frequency + 0.5))


def sqlite_idf(frequency, documents):
    return max(np.log((documents - frequency + 0.5) / (frequency + 0.5)), 1e-6)


def okapi_idf(postings):
    """rank-bm25's: as SQLite's, but a word of more than half of the documents gets a quarter of the mean."""
    frequencies = np.diff(postings.starts)
    frequencies = frequencies[frequencies > 0]
    documents = len(postings.lengths)
    mean = np.log((documents - frequencies + 0.5) / (frequencies + 0.5)).mean()

    def idf(frequency, documents):
        plain = np.log((documents - frequency + 0.5) / (frequency + 0.5))
        return plain if plain >= 0 else 0.25 * mean

    return idf


def exact_scores(postings, query, idf=lucene_idf):
    """BM25 of every document, (n,) float64, by the formula, word by word."""
    scores = np.zeros(len(postings.lengths))
    slope = K1 * B / postings.lengths.mean()
    for word in query.split():
        documents, frequencies = postings.of(word)
        if len(documents):
            saturation = frequencies / (frequencies + K1 * (1 - B) + slope * postings.lengths[documents])
            scores[documents] += idf(len(documents), len(scores)) * saturation
    return scores


def share_of_best(scores, found):
    """Least score of the documents found as a share of what the best of so many have, at most 1.

    1 says that no better ones were left out, whatever the order of equal ones.
    """
    if not len(found):
        return 1.0 if not scores.any() else 0.0
    assert len(set(found)) == len(found) == min(K, np.count_nonzero(scores))
    best = np.partition(scores, -len(found))[-len(found)]
    return min(1.0, float(scores[found].min() / best))


# ---- times


class Latencies(NamedTuple):
    """(n,) microseconds of each query, the median of its rounds."""

    us: np.ndarray

    @property
    def mean(self):
        return float(self.us.mean())

    @property
    def a_second(self):
        return 1e6 / self.mean

    def quantile(self, share):
        return float(np.quantile(self.us, share))


def latencies(
    searches: dict[str, Callable[[str], object]], queries: Sequence[str], rounds: int
) -> dict[str, Latencies]:
    """Asks every contestant all queries, in interleaved rounds."""
    times = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            times[name].append([timed(search, query) for query in queries])
    return {
        name: Latencies(np.array([median(of_one) for of_one in zip(*of_all, strict=True)]) / 1_000)
        for name, of_all in times.items()
    }


def timed(search, query):
    """Nanoseconds."""
    start = perf_counter_ns()
    search(query)
    return perf_counter_ns() - start
