"""`penstock ping` as people run it: a process of its own, in a pipe and on a terminal of 80 columns."""

import asyncio
import csv
import json
import os
import re
import signal
import ssl
import sys
from collections import Counter

import pytest
import trustme

from bad_server import BadServer, answer
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
        ("0", "timed out after 2 s waiting for the answer"): 30,
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


@pytest.mark.parametrize("schedule", [(), ("--rate", "50"), ("--workers", "2"), ("--interval", "100ms")])
async def test_pipe_that_is_silent_does_not_outlast_the_duration(server, schedule):
    process = await start(
        *("--urls-file", "-", "--duration", "300ms", "--timeout", "30s", *schedule),
        stdin=asyncio.subprocess.PIPE,
    )
    process.stdin.write(f"{server.url('/ok')}\nhalf a li".encode())
    out = await asyncio.wait_for(process.stdout.read(), 60)  # and the pipe is open still
    process.stdin.close()
    await process.wait()
    assert b"half" not in out


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
        (("--timeout", "1s"), "Nothing to ping: give URLs, --urls-file F or --targets F."),
        (("http://x/", "--concurrency", "0"), "0 is not in the range 1<=x<=10000"),
        (("http://x/", "--retries", "-1"), "-1 is not in the range 0<=x<=100"),
        (("http://x/", "--timeout", "soon"), "'soon' is not a duration such as 1200ms, 1.5s or 2m"),
        (("http://x/", "--timeout", "0"), "a duration must be > 0 and at most a year, got '0'"),
        (("--urls-file", "missing.txt"), "File 'missing.txt' does not exist."),
        (("--urls-file", "/dev/null"), "/dev/null holds no URLs: write one a line."),
        (("http://x/", "--csv", "same", "--json", "same"), "name one file twice"),
        (("--urls-file", "urls.txt", "--csv", "./urls.txt"), "name one file twice"),
        (("http://x/", "--csv", "no-such-dir/f"), "no-such-dir/f: No such file or directory"),
        (("http://x/", "--json", "/dev/full"), "/dev/full: No space left on device"),
        (("http://127.0.0.1:1/", "--csv", "/dev/full"), "/dev/full: No space left on device"),
        (("http://127.0.0.1:1/", "--ndjson", "/dev/full"), "/dev/full: No space left on device"),
        (("http://127.0.0.1:1/", "--summary", "/dev/full"), "/dev/full: No space left on device"),
        (("http://x/", "--summary", "no-such-dir/f"), "no-such-dir/f: No such file or directory"),
        (
            ("http://127.0.0.1:1/", "--workers", "2", "--csv", "/dev/full"),
            "/dev/full: No space left on device",
        ),
        (
            ("http://x/", "--ca", "urls.txt", "--csv", "urls.txt"),
            "urls.txt and the files to be written name one",
        ),
        (
            ("http://x/", "--key", "urls.txt", "--html", "urls.txt"),
            "urls.txt and the files to be written name",
        ),
        (
            ("http://x/", "--data", "@urls.txt", "--json", "urls.txt"),
            "urls.txt and the files to be written name",
        ),
        (("http://x/", "-X", "GE T"), "method must be letters such as GET, got 'GE T'"),
        (("http://x/", "-H", "Content-Length: 3"), "Content-Length"),
        (("http://x/", "--csv", "f", "--columns", "url,speed"), "or all, got 'speed'"),
        (("http://x/", "--assert", "speed<3"), "'speed' cannot be asserted: choose of status, body"),
        (("http://x/", "--warn", "p99"), "an assertion must be NAME OPERATOR VALUE"),
        (("http://x/", "-H", "no colon"), "'no colon' is not a header such as 'Accept: text/html'"),
        (("http://x/", "--rate", "fast"), "'fast' is not a rate from 0.000001/s to 1000000/s such as 50"),
        (("http://x/", "--rate", "nan"), "'nan' is not a rate"),
        (("http://x/", "--retry-budget", "-3%"), "'-3%' is not a share from 0% to 10000%"),
        (("http://x/", "--rate", "1", "--interval", "1s"), "rate and interval must not both be given"),
        (("http://x/", "--data", "@missing"), "missing: No such file or directory"),
        (("http://x/", "--targets", "urls.txt"), "urls.txt must be TOML in UTF-8"),
        (("http://x/", "--ca", "urls.txt"), "ca must be a PEM file, got 'urls.txt'"),
        (("http://x/", "--source", "nowhere"), "source must be an IP address, got 'nowhere'"),
        (("http://x/", "--proxy", "http://p/", "--engine", "socket"), "engine socket knows no proxies"),
        (("http://x/", "--per-host", "many"), "many"),
        (("http://x/", "--engine", "load", "--csv", "f"), "--engine load makes none: --summary F."),
        (
            ("http://127.0.0.1:1/", "--engine", "load", "--assert", "status==200"),
            "assertions must be on the run",
        ),
        (
            ("diff", "urls.txt", "urls.txt"),
            "must be a file of penstock ping --summary or --json, and is none",
        ),
        (("diff", "urls.txt"), "Missing argument 'AFTER'"),
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


