"""When a host may be asked again.

Every host has a lane of its own: what is to be asked of it, how much of that goes on, and when the next
may go. Lanes that may go take turns, so a slow host, one with a long Crawl-delay or one that asked for a
pause holds up nobody else. No I/O here: whoever makes the requests takes visits out and gives lanes back.
"""

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf

from penstock.clock import NANOSECONDS, Clock
from penstock.ratelimit import Quota, RateLimiter
from penstock.services.scraper.visit import Visit

__all__ = ["LOW", "WINDOW", "Lane", "Politeness"]

WINDOW = 1_000
"""Visits of one host that are held in memory; more wait in the state."""

LOW = 100
"""Visits below which more are asked for."""

NO_ROOM = 0.1
"""Seconds until a host asks again for which the limiter has no room among a million."""

MAX_HELD = 50_000
"""Visits of all hosts that are held in memory."""


class Lane:
    """One host.

    Its queues are lists, short enough to take from their heads: there may be very many hosts, and an empty
    deque takes ten times the memory.

    Attributes:
        host: authority of its URLs.
        queue: what is to be asked, in order.
        first: what goes before that: redirects and second attempts.
        robots: what goes before all else, also when the lane is blocked: further requests for robots.txt.
        stored: visits that wait in the state alone.
        loaded: number of the last visit that came into memory; those in the state have higher ones.
        in_flight: requests that go on.
        ready_at: nanoseconds before which nothing is asked.
        crawl_delay: nanoseconds from one request to the next; one at a time when it is set.
        blocked: whether nothing else may go: robots.txt is being asked for.
        failures: failed connections in a row, those that went on at the same time counted as one.
        failed_at: nanoseconds of the last one that was counted.
        given_up: why it gets no more requests, in plain words.
        taken: pages asked for so far.
        is_full: whether no more of its pages are wanted.
        is_loading: whether visits are on their way from the state.
        is_listed: whether it is among those that are ready, or wait for a moment.
    """

    __slots__ = (
        "blocked",
        "crawl_delay",
        "failed_at",
        "failures",
        "first",
        "given_up",
        "host",
        "in_flight",
        "is_full",
        "is_listed",
        "is_loading",
        "loaded",
        "queue",
        "ready_at",
        "robots",
        "stored",
        "taken",
    )

    def __init__(self, host: str) -> None:
        self.host = host
        self.queue: list[Visit] = []
        self.first: list[Visit] = []
        self.robots: list[Visit] = []
        self.stored = 0
        self.loaded = 0
        self.in_flight = 0
        self.ready_at = 0
        self.crawl_delay = 0
        self.blocked = False
        self.failures = 0
        self.failed_at = 0
        self.given_up = ""
        self.taken = 0
        self.is_full = False
        self.is_loading = False
        self.is_listed = False


Gate = Callable[[Visit, Lane], Visit | None]
"""Judges the next visit of a lane: returns it, perhaps with a refusal, or another that has to go before it,
or None when it may not go at all (the lane is full)."""


