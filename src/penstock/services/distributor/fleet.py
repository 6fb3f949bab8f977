"""The fleet: which analyzers there are, how they are, and which of them each packet goes to.

Shares are shares of first assignments. Retries, and packets of an analyzer that fell, are dealt by a
second balancer of the same weights, so that failures bend no share. No I/O here: what is to be read from
the spool is said by `readings`, and what was read is handed to `came`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from penstock.clock import Clock
from penstock.errors import PenstockError
from penstock.services.distributor.analyzer import Analyzer
from penstock.services.distributor.backlog import CHUNK_BYTES, CHUNK_PACKETS, BacklogLike, Reading, Source
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import DEFAULT_GROUP, AnalyzerConfig, Config, GroupConfig
from penstock.services.distributor.shares import Shares

__all__ = ["Fleet", "Group", "UnknownAnalyzer"]

MOST_RETRYING = 100_000
"""Packets in memory that have failed; an analyzer that failed its part of them last gets no fresh ones."""

KeyOf = Callable[[Stored], str | None]


class UnknownAnalyzer(PenstockError, LookupError):
    """There is no analyzer of that id."""


class Came(NamedTuple):
    """What there is to be stored after a reading."""

    to_assign: list[Stored]
    """Packets of nobody until now."""
    damaged: list[Stored]
    """Packets whose bodies cannot be read."""


class Group:
    """Analyzers that share a kind of packets.

    Attributes:
        members: its analyzers by id.
        shares: who of them gets which part.
        waiting: packets in memory that nobody was there to try again.
    """

    __slots__ = ("config", "members", "shares", "waiting")

    def __init__(
        self,
        config: GroupConfig,
        members: dict[str, Analyzer],
        load: Callable[[str], int],
        before: "Group | None",
    ) -> None:
        self.config = config
        self.members = members
        self.waiting: deque[Stored] = deque() if before is None else before.waiting
        self.shares: Shares
        analyzers = [analyzer.config for analyzer in members.values()]
        if before is not None and how_balanced(before.config) == how_balanced(config):
            self.shares = before.shares
            self.shares.change(analyzers)
        else:
            self.shares = Shares(analyzers, config, load)
        for analyzer in members.values():
            mark(self.shares, analyzer)

    @property
    def takers(self) -> list[Analyzer]:
        """Those that get packets: of its lowest tier that has some up, all that are."""
        up = [analyzer for analyzer in self.members.values() if analyzer.is_up]
        lowest = min([analyzer.config.tier for analyzer in up], default=0)
        return [analyzer for analyzer in up if analyzer.config.tier == lowest]


class Fleet:
    """All analyzers, and every packet that is not yet delivered or given up.

    Args:
        config: the settings; with at least one analyzer.
        clock: nanoseconds.
        key_of: what a sticky group holds a packet together by that was read from the spool.

    Attributes:
        members: the analyzers by id.
        groups: the groups by id.
        held: numbers of the packets that are in memory.
        sources: all that ever had cold packets, by group and owner.
    """

    def __init__(self, config: Config, clock: Clock, key_of: KeyOf = lambda packet: None) -> None:
        self.members: dict[str, Analyzer] = {}
        self.groups: dict[str, Group] = {}
        self.held: set[int] = set()
        self.sources: dict[tuple[str, str | None], Source] = {}
        self.key_of = key_of
        self._clock = clock
        self._strays: dict[int, tuple[str, str | None]] = {}  # owners in the spool of what was moved
        self._failers: dict[int, Analyzer] = {}  # who failed a packet last
        self.take_settings(config)
        self._assigned_by = self.groups  # those that were there when packets were last assigned

    def __getitem__(self, id_: str) -> Analyzer:
        try:
            return self.members[id_]
        except KeyError:
            raise UnknownAnalyzer(
                f"there is no analyzer {id_!r}; there are: {', '.join(self.members)}"
            ) from None

    # Who there is

    def take_settings(self, config: Config) -> list[Analyzer]:
        """Begins to work by these settings; returns the analyzers that are no more, for `abandon`."""
        before = self.members
        self.members = {one.id: self._member(before.get(one.id), one, config) for one in config.analyzers}
        most_bytes = max(1, config.max_memory_bytes // len(self.members))
        for analyzer in self.members.values():
            analyzer.queue.most_bytes = most_bytes
            analyzer.most_retrying = MOST_RETRYING // len(self.members)
        rules = {group.id: group for group in (*config.groups, GroupConfig(DEFAULT_GROUP))}
        rules |= {group.id: group for group in config.groups}
        old = self.groups
        self.groups = {
            id_: Group(rule, self._members_of(id_), self._load_of, old.get(id_))
            for id_, rule in rules.items()
        }
        for id_ in old.keys() - self.groups.keys():
            self.group_of(id_).waiting.extend(old[id_].waiting)
        for group in self.groups.values():
            self._move_waiting(group)
        return [one for id_, one in before.items() if self.members.get(id_) is not one]

    def _member(self, before: Analyzer | None, one: AnalyzerConfig, config: Config) -> Analyzer:
        if before is None or before.config.group != one.group:
            analyzer = Analyzer(one, config, self.source(one.group, one.id), self._clock)
            if before is not None:
                analyzer.circuit.take_word_of(before.circuit)
            return analyzer
        before.take_settings(one, config)
        return before

    def _load_of(self, id_: str) -> int:
        """What waits for an analyzer and is on its way to it."""
        analyzer = self.members.get(id_)
        return 0 if analyzer is None else analyzer.load

    def _members_of(self, group: str) -> dict[str, Analyzer]:
        return {id_: one for id_, one in self.members.items() if one.config.group == group}

    def group_of(self, name: str) -> Group:
        """Who serves packets of a group: the default one, when that group is no more."""
        return self.groups.get(name) or self.groups[DEFAULT_GROUP]

    def source(self, group: str, owner: str | None) -> Source:
        """The cold packets of an owner."""
        key = (group, owner)
        source = self.sources.get(key)
        if source is None:
            source = self.sources[key] = Source(group, owner)
        return source

    @property
    def up(self) -> list[Analyzer]:
        """The analyzers that get packets."""
        return [analyzer for analyzer in self.members.values() if analyzer.is_up]

    @property
    def pending(self) -> int:
        """Packets that are neither delivered nor given up."""
        return len(self.held) + sum([source.packets for source in self.sources.values()])

    @property
    def waiting(self) -> int:
        """Packets in memory that nobody was there to try again."""
        return sum([len(group.waiting) for group in self.groups.values()])

    def missing(self, books: int) -> int:
        """How many packets should be pending, by the books, and are not."""
        return books - self.pending

    def more_figures(self) -> dict[str, Any]:
        """Figures beyond those of this process; there are none."""
        return {}

    # Whose the next packets are

    def assign(self, packets: Sequence[Stored], counters: Counter[str]) -> None:
        """Names the owners of new packets, by the shares of those that are up; nobody when none is."""
        self._assigned_by = self.groups
        if len(self.groups) == 1:
            self._assign(self.groups[DEFAULT_GROUP], packets, counters)
            return
        by_group: dict[str, list[Stored]] = {}
        for packet in packets:
            by_group.setdefault(packet.group, []).append(packet)
        for name, ones in by_group.items():
            self._assign(self.group_of(name), ones, counters)

    def _assign(self, group: Group, packets: Sequence[Stored], counters: Counter[str]) -> None:
        keys = [packet.key for packet in packets] if group.config.balance == "sticky" else None
        ids = group.shares.assign(len(packets), keys)
        for packet, id_ in zip(packets, ids, strict=False):
            packet.analyzer = id_
        for id_, count in Counter(ids).items():
            counters[f"first_assigned:{id_}"] += count

    def find_keys(self, packets: Iterable[Stored]) -> None:
        """Finds out again what sticky groups hold packets together by that came from the spool."""
        for packet in packets:
            if packet.key is None and self.group_of(packet.group).config.balance == "sticky":
                packet.key = self.key_of(packet)

    def served_by(self, packets: Iterable[Stored]) -> set[str]:
        """The groups that packets are for."""
        if len(self.groups) == 1:
            return set(self.groups)
        return {self.group_of(name).config.id for name in {packet.group for packet in packets}}

    def credits(self, groups: Iterable[str]) -> dict[str, Any]:
        """What the shares of groups have to remember over a restart, by the name of a note."""
        return {f"shares:{name}": self.groups[name].shares.state() for name in groups}

    def restore(self, note: Callable[[str], Any]) -> None:
        """Goes on where `credits` was; `note` gives what was remembered under a name, or None."""
        for name, group in self.groups.items():
            if (state := note(f"shares:{name}")) is not None:
                group.shares.restore(state)

    # What was stored

    def stored(self, packets: Sequence[Stored]) -> None:
        """Accepted or assigned packets are in the spool now: they come to their owners, if there is room."""
        parts: dict[str | None, list[Stored]] = {}
        for packet in packets:
            part = parts.get(packet.analyzer)
            if part is None:
                parts[packet.analyzer] = part = []
            part.append(packet)
        for id_, part in parts.items():
            analyzer = self.members.get(id_ or "") if self._assigned_by is self.groups else None
            if analyzer is None or analyzer.source.packets or not analyzer.is_up:
                fitting = 0
            else:
                fitting = analyzer.queue.put_what_fits(part)
                self.held.update([packet.seq for packet in part[:fitting]])
                analyzer.wanted.set()
            for packet in part[fitting:]:
                self.leave(packet)

    def leave(self, packet: Stored) -> None:
        """Leaves a packet to the spool, where its owner's source finds it again."""
        self.held.discard(packet.seq)
        key = self._strays.pop(packet.seq, None) or (packet.group, packet.analyzer)
        self.source(*key).put(packet)

    def ended(self, packets: Sequence[Stored]) -> None:
        """Packets were delivered or given up, and that is stored."""
        seqs = [packet.seq for packet in packets]
        self.held.difference_update(seqs)
        if self._strays:
            for seq in seqs:
                self._strays.pop(seq, None)
        if self._failers:
            for seq in seqs:
                self._forget_failure(seq)

    def _forget_failure(self, seq: int) -> None:
        if (failer := self._failers.pop(seq, None)) is not None:
            failer.failed_one_less()

    def will_be_retried(self, packet: Stored) -> bool:
        """Its analyzer failed a packet, and that is stored; whether it is held until it is due."""
        self._strays.pop(packet.seq, None)
        self.held.add(packet.seq)
        self._forget_failure(packet.seq)
        if (analyzer := self.members.get(packet.analyzer or "")) is not None:
            self._failers[packet.seq] = analyzer
            analyzer.failed_one()
        return True

    # Moving

    def move(self, packet: Stored) -> None:
        """Gives a packet that failed and is due to another analyzer; it waits when there is none."""
        group = self.group_of(packet.group)
        other = group.shares.reassign(self._avoided(group, packet), packet.key)
        if other is None:
            packet.body = None  # which nobody counts here
            group.waiting.append(packet)
            return
        self._note_stray(packet)
        packet.analyzer = other
        self.members[other].put(packet)

    def hand_over(self, packets: Iterable[Stored]) -> None:
        """Gives packets that are held to others that have room; leaves the rest to the spool."""
        for packet in packets:
            if packet.failures:
                self.move(packet)
            elif (taker := self._taker(packet)) is None:
                self.leave(packet)
            else:
                self._note_stray(packet)
                packet.analyzer = taker.config.id
                taker.put(packet)

    def _taker(self, packet: Stored) -> Analyzer | None:
        """Who has room for a packet of an analyzer that cannot take it."""
        group = self.group_of(packet.group)
        self.find_keys([packet])
        chosen = group.shares.reassign(self._avoided(group, packet), packet.key)
        if chosen is None:
            return None
        taker = self.members[chosen]
        if not taker.queue.has_room:
            roomy = [one for one in group.takers if one.queue.has_room]
            return max(roomy, key=lambda one: one.queue.most_bytes - one.queue.bytes, default=None)
        return taker

    @staticmethod
    def _avoided(group: Group, packet: Stored) -> str | None:
        """Who had it before, if that one is still of the group."""
        return packet.analyzer if packet.analyzer in group.members else None

    def _note_stray(self, packet: Stored) -> None:
        if not packet.failures and packet.seq not in self._strays:
            self._strays[packet.seq] = (packet.group, packet.analyzer)

    def rose(self, analyzer: Analyzer) -> None:
        """An analyzer gets packets again."""
        group = self.groups[analyzer.config.group]
        mark(group.shares, analyzer)
        self._move_waiting(group)
        analyzer.wanted.set()

    def _move_waiting(self, group: Group) -> None:
        if group.takers:
            waiting, group.waiting = group.waiting, deque()
            for packet in waiting:
                self.move(packet)

    def fell(self, analyzer: Analyzer) -> None:
        """An analyzer gets no packets any more; those in memory go elsewhere, if it may not have them."""
        mark(self.groups[analyzer.config.group].shares, analyzer)
        if not analyzer.circuit.may_deliver(0):
            self.abandon(analyzer)

    def abandon(self, analyzer: Analyzer) -> None:
        """What waits for an analyzer in memory goes elsewhere."""
        self.hand_over(analyzer.queue.take_all())

    # What is to be read from the spool

    def readings(self) -> list[Reading]:
        """What to read now; each of them ends with `came` or with `Source.give_up_reading`."""
        readings = []
        for source in self.sources.values():
            if source.packets and not source.reading and (chunk := self._chunk(source)) is not None:
                source.begin()
                readings.append(Reading(source, source.after, *chunk))
        return readings

    def _chunk(self, source: Source) -> tuple[int, int] | None:
        """The packets and bytes to read from a source; None while nobody has room."""
        owner = self._owner_of(source)
        if owner is not None:
            return owner.queue.chunk if owner.queue.runs_low else None
        takers = [analyzer for analyzer in self.group_of(source.group).takers if analyzer.queue.runs_low]
        if not takers:
            return None
        if source.owner is None:  # dealt by the shares; who has no room leaves its part to the spool
            return CHUNK_PACKETS, CHUNK_BYTES
        chunks = [analyzer.queue.chunk for analyzer in takers]
        return (
            min(CHUNK_PACKETS, sum([packets for packets, _ in chunks])),
            min(CHUNK_BYTES, sum([size_bytes for _, size_bytes in chunks])),
        )

    def _owner_of(self, source: Source) -> Analyzer | None:
        """The analyzer that gets what is in a source, when there is a certain one and it is up."""
        owner = self.members.get(source.owner or "")
        return owner if owner is not None and owner.source is source and owner.is_up else None

    def came(self, source: Source, backlog: BacklogLike) -> Came:
        """Takes in what was read from a source."""
        packets, damaged = source.end(backlog, self.held)
        self.held.update([packet.seq for packet in packets], [packet.seq for packet in damaged])
        for packet in packets:  # the spool may not know who it was moved to
            packet.analyzer = source.owner
        if source.owner is None:
            source.reading = bool(packets)  # no more of them until these are assigned, and that is stored
            self.find_keys(packets)
            return Came(packets, damaged)
        owner = self._owner_of(source)
        if owner is None:
            self.hand_over(packets)
        else:
            fitting = owner.queue.put_what_fits(packets)  # what others got meanwhile may have filled it
            for packet in packets[fitting:]:
                self.leave(packet)
            owner.wanted.set()
        return Came([], damaged)


def how_balanced(group: GroupConfig) -> tuple[str, float]:
    """What its shares depend on; everything else of a group is the router's."""
    return group.balance, group.sticky_overload


def mark(shares: Shares, analyzer: Analyzer) -> None:
    """Tells the shares of a group whether an analyzer gets packets."""
    (shares.mark_up if analyzer.is_up else shares.mark_down)(analyzer.config.id)
