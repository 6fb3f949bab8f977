"""The journal on real files: what it keeps, what it refuses, and what a broken disk may do to it."""

import errno
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.cache import journal as journal_module
from penstock.cache._journal_records import (
    DELETE,
    HEADER_BYTES,
    MARKER,
    RECORD_BYTES,
    SECTOR,
    SET,
    encode_header,
    encode_record,
)
from penstock.cache.journal import Journal, JournalError, JournalUnavailable, Write
from penstock.errors import PenstockError


def write(key, value=b"value"):
    return Write(SET, key, value)


def delete(key):
    return Write(DELETE, key, b"")


def opened(path, **options):
    journal = Journal(path, **options)
    journal.open()
    return journal


def replayed(path, **options):
    """What the next start would see: key -> value, None for a deleted one."""
    with closing(Journal(path, **options)) as journal:
        return as_dict(journal.open())


def as_dict(records):
    return {key: record.value if record.operation == SET else None for key, record in records.items()}


def segments(path):
    return sorted(path.glob("*.journal"))


def written(path, *groups, **options):
    """A journal that a crash left with these groups of writes."""
    with closing(opened(path, **options)) as journal:
        for group in groups:
            journal.commit(group)
    (segment,) = segments(path)
    return segment


def damaged(path, segment, data):
    """A copy of the journal whose segment has other bytes."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path, copy)
    (copy / segment.name).write_bytes(data)
    return copy


# ---- what is kept


def test_replay_has_the_last_write_of_each_key_in_order(tmp_path):
    written(tmp_path / "j", [write(b"a", b"1"), write(b"b", b"2")], [write(b"a", b"3")], [delete(b"c")])
    with closing(Journal(tmp_path / "j")) as journal:
        records = journal.open()
    assert list(records) == [b"b", b"a", b"c"]
    assert as_dict(records) == {b"a": b"3", b"b": b"2", b"c": None}
    assert [record.number for record in records.values()] == [2, 3, 4]


def test_folder_is_made_with_its_parents_and_empty_journal_replays_nothing(tmp_path):
    path = tmp_path / "deep" / "down"
    assert replayed(path) == {}
    assert replayed(path) == {}


def test_folders_that_are_made_are_synced_into_their_parents(tmp_path, monkeypatch):
    synced, real = [], journal_module.sync_folder
    monkeypatch.setattr(journal_module, "sync_folder", lambda folder: (synced.append(folder), real(folder)))
    path = tmp_path / "deep" / "down"
    replayed(path)
    assert synced[:2] == [tmp_path, tmp_path / "deep"]
    assert set(synced[2:]) == {path}


def test_without_file_locks_the_room_is_imported_and_only_a_journal_refused(tmp_path):
    code = f"""
import os, sys

sys.modules["fcntl"] = None
del os.O_CLOEXEC, os.O_DIRECTORY  # as on Windows
from penstock.cache import Cache, Journal, JournalUnavailable

Cache(1)["a"] = 1
try:
    Journal({str(tmp_path / "j")!r}).open()
except JournalUnavailable as error:
    assert str(error).startswith("a journal needs a system with file locks (fcntl): "), error
else:
    raise AssertionError("opened")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_writes_of_several_starts_add_up(tmp_path):
    for number in range(5):
        with closing(Journal(tmp_path)) as journal:
            assert len(journal.open()) == number
            journal.commit([write(b"%d" % number)])
    assert len(segments(tmp_path)) == 5
    assert len(replayed(tmp_path)) == 5


