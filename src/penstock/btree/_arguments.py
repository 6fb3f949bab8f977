"""The arguments of ordered trees, checked, and the words for what is wrong; both twins read them here."""

from array import array
from collections.abc import Callable
from contextlib import suppress
from itertools import compress, count, islice
from operator import index, lt, not_
from sys import maxsize
from typing import TYPE_CHECKING, Any, Literal, get_args

from penstock.btree.errors import BrokenTree, FrozenTree, KeyOverflow, TreeChanged, TreeFull, UnsortedKeys
from penstock.errors import InvalidType, InvalidValue, PenstockError, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KeyType", "ValueType"]

KeyType = Literal["object", "int64", "uint64", "float64", "str", "bytes"]
"""What the keys of a tree are; "object" is anything that `<` orders."""

ValueType = Literal["object", "int64", "float64"]
"""What the values of a tree are; "object" is anything."""

KEY_TYPES: tuple[KeyType, ...] = get_args(KeyType)
VALUE_TYPES: tuple[ValueType, ...] = get_args(ValueType)
ARRAY_KEY_TYPES: tuple[KeyType, ...] = ("int64", "uint64", "float64")
MAX_LENGTH = (1 << 32) - 2  # entries of one tree


# One key, one value -------------------------------------------------------------------------------------

INT_BOUNDS = {"int64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1)}


def checked_int(key: object, type_name: str, name: str, what: str) -> int:
    """An int in the range of its type. `what` is "key_type" or "value_type"."""
    try:
        number = index(key)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"{name} must be an int for {what} {type_name!r}, got {shown(key)}") from None
    least, most = INT_BOUNDS[type_name]
    if not least <= number <= most:
        allowed = f"{name} must be in [{least}, {most}] for {what} {type_name!r}"
        raise KeyOverflow(f"{allowed}, got {shown(number)}")
    return int(number)


def checked_float(key: object, name: str, what: str) -> float:
    is_number = hasattr(type(key), "__float__") or hasattr(type(key), "__index__")
    is_number = (
        is_number and getattr(getattr(key, "dtype", None), "kind", "f") in "biufO"
    )  # no str of numpy's
    if not is_number:
        raise InvalidType(f"{name} must be a float for {what} 'float64', got {shown(key)}")
    try:
        return float(key)  # type: ignore[arg-type]
    except OverflowError:
        raise KeyOverflow(
            f"{name} must be in the range of a float for {what} 'float64', got {shown(key)}"
        ) from None


def int64_key(key: object, name: str = "key") -> int:
    if type(key) is int and -0x8000000000000000 <= key <= 0x7FFFFFFFFFFFFFFF:
        return key
    return checked_int(key, "int64", name, "key_type")


def uint64_key(key: object, name: str = "key") -> int:
    if type(key) is int and 0 <= key <= 0xFFFFFFFFFFFFFFFF:
        return key
    return checked_int(key, "uint64", name, "key_type")


def float64_key(key: object, name: str = "key") -> float:
    number = key if type(key) is float else checked_float(key, name, "key_type")
    if number != number:
        raise nan_key(name)
    return number + 0.0  # -0.0 is 0.0


def str_key(key: object, name: str = "key") -> str:
    if isinstance(key, str):
        return key
    raise InvalidType(f"{name} must be a str for key_type 'str', got {shown(key)}")


def bytes_key(key: object, name: str = "key") -> bytes:
    if isinstance(key, bytes):
        return key
    raise InvalidType(f"{name} must be bytes for key_type 'bytes', got {shown(key)}")


def object_key(key: Any, name: str = "key") -> Any:
    if type(key) is float and key != key:
        raise nan_key(name)
    return key


def object_value(value: Any, name: str = "value") -> Any:
    return value


def int64_value(value: object, name: str = "value") -> int:
    if type(value) is int and -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return value
    return checked_int(value, "int64", name, "value_type")


def float64_value(value: object, name: str = "value") -> float:
    return value if type(value) is float else checked_float(value, name, "value_type")


