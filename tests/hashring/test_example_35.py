"""Example 35 of the system design examples: the ring of its Go program, and what moves when a node is added.

Its comments promise that a quarter of its five keys move. None does; of 100,000 keys 23.663 % do.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from penstock.hashring import HashRing

PROGRAM = Path(__file__).parents[2] / "examples" / "consistent_hashing.py"

PRINTED = """\
[RING] Added node 'cache-a' with 50 virtual nodes
[RING] Added node 'cache-b' with 50 virtual nodes
[RING] Added node 'cache-c' with 50 virtual nodes
[RING] 'user:alice' -> cache-a (10.0.0.1:6379)
[RING] 'user:bob' -> cache-c (10.0.0.3:6379)
[RING] 'session:xyz' -> cache-a (10.0.0.1:6379)
[RING] 'product:123' -> cache-a (10.0.0.1:6379)
[RING] 'cart:456' -> cache-c (10.0.0.3:6379)
[RING] Added node 'cache-d' with 50 virtual nodes

[RING] Key reassignments after adding cache-d:
  0/5 keys remapped (0.000%, expected ~25%)
  MOVED 'key:0': cache-c -> cache-d
  MOVED 'key:3': cache-a -> cache-d
  MOVED 'key:5': cache-a -> cache-d
  23663/100000 keys remapped (23.663%, expected ~25%)

[RING] 23.474% of all hashes move, in 39 ranges; the first:
  0x0355d6f096186251 to 0x0362efe2360af4b0: cache-b -> cache-d
[RING] Removed node 'cache-d', and every key is back where it was
"""


@pytest.mark.parametrize("impl", ["c", "py"])
def test_example_35_prints_this_on_both_twins(impl):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM)],
        env={**os.environ, "PENSTOCK_IMPL": impl},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == PRINTED


def test_100_000_keys_lie_as_the_go_program_places_them():
    keys = [f"key:{i}" for i in range(100_000)]
    ring = HashRing(["cache-c", "cache-a", "cache-b"], vnodes=50, hash="sha256-be64")
    before = ring.get_many(keys)
    assert Counter(before) == {"cache-a": 38108, "cache-b": 31258, "cache-c": 30634}
    ring.add_node("cache-d")
    after = ring.get_many(keys)
    assert Counter(after) == {"cache-a": 27846, "cache-b": 23679, "cache-c": 24812, "cache-d": 23663}
    moved = Counter(pair for pair in zip(before, after, strict=True) if pair[0] != pair[1])
    assert moved.total() == 23663
    assert {target for _, target in moved} == {"cache-d"}
