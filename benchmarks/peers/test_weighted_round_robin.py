"""Weighted round robin beside what people use today: who is next among four, 40/30/20/10."""

from functools import partial
from itertools import accumulate, cycle
from random import choices

import numpy as np
import roundrobin

from penstock.balancing import WeightedRoundRobin
from penstock.balancing._weighted_round_robin_py import WeightedRoundRobin as PurePythonWeightedRoundRobin

SHARES = {"A": 40, "B": 30, "C": 20, "D": 10}
MEMBERS = list(SHARES)
CUMULATIVE = list(accumulate(SHARES.values()))


class NginxInPython:
    """Smooth weighted round robin as in nginx commit 52327e0627f4; not safe to share among threads."""

    def __init__(self, weights):
        self.peers = [[name, weight, 0] for name, weight in weights.items()]
        self.total = sum(weights.values())

    def pick(self):
        best = None
        for peer in self.peers:
            peer[2] += peer[1]
            if best is None or peer[2] > best[2]:
                best = peer
        best[2] -= self.total
        return best[0]


def test_pick_one(race):
    race(
        "WeightedRoundRobin.pick(), 4 members",
        {
            "penstock": WeightedRoundRobin(SHARES).pick,
            "penstock, pure Python": PurePythonWeightedRoundRobin(SHARES).pick,
            "nginx's rule in Python, no lock": NginxInPython(SHARES).pick,
            "roundrobin.smooth": roundrobin.smooth(list(SHARES.items())),
            "roundrobin.weighted (bursts)": roundrobin.weighted(list(SHARES.items())),
            "random.choices (not exact)": partial(choices, MEMBERS, cum_weights=CUMULATIVE),
            "itertools.cycle, no ups and downs": cycle("ABCABADCBA").__next__,
            "empty method of a C type": "".isascii,
        },
    )


def test_pick_ten_thousand(race):
    nginx = NginxInPython(SHARES)
    rng = np.random.default_rng(1)
    odds = [0.4, 0.3, 0.2, 0.1]
    race(
        "WeightedRoundRobin.pick_many(10_000), 4 members",
        {
            "penstock": partial(WeightedRoundRobin(SHARES).pick_many, 10_000),
            "penstock, pure Python": partial(PurePythonWeightedRoundRobin(SHARES).pick_many, 10_000),
            "nginx's rule in Python, no lock": lambda: [nginx.pick() for _ in range(10_000)],
            "numpy choice (not exact)": lambda: rng.choice(4, 10_000, p=odds),
            "random.choices (not exact)": partial(choices, MEMBERS, cum_weights=CUMULATIVE, k=10_000),
        },
    )


def test_pick_one_of_a_hundred(race):
    weights = {i: 100 - i for i in range(100)}
    race(
        "WeightedRoundRobin.pick(), 100 members",
        {
            "penstock": WeightedRoundRobin(weights).pick,
            "penstock, pure Python": PurePythonWeightedRoundRobin(weights).pick,
            "nginx's rule in Python, no lock": NginxInPython(weights).pick,
            "roundrobin.smooth": roundrobin.smooth(list(weights.items())),
        },
    )
