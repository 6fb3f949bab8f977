"""What a moment costs on the precise timer, and how late it wakes."""

import asyncio
from statistics import quantiles

from penstock.clock import monotonic_ns
from penstock.timer import Timer

FAR = 3_600 * 10**9


class Moments:
    def setup(self):
        self.loop = asyncio.new_event_loop()

    def teardown(self):
        self.loop.close()

    def time_set_and_cancel_1k_moments(self):
        async def run():
            with Timer() as timer:
                now = monotonic_ns() + FAR
                for handle in [timer.call_at(now + step, print) for step in range(1_000)]:
                    handle.cancel()

        self.loop.run_until_complete(run())

    def time_1k_callbacks_due_at_once(self):
        async def run():
            with Timer() as timer:
                done = asyncio.Event()
                now = monotonic_ns()
                for step in range(1_000):
                    timer.call_at(now + step, int)
                timer.call_at(now + 1_000, done.set)
                await done.wait()

        self.loop.run_until_complete(run())


class Lateness:
    params = (50, 99)
    param_names = ("percentile",)

    def track_us_late_at_1300_us_steps(self, percentile):
        async def run():
            late, at = [], monotonic_ns()
            with Timer() as timer:
                for _ in range(500):
                    at += 1_300_000
                    await timer.sleep_until(at)
                    late.append((monotonic_ns() - at) / 1_000)
            return quantiles(late, n=100)[percentile - 1]

        return asyncio.run(run())

    track_us_late_at_1300_us_steps.unit = "us"