def test_full_segment_is_followed_by_another(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        for number in range(100):
            journal.commit([write(b"%d" % number, bytes(200))])
        sizes = [segment.stat().st_size for segment in segments(tmp_path)]
        assert len(sizes) > 4
        assert max(sizes) < 4096 + 300
        assert journal.size_bytes == sum(sizes)
    assert list(replayed(tmp_path)) == [b"%d" % number for number in range(100)]


def test_segment_goes_once_all_its_records_are_released(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        while len(segments(tmp_path)) < 3:
            last = journal.commit([write(b"key", bytes(500))])
        oldest = segments(tmp_path)[0]
        second_first = journal._segments[1].first
        journal.release(second_first - 1)
        assert oldest.exists()
        journal.release(second_first)
        assert not oldest.exists()
        assert len(segments(tmp_path)) == 2
        journal.release(last.first)
        assert len(segments(tmp_path)) == 1
    assert as_dict(Journal(tmp_path).open()) == {b"key": bytes(500)}


def test_journal_is_emptied_when_everything_is_released(tmp_path):
    with closing(opened(tmp_path)) as journal:
        first = journal.commit([write(b"a"), write(b"b")]).first
        journal.release(first + 1)
        assert journal.size_bytes > HEADER_BYTES
        journal.release(first + 2)
        assert journal.size_bytes == segments(tmp_path)[0].stat().st_size == HEADER_BYTES
        journal.commit([write(b"c")])
    assert replayed(tmp_path) == {b"c": b"value"}


def test_emptied_segment_that_was_filled_again_is_followed_in_order(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        journal.release(journal.commit([write(b"gone")]).first + 1)
        for number in range(20):
            journal.commit([write(b"%d" % number, bytes(500))])
    assert len(replayed(tmp_path)) == 20


# ---- torn tails


def test_torn_tail_is_cut_at_every_byte_of_the_last_record(tmp_path, caplog):
    segment = written(tmp_path / "j", [write(b"a", b"1")], [write(b"b", b"2")], [write(b"a", b"newest")])
    data = segment.read_bytes()
    last = len(data) - RECORD_BYTES - len(b"anewest")
    for end in range(last, len(data)):
        caplog.clear()
        copy = damaged(tmp_path / "j", segment, data[:end])
        assert replayed(copy) == {b"a": b"1", b"b": b"2"}, end
        assert (copy / segment.name).read_bytes() == data[:last]
        if end == last:
            assert not caplog.records
        else:
            assert "never acknowledged" in caplog.text
            assert (copy / f"{segment.name}.torn-{last}").read_bytes() == data[last:end]
        assert replayed(copy) == {b"a": b"1", b"b": b"2"}, "a second start finds all in order"


def test_hole_of_a_power_cut_in_writes_that_were_never_synced_is_cut(tmp_path):
    big = bytes([7]) * (3 * SECTOR)
    segment = written(tmp_path / "j", [write(b"a", b"1")], [write(b"b", big), write(b"c", b"3")])
    data = bytearray(segment.read_bytes())
    hole = HEADER_BYTES // SECTOR * SECTOR + SECTOR
    data[hole : hole + SECTOR] = bytes(SECTOR)
    assert replayed(damaged(tmp_path / "j", segment, data)) == {b"a": b"1"}


def test_hole_in_writes_that_a_later_one_says_were_synced_is_refused(tmp_path):
    big = bytes([7]) * (3 * SECTOR)
    segment = written(tmp_path / "j", [write(b"a", b"1")], [write(b"b", big)], [write(b"c", b"3")])
    data = bytearray(segment.read_bytes())
    data[SECTOR : 2 * SECTOR] = bytes(SECTOR)
    with pytest.raises(JournalError, match="CRC-32"):
        replayed(damaged(tmp_path / "j", segment, data))


# ---- damage


def test_flipped_bit_never_loses_a_record_in_the_middle_in_silence(tmp_path):
    whole = {b"a": b"1", b"b": None, b"c": b"33"}
    segment = written(tmp_path / "j", [write(b"a", b"1")], [delete(b"b")], [write(b"c", b"33")])
    data = segment.read_bytes()
    last = len(data) - RECORD_BYTES - len(b"c33")
    for offset in range(len(data)):
        for bit in (1, 16, 128):
            copy = damaged(
                tmp_path / "j", segment, data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :]
            )
            if offset < last:
                with pytest.raises(JournalError):
                    replayed(copy)
                assert [path.name for path in segments(copy)] == [segment.name], "nothing is changed"
            else:
                assert replayed(copy) == {key: whole[key] for key in (b"a", b"b")}, offset


def test_flipped_bit_in_the_middle_of_one_group_is_refused(tmp_path):
    segment = written(tmp_path / "j", [write(b"a", b"1"), write(b"b", b"2"), write(b"c", b"3")])
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + RECORD_BYTES + 4] ^= 1
    with pytest.raises(JournalError):
        replayed(damaged(tmp_path / "j", segment, data))


def test_record_that_vanished_from_the_middle_is_refused(tmp_path):
    segment = written(tmp_path / "j", [write(b"a", b"1")], [write(b"b", b"2")], [write(b"c", b"3")])
    data = segment.read_bytes()
    size = RECORD_BYTES + 2
    copy = damaged(tmp_path / "j", segment, data[: HEADER_BYTES + size] + data[HEADER_BYTES + 2 * size :])
    with pytest.raises(JournalError, match="must have number 2, got 3"):
        replayed(copy)


def test_segment_that_vanished_from_the_middle_is_refused(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        while len(segments(tmp_path)) < 3:
            journal.commit([write(b"key", bytes(500))])
    segments(tmp_path)[1].unlink()
    with pytest.raises(JournalError, match="the first record must have number"):
        replayed(tmp_path)


def test_torn_segment_that_is_not_the_last_one_is_refused(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        while len(segments(tmp_path)) < 2:
            journal.commit([write(b"key", bytes(500))])
    first = segments(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(JournalError, match="must be whole"):
        replayed(tmp_path)


def test_error_tells_file_offset_rule_and_way_out(tmp_path):
    segment = written(tmp_path, [write(b"a")], [write(b"b")])
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalError) as raised:
        replayed(tmp_path)
    message = str(raised.value)
    assert message.startswith(f"{segment}, offset {HEADER_BYTES}: a record must begin with")
    assert f"Journal.salvage({str(tmp_path)!r})" in message
    assert isinstance(raised.value, PenstockError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "must have a header of 28 bytes, got 0"),
        (b"short", "must have a header of 28 bytes, got 5"),
        (b"SQLite format 3\0" + bytes(100), "must begin with b'PSTKJRNL', got b'SQLite f'"),
        (b"PSTKJRNL" + struct.pack("<I", 2) + bytes(100), "the version must be 1, got 2"),
        (b"PSTKJRNL" + struct.pack("<I", 1) + bytes(100), "the header must match its CRC-32"),
    ],
    ids=["empty", "short", "foreign", "version", "header"],
)
def test_file_that_is_no_segment_of_this_version_is_refused(tmp_path, data, rule):
    path = tmp_path / "00000001.journal"
    path.write_bytes(data)
    with pytest.raises(JournalError, match=rule):
        replayed(tmp_path)
    assert path.read_bytes() == data


def test_length_beyond_the_bound_is_not_believed(tmp_path):
    with closing(opened(tmp_path / "j")) as journal:
        journal.commit([write(b"a", bytes(200))])
        journal.commit([write(b"b")])
    with pytest.raises(JournalError, match="must have <= 100 bytes, got 201"):
        replayed(tmp_path / "j", max_record_bytes=100)


def test_last_record_beyond_a_bound_that_was_lowered_is_refused_and_not_cut_off(tmp_path):
    segment = written(tmp_path, [write(b"a", bytes(200))])
    data = segment.read_bytes()
    with pytest.raises(JournalError, match="must have <= 100 bytes, got 201"):
        replayed(tmp_path, max_record_bytes=100)
    assert segment.read_bytes() == data
    assert replayed(tmp_path) == {b"a": bytes(200)}


def test_last_record_of_another_version_is_refused_and_not_cut_off(tmp_path):
    segment = written(tmp_path, [write(b"a")], [Write(7, b"b", b"")])
    data = segment.read_bytes()
    with pytest.raises(JournalError, match="must be of this version"):
        replayed(tmp_path)
    assert segment.read_bytes() == data


def test_value_that_looks_like_a_record_is_not_taken_for_one(tmp_path):
    forged = encode_record(0, 9, 8, SET, b"forged", b"value")
    segment = written(tmp_path / "j", [write(b"a", b"1")], [write(b"b", forged + MARKER)])
    copy = damaged(tmp_path / "j", segment, segment.read_bytes()[:-1])
    assert replayed(copy) == {b"a": b"1"}


# ---- the way out


def test_salvage_keeps_every_readable_record(tmp_path):
    segment = written(tmp_path, [write(b"a", b"1")], [write(b"b", b"2")], [write(b"c", b"3")], [delete(b"d")])
    data = bytearray(segment.read_bytes())
    data[HEADER_BYTES + RECORD_BYTES + 2 + 20] ^= 1
    segment.write_bytes(data)
    with pytest.raises(JournalError):
        replayed(tmp_path)
    saved = Journal.salvage(tmp_path)
    assert saved.records == 3
    assert saved.lost_bytes == RECORD_BYTES + 2
    assert [path.read_bytes() for path in saved.set_aside] == [bytes(data)]
    assert replayed(tmp_path) == {b"a": b"1", b"c": b"3", b"d": None}


def test_salvage_keeps_the_order_of_several_segments(tmp_path):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        for number in range(30):
            journal.commit([write(b"key", b"%d" % number + bytes(500))])
    before = replayed(tmp_path)
    count = len(segments(tmp_path))
    assert count > 3
    segments(tmp_path)[1].write_bytes(b"nothing of ours")
    saved = Journal.salvage(tmp_path)
    assert len(saved.set_aside) == count
    assert replayed(tmp_path) == before


def test_salvage_of_what_is_no_journal_is_refused(tmp_path):
    with pytest.raises(JournalUnavailable, match="must be a folder"):
        Journal.salvage(tmp_path / "missing")
    assert Journal.salvage(tmp_path) == (0, 0, [])


# ---- two owners


def test_second_owner_is_refused_until_the_first_has_closed(tmp_path):
    with closing(opened(tmp_path)):
        other = Journal(tmp_path)
        with pytest.raises(JournalUnavailable, match="in use by another cache"):
            other.open()
        with pytest.raises(JournalUnavailable, match="in use by another cache"):
            Journal.salvage(tmp_path)
    other.open()
    with pytest.raises(JournalUnavailable, match="in use by this process"):
        other.open()
    other.close()


def test_refused_journal_can_be_opened_by_others(tmp_path):
    (tmp_path / "00000001.journal").write_bytes(b"foreign")
    with pytest.raises(JournalError):
        Journal(tmp_path).open()
    Journal.salvage(tmp_path)
    assert replayed(tmp_path) == {}


def test_path_of_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable, match="cannot be used"):
        Journal(tmp_path / "file").open()


