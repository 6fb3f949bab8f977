"""Results of pings that were not made."""

from datetime import UTC, datetime, timedelta

from penstock.probing.exchange import Exchange, Phases
from penstock.services.pinger.model import Attempt, Hop, PingResult

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_ping(name="shop", *, ok=True, after=0.0, ms=10.0, number=1, **changes):
    """A ping of the target `name`, begun so many seconds after MOMENT."""
    status = 200 if ok else 503
    last = Exchange(status=status, phases=Phases(wait=round(ms * 1e6), total=round(ms * 1e6)))
    members = {
        "timestamp": MOMENT + timedelta(seconds=after),
        "url": f"http://{name}.example/",
        "status": status,
        "latency_ms": ms,
        "error": "",
        "attempts": 1,
        "name": name,
        "number": number,
        "total": round(ms * 1e6),
        "tries": (Attempt((Hop(f"http://{name}.example/", last),), status, ""),),
    }
    return PingResult(**members | changes)
