"""Search indexes, each filled with texts and asked as its users do it, for what they have in common.

Each has `search(query)`, which is timed, and `found(answer)`, which makes numbers of documents of its answer.
Each also says by which idf it scores, and which share of the best scores its answers have at the least: less
than all of it where it rounds. All are told not to keep positions or texts, where they can do without.
"""

import re
import sqlite3
from functools import partial

import bm25s
import numpy as np
import tantivy
from rank_bm25 import BM25Okapi
from search_workloads import K1, WORD, B, K, lucene_idf, okapi_idf, sqlite_idf

from penstock.search import InvertedIndex, Phrase

HEAP = 1_000_000_000  # bytes, so that tantivy writes one segment only
FLOAT32 = 1 - 1e-5
EXACT = 1 - 1e-12


class Penstock:
    """An index that documents were added to one batch after the other, as it is then."""

    idf = staticmethod(lucene_idf)
    least_share = EXACT

    def __init__(self, texts, **options):
        self.index = InvertedIndex(analyzer="ascii", **options)
        self.index.add_many(range(len(texts)), texts)
        self.search = self.index.search

    def all_words(self):
        """The search for documents that hold all words."""
        return partial(self.index.search, mode="and")

    def search_many(self, queries):
        return self.index.search_many(queries, K)

    def search_phrase(self, query):
        return self.index.search(Phrase(query))

    def __len__(self):
        return len(self.index)

    @staticmethod
    def found(hits):
        return [hit.doc_id for hit in hits]


class PenstockOneByOne(Penstock):
    """The same, each document by a call of its own."""

    def __init__(self, texts, **options):
        self.index = InvertedIndex(analyzer="ascii", **options)
        add = self.index.add
        for number, text in enumerate(texts):
            add(number, text)
        self.search = self.index.search


class PenstockFrozen(Penstock):
    """The same, when no further documents are to come."""

    def __init__(self, texts, **options):
        super().__init__(texts, **options)
        self.index.freeze()


class Tantivy:
    """In memory, written by one thread into one segment; a query is parsed from text, hits are not counted.

    Lengths of documents are rounded down to one of 256, so other documents may come out best.
    """

    idf = staticmethod(lucene_idf)
    least_share = 0.93

    def __init__(self, texts, positions=False):
        schema = tantivy.SchemaBuilder()
        option = "position" if positions else "freq"
        schema.add_text_field("text", tokenizer_name="words", index_option=option)
        self.index = tantivy.Index(schema.build())
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        self.index.register_tokenizer("words", words.build())
        writer = self.index.writer(HEAP, 1)
        for text in texts:
            writer.add_document(tantivy.Document(text=text))
        writer.commit()
        writer.wait_merging_threads()
        self.index.reload()
        self.searcher = self.index.searcher()
        assert self.searcher.num_segments <= 1

    def search(self, query):
        return self.searcher.search(self.index.parse_query(query, ["text"]), K, count=False)

    def all_words(self):
        def search(query):
            parsed = self.index.parse_query(query, ["text"], conjunction_by_default=True)
            return self.searcher.search(parsed, K, count=False)

        return search

    def search_phrase(self, query):
        return self.search(f'"{query}"')

    def __len__(self):
        return self.searcher.num_docs

    @staticmethod
    def found(answer):
        """Documents are numbered within a segment in the order in which they came."""
        return [address.doc for _, address in answer.hits]


class BM25S:
    """Scores computed beforehand, float32; tokens are made by its own function."""

    idf = staticmethod(lucene_idf)
    least_share = FLOAT32
    backend = "numba"

    def __init__(self, texts):
        tokens = bm25s.tokenize(
            texts, token_pattern=WORD.pattern, stopwords=None, stemmer=None, show_progress=False
        )
        self.index = bm25s.BM25(K1, B, method="lucene", backend=self.backend)
        self.index.index(tokens, show_progress=False)

    def search(self, query):
        return self.search_many([query])

    def search_many(self, queries):
        words = [WORD.findall(query) for query in queries]
        return self.index.retrieve(words, k=K, n_threads=0, show_progress=False)

    def __len__(self):
        return self.index.scores["num_docs"]

    @staticmethod
    def found(answer):
        documents, scores = answer
        return documents[0][scores[0] > 0].tolist()


class BM25SNumpy(BM25S):
    """The same without numba."""

    backend = "numpy"


class SQLite:
    """FTS5 in memory, without the texts; it keeps positions, since its ranking needs them."""

    idf = staticmethod(sqlite_idf)
    least_share = EXACT
    select = "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT ?"

    def __init__(self, texts):
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize='ascii')")
        self.connection.execute("BEGIN")
        self.connection.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts))
        self.connection.execute("COMMIT")

    def optimize(self):
        """Makes queries faster; users do this at night, so it is no part of indexing."""
        self.connection.execute("INSERT INTO texts (texts) VALUES ('optimize')")

    def search(self, query):
        return self.asked(" OR ".join(f'"{word}"' for word in query.split()))

    def all_words(self):
        return lambda query: self.asked(" AND ".join(f'"{word}"' for word in query.split()))

    def search_phrase(self, query):
        return self.asked(f'"{query}"')

    def asked(self, query):
        return self.connection.execute(self.select, (query, K)).fetchall()

    def __len__(self):
        return self.connection.execute("SELECT count(*) FROM texts_docsize").fetchone()[0]

    @staticmethod
    def found(rows):
        return [number for (number,) in rows]


class RankBM25:
    """rank-bm25's BM25Okapi; it scores all documents for each query, so only a few of them."""

    least_share = EXACT

    def __init__(self, texts):
        words = re.compile(WORD.pattern).findall
        self.index = BM25Okapi([words(text.lower()) for text in texts], k1=K1, b=B)

    def search(self, query):
        scores = self.index.get_scores(query.split())
        best = np.argpartition(-scores, K)[:K]
        return best[np.argsort(-scores[best], kind="stable")], scores

    def __len__(self):
        return self.index.corpus_size

    @staticmethod
    def found(answer):
        best, scores = answer
        return best[scores[best] > 0].tolist()

    @staticmethod
    def idf_of(postings):
        return okapi_idf(postings)


PEERS = {
    "tantivy": Tantivy,
    "bm25s, numba": BM25S,
    "bm25s, numpy": BM25SNumpy,
    "SQLite FTS5": SQLite,
}
OURS = {"penstock": Penstock, "penstock, frozen": PenstockFrozen}
