"""The spool: a change is stored whole or not at all, and everything is there after a restart."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.services.distributor import spool as spool_module
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.spool import Change, DeadLetter, Retry, Spool, SpoolError, Stored


def packet(seq, *, id_=None, body=None, clients=False, analyzer="a1", failures=0):
    body = body if body is not None else b'{"id":"p%d"}' % seq
    return Stored(seq, id_ or f"p{seq}", 1, len(body), body, clients, analyzer, failures)


def packets(numbers):
    return [packet(seq) for seq in numbers]


def rows(spool):
    return [(p.seq, p.id, p.messages, p.size, p.analyzer, p.failures, p.due_ms) for p in spool.pending()]


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path, "os") as spool:
        yield spool


# Storing and finding again


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_everything_is_there_after_reopening(tmp_path, durability):
    with Spool(tmp_path, durability) as spool:
        spool.commit(Change(accepted=[packet(1), packet(2, analyzer=None), packet(3)]))
        spool.commit(
            Change(
                retried=[Retry(packet(3), "a4", 123_456)],
                counters=Counter(accepted=3),
                notes={"credits": {"ids": ["a1"], "n": 2**62}},
            )
        )
        spool.commit(Change(counters=Counter(accepted=4, delivered=1)))
    with Spool(tmp_path, durability) as spool:
        assert rows(spool) == [
            (1, "p1", 1, 11, "a1", 0, 0),
            (2, "p2", 1, 11, None, 0, 0),
            (3, "p3", 1, 11, "a4", 1, 123_456),
        ]
        assert all(p.body is None for p in spool.pending())
        assert spool.bodies([1, 3, 99]) == {1: b'{"id":"p1"}', 3: b'{"id":"p3"}'}
        assert spool.counters() == Counter(accepted=7, delivered=1)
        assert spool.note("credits") == {"ids": ["a1"], "n": 2**62}
        assert spool.note("never written") is None
        assert spool.last_seq() == 3


def test_memory_spool_writes_no_file_and_needs_no_lock(tmp_path):
    folder = tmp_path / "never made"
    with Spool(folder, "memory") as one, Spool(folder, "memory") as other:
        one.commit(Change(accepted=[packet(1)]))
        assert len(one.pending()) == 1
        assert other.pending() == []
    assert not folder.exists()


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 511, 512, 513, 543, 544, 545, 1025])
def test_every_row_of_a_change_is_stored_whatever_their_number(spool, count):
    new = [packet(seq, clients=True) for seq in range(1, count + 1)]
    counters = Counter({f"c{n}": n for n in range(1, count + 1)})
    spool.commit(Change(accepted=new, counters=counters, notes={f"n{n}": n for n in range(count)}))
    assert [p.seq for p in spool.pending()] == list(range(1, count + 1))
    assert spool.counters() == counters
    assert len(spool.client_ids(0, 10_000)) == count
    assert spool.bodies(list(range(1, count + 1))) == {p.seq: p.body for p in new}
    half = count // 2
    spool.commit(
        Change(
            delivered=new[:half],
            dead=[DeadLetter(p, "crashed", 5) for p in new[half:]],
        )
    )
    assert spool.pending() == []
    assert spool.failed() == [(5, p.seq) for p in new[half:]]
    assert len(spool.dead_letters([p.seq for p in new])) == count - half
    assert spool.last_seq() == (count if count else 0), "numbers of dead letters are not used again"


def test_odd_texts_are_stored_as_they_are(spool):
    odd = "nul \0, quote \", tick ', line\nend, \u2028, \U0001f600, ${}[]"
    spool.commit(Change(accepted=[packet(1, id_=odd, clients=True, body=b"\x00\xff"), packet(2)]))
    assert spool.pending()[0].id == odd
    assert spool.bodies([1]) == {1: b"\x00\xff"}
    assert spool.client_ids(0, 10)[0][0] == odd
    spool.commit(Change(dead=[DeadLetter(packet(2), odd.replace("\0", ""), 1)]))
    assert spool.dead_letters([2])[0][3] == odd.replace("\0", "")


def test_counter_of_zero_leaves_no_row(spool):
    spool.commit(Change(counters=Counter(a=0, b=1)))
    assert dict(spool.counters()) == {"b": 1}


def test_newest_client_ids_come_back_oldest_first_and_old_ones_can_be_forgotten(spool, monkeypatch):
    for seq in range(1, 6):
        monkeypatch.setattr(spool_module, "time", lambda seq=seq: float(seq))
        spool.commit(Change(accepted=[packet(seq, clients=True)]))
    assert spool.client_ids(2000, 10) == [("p2", 2000), ("p3", 3000), ("p4", 4000), ("p5", 5000)]
    assert spool.client_ids(0, 2) == [("p4", 4000), ("p5", 5000)]
    spool.forget_client_ids(4000)
    assert spool.client_ids(0, 10) == [("p4", 4000), ("p5", 5000)]


# Dead letters


def test_dead_letters_come_in_the_order_asked_for(spool):
    new = packets(range(1, 26))
    spool.commit(Change(accepted=new))
    spool.commit(Change(dead=[DeadLetter(p, f"error {p.seq}", 1000 + p.seq) for p in new]))
    assert [seq for seq, *_ in spool.dead_letters([7, 25, 1, 3])] == [7, 25, 1, 3]
    assert spool.dead_letters([25]) == [(25, b'{"id":"p25"}', 1, "error 25", 1025)]
    assert spool.dead_letters([99, 2, -5])[0][0] == 2, "what is gone is left out"
    assert spool.dead_letters([]) == []


def test_dead_letters_know_when_they_failed(spool):
    new = packets(range(1, 6))
    spool.commit(Change(accepted=new))
    spool.commit(
        Change(dead=[DeadLetter(p, "crashed", at) for p, at in zip(new, (30, 10, 20, 10, 20), strict=True)])
    )
    assert spool.failed() == [(10, 2), (10, 4), (20, 3), (20, 5), (30, 1)]
    assert [spool.failed_at_ms(seq) for seq in (1, 2, 6)] == [30, 10, None]


def test_dead_letters_know_how_often_they_failed(spool):
    p = packet(1)
    spool.commit(Change(accepted=[p]))
    spool.commit(Change(retried=[Retry(p, "a1", 1)]))
    spool.commit(Change(retried=[Retry(p, "a1", 2)]))
    spool.commit(Change(dead=[DeadLetter(p, "crashed", 3)]))
    assert spool.dead_letters([1])[0][2] == 3


def test_page_of_dead_letters_is_bounded_in_bytes(spool, monkeypatch):
    monkeypatch.setattr(spool_module, "MAX_READ_BYTES", 2500)
    new = [packet(seq, body=b"x" * 1000) for seq in range(1, 11)]
    spool.commit(Change(accepted=new))
    spool.commit(Change(dead=[DeadLetter(p, "crashed", 1) for p in new]))
    assert [seq for seq, *_ in spool.dead_letters(list(range(10, 0, -1)))] == [10, 9, 8]
    assert [seq for seq, *_ in spool.dead_letters([99, 7, 6, 5, 4])] == [7, 6, 5]
    monkeypatch.setattr(spool_module, "MAX_READ_BYTES", 1)
    assert [seq for seq, *_ in spool.dead_letters([10, 9])] == [10], "never none, or paging would not end"


def test_purging_removes_the_dead_letters_named(spool):
    new = packets(range(1, 11))
    spool.commit(Change(accepted=new))
    spool.commit(Change(dead=[DeadLetter(p, "crashed", 1) for p in new]))
    spool.commit(Change(purged=[Failed(1, 2), Failed(1, 9), Failed(1, 5)]))
    assert [seq for _, seq in spool.failed()] == [1, 3, 4, 6, 7, 8, 10]


# All or nothing


def test_change_that_cannot_be_stored_leaves_nothing_of_it(spool):
    spool.commit(Change(accepted=[packet(1)], counters=Counter(accepted=1)))
    change = Change(
        accepted=[packet(2), packet(3), packet(1)],  # the number of the last one is taken
        delivered=[packet(1)],
        counters=Counter(accepted=3),
        notes={"credits": 1},
    )
    with pytest.raises(SpoolError, match="the spool cannot be written: UNIQUE"):
        spool.commit(change)
    assert [p.seq for p in spool.pending()] == [1]
    assert spool.counters() == Counter(accepted=1)
    assert spool.note("credits") is None
    spool.commit(Change(accepted=[packet(2)]))
    assert [p.seq for p in spool.pending()] == [1, 2]


def test_change_of_ours_that_is_no_data_is_undone_too(spool):
    spool.commit(Change(accepted=[packet(1)]))
    with pytest.raises(UnicodeEncodeError):
        spool.commit(Change(accepted=[packet(2)], dead=[DeadLetter(packet(1), "\ud800", 1)]))
    assert [p.seq for p in spool.pending()] == [1]
    spool.commit(Change(accepted=[packet(2)]))  # at once: no transaction was left open
    assert [p.seq for p in spool.pending()] == [1, 2]


def test_full_disk_refuses_the_change_and_a_later_one_succeeds(spool):
    spool.commit(Change(accepted=[packet(1)]))
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(SpoolError, match="full"):
        spool.commit(Change(accepted=[packet(seq, body=b"x" * 10_000) for seq in range(2, 30)]))
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.commit(Change(accepted=[packet(2)]))
    assert [p.seq for p in spool.pending()] == [1, 2]


def test_log_that_a_kill_cut_off_is_read_up_to_the_last_whole_commit(tmp_path):
    code = (
        "import os, sys; from pathlib import Path;"
        "from services.distributor.test_spool import *;"
        "spool = Spool(Path(sys.argv[1]), 'fsync');"
        "spool.commit(Change(accepted=packets(range(1, 100))));"
        "spool.commit(Change(accepted=packets(range(100, 200))));"
        "os._exit(9)"
    )
    tests = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
    env = os.environ | {"PYTHONPATH": tests}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=False)
    assert done.returncode == 9
    log = tmp_path / "spool.sqlite3-wal"
    os.truncate(log, log.stat().st_size - 100)
    with Spool(tmp_path, "fsync") as spool:
        assert [p.seq for p in spool.pending()] == list(range(1, 100))
        spool.commit(Change(accepted=[packet(500)]))


# Folders and files that will not do


def test_second_process_is_told_that_the_folder_is_in_use(tmp_path):
    with Spool(tmp_path):
        code = (
            "import sys; from pathlib import Path; from penstock.services.distributor.spool import Spool;"
            "Spool(Path(sys.argv[1]))"
        )
        second = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert second.returncode == 1
    assert "is in use by another distributor; stop that one or choose another folder" in second.stderr
    with Spool(tmp_path) as spool:
        assert spool.pending() == []


def test_lock_goes_with_the_spool_also_when_it_could_not_be_opened(tmp_path):
    (tmp_path / "spool.sqlite3").write_bytes(b"this is no database, but long enough to be looked at" * 20)
    for _ in range(2):
        with pytest.raises(SpoolError, match=r"file is not a database; move the file away or choose another"):
            Spool(tmp_path)
    (tmp_path / "spool.sqlite3").unlink()
    Spool(tmp_path).close()


def test_empty_file_is_taken_for_a_new_spool(tmp_path):
    (tmp_path / "spool.sqlite3").touch()
    (tmp_path / "lock").touch()
    with Spool(tmp_path) as spool:
        assert spool.pending() == []


def test_database_of_something_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "spool.sqlite3") as db:
        db.execute("CREATE TABLE packets (colour TEXT)")
    db.close()
    with pytest.raises(SpoolError, match="it is no spool of this version; move the file away"):
        Spool(tmp_path)


def test_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"the data folder .*/file/data cannot be used: Not a directory"):
        Spool(tmp_path / "file" / "data")
    with pytest.raises(SpoolError, match=r"the data folder /proc/data cannot be used"):
        Spool(type(tmp_path)("/proc/data"))


def test_folders_are_made_as_deep_as_needed(tmp_path):
    Spool(tmp_path / "a" / "b" / "c").close()
    assert (tmp_path / "a" / "b" / "c" / "spool.sqlite3").exists()


# Against a model


@st.composite
def steps(draw):
    return draw(
        st.lists(
            st.tuples(
                st.integers(0, 5),  # packets accepted
                st.lists(st.tuples(st.integers(0, 200), st.sampled_from("adrx")), max_size=6),
                st.integers(0, 2),  # purged
                st.booleans(),  # fails
                st.booleans(),  # reopens
            ),
            max_size=12,
        )
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(steps())
def test_any_sequence_of_changes_agrees_with_a_dictionary(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("spool")
    pending, dead, counters, seq = {}, {}, Counter(), 0
    spool = Spool(folder, "os")
    try:
        for accepted, fates, purged, fails, reopens in steps:
            change, after = Change(), dict(pending)
            chosen = {}
            for number, fate in fates:
                if pending:
                    chosen[sorted(pending)[number % len(pending)]] = fate
            newly_dead = {}
            for number, fate in chosen.items():
                p = packet(number)
                _, failures, due = pending[number]
                if fate == "a":
                    change.assigned.append(packet(number, analyzer="a9"))
                    after[number] = ("a9", failures, due)
                elif fate == "d":
                    change.delivered.append(p)
                    del after[number]
                elif fate == "r":
                    change.retried.append(Retry(p, "a5", 1000 + number))
                    after[number] = ("a5", failures + 1, 1000 + number)
                else:
                    change.dead.append(DeadLetter(p, "crashed", number))
                    del after[number]
                    newly_dead[number] = failures + 1
            numbers = [seq + 1 + i for i in range(accepted)]
            change.accepted = packets(numbers)
            after |= dict.fromkeys(numbers, ("a1", 0, 0))
            # the newly dead are there before any are purged
            together = dead | newly_dead
            change.purged = [Failed(n, n) for n in sorted(together)[:purged]]
            dead_after = {n: together[n] for n in sorted(together)[purged:]}
            change.counters = Counter(n=accepted)
            if fails:
                change.notes["bad"] = object()
                with pytest.raises(TypeError):
                    spool.commit(change)
            else:
                spool.commit(change)
                pending, dead, seq = after, dead_after, seq + accepted
                counters["n"] += accepted
            if reopens:
                spool.close()
                spool = Spool(folder, "os")
            assert {p.seq: (p.analyzer, p.failures, p.due_ms) for p in spool.pending()} == pending
            assert spool.failed() == [(n, n) for n in sorted(dead)]
            letters = spool.dead_letters(sorted(dead))
            assert {number: failures for number, _, failures, *_ in letters} == dead
            assert spool.counters() == +counters
    finally:
        spool.close()
