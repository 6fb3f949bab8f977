"""Limiters that are copied, never initialised or wrapped around objects without a name."""

import asyncio
import copy
import functools
import pickle
import subprocess
import sys

import pytest

from penstock import PenstockError
from penstock.ratelimit import ConcurrencyLimiter
from twins import load

HOW = [copy.copy, copy.deepcopy, pickle.dumps, lambda limiter: pickle.dumps(limiter, 0)]


@pytest.fixture(params=["c", "py"])
def impl(request):
    return request.param


@pytest.mark.parametrize("how", HOW)
def test_limiters_refuse_to_be_copied_and_pickled(impl, how, tmp_path):
    bucket = load("penstock.ratelimit.token_bucket", impl)(1, 2)
    limiters = [
        bucket,
        bucket.reserve(),
        load("penstock.ratelimit.sliding_window", impl)(1),
        load("penstock.ratelimit.window_counter", impl)(1),
        load("penstock.ratelimit.shared_limiter", impl)("1/s", path=tmp_path / "shared", slots=32),
        load("penstock.ratelimit.limiter", impl)("1/s"),
        ConcurrencyLimiter(1),
    ]
    for limiter in limiters:
        with pytest.raises(
            TypeError, match=f"^{type(limiter).__name__} must not be copied or pickled: "
        ) as no:
            how(limiter)
        assert isinstance(no.value, PenstockError)


def test_bucket_that_nobody_initialised_does_not_end_the_process():
    program = """
from contextlib import suppress
from penstock.ratelimit._token_bucket_c import TokenBucket
for call in "peek", "allow", "retry_after", "acquire", "refund", "reserve":
    with suppress(Exception):
        getattr(TokenBucket.__new__(TokenBucket), call)()
with suppress(Exception):
    TokenBucket.__new__(TokenBucket).tokens
print("alive")
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "alive\n"


def test_object_with_an_async_call_is_limited_as_a_coroutine_function(impl):
    class Call:
        async def __call__(self):
            return 5

    limiter = load("penstock.ratelimit.limiter", impl)("1/day")
    limited = limiter.limit("key", on_limited="wait")(Call())

    async def second_call_waits_without_blocking_the_loop():
        assert await limited() == 5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limited(), 0.001)

    asyncio.run(second_call_waits_without_blocking_the_loop())


def test_decorator_asks_for_a_key_where_there_is_no_name(impl):
    limiter = load("penstock.ratelimit.limiter", impl)("1/day")
    with pytest.raises(TypeError, match="key must be given for what has no name of its own, a partial"):
        limiter.limit()(functools.partial(print))
    assert limiter.limit("key")(functools.partial(int, 5))() == 5
