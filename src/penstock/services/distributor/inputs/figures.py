"""What came by each input over HTTP, in records, since the start."""

from collections import Counter

from aiohttp import web

__all__ = ["HTTP_INPUTS", "InputFigures"]


class InputFigures:
    """Counts records by input."""

    def __init__(self) -> None:
        self._stored: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def count(self, name: str, stored: int, refused: int) -> None:
        """Counts the records of a request; of one that cannot be read nothing is known to count."""
        self._stored[name] += stored
        self._refused[name] += refused

    def figures(self) -> dict[str, dict[str, int]]:
        """By the name of the input, of those that have had requests: records received, stored, refused."""
        return {
            name: {
                "received": stored + self._refused[name],
                "stored": stored,
                "refused": self._refused[name],
            }
            for name, stored in self._stored.items()
        }


HTTP_INPUTS = web.AppKey("http_inputs", InputFigures)
