"""The figures that placements are held to, each beside its goal: time, memory, balance, keys that move."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
import placement_memory
import pytest
from figures import table, verdict
from placement_workloads import (
    MANY_NODES,
    MILLION,
    NEW_NODE,
    NODES,
    SIZE,
    VNODES,
    array_of,
    calls,
    calls_with,
    comes_and_goes,
    in_order,
    names,
    penstock_ring,
    uhashring_md5,
)

from penstock.hashring import AnchorHash, FrozenRing, HashRing, MaglevTable, RendezvousHash, jump_hash_many


def test_goals_of_the_ring(goals):
    ring, ketama = penstock_ring(NODES), HashRing(NODES, hash="ketama-weighted")
    keys = in_order(MILLION)
    goals(
        "A ring of 100 nodes, a key",
        {
            "get_node(str)": (calls(ring.get_node), SIZE, 35),
            "get_node(str), weighted ketama": (calls(ketama.get_node), SIZE, 330),
            "get_nodes(str, 3)": (calls_with(ring.get_nodes, 3), SIZE, 150),
            "get_many, a million str": (partial(ring.get_many, keys), MILLION, 30),
            "get_many, a million S16": (partial(ring.get_many, array_of(keys)), MILLION, 12),
        },
    )


def test_goals_of_a_large_ring(goals):
    points = len(MANY_NODES) * VNODES
    changes = comes_and_goes(penstock_ring(MANY_NODES), NEW_NODE)
    goals(
        f"A ring of 1,000 nodes, a point of its {points:,}",
        {
            "built, in 12 ms": (partial(penstock_ring, MANY_NODES), points, 12e6 / points),
            "a node added or removed, in 0.6 ms": (changes, 2 * points, 0.6e6 / points),
        },
    )


# ---- as multiples of a peer


class Line(NamedTuple):
    """How many times as fast as a peer penstock has to be, in the same race."""

    title: str
    run: Callable[[Callable[..., object]], Callable[[], object]]
    """Makes what is raced, for the ring that a function of nodes makes."""
    operations: int
    least: int


def lookups(make):
    return calls(make(NODES).get_node)


def builds(make):
    return partial(make, MANY_NODES)


PEER = "uhashring"
LINES = (
    Line("get_node(str), 100 nodes of 160 points", lookups, SIZE, 20),
    Line("a ring of 1,000 nodes of 160 points", builds, 1, 40),
)


@pytest.fixture(scope="module")
def ratios():
    """One table for the races of all lines."""
    return table(f"Placement, how many times as fast as {PEER}", "operation", "times", "goal", "")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.title)
def test_ratio_to_a_peer(race, show, ratios, smoke, line):
    if line is LINES[0]:
        show(ratios)
    contestants = {"penstock": line.run(penstock_ring), PEER: line.run(uhashring_md5)}
    medians = race(line.title, contestants, line.operations)
    times = medians[PEER] / medians["penstock"]
    ratios.add_row(line.title, f"{times:.0f}", f"≥ {line.least}", verdict(times >= line.least, smoke))


# ---- balance


CLUSTERS = [[f"{name}-{cluster}" for name in names(100)] for cluster in range(100)]
"""So many, since the most loaded of 100 nodes is a matter of luck with their names."""


def most_loaded(shares):
    """The largest share, as a multiple of the mean."""
    return max(shares) * len(shares)


def share_of_the_circle(ring, bits=128):
    """The exact share of each node in a ring of uhashring."""
    points = ring.get_points()
    arcs = dict.fromkeys(ring.get_nodes(), 0)
    before = points[-1][0] - (1 << bits)
    for point, node in points:
        arcs[node] += point - before
        before = point
    return [arc / (1 << bits) for arc in arcs.values()]


def our_shares(make):
    return lambda nodes: list(make(nodes).distribution().values())


def thrown_shares(nodes):
    """Those of a ring whose points were thrown with true dice: no hash can be expected to do better."""
    dice = np.random.default_rng(int(nodes[0].rpartition("-")[2]))
    arcs = dice.gamma(VNODES, size=len(nodes))  # sums of so many exponentials
    return list(arcs / arcs.sum())


BALANCE = {
    "penstock, ring": (our_shares(FrozenRing), 1.20),
    "penstock, MaglevTable": (our_shares(MaglevTable), 1.02),
    "a ring of dice": (thrown_shares, None),
    "uhashring, md5": (lambda nodes: share_of_the_circle(uhashring_md5(nodes)), None),
}


def test_balance(show, smoke):
    clusters = CLUSTERS[:2] if smoke else CLUSTERS
    title = f"Most loaded of 100 nodes, times the mean: median of {len(clusters)} sets of names"
    rows = table(title, "placement", "times the mean", "from", "to", "goal", "")
    for name, (shares, goal) in BALANCE.items():
        loads = [most_loaded(shares(nodes)) for nodes in clusters]
        figure = median(loads)
        judged = ("", "") if goal is None else (f"≤ {goal:.2f}", verdict(figure <= goal, smoke))
        rows.add_row(name, f"{figure:.3f}", f"{min(loads):.3f}", f"{max(loads):.3f}", *judged)
    show(rows)


# ---- keys that move


MOVING_KEYS = np.arange(200_000)


def located(placement):
    """The name of the node of each key."""
    return np.array(placement.nodes)[placement.get_many(MOVING_KEYS)]


def moved_by(make):
    return lambda nodes, more: (located(make(nodes)), located(make(more)))


def jumped(nodes, more):
    return tuple(np.array(each)[jump_hash_many(hashed(), len(each))] for each in (nodes, more))


def taken_modulo(nodes, more):
    return tuple(np.array(each)[hashed() % np.uint64(len(each))] for each in (nodes, more))


def hashed():
    """Hashes of the keys, as good as random ones."""
    return np.random.default_rng(6).integers(0, 1 << 64, len(MOVING_KEYS), np.uint64)


MOVES = {
    "penstock, ring": moved_by(FrozenRing),
    "penstock, MaglevTable": moved_by(MaglevTable),
    "penstock, RendezvousHash": moved_by(RendezvousHash),
    "penstock, AnchorHash": moved_by(AnchorHash),
    "penstock, jump_hash": jumped,
    "hash modulo nodes": taken_modulo,
}


def test_keys_that_move(show):
    rows = table("A node more beside 100, 200,000 keys", "placement", "moved", "to an old node")
    nodes = [f"node {n:03}" for n in range(101)]  # the new one is the last, as jump_hash needs it
    for name, place in MOVES.items():
        before, after = place(nodes[:100], nodes)
        moved = before != after
        astray = moved & (after != nodes[100])
        rows.add_row(name, f"{moved.mean():.3%}", f"{astray.mean():.3%}")
    rows.caption = f"ideal: {1 / 101:.3%} and none"
    show(rows)


# ---- memory


def test_memory_of_a_point(show, smoke):
    count = 10 if smoke else 2_000
    rows = table(f"Resident memory, {count:,} nodes", "ring", "points", "bytes a point", "goal")
    for contestant in placement_memory.CONTESTANTS:
        command = [sys.executable, placement_memory.__file__, contestant, str(count)]
        grown, points = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        figure = int(grown) / int(points)
        goal = "12 + table" if contestant == "penstock" else ""
        rows.add_row(contestant, f"{int(points):,}", f"{figure:.1f}", goal)
    show(rows)
