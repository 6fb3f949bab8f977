"""Lookups, pure Python, the same for every way to place keys: the twin of _placement_c.pyx."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from sys import modules
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar, overload

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._key_hash_py import Key, KeyHash, changed, checked_keys
from penstock.hashring.membership import checked_replicas, index_or_none, no_nodes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

C = TypeVar("C")

__all__ = ["Lookups", "Placement", "own_lookups"]


def first_of_each_zone(nodes: Iterable[str], n: int, zone_of: Callable[[str], Hashable]) -> list[str]:
    """The first node of each zone, at most n."""
    if not callable(zone_of):
        raise InvalidType(f"distinct_by must be callable, got {type(zone_of).__name__}")
    zones: set[Hashable] = set()
    chosen: list[str] = []
    for node in nodes:
        if len(chosen) == n:
            break
        zone = zone_of(node)
        if zone not in zones:
            zones.add(zone)
            chosen.append(node)
    return chosen


def checked_out(out: object, keys: "NDArray[Any]") -> "NDArray[np.int32]":
    """The array that takes the answers of a batch.

    Raises:
        ValueError: it does not fit the keys.
        TypeError: it is no numpy array.
    """
    import numpy as np

    if out is None:
        return np.empty(keys.shape, np.int32)
    if not isinstance(out, np.ndarray):
        raise InvalidType(f"out must be a numpy array, got {type(out).__name__}")
    if out.dtype != np.int32 or out.shape != keys.shape:
        raise InvalidValue(f"out must be int32 of shape {keys.shape}, got {out.dtype} {out.shape}")
    if not out.flags.carray:
        raise InvalidValue("out must be contiguous, aligned and writeable, got other memory")
    return out


def checked_positions(positions: object) -> "NDArray[np.uint64]":
    """Positions that a kernel can read.

    Raises:
        TypeError: positions is no contiguous array of uint64 in one dimension.
    """
    import numpy as np

    if not isinstance(positions, np.ndarray):
        raise InvalidType(f"positions must be a numpy array, got {type(positions).__name__}")
    if positions.dtype != np.uint64 or positions.ndim != 1:
        raise InvalidType(f"positions must be (n,) uint64, got {positions.shape} {positions.dtype}")
    if not (positions.flags.c_contiguous and positions.flags.aligned):
        raise InvalidType("positions must be contiguous and aligned, got other memory")
    return positions


def is_array(keys: object) -> bool:
    """Whether keys is a numpy array, without an import of numpy."""
    numpy = modules.get("numpy")
    return numpy is not None and isinstance(keys, numpy.ndarray)


class Placement:
    """Which of its nodes gets a key: the lookups of every frozen placement.

    It never changes, so threads may share it, and an index into `nodes` keeps its meaning. Nodes stand in
    the order of their names; the order in which they were named never matters.

    Subclasses say how: `_locate` and `_order` in Python, or their like in C.

    Args:
        nodes: names, sorted and checked.
        hash: of the keys.
    """

    __slots__ = ("__weakref__", "_hash", "_nodes")

    def __init__(self, nodes: tuple[str, ...], hash: KeyHash, /) -> None:
        if hasattr(self, "_nodes"):
            raise InvalidValue("a frozen placement must be initialised once, got a second time")
        self._nodes, self._hash = nodes, hash

    def _locate(self, position: int) -> int:
        """The index of the node that gets a key of this position; there is at least one node."""
        raise NotImplementedError

    def _order(self, position: int, n: int) -> Sequence[int]:
        """The indices of the first n nodes, n <= len(nodes), in the order of preference of a position."""
        raise NotImplementedError

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names, sorted: what the indices of `get_many` point into."""
        return self._nodes

    @property
    def hash(self) -> KeyHash:
        """The hash of the keys."""
        return self._hash

    def get_node(self, key: Key, /) -> str:
        """The node that gets `key`.

        Args:
            key: str, hashed as UTF-8; bytes; or int, hashed as 8 bytes.

        Raises:
            LookupError: there is no node.
            ValueError: an int of more than 64 bits, or a str that UTF-8 cannot write.
            TypeError: a key of another type.
        """
        return self._nodes[self._locate(self._position(key))]

    def get_nodes(
        self, key: Key, n: int, *, distinct_by: Callable[[str], Hashable] | None = None
    ) -> list[str]:  # fmt: skip
        """The first `n` nodes for `key` in its order of preference: where it and its replicas go.

        Args:
            key: as for get_node.
            n: nodes, >= 0. Fewer are returned where there are fewer.
            distinct_by: gives the zone (rack, host) of a node; then only the first node of each zone counts.

        Raises:
            LookupError: there is no node.
            ValueError: n < 0, or as for get_node.
            TypeError: n is no int, distinct_by is not callable, or as for get_node.
        """
        n = checked_replicas(n)
        position = self._position(key)
        if distinct_by is not None:
            return first_of_each_zone(self._walk(position), n, distinct_by)
        return [self._nodes[index] for index in self._order(position, min(n, len(self._nodes)))]

    def iter_nodes(self, key: Key, /) -> Iterator[str]:
        """All nodes in the order of preference of `key`: the next one takes over when one is down.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node.
        """
        return self._walk(self._position(key))

    def _position(self, key: Key) -> int:
        position = self._hash.position(key)
        if not self._nodes:
            raise no_nodes()
        return position

    def _walk(self, position: int) -> Iterator[str]:
        """Asks for more each time: mostly, the first few are enough."""
        seen, wanted = 0, 4
        while seen < len(self._nodes):
            order = self._order(position, min(wanted, len(self._nodes)))
            yield from (self._nodes[index] for index in order[seen:])
            seen, wanted = len(order), 8 * wanted

    @overload
    def get_many(
        self, keys: "NDArray[Any]", *, out: "NDArray[np.int32] | None" = None
    ) -> "NDArray[np.int32]": ...

    @overload
    def get_many(self, keys: Iterable[Key], *, out: None = None) -> list[str]: ...

    def get_many(self, keys: Any, *, out: Any = None) -> Any:
        """The node of each key. The GIL is let go: for arrays at once, for lists while nodes are found.

        Args:
            keys: an iterable of keys, or a numpy array of bytes, str or integers; not to change meanwhile.
            out: for arrays: int32 of the shape of `keys`, takes the answer.

        Returns:
            For an iterable, a list of nodes; for an array, int32 indices into `nodes`.

        Raises:
            LookupError: there is no node.
            ValueError, TypeError: as for get_node; or out does not fit, or keys is one str or bytes.
        """
        if not is_array(keys):
            if out is not None:
                raise InvalidType("out must be None unless keys is a numpy array")
            return [self._nodes[index] for index in self._located(tuple(checked_keys(keys)))]
        answer = checked_out(out, keys)
        indices = self._located(keys.ravel())
        if len(indices) != answer.size:
            raise changed(min(len(indices), answer.size))  # by an array whose class is the caller's own
        answer.ravel()[:] = indices
        return answer

    def _located(self, keys: Any) -> list[int]:
        positions = self._hash.positions(keys)
        if not self._nodes:
            raise no_nodes()
        return [self._locate(position) for position in positions]

    def locate_many(self, positions: "NDArray[np.uint64]", /) -> "NDArray[np.int32]":
        """The indices of the nodes at positions of the hash circle. Lets go of the GIL.

        Args:
            positions: (n,) uint64, contiguous: values of the hash, moved up to the highest of 64 bits.

        Returns:
            (n,) int32, indices into `nodes`.

        Raises:
            LookupError: there is no node.
            TypeError: positions is no such array.
        """
        import numpy as np

        if not self._nodes:
            raise no_nodes()
        return np.array([self._locate(int(position)) for position in checked_positions(positions)], np.int32)

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object, /) -> bool:
        return index_or_none(self._nodes, name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)


