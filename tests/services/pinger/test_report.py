"""What the report files promise: valid after every row."""

import csv
import json
import os
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.report import CsvReport, JsonReport

AT = datetime(2025, 1, 10, 14, 12, 3, 1_999, tzinfo=UTC)
GOOD = PingResult(AT, "https://example.com", 200, 87.2314, "", 1)
BAD = PingResult(AT, "http://x/?a=1,2", 0, 1200.0, 'said "no"', 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results"


def test_csv_is_the_references(path):
    with CsvReport(path) as report:
        report.write(GOOD)
        report.write(BAD)
    assert path.read_bytes() == (
        b"timestamp,url,status,latency_ms,error\n"
        b"2025-01-10T14:12:03.001Z,https://example.com,200,87.231,\n"
        b'2025-01-10T14:12:03.001Z,"http://x/?a=1,2",0,1200.000,"said ""no"""\n'
    )


def test_json_holds_the_same_and_the_attempts(path):
    with JsonReport(path) as report:
        report.write(GOOD)
        report.write(BAD)
    assert json.loads(path.read_text()) == [
        {
            "timestamp": "2025-01-10T14:12:03.001Z",
            "url": "https://example.com",
            "status": 200,
            "latency_ms": 87.231,
            "error": "",
            "attempts": 1,
        },
        {
            "timestamp": "2025-01-10T14:12:03.001Z",
            "url": "http://x/?a=1,2",
            "status": 0,
            "latency_ms": 1200.0,
            "error": 'said "no"',
            "attempts": 3,
        },
    ]


def test_csv_is_whole_after_every_row(path):
    with CsvReport(path) as report:
        for rows in range(4):
            assert len(list(csv.DictReader(path.read_text().splitlines()))) == rows
            report.write(GOOD)


def test_json_is_whole_after_every_row(path):
    with JsonReport(path) as report:
        for rows in range(4):
            assert len(json.loads(path.read_text())) == rows
            report.write(BAD)


def test_json_into_a_pipe_is_whole_at_the_end(tmp_path):
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    with JsonReport(fifo) as report:
        report.write(GOOD)
        report.write(BAD)
    reader.join()
    assert [row["status"] for row in json.loads(read[0])] == [200, 0]


@pytest.mark.parametrize("Report", [CsvReport, JsonReport])
def test_earlier_results_are_replaced(path, Report):
    path.write_text("old " * 1000)
    with Report(path):
        pass
    assert "old" not in path.read_text()


@pytest.mark.parametrize("Report", [CsvReport, JsonReport])
def test_path_that_cannot_be_written_is_refused_at_once(tmp_path, Report):
    with pytest.raises(FileNotFoundError):
        Report(tmp_path / "missing" / "results")


@pytest.mark.parametrize("Report", [CsvReport, JsonReport])
def test_full_disk_is_an_error_and_not_a_short_file(Report):
    with pytest.raises(OSError, match="No space left"), Report("/dev/full"):
        pass


def test_timestamps_of_other_zones_are_told_in_utc():
    at = datetime(2025, 1, 10, 16, 0, tzinfo=timezone(timedelta(hours=2)))
    assert PingResult(at, "", 200, 1.0, "", 1).rfc3339 == "2025-01-10T14:00:00.000Z"
