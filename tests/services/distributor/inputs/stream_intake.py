"""An intake that keeps what it is given in a list, knows ids of packets again, and refuses when told to."""

import asyncio
import json
from contextlib import suppress

from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.config import Config
from penstock.services.distributor.records import RecordBundler, RecordsReceipt
from services.distributor.inputs.arrival import SECONDS


class Everywhere:
    trivial = True


class ListingIntake:
    def __init__(self, config=None):
        self.messages = []
        self.ids = []  # of every attempt
        self.sizes = []  # records of each
        self.refusing = 0  # attempts that are still to be refused
        self.fails_after_storing = 0  # attempts after which it says so although it has stored
        self.is_open = asyncio.Event()  # while clear, attempts wait
        self.is_open.set()
        self.came = asyncio.Event()
        self._known = set()
        self._bundler = RecordBundler(config or Config(), Everywhere())

    @property
    def texts(self):
        return [message["message"] for message in self.messages]

    async def accept_records(self, records, *, ids=None, limit=None):
        self.ids.append(ids)
        self.sizes.append(len(records))
        self.came.set()
        await self.is_open.wait()
        if self.refusing:
            self.refusing -= 1
            raise NotStored("10 packets are waiting already, the most that are held", 7)
        packets, refused = self._bundler.bundle(records, ids)
        for packet in packets:
            if packet.id not in self._known:
                self._known.add(packet.id)
                self.messages += json.loads(packet.body)["messages"]
        self.came.set()
        if self.fails_after_storing:
            self.fails_after_storing -= 1
            raise NotStored("the packets were not stored within 1 s", 0)
        return RecordsReceipt(len(records) - len(refused), refused, [packet.id for packet in packets])

    async def has(self, count):
        """Returns once so many messages have come."""
        async with asyncio.timeout(30):
            while len(self.messages) < count:
                self.came.clear()
                await self.came.wait()

    async def is_asked(self, times):
        """Returns once so many attempts were made."""
        async with asyncio.timeout(30):
            while len(self.ids) < times:
                self.came.clear()
                await self.came.wait()


async def all_arrive(arrival, lines):
    """Waits for lines that are still on their way from a client, which has no answer to wait for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while len(arrival.messages) < len(lines):
                await asyncio.sleep(0.01)
    await arrival.is_complete(lines)
