"""What the logs distributor carries, row by row, beside what it must and should.

Starts the real service as a process on loopback, durable unless said, with four analyzers that do no work and
a lean client; every packet is the reference's sample of three messages. A rate counts only when what was
acknowledged was delivered, all of it and nothing twice, and the books balance.

    python -m benchmarks.distributor [--only ROW ...] [--rounds 5] [--seconds 10] [--full] [--json] [--smoke]
                                     [--first]

Short rows are run in rounds: one after the other, then all of them again, each with processes and a folder
of its own. What is told is their median, and how far the furthest round is from it. Long rows are run once,
for what they measure is in the length. `--full` takes some eight minutes of a quiet hour.

A machine that does other work measures that too. `--first`, for root, has all of this done before it, as if
there were nothing else but for the disk; nothing else is done meanwhile.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.distributor.rows import IN_ROUNDS, ROWS, Settings, median_of
from benchmarks.distributor.stage import Wrong

SYNCS = 50
SMOKE = Settings(1.0, 0.5, rounds=2, pending=5_000, backlog_bytes=4 << 20, letters=500, kills=1)


def measured(names, settings):
    """The figures of rows, medians where there were rounds; one that went wrong says so and gives none."""
    rounds = {name: [] for name in names}
    wrong = []
    for round_ in range(settings.rounds):
        for name in names:
            if name in wrong or (round_ and name not in IN_ROUNDS):
                continue
            try:
                rounds[name].append(one_round(name, round_, settings))
            except Wrong as error:
                wrong.append(name)
                say(f"  WRONG: {error}")
    figures = [
        median_of(same) for name in names if name not in wrong for same in zip(*rounds[name], strict=True)
    ]
    return figures, wrong


def one_round(name, round_, settings):
    """The figures of one row, once."""
    began = time.monotonic()
    if name in IN_ROUNDS:
        say(f"{name}, round {round_ + 1} of {settings.rounds} ...")
        settings = settings._replace(seconds=settings.seconds / settings.rounds)
    else:
        say(f"{name} ...")
    figures = list(ROWS[name](settings))
    for figure in figures:
        say(f"  {figure.name}: {number(figure.measured)} {figure.unit}", figure.note)
    say(f"  ({time.monotonic() - began:.0f} s)")
    return figures


def machine():
    """What bends figures: who else works here, and how long the disk takes for what a commit asks of it."""
    with tempfile.TemporaryFile() as file:
        took = []
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(16384), len(took) * 16384)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return (
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; "
        f"16 KiB written and synced in {median(took) * 1000:.1f} ms"
    )


def say(*words):
    print(*filter(None, words), file=sys.stderr, flush=True)


def number(value):
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def table_of(figures, rounds):
    """Misses first, then what is furthest from its target."""
    caption = "x: times the target; spread: how far the furthest round is from what was measured"
    if rounds > 1:
        caption += f", the median of {rounds}; without one, one run"
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, caption=caption)
    table.caption_justify = "left"
    table.add_column("promise", no_wrap=True)
    for column in ("target", "floor", "measured", "spread", "x", "holds"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in sorted(figures, key=lambda one: one.ratio):
        table.add_row(
            one.name, number(one.target), number(one.floor),
            f"{number(one.measured)} {one.unit}".strip(), spread(one), f"{one.ratio:.2f}", one.verdict,
        )  # fmt: skip
    return table


def spread(figure):
    """How far the furthest round is from the median; nothing where there is but one."""
    if figure.rounds == 1 or not figure.measured:
        return ""
    furthest = max(figure.most - figure.measured, figure.measured - figure.least)
    return f"±{furthest / figure.measured:.0%}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5, help="of each short row")
    parser.add_argument(
        "--seconds", type=float, default=10, help="how long each load lasts, all its rounds together"
    )
    parser.add_argument("--full", action="store_true", help="60 s end to end, and 20 kills")
    parser.add_argument("--json", action="store_true", help="figures as JSON instead of a table")
    parser.add_argument("--smoke", action="store_true", help="all rows at once: do they run at all?")
    parser.add_argument("--first", action="store_true", help="before all other work of the machine")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # processes and folders go with the stage
    if options.first:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # the processes that are started inherit it
    settings = Settings(options.seconds, 60.0 if options.full else options.seconds, options.rounds)
    settings = SMOKE if options.smoke else settings._replace(kills=20 if options.full else 3)
    say(machine())
    figures, wrong = measured(options.only or list(ROWS), settings)
    if options.json:
        json.dump(
            [one._asdict() | {"x_target": one.ratio, "holds": one.verdict} for one in figures], sys.stdout
        )
    elif figures:
        Console(width=80).print(table_of(figures, settings.rounds))
    if wrong:
        raise SystemExit(f"went wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
