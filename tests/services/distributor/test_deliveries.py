"""Deliveries at each analyzer's own pace: halves, trials, rests, rates; a slow one holds up nobody."""

import asyncio
from collections import Counter

import msgspec
import pytest

from penstock.services.distributor import fleet
from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.config import AnalyzerConfig, Config, GroupConfig, Match
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.letters import Letters
from services.distributor.fakes import FakeAnalyzers, body_of, books, config_of, running, settled, until


class Picky(FakeAnalyzers):
    """Refuses whole deliveries for what is in them, and notes how large each was."""

    def __init__(self, refused=(), status=400, most=10**9):
        super().__init__()
        self.refused, self.status, self.most = set(refused), status, most
        self.sizes = []

    async def deliver(self, analyzer, packets):
        self.sizes.append(len(packets))
        if len(packets) > self.most:
            raise DeliveryFailed("answered 413 Too Large", 413)
        if self.refused.intersection(packet.id for packet in packets):
            raise DeliveryFailed(f"answered {self.status}", self.status)
        return await super().deliver(analyzer, packets)


def one_analyzer(**settings):
    analyzer = {key: settings.pop(key) for key in list(settings) if key in AnalyzerConfig.__struct_fields__}
    defaults = {"linger": 0, "health_interval": 3600, "accept_timeout": 30, "adaptive_concurrency": False}
    return Config(analyzers=(AnalyzerConfig("a1", "http://127.0.0.1:1/", **analyzer),), **defaults | settings)


# Halves


async def test_one_packet_that_is_refused_takes_no_other_with_it(tmp_path, times):
    analyzers = Picky({"p-37"})
    async with running(tmp_path, analyzers, times, config=one_analyzer(concurrency=1)) as distributor:
        await distributor.accept(body_of(100, prefix="p"))
        await settled(distributor)
        assert books(distributor) == {
            "accepted": 100, "delivered": 99, "dead": 1, "pending": 0, "conservation_error": 0,
        }  # fmt: skip
        assert {retry_count for *_, retry_count in analyzers.got} == {0}, "no neighbour lost an attempt"
        [(_, body, failures, error, _)] = await distributor.dead_letters(10)
        assert (msgspec.json.decode(body)["id"], failures, error) == ("p-37", 1, "answered 400")
        assert distributor.fleet["a1"].is_up
        assert len(analyzers.sizes) <= 16


async def test_packet_that_makes_an_error_nobody_thought_of_ends_alone_and_not_the_service(
    tmp_path, times, caplog
):
    class Surprised(FakeAnalyzers):
        async def deliver(self, analyzer, packets):
            if any(packet.id == "p-3" for packet in packets):
                raise OverflowError("too much")
            return await super().deliver(analyzer, packets)

        async def probe(self, analyzer):
            raise ZeroDivisionError

    analyzers = Surprised()
    async with running(tmp_path, analyzers, times, config=one_analyzer()) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await settled(distributor)
        assert sorted(analyzers.ids()) == [f"p-{n}" for n in range(10) if n != 3]
        [letter] = await distributor.dead_letters(10)
        assert letter[3] == "the delivery failed: OverflowError('too much')"
        await distributor.check_health()
        await distributor.check_health()
        assert distributor.fleet["a1"].last_error == "the probe failed: ZeroDivisionError()"
        assert not distributor.fleet["a1"].is_up
        assert not distributor.failed.done()
    assert "nobody thought of" in caplog.text


async def test_delivery_that_is_too_large_is_halved_until_it_fits(tmp_path, times):
    analyzers = Picky(most=10)
    async with running(tmp_path, analyzers, times, config=one_analyzer(concurrency=1)) as distributor:
        await distributor.accept(body_of(100, prefix="p"))
        await settled(distributor)
        assert books(distributor)["delivered"] == 100
        assert distributor.fleet["a1"].pace.batch_bytes < distributor.config.batch_bytes


