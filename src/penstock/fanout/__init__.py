"""Fan-out and fan-in: the same work on many items, and its results in one place.

The patterns, one file each: `sequential`, `unbounded`, `bounded`, `rate_limited`, `backpressure` and
`pipeline` do work on items; `select`, `Condition`, `Once` and `Context` are what tasks tell each other by.
"""

from penstock.fanout.backpressure import AimdLimit, backpressure
from penstock.fanout.bounded import bounded
from penstock.fanout.condition import Condition
from penstock.fanout.context import Context, ContextCancelled, ContextInUse, DeadlineExceeded
from penstock.fanout.once import Once, OnceReentered, SingleFlight
from penstock.fanout.pipeline import pipeline, stage
from penstock.fanout.rate_limited import rate_limited
from penstock.fanout.select import NothingReady, Select, SelectBusy, SourcesEnded, select
from penstock.fanout.sequential import sequential
from penstock.fanout.unbounded import unbounded

__all__ = [
    "AimdLimit",
    "Condition",
    "Context",
    "ContextCancelled",
    "ContextInUse",
    "DeadlineExceeded",
    "NothingReady",
    "Once",
    "OnceReentered",
    "Select",
    "SelectBusy",
    "SingleFlight",
    "SourcesEnded",
    "backpressure",
    "bounded",
    "pipeline",
    "rate_limited",
    "select",
    "sequential",
    "stage",
    "unbounded",
]
