"""The three trees as fixtures, each once per twin."""

from importlib import import_module

import pytest


@pytest.fixture(params=["c", "py"])
def twin(request):
    """The module that holds the trees; one that was not built fails its tests."""
    return import_module(f"penstock.btree._btree_{request.param}")


@pytest.fixture(name="MapTree")
def map_tree(twin):
    return twin.MapTree


@pytest.fixture(name="SetTree")
def set_tree(twin):
    return twin.SetTree


@pytest.fixture(name="MultiMapTree")
def multi_map_tree(twin):
    return twin.MultiMapTree


@pytest.fixture(name="Tree", params=["MapTree", "SetTree", "MultiMapTree"])
def tree(twin, request):
    """Each of the three, for what they have in common."""
    return getattr(twin, request.param)