KEY_CHECKS: dict[KeyType, Callable[..., Any]] = {
    "object": object_key,
    "int64": int64_key,
    "uint64": uint64_key,
    "float64": float64_key,
    "str": str_key,
    "bytes": bytes_key,
}
"""By key type: `check(key, name="key")` returns the key to store or to look for, or raises."""

VALUE_CHECKS: dict[ValueType, Callable[..., Any]] = {
    "object": object_value,
    "int64": int64_value,
    "float64": float64_value,
}
"""By value type: `check(value, name="value")` returns the value to store, or raises."""


def checked_key(key: object, key_type: KeyType, name: str = "key") -> Any:
    """The key to store or to look for: an int in range, a float not NaN or -0.0, str, bytes, object.

    Raises:
        InvalidType: the key has another type.
        InvalidValue: the key is NaN.
        KeyOverflow: the key does not fit.
    """
    return KEY_CHECKS[key_type](key, name)


def checked_value(value: object, value_type: ValueType, name: str = "value") -> Any:
    """The value to store; raises as `checked_key`, but NaN is a value."""
    return VALUE_CHECKS[value_type](value, name)


# Other arguments ----------------------------------------------------------------------------------------


def checked_key_type(key_type: object) -> KeyType:
    if key_type not in KEY_TYPES:
        raise InvalidValue(f"key_type must be one of {', '.join(KEY_TYPES)}, got {shown(key_type)}")
    return KEY_TYPES[KEY_TYPES.index(key_type)]


def checked_value_type(value_type: object) -> ValueType:
    if value_type not in VALUE_TYPES:
        raise InvalidValue(f"value_type must be one of {', '.join(VALUE_TYPES)}, got {shown(value_type)}")
    return VALUE_TYPES[VALUE_TYPES.index(value_type)]


def checked_include(include: object) -> tuple[bool, bool]:
    if isinstance(include, tuple | list) and len(include) == 2:
        with_min, with_max = include
        if isinstance(with_min, bool) and isinstance(with_max, bool):
            return with_min, with_max
    raise InvalidType(f"include must be two bools, for min and for max, got {shown(include)}")


def checked_limit(limit: object) -> int | None:
    if limit is None:
        return None
    try:
        most = index(limit)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"limit must be an int or None, got {shown(limit)}") from None
    if most < 0:
        raise InvalidValue(f"limit must be >= 0, got {shown(limit)}")
    return min(most, maxsize)  # what islice takes


def check_default(default: tuple[Any, ...]) -> None:
    if len(default) > 1:
        raise InvalidType(f"pop must get a key and at most one default, got {len(default)} defaults")


def checked_fill(fill: object) -> float:
    if not isinstance(fill, float | int):
        raise InvalidType(f"fill must be a float, got {shown(fill)}")
    if not 0.5 <= fill <= 1.0:
        raise InvalidValue(f"fill must be in [0.5, 1.0], got {shown(fill)}")
    return float(fill)


def checked_index(at: object, length: int) -> int:
    """The index as one from the front, 0 <= at < length."""
    try:
        place = index(at)  # type: ignore[arg-type]  # what is no integer raises
    except TypeError:
        raise InvalidType(f"index must be an int, got {shown(at)}") from None
    if not -length <= place < length:
        raise bad_index(place, length)
    return place + length if place < 0 else place


# Many keys or values ------------------------------------------------------------------------------------


def keys_list(keys: Any, key_type: KeyType, name: str = "keys") -> list[Any]:
    """A new list of the keys to store or to look for.

    Args:
        keys: (n,) array, or any iterable.
        key_type: what they have to be.
        name: the argument's, for the message; element i is called `name[i]`.

    Raises:
        InvalidType: a key has another type, or keys are no iterable.
        InvalidValue: a key is NaN, or the array is not one-dimensional.
        KeyOverflow: a key does not fit.
    """
    if key_type in ARRAY_KEY_TYPES and is_array(keys):
        listed: list[Any] = typed_array(keys, key_type, name).tolist()
        return listed
    items = items_list(keys, name)
    kinds = set(map(type, items))
    if kinds == {int} and key_type in INT_BOUNDS:
        if all_fit(items, key_type):
            return items
    elif kinds == {float} and key_type == "float64":
        items = [key + 0.0 for key in items]
        if not any(key != key for key in items):
            return items
    elif key_type == "object":
        if float not in kinds:
            return items
    elif len(kinds) == 1 and kinds <= {str, bytes} and key_type == kinds.pop().__name__:
        return items
    return each_checked(items, KEY_CHECKS[key_type], name)


