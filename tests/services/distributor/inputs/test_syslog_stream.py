"""Chunks of syslog put together, and records that are kept until they are stored."""

import asyncio
import json

import pytest

from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs.storing import Storing
from penstock.services.distributor.inputs.syslog import SyslogStream
from penstock.services.distributor.inputs.syslog_lines import SyslogLines
from services.distributor.inputs.stream_intake import ListingIntake


def stream(most_text=1000):
    return SyslogStream(SyslogLines(most_text, 2**20))


def texts(records):
    return [json.loads(record)["message"] for record in records]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_a_stream_that_comes_in_small_chunks_gives_the_same_records(step):
    whole = (
        b"<1>line one\n19 <2>counted\nin two..<3>with a nul\0" + b"<4>" + b"x" * 300 + b"\n12 <5>abcdefghi<6>"
    )
    fed = stream()
    found = [
        text for at in range(0, len(whole), step) for text in texts(fed.feed(whole[at : at + step]))
    ] + texts(fed.cut())
    assert found == ["line one", "counted\nin two..", "with a nul", "x" * 300, "abcdefghi", "<6>"]
    assert fed.held == 0


def test_a_frame_without_end_is_held_up_to_a_bound():
    fed = stream()
    most = fed.lines.most_frame + 10
    for _ in range(100):
        fed.feed(b"<1>" + b"y" * 997)
        assert fed.held <= most + 1000


def test_a_client_that_sends_byte_by_byte_is_not_read_anew_for_each():
    class Counting:
        wanted, most_frame = 0, 100_000
        readings = 0

        def read(self, data, cut):
            self.readings += 1
            return [], 0

    fed = SyslogStream(Counting())
    for _ in range(10_000):
        fed.feed(b"y")
    assert fed.held == 10_000
    assert fed.lines.readings < 20


async def test_records_are_stored_again_until_they_are_stored_and_once():
    intake, waits = ListingIntake(), []

    async def sleep(seconds):
        waits.append(seconds)

    storing = Storing("syslog_tcp", intake, sleep=sleep)
    intake.refusing, intake.fails_after_storing = 2, 1
    await storing.store([b'{"message":"a"}', b'{"message":"b"}'])
    assert intake.texts == ["a", "b"]
    assert len(set(intake.ids)) == 1
    assert waits == [7, 7, 0.05]
    assert storing.figures.stored == 2


async def test_each_batch_has_ids_of_its_own():
    storing = Storing("syslog_tcp", intake := ListingIntake())
    await storing.store([b'{"message":"a"}'])
    await storing.store([b'{"message":"a"}'])
    assert intake.texts == ["a", "a"]


async def test_refused_records_are_counted():
    intake = ListingIntake(Config(max_record_bytes=3))
    storing = Storing("syslog_tcp", intake)
    await storing.store([b'{"message":"abc"}', b'{"message":"abcd"}'])
    assert (storing.figures.stored, storing.figures.refused) == (1, 1)


@pytest.mark.parametrize(("again", "dropped"), [(False, 1), (True, 0)])
async def test_records_that_are_given_up_are_dropped_unless_they_can_be_read_again(again, dropped):
    intake = ListingIntake()
    intake.is_open.clear()
    storing = Storing("tail", intake, can_read_again=again)
    storing.figures.received = 1
    task = asyncio.create_task(storing.store([b'{"message":"a"}']))
    await intake.is_asked(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (storing.figures.received, storing.figures.dropped) == (dropped, dropped)
