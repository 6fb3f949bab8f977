"""How analyzers are: probes, what people say of them, and what is remembered of that over a restart."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from penstock.clock import NANOSECONDS, Clock
from penstock.services.distributor.analyzer import Analyzer
from penstock.services.distributor.carrier import AnalyzerClient, DeliveryFailed
from penstock.services.distributor.change import Change
from penstock.services.distributor.circuit import LONGEST_OVERRIDE, Override
from penstock.services.distributor.fleet import Fleet

__all__ = ["Health"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000


class Health:
    """Watches the analyzers of a fleet, and does what people say about them.

    Args:
        fleet: the analyzers.
        client: asks them how they are.
        clock: nanoseconds.
        wall: unix nanoseconds, for what is stored.
        record: stores what has happened, however long that takes.
        spawn: starts a task.
        refill: has more read from the spool, when there is room for it.
        sooner: told when a person's word may end earlier than `ends_in` said.
    """

    def __init__(
        self,
        fleet: Fleet,
        client: AnalyzerClient,
        *,
        clock: Clock,
        wall: Clock,
        record: Callable[[Change], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        refill: Callable[[], None],
        sooner: Callable[[], None],
    ) -> None:
        self._sooner = sooner
        self._fleet = fleet
        self._client = client
        self._clock = clock
        self._wall = wall
        self._record = record
        self._spawn = spawn
        self._refill = refill

    def changed(self, analyzer: Analyzer) -> None:
        """What follows when an analyzer begins or ceases to get packets, or to finish what it has."""
        id_, circuit = analyzer.config.id, analyzer.circuit
        if self._fleet.members.get(id_) is not analyzer:  # it is no more; its last delivery was
            return
        if analyzer.is_up:
            log.warning("analyzer %s is up", id_)
            self._fleet.rose(analyzer)
        else:
            state = "gets nothing new" if circuit.may_deliver(0) else "is down"
            log.warning(
                "analyzer %s %s: %s", id_, state, circuit.reason or circuit.overridden or analyzer.last_error
            )
            self._fleet.fell(analyzer)
        analyzer.wanted.set()
        self._refill()

    # Probes

    async def probe_for_ever(self, interval: Callable[[], float]) -> None:
        """Probes all of them, again and again; a round begins so many seconds after the one before it."""
        while True:
            began = self._clock()
            await self.probe_all()
            took = (self._clock() - began) / NANOSECONDS
            await asyncio.sleep(max(0.0, interval() - took))

    async def probe_all(self) -> None:
        """Probes every analyzer once, all at the same time."""
        await asyncio.gather(*(self._probe(analyzer) for analyzer in self._fleet.members.values()))

    async def _probe(self, analyzer: Analyzer) -> None:
        try:
            await self._client.probe(analyzer.config)
        except DeliveryFailed as error:
            analyzer.last_error = str(error)
            changed = analyzer.circuit.probe_failed()
        except Exception as error:  # no reason to end the service, and every one that is started after it
            log.exception("a probe of %s failed for a reason that nobody thought of", analyzer.config.id)
            analyzer.last_error = f"the probe failed: {error!r}"
            changed = analyzer.circuit.probe_failed()
        else:
            changed = analyzer.circuit.probe_succeeded()
        if changed:
            self.changed(analyzer)

    # What people say

    def control(self, analyzer_id: str, state: Override | None, ttl: float | None, reason: str) -> None:
        """See `Distributor.control`."""
        analyzer = self._fleet[analyzer_id]
        circuit = analyzer.circuit
        changed = circuit.put_back() if state is None else circuit.override(state, ttl, reason)
        if state in (None, "up"):
            analyzer.left_alone_until = 0  # a person knows better than its last Retry-After
        self._said(analyzer, changed)

    def _said(self, analyzer: Analyzer, changed: bool) -> None:
        """A person's word about an analyzer is another now, or over."""
        remember = Change(notes=self.notes())
        self._spawn(self._record(remember), "remember what a person said")
        if changed:
            self.changed(analyzer)
        analyzer.wanted.set()
        self._sooner()

    @property
    def ends_in(self) -> float | None:
        """Seconds until a person's word is over; None when none ends."""
        ends = [analyzer.circuit.expires_in for analyzer in self._fleet.members.values()]
        return min([end for end in ends if end is not None], default=None)

    def expire(self) -> None:
        """Ends each person's word whose time is over."""
        for analyzer in self._fleet.members.values():
            if analyzer.circuit.expires_in == 0:
                self._said(analyzer, analyzer.circuit.expire())

    def notes(self) -> dict[str, Any]:
        """What has to be remembered over a restart."""
        now_ms = self._wall() // MILLISECOND
        said = {}
        for id_, analyzer in self._fleet.members.items():
            circuit = analyzer.circuit
            if circuit.overridden is not None:
                left = circuit.expires_in
                until_ms = None if left is None else now_ms + round(left * 1000)
                said[id_] = {"state": circuit.overridden, "until_ms": until_ms, "reason": circuit.reason}
        return {"overrides": said}

    def restore(self, note: Callable[[str], Any]) -> None:
        """Goes on where `notes` was; `note` gives what was remembered under a name, or None."""
        said = note("overrides")
        if said is None:  # as earlier versions had it
            said = {id_: {"state": "down", "until_ms": None, "reason": ""} for id_ in note("held_down") or ()}
        now_ms = self._wall() // MILLISECOND
        for id_, one in said.items():
            analyzer, until_ms = self._fleet.members.get(id_), one["until_ms"]
            if analyzer is None or (until_ms is not None and until_ms <= now_ms):
                continue
            # a wall clock that was set back makes what is left longer than anybody may say
            ttl = None if until_ms is None else min((until_ms - now_ms) / 1000, LONGEST_OVERRIDE)
            analyzer.circuit.override(one["state"], ttl, one["reason"])
            if not analyzer.is_up:
                self._fleet.fell(analyzer)
