"""The spool: a change is stored whole or not at all, and everything is there after a restart."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from penstock.services.distributor import spool as spool_module
from penstock.services.distributor.change import Change, DeadLetter, Replay, Retry, Stored
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.spool import Spool, SpoolError


def packet(seq, *, id_=None, body=None, clients=False, analyzer="a1", group="default", failures=0):
    body = body if body is not None else b'{"id":"p%d"}' % seq
    return Stored(seq, id_ or f"p{seq}", 1, len(body), body, clients, group, None, analyzer, failures)


def packets(numbers):
    return [packet(seq) for seq in numbers]


def pending(spool):
    """What waits of every owner, and what is to be tried again, by number."""
    extents, found = spool._journal.extents, []
    for number in list(extents.owned):
        backlog = spool.read_backlog(*extents.names[number], 0, 10**6, 10**9)
        assert backlog.done
        found += backlog.packets
    found += [lying.packet for lying in spool._journal.reader.find(list(extents.retrying))]
    return sorted(found, key=lambda one: one.seq)


def seqs(spool):
    return [one.seq for one in pending(spool)]


def rows(spool):
    return [(p.seq, p.id, p.messages, p.size, p.analyzer, p.failures, p.due_ms) for p in pending(spool)]


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path, "os") as spool:
        yield spool


# Storing and finding again


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_everything_is_there_after_reopening(tmp_path, durability):
    with Spool(tmp_path, durability) as spool:
        spool.commit(
            Change(accepted=[packet(1), packet(2, analyzer=None), packet(3), packet(4, group="audit")])
        )
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
            (4, "p4", 1, 11, "a1", 0, 0),
        ]
        assert [one.group for one in pending(spool)] == ["default", "default", "default", "audit"]
        assert spool.bodies([1, 3, 99]) == {1: b'{"id":"p1"}', 3: b'{"id":"p3"}'}
        assert spool.counters() == Counter(accepted=7, delivered=1)
        assert spool.note("credits") == {"ids": ["a1"], "n": 2**62}
        assert spool.note("never written") is None


def test_recovery_tells_what_was_there(tmp_path):
    with Spool(tmp_path, "os") as spool:
        spool.commit(
            Change(accepted=[packet(1), packet(2, analyzer=None), packet(3), packet(7, group="audit")])
        )
        spool.commit(Change(retried=[Retry(packet(3), "a4", 123_456)], delivered=[packet(1)]))
    with Spool(tmp_path, "os") as spool:
        recovery = spool.recovery
        assert (recovery.last_seq, recovery.packets, recovery.bytes, recovery.quarantined) == (7, 3, 33, 0)
        assert {owner: (one.packets, one.bytes) for owner, one in recovery.owners.items()} == {
            ("default", None): (1, 11),
            ("audit", "a1"): (1, 11),
        }
        assert [(p.seq, p.id, p.analyzer, p.failures, p.due_ms, p.body) for p in recovery.retrying] == [
            (3, "p3", "a4", 1, 123_456, None)
        ]


def test_memory_spool_writes_no_file_and_needs_no_lock(tmp_path):
    folder = tmp_path / "never made"
    with Spool(folder, "memory") as one, Spool(folder, "memory") as other:
        one.commit(Change(accepted=[packet(1), packet(2)]))
        one.commit(Change(dead=[DeadLetter(packet(2), "crashed", 1)]))
        assert seqs(one) == [1]
        assert one.bodies([1]) == {1: b'{"id":"p1"}'}
        assert one.failed() == [(1, 2)]
        assert pending(other) == []
    assert not folder.exists()


def test_memory_spool_lets_go_of_what_was_delivered(tmp_path):
    with Spool(tmp_path, "memory", segment_bytes=100_000) as spool:
        for start in range(1, 3000, 10):
            new = [packet(seq, body=b"x" * 500) for seq in range(start, start + 10)]
            spool.commit(Change(accepted=new))
            spool.commit(Change(delivered=new[1:] if start == 1 else new))
        assert spool._journal.size_bytes < 700_000, "of 1.5 MB that came by, and one packet that stays"
        assert spool.bodies([1]) == {1: b"x" * 500}


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 2047, 2048, 2049, 5000])
def test_everything_of_a_change_is_stored_whatever_the_numbers(spool, count):
    new = [packet(seq, clients=True, analyzer=f"a{seq % 3}") for seq in range(1, count + 1)]
    counters = Counter({f"c{n}": n for n in range(1, count + 1)})
    spool.commit(Change(accepted=new, counters=counters, notes={f"n{n}": n for n in range(count)}))
    assert seqs(spool) == list(range(1, count + 1))
    assert spool.counters() == counters
    assert len(spool.client_ids(0, 10_000)) == count
    assert spool.bodies(list(range(1, count + 1))) == {p.seq: p.body for p in new}
    half = count // 2
    spool.commit(Change(delivered=new[:half], dead=[DeadLetter(p, "crashed", 5) for p in new[half:]]))
    assert pending(spool) == []
    assert spool.failed() == [(5, p.seq) for p in new[half:]]
    assert len(spool.dead_letters([p.seq for p in new])) == count - half


def test_large_change_is_one_commit_of_several_entries(spool):
    new = [packet(seq, body=b"x" * 100_000) for seq in range(1, 30)]
    spool.commit(Change(accepted=new, counters=Counter(accepted=29)))
    assert spool.bodies(range(1, 30)) == {p.seq: p.body for p in new}
    backlog = spool.read_backlog("default", "a1", 0, 100, 250_000)
    assert [p.seq for p in backlog.packets] == [1, 2, 3], "no more once the size is reached"
    assert (backlog.after, backlog.done) == (3, False)


def test_odd_texts_are_stored_as_they_are(spool):
    odd = "nul \0, quote \", tick ', line\nend, \u2028, \U0001f600, ${}[]"
    spool.commit(
        Change(accepted=[packet(1, id_=odd, clients=True, body=b"\x00\xff"), packet(2, analyzer=odd)])
    )
    assert pending(spool)[0].id == odd
    assert pending(spool)[1].analyzer == odd
    assert spool.bodies([1]) == {1: b"\x00\xff"}
    assert spool.client_ids(0, 10)[0][0] == odd
    spool.commit(Change(dead=[DeadLetter(packet(2), odd.replace("\0", ""), 1)]))
    assert spool.dead_letters([2])[0][3] == odd.replace("\0", "")


def test_packet_of_a_marker_and_a_frame_is_only_a_packet(tmp_path):
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=[packet(1)]))
        segment = (tmp_path / "journal" / "0000000001.segment").read_bytes()
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=[packet(2, body=segment)]))
    journal = tmp_path / "journal" / "0000000002.segment"
    damaged = bytearray(journal.read_bytes())
    damaged[damaged.index(segment) - 50] ^= 1  # its entry, so that what comes next is looked for
    journal.write_bytes(damaged)
    with Spool(tmp_path, "os") as spool:
        assert seqs(spool) == [1]


def test_counter_of_zero_leaves_nothing(spool):
    spool.commit(Change(counters=Counter(a=0, b=1)))
    assert dict(spool.counters()) == {"b": 1}


def test_assigned_packets_are_with_their_owner_after_a_restart(tmp_path):
    with Spool(tmp_path, "os") as spool:
        new = [packet(seq, analyzer=None) for seq in range(1, 5)]
        spool.commit(Change(accepted=new))
        new[1].analyzer = "a2"
        spool.commit(Change(assigned=[new[1]]))
        assert [p.seq for p in spool.read_backlog("default", "a2", 0, 9, 9999).packets] == [2]
    with Spool(tmp_path, "os") as spool:
        assert [p.analyzer for p in pending(spool)] == [None, "a2", None, None]
        assert spool.recovery.owners["default", None].packets == 3


def test_numbers_must_be_higher_than_all_before(spool):
    spool.commit(Change(accepted=[packet(5)]))
    for seq in (5, 3):
        with pytest.raises(SpoolError, match=f"numbers of new packets must be > 5, got {seq}"):
            spool.commit(Change(accepted=[packet(seq)]))
    with pytest.raises(SpoolError, match="must differ, got one twice"):
        spool.commit(Change(accepted=[packet(6), packet(6)]))
    spool.commit(Change(accepted=[packet(9), packet(7)]))
    assert seqs(spool) == [5, 7, 9]


def test_numbers_go_on_when_everything_is_gone(tmp_path):
    with Spool(tmp_path, "os", segment_bytes=1, keep_bytes=0) as spool:
        for seq in (7, 8, 9):
            spool.commit(Change(accepted=[packet(seq)]))
            spool.commit(Change(delivered=[packet(seq)]))
        spool.commit(Change(counters=Counter(a=1)))
    with Spool(tmp_path, "os") as spool:
        assert len(spool._journal.segments) <= 2
        assert spool.recovery.last_seq == 9
        assert spool.counters() == Counter(a=1)


# The backlog


def test_backlog_is_read_in_order_and_in_parts(spool):
    for start in range(1, 100, 7):
        spool.commit(
            Change(accepted=[packet(seq, analyzer=f"a{seq % 2}") for seq in range(start, start + 7)])
        )
    spool.commit(Change(delivered=[packet(4), packet(10)], retried=[Retry(packet(6), "a0", 5)]))
    after, parts = 0, []
    while True:
        backlog = spool.read_backlog("default", "a0", after, 10, 10**6)
        parts.append([p.seq for p in backlog.packets])
        after = backlog.after
        if backlog.done:
            break
    assert [seq for part in parts for seq in part] == [2, 8, *range(12, 106, 2)]
    assert max(map(len, parts)) == 10
    assert spool.read_backlog("default", "a0", 0, 10, 10**6).packets[0].body == b'{"id":"p2"}'


def test_backlog_of_somebody_unknown_is_empty(spool):
    spool.commit(Change(accepted=[packet(1)]))
    for group, owner in (("default", "a9"), ("other", "a1"), ("default", None)):
        backlog = spool.read_backlog(group, owner, 0, 10, 1000)
        assert (backlog.packets, backlog.done) == ([], True)


def test_large_packet_comes_alone_but_comes(spool):
    spool.commit(Change(accepted=[packet(1, body=b"x" * 5000), packet(2)]))
    backlog = spool.read_backlog("default", "a1", 0, 10, 1)
    assert [p.seq for p in backlog.packets] == [1]
    assert not backlog.done


# Ids of clients


def at(seconds):
    return lambda: seconds * 10**9


def test_newest_client_ids_come_back_oldest_first_and_old_ones_can_be_forgotten(tmp_path):
    for seq in range(1, 6):  # a segment each
        with Spool(tmp_path, "os", wall=at(seq)) as spool:
            spool.commit(Change(accepted=[packet(seq, clients=True)]))
    with Spool(tmp_path, "os") as spool:
        assert spool.client_ids(2000, 10) == [("p2", 2000), ("p3", 3000), ("p4", 4000), ("p5", 5000)]
        assert spool.client_ids(0, 2) == [("p4", 4000), ("p5", 5000)]


def test_client_ids_outlive_their_segments_while_they_are_wanted(tmp_path):
    def pass_by(spool, seq):
        spool.commit(Change(accepted=[packet(seq, clients=True), packet(seq + 1)]))
        spool.commit(Change(delivered=[packet(seq), packet(seq + 1)]))

    settings = {"segment_bytes": 1, "keep_bytes": 0, "dedupe_ids": 3}
    for seconds in range(1, 8):
        with Spool(tmp_path, "os", wall=at(seconds), **settings) as spool:
            pass_by(spool, seconds * 10)
    names = sorted(path.name for path in (tmp_path / "journal").glob("*.ids"))
    assert len(names) == 3, "as many as are wanted"
    with Spool(tmp_path, "os", wall=at(8), **settings) as spool:
        assert [id_ for id_, _ in spool.client_ids(0, 10)][-3:] == ["p50", "p60", "p70"]
        spool.forget_client_ids(7001)
        assert [path.name for path in (tmp_path / "journal").glob("*.ids")] == []
        pass_by(spool, 80)
        assert ("p80", 8000) in spool.client_ids(7000, 10)


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


def test_letter_of_a_packet_that_is_on_disk_only_has_its_body(spool):
    spool.commit(Change(accepted=[packet(1, group="audit")]))
    only = Stored(1, "p1", 1, 11, None, group="audit", analyzer="a1")
    spool.commit(Change(dead=[DeadLetter(only, "crashed", 7)]))
    assert spool.dead_letters([1]) == [(1, b'{"id":"p1"}', 1, "crashed", 7)]
    assert spool.letter_bytes() == 11


def test_replayed_letter_is_a_packet_again_and_no_letter_any_more(tmp_path):
    with Spool(tmp_path, "os") as spool:
        new = [packet(1, group="audit"), packet(2)]
        spool.commit(Change(accepted=new))
        spool.commit(Change(dead=[DeadLetter(p, "crashed", 7) for p in new]))
        ((number, again),) = spool.letters_as_packets([1])
        assert (number, again.seq, again.id, again.group, again.body) == (1, 0, "p1", "audit", b'{"id":"p1"}')
        again.seq, again.analyzer = 3, "a2"
        spool.commit(Change(accepted=[packet(4)], replayed=[Replay(1, again)]))
        assert spool.failed() == [(7, 2)]
        assert spool.letters_as_packets([1]) == []
        assert spool.letter_bytes() == 11
    with Spool(tmp_path, "os") as spool:
        assert [(p.seq, p.id, p.group, p.analyzer, p.failures) for p in pending(spool)] == [
            (3, "p1", "audit", "a2", 0),
            (4, "p4", "default", "a1", 0),
        ]
        assert spool.failed() == [(7, 2)]


def test_letters_that_cannot_be_removed_at_once_are_gone_all_the_same(tmp_path):
    with Spool(tmp_path, "os") as spool:
        new = packets([1, 2])
        spool.commit(Change(accepted=new))
        spool.commit(Change(dead=[DeadLetter(p, "crashed", 7) for p in new]))
        spool._letters.remove = fails
        spool.commit(Change(purged=[Failed(7, 1)]))
        assert spool.failed() == [(7, 2)]
        assert spool.failed_at_ms(1) is None
        assert spool.dead_letters([1, 2]) == [(2, b'{"id":"p2"}', 1, "crashed", 7)]
    with Spool(tmp_path, "os") as spool:
        assert spool.failed() == [(7, 2)]
        assert spool.letter_bytes() == 11


def fails(*_, **__):
    raise sqlite3.OperationalError("database or disk is full")


def test_letter_whose_packet_is_alive_by_the_journal_is_none(tmp_path):
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=packets([1])))
        letter = spool._letter(DeadLetter(packet(1), "crashed", 7))
        spool._letters.put([letter])  # and then the process was killed
    with Spool(tmp_path, "os") as spool:
        assert spool.failed() == []
        assert seqs(spool) == [1]


def test_damaged_table_of_letters_is_put_aside_and_what_can_be_read_kept(tmp_path):
    with Spool(tmp_path, "os") as spool:
        new = [packet(seq, body=b"x" * 3000) for seq in range(1, 501)]
        spool.commit(Change(accepted=new))
        spool.commit(Change(dead=[DeadLetter(p, "crashed", p.seq) for p in new]))
    table = tmp_path / "dead_letters.sqlite3"
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 2)
        file.write(b"\xff" * 50_000)
    with Spool(tmp_path, "os") as spool:
        kept = spool.dead_letters(range(1, 501))
        kept += spool.dead_letters(range(len(kept), 501))
        assert 100 < len({seq for seq, *_ in kept}) < 500
        spool.commit(Change(accepted=[packet(501)]))
        spool.commit(Change(dead=[DeadLetter(packet(501), "crashed", 501)]))
        assert spool.failed_at_ms(501) == 501
    assert list((tmp_path / "quarantine").glob("dead_letters.sqlite3*"))


def test_letters_that_cannot_be_read_now_are_there_later(tmp_path, monkeypatch):
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=packets([1])))
        spool.commit(Change(dead=[DeadLetter(packet(1), "crashed", 7)]))
    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", fails)
        spool = Spool(tmp_path, "os")
        assert (spool.failed(), spool.letters_unread) == ([], True)
        with pytest.raises(SpoolError, match="database or disk is full"):
            spool.dead_letters([1])
        patch.setattr(sqlite3, "connect", lambda place, **_: read_only(connect, place))
        assert (spool.failed(), spool.letters_unread) == ([(7, 1)], False)
        spool.commit(Change(accepted=packets([2])))
        with pytest.raises(SpoolError, match="readonly database"):
            spool.commit(Change(dead=[DeadLetter(packet(2), "crashed", 8)]))
    spool.commit(Change(dead=[DeadLetter(packet(2), "crashed", 8)]))
    assert spool.failed() == [(7, 1), (8, 2)]
    spool.close()


def read_only(connect, place):
    if not place.startswith("file:"):
        raise sqlite3.OperationalError("unable to open database file")
    return connect(place, uri=True, check_same_thread=False)


def test_folder_without_letters_gets_no_table_of_them(tmp_path):
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=packets([1]), purged=[Failed(1, 99)]))
        assert spool.failed() == spool.dead_letters([1]) == []
    assert not (tmp_path / "dead_letters.sqlite3").exists()


def test_file_that_is_no_table_of_letters_is_put_aside(tmp_path):
    (tmp_path / "dead_letters.sqlite3").write_bytes(
        b"this is no database, but long enough to be looked at" * 20
    )
    with Spool(tmp_path, "os") as spool:
        assert spool.recovery.quarantined == 1
        assert spool.failed() == []
        spool.commit(Change(accepted=packets([1])))
        spool.commit(Change(dead=[DeadLetter(packet(1), "crashed", 7)]))
        assert spool.failed() == [(7, 1)]


# All or nothing


def test_change_that_cannot_be_stored_leaves_nothing_of_it(spool):
    spool.commit(Change(accepted=[packet(1)], counters=Counter(accepted=1)))
    change = Change(
        accepted=[packet(2), packet(3), packet(1)],  # the number of the last one is taken
        delivered=[packet(1)],
        counters=Counter(accepted=3),
        notes={"credits": 1},
    )
    with pytest.raises(SpoolError, match="numbers of new packets must be > 1, got 1"):
        spool.commit(change)
    assert seqs(spool) == [1]
    assert spool.counters() == Counter(accepted=1)
    assert spool.note("credits") is None
    spool.commit(Change(accepted=[packet(2)]))
    assert seqs(spool) == [1, 2]


def test_change_of_ours_that_is_no_data_is_undone_too(spool):
    spool.commit(Change(accepted=[packet(1)]))
    with pytest.raises(UnicodeEncodeError):
        spool.commit(Change(accepted=[packet(2)], dead=[DeadLetter(packet(1), "\ud800", 1)]))
    assert seqs(spool) == [1]
    spool.commit(Change(accepted=[packet(2)]))  # at once: no transaction was left open
    assert seqs(spool) == [1, 2]


def test_full_disk_refuses_the_change_and_a_later_one_succeeds(tmp_path):
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from services.distributor.test_spool import *;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "spool = Spool(Path(sys.argv[1]), 'fsync');"
        "spool.commit(Change(accepted=[packet(1)]));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY));\n"
        "for seq in (2, 3):\n"
        "    with pytest.raises(SpoolError, match='the spool cannot be written: .*File too large'):\n"
        "        spool.commit(Change(accepted=[packet(seq, body=b'x' * 30_000)]))\n"
        "spool.commit(Change(accepted=[packet(4)]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "spool.commit(Change(accepted=[packet(5, body=b'x' * 30_000)]))\n"
        "assert seqs(spool) == [1, 4, 5]\n"
        "spool.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=with_tests(), check=False)
    assert done.returncode == 0
    with Spool(tmp_path) as spool:
        assert seqs(spool) == [1, 4, 5]


def with_tests():
    tests = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
    return os.environ | {"PYTHONPATH": tests}


def test_journal_that_a_kill_cut_off_is_read_up_to_the_last_whole_commit(tmp_path):
    code = (
        "import os, sys; from pathlib import Path;"
        "from services.distributor.test_spool import *;"
        "spool = Spool(Path(sys.argv[1]), 'fsync');"
        "spool.commit(Change(accepted=packets(range(1, 100))));"
        "spool.commit(Change(accepted=packets(range(100, 200))));"
        "os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=with_tests(), check=False)
    assert done.returncode == 9
    segment = tmp_path / "journal" / "0000000001.segment"
    os.truncate(segment, segment.stat().st_size - 100)
    for _ in range(2):
        with Spool(tmp_path, "fsync") as spool:
            assert seqs(spool) == list(range(1, 100))
            assert spool.recovery.quarantined == 0
    with Spool(tmp_path, "fsync") as spool:
        spool.commit(Change(accepted=[packet(500)]))
    with Spool(tmp_path, "fsync") as spool:
        assert seqs(spool) == [*range(1, 100), 500]


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
        assert pending(spool) == []


def test_folder_that_cannot_be_made_or_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"the data folder .*/file/data cannot be used: Not a directory"):
        Spool(tmp_path / "file" / "data")
    with pytest.raises(SpoolError, match=r"the data folder /proc/data cannot be used"):
        Spool(Path("/proc/data"))


def test_folders_are_made_as_deep_as_needed(tmp_path):
    with Spool(tmp_path / "a" / "b" / "c") as spool:
        spool.commit(Change(accepted=packets([1])))
    assert (tmp_path / "a" / "b" / "c" / "journal" / "0000000001.segment").exists()


def test_folder_is_let_go_of_when_it_could_not_be_used(tmp_path):
    (tmp_path / "spool.sqlite3").write_bytes(b"this is no database, but long enough to be looked at" * 20)
    for _ in range(2):
        with pytest.raises(
            SpoolError, match=r"file is not a database; move the files away or choose another"
        ):
            Spool(tmp_path)
    (tmp_path / "spool.sqlite3").unlink()
    Spool(tmp_path).close()


def test_journal_of_a_newer_version_is_left_alone(tmp_path, monkeypatch):
    from penstock.services.distributor.journal import frames

    with Spool(tmp_path) as spool:
        spool.commit(Change(accepted=packets([1])))
    with monkeypatch.context() as patch:
        patch.setattr(frames, "VERSION", 2)
        with pytest.raises(SpoolError, match="the version of a segment must be 2, got 1"):
            Spool(tmp_path)
    with Spool(tmp_path) as spool:
        assert seqs(spool) == [1]


# The spool of earlier versions

OLD_SCHEMA = """
PRAGMA application_id = 1886613553;
CREATE TABLE packets (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, messages INTEGER NOT NULL, analyzer TEXT,
    failures INTEGER NOT NULL, due_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE dead_letters (seq INTEGER PRIMARY KEY, failures INTEGER NOT NULL, error TEXT NOT NULL,
    failed_at_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE client_ids (id TEXT PRIMARY KEY, accepted_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


def make_old_spool(folder, packets=1200):
    db = sqlite3.connect(folder / "spool.sqlite3", isolation_level=None)
    db.executescript(OLD_SCHEMA)
    db.execute("BEGIN")
    for seq in range(1, packets + 1):
        analyzer, failures = (None, 0) if seq == 2 else ("a1", 2 if seq == 3 else 0)
        row = (seq, f"p{seq}", 1, analyzer, failures, 99 if failures else 0, b'{"id":"p%d"}' % seq)
        db.execute("INSERT INTO packets VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    body = b'{"messages":[{"message":"a"},{"message":"b"}],"id":"dead"}'
    db.execute("INSERT INTO dead_letters VALUES (?, 4, 'crashed', 77, ?)", (packets + 50, body))
    db.executemany("INSERT INTO client_ids VALUES (?, ?)", [("p1", 2000), ("p9", 1000), ("p5", 2000)])
    db.executemany("INSERT INTO counters VALUES (?, ?)", [("accepted", 5000), ("dead", 1)])
    db.execute("INSERT INTO notes VALUES ('credits', ?)", (b'{"a1":1}',))
    db.execute("COMMIT")
    db.close()


def check_taken_over(spool, packets=1200):
    assert seqs(spool) == list(range(1, packets + 1))
    assert rows(spool)[1:3] == [(2, "p2", 1, 11, None, 0, 0), (3, "p3", 1, 11, "a1", 2, 99)]
    assert spool.bodies([1]) == {1: b'{"id":"p1"}'}
    assert spool.failed() == [(77, packets + 50)]
    ((_, letter),) = spool.letters_as_packets([packets + 50])
    assert (letter.id, letter.messages, letter.group) == ("dead", 2, "default")
    assert set(spool.client_ids(0, 10)) == {("p9", 1000), ("p1", 2000), ("p5", 2000)}
    assert spool.counters() == Counter(accepted=5000, dead=1)
    assert spool.note("credits") == {"a1": 1}


def test_spool_of_an_earlier_version_is_taken_over_once(tmp_path):
    make_old_spool(tmp_path)
    for _ in range(2):
        with Spool(tmp_path) as spool:
            check_taken_over(spool)
            assert spool.recovery.last_seq == 1250
    assert (tmp_path / "spool.sqlite3.imported").exists()
    assert not (tmp_path / "spool.sqlite3").exists()


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_taking_over_goes_on_where_a_kill_ended_it(tmp_path, monkeypatch, after):
    make_old_spool(tmp_path)
    from penstock.services.distributor.journal.log import Journal

    append, left = Journal.append, [after]

    def kills(journal, records):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        append(journal, records)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", kills)
        if after < 4:
            with pytest.raises(KeyboardInterrupt):
                Spool(tmp_path)
        else:
            Spool(tmp_path).close()
            (tmp_path / "spool.sqlite3.imported").rename(tmp_path / "spool.sqlite3")
    with Spool(tmp_path) as spool:
        check_taken_over(spool)


def test_database_of_something_else_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "spool.sqlite3") as db:
        db.execute("CREATE TABLE packets (colour TEXT)")
    db.close()
    with pytest.raises(
        SpoolError, match=r"spool\.sqlite3 is no spool of an earlier version; move the files away"
    ):
        Spool(tmp_path)


def test_empty_files_are_taken_for_none(tmp_path):
    (tmp_path / "spool.sqlite3").touch()
    (tmp_path / "dead_letters.sqlite3").touch()
    (tmp_path / "lock").touch()
    with Spool(tmp_path) as spool:
        assert pending(spool) == []
