"""Answer clients by their limits: two quotas, one client with quotas of its own, a flood of strangers."""

from penstock.clock import ManualClock
from penstock.ratelimit import RateLimiter, RateLimitExceeded


def main() -> None:
    clock = ManualClock()  # a service leaves it out, and gets the clock of the system
    limiter = RateLimiter("3/second", "10/minute", maxsize=1_000, clock=clock)
    limiter.set_quota("partner", "100/second")

    for client in ("anna", "anna", "anna", "anna", "partner"):
        result = limiter.check(client)
        print(f"{client}: {'200' if result else '429'} {result.headers()['RateLimit']}")

    flood = [f"stranger-{number}" for number in range(10_000)]
    answered = int(limiter.allow_many(flood).sum())
    print(f"{answered:,} strangers answered, {len(limiter):,} keys held")
    print(f"anna is still out, for {limiter.retry_after('anna'):.2f} s")

    clock.advance(limiter.retry_after("anna"))
    print("anna, a moment later:", "200" if limiter.allow("anna") else "429")

    @limiter.limit(lambda client: client)
    def report(client: str) -> str:
        return f"a report for {client}"

    try:
        while True:
            print(report("ben"))
    except RateLimitExceeded as refused:
        print(f"ben is asked to wait {refused.retry_after:.2f} s")


if __name__ == "__main__":
    main()
