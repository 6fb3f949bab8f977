"""`penstock ping` as people run it: a process of its own, in a pipe and on a terminal of 80 columns."""

import asyncio
import csv
import json
import re
import signal
import sys
from collections import Counter

import pytest

from bad_server import BadServer
from terminal import drawn_lines, on_terminal

PING = (sys.executable, "-m", "penstock", "ping")
ROW = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z,[^,]+,\d{1,3},\d+\.\d{3},.*")


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


async def start(*arguments, **streams):
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE} | streams
    streams = {"stderr": asyncio.subprocess.PIPE} | pipes
    return await asyncio.create_subprocess_exec(*PING, *map(str, arguments), **streams)


async def ping(*arguments, stdin=None):
    """Exit code, stdout and stderr of a run."""
    process = await start(*arguments, stdin=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, out.decode(), err.decode()


async def test_every_url_answered_is_exit_0(server):
    code, out, err = await ping(server.url("/ok"), server.url("/status/301"), "--timeout", "30s")
    assert (code, err) == (0, "")
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3}Z  200 +\d+\.\d ms  http://127.0.0.1:\d+/ok$", out, re.MULTILINE)
    assert re.search(r"^status 200 +1$", out, re.MULTILINE)
    assert re.search(r"^2 in \d+\.\d\d s, 0 failed; answers p50 .* ms, p99 .* ms$", out, re.MULTILINE)


@pytest.mark.parametrize("path", ["/status/404", "/status/500", "/reset"])
async def test_one_failed_url_is_exit_1(server, path):
    code, out, _ = await ping(server.url("/ok"), server.url(path), "--timeout", "30s")
    assert code == 1
    assert "2 in" in out
    assert "1 failed" in out


async def test_what_is_piped_is_plain_and_whole(server):
    url = server.url("/ok?" + "x" * 300)
    _, out, _ = await ping(url, "--timeout", "30s")
    assert url in out
    assert "\x1b" not in out


async def test_thousand_urls_some_dead_or_slow_get_a_row_each(server, tmp_path):
    good = [server.url(f"/ok?{n}") for n in range(900)]
    lost = [server.url(f"/reset?{n}") for n in range(20)] + [server.url(f"/close?{n}") for n in range(20)]
    slow = [server.url(f"/stall?{n}") for n in range(30)]
    dead = [f"{server.dead_url}?{n}" for n in range(20)]
    none = [f"no-url-{n}" for n in range(10)]
    urls = good + lost + slow + dead + none
    (tmp_path / "urls.txt").write_text(
        "# a thousand\n\n" + "\n".join(urls[::7] + [u for n, u in enumerate(urls) if n % 7])
    )
    code, out, err = await ping(
        *("--urls-file", tmp_path / "urls.txt", "--concurrency", 50, "--timeout", "2s"),
        *("--csv", tmp_path / "results.csv", "--json", tmp_path / "results.json"),
    )
    assert (code, err) == (1, "")

    header, *lines = (tmp_path / "results.csv").read_text().splitlines()
    assert header == "timestamp,url,status,latency_ms,error"
    assert all(ROW.fullmatch(line) for line in lines)
    rows = list(csv.DictReader([header, *lines]))
    assert sorted(row["url"] for row in rows) == sorted(urls)
    assert Counter((row["status"], row["error"].split(":")[0]) for row in rows) == {
        ("200", ""): 900,
        ("0", "connection reset"): 20,
        ("0", "connection closed without an answer"): 20,
        ("0", "timed out after 2 s"): 30,
        ("0", "connection refused"): 20,
        ("0", "invalid URL"): 10,
    }
    objects = json.loads((tmp_path / "results.json").read_text())
    assert [
        {**row, "status": int(row["status"]), "latency_ms": float(row["latency_ms"])} for row in rows
    ] == [{name: value for name, value in row.items() if name != "attempts"} for row in objects]
    assert "1,000 in" in out
    assert "100 failed" in out


async def test_urls_come_from_a_pipe_as_they_are_written(server):
    process = await start("--urls-file", "-", "--timeout", "30s", stdin=asyncio.subprocess.PIPE)
    for n in range(3):  # each answer is seen before the next URL is sent
        process.stdin.write(server.url(f"/ok?{n}\n").encode())
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line.decode().endswith(f"/ok?{n}\n")
    process.stdin.close()
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"3 in" in out


