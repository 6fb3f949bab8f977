"""Messages in streams: files, buffers, pipes and asyncio, and everything that can be wrong with them."""

import asyncio
import io
import os

import pytest
from google.protobuf import descriptor_pb2, proto

from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.fields import Int32, field
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.streams import (
    iter_delimited,
    iter_delimited_async,
    read_delimited,
    read_delimited_async,
    write_delimited,
    write_delimited_async,
)


class Dribble(io.RawIOBase):
    """A file that reads and writes three bytes at a time."""

    def __init__(self, data=b""):
        self.data = data

    def read(self, size=-1):
        piece, self.data = self.data[: min(size, 3)], self.data[min(size, 3) :]
        return piece

    def write(self, data):
        self.data += bytes(data[:3])
        return min(3, len(data))


class Blocked(io.RawIOBase):
    """A file that does not block, and is not ready."""

    def read(self, size):
        return None

    def write(self, data):
        return None


def stream_of(orders):
    file = io.BytesIO()
    for each in orders:
        write_delimited(file, each)
    return file.getvalue()


def orders(Order):
    return [Order(order_id=1), Order(), Order(item_sku="W" * 300), Order(quantity=2)]


def fed(data):
    """An asyncio reader at whose end the data is."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


def test_written_messages_are_read_one_by_one_until_the_end(Order):
    file = io.BytesIO(stream_of(orders(Order)))
    for wanted in orders(Order):
        assert read_delimited(file, Order) == wanted
    assert read_delimited(file, Order) is None


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO, Dribble])
def test_messages_are_iterated_over_in_buffers_and_files(Order, kind):
    assert list(iter_delimited(kind(stream_of(orders(Order))), Order)) == orders(Order)
    assert list(iter_delimited(kind(b""), Order)) == []


def test_files_that_write_a_part_at_a_time_get_all(Order):
    file = Dribble()
    write_delimited(file, Order(item_sku="WIDGET"))
    assert file.data == stream_of([Order(item_sku="WIDGET")])


def test_pipe_carries_messages(Order):
    reading, writing = os.pipe()
    with open(reading, "rb") as source:
        with open(writing, "wb") as sink:
            for each in orders(Order):
                write_delimited(sink, each)
        assert list(iter_delimited(source, Order)) == orders(Order)


def test_google_reads_what_is_written_and_writes_what_is_read(Message):
    class ReservedRange(Message):
        start: Int32 | None = field(1)
        end: Int32 | None = field(2)

    theirs = descriptor_pb2.DescriptorProto.ReservedRange
    ours, file = io.BytesIO(), io.BytesIO()
    for start in (5, 2999, 0):
        write_delimited(ours, ReservedRange(start=start, end=start + 1))
        proto.serialize_length_prefixed(theirs(start=start, end=start + 1), file)
    assert ours.getvalue() == file.getvalue()
    ours.seek(0)
    assert proto.parse_length_prefixed(theirs, ours) == theirs(start=5, end=6)
    assert [each.start for each in iter_delimited(file.getvalue(), ReservedRange)] == [5, 2999, 0]


async def test_messages_are_read_from_an_asyncio_stream_as_they_come(Order):
    reader = asyncio.StreamReader()
    data = stream_of(orders(Order))
    found = []

    async def read():
        async for each in iter_delimited_async(reader, Order):
            found.append(each)  # noqa: PERF401  # the test looks at it meanwhile

    task = asyncio.create_task(read())
    for at in range(len(data)):
        reader.feed_data(data[at : at + 1])
        await asyncio.sleep(0)
    assert found == orders(Order)[: len(found)]
    assert found
    reader.feed_eof()
    await task
    assert found == orders(Order)


async def test_messages_go_through_a_socket(Order):
    received = []

    async def serve(reader, writer):
        received.extend([each async for each in iter_delimited_async(reader, Order)])
        await write_delimited_async(writer, Order(order_id=len(received)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for each in orders(Order):
            await write_delimited_async(writer, each)
        writer.write_eof()
        assert await read_delimited_async(reader, Order) == Order(order_id=4)
        assert await read_delimited_async(reader, Order) is None
        writer.close()
        await writer.wait_closed()
    assert received == orders(Order)


BAD_STREAMS = [
    (b"\x05\x08\x01", "Order: the stream ends within it, 3 of 5 bytes are missing"),
    (b"\x80", "Order: the stream ends within a length"),
    (b"\xff" * 10 + b"\x01", "Order: a varint is longer than 10 bytes"),
    (b"\xff" * 9 + b"\x01", "Order: must be at most 1000 bytes, got 18446744073709551615"),
    (b"\xe9\x07", "Order: must be at most 1000 bytes, got 1001"),
    (b"\x02\x08\xff", "Order.order_id at byte 0: the value is truncated"),
]


@pytest.mark.parametrize(("data", "text"), BAD_STREAMS)
async def test_bad_streams_are_refused_in_the_same_words_sync_and_async(Order, data, text):
    options = DecodeOptions(max_size=1000)
    with pytest.raises(DecodeError) as caught:
        read_delimited(io.BytesIO(data), Order, options)
    assert str(caught.value) == text
    with pytest.raises(DecodeError) as caught:
        await read_delimited_async(fed(data), Order, options)
    assert str(caught.value) == text


async def test_iterating_tells_which_message_was_bad(Order):
    data = stream_of(orders(Order)) + b"\x03\x12\x01\xff"
    source = iter_delimited(data, Order)
    assert [next(source) for _ in range(4)] == orders(Order)
    with pytest.raises(DecodeError) as caught:
        next(source)
    assert (caught.value.path, caught.value.offset) == ("Order[4].item_sku", 0)
    with pytest.raises(DecodeError, match=r"^Order\[4\]\.item_sku at byte 0: the text is no UTF-8$"):
        [each async for each in iter_delimited_async(fed(data), Order)]


def test_length_above_the_limit_is_refused_before_more_is_read(Order):
    class Counting(io.BytesIO):
        asked = 0

        def read(self, size=-1):
            self.asked += size
            return super().read(size)

    file = Counting(b"\xff\xff\xff\xff\x0f" + bytes(100))
    with pytest.raises(DecodeError, match="must be at most 67108864 bytes, got 4294967295"):
        read_delimited(file, Order)
    assert file.asked == 5


def test_length_without_its_message_is_not_asked_for_at_once(Order):
    class Asked(io.BytesIO):
        most = 0

        def read(self, size=-1):
            self.most = max(self.most, size)
            return super().read(size)

    file = Asked(b"\x80\x80\x80\x20" + b"abc")  # 64 MiB, of which 3 bytes are there
    with pytest.raises(DecodeError, match="67108861 of 67108864 bytes are missing"):
        read_delimited(file, Order)
    assert file.most == 1 << 20


def test_message_that_cannot_be_written_leaves_no_trace_in_the_file(Order):
    file = io.BytesIO()
    with pytest.raises(EncodeError):
        write_delimited(file, Order(order_id=-1))
    assert file.getvalue() == b""


def test_files_that_do_not_block_are_refused(Order):
    with pytest.raises(BlockingIOError, match=r"^file must block until it has read, got one that does not$"):
        read_delimited(Blocked(), Order)
    with pytest.raises(
        BlockingIOError, match=r"^file must block until it has written, got one that does not$"
    ):
        write_delimited(Blocked(), Order(order_id=1))


def test_file_that_takes_nothing_is_not_asked_for_ever(Order):
    class Full(io.RawIOBase):
        def write(self, data):
            return 0

    with pytest.raises(BlockingIOError, match="must block until it has written"):
        write_delimited(Full(), Order(order_id=1))


def test_file_that_does_not_tell_how_much_it_wrote_gets_the_message_once(Order):
    class Silent:
        written = b""

        def write(self, data):
            self.written += bytes(data)

    file = Silent()
    write_delimited(file, Order(order_id=1))
    assert file.written == b"\x02\x08\x01"


@pytest.mark.parametrize("source", ["text", 5, None])
def test_what_is_no_file_nor_bytes_is_refused(Order, source):
    with pytest.raises(TypeError, match=r"^source must be a binary file or bytes, got "):
        list(iter_delimited(source, Order))


@pytest.mark.parametrize("thing", [1, b"\x08\x01", None])
def test_what_is_no_message_is_not_written(thing):
    file = io.BytesIO()
    with pytest.raises(TypeError, match=r"^message must be a message, got "):
        write_delimited(file, thing)
    assert file.getvalue() == b""


def test_text_files_and_paths_are_refused(Order, tmp_path):
    path = tmp_path / "orders"
    with path.open("w+") as file:
        with pytest.raises(TypeError, match=r"^file must be binary, as open\(path, 'wb'\) is, got a text"):
            write_delimited(file, Order())
        with pytest.raises(TypeError, match=r"^file must be binary, as open\(path, 'rb'\) is, got a text"):
            read_delimited(file, Order)
        with pytest.raises(TypeError, match="got a text file"):
            next(iter_delimited(file, Order))
    with pytest.raises(TypeError, match=r"^file must be a binary file, got str$"):
        write_delimited(str(path), Order())
    with pytest.raises(TypeError, match=r"^file must be a binary file, got bytes$"):
        read_delimited(b"\x00", Order)


async def test_message_in_place_of_its_class_is_refused(Order):
    for read in (read_delimited, lambda *given: next(iter_delimited(*given))):
        with pytest.raises(TypeError, match=r"^cls must be the class of a message, got Order$"):
            read(io.BytesIO(b"\x00"), Order())
    with pytest.raises(TypeError, match=r"^cls must be the class of a message, got Order$"):
        await read_delimited_async(fed(b"\x00"), Order())
    with pytest.raises(TypeError, match=r"^cls must be the class of a message, got Order$"):
        await anext(iter_delimited_async(fed(b"\x00"), Order()))
