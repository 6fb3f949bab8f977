"""A request has 0.1 s; every call below it knows how much of that is left."""

import asyncio

from penstock.fanout import Context, DeadlineExceeded


async def call(context: Context, name: str, seconds: float, patience: float) -> None:
    """Patience is the caller's own; what is left of the request may be less."""
    async with context.with_timeout(patience) as own:
        print(f"{name}: {own.remaining() or 0:.3f} s for request {own.value('id')}")
        await asyncio.sleep(seconds)


async def handle(context: Context) -> None:
    await call(context, "users", 0.03, patience=1.0)
    try:
        await call(context, "recommendations", 10, patience=0.03)
    except DeadlineExceeded:
        print("no recommendations today")
    await call(context, "orders", 10, patience=1.0)


async def main() -> None:
    try:
        async with Context().with_value("id", 42).with_timeout(0.1) as context:
            await handle(context)
    except DeadlineExceeded as error:
        print(f"request 42: {error}")


if __name__ == "__main__":
    asyncio.run(main())
