"""Spread work 40/30/20/10 over four members, one of which goes out for a while and comes back."""

from collections import Counter

from penstock.balancing import WeightedRoundRobin


def main() -> None:
    analyzers = WeightedRoundRobin({"A": 40, "B": 30, "C": 20, "D": 10})
    print("in turn:      ", " ".join(analyzers.pick() for _ in range(10)))

    print("all up:       ", shares(analyzers, 1_000))
    analyzers.mark_down("B")
    print("B is out:     ", shares(analyzers, 700))
    analyzers.mark_up("B")
    print("B is back:    ", shares(analyzers, 1_000))

    analyzers.pick()
    print("owed by now:  ", ", ".join(f"{name} {owed}" for name, owed in analyzers.credits().items()))


def shares(analyzers: WeightedRoundRobin[str], n: int) -> str:
    counts = Counter(analyzers.members[i] for i in analyzers.pick_many(n))
    return ", ".join(f"{name} {counts[name]}" for name in analyzers.members)


if __name__ == "__main__":
    main()