@pytest.mark.parametrize("log", ["--log", "--no-log"])
async def test_standard_output_that_is_full_is_said_plainly(server, log):
    full = os.open("/dev/full", os.O_WRONLY)
    process = await start(server.url("/ok"), "--timeout", "30s", log, stdout=full)
    os.close(full)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (2, b"Error: standard output: No space left on device\n")


async def test_streams_that_are_closed_from_the_start_are_no_fault(server, tmp_path):
    script = f'"$@" >&- 2>&- <&- --csv {tmp_path}/f'
    process = await asyncio.create_subprocess_exec("sh", "-c", script, "sh", *PING, server.url("/ok"))
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert len((tmp_path / "f").read_text().splitlines()) == 2


async def test_what_is_no_utf8_is_sent_as_it_was_typed(server):
    code, _, err = await ping(
        server.url("/ok"),
        "--user",
        os.fsdecode(b"\xff:x"),
        "--data",
        os.fsdecode(b"\xff"),
        "--timeout",
        "30s",
    )
    assert (code, err) == (0, "")
    assert "Authorization: Basic /zp4" in server.heads[-1]
    assert "Content-Length: 1\r\n" in server.heads[-1]


async def test_columns_may_have_spaces_between_them(server, tmp_path):
    await ping(server.url("/ok"), "--timeout", "30s", "--csv", tmp_path / "f", "--columns", "status, url")
    assert (tmp_path / "f").read_text().splitlines() == ["status,url", f"200,{server.url('/ok')}"]


async def test_no_arguments_teach(tmp_path):
    code, out, err = await ping()
    assert code == 2
    assert "Examples:" in out + err


@pytest.mark.parametrize(
    ("called", "words"),
    [
        (("--help",), "Exit code: 0 when every URL answered with a status below 400"),
        (("diff", "--help"), "Exit code: 0 when nothing is worse, 1 when something is"),
    ],
)
async def test_help_fits_80_columns_and_names_the_exit_codes(called, words):
    code, out, _ = await ping(*called)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert words in " ".join(out.split())


async def test_terminal_of_80_columns_shows_whole_lines_in_colour(server):
    urls = [server.url("/ok?" + "x" * 200), server.url("/reset?" + "x" * 200), server.url("/status/404")]
    shown = await on_terminal(start, *urls, "--timeout", "30s")
    assert "\x1b[32m200" in shown
    assert "━" in shown  # the progress bar
    drawn = drawn_lines(shown)
    assert max(map(len, drawn)) <= 80
    assert sum(line.startswith("status ") for line in drawn) == 2
    assert any(line.endswith("…  connection reset") for line in drawn)


