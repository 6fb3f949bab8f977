"""Runs the cases of test_against_google.py by the thousand, others each time, on both twins.

usage: fuzz_against_google.py [CASES [SEED]]
  CASES   how many, 100,000 unless given
  SEED    of the first, each later one has the next; random unless given

The first difference from Google's runtime ends it with status 1, after the case was printed. Its seed brings
it again: `fuzz_against_google.py 1 SEED`.
"""

import secrets
import sys
import time
from random import Random

from test_against_google import Case, check, random_case

CASES = 100_000
LINE = 10.0  # seconds between two lines of progress


def run(count: int, first_seed: int) -> None:
    started = shown = time.monotonic()
    for done in range(count):
        case = random_case(Random(first_seed + done))
        try:
            check(case)
        except Exception:
            report(case, first_seed + done)
            raise
        now = time.monotonic()
        if now - shown >= LINE or done == count - 1:
            shown = now
            rate = (done + 1) / max(now - started, 1e-9)
            print(f"{done + 1:,} of {count:,} cases, {rate:.0f}/s, no difference", flush=True)


def report(case: Case, seed: int) -> None:
    print(f"seed {seed} differs:\n{case.world}")
    for name in ("tree", "other", "wire", "mutated"):
        print(f"{name} = {getattr(case, name)!r}")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    if len(arguments) > 2 or not all(each.isdecimal() for each in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    count, seed = [*map(int, arguments), *[CASES, secrets.randbelow(2**32)][len(arguments) :]]
    print(f"seed {seed}", flush=True)
    run(count, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
