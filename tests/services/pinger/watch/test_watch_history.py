"""The history file."""

import signal
import sqlite3
import subprocess
import sys
import textwrap
from tempfile import TemporaryDirectory
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.services.pinger.watch.history import Batch, History, HistoryError, PingRow, used_alone


def a_row(name="shop", at=0.0, *, good=True, ms=10.0):
    return PingRow(name, round(at * 1e6), good, 200, round(ms * 1e3), 0, 0, 0, round(ms * 1e3), 0, 1, "")


@pytest.fixture
def history(tmp_path):
    history = History(str(tmp_path / "history.sqlite"))
    yield history
    history.close()


def test_pings_are_read_back_in_order_of_time(history):
    history.write(Batch(pings=[a_row(at=3), a_row(at=1, good=False, ms=5), a_row("other", at=2)]))
    assert list(history.pings("shop", 0, 10)) == [(1.0, False, 0.005), (3.0, True, 0.01)]
    assert list(history.pings("shop", 1.5, 3.0)) == []
    assert list(history.pings("nobody", 0, 10)) == []


def test_a_ping_that_is_written_twice_is_there_once(history):
    history.write(Batch(pings=[a_row(at=1, ms=5)]))
    history.write(Batch(pings=[a_row(at=1, ms=7)]))
    assert list(history.pings("shop", 0, 10)) == [(1.0, True, 0.007)]


def test_steps_count_what_is_in_them_and_empty_ones_are_there(history):
    rows = [a_row(at=at, ms=at + 1) for at in range(10)] + [a_row(at=25, good=False)]
    history.write(Batch(pings=rows))
    whole, slots = history.slots("shop", 0, 35, 10)
    assert (whole.good, whole.failed, whole.uptime) == (10, 1, 10 / 11)
    assert whole.p50 == pytest.approx(5e6, rel=0.01)
    assert whole.slowest == pytest.approx(10e6, rel=0.01)
    assert [(slot.start, slot.good, slot.failed) for slot in slots] == [
        (0, 10, 0),
        (10, 0, 0),
        (20, 0, 1),
        (30, 0, 0),
    ]
    assert slots[1].uptime is None
    assert slots[1].p99 is None


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=50),
    st.floats(0, 100),
    st.floats(0.1, 100),
    st.floats(0.5, 60),
)
def test_every_ping_of_the_period_is_in_one_step(pings, since, length, step):
    with TemporaryDirectory() as folder:
        check_steps(History(f"{folder}/history.sqlite"), pings, since, length, step)


def check_steps(history, pings, since, length, step):
    history.write(Batch(pings=[a_row(at=at, good=good) for at, good in pings]))
    until = since + length
    unique = {round(at * 1e6): good for at, good in pings}
    expected = [good for at, good in unique.items() if round(since * 1e6) <= at < round(until * 1e6)]
    whole, slots = history.slots("shop", since, until, step)
    assert (whole.good, whole.failed) == (sum(expected), len(expected) - sum(expected))
    assert (sum(slot.good for slot in slots), sum(slot.failed for slot in slots)) == (
        whole.good,
        whole.failed,
    )
    history.close()


def test_conditions_and_alerts_are_there_after_the_next_start(tmp_path):
    path = str(tmp_path / "history.sqlite")
    history = History(path)
    history.write(
        Batch([a_row()], {"shop": ("down", 12.5)}, [("http://hook/", "{}", 1.0), ("http://hook/", "[]", 2.0)])
    )
    history.close()
    again = History(path)
    assert again.conditions() == {"shop": ("down", 12.5)}
    first = again.next_alert("http://hook/")
    assert (first.body, first.made, again.waiting_alerts()) == ("{}", 1.0, 2)
    again.forget_alert(first.id)
    assert again.next_alert("http://hook/").body == "[]"
    assert again.next_alert("http://other/") is None
    assert again.drop_alerts(["http://other/"]) == 1
    assert again.waiting_alerts() == 0
    again.close()


def test_alerts_have_a_bound_and_the_newest_stay(tmp_path):
    history = History(str(tmp_path / "history.sqlite"), max_alerts=3)
    for number in range(5):
        history.write(Batch(alerts=[("http://hook/", str(number), 0.0)]))
    assert (history.waiting_alerts(), history.next_alert("http://hook/").body, history.dropped_alerts) == (
        3,
        "2",
        2,
    )
    history.close()


def test_a_batch_is_written_whole_or_not_at_all(history):
    with pytest.raises(HistoryError, match=r"history\.sqlite: ") as failed:
        history.write(Batch([a_row(at=1), a_row("new", at=1)], {"new": ("up", 1.0)}, [("u", None, 1.0)]))
    assert isinstance(failed.value, (PenstockError, OSError))
    assert list(history.pings("new", 0, 9)) == []
    assert history.conditions() == {}
    history.write(Batch([a_row("new", at=1)]))  # its number is not remembered from what was undone
    assert len(list(history.pings("new", 0, 9))) == 1