async def test_assertions_decide_the_exit_and_are_told(server):
    code, out, _ = await ping(server.url("/ok"), "--assert", "body~goodbye", "--timeout", "30s")
    assert code == 1
    assert "/ok  body~goodbye: got hello\n" in out
    code, out, _ = await ping(server.url("/status/404"), "--assert", "status==404", "--timeout", "30s")
    assert code == 0
    code, out, _ = await ping(server.url("/ok"), "--warn", "body~goodbye", "--timeout", "30s")
    assert code == 0
    assert "1 good with a warning" in out
    code, out, _ = await ping(server.url("/ok"), "--assert", "p50<1us", "--timeout", "30s")
    assert code == 1
    assert re.search("^assertion fail: p50<1us: got .* ms$", out, re.MULTILINE)


async def test_request_is_made_as_told(server, tmp_path):
    (tmp_path / "body").write_bytes(b"from a file")
    await ping(
        *(server.url("/ok"), "-X", "put", "-H", "X-Team: web", "-d", f"@{tmp_path / 'body'}"),
        *("--user", "me:secret", "--timeout", "30s"),
    )
    head = server.heads[0]
    assert head.startswith("PUT /ok HTTP/1.1\r\n")
    assert "X-Team: web\r\n" in head
    assert "Authorization: Basic bWU6c2VjcmV0\r\n" in head
    assert "Content-Length: 11\r\n" in head


async def test_data_makes_a_post(server):
    await ping(server.url("/ok"), "--data", "x=1", "--timeout", "30s")
    assert server.heads[0].startswith("POST ")


async def test_targets_of_a_file_are_pinged_with_what_belongs_to_them(server, tmp_path):
    (tmp_path / "targets.toml").write_text(
        f"""
        [[target]]
        name = "shop"
        url = "{server.url("/ok")}"
        assert = ["body~hello"]
        [[target]]
        name = "gone"
        url = "{server.url("/status/404")}"
        """
    )
    out_file = tmp_path / "rows"
    code, _, _ = await ping("--targets", tmp_path / "targets.toml", "--ndjson", out_file, "--timeout", "30s")
    rows = {row["name"]: row for row in map(json.loads, out_file.read_text().splitlines())}
    assert code == 1
    assert (rows["shop"]["state"], rows["gone"]["state"]) == ("ok", "failed")
    assert rows["shop"]["verdicts"][0]["assertion"] == "body~hello"


async def test_count_and_rate_make_a_load_whose_summary_is_written(server, tmp_path):
    code, out, err = await ping(
        *(server.url("/ok"), server.url("/status/204"), "--count", 20, "--rate", "400", "--timeout", "30s"),
        *(
            "--summary",
            tmp_path / "run.json",
            "--csv",
            tmp_path / "rows.csv",
            "--columns",
            "url,number,total_ms",
        ),
    )
    assert (code, err) == (0, "")
    assert "/s started of 400/s asked" in out
    assert re.search(r"^service time p50 .* ms, p99 .* ms", out, re.MULTILINE)
    assert "/ok  \n" not in out  # no line for each of so many
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert Counter((row["url"], int(row["number"])) for row in rows) == Counter(
        (server.url(path), number) for path in ("/ok", "/status/204") for number in range(1, 21)
    )
    summary = json.loads((tmp_path / "run.json").read_text())
    assert (summary["overall"]["pings"], summary["load"]) == (40, "open")
    assert [target["pings"] for target in summary["targets"]] == [20, 20]
    assert max(summary["in_flight"]["most"]) >= 1

    code, out, _ = await ping("diff", tmp_path / "run.json", tmp_path / "run.json", "--all")
    assert code == 0
    assert "0 of 12 figures worse; 2 targets are in both runs" in out


async def test_slower_run_fails_the_diff(server, tmp_path):
    for name, wait in (("before", 0.0), ("after", 0.2)):

        async def slow(writer, wait=wait):
            await asyncio.sleep(wait)
            answer(writer)

        server.actions["/slow"] = slow
        await ping(server.url("/slow"), "--count", 10, "--timeout", "30s", "--summary", tmp_path / name)
    code, out, _ = await ping("diff", tmp_path / "before", tmp_path / "after", "--floor", "50ms")
    assert code == 1
    assert re.search(r"^all +p50 .* WORSE$", out, re.MULTILINE)
    code, _, _ = await ping("diff", tmp_path / "after", tmp_path / "before")
    assert code == 0


