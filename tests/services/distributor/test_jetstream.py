"""Distributors that share a spool on a real nats-server: what one accepts, any of them delivers, once."""

import asyncio
import builtins
from collections import Counter
from itertools import count

import msgspec
import nats
import pytest

from nats_server import NatsServer
from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.letters import Letters
from penstock.services.distributor.spool import SpoolError
from services.distributor.fakes import REFERENCE, FakeAnalyzers, body_of, config_of
from services.distributor.jetstream_nodes import balanced, fleet_of, node, nodes, quiet, until

pytestmark = pytest.mark.engine

PREFIXES = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def spool(server):
    """The address of a spool that no other test uses."""
    return f"{server.url}/test{next(PREFIXES)}"


# Accepting and delivering


async def test_packets_are_delivered_once_by_exact_shares(tmp_path, spool, analyzers):
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        receipt = await distributor.accept(body_of(1000))
        await until(lambda: len(analyzers.got) >= 1000)
        await quiet(distributor)
    assert len(receipt.accepted) == 1000
    assert Counter(analyzers.ids()) == Counter(receipt.accepted)
    assert Counter(analyzer for analyzer, _, _ in analyzers.got) == {
        "a1": 400,
        "a2": 300,
        "a3": 200,
        "a4": 100,
    }


async def test_what_one_node_accepts_another_delivers_when_the_first_has_gone(tmp_path, spool):
    idle, working = FakeAnalyzers(), FakeAnalyzers()
    idle.gate = asyncio.Event()
    async with node(tmp_path, spool, "n1", idle, drain_timeout=0.01) as first:
        receipt = await first.accept(body_of(100))
        await until(lambda: idle.begun)
    async with node(tmp_path, spool, "n2", working) as second:
        await until(lambda: len(working.got) >= 100)
        await quiet(second)
    assert Counter(working.ids()) == Counter(receipt.accepted)


async def test_both_nodes_deliver(tmp_path, spool):
    ones, others = FakeAnalyzers(), FakeAnalyzers()
    async with node(tmp_path, spool, "n1", ones), node(tmp_path, spool, "n2", others) as second:
        await until(lambda: second.fleet.held is not None and len(second._filling._pulls) > 4)
        for _ in range(40):
            await second.accept(body_of(50))
        await until(lambda: len(ones.got) + len(others.got) >= 2000)
        assert len(ones.got) + len(others.got) == 2000
        assert ones.got, "the node that accepted nothing delivered nothing"


async def test_the_same_id_sent_to_two_nodes_is_stored_once(tmp_path, spool, analyzers):
    async with nodes(tmp_path, spool, analyzers=analyzers) as (first, second):
        for distributor in (first, second, second):
            receipt = await distributor.accept(body_of(10, prefix="mine"))
            assert len(receipt.accepted) == 10
        await until(lambda: len(analyzers.got) >= 10)
        await quiet(first, second)
        await until(lambda: fleet_of(first)["duplicates"] == 20)
        figures = await balanced(first)
    assert sorted(analyzers.ids()) == sorted(f"mine-{number}" for number in range(10))
    assert (figures["accepted"], figures["delivered"], figures["duplicates"]) == (10, 10, 20)


@pytest.mark.parametrize(("one", "other"), [("a\u00e9", "a\u00e8"), (" x", "x"), ("x\ny", "x y")])
async def test_ids_that_a_header_cannot_tell_apart_are_told_apart(tmp_path, spool, analyzers, one, other):
    packets = msgspec.json.encode([{"id": id_, "messages": [{"message": "x"}]} for id_ in (one, other)])
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        receipt = await distributor.accept(packets)
        await until(lambda: len(analyzers.got) >= len(receipt.accepted))
    assert Counter(analyzers.ids()) == Counter(receipt.accepted)


async def test_shares_of_one_node_are_exact_over_its_lives(tmp_path, spool, analyzers):
    for _ in range(10):
        async with node(tmp_path, spool, analyzers=analyzers) as distributor:
            await distributor.accept(body_of(1))
            await quiet(distributor)
    assert Counter(analyzer for analyzer, _, _ in analyzers.got) == {"a1": 4, "a2": 3, "a3": 2, "a4": 1}


