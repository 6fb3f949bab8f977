"""Four workers of one host share a limit of 100 an hour, without a server between them."""

import os
import tempfile
from pathlib import Path

from penstock.ratelimit import SharedRateLimiter

WORKERS = 4


def serve(path):
    """What a worker does: it opens the file itself, and answers as many requests as it may."""
    with SharedRateLimiter("100/hour", path=path, slots=1024) as limiter:
        return sum(limiter.allow("198.51.100.7") for _ in range(60))


def start(path):
    """Forks a worker, which ends with the number of its answers as its status."""
    worker = os.fork()
    if worker == 0:
        os._exit(serve(path))
    return worker


def main():
    with tempfile.TemporaryDirectory() as folder:  # a service would use its directory in /run
        path = Path(folder, "limits")
        workers = [start(path) for _ in range(WORKERS)]
        answered = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
        print(f"each worker was asked 60 times and answered: {answered}")
        print(f"all together: {sum(answered)} of 100 that are allowed")

        with SharedRateLimiter("100/hour", path=path, slots=1024) as limiter:
            refused = limiter.check("198.51.100.7")
            print(f"the next one may come in {refused.retry_after:.0f} s")
            print(f"another client: {'answered' if limiter.allow('203.0.113.9') else 'refused'}")


if __name__ == "__main__":
    main()
