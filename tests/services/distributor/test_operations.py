"""What people do to a running distributor: replay and purge, other analyzers, other settings, their word."""

import asyncio
import sqlite3
from collections import Counter

import msgspec
import pytest

from penstock.clock import ManualClock
from penstock.errors import InvalidValue
from penstock.services.distributor import letters, spool
from penstock.services.distributor.books import Books
from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.change import Change
from penstock.services.distributor.circuit import LONGEST_OVERRIDE
from penstock.services.distributor.config import AnalyzerConfig, ApiKey, Config, GroupConfig, Match
from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.fleet import UnknownAnalyzer
from penstock.services.distributor.letters import Busy, Letters
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import record
from penstock.services.distributor.reloading import CannotChange, Difference, differences
from penstock.services.distributor.spool import Spool, SpoolError
from penstock.services.distributor.state import Distributor
from services.distributor.fakes import FakeAnalyzers, body_of, books, config_of, running, settled, until


@pytest.fixture
async def with_letters(tmp_path, analyzers, times):
    """A distributor with five dead letters, p-0 to p-4, whose analyzers are well again."""
    analyzers.failing = {f"p-{n}": f"crashed at {n}" for n in range(5)}
    async with running(tmp_path, analyzers, times, max_attempts=1) as distributor:
        for n in range(5):
            times.advance(1)
            await distributor.accept(
                msgspec.json.encode([{"id": f"p-{n}", "messages": [{"message": f"m{n}"}]}])
            )
            await settled(distributor)
        analyzers.failing = {}
        analyzers.got.clear()
        yield distributor


async def dead_ids(distributor):
    return [msgspec.json.decode(body)["id"] for _, body, *_ in await distributor.dead_letters(1000)]


EVERY_ONE = Letters()


async def replayed(distributor, which=EVERY_ONE, **options):
    replaying = await distributor.replay_dead_letters(which, **options)
    await replaying.finished()
    return replaying


# Replay


async def test_replayed_letters_are_delivered_with_their_ids_and_all_attempts_before_them(
    with_letters, analyzers
):
    replaying = await replayed(with_letters)
    assert (replaying.total, replaying.replayed, replaying.gone, replaying.error) == (5, 5, 0, "")
    await settled(with_letters)
    assert sorted(analyzers.ids()) == [f"p-{n}" for n in range(5)]
    assert {retry_count for *_, retry_count in analyzers.got} == {0}
    assert await dead_ids(with_letters) == []
    figures = figures_of(with_letters)
    assert {name: figures[name] for name in ("accepted", "replayed", "delivered", "dead", "pending")} == {
        "accepted": 5, "replayed": 5, "delivered": 5, "dead": 5, "pending": 0,
    }  # fmt: skip
    assert figures["conservation_error"] == 0


async def test_replaying_twice_delivers_once_over_a_restart_too(tmp_path, with_letters, analyzers, times):
    await replayed(with_letters)
    again = await replayed(with_letters)
    assert again.total == 0
    await settled(with_letters)
    await with_letters.aclose()
    async with running(tmp_path, analyzers, times) as distributor:
        assert (await replayed(distributor)).total == 0
        await settled(distributor)
        assert Counter(analyzers.ids()) == {f"p-{n}": 1 for n in range(5)}
        assert books(distributor)["conservation_error"] == 0


async def test_letter_that_fails_again_is_a_letter_again(with_letters, analyzers):
    analyzers.failing["p-2"] = "crashed anew"
    await replayed(with_letters)
    await settled(with_letters)
    [(_, body, failures, error, _)] = await with_letters.dead_letters(10)
    assert (msgspec.json.decode(body)["id"], failures, error) == ("p-2", 1, "crashed anew")
    assert books(with_letters)["conservation_error"] == 0


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (Letters(query="m1 m3"), ["p-1", "p-3"]), (Letters(query='error:"crashed at 4"'), ["p-4"]),
        (Letters(seqs=[]), []), (Letters(seqs=[2, 99]), ["p-1"]), (Letters(seqs=[1, 2], query="m1"), ["p-1"]),
        (Letters(since_ms=1_700_000_004_000), ["p-3", "p-4"]),
        (Letters(until_ms=1_700_000_002_000), ["p-0"]),
    ],
)  # fmt: skip
async def test_letters_are_chosen_by_number_search_and_time(with_letters, analyzers, which, ids):
    assert await with_letters.count_dead_letters(which) == len(ids)
    await replayed(with_letters, which)
    await settled(with_letters)
    assert sorted(analyzers.ids()) == ids
    assert len(await dead_ids(with_letters)) == 5 - len(ids)


