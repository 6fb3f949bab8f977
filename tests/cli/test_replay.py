"""`penstock replay` as a user runs it: a process, its output and its exit status."""

import asyncio
import gzip
import os
import pty
import signal
import sys

import pytest
import trustme
from aiohttp import web

from penstock.cli.replay import show
from penstock.services.distributor.config import ApiKey
from penstock.services.replay.reading import Reading
from penstock.services.replay.sender import Tally
from services.distributor.processes import distributor
from services.distributor.serving import serving
from stub_distributor import stub_distributor


@pytest.fixture
async def stub():
    async with stub_distributor() as stub:
        yield stub


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_text("".join(f"2024-05-26T11:43:20Z INFO line {n}\n" for n in range(2_000)) + "\n\n")
    return path


async def start(*arguments, **settings):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "replay", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80"}, **settings,
    )  # fmt: skip


async def replay(*arguments, stdin=None):
    """Exit status, standard output and standard error."""
    process = await start(*arguments, stdin=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        out, err = await process.communicate(stdin)
    return process.returncode, out.decode(), err.decode()


def table(out):
    """First column of the final table -> the rest of the row."""
    rows = (line.strip().partition("  ") for line in out.splitlines())
    return {name: " ".join(value.split()) for name, _, value in rows if value}


async def test_file_is_sent_and_the_table_says_so(stub, log):
    status, out, err = await replay(log, "--to", stub.url + "/")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    rows = table(out)
    assert rows["lines read"] == "2,002"
    assert rows["blank lines"] == "2"
    assert rows["messages"] == "2,000"
    assert rows["packets accepted"] == "200"
    assert rows["packets refused"] == "0"
    assert rows["packets sent again"] == "0"
    assert {"seconds", "packets/s accepted", "messages/s accepted"} <= rows.keys()
    assert "packets unanswered" not in rows
    assert sorted(int(m["message"].split()[-1]) for m in stub.messages) == list(range(2_000))


async def test_standard_input_is_read_to_its_end(stub, log):
    status, out, _ = await replay("-", "--to", stub.url, stdin=gzip.compress(log.read_bytes()))
    assert status == 0
    assert table(out)["messages"] == "2,000"
    assert {message["source"] for message in stub.messages} == {"stdin"}


async def test_sample_needs_no_file(stub):
    status, out, _ = await replay("--sample", "--to", stub.url)
    assert status == 0
    assert int(table(out)["messages"]) > 300


async def test_options_reach_the_distributor(stub, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("2024-05-26 11:43:20 INFO line\n" * 90)
    status, _, _ = await replay(
        path, "--to", stub.url, "--messages-per-packet", 30, "--packets-per-request", 2, "--concurrency", 1,
        "--gzip", "--timezone", "Europe/Berlin", "--rate", 100_000,
    )  # fmt: skip
    assert status == 0
    assert [len(body) for body in stub.bodies] == [2, 1]
    assert [len(packet["messages"]) for packet in stub.packets.values()] == [30, 30, 30]
    assert stub.encodings == ["gzip", "gzip"]
    assert stub.messages[0]["timestamp"] == "2024-05-26T11:43:20+02:00"


async def test_rate_shapes_requests_to_a_tenth_of_a_second(stub, log):
    status, out, _ = await replay(log, "--to", stub.url, "--rate", 4_000)
    assert status == 0
    assert {len(body) for body in stub.bodies} == {40}
    assert float(table(out)["seconds"]) >= (2_000 - 400) / 4_000


async def test_refused_packets_are_told_with_reason_and_place(stub, log):
    async def refuse_first(request, packets):
        return stub.answer(packets, lambda index, packet: "too_large\x1b[31m" if index == 0 else None)

    stub.script.append(refuse_first)
    status, out, _ = await replay(log, "--to", stub.url, "--concurrency", 1)
    assert status == 1
    assert table(out)["packets refused"] == "1 1 too_large\N{REPLACEMENT CHARACTER}[31m"
    assert "refused app.log:1: too_large" in out
    assert "\x1b[31m" not in out


async def test_words_of_the_server_are_no_markup(stub, log):
    async def refuse_first(request, packets):
        return stub.answer(packets, lambda index, packet: "[/red][bold]" if index == 0 else None)

    stub.script.append(refuse_first)
    status, out, err = await replay(log, "--to", stub.url, "--concurrency", 1)
    assert (status, err) == (1, "")
    assert table(out)["packets refused"] == "1 1 [/red][bold]"
    assert "refused app.log:1: [/red][bold]: it is [/red][bold]" in out


def test_address_in_brackets_is_shown_whole(capsys):
    reading = Reading([])
    reading.meter.close()
    show(reading, Tally(), "http://[fe80::1]:8080")
    assert capsys.readouterr().out.startswith("Replayed to http://[fe80::1]:8080\n")


async def test_nothing_at_the_address_says_how_to_start_one(log, unused_tcp_port):
    status, out, err = await replay(log, "--to", f"http://127.0.0.1:{unused_tcp_port}")
    assert (status, out) == (1, "")
    assert f"nothing answers at http://127.0.0.1:{unused_tcp_port}: connection refused" in err
    assert "penstock distribute" in err


async def test_other_server_at_the_address_is_told(stub, log):
    status, out, err = await replay(log, "--to", stub.url + "/elsewhere")
    assert status == 1
    assert "/elsewhere/api/v1/logs answers 404" in err
    assert "say with --to where a penstock distributor is" in err
    assert out == ""  # where nothing was taken there is nothing to tell


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/", "/api/v1/logs"])
async def test_address_of_the_api_is_as_good_as_that_of_the_distributor(stub, log, path):
    status, out, _ = await replay(log, "--to", stub.url + path)
    assert status == 0
    assert table(out)["packets accepted"] == "200"


async def test_certificate_of_an_authority_of_ones_own_is_believed_when_that_is_named(tmp_path, log):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    async with distributor(tmp_path, {"tls": {"cert_file": str(tmp_path / "leaf.pem")}}) as process:
        status, out, err = await replay(log, "--to", process.url, "--ca-file", tmp_path / "ca.pem")
        assert (status, err, table(out)["packets accepted"]) == (0, "", "200")
        status, out, err = await replay(log, "--to", process.url)
        assert (status, out) == (1, "")
        assert f"nothing answers at {process.url}: certificate refused: " in err
        assert err.endswith("; name who signed that certificate with --ca-file\n")


async def test_https_to_a_plain_server_says_that_it_has_no_tls(stub, log):
    status, out, err = await replay(log, "--to", stub.url.replace("http:", "https:"))
    assert (status, out) == (1, "")
    assert "TLS failed" in err


async def test_message_more_than_there_are_lines_is_explained(stub, tmp_path):
    path = tmp_path / "app.log"
    path.write_text("short\n" + "x" * 25_000 + "\n")
    _, out, _ = await replay(path, "--to", stub.url)
    assert table(out)["messages"] == "4 2 more by splitting long lines"


async def test_damaged_file_is_told_and_the_rest_is_sent(stub, log, tmp_path):
    cut = tmp_path / "cut.log.gz"
    cut.write_bytes(gzip.compress(log.read_bytes())[:-50])
    status, out, err = await replay(cut, log, "--to", stub.url)
    assert status == 1
    assert "cut.log.gz cannot be read to its end" in err
    assert int(table(out)["messages"].replace(",", "")) > 2_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a FILE, or - for standard input, or take --sample"),
        (["nowhere.log"], "nowhere.log does not exist; check the name"),
        (["-", "--to", "localhost:8080"], "'localhost:8080' is no address such as http://127.0.0.1:8080"),
        (["-", "--to", "http://a:99999"], "'http://a:99999' is no address"),
        (["-", "--to", "http://a b/"], "'http://a b/' is no address"),
        (["-", "--to", "http://a/?x=1"], "'http://a/?x=1' is no address"),
        (["-", "--timezone", "Mars/Olympus"], "'Mars/Olympus' is no time zone; try UTC"),
        (["-", "--rate", "0"], "'0' is no number > 0 and <= 1e9"),
        (["-", "--rate", "nan"], "'nan' is no number > 0 and <= 1e9"),
        (["-", "--rate", "many"], "'many' is no number > 0 and <= 1e9"),
        (["-", "--patience", "nan"], "'nan' is not a duration such as 1200ms, 1.5s or 2m"),
        (["-", "--rate", "1e-9"], "capacity / rate must be <= 36 years"),
        (["-", "--messages-per-packet", "1001"], "1001 is not in the range 1<=x<=1000"),
    ],
)
async def test_wrong_usage_is_told_and_exits_2(arguments, said):
    status, out, err = await replay(*arguments)
    assert (status, out) == (2, "")
    assert said in err


