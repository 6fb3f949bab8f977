"""A real process that is really killed: what it said to have stored is there, on the real disk."""

import os
import random
import subprocess
import sys
import time

import pytest

from penstock.services.distributor.change import Change, DeadLetter, Stored
from penstock.services.distributor.spool import Spool

ROUNDS = int(os.environ.get("PENSTOCK_JOURNAL_KILLS", "6"))
SETTINGS = {"segment_bytes": 200_000, "keep_bytes": 0}


def packet(seq):
    body = b'{"id":"p%d"}' % seq + b"." * (seq % 700)
    return Stored(seq, f"p{seq}", 1, len(body), body, analyzer="a1")


def commit_for_ever(folder, durability, seed, say):
    """Stores packets, lets some end, and says what is stored: `a FIRST LAST`, `d SEQ`, `x SEQ`."""
    dice = random.Random(seed)
    with Spool(folder, durability, **SETTINGS) as spool:
        seq, live = spool.recovery.last_seq, []
        while True:
            new = [packet(seq + 1 + place) for place in range(dice.choice((1, 3, 50)))]
            ended = [
                live.pop(dice.randrange(len(live))) for _ in range(min(len(live), dice.choice((0, 2, 60))))
            ]
            dead = [ended.pop()] if ended and dice.random() < 0.1 else []
            spool.commit(
                Change(accepted=new, delivered=ended, dead=[DeadLetter(one, "crashed", 1) for one in dead])
            )
            seq = new[-1].seq
            live += new
            say(f"a {new[0].seq} {seq}\n" + "".join(f"d {one.seq}\n" for one in ended))
            say("".join(f"x {one.seq}\n" for one in dead) + ".\n")


CHILD = """
import sys
from pathlib import Path
from services.distributor.test_journal_kills import commit_for_ever

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

commit_for_ever(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), say)
"""


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_kills_lose_nothing_that_was_stored(tmp_path, durability):
    seed = random.randrange(10**9)
    dice = random.Random(seed)
    stored, ended, dead, total = set(), set(), set(), 0
    for round_ in range(ROUNDS):
        said = run_and_kill(tmp_path, durability, seed + round_, dice.uniform(0.02, 0.25))
        doubtful = set()  # of the commit that the kill cut off
        for kind, *numbers in (line.split() for line in said):
            first, last = int(numbers[0]), int(numbers[-1])
            if kind == "a":
                stored.update(range(first, last + 1))
            else:
                (ended if kind == "d" else dead).add(first)
                stored.discard(first)
        with Spool(tmp_path, durability, **SETTINGS) as spool:
            there = {one.seq: one for one in spool.read_backlog("default", "a1", 0, 10**6, 10**9).packets}
            letters = {seq for _, seq in spool.failed()}
            total += len(said)
            missing = stored - there.keys()
            # the last commit was perhaps stored and not said any more
            assert len(missing) <= 60, f"seed {seed}"
            assert not (missing and spool.recovery.last_seq <= max(stored)), f"seed {seed}"
            assert all(one.body == packet(seq).body for seq, one in there.items())
            assert not ended & there.keys(), f"seed {seed}"
            assert dead <= letters, f"seed {seed}"
            assert spool.recovery.quarantined == 0
            doubtful |= missing
            dead |= letters
            stored = set(there)
            ended |= doubtful - letters
    assert total > 50 * ROUNDS, "too little to prove anything"


def run_and_kill(folder, durability, seed, seconds):
    """The lines that a child said before it was killed, whole commits only."""
    tests = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
    output = folder.parent / f"{folder.name}-said"
    with output.open("wb") as said:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), durability, str(seed)],
            stdout=said,
            env=os.environ | {"PYTHONPATH": tests},
        )
        try:
            deadline = time.monotonic() + 30
            while not output.stat().st_size:  # it has begun
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(seconds)
        finally:
            child.kill()
            child.wait()
    text = output.read_text()
    return [line for line in text[: text.rfind(".\n") + 1].splitlines() if line != "."]