async def test_replay_at_a_rate_takes_its_time_and_can_be_ended(with_letters, analyzers):
    replaying = await with_letters.replay_dead_letters(Letters(), rate=0.1)
    await until(lambda: replaying.replayed == 1)
    assert with_letters.replaying is replaying
    assert not replaying.done
    with pytest.raises(Busy, match="being replayed already"):
        await with_letters.replay_dead_letters(Letters())
    replaying.cancel()
    await replaying.finished()
    assert (replaying.replayed, replaying.error) == (1, "it was cancelled")
    assert len(await dead_ids(with_letters)) == 4
    assert (await replayed(with_letters)).replayed == 4


async def test_large_letters_are_replayed_a_few_at_a_time_and_all_of_them(
    with_letters, analyzers, monkeypatch
):
    monkeypatch.setattr(spool, "MAX_READ_BYTES", 100)  # two of them
    replaying = await replayed(with_letters)
    assert (replaying.total, replaying.replayed, replaying.gone, replaying.error) == (5, 5, 0, "")
    await settled(with_letters)
    assert len(analyzers.got) == 5
    assert await dead_ids(with_letters) == []


async def test_replay_waits_for_room(tmp_path, analyzers, times, monkeypatch):
    monkeypatch.setattr(letters, "ROOM_PAUSE", 0.001)
    analyzers.failing = {"p-0": "crashed"}
    async with running(tmp_path, analyzers, times, max_attempts=1, max_pending=3) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        analyzers.failing, analyzers.gate = {}, asyncio.Event()
        await distributor.accept(body_of(3, prefix="q"))
        replaying = await distributor.replay_dead_letters(Letters())
        await asyncio.sleep(0.01)
        assert replaying.replayed == 0
        analyzers.gate.set()
        await replaying.finished()
        assert replaying.replayed == 1
        await settled(distributor)
        assert distributor.admission.packets == 0


# Purge


async def test_purged_letters_are_gone_and_counted(with_letters):
    assert await with_letters.purge_dead_letters(Letters(query="m1 m2")) == 2
    assert await dead_ids(with_letters) == ["p-4", "p-3", "p-0"]
    assert await with_letters.purge_dead_letters(Letters(seqs=[1])) == 1
    assert await with_letters.purge_dead_letters(Letters(seqs=[1])) == 0
    figures = figures_of(with_letters)
    assert (figures["dead"], figures["purged"], figures["conservation_error"]) == (5, 3, 0)


async def test_purges_and_replays_at_once_take_each_letter_once(with_letters, analyzers, monkeypatch):
    monkeypatch.setattr(letters, "MAX_PURGED_AT_ONCE", 1)
    monkeypatch.setattr(letters, "MAX_REPLAYED_AT_ONCE", 1)
    purging = [asyncio.create_task(with_letters.purge_dead_letters(Letters())) for _ in range(3)]
    replaying, *purged = await asyncio.gather(replayed(with_letters), *purging)
    assert replaying.replayed + replaying.gone == replaying.total
    assert replaying.replayed + sum(purged) == 5
    await settled(with_letters)
    assert len(analyzers.got) == replaying.replayed
    assert books(with_letters)["conservation_error"] == 0


async def test_purge_whose_caller_goes_away_is_finished(with_letters):
    purging = asyncio.create_task(with_letters.purge_dead_letters(Letters()))
    await asyncio.sleep(0)
    purging.cancel()
    await asyncio.gather(purging, return_exceptions=True)
    await with_letters.purge_dead_letters(Letters())
    assert await dead_ids(with_letters) == []
    assert figures_of(with_letters)["purged"] == 5


