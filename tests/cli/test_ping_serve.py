"""`penstock ping serve` as people run it: a process, its page, its signals."""

import asyncio
import json
import re
import signal
import sqlite3
import sys
from contextlib import closing
from urllib.request import urlopen

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from penstock.services.pinger.watch.history import History

ENDS = 60


@pytest.fixture
async def site():
    async def answer(request):
        return web.Response(text="ready")

    app = web.Application()
    app.router.add_get("/", answer)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


async def start(tmp_path, *arguments):
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock", "ping", "serve", *arguments),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def announced(process):
    """The URL of the page that it tells."""
    while line := (await asyncio.wait_for(process.stdout.readline(), ENDS)).decode():
        if found := re.search(r"page +(http://\S+)/$", line.rstrip()):
            return found[1]
    raise AssertionError("it ended without telling its page")


async def targets_of(url):
    def ask():
        with urlopen(f"{url}/api/v1/targets", timeout=30) as answer:
            return json.load(answer)["targets"]

    return await asyncio.to_thread(ask)


async def until(url, condition):
    async with asyncio.timeout(ENDS):
        while not condition(targets := await targets_of(url)):
            await asyncio.sleep(0.05)
    return targets


def stored_in(folder):
    """How many pings the history holds for whoever opens it."""
    with closing(sqlite3.connect(folder / "penstock-ping.sqlite")) as history:
        return history.execute("SELECT count(*) FROM pings").fetchone()[0]


async def ended(process):
    output, _ = await asyncio.wait_for(process.communicate(), ENDS)
    return process.returncode, output.decode()


async def test_what_was_kept_survives_a_kill_and_sigterm_is_exit_0(tmp_path, site):
    (tmp_path / "t.toml").write_text(f'interval = "50ms"\n[[target]]\nurl = "{site}"\nname = "shop"\n')
    first = await start(tmp_path, "--targets", "t.toml", "--port", "0")
    url = await announced(first)
    async with asyncio.timeout(ENDS):
        while stored_in(tmp_path) < 10:
            await asyncio.sleep(0.05)
    (before,) = await targets_of(url)
    first.kill()
    await first.wait()
    stored = stored_in(tmp_path)
    second = await start(tmp_path, "--targets", "t.toml", "--port", "0")
    url = await announced(second)
    (after,) = await until(url, lambda targets: targets[0]["good"] >= 1)
    kept = sum(bar[1] for bar in after["bars"]) - after["good"]
    assert kept == stored
    assert after["since"] == before["since"]
    second.send_signal(signal.SIGTERM)
    code, output = await ended(second)
    assert code == 0
    assert output.rstrip().endswith("stopped")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        ([], "Nothing to watch: give --targets F, a TOML file of targets.", 2),
        (["--targets", "none.toml"], "File 'none.toml' does not exist.", 2),
        (["--targets", "bad.toml"], "bad.toml: target 1 (ftp://a/): url must be one that can be pinged", 2),
        (["--targets", "good.toml", "--history", "bad.toml"], "bad.toml: file is not a database", 1),
        (["--targets", "good.toml", "--timeout", "-1"], "--timeout: Expected `float` > 0.0", 2),
        (["--targets", "good.toml", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1:8081", 1),
        (["--targets", "twice.toml"], "names of targets must differ, got 'http://a/' twice", 2),
    ],
)
async def test_what_cannot_be_done_is_told(tmp_path, arguments, words, code):
    (tmp_path / "good.toml").write_text('[[target]]\nurl = "http://127.0.0.1:1/"\n')
    (tmp_path / "bad.toml").write_text(
        '[[target]]\nurl = "ftp://a/"\n' + "# long enough for a database\n" * 20
    )
    (tmp_path / "twice.toml").write_text('[[target]]\nurl = "http://a/"\n' * 2)
    found, output = await ended(await start(tmp_path, *arguments))
    assert words in output
    assert "Traceback" not in output
    assert found == code


async def test_help_teaches_within_80_columns(tmp_path):
    code, output = await ended(await start(tmp_path, "--help"))
    assert code == 0
    assert all(len(line) <= 80 for line in output.splitlines())
    assert "Examples:" in output
    assert "[[target]]" in output
    assert "Exit code:" in output


async def test_a_second_watch_of_a_history_takes_nothing_from_the_first(tmp_path, site):
    (tmp_path / "t.toml").write_text(f'interval = "50ms"\n[[target]]\nurl = "{site}broken"\nname = "shop"\n')
    first = await start(tmp_path, "--targets", "t.toml", "--port", "0", "--webhook", "http://127.0.0.1:9/")
    await until(await announced(first), lambda targets: targets[0]["condition"] == "down")
    code, output = await ended(await start(tmp_path, "--targets", "t.toml", "--port", "0"))
    assert code == 1
    assert "penstock-ping.sqlite is in use by another watch; give each its own history" in output
    first.send_signal(signal.SIGTERM)
    assert (await ended(first))[0] == 0
    history = History(str(tmp_path / "penstock-ping.sqlite"))
    assert history.waiting_alerts() == 1
    history.close()
