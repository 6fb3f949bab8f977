"""What the processes of one run say to each other, over pipes: pickled, each after its length."""

import pickle
from typing import BinaryIO, NamedTuple

from penstock.services.pinger.figures import Figures, TargetFigures
from penstock.services.pinger.lag import Lag
from penstock.services.pinger.model import PingResult, Target
from penstock.services.pinger.schedule import Share
from penstock.services.pinger.settings import Settings

__all__ = [
    "LENGTH_BYTES",
    "LIMITED_HOSTS",
    "Failed",
    "Message",
    "More",
    "NoMore",
    "Progress",
    "Ready",
    "Rows",
    "Start",
    "Stop",
    "packed",
    "read_message",
    "unpacked",
]

LENGTH_BYTES = 4

LIMITED_HOSTS = 65_536
"""Hosts that the workers can limit at one time."""


class Start(NamedTuple):
    """To a worker: what to do.

    Attributes:
        settings: of the run.
        share: which turns are the worker's.
        targets: all of them; None when they come one by one, in More.
        rows: whether the results are wanted, and not their figures alone.
        limits: path of the file with which the workers keep `per_host` together; None where there is none.
    """

    settings: Settings
    share: Share
    targets: list[Target] | None
    rows: bool
    limits: str | None = None


class More(NamedTuple):
    """To a worker: another target."""

    target: Target


class NoMore(NamedTuple):
    """To a worker: there are no further targets."""


class Stop(NamedTuple):
    """To a worker: end now, and tell what you have."""


class Ready(NamedTuple):
    """From a worker: it has started."""


class Rows(NamedTuple):
    """From a worker: results, in the order in which they finished."""

    results: list[PingResult]


class Progress(NamedTuple):
    """From a worker: its figures, from the beginning until now.

    Attributes:
        engine: its name.
        overall: figures of all its pings.
        targets: figures of each target; at the end only, they are many.
        slice_ns, most, now: of InFlight.
        lag: its own.
        user_clock, starts, first_start, last_start, retries_refused, left_out: of Recorder.
        last: whether it was the last word.
    """

    engine: str
    overall: Figures
    targets: TargetFigures | None
    slice_ns: int
    most: list[int]
    now: int
    lag: Lag
    user_clock: int
    starts: int
    first_start: int
    last_start: int
    retries_refused: int
    left_out: int
    last: bool


class Failed(NamedTuple):
    """From a worker: it cannot go on, and why."""

    why: str


Message = Start | More | NoMore | Stop | Ready | Rows | Progress | Failed


def packed(message: Message) -> bytes:
    """The message as it goes through a pipe."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def unpacked(content: bytes) -> Message:
    """The message that follows its length. Only what our own processes send is ever read."""
    message: Message = pickle.loads(content)  # noqa: S301 - through a pipe that we have made
    return message


def read_message(pipe: BinaryIO) -> Message | None:
    """The next message of a blocking pipe; None at its end."""
    length = pipe.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    content = pipe.read(int.from_bytes(length, "big"))
    return unpacked(content)
