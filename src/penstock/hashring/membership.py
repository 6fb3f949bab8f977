"""Which nodes there are and what they weigh, checked: the same for every way to place keys."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from math import inf
from operator import itemgetter

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_py import shown
from penstock.hashring.errors import DuplicateNode, EmptyRing, UnknownNode

__all__ = ["MAX_NAME", "MAX_NODES", "MAX_WEIGHT", "MIN_WEIGHT", "Nodes", "shown"]

MAX_NODES = 1_000_000
MAX_NAME = 1_024  # bytes of UTF-8
MIN_WEIGHT, MAX_WEIGHT = 1e-6, 1e6

Nodes = Iterable[str] | Mapping[str, float]
"""Names of nodes, each of weight 1, or the weight of each name."""


def checked_name(name: object) -> str:
    """The name of a node.

    Raises:
        ValueError: it is empty, longer than MAX_NAME, or no text that UTF-8 can write.
        TypeError: it is no str.
    """
    if not isinstance(name, str):
        raise InvalidType(f"name of a node must be a str, got {type(name).__name__}")
    name = str.__str__(name)  # the text alone: str() of an enum's member, or of any subclass, may be another
    size = len(name[: MAX_NAME + 1].encode())  # no more than can be told to be too long
    if not 1 <= size <= MAX_NAME:
        raise InvalidValue(f"name of a node must be 1 to {MAX_NAME} bytes, got {len(name)} characters")
    return name


def checked_weight(name: str, weight: object) -> float:
    """The weight of a node.

    Raises:
        ValueError: it is not between MIN_WEIGHT and MAX_WEIGHT.
        TypeError: it is no number.
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise InvalidType(f"weight of {shown(name)} must be a number, got {type(weight).__name__}")
    number = nearest_float(weight)
    if not MIN_WEIGHT <= number <= MAX_WEIGHT:  # NaN is not
        raise InvalidValue(
            f"weight of {shown(name)} must be >= {MIN_WEIGHT:g} and <= {MAX_WEIGHT:g}, got {shown(weight)}"
        )
    return number


def nearest_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return inf


def checked_nodes(nodes: object) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names in their order, and the weights that belong to them.

    Raises:
        ValueError: a name or weight is not allowed, a name comes twice, or there are more than MAX_NODES.
        TypeError: a name or weight is of another type, or nodes is neither an iterable nor a mapping.
    """
    if isinstance(nodes, str | bytes) or not isinstance(nodes, Iterable):
        raise InvalidType(f"nodes must be names, or a mapping of name to weight, got {type(nodes).__name__}")
    given = nodes.items() if isinstance(nodes, Mapping) else ((name, 1.0) for name in nodes)
    pairs = [(checked_name(name), weight) for name, weight in islice(given, MAX_NODES + 1)]
    if len(pairs) > MAX_NODES:
        raise InvalidValue(f"nodes must be <= {MAX_NODES}, got more")
    pairs.sort(key=itemgetter(0))
    names = tuple(name for name, _ in pairs)
    for name, following in pairwise(names):
        if name == following:
            raise duplicate(name)
    return names, tuple(checked_weight(name, weight) for name, weight in pairs)


def unique(nodes: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The weight of each name, of a snapshot.

    Raises:
        ValueError: a name comes twice.
    """
    pairs = list(nodes)
    weights = dict(pairs)
    if len(weights) < len(pairs):
        raise InvalidValue("nodes of a snapshot must be different, got one twice")
    return weights


def place_of(names: Sequence[str], name: str) -> int:
    """The index of a name among the sorted `names`.

    Raises:
        LookupError: it is not among them.
    """
    at = index_or_none(names, name)
    if at is None:
        raise unknown(name, names)
    return at


def place_for(names: Sequence[str], name: str) -> int:
    """The index that a new name takes among the sorted `names`.

    Raises:
        ValueError: it is among them already, or there is no room for it.
    """
    if index_or_none(names, name) is not None:
        raise duplicate(name)
    if len(names) >= MAX_NODES:
        raise InvalidValue(f"nodes must be <= {MAX_NODES}, got one more")
    return bisect_left(names, name)


def index_or_none(names: Sequence[str], name: object) -> int | None:
    if not isinstance(name, str):
        return None
    at = bisect_left(names, name)
    return at if at < len(names) and names[at] == name else None


def checked_replicas(n: object) -> int:
    """How many nodes a call asks for.

    Raises:
        ValueError: n < 0.
        TypeError: n is no int.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise InvalidType(f"n must be an int, got {type(n).__name__}")
    if n < 0:
        raise InvalidValue(f"n must be >= 0 nodes, got {shown(n)}")
    return min(n, MAX_NODES)


def no_nodes() -> EmptyRing:
    return EmptyRing("Ring has no nodes")


def duplicate(name: str) -> DuplicateNode:
    return DuplicateNode(f"name of a node must be new, got {shown(name)} again")


def unknown(name: object, names: Sequence[str]) -> UnknownNode:
    known = ", ".join(shown(each) for each in names[:10]) + (", ..." if len(names) > 10 else "")
    return UnknownNode(f"name of a node must be one of {known or 'none'}, got {shown(name)}")