class Politeness:
    """Whose turn it is.

    Args:
        gate: asked before each visit.
        load: told of a lane whose visits in the state are wanted; `loaded` brings them.
        clock: returns int nanoseconds.
        per_host: requests at once to one host.
        rate: requests a second to one host; None for no limit.
        burst: requests that may come at once.

    Attributes:
        in_progress: visits that were taken and not released.
        held: visits in memory that wait.
        stored: visits that wait in the state alone.
        given_up: hosts that get no more requests.
    """

    def __init__(
        self,
        gate: Gate,
        load: Callable[[Lane], None],
        clock: Clock,
        *,
        per_host: int,
        rate: float | None,
        burst: int,
    ) -> None:
        self._gate = gate
        self._load = load
        self._clock = clock
        self._per_host = per_host
        self._limiter = RateLimiter(quota_of(rate, burst), clock=clock) if rate is not None else None
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._waiting: list[tuple[int, int, Lane]] = []
        self._later: list[tuple[int, int, Visit]] = []
        self._order = count()
        self.in_progress = 0
        self.held = 0
        self.stored = 0
        self.given_up = 0

    def lane(self, host: str) -> Lane:
        """The lane of a host; made when it is new."""
        lane = self._lanes.get(host)
        if lane is None:
            lane = self._lanes[host] = Lane(host)
        return lane

    def knows(self, host: str) -> bool:
        """Whether a host has a lane."""
        return host in self._lanes

    @property
    def hosts(self) -> int:
        """Lanes; that of what has no host is none."""
        return len(self._lanes) - ("" in self._lanes)

    @property
    def is_ready(self) -> bool:
        """Whether a lane may have something that goes now."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """Lanes with visits that wait for a moment."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """Visits that wait, for a turn, a moment or their loading, and those in progress."""
        return self.held + self.stored + self.in_progress

    def add(self, visit: Visit) -> None:
        """Queues a visit that was just stored; memory holds it if there is room."""
        lane = self.lane(visit.host)
        if lane.is_full:
            return
        if lane.stored or len(lane.queue) >= WINDOW or self.held >= MAX_HELD:
            lane.stored += 1
            self.stored += 1
        else:
            lane.loaded = visit.id
            lane.queue.append(visit)
            self.held += 1
        self._list(lane)

    def add_stored(self, host: str, number: int) -> None:
        """Tells of visits that wait in the state since an earlier run."""
        lane = self.lane(host)
        lane.stored += number
        self.stored += number
        self._list(lane)

    def loaded(self, lane: Lane, visits: list[Visit]) -> None:
        """Brings visits that were asked for; none when there are none any more."""
        lane.is_loading = False
        if lane.is_full:
            return
        gone = len(visits) if visits else lane.stored
        lane.stored -= gone
        self.stored -= gone
        lane.queue.extend(visits)
        self.held += len(visits)
        if visits:
            lane.loaded = visits[-1].id
        self._list(lane)

    def add_first(self, visit: Visit) -> None:
        """Lets a visit go before all others of its host."""
        lane = self.lane(visit.host)
        (lane.robots if visit.kind == "robots" else lane.first).append(visit)
        self.held += 1
        self._list(lane)

    def add_later(self, visit: Visit, seconds: float) -> None:
        """The same, in so many seconds."""
        self.held += 1
        heappush(self._later, (self._clock() + round(seconds * NANOSECONDS), next(self._order), visit))

    def hold(self, lane: Lane, seconds: float) -> None:
        """Asks nothing of a host for so many seconds."""
        lane.ready_at = max(lane.ready_at, self._clock() + round(seconds * NANOSECONDS))

    def unblock(self, lane: Lane) -> None:
        """Lets the queue of a lane go."""
        lane.blocked = False
        self._list(lane)

    def failed(self, lane: Lane, began: int) -> int:
        """Counts a failed connection; returns how many there were in a row since one that came through.

        Args:
            lane: of the host.
            began: nanoseconds when it was begun: of many that failed together, one counts.
        """
        if began >= lane.failed_at:
            lane.failures += 1
            lane.failed_at = self._clock()
        return lane.failures

    def give_up(self, lane: Lane, words: str) -> None:
        """Asks nothing more of a host; its visits go at once, without a request."""
        lane.given_up = words
        lane.ready_at = 0
        lane.blocked = False
        lane.is_listed = False  # it may wait for a later moment; being listed twice does no harm
        self.given_up += 1
        self._list(lane)

    def close(self, lane: Lane) -> None:
        """Wants no more of a host's pages; they stay in the state."""
        lane.is_full = True
        self.held -= len(lane.queue)
        self.stored -= lane.stored
        lane.queue.clear()
        lane.stored = 0

    def take(self) -> Visit | None:
        """The next visit that may go now; `release` gives it back. None when none may."""
        now = self._clock()
        self._wake(now)
        while self._ready:
            lane = self._ready.popleft()
            lane.is_listed = False
            visit = self._take_from(lane, now)
            if visit is not None:
                return visit
        return None

    def next_at(self) -> int | None:
        """Nanoseconds when the next visit may go that only waits for a moment; None when none does."""
        moments = [heap[0][0] for heap in (self._waiting, self._later) if heap]
        return min(moments) if moments else None

    def release(self, visit: Visit) -> None:
        """A visit that was taken is over, or goes on elsewhere."""
        self.in_progress -= 1
        if visit.lane is not None:
            visit.lane.in_flight -= 1
            self._list(visit.lane)
            visit.lane = None

    def _wake(self, now: int) -> None:
        while self._later and self._later[0][0] <= now:
            visit = heappop(self._later)[2]
            self.held -= 1
            self.add_first(visit)
        while self._waiting and self._waiting[0][0] <= now:
            lane = heappop(self._waiting)[2]
            lane.is_listed = False
            self._list(lane)

    def _list(self, lane: Lane) -> None:
        if lane.is_listed or not self._has_work(lane):
            return
        if lane.in_flight >= self._most_at_once(lane):
            return  # its release lists it again
        lane.is_listed = True
        if lane.ready_at > self._clock():
            heappush(self._waiting, (lane.ready_at, next(self._order), lane))
        else:
            self._ready.append(lane)

    def _most_at_once(self, lane: Lane) -> float:
        if lane.given_up:
            return inf  # no requests any more
        return 1 if lane.crawl_delay else self._per_host

    def _has_work(self, lane: Lane) -> bool:
        if lane.blocked:
            return bool(lane.robots)
        return bool(lane.robots or lane.first or lane.queue or (lane.stored and not lane.is_loading))

    def _take_from(self, lane: Lane, now: int) -> Visit | None:
        if lane.stored and len(lane.queue) < LOW and not lane.is_loading:
            lane.is_loading = True
            self._load(lane)
        if lane.ready_at > now or lane.in_flight >= self._most_at_once(lane):
            self._list(lane)
            return None
        queue = lane.robots or (lane.first or lane.queue if not lane.blocked else None)
        if not queue:
            return None
        visit = self._gate(queue[0], lane)
        if visit is None:
            self._list(lane)
            return None
        if not (visit.refusal or lane.given_up):
            if not self._goes_now(lane, now):
                return None
            visit.lane = lane
        if visit is queue[0]:
            del queue[0]
            self.held -= 1
        else:
            lane.blocked = True  # it has to be done before the one that waits
        self.in_progress += 1
        self._list(lane)
        return visit

    def _goes_now(self, lane: Lane, now: int) -> bool:
        """Takes a token, or lists the lane for the moment when there is one."""
        if self._limiter is not None and not self._limiter.allow(lane.host):
            wait = self._limiter.retry_after(lane.host) or NO_ROOM
            lane.ready_at = now + ceil(wait * NANOSECONDS)
            self._list(lane)
            return False
        lane.in_flight += 1
        if lane.crawl_delay:
            lane.ready_at = now + lane.crawl_delay
        return True


def quota_of(rate: float, burst: int) -> Quota:
    """So many requests a second, as a quota of whole ones."""
    if rate >= 1 and rate == int(rate):
        return Quota(int(rate), 1.0, burst=burst)
    return Quota(1, 1.0 / rate, burst=burst)
