"""A slice of what `tests/fuzz/fuzz_parsers.py` runs by the million."""

import pytest

from fuzz import fuzz_parsers
from fuzz.parsers import PARSERS
from fuzz.parsing import MAX_BYTES, Mutator, Parser, little_memory

CASES = 1000


@pytest.mark.parametrize("name", PARSERS)
def test_samples_are_valid_and_mutants_break_no_promise(name):
    parser = PARSERS[name]
    for sample in parser.samples:
        parser.run(sample)
    with little_memory():
        for number, data in Mutator(parser, seed=1).cases(0, CASES):
            try:
                parser.run(data)
            except BaseException as error:
                error.add_note(
                    f"fuzz_parsers.py --parser {name} --seed 1 --first {number} --cases 1: {data!r}"
                )
                raise


def test_case_depends_on_seed_and_number_alone():
    parser = Parser(print, (b"hello world" * 9, b"x"), (b"word",))
    one, other = Mutator(parser, 1), Mutator(parser, 1)
    assert list(one.cases(0, 50)) == list(other.cases(0, 50))
    assert one.case(7) == other.case(7) != Mutator(parser, 2).case(7)
    assert all(len(data) <= MAX_BYTES for _, data in one.cases(0, 2000))


def fails_on_quotes(data):
    assert b'"' not in data


def takes_all_memory(data):
    bytearray(1 << 34)


def takes_longer_than_nothing(data):
    pass


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (fails_on_quotes, "AssertionError"),
        (takes_all_memory, "MemoryError"),
        (takes_longer_than_nothing, "TimeoutError"),
    ],
)
def test_case_that_breaks_a_promise_is_told_and_kept(tmp_path, monkeypatch, run, reason):
    monkeypatch.setitem(fuzz_parsers.PARSERS, "bad", Parser(run, (b'say "hello"',)))
    monkeypatch.setattr(fuzz_parsers, "KEPT", tmp_path)
    monkeypatch.setattr(fuzz_parsers, "SLOW", 0 if run is takes_longer_than_nothing else 10)
    name, _, _, _, told = fuzz_parsers.run_task(("bad", 1, 0, 50))
    assert (name, reason in told) == ("bad", True)
    [kept] = tmp_path.iterdir()
    number = int(kept.name.rpartition("-")[2])
    assert f"--parser bad --seed 1 --first {number} --cases 1" in told
    assert kept.read_bytes() == Mutator(fuzz_parsers.PARSERS["bad"], 1).case(number)
