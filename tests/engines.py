"""The servers and browsers that tests marked `engine` talk to."""

import os
import shutil
from typing import NoReturn

import pytest


def require(engine: str) -> str:
    """The path of an engine's program, such as `chromium`.

    Where it is missing the test skips and says what to do; in CI (`CI=true`) it fails instead.
    """
    return shutil.which(engine) or missing(engine)


def missing(engine: str) -> NoReturn:
    reason = f"{engine} is not installed: run scripts/setup-engines (as root, on Debian)"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
