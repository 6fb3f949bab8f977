"""A cache cluster on a hash ring grows from three nodes to four, and few keys change places."""

from collections.abc import Iterator

from penstock.hashring import FrozenRing, HashRing

VIRTUAL_NODES = 50
ADDRESSES = {
    "cache-a": "10.0.0.1:6379",
    "cache-b": "10.0.0.2:6379",
    "cache-c": "10.0.0.3:6379",
    "cache-d": "10.0.0.4:6379",
}
KEYS = ["user:alice", "user:bob", "session:xyz", "product:123", "cart:456"]
MANY_KEYS = [f"key:{i}" for i in range(100_000)]


def main() -> None:
    ring = HashRing(vnodes=VIRTUAL_NODES, hash="sha256-be64")
    for name in ("cache-a", "cache-b", "cache-c"):
        add(ring, name)

    for key in KEYS:
        node = ring.get_node(key)
        print(f"[RING] '{key}' -> {node} ({ADDRESSES[node]})")

    before = ring.snapshot()  # stays as it is, whatever becomes of the ring
    add(ring, "cache-d")

    print("\n[RING] Key reassignments after adding cache-d:")
    for keys in (KEYS, MANY_KEYS):
        moves = list(moved(keys, before, ring))
        for key, source, target in moves[:3]:
            print(f"  MOVED '{key}': {source} -> {target}")
        assert all(target == "cache-d" for _, _, target in moves)  # between the others, nothing moves
        print(f"  {len(moves)}/{len(keys)} keys remapped ({len(moves) / len(keys):.3%}, expected ~25%)")

    plan = before.diff(ring)
    print(f"\n[RING] {plan.fraction:.3%} of all hashes move, in {len(plan)} ranges; the first:")
    start, end, source, target = plan[0]
    print(f"  {start:#018x} to {end:#018x}: {source} -> {target}")

    ring.remove_node("cache-d")
    assert ring.get_many(MANY_KEYS) == before.get_many(MANY_KEYS)
    print("[RING] Removed node 'cache-d', and every key is back where it was")


def moved(keys: list[str], before: FrozenRing, after: HashRing) -> Iterator[tuple[str, str, str]]:
    """Each key that changes its node, with both nodes."""
    for key, source, target in zip(keys, before.get_many(keys), after.get_many(keys), strict=True):
        if source != target:
            yield key, source, target


def add(ring: HashRing, name: str) -> None:
    ring.add_node(name)
    print(f"[RING] Added node '{name}' with {VIRTUAL_NODES} virtual nodes")


if __name__ == "__main__":
    main()
