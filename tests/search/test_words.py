"""What a WordSplitter promises, on both twins."""

import time
from threading import Thread
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search._words_py import origins, units
from penstock.search.words import WordRules
from twins import both_twins, load

MODULE = "penstock.search.words"
WordSplitter = both_twins(MODULE)
C, PY = load(MODULE, "c"), load(MODULE, "py")

UNICODE = {
    "": [],
    " \t\n": [],
    "Hello, world!": ["hello", "world"],
    "don't can\u2019t 'quoted'": ["don't", "can\u2019t", "quoted"],
    "3.14 1,000,000 12:30 1;2 v1.2b": ["3.14", "1,000,000", "12", "30", "1;2", "v1.2b"],
    "example.com a:b e.g. a.1 1.a": ["example.com", "a:b", "e.g", "a", "1", "1", "a"],
    "snake_case __init__ ___ _1": ["snake_case", "__init__", "_1"],
    "well-known C++ user@host": ["well", "known", "c", "user", "host"],
    "Straße ÉCOLE naïve": ["straße", "école", "naïve"],
    "ΣΟΦΟΣ Σ": ["σοφος", "σ"],
    "e\u0301te\u0301 a\u00adb": ["e\u0301te\u0301", "a\u00adb"],
    "日本語のテキスト": ["日", "本", "語", "の", "テキスト"],
    "한국어 텍스트": ["한국어", "텍스트"],
    "שלום ג'ירפה צה\"ל": ["שלום", "ג'ירפה", 'צה"ל'],
    "ภาษา": ["ภ", "า", "ษ", "า"],
    "٣٫١٤ Ⅷ ½": ["٣٫١٤", "ⅷ"],
    "👍 🇩🇪 ❤️ ok👍ok": ["ok", "ok"],
    "\ud800 a\udfffb": ["a", "b"],
    "\0a\0": ["a"],
}

ASCII = {
    "": [],
    "Don't STOP, 3.14 a_b": ["don", "t", "stop", "3", "14", "a", "b"],
    "café ﬁne \u212a1 \ud800x": ["caf", "ne", "k1", "x"],
    "日本": [],
}

AWKWARD = (
    "abXYZ09__..,,::;;''\"\" \n\r-\0\u0308\u200d\xad\xe9\xdf\u0130\u017f\u4e00\u3042\u30ab\ud55c\u05d0\u05d1"
    "\u0e17\u0e35\u2019\u2014\U0001f600\u2764\U0001f1e6\ud800\u24c2\u0663\u203f\U00020000\u03a3\ufb01\u2460"
)
texts = st.one_of(
    st.text(st.sampled_from(AWKWARD), max_size=60),
    st.text(max_size=30),
    st.tuples(
        st.integers(0, 1100), st.sampled_from("a1_.é"), st.text(st.sampled_from(AWKWARD), max_size=20)
    ).map(lambda parts: parts[1] * parts[0] + parts[2]),
)
rules = st.builds(
    WordRules,
    segmentation=st.sampled_from(["ascii", "unicode"]),
    lower=st.booleans(),
    nfkc=st.booleans(),
    shortest=st.sampled_from([1, 1, 2, 3]),
    longest=st.sampled_from([1, 3, 100, 254, 255]),
    stop_words=st.sampled_from([frozenset(), frozenset({"a", "é", "一", "\ud800", ""})]),
)


@pytest.mark.parametrize("text", UNICODE)
def test_unicode_words_lie_between_the_boundaries_of_unicode(WordSplitter, text):
    assert WordSplitter(WordRules()).words(text) == UNICODE[text]


@pytest.mark.parametrize("text", ASCII)
def test_ascii_words_are_runs_of_letters_and_digits(WordSplitter, text):
    assert WordSplitter(WordRules("ascii")).words(text) == ASCII[text]


@pytest.mark.parametrize("segmentation", ["ascii", "unicode"])
def test_case_is_kept_when_nothing_is_to_be_lowered(WordSplitter, segmentation):
    splitter = WordSplitter(WordRules(segmentation, lower=False))
    assert splitter.words("Ab ZZ x") == ["Ab", "ZZ", "x"]
    assert WordSplitter(WordRules(lower=False)).words("École") == ["École"]


