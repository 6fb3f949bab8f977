"""Real texts and queries: Debian's package descriptions, and the search benchmark game.

Whatever is not ASCII is replaced by a blank, since contestants differ in what such a character is.
"""

import json
import lzma
import re

import numpy as np
from search_workloads import WORD, Corpus, gathered

from datasets import require  # of the tests


def debian_descriptions(most=None):
    """Debian's package descriptions, the largest real corpus there is; `most`: only the first so many."""
    texts = []
    with lzma.open(require("text/debian_descriptions.jsonl.xz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            texts.append(ascii_only(f"{document['title']} {document['text']}"))
            if len(texts) == most:
                break
    postings = postings_of_texts(texts)
    return Corpus(f"{len(texts):,} package descriptions", texts, postings, search_game(postings))


def ascii_only(text):
    return re.sub(r"[^\x00-\x7f]", " ", text)


def postings_of_texts(texts):
    numbers = {}
    words, lengths = [], []
    for text in texts:
        found = WORD.findall(text.lower())
        lengths.append(len(found))
        words.extend(numbers.setdefault(word, len(numbers)) for word in found)
    lengths = np.array(lengths)
    return gathered(numbers, np.array(words), np.repeat(np.arange(len(texts)), lengths), lengths)


def search_game(postings):
    """The unions and the phrases of the search benchmark game that find anything here.

    Its intersections have the words of its phrases.
    """
    queries = {"union": [], "phrase": []}
    with require("queries/search_benchmark_game.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            query = json.loads(line)
            words = WORD.findall(ascii_only(query["query"]).lower())
            if any(word in postings.numbers for word in words):
                for kind in queries.keys() & set(query["tags"]):
                    queries[kind].append(" ".join(dict.fromkeys(words)))
    return queries
