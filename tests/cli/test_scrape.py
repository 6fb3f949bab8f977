"""`penstock scrape` as people run it: a process of its own, in a pipe and on a terminal of 80 columns."""

import asyncio
import csv
import json
import re
import signal
import sqlite3
import sys

import pytest

from penstock.cli import main
from terminal import drawn_lines, on_terminal
from trap_site import TrapSite, page

SCRAPE = (sys.executable, "-m", "penstock", "scrape")
FAST = ("--allow-private", "--rate", "unlimited", "--request-timeout", "30s", "--retries", "0")
PAGES = {
    "start": page("start", "/pages/one", "/pages/two", "/private/secret"),
    "one": page("one", "/pages/two", "/pages/three"),
    "two": page("two", "/pages/start#part"),
    "three": page("three"),
    "broken": page("broken", "/pages/one", "/missing"),
    "many": page("many", *(f"/found?n={number}" for number in range(200))),
    "holding": page("holding", *(f"/found?n={number}" for number in range(20)), *["/held"]),
}


@pytest.fixture
async def site():
    async with TrapSite(PAGES) as running:
        yield running


async def start(*arguments, **streams):
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE} | streams
    streams = {"stderr": asyncio.subprocess.PIPE} | pipes
    return await asyncio.create_subprocess_exec(*SCRAPE, *map(str, arguments), **streams)


async def scrape(*arguments, stdin=None):
    """Exit code, stdout and stderr of a run."""
    process = await start(*arguments, stdin=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, out.decode(), err.decode()


async def test_whole_site_is_fetched_and_told(site):
    code, out, err = await scrape(site.url("/pages/start"), *FAST)
    assert (code, err) == (0, "")
    assert re.search(
        r"^\d\d:\d\d:\d\d\.\d{3}Z  200 +\d+\.\d ms  http://\S+/pages/one  one$", out, re.MULTILINE
    )
    assert re.search(r"^ +0 +0\.0 ms  http://\S+/private/secret  robots.txt disallows it$", out, re.MULTILINE)
    assert re.search(r"^status 200 +4$", out, re.MULTILINE)
    assert re.search(
        r"^5 pages, 0 failed, [\d.]+ kB read$|^5 pages, 0 failed, \d+ bytes read$", out, re.MULTILINE
    )
    assert "\x1b" not in out
    assert max(site.counts().values()) == 1


async def test_depth_and_pages_end_a_crawl(site):
    (_, shallow, _), (code, out, _) = await asyncio.gather(
        scrape(site.url("/pages/start"), *FAST, "--depth", 1),
        scrape(site.url("/pages/many"), *FAST, "--pages", 10),
    )
    assert "/pages/three" not in shallow
    assert code == 0
    assert re.search(r"^10 pages, 0 failed", out, re.MULTILINE)
    assert re.search(r"^limit reached: .*10 pages", out, re.MULTILINE)


async def test_all_reports_hold_the_same_rows(site, tmp_path):
    files = {name: tmp_path / name for name in ("csv", "json", "ndjson", "sqlite")}
    options = [text for name, path in files.items() for text in (f"--{name}", path)]
    code, _, err = await scrape(
        site.url("/pages/start"), *FAST, *options, "--select", "head=h1", "--select", "to=a@href"
    )
    assert (code, err) == (0, "")
    rows = json.loads(files["json"].read_text())
    assert rows == [json.loads(line) for line in files["ndjson"].read_text().splitlines()]
    in_csv = list(csv.DictReader(files["csv"].read_text().splitlines()))
    with sqlite3.connect(files["sqlite"]) as database:
        in_sqlite = database.execute("SELECT url, status, title FROM pages ORDER BY id").fetchall()
        texts = database.execute("SELECT text FROM selected WHERE name = 'head' ORDER BY text").fetchall()
    database.close()
    told = [(row["url"], row["status"], row["title"]) for row in rows]
    assert told == in_sqlite == [(row["url"], int(row["status"]), row["title"]) for row in in_csv]
    assert texts == [("one",), ("start",), ("three",), ("two",)]
    assert {row["head"] for row in in_csv if row["title"] == "one"} == {"one"}
    assert [row["to"] for row in in_csv if row["title"] == "one"] == ["/pages/two | /pages/three"]


async def test_rows_go_to_standard_output_and_all_else_to_standard_error(site):
    urls = (site.url("/pages/one"), site.url("/pages/three"))
    runs = [scrape(*urls, *FAST, "--depth", 0, option, "-") for option in ("--csv", "--json", "--ndjson")]
    in_csv, in_json, in_ndjson = await asyncio.gather(*runs)
    rows = [list(csv.DictReader(in_csv[1].splitlines())), json.loads(in_json[1])]
    rows.append([json.loads(line) for line in in_ndjson[1].splitlines()])
    assert [sorted(row["title"] for row in each) for each in rows] == [["one", "three"]] * 3
    for code, _, err in (in_csv, in_json, in_ndjson):
        assert (code, "2 pages, 0 failed" in err) == (0, True)


async def test_standard_output_that_is_full_is_named(site):
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230 - a device
        process = await start(site.url("/pages/three"), *FAST, "--json", "-", stdout=full)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (2, b"Error: standard output: No space left on device\n")


async def test_types_are_those_that_are_read(site):
    urls = (site.url("/pages/three"), site.url("/document"))
    code, out, _ = await scrape(
        *urls, *FAST, "--depth", 0, "--types", "Application/PDF, x/y", "--ndjson", "-"
    )
    read = {row["content_type"]: row["charset"] for row in map(json.loads, out.splitlines())}
    assert (code, read) == (0, {"text/html": "", "application/pdf": "utf-8"})


async def test_urls_come_from_a_file_or_a_pipe_with_their_lines(site, tmp_path):
    lines = f"# pages\n\n{site.url('/pages/three')}\nno url\n{site.url('/pages/three')}#again\n"
    (tmp_path / "urls.txt").write_text(lines)
    sources = ((tmp_path / "urls.txt", None), ("-", lines.encode()))
    runs = [scrape("--urls-file", source, *FAST, "--depth", 0, stdin=stdin) for source, stdin in sources]
    for code, out, _ in await asyncio.gather(*runs):
        assert code == 1
        assert re.search(r"no url  .*line 4", out)
        assert re.search(r"^status 200 +1$", out, re.MULTILINE)


async def test_broken_links_are_exit_1_and_named_with_the_page_that_links_to_them(site):
    code, out, _ = await scrape(site.url("/pages/broken"), *FAST, "--check-links", "--quiet")
    assert code == 1
    assert f"failed: {site.url('/missing')}  status 404\n    linked from {site.url('/pages/broken')}\n" in out


async def test_check_of_links_asks_for_other_hosts_but_does_not_crawl_them(site, tmp_path):
    site.pages["out"] = page("out", site.url("/a", host=2), site.url("/", host=9))
    code, out, _ = await scrape(site.url("/pages/out"), *FAST, "--check-links", "--ignore-robots", "--quiet")
    assert code == 1
    assert set(site.counts(2)) == {"/a"}
    assert site.url("/", host=9) in out


async def test_log_and_metrics_are_written(site, tmp_path):
    _, (_, _, err) = await asyncio.gather(
        scrape(site.url("/pages/start"), *FAST, "--log", tmp_path / "log", "--metrics", tmp_path / "prom"),
        scrape(site.url("/pages/three"), *FAST, "--log", "-", "--quiet"),
    )
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events].count("fetched") == 4
    assert any(
        event["event"] == "refused" and event["words"] == "robots.txt disallows it" for event in events
    )
    assert 'penstock_scrape_pages_total{outcome="fetched"} 4' in (tmp_path / "prom").read_text()
    assert json.loads(err.splitlines()[-1])["event"] == "fetched"


