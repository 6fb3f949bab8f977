from typing_extensions import disjoint_base

from penstock.clock import Clock
from penstock.probing._pool_c import Pool
from penstock.probing.engine import EngineSettings

__all__ = ["Sockets"]

@disjoint_base
class Sockets(Pool):
    def __init__(
        self, settings: EngineSettings, *, clock: Clock | None = None, wall: Clock | None = None
    ) -> None: ...
