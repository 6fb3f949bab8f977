"""Frozen placements that are built anew whenever a member changes."""

from typing import Self

from penstock.hashring.frozen import Frozen
from penstock.hashring.membership import checked_name, checked_weight, place_for, place_of

__all__ = ["Rebuilt"]


class Rebuilt(Frozen):
    """A frozen placement that hangs on nothing but its settings, its nodes and their weights."""

    __slots__ = ()

    def with_node(self, name: str, weight: float = 1.0, /) -> Self:
        """A placement with one more node.

        Raises:
            ValueError: it is there already, or an argument is out of its range.
            TypeError: an argument is of another type.
        """
        name = checked_name(name)
        weight = checked_weight(name, weight)
        place_for(self.nodes, name)
        return self.with_nodes({**self.weights, name: weight})

    def without_node(self, name: str, /) -> Self:
        """A placement without one of its nodes.

        Raises:
            LookupError: no node has that name.
        """
        place_of(self.nodes, name)
        return self.with_nodes({node: weight for node, weight in self.weights.items() if node != name})

    def with_weight(self, name: str, weight: float, /) -> Self:
        """A placement with another weight for one of its nodes.

        Raises:
            LookupError: no node has that name.
            ValueError: the weight is out of its range.
            TypeError: the weight is no number.
        """
        place_of(self.nodes, name)
        return self.with_nodes({**self.weights, name: weight})
