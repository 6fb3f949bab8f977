"""Requests over three servers, the third twice as strong: in turn, to the least busy, and by weight.

Then a server that fails is left out for a while, and one is drained to be shut down.
"""

import asyncio
import random

from penstock.balancing import (
    Balancer,
    ExactWeighted,
    Lease,
    LeastConnections,
    NoMemberUp,
    OutlierDetection,
    Policy,
    RoundRobin,
)

SERVERS = {"server-1": 1, "server-2": 1, "server-3": 2}


async def handle(lease: Lease[str]) -> None:
    with lease:
        await asyncio.sleep(random.randint(1, 10) / 1000)


async def simulate(policy: Policy[str], requests: int) -> None:
    balancer = Balancer(SERVERS, policy=policy)
    async with asyncio.TaskGroup() as running:
        for _ in range(requests):
            running.create_task(handle(balancer.pick()))
            await asyncio.sleep(0.001)
    figures = balancer.stats()
    print(f"  distribution: { {name: of.picks for name, of in figures.items()} }")
    print(f"  active now:   { {name: of.active for name, of in figures.items()} }")


def fail_and_recover() -> None:
    balancer = Balancer(SERVERS, policy=RoundRobin(), outliers=OutlierDetection(consecutive_failures=3))
    for _ in range(12):
        with balancer.pick() as lease:
            lease.release("connection refused" if lease.member == "server-2" else None)
    print(f"  still up: {', '.join(balancer.up)}; server-2 is {balancer.stats()['server-2'].status}")


async def shut_down_one() -> None:
    balancer = Balancer(SERVERS, policy=RoundRobin())
    work = asyncio.create_task(handle(balancer.pick()))
    balancer.drain("server-1")
    await balancer.drained("server-1")
    balancer.remove("server-1")
    await work
    print(f"  members: {', '.join(balancer.members)}")


def without_servers() -> None:
    try:
        Balancer({}).pick()
    except NoMemberUp as error:
        print(f"  no servers: {error}")
    try:
        Balancer({"server-1": 0})
    except ValueError as error:
        print(f"  no weight:  {error}")


async def main() -> None:
    print("round robin, 30 requests")
    await simulate(RoundRobin(), 30)
    print("least connections, 30 requests")
    await simulate(LeastConnections(), 30)
    print("weighted, 40 requests")
    await simulate(ExactWeighted(), 40)
    print("a server fails")
    fail_and_recover()
    print("a server is shut down")
    await shut_down_one()
    print("what cannot be")
    without_servers()


if __name__ == "__main__":
    asyncio.run(main())
