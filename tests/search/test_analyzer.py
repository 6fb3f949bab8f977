"""What an Analyzer makes of texts."""

import json
import pickle
import subprocess
import sys
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from Stemmer import Stemmer

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.search import _token_steps, _words_c, _words_py, analyzer
from penstock.search.analyzer import Analyzer
from penstock.search.stop_words import STOP_WORDS
from penstock.search.words import WordRules

TWINS = {"c": _words_c, "py": _words_py}


@pytest.fixture(params=["c", "py"], autouse=True)
def splitter(request, monkeypatch):
    """Analyzers are made with the splitter of each twin."""
    monkeypatch.setattr(analyzer, "WordSplitter", TWINS[request.param].WordSplitter)


def with_custom(text):
    return text.split("/")


EVERY = {
    "unicode": lambda: Analyzer(),
    "ascii": lambda: Analyzer("ascii"),
    "reference": lambda: Analyzer("reference"),
    "english": Analyzer.english,
    "english ascii": lambda: Analyzer.english("ascii"),
    "keyword": lambda: Analyzer("keyword"),
    "kept case": lambda: Analyzer(lowercase=False, stop_words=["The"]),
    "bigrams": lambda: Analyzer(cjk="bigrams", nfkc=True, stop_words=["一"], min_length=2, max_length=7),
    "german": lambda: Analyzer(stemmer="german", stop_words=["DER", "die"]),
    "custom": lambda: Analyzer(custom=with_custom, strip_possessives=True, max_length=5),
}
every_analyzer = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def test_words_are_those_of_unicode_and_lowered():
    assert Analyzer().tokens("Don't panic: 3.14 is Ludolph's") == [
        "don't",
        "panic",
        "3.14",
        "is",
        "ludolph's",
    ]


def test_ascii_words_are_runs_of_letters_and_digits():
    assert Analyzer("ascii").tokens("Don't, café_3.14") == ["don", "t", "caf", "3", "14"]


def test_reference_passes_over_words_of_less_than_three_letters():
    assert Analyzer("reference").tokens("To be or not to be, abc") == ["not", "abc"]
    assert Analyzer("reference", min_length=4).tokens("not even this") == ["even", "this"]
    assert Analyzer("reference", max_length=2).tokens("abc") == ["ab"]


def test_a_keyword_is_the_whole_text():
    assert Analyzer("keyword").tokens(" New York, NY ") == [" new york, ny "]
    assert Analyzer("keyword", lowercase=False).tokens("ID-7") == ["ID-7"]
    assert Analyzer("keyword").tokens("") == []
    assert list(map(len, Analyzer("keyword").tokens("x" * 600))) == [255, 255, 90]
    assert Analyzer("keyword").tokens("a\ud800") == ["a\ufffd"]


def test_case_is_kept_if_asked_for():
    assert Analyzer(lowercase=False).tokens("New ÉCOLE") == ["New", "ÉCOLE"]


def test_nfkc_makes_one_of_what_looks_the_same():
    assert Analyzer(nfkc=True).tokens("ﬁne ① e\u0301") == ["fine", "1", "é"]
    assert Analyzer().tokens("ﬁne") == ["ﬁne"]


def test_stop_words_are_passed_over_in_any_case():
    assert Analyzer(stop_words="english").tokens("The cat and THE dog") == ["cat", "dog"]
    assert Analyzer(stop_words=["CAT", "école"]).tokens("Cat École x") == ["x"]
    assert Analyzer(stop_words=["ﬁ"], nfkc=True).tokens("fi ﬁ x") == ["x"]
    assert Analyzer(stop_words=iter(())).tokens("the") == ["the"]


def test_english_stop_words_are_those_of_lucene():
    assert len(STOP_WORDS["english"]) == 33
    assert {"a", "such", "with"} < STOP_WORDS["english"]


def test_english_finds_words_by_their_stems():
    english = Analyzer.english()
    assert english.tokens("The Dogs' connections") == english.tokens("a dog's connected")
    assert english.tokens("relational cats") == ["relat", "cat"]
    assert Analyzer("english") == english


@pytest.mark.parametrize("name", ["unicode", "ascii"])
def test_possessives_are_removed_from_the_end_of_words(name):
    plain = Analyzer(name, strip_possessives=True)
    assert plain.tokens("dog's CAT'S Ann\u2019s its s x") == ["dog", "cat", "ann", "its", "s", "x"]
    assert plain.tokens("'s is 's") == ["s", "is", "s"]
    text = "the dog's tail"
    assert [text[start:end] for _, start, end in plain.spans(text)] == ["the", "dog", "tail"]


