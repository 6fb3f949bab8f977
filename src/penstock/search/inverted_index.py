"""The index of terms that `InvertedIndex` is made of: words in, plans to search with."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["TermIndex"]

if TYPE_CHECKING:
    from penstock.search._inverted_index_py import TermIndex
else:
    TermIndex = twin(__name__).TermIndex
