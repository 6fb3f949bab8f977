"""The one switch between compiled hot paths and their pure-Python twins.

`PENSTOCK_IMPL=c` asks for the compiled twins, `py` for the pure-Python ones; unset takes the compiled
ones if they were built. They are built all or none (see setup.py), so a process never mixes the two.
"""

import os
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType
from typing import Literal, cast

__all__ = ["implementation", "twin"]


def _chosen() -> Literal["c", "py"]:
    asked = os.environ.get("PENSTOCK_IMPL", "")
    if asked not in ("", "c", "py"):
        raise ImportError(f"PENSTOCK_IMPL must be c, py or unset, got {asked!r}")
    if asked:
        return cast('Literal["c", "py"]', asked)
    with os.scandir(os.path.dirname(__file__)) as entries:  # not pathlib, whose import takes long
        rooms = [entry.path for entry in entries if entry.is_dir()]
    ending = f"_c{EXTENSION_SUFFIXES[0]}"
    return "c" if any(name.endswith(ending) for room in rooms for name in os.listdir(room)) else "py"


implementation: Literal["c", "py"] = _chosen()


def twin(public: str) -> ModuleType:
    """The chosen twin of a public module: `penstock.room.name` gives `penstock.room._name_c` or `_name_py`.

    Raises:
        ImportError: the compiled twin was asked for or built, but cannot be loaded.
    """
    room, _, name = public.rpartition(".")
    return import_module(f"{room}._{name}_{implementation}")
