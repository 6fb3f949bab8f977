"""At most five requests in any ten seconds: an exact window and a counter beside it, on one clock."""

from penstock.clock import ManualClock
from penstock.ratelimit import SlidingWindow, SlidingWindowCounter


def main() -> None:
    clock = ManualClock()  # leave it out for the clock of the system
    window = SlidingWindow(5, 10, clock=clock)
    counter = SlidingWindowCounter(5, 10, clock=clock)
    for second in (1, 2, 7, 8, 9, 9, 10.5, 11.5, 14, 17.5, 22):
        clock.now = round(second * 1_000_000_000)
        for name, limiter in (("window", window), ("counter", counter)):
            result = limiter.check()
            answer = "yes" if result else f"no, again in {result.retry_after:.2f} s"
            print(f"{second:4} s  {name:7}  count {result.count}  {answer}")


if __name__ == "__main__":
    main()
