"""All the real logs, and the sample that is shipped: every line is accounted for, none is refused."""

from pathlib import Path

import pytest

import penstock.services.replay
from datasets import require
from penstock.services.replay.files import find_files
from penstock.services.replay.packets import Packer
from penstock.services.replay.parsers import UNKNOWN
from penstock.services.replay.reading import Reading
from penstock.services.replay.sender import Sender
from stub_distributor import stub_distributor

SAMPLE = Path(penstock.services.replay.__file__).parent / "sample"
LINES_IN_LINE_FILES = 94_946  # as the manifest of the data counts them
LINES_IN_ARCHIVES = 1_881


async def replay(path):
    """Sends everything under a path; gives the stub, the reading and the tally."""
    reading = Reading(find_files([path]))
    async with stub_distributor() as stub:
        sender = Sender(stub.url)
        await sender.send(Packer().batches(reading.read()))
    reading.meter.close()
    return stub, reading, sender.tally


def whole_lines(messages):
    return sum(message.get("metadata", {}).get("part", 1) == 1 for message in messages)


@pytest.mark.data
async def test_all_real_logs_are_accepted_and_every_line_is_accounted_for():
    stub, reading, tally = await replay(require("logs"))
    assert reading.damaged == []
    assert reading.lines == LINES_IN_LINE_FILES + LINES_IN_ARCHIVES
    assert stub.refused == []
    assert (tally.refused.total(), tally.unanswered, tally.retried) == (0, 0, 0)
    assert whole_lines(stub.messages) == reading.lines - reading.blank
    assert len(stub.messages) == reading.messages == tally.accepted_messages
    assert tally.seconds < 30


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("Android", {"DEBUG": 650, "TRACE": 257, "INFO": 920, "WARN": 170, "ERROR": 3}),
        ("Apache", {"NOTICE": 1405, "ERROR": 595}),
        ("BGL", {"INFO": 1597, "FATAL": 347, "WARN": 8, "ERROR": 48}),
        ("HDFS", {"INFO": 1920, "WARN": 80}),
        ("Hadoop", {"INFO": 1040, "ERROR": 150, "WARN": 808, "FATAL": 2}),
        ("Linux", {UNKNOWN: 2000}),  # a syslog file states no level
        ("OpenSSH", {UNKNOWN: 2000}),
        ("OpenStack", {"INFO": 1969, "WARN": 31}),
        ("Spark", {"INFO": 2000}),
        ("Zookeeper", {"INFO": 669, "WARN": 1318, "ERROR": 13}),
    ],
)
def test_level_and_source_of_every_line_of_a_known_format_are_found(name, levels):
    path = require(f"logs/loghub/{name}_2k.log.gz")
    reading = Reading([path])
    messages = [message for _, message in reading.read()]
    reading.meter.close()
    found = [message.level for message in messages]
    assert {level: found.count(level) for level in set(found)} == levels
    if name != "Apache":  # whose lines name no source
        unnamed = [message for message in messages if message.source == path.name]
        assert len(unnamed) <= 30  # lines of the system log without a program


async def test_sample_is_accepted_and_has_what_logs_have():
    stub, reading, tally = await replay(SAMPLE)
    assert 300 < reading.lines < 1_000
    assert (tally.refused.total(), stub.refused) == (0, [])
    assert whole_lines(stub.messages) == reading.lines - reading.blank
    assert {"INFO", "WARN", "ERROR"} <= {message["level"] for message in stub.messages}
    assert sum("timestamp" in message for message in stub.messages) > 150


def test_sample_names_the_origin_and_licence_of_every_file():
    notice = (SAMPLE / "NOTICE.txt").read_text()
    logs = find_files([SAMPLE])
    assert len(logs) >= 8
    for path in [*logs, *(SAMPLE / "LICENSES").iterdir()]:
        assert path.name in notice
