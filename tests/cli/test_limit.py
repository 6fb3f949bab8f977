"""`penstock limit` as people run it: a process of its own, in a pipe and on a terminal of 80 columns."""

import asyncio
import csv
import json
import re
import signal
import sys
from collections import Counter
from datetime import datetime

import click
import pytest

from bad_server import BadServer
from penstock.cli.rates import request_rate
from terminal import drawn_lines, on_terminal

LIMIT = (sys.executable, "-m", "penstock", "limit")


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


@pytest.fixture
def listed(tmp_path):
    """Writes lines to a file; returns its path."""

    def write(*lines):
        path = tmp_path / "requests.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


async def start(*arguments, **streams):
    pipes = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE} | streams
    streams = {"stderr": asyncio.subprocess.PIPE} | pipes
    return await asyncio.create_subprocess_exec(*LIMIT, *map(str, arguments), **streams)


async def limit(*arguments, stdin=None):
    """Exit code, stdout and stderr of a run."""
    process = await start(*arguments, stdin=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(stdin), 60)
    return process.returncode, out.decode(), err.decode()


async def test_every_request_answered_is_exit_0(server, listed):
    post = json.dumps({"method": "POST", "url": server.url("/ok?2"), "body": {"a": 1}, "id": "second"})
    code, out, err = await limit(listed("# two", server.url("/ok?1"), "", post), "--rate", "100")
    assert (code, err) == (0, "")
    assert re.search(
        r"^\d\d:\d\d:\d\d\.\d{3}Z  200 +\d+\.\d ms  GET http://[\d.:]+/ok\?1$", out, re.MULTILINE
    )
    assert re.search(r"^status 200 +2$", out, re.MULTILINE)
    assert re.search(r"^2 requests in \d+\.\d\d s, 0 failed, 10 bytes read$", out, re.MULTILINE)
    assert re.search(r"^sent 2, .*/s; the limit is 100/s, burst 100$", out, re.MULTILINE)
    assert "\x1b" not in out
    assert [head.split(" ")[0] for head in sorted(server.heads)] == ["GET", "POST"]


async def test_rows_keep_the_limit_and_files_agree(server, listed, tmp_path):
    urls = [server.url(f"/ok?{n}") for n in range(12)] + [server.url("/reset"), server.url("/status/404")]
    code, out, err = await limit(
        *(listed(*urls), "--rate", "40/s", "--burst", 4, "--concurrency", 3, "--timeout", "30s"),
        *("--csv", tmp_path / "csv", "--json", tmp_path / "json"),
    )
    assert (code, err) == (1, "")
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert Counter(row["url"] for row in rows) == Counter(urls)
    moments = sorted(datetime.fromisoformat(row["sent_at"]).timestamp() for row in rows)
    for count, window in enumerate((0.0, 0.1, 0.2), 1):  # the file rounds to the millisecond
        most = max(sum(start <= moment <= start + window for moment in moments) for start in moments)
        assert most <= 4 + 40 * (window + 0.002) + 1, count
    assert moments[-1] - moments[0] > 9.5 / 40
    objects = json.loads((tmp_path / "json").read_text())
    assert [(row["url"], int(row["status"]), row["error"]) for row in rows] == [
        (row["url"], row["status"], row["error"]) for row in objects
    ]
    assert "2 failed" in out


async def test_bad_file_is_refused_before_anything_is_sent(server, listed, tmp_path):
    path = listed(server.url("/ok"), "no url", '{"url": "http://x/", "verb": "GET"}')
    code, out, err = await limit(path, "--rate", "5", "--csv", tmp_path / "csv")
    assert (code, out) == (2, "")
    assert f"{path}:2: not a URL to call: holds a space or a control character, got 'no url'" in err
    assert f"{path}:3: not a request to send: Object contains unknown field `verb`" in err
    assert not server.requests
    assert not (tmp_path / "csv").exists()


