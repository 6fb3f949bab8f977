from collections.abc import Sequence

from typing_extensions import disjoint_base

from penstock.hashring._placement_c import Placement
from penstock.hashring.key_hash import KeyHash
from penstock.hashring.ring_points import Scheme

__all__ = ["RingPoints"]

@disjoint_base
class RingPoints(Placement):
    def __init__(
        self, nodes: tuple[str, ...], hash: KeyHash, scheme: Scheme, counts: Sequence[int], /
    ) -> None: ...
