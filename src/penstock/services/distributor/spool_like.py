"""What the distributor asks of a spool: the journal's `Spool` is one, and one that nodes share another."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from penstock.services.distributor.change import Stored
from penstock.services.distributor.dead_letters import Failed, LetterRow
from penstock.services.distributor.spool import Event, Recovery

__all__ = ["SpoolLike"]


class SpoolLike(Protocol):
    """What is the same for all of them.

    How packets get in, and out again when there is room, is for the parts that go with a spool to know (see
    `Parts`): its commits and its filling.

    Attributes:
        recovery: what it held when it was opened.
        letters_unread: whether `failed` could not read them when it was asked last.
    """

    recovery: Recovery
    letters_unread: bool

    def close(self) -> None:
        """Lets go of what it holds."""

    def bodies(self, seqs: Sequence[int]) -> dict[int, bytes]:
        """The bodies of packets, by number; those are left out that cannot be had any more."""

    # What is remembered

    def counters(self) -> Counter[str]:
        """Every counter as of the last commit."""

    def note(self, name: str) -> Any:
        """What was remembered under `name`, None when nothing was."""

    def client_ids(self, since_ms: int, limit: int) -> list[tuple[str, int]]:
        """The ids that clients chose, accepted since then, with their time: the newest, oldest first."""

    def forget_client_ids(self, before_ms: int) -> None:
        """Needs the ids no more that clients chose before then."""

    def story(self, id_: str) -> list[Event]:
        """What is still known of the packets of this id, oldest first; in any thread."""

    # Dead letters

    def failed(self) -> list[Failed]:
        """When every dead letter failed, by that time and then by number; none when they cannot be read."""

    def failed_at_ms(self, seq: int) -> int | None:
        """When a dead letter failed, unix time in ms; None when there is no such letter."""

    def letter_bytes(self) -> int:
        """Bytes of the packets of all dead letters."""

    def dead_letters(self, seqs: Sequence[int]) -> list[LetterRow]:
        """These dead letters, in this order, those that there are; no further ones once they get large."""

    def letters_as_packets(self, seqs: Sequence[int]) -> list[tuple[int, Stored]]:
        """These letters, as `dead_letters` has them: number, and a packet without one that never failed."""
