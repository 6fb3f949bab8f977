"""How lines are read: one by one, in bounded memory, from files and pipes."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.line_reader import Line, LineSplitter, lines_of, read_lines


async def test_silent_pipe_does_not_stop_the_event_loop():
    reading, writing = os.pipe()
    try:
        lines = read_lines(reading, 100)
        first = asyncio.ensure_future(anext(lines))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not first.done()
        os.write(writing, b"http://a/\n")
        assert await first == Line(1, b"http://a/", "http://a/")
        os.close(writing)
        with pytest.raises(StopAsyncIteration):
            await anext(lines)
    finally:
        os.close(reading)


async def test_file_without_end_or_line_does_not_stop_the_event_loop():
    endless = os.open("/dev/zero", os.O_RDONLY)
    first = asyncio.ensure_future(anext(read_lines(endless, 100)))
    for _ in range(10):
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    os.close(endless)


async def test_reader_that_leaves_a_silent_pipe_leaves_nothing_registered():
    reading, writing = os.pipe()
    first = asyncio.ensure_future(anext(read_lines(reading, 100)))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(reading)
    os.close(writing)


@given(st.lists(st.binary(max_size=8), max_size=20))
def test_how_bytes_are_cut_into_chunks_changes_nothing(chunks):
    def lines(pieces):
        lines = LineSplitter(6)
        return [line for piece in [*pieces, b"\n"] for line in lines.lines_in(piece)]

    assert lines(chunks) == lines([b"".join(chunks)])


def test_line_longer_than_the_bound_is_cut_one_byte_behind_it(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 1_000_000 + b"\nafter")
    assert list(lines_of(path, 10)) == [Line(1, b"x" * 11, "x" * 11), Line(2, b"after", "after")]


def test_what_is_no_utf8_is_shown_as_such_and_kept(tmp_path):
    path = tmp_path / "latin-1"
    path.write_bytes(b" caf\xe9 \r\n")
    assert list(lines_of(path, 10)) == [Line(1, b" caf\xe9 \r", "caf\N{REPLACEMENT CHARACTER}")]


async def test_silent_pipe_is_waited_for_until_then_and_half_a_line_is_none():
    reading, writing = os.pipe()
    try:
        os.write(writing, b"first\nhalf a li")
        until = asyncio.get_running_loop().time() + 0.05
        assert [line.text async for line in read_lines(reading, 100, until=until)] == ["first"]
    finally:
        os.close(reading)
        os.close(writing)


async def test_file_without_an_end_is_read_until_then():
    endless = os.open("/dev/zero", os.O_RDONLY)
    try:
        until = asyncio.get_running_loop().time() + 0.05
        assert [line async for line in read_lines(endless, 100, until=until)] == []
    finally:
        os.close(endless)