async def test_names_with_dots_are_names_like_others(tmp_path, spool, analyzers):
    async with node(tmp_path, spool, "n.1", analyzers, weights={"eu.west": 1, "eu.east": 1}) as distributor:
        await distributor.accept(body_of(10))
        await until(lambda: len(analyzers.got) >= 10)
    assert Counter(analyzer for analyzer, _, _ in analyzers.got) == {"eu.west": 5, "eu.east": 5}


# Retries


async def test_a_packet_that_fails_is_tried_again_by_another_analyzer_when_it_is_due(
    tmp_path, spool, analyzers
):
    async with node(tmp_path, spool, analyzers=analyzers, retry_first=0.3) as distributor:
        loop = asyncio.get_running_loop()
        analyzers.failing["p-0"] = "not now"
        await distributor.accept(body_of(1, prefix="p"))
        await until(lambda: analyzers.got)
        failed_at = loop.time()
        analyzers.failing.clear()
        await until(lambda: len(analyzers.got) == 2)
        waited = loop.time() - failed_at
        await quiet(distributor)
        figures = await balanced(distributor)
    (first, _, attempts), (second, _, attempts_then) = analyzers.got
    assert waited > 0.25
    assert first != second
    assert (attempts, attempts_then) == (0, 1)
    assert (figures["retries"], figures["delivered"]) == (1, 1)


async def test_attempts_are_counted_over_nodes(tmp_path, spool, analyzers):
    analyzers.failing["p-0"] = "never"
    async with node(tmp_path, spool, "n1", analyzers, retry_first=0.2) as first:
        await first.accept(body_of(1, prefix="p"))
        await until(lambda: figures_of(first)["retries"] == 1)
    async with node(tmp_path, spool, "n2", analyzers, retry_first=0.2, max_attempts=2) as second:
        await until(lambda: figures_of(second)["dead"] == 1)
    assert [attempts for _, _, attempts in analyzers.got] == [0, 1]


# Analyzers that are down


async def test_packets_wait_while_no_analyzer_is_up_and_are_then_dealt_by_the_shares(
    tmp_path, spool, analyzers
):
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        for id_ in REFERENCE:
            distributor.control(id_, "down")
        await distributor.accept(body_of(100))
        await until(lambda: distributor.pending == 100)
        assert not analyzers.got
        for id_ in REFERENCE:
            distributor.control(id_, None)
        await until(lambda: len(analyzers.got) >= 100)
        await quiet(distributor)
        figures = figures_of(distributor)["analyzers"]
    assert len(analyzers.got) == 100
    assert sum(one["first_assigned"] for one in figures.values()) == 100


async def test_packets_of_an_analyzer_that_falls_go_to_others(tmp_path, spool, analyzers):
    analyzers.gate = asyncio.Event()
    async with node(tmp_path, spool, analyzers=analyzers, concurrency=1, batch_packets=1) as distributor:
        await distributor.accept(body_of(200))
        await until(lambda: distributor.fleet["a1"].queue)
        distributor.control("a1", "down")
        analyzers.gate.set()
        await until(lambda: len(analyzers.got) >= 200)
        await quiet(distributor)
    assert len(analyzers.got) == 200
    assert len(analyzers.ids("a1")) <= 1


async def test_what_an_analyzer_that_is_no_more_left_goes_to_the_others(tmp_path, spool, analyzers):
    idle = FakeAnalyzers()
    idle.gate = asyncio.Event()
    async with node(tmp_path, spool, "n1", idle, weights={"old": 1}, drain_timeout=0.01) as first:
        receipt = await first.accept(body_of(10))
    async with node(tmp_path, spool, "n2", analyzers, weights={"new": 1}) as second:
        await until(lambda: len(analyzers.got) >= 10)
        await quiet(second)
    assert Counter(analyzers.ids("new")) == Counter(receipt.accepted)


async def test_a_slow_analyzer_fills_no_memory_and_stops_no_other(tmp_path, spool, analyzers):
    async def deliver(analyzer, packets):
        if analyzer.id == "slow":
            await asyncio.Event().wait()
        analyzers.got += [(analyzer.id, packet.id, 0) for packet in packets]
        return {}

    analyzers.deliver = deliver
    weights = {"slow": 1, "fast": 1}
    settings = {"weights": weights, "drain_timeout": 0.01}
    async with node(tmp_path, spool, analyzers=analyzers, **settings) as distributor:
        for _ in range(20):
            await distributor.accept(body_of(1000))
        await until(lambda: len(analyzers.ids("fast")) == 10_000)
        await until(lambda: distributor.pending == 10_000)
        assert len(distributor.fleet["slow"].queue) <= 2000