def values_list(values: Any, value_type: ValueType, name: str = "values") -> list[Any]:
    """A new list of the values to store; raises as `keys_list`, but NaN is a value."""
    if value_type != "object" and is_array(values):
        listed: list[Any] = typed_values(values, value_type, name).tolist()
        return listed
    items = items_list(values, name)
    if value_type == "object":
        return items
    kinds = set(map(type, items))
    if kinds == {float} and value_type == "float64":
        return items
    if kinds == {int} and value_type == "int64" and all_fit(items, "int64"):
        return items
    return each_checked(items, VALUE_CHECKS[value_type], name)


def typed_array(keys: Any, key_type: KeyType, name: str = "keys") -> "NDArray[Any]":
    """The keys as a contiguous array of their type, without loss: what does not fit is refused.

    Args:
        keys: (n,) array of any numbers, or any iterable. An array that is right already is returned as it is.
        key_type: "int64", "uint64" or "float64", which is the dtype.
        name: the argument's, for the message; element i is called `name[i]`.

    Returns:
        (n,) int64, uint64 or float64; no NaN, but -0.0 may be there.

    Raises:
        InvalidType: a key has another type; floats are no ints, also when they are whole.
        InvalidValue: a key is NaN, or cannot be a float64 without loss; or the array is not one-dimensional.
        KeyOverflow: a key does not fit.
    """
    if key_type not in ARRAY_KEY_TYPES:
        raise untyped_keys(key_type)
    typed = lossless(keys, key_type, KEY_CHECKS[key_type], name)
    if key_type == "float64" and (typed != typed).any():
        each_checked(typed.tolist(), float64_key, name)
    return typed


def typed_values(values: Any, value_type: ValueType, name: str = "values") -> "NDArray[Any]":
    """The values as a contiguous array of their type, without loss; as `typed_array`, but NaN is a value.

    Args:
        values: (n,) array of any numbers, or any iterable of values.
        value_type: "int64" or "float64", which is the dtype.
        name: the argument's, for the message.

    Returns:
        (n,) int64 or float64.
    """
    return lossless(values, value_type, VALUE_CHECKS[value_type], name)


def lossless(items: Any, dtype: str, check: Callable[..., Any], name: str) -> "NDArray[Any]":
    import numpy as np

    if not is_array(items):
        listed = items_list(items, name)
        if set(map(type, listed)) <= {int if dtype in INT_BOUNDS else float}:
            with suppress(OverflowError):  # the check of each says which
                return np.array(listed, dtype)
        return np.array(each_checked(listed, check, name), dtype)
    given = np.asarray(items)
    if given.ndim != 1:
        raise not_one_dimensional(name, given.shape)
    if given.dtype == dtype and given.dtype.isnative:
        return np.ascontiguousarray(given)
    if given.dtype.kind not in "biuf":
        return np.array(each_checked(list(given), check, name), dtype)
    if dtype in INT_BOUNDS:
        least, most = INT_BOUNDS[dtype]
        if len(given) and (given.dtype.kind == "f" or int(given.min()) < least or int(given.max()) > most):
            each_checked(given.tolist(), check, name)
        return np.ascontiguousarray(given, dtype)
    floats = np.ascontiguousarray(given, dtype)
    if given.dtype.kind in "iu" and given.dtype.itemsize == 8:
        doubtful = abs(floats) >= 2.0**53  # ints below are floats
    elif given.dtype.itemsize > 8:
        doubtful = floats != given
    else:
        return floats
    for at in doubtful.nonzero()[0].tolist():
        exact = given[at].item()
        if int(floats[at]) != exact if isinstance(exact, int) else floats[at] != exact == exact:
            raise lossy(f"{name}[{at}]", exact)
    return floats


