"""Torments distributors for as many rounds as it is told, says how it goes, and writes it down.

usage: python tests/services/distributor/torture/torture.py --rounds 100 --seed 7
"""

import argparse
import math
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

TESTS = Path(__file__).parents[3]
ROOT = TESTS.parent
if str(TESTS) not in sys.path:  # started as a program, not by pytest
    sys.path.insert(0, str(TESTS))

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402

from services.distributor.torture.faults import library  # noqa: E402
from services.distributor.torture.ledger import Total, row_of, with_row  # noqa: E402
from services.distributor.torture.rounds import run_round  # noqa: E402

PAGE = ROOT / "docs" / "reliability.md"


def judgements(seeds, jobs, folder, seconds=math.inf):
    """Runs a round for every seed, so many at a time; the judgement or the error of each as it ends.

    Those that have not begun after so many seconds are not run.
    """
    until = monotonic() + seconds
    library(folder)  # before there are several who would build it
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {
            pool.submit(run_round, seed, folder / str(seed), folder, dict(os.environ)): seed for seed in seeds
        }
        for done in as_completed(running):
            if monotonic() > until:
                for waiting in running:
                    waiting.cancel()
            if done.cancelled():
                continue
            seed = running[done]
            yield seed, done.exception() or done.result()
            if done.exception() is None and not done.result().wrong:
                shutil.rmtree(folder / str(seed))


def main():
    arguments = arguments_of(sys.argv[1:])
    console = Console()
    first = arguments.seed or random.randrange(1, 10**9)
    seeds = range(first, first + arguments.rounds)
    console.print(f"{arguments.rounds} rounds, seeds {first} to {seeds[-1]}, {arguments.jobs} at a time")
    folder = Path(tempfile.mkdtemp(prefix="penstock-torture-"))
    total = run(seeds, arguments.jobs, folder, console)
    tell(total, console)
    if total.failed:
        console.print(f"what is left of the rounds that failed: {folder}")
        sys.exit(1)
    shutil.rmtree(folder)
    if not arguments.no_ledger:
        page = PAGE.read_text()
        day = datetime.now(UTC).date().isoformat()
        PAGE.write_text(with_row(page, row_of(total, day, commit(), first)))
        console.print(f"written down in {PAGE.relative_to(ROOT)}")


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; 0: any")
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time")
    parser.add_argument("--no-ledger", action="store_true", help="leave docs/reliability.md as it is")
    return parser.parse_args(words)


def run(seeds, jobs, folder, console):
    total = Total()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("torture", total=len(seeds), figures="")
        for seed, judgement in judgements(seeds, jobs, folder):
            if isinstance(judgement, BaseException):
                total.rounds += 1
                total.failed[seed] = [f"the round did not end: {judgement!r}"]
            else:
                total.add(judgement)
            if seed in total.failed:
                progress.console.print(
                    f"[red]seed {seed}:[/] {'; '.join(total.failed[seed])}", soft_wrap=True
                )
            figures = f"{total.acknowledged:,} acknowledged, {total.lost} lost, {total.duplicated:,} twice"
            progress.update(bar, advance=1, figures=figures)
            if not console.is_terminal and total.rounds % 10 == 0:
                console.print(f"{total.rounds} of {len(seeds)} rounds: {figures}", soft_wrap=True)
    return total


def tell(total, console):
    faults = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(total.faults.items()))
    console.print(
        f"{total.rounds} rounds: {total.acknowledged:,} packets acknowledged, {total.lost} lost, "
        f"{total.dead:,} dead letters, {total.duplicated:,} delivered once more; a fresh packet took "
        f"{total.slowest:.1f} s at the most. {faults}.",
        soft_wrap=True,
    )
    for seed, wrong in total.failed.items():
        console.print(f"[red]failed, seed {seed}:[/] {'; '.join(wrong)}", soft_wrap=True)


def commit():
    """Of the code that is tormented; with a plus when there is more to it."""
    changes = git("status", "--porcelain", "--untracked-files=no", "src")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changes else "")


def git(*words):
    found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
