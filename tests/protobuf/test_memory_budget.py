"""How much memory hostile bytes can take: never more than was allowed, as Linux counts it."""

import json
import subprocess
import sys
from pathlib import Path

import memory_child
import pytest

from penstock.protobuf import limits

MIB = 1 << 20
DEFAULT = 256 * MIB
TESTS = Path(__file__).parents[1]

BESIDES = {"c": 4 * MIB, "py": 4 * MIB + 5 * memory_child.SIZE}
"""Bytes beside the budget: a huge page of the system and the arenas that the allocator keeps ready. In the
fallback also what it must look at before it knows the cost: text is decoded and packed values are counted
first, up to five times the size of the input."""


def measured(impl, max_memory, *names):
    """Input -> its outcome, and how much the process grew while it was read."""
    done = subprocess.run(
        [sys.executable, memory_child.__file__, impl, str(max_memory), *names],
        env={"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["input"]: (each["outcome"], each["grown"]) for each in lines}


def check_growth(impl, max_memory, found):
    most = max_memory + BESIDES[impl]
    assert {name: grown for name, (_, grown) in found.items() if grown > most} == {}


@pytest.mark.parametrize("impl", ["c", "py"])
def test_four_megabytes_of_anything_stay_within_a_budget_of_one(impl):
    found = measured(impl, MIB)
    assert found.keys() == memory_child.INPUTS.keys()
    check_growth(impl, MIB, found)
    reasons = {outcome for outcome, _ in found.values()}
    assert reasons == {f"must take at most {MIB} bytes of memory", "must be nested at most 100 levels deep"}


def test_four_megabytes_of_anything_stay_within_the_default_budget():
    found = measured("c", DEFAULT)
    check_growth("c", DEFAULT, found)
    refused = {name for name, (outcome, _) in found.items() if outcome.startswith("must take at most")}
    assert {"empty sub-messages", "empty groups", "empty map entries"} <= refused
    assert found["packed varints of two bytes"][0] == "read Hostile"


@pytest.mark.parametrize("impl", ["c", "py"])
@pytest.mark.parametrize(
    ("name", "count", "cost"),
    [
        ("packed integers above 60 bits", memory_child.SIZE // 8, limits.PACKED_ELEMENT_COST),
        ("packed varints above 60 bits", memory_child.SIZE // 10, limits.PACKED_ELEMENT_COST),
        ("integers above 60 bits", memory_child.SIZE // 10, limits.ELEMENT_COST),
    ],
)
def test_integers_of_any_size_take_no_more_than_the_least_budget_that_lets_them_in(impl, name, count, cost):
    least = count * cost + 2048  # and the message with its empty fields
    found = measured(impl, least, name)
    assert found[name][0] == "read Hostile"
    check_growth(impl, least, found)


@pytest.mark.parametrize("name", ["empty sub-messages", "packed varints of two bytes"])
def test_the_fallback_keeps_the_default_budget_too(name):
    check_growth("py", DEFAULT, measured("py", DEFAULT, name))


def test_the_measure_sees_what_a_message_takes():
    # 76 bytes a string, and 8 for its place in the list
    name = "strings of one wide letter"
    [(outcome, grown)] = measured("c", DEFAULT, name).values()
    assert outcome == "read Hostile"
    assert grown > 64 * memory_child.SIZE // 6
