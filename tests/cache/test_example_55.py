"""Example 55 of the system design examples, as a whole program on a loop whose time jumps.

What it must print is what the Go program prints when its own steps take no time: the database takes 20 ms a
write, everything else nothing.
"""

import asyncio

from penstock.cache.write_back import WriteBackCache
from penstock.cache.write_through import WriteThroughCache
from penstock.clock import ManualClock
from virtual_time import run_in_virtual_time

EXAMPLE_55 = """\
=== Write-Through (strong consistency) ===
  Write key:0: 20.0ms
  Write key:1: 20.0ms
  Write key:2: 20.0ms
  Avg write latency: 20.0ms
  DB writes completed: 3

=== Write-Back (low latency, async flush) ===
  Write key:0: 0.0000ms
  Write key:1: 0.0000ms
  Write key:2: 0.0000ms
  Avg write latency: 0.0000ms
  DB writes completed immediately: 0
  DB writes completed after flush: 3

=== Trade-off summary ===
  Write-through: 20.0ms/write, zero data loss risk
  Write-back:    0.0000ms/write, flush latency data loss risk
"""


class SlowDatabase:
    """Takes 20 ms to write an entry and 5 ms to read one."""

    def __init__(self):
        self.entries = {}
        self.write_count = 0

    async def get_many(self, keys):
        await asyncio.sleep(0.005 * len(keys))
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def set_many(self, items):
        for key, value in items.items():
            await asyncio.sleep(0.020)
            self.entries[key] = value
            self.write_count += 1

    async def delete_many(self, keys):
        for key in keys:
            self.entries.pop(key, None)

    async def aclose(self):
        pass


async def program(clock):
    async def timed(work):
        start = clock.now
        await work
        return (clock.now - start) / 1e6

    db1, db2 = SlowDatabase(), SlowDatabase()
    wt_cache = WriteThroughCache(db1)
    wb_cache = WriteBackCache(db2, flush_interval=0.05, clock=clock)
    await wb_cache.start()

    print("=== Write-Through (strong consistency) ===")
    wt_times = []
    for i in range(3):
        latency = await timed(wt_cache.set(f"key:{i}", f"value:{i}"))
        wt_times.append(latency)
        print(f"  Write key:{i}: {latency:.1f}ms")
    avg_wt = sum(wt_times) / len(wt_times)
    print(f"  Avg write latency: {avg_wt:.1f}ms")
    print(f"  DB writes completed: {db1.write_count}")

    print("\n=== Write-Back (low latency, async flush) ===")
    wb_times = []
    for i in range(3):
        latency = await timed(wb_cache.set(f"key:{i}", f"value:{i}"))
        wb_times.append(latency)
        print(f"  Write key:{i}: {latency:.4f}ms")
    avg_wb = sum(wb_times) / len(wb_times)
    print(f"  Avg write latency: {avg_wb:.4f}ms")
    print(f"  DB writes completed immediately: {db2.write_count}")

    await asyncio.sleep(0.2)
    print(f"  DB writes completed after flush: {db2.write_count}")

    await wb_cache.aclose()

    print("\n=== Trade-off summary ===")
    print(f"  Write-through: {avg_wt:.1f}ms/write, zero data loss risk")
    print(f"  Write-back:    {avg_wb:.4f}ms/write, flush latency data loss risk")
    return db1, db2


def test_caches_print_what_example_55_prints(capsys):
    clock = ManualClock()
    db1, db2 = run_in_virtual_time(program(clock), clock)
    assert capsys.readouterr().out.splitlines() == EXAMPLE_55.splitlines()
    assert db1.entries == db2.entries == {f"key:{i}": f"value:{i}" for i in range(3)}
