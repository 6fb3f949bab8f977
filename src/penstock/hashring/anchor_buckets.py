"""Anchor buckets: they come and go, while no key moves that need not."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["AnchorBuckets"]

if TYPE_CHECKING:
    from penstock.hashring._anchor_buckets_py import AnchorBuckets
else:
    AnchorBuckets = twin(__name__).AnchorBuckets
