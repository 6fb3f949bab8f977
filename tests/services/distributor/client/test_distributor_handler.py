"""The handler for logging: what it took arrives once and in order, whatever happens to either side."""

import asyncio
import json
import logging
import logging.config
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from time import monotonic

import pytest
import trustme

from penstock.clock import ManualClock
from penstock.errors import InvalidValue
from penstock.services.distributor.client import DistributorHandler
from penstock.services.distributor.client.posting import NoAnswer, Posting
from services.distributor.client.scripted import scripted, some, taken
from services.distributor.processes import distributor

RECORDS = int(os.environ.get("PENSTOCK_RECORDS", "10000"))


@contextmanager
def logger_to(url, **settings):
    """A logger whose only handler sends to this distributor; closed at the end."""
    handler = DistributorHandler(url, **{"linger": 0.0, "timeout": 5.0, "close_timeout": 10.0} | settings)
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    logger.handler = handler
    try:
        yield logger
    finally:
        handler.close()


@pytest.fixture
def served():
    with scripted() as served:
        yield served


@pytest.fixture(params=["memory", "spool"])
def outbox(request, tmp_path):
    """The setting of an outbox in memory, and of one in a folder."""
    return {} if request.param == "memory" else {"spool": tmp_path / "spool"}


def numbers(n, start=0):
    return [f"line {i}" for i in range(start, start + n)]


def log_lines(logger, n, start=0):
    for line in numbers(n, start):
        logger.info(line)


def sent_off(logger, served, records):
    """Flushes until so many have arrived and that is known, as a flush ends when they are in files."""
    deadline = monotonic() + 30
    while logger.handler.figures["sent"] < records and monotonic() < deadline:
        logger.handler.flush(1)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# Arriving


def test_records_arrive_once_and_in_order(served, outbox):
    with logger_to(served.url, **outbox) as logger:
        log_lines(logger, 1000)
        logger.handler.flush()
        assert served.texts == numbers(1000)
        assert logger.handler.figures == {"taken": 1000, "dropped": 0, "sent": 1000, "refused_packets": 0}
        assert len(served.requests) < 1000, "many go together"
    assert served.heads[0][0] == "/api/v1/logs"