async def test_oldest_letters_are_purged_beyond_the_bound_of_their_bytes(tmp_path, analyzers, times):
    analyzers.failing = {f"p-{n}": "crashed" for n in range(20)}
    settings = {"max_attempts": 1, "max_dead_letter_bytes": 6000}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        await distributor.accept(body_of(20, prefix="p", text="x" * 1000))
        await settled(distributor)
        await distributor.clean_up()
        assert len(await dead_ids(distributor)) == 5
        assert figures_of(distributor)["purged"] == 15


async def test_letters_that_cannot_be_removed_yet_cost_no_others_their_place(
    tmp_path, analyzers, times, monkeypatch
):
    analyzers.failing = {f"p-{n}": "crashed" for n in range(20)}
    limits = {"max_attempts": 1, "max_dead_letter_bytes": 1}
    async with running(tmp_path, analyzers, times, **limits) as distributor:
        await distributor.accept(body_of(20, prefix="p"))
        await settled(distributor)

        def locked(seqs):
            raise sqlite3.OperationalError("database is locked")

        monkeypatch.setattr(distributor._spool._letters, "remove", locked)
        monkeypatch.setattr(letters, "MAX_PURGED_AT_ONCE", 2)
        await distributor.clean_up()
        assert figures_of(distributor)["purged"] == 2


async def test_letters_that_could_not_be_read_at_the_start_are_taken_up_later(tmp_path, analyzers, times):
    class Unreadable(Spool):
        readable = False

        def failed(self):
            letters = super().failed()
            self.letters_unread = not self.readable
            return letters if self.readable else []

    analyzers.failing = {"p-0": "crashed", "p-1": "crashed"}
    async with running(tmp_path, analyzers, times, max_attempts=1) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
    spool = Unreadable(tmp_path, "os")
    distributor = Distributor(config_of(max_attempts=1), spool, analyzers, clock=times.clock, wall=times.wall)
    await distributor.start()
    try:
        await distributor.accept(body_of(2, prefix="p"))
        await settled(distributor)
        await distributor.clean_up()
        assert await dead_ids(distributor) == ["p-1"]
        spool.readable = True
        await distributor.clean_up()
        await distributor.clean_up()
        assert sorted(await dead_ids(distributor)) == ["p-0", "p-1"]
    finally:
        await distributor.aclose()


# A person's word


