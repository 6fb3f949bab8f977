"""What keeps the entries behind a write-through or write-back cache."""

from collections.abc import Collection, Mapping
from typing import Generic, Protocol, TypeVar

from penstock.errors import PenstockError

__all__ = ["MemoryStore", "Store", "StoreClosed", "StoreError"]

K = TypeVar("K")
V = TypeVar("V")


class StoreError(PenstockError, OSError):
    """A store could not be read or written; a write may have happened, whole, in part or not at all."""


class StoreClosed(PenstockError, RuntimeError):
    """A store was closed, and asked after that."""


class Store(Protocol[K, V]):
    """Four methods that a database needs for the caches to write to it. All of them take batches.

    A write that fails may have happened in part: the caches write the same items again, so writing twice
    must be as good as once. A call that is cancelled must end soon, and whatever it still does must come
    before what later calls do, or an older value could land on a newer one.
    """

    async def get_many(self, keys: Collection[K], /) -> dict[K, V]:
        """The entries that exist of these keys; no other."""
        ...

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Stores all items. When it returns they are as durable as the store can make them."""
        ...

    async def delete_many(self, keys: Collection[K], /) -> None:
        """Removes the entries of these keys; one that does not exist is no error."""
        ...

    async def aclose(self) -> None:
        """Lets go of files and connections."""
        ...


class MemoryStore(Generic[K, V]):
    """A store in a dict, for tests and for trying things out. It grows as the dict does.

    Attributes:
        entries: the dict.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: dict[K, V] | None = None) -> None:
        self.entries: dict[K, V] = {} if entries is None else entries

    async def get_many(self, keys: Collection[K], /) -> dict[K, V]:
        """The entries that exist of these keys."""
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Stores all items."""
        self.entries.update(items)

    async def delete_many(self, keys: Collection[K], /) -> None:
        """Removes the entries of these keys."""
        for key in keys:
            self.entries.pop(key, None)

    async def aclose(self) -> None:
        """Does nothing; the entries stay."""