class Lookups:
    """The lookups of a placement that changes: each call uses the one that is current.

    The current placement is exchanged whole, so a lookup never waits, and its answer belongs to a membership
    that there was.
    """

    __slots__ = ("__weakref__", "_current", "_exchange")

    def __init__(self, current: Placement, /) -> None:
        self._current = current
        self._exchange = RLock()  # a signal handler or destructor that runs meanwhile may change it as well

    def snapshot(self) -> Any:
        """The current placement, which never changes."""
        return self._current

    def _replace(self, old: Placement, new: Placement, /) -> bool:
        """Makes `new` the current placement if `old` still is; whether it was."""
        with self._exchange:
            if self._current is not old:
                return False
            self._current = new
            return True

    def get_node(self, key: Key, /) -> str:
        return self._current.get_node(key)

    def get_nodes(
        self, key: Key, n: int, *, distinct_by: Callable[[str], Hashable] | None = None
    ) -> list[str]:  # fmt: skip
        return self._current.get_nodes(key, n, distinct_by=distinct_by)

    def iter_nodes(self, key: Key, /) -> Iterator[str]:
        return self._current.iter_nodes(key)

    @overload
    def get_many(
        self, keys: "NDArray[Any]", *, out: "NDArray[np.int32] | None" = None
    ) -> "NDArray[np.int32]": ...

    @overload
    def get_many(self, keys: Iterable[Key], *, out: None = None) -> list[str]: ...

    def get_many(self, keys: Any, *, out: Any = None) -> Any:
        return self._current.get_many(keys, out=out)

    get_node.__doc__ = Placement.get_node.__doc__
    get_nodes.__doc__ = Placement.get_nodes.__doc__
    iter_nodes.__doc__ = Placement.iter_nodes.__doc__
    get_many.__doc__ = Placement.get_many.__doc__

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names, sorted. For indices of `get_many`, ask the snapshot that it was called on."""
        return self._current.nodes

    @property
    def hash(self) -> KeyHash:
        """The hash of the keys."""
        return self._current.hash

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, name: object, /) -> bool:
        return name in self._current

    def __iter__(self) -> Iterator[str]:
        return iter(self._current)


def own_lookups(cls: type[C], /) -> type[C]:
    """Gives a class lookups of its own: CPython specialises calls of those, inherited ones cost 9 ns more."""
    return cls
