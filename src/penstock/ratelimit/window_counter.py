"""Sliding window counter: nearly so many in any stretch of a period, in 16 bytes."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["SlidingWindowCounter"]

if TYPE_CHECKING:
    from penstock.ratelimit._window_counter_py import SlidingWindowCounter
else:
    SlidingWindowCounter = twin(__name__).SlidingWindowCounter
