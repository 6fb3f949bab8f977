from collections.abc import Sequence

from typing_extensions import disjoint_base

from penstock.hashring._placement_c import Placement
from penstock.hashring.key_hash import KeyHash

__all__ = ["RendezvousBids"]

@disjoint_base
class RendezvousBids(Placement):
    def __init__(self, nodes: tuple[str, ...], hash: KeyHash, weights: Sequence[float], /) -> None: ...
