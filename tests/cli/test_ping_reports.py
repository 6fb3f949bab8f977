"""`penstock ping --html` and `--prometheus` as people run it."""

import asyncio
import re
import signal
import stat
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families as families_of

from bad_server import BadServer

PING = (sys.executable, "-m", "penstock", "ping")
ENDS = 60


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


async def start(*arguments):
    return await asyncio.create_subprocess_exec(
        *PING,
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ping(*arguments):
    """Exit code, stdout and stderr of a run."""
    process = await start(*arguments)
    out, err = await asyncio.wait_for(process.communicate(), ENDS)
    return process.returncode, out.decode(), err.decode()


def figures_of(page):
    """The figures at the head of a page by their names."""
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def samples_of(path):
    return {
        (sample.name, sample.labels.get("target")): sample.value
        for family in families_of(path.read_text())
        for sample in family.samples
    }


async def test_a_run_is_told_as_a_page_and_for_prometheus(server, tmp_path):
    page, textfile = tmp_path / "run.html", tmp_path / "run.prom"
    code, _, err = await ping(
        server.url("/ok"), server.url("/status/500"), "--count", 3, "--html", page, "--prometheus", textfile
    )
    assert (code, err) == (1, "")
    text = page.read_text(encoding="utf-8")
    assert (figures_of(text)["pings"], figures_of(text)["failed"]) == ("6", "3")
    assert text.count("<figure>") == 5
    assert "<th>status 500</th><td>3</td>" in text
    samples = samples_of(textfile)
    assert samples["probe_success", server.url("/ok")] == 1
    assert samples["probe_http_status_code", server.url("/status/500")] == 500
    assert stat.S_IMODE(textfile.stat().st_mode) == 0o644
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["run.html", "run.prom"]


async def test_they_are_the_same_with_workers(server, tmp_path):
    page, textfile = tmp_path / "run.html", tmp_path / "run.prom"
    code, _, err = await ping(
        server.url("/ok"), "--count", 20, "--workers", 2, "--html", page, "--prometheus", textfile
    )
    assert (code, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert figures_of(text)["pings"] == "20"
    assert "Latency over time" in text
    samples = samples_of(textfile)
    assert samples["probe_success", server.url("/ok")] == 1
    assert ("probe_http_content_length", server.url("/ok")) not in samples  # heads stay with the workers


@pytest.mark.skipif(sys.platform != "linux", reason="the load engine is Linux's")
async def test_a_page_of_the_load_engine_has_its_figures(server, tmp_path):
    page = tmp_path / "run.html"
    code, _, err = await ping(
        server.url("/ok"), "--engine", "load", "--count", 50, "--timeout", "30s", "--html", page
    )
    assert (code, err) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert figures_of(text)["pings"] == "50"
    assert "Latency by percentile" in text
    assert "Latency over time" not in text  # it makes no rows
    assert "engine load" in text


async def test_prometheus_needs_rows(server, tmp_path):
    code, _, err = await ping(
        server.url("/ok"), "--engine", "load", "--count", 1, "--prometheus", tmp_path / "run.prom"
    )
    assert code == 2
    assert "--prometheus need rows, and --engine load makes none" in err


@pytest.mark.parametrize("option", ["--html", "--prometheus"])
async def test_a_file_that_cannot_be_written_ends_the_command_before_it_begins(server, tmp_path, option):
    asked = []
    server.actions["/asked"] = lambda writer: asked.append(1)
    path = tmp_path / "none" / "report"
    code, _, err = await ping(server.url("/asked"), option, path)
    assert code == 2
    assert f"{path}: No such file or directory" in err
    assert not asked


async def test_one_file_for_both_is_refused(server, tmp_path):
    both = tmp_path / "both"
    code, _, err = await ping(server.url("/ok"), "--html", both, "--prometheus", both)
    assert code == 2
    assert "name one file twice" in err
    assert not both.exists()


async def test_after_ctrl_c_they_tell_what_was_done(server, tmp_path):
    page, textfile = tmp_path / "run.html", tmp_path / "run.prom"
    process = await start(
        server.url("/ok"), "--interval", "50ms", "--html", page, "--prometheus", textfile, "--log"
    )
    for _ in range(3):
        await asyncio.wait_for(process.stdout.readline(), ENDS)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), ENDS)
    assert process.returncode == 130
    text = page.read_text(encoding="utf-8")
    assert ", interrupted" in text
    assert int(figures_of(text)["pings"]) >= 3
    assert samples_of(textfile)["probe_success", server.url("/ok")] == 1
