"""Processes that hammer one shared limiter while one after the other is killed.

Every request that was allowed is written down with the time before and after it. In the end no key may have
been allowed more than its limit between any two moments, every process that was not killed has ended when
it was told to, and one that opens the file then finds it whole.

    python tests/shared_storm.py --seconds 30 --processes 8

runs alone; the tests run it for a few seconds, with kills and without.
"""

import argparse
import json
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import numpy as np

SLOTS = 32  # fewer than keys: slots change hands, and newcomers are turned away
KEYS = 72
SPELL = 150_000_000  # nanoseconds
QUOTAS = {
    "one": ("50/second; burst=3",),
    "two": ("50/second; burst=3", "40/second; burst=12"),
}
RECORD = struct.Struct("=qqq")  # key, nanoseconds before and after
GRACE = 20.0  # seconds that an ending process may take on a busy machine


def opened(settings):
    cls = import_module(f"penstock.ratelimit._shared_limiter_{settings.impl}").SharedRateLimiter
    return cls(*QUOTAS[settings.quotas], path=settings.folder / "limits", slots=SLOTS)


def hammer(settings, inherited, seed, end):
    """What one process does. Four keys are asked for always, the others for a while, then others."""
    dice = random.Random(seed)
    limiter = inherited if seed % 2 else opened(settings)
    log = os.open(settings.folder / f"log-{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    clock = time.monotonic_ns
    while clock() < end:
        for _ in range(20):
            before = clock()
            others = before // SPELL * 5 + dice.randrange(12)
            number = dice.randrange(4) if dice.random() < 0.5 else 4 + others % (KEYS - 4)
            if limiter.allow(number):
                os.write(log, RECORD.pack(number, before, clock()))


def start(settings, inherited, seed, end):
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        hammer(settings, inherited, seed, end)
        status = 0
    finally:
        os._exit(status)


def storm(settings):
    """Starts, kills and starts again; returns how many were killed."""
    dice = random.Random(settings.seed)
    inherited = opened(settings)
    end = time.monotonic_ns() + int(settings.seconds * 1e9)
    seeds = iter(range(settings.seed, 1 << 62))
    running = {start(settings, inherited, next(seeds), end) for _ in range(settings.processes)}
    killed = 0
    while settings.kill and time.monotonic_ns() < end:
        time.sleep(dice.random() * 0.03)
        victim = dice.choice(sorted(running))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        running.remove(victim)
        killed += 1
        running.add(start(settings, inherited, next(seeds), end))
    wait_for(running)
    return killed


def wait_for(running):
    deadline = time.monotonic() + GRACE
    while running:
        for child in sorted(running):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                running.remove(child)
                if status:
                    raise SystemExit(f"process {child} ended with status {status}")
        if running and time.monotonic() > deadline:
            for child in running:
                os.kill(child, signal.SIGKILL)
            raise SystemExit(f"{len(running)} processes hang")
        time.sleep(0.01)


def admissions(folder):
    """Of each key, (n, 2) int64 nanoseconds before and after."""
    found = defaultdict(list)
    for log in folder.glob("log-*"):
        data = log.read_bytes()
        for number, before, after in RECORD.iter_unpack(data[: len(data) // RECORD.size * RECORD.size]):
            found[number].append((before, after))
    return {number: np.array(sorted(spans), dtype=np.int64) for number, spans in found.items()}


def excess(spans, quota):
    """By how many requests the worst window is above its limit; 0 or less when none is.

    Only requests that began and ended within a window count for it.
    """
    worst = -quota.burst
    rate = float(quota.rate) / 1e9
    for first in range(len(spans)):
        ends = np.sort(spans[first:, 1])
        count = np.arange(1, len(ends) + 1)
        allowed = quota.burst + (ends - spans[first, 0]) * rate
        worst = max(worst, float(np.max(count - allowed)))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--impl", choices=["c", "py"], default="c")
    parser.add_argument("--quotas", choices=sorted(QUOTAS), default="two")
    parser.add_argument("--no-kill", dest="kill", action="store_false")
    parser.add_argument("--seed", type=int, default=1)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        settings.folder = Path(folder)
        killed = storm(settings)
        limiter = opened(settings)
        spans = admissions(settings.folder)
        worst = max(excess(each, quota) for each in spans.values() for quota in limiter.quotas)
        limiter.reset("another key")
        report = {
            "killed": killed,
            "keys": len(spans),
            "allowed": sum(map(len, spans.values())),
            "allowed of the hot keys": [len(spans[number]) for number in range(4)],
            "most above a limit": round(worst, 3),
            "stats": limiter.stats()._asdict(),
        }
    print(json.dumps(report))
    sys.exit(0 if worst <= 1e-6 else "a key was allowed more than its limit")


if __name__ == "__main__":
    main()
