"""Models of latency: how long the next answer would take at full load, as a share of the longest."""

from collections.abc import Callable
from random import Random

from penstock.services.lab.config import LatencyName

__all__ = ["latency_model", "reflected"]

STRIDE = 0.02  # of the whole range, standard deviation of one step of the walk
SPREAD = 1.0  # sigma of the lognormal
SHAPE = 1.5  # alpha of the Pareto: a mean, but no variance


def latency_model(name: LatencyName, dice: Random) -> Callable[[], float]:
    """A function that returns the next share, from 0 to 1."""
    if name == "walk":
        return walk(dice)
    if name == "constant":
        return lambda: 1.0
    if name == "uniform":
        return dice.random
    if name == "lognormal":
        return lambda: min(0.1 * dice.lognormvariate(0.0, SPREAD), 1.0)
    return lambda: min(0.01 * dice.paretovariate(SHAPE), 1.0)


def walk(dice: Random) -> Callable[[], float]:
    """A random walk that begins anywhere."""
    place = dice.random()

    def step() -> float:
        nonlocal place
        place = reflected(place + dice.gauss(0.0, STRIDE))
        return place

    return step


def reflected(place: float) -> float:
    """`place` thrown back at 0 and at 1 as a ball by walls, so that the walk does not stick to them."""
    place = abs(place) % 2.0
    return 2.0 - place if place > 1.0 else place
