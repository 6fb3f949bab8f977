"""The fleet: who is up, whose the next packet is, and what is remembered over a restart."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.config import AnalyzerConfig
from penstock.services.distributor.fleet import Fleet, UnknownAnalyzer
from penstock.services.distributor.spool import Stored

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}


def fleet_of(weights=WEIGHTS, **settings):
    return Fleet([AnalyzerConfig(id_, "http://h/", weight) for id_, weight in weights.items()], **settings)


@pytest.fixture
def fleet():
    return fleet_of()


def packets(*sizes):
    return [Stored(seq, f"p{seq}", 1, size, None) for seq, size in enumerate(sizes)]


# Health


def test_two_failed_probes_in_a_row_fell_an_analyzer_and_one_good_one_raises_it(fleet):
    a1 = fleet["a1"]
    assert not fleet.probe_failed(a1, "one")
    assert not fleet.probe_succeeded(a1)
    assert not fleet.probe_failed(a1, "two")
    assert a1.is_up
    assert fleet.probe_failed(a1, "three"), "it has just fallen"
    assert not a1.is_up
    assert a1.last_error == "three"
    assert not fleet.probe_failed(a1, "four"), "it lies already"
    assert fleet.probe_succeeded(a1), "it has just risen"
    assert a1.is_up
    assert not fleet.probe_failed(a1, "five"), "the count began anew"


def test_five_failed_deliveries_in_a_row_fell_an_analyzer(fleet):
    a1 = fleet["a1"]
    for _ in range(4):
        assert not fleet.delivery_failed(a1, "answered 500")
    fleet.delivery_succeeded(a1)
    for _ in range(4):
        assert not fleet.delivery_failed(a1, "answered 500")
    assert fleet.delivery_failed(a1, "answered 503")
    assert (a1.is_up, a1.last_error) == (False, "answered 503")
    assert not fleet.delivery_failed(a1, "answered 500"), "one that was under way"
    assert fleet.probe_succeeded(a1)
    assert not fleet.delivery_failed(a1, "answered 500"), "the count began anew"


def test_person_has_the_last_word_until_it_fails_again(fleet):
    a1 = fleet["a1"]
    assert fleet.hold_down(a1)
    assert not fleet.hold_down(a1)
    assert not fleet.probe_succeeded(a1)
    assert not a1.is_up
    assert fleet.put_back(a1)
    assert not fleet.put_back(a1)
    assert (a1.is_up, a1.held_down) == (True, False)
    fleet.probe_failed(a1, "x")
    assert fleet.probe_failed(a1, "x")
    assert fleet.put_back(a1), "also one that fell by itself"
    fleet.probe_failed(a1, "x")
    assert a1.is_up


def test_holding_down_one_that_fell_keeps_it_down_when_it_is_well_again(fleet):
    a1 = fleet["a1"]
    fleet.probe_failed(a1, "x")
    fleet.probe_failed(a1, "x")
    assert not fleet.hold_down(a1), "nothing changes for its packets"
    assert not fleet.probe_succeeded(a1)
    assert not a1.is_up


def test_thresholds_can_be_set():
    fleet = fleet_of(probes_to_fall=1, errors_to_fall=2)
    assert fleet.probe_failed(fleet["a1"], "x")
    assert not fleet.delivery_failed(fleet["a2"], "x")
    assert fleet.delivery_failed(fleet["a2"], "x")


def test_unknown_analyzer_is_told_with_the_known_ones(fleet):
    with pytest.raises(UnknownAnalyzer, match=r"there is no analyzer 'a5'; there are: a1, a2, a3, a4"):
        fleet["a5"]


# Shares


def test_shares_are_exact_every_ten_and_go_to_those_that_are_up(fleet):
    assert fleet.target_shares == pytest.approx(WEIGHTS)
    assert Counter(fleet.assign(1000)) == {"a1": 400, "a2": 300, "a3": 200, "a4": 100}
    fleet.hold_down(fleet["a1"])
    assert Counter(fleet.assign(600)) == {"a2": 300, "a3": 200, "a4": 100}
    assert [analyzer.config.id for analyzer in fleet.up] == ["a2", "a3", "a4"]


def test_nobody_is_picked_when_nobody_is_up(fleet):
    for analyzer in fleet.members.values():
        fleet.hold_down(analyzer)
    assert fleet.assign(10) == []
    assert fleet.reassign("a1") is None
    assert fleet.reassign(None) is None
    assert fleet.up == []


def test_reassigning_avoids_the_one_that_failed_while_there_is_another(fleet):
    moved = Counter(fleet.reassign("a1") for _ in range(600))
    assert set(moved) == {"a2", "a3", "a4"}
    assert moved["a2"] > moved["a3"] > moved["a4"] > 90
    assert fleet["a1"].is_up
    for id_ in ("a2", "a3", "a4"):
        fleet.hold_down(fleet[id_])
    assert fleet.reassign("a1") == "a1"
    fleet.hold_down(fleet["a1"])
    fleet.put_back(fleet["a4"])
    assert fleet.reassign("a1") == "a4", "one that is down is avoided anyway"


def test_reassigning_bends_no_share(fleet):
    picked = []
    for _ in range(50):
        picked += fleet.assign(7)
        fleet.reassign("a1")
        fleet.reassign(None)
    assert picked == fleet_of().assign(350)


@given(st.lists(st.sampled_from(["assign", "a1", "a2", "a3", "a4"]), max_size=60))
def test_only_those_that_are_up_are_ever_picked(steps):
    fleet = fleet_of()
    for step in steps:
        if step == "assign":
            up = {analyzer.config.id for analyzer in fleet.up}
            assert set(fleet.assign(5)) <= up
            for avoided in ("a1", None):
                moved = fleet.reassign(avoided)
                assert moved in up if up else moved is None
                assert moved != "a1" or avoided is None or up == {"a1"}
        else:
            analyzer = fleet[step]
            (fleet.hold_down if analyzer.is_up else fleet.put_back)(analyzer)


# Over a restart


def test_sequence_goes_on_where_it_was(fleet):
    expected = fleet_of().assign(30)
    first = fleet.assign(13)
    next_life = fleet_of()
    next_life.restore_credits(fleet.credits())
    assert first + next_life.assign(17) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"a1": 0.25, "a2": 0.25, "a3": 0.25, "a4": 0.25}, {"a1": 0.4, "a2": 0.6}, {"b1": 1},
        {"a2": 0.3, "a1": 0.4, "a3": 0.2, "a4": 0.1},
    ],
)  # fmt: skip
def test_credits_of_another_fleet_are_a_new_beginning(fleet, other):
    fleet.assign(13)
    next_life = fleet_of(other)
    next_life.restore_credits(fleet.credits())
    assert next_life.assign(100) == fleet_of(other).assign(100)


@pytest.mark.parametrize(
    "broken", [None, {}, {"ids": list(WEIGHTS)}, {"ids": list(WEIGHTS), "shares": 3, "moves": None}]
)
def test_credits_that_make_no_sense_are_a_new_beginning(fleet, broken):
    fleet.restore_credits(broken)
    assert fleet.assign(100) == fleet_of().assign(100)


# Queues


def test_batch_ends_at_so_many_packets_or_bytes_whichever_comes_first(fleet):
    a1 = fleet["a1"]
    for packet in packets(10, 10, 10, 100, 10):
        a1.put(packet)
    assert a1.wanted.is_set()
    assert [p.seq for p in a1.take(2, 1000)] == [0, 1]
    assert [p.seq for p in a1.take(10, 11)] == [2, 3], "the one that crosses the size goes too"
    assert a1.wanted.is_set()
    assert [p.seq for p in a1.take(10, 1)] == [4], "at least one"
    assert not a1.wanted.is_set()
    assert a1.take(10, 10) == []


def test_taking_all_leaves_nothing_wanted(fleet):
    a1 = fleet["a1"]
    for packet in packets(1, 2):
        a1.put(packet)
    assert [p.seq for p in a1.take_all()] == [0, 1]
    assert not a1.wanted.is_set()
    assert a1.take_all() == []
