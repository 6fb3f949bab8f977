"""Files that are followed: every line once, whatever becomes of the files and of the process."""

import asyncio
import json
import os
import shutil
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.services.distributor.config import Config, TailConfig
from penstock.services.distributor.inputs import tail as tail_module
from penstock.services.distributor.inputs import tail_file
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.storing import Storing
from penstock.services.distributor.inputs.tail import Tails
from penstock.services.distributor.inputs.tail_checkpoint import Checkpoint, Mark
from penstock.services.distributor.inputs.tail_file import DELETED, GONE, QUIET
from services.distributor.inputs.arrival import RECORDS
from services.distributor.inputs.stream_intake import ListingIntake


class Killed(Exception):
    """The process ends here."""


class World:
    """A folder of logs, what follows them, and an intake that outlives it."""

    def __init__(self, folder):
        self.logs, self.data = folder / "logs", folder / "data"
        self.logs.mkdir()
        self.data.mkdir()
        self.now = 0
        self.intake = ListingIntake()
        self.storing = None

    def following(self, *settings, **config):
        """A new process that follows."""
        settings = settings or (TailConfig(str(self.logs / "*.log")),)
        self.storing = Storing("tail", self.intake, can_read_again=True)
        lengths = RecordLengths(Config(**config))
        return Follower(
            self, Tails(settings, self.storing, lengths, folder=self.data, clock=lambda: self.now)
        )

    def write(self, name, text):
        with (self.logs / name).open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    def path(self, name):
        return self.logs / name

    @property
    def texts(self):
        return self.intake.texts


class Follower:
    def __init__(self, world, tails):
        self.world, self.tails = world, tails

    def __enter__(self):
        self.tails.open()
        return self

    def __exit__(self, *_):
        self.tails.close()

    async def poll(self, after=0):
        self.world.now += after
        await self.tails.poll()

    async def poll_until_settled(self):
        for _ in range(5):
            await self.poll(tail_module.SETTLED)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_lines_become_messages_as_they_come(world):
    world.write("a.log", "one\ntwo\n")
    with world.following() as follower:
        await follower.poll()
        assert world.texts == ["one", "two"]
        world.write("a.log", "three\n")
        world.write("b.log", "from another\r\n\n   \n")
        await follower.poll()
    assert world.texts == ["one", "two", "three", "from another", "   "]
    assert world.intake.messages[0] == {
        "message": "one",
        "level": "INFO",
        "source": str(world.path("a.log")),
        "metadata": {"path": str(world.path("a.log"))},
    }
    assert world.storing.figures.stored == world.storing.figures.received == 5


async def test_source_and_level_are_those_of_the_settings(world):
    world.write("a.log", "one\n")
    with world.following(TailConfig(str(world.path("a.log")), source="web", level="WARN")) as follower:
        await follower.poll()
    assert (world.intake.messages[0]["source"], world.intake.messages[0]["level"]) == ("web", "WARN")


async def test_a_line_without_an_end_waits_for_it(world):
    world.write("a.log", "one\ntw")
    with world.following() as follower:
        await follower.poll()
        await follower.poll(GONE)
        assert world.texts == ["one"]
        world.write("a.log", "o\n")
        await follower.poll()
    assert world.texts == ["one", "two"]


async def test_bytes_that_are_no_utf_8_become_replacement_characters(world):
    world.write("a.log", b"caf\xe9\n")
    with world.following() as follower:
        await follower.poll()
    assert world.texts == ["caf\ufffd"]


async def test_a_line_longer_than_a_block_comes_in_parts(world, monkeypatch):
    monkeypatch.setattr(tail_file, "BLOCK", 1001)
    world.write("a.log", "ä" * 5000 + "\nshort\n")
    with world.following(max_record_bytes=300) as follower:
        for _ in range(3):
            await follower.poll()
    assert "".join(world.texts) == "ä" * 5000 + "short"
    assert world.texts[-1] == "short"


async def test_many_short_lines_are_stored_in_parts_and_in_their_order(world, monkeypatch):
    monkeypatch.setattr(tail_file, "MOST_LINES", 10)
    world.write("a.log", "".join(f"{i}\n" for i in range(55)))
    with world.following() as follower:
        await follower.poll()
    assert world.texts == [str(i) for i in range(55)]
    assert world.intake.sizes == [10, 10, 10, 10, 10, 5]