def test_records_of_many_threads_all_arrive_each_thread_s_in_order(served, outbox):
    def work(name):
        for i in range(300):
            logger.info("%s %d", name, i)

    with logger_to(served.url, **outbox) as logger:
        threads = [threading.Thread(target=work, args=[f"t{n}"]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n in range(8):
        assert [text for text in served.texts if text.startswith(f"t{n} ")] == [
            f"t{n} {i}" for i in range(300)
        ]


def test_close_delivers_what_is_left_and_ends_the_threads(served, outbox):
    before = threading.active_count()
    with logger_to(served.url, linger=60.0, **outbox) as logger:
        log_lines(logger, 10)
        assert served.texts == []
    assert served.texts == numbers(10)
    with served_threads(served):
        assert threading.active_count() <= before + 1
    logger.handler.close()
    logger.info("too late")
    assert logger.handler.figures["dropped"] == 1


@contextmanager
def served_threads(served):
    """Waits until the server has seen that its clients are gone."""
    deadline = monotonic() + 10
    while monotonic() < deadline and any(
        "process_request" in thread.name for thread in threading.enumerate()
    ):
        threading.Event().wait(0.005)
    yield


def test_key_is_shown(served):
    with logger_to(served.url, api_key="shop-key-0123456789") as logger:
        logger.info("x")
    assert served.heads[0][1]["Authorization"] == "Bearer shop-key-0123456789"


def test_https_is_checked(tmp_path):
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    with scripted(context=server) as served:
        with logger_to(served.url, context=client) as logger:
            logger.info("trusted")
        with logger_to(served.url, spool=tmp_path) as logger:
            logger.info("not trusted")
        assert served.texts == ["trusted"]


def test_configuration_of_logging_makes_it(served, tmp_path):
    logging.config.dictConfig(
        {
            "version": 1, "disable_existing_loggers": False,
            "handlers": {
                "distributor": {
                    "class": "penstock.services.distributor.client.DistributorHandler",
                    "url": served.url, "level": "WARNING", "spool": str(tmp_path),
                }
            },
            "loggers": {"configured": {"handlers": ["distributor"], "propagate": False}},
        }
    )  # fmt: skip
    logger = logging.getLogger("configured")
    logger.error("taken")
    logger.handlers[0].emit(logging.makeLogRecord({"msg": "as it is", "levelname": "INFO"}))
    logger.info("below the level")
    for handler in logger.handlers[:]:
        handler.close()
        logger.removeHandler(handler)
    assert served.texts == ["taken", "as it is"]


# Trouble on the other side


def lost_answer(served):
    """The distributor takes the packets, but its answer never comes."""

    def step(packets):
        for packet in packets:
            served.packets.setdefault(packet["id"], packet)

    return step


def test_what_went_wrong_is_sent_again_with_the_same_ids(served, outbox):
    at_once = {"Retry-After": "0"}
    served.script = [
        (503, {"detail": "full"}, at_once), None, lost_answer(served), (500, b"oops", at_once),
        lambda packets: (*some(packets, dict.fromkeys(range(len(packets)), "queue_full"), 503), at_once),
        (404, b"another service"), taken,
    ]  # fmt: skip
    with logger_to(served.url, **outbox) as logger:
        log_lines(logger, 50)
        sent_off(logger, served, 50)
    assert served.texts == numbers(50)
    assert logger.handler.figures["sent"] == 50
    assert len({packet["id"] for request in served.requests for packet in request}) == len(served.packets)


def test_packet_that_is_refused_is_counted_told_and_holds_up_nobody(served, outbox, capsys):
    served.script = [lambda packets: some(packets, {0: "invalid"})]
    with logger_to(served.url, **outbox) as logger:
        logger.info("bad")
        logger.handler.flush()
        logger.info("good")
    assert served.texts == ["good"]
    assert logger.handler.figures["refused_packets"] == 1
    assert "the distributor refused 1 packets: it is invalid" in capsys.readouterr().err


def test_wrong_key_is_told_and_records_wait_until_it_is_right(served, tmp_path, capsys):
    served.script = [(401, {"detail": "show a valid API key"})] * 2
    with logger_to(served.url, spool=tmp_path) as logger:
        log_lines(logger, 3)
        sent_off(logger, served, 3)
    assert served.texts == numbers(3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"penstock: logging to {served.url}: the distributor does not take records:"
        " it answers 401: show a valid API key"
    )


def test_records_wait_for_a_distributor_that_is_not_there_yet(outbox):
    port = free_port()
    with logger_to(f"http://127.0.0.1:{port}", **outbox) as logger:
        log_lines(logger, 500)
        logger.handler.flush(0.2)
        with scripted(port) as served:
            log_lines(logger, 500, 500)
            sent_off(logger, served, 1000)
            assert served.texts == numbers(1000)


# Bounds


def test_flush_tries_a_distributor_that_was_not_there_at_the_last_try(tmp_path):
    port = free_port()
    with logger_to(f"http://127.0.0.1:{port}", spool=tmp_path) as logger:
        logger.info("x")
        for _ in range(6):  # tries with longer and longer pauses
            logger.handler.flush()
        with scripted(port) as served:
            logger.handler.flush()
            assert served.texts == ["x"]
            logger.handler.close()


def test_emit_does_not_wait_for_a_distributor_that_hangs(served, outbox):
    served.gate.clear()
    with logger_to(served.url, **outbox) as logger:
        log_lines(logger, 5000)
        assert served.packets == {}
        served.gate.set()
    assert served.texts == numbers(5000)


def test_what_there_is_no_room_for_is_dropped_counted_and_told_once_a_minute(tmp_path, capsys):
    clock = ManualClock(10**9)
    for room in ({}, {"spool": tmp_path}):
        settings = {"max_queue_bytes": 65_536, "max_spool_bytes": 65_536, "close_timeout": 0.2} | room
        with logger_to(f"http://127.0.0.1:{free_port()}", clock=clock, **settings) as logger:
            for _ in range(3):
                for _ in range(200):
                    logger.info("x" * 1000)
            figures = logger.handler.figures
            assert figures["taken"] + figures["dropped"] == 600
            assert figures["dropped"] >= 400
            (line,) = capsys.readouterr().err.splitlines()
            assert "queue and spool are full; " in line
            clock.advance(60)
            logger.info("y" * 60_000)
            (line,) = capsys.readouterr().err.splitlines()
            assert re.search(r"; (\d+) records dropped since it was last said", line)
        capsys.readouterr()


def test_emit_never_raises(served, monkeypatch, capsys):
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no repr")

        __str__ = __repr__

    with logger_to(served.url) as logger:
        logger.info("%s", Hostile())
        logger.info(Hostile())
        logger.info("%d", "x")
        logger.info("fine", extra={"odd": Hostile()})
        logger.handler.emit(logging.makeLogRecord({"created": None, "levelname": None}))
        logger.handler.emit(object())
        monkeypatch.setattr(sys, "stderr", None)
        logger.handler.emit(object())
    assert "fine" in served.texts
    figures = logger.handler.figures
    assert figures["taken"] + figures["dropped"] == 7
    assert len(served.texts) == figures["taken"]


def test_record_that_logs_while_it_is_formatted_does_not_lock_up(served):
    class Chatty:
        def __str__(self):
            logger.info("inner")
            return "outer"

    with logger_to(served.url) as logger:
        logger.info("%s", Chatty())
    assert served.texts == ["inner", "outer"]


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_threads_that_cannot_be_started_yet_are_started_later(served, outbox, monkeypatch, failing):
    tries, start = [], threading.Thread.start

    def scarce(thread):
        if thread.name.startswith("penstock-logging"):
            tries.append(thread.name)
            if len(tries) in (failing, failing + 1):
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with logger_to(served.url, **outbox) as logger:
        log_lines(logger, 5)
        sent_off(logger, served, 5)
        log_lines(logger, 5, 5)
        sent_off(logger, served, 10)
        assert served.texts == numbers(10)


def test_flush_does_the_work_of_threads_that_cannot_be_started(served, outbox, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("penstock-logging"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with logger_to(served.url, **outbox) as logger:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            log_lines(logger, 5)
            logger.handler.flush(10)
        log_lines(logger, 5, 5)
        logger.handler.flush(10)
    assert served.texts == numbers(10)


def test_room_that_an_earlier_process_uses_comes_back_when_its_records_are_sent(served, tmp_path):
    settings = {"spool": tmp_path, "max_spool_bytes": 65_536}
    with logger_to(f"http://127.0.0.1:{free_port()}", close_timeout=0.1, **settings) as earlier:
        earlier.info("x" * 100_000)
    with logger_to(served.url, **settings) as logger:
        for n in range(20):
            logger.info("%d %s", n, "y" * 20_000)
            sent_off(logger, served, n + 2)
        assert logger.handler.figures["dropped"] == 0
    assert len(served.texts) == 21


def test_record_that_is_larger_than_the_spool_may_be_holds_up_nobody(served, outbox):
    with logger_to(served.url, max_spool_bytes=65_536, **outbox) as logger:
        logger.info("x" * 300_000)
        logger.info("next")
        sent_off(logger, served, 2)
    assert served.texts[1:] == ["next"]


def test_drawer_that_cannot_be_read_holds_up_nobody(served, tmp_path, capsys):
    (tmp_path / "0123456789ab" / "00000001.packets").mkdir(parents=True)
    with logger_to(served.url, spool=tmp_path) as logger:
        logger.info("x")
        sent_off(logger, served, 1)
    assert served.texts == ["x"]
    assert "a drawer of the spool cannot be read: Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize("chunk", [b"-1", b"-5", b"zz", b"fffffffffffffffff"])
def test_answer_of_an_impossible_size_is_none(chunk):
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\nxxxxx")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        posting = Posting(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=5.0)
        with pytest.raises(NoAnswer):
            posting.post(b"[]")
        thread.join()
        posting.close()


def test_close_is_bounded_in_time_and_says_what_is_lost(served, capsys):
    served.gate.clear()
    began = monotonic()
    with logger_to(served.url, close_timeout=0.3) as logger:
        log_lines(logger, 10)
    assert monotonic() - began < 3
    assert "10 records could not be sent in time and are lost" in capsys.readouterr().err


def test_close_does_not_wait_for_a_distributor_that_is_not_there_when_files_keep_the_records(tmp_path):
    port = free_port()
    began = monotonic()
    with logger_to(f"http://127.0.0.1:{port}", spool=tmp_path, close_timeout=60.0) as logger:
        log_lines(logger, 100)
    assert monotonic() - began < 10
    with scripted(port) as served:
        with logger_to(served.url, spool=tmp_path) as logger:
            log_lines(logger, 100, 100)
            sent_off(logger, served, 200)
        assert served.texts == numbers(200), "those of the process before come first"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "ftp://h"}, "url must be an address such as http://127.0.0.1:8080, got 'ftp://h'"),
        ({"url": "http://h/?x"}, "url must be an address"),
        ({"max_queue_bytes": 1}, "max_queue_bytes must be >= 65536, got 1"),
        ({"max_spool_bytes": 0}, "max_spool_bytes must be >= 65536"),
        ({"timeout": 0}, "timeout must be > 0"),
        ({"close_timeout": float("nan")}, "close_timeout must be > 0"),
        ({"linger": -1}, "linger must be >= 0"),
        ({"api_key": ""}, "an API key must be printable ASCII"),
    ],
)
def test_argument_out_of_its_range_is_refused(settings, words):
    with pytest.raises(InvalidValue, match=re.escape(words)):
        DistributorHandler(**{"url": "http://h"} | settings)