def test_a_letter_that_is_a_picture_may_be_tied_to_what_is_no_word(WordSplitter):
    splitter = WordSplitter(WordRules(lower=False))
    assert splitter.words("x  \u3000 \u200dⓂⓂ! -\u200dⓂ") == ["x", "  \u3000 \u200dⓂⓂ", "-\u200dⓂ"]
    assert splitter.words("é\u3000 \u0308.a") == ["é", "a"]


def test_a_letter_that_is_longer_when_lowered_is_found_where_it_stands(WordSplitter):
    text = "xİ, Ünal İİ"
    spans = WordSplitter(WordRules()).spans(text)
    assert [word for word, _, _ in spans] == ["xi̇", "ünal", "i̇i̇"]
    assert [text[start:end] for _, start, end in spans] == ["xİ", "Ünal", "İİ"]


def test_nfkc_words_are_found_where_they_stand(WordSplitter):
    text = "ﬁne ①② ｶﾞｽ ㎏ Å e\u0301 \u1112\u1161\u11ab ½ x"
    spans = WordSplitter(WordRules(nfkc=True)).spans(text)
    assert [word for word, _, _ in spans] == ["fine", "12", "ガス", "kg", "å", "é", "한", "1\u20442", "x"]
    found = [text[start:end] for _, start, end in spans]
    assert found == ["ﬁne", "①②", "ｶﾞｽ", "㎏", "Å", "e\u0301", "\u1112\u1161\u11ab", "½", "x"]


@pytest.mark.parametrize("segmentation", ["ascii", "unicode"])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_long_words_are_cut_into_pieces(WordSplitter, segmentation, letter):
    if letter == "é" and segmentation == "ascii":
        return
    splitter = WordSplitter(WordRules(segmentation, longest=100))
    assert list(map(len, splitter.words(letter * 250 + " " + letter * 100))) == [100, 100, 50, 100]
    spans = WordSplitter(WordRules(segmentation)).spans("-" + letter * 3000)
    assert [end - start for _, start, end in spans] == [255] * 11 + [195]
    assert [start for _, start, _ in spans] == list(range(1, 3001, 255))


def test_pieces_without_a_letter_or_digit_are_passed_over(WordSplitter):
    splitter = WordSplitter(WordRules(longest=4))
    assert splitter.words("abc" + "_" * 10 + "d") == ["abc_", "_d"]
    assert splitter.words("_" * 4 + "a") == ["a"]
    assert splitter.words("a" + "\u0308" * 9) == ["a\u0308\u0308\u0308"]


def test_short_words_and_stop_words_are_passed_over(WordSplitter):
    splitter = WordSplitter(WordRules(shortest=3, stop_words=frozenset({"the", "école"})))
    assert splitter.words("The END of the École, éa éab") == ["end", "éab"]


def test_many_stop_words_are_all_passed_over(WordSplitter):
    words = [f"w{i}" for i in range(5000)]
    splitter = WordSplitter(WordRules(stop_words=frozenset(words[::2])))
    assert splitter.words(" ".join(words)) == words[1::2]


def test_a_megabyte_of_one_word_takes_no_time(WordSplitter):
    begin = time.perf_counter()
    for text in ("a" * 1_000_000, "_" * 1_000_000, "a" + "\u0308" * 1_000_000, "é." * 500_000):
        for splitter in (WordSplitter(WordRules()), WordSplitter(WordRules("ascii"))):
            assert all(len(word) <= 255 for word in splitter.words(text))
    assert time.perf_counter() - begin < 60


@pytest.mark.parametrize(
    "repeated",
    ["a'", "א'", "1,\u0308", "\u200d❤", "🇩", "\r\n", "a.\u0308\u0308", "漢\u0308", "\u3000 ", " \u200d"],
)
def test_no_text_takes_more_than_linear_time(WordSplitter, repeated):
    begin = time.perf_counter()
    WordSplitter(WordRules()).words(repeated * 100_000)
    assert time.perf_counter() - begin < 20  # with the square of it, minutes


def test_words_at_the_edges_of_what_is_looked_at_together_are_whole(WordSplitter):
    for segmentation in ("ascii", "unicode"):
        splitter = WordSplitter(WordRules(segmentation))
        for size in [*range(1000, 1030), *range(2030, 2060)]:
            for word in ("hello", "word1", "a"):
                text = " " * size + word
                assert splitter.spans(text + " x")[0] == (word, size, size + len(word))
                assert splitter.spans("\u2014" + text)[-1] == (word, size + 1, size + 1 + len(word))


