"""`penstock lab` as people run it: a process of its own, in a pipe and on a terminal of 80 columns."""

import asyncio
import json
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from penstock.cli import main
from penstock.cli.lab import checked_requests
from penstock.services.lab import comparison, process
from terminal import drawn_lines, on_terminal

LAB = (sys.executable, "-m", "penstock", "lab")
QUICK = (
    "--latency",
    "constant",
    "--max-latency",
    "1ms",
    "--full-rate",
    "0",
    "--overload",
    "0",
    "--error-rate",
    "0",
)


FULL = Path("/dev/full")
NO_SPACE = "Error: standard output: No space left on device"


@pytest.fixture
def full_disk():
    """A file that cannot be written."""
    if not FULL.exists():
        pytest.skip(f"there is no {FULL}")
    with FULL.open("wb") as full:
        yield full


async def start(*arguments, **streams):
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE} | streams
    streams = {"stderr": asyncio.subprocess.PIPE} | pipes
    return await asyncio.create_subprocess_exec(*LAB, *map(str, arguments), **streams)


async def lab(*arguments):
    """Exit code, stdout and stderr of a run."""
    process = await start(*arguments)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def serving(*arguments):
    """A started server: its process, its URL and what it printed."""
    process = await start("serve", "--port", "0", *arguments)
    try:
        said = (await asyncio.wait_for(process.stdout.readuntil(b"stops it.\n"), 30)).decode()
        yield process, re.search(r"figures  (http://\S+)/\n", said)[1], said
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def fits(text):
    return all(len(line) <= 80 for line in text.splitlines())


async def read(url):
    with await asyncio.to_thread(urlopen, url, timeout=30) as answer:
        return json.loads(answer.read())


# serve


async def test_server_tells_where_it_is_in_80_columns():
    async with serving(*QUICK) as (_, url, said):
        assert fits(said.replace(str(sys.executable), "penstock"))
        assert f"answers  {url}/data\n" in said
        assert f"lab compare --url {url}/data\n" in said
        assert (await read(f"{url}/data"))["latency"] == 0.001


async def test_server_behaves_as_told():
    told = (
        "--latency pareto --max-latency 2s --full-rate 7 --error-rate 0.5 --overload 3 --servers 4 "
        "--queue 5 --limit 6 --hang 0.1 --reset 0.2 --seed 8"
    )
    async with serving(*told.split()) as (_, url, _):
        assert (await read(f"{url}/"))["behaviour"] == {
            "latency": "pareto", "max_latency": 2, "full_rate": 7, "error_rate": 0.5, "overload": 3,
            "servers": 4, "queue": 5, "limit": 6, "hang": 0.1, "reset": 0.2, "seed": 8,
        }  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_server_ends_with_exit_0_when_it_is_told_to_stop(number):
    async with serving(*QUICK) as (process, _, _):
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        assert (await process.stderr.read()) == b""


async def test_taken_port_is_said_in_words_and_exit_1():
    async with serving(*QUICK) as (_, url, _):
        port = url.rpartition(":")[2]
        code, out, err = await lab("serve", "--port", port)
    assert (code, out) == (1, "")
    assert err == f"Error: cannot listen on 127.0.0.1:{port}: address already in use; choose another --port\n"


async def test_behaviour_that_cannot_be_is_said_in_words():
    code, _, err = await lab("serve", "--hang", "0.6", "--reset", "0.6")
    assert (code, "error_rate, hang and reset must be at most 1 together" in err) == (2, True)


# compare


async def test_comparison_writes_table_json_and_page(tmp_path):
    figures, page, text = tmp_path / "figures.json", tmp_path / "page.html", tmp_path / "table.md"
    code, out, err = await lab(
        "compare", "--requests", 60, "--patterns", "bounded,unbounded", "--workers", 4, *QUICK,
        "--json", figures, "--html", page, "--markdown", text,
    )  # fmt: skip
    assert code == 0
    assert fits(out)
    assert re.search(r"^bounded +\d+\.\d\d +[\d,]+ ", out, re.MULTILINE)
    assert re.search(r"^unbounded +200: 60 *$", out, re.MULTILINE)
    assert (
        re.sub(r"[\d.]+ s", "TIME", err) == "bounded: 60 requests in TIME\nunbounded: 60 requests in TIME\n"
    )
    patterns = json.loads(figures.read_text())["patterns"]
    assert [each["pattern"] for each in patterns] == ["bounded", "unbounded"]
    assert [each["peak_in_flight"] for each in patterns] == [4, 60]
    assert page.read_text().startswith("<!doctype html>")
    assert text.read_text().startswith("| pattern | time, s |")


async def test_on_a_terminal_it_shows_how_far_it_is():
    shown = await on_terminal(start, "compare", "--requests", 120, "--patterns", "bounded,sequential", *QUICK)
    lines = drawn_lines(shown)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert any(re.match(r"1/2 bounded +.* +\d+/120 ", line) for line in lines)
    assert any(line.startswith("2/2 sequential") for line in lines)
    assert any(re.match(r"sequential +\d+\.\d\d ", line) for line in lines)
    assert not any("requests in" in line for line in lines)


async def test_server_of_the_user_is_compared_and_left_running():
    async with serving(*QUICK) as (process, url, _):
        code, out, _ = await lab("compare", "--url", f"{url}/data", "--requests", 40, "--patterns", "bounded")
        assert code == 0
        assert "The server was yours." in out
        assert (await read(f"{url}/"))["requests"] == {"200": 40}
        assert process.returncode is None


