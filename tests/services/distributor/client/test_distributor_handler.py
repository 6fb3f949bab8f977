"""The handler for logging: what it took arrives once and in order, whatever the distributor does."""

import logging
import logging.config
import ssl
import threading
from contextlib import contextmanager
from time import monotonic

import trustme

from ports import free_port
from services.distributor.client.loggers import log_lines, logger_to, numbers, sent_off
from services.distributor.client.scripted import scripted, some, taken

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
