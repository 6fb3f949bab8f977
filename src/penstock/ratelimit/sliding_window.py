"""Sliding window: at most so many in any stretch of a period, exactly."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["SlidingWindow"]

if TYPE_CHECKING:
    from penstock.ratelimit._sliding_window_py import SlidingWindow
else:
    SlidingWindow = twin(__name__).SlidingWindow
