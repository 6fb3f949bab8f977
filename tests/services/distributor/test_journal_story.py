"""What the journal knows of one packet."""

from penstock.services.distributor.change import Change, DeadLetter, Replay, Retry, Stored
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.journal import log
from penstock.services.distributor.spool import Spool

SECOND = 10**9


class Wall:
    """A wall clock that goes on a second at every look."""

    def __init__(self):
        self.seconds = 0

    def __call__(self):
        self.seconds += 1
        return self.seconds * SECOND


def packet(seq, id_="x", analyzer="a1", failures=0):
    return Stored(seq, id_, 1, 5, b"hello", analyzer=analyzer, failures=failures)


def told(spool, id_="x"):
    return [(e.at_ms // 1000, e.what, e.analyzer, e.error, e.attempt) for e in spool.story(id_)]


def test_story_has_all_that_happened_in_order(tmp_path):
    with Spool(tmp_path, "os", wall=Wall()) as spool:
        one = packet(7, analyzer=None)
        spool.commit(Change(accepted=[packet(6, "y"), one]))
        one.analyzer = "a1"
        spool.commit(Change(assigned=[one]))
        spool.commit(Change(retried=[Retry(one, "a1", 5, "busy")]))
        one.analyzer = "a2"
        spool.commit(Change(dead=[DeadLetter(one, "gone", 5)]))
        ((_, again),) = spool.letters_as_packets([7])
        again.seq, again.analyzer = 8, "a3"
        spool.commit(Change(replayed=[Replay(7, again)]))
        spool.commit(Change(delivered=[again, packet(6, "y")]))
        story = [
            (1, "accepted", None, "", 0),
            (2, "assigned", "a1", "", 0),
            (3, "retry", "a1", "busy", 1),
            (4, "dead", "a2", "gone", 2),
            (5, "replayed", "a3", "", 0),
            (6, "delivered", "a3", "", 0),
        ]
        assert told(spool) == story
        assert told(spool, "y") == [(1, "accepted", "a1", "", 0), (6, "delivered", "a1", "", 0)]
        assert told(spool, "z") == told(spool, "") == told(spool, "\ud800") == []
    with Spool(tmp_path, "os") as spool:
        assert told(spool) == story


def test_letter_that_was_purged_is_told_of(tmp_path):
    with Spool(tmp_path, "memory", wall=Wall()) as spool:
        spool.commit(Change(accepted=[packet(1)]))
        spool.commit(Change(dead=[DeadLetter(packet(1), "gone", 5)]))
        spool.commit(Change(purged=[Failed(5, 1)]))
        assert [what for _, what, *_ in told(spool)] == ["accepted", "dead", "purged"]


def test_packet_that_was_moved_keeps_the_time_it_was_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "MAX_GARBAGE_SEGMENTS", 1)
    with Spool(tmp_path, "os", wall=Wall(), segment_bytes=2000, keep_bytes=0) as spool:
        spool.commit(Change(accepted=[packet(1)]))
        for seq in range(2, 200):
            spool.commit(Change(accepted=[packet(seq, f"y{seq}")]))
            spool.commit(Change(delivered=[packet(seq, f"y{seq}")]))
        assert spool._journal.segments[0].number > 1, "its first segment is gone"
        assert told(spool) == [(1, "accepted", "a1", "", 0)]
        assert spool.bodies([1]) == {1: b"hello"}


def test_what_is_finished_is_forgotten_with_its_segment(tmp_path):
    with Spool(tmp_path, "os", segment_bytes=1, keep_bytes=3000) as spool:
        spool.commit(Change(accepted=[packet(1)]))
        spool.commit(Change(delivered=[packet(1)]))
        assert [what for _, what, *_ in told(spool)] == ["accepted", "delivered"]
        for seq in range(2, 10):
            spool.commit(Change(accepted=[packet(seq, "y")]))
            spool.commit(Change(delivered=[packet(seq, "y")]))
        assert told(spool) == []
