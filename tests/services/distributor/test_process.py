"""The real commands as processes: what they print, how they start, stop and refuse to."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import sys

import aiohttp
import pytest
import trustme

from services.distributor.processes import Books, all_delivered, analyzers, as_toml, delivering, distributor

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
AT_ONCE = {"linger": 0, "simulation": {"processing_time": 0, "failure_rate": 0}}


async def run(*arguments, env=None):
    """Runs `penstock` to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", *arguments, env=os.environ | (env or {}),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def fits(text):
    return all(len(line) <= 80 for line in text.splitlines())


async def send(session, url, packets):
    async with session.post(f"{url}/api/v1/logs", json=packets) as answer:
        assert answer.status == 202, await answer.read()
        return (await answer.json())["processed_packets"]


def packets(n, prefix):
    return [{"id": f"{prefix}-{i}", "messages": [{"message": "x"}]} for i in range(n)]


# Starting


@pytest.mark.parametrize("impl", ["c", "py"])
async def test_start_tells_where_everything_is_in_80_columns(tmp_path, monkeypatch, impl):
    monkeypatch.setenv("PENSTOCK_IMPL", impl)
    async with distributor(tmp_path, AT_ONCE, "--durability", "os") as process:
        assert fits(process.output.replace(str(tmp_path), "/data"))
        assert f"page       {process.url}/" in process.output
        assert f"packets    {process.url}/api/v1/logs" in process.output
        shares = "Analyzer A 40%, Analyzer B 30%, Analyzer C 20%, Analyzer D 10%"
        assert f"analyzers  {shares}" in process.output
        assert "simulated  deliveries take 0 s, 0% of packets fail" in process.output
        assert f"durability os, kept in {tmp_path}/data/" in process.output
        assert f"try        python -m penstock replay --sample --to {process.url}\n" in process.output
        assert ("compiled" if impl == "c" else "pure Python") in process.output


async def test_many_analyzers_are_counted_and_not_all_listed(tmp_path):
    fleet = [{"id": f"analyzer-number-{n}", "url": "http://127.0.0.1:9/"} for n in range(64)]
    async with distributor(tmp_path, {"analyzers": fleet}) as process:
        assert fits(process.output.replace(str(tmp_path), "/data"))
        assert "more" in process.output
        assert "simulated" not in process.output


async def test_default_fleet_takes_packets_at_once(tmp_path):
    async with distributor(tmp_path, AT_ONCE) as process, aiohttp.ClientSession() as session:
        await send(session, process.url, packets(10, "p"))
        figures = await all_delivered(session, process.url)
        assert [one["processed_count"] for one in figures["analyzers"].values()] == [4, 3, 2, 1]
        process.terminate()
        assert await process.ended() == 0


