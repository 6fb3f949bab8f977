"""The moments of one exchange, from which its phases come."""

from penstock.probing.exchange import Phases

__all__ = ["Moments"]


class Moments:
    """When each step of an exchange was made: monotonic nanoseconds, 0 for what has not come.

    Attributes:
        began: the beginning.
        dns: how long the name took.
        queued: how long it waited for its turn to connect.
        connecting: when it began to connect.
        connected: when TCP was.
        secured: when TLS was.
        sent: when the request was handed on.
        first: when the first bytes of the answer came.
        last: when the last ones did.
    """

    __slots__ = (
        "began",
        "connected",
        "connecting",
        "dns",
        "first",
        "last",
        "queued",
        "secured",
        "sent",
    )

    def __init__(self, began: int) -> None:
        self.began = began
        self.dns = 0
        self.queued = 0
        self.connecting = 0
        self.connected = 0
        self.secured = 0
        self.sent = 0
        self.first = 0
        self.last = 0

    def phases(self, failed_at: int, *, secure: bool) -> Phases:
        """Where the time went; the step that failed has lasted until then.

        Args:
            failed_at: when it failed, 0 when it did not.
            secure: whether there was, or should have been, TLS on a new connection.
        """
        ended = failed_at or self.last
        tls = 0
        if secure and self.connected:
            tls = (self.secured or ended) - self.connected
        return Phases(
            self.dns,
            (self.connected or ended) - self.connecting if self.connecting else 0,
            tls,
            (self.first or ended) - self.sent if self.sent else 0,
            ended - self.first if self.first else 0,
            ended - self.began - self.queued,
        )
