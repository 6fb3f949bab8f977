"""Rounds of torture, and that the torturer would notice: a judge that never convicts proves nothing."""

import asyncio
import math
import os
import random
import subprocess
import sys
from collections import Counter
from signal import SIGKILL

import pytest

from services.distributor.torture.faults import FOR_EVER, Faults, cut_power, library
from services.distributor.torture.ledger import BEGIN, END, Total, row_of, with_row
from services.distributor.torture.oracle import Judgement, Oracle, judge, packet_of
from services.distributor.torture.rounds import HOUR, Round, started
from services.distributor.torture.torture import judgements

ROUNDS = int(os.environ.get("PENSTOCK_TORTURE_ROUNDS", "20"))
SEED = int(os.environ.get("PENSTOCK_TORTURE_SEED", "0")) or random.randrange(1, 10**9)
AT_A_TIME = 3
SECONDS = 45.0 if ROUNDS == 20 else math.inf
"""After which no further round begins: a machine that is busy otherwise does fewer."""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    library(folder)
    return folder


def test_tormented_distributors_lose_nothing_and_duplicate_little(tmp_path):
    """C4, C5, C6 and C13: see docs/reliability.md. A seed that failed is run again by `make torture`."""
    total = Total()
    for seed, judgement in judgements(range(SEED, SEED + ROUNDS), AT_A_TIME, tmp_path, SECONDS):
        if isinstance(judgement, BaseException):
            raise AssertionError(f"the round of seed {seed} did not end") from judgement
        total.add(judgement)
    print(f"seed {SEED}: {total}")
    assert not total.failed
    assert total.rounds >= AT_A_TIME
    assert total.acknowledged > 100 * total.rounds, "too little load to prove anything"


# Would it notice?


async def test_distributor_that_acknowledges_what_is_in_memory_only_is_convicted(tmp_path, built):
    tormented = Round(1, tmp_path, built, dict(os.environ))
    tormented.settings["durability"] = "memory"
    await convicted(tormented, kill)


async def test_disk_that_only_says_that_it_synced_is_convicted_after_a_power_cut(tmp_path, built):
    """So a distributor that answers before it has synced would be as well."""
    tormented = Round(2, tmp_path, built, dict(os.environ))
    tormented.settings["durability"] = "fsync"

    async def cut(process):
        await kill(process)
        assert cut_power(tormented.faults, tmp_path / "data", tormented.dice, worst=True)

    tormented.faults.order(lying_syncs=1)
    await convicted(tormented, cut)


async def kill(process):
    process.signal(SIGKILL)
    await process.ended()


async def convicted(tormented, end):
    """Runs a round with one life, in which nothing is delivered, and this end: it must be found out."""

    async def live_and_end():
        for analyzer in tormented.analyzers:
            await analyzer.stop()
        async with started(tormented.folder, tormented.settings, tormented.environment) as process:
            load = asyncio.create_task(tormented.load(process.url))
            async with asyncio.timeout(30):
                while len(tormented.oracle.obligations) < 100:
                    await asyncio.sleep(0.02)
            await end(process)
            load.cancel()
            await asyncio.wait([load])
        for analyzer in tormented.analyzers:
            await analyzer.start()

    tormented.lives = 1
    tormented.live_and_end = live_and_end
    judgement = await tormented.run()
    assert judgement.lost > 0
    assert any("acknowledged packets lost" in words for words in judgement.wrong)


FIGURES = {"accepted": 2, "pending": 0, "dead": 0, "conservation_error": 0, "lost": 0}


def verdict(oracle, letters=frozenset(), faults=(), in_flight=10, **figures):
    return judge(
        oracle, set(letters), FIGURES | figures, seed=1, faults=Counter(faults), in_flight=in_flight
    ).wrong


def books(*tokens):
    oracle = Oracle(obligations={"t1", "t2"})
    oracle.processed(tokens, 0.0)
    return oracle


def test_clean_books_are_clean():
    assert verdict(books("t1", "t2")) == []
    assert verdict(books("t1"), letters={"t2"}, dead=1) == []


def test_lost_packet_is_noticed():
    assert "1 acknowledged packets lost, such as ['t2']" in verdict(books("t1"))


def test_packet_that_nobody_counted_is_noticed():
    assert verdict(books("t1", "t2", "t3")) == ["2 counted as accepted, 3 came out"]


def test_second_delivery_is_forgiven_only_where_nobody_could_know():
    oracle = books("t1", "t2", "t2")
    [words] = verdict(oracle)[:1]
    assert words == "t2 was delivered 2 times, for 0 unclear answers"
    assert verdict(oracle, faults=["kill"]) == []
    oracle.unclear["t2"] = 1
    assert verdict(oracle) == []


def test_more_duplicates_than_can_be_in_flight_are_noticed():
    oracle = Oracle(obligations={f"t{n}" for n in range(20)})
    oracle.processed([f"t{n}" for n in range(20)] * 2, 0.0)
    assert verdict(oracle, faults=["kill"], accepted=20) == [
        "20 duplicates for 1 interruptions of 10 packets at the most"
    ]
    assert verdict(oracle, faults=["kill"], in_flight=20, accepted=20) == []


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        ({"conservation_error": -1}, "conservation error -1"),
        ({"lost": 2}, "2 packets counted as damaged on the disk"),
        ({"pending": 3}, "3 packets pending for ever"),
        ({"dead": 1}, "1 counted as dead letters, 0 listed"),
    ],
)
def test_figures_that_do_not_add_up_are_noticed(figure, words):
    assert words in verdict(books("t1", "t2"), **figure)


