"""What an operator commands at one node, all of them do; whoever comes late or was cut off does it then."""

import asyncio
from contextlib import asynccontextmanager
from itertools import count

import msgspec
import nats
import pytest

from nats_server import NatsServer
from penstock.clock import ManualClock
from penstock.services.distributor.config import AnalyzerConfig
from penstock.services.distributor.jetstream.address import Names
from penstock.services.distributor.jetstream.command_bucket import KEPT_MS, CommandBucket
from penstock.services.distributor.jetstream.commands import (
    HealthCommand,
    SettingsCommand,
    command_in,
    with_commands,
)
from penstock.services.distributor.jetstream.opening import shared_distributor
from penstock.services.distributor.jetstream.streams import StoredMessage
from penstock.services.distributor.reloading import CannotChange
from services.distributor.fakes import START_NS, FakeAnalyzers, body_of, config_of
from services.distributor.jetstream_nodes import Cable, node, nodes, quiet, until

PREFIXES = count(1)
NAMES = ("n1", "n2", "n3")
WEIGHTS = {"a1": 1, "a2": 1}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def spool(server):
    """The address of a spool that no other test uses."""
    return f"{server.url}/commands{next(PREFIXES)}"


def analyzer(id_, **fields):
    return AnalyzerConfig(id_, f"http://127.0.0.1:1/{id_}", **fields)


def held(distributor, id_="a1"):
    """How an analyzer is held, None when it is not, or not there."""
    member = distributor.fleet.members.get(id_)
    return None if member is None else member.circuit.overridden


def weights(distributor):
    return {one.id: one.weight for one in distributor.config.analyzers}


def told(distributor):
    """Whether all that was commanded here is in the bucket."""
    return not distributor._spool.commands._pending


async def changed(distributor, *, without=(), **analyzers):
    """As REST does it: some analyzers become others, or are added or removed."""
    now = {one.id: one for one in distributor.config.analyzers if one.id not in without}
    await distributor.change_analyzers((now | analyzers).values())


# What a command is


def test_a_command_comes_back_as_it_was():
    for command in (
        HealthCommand("a.1", "drain", 17, "why", "n1", 3),
        HealthCommand("a.1", None),
        SettingsCommand("a.1", None, analyzer("a.1", weight=7), "n1", 3),
        SettingsCommand("a.1", analyzer("a.1"), None),
    ):
        assert command_in(command.key, msgspec.json.encode(command)) == command


@pytest.mark.parametrize(
    ("key", "command", "says"),
    [
        ("health.a1", HealthCommand("a2", "down"), "must be of the analyzer of its key, got a2"),
        ("settings.a1", HealthCommand("a1", "down"), "must be JSON of its kind"),
        ("settings.a1", SettingsCommand("a1", None, analyzer("a2")), "of its key, got a1, a2"),
        ("health.a1", HealthCommand("a1", "upside"), "must be JSON of its kind"),
        ("health.a1", HealthCommand("a1", "down", None, "x" * 501), "must be JSON of its kind"),
        ("health.a1", {"analyzer": "a1", "state": "down", "until_ms": 10**16}, "must be JSON of its kind"),
    ],
)
def test_what_is_no_command_of_its_key_is_refused(key, command, says):
    with pytest.raises(ValueError, match=says):
        command_in(key, msgspec.json.encode(command))


@pytest.mark.parametrize("start", [b"[", b'{"x":', b'{"analyzer":"a1","state":"down","x":['])
@pytest.mark.parametrize("key", ["health.a1", "settings.a1"])
def test_what_is_nested_too_deeply_is_refused(key, start):
    with pytest.raises(ValueError, match="must be JSON of its kind"):
        command_in(key, start + b"[" * 200_000)


def test_commands_stand_for_what_the_settings_say():
    config = config_of(WEIGHTS)
    a1, a2 = config.analyzers
    heavy, new = analyzer("a1", weight=5), analyzer("a0")
    given = [SettingsCommand("a1", a1, heavy), SettingsCommand("a2", a2, None)]
    assert with_commands(config, [*given, SettingsCommand("a0", None, new)]).analyzers == (heavy, new)


def test_a_command_does_not_hold_where_the_settings_say_something_else_by_now():
    other = analyzer("a1", weight=3)
    config = config_of(WEIGHTS)
    commands = [SettingsCommand("a1", other, analyzer("a1", weight=5)), SettingsCommand("a2", None, None)]
    assert with_commands(config, commands) == config


