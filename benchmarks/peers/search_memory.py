"""What a search index takes in memory, measured by a script in a process of its own.

usage: search_memory.py CONTESTANT DOCUMENTS TOKENS

Prints the growth of resident memory in bytes, and the documents held, after so many synthetic documents were
indexed. Their texts were there before, and so was the code.
"""

import sys
from functools import partial

from cache_memory import resident_bytes
from search_peers import OURS, PEERS, Penstock
from search_workloads import VOCABULARY, Sizes, random_words, texts_of, zipf_ranks

ANY_TEXTS = [f"any words {number}" for number in range(20)]  # so that what the first document needs is there


def compacted(texts):
    """penstock, when all documents were put into one segment."""
    filled = Penstock(texts)
    filled.index.compact()
    return filled


CONTESTANTS = (
    OURS
    | {"penstock, compacted": compacted, "penstock, positions": partial(Penstock, positions=True)}
    | PEERS
)


def growth(contestant, sizes):
    """Bytes by which memory grew when `contestant` was filled, and the documents that it then held."""
    fill = CONTESTANTS[contestant]
    warm = fill(ANY_TEXTS)
    warm.search("words")
    texts = texts_of(zipf_ranks(sizes), random_words(VOCABULARY))
    before = resident_bytes()
    filled = fill(texts)
    filled.search("no such words")  # what is made for the first query counts
    after = resident_bytes()
    return after - before, len(filled)


if __name__ == "__main__":
    documents, tokens = map(int, sys.argv[2:])
    print(*growth(sys.argv[1], Sizes(documents, tokens, queries=0, mixed=0)))
