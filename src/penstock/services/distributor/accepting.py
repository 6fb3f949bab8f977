"""Accepting: from a request in hand to the receipt that says what is stored.

What comes in is admitted (admission.py), asked of the limits that several distributors share, and stored as
one change. So a request is in one commit, whole, whatever else comes in meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from penstock.clock import Clock
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.admission import Admission, Admitted, NotStored, Receipt, TooFast
from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.group_commit import Commits
from penstock.services.distributor.latency import Latency
from penstock.services.distributor.records import (
    SLICE,
    Bundle,
    RecordBundler,
    RecordRouter,
    RecordsReceipt,
    Steps,
)
from penstock.services.distributor.shared_limits import SharedLimits
from penstock.services.distributor.spool import SpoolError

__all__ = ["Accepting"]

T = TypeVar("T")


class Accepting:
    """Takes requests until it is closed.

    Args:
        config: the settings.
        router: tells groups and keys of records.
        admission: says what may come in.
        commits: stores it.
        limits: what limits several distributors together.
        count: adds to a counter.
        clock: nanoseconds.

    Attributes:
        took: how long requests took, from the body in hand to stored.
    """

    def __init__(
        self,
        config: Config,
        router: RecordRouter,
        admission: Admission,
        commits: Commits,
        *,
        limits: SharedLimits | None,
        count: Callable[[str, int], None],
        clock: Clock,
    ) -> None:
        self.took = Latency(clock)
        self._admission = admission
        self._commits = commits
        self._limits = limits
        self._count = count
        self._clock = clock
        self._is_closed = False
        self._one_by_one = asyncio.Lock()  # large requests are bundled; more at a time would take memory only
        self.change(config, router)

    def change(self, config: Config, router: RecordRouter) -> None:
        """Works by these settings and rules, with the next request."""
        self._config = config
        self._bundler = RecordBundler(config, router)

    def close(self) -> None:
        """Takes nothing more."""
        self._is_closed = True

    async def packets(self, body: bytes, limit: TokenBucket | None = None) -> Receipt:
        """See `Distributor.accept`."""
        self._require_open()
        began = self._clock()
        admitted = self._admission.admit(body, limit)
        self._count("refused", len(admitted.receipt.refused))
        await self._take(admitted, limit)
        self.took.record_since(began)
        return admitted.receipt

    async def records(
        self, records: Sequence[bytes], ids: str | None = None, limit: TokenBucket | None = None
    ) -> RecordsReceipt:
        """See `Intake.accept_records`."""
        self._require_open()
        began = self._clock()
        bundle = await self._bundle(records, ids)
        admitted = self._admission.admit_records(bundle, limit)
        self._count("refused_records", len(admitted.receipt.refused))
        await self._take(admitted, limit)
        self.took.record_since(began)
        return admitted.receipt

    def _require_open(self) -> None:
        if self._is_closed:
            raise NotStored("the distributor is shutting down", self._config.drain_timeout)

    async def _bundle(self, records: Sequence[bytes], ids: str | None) -> Bundle:
        if len(records) <= SLICE:
            return self._bundler.bundle(records, ids)
        async with self._one_by_one:
            bundle = await in_turns(self._bundler.bundling(records, ids))
        self._require_open()  # it may have been closed meanwhile
        return bundle

    async def _take(self, admitted: Admitted[Any], limit: TokenBucket | None) -> None:
        if self._limits is not None:
            await self._limit(self._limits, admitted, limit)
        self._count("duplicates", admitted.duplicates)
        timeout = self._config.accept_timeout
        try:
            if admitted.waits:
                waits = admitted.waits + ([self._store_new(admitted.fresh)] if admitted.fresh else [])
                await asyncio.wait_for(asyncio.gather(*waits), timeout)
            elif admitted.fresh:
                await self._store_new(admitted.fresh)
        except SpoolError as error:
            raise NotStored(str(error)) from None
        except TimeoutError:
            raise NotStored(f"the packets were not stored within {timeout:g} s") from None

    async def _limit(self, limits: SharedLimits, admitted: Admitted[Any], limit: TokenBucket | None) -> None:
        """Asks the limits that hold for several distributors."""
        packets = len(admitted.fresh) + admitted.duplicates
        if not packets:
            return
        try:
            await limits.take(packets, self._admission.bucket, limit)
        except BaseException as error:
            refusal = error if isinstance(error, TooFast) else NotStored("whoever sent the packets has gone")
            self._admission.not_stored(admitted.fresh, refusal)
            raise
        self._admission.number(admitted.fresh)  # later requests may have been stored meanwhile

    def _store_new(self, packets: list[Stored]) -> asyncio.Future[None]:
        counters = Counter(accepted=len(packets), messages_accepted=sum([one.messages for one in packets]))
        return self._commits.submit(Change(accepted=packets, counters=counters), hurried=True)


async def in_turns(work: Steps[T]) -> T:
    """What the work returns; whatever else the event loop has to do comes first wherever it pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)
