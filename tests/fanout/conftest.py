"""Every async test of the fan-outs runs on the default loop, and on uvloop where that is installed."""

import asyncio

import pytest

LOOPS = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.hookimpl(optionalhook=True)  # pytest-asyncio has it since 1.4; older ones run the default loop alone
def pytest_asyncio_loop_factories(config, item):
    return LOOPS