# ---- a disk that fails


class Disk:
    """Stands between the journal and os: makes calls fail, and counts syncs."""

    def __init__(self, monkeypatch):
        self.room = None  # bytes that still fit
        self.fail = set()
        self.syncs = 0
        self.real = {name: getattr(os, name) for name in ("write", "fsync", "ftruncate")}
        for name in self.real:
            monkeypatch.setattr(journal_module.os, name, getattr(self, name))

    def _check(self, name):
        if name in self.fail:
            raise OSError(errno.EIO, "Input/output error")

    def write(self, fd, data):
        self._check("write")
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = data[: self.room]
            self.room -= len(data)
        return self.real["write"](fd, data)

    def fsync(self, fd):
        self._check("fsync")
        self.syncs += 1
        return self.real["fsync"](fd)

    def ftruncate(self, fd, size):
        self._check("ftruncate")
        return self.real["ftruncate"](fd, size)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.mark.parametrize("room", [0, 1, RECORD_BYTES, RECORD_BYTES + 20])
def test_full_disk_refuses_the_write_and_takes_the_half_of_it_back(tmp_path, disk, room):
    with closing(opened(tmp_path)) as journal:
        journal.commit([write(b"a")])
        disk.room = room
        with pytest.raises(JournalUnavailable, match="No space left") as raised:
            journal.commit([write(b"b"), write(b"c")])
        assert isinstance(raised.value, OSError)
        disk.room = None
        journal.commit([write(b"d")])
    assert replayed(tmp_path) == {b"a": b"value", b"d": b"value"}


