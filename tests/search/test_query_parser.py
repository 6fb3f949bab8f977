"""The syntax of queries: what texts mean, what strict parsing refuses and where, and that lenient parsing
never does."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidType, PenstockError
from penstock.search.errors import QuerySyntaxError, QueryTooLarge
from penstock.search.query import (
    And,
    Boost,
    ConstScore,
    Everything,
    Fuzzy,
    Match,
    Maybe,
    Not,
    Or,
    Phrase,
    Prefix,
    Query,
    Range,
    Term,
)
from penstock.search.query_parser import Schema, parse_query

A, B, C = Match("a"), Match("b"), Match("c")
BOOKS = Schema({"title": "text", "body": "text", "year": "number"})

MEANINGS = {
    "": Or(),
    "  ": Or(),
    "a": A,
    "a b": Or(A, B),
    "a OR b": Or(A, B),
    "a AND b": And(A, B),
    "a AND b c": Or(And(A, B), C),
    "a OR b AND c": Or(A, And(B, C)),
    "(a OR b) AND c": And(Or(A, B), C),
    "+a b": And(A, Maybe(B)),
    "+a +b": And(A, B),
    "+a": A,
    "+a -b c": And(A, Not(B), Maybe(C)),
    "a -b": And(A, Not(B)),
    "a b -c": And(Or(A, B), Not(C)),
    "-a": Not(A),
    "NOT a": Not(A),
    "NOT NOT a": A,
    "-a -b": And(Not(A), Not(B)),
    "a AND NOT b": And(A, Not(B)),
    "a AND -b": And(A, Not(B)),
    "a OR NOT b": Or(A, Not(B)),
    "((a))": A,
    "(a b c)~2": Or(A, B, C, minimum=2),
    "(a b)~1": Or(A, B),
    "()": Or(),
    '"a b"': Phrase("a b"),
    '"a b"~3': Phrase("a b", 3),
    r'"a \"b\" \\"': Phrase(r'a "b" \ '.strip()),
    "pre*": Prefix("pre"),
    "*": Everything(),
    "*:*": Everything(),
    "+*": Everything(),
    "(*)": Everything(),
    "word~": Fuzzy("word"),
    "word~1": Fuzzy("word", 1),
    "word~0": Fuzzy("word", 0),
    "=Word": Term("Word"),
    "a^2": Boost(A, 2),
    "a^2.5": Boost(A, 2.5),
    "a^.5": Boost(A, 0.5),
    "a^1e3": Boost(A, 1000),
    "a^=3": ConstScore(A, 3),
    "(a b)^2": Boost(Or(A, B), 2),
    "pre*^2": Boost(Prefix("pre"), 2),
    "word~1^2": Boost(Fuzzy("word", 1), 2),
    '"a b"~3^2': Boost(Phrase("a b", 3), 2),
    "title:a": Match("a", "title"),
    "title:(a OR b)": Or(Match("a", "title"), Match("b", "title")),
    "title:(a body:b)": Or(Match("a", "title"), Match("b", "body")),
    'title:"a b"': Phrase("a b", field="title"),
    "title:pre*": Prefix("pre", "title"),
    "title:=X": Term("X", "title"),
    "title:w~1": Fuzzy("w", 1, "title"),
    "-title:a": Not(Match("a", "title")),
    "year:[1 TO 2]": Range("year", 1, 2),
    "year:{1 TO 2}": Range("year", 1, 2, False, False),
    "year:[1 TO 2}": Range("year", 1, 2, True, False),
    "year:[* TO 2]": Range("year", None, 2),
    "year:[-1.5 TO *]": Range("year", -1.5, None),
    "year:[1e3 TO inf]": Range("year", 1000.0, float("inf")),
    "year:>=1": Range("year", 1),
    "year:> 1": Range("year", 1, include_low=False),
    "year:<=-1": Range("year", None, -1),
    "year:<1": Range("year", None, 1, include_high=False),
    "well-known": Match("well-known"),
    "c++": Match("c++"),
    "a=b": Match("a=b"),
    "12:30": Match("12:30"),
    r"a\:b": Match("a:b"),
    r"\AND": Match("AND"),
    r"two\ words": Match("two words"),
    r"\*": Match("*"),
    "android": Match("android"),
    "ORACLE": Match("ORACLE"),
    "and or not": Or(Match("and"), Match("or"), Match("not")),
    "=": Match("="),
    "naïve 東京": Or(Match("naïve"), Match("東京")),
}


@pytest.mark.parametrize(("text", "expected"), MEANINGS.items(), ids=MEANINGS)
def test_text_means_a_query_strict_and_lenient(text, expected):
    assert parse_query(text, strict=True) == expected
    lenient = parse_query(text)
    assert lenient == expected


KNOWN = {
    "title:a": Match("a", "title"),
    "year:5": Range("year", 5, 5),
    "year:-5": Range("year", -5, -5),
    "year:=5": Range("year", 5, 5),
    "year:(=5)": Range("year", 5, 5),
    "year:(1 OR 2)": Or(Range("year", 1, 1), Range("year", 2, 2)),
    "year:(>=1 AND <3)": And(Range("year", 1), Range("year", None, 3, include_high=False)),
}


@pytest.mark.parametrize(("text", "expected"), KNOWN.items(), ids=KNOWN)
def test_number_behind_the_name_of_a_column_is_a_range(text, expected):
    assert parse_query(text, strict=True, schema=BOOKS) == expected
    assert parse_query(text, schema=BOOKS) == expected


MISTAKES = {
    "(a": ("a closing ) (for the one opened at 0) at position 2, got its end", Match("a")),
    "a)": ("a ( before ) at position 1, got ')'", Match("a")),
    "a) b": ("a ( before ) at position 1, got ') b'", Or(A, B)),
    '"a b': ('a closing " (for the one opened at 0) at position 4, got its end', Phrase("a b")),
    "a AND": ("a clause after AND at position 5, got its end", A),
    "AND a": ("a clause before AND at position 0, got 'AND a'", A),
    "a AND OR b": ("a clause before OR at position 6, got 'OR b'", Or(A, B)),
    "a - b": ("a clause right after - at position 3, got ' b'", Or(A, B)),
    "+": ("a clause right after + at position 1, got its end", Or()),
    "--a": ("a clause right after - at position 1, got '-a'", A),
    "+NOT a": ("no NOT after + at position 4, got ' a'", Not(A)),
    "NOT": ("a clause at position 3, got its end", Or()),
    "a^": ("a number from 0 to 1e9 after ^ at position 2, got its end", Boost(A, 1)),
    "a^x": ("a number from 0 to 1e9 after ^ at position 2, got 'x'", Or(Boost(A, 1), Match("x"))),
    "a^-1": ("a number from 0 to 1e9 after ^ at position 2, got '-1'", And(Boost(A, 1), Not(Match("1")))),
    "a^1e10": ("a number from 0 to 1e9 after ^ at position 2, got '1e10'", Boost(A, 1e9)),
    "a~3": ("0, 1 or 2 edits at position 2, got '3'", Fuzzy("a", 2)),
    "a~0.8": ("a space or the end at position 3", Fuzzy("a", 2)),
    "a*b": ("the end of the word after * at position 2, got 'b'", Or(A, B)),
    "*a": ("a word at position 0, got '*a'", A),
    '"a"~x': ("how many places away, a number at position 4, got 'x'", Or(Phrase("a"), Match("x"))),
    "(a b)~3": ("after a group of clauses ~ and how many of them must match at position 5", Or(A, B)),
    "a]": ("a space or the end at position 1, got ']'", A),
    "]": ("a word, a phrase or a group at position 0, got ']'", Or()),
    'a"b"': ("a space or the end at position 1", Or(A, Phrase("b"))),
    "[1 TO 2]": (
        "the name of a column and : before a range at position 0",
        Or(Match("1"), Match("TO"), Match("2")),
    ),
    "year:[1 2]": ("TO at position 8, got '2]'", Or(Match("1"), Match("2"))),
    "year:[1 TO 2": ("] or } at position 12, got its end", Or(Match("1"), Match("TO"), Match("2"))),
    "year:[x TO 2]": ("a number at position 6, got 'x TO 2]'", Or(Match("x"), Match("TO"), Match("2"))),
    "a\\": ("a character after \\ at position 2, got its end", Match("a\\")),
    "title: a": ("a clause right after title: at position 6, got ' a'", Or(Match("title:"), A)),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=MISTAKES)
def test_mistake_is_told_with_its_place_or_made_the_best_of(text, expected):
    message, lenient = expected
    assert parse_query(text) == lenient
    with pytest.raises(QuerySyntaxError) as caught:
        parse_query(text, strict=True)
    assert message in str(caught.value)
    assert f"at position {caught.value.position}, got" in str(caught.value)
    assert 0 <= caught.value.position <= len(text)


def test_unknown_fields_are_refused_strictly_and_words_leniently():
    with pytest.raises(
        QuerySyntaxError, match=r"one of the fields title, body, year before :, or .: at position 2"
    ):
        parse_query("a http://x", strict=True, schema=BOOKS)
    assert parse_query("a http://x", schema=BOOKS) == Or(A, Match("http://x"))


def test_kinds_of_fields_are_held_to_strictly():
    for text, message in {
        "year:x": "a number or a range for year at position 5, got 'x'",
        "year:x*": "a number or a range for year at position 5, got 'x\\*'",
        "year:x~1": "a number or a range for year at position 5, got 'x~1'",
        'a year:"x y"~2': "a number or a range for year at position 7",
        "year:(=x)": "a number or a range for year at position 6",
        "title:>5": "no comparison for title, a field of text, at position 6",
        "title:[1 TO 2]": "words for title at position 6",
        "title:body:x": None,
    }.items():
        if message is None:
            assert parse_query(text, strict=True, schema=BOOKS) == Match("body:x", "title")
            continue
        with pytest.raises(QuerySyntaxError, match=message):
            parse_query(text, strict=True, schema=BOOKS)
    for text in ("year:x", 'year:"x"', "year:x~", "year:x*", "year:(=x)", 'year:("x")'):
        assert parse_query(text, schema=BOOKS) in (Match("x"), Term("x"))


def test_phrases_beyond_the_first_16_become_words_leniently():
    text = '"a b"~5 ' * 40
    assert parse_query(text, strict=True) == Or(*[Phrase("a b", 5)] * 40)
    assert parse_query(text) == Or(*[Phrase("a b", 5)] * 16, *[Match("a b")] * 24)
    text = '"a b"' * 17
    assert parse_query(text, schema=Schema(positions=False)) == Or(*[And(A, B)] * 16, Match("a b"))


def test_phrases_become_all_their_words_where_positions_are_not_kept():
    schema = Schema({"text": "text"}, positions=False)
    assert parse_query('"a b"', schema=schema) == And(A, B)
    assert parse_query('"a"', schema=schema) == A
    many = parse_query("b " * 1_000 + '"' + "a " * 1_000 + '"', schema=schema)
    assert many.size == 1_024
    assert many.clauses[0] == B
    assert parse_query('"a b"', strict=True, schema=schema) == Phrase("a b")


@pytest.mark.parametrize("text", [None, 5, b"a", ["a"]])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(InvalidType, match="text must be a str"):
        parse_query(text)


def test_syntax_error_is_a_value_error_of_penstock_and_can_be_pickled():
    import pickle

    with pytest.raises(ValueError, match="at position 1") as caught:
        parse_query("a)", strict=True)
    assert isinstance(caught.value, PenstockError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.position) == (str(caught.value), 1)


# Bounds


BOMBS = {
    "parentheses": "(" * 50_000,
    "nested": "(" * 10_000 + "a" + ")" * 10_000,
    "nots": "NOT " * 50_000 + "a",
    "minuses": "-" * 50_000 + "a",
    "fields": "a:" * 50_000 + "b",
    "boosts": "a" + "^2" * 50_000,
    "words": "a " * 100_000,
    "prefixes": "a* " * 50_000,
    "near": "a~ " * 50_000,
    "ands": "a AND " * 50_000 + "a",
    "quotes": '"' * 50_001,
    "one word": "a" * 1_000_000,
    "phrase": '"' + "a " * 100_000 + '"',
    "escapes": "\\" * 100_001,
    "digits": "year:[" + "9" * 100_000 + " TO 1]",
    "factor": "a^" + "9" * 100_000,
    "stars": "*" * 100_000,
    "nested boosts": "(" * 30 + "a" + ")^2^2^2" * 30,
    "nested nots": "a -(" * 40 + "b" + ")" * 40,
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_strictly_and_cut_leniently(text):
    query = parse_query(text)
    assert query.size <= 1_024
    assert query.depth <= 32
    str(query), repr(query), hash(query)
    with suppress(QuerySyntaxError, QueryTooLarge):
        parse_query(text, strict=True)


@settings(max_examples=300)
@given(st.text(st.sampled_from('ab AND OR NOT TO ()[]{}"^~*:\\+-=<>.019\n') | st.characters(), max_size=60))
def test_lenient_parsing_takes_any_text_and_strict_refuses_it_at_the_most(text):
    for schema in (None, BOOKS, Schema({"a": "text", "b": "number"}, positions=False)):
        query = parse_query(text, schema=schema)
        assert isinstance(query, Query)
        assert isinstance(parse_query(str(query), strict=True), Query)
        try:
            strict = parse_query(text, strict=True, schema=schema)
        except (QuerySyntaxError, QueryTooLarge):
            continue
        if schema is None:
            assert parse_query(str(strict), strict=True) == strict


# There and back

FIELDS = st.none() | st.sampled_from(["title", "a.b-c", "été", "AND"])
WORDS = st.text(min_size=1, max_size=8) | st.sampled_from(
    ["AND", "OR", "NOT", "TO", "-a", "+", "=", "a:b", "*", "a b", "\\"]
)
NUMBERS = st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
FACTORS = st.floats(0, 1e9)
LEAVES = st.one_of(
    st.builds(Match, WORDS, FIELDS),
    st.builds(Term, WORDS, FIELDS),
    st.builds(Phrase, st.text(max_size=8), st.integers(0, 10**6), FIELDS),
    st.builds(Prefix, WORDS, FIELDS),
    st.builds(Fuzzy, WORDS, st.integers(0, 2), FIELDS),
    st.builds(Range, st.sampled_from(["year", "a.b-c"]), NUMBERS, NUMBERS, st.booleans(), st.booleans()),
    st.just(Everything()),
)


def without_not(query):
    return without_not(query.clause) if isinstance(query, Not) else query


def made_of(queries):
    plain = queries.map(without_not)
    return st.one_of(
        st.lists(queries, min_size=2, max_size=4).map(lambda clauses: Or(*clauses)),
        st.lists(queries, min_size=2, max_size=4).map(lambda clauses: Or(*clauses, minimum=len(clauses))),
        st.tuples(
            plain, st.lists(queries | queries.map(Maybe) | queries.map(Not), min_size=1, max_size=3)
        ).map(lambda parts: And(parts[0], *parts[1])),
        st.lists(queries.map(Not), min_size=2, max_size=3).map(lambda clauses: And(*clauses)),
        st.builds(Not, queries),
        st.builds(Boost, queries, FACTORS),
        st.builds(ConstScore, queries, FACTORS),
    )


@settings(max_examples=300)
@given(st.just(Or()) | st.recursive(LEAVES, made_of, max_leaves=8))
def test_query_is_read_back_as_it_was_written(query):
    assert parse_query(str(query), strict=True) == query


@settings(max_examples=100)
@given(st.recursive(LEAVES, made_of, max_leaves=8))
def test_repr_is_code_that_makes_the_query(query):
    names = {
        kind.__name__: kind for kind in Query.__subclasses__() for kind in (kind, *kind.__subclasses__())
    }
    assert eval(repr(query), names | {"inf": float("inf")}) == query