@pytest.mark.parametrize(
    "rows",
    [
        '[{"url": "http://x/", "status": 200, "latency_ms": Infinity}]',
        '{"overall": {"title": "", "pings": 1e999, "failed": 0, "total_ms": null}, "targets": []}',
    ],
)
async def test_numbers_without_end_are_no_runs_to_compare(rows, tmp_path):
    (tmp_path / "run.json").write_text(rows)
    code, _, err = await ping("diff", tmp_path / "run.json", tmp_path / "run.json")
    assert code == 2
    assert "must be a file of penstock ping --summary or --json, and is none (OverflowError)" in err


async def test_titles_of_compared_runs_stay_in_their_line(tmp_path):
    row = {"url": "http://x/\x1b[31m\n/y", "status": 200, "latency_ms": 3.5}
    (tmp_path / "run.json").write_text(json.dumps([row]))
    code, out, _ = await ping("diff", "--all", tmp_path / "run.json", tmp_path / "run.json")
    assert code == 0
    assert sum(line.startswith("http://x/\ufffd[31m\ufffd/y ") for line in out.splitlines()) == 4


async def test_interval_goes_on_until_ctrl_c(server, tmp_path):
    process = await start(
        server.url("/ok"), "--interval", "20ms", "--timeout", "30s", "--summary", tmp_path / "run.json"
    )
    for _ in range(5):
        assert b"200" in await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGINT)
    _out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (130, b"")
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary["interrupted"] is True
    assert summary["overall"]["pings"] >= 5


async def test_workers_share_the_urls(server, tmp_path):
    urls = [server.url(f"/ok?{n}") for n in range(30)]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    code, out, err = await ping(
        *("--urls-file", tmp_path / "urls.txt", "--workers", 2, "--timeout", "30s", "--csv", tmp_path / "csv")
    )
    assert (code, err) == (0, "")
    assert "30 in" in out
    rows = list(csv.DictReader((tmp_path / "csv").read_text().splitlines()))
    assert sorted(row["url"] for row in rows) == sorted(urls)


async def test_ctrl_c_ends_all_workers_and_keeps_what_was_done(server, tmp_path):
    urls = [server.url(f"/ok?{n}") for n in range(3)] + [server.url("/stall")] * 9
    process = await start(
        *urls, "--workers", 2, "--concurrency", 6, "--timeout", "1h", "--csv", tmp_path / "csv"
    )
    for _ in range(3):
        await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (130, b"")
    assert b"3 in" in out
    assert len((tmp_path / "csv").read_text().splitlines()) == 4


async def test_load_engine_makes_figures(server):
    code, out, err = await ping(server.url("/ok"), "--engine", "load", "--count", 50, "--timeout", "30s")
    assert (code, err) == (0, "")
    assert re.search("^status 200 +50$", out, re.MULTILINE)


async def test_load_on_a_terminal_is_seen_while_it_goes_on(server):
    shown = await on_terminal(
        start, server.url("/ok"), "--duration", "700ms", "--gap", "5ms", "--timeout", "30s"
    )
    drawn = drawn_lines(shown)
    assert max(map(len, drawn)) <= 80
    assert sum(line.startswith("status 200 ") for line in drawn) >= 2  # as it went, and in the summary
    assert any(line.startswith("in flight ") for line in drawn)
    assert "\x1b[32mstatus 200" in shown


