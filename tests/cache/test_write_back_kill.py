"""What `kill -9` may not do: after a restart the store has every acknowledged write, and none older.

Of each key the store then has the last acknowledged write, or the one that was in flight at the kill, of
which nobody was told how it ended. A child writes and tells; this process kills it, replays its journal and
compares. PENSTOCK_KILL_ROUNDS asks for more rounds, PENSTOCK_KILL_SEED repeats the moments of a run.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from penstock.cache.journal import Journal
from penstock.cache.sqlite_store import SQLiteStore
from penstock.cache.write_back import WriteBackCache

ROUNDS = int(os.environ.get("PENSTOCK_KILL_ROUNDS", "8"))
SEED = int(os.environ.get("PENSTOCK_KILL_SEED", "0")) or random.randrange(1, 10**9)
OPENING = 0.01  # seconds; opening a journal takes about that
CHILD = Path(__file__).with_name("write_back_child.py")


class Books:
    """What the store must have: of each key the last acknowledged write, or one in flight at a kill since."""

    def __init__(self):
        self.acknowledged = {}
        self.in_flight = {}
        self.count = 0
        self.next_value = 1

    def enter(self, line):
        operation, _, rest = line.rstrip("\n").partition(" ")
        if operation in ("starting", "ready"):
            return
        key, value = rest.split(" ")
        if operation == "done":
            self.acknowledged[key] = self.in_flight.pop(key)[-1]
            self.count += 1
        else:
            self.in_flight.setdefault(key, []).append(int(value) if operation == "set" else None)
            self.next_value = max(self.next_value, int(value) + 1)

    def compare(self, stored):
        """Keys whose stored value is neither; afterwards what is stored counts as acknowledged."""
        wrong = {}
        for key in self.acknowledged | self.in_flight | stored:
            allowed = [self.acknowledged.get(key), *self.in_flight.get(key, ())]
            if stored.get(key) not in allowed:
                wrong[key] = (stored.get(key), allowed)
        self.acknowledged = {key: stored.get(key) for key in self.acknowledged | self.in_flight | stored}
        self.in_flight = {}
        return wrong


def run_until_killed(folder, books, dice, *options):
    """Kills the child after a random number of its lines, now and then while it opens the journal."""
    command = [sys.executable, str(CHILD), str(folder), str(books.next_value), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        at_start = dice.random() < 0.2
        lines = 1 if at_start else dice.randrange(2, 3000)
        for line in child.stdout:
            books.enter(line)
            lines -= 1
            if lines <= 0:
                break
        if at_start:
            time.sleep(dice.random() * OPENING)  # a moment of chance: there is no line within
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:  # what it said before it was dead
            if line.endswith("\n"):
                books.enter(line)
        assert child.wait() == -signal.SIGKILL


async def replay(folder):
    """What the store has after a start and a clean end, and how many keys were replayed."""
    async with SQLiteStore(folder / "store.sqlite3") as store:
        cache = WriteBackCache(store, journal=Journal(folder / "journal", segment_bytes=8192))
        async with cache:
            replayed = cache.stats().replayed
        keys = [f"{writer}:{key}" for writer in range(8) for key in range(25)]
        return await store.get_many(keys), replayed


@pytest.mark.parametrize(
    "options", [(), ("--failing",), ("--interval",)], ids=["store", "failing store", "mode interval"]
)
def test_killed_process_loses_no_acknowledged_write(tmp_path, options):
    dice, books = random.Random(SEED), Books()
    replayed = 0
    for round_ in range(ROUNDS):
        run_until_killed(tmp_path, books, dice, *options)
        if dice.random() < 0.3 and round_ < ROUNDS - 1:
            continue  # the next child replays, and is killed in its turn
        stored, keys = asyncio.run(replay(tmp_path))
        replayed += keys
        wrong = books.compare(stored)
        assert not wrong, f"round {round_}, seed {SEED}: {wrong}"
    assert books.count > 20 * ROUNDS, "too few writes to prove anything"
    assert replayed, "no kill left anything to replay"
    counts = f"{ROUNDS} kills, {books.count} acknowledged, {replayed} keys replayed, 0 lost"
    print(f"{counts}, seed {SEED} {' '.join(options)}")


def test_clean_end_leaves_nothing_to_replay(tmp_path):
    books, dice = Books(), random.Random(SEED)
    run_until_killed(tmp_path, books, dice)
    asyncio.run(replay(tmp_path))
    with closing(Journal(tmp_path / "journal")) as journal:
        assert journal.open() == {}