# Dead letters


async def test_dead_letters_are_seen_by_every_node_and_replayed_once(tmp_path, spool, analyzers):
    analyzers.failing |= {f"p-{number}": "never" for number in range(5)}
    async with nodes(tmp_path, spool, analyzers=analyzers, max_attempts=1) as (first, second):
        await first.accept(body_of(5, prefix="p"))
        await seen_by(5, first, second)
        [one, *_], [other, *_] = await first.dead_letters(10), await second.dead_letters(10)
        assert one == other
        found = await second.search_dead_letters("hello")
        assert len(found.scores) == 5
        analyzers.failing.clear()
        analyzers.got.clear()
        for replaying in await asyncio.gather(
            *(one.replay_dead_letters(Letters()) for one in (first, second))
        ):
            await replaying.finished()
        await seen_by(0, first, second)
        await until(lambda: len(analyzers.got) >= 5)
        await quiet(first, second)
        figures = await balanced(first)
    assert sorted(analyzers.ids()) == [f"p-{number}" for number in range(5)]
    assert figures["replayed"] == 5


async def test_a_letter_that_is_replayed_may_fail_and_be_replayed_again(tmp_path, spool, analyzers):
    analyzers.failing["p-0"] = "never"
    async with node(tmp_path, spool, analyzers=analyzers, max_attempts=1) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        for _ in range(3):
            await seen_by(1, distributor)
            analyzers.got.clear()
            await (await distributor.replay_dead_letters(Letters())).finished()
            await until(lambda: analyzers.got)
        await seen_by(1, distributor)
        await balanced(distributor)


async def test_letters_are_purged_once_for_all(tmp_path, spool, analyzers):
    analyzers.failing |= {f"p-{number}": "never" for number in range(20)}
    async with nodes(tmp_path, spool, analyzers=analyzers, max_attempts=1) as (first, second):
        await first.accept(body_of(20, prefix="p"))
        await seen_by(20, first, second)
        await asyncio.gather(first.purge_dead_letters(Letters()), second.purge_dead_letters(Letters()))
        await seen_by(0, first, second)
        assert first.counters["purged"] + second.counters["purged"] == 20
        await until(lambda: fleet_of(first)["purged"] == 20)


async def test_a_node_sees_letters_that_came_and_went_while_nats_was_away(tmp_path, analyzers):
    analyzers.failing |= {f"p-{number}": "never" for number in range(20)}
    with NatsServer(tmp_path / "nats") as server:
        async with nodes(tmp_path, server.url, analyzers=analyzers, max_attempts=1) as both:
            await both[0].accept(body_of(10, prefix="p"))
            await seen_by(10, *both)
            server.stop()
            await until(lambda: not any(one._spool.connection.is_ready for one in both))
            server.start()
            await until(lambda: all(one._spool.connection.is_ready for one in both))
            first = (await both[1].dead_letters(100))[-1][0]
            await both[1].purge_dead_letters(Letters(seqs=[first]))
            await seen_by(9, *both)
            analyzers.failing["q-0"] = "never"
            await both[1].accept(body_of(1, prefix="q"))
            await seen_by(10, *both)


async def test_letters_are_there_after_a_restart_at_a_node_that_has_never_seen_them(
    tmp_path, spool, analyzers
):
    analyzers.failing["p-0"] = "never"
    async with node(tmp_path, spool, "n1", analyzers, max_attempts=1) as first:
        await first.accept(body_of(3, prefix="p"))
        await seen_by(1, first)
    async with node(tmp_path, spool, "n2", analyzers) as second:
        await seen_by(1, second)
        [(_, body, failures, error, _)] = await second.dead_letters(10)
    assert msgspec.json.decode(body)["id"] == "p-0"
    assert (failures, error) == (1, "never")


async def test_the_oldest_letters_beyond_the_bound_are_purged(tmp_path, spool, analyzers):
    analyzers.failing |= {f"p-{number}": "never" for number in range(20)}
    async with nodes(tmp_path, spool, analyzers=analyzers, max_attempts=1, max_dead_letters=5) as both:
        await both[0].accept(body_of(20, prefix="p"))
        await seen_by(20, *both)
        await asyncio.gather(*(distributor.clean_up() for distributor in both))
        await seen_by(5, *both)


