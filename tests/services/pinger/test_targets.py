"""How URLs are read: one by one, in bounded memory, from files and pipes."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.pinger.model import Target
from penstock.services.pinger.targets import (
    MAX_URL,
    InvalidUrl,
    LineSplitter,
    checked_url,
    count_targets,
    read_targets,
)

LIST = b"""\xef\xbb\xbf# the shops
http://a/

   http://b/x#fragment  \r
  # closed: http://c/
http://d/"""

IN_LIST = [Target("http://a/", 2), Target("http://b/x#fragment", 4), Target("http://d/", 6)]


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes(LIST)
    return path


async def read(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return [target async for target in read_targets(fd)]
    finally:
        os.close(fd)


async def test_blank_lines_and_comments_are_skipped_and_lines_keep_their_number(listed):
    assert await read(listed) == IN_LIST


def test_targets_of_a_file_can_be_counted_beforehand(listed):
    assert count_targets(listed) == 3


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n"])
async def test_file_without_urls_has_no_targets(listed, content):
    listed.write_bytes(content)
    assert await read(listed) == []
    assert count_targets(listed) == 0


async def test_endless_line_is_cut_while_it_is_read(listed):
    listed.write_bytes(b"http://" + b"x" * 1_000_000 + b"\nhttp://after/\n")
    long, after = await read(listed)
    assert MAX_URL < len(long.url) <= 4 * MAX_URL + 1
    assert after == Target("http://after/", 2)


async def test_silent_pipe_does_not_stop_the_event_loop():
    reading, writing = os.pipe()
    try:
        targets = read_targets(reading)
        first = asyncio.ensure_future(anext(targets))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not first.done()
        os.write(writing, b"http://a/\n")
        assert await first == Target("http://a/", 1)
        os.close(writing)
        with pytest.raises(StopAsyncIteration):
            await anext(targets)
    finally:
        os.close(reading)


async def test_reader_that_leaves_a_silent_pipe_leaves_nothing_registered():
    reading, writing = os.pipe()
    first = asyncio.ensure_future(anext(read_targets(reading)))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(reading)
    os.close(writing)


@given(st.lists(st.binary(max_size=8), max_size=20))
def test_how_bytes_are_cut_into_chunks_changes_nothing(chunks):
    def targets(pieces):
        lines = LineSplitter()
        return [target for piece in [*pieces, b"\n"] for target in lines.targets_in(piece)]

    assert targets(chunks) == targets([b"".join(chunks)])


@given(st.text(max_size=30))
def test_any_text_is_a_url_with_a_host_or_refused(text):
    try:
        host = checked_url("http://" + text).raw_host
    except InvalidUrl:
        return
    assert host


def test_international_names_are_urls():
    assert checked_url("http://bücher.example/ü").raw_host == "xn--bcher-kva.example"
