"""The spool on a disk at its worst: whatever was acknowledged is there after any crash, whole and once.

The model is a dictionary. A commit that a crash cut short may be there or not, but never a part of it.
"""

import random
from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.services.distributor import spool
from penstock.services.distributor.change import Change, DeadLetter, Replay, Retry, Stored
from penstock.services.distributor.dead_letters import Failed
from penstock.services.distributor.journal import backlog, entries, extents, log
from penstock.services.distributor.spool import DAMAGED, Spool, SpoolError
from services.distributor.crashing_files import CrashingFiles, PowerCut

OWNERS = [("default", "a1"), ("default", "a2"), ("default", None), ("audit", "b1")]


class Model:
    """What a spool must hold."""

    def __init__(self):
        self.pending = {}  # seq -> (group, analyzer, failures, due, body)
        self.letters = {}  # seq -> failures
        self.counters = Counter()
        self.client_ids = set()
        self.last_seq = 0

    def changed(self, dice):
        """A change that fits, and the model after it."""
        after = deepcopy(self)
        change = Change()
        chosen = dice.sample(sorted(self.pending), min(len(self.pending), dice.choice((0, 0, 1, 3, 20))))
        for seq in chosen:
            after._happens(dice, change, seq)
        for _ in range(dice.choice((0, 1, 1, 2, 7))):
            after._accept(dice, change)
        for seq in dice.sample(sorted(self.letters), min(len(self.letters), dice.choice((0, 0, 1)))):
            after._leaves(dice, change, seq)
        change.counters["n"] = dice.randint(1, 5)
        after.counters["n"] += change.counters["n"]
        return change, after

    def _accept(self, dice, change):
        self.last_seq += dice.choice((1, 1, 1, 2, 100))
        packet = self._packet(dice, self.last_seq)
        change.accepted.append(packet)

    def _packet(self, dice, seq):
        group, analyzer = dice.choice(OWNERS)
        body = b'{"id":"p%d"}' % seq + b"x" * dice.choice((0, 0, 5, 700))
        self.pending[seq] = (group, analyzer, 0, 0, body)
        clients = dice.random() < 0.3
        if clients:
            self.client_ids.add(f"p{seq}")
        return Stored(seq, f"p{seq}", 1, len(body), body, clients, group, analyzer=analyzer)

    def _stored(self, seq):
        group, analyzer, failures, due, body = self.pending[seq]
        return Stored(seq, f"p{seq}", 1, len(body), None, False, group, None, analyzer, failures, due)

    def _happens(self, dice, change, seq):
        packet = self._stored(seq)
        group, _, failures, due, body = self.pending[seq]
        # What an attempt ended with is the same when it is stored again, as the distributor does.
        fate = "a" if dice.random() < 0.1 else random.Random(seq * 10 + failures).choice("dddrrx")
        if fate == "d":
            change.delivered.append(packet)
            del self.pending[seq]
        elif fate == "x":
            change.dead.append(DeadLetter(packet, "crashed", seq))
            del self.pending[seq]
            self.letters[seq] = failures + 1
        elif fate == "r":
            change.retried.append(Retry(packet, "a7", 1000 + seq, "no"))
            self.pending[seq] = (group, "a7", failures + 1, 1000 + seq, body)
        else:
            packet.analyzer = "a9"
            change.assigned.append(packet)
            self.pending[seq] = (group, "a9", failures, due, body)

    def _leaves(self, dice, change, seq):
        del self.letters[seq]
        if dice.random() < 0.5:
            change.purged.append(Failed(seq, seq))
        else:
            self.last_seq += 1
            change.replayed.append(Replay(seq, self._packet(dice, self.last_seq)))


def held(spool):
    """What a spool holds at this moment, as the model says it."""
    found, extents = Model(), spool._journal.extents
    for number, owned in extents.owned.items():
        packets = backlog_of(spool, *extents.names[number])
        assert (len(packets), sum(packet.size for packet in packets)) == (owned.packets, owned.bytes)
        for packet in packets:
            found.pending[packet.seq] = (packet.group, packet.analyzer, 0, 0, packet.body)
    bodies = spool.bodies(list(extents.retrying))
    for seq, (owner, failures, due_ms, size) in extents.retrying.items():
        assert failures
        assert len(bodies[seq]) == size
        found.pending[seq] = (*extents.names[owner], failures, due_ms, bodies[seq])
    assert extents.packets == len(found.pending)
    assert extents.bytes == sum(len(body) for *_, body in found.pending.values())
    rows = spool.dead_letters([seq for _, seq in spool.failed()])
    found.letters = {seq: failures for seq, _, failures, *_ in rows}
    assert spool.letter_bytes() >= sum(len(body) for _, body, *_ in rows)
    found.counters = spool.counters()
    found.client_ids = {id_ for id_, _ in spool.client_ids(0, 10**6)}
    return found


