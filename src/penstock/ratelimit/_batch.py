"""Batches: the keys and answers of allow_many, for every limiter that has keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidType, InvalidValue

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["checked_batch", "note_index"]


def checked_batch(keys: object, out: object) -> tuple[tuple[Any, ...], "NDArray[numpy.bool_]"]:
    """The keys of a batch, and the array that its answers go to.

    Raises:
        ValueError: keys or out has the wrong shape, or out cannot be written to as one block.
        TypeError: keys is no sequence, or out no array of bool.
    """
    import numpy  # only who asks for arrays pays for the import

    if isinstance(keys, numpy.ndarray):
        if keys.ndim != 1:
            raise InvalidValue(f"keys must have one dimension, got {keys.ndim}")
        keys = keys.tolist()
    if isinstance(keys, (str, bytes)) or not isinstance(keys, (list, tuple, Sequence)):
        raise InvalidType(f"keys must be a list, a tuple or an array of keys, got {type(keys).__name__}")
    batch = tuple(keys)
    if out is None:
        return batch, numpy.zeros(len(batch), dtype=numpy.bool_)
    if not isinstance(out, numpy.ndarray) or out.dtype != numpy.bool_:
        kind = f"array of {out.dtype}" if isinstance(out, numpy.ndarray) else type(out).__name__
        raise InvalidType(f"out must be a numpy array of bool, got {kind}")
    if out.shape != (len(batch),):
        raise InvalidValue(f"out must have shape ({len(batch)},), got {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise InvalidValue("out must be contiguous and writeable")
    return batch, out


def note_index(error: BaseException, i: int) -> None:
    """Says in an error of allow_many which key raised it."""
    error.add_note(f"allow_many: keys[{i}]; the keys before it are decided, the others are not")