async def test_listens_on_ipv6_and_says_so(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "distribute", "--host", "::1", "--port", "0",
        "--durability", "memory", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            await process.stdout.readline()
            url = (await process.stdout.readline()).decode().split()[-1]
            assert re.fullmatch(r"http://\[::1\]:\d+/", url)
            async with aiohttp.ClientSession() as session, session.get(f"{url}livez") as answer:
                assert answer.status == 200
    finally:
        process.terminate()
        await process.communicate()


async def test_inputs_that_listen_and_keys_are_named_at_the_start(tmp_path):
    key = {"name": "shop", "key": "shop-key-0123456789"}
    inputs = dict.fromkeys(("syslog_tcp", "syslog_udp", "forward"), "127.0.0.1:0")
    followed = {"tail": [{"path": str(tmp_path / "*.log")}]}
    async with distributor(tmp_path, {**AT_ONCE, **inputs, **followed, "api_keys": [key]}) as process:
        lines = process.output.replace(str(tmp_path), "/data")
        assert fits(lines)
        for name in ("syslog tcp", "syslog udp", "forward   "):
            assert re.search(rf"^  {name} 127\.0\.0\.1:\d+$", lines, re.M)
        assert "  tail       /data/*.log\n" in lines
        assert "  keys       shop\n" in lines
        assert "replay" not in lines, "it would show no key"
        process.terminate()
        assert await process.ended() == 0


async def test_packets_on_standard_output_stand_there_alone(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "distribute", "--port", "0", "--durability", "memory",
        "--analyzer", "out=stdout:@1", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not (line := (await process.stderr.readline()).decode()).startswith("  packets"):
                pass
            await send(session, line.split()[1].removesuffix("/api/v1/logs"), packets(2, "p"))
            for number in range(2):
                assert json.loads(await process.stdout.readline())["id"] == f"p-{number}"
    finally:
        process.terminate()
        await process.communicate()


async def test_anybody_being_let_in_from_the_network_is_warned_of(tmp_path):
    await start_and_stop(tmp_path, {**AT_ONCE, "host": "0.0.0.0"})
    log = (tmp_path / "distributor.log").read_text()
    assert "anybody who reaches 0.0.0.0 may send packets and operate the service: set api_keys" in log


async def start_and_stop(folder, settings):
    file = folder / "distributor.toml"
    file.write_text(as_toml({"port": 0, "data_dir": str(folder / "data"), **settings}))
    with (folder / "distributor.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "penstock", "distribute", "--config", str(file),
            stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    async with asyncio.timeout(30):
        while not (await process.stdout.readline()).startswith(b"Ctrl-C"):
            pass
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


# TLS, and reading the settings anew


@pytest.fixture
def certificate(tmp_path):
    """Issues certificates of an authority as files of the settings; gives the authority."""

    class Certificate:
        def __init__(self):
            self.authority = trustme.CA()
            self.tls = {"cert_file": str(tmp_path / "cert.pem"), "key_file": str(tmp_path / "key.pem")}

        def issue(self):
            leaf = self.authority.issue_cert("127.0.0.1")
            leaf.cert_chain_pems[0].write_to_path(self.tls["cert_file"])
            leaf.private_key_pem.write_to_path(self.tls["key_file"])

        def trust(self):
            context = ssl.create_default_context()
            self.authority.configure_trust(context)
            return context

    certificate = Certificate()
    certificate.issue()
    return certificate


async def shown_at(url, context):
    """The certificate that a new connection is shown."""
    host, port = url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        return writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_hangup_takes_up_new_settings_and_certificates_and_says_what_is_wrong(tmp_path, certificate):
    settings = {**AT_ONCE, "tls": certificate.tls, "linger": 0.1}
    file = tmp_path / "distributor.toml"
    log = tmp_path / "distributor.log"

    async def hang_up(process, text, told):
        file.write_text(text)
        process.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while told not in log.read_text():
                await asyncio.sleep(0.01)

    context = certificate.trust()
    async with distributor(tmp_path, settings) as process, aiohttp.ClientSession() as session:
        text = file.read_text()
        assert process.url.startswith("https://")
        first = await shown_at(process.url, context)
        certificate.issue()
        await hang_up(process, text.replace("linger = 0.1", "linger = 0.2"), "changed: linger")
        assert await shown_at(process.url, context) != first
        async with session.get(f"{process.url}/api/v1/config", ssl=context) as answer:
            assert (await answer.json())["linger"] == 0.2
        await hang_up(process, text.replace("linger = 0.1", "linger = 9"), "the settings from before go on")
        await hang_up(
            process, text.replace("port = 0", "port = 1"), "port cannot change while the service runs"
        )
        async with session.get(f"{process.url}/api/v1/config", ssl=context) as answer:
            assert (await answer.json())["linger"] == 0.2
        process.terminate()
        assert await process.ended() == 0


async def test_certificate_that_cannot_be_used_is_told_in_a_line(tmp_path):
    settings = tmp_path / "distributor.toml"
    settings.write_text('port = 0\n[tls]\ncert_file = "/no/such.pem"\n')
    result = await run("distribute", "--config", str(settings), "--data-dir", str(tmp_path / "data"))
    refused(result, "tls.cert_file must be a file that can be read, got /no/such.pem: No such file")


async def test_address_of_an_input_that_is_taken_is_told_with_its_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = tmp_path / "distributor.toml"
        settings.write_text(f'port = 0\nforward = "127.0.0.1:{taken.getsockname()[1]}"\n')
        result = await run("distribute", "--config", str(settings), "--data-dir", str(tmp_path / "data"))
        refused(result, "forward cannot listen at 127.0.0.1:")


# Shares


async def test_thousand_packets_are_shared_exactly_by_the_analyzers_own_books(tmp_path):
    books = Books()
    async with (
        analyzers(books, WEIGHTS) as fleet,
        distributor(tmp_path, {"analyzers": fleet}) as process,
        aiohttp.ClientSession() as session,
    ):
        sizes = [1, 99, 250, 3, 147, 500]
        await asyncio.gather(*(send(session, process.url, packets(n, f"r{i}")) for i, n in enumerate(sizes)))
        figures = await all_delivered(session, process.url)
    assert books.by_analyzer == {"a1": 400, "a2": 300, "a3": 200, "a4": 100}
    assert len(books.processed) == sum(books.processed.values()) == 1000
    assert figures["conservation_error"] == 0


# Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_finishes_deliveries_and_the_next_start_delivers_the_rest_once(tmp_path, number):
    books = Books()
    books.delay = 0.3
    settings = {"batch_packets": 10, "concurrency": 1}
    async with analyzers(books, WEIGHTS) as fleet, aiohttp.ClientSession() as session:
        settings["analyzers"] = fleet
        async with distributor(tmp_path, settings) as process:
            ids = await send(session, process.url, packets(1000, "p"))
            await delivering(session, process.url)
            process.process.send_signal(number)
            assert await process.ended() == 0
        delivered = sum(books.processed.values())
        assert 0 < delivered < 1000
        books.delay = 0
        async with distributor(tmp_path, settings) as process:
            assert f"{1000 - delivered} packets from last time" in process.output
            figures = await all_delivered(session, process.url)
    assert set(books.processed) == set(ids)
    assert set(books.processed.values()) == {1}
    assert (figures["accepted"], figures["delivered"], figures["conservation_error"]) == (1000, 1000, 0)
    assert books.by_analyzer == {"a1": 400, "a2": 300, "a3": 200, "a4": 100}


async def test_second_signal_ends_the_waiting_for_deliveries(tmp_path):
    settings = {
        "simulation": {"processing_time": 60},
        "drain_timeout": 60,
        "analyzer_timeout": 100,
        "linger": 0,
    }
    async with distributor(tmp_path, settings) as process, aiohttp.ClientSession() as session:
        await send(session, process.url, packets(10, "p"))
        await delivering(session, process.url)
        process.terminate()
        await asyncio.sleep(1.5)
        assert process.process.returncode is None, "it waits for the deliveries"
        async with session.get(f"{process.url}/readyz") as answer:
            assert answer.status == 503
        process.terminate()
        async with asyncio.timeout(10):
            assert await process.ended() == 0


async def test_hang_up_while_it_drains_does_not_end_it(tmp_path):
    settings = {
        "simulation": {"processing_time": 2},
        "drain_timeout": 30,
        "analyzer_timeout": 30,
        "linger": 0,
    }
    async with distributor(tmp_path, settings) as process, aiohttp.ClientSession() as session:
        await send(session, process.url, packets(10, "p"))
        await delivering(session, process.url)
        process.terminate()
        async with asyncio.timeout(20):
            while True:
                async with session.get(f"{process.url}/readyz") as answer:
                    if answer.status == 503:
                        break
            process.process.send_signal(signal.SIGHUP)
            assert await process.ended() == 0


# Refusing to start: one line that says what to do, and exit code 1 or 2


def refused(result, *words, code=1):
    status, out, err = result
    assert (status, out) == (code, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "Traceback" not in err
    for word in words:
        assert word in last


async def test_port_in_use_is_told_in_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = await run("distribute", "--port", port, "--data-dir", str(tmp_path))
        refused(result, f"cannot listen on 127.0.0.1:{port}: address already in use; choose another --port")
        result = await run("analyzer", "--port", port)
        refused(result, f"cannot listen on 127.0.0.1:{port}: address already in use; choose another --port")


async def test_data_folder_of_another_distributor_is_left_alone(tmp_path):
    async with distributor(tmp_path, AT_ONCE) as process:
        result = await run("distribute", "--port", "0", "--data-dir", str(tmp_path / "data"))
        refused(result, "is in use by another distributor; stop that one or choose another folder")
        process.terminate()
        assert await process.ended() == 0


async def test_data_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    result = await run("distribute", "--port", "0", "--data-dir", str(tmp_path / "file"))
    refused(result, f"the data folder {tmp_path}/file cannot be used: it is a file")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool.sqlite3").write_bytes(b"no database at all" * 100)
    result = await run("distribute", "--port", "0", "--data-dir", str(tmp_path / "data"))
    refused(result, "file is not a database; move the files away or choose another folder")


async def test_host_that_is_not_ours_is_told_in_a_line(tmp_path):
    for host in ("192.0.2.1", "no such host"):
        arguments = ("--host", host, "--port", "0", "--data-dir", str(tmp_path))
        refused(
            await run("distribute", *arguments), f"cannot listen on {host}:0: ", "; choose another --host"
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = ", "no valid TOML"),
        ("prot = 1", "prot is no setting; did you mean port?"),
        ("port = 99999", "<= 65535 - at `$.port`"),
        ('analyzers = [{id = "a", url = "x"}]', "must be an http:// or https:// URL, got 'x'"),
    ],
)
async def test_wrong_configuration_is_told_with_its_file(tmp_path, text, words):
    file = tmp_path / "distributor.toml"
    file.write_text(text)
    refused(await run("distribute", "--config", str(file)), f"Error: {file}: ", words)


async def test_wrong_variable_and_wrong_flag_are_told_by_name():
    result = await run("distribute", env={"PENSTOCK_DISTRIBUTOR_PORT": "many"})
    refused(result, "Error: PENSTOCK_DISTRIBUTOR_PORT: Expected `int`")
    refused(
        await run("distribute", "--failure-rate", "2"),
        "--failure-rate",
        "2.0 is not in the range 0<=x<=1",
        code=2,
    )
    refused(
        await run("distribute", "--analyzer", "a=ftp://h/@1"), "must be an http:// or https:// URL", code=2
    )
    refused(
        await run("distribute", "--analyzer", "a=http://h/@x"), "--analyzer", "in 'a=http://h/@x'", code=2
    )
    refused(await run("analyzer", "--failure-rate", "2"), "'--failure-rate'", code=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "x"), "'--port': 'x' is not a valid integer"),
        (("--port", "70000"), "'--port': 70000 is not in the range 0<=x<=65535"),
        (("--durability", "disk"), "'disk' is not one of"),
        (("--analyzer", "nonsense"), "must be ID=URL@WEIGHT, got 'nonsense'"),
        (("--analyzer", "a=http://h/"), "must be ID=URL@WEIGHT"),
        (("--config", "/no/such/file"), "does not exist"),
        (("--colour", "red"), "No such option"),
        (("extra",), "unexpected extra argument"),
    ],
)
async def test_wrong_usage_is_told_with_exit_code_2(arguments, words):
    refused(await run("distribute", *arguments), words, code=2)


