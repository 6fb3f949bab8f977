"""What a ring takes in memory beside the names of its nodes, measured by a script in a process of its own.

usage: placement_memory.py CONTESTANT NODES

Prints the growth of resident memory in bytes, and the points, after a ring of NODES nodes was built and asked
for a node. The names were there before, and so was the code.
"""

import sys

from cache_memory import resident_bytes
from placement_workloads import (
    VNODES,
    hashring_md5,
    names,
    penstock_ring,
    uhashring_md5,
    uhashring_mmh3,
)

CONTESTANTS = {
    "penstock": (penstock_ring, VNODES),
    "uhashring, md5": (uhashring_md5, VNODES),
    "uhashring, mmh3": (uhashring_mmh3, VNODES),
    "hashring, md5": (hashring_md5, 120),
}
"""How each is made, and the points that it gives a node."""


def growth(contestant, count):
    """Bytes by which memory grew, and the points of the ring."""
    make, points = CONTESTANTS[contestant]
    make(names(2)).get_node("a key")  # so that what is loaded or made for the first ring is not counted
    nodes = names(count)
    before = resident_bytes()
    ring = make(nodes)
    ring.get_node("a key")
    after = resident_bytes()
    del ring  # not before memory was read
    return after - before, points * count


if __name__ == "__main__":
    print(*growth(sys.argv[1], int(sys.argv[2])))