def backlog_of(spool, group, owner):
    """All packets of an owner, a few at a time."""
    packets, after, done = [], 0, False
    while not done:
        backlog = spool.read_backlog(group, owner, after, 3, 1000)
        packets += backlog.packets
        assert not backlog.damaged
        assert len(backlog.packets) <= 3
        assert backlog.packets or backlog.done
        after, done = backlog.after, backlog.done
    assert [packet.seq for packet in packets] == sorted({packet.seq for packet in packets})
    assert all(packet.id == f"p{packet.seq}" for packet in packets)
    return packets


def check_recovery(spool):
    """What is said to be there is what is there."""
    recovery, extents = spool.recovery, spool._journal.extents
    assert (recovery.packets, recovery.bytes) == (extents.packets, extents.bytes)
    for packet in recovery.retrying:
        owner, failures, due_ms, size = extents.retrying[packet.seq]
        assert (packet.group, packet.analyzer) == extents.names[owner]
        assert (packet.failures, packet.due_ms, packet.size) == (failures, due_ms, size)
    assert len(recovery.retrying) == len(extents.retrying)
    owned = sum(one.packets for one in recovery.owners.values())
    assert owned + len(recovery.retrying) == recovery.packets


def differences(found, model):
    """What is held and should not be, what should be and is not, and what is otherwise than it should be."""
    return [
        (name, number, there.get(number), wanted.get(number))
        for name, there, wanted in (
            ("pending", found.pending, model.pending),
            ("letter", found.letters, model.letters),
            ("counter", found.counters, model.counters),
        )
        for number in there.keys() | wanted.keys()
        if there.get(number) != wanted.get(number)
    ] + [("client id", id_) for id_ in model.client_ids - found.client_ids]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """So that all that happens to much happens to little."""
    monkeypatch.setattr(spool, "RESERVE_BYTES", 4000)
    monkeypatch.setattr(entries, "MAX_PACKETS", 3)
    monkeypatch.setattr(log, "MAX_PACKETS", 5)
    monkeypatch.setattr(log, "MAX_BODIES", 1500)
    monkeypatch.setattr(extents, "EXTENT_PACKETS", 4)
    monkeypatch.setattr(log, "MAX_GARBAGE_SEGMENTS", 2)
    monkeypatch.setattr(log, "TIDY_EVERY", 1)


class Run:
    """A spool, the model of it, and a disk."""

    def __init__(self, folder, seed, **settings):
        self.folder, self.dice = folder, random.Random(seed)
        self.files = CrashingFiles(self.dice)
        self.settings = {"segment_bytes": 3000, "keep_bytes": 2000} | settings
        self.model = Model()
        self.maybe = []  # models that a crash may leave as well
        self.open()

    def open(self):
        self.files.room, self.files.syncs_to_fail = None, 0
        try:
            self.spool = Spool(self.folder, "fsync", files=self.files, **self.settings)
        except PowerCut:
            self.files.cut_power()
            self.spool = Spool(self.folder, "fsync", files=self.files, **self.settings)
        check_recovery(self.spool)
        found = held(self.spool)
        possible = [self.model, *self.maybe]
        matching = [model for model in possible if not differences(found, model)]
        assert matching, [differences(found, model) for model in possible]
        last_seq = max(model.last_seq for model in possible)
        self.model, self.maybe = matching[0], []
        assert self.spool.recovery.last_seq <= last_seq
        assert self.spool.recovery.last_seq >= max(self.model.pending, default=0)
        self.model.last_seq = last_seq  # whoever was refused does not come again with the same number

    def commit(self):
        change, after = self.model.changed(self.dice)
        try:
            self.spool.commit(change)
        except SpoolError:
            self.maybe.append(after)
            self.model.last_seq = after.last_seq
        except PowerCut:
            self.maybe.append(after)
            self.crash()
        else:
            self.model, self.maybe = after, []
            if self.dice.random() < 0.2:
                assert not differences(held(self.spool), self.model)

    def restart(self):
        try:
            self.spool.close()
        except PowerCut:
            self.crash()
        else:
            self.open()

    def crash(self):
        self.files.steps_left = None
        self.spool._journal._retire()  # nothing more is written
        self.spool.close()
        self.files.cut_power()
        self.open()

    def close(self):
        self.files.steps_left = None
        self.spool.close()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
    deadline=None,
)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(["commit"] * 6 + ["cut", "crash", "full", "sync", "restart"]), max_size=60),
)
def test_nothing_acknowledged_is_lost_and_no_commit_is_torn(tmp_path_factory, seed, actions):
    run = Run(tmp_path_factory.mktemp("spool"), seed)
    try:
        for action in actions:
            if action == "cut":  # in the middle of one of the next commits
                run.files.steps_left = run.dice.randint(0, 12)
            elif action == "full":
                run.files.room = run.dice.randint(0, 3000)
            elif action == "sync":
                run.files.syncs_to_fail = run.dice.choice((1, 1, 2, 3))
            elif action == "crash":
                run.crash()
            elif action == "restart":
                run.restart()
            else:
                run.commit()
        run.files.room, run.files.steps_left, run.files.syncs_to_fail = None, None, 0
        run.commit()
        assert not run.maybe, "it goes on as soon as it can"
        run.crash()
    finally:
        run.close()