def test_after_a_failed_sync_nothing_is_taken_until_all_is_stored(tmp_path, disk):
    with closing(opened(tmp_path)) as journal:
        first = journal.commit([write(b"a")]).first
        disk.fail = {"fsync"}
        with pytest.raises(JournalUnavailable, match="cannot be synced"):
            journal.commit([write(b"b")])
        disk.fail = set()
        with pytest.raises(JournalUnavailable, match="takes no writes until the store has all"):
            journal.commit([write(b"c")])
        journal.release(first)
        with pytest.raises(JournalUnavailable, match="takes no writes until the store has all"):
            journal.commit([write(b"c")])
        old = segments(tmp_path)
        journal.release(first + 1)
        assert not set(old) & set(segments(tmp_path)), "another file: the old one is not trusted"
        journal.commit([write(b"d")])
    assert replayed(tmp_path) == {b"d": b"value"}


def test_crash_after_a_failed_sync_replays_what_was_acknowledged(tmp_path, disk):
    with closing(opened(tmp_path)) as journal:
        journal.commit([write(b"a")])
        disk.fail = {"fsync"}
        with pytest.raises(JournalUnavailable):
            journal.commit([write(b"b")])
    disk.fail = set()
    assert replayed(tmp_path) == {b"a": b"value"}