def test_possessives_go_before_stop_words_and_short_words():
    found = Analyzer(strip_possessives=True, stop_words=["it"], min_length=2).tokens("it's a's dog's")
    assert found == ["dog"]


def test_bigrams_are_made_of_what_stands_side_by_side():
    bigrams = Analyzer(cjk="bigrams")
    assert bigrams.tokens("日本語 テスト 字") == ["日本", "本語", "テス", "スト", "字"]
    assert bigrams.tokens("ver2日本、語a한국") == ["ver2", "日本", "語", "a한국"]
    assert bigrams.tokens("漢字かなカナ한글") == ["漢字", "字か", "かな", "なカ", "カナ", "ナ한", "한글"]
    assert bigrams.tokens("か\u3099き") == ["か\u3099き"]  # a mark goes with its letter
    assert bigrams.tokens("plain text") == ["plain", "text"]


def test_bigrams_are_kept_however_short():
    assert Analyzer(cjk="bigrams", min_length=4).tokens("to 日本 word 字") == ["日本", "word", "字"]


def test_bigrams_go_on_over_pieces_of_long_words():
    assert len(Analyzer(cjk="bigrams").tokens("ア" * 600)) == 599


def test_no_token_is_longer_than_an_index_takes():
    marks = "か" + "\u0301" * 200
    assert list(map(len, Analyzer(cjk="bigrams").tokens(marks + marks))) == [255]
    assert max(map(len, Analyzer.english().tokens("a" * 251 + "ated " + "b" * 300 + "'s"))) <= 255


def test_a_custom_function_is_given_the_normal_text():
    custom = Analyzer(custom=with_custom)
    assert custom.tokens("A b/C d/") == ["a b", "c d"]
    assert Analyzer(custom=with_custom, lowercase=False).tokens("A/b") == ["A", "b"]
    assert custom.spans("X/Éa/b") == [("x", 0, 1), ("éa", 2, 4), ("b", 5, 6)]
    assert Analyzer(custom=with_custom, max_length=2).spans("abc/d") == [
        ("ab", 0, 2),
        ("c", 2, 3),
        ("d", 4, 5),
    ]


def test_what_a_custom_function_made_up_is_a_token_without_a_place():
    made_up = Analyzer(custom=lambda text: ["colour", *text.split()])
    assert made_up.tokens("red box") == ["colour", "red", "box"]
    assert made_up.spans("red box") == [("red", 0, 3), ("box", 4, 7)]


def test_a_custom_function_that_gives_no_text_is_refused():
    with pytest.raises(InvalidType, match=r"^custom must give str, got 1$"):
        Analyzer(custom=lambda text: [1]).tokens("a")


@pytest.mark.parametrize("language", ["porter", "english", "german", "arabic", "tamil"])
def test_stemmers_are_those_of_snowball(language):
    stem = Stemmer(language).stemWord
    words = ["running", "häuser", "كتاب", "happily", "a"]
    assert Analyzer(stemmer=language).tokens(" ".join(words)) == list(map(stem, words))


def test_stems_are_remembered_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(_token_steps, "MOST_STEMS", 10)
    english = Analyzer(stemmer="english")
    words = [f"cats{i}s" for i in range(100)]
    assert english.tokens(" ".join(words)) == [word[:-1] for word in words]
    assert len(english._stems) <= 10