async def fetched(process):
    """Waits until a run has shown everything but the page that is held."""
    for _ in range(21):
        await asyncio.wait_for(process.stdout.readline(), 30)


async def test_killed_run_goes_on_without_fetching_a_page_twice(site, tmp_path):
    state, report = tmp_path / "site.crawl", tmp_path / "pages.ndjson"
    arguments = (*FAST, "--state", state, "--ndjson", report)
    process = await start(site.url("/pages/holding"), *arguments)
    await fetched(process)
    process.kill()
    await process.wait()
    with_row = {json.loads(line)["canonical"] for line in report.read_text().splitlines()}
    assert len(with_row) == 21
    before = site.counts()
    site.held.set()
    code, out, err = await scrape(*arguments)
    assert (code, err) == (0, "")
    assert "in earlier runs, 0 failed" in out
    again = {site.url(target) for target, times in site.counts().items() if times > before[target] > 0}
    assert not again & with_row
    rows = [json.loads(line)["canonical"] for line in report.read_text().splitlines()]
    assert len(rows) == len(set(rows)) == 22
    assert site.url("/held") in rows


async def test_skip_gives_what_was_in_flight_a_row_and_asks_for_nothing_twice(site, tmp_path):
    arguments = (*FAST, "--state", tmp_path / "site.crawl", "--on-interrupted", "skip")
    process = await start(site.url("/pages/holding"), *arguments)
    await fetched(process)
    process.kill()
    await process.wait()
    site.held.set()
    code, out, _ = await scrape(*arguments)
    assert code == 1  # a page was not read
    assert "in flight when an earlier run was killed" in out
    pages = {target: times for target, times in site.counts().items() if target != "/robots.txt"}
    assert set(pages.values()) == {1}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_signal_ends_a_run_with_whole_files_and_says_how_to_go_on(site, tmp_path, number, code):
    state, report = tmp_path / "site.crawl", tmp_path / "pages.json"
    arguments = (*FAST, "--state", state, "--json", report, "--grace", "100ms")
    process = await start(site.url("/pages/holding"), *arguments)
    await fetched(process)
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (code, b"")
    assert b"Interrupted: what was in flight at the end has no row." in out
    assert f"Go on with: python -m penstock scrape {site.url('/pages/holding')}" in out.decode()
    assert len(json.loads(report.read_text())) == 21
    site.held.set()
    assert (await scrape(*arguments))[0] == 0
    assert len(json.loads(report.read_text())) == 22