async def test_word_with_an_end_ends_and_holds_over_a_restart_until_then(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        distributor.control("a1", "down", 60, "new firmware")
        await until(lambda: distributor._spool.note("overrides"))
    times.advance(20)
    async with running(tmp_path, analyzers, times) as distributor:
        one = figures_of(distributor)["analyzers"]["a1"]
        assert (one["override"], one["override_reason"], one["is_healthy"]) == ("down", "new firmware", False)
        assert one["override_ends_in"] == 40
        times.advance(39)
        distributor.tick()
        assert not distributor.fleet["a1"].is_up
        times.advance(1)
        distributor.tick()
        assert distributor.fleet["a1"].is_up
        await until(lambda: distributor._spool.note("overrides") == {})
    async with running(tmp_path, analyzers, times) as distributor:
        assert distributor.status == "healthy"


async def test_word_that_ended_while_nothing_ran_is_over(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        distributor.control("a1", "drain", 60)
    times.advance(60)
    async with running(tmp_path, analyzers, times) as distributor:
        assert distributor.fleet["a1"].is_up


async def test_longest_word_holds_over_a_restart_with_a_clock_that_was_set_back(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times) as distributor:
        distributor.control("a1", "down", LONGEST_OVERRIDE)
    times.wall = ManualClock(times.wall() - 3600 * 10**9)
    async with running(tmp_path, analyzers, times) as distributor:
        assert distributor.fleet["a1"].circuit.overridden == "down"


@pytest.mark.parametrize("word", [None, "up"])
async def test_person_who_says_that_it_is_well_ends_the_rest_that_it_asked_for(
    tmp_path, analyzers, times, word
):
    analyzers.broken["a1"] = DeliveryFailed("too much", 429, 86_400)
    async with running(tmp_path, analyzers, times, weights={"a1": 1}, batch_packets=1) as distributor:
        await distributor.accept(body_of(2))
        await settled_but_for_queues(distributor)
        analyzers.broken.clear()
        distributor.control("a1", word)
        await until(lambda: len(analyzers.got) == 1)


async def settled_but_for_queues(distributor):
    await until(lambda: distributor.retrying == 1 and not distributor.fleet["a1"].in_flight)


async def test_draining_analyzer_finishes_what_it_has_and_gets_nothing_new(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, times, batch_packets=1, concurrency=1) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        distributor.control("a1", "drain")
        await distributor.accept(body_of(10, prefix="q"))
        analyzers.gate.set()
        await settled(distributor)
        assert len(analyzers.ids("a1")) == 4
        assert not any(id_.startswith("q") for id_ in analyzers.ids("a1"))
        assert len(analyzers.got) == 20


async def test_down_after_drain_gives_what_is_left_to_others(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, times, batch_packets=1, concurrency=1) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await until(lambda: analyzers.begun == 4)
        distributor.control("a1", "drain")
        distributor.control("a1", "down")
        analyzers.gate.set()
        await settled(distributor)
        assert len(analyzers.ids("a1")) == 1, "what was on its way"
        assert len(analyzers.got) == 10


async def test_draining_analyzer_that_falls_gives_what_is_left_to_others(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    async with running(tmp_path, analyzers, times, batch_packets=1, concurrency=1) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await until(lambda: analyzers.begun == 4)
        distributor.control("a1", "drain")
        analyzers.ill = {"a1": "ill"}
        for _ in range(2):
            await distributor.check_health()
        analyzers.gate.set()
        await settled(distributor)
        assert len(analyzers.ids("a1")) == 1, "what was on its way"
        assert len(analyzers.got) == 10


async def test_draining_analyzer_that_is_alone_finishes_what_it_has_when_it_is_well_again(
    tmp_path, analyzers, times
):
    analyzers.gate = asyncio.Event()
    async with running(
        tmp_path, analyzers, times, weights={"a1": 1}, batch_packets=1, concurrency=1
    ) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await until(lambda: analyzers.begun == 1)
        distributor.control("a1", "drain", ttl=60)
        analyzers.ill = {"a1": "ill"}
        for _ in range(2):
            await distributor.check_health()
        analyzers.gate.set()
        analyzers.ill = {}
        await distributor.check_health()
        times.advance(60)
        distributor.tick()
        await settled(distributor)
        assert len(analyzers.got) == 10


async def test_word_that_cannot_be_understood_changes_nothing(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        with pytest.raises(UnknownAnalyzer, match="there is no analyzer 'a9'"):
            distributor.control("a9", "down")
        with pytest.raises(InvalidValue, match="ttl must be"):
            distributor.control("a1", "down", -1)
        assert distributor.status == "healthy"


# Other analyzers


async def test_analyzers_come_go_and_are_weighed_anew_while_it_runs(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "a2": 1}) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await settled(distributor)
        config = config_of({"a2": 3, "a3": 1})
        found = await distributor.change_analyzers(config.analyzers)
        assert [difference.name for difference in found] == [
            "analyzers.a1",
            "analyzers.a2.weight",
            "analyzers.a3",
        ]
        assert found[1] == Difference("analyzers.a2.weight", 1.0, 3.0)
        assert (found[0].after, found[2].before) == (None, None)
        assert analyzers.forgotten == ["a1"]
        analyzers.got.clear()
        await distributor.accept(body_of(40, prefix="q"))
        await settled(distributor)
        assert Counter(name for name, *_ in analyzers.got) == {"a2": 30, "a3": 10}
        assert books(distributor)["conservation_error"] == 0
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "a2": 1}) as distributor:
        assert list(distributor.fleet.members) == ["a2", "a3"], "that is remembered"
    async with running(tmp_path, analyzers, times, weights={"a1": 2, "a2": 1}) as distributor:
        assert list(distributor.fleet.members) == ["a1", "a2"], "until the settings name others"
        await until(lambda: distributor._spool.note("analyzers") is None)
        await distributor.change_analyzers(config_of({"a3": 1}).analyzers)
    async with running(tmp_path, analyzers, times, weights={"a1": 2, "a2": 1}) as distributor:
        assert list(distributor.fleet.members) == ["a3"], "changes to those are remembered too"
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "a2": 1}) as distributor:
        assert list(distributor.fleet.members) == ["a1", "a2"], "and the old ones never come back"


