"""The handler for logging in processes that end, are killed and fork, and with a real distributor."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from time import monotonic

import pytest

from ports import free_port
from services.distributor.client.loggers import log_lines, logger_to, numbers
from services.distributor.processes import distributor

RECORDS = int(os.environ.get("PENSTOCK_RECORDS", "10000"))


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


def sent_by_the_next_process(served, spool):
    """What was left in the files, sent by whoever uses them next, before what that logs itself."""
    with logger_to(served.url, spool=spool) as logger:
        logger.info("next")
        deadline = monotonic() + 30
        while "next" not in served.texts and monotonic() < deadline:
            logger.handler.flush(1)
    *texts, last = served.texts
    assert last == "next"
    return texts


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
        texts = sent_by_the_next_process(served, tmp_path)
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
        texts = sent_by_the_next_process(served, tmp_path)
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
