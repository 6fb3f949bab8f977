"""`penstock spool`: what lies in a data folder, as a person sees it."""

import json
from collections import Counter

import pytest
from click.testing import CliRunner

from penstock.cli import main
from penstock.services.distributor.change import Change, DeadLetter, Retry, Stored
from penstock.services.distributor.journal.inspection import Inspection
from penstock.services.distributor.spool import Spool


def packet(seq, *, body=None, analyzer="a1", group="default"):
    body = body if body is not None else b'{"id":"p%d","messages":[]}' % seq
    return Stored(seq, f"p{seq}", 1, len(body), body, group=group, analyzer=analyzer)


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["spool", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def folder(tmp_path):
    with Spool(tmp_path, "os", wall=lambda: 1_700_000_000 * 10**9) as spool:
        new = [packet(1), packet(2, analyzer=None), packet(3, group="audit"), packet(4), packet(5), packet(6)]
        spool.commit(Change(accepted=new, counters=Counter(accepted=6)))
        spool.commit(Change(retried=[Retry(new[3], "a2", 5, "busy")], delivered=[new[4]]))
        spool.commit(Change(dead=[DeadLetter(new[5], "crashed", 7)]))
    return tmp_path


def damage(folder, needle, segment="0000000001.segment"):
    path = folder / "journal" / segment
    data = bytearray(path.read_bytes())
    data[data.index(needle)] ^= 1
    path.write_bytes(data)


def test_check_of_a_spool_in_order_ends_with_0(folder):
    output = run("check", folder).output
    assert "4 packets waiting, nothing wrong" in output
    assert "0000000001.segment" in output
    assert max(map(len, output.splitlines())) <= 80


def test_check_finds_a_packet_that_is_damaged(folder):
    damage(folder, b'"p2"')
    assert "4 packets waiting, 1 fault" in run("check", folder, status=1).output


def test_check_finds_an_entry_that_is_damaged(folder):
    damage(folder, b"delivered")
    output = run("check", folder, status=1).output
    assert "cannot be read" in output
    assert "1 fault" in output


def test_check_finds_a_damaged_table_of_dead_letters(folder):
    (folder / "dead_letters.sqlite3").write_bytes(
        b"this is no database, but long enough to be looked at" * 20
    )
    assert "dead_letters.sqlite3: file is not a database" in run("check", folder, status=1).output


def test_what_a_crash_left_is_not_wrong(folder):
    with (folder / "journal" / "0000000001.segment").open("ab") as file:
        file.write(b"\xa7\x1eP\xf5half of a frame")
    output = run("check", folder).output
    assert "was left incomplete by a crash (never acknowledged)" in output
    assert "nothing wrong" in output


def test_stats_tell_how_much_waits_for_whom(folder):
    output = run("stats", folder).output
    lines = [line.split() for line in output.splitlines()]
    assert output.startswith(
        "4 packets of 100 bytes waiting\nthe oldest was accepted at 2023-11-14T22:13:20.000Z\n"
    )
    assert ["audit", "a1", "1", "25"] in lines
    assert ["default", "not", "assigned", "1", "25"] in lines
    assert ["default", "a1", "1", "25"] in lines
    assert ["to", "be", "retried", "1", "25"] in lines
    assert max(map(len, output.splitlines())) <= 80


def test_dump_writes_what_waits(folder):
    rows = [json.loads(line) for line in run("dump", folder).stdout.splitlines()]
    assert [(row["seq"], row["group"], row["analyzer"], row["failures"]) for row in rows] == [
        (1, "default", "a1", 0),
        (2, "default", None, 0),
        (3, "audit", "a1", 0),
        (4, "default", "a2", 1),
    ]
    assert rows[0]["packet"] == {"id": "p1", "messages": []}
    assert rows[0]["accepted_at"] == "2023-11-14T22:13:20.000Z"


def test_dump_has_null_for_a_packet_that_is_damaged(folder):
    damage(folder, b'"p2"')
    rows = [json.loads(line) for line in run("dump", folder).stdout.splitlines()]
    assert [row["packet"] and row["packet"]["id"] for row in rows] == ["p1", None, "p3", "p4"]


def test_dump_of_all_tells_what_happened(folder):
    rows = [json.loads(line) for line in run("dump", folder, "--all").stdout.splitlines()]
    assert [(row["what"], row["seq"]) for row in rows] == [
        *(("accepted", seq) for seq in range(1, 7)),
        ("delivered", 5),
        ("retry", 4),
        ("dead", 6),
    ]
    assert rows[7]["error"] == "busy"


def test_dump_of_letters(folder):
    (row,) = [json.loads(line) for line in run("dump", folder, "--letters").stdout.splitlines()]
    assert (row["seq"], row["id"], row["error"], row["packet"]["id"]) == (6, "p6", "crashed", "p6")


def test_letters_that_are_no_json_are_text(tmp_path):
    with Spool(tmp_path, "os") as spool:
        new = packet(1, body=b"\xff{")
        spool.commit(Change(accepted=[new]))
        spool.commit(Change(dead=[DeadLetter(new, "crashed", 7)]))
    (row,) = [json.loads(line) for line in run("dump", tmp_path, "--letters").stdout.splitlines()]
    assert row["packet"] == "\ufffd{"


def test_repair_tells_first_and_writes_when_told_to(folder):
    damage(folder, b"delivered")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "1 fault would be put into" in run("repair", folder).output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert "1 put into" in run("repair", folder, "--write").output
    assert list((folder / "quarantine").iterdir())
    assert run("repair", folder).output.endswith("(in the quarantine)\nnothing to repair\n")
    assert "nothing wrong" in run("check", folder).output
    with Spool(folder, "os") as spool:
        assert spool.recovery.packets == 5, "what was lost is that one was delivered and one failed"


def test_folder_in_use_can_be_looked_at_and_not_repaired(folder):
    with Spool(folder, "os"):
        damage(folder, b"delivered")
        result = run("stats", folder)
        assert "warning: a distributor is at work on" in result.stderr
        result = run("repair", folder, "--write", status=2)
        assert "is in use by another distributor" in result.stderr


def test_spool_in_order_has_nothing_to_repair(folder):
    assert run("repair", folder).output == run("repair", folder, "--write").output == "nothing to repair\n"


def test_segment_that_goes_while_it_is_looked_at_is_told_in_words(folder, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory", "0000000001.segment")

    monkeypatch.setattr(Inspection, "live", gone)
    result = run("dump", folder, status=2)
    assert "cannot be read to its end: [Errno 2] No such file or directory" in result.stderr


def test_folder_without_a_spool_is_refused(tmp_path):
    result = run("check", tmp_path, status=2)
    assert "must be the data folder of a distributor, got no folder" in result.stderr
    assert "exclude each other" in run("dump", tmp_path, "--all", "--letters", status=2).stderr
