"""How long a WordSplitter, and an Analyzer, take for a text."""

import random
from importlib import import_module

from penstock.search.analyzer import Analyzer
from penstock.search.words import WordRules

SYLLABLES = (
    "ar",
    "be",
    "co",
    "de",
    "en",
    "fi",
    "go",
    "ha",
    "in",
    "jo",
    "ka",
    "li",
    "mo",
    "ne",
    "or",
    "qui",
    "ra",
    "sto",
)


def text_of(words):
    """So many words of English lengths, with marks between some."""
    dice = random.Random(5)
    parts = []
    for _ in range(words):
        word = "".join(dice.choices(SYLLABLES, k=dice.choice((1, 1, 2, 2, 3, 4))))
        parts.append(
            dice.choice((word, word, word, word.capitalize(), word + ",", word + ".", "the", "don't"))
        )
    return " ".join(parts)


class WordSplitter:
    params = (("c", "py"), ("ascii", "unicode"))
    param_names = ("impl", "segmentation")

    def setup(self, impl, segmentation):
        splitter = import_module(f"penstock.search._words_{impl}").WordSplitter
        self.plain = splitter(WordRules(segmentation))
        self.without_stop_words = splitter(WordRules(segmentation, stop_words=frozenset({"the", "de", "in"})))
        self.text = text_of(1_000)
        self.query = "three rare words"
        self.latin = self.text.replace("e", "é")
        self.quoted = self.text.replace("'", "\u2019")
        self.chinese = "".join(chr(0x4E00 + i % 3_000) for i in range(1_000))

    def time_words_of_ascii_1k(self, impl, segmentation):
        self.plain.words(self.text)

    def time_words_without_stop_words_1k(self, impl, segmentation):
        self.without_stop_words.words(self.text)

    def time_words_of_latin_1k(self, impl, segmentation):
        self.plain.words(self.latin)

    def time_words_with_curly_quotes_1k(self, impl, segmentation):
        self.plain.words(self.quoted)

    def time_words_of_chinese_1k(self, impl, segmentation):
        self.plain.words(self.chinese)

    def time_spans_of_ascii_1k(self, impl, segmentation):
        self.plain.spans(self.text)

    def time_words_of_a_query_1k(self, impl, segmentation):
        words = self.plain.words
        for _ in range(1_000):
            words(self.query)


class Analyzers:
    def setup(self):
        self.english = Analyzer.english()
        self.bigrams = Analyzer(cjk="bigrams")
        self.text = text_of(1_000)
        self.chinese = "".join(chr(0x4E00 + i % 3_000) for i in range(1_000))
        self.english.tokens(self.text)

    def time_english_1k(self):
        self.english.tokens(self.text)

    def time_bigrams_1k(self):
        self.bigrams.tokens(self.chinese)
