"""The outbox: packets stay until they were taken, in order, over kills, torn writes and flipped bits."""

import errno
import os
import random
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.services.distributor.client.errand import Packed
from penstock.services.distributor.client.outbox import (
    FileOutbox,
    InUse,
    MemoryOutbox,
    abandoned_outboxes,
    new_drawer,
)

ROOM = 1 << 20


def packets(*numbers, size=20):
    return [Packed(f"p{n}", n, b'{"id":"p%d"}' % n + b" " * size) for n in numbers]


def left(outbox):
    return [packet.id for packet in outbox.oldest(10_000, 1 << 30)]


def killed(outbox):
    """What a kill leaves: the files, without the lock."""
    outbox.forget()


@pytest.fixture(params=["memory", "file"])
def outbox(request, tmp_path):
    made = MemoryOutbox(ROOM) if request.param == "memory" else FileOutbox(tmp_path / "a", ROOM)
    yield made
    made.close()


def test_packets_come_out_in_order_and_stay_until_they_are_removed(outbox):
    assert outbox.add(packets(1, 2, 3)) == 3
    assert outbox.oldest(2, ROOM) == packets(1, 2)
    assert outbox.oldest(2, ROOM) == packets(1, 2)
    outbox.remove(1)
    outbox.add(packets(4))
    assert left(outbox) == ["p2", "p3", "p4"]
    outbox.remove(3)
    assert left(outbox) == []
    outbox.add(packets(5))
    assert left(outbox) == ["p5"]


def test_batch_is_closed_when_it_reaches_the_size(outbox):
    outbox.add(packets(1, 2, 3, size=100))
    assert len(outbox.oldest(10, 1)) == 1
    assert len(outbox.oldest(10, 150)) == 2


def test_what_there_is_no_room_for_is_not_taken_and_room_comes_back(tmp_path):
    for number, outbox in enumerate([MemoryOutbox(1000), FileOutbox(tmp_path / "a", 1000, file_bytes=300)]):
        taken = outbox.add(packets(*range(1, 20), size=100))
        assert 5 <= taken < 10, number
        assert outbox.add(packets(99, size=100)) == 0
        outbox.oldest(taken, ROOM)
        outbox.remove(taken)
        assert left(outbox) == []
        assert outbox.add(packets(99, size=100)) == 1
        assert left(outbox) == ["p99"]
        outbox.close()


def test_room_is_shared_with_other_drawers_as_far_as_theirs_waits(tmp_path):
    _, mine = new_drawer(tmp_path, 1000)
    _, other = new_drawer(tmp_path, 1000)
    taken = other.add(packets(*range(20), size=100))
    mine.add(packets(0, size=100))
    assert mine.add(packets(1, size=100)) == 0
    other.oldest(20, ROOM)
    other.remove(taken)
    assert mine.add(packets(1, size=100)) == 1
    for outbox in (mine, other):
        outbox.close()


def test_packet_larger_than_all_room_is_taken_when_nothing_waits(tmp_path):
    for outbox in (MemoryOutbox(10), FileOutbox(tmp_path / "b", 10)):
        for _ in range(2):
            assert outbox.add(packets(1, 2, size=100)) == 1
            assert outbox.oldest(2, ROOM) == packets(1, size=100)
            outbox.remove(1)
            assert outbox.oldest(2, ROOM) == []
        outbox.close()


def test_files_go_although_the_disk_has_no_room_to_note_it(tmp_path, monkeypatch):
    outbox = FileOutbox(tmp_path / "a", ROOM, file_bytes=100)
    for n in range(5):
        outbox.add(packets(n, size=100))
    monkeypatch.setattr(os, "pwrite", full)
    outbox.oldest(4, ROOM)
    outbox.remove(4)
    assert sorted(path.name for path in tmp_path.rglob("*.packets")) == [
        "00000004.packets",
        "00000005.packets",
    ]
    assert left(outbox) == ["p4"]
    outbox.close()


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_file_grows_to_its_size_and_goes_when_all_in_it_were_taken(tmp_path):
    outbox = FileOutbox(tmp_path / "a", ROOM, file_bytes=500)
    for n in range(1, 30):
        outbox.add(packets(n, size=50))
    files = lambda: sorted(path.name for path in (tmp_path / "a").glob("*.packets"))  # noqa: E731
    assert len(files()) > 4
    assert left(outbox) == [f"p{n}" for n in range(1, 30)]
    outbox.oldest(20, ROOM)
    outbox.remove(20)
    assert len(files()) < 4
    assert left(outbox) == [f"p{n}" for n in range(21, 30)]
    outbox.close()


def test_killed_process_leaves_its_packets_to_the_next_that_looks(tmp_path):
    _, first = new_drawer(tmp_path, ROOM)
    first.add(packets(1, 2, 3))
    first.oldest(1, ROOM)
    first.remove(1)
    name, own = new_drawer(tmp_path, ROOM)
    assert list(abandoned_outboxes(tmp_path, but=name)) == [], "it lives"
    killed(first)
    (found,) = abandoned_outboxes(tmp_path, but=name)
    assert list(abandoned_outboxes(tmp_path, but=name)) == [], "it has been found already"
    assert found.oldest(10, ROOM) == packets(2, 3)
    assert found.add(packets(4)) == 0, "nothing new comes to it"
    found.remove(2)
    found.close()
    own.close()
    assert list(tmp_path.iterdir()) == [], "empty drawers go"


def test_drawer_with_packets_stays_when_it_is_closed(tmp_path):
    _, outbox = new_drawer(tmp_path, ROOM)
    outbox.add(packets(1))
    outbox.close()
    outbox.close()
    (again,) = abandoned_outboxes(tmp_path)
    assert left(again) == ["p1"]
    again.close()


