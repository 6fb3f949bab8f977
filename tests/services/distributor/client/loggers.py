"""Loggers whose records go to a distributor, and what tests write with them."""

import logging
from contextlib import contextmanager
from time import monotonic

from penstock.services.distributor.client import DistributorHandler


@contextmanager
def logger_to(url, **settings):
    """A logger whose only handler sends to this distributor; closed at the end."""
    handler = DistributorHandler(url, **{"linger": 0.0, "timeout": 30.0, "close_timeout": 60.0} | settings)
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    logger.handler = handler
    try:
        yield logger
    finally:
        handler.close()


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
