"""The event loop of the services: uvloop where it is installed, else asyncio's own."""

import asyncio
import gc
import sys
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any

__all__ = ["run"]

SWITCH_INTERVAL = 0.0005
"""Seconds after which a busy event loop lets another thread have the GIL; the spool's thread waits for it."""


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.freeze()  # what has been loaded stays: walking through it takes the collector 20 to 90 ms each time
    if find_spec("uvloop") is None:
        asyncio.run(work)
    else:
        import uvloop

        uvloop.run(work)