async def test_wrong_address_costs_few_packets_before_the_analyzer_is_down(tmp_path, times):
    analyzers = FakeAnalyzers()
    analyzers.broken["a1"] = DeliveryFailed("answered 404", 404)
    async with running(tmp_path, analyzers, times, config=one_analyzer()) as distributor:
        await distributor.accept(body_of(100, prefix="p"))
        await settled(distributor)
        assert not distributor.fleet["a1"].is_up
        assert books(distributor) == {
            "accepted": 100, "delivered": 0, "dead": 5, "pending": 95, "conservation_error": 0,
        }  # fmt: skip
        analyzers.broken.clear()
        await distributor.check_health()
        await until(lambda: books(distributor)["delivered"] == 95)


# Trials and rests


async def test_analyzer_that_is_well_again_gets_one_delivery_alone_at_first(tmp_path, analyzers, times):
    config = one_analyzer(batch_packets=2, concurrency=4, probes_to_fall=1)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await until(lambda: analyzers.probes == 1)
        analyzers.ill["a1"] = "ill"
        await distributor.check_health()
        await distributor.accept(body_of(20, prefix="p"))
        analyzers.ill.clear()
        analyzers.gate = asyncio.Event()
        await distributor.check_health()
        await until(lambda: analyzers.begun)
        for _ in range(20):
            await asyncio.sleep(0)
        assert analyzers.begun == 1
        assert figures_of(distributor)["analyzers"]["a1"]["state"] == "trial"
        gate, analyzers.gate = analyzers.gate, asyncio.Event()
        gate.set()
        await until(lambda: analyzers.begun == 5)
        assert figures_of(distributor)["analyzers"]["a1"]["state"] == "up"
        analyzers.gate.set()
        await settled(distributor)


async def test_trial_that_fails_ends_at_once(tmp_path, analyzers, times):
    config = one_analyzer(batch_packets=2, probes_to_fall=1)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await until(lambda: analyzers.probes == 1)
        analyzers.ill["a1"] = "ill"
        await distributor.check_health()
        await distributor.accept(body_of(20, prefix="p"))
        analyzers.ill.clear()
        analyzers.broken["a1"] = "answered 500"
        await distributor.check_health()
        await until(lambda: distributor.retrying == 2)
        assert not distributor.fleet["a1"].is_up
        assert analyzers.begun == 1


async def test_analyzer_that_asks_for_rest_gets_nothing_until_then_and_is_not_down(
    tmp_path, analyzers, times
):
    analyzers.broken["a1"] = DeliveryFailed("answered 429", 429, 30)
    config = one_analyzer(batch_packets=1, concurrency=1)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(3, prefix="p"))
        await until(lambda: distributor.retrying == 1)
        analyzers.broken.clear()
        times.advance(29.9)
        distributor.tick()
        for _ in range(20):
            await asyncio.sleep(0)
        assert analyzers.got == []
        assert distributor.fleet["a1"].is_up
        times.advance(0.2)
        distributor.tick()
        await settled(distributor)
        assert sorted(analyzers.got) == [("a1", "p-0", 1), ("a1", "p-1", 0), ("a1", "p-2", 0)]


# Pace


async def test_settings_of_an_analyzer_go_before_those_of_all(tmp_path, times):
    analyzers = Picky()
    config = one_analyzer(batch_packets=3, concurrency=1)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await settled(distributor)
        assert analyzers.sizes == [3, 3, 3, 1]


async def test_delivery_waits_for_more_packets_and_no_longer_than_until_it_is_full(
    tmp_path, analyzers, times
):
    config = one_analyzer(linger=3600.0, batch_packets=10)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        for n in range(10):
            await distributor.accept(body_of(1, prefix=f"p{n}"))
        await settled(distributor)
        assert analyzers.begun == 1


async def test_rate_of_an_analyzer_is_kept(tmp_path, analyzers, times):
    config = one_analyzer(rate_limit=10)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(25, prefix="p"))
        for passed, sent in ((0, 10), (0.9, 10), (0.1, 20), (0.4, 20), (0.1, 25)):
            times.advance(passed)
            distributor.tick()
            await until(lambda sent=sent: len(analyzers.got) >= sent)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(analyzers.got) == sent


