"""How a service learns that it is to stop."""

import asyncio
import signal

__all__ = ["stop_signal"]


def stop_signal() -> asyncio.Future[None]:
    """A future that the next SIGTERM or SIGINT completes. Must be called in the main thread."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not told.done():
            told.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    return told