# The analyzer alone, and help


async def test_analyzer_starts_takes_packets_and_stops():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "analyzer", "--port", "0", "--processing-time", "0",
        "--failure-rate", "0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            line = (await process.stdout.readline()).decode()
            url = re.fullmatch(r"analyzer takes packets at (http://127\.0\.0\.1:\d+/packets)\n", line)[1]
            async with session.post(url, data=b'{"id":"p","messages":[{},{}]}\n') as answer:
                assert await answer.json() == {"failed": []}
            process.send_signal(signal.SIGTERM)
            out, err = await process.communicate()
            assert f"distribute --analyzer a={url}@1" in out.decode()
            assert err == b""
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ["analyzer", "distribute", "ping", "replay"]),
        (("distribute",), ["--config", "PENSTOCK_DISTRIBUTOR_*", "Ctrl-C", "distribute --analyzer", "@60"]),
        (("analyzer",), ["POST /fail", "GET /stats", "--seed", "9000"]),
    ],
)  # fmt: skip
async def test_help_teaches_in_80_columns(command, words):
    status, out, err = await run(*command, "--help", env={"COLUMNS": "80"})
    assert (status, err) == (0, "")
    assert fits(out), [line for line in out.splitlines() if len(line) > 80]
    for word in words:
        assert word in out
