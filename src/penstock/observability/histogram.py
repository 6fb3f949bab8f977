"""Histogram: percentiles of any number of values, to so many digits, in memory that does not grow."""

from typing import TYPE_CHECKING

from penstock._twins import twin
from penstock.observability._histogram_py import Bucket, InvalidEncoding, Level

__all__ = ["Bucket", "Histogram", "InvalidEncoding", "Level"]

if TYPE_CHECKING:
    from penstock.observability._histogram_py import Histogram
else:
    Histogram = twin(__name__).Histogram
