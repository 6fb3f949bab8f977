"""Pool of connections, for the engines `socket` and `protocol`, which move the bytes."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["Pool"]

if TYPE_CHECKING:
    from penstock.probing._pool_py import Pool
else:
    Pool = twin(__name__).Pool
