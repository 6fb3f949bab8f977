"""A write-back cache is killed with writes that its store never had; its journal still has them."""

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from penstock.cache import SQLiteStore, WriteBackCache


async def write_until_killed(folder: Path) -> None:
    store: SQLiteStore[str, int] = SQLiteStore(folder / "store.sqlite3")
    async with WriteBackCache(store, journal=folder / "journal", flush_interval=0.2) as cache:
        for visits in range(1, 1_000_000):
            await cache.set("visits", visits)
            print(visits, flush=True)


async def main(folder: Path) -> None:
    command = [sys.executable, __file__, str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 500:
            break
    child.kill()
    acknowledged = [line, *child.stdout][-1].strip()
    child.stdout.close()
    child.wait()
    print(f"killed after visits = {acknowledged} was acknowledged")

    async with SQLiteStore[str, int](folder / "store.sqlite3") as store:
        print(f"the store has {await store.get_many(['visits']) or 'nothing'}")
        start = time.perf_counter()
        async with WriteBackCache(store, journal=folder / "journal") as cache:
            took = (time.perf_counter() - start) * 1000
            print(f"started again in {took:.0f} ms, {cache.stats().replayed} key replayed")
            print(f"visits = {await cache.get('visits')}, for one more may have been on its way")
        print(f"the store has {await store.get_many(['visits'])}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(write_until_killed(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(main(Path(folder)))