async def test_bad_line_of_a_pipe_has_a_row_and_the_others_are_sent(server, tmp_path):
    lines = f"{server.url('/ok')}\nnone\n{server.url('/ok')}\n".encode()
    code, out, _ = await limit("-", "--rate", "100", "--json", tmp_path / "json", stdin=lines)
    assert code == 1
    assert "line 2  bad line: not a URL to call: must start with http:// or https://, got 'none'" in out
    rows = json.loads((tmp_path / "json").read_text())
    assert sorted((row["line"], row["status"], row["attempts"]) for row in rows) == [
        (1, 200, 1),
        (2, 0, 0),
        (3, 200, 1),
    ]


async def test_requests_come_from_a_pipe_as_they_are_written(server):
    process = await start("-", "--rate", "100", stdin=asyncio.subprocess.PIPE)
    for n in range(3):  # each answer is seen before the next request is written
        process.stdin.write(server.url(f"/ok?{n}\n").encode())
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line.decode().endswith(f"/ok?{n}\n")
    process.stdin.close()
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0


async def test_headers_go_to_every_request(server, listed):
    await limit(listed(server.url("/ok")), "--rate", "5", "-H", "X-Key: a: b", "--header", "X-Two:2")
    assert "\r\nX-Key: a: b\r\nX-Two: 2\r\n" in server.heads[0]


@pytest.mark.parametrize("waiting_for", ["the limit", "a server"])
async def test_ctrl_c_keeps_what_was_done_and_exits_130(server, listed, tmp_path, waiting_for):
    rest = [server.url("/ok" if waiting_for == "the limit" else "/stall")] * 9
    rate = ("1/h", "--burst", 3) if waiting_for == "the limit" else ("100",)
    process = await start(
        *(listed(*[server.url("/ok")] * 3, *rest), "--rate", *rate, "--timeout", "1h"),
        *("--csv", tmp_path / "csv", "--json", tmp_path / "json"),
    )
    for _ in range(3):
        await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (130, b"")
    assert b"3 requests in" in out
    assert b"Interrupted: what was in progress has no row." in out
    assert [row["status"] for row in csv.DictReader((tmp_path / "csv").read_text().splitlines())] == [
        "200"
    ] * 3
    assert [row["status"] for row in json.loads((tmp_path / "json").read_text())] == [200] * 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_killed_run_leaves_whole_files(server, listed, tmp_path, number):
    process = await start(
        *(listed(server.url("/ok"), server.url("/stall")), "--rate", "5", "--timeout", "1h"),
        *("--csv", tmp_path / "csv", "--json", tmp_path / "json"),
    )
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 30) == -number
    assert [row["status"] for row in csv.DictReader((tmp_path / "csv").read_text().splitlines())] == ["200"]
    assert [row["status"] for row in json.loads((tmp_path / "json").read_text())] == [200]


async def test_reader_that_goes_away_ends_the_run_quietly(server, listed):
    process = await start(listed(*[server.url("/ok")] * 200), "--rate", "1000", "--concurrency", 1)
    await process.stdout.readline()
    process.stdout._transport.close()
    assert await asyncio.wait_for(process.wait(), 30) == 1
    assert await process.stderr.read() == b""


