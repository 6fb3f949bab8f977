"""Lists of words that are so common that a search does without them."""

from types import MappingProxyType

__all__ = ["STOP_WORDS"]

STOP_WORDS = MappingProxyType(
    {
        "english": frozenset(
            word
            for line in (
                "a an and are as at be but by for if in into is it no not of on or such",
                "that the their then there these they this to was will with",
            )
            for word in line.split()
        ),
    }
)
"""Name -> words, lowered. `english` has the 33 of Apache Lucene's EnglishAnalyzer."""
