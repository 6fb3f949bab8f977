"""A caller that may go five times a second, with bursts of three, and waits when told to."""

from time import monotonic, sleep

from penstock.ratelimit import TokenBucket


def main() -> None:
    bucket = TokenBucket(rate=5, capacity=3)
    start = monotonic()
    for request in range(1, 9):
        while not bucket.allow():
            sleep(bucket.retry_after())
        print(f"{monotonic() - start:5.2f} s  request {request}")


if __name__ == "__main__":
    main()