# ---- several lines ----


async def test_lines_that_continue_a_message_are_part_of_it(world):
    settings = TailConfig(str(world.path("*.log")), continued_by=r"^\s")
    world.write("a.log", "Traceback:\n  one\n  two\nnext\nTraceback:\n")
    with world.following(settings) as follower:
        await follower.poll()
        assert world.texts == ["Traceback:\n  one\n  two", "next"]
        world.write("a.log", "  three\n")
        await follower.poll()
        assert len(world.texts) == 2
        await follower.poll(QUIET)
    assert world.texts == ["Traceback:\n  one\n  two", "next", "Traceback:\n  three"]


async def test_a_message_of_very_many_lines_comes_in_parts(world, monkeypatch):
    monkeypatch.setattr(tail_file, "BLOCK", 100)
    world.write("a.log", "first\n" + " continued\n" * 50 + "next\n")
    with world.following(TailConfig(str(world.path("*.log")), continued_by="^ ")) as follower:
        for _ in range(3):
            await follower.poll()
        await follower.poll(QUIET)
    assert "\n".join(world.texts) == "first\n" + " continued\n" * 50 + "next"


# ---- rotation ----


async def test_a_renamed_file_is_read_to_its_end_beside_the_new_one(world):
    world.write("a.log", "one\n")
    with world.following() as follower:
        await follower.poll()
        with world.path("a.log").open("a") as writer:
            world.path("a.log").rename(world.path("a.log.1"))
            world.write("a.log", "new\n")
            await follower.poll()
            writer.write("written late\n")
        await follower.poll()
        await follower.poll(GONE)
        await follower.poll()
        assert [file.mark.path for file in follower.tails._files.values()] == [str(world.path("a.log"))]
    assert sorted(world.texts) == ["new", "one", "written late"]
    assert {message["source"] for message in world.intake.messages} == {str(world.path("a.log"))}


async def test_a_renamed_file_that_a_pattern_still_matches_is_the_same(world):
    world.write("a.log", "one\n")
    with world.following(TailConfig(str(world.logs / "a.log*"))) as follower:
        await follower.poll()
        world.path("a.log").rename(world.path("a.log.1"))
        world.write("a.log", "two\n")
        await follower.poll()
        await follower.poll_until_settled()
    assert world.texts == ["one", "two"]


async def test_a_deleted_file_is_read_to_its_end_and_its_last_line_needs_none(world):
    world.write("a.log", "one\n")
    with world.following() as follower:
        await follower.poll()
        world.write("a.log", "two\nhalf")
        world.path("a.log").unlink()
        await follower.poll()
        assert world.texts == ["one", "two"]
        await follower.poll(DELETED)
        await follower.poll(DELETED)
        assert follower.tails._files == {}
        world.write("a.log", "back\n")
        await follower.poll()
    assert world.texts == ["one", "two", "half", "back"]


async def test_a_truncated_file_is_read_from_its_start(world):
    world.write("a.log", "one\ntwo\n")
    with world.following() as follower:
        await follower.poll()
        os.truncate(world.path("a.log"), 0)
        world.write("a.log", "one\n")  # the same again: not the same line
        await follower.poll()
    assert world.texts == ["one", "two", "one"]


async def test_a_file_that_is_written_anew_and_longer_is_read_from_its_start(world):
    world.write("a.log", "one\n")
    with world.following() as follower:
        await follower.poll()
        world.path("a.log").write_text("something else\nand more\n")
        await follower.poll()
    assert world.texts == ["one", "something else", "and more"]


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
async def test_what_nobody_had_read_of_a_truncated_file_is_read_in_its_copy(world, pattern):
    world.write("a.log", "one\ntwo\n")
    with world.following(TailConfig(str(world.logs / pattern))) as follower:
        await follower.poll()
        world.write("a.log", "written just before\n")
        shutil.copy(world.path("a.log"), world.path("a.log.1"))
        os.truncate(world.path("a.log"), 0)
        world.write("a.log", "after\n")
        await follower.poll()
        await follower.poll_until_settled()
    assert sorted(world.texts) == ["after", "one", "two", "written just before"]


