"""What waits: the queue in memory, and the place of the rest in the spool."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor import backlog
from penstock.services.distributor.backlog import Queue, Source
from penstock.services.distributor.change import Stored


def packets(*sizes, first=1):
    return [Stored(seq, f"p{seq}", 1, size, b"x" * size) for seq, size in enumerate(sizes, first)]


def seqs(ones):
    return [one.seq for one in ones]


def read(ones, *, after=None, done=True, damaged=()):
    """What the spool gives."""
    last = ones[-1].seq if ones else 0
    return SimpleNamespace(
        packets=ones, damaged=list(damaged), after=last if after is None else after, done=done
    )


# Memory


@pytest.fixture
def queue():
    return Queue(1000)


def test_batch_ends_at_so_many_packets_or_bytes_whichever_comes_first(queue):
    for one in packets(10, 10, 10, 100, 10):
        queue.put(one)
    assert seqs(queue.take(2, 1000)) == [1, 2]
    assert seqs(queue.take(10, 11)) == [3, 4], "the one that crosses the size goes too"
    assert seqs(queue.take(10, 1)) == [5], "at least one"
    assert queue.take(10, 10) == []


def test_bytes_count_until_the_delivery_is_over(queue):
    for one in packets(10, 20):
        queue.put(one)
    batch = queue.take(2, 1000)
    assert (len(queue), queue.bytes) == (0, 30)
    queue.let_go(batch)
    assert queue.bytes == 0


def test_packets_without_bodies_count_no_bytes(queue):
    [one] = packets(10)
    one.body = None
    queue.put(one)
    assert (len(queue), queue.bytes) == (1, 0)


def test_there_is_room_until_the_bound_is_crossed(queue):
    for one in packets(600, 399):
        queue.put(one)
    assert queue.has_room
    queue.put(packets(5)[0])
    assert not queue.has_room
    assert queue.chunk[1] == 1, "what is read is one packet then, if anything"


def test_there_is_room_for_so_many_packets_however_small(queue, monkeypatch):
    monkeypatch.setattr(backlog, "MOST_HELD", 3)
    assert queue.put_what_fits(packets(1, 1, 1, 1)) == 3
    assert not queue.has_room
    assert queue.put_what_fits(packets(1)) == 0


def test_first_of_some_packets_are_taken_as_long_as_there_is_room(queue):
    assert queue.put_what_fits(packets(400, 400)) == 2
    assert queue.put_what_fits(packets(150, 100, 100, first=3)) == 2, "the one that crosses it comes in"
    assert seqs(queue.take_all()) == [1, 2, 3, 4]
    assert queue.bytes == 0


@given(st.lists(st.integers(1, 300), max_size=12), st.integers(1, 600))
def test_putting_what_fits_is_putting_one_by_one_while_there_is_room(sizes, most):
    together, one_by_one = Queue(most), Queue(most)
    fitting = together.put_what_fits(packets(*sizes))
    for one in packets(*sizes):
        if one_by_one.has_room:
            one_by_one.put(one)
    assert fitting == len(together) == len(one_by_one)
    assert together.bytes == one_by_one.bytes


# Disk


@pytest.fixture
def source():
    return Source("default", "a1")


def test_cold_packets_are_counted_and_their_bodies_let_go(source):
    ones = packets(10, 20)
    for one in ones:
        source.put(one)
    assert (source.packets, source.bytes, source.after) == (2, 30, 0)
    assert [one.body for one in ones] == [None, None]


def test_reading_goes_on_where_it_was_until_nothing_is_left(source):
    ones = packets(1, 1, 1)
    for one in packets(1, 1, 1):
        source.put(one)
    source.begin()
    assert source.reading
    assert source.end(read(ones[:2], done=False), set()) == (ones[:2], [])
    assert (source.packets, source.after, source.reading) == (1, 2, False)
    source.begin()
    assert source.end(read(ones[2:]), set()) == (ones[2:], [])
    assert (source.packets, source.bytes) == (0, 0)
    source.put(packets(1, first=9)[0])
    assert source.after == 8


def test_what_is_held_is_left_out(source):
    for one in packets(1, 1, first=2):
        source.put(one)
    source.begin()
    assert seqs(source.end(read(packets(1, 1, 1, 1)), {1, 4})[0]) == [2, 3]
    assert source.packets == 0


def test_what_is_put_back_while_some_are_being_read_is_found_the_next_time(source):
    for one in packets(1, 1, first=5):
        source.put(one)
    source.begin()
    source.put(packets(1, first=3)[0])
    assert seqs(source.end(read(packets(1, 1, first=5)), set())[0]) == [5, 6]
    assert (source.packets, source.after) == (1, 2)


def test_packet_put_while_being_read_and_seen_is_taken_once(source):
    source.put(packets(1)[0])
    source.begin()
    source.put(packets(1, first=2)[0])  # stored by the commit before the reading
    assert seqs(source.end(read(packets(1, 1)), set())[0]) == [1, 2]
    assert source.packets == 0


def test_damaged_packets_are_told_apart_and_count_no_more(source):
    good, bad = packets(5, 5)
    for one in packets(5, 5):
        source.put(one)
    source.begin()
    assert source.end(read([good], after=2, damaged=[bad]), set()) == ([good], [bad])
    assert (source.packets, source.bytes) == (0, 0)


def test_reading_that_failed_leaves_everything_where_it_was(source):
    source.put(packets(1)[0])
    source.begin()
    source.give_up_reading()
    assert (source.packets, source.after, source.reading) == (1, 0, False)


def test_packets_that_are_not_in_the_spool_are_told_and_not_sought_for_ever(source, caplog):
    source.resume(3, 30)
    source.begin()
    assert source.end(read([]), set()) == ([], [])
    assert (source.packets, source.bytes) == (0, 0)
    assert "3 packets of a1 in group default are not in the spool" in caplog.text
