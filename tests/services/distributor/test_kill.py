"""What `kill -9` may not do: nothing acknowledged is lost, and little is delivered twice.

A producer writes down what was acknowledged (its obligations), analyzers write down what they have
processed, and a judge compares the two. The seed of a failing run is in its message.
"""

import asyncio
import os
import random
from itertools import count

import aiohttp

from services.distributor.processes import Books, all_delivered, analyzers, distributor

ROUNDS = int(os.environ.get("PENSTOCK_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("PENSTOCK_KILL_SEED", "0")) or random.randrange(1, 10**9)

WEIGHTS = {"a1": 0.4, "a2": 0.3, "a3": 0.2, "a4": 0.1}
SETTINGS = {
    "batch_packets": 50,
    "concurrency": 2,
    "retry_first": 0.05,
    "linger": 0.002,
    "accept_timeout": 30,  # a slow disk is no failure here
}
IN_FLIGHT_AT_MOST = len(WEIGHTS) * SETTINGS["concurrency"] * SETTINGS["batch_packets"]
CONNECTIONS = 8


class Producer:
    """Sends packets with ids of its own; sends again, with the same ids, what was not answered."""

    def __init__(self):
        self.numbers = count()
        self.acknowledged = set()
        self.unanswered = []

    def next_request(self, size):
        if self.unanswered:
            return self.unanswered.pop()
        return [f"p{next(self.numbers)}" for _ in range(size)]

    async def produce(self, session, url, sizes):
        """Sends until the connection fails."""
        while True:
            ids = self.next_request(sizes.choice((1, 1, 10, 100)))
            packets = [{"id": id_, "messages": [{"message": f"log line of {id_}"}]} for id_ in ids]
            try:
                async with session.post(f"{url}/api/v1/logs", json=packets) as answer:
                    body = await answer.json(content_type=None)
                    assert answer.status == 202, body
                    self.acknowledged.update(body["processed_packets"])
            except (TimeoutError, aiohttp.ClientError, OSError):
                self.unanswered.append(ids)
                return


async def test_twenty_kills_under_load_lose_nothing_and_duplicate_little(tmp_path):
    """Shown by 4. Rounds run with durability fsync and os in turn: a kill must not matter to either."""
    dice = random.Random(SEED)
    books, producer = Books(), Producer()
    books.fails = lambda id_, retry_count: retry_count == 0 and hash_of(id_) % 50 == 0  # 2 %, once
    duplicates = 0
    async with analyzers(books, WEIGHTS) as fleet:
        settings = SETTINGS | {"analyzers": fleet}
        for round_ in range(ROUNDS):
            durability = ("os", "fsync")[round_ % 2]
            async with distributor(tmp_path, settings, "--durability", durability) as process:
                await load_until_killed(producer, process, dice)
            before, duplicates = duplicates, sum(books.processed.values()) - len(books.processed)
            assert duplicates - before <= IN_FLIGHT_AT_MOST, f"round {round_}, seed {SEED}"

        async with (
            distributor(tmp_path, settings) as process,
            aiohttp.ClientSession() as session,
        ):
            figures = await all_delivered(session, process.url)

    lost = producer.acknowledged - set(books.processed)
    assert not lost, f"{len(lost)} acknowledged packets lost, seed {SEED}: {sorted(lost)[:5]}"
    assert figures["conservation_error"] == 0
    assert figures["dead"] == 0
    assert len(producer.acknowledged) > 100 * ROUNDS, "too little load to prove anything"
    duplicates = sum(books.processed.values()) - len(books.processed)
    assert duplicates <= ROUNDS * IN_FLIGHT_AT_MOST, f"seed {SEED}"
    assert figures["accepted"] >= len(producer.acknowledged)
    print(
        f"{ROUNDS} kills, {len(producer.acknowledged)} acknowledged, {len(lost)} lost, "
        f"{duplicates} delivered twice, seed {SEED}"
    )


async def load_until_killed(producer, process, dice):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        producing = [
            asyncio.create_task(producer.produce(session, process.url, random.Random(dice.random())))
            for _ in range(CONNECTIONS)
        ]
        await asyncio.sleep(dice.uniform(0.05, 0.6))
        process.kill()
        await asyncio.gather(*producing)
        await process.ended()


def hash_of(id_):
    return int(id_[1:]) * 2654435761 % 2**32