async def test_a_copy_in_the_making_is_waited_for(world):
    world.write("a.log", "".join(f"line {i}\n" for i in range(100)))
    with world.following(TailConfig(str(world.logs / "a.log*"))) as follower:
        await follower.poll()
        whole = world.path("a.log").read_bytes()
        world.write("a.log.1", whole[:300])
        await follower.poll()
        world.write("a.log.1", whole[300:] + b"unread\n")
        await follower.poll(1)
        os.truncate(world.path("a.log"), 0)
        await follower.poll(1)
        await follower.poll_until_settled()
    assert world.texts == [f"line {i}" for i in range(100)] + ["unread"]


async def test_a_file_that_only_begins_like_another_is_read_whole(world):
    world.write("a.log", "banner\none\n")
    with world.following() as follower:
        await follower.poll()
        world.write("b.log", "banner\n")
        world.write("c.log", "banner\nsomething else\n")
        world.write("d.log", "banner\none\n")
        await follower.poll()
        await follower.poll_until_settled()
    assert sorted(world.texts) == sorted(["banner", "one"] * 2 + ["banner"] * 2 + ["something else"])


async def test_more_files_than_are_open_at_a_time_wait(world, monkeypatch):
    monkeypatch.setattr(tail_module, "MOST_FILES", 2)
    for name in "abc":
        world.write(f"{name}.log", f"{name}\n")
    with world.following() as follower:
        await follower.poll()
        assert world.texts == ["a", "b"]
        world.path("a.log").unlink()
        await follower.poll(DELETED)
        await follower.poll(DELETED)
        await follower.poll()
    assert world.texts == ["a", "b", "c"]


async def test_what_is_no_regular_file_is_not_followed(world):
    (world.logs / "folder.log").mkdir()
    os.mkfifo(world.logs / "pipe.log")
    world.path("broken.log").symlink_to("nowhere")
    world.write("a.log", "one\n")
    world.path("linked.log").symlink_to("a.log")
    with world.following() as follower:
        await follower.poll()
    assert world.texts == ["one"]


# ---- restarts ----


async def test_a_restart_goes_on_where_it_was_left(world):
    world.write("a.log", "one\ntw")
    with world.following() as follower:
        await follower.poll()
    world.write("a.log", "o\nthree\n")
    with world.following() as follower:
        await follower.poll()
    assert world.texts == ["one", "two", "three"]


async def test_a_file_that_was_renamed_meanwhile_is_read_to_its_end(world):
    settings = TailConfig(str(world.path("a.log")))
    world.write("a.log", "one\n")
    with world.following(settings) as follower:
        await follower.poll()
    world.write("a.log", "two\n")
    world.path("a.log").rename(world.path("a.log.1"))
    world.write("a.log", "three\n")
    with world.following(settings) as follower:
        await follower.poll()
    assert sorted(world.texts) == ["one", "three", "two"]


async def test_a_file_that_was_truncated_meanwhile_is_read_from_its_start_and_its_copy_to_the_end(world):
    settings = TailConfig(str(world.path("a.log")))
    world.write("a.log", "one\n")
    with world.following(settings) as follower:
        await follower.poll()
    world.write("a.log", "two\n")
    shutil.copy(world.path("a.log"), world.path("a.log.1"))
    world.path("a.log").write_text("new\n")
    with world.following(settings) as follower:
        await follower.poll()
        await follower.poll()
    assert sorted(world.texts) == ["new", "one", "two"]


async def test_from_end_holds_at_the_very_first_start_only(world):
    settings = TailConfig(str(world.logs / "*.log"), from_end=True)
    world.write("a.log", "old\nolder\nunfini")
    with world.following(settings) as follower:
        await follower.poll()
        world.write("a.log", "shed\n")
        world.write("b.log", "all of it\n")
        await follower.poll()
    world.write("c.log", "all of this, too\n")
    with world.following(settings) as follower:
        await follower.poll()
    assert world.texts == ["unfinished", "all of it", "all of this, too"]


async def test_marks_that_cannot_be_read_are_put_aside_and_files_read_from_their_start(world, caplog):
    world.write("a.log", "one\n")
    (world.data / "tail.json").write_text('[{"path": 5}]')
    with world.following(TailConfig(str(world.logs / "*.log"), from_end=True)) as follower:
        await follower.poll()
    assert world.texts == ["one"]
    assert len(list(world.data.glob("tail.json.bad-*"))) == 1
    assert "unreadable and put aside" in caplog.text