def test_commands_that_do_not_go_together_count_as_far_as_they_do():
    config = config_of(WEIGHTS)
    a1, a2 = config.analyzers
    commands = [SettingsCommand("a1", a1, None), SettingsCommand("a2", a2, None)]
    assert with_commands(config, commands).analyzers == (a2,)
    assert with_commands(config, commands[::-1]).analyzers == (a1,)


def test_an_analyzer_that_cannot_be_reached_from_here_stays_as_it_is():
    config = config_of(WEIGHTS)
    missing = analyzer("a1", ca_file="/there/is/no/such/file")
    commands = [
        SettingsCommand("a1", config.analyzers[0], missing),
        SettingsCommand("a3", None, analyzer("a3")),
    ]
    assert with_commands(config, commands).analyzers == (*config.analyzers, analyzer("a3"))


class StreamsOf:
    """The bucket, as the server has it."""

    def __init__(self):
        self.held = {}  # subject -> message

    async def subjects(self, stream):
        return list(self.held)

    async def last(self, stream, subject):
        return self.held.get(subject)

    def put(self, revision, command):
        data = msgspec.json.encode(command)
        self.held[Names("p").command(command.key)] = StoredMessage(revision, data)


async def test_a_command_that_went_from_the_bucket_is_over_and_one_that_was_over_is_no_news():
    streams = StreamsOf()
    bucket = CommandBucket(None, streams, Names("p"), "n1", ManualClock(START_NS))
    streams.put(1, HealthCommand("a1", "down"))
    streams.put(2, HealthCommand("a2", "down", START_NS // 10**6 - 1))
    streams.put(3, HealthCommand("a3", None))
    streams.put(4, SettingsCommand("a4", None, None))
    await bucket.load()
    assert bucket.take_news() == {"health.a1", "health.a2", "health.a3", "settings.a4"}
    assert [*bucket.overrides()] == ["a1", "a2"]
    await bucket.load()
    assert not bucket.take_news()
    streams.held.clear()
    await bucket.load()
    assert bucket.take_news() == {"health.a1"}
    assert not bucket.overrides()


async def test_a_bucket_that_lost_its_end_is_what_it_says_now():
    streams = StreamsOf()
    bucket = CommandBucket(None, streams, Names("p"), "n1", ManualClock(START_NS))
    streams.put(9, HealthCommand("a1", "down"))
    await bucket.load()
    bucket.take_news()
    streams.put(5, HealthCommand("a1", "drain"))
    await bucket.load()
    assert bucket.take_news() == {"health.a1"}
    assert bucket.health_of("a1").state == "drain"


# How analyzers are held


@pytest.mark.engine
async def test_an_analyzer_that_is_held_at_one_node_is_held_at_all_until_it_is_put_back(tmp_path, spool):
    async with nodes(tmp_path, spool, NAMES, weights=WEIGHTS) as three:
        three[0].control("a1", "down", reason="maintenance")
        three[2].control("a2", "drain", 3600)
        await until(lambda: all((held(one), held(one, "a2")) == ("down", "drain") for one in three))
        for one in three:
            assert one.fleet["a1"].circuit.reason == "maintenance"
            assert 0 < one.fleet["a2"].circuit.expires_in <= 3600
        three[1].control("a1", None)
        await until(lambda: all(held(one) is None and held(one, "a2") == "drain" for one in three))


@pytest.mark.engine
async def test_no_node_delivers_to_an_analyzer_that_is_held_down_at_one(tmp_path, spool):
    fakes = [FakeAnalyzers(), FakeAnalyzers()]
    async with (
        node(tmp_path, spool, "n1", fakes[0], weights=WEIGHTS) as first,
        node(tmp_path, spool, "n2", fakes[1], weights=WEIGHTS) as second,
    ):
        first.control("a1", "down")
        await until(lambda: held(second) == "down")
        for one in (first, second):
            await one.accept(body_of(50))
        await until(lambda: sum(len(fake.got) for fake in fakes) >= 100)
        await quiet(first, second)
    assert {name for fake in fakes for name, _, _ in fake.got} == {"a2"}


@pytest.mark.engine
async def test_putting_back_an_analyzer_puts_it_back_at_nodes_for_which_it_fell_by_itself(tmp_path, spool):
    fakes = [FakeAnalyzers(), FakeAnalyzers()]
    async with (
        node(tmp_path, spool, "n1", fakes[0], weights=WEIGHTS) as first,
        node(tmp_path, spool, "n2", fakes[1], weights=WEIGHTS, probes_to_fall=1) as second,
    ):
        fakes[1].ill["a1"] = "no answer"
        await second.check_health()
        assert second.fleet["a1"].circuit.state == "down"
        first.control("a1", None)
        await until(lambda: second.fleet["a1"].is_up)


@pytest.mark.engine
async def test_a_node_that_starts_late_holds_analyzers_from_its_first_packet_on(tmp_path, spool, analyzers):
    async with node(tmp_path, spool, "n1", weights=WEIGHTS) as first:
        first.control("a1", "down", reason="maintenance")
        await until(lambda: told(first))
        async with node(tmp_path, spool, "n2", analyzers, weights=WEIGHTS) as second:
            assert held(second) == "down"
            assert second.fleet["a1"].circuit.reason == "maintenance"


@pytest.mark.engine
async def test_what_was_commanded_right_before_a_node_stopped_is_told(tmp_path, spool):
    async with node(tmp_path, spool, "n1", weights=WEIGHTS) as first:
        first.control("a1", "down")
    async with node(tmp_path, spool, "n2", weights=WEIGHTS) as second:
        assert held(second) == "down"


@pytest.mark.engine
async def test_a_command_ends_at_the_same_time_for_all_and_health_counts_again(tmp_path, spool):
    wall = ManualClock(START_NS)
    clocks = [ManualClock(10**9), ManualClock(10**9)]
    configs = [
        config_of(WEIGHTS, spool=spool, node=name, data_dir=str(tmp_path / name), max_pending_bytes=2**26)
        for name in NAMES[:2]
    ]
    async with shared_distributor(configs[0], FakeAnalyzers(), clock=clocks[0], wall=wall) as first:
        first.control("a1", "down", 60)
        await until(lambda: told(first))
        wall.advance(50)
        async with shared_distributor(configs[1], FakeAnalyzers(), clock=clocks[1], wall=wall) as second:
            assert second.fleet["a1"].circuit.expires_in == pytest.approx(10, abs=0.01)
            clocks[1].advance(10.1)
            second.tick()
            assert held(second) is None
            await until(lambda: told(second))
            assert held(first) == "down", "the end of a command is no command"
            clocks[0].advance(60.1)
            first.tick()
            assert held(first) is None


@pytest.mark.engine
async def test_a_command_whose_time_is_over_when_it_is_heard_holds_nobody(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as (first, second):
        first.control("a1", "down")
        await until(lambda: held(second) == "down")
        over = HealthCommand("a1", "drain", 1, "long ago")
        subject = first._spool.names.command(over.key)
        await first._spool.connection.send(subject, msgspec.json.encode(over))
        await until(lambda: held(first) is None and held(second) is None)


# Analyzers that are changed at run time


@pytest.mark.engine
async def test_analyzers_that_are_added_changed_or_removed_at_one_node_are_so_at_all(tmp_path, spool):
    async with nodes(tmp_path, spool, NAMES, weights=WEIGHTS) as three:
        await changed(three[0], a1=analyzer("a1", weight=3))
        await changed(three[0], a9=analyzer("a9"))
        await until(lambda: all(weights(one) == {"a1": 3, "a2": 1, "a9": 1} for one in three))
        await changed(three[1], without=["a2"])
        await until(lambda: all(weights(one) == {"a1": 3, "a9": 1} for one in three))
        await changed(three[2], without=["a9"], a2=analyzer("a2"), a1=analyzer("a1"))
        await until(lambda: all(weights(one) == WEIGHTS for one in three))


@pytest.mark.engine
async def test_changes_of_different_analyzers_at_two_nodes_at_a_time_both_hold_in_one_order(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as both:
        await asyncio.gather(
            changed(both[0], a1=analyzer("a1", weight=3), z=analyzer("z")),
            changed(both[1], a2=analyzer("a2", weight=5), b=analyzer("b")),
        )
        wanted = [("a1", 3), ("a2", 5), ("b", 1), ("z", 1)]
        await until(lambda: all([*weights(one).items()] == wanted for one in both))


@pytest.mark.engine
async def test_of_two_commands_about_one_analyzer_the_one_that_came_last_to_the_bucket_holds(tmp_path, spool):
    async with nodes(tmp_path, spool, NAMES, weights=WEIGHTS) as three:
        await asyncio.gather(
            *(changed(one, a1=analyzer("a1", weight=place)) for place, one in enumerate(three, 2))
        )
        await until(lambda: all(told(one) for one in three))
        last = await three[0]._spool.streams.last(
            three[0]._spool.names.commands_stream, three[0]._spool.names.command("settings.a1")
        )
        weight = msgspec.json.decode(last.data)["now"]["weight"]
        await until(lambda: all(weights(one)["a1"] == weight for one in three))


@pytest.mark.engine
async def test_a_node_that_starts_late_has_the_analyzers_of_the_others(tmp_path, spool):
    async with node(tmp_path, spool, "n1", weights=WEIGHTS) as first:
        await changed(first, without=["a2"], a9=analyzer("a9", weight=2))
        first.control("a9", "down")
        await until(lambda: told(first))
    async with node(tmp_path, spool, "n2", weights=WEIGHTS) as second:
        assert weights(second) == {"a1": 1, "a9": 2}
        assert held(second, "a9") == "down"


@pytest.mark.engine
async def test_an_analyzer_that_comes_with_a_command_is_held_as_was_commanded_before(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as (first, second):
        before = HealthCommand("a9", "down", None, "not yet")
        await first._spool.connection.send(
            first._spool.names.command(before.key), msgspec.json.encode(before)
        )
        await until(lambda: second._spool.commands.health_of("a9"))
        await changed(second, a9=analyzer("a9"))
        await until(lambda: held(first, "a9") == held(second, "a9") == "down")


@pytest.mark.engine
async def test_an_analyzer_that_is_removed_and_added_again_is_held_by_nobody(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as (first, second):
        first.control("a2", "down")
        await until(lambda: held(second, "a2") == "down")
        await changed(first, without=["a2"])
        await until(lambda: "a2" not in weights(second))
        await changed(second, a2=analyzer("a2"))
        await until(lambda: "a2" in weights(first))
        await until(lambda: told(first) and told(second))
        await until(lambda: not any(one._spool.commands.health_of("a2") for one in (first, second)))
        await until(lambda: (held(first, "a2"), held(second, "a2")) == (None, None))


@pytest.mark.engine
async def test_a_node_that_shuts_down_commands_nothing_more(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as (first, second):
        await first.drain()
        with pytest.raises(CannotChange, match="shutting down"):
            await changed(first, a9=analyzer("a9"))
        assert told(first)
        assert weights(second) == WEIGHTS


@pytest.mark.engine
@pytest.mark.parametrize("how", ["delete", "purge"])
async def test_a_key_that_is_deleted_from_the_bucket_takes_back_what_it_commanded(
    tmp_path, server, spool, how
):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as both:
        both[0].control("a1", "down")
        await changed(both[1], a9=analyzer("a9"), a2=analyzer("a2", weight=4))
        await until(lambda: all(held(one) == "down" and weights(one)["a2"] == 4 for one in both))
        await until(lambda: all("a9" in weights(one) for one in both) and told(both[1]))
        operator = await nats.connect(server.url)
        bucket = await operator.jetstream().key_value(both[0]._spool.names.commands)
        for key in ("health.a1", "settings.a9"):
            await getattr(bucket, how)(key)
        await operator.close()
        await until(lambda: all(held(one) is None and weights(one) == {"a1": 1, "a2": 4} for one in both))


@pytest.mark.engine
async def test_a_bucket_that_is_deleted_is_made_anew_and_commands_nothing_until_something_is_commanded(
    tmp_path, server, spool, monkeypatch
):
    # a server that deletes a stream does not always tell those who wait for its messages
    monkeypatch.setattr("penstock.services.distributor.jetstream.pull.SILENCE", 2)
    async with nodes(tmp_path, spool, NAMES, weights=WEIGHTS) as three:
        three[0].control("a1", "down")
        await changed(three[1], a9=analyzer("a9"))
        await until(lambda: all(held(one) == "down" and "a9" in weights(one) for one in three))
        operator = await nats.connect(server.url)
        await operator.jetstream().delete_stream(three[0]._spool.names.commands_stream)
        await operator.close()
        await until(lambda: all(held(one) is None and weights(one) == WEIGHTS for one in three))
        three[2].control("a2", "drain")
        await until(lambda: all(held(one, "a2") == "drain" for one in three))
        assert (await three[0].accept(body_of(10))).accepted


@pytest.mark.engine
async def test_a_change_that_is_too_large_to_be_told_to_all_is_made_by_nobody(tmp_path, spool):
    async with nodes(tmp_path, spool, weights=WEIGHTS) as both:
        large = analyzer("a9", headers={f"X-{number}": "x" * 4000 for number in range(80)})
        with pytest.raises(ValueError, match=r"a9 must be up to 261120 bytes, .*, got 32"):
            await changed(both[0], a2=analyzer("a2", weight=4), a9=large)
        assert told(both[0])
        assert weights(both[0]) == WEIGHTS
        await changed(both[0], a2=analyzer("a2", weight=4))
        await until(lambda: weights(both[1])["a2"] == 4)


# What settings say


@pytest.mark.engine
async def test_a_node_whose_settings_say_something_else_of_an_analyzer_goes_by_them(tmp_path, spool):
    async with (
        node(tmp_path, spool, "n1", weights=WEIGHTS) as first,
        node(tmp_path, spool, "n2", weights=WEIGHTS | {"a1": 7}) as second,
    ):
        await changed(first, a1=analyzer("a1", weight=3), a2=analyzer("a2", weight=4))
        await until(lambda: weights(second) == {"a1": 7, "a2": 4})
        assert weights(first) == {"a1": 3, "a2": 4}


@pytest.mark.engine
async def test_settings_that_are_read_anew_stand_above_commands_where_they_are_others_than_before(
    tmp_path, spool
):
    async with node(tmp_path, spool, "n1", weights=WEIGHTS) as distributor:
        await changed(distributor, a1=analyzer("a1", weight=3), a2=analyzer("a2", weight=4))
        settings = msgspec.structs.replace(
            distributor.config, analyzers=(analyzer("a1", weight=1.0), analyzer("a2", weight=9))
        )
        await distributor.reload(settings)
        assert weights(distributor) == {"a1": 3, "a2": 9}
        with pytest.raises(CannotChange, match="node"):
            await distributor.reload(msgspec.structs.replace(settings, node="other", analyzers=()))
        await changed(distributor, a9=analyzer("a9"))
        assert weights(distributor) == {"a1": 3, "a2": 9, "a9": 1}


# Cut off


@asynccontextmanager
async def one_behind_a_cable(tmp_path, server, spool):
    """Two nodes, and the cable of the second one, which can be cut."""
    prefix = spool.rpartition("/")[2]
    async with (
        Cable(server.port) as cable,
        node(tmp_path, spool, "n1", weights=WEIGHTS) as first,
        node(tmp_path, f"nats://127.0.0.1:{cable.port}/{prefix}", "n2", weights=WEIGHTS) as second,
    ):
        yield first, second, cable


@pytest.mark.engine
async def test_a_node_that_is_cut_off_catches_up(tmp_path, server, spool):
    async with one_behind_a_cable(tmp_path, server, spool) as (first, second, cable):
        first.control("a2", "drain")
        await until(lambda: held(second, "a2") == "drain")
        cable.cut()
        await until(lambda: not second._spool.connection.is_ready)
        first.control("a1", "down")
        first.control("a2", None)
        await changed(first, a9=analyzer("a9"))
        await until(lambda: told(first))
        assert (held(second), held(second, "a2"), weights(second)) == (None, "drain", WEIGHTS)
        await cable.mend()
        await until(lambda: (held(second), held(second, "a2")) == ("down", None))
        await until(lambda: "a9" in weights(second))


@pytest.mark.engine
async def test_what_is_commanded_at_a_node_that_is_cut_off_holds_there_and_later_everywhere(
    tmp_path, server, spool
):
    async with one_behind_a_cable(tmp_path, server, spool) as (first, second, cable):
        cable.cut()
        await until(lambda: not second._spool.connection.is_ready)
        second.control("a1", "down")
        assert held(second) == "down"
        assert held(first) is None
        await cable.mend()
        await until(lambda: held(first) == "down")
        assert held(second) == "down"


@pytest.mark.engine
async def test_what_was_commanded_at_a_node_that_was_cut_off_gives_way_to_what_the_others_heard(
    tmp_path, server, spool
):
    async with one_behind_a_cable(tmp_path, server, spool) as (first, second, cable):
        cable.cut()
        await until(lambda: not second._spool.connection.is_ready)
        second.control("a1", "down")
        second.control("a2", "down")
        first.control("a1", "drain")
        await until(lambda: told(first))
        await cable.mend()
        await until(lambda: held(second) == "drain" and held(first, "a2") == "down")
        assert held(first) == "drain"


@pytest.mark.engine
async def test_a_node_that_started_without_nats_obeys_when_it_comes(tmp_path, server, spool, monkeypatch):
    monkeypatch.setattr("penstock.services.distributor.jetstream.spool.PATIENCE", 0.05)
    prefix = spool.rpartition("/")[2]
    async with (
        Cable(server.port) as cable,
        node(tmp_path, spool, "n1", weights=WEIGHTS) as first,
    ):
        first.control("a1", "down")
        await changed(first, a9=analyzer("a9"))
        await until(lambda: told(first))
        cable.cut()
        address = f"nats://127.0.0.1:{cable.port}/{prefix}"
        async with node(tmp_path, address, "n2", weights=WEIGHTS) as second:
            assert (held(second), weights(second)) == (None, WEIGHTS)
            await cable.mend()
            await until(lambda: held(second) == "down" and "a9" in weights(second))


@pytest.mark.engine
async def test_a_node_that_is_cut_off_again_and_again_has_no_more_subscriptions_than_before(
    tmp_path, server, spool
):
    prefix = spool.rpartition("/")[2]
    async with (
        Cable(server.port) as cable,
        node(tmp_path, f"nats://127.0.0.1:{cable.port}/{prefix}", "n1", weights=WEIGHTS) as distributor,
        node(tmp_path, spool, "n2", weights=WEIGHTS) as other,
    ):
        connection = distributor._spool.connection
        wanted = 3 + (len(WEIGHTS) + 1) + 1  # followers; analyzers, and nobody; retries
        for state in ("down", "drain", "up"):
            cable.cut()
            await until(lambda: not connection.is_ready)
            other.control("a1", state)
            await cable.mend()
            await until(lambda state=state: held(distributor) == state)
        await until(lambda: len(connection._subscriptions) <= wanted)


# In the bucket


@pytest.mark.engine
async def test_what_nobody_can_read_in_the_bucket_commands_nothing(tmp_path, server, spool):
    prefix = spool.rpartition("/")[2]
    names = Names(prefix)
    async with node(tmp_path, spool, "n1", weights=WEIGHTS) as first:
        client = await nats.connect(server.url)
        for key, data in (("health.a1", b"\xff{"), ("settings.a1", b"[]"), ("strange.key", b"{}")):
            await client.publish(names.command(key), data)
        await client.flush()
        await client.close()
        await until(lambda: len(first._spool.commands._told) == 3)
        first.control("a2", "down")
        async with node(tmp_path, spool, "n2", weights=WEIGHTS) as second:
            await until(lambda: held(second, "a2") == "down")
            assert held(second) is None


@pytest.mark.engine
async def test_what_commands_nothing_is_deleted_after_a_day(tmp_path, spool):
    wall = ManualClock(START_NS)
    config = config_of(WEIGHTS, spool=spool, node="n1", data_dir=str(tmp_path), max_pending_bytes=2**26)
    async with shared_distributor(config, FakeAnalyzers(), wall=wall) as distributor:
        shared = distributor._spool
        distributor.control("a1", "down")
        distributor.control("a2", "down", 3600)
        await until(lambda: told(distributor))
        distributor.control("a1", None)
        await changed(distributor, a9=analyzer("a9"))
        await changed(distributor, without=["a9"])
        await until(lambda: told(distributor))
        wall.advance(KEPT_MS / 1000 + 3601)
        distributor.control("a1", "up")
        await until(lambda: told(distributor) and len(shared.commands._told) == 1)
        left = await shared.streams.subjects(shared.names.commands_stream)
        assert left == [shared.names.command("health.a1")]