def test_full_disk_refuses_packets_and_goes_on_noting_what_was_delivered(tmp_path):
    files = CrashingFiles(random.Random(1))
    with Spool(tmp_path, "fsync", files=files, segment_bytes=3000, keep_bytes=0) as spool:
        new = [packet(seq) for seq in range(1, 21)]
        for one in new:
            spool.commit(Change(accepted=[one]))
        files.room = 0
        with pytest.raises(SpoolError, match=r"the spool cannot be written: .*No space left on device"):
            spool.commit(Change(accepted=[packet(21)]))
        for one in new[:15]:
            spool.commit(Change(delivered=[one]))
        spool.commit(Change(accepted=[packet(22)]))  # what was delivered made room
        run = held(spool)
    assert sorted(run.pending) == [16, 17, 18, 19, 20, 22]


def packet(seq):
    body = b'{"id":"p%d"}' % seq + b"x" * 400
    return Stored(seq, f"p{seq}", 1, len(body), body, analyzer="a1")


def test_disk_that_cannot_be_read_says_so_and_loses_nothing(tmp_path):
    files = CrashingFiles(random.Random(1))
    with Spool(tmp_path, "fsync", files=files) as spool:
        spool.commit(Change(accepted=[packet(1)]))
        files.reads_fail = True
        with pytest.raises(SpoolError, match=r"the spool cannot be read: .*Input/output error"):
            spool.read_backlog("default", "a1", 0, 10, 1000)
        with pytest.raises(SpoolError, match=r"the spool cannot be read: .*Input/output error"):
            spool.bodies([1])
        files.reads_fail = False
        assert spool.bodies([1]) == {1: packet(1).body}


def test_packets_behind_a_bad_spot_do_not_wait_for_ever(tmp_path):
    files = CrashingFiles(random.Random(1))
    with Spool(tmp_path, "fsync", files=files, segment_bytes=1, keep_bytes=10**6) as spool:
        for seq in (1, 2, 3):
            spool.commit(Change(accepted=[packet(seq)]))
        reading = files.open

        def fails(path):
            if path.name == "0000000002.segment":
                raise OSError(5, "Input/output error")
            return reading(path)

        files.open = fails
        assert [one.seq for one in spool.read_backlog("default", "a1", 0, 10, 10**6).packets] == [1]
        for _ in range(backlog.READ_ATTEMPTS - 2):
            with pytest.raises(SpoolError, match="Input/output error"):
                spool.read_backlog("default", "a1", 1, 10, 10**6)
        read = spool.read_backlog("default", "a1", 1, 10, 10**6)
        assert ([one.seq for one in read.damaged], [one.seq for one in read.packets]) == ([2], [3])
        spool.commit(Change(dead=[DeadLetter(one, DAMAGED, 9) for one in read.damaged]))
        assert spool.failed() == [(9, 2)]
        files.open = reading
        spool._journal._keep_bytes = 0
        spool.commit(Change(delivered=[packet(1), packet(3)]))
        spool.commit(Change(counters=Counter(a=1)))
        aside = [path.name for path in files.names_now if path.parent.name == "quarantine"]
        assert aside == ["0000000002.segment"], "a person may still get at it"


def test_journal_opens_where_nothing_can_be_written(tmp_path):
    files = CrashingFiles(random.Random(1))
    with Spool(tmp_path, "fsync", files=files) as spool:
        spool.commit(Change(accepted=[packet(1)]))
        spool._journal._retire()
    files.room, files.syncs_to_fail = 0, 10**6
    with Spool(tmp_path, "fsync", files=files) as spool:
        assert spool.recovery.packets == 1
        assert spool.bodies([1]) == {1: packet(1).body}
        with pytest.raises(SpoolError, match="the spool cannot be written"):
            spool.commit(Change(accepted=[packet(2)]))
        files.room, files.syncs_to_fail = None, 0
        spool.commit(Change(accepted=[packet(3)]))
        assert sorted(held(spool).pending) == [1, 3]
