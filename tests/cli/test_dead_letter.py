"""`penstock dead-letter` as a user runs it, against a distributor."""

import asyncio
import json
import os
import re
import signal
import ssl
import sys

import pytest
import trustme
from click.testing import CliRunner

from penstock.cli import main
from penstock.cli.dead_letter import show
from penstock.services.distributor.config import ApiKey
from services.distributor.processes import distributor
from services.distributor.serving import serving

KEY = "operator-key-0123456789"


@pytest.fixture
async def service(tmp_path):
    """A distributor with three dead letters."""
    async with serving(tmp_path, max_attempts=1) as service:
        service.books.fails = lambda id_, retry_count: True
        texts = {
            "p1": "disk full",
            "p2": "connection lost\n\x1b[31m",
            "p3": "connection refused " + "x" * 500,
        }
        for id_, text in texts.items():
            message = {"level": "ERROR", "message": text}
            await service.logs([{"id": id_, "messages": [message]}], 202)
            await service.nothing_left()
        service.books.fails = lambda id_, retry_count: False
        yield service


async def run(service, *arguments, env=None, stdin=None):
    """Exit status, standard output and standard error."""
    runner = CliRunner(env={"COLUMNS": "80", **(env or {})})
    call = ["dead-letter", *map(str, arguments), *(["--to", service.url] if service else [])]
    result = await asyncio.to_thread(runner.invoke, main, call, input=stdin, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


async def seqs(service):
    status, out, err = await run(service, "list", "--json")
    assert (status, err) == (0, "")
    return {one["packet"]["id"]: one["seq"] for one in map(json.loads, out.splitlines())}


async def test_list_shows_the_last_failed_first_in_80_columns(service):
    status, out, _ = await run(service, "list")
    assert status == 0
    assert re.findall(r"\b(p\d)\b", out) == ["p3", "p2", "p1"]
    assert "ERROR disk full; told to fail" in out
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert list(await seqs(service)) == ["p3", "p2", "p1"]
    assert re.findall(r"\b(p\d)\b", (await run(service, "list", "--limit", 1))[1]) == ["p3"]
    assert (await run(service, "list", "--until", "2000-01-01T00:00:00Z"))[1] == "no dead letters\n"


def test_long_texts_take_no_room_from_the_number_the_time_and_the_end_of_the_id(capsys):
    packet = {"id": "8f0bb24c9b564340807f571b3c9b4027-179", "messages": [{"message": "line " * 20}]}
    errors = ["timeout", "connection refused " * 9, "x" * 90]
    show(
        [
            {"seq": seq, "packet": packet, "failed_at": "2025-01-25T20:30:45Z", "final_error": error}
            for seq, error in zip((9, 88, 1_234_567), errors, strict=True)
        ],
        as_json=False,
    )
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line for line in lines if "INFO" in line]
    assert [row.partition("INFO")[0] for row in rows] == [
        f"{seq:>7}  2025-01-25T20:30:45Z  …f571b3c9b4027-179  " for seq in (9, 88, 1_234_567)
    ]


async def test_search_finds_by_what_letters_say(service):
    _, out, _ = await run(service, "search", "+connection -refused", "--json")
    assert [json.loads(line)["packet"]["id"] for line in out.splitlines()] == ["p2"]
    assert (await run(service, "search", "connection", "--best"))[0] == 0
    status, _, err = await run(service, "search", "level:")
    assert (status, err.startswith("Error: q cannot be read: ")) == (1, True)


async def test_get_prints_a_whole_letter(service):
    seq = (await seqs(service))["p1"]
    letter = json.loads((await run(service, "get", seq))[1])
    assert letter["packet"]["messages"][0]["message"] == "disk full"
    assert (await run(service, "get", 4711))[2] == (
        "Error: there is no dead letter 4711; it may have been replayed or purged\n"
    )


async def test_replay_sends_what_is_chosen_once(service):
    numbers = await seqs(service)
    assert (await run(service, "replay", "--all", "--dry-run"))[1] == "3 dead letters would be replayed\n"
    assert (await run(service, "replay", numbers["p1"]))[1] == "1 dead letter replayed\n"
    assert (await run(service, "replay", numbers["p1"]))[1] == "0 dead letters replayed\n"
    assert (await run(service, "replay", "--query", "refused", "--rate", 100))[
        1
    ] == "1 dead letter replayed\n"
    await service.nothing_left()
    assert service.books.processed == {"p1": 1, "p3": 1}


