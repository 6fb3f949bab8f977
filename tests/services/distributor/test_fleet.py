"""The fleet: who is up, where each packet goes, and what is remembered over a restart. No I/O."""

from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.services.distributor import backlog
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig, Config, GroupConfig, Match
from penstock.services.distributor.fleet import Fleet, UnknownAnalyzer

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}


def config_of(weights=WEIGHTS, groups=(), **settings):
    analyzers = [
        AnalyzerConfig(id_, "http://h/", weight, group=id_.rpartition("/")[0] or "default")
        if "/" not in id_
        else AnalyzerConfig(id_.replace("/", "."), "http://h/", weight, group=id_.partition("/")[0])
        for id_, weight in weights.items()
    ]
    return Config(analyzers=tuple(analyzers), groups=groups, **settings)


def fleet_of(weights=WEIGHTS, **settings):
    return Fleet(config_of(weights, **settings), ManualClock())


@pytest.fixture
def fleet():
    return fleet_of()


def packets(n, *, first=1, size=10, **fields):
    return [Stored(seq, f"p{seq}", 1, size, b"x" * size, **fields) for seq in range(first, first + n)]


def assigned(fleet, n, **fields):
    ones, counters = packets(n, **fields), Counter()
    fleet.assign(ones, counters)
    return [one.analyzer for one in ones]


def turn(fleet, id_, state):
    """What the distributor does when a person says something of an analyzer."""
    analyzer = fleet[id_]
    changed = analyzer.circuit.put_back() if state is None else analyzer.circuit.override(state)
    if changed:
        (fleet.rose if analyzer.is_up else fleet.fell)(analyzer)