def test_threads_share_an_analyzer():
    english, found = Analyzer.english(), []

    def analyse(word):
        found.append(all(english.tokens(f"{word}s {word}'s the") == [word, word] for _ in range(300)))

    threads = [Thread(target=analyse, args=(word,)) for word in ("cat", "dog", "bird", "tree")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


TEXT = "Don't: the dog's ﬁne İx 3.14 日本語のテキスト한국어ｶﾞ① e.g. Σας der Häuser's /s's a\ud800b/ The one"


@every_analyzer
def test_spans_have_the_tokens(make):
    made = make()
    spans = made.spans(TEXT)
    assert [token for token, _, _ in spans] == made.tokens(TEXT)
    assert all(0 <= start < end <= len(TEXT) for _, start, end in spans)


@every_analyzer
def test_analyzers_are_compared_hashed_and_pickled_by_what_they_do(make):
    made = make()
    for other in (make(), pickle.loads(pickle.dumps(made))):
        assert other == made
        assert hash(other) == hash(made)
        assert other.tokens(TEXT) == made.tokens(TEXT)
    assert made != Analyzer(max_length=99)
    assert made != "unicode"


@every_analyzer
def test_a_config_goes_through_json(make):
    made = make()
    if made.is_custom:
        with pytest.raises(
            InvalidValue, match=r"^an analyzer must have no custom function to be saved, got <f"
        ):
            made.config()
    else:
        assert Analyzer.of_config(json.loads(json.dumps(made.config()))) == made


@every_analyzer
def test_rules_tell_all_or_are_none(make):
    made = make()
    if made.rules is not None:
        assert made.tokens(TEXT) == analyzer.WordSplitter(made.rules).words(TEXT)
    else:
        assert made.is_custom or made != Analyzer(stop_words=["x"])


def test_rules_are_there_for_what_a_splitter_does_alone():
    assert Analyzer().rules == WordRules()
    assert Analyzer("reference").rules == WordRules("ascii", shortest=3)
    assert Analyzer(stop_words=["a"], nfkc=True).rules == WordRules(nfkc=True, stop_words=frozenset("a"))
    for other in (
        Analyzer("keyword"),
        Analyzer.english(),
        Analyzer(cjk="bigrams"),
        Analyzer(custom=str.split),
    ):
        assert other.rules is None


def test_normalized_does_nothing_but_that():
    assert Analyzer().normalized("The ÉCOLE ﬁ") == "the école ﬁ"
    assert Analyzer(nfkc=True, lowercase=False).normalized("The ﬁ") == "The fi"


def test_repr_makes_the_analyzer_again():
    assert repr(Analyzer()) == "Analyzer('unicode')"
    assert repr(Analyzer("ascii", stop_words="english")) == "Analyzer('ascii', stop_words='english')"
    for made in (
        Analyzer.english(),
        Analyzer("reference", nfkc=True),
        Analyzer(stop_words=["x"], cjk="bigrams"),
    ):
        assert eval(repr(made)) == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "french"},
            "name must be one of unicode, ascii, reference, english, keyword, got 'french'",
        ),
        ({"stop_words": "german"}, "stop_words must be one of english, got 'german'"),
        ({"stemmer": "klingon"}, "stemmer must be one of arabic, armenian, "),
        ({"cjk": "trigrams"}, "cjk must be one of bigrams, got 'trigrams'"),
        ({"min_length": 0}, "min_length must be from 1 to 255, got 0"),
        ({"min_length": 9, "max_length": 8}, "min_length must be from 1 to 8, got 9"),
        ({"max_length": 256}, "max_length must be from 1 to 255, got 256"),
    ],
)
def test_values_that_there_are_not_are_refused(arguments, message):
    with pytest.raises(InvalidValue) as caught:
        Analyzer(**arguments)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 1}, "name must be a str, got 1"),
        ({"stop_words": 1}, "stop_words must be None, the name of a list or an iterable of str, got 1"),
        ({"stop_words": [b"a"]}, "stop_words must be of str, got b'a'"),
        ({"stemmer": 1}, "stemmer must be a str, got 1"),
        ({"cjk": True}, "cjk must be a str, got True"),
        ({"max_length": 1.5}, "max_length must be an int, got 1.5"),
        ({"custom": "split"}, "custom must be a function of a text, got 'split'"),
    ],
)
def test_values_of_another_type_are_refused(arguments, message):
    with pytest.raises(InvalidType) as caught:
        Analyzer(**arguments)
    assert str(caught.value) == message


@every_analyzer
def test_what_is_no_text_is_refused(make):
    for function in (make().tokens, make().spans, make().normalized):
        with pytest.raises(InvalidType, match=r"^text must be a str, got bytes$"):
            function(b"text")


def test_a_config_with_other_keys_is_refused():
    with pytest.raises(
        InvalidValue, match=r"^config of an analyzer must have keys of name, .*, got 'custom'$"
    ):
        Analyzer.of_config({"custom": None})


def test_a_stemmer_without_the_package_says_what_to_install():
    code = """
import sys
sys.modules["Stemmer"] = None
from penstock.search.analyzer import Analyzer
print(Analyzer(stop_words="english").tokens("the cats"))
try:
    Analyzer.english()
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == [
        "['cats']",
        "stemmer 'porter' needs PyStemmer: pip install 'penstock[search]'",
    ]


@settings(max_examples=60)
@given(
    st.text(
        st.one_of(st.characters(), st.sampled_from("as's \u2019日本ア한か\u3099ｶﾞ\u0301/_.ﬁİΣ")), max_size=40
    ),
    st.sampled_from(list(EVERY.values())),
)
def test_any_text_has_tokens_whose_spans_lie_in_it(text, make):
    made = make()
    spans = made.spans(text)
    assert [token for token, _, _ in spans] == made.tokens(text)
    assert all(0 <= start < end <= len(text) and token for token, start, end in spans)
    if not made.is_custom:
        assert all(len(token) <= 255 for token, _, _ in spans)
        "".join(made.tokens(text)).encode()  # no lone surrogate is left