def test_old_pings_go_and_then_the_oldest_beyond_the_bound(history):
    history.write(Batch([a_row(at=at) for at in range(100)]))
    assert history.prune(before=10, most=1000) == 10
    assert history.prune(before=10, most=1000) == 0
    assert history.prune(before=20, most=50) == 40
    assert [at for at, _, _ in history.pings("shop", 0, 1000)] == list(range(50, 100))


def test_what_is_no_history_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE things (a)")
    other.close()
    with pytest.raises(HistoryError, match="must be a history of pings of version 1, got 0"):
        History(str(path))
    (tmp_path / "text").write_text("no database, but long enough to be taken for one " * 20)
    with pytest.raises(HistoryError, match="file is not a database"):
        History(str(tmp_path / "text"))
    with pytest.raises(HistoryError, match="unable to open database file"):
        History(str(tmp_path / "no" / "folder"))


def test_what_was_written_survives_a_kill(tmp_path):
    path = tmp_path / "history.sqlite"
    program = textwrap.dedent("""
        import sys, itertools
        from penstock.services.pinger.watch.history import Batch, History, PingRow
        history = History(sys.argv[1])
        for n in itertools.count():
            row = PingRow("shop", n, True, 200, 1, 0, 0, 0, 1, 0, 1, "")
            history.write(Batch([row], {}, [("u", str(n), 0.0)]))
            print(n, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as writer:
        told = 0
        while told < 200:
            told = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        told = int((writer.stdout.read().split() or [told])[-1])
    history = History(str(path))
    pings, alerts = len(list(history.pings("shop", 0, 1))), history.waiting_alerts()
    history.close()
    assert pings >= told + 1
    assert pings == alerts


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_what_is_no_file_is_refused_in_words(path):
    with pytest.raises(HistoryError, match=f"a history must be a file, got '{path}'"):
        History(path)


def test_the_pings_are_counted_once_and_what_comes_is_added(history):
    counted = []
    history.write(Batch([a_row(at=at) for at in range(10)]))
    history._writer.set_trace_callback(lambda sql: counted.append(sql) if "count(*)" in sql else None)
    assert history.prune(before=0, most=8) == 2
    history.write(Batch([a_row(at=at) for at in range(10, 15)]))
    assert history.prune(before=0, most=8) == 5
    assert len(counted) == 1
    with pytest.raises(HistoryError):
        history.write(Batch([a_row(at=99)], {}, [("u", None, 1.0)]))
    assert history.prune(before=0, most=8) == 0
    assert [at for at, _, _ in history.pings("shop", 0, 100)] == list(range(7, 15))


def test_who_reads_the_history_holds_up_neither_alerts_nor_the_end(history):
    history.write(Batch([a_row(at=at) for at in range(1_000)], {}, [("u", "{}", 1.0)]))
    reading = history.pings("shop", 0, 1_000)
    next(reading)  # it holds the reader, as a question that takes long would
    answers = []
    asking = Thread(target=lambda: answers.append(history.next_alert("u")), daemon=True)
    asking.start()
    asking.join(10)
    assert [alert.body for alert in answers] == ["{}"]
    closing = Thread(target=history.close, daemon=True)
    closing.start()
    while True:  # until the end has been asked for
        try:
            next(reading)
        except HistoryError as error:
            assert "interrupted" in str(error)  # noqa: PT017 - how many rows came before it is chance
            break
        except StopIteration:
            pytest.fail("it was read to its end")
    closing.join(10)
    assert not closing.is_alive()
    history.close()  # again: nothing happens


def test_a_history_is_for_one_watch_at_a_time(tmp_path):
    path = str(tmp_path / "history.sqlite")
    with used_alone(path), pytest.raises(HistoryError, match="is in use by another watch"), used_alone(path):
        pass
    with used_alone(path):
        pass
    with pytest.raises(HistoryError, match="No such file or directory"), used_alone("/none/of/this"):
        pass


@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=40))
@settings(max_examples=30, deadline=None)
def test_bars_and_the_latest_pings_are_those_of_the_pings(pings):
    unique = dict(pings)
    with TemporaryDirectory() as folder:
        history = History(f"{folder}/history.sqlite")
        history.write(Batch([a_row(at=at, good=good, ms=at + 1) for at, good in unique.items()]))
        history.write(Batch([a_row("other", at=at) for at in unique]))
        bars, latest = history.bars("shop", 1_800, 1_800), history.latest("shop", 1_800, 5)
        history.close()
    wanted = {at: good for at, good in sorted(unique.items()) if at >= 1_800}
    assert [bar[0] for bar in bars] == sorted({at // 1_800 * 1_800 for at in wanted})
    for start, good, failed, slowest in bars:
        inside = {at: good for at, good in wanted.items() if at // 1_800 * 1_800 == start}
        assert (good, failed) == (sum(inside.values()), len(inside) - sum(inside.values()))
        assert slowest == pytest.approx(max([(at + 1) / 1_000 for at, good in inside.items() if good] or [0]))
    assert [(at, good) for at, good, _ in latest] == [*wanted.items()][-5:]
