from collections.abc import Sequence

from typing_extensions import disjoint_base

from penstock.clock import Clock
from penstock.probing.engine import EngineSettings
from penstock.probing.exchange import Exchange
from penstock.probing.moments import Moments
from penstock.probing.pooled_engine import Connection
from penstock.probing.request import Request
from penstock.probing.resolver import Address
from penstock.probing.turns import Turn

__all__ = ["Pool"]

@disjoint_base
class Pool:
    def __init__(
        self, settings: EngineSettings, *, clock: Clock | None = None, wall: Clock | None = None
    ) -> None: ...
    def again(self, request: Request, timeout: float) -> Connection | None: ...
    def open(
        self,
        request: Request,
        timeout: float,
        until: int,
        addresses: Sequence[Address],
        exchange: Exchange,
        moments: Moments,
        turn: Turn,
    ) -> Connection: ...
    def close(self) -> None: ...