async def test_analyzer_that_hangs_holds_up_nobody_and_fills_no_memory(tmp_path, times):
    class Hanging(FakeAnalyzers):
        async def deliver(self, analyzer, packets):
            if analyzer.id == "a1":
                await stopped.wait()
            return await super().deliver(analyzer, packets)

    stopped, analyzers = asyncio.Event(), Hanging()
    settings = {"max_memory_bytes": 40_000, "batch_packets": 10, "weights": {"a1": 1, "a2": 1}}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        for round_ in range(20):
            await distributor.accept(body_of(100, prefix=f"r{round_}", text="x" * 500))
        await until(lambda: books(distributor)["delivered"] == 1000)  # held until that is stored
        assert len(analyzers.ids("a2")) == 1000
        assert distributor.fleet["a1"].queue.bytes < 21_000
        assert len(distributor.fleet.held) < 45
        assert figures_of(distributor)["analyzers"]["a1"]["queued"] > 900
        stopped.set()
        await until(lambda: len(analyzers.ids("a1")) == 1000)
        await settled(distributor)
        assert books(distributor)["conservation_error"] == 0


async def test_analyzer_that_fails_everything_is_sent_no_more_than_can_be_remembered(
    tmp_path, analyzers, times, monkeypatch
):
    monkeypatch.setattr(fleet, "MOST_RETRYING", 50)
    analyzers.broken["a1"] = "answered 500"
    config = one_analyzer(batch_packets=10, concurrency=1, errors_to_fall=10**6)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(200, prefix="p"))
        await until(lambda: distributor.retrying == 50)
        for _ in range(50):
            await asyncio.sleep(0)
        assert analyzers.begun == 5
        analyzers.broken.clear()
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert books(distributor)["delivered"] == 200


async def test_what_one_fails_piles_up_in_memory_no_more_when_others_are_slow(
    tmp_path, analyzers, times, monkeypatch
):
    monkeypatch.setattr(fleet, "MOST_RETRYING", 40)
    analyzers.failing = {f"p-{n}": "crashed" for n in range(1000)}
    stuck = asyncio.Event()

    class OneStuck(FakeAnalyzers):
        async def deliver(self, analyzer, packets):
            if analyzer.id == "a2":
                await stuck.wait()
                return {}
            return await super().deliver(analyzer, packets)

    one_stuck = OneStuck()
    one_stuck.failing = analyzers.failing
    config = config_of({"a1": 1, "a2": 1}, batch_packets=10, concurrency=1)
    async with running(tmp_path, one_stuck, times, config=config) as distributor:
        await distributor.accept(body_of(400, prefix="p"))
        for _ in range(20):
            for _ in range(20):
                await asyncio.sleep(0.001)
            times.advance(2)
            distributor.tick()
        failed = sum(one.queue.failed for one in distributor.fleet.members.values()) + distributor.retrying
        assert failed <= 20, "half of those that may be remembered"
        assert not distributor.fleet["a1"].in_flight
        stuck.set()
        async with asyncio.timeout(60):
            while distributor.pending:
                times.advance(60)
                distributor.tick()
                await asyncio.sleep(0.001)
        assert books(distributor)["conservation_error"] == 0


async def test_analyzers_that_fail_each_others_packets_do_not_wait_for_each_other(
    tmp_path, analyzers, times, monkeypatch
):
    monkeypatch.setattr(fleet, "MOST_RETRYING", 20)
    analyzers.failing = {f"p-{n}": "crashed" for n in range(400)}
    config = config_of({"a1": 1, "a2": 1}, batch_packets=10, concurrency=2)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(400, prefix="p"))
        async with asyncio.timeout(60):
            while distributor.pending:
                times.advance(60)
                distributor.tick()
                await asyncio.sleep(0.001)
        assert books(distributor)["dead"] == 400


# Groups, tiers and keys


