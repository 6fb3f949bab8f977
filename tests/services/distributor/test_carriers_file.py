"""Analyzers that are a file or standard output: whole lines or nothing, and nobody is held up."""

import asyncio
import errno
import fcntl
import os
import stat
from contextlib import contextmanager
from itertools import pairwise
from threading import Event

import msgspec
import pytest

from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.carriers import Carriers, packet_line
from penstock.services.distributor.carriers import file as file_module
from penstock.services.distributor.carriers.file import AppendedFile
from penstock.services.distributor.carriers.stdout import StdoutCarrier
from penstock.services.distributor.config import AnalyzerConfig, Config
from services.distributor.analyzer_servers import packets


def lines(batch):
    return b"".join(map(packet_line, batch))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "packets.ndjson"


@pytest.fixture
def analyzer(path):
    return AnalyzerConfig("a1", f"file://{path}")


# Files


async def test_file_gets_a_line_a_packet_after_what_it_has(analyzer, path):
    async with Carriers(Config()) as client:
        assert await client.deliver(analyzer, packets(3)) == {}
        assert await client.deliver(analyzer, packets(2)) == {}
    assert path.read_bytes() == lines(packets(3)) + lines(packets(2))
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, "not for everybody"


async def test_deliveries_at_a_time_do_not_mix_their_lines(analyzer, path):
    async with Carriers(Config()) as client:
        await asyncio.gather(*[client.deliver(analyzer, packets(n, size=50_000)) for n in range(1, 9)])
    found = [msgspec.json.decode(line)["id"] for line in path.read_bytes().splitlines()]
    assert len(found) == sum(range(1, 9))
    assert found == [f"p{i}" for n in runs(found) for i in range(n)]


def runs(ids):
    starts = [index for index, id_ in enumerate(ids) if id_ == "p0"] + [len(ids)]
    return [after - before for before, after in pairwise(starts)]


@pytest.mark.parametrize("remove", [lambda path: path.rename(f"{path}.1"), lambda path: path.unlink()])
async def test_file_that_was_rotated_away_is_made_anew(analyzer, path, remove):
    async with Carriers(Config()) as client:
        await client.deliver(analyzer, packets(1))
        remove(path)
        await client.deliver(analyzer, packets(2))
    assert path.read_bytes() == lines(packets(2))


async def test_forgotten_file_is_closed_and_opened_when_it_is_wanted_again(analyzer, path):
    async with Carriers(Config()) as client:
        await client.deliver(analyzer, packets(1))
        await client.forget(analyzer)
        assert str(path) not in open_files()
        await client.forget(analyzer)
        await client.deliver(analyzer, packets(1))
        assert str(path) in open_files()
    assert str(path) not in open_files()


def open_files():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:
            continue
    return names


async def test_line_that_a_crash_left_half_does_not_spoil_the_next(analyzer, path):
    path.write_bytes(b'{"messages":[{"mess')
    async with Carriers(Config()) as client:
        await client.deliver(analyzer, packets(1))
    assert path.read_bytes() == b'{"messages":[{"mess\n' + lines(packets(1))


@pytest.mark.parametrize("durability", ["fsync", "os", "memory"])
async def test_delivery_is_on_the_disk_when_durability_says_so(analyzer, monkeypatch, durability):
    synced = []
    monkeypatch.setattr(file_module, "to_disk", synced.append)
    async with Carriers(Config(durability=durability)) as client:
        await client.deliver(analyzer, packets(1))
        await client.deliver(analyzer, packets(1))
    assert len(synced) == (2 if durability == "fsync" else 0)


