from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from penstock.hashring._placement_c import Placement
from penstock.hashring.key_hash import KeyHash

__all__ = ["MaglevSlots"]

@disjoint_base
class MaglevSlots(Placement):
    def __init__(
        self, nodes: tuple[str, ...], hash: KeyHash, size: int, weights: Sequence[float], /
    ) -> None: ...
    @property
    def table_size(self) -> int: ...
    def slots(self) -> NDArray[np.uint16]: ...
