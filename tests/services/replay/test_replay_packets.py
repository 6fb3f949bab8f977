"""Messages come together to packets and batches that the distributor takes, in order, none lost."""

import gzip
import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.replay.packets import BATCH_BYTES, PACKET_BYTES, Packer
from penstock.services.replay.parsers import Message
from penstock.services.replay.reading import Reading


def numbered(texts):
    return [(f"app.log:{number}", Message("INFO", text, "app.log")) for number, text in enumerate(texts, 1)]


@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 80))
def test_messages_keep_their_order_and_none_is_lost(messages_per_packet, packets_per_batch, messages):
    batches = list(
        Packer(messages_per_packet, packets_per_batch).batches(numbered(map(str, range(messages))))
    )
    packets = [packet for batch in batches for packet in batch]
    decoded = [json.loads(packet.body) for packet in packets]
    assert [m["message"] for packet in decoded for m in packet["messages"]] == [
        str(n) for n in range(messages)
    ]
    assert [packet["id"] for packet in decoded] == [packet.id for packet in packets]
    assert len({packet.id for packet in packets}) == len(packets)
    assert all(packet.messages == messages_per_packet for packet in packets[:-1])
    assert all(len(batch) == packets_per_batch for batch in batches[:-1])


def test_ids_are_the_runs_and_differ_from_those_of_another_run():
    first, second = (next(Packer().batches(numbered("a")))[0].id for _ in range(2))
    assert first != second
    assert next(Packer(run="night").batches(numbered("a")))[0].id == "night-1"


def test_large_messages_make_smaller_packets_and_batches():
    batches = list(Packer(1000, 1000).batches(numbered(["x" * 9_000] * 2_000)))
    packets = [packet for batch in batches for packet in batch]
    assert sum(packet.messages for packet in packets) == 2_000
    assert all(len(packet.body) < PACKET_BYTES + 100 for packet in packets)
    assert len(packets) < 25
    assert all(sum(len(packet.body) for packet in batch) <= BATCH_BYTES for batch in batches)


def test_packet_names_the_place_of_its_first_line():
    (batch,) = Packer(2).batches(numbered("abc"))
    assert [packet.origin for packet in batch] == ["app.log:1", "app.log:3"]


def test_no_more_is_read_than_the_next_batch_needs():
    taken = count()
    endless = ((f"app.log:{next(taken)}", Message("INFO", "x", "app.log")) for _ in iter(int, 1))
    next(Packer(10, 10).batches(endless))
    assert next(taken) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "messages_per_packet must be >= 1 and <= 1000, got 0"),
        ((1001, 1), "messages_per_packet must be >= 1 and <= 1000, got 1001"),
        ((1, 0), "packets_per_batch must be >= 1 and <= 1000, got 0"),
    ],
)
def test_numbers_that_the_distributor_does_not_take_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        Packer(*arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.fixture
def read(tmp_path):
    """Reads some bytes as a log; gives the reading and its messages."""
    readings = []

    def read(data, name="app.log"):
        path = tmp_path / name
        path.write_bytes(data)
        readings.append(Reading([path]))
        return readings[-1], list(readings[-1].read())

    yield read
    for reading in readings:
        reading.meter.close()


def test_lines_blank_lines_and_messages_are_counted(read):
    reading, messages = read(b"one\n\n  \t\r\n" + b"x" * 25_000 + b"\n\0\0\0last\0\0")
    assert (reading.lines, reading.blank, reading.messages) == (5, 2, 5)
    assert [origin for origin, _ in messages] == ["app.log:1", *["app.log:4"] * 3, "app.log:5"]
    assert messages[-1][1].message == "last"
    assert reading.size == reading.meter.bytes_read


def test_line_longer_than_can_be_read_at_once_is_one_line_and_loses_nothing(read):
    line = b"".join(b"%07d " % number for number in range(300_000))
    reading, messages = read(b"\0" * 2_000_000 + line + b"\n" + b" " * 1_500_000 + b"\nend")
    assert (reading.lines, reading.blank) == (3, 1)
    assert "".join(message.message for _, message in messages[:-1]) == line.decode()


def test_damaged_file_is_told_and_the_others_are_read(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one\n" * 9)[:-9])
    (tmp_path / "b.log").write_bytes(b"two\n")
    reading = Reading([tmp_path / "a.gz", tmp_path / "gone.log", tmp_path / "b.log"])
    messages = [message.message for _, message in reading.read()]
    reading.meter.close()
    assert messages[-1] == "two"
    assert len(reading.damaged) == 2
    assert "a.gz cannot be read to its end" in reading.damaged[0]
    assert "gone.log cannot be read to its end: No such file" in reading.damaged[1]