def is_array(items: object) -> bool:
    """Whether numpy reads `items` without looking at each: an array, or an object with the buffer of one."""
    if isinstance(items, list | tuple | str | bytes | bytearray):
        return False
    if hasattr(items, "__array__"):
        return True
    try:
        return memoryview(items).format not in ("c", "w", "u")  # type: ignore[arg-type]
    except TypeError:
        return False


def items_list(items: Any, name: str) -> list[Any]:
    shape = getattr(items, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        raise not_one_dimensional(name, shape)
    if shape is not None and getattr(getattr(items, "dtype", None), "kind", "") in set("biufSUO"):
        return list(items.tolist())  # the numbers of an array as Python's own
    try:
        iterator = iter(items)
    except TypeError:
        raise InvalidType(f"{name} must be an array or an iterable, got {shown(items)}") from None
    return list(iterator)


def all_fit(ints: list[int], type_name: str) -> bool:
    try:
        array("Q" if type_name == "uint64" else "q", ints)  # quicker than least and greatest
    except OverflowError:
        return False
    return True


def each_checked(items: list[Any], check: Callable[..., Any], name: str) -> list[Any]:
    return [check(item, f"{name}[{at}]") for at, item in enumerate(items)]


def check_lengths(keys: int, values: int) -> None:
    if keys != values:
        raise different_lengths(keys, values)


def check_ascending(keys: list[Any], strictly: bool) -> None:
    """Compares every key with the one before it, by `<` alone.

    Raises:
        UnsortedKeys: a key is less than the one before it, or, strictly, not greater.
    """
    later = islice(keys, 1, None)
    if strictly and all(map(lt, keys, islice(keys, 1, None))):  # quicker than to ask where
        return
    wrong = map(not_, map(lt, keys, later)) if strictly else map(lt, later, keys)
    at = next(compress(count(1), wrong), 0)
    if at:
        raise unsorted_keys(keys[at], keys[at - 1], at)


# What is wrong, as exceptions for the caller to raise ---------------------------------------------------


def nan_key(name: str) -> PenstockError:
    return InvalidValue(f"{name} must not be NaN")


def lossy(name: str, value: object) -> PenstockError:
    return InvalidValue(f"{name} must be a number that a float64 holds without loss, got {shown(value)}")


def not_one_dimensional(name: str, shape: tuple[int, ...]) -> PenstockError:
    return InvalidValue(f"{name} must be one-dimensional, got shape {shape}")


def different_lengths(keys: int, values: int) -> PenstockError:
    return InvalidValue(f"keys and values must be of one length, got {keys} and {values}")


def unsorted_keys(key: object, before: object, at: int) -> PenstockError:
    return UnsortedKeys(f"keys must ascend, got {shown(key)} after {shown(before)} at index {at}")


def untyped_keys(key_type: KeyType) -> PenstockError:
    return InvalidType(f"arrays of keys need key_type {', '.join(ARRAY_KEY_TYPES)}, got {key_type}")


def empty_tree() -> KeyError:
    return KeyError("the tree is empty")


def bad_index(at: int, length: int) -> IndexError:
    if not length:
        return IndexError(f"index must be that of an item, got {shown(at)}: the tree is empty")
    return IndexError(f"index must be in [-{length}, {length}), got {shown(at)}")


def frozen_tree() -> PenstockError:
    return FrozenTree("the tree is frozen: it is a snapshot; copy() gives one to change")


def changed_in_comparison() -> PenstockError:
    return TreeChanged("the tree was changed while keys were compared")


def changed_in_iteration() -> PenstockError:
    return TreeChanged("the tree was changed during iteration")


def broken_tree(rule: str) -> PenstockError:
    return BrokenTree(rule)


def full_tree() -> PenstockError:
    return TreeFull(f"a tree must have at most {MAX_LENGTH} entries")


def not_empty(length: int) -> PenstockError:
    return InvalidValue(f"the tree must be empty to be loaded, got {length} entries")


def base_class() -> PenstockError:
    return InvalidType("BTree is the base of the trees: make a BTreeMap, a BTreeSet or a BTreeMultiMap")
