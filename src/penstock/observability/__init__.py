"""What a program knows about itself: how long things take, and its figures for Prometheus."""

from penstock.observability.exposition import Exposition
from penstock.observability.histogram import Bucket, Histogram, InvalidEncoding, Level

__all__ = ["Bucket", "Exposition", "Histogram", "InvalidEncoding", "Level"]