async def test_purge_asks_first_and_removes_what_is_chosen(service):
    question = "Remove 3 dead letters for good? [y/N]: "
    status, out, _ = await run(service, "purge", "--all", stdin="n\n")
    assert (status, out.startswith(question), len(await seqs(service))) == (1, True, 3)
    status, out, _ = await run(service, "purge", "--query", "connection", stdin="y\n")
    assert (status, out.splitlines()[-1]) == (0, "2 dead letters removed")
    assert (await run(service, "purge", "--all", "--yes"))[1] == "1 dead letter removed\n"
    assert (await run(service, "purge", "--all", "--yes"))[1] == "no dead letter matches\n"


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("arguments", [(), ("1", "--all"), ("1", "--query", "x"), ("--all", "--since", "0")])
async def test_choice_that_is_not_clear_is_refused_before_anybody_is_asked(command, arguments):
    status, _, err = await run(None, command, *arguments)
    assert (status, "name each by its SEQ, or choose by --query" in err) == (2, True)


@pytest.mark.parametrize("rate", ["0", "nan", "2e9", "many"])
async def test_rate_that_is_none_is_refused_before_anybody_is_asked(rate):
    status, _, err = await run(None, "replay", "--all", "--rate", rate)
    assert (status, f"{rate!r} is no number > 0 and <= 1e9" in err) == (2, True)


async def test_ctrl_c_stops_a_replay_and_says_how_far_it_came(service):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "dead-letter", "replay", "--all", "--rate", "0.1",
        "--to", service.url, env=os.environ | {"COLUMNS": "80"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        while (replaying := service.distributor.replaying) is None or not replaying.replayed:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (130, "")
    assert out.decode() == "stopped; 1 dead letter replayed before\n"
    await service.distributor.replaying.finished()
    assert len(await seqs(service)) == 2


async def test_key_that_no_header_can_carry_is_refused_and_not_told():
    status, _, err = await run(None, "list", "--key", "secret-of-a-file\n")
    assert (status, "an API key must be printable ASCII" in err, "secret-of" in err) == (2, True, False)


async def test_key_is_shown_from_the_option_or_the_environment(tmp_path):
    async with serving(tmp_path, api_keys=(ApiKey("op", KEY, may_operate=True),)) as service:
        status, _, err = await run(service, "list")
        assert status == 1
        assert err.startswith("Error: show a valid API key")
        assert err.endswith(" (--key, or PENSTOCK_API_KEY)\n")
        assert (await run(service, "list", "--key", KEY))[0] == 0
        assert (await run(service, "list", env={"PENSTOCK_API_KEY": KEY}))[0] == 0


async def test_nobody_at_the_address_is_told_with_what_to_do():
    status, _, err = await run(None, "list", "--to", "http://127.0.0.1:9")
    assert (status, err.count("\n")) == (1, 1)
    assert "nothing answers at http://127.0.0.1:9: connection refused; start one with" in err


async def test_certificate_is_checked_by_the_authorities_given(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        await writer.drain()
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda loop, told: None)  # of the handshake that fails
    server = await asyncio.start_server(answer, "localhost", 0, ssl=context)
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        found = await run(None, "list", "--to", url, "--ca-file", tmp_path / "ca.pem")
        assert found[:2] == (0, "no dead letters\n")
        status, _, err = await run(None, "list", "--to", url, "--ca-file", tmp_path / "other.pem")
        assert status == 1
        assert "certificate refused: " in err
        assert err.endswith("; name who signed that certificate with --ca-file\n")


@pytest.mark.parametrize("url", ["ftp://h", "h:80", "http://h/?x=1"])
async def test_address_that_is_none_is_wrong_usage(url):
    status, _, err = await run(None, "list", "--to", url)
    assert (status, "is no address such as http://127.0.0.1:8080" in err) == (2, True)


async def test_certificate_is_shown_where_the_distributor_wants_one(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf, ours = authority.issue_cert("127.0.0.1"), authority.issue_cert("operator")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "leaf.pem")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "ours.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "keyless.pem")
    tls = {"cert_file": str(tmp_path / "leaf.pem"), "client_ca_file": str(tmp_path / "ca.pem")}
    async with distributor(tmp_path, {"tls": tls}) as process:
        call = ("list", "--to", process.url, "--ca-file", tmp_path / "ca.pem")
        assert (await run(None, *call, "--cert-file", tmp_path / "ours.pem"))[:2] == (0, "no dead letters\n")
        status, _, err = await run(None, *call)
        assert (status, err.startswith(f"Error: nothing answers at {process.url}: ")) == (1, True)
        status, _, err = await run(None, *call, "--cert-file", tmp_path / "keyless.pem")
        assert (status, "--cert-file must hold a certificate and its key in PEM" in err) == (1, True)