def test_write_that_cannot_be_taken_back_closes_the_journal_for_others(tmp_path, disk):
    with closing(opened(tmp_path)) as journal:
        journal.commit([write(b"a")])
        disk.room, disk.fail = 5, {"ftruncate"}
        with pytest.raises(JournalUnavailable, match="cannot be written"):
            journal.commit([write(b"b")])
        disk.room, disk.fail = None, set()
        with pytest.raises(JournalUnavailable, match="could not be taken back"):
            journal.commit([write(b"c")])
    assert replayed(tmp_path) == {b"a": b"value"}


@pytest.mark.parametrize("failing", [{"fsync"}, {"write"}])
def test_rotation_that_fails_loses_nothing_and_is_tried_again(tmp_path, disk, failing):
    with closing(opened(tmp_path, segment_bytes=4096)) as journal:
        journal.commit([write(b"a", bytes(5000))])
        disk.fail = failing
        for _ in range(2):
            with pytest.raises(JournalUnavailable):
                journal.commit([write(b"b")])
        disk.fail = set()
        journal.commit([write(b"c")])
        assert len(segments(tmp_path)) == 2
    assert replayed(tmp_path) == {b"a": bytes(5000), b"c": b"value"}


def test_mode_always_syncs_every_commit_and_mode_interval_none(tmp_path, disk):
    with closing(opened(tmp_path / "always")) as journal:
        disk.syncs = 0
        journal.commit([write(b"a"), write(b"b")])
        assert (disk.syncs, journal.unsynced) == (1, False)
    with closing(opened(tmp_path / "interval", mode="interval")) as journal:
        disk.syncs = 0
        journal.commit([write(b"a"), write(b"b")])
        assert (disk.syncs, journal.unsynced) == (0, True)
        journal.sync()
        assert (disk.syncs, journal.unsynced) == (1, False)


