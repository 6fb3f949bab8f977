"""Highlighting: what a query looks for is marked, in the whole text or in the best piece of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue
from penstock.search.fields import Text
from penstock.search.query import And, Fuzzy, Match, Not, Phrase, Prefix, Range, Term


@pytest.fixture
def index(InvertedIndex):
    return InvertedIndex(positions=True)


def marked(index, query, text, **options):
    return index.highlight(query, text, before="[", after="]", **options)


def test_words_are_marked_as_they_stand_in_the_text(index):
    assert marked(index, "python", "Python, python; PYTHONS") == "[Python], [python]; PYTHONS"
    assert marked(index, ["python"], "Python") == "[Python]"
    assert marked(index, "zebra", "no match") == "no match"
    assert marked(index, "", "text") == "text"
    assert marked(index, "text", "") == ""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Match("big cloud"), "The [big] data of [big] [cloud]s, data is [big]".replace("[cloud]s", "clouds")),
        (Term("data"), "The big [data] of big clouds, [data] is big"),
        (Term("Data"), "The big data of big clouds, data is big"),
        (Prefix("CLO"), "The big data of big [clouds], data is big"),
        (Fuzzy("cluods", 1), "The big data of big [clouds], data is big"),
        (Fuzzy("cluod", 1), "The big data of big clouds, data is big"),
        (Phrase("big data"), "The [big data] of big clouds, data is big"),
        (Phrase("data big", slop=1), "The big [data] of [big] clouds, [data] is [big]"),
        (Phrase("data big", slop=2), "The [big] [data] of [big] clouds, [data] is [big]"),
        (Phrase("the"), "[The] big data of big clouds, data is big"),
        (And(Match("of"), Not(Match("big"))), "The big data [of] big clouds, data is big"),
        (Range("n", 1), "The big data of big clouds, data is big"),
        (And(Phrase("big data"), Match("data")), "The [big data] of big clouds, [data] is big"),
    ],
    ids=str,
)
def test_each_kind_of_query_marks_what_it_looks_for(index, query, expected):
    assert marked(index, query, "The big data of big clouds, data is big") == expected


def test_words_are_marked_whose_stem_is_that_of_the_query(InvertedIndex):
    index = InvertedIndex(analyzer="english")
    assert marked(index, "running horses", "The horse's runs") == "The [horse]'s [runs]"


def test_field_says_whose_words_and_which_clauses(InvertedIndex):
    index = InvertedIndex({"title": Text(analyzer="english"), "body": Text()})
    query = index.parse("title:run body:walk")
    assert marked(index, query, "running walking walk", field="title") == "[running] walking walk"
    assert marked(index, query, "running walking walk", field="body") == "running walking [walk]"
    assert marked(index, query, "running walking walk") == "[running] [walking] [walk]"
    with pytest.raises(LookupError, match="field must be one of title, body, got 'nope'"):
        index.highlight("x", "x", field="nope")


def test_usual_marks_are_of_html_and_the_text_is_escaped(index):
    assert index.highlight("b", "<a> & b") == "&lt;a&gt; &amp; <mark>b</mark>"
    assert index.highlight("b", "<a> & b", escape=False) == "<a> & <mark>b</mark>"
    assert marked(index, "b", "<a> & b") == "<a> & [b]"
    assert marked(index, "b", "<a> & b", escape=True) == "&lt;a&gt; &amp; [b]"


def test_pairs_of_ideographs_are_marked_as_one_piece(InvertedIndex):
    from penstock.search.analyzer import Analyzer

    index = InvertedIndex(analyzer=Analyzer(cjk="bigrams"))
    assert marked(index, "東京都", "私は東京都に") == "私は[東京都]に"


def test_other_forms_of_letters_are_marked_where_they_stand(InvertedIndex):
    from penstock.search.analyzer import Analyzer

    index = InvertedIndex(analyzer=Analyzer(nfkc=True))
    assert marked(index, "fine İstanbul", "so ﬁne in İstanbul") == "so [ﬁne] in [İstanbul]"


LONG = "one two three four five " * 20 + "needle in the hay " + "six seven eight " * 20 + "needle"


def test_fragment_is_where_most_of_the_query_is(index):
    piece = marked(index, "needle hay", LONG, fragment=60)
    assert "[needle] in the [hay]" in piece
    assert piece.startswith("…")
    assert piece.endswith("…")
    assert len(piece) <= 60 + 2 + 4


def test_fragment_of_a_short_text_is_the_text(index):
    assert marked(index, "a", "a b", fragment=3) == "[a] b"


def test_fragment_without_a_match_is_the_start(index):
    assert marked(index, "zebra", LONG, fragment=12) == "one two…"


def test_fragment_does_not_cut_words_where_there_is_a_space(index):
    assert marked(index, "bb", "aaaa bb cccc dddd", fragment=9) == "…[bb] cccc…"
    assert marked(index, "dddd", "aaaa bb cccc dddd", fragment=9) == "…cccc [dddd]"
    assert marked(index, "a", "a" + "b" * 50 + " a", fragment=5) == "…[a]"


def test_fragment_of_what_is_longer_than_it_is_cut(index):
    word = "x" * 100
    assert marked(index, word, f"a {word} b", fragment=10) == "…[" + "x" * 10 + "]…"


@settings(max_examples=150)
@given(
    text=st.text(st.sampled_from("ab <&") | st.characters(), max_size=60),
    query=st.sampled_from(["a", "ab b", Phrase("a b"), Phrase("a b", 3), Prefix("a"), Fuzzy("ab", 1)]),
    fragment=st.none() | st.integers(1, 70),
)
def test_without_its_marks_it_is_the_text_or_a_piece_of_it(text, query, fragment):
    from penstock.search.analyzer import Analyzer
    from penstock.search.highlight import highlighted

    found = highlighted(query, text, Analyzer(), before="\x02", after="\x03", fragment=fragment)
    plain = found.replace("\x02", "").replace("\x03", "")
    if "\x02" in text or "\x03" in text:
        return
    if fragment is None or len(text) <= fragment:
        assert plain == text
    else:
        piece = plain.removeprefix("…").removesuffix("…") if "…" not in text else plain.strip("…")
        assert piece.strip("…") in text
        assert len(piece) <= fragment
    assert found.count("\x02") == found.count("\x03")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": 5}, "text must be a str, got 5"),
        ({"text": "x", "before": 5}, "before must be a str, got 5"),
        ({"text": "x", "after": None}, "after must be a str, got None"),
        ({"text": "x", "fragment": 0}, "fragment must be >= 1, got 0"),
        ({"text": "x", "fragment": "5"}, "fragment must be an int, got '5'"),
    ],
)
def test_wrong_arguments_are_refused(index, options, message):
    with pytest.raises((InvalidType, InvalidValue), match=message):
        index.highlight("x", **options)
    with pytest.raises(InvalidType, match="query must be a str"):
        index.highlight(5, "x")


def test_words_of_a_sloppy_phrase_are_marked_each_where_finding_it_would_take_long(index, monkeypatch):
    found = index.highlight(Phrase("b a", 1), "a b x a", before="[", after="]")
    assert found == "a [b] x [a]"
    monkeypatch.setattr("penstock.search.highlight.MOST_LOOKS", 5)
    assert index.highlight(Phrase("b a", 1), "a b x a", before="[", after="]") == "[a] [b] x [a]"
    assert index.highlight(Phrase("b c", 1), "a b x b", before="[", after="]") == "a b x b"
    assert index.highlight(Phrase("b x"), "a b x b", before="[", after="]") == "a [b x] b"
