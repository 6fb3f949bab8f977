"""What a result tells, on both twins."""

import copy
import math
import os
import pickle
import re
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from twins import both_twins, load

MODULE = "penstock.ratelimit.result"
RateLimitResult = both_twins(MODULE)

NAMES = ("allowed", "limit", "remaining", "retry_after", "reset_after", "window")


def facts(result):
    return tuple(getattr(result, name) for name in NAMES)


def test_result_tells_what_it_was_made_of(RateLimitResult):
    result = RateLimitResult(False, 5, 2, 1.5, 8.25, 10)
    assert facts(result) == (False, 5, 2, 1.5, 8.25, 10.0)
    assert result.count == 3


def test_what_is_not_told_is_nothing_in_one_second(RateLimitResult):
    assert facts(RateLimitResult(True, 5, 4)) == (True, 5, 4, 0.0, 0.0, 1.0)


def test_result_is_true_when_allowed(RateLimitResult):
    assert RateLimitResult(True, 1, 0)
    assert not RateLimitResult(False, 1, 0)
    assert RateLimitResult("yes", 1, 0).allowed is True


def test_result_can_be_named_and_not_changed(RateLimitResult):
    result = RateLimitResult(allowed=True, limit=5, remaining=4, retry_after=0, reset_after=2, window=3)
    assert facts(result) == (True, 5, 4, 0.0, 2.0, 3.0)
    with pytest.raises(AttributeError):
        result.limit = 6


def test_times_are_kept_to_the_nanosecond(RateLimitResult):
    result = RateLimitResult(False, 1, 0, 1.0000000014, 5e-10, 1e-9)
    assert (result.retry_after, result.reset_after, result.window) == (1.000000001, 0.0, 1e-9)


def test_headers_of_an_allowed_request(RateLimitResult):
    result = RateLimitResult(True, 100, 37, 0, 29.2, 60)
    assert result.headers() == {
        "RateLimit-Policy": '"default";q=100;w=60',
        "RateLimit": '"default";r=37;t=30',
    }


def test_headers_of_a_refusal_say_when_to_come_again(RateLimitResult):
    result = RateLimitResult(False, 5, 0, 9.500000001, 10, 10)
    assert result.headers("per-user") == {
        "RateLimit-Policy": '"per-user";q=5;w=10',
        "RateLimit": '"per-user";r=0;t=10',
        "Retry-After": "10",
    }


@pytest.mark.parametrize(("retry_after", "seconds"), [(0, "1"), (1e-9, "1"), (1, "1"), (1.000000001, "2")])
def test_retry_after_is_whole_seconds_and_never_too_few(RateLimitResult, retry_after, seconds):
    assert RateLimitResult(False, 1, 0, retry_after).headers()["Retry-After"] == seconds


def test_window_below_a_second_is_rounded_up(RateLimitResult):
    fields = RateLimitResult(True, 1, 1, window=0.001).headers()
    assert fields == {"RateLimit-Policy": '"default";q=1;w=1', "RateLimit": '"default";r=1;t=0'}


def test_fields_hold_no_integer_that_rfc_9651_does_not_know(RateLimitResult):
    most = 10**15 - 1
    fields = RateLimitResult(True, most + 1, most + 1).headers()
    assert fields == {"RateLimit-Policy": f'"default";q={most};w=1', "RateLimit": f'"default";r={most};t=0'}


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("", '""'),
        ("a b~!", '"a b~!"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ('\\"', r'"\\\""'),
    ],
)
def test_policy_name_is_escaped_as_a_structured_field(RateLimitResult, name, quoted):
    fields = RateLimitResult(True, 1, 1).headers(name)
    assert fields["RateLimit-Policy"] == f"{quoted};q=1;w=1"
    assert fields["RateLimit"] == f"{quoted};r=1;t=0"


@pytest.mark.parametrize(
    "name", ["é", "日本", "a\r\nSet-Cookie: x", "tab\t", "\x7f", "\0", "\u2028", "\udc80"]
)
def test_policy_name_that_no_field_can_hold_is_refused(RateLimitResult, name):
    message = f"policy_name must be printable ASCII, got {name!r}"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        RateLimitResult(True, 1, 1).headers(name)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("name", [None, b"default", 5])
def test_policy_name_of_another_type_is_refused(RateLimitResult, name):
    with pytest.raises(TypeError, match=f"policy_name must be a string, got {type(name).__name__}"):
        RateLimitResult(True, 1, 1).headers(name)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_policy_name_can_be_read_back(name):
    field = load(MODULE, "py")(True, 1, 1).headers(name)["RateLimit"]
    quoted = re.fullmatch(r'"((?:[^"\\]|\\["\\])*)";r=1;t=0', field).group(1)  # sf-string of RFC 9651
    assert re.sub(r"\\(.)", r"\1", quoted) == name


def test_results_with_equal_facts_are_equal(RateLimitResult):
    first = RateLimitResult(False, 5, 0, 1.5, 8, 10)
    assert first == RateLimitResult(0, 5, 0, 1.5, 8.0, 10)
    assert hash(first) == hash(RateLimitResult(False, 5, 0, 1.5, 8, 10))
    others = ((True, 5, 0, 1.5, 8, 10), (False, 6, 0, 1.5, 8, 10), (False, 5, 1, 1.5, 8, 10))
    times = ((False, 5, 0, 1.6, 8, 10), (False, 5, 0, 1.5, 9, 10), (False, 5, 0, 1.5, 8, 10.000000001))
    for each in (*others, *times):
        assert first != RateLimitResult(*each)
    assert first != (False, 5, 0, 1.5, 8, 10)
    assert first != None  # noqa: E711


