"""The boundaries of words are those of the Unicode Consortium's own test, data/WordBreakTest-15.0.0.txt.xz.

The file is unchanged but for its compression; data/LICENSE-UNICODE.txt is its licence.
"""

import lzma
import re
from pathlib import Path

import pytest

from penstock.search._word_breaks import UNICODE_VERSION
from penstock.search._words_py import CLASS_OF, WORD, next_boundary
from penstock.search.words import WordRules
from twins import both_twins

WordSplitter = both_twins("penstock.search.words")

FILE = Path(__file__).parents[1] / "data" / f"WordBreakTest-{UNICODE_VERSION}.0.txt.xz"


def samples():
    """Each sample as the parts between its boundaries."""
    with lzma.open(FILE, "rt", encoding="utf-8") as lines:
        for line in lines:
            parts = line.partition("#")[0].replace("×", " ").split("÷")[1:-1]
            if parts:
                yield ["".join(chr(int(point, 16)) for point in part.split()) for part in parts]


SAMPLES = list(samples())


def spans_of(parts, before=""):
    """What a splitter finds of those parts, with a text before them."""
    found, at = [], len(before)
    for part in parts:
        if not WORD.isdisjoint(part.translate(CLASS_OF)):
            found.append((part, at, at + len(part)))
        at += len(part)
    return found


def test_all_samples_are_there():
    assert len(SAMPLES) == 1823
    assert sum(map(len, SAMPLES)) > 4000


def test_header_of_the_kernel_says_the_same_of_every_code_point():
    text = (Path(__file__).parents[2] / "csrc" / "word_breaks.h").read_text()
    numbers = dict(re.findall(r"PS_BREAK_(\w+) = (\w+),", text))
    index = re.search(r"PS_BREAK_INDEX\[.*?\] = \{(.*?)\}", text, flags=re.DOTALL)[1]
    blocks = re.findall(r"^\{([\d,\n]+)\},", text, flags=re.MULTILINE)
    values = [[int(value) for value in block.strip().strip(",").split(",")] for block in blocks]
    index = [int(number) for number in index.strip().strip(",").split(",")]
    letters = (  # of the module, by the name in the header
        "CR=r LF=n NEWLINE=w EXTEND=e ZWJ=z FORMAT=f REGIONAL=R KATAKANA=K HEBREW=H LETTER=APG "
        "SINGLE_QUOTE=' "
        'DOUBLE_QUOTE=" MID_NUM_LET=d MID_LETTER=l MID_NUM=m NUMERIC=N EXTEND_NUM_LET=_ SPACE=s OTHER=.*ocp'
    )
    picture, word = int(numbers["PICTURE"], 16), int(numbers["WORD"], 16)
    expected = {}
    for name, several in (pair.split("=") for pair in letters.split()):
        for letter in several:
            flags = (picture if letter in "P*p" else 0) | (word if letter in WORD else 0)
            expected[letter] = int(numbers[name]) | flags
    for point in range(0x110000):
        block = index[min(point // 128, len(index) - 1)]
        assert values[block][point % 128] == expected[CLASS_OF[point]], hex(point)
    CLASS_OF.clear()  # a million of them


def test_fallback_finds_the_boundaries_of_every_sample():
    for parts in SAMPLES:
        classes = "".join(parts).translate(CLASS_OF)
        found, at = [], 0
        while at < len(classes):
            found.append(next_boundary(classes, at) - at)
            at += found[-1]
        assert found == list(map(len, parts)), parts


@pytest.mark.parametrize("widest", ["", "\u4e00", "\U00020000"])
def test_words_of_every_sample_are_what_lies_between_its_boundaries(WordSplitter, widest):
    splitter = WordSplitter(WordRules(lower=False))
    before = f"{widest}\n" if widest else ""  # so that the text takes 2 or 4 bytes a code point
    for parts in SAMPLES:
        expected = spans_of([widest, "\n"]) if widest else []
        assert splitter.spans(before + "".join(parts)) == expected + spans_of(parts, before), parts


def test_words_are_found_wherever_a_sample_stands_in_a_longer_text(WordSplitter):
    splitter = WordSplitter(WordRules(lower=False))
    for size in (1000, 1020, 1022, 1023, 1024, 1025):
        before = "-" * size + "\n"
        for parts in SAMPLES[::17]:
            assert splitter.spans(before + "".join(parts)) == spans_of(parts, before), parts
