"""How much a message from outside may ask for."""

from dataclasses import dataclass
from typing import Literal

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf import faults

__all__ = ["DEFAULT_OPTIONS", "DecodeOptions"]

MOST = {
    "max_size": (1 << 31) - 1,
    "max_depth": 1000,  # a level of nesting is a call of a C function
    "max_elements": (1 << 31) - 1,
    "max_memory": 1 << 46,
    "max_unknown": (1 << 31) - 1,
}


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """The limits that bytes from outside must keep, checked before anything is allocated for them.

    Args:
        max_size: bytes of the whole input, at most 2 GiB - 1.
        max_depth: messages, groups and map entries within each other, the outermost being level 1; at most
            1000.
        max_elements: elements of lists, entries of maps and sub-messages, in all.
        max_memory: bytes that the message may take as Python objects, by an estimate that is no lower
            than what CPython takes on a 64-bit machine.
        max_unknown: unknown fields, in all, those dropped included; one inside an unknown group counts too.
        unknown: what becomes of fields that the schema does not know: kept and written back, dropped, or
            refused with DecodeError.
        partial: whether a message may lack required fields of proto2.

    Raises:
        ValueError: a limit is below 0 (max_depth: 1) or above what is possible, or `unknown` is none of the
            three.
        TypeError: a limit is no integer.
    """

    max_size: int = 64 << 20
    max_depth: int = 100
    max_elements: int = 1 << 22
    max_memory: int = 256 << 20
    max_unknown: int = 1 << 20
    unknown: Literal["keep", "drop", "error"] = "keep"
    partial: bool = False

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value, least = getattr(self, name), int(name == "max_depth")
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidType(f"{name} must be an integer, got {type(value).__name__}")
            if not least <= value <= most:
                raise InvalidValue(f"{name} {faults.out_of_range(least, most, value)}")
        if self.unknown not in ("keep", "drop", "error"):
            raise InvalidValue(f"unknown must be keep, drop or error, got {self.unknown!r}")
        if not isinstance(self.partial, bool):
            raise InvalidType(f"partial must be a bool, got {type(self.partial).__name__}")


DEFAULT_OPTIONS = DecodeOptions()
"""What holds where no options are given."""