@pytest.mark.parametrize("key", ["read-with-its-line-end\n", "schlüssel", "two words"])
def test_key_that_no_header_can_carry_is_refused_and_not_told(key):
    with pytest.raises(InvalidValue, match="an API key must be printable ASCII") as told:
        DistributorHandler("http://h", api_key=key)
    assert key.strip() not in str(told.value)


def test_spool_that_cannot_be_used_is_an_error_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        DistributorHandler("http://h", spool=tmp_path / "file")


# Trouble on our side: processes that end, are killed, fork


def program(body, *arguments):
    """Starts a Python program that has a logger to the URL of its first argument."""
    head = """
        import logging, os, sys, time
        from penstock.services.distributor.client import DistributorHandler
        handler = DistributorHandler(sys.argv[1], spool=sys.argv[2] or None, linger=0.01)
        log = logging.getLogger("shop")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    """
    text = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", text, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process):
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    return out


@pytest.mark.parametrize("spool", [True, False])
def test_program_that_just_ends_has_sent_everything(served, tmp_path, spool):
    body = """
        for i in range(1000):
            log.info("line %d", i)
    """
    ended(program(body, served.url, tmp_path if spool else ""))
    assert served.texts == numbers(1000)


def test_first_record_of_a_program_may_be_its_last(served, tmp_path):
    body = """
        import atexit
        atexit.register(lambda: log.info("goodbye"))
    """
    ended(program(body, served.url, tmp_path))
    assert served.texts == ["goodbye"]


