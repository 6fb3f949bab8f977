from typing_extensions import disjoint_base

from penstock.clock import Clock
from penstock.probing._pool_c import Pool
from penstock.probing.engine import EngineSettings

__all__ = ["Transports"]

@disjoint_base
class Transports(Pool):
    def __init__(
        self, settings: EngineSettings, *, clock: Clock | None = None, wall: Clock | None = None
    ) -> None: ...
