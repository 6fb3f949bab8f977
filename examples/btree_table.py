"""Does an index pay? 100,000 orders, found by a scan and by a B-tree index, and what the planner says."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from penstock.btree import Table, at_least, between

Row = Mapping[str, Any]

ROWS = 100_000
USER = 5000

dice = random.Random(42)
table = Table(
    {
        "row_id": row_id,
        "user_id": dice.randint(1, 10_000),
        "amount": 10.0 + dice.random() * 490.0,
        "status": dice.choice(["pending", "complete", "failed"]),
    }
    for row_id in range(ROWS)
)
table.create_index("user_id")


def fastest(work: Callable[[], list[Row]]) -> tuple[list[Row], float]:
    """What the work returns, and its seconds: the best of five, as other programs run beside this one."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        rows = work()
        times.append(time.perf_counter() - start)
    return rows, min(times)


scanned, scan_time = fastest(lambda: table.scan(user_id=USER))
found, index_time = fastest(lambda: table.index_scan("user_id", USER))
assert found == scanned

print(f"Rows in table: {len(table)}")
print(f"Matching rows for user_id={USER}: {len(scanned)}")
print(f"Sequential scan:  {scan_time * 1000:.2f}ms")
print(f"Index scan:       {index_time * 1000:.4f}ms")
print(f"Speedup: {scan_time / index_time:.0f}x")

in_range = table.index_range_scan("user_id", 4000, 4010)
print(f"\nRange [4000,4010]: {len(in_range)} rows found via index")

# select takes the cheaper way by itself; explain says which one it is, and why
print(f"\n{table.explain_analyze(user_id=between(4000, 4010), status='failed')}")
print(f"\n{table.explain_analyze(user_id=at_least(100))}")

# an index on both columns leaves nothing to test
table.create_index("status", "user_id")
print(f"\n{table.explain_analyze(user_id=between(4000, 4010), status='failed')}")
