"""`penstock search` as a user runs it: what it writes, what it prints and its exit status."""

import asyncio
import errno
import gzip
import json
import lzma
import os
import signal
import sys

import pytest
from click.testing import CliRunner

from datasets import require
from penstock.cli import main, search_documents
from penstock.cli.search_documents import Reading
from penstock.search import InvertedIndex
from terminal import drawn_lines, on_terminal

NOTES = {
    "gates.md": "# Sluice gates\n\nA sluice gate is opened to let water through. Gates rust.\n",
    "deep/turbines.txt": "Turbines\n\nA turbine turns water under pressure into power.\n",
    "deep/pipes.rst": "Pipes\n=====\n\nA penstock carries water to a turbine, under full pressure.\n",
}

ROWS = [
    {"_id": "a", "title": "Sluice gates", "text": "A sluice gate is opened to let water through."},
    {"_id": "b", "title": "Turbines", "text": "A turbine turns water under pressure into power."},
    {"_id": 3, "title": "Pipes", "text": "A penstock carries water to a turbine."},
]


async def start(*arguments, env=None, **settings):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "search", *map(str, arguments),
        env=env or {**os.environ, "COLUMNS": "80"}, **settings,
    )  # fmt: skip


def search(*arguments):
    """Exit status, standard output and standard error."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(
        main, ["search", *map(str, arguments)], catch_exceptions=False
    )
    return result.exit_code, result.stdout, result.stderr


def table(out):
    """First column of the table -> the rest of the row."""
    rows = (line.strip().partition("  ") for line in out.splitlines())
    return {name: " ".join(value.split()) for name, _, value in rows if value}


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    for name, text in NOTES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def idx(tmp_path):
    return tmp_path / "my.idx"


def ids(idx, *arguments):
    """Ids of what is found, the best first."""
    status, out, err = search("query", idx, *arguments, "--json")
    assert (status, err) == (0, "")
    return [hit["id"] for hit in json.loads(out)["hits"]]


# ---- build


def test_folder_is_indexed_and_found_by_path_title_and_text(notes, idx):
    status, out, err = search("build", notes, "--out", idx)
    assert status == 0
    assert err.startswith("Search it: ")
    assert table(out)["documents"] == "3"
    assert {"index", "texts", "seconds", "documents/s"} <= table(out).keys()
    assert max(map(len, out.splitlines())) <= 80
    status, out, err = search("query", idx, "turbine pressure")
    assert (status, err) == (0, "")
    first, second = (line for line in out.splitlines() if line.endswith((".rst", ".txt")))
    assert {first.split()[-1], second.split()[-1]} == {"deep/turbines.txt", "deep/pipes.rst"}
    assert "A turbine turns water under pressure into power." in out
    assert "2 of 2 matching documents" in out
    assert "index: 3 documents" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_jsonl_is_indexed_by_its_ids(rows, idx):
    assert (search("build", rows, "--out", idx))[0] == 0
    assert ids(idx, "penstock") == ["3"]
    assert ids(idx, "sluice gates") == ["a"]
    assert set(ids(idx, "turbine water")) == {"a", "b", "3"}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_jsonl_is_read_as_it_is(rows, idx, pack):
    packed = rows.with_name("rows.jsonl.packed")
    packed.write_bytes(pack(rows.read_bytes()))
    assert (search("build", packed, "--out", idx))[0] == 0
    assert ids(idx, "penstock") == ["3"]


def test_jsonl_and_packed_texts_in_a_folder_are_read_too(notes, rows, idx):
    rows.rename(notes / "rows.ndjson")
    (notes / "more.txt.xz").write_bytes(lzma.compress(b"Levees\nhold the water back\n"))
    status, out, _ = search("build", notes, "--out", idx)
    assert status == 0
    assert table(out)["documents"] == "7"
    assert ids(idx, "levees") == ["more.txt.xz"]


async def test_standard_input_is_read_to_its_end(rows, idx):
    pipe = asyncio.subprocess.PIPE
    process = await start("build", "-", "--out", idx, stdin=pipe, stdout=pipe, stderr=pipe)
    async with asyncio.timeout(60):
        out, err = await process.communicate(rows.read_bytes())
    assert process.returncode == 0
    assert table(out.decode())["documents"] == "3"
    assert err.startswith(b"Search it: ")
    assert ids(idx, "penstock") == ["3"]


def test_what_cannot_be_taken_is_counted_told_and_the_rest_indexed(rows, idx):
    bad = ['{"_id": "a", "text": "again"}', "no json\x1b[31m", "[1]", '{"text": "x"}', '{"_id": "d"}', "",
           '{"_id": "e", "text": {}}', '{"_id": [], "text": "x"}', '{"_id": "f", "text": null}']  # fmt: skip
    with rows.open("a") as file:
        file.write("\n".join(bad) + '\n{"_id": "last", "text": "here"}')
    status, out, err = search("build", rows, "--out", idx)
    assert status == 1
    assert table(out)["documents"] == "4"
    assert table(out)["left out"].startswith("8 ")
    for told in (
        "rows.jsonl:4: its id is there already",
        "rows.jsonl:5: it is no JSON",
        "rows.jsonl:6: it is no JSON object",
        "rows.jsonl:7: it has no _id and no id",
        "rows.jsonl:8: it has no title and no text",
        "Left out: 3 more",
    ):
        assert told in err
    assert ids(idx, "here") == ["last"]


def test_other_kinds_of_files_and_hidden_ones_are_passed_over_and_counted(notes, idx):
    (notes / "picture.png").write_bytes(b"\x89PNG")
    (notes / ".hidden.txt").write_text("hidden")
    (notes / ".git").mkdir()
    (notes / ".git" / "x.txt").write_text("hidden")
    status, out, _ = search("build", notes, "--out", idx)
    assert status == 0
    assert table(out)["documents"] == "3"
    assert table(out)["other files"] == "1 1 .png"


def test_pipes_and_links_to_nothing_are_passed_over_and_counted(notes, idx):
    os.mkfifo(notes / "pipe.txt")
    (notes / "link.txt").symlink_to("nowhere")
    status, out, _ = search("build", notes, "--out", idx)
    assert status == 0
    assert table(out)["documents"] == "3"
    assert table(out)["other files"] == "2 2 no file: a pipe, or a link to nothing"


def test_folder_that_cannot_be_read_is_told(notes, idx, monkeypatch):
    look = os.scandir

    def refuse_deep(path):  # as the system does for anybody but root
        if os.fspath(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse_deep)
    status, out, err = search("build", notes, "--out", idx)
    assert status == 1
    assert table(out)["documents"] == "1"
    assert f"{notes / 'deep'} cannot be read: Permission denied" in err


def test_texts_of_another_encoding_are_counted(notes, rows, idx):
    (notes / "latin.txt").write_bytes("Höhe\nWasser über dem Wehr\n".encode("latin-1"))
    (notes / "wide.txt").write_bytes("Höhe\nWasser über dem Wehr\n".encode("utf-16"))
    status, out, _ = search("build", notes, "--out", idx)
    assert status == 0
    assert table(out)["not UTF-8"] == "1 indexed, but what is no UTF-8 in them is lost"
    assert ids(idx, "über") == ["wide.txt"]
    rows.write_bytes(b'{"_id": 1, "text": "\xe9"}\n{"_id": 2, "text": "e"}\n')
    assert table(search("build", rows, "--out", idx)[1])["not UTF-8"].startswith("1 ")


def test_a_single_text_file_is_refused_with_what_to_do(notes, idx):
    status, _, err = search("build", notes / "gates.md", "--out", idx)
    assert status == 1
    assert "is read as part of its folder" in err
    assert not idx.exists()


def test_next_step_can_be_pasted_into_a_shell(rows, tmp_path):
    idx = tmp_path / "my own.idx"
    assert f"search query '{idx}' \"...\"" in search("build", rows, "--out", idx)[2]
    idx.unlink()
    assert f"--out '{idx}'`" in search("query", idx, "word")[2]


def test_binary_files_are_left_out(notes, idx):
    (notes / "image.txt").write_bytes(b"\0\1\2" * 50)
    status, _, err = search("build", notes, "--out", idx)
    assert status == 1
    assert "image.txt: it has NUL characters" in err


def test_index_within_its_folder_is_not_indexed(notes):
    idx = notes / "my.txt"
    for _ in range(2):
        status, out, _ = search("build", notes, "--out", idx)
        assert status == 0
        assert table(out)["documents"] == "3"


def test_damaged_file_is_told_and_what_came_before_is_indexed(tmp_path, idx):
    lines = "".join(f'{{"_id": {n}, "text": "word{n} {os.urandom(20).hex()}"}}\n' for n in range(5_000))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(lines.encode())[:-5_000])
    status, out, err = search("build", cut, "--out", idx)
    assert status == 1
    assert "cut.jsonl.gz cannot be read to its end" in err
    assert 0 < int(table(out)["documents"].replace(",", "")) < 5_000


def test_fields_of_any_name_are_indexed_apart_and_weighed(tmp_path, idx):
    mails = tmp_path / "mails.jsonl"
    mails.write_text(
        '{"number": 7, "subject": "gate", "body": "water water turbine"}\n'
        '{"number": 8, "subject": "water", "body": "gate and turbine and more"}\n'
    )
    arguments = ("--id-field", "number", "--field", "subject=9", "--field", "body")
    assert (search("build", mails, "--out", idx, *arguments))[0] == 0
    assert ids(idx, "gate") == ["7", "8"]
    assert ids(idx, "subject:water") == ["8"]
    assert ids(idx, "body:gate") == ["8"]


def test_text_fields_are_indexed_together(rows, idx):
    assert (search("build", rows, "--out", idx, "--text-field", "title"))[0] == 0
    assert ids(idx, "pipes") == ["3"]
    status, out, _ = search("query", idx, "penstock")
    assert status == 1
    assert out.startswith("0 of 0 matching documents")


def test_english_analyzer_finds_other_forms_of_a_word(rows, idx):
    assert (search("build", rows, "--out", idx, "--analyzer", "english"))[0] == 0
    assert ids(idx, "opening") == ["a"]


def test_stemmer_and_stop_words_are_taken_from_the_options(rows, idx, tmp_path):
    words = tmp_path / "stop.txt"
    words.write_text("water\na\n")
    arguments = ("--stemmer", "english", "--stop-words", words)
    assert (search("build", rows, "--out", idx, *arguments))[0] == 0
    assert ids(idx, "opening") == ["a"]
    assert (search("query", idx, "water"))[0] == 1


def test_old_index_stays_when_nothing_can_be_indexed(rows, idx, tmp_path):
    search("build", rows, "--out", idx)
    before = idx.read_bytes()
    empty = tmp_path / "empty.jsonl"
    empty.write_text("no json\n\n")
    status, out, err = search("build", empty, "--out", idx)
    assert (status, out) == (1, "")
    assert "no document could be indexed, so nothing was written" in err
    assert "empty.jsonl:1: it is no JSON" in err
    assert idx.read_bytes() == before
    assert sorted(path.name for path in idx.parent.glob("*my.idx*")) == ["my.idx", "my.idx.texts"]


def test_file_is_an_index_that_the_library_loads(rows, idx):
    search("build", rows, "--out", idx, "--no-texts")
    assert sorted(path.name for path in idx.parent.glob("*my.idx*")) == ["my.idx"]
    index = InvertedIndex.load(idx)
    assert len(index) == 3
    assert [hit.doc_id for hit in index.search("sluice")] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "'nowhere' does not exist"),
        (["{rows}", "--out", "{rows}"], "--out must not be what is read"),
        (["{rows}", "--out", "{rows}.notes"], "--out must be new or an index"),
        (["{rows}", "--out", "nowhere/my.idx"], "--out must be in a folder that exists"),
        (["{rows}", "--analyzer", "klingon"], "'klingon' is not one of"),
        (["{rows}", "--stemmer", "klingon"], "klingon"),
        (["{rows}", "--stop-words", "nowhere"], "'nowhere' is neither english nor a file that can be read"),
        (["{rows}", "--field", "title=0"], "'title=0' is not of the form NAME or NAME=BOOST"),
        (["{rows}", "--field", "title=nan"], "'title=nan' is not of the form NAME or NAME=BOOST"),
        (["{rows}", "--field", "a", "--field", "a=2"], "'a' was given twice"),
        (["{rows}", "--field", "a", "--text-field", "b"], "give one of both"),
        (["{rows}", "--analyzer", "english", "--stemmer", "german"], "stemmer and stop words of its own"),
    ],
)
def test_wrong_usage_of_build_is_told_and_exits_2(rows, idx, arguments, said):
    notes = rows.with_name("rows.jsonl.notes")
    notes.write_text("dear to somebody")
    arguments = [argument.format(rows=rows) for argument in arguments]
    given = [] if "--out" in arguments else ["--out", idx]
    status, out, err = search("build", *arguments, *given)
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())
    assert not idx.exists()
    assert notes.read_text() == "dear to somebody"


def test_lines_that_are_too_long_are_left_out_and_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr(search_documents, "MAX_TEXT", 1_000)
    path = tmp_path / "long.jsonl"
    path.write_text(f'{{"_id": 1, "text": "{"x" * 3_000_000}"}}\n{{"_id": 2, "text": "short"}}\n')
    reading = Reading(path, [], None, ["text"])
    assert [document.id for _, document in reading.documents()] == ["2"]
    assert reading.left_out.total() == 1
    assert reading.examples == ["long.jsonl:1: it is longer than 16,777,216 characters"]
    reading.meter.close()


# ---- query


@pytest.fixture
def built(rows, idx):
    assert (search("build", rows, "--out", idx, "--positions"))[0] == 0
    return idx


def test_json_has_all_there_is_to_know(built):
    status, out, _ = search("query", built, "turbine", "-k", 1, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["query"] == "turbine"
    assert (found["documents"], found["matching"], len(found["hits"])) == (3, 2, 1)
    assert found["index_bytes"] == built.stat().st_size
    assert found["load_ms"] > 0
    assert found["query_us"] > 0
    (hit,) = found["hits"]
    assert hit["rank"] == 1
    assert hit["score"] > 0
    assert "<mark>turbine</mark>" in hit["fragment"]


def test_syntax_is_understood(built):
    assert ids(built, '"water under pressure"') == ["b"]
    assert ids(built, "+water -turbine") == ["a"]
    assert ids(built, "pens*") == ["3"]
    assert ids(built, "penstok~") == ["3"]


def test_words_need_no_quotes_of_the_shell(built):
    assert ids(built, "water", "under", "pressure", "--mode", "and") == ["b"]
    status, out, _ = search("query", built, "--", "-turbine", "water")
    assert (status, out.split()[2]) == (0, "a")


def test_words_in_quotes_are_found_in_any_order_without_positions_and_that_is_told(rows, idx):
    search("build", rows, "--out", idx)
    status, out, err = search("query", idx, '"pressure water"')
    assert status == 0
    assert "Note: words in quotes cannot be found one after the other" in err
    assert "1 of 1 matching document," in out
    assert search("query", idx, '"water" turbine "gate"')[2] == ""
    status, out, err = search("query", idx, '"pressure water"', "--strict")
    assert (status, out) == (2, "")
    assert "build the index again with --positions" in " ".join(err.split())


def test_lines_end_where_a_narrow_terminal_does(built):
    for columns in (20, 40, 79):
        result = CliRunner(env={"COLUMNS": str(columns)}).invoke(
            main, ["search", "query", str(built), "water"]
        )
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= columns
        assert all(line == line.rstrip() for line in lines)


def test_mode_says_how_many_words_a_document_needs(built):
    assert set(ids(built, "water turbine penstock")) == {"a", "b", "3"}
    assert ids(built, "water turbine penstock", "--mode", "and") == ["3"]
    assert set(ids(built, "water turbine penstock", "--mode", 2)) == {"b", "3"}


def test_lenient_query_makes_the_best_of_mistakes_and_strict_shows_the_place(built):
    assert ids(built, '(penstock "') == ["3"]
    status, out, err = search("query", built, "penstock AND (", "--strict")
    assert (status, out) == (2, "")
    assert "query must have a closing ) (for the one opened at 13) at position 14" in " ".join(err.split())


def test_nothing_found_is_said_and_exits_1(built):
    status, out, err = search("query", built, "helicopter")
    assert (status, err) == (1, "")
    assert out.startswith("0 of 0 matching documents")


def test_missing_index_says_how_to_make_one(idx):
    status, out, err = search("query", idx, "word")
    assert (status, out) == (2, "")
    assert f"{idx} does not exist" in " ".join(err.split())
    assert "search build DIR_OR_JSONL --out" in err


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: data[:-1] + b"!", lambda data: b""])
def test_damaged_index_is_told(built, damage):
    built.write_bytes(damage(built.read_bytes()))
    status, out, err = search("query", built, "word")
    assert (status, out) == (2, "")
    assert "build it again" in err
    assert "Traceback" not in err


def test_texts_that_are_gone_or_of_another_index_are_not_shown(built, rows, tmp_path):
    texts = built.with_name("my.idx.texts")
    rows.write_text('{"_id": "a", "title": "New", "text": "turbine"}')
    other = tmp_path / "other.idx"
    search("build", rows, "--out", other)
    other.with_name("other.idx.texts").replace(texts)
    status, out, err = search("query", built, "turbine")
    assert status == 0
    assert "my.idx.texts belongs to another index" in err
    assert "New" not in out
    texts.write_bytes(b"no database" * 1_000)
    assert "my.idx.texts cannot be read" in (search("query", built, "turbine"))[2]
    texts.unlink()
    assert "my.idx.texts is not there" in (search("query", built, "turbine"))[2]
    assert (search("query", built, "turbine", "--no-texts"))[2] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "most"], "'most' is neither or, nor and, nor a number of words"),
        (["--mode", "0"], "'0' is neither or, nor and, nor a number of words"),
        (["--mode", "and", "--strict"], "give one of both"),
        (["-k", "-1"], "-1 is not in the range"),
    ],
)
def test_wrong_usage_of_query_is_told_and_exits_2(built, arguments, said):
    status, out, err = search("query", built, "water", *arguments)
    assert (status, out) == (2, "")
    assert said in " ".join(err.split())


def test_titles_and_texts_of_strangers_cannot_move_the_cursor(rows, idx):
    rows.write_text(
        json.dumps({"_id": "\x1b[2J", "title": "\x1b[31mred\x02", "text": "water \x07\x1b[0m\x02 x"})
    )
    search("build", rows, "--out", idx)
    status, out, _ = search("query", idx, "water")
    assert status == 0
    assert not {"\x1b", "\x07", "\x02"} & set(out)


# ---- a terminal


async def test_words_are_highlighted_on_a_terminal(built):
    shown = await on_terminal(start, "query", built, "turbine")
    assert "\x1b[1;33mturbine\x1b[0m" in shown
    assert max(map(len, drawn_lines(shown))) <= 80


async def test_bar_is_shown_on_a_terminal_only(rows, idx):
    shown = await on_terminal(start, "build", rows, "--out", idx)
    assert any("documents" in line and "/s" not in line for line in drawn_lines(shown))
    _, _, err = search("build", rows, "--out", idx)
    assert err.count("\n") == 1


def test_query_that_is_no_utf_8_finds_what_it_can(built):
    status, out, err = search("query", built, "penstock \udcff", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["query"] == "penstock ?"
    assert [hit["id"] for hit in json.loads(out)["hits"]] == ["3"]


async def test_interrupt_leaves_the_old_index_and_no_half_of_a_new_one(rows, idx):
    search("build", rows, "--out", idx)
    before = idx.read_bytes()
    pipe = asyncio.subprocess.PIPE
    process = await start("build", "-", "--out", idx, stdin=pipe, stdout=pipe, stderr=pipe)
    partial = idx.with_name(".my.idx.texts.partial")
    async with asyncio.timeout(60):
        while not partial.exists():  # it is reading by then, and waits for more
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 130
    assert b"Interrupted" in err
    assert b"Traceback" not in err
    assert idx.read_bytes() == before
    assert sorted(path.name for path in idx.parent.glob("*my.idx*")) == ["my.idx", "my.idx.texts"]
    assert ids(idx, "penstock") == ["3"]


@pytest.mark.parametrize("arguments", [(), ("build",), ("query",)])
def test_help_teaches_by_example(arguments):
    status, out, _ = search(*arguments, "--help")
    assert status == 0
    assert "penstock search query" in out or "penstock search build" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.data
def test_real_descriptions_are_indexed_and_found(idx):
    status, out, _ = search("build", require("retrieval/cacm/corpus.jsonl.xz"), "--out", idx)
    assert status == 0
    assert table(out)["documents"] == "3,204"
    status, out, _ = search("query", idx, "time sharing operating system", "--json", "-k", 3)
    assert status == 0
    assert len(json.loads(out)["hits"]) == 3
