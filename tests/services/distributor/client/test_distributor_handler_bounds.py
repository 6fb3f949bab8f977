"""The handler for logging: it never blocks, raises or grows without bound, and what it drops is counted."""

import logging
import re
import socket
import sys
import threading
from time import monotonic

import pytest

from penstock.clock import ManualClock
from penstock.errors import InvalidValue
from penstock.services.distributor.client import DistributorHandler
from penstock.services.distributor.client.posting import NoAnswer, Posting
from ports import free_port
from services.distributor.client.loggers import log_lines, logger_to, numbers, sent_off
from services.distributor.client.scripted import scripted


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
            said = []
            while not said:  # what is in the sender's hands makes room for some more
                logger.info("y" * 60_000)
                said = capsys.readouterr().err.splitlines()
            (line,) = said
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
    with logger_to(served.url, timeout=300.0, close_timeout=0.3) as logger:
        log_lines(logger, 10)
        (handler,) = logger.handlers
    assert monotonic() - began < 60
    assert "not sent in time, so lost: 10 records" in capsys.readouterr().err
    assert handler.figures["dropped"] == 10


def test_close_does_not_wait_for_a_distributor_that_is_not_there_when_files_keep_the_records(tmp_path):
    port = free_port()
    began = monotonic()
    with logger_to(f"http://127.0.0.1:{port}", spool=tmp_path, close_timeout=600.0) as logger:
        log_lines(logger, 100)
    assert monotonic() - began < 60
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
