"""How hypothesis searches: at random here, the same inputs every time in CI."""

import os

from hypothesis import HealthCheck, settings

# deadline: the machines are shared, and a slow example is no wrong one
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")