async def remember(distributor, analyzers):
    change = Change(notes={"analyzers": analyzers})
    await distributor._books.commits.read(lambda: distributor._spool.commit(change))


async def test_remembered_analyzers_that_cannot_be_read_are_forgotten(tmp_path, analyzers, caplog):
    async with running(tmp_path, analyzers, weights={"a1": 1}) as distributor:
        await remember(distributor, {"base": [{"id": "a 1"}], "now": 7})
    async with running(tmp_path, analyzers, weights={"a1": 1}) as distributor:
        assert list(distributor.fleet.members) == ["a1"]
    assert "changed at run time are forgotten" in caplog.text


async def test_remembered_analyzers_of_a_group_that_is_no_more_are_forgotten(
    tmp_path, analyzers, times, caplog
):
    rule = GroupConfig("errors", Match(level=("ERROR",)))
    base = AnalyzerConfig("a1", "http://127.0.0.1:1/a1")
    errors = AnalyzerConfig("b1", "http://127.0.0.1:1/b1", group="errors")
    with_group = Config(analyzers=(base, errors), groups=(rule,), health_interval=3600)
    async with running(tmp_path, analyzers, times, config=with_group) as distributor:
        note = {
            "base": [msgspec.to_builtins(base)],
            "now": [msgspec.to_builtins(one) for one in (base, errors)],
        }
        await remember(distributor, note)
    async with running(tmp_path, analyzers, times, config=Config(analyzers=(base,))) as distributor:
        assert list(distributor.fleet.members) == ["a1"]
    assert "changed at run time are forgotten: group of analyzer b1" in caplog.text


async def test_what_a_person_said_last_is_what_is_remembered_when_the_spool_failed_before(
    tmp_path, analyzers, times, monkeypatch
):
    monkeypatch.setattr(Books, "pause", 0.1)
    async with running(tmp_path, analyzers, times) as distributor:
        commit, commits = distributor._spool.commit, []

        def commit_but_the_first(change):
            commits.append(change)
            if len(commits) == 1:
                raise SpoolError("disk full")
            commit(change)

        distributor._spool.commit = commit_but_the_first
        distributor.control("a1", "down")
        await until(lambda: commits)
        distributor.control("a1", None)
        distributor.control("a2", "drain")
        await until(lambda: "a2" in (distributor._spool.note("overrides") or ()))
        stored = len(commits)
        await until(lambda: len(commits) > stored)  # the second attempt with what was said first
        await distributor._books.record(Change())
        assert list(distributor._spool.note("overrides")) == ["a2"]


async def test_reload_that_takes_away_the_group_of_an_analyzer_added_at_run_time_is_refused(
    tmp_path, analyzers, times
):
    rule = GroupConfig("errors", Match(level=("ERROR",)))
    base = (AnalyzerConfig("a1", "http://127.0.0.1:1/a1"), AnalyzerConfig("b1", "http://127.0.0.1:1/b1"))
    moved = AnalyzerConfig("b1", "http://127.0.0.1:1/b1", group="errors")
    config = Config(analyzers=(base[0], moved), groups=(rule,), health_interval=3600)
    async with running(tmp_path, analyzers, times, config=config) as distributor:
        added = AnalyzerConfig("b2", "http://127.0.0.1:1/b2", group="errors")
        await distributor.change_analyzers([*config.analyzers, added])
        distributor._overlay = msgspec.structs.replace(distributor._overlay, base=base)
        with pytest.raises(InvalidValue, match=r"group of analyzer b1 must be .* changed at run time"):
            await distributor.reload(Config(analyzers=base, health_interval=3600))
        assert list(distributor.fleet.members) == ["a1", "b1", "b2"]


