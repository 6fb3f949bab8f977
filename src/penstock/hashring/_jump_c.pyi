from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["jump_hash", "jump_hash_many"]

def jump_hash(key: int, buckets: int, /) -> int: ...
def jump_hash_many(keys: Iterable[int] | NDArray[np.integer[Any]], buckets: int, /) -> NDArray[np.int32]: ...