def test_repr_makes_an_equal_result(RateLimitResult):
    result = RateLimitResult(False, 5, 0, 1.5, 8.25, 10)
    assert repr(result) == (
        "RateLimitResult(allowed=False, limit=5, remaining=0, retry_after=1.5, reset_after=8.25, window=10.0)"
    )
    assert eval(repr(result)) == result


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((True, 1, 2), ValueError, "remaining must be >= 0 and <= limit, and limit < 2**63, got 2 of 1"),
        ((True, 1, -1), ValueError, "remaining must be >= 0 and <= limit, and limit < 2**63, got -1 of 1"),
        ((True, 2**63, 0), ValueError, "got 0 of 9223372036854775808"),
        ((True, 1.0, 1), TypeError, "limit must be an int, got float"),
        ((True, 1, None), TypeError, "remaining must be an int, got NoneType"),
        ((True, 1, 1, -1e-9), ValueError, "retry_after must be >= 0 seconds and < 2**63 ns, got -1e-09"),
        ((True, 1, 1, math.nan), ValueError, "retry_after must be >= 0 seconds and < 2**63 ns, got nan"),
        ((True, 1, 1, 0, math.inf), ValueError, "reset_after must be >= 0 seconds and < 2**63 ns, got inf"),
        (
            (True, 1, 1, 0, 0, 1e10),
            ValueError,
            "window must be >= 0 seconds and < 2**63 ns, got 10000000000.0",
        ),
        pytest.param((True, 1, 10**5000), ValueError, "got an int of 16610 bits of 1", id="huge"),
        pytest.param((True, 1, 1, 10**5000), ValueError, "ns, got an int of 16610 bits", id="huge time"),
        ((True, 1, 1, Fraction(-1, 2)), ValueError, "< 2**63 ns, got Fraction(-1, 2)"),
        ((True, 1, 1, "1"), TypeError, "retry_after must be a number of seconds, got str"),
    ],
)
def test_impossible_results_are_refused(RateLimitResult, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as refused:
        RateLimitResult(*arguments)
    assert isinstance(refused.value, PenstockError)


def test_copies_are_of_the_twin_that_is_chosen(RateLimitResult):
    from penstock.ratelimit import RateLimitResult as Chosen

    result = RateLimitResult(False, 5, 0, 1.5, 8.25, 10)
    for other in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert type(other) is Chosen
        assert facts(other) == facts(result)


@given(st.integers(0, 2**63 - 2), st.integers(0, 2**63 - 2))
def test_pickle_keeps_every_nanosecond(retry_ns, window_ns):
    from penstock.ratelimit import RateLimitResult as Chosen

    result = Chosen(False, 1, 0, Fraction(retry_ns, 10**9), 0, Fraction(window_ns, 10**9))
    assert pickle.loads(pickle.dumps(result)) == result
    assert round(Fraction(result.retry_after) * 10**9) == pytest.approx(retry_ns, rel=1e-15)


def run(impl, code, data=b""):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PENSTOCK_IMPL": impl},
        input=data,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return done.stdout


@pytest.mark.parametrize(("writer", "reader"), [("c", "py"), ("py", "c")])
@pytest.mark.parametrize("protocol", [0, pickle.HIGHEST_PROTOCOL])
def test_pickle_of_one_twin_is_read_by_the_other(writer, reader, protocol):
    data = run(
        writer,
        "import pickle, sys; from penstock.ratelimit import RateLimitExceeded, RateLimitResult as R;"
        "e = RateLimitExceeded('key', R(False, 5, 0, 1.000000001, 8.25, 10));"
        f"sys.stdout.buffer.write(pickle.dumps(e, {protocol}))",
    )
    assert b"_py" not in data
    assert b"_c\n" not in data
    shown = run(
        reader,
        "import pickle, sys; e = pickle.load(sys.stdin.buffer);"
        "print(type(e.result).__module__, e.key, e.result, e)",
        data,
    )
    assert shown.decode().split(" ", 1) == [
        f"penstock.ratelimit._result_{reader}",
        "key RateLimitResult(allowed=False, limit=5, remaining=0, retry_after=1.000000001, "
        "reset_after=8.25, window=10.0) at most 5 in 10 s are allowed for 'key', try again in 1 s\n",
    ]


times = st.floats(0, 9e9)


@given(st.booleans(), st.integers(0, 2**63 - 1), st.data(), times, times, times)
def test_twins_tell_the_same(allowed, limit, data, retry_after, reset_after, window):
    remaining = data.draw(st.integers(0, limit))
    compiled, plain = (
        load(MODULE, impl)(allowed, limit, remaining, retry_after, reset_after, window)
        for impl in ("c", "py")
    )
    assert facts(compiled) == facts(plain)
    assert compiled.count == plain.count
    assert compiled.headers("x") == plain.headers("x")
    assert repr(compiled) == repr(plain)
    assert hash(compiled) == hash(plain)
