"""When which target is pinged, in virtual time."""

import asyncio
from contextlib import aclosing
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.services.pinger import schedule as schedule_module
from penstock.services.pinger.model import Target
from penstock.services.pinger.schedule import Share, TooManyTargets, schedule
from penstock.services.pinger.settings import Settings
from penstock.timer import Timer
from virtual_time import run_in_virtual_time

SECOND = 1_000_000_000
MS = 1_000_000
THREE = [Target(f"http://{name}/") for name in "abc"]


def turns_of(targets, settings, *, most=10_000, busy=0, **more):
    """The turns of a schedule, each with the time at which it was yielded; `busy` seconds pass after each."""
    clock = ManualClock(5 * SECOND)

    async def collect():
        found = []
        with Timer(clock=clock) as timer:
            async with aclosing(schedule(targets, settings, timer, clock=clock, **more)) as turns:
                async for turn in turns:
                    found.append((turn, clock.now - 5 * SECOND))
                    if len(found) == most:
                        break
                    if busy:
                        await asyncio.sleep(busy)
        return found

    return run_in_virtual_time(collect(), clock)


def test_every_target_has_one_turn_unless_told_otherwise():
    turns = turns_of(THREE, Settings())
    assert [turn.target for turn, _ in turns] == THREE
    assert [turn.number for turn, _ in turns] == [1, 1, 1]


def test_count_makes_rounds():
    turns = turns_of(THREE, Settings(count=3))
    assert [turn.target for turn, _ in turns] == THREE * 3
    assert [turn.number for turn, _ in turns] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_closed_turn_is_due_when_it_starts():
    for turn, at in turns_of(THREE, Settings(), busy=0.5):
        assert turn.due == 5 * SECOND + at


def test_duration_ends_a_closed_run():
    turns = turns_of(THREE, Settings(duration=2), busy=0.3)
    assert len(turns) == 7  # at 0, 0.3, ... 1.8


def test_rate_is_kept_to_the_nanosecond_and_never_early():
    turns = turns_of(THREE, Settings(rate=8, duration=2))
    assert [at for _, at in turns] == [pytest.approx(n * SECOND / 8, abs=2_000) for n in range(16)]
    assert all(at >= turn.due - 5 * SECOND for turn, at in turns)
    assert [turn.target for turn, _ in turns] == (THREE * 6)[:16]


