"""The real data that tests marked `data` read."""

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).parents[2] / "shared" / "data"


def require(path: str) -> Path:
    """A file or folder of the data, such as `logs/apache_access`.

    The data lies in PENSTOCK_TEST_DATA, else in ../shared/data beside the repository. It is no part of
    the repository, so a test skips without it and says so, all in the same words; a PENSTOCK_TEST_DATA
    that lacks the file is a mistake, and fails.
    """
    named = os.environ.get("PENSTOCK_TEST_DATA")
    found = Path(named or DEFAULT) / path
    if found.exists():
        return found
    if named:
        pytest.fail(f"PENSTOCK_TEST_DATA must hold {path}, got {named}", pytrace=False)
    pytest.skip("no real data: set PENSTOCK_TEST_DATA to the folder that holds it, or use ../shared/data")