class FullDisk:
    """`os.write` that has room for so many bytes."""

    def __init__(self, room):
        self.room = room
        self.write = os.write

    def __call__(self, fd, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = bytes(data)[: self.room]
        self.room -= len(data)
        return self.write(fd, data)


@pytest.mark.parametrize("room", [0, 1, 30, len(lines(packets(3))) - 1])
async def test_full_disk_fails_the_delivery_and_leaves_no_half_line(analyzer, path, monkeypatch, room):
    async with Carriers(Config()) as client:
        await client.deliver(analyzer, packets(1))
        monkeypatch.setattr(os, "write", FullDisk(room))
        with pytest.raises(DeliveryFailed, match=f"{path}: no space left on device"):
            await client.deliver(analyzer, packets(3))
        assert path.read_bytes() == lines(packets(1))
        monkeypatch.undo()
        await client.deliver(analyzer, packets(3))
    assert path.read_bytes() == lines(packets(1)) + lines(packets(3))


def test_what_others_appended_meanwhile_is_not_cut_off(path, monkeypatch):
    class SomebodyElseWrites(FullDisk):
        def __call__(self, fd, data):
            if not self.room:
                with path.open("ab") as other:
                    other.write(b"theirs\n")
            return super().__call__(fd, data)

    file = AppendedFile(str(path), durable=False)
    monkeypatch.setattr(os, "write", SomebodyElseWrites(5))
    with pytest.raises(OSError, match="No space"):
        file.append(b"0123456789\n")
    assert path.read_bytes() == b"01234theirs\n"


async def test_failing_disk_fails_the_delivery_which_is_taken_back(analyzer, path, monkeypatch):
    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with Carriers(Config()) as client:
        await client.deliver(analyzer, packets(1))
        monkeypatch.setattr(file_module, "to_disk", fail)
        with pytest.raises(DeliveryFailed, match="input/output error"):
            await client.deliver(analyzer, packets(2))
    assert path.read_bytes() == lines(packets(1))


async def test_folder_that_is_not_there_fails_delivery_and_probe_until_it_is(tmp_path):
    analyzer = AnalyzerConfig("a1", f"file://{tmp_path}/later/packets.ndjson")
    async with Carriers(Config()) as client:
        for attempt in (client.probe(analyzer), client.deliver(analyzer, packets(1))):
            with pytest.raises(DeliveryFailed, match="no such file or directory"):
                await attempt
        (tmp_path / "later").mkdir()
        await client.probe(analyzer)
        await client.deliver(analyzer, packets(1))


async def test_pipe_or_folder_in_place_of_the_file_is_refused_at_once(analyzer, path):
    async with Carriers(Config()) as client:
        os.mkfifo(path)
        with pytest.raises(DeliveryFailed, match="neither a file nor a device"):
            await client.deliver(analyzer, packets(1))
        path.unlink()
        path.mkdir()
        with pytest.raises(DeliveryFailed, match="is a directory"):
            await client.deliver(analyzer, packets(1))


async def test_device_is_written_to():
    analyzer = AnalyzerConfig("a1", "file:///dev/null")
    async with Carriers(Config()) as client:
        assert await client.deliver(analyzer, packets(3)) == {}


async def test_disk_that_hangs_fails_the_delivery_in_time_and_holds_up_nobody_else(
    analyzer, path, tmp_path, monkeypatch
):
    goes_on = Event()
    real = file_module.to_disk
    other = AnalyzerConfig("a2", f"file://{tmp_path}/other.ndjson")
    hanging = msgspec.structs.replace(analyzer, timeout=0.05)
    async with Carriers(Config()) as client:
        await client.deliver(other, packets(1))

        def hang(fd):
            if os.readlink(f"/proc/self/fd/{fd}") == analyzer.path:
                goes_on.wait(30)
            real(fd)

        monkeypatch.setattr(file_module, "to_disk", hang)
        for _ in range(3):  # the second and third are never begun
            with pytest.raises(DeliveryFailed, match=r"not written within 0\.05 s"):
                await client.deliver(hanging, packets(2))
        await client.deliver(other, packets(1))
        goes_on.set()
    assert path.read_bytes() == lines(packets(2)), "the first was written in the end, the others not"


# Standard output


@contextmanager
def pipe(size=None):
    reader, writer = os.pipe()
    if size:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, size)
    try:
        yield reader, writer
    finally:
        for fd in (reader, writer):
            try:
                os.close(fd)
            except OSError:
                continue


STDOUT = AnalyzerConfig("a1", "stdout:", timeout=0.05)


@contextmanager
def stdout_carrier(fd):
    carrier = StdoutCarrier(Config(), fd)
    try:
        yield carrier
    finally:
        carrier._thread.shutdown()


async def test_standard_output_gets_a_line_a_packet():
    with pipe() as (reader, writer), stdout_carrier(writer) as carrier:
        assert await carrier.deliver(STDOUT, packets(3)) == {}
        assert os.read(reader, 65536) == lines(packets(3))
        await carrier.probe(STDOUT)


async def test_reader_that_is_slow_gets_every_line_once():
    async def read_slowly(reader, expected):
        got = b""
        while len(got) < expected:
            got += await asyncio.to_thread(os.read, reader, 10_000)
        return got

    patient = msgspec.structs.replace(STDOUT, timeout=30)
    batch = packets(200, size=2000)
    with pipe(4096) as (reader, writer), stdout_carrier(writer) as carrier:
        got, failures = await asyncio.gather(
            read_slowly(reader, len(lines(batch))), carrier.deliver(patient, batch)
        )
    assert (got, failures) == (lines(batch), {})


async def test_reader_that_stops_has_what_it_took_and_the_rest_fails():
    batch = packets(100, size=100)
    with pipe(4096) as (reader, writer), stdout_carrier(writer) as carrier:
        failures = await carrier.deliver(STDOUT, batch)
        taken = os.read(reader, 65536)
        whole = taken.count(b"\n")
        assert 0 < whole < 100
        assert set(failures) == {packet.id for packet in batch[whole:]}
        assert next(iter(failures.values())).error == "standard output: not read within 0.05 s"
        assert await carrier.deliver(STDOUT, packets(1)) == {}
        rest = os.read(reader, 65536)
    assert rest == (b"" if taken.endswith(b"\n") else b"\n") + lines(packets(1)), "the half line is ended"


async def test_reader_that_takes_nothing_fails_the_delivery_again_and_again():
    with pipe(4096) as (_reader, writer), stdout_carrier(writer) as carrier:
        os.write(writer, b"x" * 4096)
        for _ in range(3):
            with pytest.raises(DeliveryFailed, match=r"not read within 0\.05 s"):
                await carrier.deliver(STDOUT, packets(3))


async def test_reader_that_is_gone_fails_delivery_and_probe():
    with pipe() as (reader, writer), stdout_carrier(writer) as carrier:
        os.close(reader)
        with pytest.raises(DeliveryFailed, match="standard output: broken pipe"):
            await carrier.deliver(STDOUT, packets(1))
        with pytest.raises(DeliveryFailed, match="nobody reads it"):
            await carrier.probe(STDOUT)


async def test_end_of_the_service_does_not_wait_for_a_reader():
    with pipe(4096) as (_reader, writer):
        carrier = StdoutCarrier(Config(), writer)
        patient = msgspec.structs.replace(STDOUT, timeout=600)
        os.write(writer, b"x" * 4096)
        delivery = asyncio.create_task(carrier.deliver(patient, packets(1)))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await carrier.aclose()
            with pytest.raises((DeliveryFailed, asyncio.CancelledError)):
                await delivery
