"""What an input asks of the distributor: to take records, and to say when they are safe."""

from collections.abc import Sequence
from typing import Protocol

from penstock.ratelimit import TokenBucket
from penstock.services.distributor.records import RecordsReceipt

__all__ = ["Intake"]


class Intake(Protocol):
    """Takes records of any protocol; the `Distributor` is one."""

    async def accept_records(
        self, records: Sequence[bytes], *, ids: str | None = None, limit: TokenBucket | None = None
    ) -> RecordsReceipt:
        """Stores records; those that are not named in the receipt are as safe as promised.

        All of them are stored in one step or none is, but for those that the receipt refuses.

        Args:
            records: each the compact JSON of a `Message`, as `penstock.services.distributor.records.record`
                makes it: one line, valid.
            ids: makes the ids of the packets, so that sending the same records again with it within the
                window stores nothing twice; `ID.0`, `ID.1` and so on. None: they get ids of ours.
            limit: of the packets that this client may send.

        Raises:
            TooFast: the rate limit, of the client or of all, says no.
            NotStored: there is no room, the service is shutting down, or the spool did not store them;
                `retry_after` says when to try again.
        """