async def test_file_of_many_requests_is_checked_and_sent_in_bounded_memory(listed):
    body = "x" * 1_000
    path = listed(*(json.dumps({"url": f"http://127.0.0.1:1/{n}", "body": body}) for n in range(100_000)))
    assert path.stat().st_size > 100_000_000
    process = await start(path, "--rate", "1/h", "--burst", 1)
    await asyncio.wait_for(process.stdout.readline(), 60)  # checked whole, and begun
    with open(f"/proc/{process.pid}/status") as status:  # noqa: ASYNC230 - it is no file on a disk
        peak_kib = int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert peak_kib < 80_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("requests.txt",), "Missing option '--rate'"),
        (("requests.txt", "--rate", "fast"), "'fast' is no rate such as 5, 0.5, 5/s or 100/minute"),
        (("requests.txt", "--rate", "nan"), "'nan' is no rate"),
        (("requests.txt", "--rate", "-1"), "'-1' is no rate"),
        (("requests.txt", "--rate", "0"), "a rate must be > 0, got '0'"),
        (("requests.txt", "--rate", "5/fortnight"), "'5/fortnight' is no rate"),
        (("requests.txt", "--rate", "9999999999"), "rate must be > 0 and <= 1000000000 per second"),
        (("requests.txt", "--rate", "0.000000001", "--burst", "9"), "capacity / rate must be <= 36 years"),
        (("requests.txt", "--rate", "5", "--burst", "0"), "0 is not in the range 1<=x<=1000000"),
        (("requests.txt", "--rate", "5", "--concurrency", "0"), "0 is not in the range 1<=x<=10000"),
        (("requests.txt", "--rate", "5", "-H", "none"), "'none' is no header such as"),
        (("requests.txt", "--rate", "5", "-H", "A: b\nC: d"), "header A must hold no control characters"),
        (("requests.txt", "--rate", "5", "-H", "Content-Length: 9"), "header Content-Length follows from"),
        (("missing.txt", "--rate", "5"), "File 'missing.txt' does not exist."),
        (("/dev/null", "--rate", "5"), "/dev/null holds no requests: write one a line."),
        (("requests.txt", "--rate", "5", "--csv", "same", "--json", "same"), "name one file twice"),
        (("requests.txt", "--rate", "5", "--csv", "./requests.txt"), "name one file twice"),
        (
            ("requests.txt", "--rate", "5", "--csv", "no-such-dir/f"),
            "no-such-dir/f: No such file or directory",
        ),
        (("requests.txt", "--rate", "5", "--json", "/dev/full"), "/dev/full: No space left on device"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_what_to_do_and_exit_2(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requests.txt").write_text("http://127.0.0.1:1/")
    code, _, err = await limit(*arguments)
    assert code == 2
    assert words in " ".join(err.split())
    assert "Traceback" not in err


async def test_closed_standard_input_is_said_so():
    command = 'exec "$@" <&-'
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", command, "sh", *LIMIT, "-", "--rate", "5"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, out, err) == (2, b"", b"Error: standard input is closed.\n")


@pytest.mark.parametrize(
    ("text", "per_second"),
    [
        ("5", 5),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5/s", 5),
        ("100/minute", 100 / 60),
        ("1.5 / min", 0.025),
        ("7/2s", 3.5),
    ],
)
def test_rates_are_numbers_a_second_or_in_a_period(text, per_second):
    assert request_rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize("text", ["", "/", "5/", "/s", "1e5", "inf", "5/s/s", "5/s; burst=3", "٥", "9" * 400])
def test_other_rates_are_refused(text):
    with pytest.raises(click.BadParameter):
        request_rate(text)


async def test_no_arguments_teach():
    code, out, err = await limit()
    assert code == 2
    assert "Examples:" in out + err


async def test_help_fits_80_columns_and_names_the_exit_codes():
    code, out, _ = await limit("--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "Exit code: 0 when every request was answered with a status below 400" in " ".join(out.split())


async def test_terminal_of_80_columns_shows_the_bar_whole(server, listed):
    path = listed(*[server.url("/ok?" + "x" * 200)] * 6, server.url("/status/404"))
    shown = await on_terminal(start, path, "--rate", "10", "--burst", 1)
    assert "\x1b[32m200" in shown
    drawn = drawn_lines(shown)
    assert max(map(len, drawn)) <= 80
    bars = [line for line in drawn if "━" in line]
    assert bars
    assert all(
        re.search(r"━ \d/7  [\d.]+ of 10/s  \d in flight  \d failed  0:0\d left$", bar) for bar in bars
    )
    counts = [int(re.search(r"(\d)/7", bar)[1]) for bar in bars]
    assert counts == sorted(counts)
    assert counts[-1] == 7


async def test_bar_of_a_pipe_tells_no_total(server):
    process_input = asyncio.subprocess.PIPE

    async def started(*arguments, **streams):
        process = await start(*arguments, **streams)
        process.stdin.write(f"{server.url('/ok')}\n".encode() * 3)
        process.stdin.close()
        return process

    shown = await on_terminal(started, "-", "--rate", "10", "--burst", 1, stdin=process_input)
    assert re.search(
        r"━ [0-3]  [\d.]+ of 10/s  \d in flight  0 failed$", "\n".join(drawn_lines(shown)), re.MULTILINE
    )
