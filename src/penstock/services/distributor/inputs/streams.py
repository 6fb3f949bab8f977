"""The inputs that are no part of the HTTP service, as one: syslog, forward, and files that are followed."""

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from penstock.clock import Clock, monotonic_ns
from penstock.services.distributor.config import Config, listen_address
from penstock.services.distributor.inputs.forward_server import ForwardServer
from penstock.services.distributor.inputs.intake import Intake
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.storing import Storing
from penstock.services.distributor.inputs.syslog_server import SyslogOverTcp, SyslogOverUdp
from penstock.services.distributor.inputs.tail import Tails

__all__ = ["StreamInputs"]


class Listener(Protocol):
    """An input that listens at an address."""

    async def start(self, host: str, port: int) -> None:
        """Begins to listen."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""

    async def aclose(self, within: float) -> None:
        """Ends, within about so many seconds."""


class StreamInputs:
    """Syslog, forward and tails, of which each stands in the configuration or is not there.

    Close it before the intake refuses, so that what was read off the wire can be stored.

    Args:
        config: which there are.
        intake: stores what they read.
        folder: where tails remember how far they have come; None: they do not.
        ssl: what clients over TCP are shown; None: plain TCP.
        clock: nanoseconds.
        wall: Unix time.
    """

    def __init__(
        self,
        config: Config,
        intake: Intake,
        *,
        folder: Path | None,
        ssl: ssl.SSLContext | None = None,
        clock: Clock = monotonic_ns,
        wall: Callable[[], float] = time.time,
    ) -> None:
        lengths = RecordLengths(config)
        self._timeout = config.drain_timeout
        self._storings: dict[str, Storing] = {}
        self._listeners: dict[str, tuple[Listener, tuple[str, int]]] = {}
        self._started: list[str] = []
        self._tails: Tails | None = None

        def storing(name: str) -> Storing:
            self._storings[name] = Storing(name, intake)
            return self._storings[name]

        if address := listen_address(config.syslog_tcp, "syslog_tcp"):
            tcp = SyslogOverTcp(
                storing("syslog_tcp"), lengths, most_held=config.max_receiving_bytes, tls=ssl, clock=clock,
                wall=wall,
            )  # fmt: skip
            self._listeners["syslog_tcp"] = tcp, address
        if address := listen_address(config.syslog_udp, "syslog_udp"):
            udp = SyslogOverUdp(storing("syslog_udp"), lengths, wall=wall)
            self._listeners["syslog_udp"] = udp, address
        if address := listen_address(config.forward, "forward"):
            forward = ForwardServer(
                storing("forward"), lengths, most_message=config.max_body_bytes,
                most_held=config.max_receiving_bytes, message_timeout=config.body_timeout,
                shared_key=config.forward_shared_key, tls=ssl,
            )  # fmt: skip
            self._listeners["forward"] = forward, address
        if config.tail:
            self._storings["tail"] = Storing("tail", intake, can_read_again=True)
            self._tails = Tails(
                config.tail, self._storings["tail"], lengths, folder=folder, clock=clock, wall=wall
            )

    async def start(self) -> None:
        """Begins to take records.

        Raises:
            OSError: an address cannot be listened at, and none is; its text names the setting.
        """
        try:
            for name, (listener, (host, port)) in self._listeners.items():
                try:
                    await listener.start(host, port)
                except OSError as error:
                    number = error.errno or 0
                    reason = os.strerror(number).lower() if number > 0 else error.strerror
                    raise OSError(number, f"{name} cannot listen at {host}:{port}: {reason}") from error
                self._started.append(name)
            if self._tails is not None:
                await self._tails.start()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Ends; what was read is stored unless that takes longer than `drain_timeout`."""
        closing = [self._listeners[name][0].aclose(self._timeout) for name in self._started]
        if self._tails is not None:
            closing.append(self._tails.aclose(self._timeout))
        self._started = []
        await asyncio.gather(*closing)

    def addresses(self) -> dict[str, str]:
        """Where the inputs listen that do, as HOST:PORT."""
        found = {}
        for name in self._started:
            host, port = self._listeners[name][0].address
            found[name] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return found

    def figures(self) -> dict[str, dict[str, int]]:
        """By input: records received, stored, refused and dropped; datagrams lost; open connections."""
        return {name: storing.figures.as_dict() for name, storing in self._storings.items()}