def test_threads_share_a_splitter(WordSplitter):
    splitter = WordSplitter(WordRules(stop_words=frozenset({"the"})))
    found = []

    def split(text, expected):
        found.append(all(splitter.words(text) == expected for _ in range(200)))

    threads = [
        Thread(target=split, args=(f"the Word{i} é{i} " * 20, [f"word{i}", f"é{i}"] * 20)) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


class Text(str):
    __slots__ = ()

    def lower(self):
        raise AssertionError


def test_a_subclass_of_str_is_taken_as_its_text(WordSplitter):
    assert WordSplitter(WordRules()).words(Text("Ab É")) == ["ab", "é"]
    assert WordSplitter(WordRules()).spans(Text("Ab"))[0] == ("ab", 0, 2)


@pytest.mark.parametrize("text", [b"bytes", None, 1, ["a"]])
def test_what_is_no_text_is_refused(WordSplitter, text):
    splitter = WordSplitter(WordRules())
    for function in (splitter.words, splitter.spans):
        with pytest.raises(InvalidType, match=rf"^text must be a str, got {type(text).__name__}$"):
            function(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmentation": "latin"}, "segmentation must be ascii or unicode, got 'latin'"),
        ({"shortest": -1}, "shortest must be from 0 to 255, got -1"),
        ({"longest": 0}, "longest must be from 1 to 255, got 0"),
        ({"longest": 256}, "longest must be from 1 to 255, got 256"),
    ],
)
def test_rules_out_of_range_are_refused(WordSplitter, changes, message):
    with pytest.raises(InvalidValue) as caught:
        WordSplitter(WordRules()._replace(**changes))
    assert str(caught.value) == message
    assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "rules must be WordRules, got None"),
        (("unicode", True, False, 1, 255, frozenset()), "rules must be WordRules, got "),
        (WordRules(shortest=1.5), "shortest must be an int, got 1.5"),
        (WordRules(longest="9"), "longest must be an int, got '9'"),
        (WordRules(stop_words=["a"]), "stop_words must be a frozenset of str, got "),
        (WordRules(stop_words=frozenset({1})), "stop_words must be a frozenset of str, got one with 1"),
    ],
)
def test_rules_of_another_type_are_refused(WordSplitter, given, message):
    with pytest.raises(InvalidType) as caught:
        WordSplitter(given)
    assert str(caught.value).startswith(message)


def test_a_splitter_is_initialised_once(WordSplitter):
    splitter = WordSplitter(WordRules("ascii"))
    with pytest.raises(InvalidValue, match=r"^a WordSplitter must be initialised once, got a second time$"):
        splitter.__init__(WordRules())
    assert splitter.words("a_b") == ["a", "b"]


@settings(max_examples=150)
@given(rules, texts)
def test_twins_find_the_same_words_in_the_same_places(rules, text):
    compiled, plain = C(rules), PY(rules)
    spans = plain.spans(text)
    assert compiled.spans(text) == spans
    assert compiled.words(text) == plain.words(text) == [word for word, _, _ in spans]


@settings(max_examples=100)
@given(rules, texts)
def test_spans_rise_and_show_what_the_word_came_of(rules, text):
    rules = rules._replace(nfkc=False)
    last = 0
    for word, start, end in PY(rules).spans(text):
        assert last <= start < end <= len(text)
        assert 0 < len(word) <= rules.longest
        if "\u0130" not in text and "\u03a3" not in text:
            part = text[start:end]
            assert word == (part.lower() if rules.lower else part)
            last = end


@settings(max_examples=200)
@given(
    st.text(
        st.one_of(
            st.sampled_from(AWKWARD + "かﾞ\u3099\u1112\u1161\u11ab\u09c7\u09be\u0323\u1e9b"), st.characters()
        )
    )
)
def test_units_are_normal_each_by_itself_as_all_are_together(text):
    parts = [normalize("NFKC", text[start:end]) for start, end in units(text)]
    assert "".join(parts) == normalize("NFKC", text)
    starts, ends = origins(WordRules(nfkc=True), text)
    assert len(starts) == len(ends) == len(normalize("NFKC", text).lower())
