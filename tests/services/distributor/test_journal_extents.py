"""Where packets lie: what is held in memory of them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.change import Change, Retry, Stored
from penstock.services.distributor.journal import extents as module
from penstock.services.distributor.journal.entries import Entry, packets_of, records_of
from penstock.services.distributor.journal.extents import GONE, RETRYING, Extents, Owned, Segment
from penstock.services.distributor.journal.frames import Header


def packet(seq, analyzer="a1", group="default"):
    return Stored(seq, f"p{seq}", 1, 10, b"x" * 10, group=group, analyzer=analyzer)


class Journal:
    """Extents, told of changes as if they were written."""

    def __init__(self):
        self.extents = Extents()
        self.segment, self.end = Segment(Header(1, 0), "1", 0), 0

    def commit(self, **change):
        for entry, _ in records_of(Change(**change), self.extents.number_of, lambda seq: 0, 5):
            self.extents.apply(entry, self.segment, self.end, self.end + 100)
            self.end += 100

    def next_segment(self):
        self.segment, self.end = Segment(Header(self.segment.number + 1, 0), "2", 0), 0
        return self.segment

    def move(self, *seqs):
        packets = [packet(seq) for seq in seqs]
        columns, _ = packets_of(
            packets, [self.extents.number_of(("default", "a1"))] * len(seqs), accepted_ms=b"1" * 8 * len(seqs)
        )
        names = {self.extents.number_of(("default", "a1")): ("default", "a1")}
        self.extents.apply(Entry(0, names=names, packets=columns), self.segment, self.end, self.end + 100)
        self.end += 100

    def live(self):
        return [seq for extent in self.extents.after(0) for seq, _ in extent.numbers_from(0)]


@pytest.fixture
def journal():
    return Journal()


def test_packets_that_come_one_after_the_other_share_an_extent(journal):
    for seq in range(1, 257):
        journal.commit(accepted=[packet(seq)])
    assert len(journal.extents) == 1
    journal.commit(accepted=[packet(257)])
    assert len(journal.extents) == 2


def test_small_holes_are_bridged_and_large_ones_are_not(journal):
    journal.commit(accepted=[packet(1)])
    journal.commit(accepted=[packet(65)])
    assert len(journal.extents) == 1
    journal.commit(accepted=[packet(130)])
    assert len(journal.extents) == 2
    journal.commit(accepted=[packet(500), packet(10**12)])
    assert len(journal.extents) == 3
    assert journal.live() == [1, 65, 130, 500, 10**12]
    assert [journal.extents.state_of(seq) for seq in (2, 131, 501, 10**12 + 1)] == [GONE] * 4


def test_million_waiting_packets_take_few_bytes_each(journal):
    for first in range(1, 200_001, 100):
        journal.commit(accepted=[packet(seq) for seq in range(first, first + 100)])
    size = sum(
        sys.getsizeof(extent.states) + object.__sizeof__(extent) + 16 for extent in journal.extents.after(0)
    )
    assert size / 200_000 < 4


def test_owners_and_sizes_are_counted(journal):
    new = [packet(1), packet(2, None), packet(3, "a2", "audit"), packet(4)]
    journal.commit(accepted=new)
    journal.commit(retried=[Retry(new[3], "a9", 7)])
    new[1].analyzer = "a5"
    journal.commit(assigned=[new[1]], delivered=[new[0], packet(77)])
    extents = journal.extents
    assert {extents.names[number]: owned for number, owned in extents.owned.items() if owned.packets} == {
        ("audit", "a2"): Owned(1, 10),
        ("default", "a5"): Owned(1, 10),
    }
    assert extents.state_of(4) == RETRYING
    new[3].analyzer = "a6"
    journal.commit(assigned=[new[3]])
    assert extents.names[extents.retrying[4].owner] == ("default", "a6")
    assert (extents.packets, extents.bytes, journal.segment.packets) == (3, 30, 3)


def test_moved_packets_are_found_where_they_are_now(journal):
    old = journal.segment
    journal.commit(accepted=[packet(seq) for seq in range(1, 11)])
    journal.commit(delivered=[packet(seq) for seq in (2, 3, 9)])
    new = journal.next_segment()
    journal.move(1, 4, 5, 6, 7, 8, 10)
    assert (old.packets, new.packets, journal.extents.packets) == (0, 7, 7)
    assert journal.live() == [1, 4, 5, 6, 7, 8, 10]
    journal.commit(delivered=[packet(seq) for seq in (1, 2, 8, 10)])
    assert journal.live() == [4, 5, 6, 7]
    assert all(extent.segment is new for extent in journal.extents.after(0))


def test_packets_that_were_not_moved_with_their_neighbours_are_still_found(journal):
    old = journal.segment
    journal.commit(accepted=[packet(seq) for seq in range(1, 11)])
    new = journal.next_segment()
    journal.move(3, 4, 8)  # as damage may make it look
    assert journal.live() == list(range(1, 11))
    assert {seq: journal.extents.extent_of(seq).segment for seq in range(1, 11)} == {
        seq: new if seq in (3, 4, 8) else old for seq in range(1, 11)
    }
    journal.commit(delivered=[packet(seq) for seq in (1, 3, 5, 8, 10)])
    assert journal.live() == [2, 4, 6, 7, 9]
    assert (old.packets, new.packets) == (4, 1)


STEPS = st.lists(
    st.tuples(st.sampled_from("aaadmns"), st.lists(st.integers(0, 40), min_size=1, max_size=8)), max_size=40
)


@given(STEPS)
def test_any_sequence_of_changes_agrees_with_a_dictionary(steps):
    journal, where, last = Journal(), {}, 0
    for step, draws in steps:
        chosen = sorted({sorted(where)[draw % len(where)] for draw in draws}) if where else []
        if step == "a":
            new = [last := last + 1 + 3 * draw for draw in draws]
            journal.commit(accepted=[packet(seq) for seq in new])
            where |= dict.fromkeys(new, journal.segment)
        elif step == "d" and chosen:
            journal.commit(delivered=[packet(seq) for seq in reversed(chosen)])
            where = {seq: segment for seq, segment in where.items() if seq not in chosen}
        elif step == "m" and chosen:
            journal.move(*chosen)
            where |= dict.fromkeys(chosen, journal.segment)
        elif step == "n":
            journal.extents.forget_gone()
        else:
            journal.next_segment()
        assert journal.live() == sorted(where)
        assert all(journal.extents.extent_of(seq).segment is segment for seq, segment in where.items())
        assert journal.segment.packets == sum(segment is journal.segment for segment in where.values())
        assert all(journal.extents.state_of(seq) for seq in where)


def test_names_of_another_process_are_translated():
    extents, segment = Extents(), Segment(Header(1, 0), "1", 0)
    first, _ = packets_of([packet(1)], [2])
    second, _ = packets_of([packet(2), packet(3)], [3, 2])
    extents.apply(Entry(0, names={2: ("default", "a1")}, packets=first), segment, 0, 1)
    names = {2: ("default", "b1"), 3: ("default", "a1")}
    extents.apply(Entry(0, names=names, packets=second), segment, 1, 2)
    assert [extents.names[extents.state_of(seq)][1] for seq in (1, 2, 3)] == ["a1", "a1", "b1"]


def test_owners_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_OWNERS", 3)
    extents = Extents()
    extents.number_of(("g", "a"))
    extents.number_of(("g", "b"))
    with pytest.raises(OverflowError, match="owners of packets must be <= 3 since the start"):
        extents.number_of(("g", "c"))
    assert extents.number_of(("g", "a")) == 2
