"""A task that is cancelled stays cancelled, also in a library that swallows the cancellation."""

import asyncio

import pytest

from penstock._cancellation import cancellation_kept


async def swallow(started):
    started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "an answer"


async def keep(started):
    with cancellation_kept():
        return await swallow(started)


async def test_swallowed_cancellation_is_raised_again():
    started = asyncio.Event()
    task = asyncio.create_task(keep(started))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_swallowed_timeout_is_one_all_the_same():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await keep(asyncio.Event())


async def test_cancellation_from_before_is_no_matter():
    async def clean_up():
        try:
            await asyncio.Event().wait()
        finally:
            with cancellation_kept():
                await asyncio.sleep(0)
            done.set()

    done = asyncio.Event()
    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert done.is_set()


async def test_errors_pass_through():
    with pytest.raises(KeyError, match="gone"), cancellation_kept():
        raise KeyError("gone")