@pytest.mark.parametrize(
    "change",
    [
        lambda packet: packet["messages"][0].update(message="other"),
        lambda packet: packet["messages"][0]["metadata"].update(more=1),
        lambda packet: packet["messages"].append({"message": "one more"}),
        lambda packet: packet.pop("retry_count"),
        lambda packet: packet["messages"][0].pop("metadata"),
    ],
)
def test_packet_that_was_changed_on_the_way_is_noticed(change):
    oracle = books("t1", "t2")
    packet = packet_of("t1", "id") | {"retry_count": 0}
    assert (oracle.token_of(packet), oracle.broken) == ("t1", [])
    change(packet)
    oracle.token_of(packet)
    assert "1 packets arrived changed" in verdict(oracle)[0]


# The faults


CHILD = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_APPEND)
for word in sys.argv[2:]:
    try:
        match word:
            case "write": print("wrote", os.write(fd, b"x" * 1000))
            case "pwritev": print("wrote", os.pwritev(fd, [b"a" * 600, b"b" * 400], 0))
            case "sync": os.fsync(fd); print("synced")
            case "datasync": os.fdatasync(fd); print("synced")
            case "time": print(time.time_ns())
            case "monotonic": print(time.monotonic_ns())
    except OSError as error:
        print(error.strerror)
    sys.stdout.flush()
"""


class Child:
    def __init__(self, folder, built):
        self.faults = Faults(folder / "orders", folder / "data", built)
        self.path = folder / "data" / "1.segment"

    def does(self, *words, path=None):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, path or self.path, *words],
            capture_output=True, text=True, env=dict(os.environ) | self.faults.environment, check=False,
        )  # fmt: skip
        self.code = done.returncode
        return done.stdout.splitlines()


@pytest.fixture
def child(tmp_path, built):
    child = Child(tmp_path, built)
    with child.faults:
        yield child


def test_nothing_fails_without_orders(child):
    assert child.does("write", "pwritev", "sync", "datasync") == [
        "wrote 1000", "wrote 1000", "synced", "synced",
    ]  # fmt: skip


def test_disk_takes_what_there_is_room_for(child):
    child.faults.order(room=1500)
    assert child.does("write", "pwritev", "write") == ["wrote 1000", "wrote 500", "No space left on device"]
    assert child.faults.read("refusals") == 2
    child.faults.stop()
    assert child.does("write") == ["wrote 1000"]


def test_files_elsewhere_are_left_alone(child, tmp_path):
    child.faults.order(room=0, failing_syncs=FOR_EVER)
    assert child.does("write", "sync", path=tmp_path / "elsewhere") == ["wrote 1000", "synced"]


def test_syncs_and_writes_fail_as_often_as_they_are_told(child):
    child.faults.order(failing_syncs=2)
    failed = "Input/output error"
    assert child.does("sync", "datasync", "sync") == [failed, failed, "synced"]
    child.faults.order(failing_writes=FOR_EVER)
    assert child.does("write", "pwritev", "write") == [failed] * 3


def test_short_writes_write_a_part(child):
    child.faults.order(short_writes=1)
    written = [int(line.split()[1]) for line in child.does(*["write", "pwritev"] * 3)]
    assert any(size < 1000 for size in written)
    assert all(1 <= size <= 1000 for size in written)


def test_clock_jumps_but_the_monotonic_one_does_not(child):
    before, monotonic_before = map(int, child.does("time", "monotonic"))
    child.faults.order(wall_offset=-24 * HOUR)
    after, monotonic_after = map(int, child.does("time", "monotonic"))
    assert -24 * HOUR <= after - before < -23 * HOUR
    assert 0 < monotonic_after - monotonic_before < HOUR


def test_process_dies_between_two_calls(child):
    child.faults.order(calls_to_live=2)
    assert child.does("write", "sync", "write") == ["wrote 1000", "synced"]
    assert child.code == -9


def test_power_cut_takes_only_what_was_not_synced(child):
    child.does("write", "sync", "write")
    assert child.faults.synced_size(child.path) == 1000
    for seed in range(20):
        child.path.write_bytes(b"s" * 1000 + b"u" * 1000)
        assert cut_power(child.faults, child.path.parent, random.Random(seed)) == 1000
        found = child.path.read_bytes()
        assert found.startswith(b"s" * 1000)
        assert found != b"s" * 1000 + b"u" * 1000
        assert len(found) <= 2000


# The ledger


def test_ledger_has_a_row_a_run_the_newest_first():
    page = f"Before.\n\n{BEGIN}\n{END}\n\nAfter.\n"
    total = Total()
    total.add(Judgement(7, Counter(kill=2, freeze=1), acknowledged=1234, duplicated=5))
    page = with_row(page, row_of(total, "2026-01-01", "abc", 7))
    total.add(Judgement(8, Counter(clean_stop=1), acknowledged=1000))
    page = with_row(page, row_of(total, "2026-01-02", "def", 7))
    rows = [line for line in page.splitlines() if line.startswith("| 2026")]
    assert rows == [
        "| 2026-01-02 | def | 2 | 7 to 8 | 2 | 0 | 0 | 1 | 1 | 2,234 | 0 | 0 | 5 |",
        "| 2026-01-01 | abc | 1 | 7 to 7 | 2 | 0 | 0 | 0 | 1 | 1,234 | 0 | 0 | 5 |",
    ]
    assert page.startswith("Before.")
    assert page.endswith("After.\n")


def test_page_without_a_place_for_the_ledger_is_refused():
    with pytest.raises(ValueError, match="must hold"):
        with_row("# Reliability\n", "| row |\n")
