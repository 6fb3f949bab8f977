"""Random schemas, messages and bytes go through Google's runtime and through both twins: no difference."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import corpora
import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError as GoogleDecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from google_differences import (
    STRICTER,
    has_broken_text,
    has_unknown_entries,
    is_beyond_comparison,
    parsed_json,
    same_bytes,
    same_json,
    settled,
    within,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from random_messages import TWINS, World, fill_google, ours_of, random_tree, seen_in_google, seen_in_ours
from random_schemas import random_file
from random_wire import mutated, random_content

from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.faults import REQUIRED
from penstock.protobuf.options import DecodeOptions

PARTIAL = DecodeOptions(partial=True)
DROP = DecodeOptions(partial=True, unknown="drop")
REFUSE = DecodeOptions(partial=True, unknown="error")
NAME = "fuzz.M0"

MOST_SEEN = 20_000  # bytes of a message of which each field is compared
MOST_MUTATED = 6_000


@dataclass(frozen=True)
class Case:
    """A schema, two messages of it, bytes of a third, and bytes that may be one."""

    world: World
    tree: dict[str, Any]
    other: dict[str, Any]
    wire: bytes
    mutated: bytes


def random_case(dice: Random) -> Case:
    world = World.of(random_file(dice), arrays=dice.random() < 0.3)
    message = world.pool.FindMessageTypeByName(NAME)
    wire = random_content(dice, message)
    return Case(
        world,
        random_tree(dice, message),
        random_tree(dice, message),
        wire,
        mutated(dice, random_content(dice, message), wire),
    )


def check(case: Case) -> None:
    """All that is promised, of one case and both twins."""
    google = case.world.google(NAME)
    for impl in TWINS:
        cls = case.world.ours(impl, NAME)
        check_building(cls, google, case.tree)
        check_reading(cls, google, case.mutated)
        check_merging(cls, google, case.wire, case.mutated)
        check_merging_messages(cls, google, case.tree, case.other)


def check_building(cls: Any, google: Any, tree: dict[str, Any]) -> None:
    """A message whose fields were set one by one."""
    message, theirs = ours_of(cls, tree), fill_google(google(), tree)
    check_same(message, theirs)
    if theirs.IsInitialized():
        again, data = cls.from_bytes(theirs.SerializeToString()), message.to_bytes()
        check_same(again, theirs)
        assert again == cls.from_bytes(data) or "nan" in repr(again)
        assert message.byte_size() == len(data) == theirs.ByteSize()
    check_same(message.copy(), theirs)
    check_json(message, theirs)


def check_same(message: Any, theirs: Any) -> None:
    """No field, oneof, presence or byte differs."""
    assert seen_in_ours(message) == seen_in_google(theirs)
    data, reason = attempted(lambda: message.to_bytes(deterministic=True))
    assert reason == ("" if theirs.IsInitialized() else REQUIRED)
    if data is not None and not has_unknown_entries(theirs):
        assert same_bytes(data, theirs)


def attempted(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call returns, or None and the reason why it refuses."""
    try:
        return call(), ""
    except (DecodeError, EncodeError) as error:
        return None, error.reason


def check_json(message: Any, theirs: Any) -> None:
    """Their JSON is the same, and read alike; that of incomplete messages is refused here."""
    if not theirs.IsInitialized():
        with pytest.raises(EncodeError, match=REQUIRED):
            message.to_dict()
        return
    expected = json_format.MessageToDict(theirs)
    assert same_json(message.to_dict(), expected)
    if (again := parsed_json(type(theirs), expected)) is not None:
        check_same(type(message).from_dict(expected), again)


def check_reading(cls: Any, google: Any, data: bytes) -> None:
    """A message of bytes, which both refuse if they are none."""
    theirs = merged(google(), data)
    message, reason = attempted(lambda: cls.from_bytes(data, PARTIAL))
    if reason in STRICTER:
        return
    assert (message is None) == (theirs is None), reason
    if message is None or is_beyond_comparison(theirs):
        return
    check_same(message, settled(theirs))
    assert attempted(lambda: cls.from_bytes(data))[1] == ("" if theirs.IsInitialized() else REQUIRED)
    check_unknown_fields(cls, data, theirs)
    if not has_broken_text(theirs):
        check_json(message, theirs)


def merged(theirs: Any, data: bytes) -> Any | None:
    """Google's message with these bytes merged into it, None if they are refused."""
    try:
        theirs.MergeFromString(data)
    except GoogleDecodeError:
        return None
    return theirs


def check_unknown_fields(cls: Any, data: bytes, theirs: Any) -> None:
    """They are dropped or refused where that is asked for."""
    has_unknown = any(len(UnknownFieldSet(each)) > 0 for each in within(theirs))
    without = type(theirs)()
    without.CopyFrom(theirs)
    without.DiscardUnknownFields()
    check_same(cls.from_bytes(data, DROP), without)
    message, reason = attempted(lambda: cls.from_bytes(data, REFUSE))
    if message is None:
        assert reason.startswith("is unknown: field ")
    else:
        assert not has_unknown
        check_same(message, without)


def check_merging(cls: Any, google: Any, first: bytes, second: bytes) -> None:
    """Bytes that are merged into a message; if they are refused, it is as it was before."""
    theirs = merged(google(), first)
    message, _ = attempted(lambda: cls.from_bytes(first, PARTIAL))
    if message is None or is_beyond_comparison(theirs):
        return
    _, reason = attempted(lambda: message.merge_from(second, PARTIAL))
    if reason:
        check_same(message, settled(theirs))
    theirs = merged(theirs, second)
    if reason in STRICTER:
        return
    assert bool(reason) == (theirs is None), reason
    if theirs is not None and not is_beyond_comparison(theirs):
        check_same(message, settled(theirs))


def check_merging_messages(cls: Any, google: Any, first: dict[str, Any], second: dict[str, Any]) -> None:
    """A message that is merged into another."""
    message, theirs = ours_of(cls, first), fill_google(google(), first)
    message.merge_from(ours_of(cls, second))
    theirs.MergeFrom(fill_google(google(), second))
    check_same(message, theirs)


@settings(max_examples=150)
@given(st.randoms(use_true_random=False).map(random_case))
def test_google_and_both_twins_agree_on_random_schemas(case):
    check(case)


# Messages that others wrote, whole and with faults.


@pytest.mark.data
@pytest.mark.parametrize("impl", TWINS)
@pytest.mark.parametrize("corpus", corpora.NAMES)
def test_google_and_both_twins_agree_on_the_messages_of_others(corpus, impl):
    for world, name, data in corpora.messages(corpus):
        cls, google = world.ours(impl, name), world.google(name)
        if len(data) < MOST_SEEN:
            check_reading(cls, google, data)
        else:
            assert same_bytes(cls.from_bytes(data).to_bytes(deterministic=True), google.FromString(data))


@pytest.mark.data
@pytest.mark.parametrize("corpus", corpora.NAMES)
def test_google_and_both_twins_agree_on_the_messages_of_others_with_faults(corpus):
    samples = [each for each in corpora.messages(corpus) if len(each[-1]) < MOST_MUTATED]

    @settings(max_examples=40)
    @given(st.randoms(use_true_random=False))
    def agree(dice):
        (world, name, data), (_, _, other) = dice.choice(samples), dice.choice(samples)
        data = mutated(dice, data, other)
        for impl in TWINS:
            check_reading(world.ours(impl, name), world.google(name), data)

    agree()