def test_record_may_be_logged_at_any_point_of_the_logging_of_another(served):
    """As a signal handler does, or a destructor that the garbage collector calls."""
    body = """
        watched = ("/client/handler.py", "/client/record_queue.py", "/threading.py", "/queue.py")
        inner, busy = [], []

        def interrupt(frame, event, argument):
            if not frame.f_code.co_filename.endswith(watched):
                return None
            if event == "line" and not busy:
                busy.append(True)
                inner.append(frame.f_lineno)
                log.info("inner")
                busy.clear()
            return interrupt

        sys.settrace(interrupt)
        log.info("outer")
        handler._queue.wanted.clear()
        log.info("outer")
        sys.settrace(None)
        print(len(inner))
    """
    process = program(body, served.url, "")
    try:
        inner = int(ended(process))
    finally:
        process.kill()  # if it is locked up
        process.communicate()
    assert inner > 20
    assert (served.texts.count("inner"), served.texts.count("outer")) == (inner, 2)


def test_killed_program_loses_nothing_that_had_reached_its_files(served, tmp_path):
    body = """
        i = 0
        while True:
            for _ in range(50):
                log.info("line %d", i)
                i += 1
            handler.flush()
            print(i, flush=True)
    """
    safe = 0
    for round_ in range(3):
        served.packets.clear()
        port = free_port()
        process = program(body, f"http://127.0.0.1:{port}", tmp_path)
        for _ in range(5 + round_):
            safe = int(process.stdout.readline())
        process.kill()
        process.communicate(timeout=30)
        with logger_to(served.url, spool=tmp_path) as logger:
            logger.info("next")
            deadline = monotonic() + 30
            while "next" not in served.texts and monotonic() < deadline:
                logger.handler.flush(1)
        *texts, last = served.texts
        assert last == "next"
        assert texts == numbers(len(texts)), "in order, none twice, none left out"
        assert len(texts) >= safe
    assert list(tmp_path.iterdir()) == []


