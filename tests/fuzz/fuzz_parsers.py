"""Fuzzes the parsers of bytes from outside: none may crash, hang, fill the memory or break a promise.

    python tests/fuzz/fuzz_parsers.py --cases 10000000 --total --jobs 2
    python tests/fuzz/fuzz_parsers.py --parser ndjson --seed 7 --first 12345 --cases 1     one case again

Cases are mutants of valid inputs. A case depends on parser, seed and number alone; one that fails is printed
with what brings it again, and kept in build/fuzz.
"""

import argparse
import multiprocessing
import resource
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fuzz.parsers import PARSERS
from fuzz.parsing import Mutator, little_memory

KEPT = Path(__file__).parents[2] / "build" / "fuzz"
CHUNK = 2000
"""Cases between two looks at the memory."""
SLOW = 1.0
"""Seconds that a case may take; it has a second chance, as the machine may have been busy."""
MOST_GROWTH = 128 * 1024
"""KiB by which the memory of the process may grow once it has warmed up."""


class Broken(Exception):
    """A case that fails."""


def run_chunk(name: str, seed: int, first: int, count: int) -> int:
    """Runs cases of a parser; how many KiB the process has taken at the most."""
    parser = PARSERS[name]
    run = parser.run
    for number, data in Mutator(parser, seed).cases(first, count):
        started = time.perf_counter()
        try:
            run(data)
            if time.perf_counter() - started > SLOW and seconds_of(run, data) > SLOW:
                raise TimeoutError(f"it takes more than {SLOW:g} s")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Broken(told(name, seed, number, data)) from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seconds_of(run, data: bytes) -> float:
    started = time.perf_counter()
    run(data)
    return time.perf_counter() - started


def told(name: str, seed: int, number: int, data: bytes) -> str:
    KEPT.mkdir(parents=True, exist_ok=True)
    file = KEPT / f"{name}-{seed}-{number}"
    file.write_bytes(data)
    again = f"python tests/fuzz/fuzz_parsers.py --parser {name} --seed {seed} --first {number} --cases 1"
    return f"{traceback.format_exc()}\n{data!r}\n\n{again}\nkept in {file}"


def run_task(task: tuple[str, int, int, int]) -> tuple[str, int, int, float, str]:
    """For a pool: name, cases, memory in KiB, seconds of work, and what went wrong."""
    name, seed, first, count = task
    started = time.process_time()
    try:
        with little_memory():
            memory = run_chunk(name, seed, first, count)
    except Broken as broken:
        return name, count, 0, 0.0, str(broken)
    return name, count, memory, time.process_time() - started, ""


def chunks(names: list[str], seed: int, first: int, cases: int):
    """The parsers in turn, so that each of them is soon known to be all right, or not."""
    for start in range(first, first + cases, CHUNK):
        for name in names:
            yield name, seed, start, min(CHUNK, first + cases - start)


def main() -> int:
    options = arguments()
    names = options.parser or list(PARSERS)
    console = Console(stderr=True)
    each = -(-options.cases // len(names)) if options.total else options.cases
    work, memory, first_memory = dict.fromkeys(names, 0.0), 0, 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started = time.perf_counter()
    with (
        multiprocessing.get_context("spawn").Pool(options.jobs) as pool,
        Progress(*columns, console=console) as progress,
    ):
        bar = progress.add_task("fuzzing", total=each * len(names), rate="")
        done = 0
        for name, count, peak, seconds, wrong in pool.imap_unordered(
            run_task, chunks(names, options.seed, options.first, each)
        ):
            if wrong:
                progress.stop()
                console.print(wrong, markup=False, highlight=False)
                return 1
            done += count
            work[name] += seconds
            memory = max(memory, peak)
            if done >= len(names) * CHUNK and not first_memory:
                first_memory = memory
            rate = f"{done / (time.perf_counter() - started):,.0f}/s"
            progress.update(bar, advance=count, rate=rate)
    growth = memory - (first_memory or memory)
    for name in names:
        console.print(
            f"{name:20} {each:>12,} cases {1e6 * work[name] / each:6.1f} us a case", highlight=False
        )
    seconds = time.perf_counter() - started
    result = f"seed {options.seed}: {done:,} cases, none failed, in {seconds:,.0f} s"
    console.print(f"{result}; at most {memory >> 10} MiB in a process", highlight=False)
    if growth > MOST_GROWTH:
        console.print(
            f"memory must stay within {MOST_GROWTH >> 10} MiB of what it was, grew by {growth >> 10} MiB"
        )
        return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=100_000, help="of each parser")
    parser.add_argument("--total", action="store_true", help="--cases of all parsers together")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() // 10**9 % 10**6, help="random unless given"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--parser", action="append", choices=sorted(PARSERS), help="this one alone; repeatable"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
