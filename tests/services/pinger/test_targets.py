"""How URLs are read: one by one, in bounded memory, from files and pipes."""

import os

import pytest

from penstock.services.http_url import MAX_URL
from penstock.services.pinger.model import Target
from penstock.services.pinger.targets import count_targets, read_targets

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