async def test_what_was_said_of_letters_that_have_gone_is_forgotten_after_a_day(
    tmp_path, spool, analyzers, monkeypatch
):
    analyzers.failing["p-0"] = "never"
    async with node(tmp_path, spool, analyzers=analyzers, max_attempts=1) as distributor:
        streams, dead = distributor._spool.streams, distributor._spool.names.dead
        await distributor.accept(body_of(1, prefix="p"))
        await seen_by(1, distributor)
        await distributor.purge_dead_letters(Letters())
        await until(lambda: distributor._letters._markers)
        marker = distributor._letters._markers[0].seq
        await distributor.clean_up()
        assert await streams.is_there(dead, marker)
        monkeypatch.setattr("penstock.services.distributor.jetstream.letters.KEPT_MS", -60_000)
        await distributor.clean_up()
        assert not await streams.is_there(dead, marker)


async def seen_by(letters, *distributors):
    """Every node has so many dead letters."""
    for distributor in distributors:
        await until(lambda one=distributor: len(one._letters) == letters)


async def test_a_message_that_nobody_of_us_wrote_becomes_a_dead_letter(server, tmp_path, spool, analyzers):
    prefix = spool.rpartition("/")[2]
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        client = await nats.connect(server.url)
        await client.publish(f"{prefix}.packets.default.a1", b"surprise")
        await client.close()
        await seen_by(1, distributor)
        [(_, body, _, error, _)] = await distributor.dead_letters(10)
    assert b"surprise" in body
    assert error.startswith("it is no packet of a distributor")


# When there is no room, or no NATS


async def test_packets_beyond_the_bound_are_refused_until_there_is_room(tmp_path, spool, analyzers):
    analyzers.gate = asyncio.Event()
    async with nodes(tmp_path, spool, analyzers=analyzers, max_pending=100, low_water=1) as (first, second):
        await first.accept(body_of(100))
        await until(lambda: second.admission.packets == 100)
        receipt = await second.accept(body_of(1))
        assert [refusal.code for refusal in receipt.refused] == ["queue_full"]
        analyzers.gate.set()
        await quiet(first, second)
        await until(lambda: second.admission.packets == 0)
        assert (await second.accept(body_of(1))).accepted


async def test_a_server_that_takes_no_more_keeps_nobody_from_delivering(tmp_path, spool, analyzers):
    """The nodes think that there is room; the server, whose bound is a tenth higher, knows better."""
    analyzers.gate = asyncio.Event()
    async with node(tmp_path, spool, analyzers=analyzers, max_pending=100) as distributor:
        await distributor.accept(body_of(100))
        distributor.admission.came_back(-100, -distributor.admission.bytes)
        with pytest.raises(NotStored, match="maximum messages exceeded"):
            await distributor.accept(body_of(50))
        analyzers.gate.set()
        await quiet(distributor)
        figures = await balanced(distributor)
    assert len(analyzers.got) == figures["accepted"] == 110
    shares = Counter(analyzer for analyzer, _, _ in analyzers.got)
    assert shares == {"a1": 44, "a2": 33, "a3": 22, "a4": 11}


async def test_packets_for_which_no_message_has_room_are_refused_as_too_large(tmp_path, spool, analyzers):
    settings = {"max_packet_bytes": 2**21, "max_message_bytes": 2**21, "max_body_bytes": 2**22}
    async with node(tmp_path, spool, analyzers=analyzers, **settings) as distributor:
        receipt = await distributor.accept(body_of(1, text="x" * (2**20 - 16 * 1024)))
        assert [refusal.code for refusal in receipt.refused] == ["too_large"]
        assert (await distributor.accept(body_of(1, text="x" * (2**20 - 17 * 1024)))).accepted
        await until(lambda: analyzers.got)
        distributor.admission.change(config_of(**settings), distributor._router)
        with pytest.raises(NotStored, match="larger than max_payload"):
            await distributor.accept(body_of(1, text="x" * (2**20 - 16 * 1024)))
        await quiet(distributor)


async def test_without_nats_a_node_starts_and_refuses_and_works_when_it_comes(
    tmp_path, analyzers, monkeypatch
):
    monkeypatch.setattr("penstock.services.distributor.jetstream.spool.PATIENCE", 0.05)
    server = NatsServer(tmp_path / "late")
    async with node(tmp_path, server.url, analyzers=analyzers) as distributor:
        with pytest.raises(NotStored, match="cannot be used"):
            await distributor.accept(body_of(1))
        with server:
            await until(lambda: figures_of(distributor)["fleet"] and distributor._spool.connection.is_ready)
            await distributor.accept(body_of(10))
            await until(lambda: len(analyzers.got) == 10)