def test_kill_in_the_middle_of_sending_doubles_nothing(served, tmp_path):
    body = """
        i = 0
        while True:
            log.info("line %d", i)
            i += 1
            if i % 200 == 0:
                print(i, flush=True)
                time.sleep(0.001)
    """
    for rounds in range(3):
        served.packets.clear()
        process = program(body, served.url, tmp_path)
        for _ in range(20 + 7 * rounds):
            process.stdout.readline()
        process.kill()
        process.communicate(timeout=30)
        with logger_to(served.url, spool=tmp_path) as logger:
            logger.info("next")
            deadline = monotonic() + 30
            while "next" not in served.texts and monotonic() < deadline:
                logger.handler.flush(1)
        *texts, last = served.texts
        assert last == "next"
        assert texts == numbers(len(texts))
        assert texts


def test_forked_children_send_their_own_records_and_nobody_s_twice(served, tmp_path):
    body = """
        for i in range(300):
            log.info("before %d", i)
        children = []
        for n in range(3):
            if not (pid := os.fork()):
                for i in range(300):
                    log.info("child%d %d", n, i)
                logging.shutdown()
                os._exit(0)
            children.append(pid)
        for i in range(300):
            log.info("after %d", i)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
    """
    for spool in ("", tmp_path):
        served.packets.clear()
        ended(program(body, served.url, spool))
        for name in ("before", "child0", "child1", "child2", "after"):
            assert [text for text in served.texts if text.startswith(f"{name} ")] == [
                f"{name} {i}" for i in range(300)
            ]
        assert len(served.texts) == 1500
    assert list(tmp_path.iterdir()) == []


def test_processes_share_a_folder_and_send_what_a_killed_one_left(served, tmp_path):
    offline = f"http://127.0.0.1:{free_port()}"
    body = """
        log.info(sys.argv[3])
        handler.flush()
        print("flushed", flush=True)
        time.sleep(60)
    """
    processes = [program(body, offline, tmp_path, f"p{n}") for n in range(3)]
    try:
        for process in processes:
            assert process.stdout.readline() == "flushed\n"
        processes[0].kill()
        processes[0].wait()
        with logger_to(served.url, spool=tmp_path) as logger:
            logger.info("next")
            logger.handler.flush(20)
        assert served.texts == ["p0", "next"], "the others live"
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=30)


@pytest.fixture
def hanging():
    """A server that begins an answer, and sets its `event` then, but does not end it."""
    event, ended = threading.Event(), threading.Event()

    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{")
            event.set()
            ended.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", event
        ended.set()
        thread.join()


def test_fork_while_an_answer_is_read_does_not_lock_up_the_child(hanging):
    url, event = hanging
    with logger_to(url, close_timeout=0.1, timeout=1.0) as logger:
        logger.info("x")
        assert event.wait(10)
        threading.Event().wait(0.05)  # the thread reads what does not come
        child = os.fork()
        if child == 0:
            os._exit(0)
        deadline = monotonic() + 10
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail("the child does not get out of fork")
            threading.Event().wait(0.01)
    for thread in threading.enumerate():
        if thread.name.startswith("penstock-logging"):
            thread.join(10)


# With a real distributor


def in_file(path):
    """The texts that an analyzer that is a file got, in its order; a line that is being written not yet."""
    if not path.exists():
        return []
    lines = path.read_bytes().rpartition(b"\n")[0]
    return [message["message"] for line in lines.splitlines() for message in json.loads(line)["messages"]]


async def test_all_records_arrive_once_at_a_real_distributor_that_stops_and_starts_again(tmp_path):
    port = free_port()
    arrived = tmp_path / "arrived.ndjson"
    settings = {
        "port": port, "durability": "os", "linger": 0,
        "api_keys": [{"name": "shop", "key": "shop-key-0123456789"}],
        "analyzers": [{"id": "file", "url": f"file://{arrived}"}],
    }  # fmt: skip
    third = RECORDS // 3
    with logger_to(
        f"http://127.0.0.1:{port}", spool=tmp_path / "spool", linger=0.05, api_key="shop-key-0123456789"
    ) as logger:
        await asyncio.to_thread(log_lines, logger, third)
        async with distributor(tmp_path, settings) as process:
            await asyncio.to_thread(log_lines, logger, third, third)
            await asyncio.to_thread(logger.handler.flush, 30)
            process.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(log_lines, logger, third, 2 * third)
            assert await process.ended() == 0
        async with distributor(tmp_path, settings):
            async with asyncio.timeout(120):
                while len(in_file(arrived)) < 3 * third:
                    await asyncio.to_thread(logger.handler.flush, 5)
        assert logger.handler.figures["dropped"] == 0
    assert in_file(arrived) == numbers(3 * third)
