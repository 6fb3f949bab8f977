"""The way of a result into the state, the history and the alerts."""

import asyncio
import json
from datetime import UTC, datetime
from threading import Event

import pytest
from pings import MOMENT, a_ping

from penstock.probing.exchange import Exchange, Phases
from penstock.services.pinger.model import Attempt, Hop, Target
from penstock.services.pinger.watch import recorder as recorder_module
from penstock.services.pinger.watch.history import Batch, History, HistoryError
from penstock.services.pinger.watch.recorder import Recorder, row_of
from penstock.services.pinger.watch.state import Watch

SHOP = Target("http://shop.example/", name="shop")
HOOK = "http://hook.example/"


@pytest.fixture
def history(tmp_path):
    history = History(str(tmp_path / "history.sqlite"))
    yield history
    history.close()


def watch():
    return Watch([SHOP], 2, 2)


class FullDisk:
    """A history that cannot be written for a while."""

    max_alerts = 10
    dropped_alerts = 0

    def __init__(self, failures):
        self.failures = failures
        self.written = []

    def write(self, batch):
        if self.failures:
            self.failures -= 1
            raise HistoryError("history.sqlite: database or disk is full")
        self.written.append(batch)


async def test_a_ping_its_condition_and_its_alert_are_written_together(history):
    woken = []
    recorder = Recorder(watch(), history, [HOOK], wake_sender=lambda: woken.append(1))
    for place, ok in enumerate([True, False, False]):
        recorder.add(a_ping(ok=ok, after=place, number=place + 1))
    await recorder.flush()
    start = MOMENT.timestamp()
    assert [good for _, good, _ in history.pings("shop", start, start + 9)] == [True, False, False]
    assert history.conditions() == {"shop": ("down", start + 1)}
    assert json.loads(history.next_alert(HOOK).body)["event"] == "down"
    assert woken == [1]


async def test_the_next_life_knows_what_the_last_one_knew(history):
    now = datetime.now(UTC)
    first = Recorder(watch(), history)
    for number in (1, 2, 3):
        first.add(a_ping(ok=False, number=number, timestamp=now))
    await first.flush()
    second = Recorder(watch(), history)
    await second.restore()
    (watched,) = second.watch
    assert (watched.condition, watched.since) == ("down", now)
    assert sum(bar.failed for bar in watched.bars) == 1  # three pings of one moment are one row
    assert [(point.at, point.seconds) for point in watched.points] == [(pytest.approx(now.timestamp()), None)]
    assert watched.missed == 0


async def test_what_cannot_be_written_is_held_and_written_later():
    history = FullDisk(failures=2)
    recorder = Recorder(watch(), history, [HOOK])
    recorder.add(a_ping())
    await recorder.flush()
    assert recorder.trouble == "history.sqlite: database or disk is full"
    recorder.add(a_ping(ok=False, after=1))
    recorder.add(a_ping(ok=False, after=2))
    await recorder.flush()
    await recorder.flush()
    assert recorder.trouble == ""
    (batch,) = history.written
    assert [row.good for row in batch.pings] == [True, False, False]
    assert batch.conditions["shop"][0] == "down"
    assert len(batch.alerts) == 1
    assert recorder.lost == 0


async def test_what_is_held_has_a_bound_and_what_is_lost_is_counted(monkeypatch):
    monkeypatch.setattr(recorder_module, "MOST_UNWRITTEN", 3)
    history = FullDisk(failures=1)
    recorder = Recorder(watch(), history)
    for number in range(1, 4):
        recorder.add(a_ping(after=number, number=number))
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)  # the batch is on its way
    for number in range(4, 9):
        recorder.add(a_ping(after=number, number=number))
    await flushing
    await recorder.flush()
    (batch,) = history.written
    assert len(batch.pings) + recorder.lost == 8
    assert len(batch.pings) <= 3
    assert recorder.lost >= 5


async def test_what_is_held_is_written_when_the_watch_stops(history):
    recorder = Recorder(watch(), history)
    running = asyncio.create_task(recorder.run())
    await asyncio.sleep(0)
    recorder.add(a_ping())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    start = MOMENT.timestamp()
    assert len(list(history.pings("shop", start, start + 1))) == 1


def test_a_row_sums_the_phases_of_the_redirects_and_bounds_the_reason():
    hop = Hop("http://a.example/", Exchange(phases=Phases(1_000, 2_000, 3_000, 4_000, 5_000, 15_000)))
    row = row_of(a_ping(status=0, error="x" * 9_999, tries=(Attempt((hop, hop), 0, ""),)))
    assert row[5:10] == (2, 4, 6, 8, 10)
    assert (row.good, row.total, row.error) == (False, 10_000, "x" * 500)


def test_an_empty_batch_is_nothing_to_write():
    assert not Batch()


async def test_alerts_that_cannot_be_held_are_the_oldest_and_counted(monkeypatch):
    monkeypatch.setattr(FullDisk, "max_alerts", 2)
    history = FullDisk(failures=1)
    recorder = Recorder(watch(), history, [HOOK])
    for number, sign in enumerate("+--++--", 1):  # down, up, down
        recorder.add(a_ping(ok=sign == "+", after=number, number=number))
    await recorder.flush()
    await recorder.flush()
    (batch,) = history.written
    assert [json.loads(body)["event"] for _, body, _ in batch.alerts] == ["up", "down"]
    assert history.dropped_alerts == 1


async def test_a_batch_on_its_way_when_the_watch_stops_is_written_too():
    under_way, may_go_on = Event(), Event()

    class SlowDisk(FullDisk):
        def write(self, batch):
            under_way.set()
            may_go_on.wait(10)
            super().write(batch)

    history = SlowDisk(failures=1)  # and the first time it cannot
    recorder = Recorder(watch(), history)
    recorder.add(a_ping())
    running = asyncio.create_task(recorder.run())
    await asyncio.to_thread(under_way.wait, 10)
    running.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [len(batch.pings) for batch in history.written] == [1]
