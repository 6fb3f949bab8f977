"""Large requests of records: taken in steps, so that others have their turn, and stored as one change."""

import asyncio

import pytest

from penstock.services.distributor import accepting, records
from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.config import AnalyzerConfig, Config, GroupConfig, Match
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import record
from services.distributor.fakes import body_of, books, running, settled, until

ERRORS = GroupConfig("errors", match=Match(min_level="ERROR"))
SETTINGS = Config(
    analyzers=(
        AnalyzerConfig("a1", "http://127.0.0.1:1/", 0.75),
        AnalyzerConfig("a2", "http://127.0.0.1:2/", 0.25),
        AnalyzerConfig("e1", "http://127.0.0.1:3/", group="errors"),
    ),
    groups=(ERRORS,),
    linger=0,
    health_interval=3600,
    accept_timeout=30,
    max_messages=5,
)
LARGE = 200  # records, which are 20 steps of routing and 40 packets or more


@pytest.fixture(autouse=True)
def steps_of_ten_records(monkeypatch):
    monkeypatch.setattr(records, "SLICE", 10)
    monkeypatch.setattr(accepting, "SLICE", 10)


@pytest.fixture
async def distributor(tmp_path, analyzers):
    async with running(tmp_path, analyzers, config=SETTINGS) as distributor:
        yield distributor


def some(count=LARGE, text="line"):
    return [record(Message(f"{text} {n}", level="INFO" if n % 4 else "ERROR")) for n in range(count)]


async def begun(distributor, count=LARGE, ids="large"):
    """A task that is taking a large request, and has made its first step."""
    task = asyncio.create_task(distributor.accept_records(some(count, ids), ids=ids))
    await asyncio.sleep(0)
    return task


def places_of_packets(distributor):
    """Of each packet that is stored from now on the number of its commit, and its own, by its id."""
    found, commit, commits = {}, distributor._spool.commit, []

    def noted(change):
        commits.append(change)
        found.update({packet.id: (len(commits), packet.seq) for packet in change.accepted})
        commit(change)

    distributor._spool.commit = noted
    return found


async def test_small_request_need_not_wait_for_a_large_one(distributor):
    large = await begun(distributor)
    await distributor.accept(body_of(1, prefix="small"))
    assert not large.done()
    receipt = await large
    assert receipt.accepted == LARGE
    await settled(distributor)
    assert books(distributor)["delivered"] == len(receipt.packets) + 1


async def test_large_request_is_stored_as_one_change(distributor):
    places = places_of_packets(distributor)
    large = await begun(distributor)
    while not large.done():
        await distributor.accept(body_of(1))
    packets = (await large).packets
    assert len(packets) == LARGE // 5
    assert len({places[id_][0] for id_ in packets}) == 1


async def test_large_requests_are_stored_in_the_order_in_which_they_came(distributor):
    places = places_of_packets(distributor)
    tasks = [await begun(distributor, LARGE - 50 * n, f"large{n}") for n in range(4)]
    receipts = await asyncio.gather(*tasks)
    in_order = [places[id_] for receipt in receipts for id_ in receipt.packets]
    assert in_order == sorted(in_order)


async def test_records_of_a_large_request_go_to_their_groups_by_exact_shares(distributor, analyzers):
    receipt = await distributor.accept_records(some(), ids="large")
    await settled(distributor)
    counts = {name: len(analyzers.ids(name)) for name in ("a1", "a2", "e1")}
    assert counts["e1"] == LARGE // 4 // 5
    assert sum(counts.values()) == len(receipt.packets)
    stats = figures_of(distributor)["analyzers"]
    assert all(abs(one["share_error_packets"]) <= 1 for one in stats.values())


async def test_large_request_that_is_taken_when_it_shuts_down_is_refused_and_leaves_nothing(distributor):
    large = await begun(distributor)
    await distributor.drain()
    with pytest.raises(NotStored, match="shutting down"):
        await large
    assert distributor.admission.packets == books(distributor)["accepted"] == 0


async def test_large_request_that_is_cancelled_leaves_nothing_and_holds_up_nobody(distributor):
    tasks = [await begun(distributor, ids=f"large{n}") for n in range(3)]
    for task in tasks[:2]:  # one that has begun, and one that waits for it
        task.cancel()
    await asyncio.wait(tasks[:2])
    assert (await tasks[2]).accepted == LARGE
    assert distributor.counted()["messages_accepted"] == LARGE


async def test_same_large_request_twice_at_a_time_is_stored_once(distributor):
    first, second = await begun(distributor), await begun(distributor)
    assert await first == await second
    counts = distributor.counted()
    assert counts["messages_accepted"] == LARGE
    assert counts["duplicates"] == counts["accepted"]


async def test_large_request_that_is_taken_while_its_group_goes_reaches_the_default_one(
    distributor, analyzers
):
    large = await begun(distributor)
    await distributor.reload(
        Config(
            analyzers=SETTINGS.analyzers[:2], linger=0, health_interval=3600, accept_timeout=30,
            max_messages=5,
        )
    )  # fmt: skip
    receipt = await large
    await until(lambda: books(distributor)["pending"] == 0)
    assert sorted(analyzers.ids()) == sorted(receipt.packets)
    assert analyzers.ids("e1") == []
