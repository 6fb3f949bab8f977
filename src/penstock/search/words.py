"""Text taken apart into words, by the boundaries of Unicode or into runs of ASCII letters and digits."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.search._words_py import WordRules

__all__ = ["WordRules", "WordSplitter"]

if TYPE_CHECKING:
    from penstock.search._words_py import WordSplitter
else:
    WordSplitter = twin(__name__).WordSplitter
