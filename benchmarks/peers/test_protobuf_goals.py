"""The figures that messages are held to, each beside its goal; what is missed comes first.

The first table's goals are nanoseconds on the machine that they were set on; the second's are ratios to what
others take in the same race.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
from figures import table, verdict
from protobuf_peers import BETTERPROTO2, MSGPACK, MSGPACK_ARRAYS, PURE_PYTHON, UPB
from protobuf_races import (
    MSGPACK_UNIONS,
    ORDER,
    OTLP,
    UPB_BY_KEYWORDS,
    USER_459,
    Workload,
    build_and_encode,
    decode,
    decode_and_read,
    decodes_at,
    encode,
    entrants,
    gets,
    raced,
    series,
    sets,
    title_of,
)
from protobuf_workloads import CALLS

from penstock.protobuf import decode_varint, decode_varints

ONES = bytes(1_000_000)  # so many varints


class Line(NamedTuple):
    """How long one entrant may take for something: so many times what another takes in the same race."""

    operation: Callable
    workload: Workload
    peer: str
    most: float
    ours: str = "penstock"


YARDSTICKS = (
    (ORDER, MSGPACK),
    (ORDER, MSGPACK_ARRAYS),
    (USER_459, MSGPACK),
    (USER_459, MSGPACK_ARRAYS),
    (OTLP, MSGPACK),
    (OTLP, MSGPACK_ARRAYS),
    (OTLP, MSGPACK_UNIONS),
)
LINES = (
    *(Line(build_and_encode, workload, peer, 1.5) for workload, peer in YARDSTICKS),
    *(Line(decode_and_read, workload, peer, 1.5) for workload, peer in YARDSTICKS),
    Line(build_and_encode, ORDER, UPB, 1 / 5),
    Line(decode_and_read, ORDER, UPB, 1 / 4),
    Line(build_and_encode, OTLP, UPB, 1 / 25),
    Line(build_and_encode, OTLP, UPB_BY_KEYWORDS, 1 / 25),
    Line(decode_and_read, OTLP, UPB, 1 / 3),
    Line(decode, USER_459, BETTERPROTO2, 1, PURE_PYTHON),
    Line(encode, USER_459, BETTERPROTO2, 1, PURE_PYTHON),
)
RACES = tuple(dict.fromkeys((line.operation, line.workload) for line in LINES))


@pytest.fixture(scope="module")
def measured():
    """Takes (line, ratio); at the end they stand in one table, what is missed first."""
    found = []
    rows = table("Messages as multiples of a peer", "message", "peer", "ratio", "goal", "")
    yield rows, found
    for line, ratio, reached in sorted(found, key=lambda each: each[2] != "missed"):
        name = f"{line.workload.title}: {title_of(line.operation)}"
        ours = "" if line.ours == "penstock" else f" ({line.ours})"
        rows.add_row(name + ours, line.peer, f"{ratio:.2f}", f"{line.most:.2f}", reached)


@pytest.mark.parametrize(("operation", "workload"), RACES, ids=lambda each: getattr(each, "title", each))
def test_ratio_to_a_peer(race, show, smoke, measured, operation, workload):
    rows, found = measured
    if (operation, workload) == RACES[0]:
        show(rows)
    lines = [line for line in LINES if (line.operation, line.workload) == (operation, workload)]
    names = {"penstock"} | {line.peer for line in lines} | {line.ours for line in lines}
    medians = raced(race, operation, workload, names)
    for line in lines:
        ratio = medians[line.ours] / medians[line.peer]
        found.append((line, ratio, verdict(ratio <= line.most, smoke)))


# ---- the figures of a User of 459 bytes, and others


def test_goals_of_messages(goals):
    """Packed are half varints of 1 to 5 bytes, half doubles; decode_varints reads a million of one byte."""
    writes, reads = series()
    message = entrants(USER_459)[0].message
    goals(
        "Messages",
        {
            "User: decode": of(decode, USER_459, 3_000),
            "User: decode, read": of(decode_and_read, USER_459, 3_400),
            "User: encode": of(encode, USER_459, 900),
            "User: build, encode": of(build_and_encode, USER_459, 4_500),
            "field read": (gets(message), CALLS, 12),
            "field set": (sets(message), CALLS, 12),
            "Order: decode": of(decode, ORDER, 230),
            "Order: encode": of(encode, ORDER, 140),
            "20,000 packed to numpy": (reads["penstock"], 1, 30_000),
            "20,000 packed from numpy": (writes["penstock"], 1, 40_000),
            "decode_varint": (decodes_at(decode_varint, b"\xac\x02\x00"), CALLS, 60),
            "decode_varints, each": (partial(decode_varints, ONES), len(ONES), 1),
            "User: decode, fallback": of(decode, USER_459, 120_000, PURE_PYTHON),
        },
    )


def of(operation, workload, nanoseconds, entrant="penstock"):
    """What the fixture `goals` takes."""
    return operation(workload)[entrant], workload.calls, nanoseconds
