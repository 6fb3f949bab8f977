"""Fixtures that run a test once per twin."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

HOT_PATHS = {
    "penstock.balancing.weighted_round_robin": "WeightedRoundRobin",
    "penstock.btree.btree": "BTree",
    "penstock.cache.cache": "Cache",
    "penstock.cache.cached_function": "CachedFunction",
    "penstock.hashring.anchor_buckets": "AnchorBuckets",
    "penstock.hashring.jump": "jump_hash",
    "penstock.hashring.key_hash": "KeyHash",
    "penstock.hashring.maglev_slots": "MaglevSlots",
    "penstock.hashring.placement": "Placement",
    "penstock.hashring.rendezvous_bids": "RendezvousBids",
    "penstock.hashring.ring_points": "RingPoints",
    "penstock.observability.histogram": "Histogram",
    "penstock.probing.load": "LoadLoop",
    "penstock.probing.response_parser": "ResponseParser",
    "penstock.probing.pool": "Pool",
    "penstock.probing.sockets": "Sockets",
    "penstock.probing.transports": "Transports",
    "penstock.protobuf.message": "Message",
    "penstock.protobuf.varint": "decode_varint",
    "penstock.protobuf.wire_reader": "WireReader",
    "penstock.ratelimit.limiter": "RateLimiter",
    "penstock.ratelimit.result": "RateLimitResult",
    "penstock.ratelimit.sliding_window": "SlidingWindow",
    "penstock.ratelimit.shared_limiter": "SharedRateLimiter",
    "penstock.ratelimit.token_bucket": "TokenBucket",
    "penstock.ratelimit.window_counter": "SlidingWindowCounter",
    "penstock.search.inverted_index": "TermIndex",
    "penstock.search.words": "WordSplitter",
    "penstock.services.distributor.inputs.syslog_lines": "SyslogLines",
    "penstock.services.distributor.packet_scan": "PacketReader",
}
"""Public module -> its class, or its function. Each has the twins _NAME_c and _NAME_py beside it."""


def load(module: str, impl: str) -> Any:
    """One twin of a hot path; a twin that was not built fails here, it is never skipped."""
    room, _, name = module.rpartition(".")
    return getattr(import_module(f"{room}._{name}_{impl}"), HOT_PATHS[module])


def both_twins(module: str) -> Callable[..., Any]:
    """A fixture that is the class of a hot path, once compiled and once in pure Python."""

    @pytest.fixture(params=["c", "py"], name=HOT_PATHS[module])
    def twin(request: pytest.FixtureRequest) -> Any:
        return load(module, request.param)

    return twin
