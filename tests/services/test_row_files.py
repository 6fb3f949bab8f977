"""Files of results whose disk is full in the middle of a row."""

import csv
import json
import resource
from contextlib import contextmanager

import pytest

from penstock.services.row_files import CsvRows, JsonLines, JsonRows

LONG = "x" * 200


@contextmanager
def room_for(path, more):
    """Lets no file grow beyond this one's size and so many bytes more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 5, 100])
def test_json_is_valid_after_a_row_that_found_no_room(tmp_path, room):
    path = tmp_path / "rows.json"
    with JsonRows(path, lambda row: {"row": row}) as rows:
        rows.write("first")
        with room_for(path, room), pytest.raises(OSError, match="File too large") as failed:
            rows.write(LONG)
        assert failed.value.filename == str(path)
        assert json.loads(path.read_text()) == [{"row": "first"}]
        rows.write("last")  # somebody has made room
    assert json.loads(path.read_text()) == [{"row": "first"}, {"row": "last"}]


@pytest.mark.parametrize("room", [0, 1, 5, 100])
def test_csv_has_no_part_of_a_row_that_found_no_room(tmp_path, room):
    path = tmp_path / "rows.csv"
    with CsvRows(path, ["row", "again"], lambda row: (row, row)) as rows:
        rows.write("first")
        with room_for(path, room), pytest.raises(OSError, match="File too large") as failed:
            rows.write(LONG)
        assert failed.value.filename == str(path)
        rows.write('ünï, "said"\nso')
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["row", "again"], ["first", "first"], ['ünï, "said"\nso'] * 2]


@pytest.mark.parametrize("room", [0, 1, 5, 100])
def test_json_lines_have_no_part_of_a_line_that_found_no_room(tmp_path, room):
    path = tmp_path / "rows.ndjson"
    with JsonLines(path, lambda row: json.dumps(row).encode()) as rows:
        rows.write("first")
        with room_for(path, room), pytest.raises(OSError, match="File too large"):
            rows.write(LONG)
        rows.write("last")
    assert path.read_bytes() == b'"first"\n"last"\n'