async def test_a_server_that_is_killed_and_comes_back_has_lost_nothing(tmp_path, analyzers):
    with NatsServer(tmp_path / "nats") as server:
        async with node(tmp_path, server.url, analyzers=analyzers) as distributor:
            analyzers.gate = asyncio.Event()
            receipt = await distributor.accept(body_of(500))
            await until(lambda: analyzers.begun)
            server.stop()
            with pytest.raises(NotStored):
                await distributor.accept(body_of(1))
            analyzers.gate.set()
            await until(lambda: len(analyzers.got))
            server.start()
            await until(lambda: set(analyzers.ids()) == set(receipt.accepted))
            await quiet(distributor)
            await distributor.accept(body_of(1))
            await quiet(distributor)


async def test_while_the_server_hangs_packets_are_refused_in_time(tmp_path, analyzers):
    with NatsServer(tmp_path / "nats") as server:
        async with node(tmp_path, server.url, analyzers=analyzers, accept_timeout=0.2) as distributor:
            await distributor.accept(body_of(1))
            server.freeze()
            with pytest.raises(NotStored, match=r"not stored within 0\.2 s"):
                await distributor.accept(body_of(5, prefix="p"))
            server.thaw()
            await until(lambda: len(analyzers.got) == 6)
            assert len((await distributor.accept(body_of(5, prefix="p"))).accepted) == 5
            await quiet(distributor)
    assert len(analyzers.got) == 6


async def test_an_analyzer_that_fails_is_no_reason_to_wait_for_others(tmp_path, spool, analyzers):
    analyzers.broken["a1"] = DeliveryFailed("answered 500", 500)
    async with node(tmp_path, spool, analyzers=analyzers, retry_first=0.05) as distributor:
        await distributor.accept(body_of(100))
        await until(lambda: len(analyzers.got) == 100)
        await quiet(distributor)
    assert not analyzers.ids("a1")


# Starting


async def test_a_node_says_what_to_install_when_the_client_of_nats_is_missing(tmp_path, spool, monkeypatch):
    real = builtins.__import__

    def without_nats(name, *arguments):
        if name.partition(".")[0] == "nats":
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_nats)
    with pytest.raises(SpoolError, match=r"pip install 'penstock\[nats\]'"):
        async with node(tmp_path, spool):
            pass


async def test_two_nodes_cannot_have_one_folder(tmp_path, spool):
    async with node(tmp_path, spool):
        with pytest.raises(SpoolError, match="is in use by another distributor"):
            async with node(tmp_path, spool):
                pass


async def test_every_node_tells_of_all_nodes(tmp_path, spool, analyzers):
    async with nodes(tmp_path, spool, ("n1", "n2", "n3"), analyzers=analyzers) as three:
        for place, distributor in enumerate(three, 1):
            await distributor.accept(body_of(place * 10))
        await quiet(*three)
        await until(lambda: all(fleet_of(one)["accepted"] == 60 for one in three))
        await until(lambda: all(fleet_of(one)["conservation_error"] == 0 for one in three))
        figures = fleet_of(three[0])["nodes"]
        assert figures_of(three[0])["durability"] == "jetstream"
    assert {name: one["accepted"] for name, one in figures.items()} == {"n1": 10, "n2": 20, "n3": 30}


async def test_counts_go_on_after_a_restart(tmp_path, spool, analyzers):
    for times in (1, 2):
        async with node(tmp_path, spool, analyzers=analyzers) as distributor:
            await distributor.accept(body_of(10))
            await quiet(distributor)
            assert (await balanced(distributor))["accepted"] == times * 10
            assert figures_of(distributor)["accepted"] == times * 10


async def test_an_analyzer_held_down_stays_so_over_a_restart(tmp_path, spool, analyzers):
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        distributor.control("a1", "down", reason="maintenance")
        await distributor.accept(body_of(1))
        await quiet(distributor)
    async with node(tmp_path, spool, analyzers=analyzers) as distributor:
        assert not distributor.fleet["a1"].is_up
        assert distributor.fleet["a1"].circuit.reason == "maintenance"
