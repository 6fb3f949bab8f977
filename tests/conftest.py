"""How hypothesis searches, which tests a run on one twin has, and what a run of many tests needs."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from ports import free_port

# at random here, the same inputs every time in CI; no deadline, for the machines are shared and a slow
# example is no wrong one
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


def is_of_the_other_twin(test: pytest.Item, chosen: str) -> bool:
    """Whether a test has a twin for a parameter, and not the chosen one."""
    given = getattr(test, "callspec", None)
    values = given.params.values() if given else ()
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    twins = {part for part in parts if isinstance(part, str) and part in ("c", "py")}
    return len(twins) == 1 and chosen not in twins


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`PENSTOCK_IMPL=c` and `=py` each leave out the tests of the other twin; `make test` has them all."""
    if chosen := os.environ.get("PENSTOCK_TEST_TWIN"):
        left_out = [test for test in items if is_of_the_other_twin(test, chosen)]
        items[:] = [test for test in items if not is_of_the_other_twin(test, chosen)]
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Spares what has been collected, tests above all, of which a run has 20,000.

    They stay until the end, and each collection of garbage went through them, which was most of its time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def unused_tcp_port() -> int:
    """Nobody else gets it while the test runs, as may happen to that of pytest-asyncio, which it replaces."""
    return free_port()
