"""Group commit: who shares a commit, what is seen between two, and who is told when it fails."""

import asyncio
import threading

import pytest

from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.group_commit import GroupCommit, NotInTime
from penstock.services.distributor.spool import SpoolError


class Keeping:
    """A spool in a list, which fails or waits when it is told to, and who applies what it has stored."""

    def __init__(self):
        self.stored, self.applied, self.undone = [], [], []
        self.commits = 0
        self.error = None
        self.gate = None

    def commit(self, change):
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.error is not None:
            raise self.error
        self.commits += 1
        self.stored += [one.seq for one in change.accepted]

    def prepare(self, change):
        seqs = [one.seq for one in change.accepted]
        return lambda error: self.undone.append((seqs, str(error)))

    def apply(self, change):
        self.applied += [one.seq for one in change.accepted]


@pytest.fixture
def spool():
    return Keeping()


@pytest.fixture
async def commits(spool):
    commits = GroupCommit(spool, prepare=spool.prepare, apply=spool.apply, timeout=30)
    running = asyncio.create_task(commits.run())
    yield commits
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    commits.close()


def change(seq):
    return Change(accepted=[Stored(seq, f"p{seq}", 1, 1, b"x")])


async def test_all_that_comes_during_a_commit_shares_the_next_one(spool, commits):
    spool.gate = threading.Event()
    first = commits.submit(change(1))
    await asyncio.sleep(0.01)
    others = [commits.submit(change(seq)) for seq in range(2, 50)]
    spool.gate.set()
    await asyncio.gather(first, *others)
    assert spool.commits == 2
    assert spool.stored == spool.applied == list(range(1, 50))


async def test_change_is_applied_before_its_caller_wakes_up_and_also_when_that_one_has_gone(spool, commits):
    spool.gate = threading.Event()
    gone = commits.submit(change(1))
    gone.cancel()
    waiting = commits.submit(change(2))
    spool.gate.set()
    await waiting
    assert spool.applied == [1, 2]


async def test_failure_is_told_to_all_who_share_it_undone_once_and_the_next_commit_succeeds(spool, commits):
    spool.error = SpoolError("disk full")
    failed = [commits.submit(change(seq)) for seq in (1, 2)]
    answers = await asyncio.gather(*failed, return_exceptions=True)
    assert [str(answer) for answer in answers] == ["disk full", "disk full"]
    assert (spool.undone, spool.applied) == ([([1, 2], "disk full")], [])
    spool.error = None
    await commits.submit(change(3))
    assert spool.applied == [3]


async def test_log_says_when_nothing_can_be_stored_any_more_and_when_it_can_again(spool, commits, caplog):
    for seq, error in enumerate([None, "disk full", "disk full", None, None, "gone"], 1):
        spool.error = error and SpoolError(error)
        await asyncio.gather(commits.submit(change(seq)), return_exceptions=True)
    assert [record.getMessage() for record in caplog.records] == [
        "packets cannot be stored and are refused: disk full",
        "packets are stored and accepted again",
        "packets cannot be stored and are refused: gone",
    ]


async def test_error_that_nobody_thought_of_is_a_failure_of_the_spool(spool, commits, caplog):
    spool.error = ZeroDivisionError("division by zero")
    with pytest.raises(SpoolError, match="the spool failed: ZeroDivisionError"):
        await commits.submit(change(1))
    assert "nobody thought of" in caplog.text


async def test_caller_in_a_hurry_is_told_in_time_and_the_change_is_stored_later(spool, commits):
    commits.timeout = 0.01
    spool.gate = threading.Event()
    with pytest.raises(NotInTime, match=r"not stored within 0\.01 s"):
        await commits.submit(change(1), hurried=True)
    patient = commits.submit(change(2))
    spool.gate.set()
    await patient
    assert spool.applied == [1, 2]


async def test_each_caller_in_a_hurry_is_told_in_time_however_long_the_commit_before_takes(spool, commits):
    commits.timeout = 0.01
    spool.gate = threading.Event()
    patient = commits.submit(change(1))
    await asyncio.sleep(0)
    try:
        for seq in (2, 3):
            with pytest.raises(NotInTime):
                async with asyncio.timeout(60):
                    await commits.submit(change(seq), hurried=True)
    finally:
        spool.gate.set()
    await patient


async def test_look_sees_what_was_applied_before_it_is_told_and_nothing_later(spool, commits):
    seen = []

    def look():
        commits.look(
            lambda: list(spool.stored),
            lambda stored: seen.append((stored, list(spool.applied))),
            lambda error: seen.append(error),
        )

    for seq in range(1, 20):
        look()
        commits.submit(change(seq))
        if seq % 3 == 0:
            await asyncio.sleep(0)
    await commits.submit(change(20))
    look()
    async with asyncio.timeout(60):
        while len(seen) < 20:
            await asyncio.sleep(0.001)
    assert all(stored == applied for stored, applied in seen)
    assert seen[-1][0] == list(range(1, 21))


async def test_looks_and_commits_take_turns(spool, commits):
    order = []
    for number in range(3):
        commits.look(lambda: None, lambda _, number=number: order.append(f"look {number}"), order.append)

    async def commit(seq):
        await commits.submit(change(seq))
        order.append(f"commit {seq}")
        if seq < 3:
            await commit(seq + 1)

    await commit(1)
    assert order.index("commit 1") < order.index("look 1"), "nobody waits for every look"
    async with asyncio.timeout(60):
        while len(order) < 6:
            await asyncio.sleep(0.001)


async def test_look_that_fails_is_told_and_stops_nothing(spool, commits):
    told = []

    def fail():
        raise SpoolError("cannot be read")

    commits.look(fail, told.append, lambda error: told.append(str(error)))
    await commits.submit(change(1))
    async with asyncio.timeout(60):
        while not told:
            await asyncio.sleep(0.001)
    assert told == ["cannot be read"]
    assert await commits.read(lambda: 7) == 7
