"""What the watch knows of its targets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pings import MOMENT, a_ping

from penstock.errors import PenstockError
from penstock.probing.exchange import Exchange
from penstock.services.pinger.model import Attempt, Hop, Target
from penstock.services.pinger.watch.state import BAR_SECONDS, BARS, POINTS, Watch, Watched, public_url

SHOP = Target("http://shop.example/", name="shop")


def conditions(pattern, fall=2, rise=2):
    """The condition after each ping of a pattern such as `++-`, and the changes told."""
    watched = Watched(SHOP, fall, rise)
    changes = [
        watched.add(a_ping(ok=sign == "+", after=place, number=place + 1))
        for place, sign in enumerate(pattern)
    ]
    return watched, changes


def test_the_first_good_ping_is_up_and_tells_nobody():
    watched, changes = conditions("+")
    assert (watched.condition, watched.since, changes) == ("up", MOMENT, [None])


def test_one_failed_ping_of_two_changes_nothing():
    watched, changes = conditions("+-+-+")
    assert watched.condition == "up"
    assert changes == [None] * 5


def test_failed_pings_in_a_row_are_down_since_the_first_of_them():
    watched, changes = conditions("+++--")
    assert watched.condition == "down"
    assert (watched.since - MOMENT).total_seconds() == 3
    change = changes[-1]
    assert (change.now, change.pings, change.before, change.target) == ("down", 2, 3.0, SHOP)
    assert not change.result.ok


def test_good_pings_in_a_row_are_up_again():
    watched, changes = conditions("+--+-++")
    assert watched.condition == "up"
    assert [change.now for change in changes if change] == ["down", "up"]
    assert changes[-1].before == 4.0  # down from second 1 to second 5


def test_a_target_that_never_answered_goes_down_and_is_told():
    _, changes = conditions("---", fall=3)
    assert [change and change.now for change in changes] == [None, None, "down"]
    assert changes[-1].before == 0


@given(st.text("+-", max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_changes_alternate_and_each_has_its_pings_in_a_row(pattern, fall, rise):
    _, changes = conditions(pattern, fall, rise)
    told = [(place, change) for place, change in enumerate(changes) if change]
    for place, change in told:
        needed = fall if change.now == "down" else rise
        assert change.pings == needed
        signs = "-" if change.now == "down" else "+"
        assert pattern[place + 1 - needed : place + 1] == signs * needed
    kinds = [change.now for _, change in told]
    assert all(one != other for one, other in pairwise(kinds))
    assert kinds[:1] in ([], ["down"])


def test_what_was_known_before_is_not_told_again():
    watched = Watched(SHOP, 2, 2)
    watched.resume("down", MOMENT)
    assert [watched.add(a_ping(ok=False, after=n)) for n in range(3)] == [None] * 3
    assert watched.since == MOMENT
    assert watched.add(a_ping(after=3)) is None
    assert watched.add(a_ping(after=4)).before == 3.0


def test_turns_that_were_left_out_are_counted():
    watched = Watched(SHOP, 2, 2)
    for number in (1, 2, 5, 6):
        watched.add(a_ping(number=number))
    assert watched.missed == 2


def test_a_day_of_bars_is_held_and_no_more():
    watched = Watched(SHOP, 2, 2)
    for half_hour in range(100):
        watched.add(
            a_ping(ok=half_hour % 2 == 0, after=half_hour * BAR_SECONDS, ms=half_hour, number=half_hour + 1)
        )
    assert len(watched.bars) == BARS
    assert len(watched.points) == POINTS
    assert [(bar.good, bar.failed, bar.slowest) for bar in watched.bars][-2:] == [(1, 0, 0.098), (0, 1, 0.0)]
    assert watched.uptime(MOMENT.timestamp() + 99 * BAR_SECONDS) == 0.5
    assert watched.uptime(MOMENT.timestamp() + 1_000 * BAR_SECONDS) is None


def test_a_clock_that_is_set_back_counts_in_the_newest_bar():
    watched = Watched(SHOP, 2, 2)
    watched.add(a_ping(after=BAR_SECONDS))
    watched.add(a_ping(after=0, number=2))
    assert [bar.good for bar in watched.bars] == [2]


def test_two_targets_of_one_name_are_refused():
    with pytest.raises(ValueError, match="names of targets must differ, got 'shop' twice") as refused:
        Watch([SHOP, SHOP], 2, 2)
    assert isinstance(refused.value, PenstockError)


def test_a_target_that_would_show_its_password_is_refused():
    with pytest.raises(ValueError, match="a target with a user in its URL must have a name"):
        Watch([Target("http://user:secret@shop.example/")], 2, 2)
    assert public_url("http://user:secret@shop.example/a?b") == "http://shop.example/a?b"


def test_bars_from_when_the_clock_was_far_ahead_hide_nothing():
    watched = Watched(SHOP, 2, 2)
    watched.add(a_ping(after=1_000_000))
    watched.add(a_ping(after=0, number=2))
    assert [(bar.start, bar.good) for bar in watched.bars] == [
        (int(MOMENT.timestamp()) // BAR_SECONDS * BAR_SECONDS, 1)
    ]


def test_a_target_is_known_by_what_its_results_say():
    watch = Watch([Target("http://shop.example/\u200b")], 2, 2)
    watch.add(a_ping("", url="http://shop.example/\N{REPLACEMENT CHARACTER}"))
    assert [watched.good for watched in watch] == [1]


def test_what_a_server_sent_is_not_kept():
    watched = Watched(SHOP, 2, 2)
    exchange = Exchange(status=200, head=b"x" * 60_000, body=b"x" * 1_000_000)
    watched.add(a_ping(tries=(Attempt((Hop("http://shop.example/", exchange),), 200, ""),)))
    assert len(repr(watched.last)) < 2_000


def test_an_interval_without_a_pause_is_refused():
    with pytest.raises(ValueError, match=r"the interval of 'shop' must be >= 0.01 s, got 1e-10"):
        Watch([Target("http://shop.example/", name="shop", interval=1e-10)], 2, 2)
