"""Producers that send under all conditions, and write down what they were promised."""

import asyncio
import json

import aiohttp

from services.distributor.torture.oracle import packet_of

SIZES = (1, 1, 10, 40)
PAUSE = 0.05
"""Seconds after a refusal."""


class Producer:
    """Sends packets, half of the requests with ids of its own: those it sends again until they are answered.

    What was sent without ids and not answered is nobody's promise; it may arrive or not.

    Args:
        oracle: hands out tokens and is told of promises.
        dice: decide on the requests.
        name: makes its ids different from those of others.
    """

    def __init__(self, oracle, dice, name):
        self._oracle = oracle
        self._dice = dice
        self._name = name
        self._unanswered = []

    async def produce(self, session, url):
        """Sends until it is cancelled."""
        while True:
            if not await self.send(session, url, self._unanswered or self._next_request()):
                await asyncio.sleep(PAUSE)

    async def finish(self, session, url):
        """Sends what is unanswered until it is."""
        while self._unanswered:
            if not await self.send(session, url, self._unanswered):
                await asyncio.sleep(PAUSE)

    def _next_request(self):
        has_ids = self._dice.random() < 0.5
        tokens = [self._oracle.next_token() for _ in range(self._dice.choice(SIZES))]
        return [(token, f"{self._name}-{token}" if has_ids else None) for token in tokens]

    async def send(self, session, url, request):
        """One request; tells whether all of it was taken."""
        self._unanswered = [pair for pair in request if pair[1] is not None]
        body = json.dumps([packet_of(*pair) for pair in request])
        headers = {"Content-Type": "application/json"}
        try:
            async with session.post(f"{url}/api/v1/logs", data=body, headers=headers) as answer:
                said = json.loads(await answer.read())
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False
        if answer.status not in (202, 207):
            if answer.status not in (429, 503):
                self._oracle.surprises.append(f"{answer.status} {said}"[:500])
            return False
        refused = {error["index"] for error in said.get("errors", ())}
        taken = [pair for index, pair in enumerate(request) if index not in refused]
        if len(taken) != len(said["processed_packets"]):
            self._oracle.surprises.append(f"{answer.status} {said}"[:500])
        self._oracle.obligations.update(token for token, _ in taken)
        self._unanswered = [pair for pair in self._unanswered if pair not in taken]
        return not refused
