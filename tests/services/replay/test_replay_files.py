"""Every kind of file comes out as lines, streamed, and damage is told by name."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.replay import files
from penstock.services.replay.files import MAX_LINE, Meter, UnreadableFile, find_files, read_pieces

TEXT = "first\nsecond\r\n\nlast, without an end"
LINES = ["first\n", "second\r\n", "\n", "last, without an end"]
PACKERS = {".log": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}


@pytest.fixture
def meter():
    meter = Meter()
    yield meter
    meter.close()


def lines_of(path, meter):
    return [piece.text for piece in read_pieces(path, meter)]


def tar(members):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return raw.getvalue()


@pytest.mark.parametrize("suffix", PACKERS)
def test_lines_are_the_same_however_the_file_is_packed(tmp_path, meter, suffix):
    path = tmp_path / f"app{suffix}"
    path.write_bytes(PACKERS[suffix](TEXT.encode()))
    assert lines_of(path, meter) == LINES
    assert meter.bytes_read == path.stat().st_size


def test_packing_is_told_by_content_and_not_by_name(tmp_path, meter):
    path = tmp_path / "app.log"
    path.write_bytes(gzip.compress(lzma.compress(TEXT.encode())))
    assert lines_of(path, meter) == LINES


@pytest.mark.parametrize("pack", PACKERS.values())
def test_every_member_of_an_archive_is_a_log_of_its_own(tmp_path, meter, pack):
    path = tmp_path / "old.tar"
    path.write_bytes(pack(tar({"a.log": b"one\ntwo", "b/c.gz": gzip.compress(b"three"), "empty": b""})))
    assert [piece[:3] for piece in read_pieces(path, meter)] == [
        ("old.tar/a.log", 1, "one\n"),
        ("old.tar/a.log", 2, "two"),
        ("old.tar/b/c.gz", 1, "three"),
    ]


def test_members_of_one_name_keep_their_own_lines(tmp_path, meter):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for content in (b"one", b"two"):
            info = tarfile.TarInfo("same.log")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    path = tmp_path / "old.tar"
    path.write_bytes(raw.getvalue())
    assert [(piece.number, piece.starts_line) for piece in read_pieces(path, meter)] == [(1, True), (1, True)]


@pytest.mark.parametrize("joined", [gzip.compress, lzma.compress, bz2.compress])
def test_several_streams_in_one_file_are_read_one_after_the_other(tmp_path, meter, joined):
    path = tmp_path / "app.log"
    path.write_bytes(joined(b"one\n") + joined(b"") + joined(b"two\n"))
    assert lines_of(path, meter) == ["one\n", "two\n"]


def test_padding_between_xz_streams_is_no_damage(tmp_path, meter):
    path = tmp_path / "app.xz"
    path.write_bytes(lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two\n") + bytes(4))
    assert lines_of(path, meter) == ["one\n", "two\n"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_byte_order_mark_chooses_the_encoding(tmp_path, meter, encoding):
    path = tmp_path / "app.log"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(mark + "größer\nzweite\n".encode(encoding))
    assert lines_of(path, meter) == ["größer\n", "zweite\n"]


def test_bytes_that_are_no_text_are_replaced_and_nothing_else(tmp_path, meter):
    path = tmp_path / "app.log"
    path.write_bytes(b"caf\xe9 \xff\xfe ok\nnext\n")
    assert lines_of(path, meter) == ["caf� �� ok\n", "next\n"]


@given(st.binary(max_size=400))
def test_no_bytes_are_too_strange_to_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "any.log"
    path.write_bytes(data)
    meter = Meter()
    try:
        text = "".join(lines_of(path, meter))
    except UnreadableFile as error:
        assert str(path.name) in str(error)  # noqa: PT017  (some bytes happen to look like a packed file)
    else:
        if not data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
            assert text == data.decode(errors="replace")
    finally:
        meter.close()


def test_line_longer_than_memory_should_hold_comes_in_pieces_that_lose_nothing(tmp_path, meter, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE", 1000)
    line = "äbc" * 1500
    path = tmp_path / "app.log"
    path.write_text(line + "\nnext\n", encoding="utf-8")
    pieces = list(read_pieces(path, meter))
    assert "".join(piece.text for piece in pieces) == line + "\nnext\n"
    assert max(len(piece.text) for piece in pieces) == 1000
    assert [piece.number for piece in pieces] == [1, 1, 1, 1, 1, 2]
    assert [piece.starts_line for piece in pieces] == [True, False, False, False, False, True]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_decompression_bomb_takes_little_memory(tmp_path, meter, pack):
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes(64 << 20)))
    tracemalloc.start()
    try:
        total = sum(len(piece.text) for piece in read_pieces(path, meter))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 64 << 20
    assert peak < 24 * MAX_LINE


def test_file_packed_too_many_times_is_refused(tmp_path, meter):
    data = b"text"
    for _ in range(5):
        data = gzip.compress(data)
    path = tmp_path / "app.gz"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"app\.gz is packed more than 4 times over; unpack it first"):
        lines_of(path, meter)


def test_xz_that_asks_for_too_much_memory_is_refused(tmp_path, meter, monkeypatch):
    monkeypatch.setattr(files, "XZ_MEMORY", 1 << 20)
    path = tmp_path / "app.xz"
    path.write_bytes(lzma.compress(b"text\n", preset=6))
    with pytest.raises(UnreadableFile, match=r"app\.xz cannot be read to its end: Memory usage limit"):
        lines_of(path, meter)


def test_tar_of_headers_that_each_name_the_next_is_refused(tmp_path, meter):
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    path = tmp_path / "chain.tar"
    path.write_bytes((header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")) * 2_000)
    with pytest.raises(
        UnreadableFile, match=r"chain\.tar cannot be read to its end: maximum recursion depth"
    ):
        lines_of(path, meter)


def test_tar_header_that_claims_gigabytes_is_refused(tmp_path, meter):
    info = tarfile.TarInfo("long")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 2 << 30
    path = tmp_path / "old.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(UnreadableFile, match="a tar header must have <= 1048576 bytes, got 2147483648"):
        lines_of(path, meter)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_truncated_file_gives_what_is_there_and_then_the_error(tmp_path, meter, pack):
    whole = b"".join(b"line %d %s\n" % (i, os.urandom(20).hex().encode()) for i in range(50_000))
    path = tmp_path / "cut.log"
    packed = pack(whole)
    path.write_bytes(packed[: len(packed) * 2 // 3])
    got = []
    with pytest.raises(UnreadableFile, match=r"cut\.log cannot be read to its end") as refused:
        got.extend(piece.text for piece in read_pieces(path, meter))
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, OSError)
    assert len(got) > 1000
    assert whole.startswith("".join(got).encode())


def test_format_that_is_not_understood_is_named(tmp_path, meter):
    path = tmp_path / "app.zip"
    path.write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(
        UnreadableFile, match=r"app\.zip is a zip file, which is not understood; unpack it first"
    ):
        lines_of(path, meter)


def test_stop_ends_the_wait_at_a_silent_pipe(tmp_path, meter):
    receiver, sender = os.pipe()
    os.write(sender, b"said\n")
    got = []
    path = Path(f"/dev/fd/{receiver}")
    reader = threading.Thread(target=lambda: got.extend(lines_of(path, meter)))
    reader.start()
    meter.stop()
    reader.join(timeout=10)
    assert not reader.is_alive()
    assert got in ([], ["said\n"])
    os.close(receiver)
    os.close(sender)


def test_directory_gives_what_looks_like_a_log_at_every_level(tmp_path):
    logs = ["access_log", "apache_logs.gz", "app.log.3", "catalina.out", "deep/er/e.jsonl.xz", "logfile_x.0",
            "messages", "notes.txt", "old.tar.xz", "syslog.1"]  # fmt: skip
    others = ["LICENSE", "README.md", "README.txt", "MANIFEST.tsv", "photo.jpg", ".hidden.log", "wtmp",
              "catalog.db", "LICENSES/apache.txt", ".git/x.log", "lastlog"]  # fmt: skip
    for name in logs + others:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")
    assert [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])] == sorted(logs)


def test_file_named_itself_is_taken_whatever_it_is_called(tmp_path):
    path = tmp_path / "README"
    path.write_text("x\n")
    assert find_files([path, Path("-")]) == [path, Path("-")]


def test_what_is_not_there_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(UnreadableFile, match=r"nowhere\.log does not exist; check the name"):
        find_files([tmp_path / "nowhere.log"])


def test_directory_without_logs_is_an_error(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(UnreadableFile, match="has no file that looks like a log"):
        find_files([tmp_path])
