"""The fleet: which analyzers there are, which of them are up, and whose the next packet is.

Shares are shares of first assignments. Retries, and packets of an analyzer that fell, are dealt by a
second balancer of the same weights, so that failures bend no share. Who is up is decided here, by probes and
deliveries, so the balancers need neither leases nor outlier detection.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from penstock.balancing import Balancer, ExactWeighted
from penstock.errors import PenstockError
from penstock.services.distributor.config import AnalyzerConfig
from penstock.services.distributor.spool import Stored

__all__ = ["Analyzer", "Fleet", "UnknownAnalyzer"]


class UnknownAnalyzer(PenstockError, LookupError):
    """There is no analyzer of that id."""


class Analyzer:
    """One analyzer as the distributor sees it now.

    Attributes:
        config: who it is.
        is_up: whether it gets packets.
        held_down: whether a person has taken it out; only a person puts it back.
        last_error: why it failed last, in plain words; empty when it never did.
        queue: packets that wait for it.
        wanted: set while something waits.
        in_flight: packets that are on their way to it.
    """

    __slots__ = (
        "config", "errors_in_a_row", "failed_probes", "held_down", "in_flight", "is_up",
        "last_error", "queue", "wanted",
    )  # fmt: skip

    def __init__(self, config: AnalyzerConfig) -> None:
        self.config = config
        self.is_up = True
        self.held_down = False
        self.failed_probes = 0
        self.errors_in_a_row = 0
        self.last_error = ""
        self.queue: deque[Stored] = deque()
        self.wanted = asyncio.Event()
        self.in_flight = 0

    def put(self, packet: Stored) -> None:
        """Queues a packet for it."""
        self.queue.append(packet)
        self.wanted.set()

    def take(self, packets: int, size_bytes: int) -> list[Stored]:
        """Takes the next batch from its queue: so many packets, or fewer once they reach the size."""
        batch: list[Stored] = []
        while self.queue and len(batch) < packets and size_bytes > 0:
            packet = self.queue.popleft()
            batch.append(packet)
            size_bytes -= packet.size
        if not self.queue:
            self.wanted.clear()
        return batch

    def take_all(self) -> list[Stored]:
        """Takes everything that waits for it."""
        packets = list(self.queue)
        self.queue.clear()
        self.wanted.clear()
        return packets


class Fleet:
    """All analyzers, their health and their shares; does no I/O.

    Args:
        analyzers: at least one.
        probes_to_fall: failed probes in a row that mark an analyzer down.
        errors_to_fall: failed deliveries in a row that do.
    """

    def __init__(
        self, analyzers: Sequence[AnalyzerConfig], *, probes_to_fall: int = 2, errors_to_fall: int = 5
    ) -> None:
        weights = {analyzer.id: analyzer.weight for analyzer in analyzers}
        self.members = {analyzer.id: Analyzer(analyzer) for analyzer in analyzers}
        self._ids = list(self.members)
        self._shares, self._moves = ExactWeighted[str](), ExactWeighted[str]()
        self._first = Balancer(weights, policy=self._shares)
        self._again = Balancer(weights, policy=self._moves)
        self._probes_to_fall = probes_to_fall
        self._errors_to_fall = errors_to_fall

    def __getitem__(self, id_: str) -> Analyzer:
        try:
            return self.members[id_]
        except KeyError:
            raise UnknownAnalyzer(
                f"there is no analyzer {id_!r}; there are: {', '.join(self.members)}"
            ) from None

    @property
    def up(self) -> list[Analyzer]:
        """The analyzers that get packets."""
        return [analyzer for analyzer in self.members.values() if analyzer.is_up]

    @property
    def target_shares(self) -> dict[str, float]:
        """What each should get of all first assignments while all are up, 0 to 1."""
        weights = self._shares.weights
        total = sum(weights.values())
        return {id_: weight / total for id_, weight in weights.items()}

    @property
    def ahead(self) -> dict[str, float]:
        """Packets that each has had beyond what was its share while it was up; below 0: fewer."""
        return {id_: -float(owed) for id_, owed in self._shares.credits().items()}

    # Who gets the next packet

    def assign(self, n: int) -> list[str]:
        """Whose the next `n` packets are, by the weights of those that are up; empty when none is."""
        return self._first.pick_many(n) if self.up else []

    def reassign(self, avoiding: str | None) -> str | None:
        """Whose a packet becomes that `avoiding` could not take: another that is up, if there is one."""
        up = self.up
        if not up:
            return None
        avoid = () if avoiding is None or len(up) == 1 else (avoiding,)
        return self._again.pick_many(1, avoid=avoid)[0]

    def credits(self) -> dict[str, Any]:
        """What the balancers have to remember over a restart."""
        return {"ids": self._ids, "shares": self._shares.state(), "moves": self._moves.state()}

    def restore_credits(self, credits_: dict[str, Any] | None) -> None:
        """Goes on where `credits()` was; does nothing when the analyzers or their weights are others now."""
        if credits_ is None or credits_.get("ids") != self._ids:
            return
        with suppress(ValueError, TypeError, LookupError):  # of other weights, or no credits: a new beginning
            self._shares.restore(credits_["shares"])
            self._moves.restore(credits_["moves"])

    # Health; each method tells whether the analyzer has just risen or fallen

    def probe_succeeded(self, analyzer: Analyzer) -> bool:
        """A probe was answered: it is up again, unless a person holds it down."""
        analyzer.failed_probes = 0
        return not analyzer.held_down and self._set_up(analyzer, True)

    def probe_failed(self, analyzer: Analyzer, error: str) -> bool:
        """A probe failed."""
        analyzer.failed_probes += 1
        analyzer.last_error = error
        return analyzer.failed_probes >= self._probes_to_fall and self._set_up(analyzer, False)

    def delivery_succeeded(self, analyzer: Analyzer) -> None:
        """A delivery was answered, whatever it said of the packets in it."""
        analyzer.errors_in_a_row = 0

    def delivery_failed(self, analyzer: Analyzer, error: str) -> bool:
        """A delivery got no answer, or one that says the analyzer itself is in trouble."""
        analyzer.errors_in_a_row += 1
        analyzer.last_error = error
        return analyzer.errors_in_a_row >= self._errors_to_fall and self._set_up(analyzer, False)

    def hold_down(self, analyzer: Analyzer) -> bool:
        """A person takes it out."""
        analyzer.held_down = True
        return self._set_up(analyzer, False)

    @property
    def held_down(self) -> list[str]:
        """The ids of those that a person has taken out."""
        return [id_ for id_, analyzer in self.members.items() if analyzer.held_down]

    def put_back(self, analyzer: Analyzer) -> bool:
        """A person puts it back: it is up until it fails again."""
        analyzer.held_down = False
        return self._set_up(analyzer, True)

    def _set_up(self, analyzer: Analyzer, up: bool) -> bool:
        analyzer.failed_probes = 0
        analyzer.errors_in_a_row = 0
        if analyzer.is_up == up:
            return False
        analyzer.is_up = up
        for balancer in (self._first, self._again):
            (balancer.mark_up if up else balancer.mark_down)(analyzer.config.id)
        return True
