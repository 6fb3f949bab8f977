"""Retry a call that fails twice, waiting longer each time."""

import time

from penstock.resilience import ExponentialBackoff


def main() -> None:
    backoff = ExponentialBackoff(0.1, limit=1.0, jitter="equal")
    for failures in range(1, 4):
        if answered(failures):
            print(f"try {failures}: answered")
            return
        wait = backoff.delay(failures)
        print(f"try {failures}: refused, next try in {wait:.2f} s")
        time.sleep(wait)


def answered(tries: int) -> bool:
    """Stands for a call to a service that needs a moment to come up."""
    return tries == 3


if __name__ == "__main__":
    main()