class Disk:
    """What is on disk, as the spool would tell it."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.live = {}

    def store(self, ones):
        """Stores packets that have been assigned and tells the fleet."""
        for one in ones:
            copy = Stored(
                one.seq, one.id, one.messages, one.size, one.body, group=one.group, analyzer=one.analyzer
            )
            self.live[one.seq] = copy
        self.fleet.stored(ones)

    def accept(self, ones):
        self.fleet.assign(ones, Counter())
        self.store(ones)

    def read(self):
        """Does all readings that the fleet wants now; returns what is to be assigned."""
        to_assign = []
        for source, after, most, size_bytes in self.fleet.readings():
            found = [
                Stored(one.seq, one.id, one.messages, one.size, one.body, group=one.group)
                for seq, one in sorted(self.live.items())
                if seq > after and (one.group, one.analyzer) == source.key
            ]
            taken, size = [], 0
            for one in found[:most]:
                if size >= size_bytes:
                    break
                taken.append(one)
                size += one.size
            last = taken[-1].seq if taken else after
            came = SimpleNamespace(packets=taken, damaged=[], after=last, done=len(taken) == len(found))
            to_assign += self.fleet.came(source, came).to_assign
        return to_assign

    def take(self, id_):
        """All that waits for an analyzer in memory, delivered at once."""
        analyzer = self.fleet[id_]
        taken = []
        while batch := analyzer.take():
            taken += batch
            analyzer.deliveries -= 1
            analyzer.landed(len(batch), sum(one.size for one in batch))
            self.fleet.ended(batch)
            for one in batch:
                del self.live[one.seq]
        return [one.seq for one in taken]


# Shares


def test_shares_are_exact_every_ten_and_go_to_those_that_are_up(fleet):
    assert Counter(assigned(fleet, 1000)) == {"a1": 400, "a2": 300, "a3": 200, "a4": 100}
    turn(fleet, "a1", "down")
    assert Counter(assigned(fleet, 600)) == {"a2": 300, "a3": 200, "a4": 100}
    assert [analyzer.config.id for analyzer in fleet.up] == ["a2", "a3", "a4"]


def test_first_assignments_are_counted_by_analyzer(fleet):
    counters = Counter()
    fleet.assign(packets(10), counters)
    assert counters == {
        "first_assigned:a1": 4, "first_assigned:a2": 3, "first_assigned:a3": 2, "first_assigned:a4": 1,
    }  # fmt: skip


def test_nobody_is_named_when_nobody_is_up(fleet):
    for id_ in WEIGHTS:
        turn(fleet, id_, "down")
    assert assigned(fleet, 3) == [None, None, None]
    assert fleet.up == []


def test_unknown_analyzer_is_told_with_the_known_ones(fleet):
    with pytest.raises(UnknownAnalyzer, match=r"there is no analyzer 'a5'; there are: a1, a2, a3, a4"):
        fleet["a5"]


def test_packets_of_a_group_go_to_its_analyzers_only():
    fleet = fleet_of({"a1": 1, "b/1": 3, "b/2": 1}, groups=(GroupConfig("b", Match(level=("ERROR",))),))
    assert Counter(assigned(fleet, 8, group="b")) == {"b.1": 6, "b.2": 2}
    assert Counter(assigned(fleet, 8)) == {"a1": 8}
    assert assigned(fleet, 1, group="gone") == ["a1"], "the default group serves groups that are no more"


def test_retry_goes_to_another_analyzer_when_there_is_one_and_bends_no_share(fleet):
    expected = assigned(fleet_of(), 700)
    got = []
    for seq in range(1, 101):
        got += assigned(fleet, 7, first=1000 * seq)
        [retried] = packets(1, first=seq, analyzer="a1", failures=1)
        fleet.will_be_retried(retried)
        fleet.move(retried)
        assert retried.analyzer != "a1"
    assert got == expected


def test_retry_waits_while_nobody_is_up_and_goes_to_the_first_that_rises(fleet):
    for id_ in WEIGHTS:
        turn(fleet, id_, "down")
    [retried] = packets(1, analyzer="a1", failures=1)
    fleet.will_be_retried(retried)
    fleet.move(retried)
    assert (fleet.waiting, fleet.pending) == (1, 1)
    turn(fleet, "a4", None)
    assert (fleet.waiting, fleet.pending) == (0, 1)
    assert fleet["a4"].take() == [retried]


# Over a restart and over changes


def test_sequence_goes_on_where_it_was(fleet):
    expected = assigned(fleet_of(), 30)
    first = assigned(fleet, 13)
    next_life = fleet_of()
    next_life.restore(fleet.credits(fleet.groups).get)
    assert first + assigned(next_life, 17) == expected


@pytest.mark.parametrize(
    "broken", [{}, {"shares:default": {}}, {"shares:default": 3}, {"shares:default": {"0": []}}]
)
def test_credits_that_make_no_sense_are_a_new_beginning(fleet, broken):
    fleet.restore(broken.get)
    assert assigned(fleet, 100) == assigned(fleet_of(), 100)


def test_analyzer_that_stays_keeps_its_place_when_others_come_and_go(fleet):
    assigned(fleet, 3)
    a1, a2 = fleet["a1"], fleet["a2"]
    gone = fleet.take_settings(config_of({"a1": 1, "a2": 2, "new": 1}))
    assert [one.config.id for one in gone] == ["a3", "a4"]
    assert (fleet["a1"], fleet["a2"]) == (a1, a2)
    assert a2.config.weight == 2
    assert Counter(assigned(fleet, 400))["new"] == pytest.approx(100, abs=2)


def test_analyzer_of_another_group_now_is_another_analyzer():
    groups = (GroupConfig("b", Match(level=("ERROR",))),)
    fleet = fleet_of({"a1": 1, "a2": 1, "b/1": 1}, groups=groups)
    turn(fleet, "a2", "down")
    before = fleet["a2"]
    moved = AnalyzerConfig("a2", "http://h/", 1, group="b")
    config = config_of({"a1": 1, "b/1": 1}, groups=groups)
    gone = fleet.take_settings(Config(analyzers=(*config.analyzers, moved), groups=groups))
    assert gone == [before]
    assert fleet["a2"] is not before
    assert list(fleet.groups["b"].members) == ["b.1", "a2"]
    assert fleet.groups["b"].shares.up == ["b.1"], "what a person said of it holds"


# Memory and disk


def test_packets_beyond_what_memory_holds_are_known_by_their_number_only(fleet):
    disk = Disk(fleet)
    fleet["a1"].queue.most_bytes = 25
    ones = packets(10, analyzer="a1")
    disk.store(ones)
    assert [one.seq for one in ones if one.body is not None] == [1, 2, 3], "the one that crosses it comes in"
    assert fleet.held == {1, 2, 3}
    assert (fleet["a1"].source.packets, fleet["a1"].source.bytes, fleet["a1"].source.after) == (7, 70, 3)
    assert (fleet["a1"].waiting, fleet.pending) == (10, 10)


def test_what_lies_on_disk_comes_in_order_before_what_is_accepted_later(fleet):
    disk = Disk(fleet)
    fleet["a1"].queue.most_bytes = 25
    disk.store(packets(10, analyzer="a1"))
    assert disk.take("a1") == [1, 2, 3]
    disk.store(packets(1, first=11, analyzer="a1"))
    assert fleet.held == set(), "though there is room: others are before it"
    delivered = []
    while fleet.pending:
        assert disk.read() == []
        delivered += disk.take("a1")
    assert delivered == list(range(4, 12))


def test_packets_of_one_that_falls_go_to_those_that_have_room_and_the_rest_to_disk(fleet):
    disk = Disk(fleet)
    for id_ in ("a2", "a3", "a4"):
        fleet[id_].queue.most_bytes = 15
    disk.store(packets(10, analyzer="a1"))
    turn(fleet, "a1", "down")
    taken = {id_: disk.take(id_) for id_ in ("a2", "a3", "a4")}
    assert sorted(seq for seqs in taken.values() for seq in seqs) == [1, 2, 3, 4, 5, 6]
    assert all(len(seqs) == 2 for seqs in taken.values())
    assert (len(fleet["a1"].queue), fleet["a1"].source.packets, fleet.held) == (0, 4, set())


def test_what_one_leaves_on_disk_waits_for_its_own_tier_while_that_has_some_up():
    analyzers = [
        AnalyzerConfig("a1", "http://h/", 1),
        AnalyzerConfig("a2", "http://h/", 1),
        AnalyzerConfig("backup", "http://h/", 1, tier=1),
    ]
    fleet = Fleet(Config(analyzers=tuple(analyzers)), ManualClock())
    disk = Disk(fleet)
    fleet["a1"].queue.most_bytes = fleet["a2"].queue.most_bytes = 15
    disk.store(packets(10, analyzer="a1"))
    turn(fleet, "a1", "down")
    assert disk.read() == []
    assert disk.take("a2") == [1, 2]
    assert disk.read() == []
    assert (len(fleet["a2"].queue), len(fleet["backup"].queue)) == (2, 0)
    turn(fleet, "a2", "down")
    assert disk.read() == []
    assert sorted(disk.take("backup")) == list(range(3, 11))


def test_packets_of_one_without_room_go_to_any_other_that_has_some(fleet):
    disk = Disk(fleet)
    for id_ in ("a2", "a3", "a4"):
        fleet[id_].queue.most_bytes = 1000
    disk.store(packets(backlog.MOST_HELD, size=0, analyzer="a2"))  # has more bytes left than others
    for id_ in ("a3", "a4"):
        fleet[id_].queue.most_bytes = 500
    disk.store(packets(10, first=backlog.MOST_HELD + 1, analyzer="a1"))
    turn(fleet, "a1", "down")
    assert fleet["a1"].source.packets == 0
    assert len(fleet["a3"].queue) + len(fleet["a4"].queue) == 10


def test_packets_assigned_before_other_settings_came_go_by_the_disk_to_their_own_group():
    groups = (GroupConfig("b", Match(level=("ERROR",))),)
    fleet = fleet_of({"a1": 1, "a2": 1, "b/1": 1}, groups=groups)
    disk = Disk(fleet)
    ones = packets(2)
    fleet.assign(ones, Counter())
    moved = AnalyzerConfig("a2", "http://h/", 1, group="b")
    config = config_of({"a1": 1, "b/1": 1}, groups=groups)
    fleet.take_settings(Config(analyzers=(*config.analyzers, moved), groups=groups))
    disk.store(ones)
    assert disk.read() == []
    assert sorted(disk.take("a1")) == [1, 2]
    assert fleet.pending == 0


def test_draining_analyzer_keeps_what_is_in_memory_and_its_part_on_disk_goes_to_others(fleet):
    disk = Disk(fleet)
    fleet["a1"].queue.most_bytes = 25
    disk.store(packets(5, analyzer="a1"))
    turn(fleet, "a1", "drain")
    assert disk.read() == []
    assert disk.take("a1") == [1, 2, 3]
    assert sorted(seq for id_ in ("a2", "a3", "a4") for seq in disk.take(id_)) == [4, 5]


def test_packet_that_was_moved_and_put_back_on_disk_is_found_again_with_its_owner(fleet):
    disk = Disk(fleet)
    disk.store(packets(4, analyzer="a1"))
    for id_ in ("a3", "a4"):
        turn(fleet, id_, "down")
    turn(fleet, "a1", "down")
    assert len(fleet["a2"].queue) == 4
    turn(fleet, "a2", "down")
    assert (fleet.held, fleet["a1"].source.packets) == (set(), 4)
    turn(fleet, "a1", None)
    assert disk.read() == []
    assert disk.take("a1") == [1, 2, 3, 4]


def test_packet_in_memory_is_not_taken_in_again_when_the_place_on_disk_moves_back(fleet):
    disk = Disk(fleet)
    disk.store(packets(2, analyzer="a1"))
    for id_ in ("a3", "a4"):
        turn(fleet, id_, "down")
    turn(fleet, "a1", "down")  # 1 and 2 wait for a2 now
    turn(fleet, "a1", None)
    disk.store(packets(2, first=3, analyzer="a1"))  # 3 and 4 are held
    fleet["a1"].queue.most_bytes = 20  # and there is room for no more
    turn(fleet, "a2", "down")  # 1 and 2 go back to the disk
    fleet["a1"].queue.most_bytes = 1000
    assert disk.read() == []
    assert sorted(disk.take("a1")) == [1, 2, 3, 4]
    assert fleet.pending == 0


def test_packets_of_nobody_are_dealt_by_the_shares_once_somebody_is_up(fleet):
    disk = Disk(fleet)
    for id_ in WEIGHTS:
        turn(fleet, id_, "down")
    disk.accept(packets(20))
    assert (fleet.held, fleet.pending) == (set(), 20)
    assert disk.read() == [], "nobody to read for"
    for id_ in ("a1", "a2"):
        turn(fleet, id_, None)
    to_assign = disk.read()
    assert [one.seq for one in to_assign] == list(range(1, 21))
    assert disk.read() == [], "no more before these are stored"
    disk.accept(to_assign)
    assert len(disk.take("a1")) == pytest.approx(20 * 4 / 7, abs=1)


def test_packets_of_an_analyzer_that_nobody_knows_go_to_the_others(fleet):
    disk = Disk(fleet)
    for one in packets(5, analyzer="gone"):
        disk.live[one.seq] = one
    fleet.source("default", "gone").resume(5, 50)
    assert disk.read() == []
    assert sorted(seq for id_ in WEIGHTS for seq in disk.take(id_)) == [1, 2, 3, 4, 5]


def test_damaged_packets_are_told_and_counted_as_held(fleet):
    fleet.source("default", "a1").resume(2, 20)
    good, damaged = packets(2, analyzer="a1")
    [reading] = fleet.readings()
    came = fleet.came(reading.source, SimpleNamespace(packets=[good], damaged=[damaged], after=2, done=True))
    assert came.damaged == [damaged]
    assert fleet.held == {1, 2}
    assert fleet["a1"].source.packets == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(1, 30)),
        st.tuples(st.sampled_from(("down", "drain", "up", "back")), st.sampled_from(list(WEIGHTS))),
        st.tuples(st.just("take"), st.sampled_from(list(WEIGHTS))),
        st.tuples(st.just("read"), st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_whoever_comes_and_goes_every_packet_is_taken_once(steps):
    before, backlog.MOST_HELD = backlog.MOST_HELD, 7
    try:
        fleet = fleet_of(max_memory_bytes=4 * 80)
        disk, accepted, taken = Disk(fleet), 0, []
        for what, which in [*steps, *(("back", id_) for id_ in WEIGHTS)]:
            match what:
                case "accept":
                    disk.accept(packets(which, first=accepted + 1))
                    accepted += which
                case "take":
                    taken += disk.take(which)
                case "read":
                    if to_assign := disk.read():
                        disk.accept(to_assign)
                        fleet.source("default", None).give_up_reading()
                case _:
                    turn(fleet, which, None if what == "back" else what)
            assert fleet.pending == accepted - len(taken)
            assert all(analyzer.queue.bytes <= 90 for analyzer in fleet.members.values())
        while fleet.pending:
            if to_assign := disk.read():
                disk.accept(to_assign)
                fleet.source("default", None).give_up_reading()
            for id_ in WEIGHTS:
                taken += disk.take(id_)
        assert sorted(taken) == list(range(1, accepted + 1))
    finally:
        backlog.MOST_HELD = before