async def test_arguments_and_file_are_both_pinged(server, tmp_path):
    (tmp_path / "urls.txt").write_text(server.url("/status/204"))
    _, out, _ = await ping(server.url("/ok"), "--urls-file", tmp_path / "urls.txt", "--timeout", "30s")
    assert "status 200" in out
    assert "status 204" in out


async def test_retries_are_told(server):
    _, out, _ = await ping(server.url("/status/503"), "--retries", 1, "--timeout", "30s")
    assert "/status/503  2 tries\n" in out
    assert server.requests["/status/503"] == 2


async def test_ctrl_c_keeps_what_was_done_and_exits_130(server, tmp_path):
    urls = [server.url(f"/ok?{n}") for n in range(3)] + [server.url("/stall")] * 9
    process = await start(
        *urls, "--concurrency", 4, "--timeout", "1h", "--csv", tmp_path / "csv", "--json", tmp_path / "json"
    )
    for _ in range(3):
        await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (130, b"")
    assert b"3 in" in out
    assert b"Interrupted: what was in progress has no row." in out
    assert [row["status"] for row in csv.DictReader((tmp_path / "csv").read_text().splitlines())] == [
        "200"
    ] * 3
    assert [row["status"] for row in json.loads((tmp_path / "json").read_text())] == [200] * 3


async def test_killed_run_leaves_whole_files(server, tmp_path):
    process = await start(
        *(server.url("/ok"), server.url("/stall"), "--timeout", "1h"),
        *("--csv", tmp_path / "csv", "--json", tmp_path / "json"),
    )
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.kill()
    await process.wait()
    assert [row["status"] for row in csv.DictReader((tmp_path / "csv").read_text().splitlines())] == ["200"]
    assert [row["status"] for row in json.loads((tmp_path / "json").read_text())] == [200]


async def test_reader_that_goes_away_ends_the_run_quietly(server):
    process = await start(*[server.url("/ok")] * 200, "--concurrency", 1, "--timeout", "30s")
    await process.stdout.readline()
    process.stdout._transport.close()
    assert await asyncio.wait_for(process.wait(), 30) == 1
    assert await process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--timeout", "1s"), "Nothing to ping: give URLs, or --urls-file F."),
        (("http://x/", "--concurrency", "0"), "0 is not in the range 1<=x<=10000"),
        (("http://x/", "--retries", "-1"), "-1 is not in the range 0<=x<=100"),
        (("http://x/", "--timeout", "soon"), "'soon' is not a duration such as 1200ms, 1.5s or 2m"),
        (("http://x/", "--timeout", "0"), "a duration must be > 0 and at most a year, got '0'"),
        (("--urls-file", "missing.txt"), "File 'missing.txt' does not exist."),
        (("--urls-file", "/dev/null"), "/dev/null holds no URLs: write one a line."),
        (("http://x/", "--csv", "same", "--json", "same"), "name one file twice"),
        (("--urls-file", "urls.txt", "--csv", "./urls.txt"), "name one file twice"),
        (("http://x/", "--csv", "no-such-dir/f"), "no-such-dir/f: No such file or directory"),
        (("http://x/", "--json", "/dev/full"), "a results file: No space left on device"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_to_do_and_exit_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "urls.txt").write_text("http://x/")
    code, _, err = await ping(*arguments)
    assert code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err


async def test_no_arguments_teach(tmp_path):
    code, out, err = await ping()
    assert code == 2
    assert "Examples:" in out + err


async def test_help_fits_80_columns_and_names_the_exit_codes():
    code, out, _ = await ping("--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "Exit code: 0 when every URL answered with a status below 400" in " ".join(out.split())


async def test_terminal_of_80_columns_shows_whole_lines_in_colour(server):
    urls = [server.url("/ok?" + "x" * 200), server.url("/reset?" + "x" * 200), server.url("/status/404")]
    shown = await on_terminal(start, *urls, "--timeout", "30s")
    assert "\x1b[32m200" in shown
    assert "━" in shown  # the progress bar
    drawn = drawn_lines(shown)
    assert max(map(len, drawn)) <= 80
    assert sum(line.startswith("status ") for line in drawn) == 2
    assert any(line.endswith("…  connection reset") for line in drawn)
