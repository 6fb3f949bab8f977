"""What dead letters say: a full-text index in memory of the spool's, made when somebody first searches.

It is told of every letter that comes and goes, and reads what it has not read yet when the next search
comes, the newest first. So nobody who never searches pays for it.
"""

import logging
from collections.abc import Iterable, Sequence

import msgspec

from penstock.search import And, Integer, InvertedIndex, Query, QuerySyntaxError, QueryTooLarge, Range, Text
from penstock.services.distributor.dead_letters import BadQuery, Found, LetterRow

__all__ = ["LetterSearch"]

log = logging.getLogger(__name__)

MAX_TEXT = 65_536
"""Characters of a letter that are searched, of each field."""
LETTERS_AT_ONCE = 500
"""Read from the spool in one go."""

FIELDS: dict[str, Text | Integer] = {
    "message": Text(),
    "source": Text(),
    "level": Text(),
    "error": Text(),
    "id": Text(analyzer="keyword"),  # found whole, or by its beginning: id:8617b4*
    "metadata": Text(),
    "failed_at": Integer(),
}


class LetterMessage(msgspec.Struct, gc=False):
    """What is searched of a message."""

    message: str = ""
    level: str = "INFO"
    source: str = ""
    metadata: msgspec.Raw = msgspec.Raw(b"")


class Letter(msgspec.Struct, gc=False):
    """What is searched of a packet."""

    messages: list[LetterMessage]
    id: str = ""


decode = msgspec.json.Decoder(Letter).decode


class LetterSearch:
    """A full-text index of dead letters.

    Args:
        seqs: sequence numbers of those that there are, the newest last.
        max_bytes: memory that it may take; once it is used up, no further letters are read.
    """

    def __init__(self, seqs: Iterable[int], max_bytes: int) -> None:
        self._index = InvertedIndex(FIELDS, positions=True)
        self._max_bytes = max_bytes
        self._unread = dict.fromkeys(seqs)  # in order, the newest last
        self._reading: dict[int, None] = {}
        self._full = False

    def __len__(self) -> int:
        """Letters that can be found."""
        return len(self._index)

    def died(self, seqs: Iterable[int]) -> None:
        """Notes new letters, to be read before the next search."""
        self._unread.update(dict.fromkeys(seqs))

    def purged(self, seqs: Iterable[int]) -> None:
        """Forgets letters, wherever they are."""
        for seq in seqs:
            self._unread.pop(seq, None)
            self._reading.pop(seq, None)
            if self._index.delete(seq):
                self._full = False

    def next_to_read(self) -> list[int]:
        """The numbers of letters to read now, the newest of those that are left; none if there is no room."""
        self._full = self._full or self._index.memory_usage() > self._max_bytes
        if self._full:
            return []
        numbers = [self._unread.popitem()[0] for _ in range(min(len(self._unread), LETTERS_AT_ONCE))]
        self._reading = dict.fromkeys(numbers)
        return numbers

    def read(self, letters: Sequence[LetterRow]) -> None:
        """Takes up letters that were read, again too. In any thread."""
        for seq, body, _, error, failed_at_ms in letters:
            self._index.update(seq, {**words_of(body), "error": error[:MAX_TEXT], "failed_at": failed_at_ms})

    def end_reading(self, letters: Sequence[LetterRow] | None) -> None:
        """Ends what `next_to_read` began.

        Args:
            letters: those that came, perhaps fewer than were asked for; None when reading failed.
        """
        came = {seq for seq, *_ in letters or ()}
        for seq in came - self._reading.keys():  # purged meanwhile
            self._index.delete(seq)
        if came or letters is None:  # else none of them is in the spool any more
            self._unread.update((seq, None) for seq in reversed(self._reading) if seq not in came)
        self._reading = {}

    def find(self, query: str, since_ms: int | None = None, until_ms: int | None = None) -> Found:
        """Every letter that matches.

        Args:
            query: words, `"phrases"`, `field:words`, `+must`, `-not`; see `penstock.search.parse_query`.
            since_ms: only letters that failed then or later, unix time.
            until_ms: only letters that failed before then.

        Raises:
            BadQuery: where the query cannot be read and what was expected there, or that it has too many
                clauses, prefixes, phrases or levels.
        """
        try:
            wanted = within(self._index.parse(query, strict=True), since_ms, until_ms)
            hits = self._index.search(wanted, len(self._index))
        except (QuerySyntaxError, QueryTooLarge) as error:
            raise BadQuery(str(error)) from None
        return Found({int(hit.doc_id): hit.score for hit in hits}, len(self._index))


def within(query: Query, since_ms: int | None, until_ms: int | None) -> Query:
    """What matches a query and failed between two times."""
    if since_ms is None and until_ms is None:
        return query
    return And(query, Range("failed_at", since_ms, until_ms, include_high=False))


def words_of(body: bytes) -> dict[str, str]:
    """What a packet says, by field; nothing where it cannot be read."""
    try:
        letter = decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("a dead letter cannot be read, and will not be found by what it says: %s", error)
        return {}
    return {
        "id": letter.id,
        "message": joined(one.message for one in letter.messages),
        "source": joined(one.source for one in letter.messages),
        "level": joined(one.level for one in letter.messages),
        "metadata": joined(bytes(one.metadata).decode(errors="replace") for one in letter.messages),
    }


def joined(texts: Iterable[str]) -> str:
    """Texts one after the other, to the bound."""
    taken, left = [], MAX_TEXT
    for text in texts:
        if left <= 0:
            break
        if text:
            taken.append(text[:left])
            left -= len(text)
    return "\n".join(taken)