def test_turn_of_a_rate_is_due_as_scheduled_also_when_it_is_asked_for_late():
    turns = turns_of(THREE, Settings(rate=10, duration=2), busy=0.25)
    assert [turn.due - 5 * SECOND for turn, _ in turns] == [n * SECOND // 10 for n in range(len(turns))]
    assert turns[-1][1] - turns[-1][0].due + 5 * SECOND > SECOND / 2


def test_nothing_is_due_while_the_source_is_silent():
    async def source():
        for target in THREE:
            await asyncio.sleep(3)
            yield target

    left_out = []
    turns = turns_of(source(), Settings(rate=10, duration=60), left_out=left_out.append, most=5)
    assert [at for _, at in turns] == [
        pytest.approx(seconds * SECOND, abs=2_000) for seconds in (3, 6, 9, 9.1, 9.2)
    ]
    assert all(at - (turn.due - 5 * SECOND) < 2_000 for turn, at in turns)


def test_rate_alone_paces_one_round():
    assert len(turns_of(THREE, Settings(rate=10))) == 3


def test_interval_gives_each_target_its_beat():
    turns = turns_of(THREE, Settings(interval=10, count=4))
    assert len(turns) == 12
    for target in THREE:
        mine = [turn for turn, _ in turns if turn.target == target]
        assert [later.due - turn.due for turn, later in pairwise(mine)] == [10 * SECOND] * 3
        assert [turn.number for turn in mine] == [1, 2, 3, 4]


def test_first_beats_are_spread_over_the_interval():
    targets = [Target(f"http://{n}/") for n in range(100)]
    starts = [at for _, at in turns_of(targets, Settings(interval=10, count=1))]
    assert starts[0] == 0
    assert all(n * SECOND / 10 <= at <= (n + 1) * SECOND / 10 + 2_000 for n, at in enumerate(starts))


def test_target_may_have_an_interval_of_its_own():
    turns = turns_of(
        [Target("http://a/", interval=1), Target("http://b/")], Settings(interval=10, duration=10)
    )
    assert sum(turn.target.url == "http://a/" for turn, _ in turns) == 10
    assert sum(turn.target.url == "http://b/" for turn, _ in turns) == 1


def test_beats_missed_by_a_process_that_stood_still_are_not_made_up_for():
    turns = turns_of(THREE[:1], Settings(interval=1, count=3), busy=100)
    assert [turn.due - 5 * SECOND for turn, _ in turns] == [0, 99 * SECOND, 199 * SECOND]


def test_beats_that_are_left_out_are_told():
    left_out = []
    turns = turns_of(THREE[:1], Settings(interval=1, count=3), busy=100, left_out=left_out.append)
    assert len(turns) == 3
    assert sum(left_out) == 98 + 99


@pytest.mark.parametrize(
    ("targets", "busy"), [(THREE[:1], 2.5), (THREE, 2.5), (THREE[:1], 30.5), (THREE, 0.7)]
)
def test_every_beat_of_a_run_is_made_or_left_out(targets, busy):
    left_out = []
    turns = turns_of(targets, Settings(interval=1, duration=10), busy=busy, left_out=left_out.append)
    assert len(turns) + sum(left_out) == 10 * len(targets)
    assert sum(left_out) > 0


@pytest.mark.parametrize("busy", [0.25, 30])
def test_every_turn_of_a_rate_is_made_or_left_out(busy):
    left_out = []
    turns = turns_of(THREE, Settings(rate=10, duration=2), busy=busy, left_out=left_out.append)
    assert len(turns) + sum(left_out) == 20


@pytest.mark.parametrize(
    "settings", [Settings(rate=10, duration=2), Settings(interval=1, duration=3), Settings(duration=1)]
)
def test_nothing_is_left_out_of_what_is_made_in_time(settings):
    left_out = []
    turns_of(THREE, settings, busy=0 if settings.duration > 1 else 0.3, left_out=left_out.append)
    assert sum(left_out) == 0


def test_shares_of_a_gap_are_staggered():
    starts = [
        at
        for place in range(3)
        for _, at in turns_of(
            THREE, Settings(), gap=30 * MS, share=Share(place, 3, 5 * SECOND, stagger=place * 10 * MS)
        )
    ]
    assert starts == [pytest.approx(place * 10 * MS, abs=2_000) for place in range(3)]


def test_starts_are_a_gap_apart():
    turns = turns_of(THREE, Settings(count=5), gap=3 * MS)
    assert all(later - at >= 3 * MS for (_, at), (_, later) in pairwise(turns))


def test_late_turns_are_a_gap_apart_too():
    late = turns_of(THREE, Settings(rate=1000, count=20), gap=2 * MS)
    assert all(later - at >= 2 * MS for (_, at), (_, later) in pairwise(late))
    assert late[-1][0].due == 5 * SECOND + 59 * MS


@given(
    of=st.integers(1, 5),
    count=st.integers(1, 4),
    size=st.integers(1, 7),
    rate=st.one_of(st.none(), st.floats(1, 1000)),
)
def test_shares_are_all_turns_and_each_once(of, count, size, rate):
    targets = [Target(f"http://{n}/") for n in range(size)]
    settings = Settings(count=count, rate=rate)
    shares = [
        [
            (turn.target, turn.number)
            for turn, _ in turns_of(targets, settings, share=Share(place, of, 5 * SECOND))
        ]
        for place in range(of)
    ]
    whole = [(turn.target, turn.number) for turn, _ in turns_of(targets, settings)]
    assert sorted(chain(*shares), key=str) == sorted(whole, key=str)
    assert shares[0] == whole[::of]


def test_targets_that_are_pinged_once_are_read_as_they_are_needed():
    taken = []

    def source():
        for target in THREE:
            taken.append(target)
            yield target

    turns_of(source(), Settings(), most=1)
    assert taken == THREE[:1]


def test_more_targets_than_can_be_remembered_are_refused(monkeypatch):
    monkeypatch.setattr(schedule_module, "MAX_KEPT", 2)
    with pytest.raises(TooManyTargets, match="must be <= 2, got more"):
        turns_of(THREE, Settings(count=2))
    assert len(turns_of(THREE, Settings())) == 3


@pytest.mark.parametrize("settings", [Settings(), Settings(count=2), Settings(rate=5), Settings(interval=1)])
def test_no_targets_are_no_turns(settings):
    assert turns_of([], settings) == []