async def test_interrupt_ends_it_with_the_table_even_while_standard_input_is_silent(stub):
    arrived = asyncio.Event()

    async def first(request, packets):
        arrived.set()
        return stub.answer(packets)

    stub.script.append(first)
    process = await start(
        "-",
        "--to",
        stub.url,
        "--packets-per-request",
        1,
        "--messages-per-packet",
        1,
        stdin=asyncio.subprocess.PIPE,
    )
    process.stdin.write(b"x" * 600 + b"\none more\n")  # and then nothing, without an end
    async with asyncio.timeout(60):
        await arrived.wait()
        process.send_signal(signal.SIGINT)
        out = (await process.stdout.read()).decode()
        assert await process.wait() == 130
    assert "packets accepted" in table(out)
    process.stdin.close()


async def test_interrupt_tells_which_packets_have_no_answer(stub, log):
    arrived = asyncio.Event()

    async def stall(request, packets):
        arrived.set()
        await asyncio.sleep(600)
        return web.Response()

    stub.script.append(stall)
    process = await start(log, "--to", stub.url, "--concurrency", 1)
    async with asyncio.timeout(60):
        await arrived.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 130
    assert table(out.decode())["packets unanswered"] == "100 may have been accepted"
    assert b"Traceback" not in err


async def test_help_teaches_by_example():
    status, out, _ = await replay("--help")
    assert status == 0
    assert "penstock replay --sample" in out
    assert "messages a second" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


async def test_bar_is_shown_on_a_terminal_only(stub, log):
    terminal, other_end = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "replay", str(log), "--to", stub.url, "--rate", "10000",
        stdout=asyncio.subprocess.DEVNULL, stderr=other_end, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    async with asyncio.timeout(60):
        assert await process.wait() == 0
    os.set_blocking(terminal, False)
    assert b"accepted" in os.read(terminal, 1 << 16)
    os.close(terminal)
    os.close(other_end)


async def test_key_that_no_header_can_carry_is_refused_and_not_told(log):
    status, _, err = await replay(log, "--key", "secret-of-a-file\n")
    assert (status, "an API key must be printable ASCII" in err, "secret-of" in err) == (2, True, False)


async def test_key_is_shown_to_a_distributor_that_wants_one(tmp_path, log):
    key = "sender-key-0123456789"
    async with serving(tmp_path, api_keys=(ApiKey("sender", key),), max_body_bytes=1_000_000) as service:
        status, _, err = await replay(log, "--to", service.url)
        assert (status, "answers 401: show a valid API key" in err) == (1, True)
        assert err.endswith(" (--key, or PENSTOCK_API_KEY)\n")
        status, out, err = await replay(log, "--to", service.url, "--key", key)
        assert (status, err, table(out)["messages"]) == (0, "", "2,000")
