"""penstock: compiled hot paths, building blocks and services for Python backends under real traffic.

Import what you need from its room: `from penstock.ratelimit import TokenBucket`.

Attributes:
    implementation: "c" when the compiled twins run, "py" when the pure-Python ones do.
"""

from penstock._twins import implementation
from penstock.errors import PenstockError

__all__ = ["PenstockError", "__version__", "implementation"]

__version__ = "0.1.0"