@pytest.mark.parametrize("engine", ["auto", "aiohttp"])
async def test_what_is_not_needed_is_not_imported_before_the_first_byte(server, engine):
    """Guards the start: a pinger that imports the world first is late by more than the answers take."""
    script = f"""
import sys
from penstock.cli import main
try:
    main(["ping", {server.url("/ok")!r}, "--engine", {engine!r}, "--timeout", "30s"])
except SystemExit:
    pass
print(*sorted({{"aiohttp", "numpy", "rich", "yarl", "matplotlib", "sqlite3"}} & set(sys.modules)))
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().splitlines()[-1] == ("aiohttp yarl" if engine == "aiohttp" else "")


@pytest.fixture
async def secure(tmp_path):
    """The URL of a server behind TLS that knows us by our certificate; it and the CA are in files."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    ca.issue_cert("us@example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "us.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL

    async def tell_who_asks(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        who = writer.get_extra_info("peercert")
        answer(writer, body=b"known" if who else b"stranger")
        writer.close()

    async with await asyncio.start_server(tell_who_asks, "127.0.0.1", 0, ssl=context) as running:
        yield f"https://localhost:{running.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize("engine", ["auto", "aiohttp"])
async def test_https_is_believed_by_its_ca_and_told_who_asks(secure, tmp_path, engine):
    rows = tmp_path / "rows"
    common = (
        secure,
        "-4",
        "--timeout",
        "30s",
        "--engine",
        engine,
        "--ndjson",
        rows,
        "--assert",
        "body~known",
    )
    code, out, err = await ping(*common, "--ca", tmp_path / "ca.pem", "--cert", tmp_path / "us.pem")
    assert (code, err) == (0, ""), out
    row = json.loads(rows.read_text())
    assert row["state"] == "ok"  # trustme's certificates end in years
    assert row["tls_version"] == "TLSv1.3"
    assert row["certificate_ends"] > "2026"
    assert row["tls_ms"] > 0

    code, out, _ = await ping(*common, "--ca", tmp_path / "ca.pem")
    assert code == 1
    assert "body~known: got stranger" in out
    code, out, _ = await ping(*common)
    assert code == 1
    assert "certificate refused: " in out
    code, out, _ = await ping(*common, "--insecure", "--cert", tmp_path / "us.pem")
    assert code == 0


async def test_certificate_is_judged_by_when_it_ends(secure, tmp_path):
    code, out, _ = await ping(
        secure, "-4", "--ca", tmp_path / "ca.pem", "--assert", "cert<1d", "--timeout", "30s"
    )
    assert code == 1
    assert re.search(r"cert<1d: got [\d.]+ d$", out, re.MULTILINE)


async def test_proxy_is_asked_in_place_of_the_server(server):
    async def proxy(writer):
        answer(writer, body=b"by proxy")

    server.actions["http://shop.example/"] = proxy
    code, _, err = await ping(
        *("http://shop.example/", "--proxy", server.url(""), "--assert", "body==by proxy", "--timeout", "30s")
    )
    assert (code, err) == (0, "")
    assert server.requests["http://shop.example/"] == 1


async def test_interval_of_a_target_counts_where_the_run_repeats(server, tmp_path):
    (tmp_path / "targets.toml").write_text(f'[[target]]\nurl = "{server.url("/ok")}"\ninterval = "50ms"')
    rows = tmp_path / "rows"
    for options, pings in (((), 1), (("--count", 4), 4)):
        code, _, _ = await ping(
            *("--targets", tmp_path / "targets.toml", "--ndjson", rows, "--summary", tmp_path / "run.json"),
            *("--timeout", "30s", *options),
        )
        assert code == 0
        assert len(rows.read_text().splitlines()) == pings
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["load"] == "open"
    assert run["seconds"] >= 0.15


async def test_terminal_that_has_no_bars_is_shown_something_else(server):
    both = asyncio.Barrier(2)

    async def together(writer):
        await both.wait()
        answer(writer)

    server.actions["/both"] = together
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    process = await start(*[server.url("/both")] * 2, "--timeout", "30s", env=environment)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (0, b"")
    assert b"in flight ?" in out


async def test_percentiles_are_written_for_plotters(server, tmp_path):
    await ping(server.url("/ok"), "--count", 5, "--timeout", "30s", "--hgrm", tmp_path / "run.hgrm")
    assert (tmp_path / "run.hgrm").read_text().split()[:2] == ["Value", "Percentile"]