async def test_nothing_is_stored_while_marks_cannot_be_written(world, monkeypatch):
    world.write("a.log", "one\n")
    with world.following() as follower:

        def fails(_):
            raise OSError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(follower.tails._checkpoint, "save", fails)
            with pytest.raises(OSError, match="full"):
                await follower.poll()
            assert world.texts == []
        await follower.poll()
    assert world.texts == ["one"]


async def test_files_that_are_gone_for_long_are_forgotten(world):
    Checkpoint(world.data).save([Mark(path="/gone.log", device=1, inode=2, token="x", seen=0.0)])
    with world.following() as follower:
        await follower.poll()
    assert json.loads((world.data / "tail.json").read_text()) == []


# ---- kills ----


@contextmanager
def killed_at(world, tails, step):
    """Ends the process at one of its steps: before and after marks are written, and records stored."""
    left = [step]

    def tick():
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    save, accept = tails._checkpoint.save, world.intake.accept_records

    def saving(marks):
        tick()
        save(marks)
        tick()

    async def accepting(records, **options):
        tick()
        receipt = await accept(records, **options)
        tick()
        return receipt

    tails._checkpoint.save, world.intake.accept_records = saving, accepting
    try:
        yield
    finally:
        world.intake.accept_records = accept


@pytest.mark.parametrize("step", range(12))
async def test_a_kill_at_any_step_neither_loses_nor_repeats_a_line(world, step, monkeypatch):
    monkeypatch.setattr(tail_file, "MOST_LINES", 3)
    world.write("a.log", "one\ntwo\n")
    with world.following() as follower, killed_at(world, follower.tails, step), suppress(Killed):
        await follower.poll()
    world.write("a.log", "three\nfour\nfive\n")
    with world.following() as follower:
        await follower.poll()
    assert world.texts == ["one", "two", "three", "four", "five"]


ACTIONS = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("rotate"), st.just(0), st.booleans()),
    st.tuples(st.just("poll"), st.integers(0, 3), st.just(True)),
    st.tuples(st.just("kill"), st.integers(0, 6), st.booleans()),
    st.tuples(st.just("kill"), st.integers(0, 12), st.booleans()),
)


@settings(max_examples=40 if RECORDS <= 2000 else 1000, deadline=None)
@given(st.lists(ACTIONS, min_size=4, max_size=25), st.integers(1, 4), st.sampled_from(["", r"^\s"]))
def test_lines_come_once_whatever_is_written_rotated_and_killed(
    tmp_path_factory, actions, lines, continued_by
):
    asyncio.run(lives(World(tmp_path_factory.mktemp("world")), actions, lines, continued_by))


async def lives(world, actions, most_lines, continued_by):
    settings = TailConfig(str(world.logs / "a.log*"), continued_by=continued_by)
    expected, rotations = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail_file, "MOST_LINES", most_lines)
        patch.setattr(tail_module, "MOST_RANGES", 3)
        follower = world.following(settings).__enter__()
        for what, number, end in actions:
            if what == "write":
                for _ in range(number):
                    line = f"line {len(expected)}"
                    expected.append(line)
                    world.write("a.log", f"{line}\n")
                if not end:
                    expected.append(f"line {len(expected)}")
                    world.write("a.log", f"{expected[-1]}\n"[:4])
                    await follower.poll()
                    world.write("a.log", f"{expected[-1]}\n"[4:])
            elif what == "rotate" and world.path("a.log").exists():
                rotations += 1
                if end:
                    world.path("a.log").rename(world.path(f"a.log.{rotations}"))
                else:
                    shutil.copy(world.path("a.log"), world.path(f"a.log.{rotations}"))
                    os.truncate(world.path("a.log"), 0)
            elif what == "poll":
                await follower.poll(number * QUIET)
            elif what == "kill":
                with killed_at(world, follower.tails, number), suppress(Killed):
                    await follower.poll(QUIET)
                follower.__exit__()
                if end:
                    expected.append(f"line {len(expected)}")
                    world.write("a.log", f"{expected[-1]}\n")
                follower = world.following(settings).__enter__()
        for _ in range(30):
            await follower.poll(QUIET)
        follower.__exit__()
    assert sorted(world.texts) == sorted(expected)
