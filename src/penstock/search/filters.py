"""Filters of a search: which documents may be found at all, without a part in scores."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from penstock.errors import InvalidType, InvalidValue, shown
from penstock.search.inverted_index import TermIndex

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["mask_of", "plain_ids", "settled"]


def mask_of(terms: TermIndex, given: Any) -> "Buffer":
    """A filter that is no query as a mask of live documents.

    Args:
        terms: the index.
        given: (len,) numpy bool array over documents in the order of adding; or ids, in a set, a list, an
            array. Ids that the index does not have are passed over.

    Returns:
        (len,) bytes or bools.

    Raises:
        InvalidType: it is something else.
        InvalidValue: a mask has another length.
    """
    dtype = getattr(given, "dtype", None)
    if dtype is not None and getattr(dtype, "kind", "") == "b":
        if given.ndim != 1 or len(given) != len(terms):
            got = len(given) if given.ndim == 1 else f"shape {given.shape}"
            raise InvalidValue(
                f"filter must have one entry for each of the {len(terms)} documents, got {got}"
            )
        import numpy as np

        return cast("Buffer", np.ascontiguousarray(given))
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise wrong_filter(given)
    return terms.mask_of(plain_ids(given, "filter"))


def settled(given: Any) -> Any:
    """A filter that can be read again, which it may be where documents change meanwhile."""
    return list(given) if isinstance(given, Iterator) else given


def plain_ids(ids: Any, name: str) -> list[Any]:
    """Ids as Python's own ints and strs: those of an array are its own kind."""
    kind = getattr(getattr(ids, "dtype", None), "kind", None)
    if kind is not None:
        if kind not in "iuOUT" or ids.ndim != 1:
            raise InvalidType(
                f"{name} must be a one-dimensional array of ids, got {ids.dtype} of shape {ids.shape}"
            )
        return list(ids.tolist())
    if isinstance(ids, str | bytes):
        raise InvalidType(f"{name} must be ids, a sequence or a set of them, got {shown(ids)}")
    found = list(ids)
    if found and isinstance(found[0], bool):
        raise InvalidType(f"{name} must be ids, got bools: numpy.array({name}) makes them a mask")
    return found


def wrong_filter(given: object) -> InvalidType:
    return InvalidType(f"filter must be a numpy array of bools, ids or a Query, got {shown(given)}")
