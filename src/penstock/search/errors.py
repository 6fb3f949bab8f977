"""What a search index refuses."""

from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = [
    "DuplicateDocument",
    "FrozenIndexError",
    "IndexFileError",
    "InvalidType",
    "InvalidValue",
    "QuerySyntaxError",
    "QueryTooLarge",
    "UnknownDocument",
]


class DuplicateDocument(PenstockError, ValueError):
    """The index has a document of that id already; `update` puts another in its place."""


class UnknownDocument(PenstockError, KeyError):
    """The index has no document of that id."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would print the quoted repr of the message


class QuerySyntaxError(PenstockError, ValueError):
    """The text of a query breaks the syntax; `str` shows where, and what was expected there."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message, position)
        self.position = position
        """Code points before the place in the text."""

    def __str__(self) -> str:
        return str(self.args[0])


class QueryTooLarge(PenstockError, ValueError):
    """A query has more clauses, levels or expansions than a query may have."""


class IndexFileError(PenstockError, ValueError):
    """A file that holds no index, one of another kind or version, or a damaged one."""


class FrozenIndexError(PenstockError, TypeError):
    """A frozen index was asked to change."""
