from typing import final

from penstock.search._words_py import WordRules

__all__ = ["WordSplitter"]

@final
class WordSplitter:
    def __init__(self, rules: WordRules, /) -> None: ...
    def words(self, text: str, /) -> list[str]: ...
    def spans(self, text: str, /) -> list[tuple[str, int, int]]: ...
