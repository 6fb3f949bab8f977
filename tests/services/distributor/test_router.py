"""Routing: which group a packet is for, and by which key a sticky group holds it."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.config import DEFAULT_GROUP, GroupConfig, Match
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import record
from penstock.services.distributor.router import (
    MOST_REMEMBERED,
    RANKS,
    SEVERITIES,
    Router,
    labels_in,
    labels_of,
    pattern,
)

read = msgspec.json.Decoder(list[Message]).decode


def messages(*fields):
    return read(json.dumps([{"message": "x", **each} for each in fields]))


def router(**groups):
    return Router([GroupConfig(id_, match) for id_, match in groups.items()])


def group_of(router_, *fields):
    return router_.group_of(messages(*fields))


# Groups


def test_first_group_in_order_whose_rule_matches_any_message_gets_the_packet():
    three = router(errors=Match(min_level="ERROR"), auth=Match(source=("auth",)), rest=Match(level=("INFO",)))
    assert group_of(three, {"source": "auth", "level": "ERROR"}) == "errors"
    assert group_of(three, {"source": "auth"}, {"level": "ERROR"}) == "errors"
    assert group_of(three, {"level": "ERROR"}, {"source": "auth"}) == "errors"
    assert group_of(three, {"level": "DEBUG"}, {"source": "auth"}) == "auth"
    assert group_of(three, {"level": "DEBUG"}, {"level": "info"}) == "rest"
    assert group_of(three, {"level": "DEBUG"}) == DEFAULT_GROUP
    assert group_of(three) == DEFAULT_GROUP


def test_every_field_of_a_rule_must_hold_for_the_same_message():
    one = router(pay=Match(source=("pay*",), level=("ERROR",), metadata={"region": ("eu-*",)}))
    whole = {"source": "payments", "level": "ERROR", "metadata": {"region": "eu-1"}}
    assert group_of(one, whole) == "pay"
    for field in whole:
        others = {**whole, "source": "auth", "level": "INFO", "metadata": {}}
        broken = {**whole, field: others[field]}
        assert group_of(one, broken) == DEFAULT_GROUP
        assert group_of(one, broken, {field: whole[field]}) == DEFAULT_GROUP, "two halves are no whole"


def test_empty_rule_takes_all_that_comes_to_it_and_hides_what_is_behind_it():
    two = router(errors=Match(level=("ERROR",)), all=Match(), never=Match(level=("INFO",)))
    assert group_of(two, {"level": "ERROR"}) == "errors"
    assert group_of(two, {"level": "INFO"}) == "all"
    assert group_of(two) == "all"


def test_default_group_gets_the_rest_wherever_it_stands_among_the_groups():
    for place in range(2):
        groups = [GroupConfig("errors", Match(level=("ERROR",)))]
        groups.insert(place, GroupConfig(DEFAULT_GROUP))
        assert group_of(Router(groups), {"level": "ERROR"}) == "errors"
        assert group_of(Router(groups), {"level": "INFO"}) == DEFAULT_GROUP


def test_rule_of_the_default_group_counts_in_its_place():
    two = router(**{DEFAULT_GROUP: Match(source=("mine",)), "errors": Match(level=("ERROR",))})
    assert group_of(two, {"source": "mine", "level": "ERROR"}) == DEFAULT_GROUP
    assert group_of(two, {"source": "yours", "level": "ERROR"}) == "errors"
    assert group_of(two, {"source": "yours", "level": "INFO"}) == DEFAULT_GROUP


def test_what_need_not_be_looked_at_is_told():
    sticky = GroupConfig(DEFAULT_GROUP, balance="sticky")
    for groups, trivial, needs_messages in (
        ([], True, False),
        ([GroupConfig(DEFAULT_GROUP)], True, False),
        ([GroupConfig("all")], False, False),
        ([GroupConfig("all"), GroupConfig("errors", Match(level=("ERROR",)))], False, False),
        ([GroupConfig("errors", Match(level=("ERROR",)))], False, True),
        ([sticky], False, True),
    ):
        router_ = Router(groups)
        assert (router_.trivial, router_.needs_messages) == (trivial, needs_messages), groups


# Levels


def test_level_is_compared_without_case_and_is_no_pattern():
    one = router(g=Match(level=("error", "*")))
    assert [group_of(one, {"level": level}) for level in ("ERROR", "Error", "*")] == ["g"] * 3
    assert [group_of(one, {"level": level}) for level in ("ERR", "ERROR ", "INFO")] == [DEFAULT_GROUP] * 3


@given(
    st.sampled_from(sorted(RANKS)),
    st.sampled_from(sorted(RANKS)),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_min_level_takes_that_level_and_those_above_in_every_usual_spelling(lowest, level, case):
    taken = group_of(router(g=Match(min_level=case(lowest))), {"level": case(level)}) == "g"
    assert taken == (RANKS[level] >= RANKS[lowest])


def test_spellings_mean_what_they_usually_mean():
    same = [
        "TRACE FINEST", "DEBUG DBG 7", "INFO INFORMATION 6", "NOTICE 5", "WARNING WARN 4 WARN2",
        "ERROR ERR 3 SEVERE ERROR4", "CRITICAL CRIT FATAL 2 FATAL3", "ALERT 1", "EMERGENCY EMERG PANIC 0",
    ]  # fmt: skip
    assert [line.split()[0] for line in same] == list(SEVERITIES)
    for place, line in enumerate(same):
        for spelling in line.split():
            at_least = [
                group_of(router(g=Match(min_level=name)), {"level": spelling}) == "g" for name in SEVERITIES
            ]
            assert at_least == [rank <= place for rank in range(len(SEVERITIES))], spelling


@pytest.mark.parametrize("level", ["AUDIT", "8", "-1", "42", "ERROR5", "ERROR22", "2ERROR", "32", "Ⅳ"])
def test_level_that_nobody_knows_reaches_no_min_level(level):
    assert group_of(router(g=Match(min_level="TRACE")), {"level": level}) == DEFAULT_GROUP


def test_min_level_that_nobody_knows_is_refused():
    with pytest.raises(
        ValueError, match=r"min_level of group g must be one of TRACE, .*, EMERGENCY, got 'LOUD'"
    ):
        router(g=Match(min_level="LOUD"))


# Patterns


def slow_match(pattern_, text):
    """The definition: a star is nothing, or a character and a star."""
    if not pattern_:
        return not text
    if pattern_[0] == "*":
        return slow_match(pattern_[1:], text) or (bool(text) and slow_match(pattern_, text[1:]))
    return bool(text) and pattern_[0] in ("?", text[0]) and slow_match(pattern_[1:], text[1:])


@given(st.lists(st.text("ab.*?[\n", max_size=8), min_size=1, max_size=3), st.text("ab.[\n*", max_size=10))
def test_star_is_any_text_and_question_mark_any_character(patterns, text):
    assert pattern(patterns)(text) == any(slow_match(each, text) for each in patterns)


def test_no_pattern_takes_long_over_any_text():
    matches = pattern(["*a" * 30 + "b", "a*" * 30 + "?c", "*" * 60 + "d"])
    began = time.perf_counter()
    assert not matches("a" * 10_000)
    assert time.perf_counter() - began < 30, "a pattern that goes back takes longer than there is time"


def test_source_is_compared_with_case():
    one = router(g=Match(source=("api-*", "db")))
    assert [group_of(one, {"source": source}) for source in ("api-1", "api-", "db")] == ["g"] * 3
    assert {group_of(one, {"source": source}) for source in ("API-1", "api", "db1", "")} == {DEFAULT_GROUP}


def test_more_sources_than_are_remembered_are_routed_the_same():
    one = router(g=Match(source=("*7",)))
    fields = [{"source": f"s{n}"} for n in range(MOST_REMEMBERED + 10)]
    for message in messages(*fields):
        assert (one.group_of([message]) == "g") == message.source.endswith("7")
    assert len(one._remembered) <= MOST_REMEMBERED


# Metadata


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('"a\\u0062"', "ab"), ('""', ""), ("7", "7"), ("-0.50", "-0.50"), ("1e3", "1e3"), ("true", "true"),
        ("false", "false"), ("null", "null"), ("18446744073709551616", "18446744073709551616"),
    ],
)  # fmt: skip
def test_member_of_metadata_is_compared_as_it_is_written(written, text):
    raw = read(f'[{{"message":"x","metadata":{{"other":[1],"key":{written}}}}}]')
    assert router(g=Match(metadata={"key": (text,)})).group_of(raw) == "g"
    assert router(g=Match(metadata={"key": ("*",)})).group_of(raw) == "g"
    assert router(g=Match(metadata={"key": (text + "?",)})).group_of(raw) == DEFAULT_GROUP


def test_objects_arrays_and_what_is_not_there_match_nothing():
    one = router(g=Match(metadata={"key": ("*",)}))
    for metadata in ({}, {"key": {}}, {"key": [1]}, {"key": {"key": 1}}, {"Key": 1}):
        assert group_of(one, {"metadata": metadata}) == DEFAULT_GROUP
    assert group_of(one, {}) == DEFAULT_GROUP


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"a": {"b": {"c": "x"}}}, True), ({"a.b.c": "x"}, True), ({"a": {"b.c": "x"}}, True),
        ({"a": {"b": {"c": "y"}}}, False), ({"a": {"b": "x"}}, False), ({"a.b": {"c": "x"}}, False),
        ({"a.b.c": "y", "a": {"b": {"c": "x"}}}, False), ({"a": [{"b": {"c": "x"}}]}, False),
    ],
)  # fmt: skip
def test_dots_lead_into_objects_unless_a_member_is_called_so(metadata, found):
    one = router(g=Match(metadata={"a.b.c": ("x",)}))
    assert (group_of(one, {"metadata": metadata}) == "g") == found


def test_rules_on_metadata_take_their_turn_among_the_others():
    three = router(
        a=Match(metadata={"tenant": ("1",)}), b=Match(source=("s",)),
        c=Match(level=("ERROR",), metadata={"tenant": ("2",), "zone": ("z*",)}),
    )  # fmt: skip
    assert group_of(three, {"source": "s", "metadata": {"tenant": 1}}) == "a"
    assert group_of(three, {"source": "s", "metadata": {"tenant": 2}}) == "b"
    assert group_of(three, {"level": "ERROR", "metadata": {"tenant": 2, "zone": "z1"}}) == "c"
    assert group_of(three, {"level": "ERROR", "metadata": {"tenant": 2}}) == DEFAULT_GROUP
    assert group_of(three, {"source": "s"}, {"metadata": {"tenant": "1"}}) == "a"


def test_metadata_is_decoded_once_a_message_and_only_where_a_rule_needs_it():
    decoded = []
    one = router(
        a=Match(source=("s*",), metadata={"k": ("1",)}), b=Match(source=("s*",), metadata={"k": ("2",)})
    )
    decode = one._decode
    one._decode = lambda metadata: decoded.append(metadata) or decode(metadata)
    assert group_of(one, {"source": "other", "metadata": {"k": 2}}) == DEFAULT_GROUP
    assert group_of(one, {"source": "s"}) == DEFAULT_GROUP
    assert not decoded
    assert group_of(one, {"source": "s", "metadata": {"k": 2}}) == "b"
    assert len(decoded) == 1


def test_many_or_deeply_nested_members_beside_the_one_that_is_asked_for_do_no_harm():
    one = router(g=Match(metadata={"a.key": ("1",)}))
    many = {f"m{n}": n for n in range(20_000)}
    assert group_of(one, {"metadata": {**many, "a": {**many, "key": 1}}}) == "g"
    deep = "[" * 400 + "]" * 400
    assert one.group_of(read(f'[{{"message":"x","metadata":{{"a":{deep},"b":{deep}}}}}]')) == DEFAULT_GROUP


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb"])
def test_name_of_a_member_that_would_have_to_be_escaped_is_refused(name):
    with pytest.raises(
        ValueError, match="names of metadata must be without quotes and control characters, got "
    ):
        router(g=Match(metadata={name: ("*",)}))


def test_names_of_any_letters_can_be_asked_for():
    for name in ("größe", "名", "a b", "self", "class", "1", "", "a/b", "e̸"):
        one = router(g=Match(metadata={name: ("x",)}))
        assert group_of(one, {"metadata": {name: "x"}}) == "g", name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=3) | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


def text_at(value, name):
    """What a name means, over decoded JSON."""
    if not isinstance(value, dict):
        return None
    if name in value:
        found = value[name]
        return (
            None if isinstance(found, dict | list) else found if isinstance(found, str) else json.dumps(found)
        )
    first, dot, rest = name.partition(".")
    return text_at(value.get(first), rest) if dot else None


@given(
    st.dictionaries(st.sampled_from(["a", "b", "a.b"]), JSON),
    st.sampled_from(["a", "b", "a.b", "a.a.b", "b.a"]),
)
def test_members_are_found_as_in_decoded_json(metadata, name):
    key = Router([GroupConfig("g", balance="sticky", sticky_key=f"metadata.{name}")]).key_of
    assert key("g", messages({"metadata": metadata})) == (text_at(metadata, name) or None)


# Keys


def key_of(sticky_key, *fields):
    return Router([GroupConfig("g", balance="sticky", sticky_key=sticky_key)]).key_of("g", messages(*fields))


def test_key_is_of_the_first_message():
    two = (
        {"source": "a", "level": "Info", "metadata": {"user": {"id": 7}}},
        {"source": "b", "level": "ERROR"},
    )
    assert key_of("source", *two) == "a"
    assert key_of("level", *two) == "INFO"
    assert key_of("metadata.user.id", *two) == "7"


def test_packet_without_the_key_has_none():
    assert key_of("source", {"level": "INFO"}, {"source": "b"}) is None
    for metadata in ({}, {"user": ""}, {"user": [1]}, {"users": 1}):
        assert key_of("metadata.user", {"metadata": metadata}) is None
    assert key_of("metadata.user", {}) is None
    assert key_of("source") is None


def test_long_key_is_cut_so_that_it_costs_little_memory():
    key = key_of("metadata.user", {"metadata": {"user": "ä" * 100_000}})
    assert key == "ä" * 256


def test_weighted_and_unknown_groups_have_no_key():
    two = Router([GroupConfig("sticky", Match(level=("INFO",)), balance="sticky"), GroupConfig("weighted")])
    one = messages({"source": "a"})
    assert two.key_of("sticky", one) == "a"
    assert (
        two.key_of("weighted", one) is two.key_of("none such", one) is two.key_of(DEFAULT_GROUP, one) is None
    )


@pytest.mark.parametrize("key", ["", "user", "metadata", "metadata.", "Source"])
def test_key_that_is_none_is_refused(key):
    with pytest.raises(
        ValueError, match=r"sticky_key of group g must be source, level or metadata\.NAME, got "
    ):
        key_of(key, {})


# What is read of a message


@given(
    st.builds(
        Message,
        message=st.text(min_size=1, max_size=20),
        level=st.text(min_size=1, max_size=32),
        source=st.text(max_size=20),
        id=st.none() | st.just("level"),
        timestamp=st.sampled_from([None, "2025-01-25T20:30:45Z"]),
        metadata=st.dictionaries(st.sampled_from(["level", "source", "k"]), st.text(max_size=5)).map(
            lambda members: msgspec.Raw(json.dumps(members, separators=(",", ":")).encode())
        ),
    )
)
def test_labels_are_what_the_whole_message_says(message):
    one = record(message)
    labels = labels_of(one)
    assert (labels.level, labels.source) == (message.level, message.source)
    assert bytes(labels.metadata) == bytes(message.metadata)
    assert labels_in(b'{"id":"p","messages":[%s,%s],"retry_count":1}' % (one, one)) == [labels, labels]


def test_labels_of_a_message_without_any_are_those_of_the_rest_api():
    [whole] = read('[{"message":"x"}]')
    labels = labels_of(b'{"message":"x"}')
    assert (labels.level, labels.source, labels.metadata) == (whole.level, whole.source, whole.metadata)
