"""Reports of pages are valid after every row, whatever strangers wrote into them."""

import csv
import json
import os
import resource
import sqlite3
from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.printable import printable
from penstock.services.scraper.model import Page
from penstock.services.scraper.report import (
    COLUMNS,
    CsvReport,
    JsonReport,
    NdjsonReport,
    NotAReport,
    SqliteReport,
)

PAGE = Page(
    url="http://x/a",
    canonical="http://x/a",
    final_url="http://x/b",
    status=200,
    title='Ä "title", with <signs>',
    length=12,
    links=3,
    depth=1,
    from_sitemap=True,
    selected={"head": ["One", "Two"], "none": []},
    fetched_at="2026-01-01T00:00:00.000Z",
    elapsed_ms=1.25,
    attempts=1,
)
FAILED = Page(url="no url", outcome="failed", error="invalid URL: no host")


def csv_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ndjson_rows(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def sqlite_rows(path):
    with sqlite3.connect(path) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM pages ORDER BY id")]
    database.close()
    return rows


def test_reports_hold_everything_that_a_row_has():
    assert {*COLUMNS, "selected"} == {field.name for field in fields(Page)}


def test_csv_has_a_column_for_each_selector_with_its_texts(tmp_path):
    with CsvReport(tmp_path / "f", ["head", "none"]) as report:
        report.write(PAGE)
        report.write(FAILED)
    first, second = csv_rows(tmp_path / "f")
    assert list(first) == [*COLUMNS, "head", "none"]
    assert (first["title"], first["from_sitemap"], first["head"], first["none"]) == (
        PAGE.title,
        "1",
        "One | Two",
        "",
    )
    assert (second["outcome"], second["status"], second["error"]) == ("failed", "0", "invalid URL: no host")


def test_selectors_named_like_columns_have_columns_of_their_own(tmp_path):
    texts = {"title": ["h"], "selected.title": ["s"]}
    with CsvReport(tmp_path / "f", list(texts)) as report:
        report.write(Page(url="u", title="t", selected=texts))
    (row,) = csv_rows(tmp_path / "f")
    assert (row["title"], row["selected.title"], row["selected.selected.title"]) == ("t", "h", "s")


def test_disk_that_is_full_within_a_row_is_an_error_of_that_row(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with NdjsonReport(tmp_path / "f") as report:
        report.write(PAGE)
        size = os.path.getsize(tmp_path / "f")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            with pytest.raises(OSError, match="File too large") as failed:
                report.write(PAGE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.filename == str(tmp_path / "f")


def test_json_and_ndjson_hold_the_same(tmp_path):
    with JsonReport(tmp_path / "json") as array, NdjsonReport(tmp_path / "ndjson") as lines:
        for page in (PAGE, FAILED):
            array.write(page)
            lines.write(page)
    objects = json.loads((tmp_path / "json").read_text())
    assert objects == ndjson_rows(tmp_path / "ndjson")
    assert list(objects[0]) == [*COLUMNS, "selected"]
    assert objects[0]["selected"] == {"head": ["One", "Two"], "none": []}
    assert objects[0]["from_sitemap"] is True


def test_sqlite_has_a_row_for_each_page_and_each_text(tmp_path):
    with SqliteReport(tmp_path / "db") as report, report.together():
        report.write(FAILED)
        report.write(PAGE)
    first, second = sqlite_rows(tmp_path / "db")
    assert (first["url"], second["url"], second["elapsed_ms"], second["from_sitemap"]) == (
        "no url",
        "http://x/a",
        1.25,
        1,
    )
    with sqlite3.connect(tmp_path / "db") as database:
        texts = database.execute("SELECT page, name, nth, text FROM selected").fetchall()
    database.close()
    assert texts == [(second["id"], "head", 0, "One"), (second["id"], "head", 1, "Two")]


@pytest.mark.parametrize(
    ("report", "read"),
    [
        (CsvReport, csv_rows),
        (JsonReport, lambda path: json.loads(path.read_text())),
        (NdjsonReport, ndjson_rows),
        (SqliteReport, sqlite_rows),
    ],
)
def test_file_is_whole_after_every_row_while_it_is_still_open(report, read, tmp_path):
    with report(tmp_path / "f") as rows:
        for number in range(1, 4):
            rows.write(PAGE)
            assert len(read(tmp_path / "f")) == number


def test_earlier_sqlite_report_is_emptied(tmp_path):
    for _ in range(2):
        with SqliteReport(tmp_path / "db") as report:
            report.write(PAGE)
    assert len(sqlite_rows(tmp_path / "db")) == 1


def test_other_databases_and_files_are_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "db") as database:
        database.execute("CREATE TABLE pages (mine)")
    database.close()
    (tmp_path / "text").write_text("my only copy of a long text " * 100)
    with pytest.raises(
        NotAReport, match="is a database, and no report of pages: name another file"
    ) as refused:
        SqliteReport(tmp_path / "db")
    assert isinstance(refused.value, PenstockError)
    with pytest.raises(OSError, match="file is not a database"):
        SqliteReport(tmp_path / "text")
    assert (tmp_path / "text").read_text().startswith("my only copy")


def test_transaction_that_fails_leaves_no_row(tmp_path):
    with SqliteReport(tmp_path / "db") as report:
        with suppress(RuntimeError), report.together():
            report.write(PAGE)
            raise RuntimeError
        report.write(FAILED)
    assert [row["url"] for row in sqlite_rows(tmp_path / "db")] == ["no url"]


def test_full_disk_is_an_os_error_that_names_the_file():
    with pytest.raises(OSError, match="No space left"), NdjsonReport("/dev/full") as report:
        report.write(PAGE)
    with pytest.raises(OSError, match="unable to open") as failed:
        SqliteReport("/no-such-folder/db")
    assert failed.value.filename == "/no-such-folder/db"


@given(st.text(), st.lists(st.text()))
def test_any_printable_text_comes_back_as_it_was(tmp_path_factory, title, texts):
    folder = tmp_path_factory.mktemp("reports")
    page = Page(url="u", title=printable(title), selected={"x": [printable(text) for text in texts]})
    for kind, read in ((CsvReport, csv_rows), (NdjsonReport, ndjson_rows), (SqliteReport, sqlite_rows)):
        with kind(folder / kind.__name__) as report:
            report.write(page)
        assert read(folder / kind.__name__)[0]["title"] == page.title
    assert ndjson_rows(folder / "NdjsonReport")[0]["selected"] == page.selected