def test_closed_journal_takes_nothing(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(JournalUnavailable, match="is not open"):
        journal.commit([write(b"a")])


# ---- arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "never"}, "mode must be always or interval, got 'never'"),
        ({"interval": 0}, "interval must be >= 0.001 and <= 3600 seconds, got 0"),
        ({"interval": float("nan")}, "interval must be >= 0.001 and <= 3600 seconds, got nan"),
        ({"interval": timedelta(days=1)}, "interval must be >= 0.001 and <= 3600 seconds, got 86400.0"),
        ({"segment_bytes": 100}, "segment_bytes must be >= 4096 and <= 1073741824 bytes, got 100"),
        ({"max_record_bytes": 0}, "max_record_bytes must be >= 1 and <= 1073741824 bytes, got 0"),
    ],
)
def test_setting_out_of_range_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        Journal(tmp_path, **options)
    assert isinstance(raised.value, PenstockError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": 1}, "path must be a str or path, got int"),
        ({"interval": "1"}, "interval must be seconds or a timedelta, got str"),
        ({"segment_bytes": 1e6}, "segment_bytes must be an integer, got float"),
        ({"codec": "json"}, "codec must have encode and decode, got str"),
    ],
)
def test_setting_of_another_kind_is_refused(tmp_path, options, message):
    with pytest.raises(TypeError, match=message):
        Journal(**{"path": tmp_path, **options})


# ---- against a model


class JournalMachine(RuleBasedStateMachine):
    """A journal that is written, released, torn and opened again, against a list of its records."""

    KEYS = st.sampled_from([b"a", b"b", b"c", b""])

    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed):
        self.dice = random.Random(seed)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.journal = opened(self.path, segment_bytes=4096)
        self.records = []  # (number, key, value), every one that is not released
        self.last = 0

    @rule(writes=st.lists(st.tuples(KEYS, st.none() | st.integers(0, 3000)), min_size=1, max_size=4))
    def commit(self, writes):
        group = [delete(key) if size is None else write(key, bytes(size)) for key, size in writes]
        first = self.journal.commit(group).first
        for number, (key, size) in enumerate(writes, first):
            self.records.append((number, key, None if size is None else bytes(size)))
        self.last = first + len(group) - 1

    @rule(share=st.floats(0, 1))
    def release(self, share):
        """Of each key only the last record counts; the store has the older part of those."""
        latest = sorted({key: number for number, key, _ in self.records}.values())
        kept = latest[round(share * len(latest)) :]
        number = kept[0] if kept else self.last + 1
        self.journal.release(number)
        self.records = [record for record in self.records if record[0] >= number]

    @rule(torn=st.binary(max_size=80))
    def crash(self, torn):
        active = self.journal._segments[-1].path
        self.journal.close()
        with active.open("ab") as file:
            file.write(torn)
        self.reopen()

    @precondition(lambda self: self.records)
    @rule()
    def flip(self):
        """Damage to a copy of any segment but the last record is noticed."""
        self.journal.close()
        path = self.dice.choice(segments(self.path))
        data = path.read_bytes()
        if path != segments(self.path)[-1] and len(data) > HEADER_BYTES:
            offset = self.dice.randrange(len(data))
            path.write_bytes(data[:offset] + bytes([data[offset] ^ 4]) + data[offset + 1 :])
            with pytest.raises(JournalError):
                Journal(self.path).open()
            path.write_bytes(data)
        self.reopen()

    def reopen(self):
        self.journal = Journal(self.path, segment_bytes=4096)
        found = self.journal.open()
        expected = {key: (number, value) for number, key, value in self.records}
        for key, (number, value) in expected.items():
            assert (found[key].number, as_dict(found)[key]) == (number, value)
        assert all(found[key].number <= self.last for key in found)
        self.last = self.journal._next - 1

    @invariant()
    def size_is_that_of_the_files(self):
        if hasattr(self, "journal"):
            assert self.journal.size_bytes == sum(path.stat().st_size for path in segments(self.path))

    def teardown(self):
        if hasattr(self, "journal"):
            self.journal.close()
            self.folder.cleanup()


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(
    max_examples=30, stateful_step_count=25
)  # each step waits for the disk


def test_header_and_record_have_the_sizes_that_are_documented():
    assert len(encode_header(1, 2)) == HEADER_BYTES == 28
    assert len(encode_record(1, 2, 1, SET, b"k", b"v")) == RECORD_BYTES + 2 == 35
