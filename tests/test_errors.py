"""What every exception of penstock has in common."""

import inspect
import pkgutil
from importlib import import_module

import pytest

import penstock
from penstock.errors import InvalidType, InvalidValue, PenstockError


def every_exception():
    """What the modules offer in __all__: an exception that never leaves its module may be of any kind."""
    for found in pkgutil.walk_packages(penstock.__path__, "penstock."):
        if found.name != "penstock.__main__":
            module = import_module(found.name)
            offered = (getattr(module, name) for name in getattr(module, "__all__", ()))
            yield from (each for each in offered if inspect.isclass(each) and issubclass(each, Exception))


@pytest.mark.parametrize(("error", "builtin"), [(InvalidValue, ValueError), (InvalidType, TypeError)])
def test_error_is_caught_as_penstock_error_and_as_its_builtin(error, builtin):
    with pytest.raises(builtin, match="rate must be > 0"):
        raise error("rate must be > 0 per second, got -1.0")
    with pytest.raises(PenstockError, match="rate must be > 0"):
        raise error("rate must be > 0 per second, got -1.0")


def test_every_exception_is_a_penstock_error_and_a_builtin_too():
    found = set(every_exception())
    assert {PenstockError, InvalidValue, InvalidType} <= found
    for cls in found - {PenstockError}:
        assert issubclass(cls, PenstockError), cls
        builtins = [base for base in cls.__mro__ if base.__module__ == "builtins"]
        assert builtins[0] not in (Exception, BaseException), cls


def test_root_of_errors_is_importable_from_the_package():
    assert penstock.PenstockError is PenstockError
