"""A sink that counts."""

from penstock.services.caller.model import Call
from penstock.services.outcomes import Outcomes

__all__ = ["Summary"]


class Summary(Outcomes):
    """Counts rows in memory that does not grow with them.

    Attributes:
        size: bytes of bodies that were read.
        repeated: attempts after the first ones.
        waited: seconds that requests waited for the limit, added up.
        longest_wait: seconds, of one request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.repeated = 0
        self.waited = 0.0
        self.longest_wait = 0.0

    def add_call(self, call: Call) -> None:
        """Counts one row."""
        self.add(call)
        self.size += call.size
        self.repeated += max(call.attempts - 1, 0)
        self.waited += call.waited_ms / 1e3
        self.longest_wait = max(self.longest_wait, call.waited_ms / 1e3)
