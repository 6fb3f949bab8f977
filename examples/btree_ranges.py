"""Times that are free: intervals in a map by their starts, asked with floor, ceiling and ranges."""

from penstock.btree import BTreeMap

booked: BTreeMap[int, tuple[int, str]] = BTreeMap(key_type="int64")  # start -> (end, who), in minutes


def book(start: int, end: int, who: str) -> bool:
    """Books a time unless it overlaps another one."""
    before, after = booked.floor_item(start), booked.ceiling_item(start)
    if (before and before[1][0] > start) or (after and after[0] < end):
        return False
    booked[start] = (end, who)
    return True


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


for start, end, who in [
    (540, 600, "ann"),
    (660, 720, "bob"),
    (570, 630, "cid"),
    (600, 660, "dan"),
    (840, 900, "eve"),
]:
    print(f"{who} asks for {clock(start)} to {clock(end)}: {'booked' if book(start, end, who) else 'taken'}")

print("in the morning:", ", ".join(f"{clock(start)} {who}" for start, (_, who) in booked.range(max=720)))
print("the last two:", [who for _, who in booked.values_range(reverse=True, limit=2)])

at = 600
for start, (end, _) in booked.range(at):
    if start - at >= 60:
        break
    at = end
print(f"an hour is free from {clock(at)}")

gone = booked.delete_range(max=660)
print(f"{gone} that began before 11:00 are over, {len(booked)} remain")
