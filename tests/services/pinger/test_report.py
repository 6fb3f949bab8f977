"""What the report files promise: valid after every row."""

import csv
import json
import os
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from fake_engine import MS, answer_of, failure_of

from penstock import PenstockError
from penstock.probing.exchange import TlsFacts
from penstock.services.pinger.model import Attempt, Hop, PingResult, Verdict
from penstock.services.pinger.report import ALL_COLUMNS, CsvReport, JsonReport, NdjsonReport

AT = datetime(2025, 1, 10, 14, 12, 3, 1_999, tzinfo=UTC)
GOOD = PingResult(AT, "https://example.com", 200, 87.2314, "", 1)
FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", not_after=1_735_689_600.0, issuer="somebody")
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


@pytest.mark.parametrize("Report", [CsvReport, JsonReport, NdjsonReport])
def test_earlier_results_are_replaced(path, Report):
    path.write_text("old " * 1000)
    with Report(path):
        pass
    assert "old" not in path.read_text()


@pytest.mark.parametrize("Report", [CsvReport, JsonReport, NdjsonReport])
def test_path_that_cannot_be_written_is_refused_at_once(tmp_path, Report):
    with pytest.raises(FileNotFoundError):
        Report(tmp_path / "missing" / "results")


@pytest.mark.parametrize("Report", [CsvReport, JsonReport, NdjsonReport])
def test_full_disk_is_an_error_and_not_a_short_file(Report):
    with pytest.raises(OSError, match="No space left"), Report("/dev/full") as report:
        report.write(GOOD)


def test_timestamps_of_other_zones_are_told_in_utc():
    at = datetime(2025, 1, 10, 16, 0, tzinfo=timezone(timedelta(hours=2)))
    assert PingResult(at, "", 200, 1.0, "", 1).rfc3339 == "2025-01-10T14:00:00.000Z"


RICH = PingResult(
    AT,
    "http://x/",
    200,
    42.0,
    "",
    2,
    name="shop",
    line=7,
    labels=(("team", "web"),),
    number=3,
    total=90 * MS,
    late=5 * MS,
    tries=(
        Attempt((Hop("http://x/", failure_of("reset", "connection reset")),), 0, "connection reset"),
        Attempt(
            (
                Hop("http://x/", answer_of(302, wait=10, connect=2)),
                Hop("https://y/", answer_of(facts=FACTS, wait=20, tls=8)),
            ),
            200,
            "",
        ),
    ),
    verdicts=(Verdict("cert>14d", "warn", "got 3.0 d"),),
)


def test_ndjson_has_all_fields_and_every_attempt_and_hop(path):
    with NdjsonReport(path) as report:
        report.write(RICH)
        report.write(GOOD)
    rich, good = map(json.loads, path.read_text().splitlines())
    assert tuple(rich) == ALL_COLUMNS
    expected = {
        "state": "recovered",
        "why": "cert>14d: got 3.0 d",
        "labels": {"team": "web"},
        "line": 7,
        "total_ms": 90.0,
        "late_ms": 5.0,
        "service_ms": 30.0,
        "ttfb_ms": 20.0,
        "connect_ms": 2.0,
        "tls_ms": 8.0,
        "wait_ms": 30.0,
        "final_url": "https://y/",
        "redirects": 1,
        "tls_version": "TLSv1.3",
        "certificate_ends": "2025-01-01T00:00:00.000Z",
    }
    assert {name: rich[name] for name in expected} == expected
    assert [(attempt["status"], len(attempt["hops"])) for attempt in rich["tries"]] == [(0, 1), (200, 2)]
    assert rich["tries"][1]["hops"][0]["connect_ms"] == 2.0
    assert (good["address"], good["tls_version"], good["tries"]) == ("", None, [])


def test_columns_can_be_chosen(tmp_path):
    columns = ["url", "state", "tls_ms", "verdicts", "line", "reused"]
    for report in (
        CsvReport(tmp_path / "csv", columns),
        JsonReport(tmp_path / "json", columns),
        NdjsonReport(tmp_path / "ndjson", columns),
    ):
        with report:
            report.write(RICH)
            report.write(GOOD)
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert rows[0]["tls_ms"] == "8.000"
    assert json.loads(rows[0]["verdicts"])[0]["severity"] == "warn"
    assert (rows[0]["reused"], rows[1]["reused"], rows[1]["line"]) == ("false", "", "")
    objects = json.loads((tmp_path / "json").read_text())
    assert objects == [json.loads(line) for line in (tmp_path / "ndjson").read_text().splitlines()]
    assert list(objects[0]) == columns


@pytest.mark.parametrize("Report", [CsvReport, JsonReport, NdjsonReport])
def test_unknown_column_is_refused_and_no_file_made(path, Report):
    with pytest.raises(ValueError, match=r"must be one of timestamp, .* or all, got 'speed'") as refused:
        Report(path, ["url", "speed"])
    assert isinstance(refused.value, PenstockError)
    assert not path.exists()


def test_all_columns_are_csv_too(path):
    with CsvReport(path, ["all"]) as report:
        report.write(RICH)
        report.write(BAD)
    assert [len(row) for row in csv.reader(path.read_text().splitlines())] == [len(ALL_COLUMNS)] * 3
