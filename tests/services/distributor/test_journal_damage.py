"""Journals that were damaged after they were written: they open, say what is lost, and invent nothing."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from penstock.services.distributor.change import Change, DeadLetter, Retry, Stored
from penstock.services.distributor.journal import entries
from penstock.services.distributor.journal.files import DISK
from penstock.services.distributor.spool import DAMAGED, Spool
from services.distributor.crashing_files import CrashingFiles


def packet(seq, size=200):
    body = (b'{"id":"p%d"}' % seq).ljust(size, b".")
    return Stored(seq, f"p{seq}", 1, len(body), body, analyzer=f"a{seq % 3}")


def written(spool, commits=30, each=4):
    """Commits packets, some of which end; returns those that are live."""
    live = {}
    for number in range(commits):
        new = [packet(number * each + place + 1) for place in range(each)]
        spool.commit(Change(accepted=new, counters=Counter(accepted=each)))
        live |= {one.seq: one for one in new}
        ended = [live.pop(seq) for seq in list(live)[:: each + 1][:3]]
        retried = [live[seq] for seq in list(live)[:1]]
        spool.commit(Change(delivered=ended, retried=[Retry(one, "a7", 5) for one in retried]))
    return live


def found_in(spool):
    """The packets that can be read, and the numbers of those that cannot."""
    extents, whole, damaged = spool._journal.extents, {}, set()
    for number in list(extents.owned):
        backlog = spool.read_backlog(*extents.names[number], 0, 10**6, 10**9)
        whole |= {one.seq: one for one in backlog.packets}
        damaged |= {one.seq for one in backlog.damaged}
    for lying in spool._journal.reader.find(list(extents.retrying)):
        if lying.packet.body is not None:
            whole[lying.packet.seq] = lying.packet
        else:
            damaged.add(lying.packet.seq)
    return whole, damaged


@pytest.fixture
def folder(tmp_path):
    with Spool(tmp_path, "os", segment_bytes=4000, keep_bytes=10**6) as spool:
        written(spool)
    return tmp_path


def segments(folder):
    return sorted((folder / "journal").glob("*.segment"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_any_bits_may_flip(tmp_path_factory, seed, flips):
    folder, files = tmp_path_factory.mktemp("spool"), CrashingFiles(random.Random(seed))
    with Spool(folder, "os", files=files, segment_bytes=4000, keep_bytes=10**6) as spool:
        live = written(spool)
        ever = {seq: packet(seq) for seq in range(1, 121)}
    where = [files.flip_bit() for _ in range(flips)]
    with Spool(folder, "os", files=files, segment_bytes=4000, keep_bytes=10**6) as spool:
        whole, damaged = found_in(spool)
        for seq, one in whole.items():
            assert (one.id, one.body) == (ever[seq].id, ever[seq].body), where
        lost = live.keys() - whole.keys()
        assert len(lost) <= 4 * flips, where
        assert spool.recovery.packets == len(whole) + len(damaged)
        if lost:
            assert damaged or spool.recovery.quarantined or has_torn_end(spool, ever, lost), where
        spool.commit(Change(accepted=[packet(1000)]))
        # what cannot be read becomes dead letters, and nothing stays behind
        unreadable = [Stored(seq, f"p{seq}", 1, 200, None) for seq in sorted(damaged)]
        spool.commit(Change(dead=[DeadLetter(one, DAMAGED, 1) for one in unreadable]))
        spool.commit(Change(delivered=[*whole.values(), packet(1000)]))
        assert spool._journal.extents.packets == 0
    with Spool(folder, "os", files=files) as spool:
        assert spool.recovery.packets == 0
        assert {seq for _, seq in spool.failed()} == damaged


def has_torn_end(spool, ever, lost):
    """Whether what was lost is the last commit, which looks as if a crash had cut it."""
    return lost <= set(list(ever)[-4:])


def test_damaged_packet_costs_itself_only(folder):
    with Spool(folder, "os") as spool:
        seq = min(found_in(spool)[0]) + 27
        assert seq in found_in(spool)[0]
    for path in segments(folder):
        data = path.read_bytes()
        path.write_bytes(data.replace(b'{"id":"p%d"}...' % seq, b'{"id":"p%d"}.:.' % seq))
    with Spool(folder, "os") as spool:
        whole, damaged = found_in(spool)
        assert damaged == {seq}
        assert seq + 3 in whole
        assert spool.bodies([seq]) == {}
        lost = next(one for one in spool._journal.reader.find([seq])).packet
        spool.commit(Change(dead=[DeadLetter(lost, DAMAGED, 9)]))
        ((_, body, _, error, _),) = spool.dead_letters([seq])
        assert error == DAMAGED
        assert b'"id":"p%d"' % seq in body
        assert b"....." in body, "what is left of it can be read there"


def test_entry_damaged_while_it_is_in_use_costs_its_packets_only(tmp_path):
    with Spool(tmp_path, "os") as spool:
        spool.commit(Change(accepted=[packet(1), packet(4)]))
        spool.commit(Change(accepted=[packet(7)]))
        (path,) = segments(tmp_path)
        data = bytearray(path.read_bytes())
        data[data.index(b"packets")] ^= 1
        path.write_bytes(data)
        backlog = spool.read_backlog("default", "a1", 0, 10, 10**6)
        assert [one.seq for one in backlog.packets] == [7]
        assert [(one.seq, one.body) for one in backlog.damaged] == [(1, None), (4, None)]
        spool.commit(Change(dead=[DeadLetter(one, DAMAGED, 9) for one in backlog.damaged]))
        assert spool.recovery.packets == 0
        assert [seq for _, seq in spool.failed()] == [1, 4]


def test_missing_segment_costs_what_was_in_it(folder):
    with Spool(folder, "os") as spool:
        before, _ = found_in(spool)
    segments(folder)[-2].unlink()
    with Spool(folder, "os") as spool:
        after, damaged = found_in(spool)
        assert not damaged
        assert 0 < len(before.keys() - after.keys()) < 20
        spool.commit(Change(accepted=[packet(1000)]))


def test_empty_and_foreign_files_do_not_keep_it_from_opening(folder):
    with Spool(folder, "os") as spool:
        before, _ = found_in(spool)
    journal = folder / "journal"
    (journal / "0000000500.segment").touch()
    (journal / "0000000501.segment").write_bytes(b"garbage" * 1000)
    (journal / "0000000502.ids").write_bytes(b"garbage" * 1000)
    (journal / "notes.txt").write_text("what is this?")
    (journal / "0000000503.new").write_bytes(b"garbage")
    (journal / "0000000600.segment").write_bytes(segments(folder)[0].read_bytes())
    with Spool(folder, "os") as spool:
        after, _ = found_in(spool)
        assert after.keys() == before.keys()
        assert spool.recovery.quarantined == 3
        spool.commit(Change(accepted=[packet(1000)]))
        assert spool._journal.segments[-1].name == "0000000601.segment"
    aside = {path.name for path in (folder / "quarantine").iterdir()}
    assert aside == {"0000000501.segment", "0000000502.ids", "0000000600.segment"}
    with Spool(folder, "os") as spool:
        assert spool.recovery.quarantined == 0


@pytest.mark.parametrize("place", [0, 100, 512, 600])
def test_header_has_a_copy_in_another_sector(folder, place):
    path = segments(folder)[1]
    data = bytearray(path.read_bytes())
    data[place : place + 400] = b"\xff" * 400
    path.write_bytes(data)
    with Spool(folder, "os") as spool:
        assert spool.recovery.quarantined == 0


def test_bytes_that_cannot_be_read_are_copied_into_the_quarantine_once(folder):
    path = segments(folder)[2]
    data = bytearray(path.read_bytes())
    at = data.index(entries.encoded("delivered"))
    data[at : at + 50] = bad = b"\xa7\x1eP\xf5" + b"\xee" * 46
    path.write_bytes(data)
    for count in (1, 0):
        with Spool(folder, "os") as spool:
            assert spool.recovery.quarantined == count
    (copy,) = (folder / "quarantine").iterdir()
    assert bad in copy.read_bytes()


def test_disk_that_cannot_read_a_segment_keeps_it(folder, monkeypatch):
    with Spool(folder, "os") as spool:
        before, _ = found_in(spool)
    bad = segments(folder)[-2]
    opening = type(DISK).open

    def fails(disk, path):
        if Path(path) == bad:
            raise OSError(5, "Input/output error")
        return opening(disk, path)

    with monkeypatch.context() as patch:
        patch.setattr(type(DISK), "open", fails)
        with Spool(folder, "os", keep_bytes=0) as spool:
            meanwhile, _ = found_in(spool)
            assert before.keys() - meanwhile.keys()
            spool.commit(Change(accepted=[packet(1000)]))
    with Spool(folder, "os") as spool:
        again, _ = found_in(spool)
        assert before.keys() < again.keys()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
@example(b"\xa7\x1eP\xf5" * 500)
def test_any_bytes_may_be_a_segment(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("spool")
    (folder / "journal").mkdir()
    (folder / "journal" / "0000000001.segment").write_bytes(data)
    with Spool(folder, "os") as spool:
        assert spool.recovery.packets == 0
        spool.commit(Change(accepted=[packet(1)]))
    with Spool(folder, "os") as spool:
        assert spool.bodies([1]) == {1: packet(1).body}


@pytest.mark.parametrize("number", [4_294_967_295, 9_999_999_999])
def test_file_with_a_number_beyond_all_bounds_does_not_use_up_the_numbers(folder, number):
    (folder / "journal" / f"{number}.segment").write_bytes(segments(folder)[0].read_bytes())
    with Spool(folder, "os", segment_bytes=4000, keep_bytes=10**6) as spool:
        last = spool.recovery.last_seq
        spool.commit(Change(accepted=[packet(last + 1)]))
        assert spool.recovery.quarantined == 1
    with Spool(folder) as spool:
        assert last + 1 in found_in(spool)[0]


def test_pipe_in_the_place_of_a_segment_is_not_waited_for(folder):
    os.mkfifo(folder / "journal" / "0000000999.segment")
    with Spool(folder, "os") as spool:
        assert spool.recovery.packets