async def test_errors_of_the_server_are_no_failure_of_the_comparison():
    code, out, _ = await lab("compare", "--requests", 40, "--patterns", "bounded", *QUICK[:-1], "1")
    assert code == 0
    assert re.search(r"^bounded +500: 40 *$", out, re.MULTILINE)


def test_pattern_that_cannot_be_measured_is_exit_1_and_the_others_are_kept(monkeypatch, tmp_path):
    real, started = process.measure_in_process, []

    async def measure(pattern, settings, progress):
        started.append(pattern)
        if pattern == "unbounded":
            raise process.ChildFailed("the process of unbounded ended with exit code -9")
        return await real(pattern, settings, progress)

    monkeypatch.setattr(comparison, "measure_in_process", measure)
    figures = tmp_path / "figures.json"
    arguments = ["lab", "compare", "--requests", "10", "--patterns", "bounded,unbounded,sequential", *QUICK]
    result = CliRunner().invoke(main, [*arguments, "--json", str(figures)])
    assert (result.exit_code, started) == (1, ["bounded", "unbounded"])
    assert "Error: the process of unbounded ended with exit code -9\n" in result.output
    assert re.search(r"^bounded +200: 10 *$", result.output, re.MULTILINE)
    assert [each["pattern"] for each in json.loads(figures.read_text())["patterns"]] == ["bounded"]


async def test_server_on_another_machine_gets_no_more_than_the_cap():
    code, _, err = await lab("compare", "--url", "http://192.0.2.1/", "--requests", 501)
    assert code == 2
    assert "192.0.2.1 is on another machine: each pattern sends it at most 500" in " ".join(err.split())


@pytest.mark.parametrize(("url", "requests"), [
    ("http://localhost:1/", 7_500), ("http://127.0.0.9/", 7_500), ("http://[::1]/", 7_500),
    ("http://0.0.0.0:8090/data", 7_500),  # what a server says that listens everywhere
    ("http://192.0.2.1/", 500), ("http://localhost.example/", 500),
])  # fmt: skip
def test_only_a_server_elsewhere_is_spared(url, requests):
    assert checked_requests(url, None, uncapped=False) == requests
    assert checked_requests(url, None, uncapped=True) == 7_500


@pytest.mark.parametrize(("arguments", "said"), [
    (("--patterns", "bounded,fast"), "'fast' is none of sequential, unbounded, bounded, backpressure"),
    (("--url", "ftp://x/"), "'ftp://x/': must start with http:// or https://"),
    (("--hang", "0.6", "--reset", "0.6"), "must be at most 1 together"),
    (("--requests", "0"), "0 is not in the range"),
    (("--rate", "nan"), "rate must be >= 0.001 and <= 1e+06 a second, got nan"),
    (("--url", "http://127.0.0.1:1/", "--max-latency", "1s"), "--max-latency is about the simulated server"),
    (("--url", "http://127.0.0.1:1/", "--seed", "1"), "--seed is about the simulated server, --url takes"),
    (("--json", "same", "--html", "same"), "--json, --markdown and --html name one file twice"),
    (("--json", "no/such/folder.json"), "no/such/folder.json: No such file or directory"),
])  # fmt: skip
async def test_wrong_command_is_exit_2_at_once_and_in_words(arguments, said):
    code, out, err = await lab("compare", *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


@pytest.mark.skipif(not FULL.exists(), reason=f"there is no {FULL}")
async def test_full_disk_is_exit_2_in_words(tmp_path):
    page = tmp_path / "page.html"
    code, out, err = await lab(
        "compare", "--requests", 10, "--patterns", "bounded", *QUICK, "--json", FULL, "--html", page
    )
    assert code == 2
    assert re.search(r"^bounded +200: 10 *$", out, re.MULTILINE)  # what was measured is not lost
    assert err.endswith("\nError: /dev/full: No space left on device\n")
    assert page.read_text().endswith("</html>\n")  # nor is the other file


async def test_output_that_cannot_be_written_is_exit_2_in_words_and_the_files_are_kept(tmp_path, full_disk):
    figures = tmp_path / "figures.json"
    child = await start(
        "compare", "--requests", 10, "--patterns", "bounded", *QUICK, "--json", figures, stdout=full_disk
    )
    _, err = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, err.decode().splitlines()[1:]) == (2, [NO_SPACE])
    assert [each["pattern"] for each in json.loads(figures.read_text())["patterns"]] == ["bounded"]


async def test_server_that_cannot_say_where_it_is_is_exit_2_in_words(full_disk):
    child = await start("serve", "--port", 0, stdout=full_disk)
    _, err = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, err.decode().splitlines()) == (2, [NO_SPACE])


async def test_ctrl_c_is_exit_130_and_keeps_what_was_done(tmp_path):
    figures = tmp_path / "figures.json"
    process = await start(
        "compare", "--requests", 30, "--patterns", "bounded,sequential", *QUICK[:2], "--max-latency", "1s",
        "--workers", 30, *QUICK[4:], "--json", figures,
    )  # fmt: skip
    async with asyncio.timeout(60):
        await process.stderr.readuntil(b"\n")  # bounded is done, sequential would take 30 s
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")
    assert b"Interrupted: the pattern in progress has no row." in out
    assert [each["pattern"] for each in json.loads(figures.read_text())["patterns"]] == ["bounded"]


async def test_help_teaches():
    for command, words in (((), "compare"), (("serve",), "walks at random"), (("compare",), "Exit code")):
        code, out, _ = await lab(*command, "--help")
        assert code == 0
        assert words in out