def test_drawer_is_used_by_one_process_at_a_time(tmp_path):
    first = FileOutbox(tmp_path / "a", ROOM)
    with pytest.raises(InUse, match="is in use by another process"):
        FileOutbox(tmp_path / "a", ROOM)
    first.close()


def test_drawer_that_is_opened_again_goes_on_behind_what_is_there(tmp_path):
    first = FileOutbox(tmp_path / "a", ROOM)
    first.add(packets(1))
    killed(first)
    second = FileOutbox(tmp_path / "a", ROOM)
    second.add(packets(2))
    assert left(second) == ["p1", "p2"]
    second.close()


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 20, b"\xff" * 40])
def test_note_of_what_was_taken_that_is_damaged_only_means_sending_again(tmp_path, content):
    outbox = FileOutbox(tmp_path / "a", ROOM)
    outbox.add(packets(1, 2))
    outbox.oldest(1, ROOM)
    outbox.remove(1)
    killed(outbox)
    (tmp_path / "a" / "sent").write_bytes(content)
    again = FileOutbox(tmp_path / "a", ROOM)
    assert left(again) == ["p1", "p2"]
    again.close()


def test_torn_write_costs_only_the_packet_that_was_being_written(tmp_path):
    whole = FileOutbox(tmp_path / "a", ROOM)
    whole.add(packets(1, 2, 3))
    killed(whole)
    file = tmp_path / "a" / "00000001.packets"
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        outbox = FileOutbox(tmp_path / "a", ROOM)
        found = left(outbox)
        assert found == [f"p{n}" for n in range(1, len(found) + 1)]
        assert len(found) == max(length - 18, 0) // ((len(data) - 18) // 3)
        outbox.add(packets(9))
        assert left(outbox) == [*found, "p9"]
        killed(outbox)
        (tmp_path / "a" / "00000002.packets").unlink()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 30), st.integers(1, 8))
def test_flipped_bits_never_make_a_packet_and_others_are_still_there(tmp_path, seed, bits):
    chance = random.Random(seed)
    folder = Path(mkdtemp(dir=tmp_path))
    outbox = FileOutbox(folder, ROOM)
    written = packets(*range(1, 9))
    outbox.add(written)
    killed(outbox)
    file = folder / "00000001.packets"
    data = bytearray(file.read_bytes())
    for _ in range(bits):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    again = FileOutbox(folder, ROOM)
    found = again.oldest(100, ROOM)
    assert [packet for packet in written if packet in found] == found
    again.remove(len(found))
    again.close()


def test_damaged_packet_is_passed_over_and_its_file_kept_to_look_at(tmp_path):
    outbox = FileOutbox(tmp_path / "a", ROOM)
    outbox.add(packets(1, 2, 3))
    killed(outbox)
    file = tmp_path / "a" / "00000001.packets"
    file.write_bytes(file.read_bytes().replace(b'"p2"', b'"pX"'))
    again = FileOutbox(tmp_path / "a", ROOM)
    assert left(again) == ["p1", "p3"]
    again.remove(2)
    assert left(again) == []
    again.close()
    assert (tmp_path / "a" / "00000001.damaged").exists()


def test_full_disk_takes_nothing_and_what_was_there_stays(tmp_path, monkeypatch):
    outbox = FileOutbox(tmp_path / "a", ROOM)
    outbox.add(packets(1))
    write = os.write

    def full(file, data):
        if len(data) > 5:
            return write(file, bytes(data[:5]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            outbox.add(packets(2, 3))
        assert left(outbox) == ["p1"]
    monkeypatch.undo()
    outbox.add(packets(2))
    assert left(outbox) == ["p1", "p2"]
    killed(outbox)
    again = FileOutbox(tmp_path / "a", ROOM)
    assert left(again) == ["p1", "p2"]
    again.close()


def test_synced_outbox_syncs_before_it_says_that_it_took_something(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    outbox = FileOutbox(tmp_path / "a", ROOM, fsync=True)
    outbox.add(packets(1))
    assert len(synced) == 1
    outbox.close()


def test_only_the_owner_can_read_the_packets(tmp_path):
    _, outbox = new_drawer(tmp_path, ROOM)
    outbox.add(packets(1))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
    outbox.close()


def test_drawer_whose_files_are_all_gone_goes_on_with_the_next_number(tmp_path):
    outbox = FileOutbox(tmp_path / "a", ROOM)
    outbox.add(packets(0, 1))
    outbox.oldest(2, ROOM)
    outbox.remove(2)
    for _ in range(2):
        killed(outbox)
        outbox = FileOutbox(tmp_path / "a", ROOM)
        assert left(outbox) == []
    outbox.add(packets(2))
    assert left(outbox) == ["p2"]
    outbox.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["add", "take", "kill", "close"]), max_size=30), st.integers(1, 400), st.data()
)
def test_outbox_is_a_queue_that_outlives_kills(tmp_path, steps, file_bytes, data):
    folder = Path(mkdtemp(dir=tmp_path))
    open_ = lambda: FileOutbox(folder, ROOM, file_bytes=file_bytes)  # noqa: E731
    outbox, model, number = open_(), [], 0
    for step in steps:
        if step == "add":
            new = packets(*range(number, number := number + data.draw(st.integers(0, 5))))
            assert outbox.add(new) == len(new)
            model += new
        elif step == "take":
            given_ = outbox.oldest(data.draw(st.integers(1, 6)), ROOM)
            assert given_ == model[: len(given_)]
            assert bool(given_) == bool(model)
            taken = data.draw(st.integers(0, len(given_)))
            outbox.remove(taken)
            model = model[taken:]
        else:
            (killed if step == "kill" else FileOutbox.close)(outbox)
            outbox = open_()
        assert outbox.oldest(1000, ROOM) == model
    outbox.close()