async def test_packets_go_to_the_group_whose_rule_they_match_and_to_no_other(tmp_path, analyzers, times):
    config = Config(
        analyzers=(
            AnalyzerConfig("a1", "http://127.0.0.1:1/"),
            AnalyzerConfig("e1", "http://127.0.0.1:1/", 3, group="errors"),
            AnalyzerConfig("e2", "http://127.0.0.1:1/", 1, group="errors"),
        ),
        groups=(GroupConfig("errors", Match(min_level="ERROR")),),
        linger=0,
        health_interval=3600,
        max_memory_bytes=3000,
    )
    packets = [
        {"id": f"{level}{n}", "messages": [{"message": "x", "level": level}]}
        for n in range(40)
        for level in ("INFO", "ERROR")
    ]
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(msgspec.json.encode(packets))
        await settled(distributor)
        assert Counter(name for name, *_ in analyzers.got) == {"a1": 40, "e1": 30, "e2": 10}
        assert all(id_.startswith("INFO") for id_ in analyzers.ids("a1"))
        figures = figures_of(distributor)["analyzers"]
        assert [figures[id_]["share"] for id_ in ("a1", "e1", "e2")] == [1, 0.75, 0.25]
        assert {id_: one["group"] for id_, one in figures.items()} == {
            "a1": "default", "e1": "errors", "e2": "errors",
        }  # fmt: skip


async def test_higher_tier_gets_packets_only_while_the_lower_one_is_down(tmp_path, analyzers, times):
    config = config_of({"a1": 1, "a2": 1})
    backup = AnalyzerConfig("backup", "http://127.0.0.1:1/", tier=1)
    config = msgspec.structs.replace(config, analyzers=(*config.analyzers, backup))
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await settled(distributor)
        for id_ in ("a1", "a2"):
            distributor.control(id_, "down")
        await distributor.accept(body_of(10, prefix="q"))
        await settled(distributor)
        distributor.control("a1", None)
        await distributor.accept(body_of(10, prefix="r"))
        await settled(distributor)
        assert Counter(name for name, *_ in analyzers.got) == {"a1": 15, "a2": 5, "backup": 10}


@pytest.mark.parametrize("max_memory_bytes", [10**6, 400])
async def test_packets_of_one_key_stay_together_also_by_way_of_the_disk(
    tmp_path, analyzers, times, max_memory_bytes
):
    config = config_of(
        dict.fromkeys(("a1", "a2", "a3"), 1),
        groups=(GroupConfig("default", balance="sticky"),),
        max_memory_bytes=max_memory_bytes,
    )
    packets = [
        {"id": f"s{n % 20}-{n}", "messages": [{"message": "x", "source": f"s{n % 20}"}]} for n in range(400)
    ]
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(msgspec.json.encode(packets))
        await settled(distributor)
        homes = {(id_.partition("-")[0], name) for name, id_, _ in analyzers.got}
        assert len(homes) == 20
        fallen = Counter(name for _, name in homes).most_common(1)[0][0]
        distributor.control(fallen, "down")
        more = [packet | {"id": f"{packet['id']}-again"} for packet in packets]
        await distributor.accept(msgspec.json.encode(more))
        await settled(distributor)
        moved = {(id_.partition("-")[0], name) for name, id_, _ in analyzers.got if id_.endswith("-again")}
        assert len(moved) == 20
        assert {home for home in homes if home[1] != fallen} <= moved, "no other key moves"


async def test_replayed_packets_of_one_key_go_where_the_others_of_it_go(tmp_path, analyzers, times):
    config = config_of(
        dict.fromkeys(("a1", "a2", "a3"), 1),
        groups=(GroupConfig("default", balance="sticky"),),
        max_attempts=1,
    )
    packets = [{"id": f"p{n}", "messages": [{"message": "x", "source": "one"}]} for n in range(9)]
    analyzers.failing = {packet["id"]: "crashed" for packet in packets}
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        await distributor.accept(msgspec.json.encode(packets))
        await settled(distributor)
        analyzers.failing = {}
        await (await distributor.replay_dead_letters(Letters())).finished()
        await settled(distributor)
    assert len(analyzers.got) == 18
    assert len({name for name, *_ in analyzers.got}) == 1
