"""Log messages as JSON: whatever a program logs, the distributor takes it and nothing is silently cut."""

import json
import logging
import sys
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.client.messages import MAX_MESSAGE, MAX_TEXT, encoded, encoded_record
from penstock.services.distributor.packets import Message


def message_of(data):
    """The message as the distributor reads it, which must take it."""
    message = msgspec.json.decode(data, type=Message)
    assert len(message.message.encode()) <= MAX_TEXT
    assert b"\n" not in data
    return json.loads(data)


def record(text="x", *args, level=logging.INFO, name="shop.orders", exc_info=None, extra=None, **attributes):
    made = logging.getLogger(name).makeRecord(name, level, __file__, 7, text, args, exc_info, "work", extra)
    vars(made).update(attributes)
    return made


def test_record_becomes_a_message_with_its_level_logger_time_and_extra():
    made = record(
        "order %d of %s", 17, "Ann", level=logging.WARNING, extra={"order": 17, "user": {"id": "u1"}}
    )
    made.created = 1_737_837_045.25
    assert message_of(encoded_record(made)) == {
        "level": "WARNING", "message": "order 17 of Ann", "source": "shop.orders",
        "timestamp": "2025-01-25T20:30:45.250000Z", "metadata": {"order": 17, "user": {"id": "u1"}},
    }  # fmt: skip
    assert message_of(encoded_record(made, source="shop"))["source"] == "shop"


def test_exception_and_stack_go_into_the_metadata():
    try:
        raise ValueError("no such order")
    except ValueError:
        made = record("failed", exc_info=sys.exc_info(), stack_info="Stack (most recent call last): here")
    metadata = message_of(encoded_record(made))["metadata"]
    assert metadata["exception"].startswith("Traceback (most recent call last):\n")
    assert metadata["exception"].endswith("ValueError: no such order")
    assert metadata["stack"].endswith("here")
    assert (
        message_of(encoded_record(record(exc_text="told before")))["metadata"]["exception"] == "told before"
    )


def test_formatter_of_the_handler_makes_the_text():
    formatter = logging.Formatter("[%(name)s] %(message)s")
    assert message_of(encoded_record(record("hi"), formatter))["message"] == "[shop.orders] hi"


def test_arguments_that_do_not_fit_are_told_with_the_message():
    text = message_of(encoded_record(record("order %d", "many")))["message"]
    assert text.startswith("order %d ('many',) (TypeError: ")


@pytest.mark.parametrize("character", ["x", "é", "漢", "🙂"])
def test_text_beyond_the_bound_goes_on_in_the_metadata(character):
    text = character * 12_000
    made = message_of(encoded("INFO", text))
    assert made["message"] + made["metadata"]["continued"] == text


def test_what_is_too_large_in_all_is_cut_and_says_so():
    cut = message_of(encoded("INFO", "x" * 2_000_000))
    assert cut["metadata"]["continued"].endswith(" more characters were cut)")
    data = encoded("INFO", "short", metadata={"a": "x" * 2_000_000, "b": 1})
    assert len(data) <= MAX_MESSAGE
    metadata = message_of(data)["metadata"]
    assert metadata["names"] == ["a", "b"]
    assert f"at most {MAX_MESSAGE} are sent" in metadata["cut"]


@pytest.mark.parametrize("depth", [40, 70, 500, 5000])
def test_metadata_of_any_depth_are_taken(depth):
    value = inner = {}
    for _ in range(depth):
        inner["a"] = inner = {}
    made = message_of(encoded("INFO", "x", metadata={"deep": value, "text": "[[[" * 100, "n": 1}))["metadata"]
    assert made["deep"] == value if depth < 50 else isinstance(made["deep"], str)
    assert "n" in made


class Hostile:
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


def endless():
    inner = []
    inner.append(inner)
    return inner


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (object, "<class 'object'>"), (Hostile(), "<Hostile>"), ({1, 2}, [1, 2]), (b"\xff", "/w=="),
        (float("nan"), None), (1 << 100, 1 << 100),
        (datetime(2025, 1, 25, tzinfo=UTC), "2025-01-25T00:00:00Z"),
        ("\ud800", "?"), (endless(), "[[...]]"), ({(1, 2): 3}, {"(1, 2)": 3}),
        ({"a": Hostile()}, {"a": "<Hostile>"}),
    ],
)  # fmt: skip
def test_value_that_json_does_not_have_is_told_as_well_as_it_can_be(value, shown):
    assert message_of(encoded("INFO", "x", metadata={"value": value, "next": 1}))["metadata"] == {
        "value": shown, "next": 1,
    }  # fmt: skip


def test_empty_or_overlong_fields_are_made_to_fit():
    made = message_of(encoded("", "", "s" * 300))
    assert (made["level"], made["message"], len(made["source"])) == ("INFO", " ", 256)
    assert len(message_of(encoded("L" * 40, "x"))["level"]) == 32
    assert message_of(encoded("\ud800", "\udfff", "\ud800"))["message"] == "?"
    assert message_of(encoded("INFO", "x", metadata={"\ud800": 1, 2: 3, None: 4}))["metadata"] == {
        "?": 1, "2": 3, "None": 4,
    }  # fmt: skip


@pytest.mark.parametrize("created", [float("nan"), float("inf"), 1e300, -1e300, None, "now"])
def test_time_that_is_none_is_left_out(created):
    assert "timestamp" not in message_of(encoded_record(record(created=created)))


@given(st.floats(0, 4e9))
def test_time_is_told_to_the_microsecond(created):
    told = datetime.fromisoformat(message_of(encoded_record(record(created=created)))["timestamp"])
    assert abs(told.timestamp() - created) <= 2e-6


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(), st.text(), st.text(), st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_any_text_and_metadata_are_taken(level, text, source, metadata):
    made = message_of(encoded(level, text, source, "", metadata))
    assert made.get("metadata", {}) == json.loads(msgspec.json.encode(metadata))
    assert made["message"] == text or not text
