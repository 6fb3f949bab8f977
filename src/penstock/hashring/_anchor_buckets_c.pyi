from collections.abc import Sequence

from typing_extensions import disjoint_base

from penstock.hashring._placement_c import Placement
from penstock.hashring.key_hash import KeyHash

__all__ = ["AnchorBuckets"]

@disjoint_base
class AnchorBuckets(Placement):
    def __init__(
        self,
        nodes: tuple[str, ...],
        hash: KeyHash,
        capacity: int,
        buckets: Sequence[int],
        removed: Sequence[int],
        /,
    ) -> None: ...
    @property
    def capacity(self) -> int: ...
