"""Fan-out and fan-in: the same work on many items, and its results in one place."""

from penstock.fanout.bounded import bounded

__all__ = ["bounded"]