async def test_second_ctrl_c_does_not_wait(site):
    process = await start(site.url("/pages/holding"), *FAST, "--grace", "1h", "--log", "-")
    await fetched(process)
    process.send_signal(signal.SIGINT)
    while b'"stopping"' not in await asyncio.wait_for(process.stderr.readline(), 30):
        pass
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert b"It begins anew next time; with --state F it could go on." in out


async def test_time_for_the_whole_crawl_ends_it_with_exit_1(site):
    code, out, _ = await scrape(site.url("/held"), *FAST, "--timeout", "300ms", "--grace", "100ms", "--quiet")
    assert code == 1
    assert "limit reached: 0.3 s for the whole crawl" in out


async def test_private_address_is_refused_with_what_to_do(site):
    code, out, _ = await scrape(site.url("/pages/three"), "--quiet")
    assert code == 1  # nothing was fetched
    assert "1 refused for their private addresses: --allow-private lets them pass" in out
    assert site.asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--depth", "1"), "Nothing to scrape: give URLs, or --urls-file F, or the --state F of a run."),
        (("example.com",), "'example.com' is no URL of http or https; did you mean 'https://example.com'?"),
        (("http://x/", "--depth", "-1"), "-1 is not in the range x>=0"),
        (("http://x/", "--rate", "fast"), "'fast' is no rate such as 5, 0.5, 5/s or 100/minute"),
        (("http://x/", "--max-size", "5X"), "'5X' is no size such as 500K, 5M or 1G"),
        (("http://x/", "--max-size", "999999999999G"), "'999999999999G' is no size such as 500K, 5M or 1G"),
        (("http://x/", "--select", "h1"), "'h1' is not of the form NAME=CSS, such as title=h1"),
        (
            ("http://x/", "--select", "a=h["),
            "selector a must be CSS such as h1, or CSS@attribute such as img@src",
        ),
        (("http://x/", "--select", "a=p", "--select", "a=b"), "--select gives two selectors one name"),
        (("http://x/", "-H", "X-Key"), "'X-Key' is not of the form 'NAME: VALUE'"),
        (("http://x/", "--user-agent", " "), "user_agent must be printable and "),
        (("--urls-file", "/dev/null"), "/dev/null holds no URLs: write one a line."),
        (("http://x/", "--csv", "same", "--json", "./same"), "name one file twice"),
        (("http://x/", "--csv", "no-such-dir/f"), "no-such-dir/f: No such file or directory"),
        (("http://x/", "--sqlite", "text"), "text: file is not a database"),
        (("http://x/", "--state", "text"), "--state text:"),
        (("http://10.0.0.1/", "--ndjson", "/dev/full"), "/dev/full: No space left on device"),
        (("http://x/", "--types", "html"), "'html' is no content type such as text/html"),
        (("http://x/", "--csv", "-", "--json", "-"), "name one file twice"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_do_and_exit_2(
    arguments, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("some text " * 1000)
    with pytest.raises(SystemExit) as ended:
        main(["scrape", *arguments])
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err


async def test_reader_that_goes_away_ends_the_run_quietly(site):
    process = await start(site.url("/pages/many"), *FAST)
    await process.stdout.readline()
    process.stdout._transport.close()
    assert await asyncio.wait_for(process.wait(), 30) == 1
    assert await process.stderr.read() == b""


def test_missing_libraries_are_told_with_how_to_install_them(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    monkeypatch.delitem(sys.modules, "penstock.services.scraper.extract", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["scrape", "http://x/"])
    assert ended.value.code == 2
    assert "pip install 'penstock[scrape]'" in capsys.readouterr().err


def test_help_fits_80_columns_and_names_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scrape", "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "130 Ctrl-C" in " ".join(out.split())


def test_no_arguments_teach(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scrape"])
    assert ended.value.code == 2
    assert "Examples:" in "".join(capsys.readouterr())


async def test_terminal_of_80_columns_shows_whole_lines_a_bar_and_colours(site):
    site.pages["start"] = page("a title " * 20, "/missing?" + "x" * 100, "/pages/one")
    shown = await on_terminal(start, site.url("/pages/start"), *FAST)
    assert "\x1b[32m200" in shown
    assert "━" in shown
    drawn = drawn_lines(shown)
    assert max(map(len, drawn)) <= 80
    assert any(re.search(r"\d+ done  [\d.]+/s  \d+ queued", line) for line in drawn)
    assert any(line.endswith("…") for line in drawn)
