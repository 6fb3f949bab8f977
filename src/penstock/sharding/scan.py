"""Entries of many ranges, sorted, as a stream in bounded memory."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, Self, TypeVar

from penstock.sharding.cursor import encode_cursor
from penstock.sharding.shard_map import Span

__all__ = ["Scan"]

K = TypeVar("K")
V = TypeVar("V")

ReadPart = Callable[[Span, int], Awaitable[tuple[list[tuple[K, V]], Span | None]]]
"""Reads the first rows of a span, and says which part of it is left."""


class Piece(Generic[K, V]):
    """What is still to be read of one range, and the task that reads the next page of it."""

    __slots__ = ("page", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.page: asyncio.Task[tuple[list[tuple[K, V]], Span | None]] | None = None


class Scan(Generic[K, V]):
    """An asynchronous iterator over entries, lowest key first; `RangeShards.scan` makes it.

    While you use a page, the next one is being read, and the first page of the range behind it: no more than
    `prefetch` pages are in memory besides the one in your hands. A range that is split, merged or moved
    meanwhile loses no row and shows none twice. Each page is of its own moment: an entry that is written or
    removed during the scan may be seen or not.

    After an error the same row can be asked for again. Left early, it must be closed, which
    `async with` does; else up to `prefetch` pages are read for nobody.

    Attributes:
        rows: handed out so far.
    """

    def __init__(
        self, read: ReadPart[K, V], spans: Iterable[Span], *, limit: int | None, page_rows: int, prefetch: int
    ) -> None:
        self.rows = 0
        self._read = read
        self._pieces: deque[Piece[K, V]] = deque(map(Piece, spans))
        self._limit, self._page_rows, self._prefetch = limit, page_rows, prefetch
        self._page: deque[tuple[K, V]] = deque()
        self._last: K | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[K, V]:
        if self.rows == self._limit:
            await self.aclose()
        while not self._page:
            if not self._pieces:
                raise StopAsyncIteration
            await self._next_page()
        self.rows += 1
        row = self._page.popleft()
        self._last = row[0]
        return row

    @property
    def cursor(self) -> str | None:
        """Resumes the scan behind the last row that it gave; None before the first row.

        Raises:
            TypeError: the key is of a type that a cursor cannot hold.
            ValueError: it is too long for one.
        """
        return None if self._last is None else encode_cursor(self._last)

    async def aclose(self) -> None:
        """Ends the scan, and what it reads ahead; the cursor stays."""
        pages = [piece.page for piece in self._pieces if piece.page is not None]
        self._pieces.clear()
        self._page.clear()
        for page in pages:
            page.cancel()
        if pages:
            await asyncio.wait(pages)

    async def _next_page(self) -> None:
        self._read_ahead()
        piece = self._pieces[0]
        assert piece.page is not None
        await asyncio.wait([piece.page])  # not the task itself: who is cancelled here may ask again
        page, piece.page = piece.page, None
        rows, rest = page.result()
        self._page.extend(rows)
        if rest is None:
            self._pieces.popleft()
        else:
            piece.span = rest
        self._read_ahead()

    def _read_ahead(self) -> None:
        """Sees that the next pages are under way, as far as the limit may need them."""
        wanted = self._page_rows if self._limit is None else self._limit - self.rows - len(self._page)
        if wanted <= 0:
            return
        for piece in list(self._pieces)[: self._prefetch]:
            if piece.page is None:
                reading = self._read(piece.span, min(wanted, self._page_rows))
                piece.page = asyncio.ensure_future(reading)
                piece.page.add_done_callback(retrieved)


def retrieved(page: "asyncio.Task[object]") -> None:
    """Looks at the error of a page that nobody may ever ask for, lest asyncio complain."""
    if not page.cancelled():
        page.exception()