async def test_nothing_changes_while_it_shuts_down(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        await distributor.drain()
        with pytest.raises(CannotChange, match="shutting down"):
            await distributor.change_analyzers(config_of({"a9": 1}).analyzers)


async def test_timeout_for_all_can_change_and_an_analyzers_own_goes_before_it(tmp_path, times):
    timeouts = []

    class Timed(FakeAnalyzers):
        async def deliver(self, analyzer, packets):
            timeouts.append((analyzer.id, analyzer.timeout))
            return await super().deliver(analyzer, packets)

    fleet = (
        AnalyzerConfig("a1", "http://127.0.0.1:1"),
        AnalyzerConfig("a2", "http://127.0.0.1:1", timeout=9),
    )
    config = Config(analyzers=fleet, health_interval=3600, linger=0)
    async with running(tmp_path, Timed(), times, config=config) as distributor:
        await distributor.reload(msgspec.structs.replace(config, analyzer_timeout=3.0))
        await distributor.accept(body_of(2))
        await settled(distributor)
    assert sorted(timeouts) == [("a1", 3.0), ("a2", 9)]


async def test_what_waits_for_an_analyzer_that_goes_is_delivered_by_others(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    settings = {"batch_packets": 1, "concurrency": 1, "max_memory_bytes": 2000}
    async with running(tmp_path, analyzers, times, weights={"a1": 1, "a2": 1}, **settings) as distributor:
        await distributor.accept(body_of(100, prefix="p"))
        await until(lambda: analyzers.begun == 2)
        await distributor.change_analyzers(config_of({"a2": 1}).analyzers)
        analyzers.gate.set()
        await until(lambda: books(distributor)["pending"] == 0)
        assert (len(analyzers.ids("a1")), len(analyzers.ids("a2"))) == (1, 99)
        assert books(distributor)["conservation_error"] == 0


async def test_analyzer_that_goes_while_it_fails_takes_nothing_with_it(tmp_path, analyzers, times):
    analyzers.gate = asyncio.Event()
    analyzers.broken["a1"] = "answered 500"
    settings = {"errors_to_fall": 1, "weights": {"a1": 1, "a2": 1}}
    async with running(tmp_path, analyzers, times, **settings) as distributor:
        await distributor.accept(body_of(10, prefix="p"))
        await until(lambda: analyzers.begun == 2)
        await distributor.change_analyzers(config_of({"a2": 1}).analyzers)
        analyzers.gate.set()
        await until(lambda: distributor.retrying == 5)
        assert not distributor.failed.done()
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert books(distributor)["delivered"] == 10
        assert len(analyzers.ids("a2")) == 10


async def test_retries_that_nobody_was_there_for_go_to_an_analyzer_that_comes(tmp_path, analyzers, times):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times, weights={"a1": 1}) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        distributor.control("a1", "down")
        times.advance(2)
        distributor.tick()
        analyzers.failing = {}
        await distributor.change_analyzers(config_of({"a1": 1, "new": 1}).analyzers)
        await settled(distributor)
        assert analyzers.got[-1] == ("new", "p-0", 1)


async def test_analyzers_that_make_no_sense_are_refused_and_nothing_changes(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        twice = [AnalyzerConfig("a1", "http://h/"), AnalyzerConfig("a1", "http://h/")]
        other = [AnalyzerConfig("a1", "http://h/", group="nobody")]
        for wrong, words in (
            (twice, "ids must differ"),
            (other, "group of analyzer a1"),
            ([], "at least one"),
        ):
            with pytest.raises(ValueError, match=words):
                await distributor.change_analyzers(wrong)
        assert list(distributor.fleet.members) == ["a1", "a2", "a3", "a4"]


# Other settings


async def test_reload_works_by_the_new_settings_and_tells_what_is_other(tmp_path, analyzers, times):
    async with running(tmp_path, analyzers, times, weights={"a1": 1}) as distributor:
        new = config_of({"a1": 1, "e1": 1}, max_pending=5, max_attempts=1)
        errors = GroupConfig("errors", Match(level=("ERROR",)))
        e1 = msgspec.structs.replace(new.analyzers[1], group="errors")
        new = msgspec.structs.replace(new, analyzers=(new.analyzers[0], e1), groups=(errors,))
        found = await distributor.reload(new)
        assert {difference.name for difference in found} == {
            "analyzers.e1", "groups.errors", "max_pending", "max_attempts",
        }  # fmt: skip
        assert len((await distributor.accept(body_of(8, prefix="p"))).accepted) == 5
        await settled(distributor)
        analyzers.failing["x"] = "crashed"
        await distributor.accept(b'[{"id": "x", "messages": [{"message": "x", "level": "ERROR"}]}]')
        await settled(distributor)
        assert analyzers.ids("e1") == ["x"]
        assert books(distributor)["dead"] == 1
        assert await distributor.reload(new) == []


async def test_reload_refuses_by_name_what_needs_a_restart(tmp_path, analyzers):
    async with running(tmp_path, analyzers) as distributor:
        before = distributor.config
        with pytest.raises(CannotChange, match=r"^port, durability cannot change while the service runs"):
            await distributor.reload(msgspec.structs.replace(before, port=1, durability="memory", linger=0.5))
        assert distributor.config is before


async def test_reload_keeps_analyzers_that_were_changed_at_run_time_while_the_settings_name_the_same(
    tmp_path, analyzers
):
    async with running(tmp_path, analyzers, weights={"a1": 1, "a2": 1}) as distributor:
        await distributor.change_analyzers(config_of({"a1": 1, "a2": 5}).analyzers)
        await distributor.reload(config_of({"a1": 1, "a2": 1}, max_pending=7))
        assert distributor.fleet["a2"].config.weight == 5
        assert distributor.config.max_pending == 7
        await distributor.reload(config_of({"a1": 2, "a2": 1}))
        assert [one.config.weight for one in distributor.fleet.members.values()] == [2, 1]
        await distributor.change_analyzers(config_of({"a1": 9, "a2": 1}).analyzers)
        await distributor.change_analyzers(config_of({"a1": 2, "a2": 1}).analyzers)
    async with running(tmp_path, analyzers, weights={"a1": 2, "a2": 1}) as distributor:
        assert [one.config.weight for one in distributor.fleet.members.values()] == [2, 1]


def test_differences_show_no_secret():
    def config(secret):
        analyzer = AnalyzerConfig("a1", f"http://user:{secret}@h/", headers={"Authorization": secret})
        keys = (ApiKey("k", key=secret * 2),)
        return msgspec.structs.replace(
            config_of({"a1": 1}), analyzers=(analyzer,), api_keys=keys, forward_shared_key=secret
        )

    found = differences(config("secret-one"), config("secret-two"))
    assert {one.name for one in found} == {
        "analyzers.a1.url", "analyzers.a1.headers", "api_keys", "forward_shared_key",
    }  # fmt: skip
    assert "secret-" not in repr(found)
    gone = differences(config("secret-one"), config_of({"b": 1}))
    assert "secret-" not in repr(gone)


# Records of other inputs


async def test_records_are_stored_once_for_the_same_ids_and_told_by_index(tmp_path, analyzers):
    async with running(tmp_path, analyzers, max_messages=10, max_record_bytes=100) as distributor:
        records = [record(Message(f"line {n}" if n != 3 else "x" * 101)) for n in range(25)]
        receipt = await distributor.accept_records(records, ids="batch-1")
        assert receipt.accepted == 24
        assert [(refusal.index, refusal.code) for refusal in receipt.refused] == [(3, "too_large")]
        assert receipt.packets == ["batch-1.0", "batch-1.1", "batch-1.2"]
        again = await distributor.accept_records(records, ids="batch-1")
        assert again == receipt
        await settled(distributor)
        assert sorted(analyzers.ids()) == receipt.packets
        figures = figures_of(distributor)
        assert (figures["accepted"], figures["messages_accepted"], figures["duplicates"]) == (3, 24, 3)
        assert (figures["refused"], figures["refused_records"]) == (0, 2)


async def test_story_of_a_packet_is_told_from_its_acceptance_to_its_end(tmp_path, analyzers, times):
    analyzers.failing["p-0"] = "crashed"
    async with running(tmp_path, analyzers, times, max_attempts=2) as distributor:
        await distributor.accept(body_of(1, prefix="p"))
        await settled(distributor)
        times.advance(2)
        distributor.tick()
        await settled(distributor)
        assert [event.what for event in await distributor.story("p-0")] == ["accepted", "retry", "dead"]
        assert await distributor.story("nobody") == []
