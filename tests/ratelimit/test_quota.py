"""What a quota holds, and which texts name one."""

import copy
import math
import pickle
import re
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.ratelimit import Quota
from penstock.ratelimit.quota import MAX_QUOTAS, checked_quotas

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("100/second", Quota(100)),
        ("100/s", Quota(100)),
        ("100/sec", Quota(100)),
        ("100 / secs", Quota(100)),
        ("100 per second", Quota(100)),
        ("100 PER SECONDS", Quota(100)),
        ("10/minute", Quota(10, 60)),
        ("10/m", Quota(10, 60)),
        ("10/min", Quota(10, 60)),
        ("5/hour", Quota(5, 3600)),
        ("5/h", Quota(5, 3600)),
        ("1000/day", Quota(1000, DAY)),
        ("1000/d", Quota(1000, DAY)),
        ("1/week", Quota(1, 7 * DAY)),
        ("5/2s", Quota(5, 2)),
        ("5/2.5 s", Quota(5, 2.5)),
        ("5 per 2 minutes", Quota(5, 120)),
        ("5/100ms", Quota(5, 0.1)),
        ("5/1 millisecond", Quota(5, 0.001)),
        ("100/second; burst=200", Quota(100, burst=200)),
        ("  100/second;burst = 1  ", Quota(100, burst=1)),
        ("0010/007 s", Quota(10, 7)),
        ("1073741824/36 h", Quota(2**30, 36 * 3600)),
    ],
)
def test_text_names_a_quota(text, quota):
    assert Quota.parse(text) == quota


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "100",
        "100/",
        "/second",
        "100/fortnight",
        "100/mss",
        "100/month",
        "100persecond",
        "100/second burst=200",
        "100/second; burst=",
        "100/second; burst=-1",
        "100/second; burst=1.5",
        "100/second;",
        "-1/second",
        "+1/second",
        "1.5/second",
        "1_0/second",
        "1e3/second",
        "1/nan s",
        "1/inf s",
        "1/1e3 s",
        "1/-1 s",
        "1/.5 s",
        "1/5. s",
        "99999999999/second",
        "1/99999999999 s",
        "1/1." + "1" * 26 + " s",
        "\u0661\u0660/second",  # arabic digits
        "\uff11/second",  # full width
        "1/\u017fecond",  # long s, which lower-cases to s
        "1\u00a0per second",
        "1/second\n1/second",
        "1/second, 2/second",
        "1/second\0",
    ],
)
def test_other_text_is_no_quota(text):
    message = f"a quota must be such as '100/second; burst=200' or '5 per 2 minutes', got {text!r}"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        Quota.parse(text)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/second", "limit must be >= 1 and <= 1073741824, got 0"),
        ("1073741825/second", "limit must be >= 1 and <= 1073741824, got 1073741825"),
        ("1/0 s", "period must be >= 1 ns and <= 36 years, got 0.0 seconds"),
        ("1/0.0000001 ms", "period must be >= 1 ns and <= 36 years, got 1e-10 seconds"),
        ("1/9999999999 weeks", "period must be >= 1 ns and <= 36 years, got 6047999999395200.0 seconds"),
        ("1/second; burst=0", "burst must be >= 1 and <= 1073741824, got 0"),
        ("1001/0.001 ms", "limit / period must be <= 1000000000 per second, got 1001 / 1e-06"),
        ("1/1000 weeks; burst=2", "burst * period / limit must be <= 36 years, got 2 * 6.048e+08 / 1"),
    ],
)
def test_text_of_an_impossible_quota_says_why(text, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        Quota.parse(text)
    assert isinstance(refused.value, PenstockError)


def test_long_text_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match="a quota must be <= 200 characters, got 1000000"):
        Quota.parse("1" * 10**6)
    with pytest.raises(ValueError, match="quotas must be <= 1600 characters, got 4000000"):
        Quota.parse_many("1/s," * 10**6)


@pytest.mark.parametrize("text", [None, b"1/second", 5])
def test_what_is_no_text_is_refused(text):
    with pytest.raises(TypeError, match=f"a quota must be a string, got {type(text).__name__}"):
        Quota.parse(text)
    with pytest.raises(TypeError, match=f"quotas must be a string, got {type(text).__name__}"):
        Quota.parse_many(text)


def test_list_names_several_quotas():
    assert Quota.parse_many("10/second, 1000/hour; burst=20") == (Quota(10), Quota(1000, 3600, burst=20))
    with pytest.raises(ValueError, match="got ''"):
        Quota.parse_many("10/second,")


@pytest.mark.parametrize("name", ["limit", "burst"])
@pytest.mark.parametrize(
    ("value", "error", "got"),
    [
        (0, ValueError, "0"),
        (-1, ValueError, "-1"),
        (2**30 + 1, ValueError, "1073741825"),
        (10**100, ValueError, "1" + "0" * 100),
        pytest.param(10**5000, ValueError, "an int of 16610 bits", id="huge"),
        pytest.param(-(10**5000), ValueError, "an int of 16610 bits", id="huge negative"),
        (True, TypeError, "bool"),
        (1.0, TypeError, "float"),
        (math.nan, TypeError, "float"),
        ("1", TypeError, "str"),
    ],
)
def test_units_are_whole_and_in_their_range(name, value, error, got):
    arguments = {"limit": 1} | {name: value}
    rule = "an int" if error is TypeError else ">= 1 and <= 1073741824"
    with pytest.raises(error, match=re.escape(f"{name} must be {rule}, got {got}")) as refused:
        Quota(**arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(
    ("period", "got"),
    [
        (0, "0"),
        (-0.0, "-0.0"),
        (-1.5, "-1.5"),
        (9e-10, "9e-10"),
        (1.2e9, "1200000000.0"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (1e308, "1e+308"),
        pytest.param(10**5000, "an int of 16610 bits", id="huge"),
        (timedelta(0), "0.0"),
        (timedelta(-1), "-86400.0"),
        (timedelta.max, "86400000000000.0"),
    ],
)
def test_period_is_a_positive_time_that_a_clock_can_show(period, got):
    message = f"period must be >= 1 ns and <= 36 years, got {got} seconds"
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        Quota(1, period)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("period", [True, "1", None, Fraction(1), 1j])
def test_period_of_another_type_is_refused(period):
    message = f"period must be a number of seconds or a timedelta, got {type(period).__name__}"
    with pytest.raises(TypeError, match=message) as refused:
        Quota(1, period)
    assert isinstance(refused.value, PenstockError)


def test_burst_is_the_limit_unless_told():
    assert Quota(7).burst == 7
    assert Quota(7, burst=3).burst == 3


def test_rate_and_nanoseconds_are_exact():
    assert Quota(7, 2).rate == Fraction(7, 2)
    assert Quota(1, 0.1).rate == 1 / Fraction(0.1)
    assert Quota(1, timedelta(microseconds=1)).period_ns == 1000
    assert Quota(1, 1.1e9).period_ns == 11 * 10**17


def test_quota_is_a_value():
    quota = Quota(5, 10, burst=7)
    assert quota == Quota(5, timedelta(seconds=10), burst=7)
    assert hash(quota) == hash(Quota(5, 10.0, burst=7))
    assert quota != Quota(5, 10)
    assert pickle.loads(pickle.dumps(quota)) == copy.deepcopy(quota) == quota
    assert replace(quota, limit=6) == Quota(6, 10, burst=7)
    assert eval(repr(quota)) == quota
    with pytest.raises(FrozenInstanceError):
        quota.limit = 6


@pytest.mark.parametrize(
    ("quota", "text"),
    [
        (Quota(100), "100/second"),
        (Quota(100, burst=200), "100/second; burst=200"),
        (Quota(5, 60), "5/minute"),
        (Quota(5, 3600), "5/hour"),
        (Quota(5, DAY), "5/day"),
        (Quota(5, 2), "5/2 s"),
        (Quota(5, 1.25), "5/1.25 s"),
        (Quota(1, 1e-9), "1/0.000000001 s"),
        (Quota(1, 1e9), "1/1000000000 s"),
        (Quota(1, 1.2345678901234566e-9), "1/0.0000000012345678901234566 s"),
        (Quota(3, 1 / 3), "3/0.3333333333333333 s"),
    ],
)
def test_text_of_a_quota_is_short_and_plain(quota, text):
    assert str(quota) == text
    assert Quota.parse(text) == quota


units = st.integers(1, 2**30)
periods = st.floats(1e-9, 2**60 / 1e9) | st.timedeltas(timedelta(microseconds=1), timedelta(days=13_000))


@given(units, periods, st.none() | units)
def test_text_of_a_quota_is_parsed_to_an_equal_one(limit, period, burst):
    quota = outcome(lambda: Quota(limit, period, burst=burst))
    if isinstance(quota, Quota):
        assert Quota.parse(str(quota)) == quota
        assert Quota.parse_many(f"{quota},{quota}") == (quota, quota)
    else:
        assert re.match(r"(limit / period|burst \* period / limit) must be", str(quota))


@given(
    st.text(max_size=40) | st.from_regex(r"[0-9]{1,12} ?(/|per) ?[0-9.]{0,6} ?[a-z]{1,8}(; burst=[0-9]+)?")
)
def test_any_text_is_a_quota_or_an_error_of_penstock(text):
    quota = outcome(lambda: Quota.parse(text))
    assert isinstance(quota, ValueError) or Quota.parse(str(quota)) == quota


def outcome(call):
    """What the call returns, or penstock's own error."""
    try:
        return call()
    except PenstockError as refused:
        return refused


def test_limiter_takes_quotas_as_objects_and_texts():
    assert checked_quotas(["10/second, 1000/hour", Quota(5, 60)]) == (
        Quota(10),
        Quota(1000, 3600),
        Quota(5, 60),
    )


@pytest.mark.parametrize("count", [0, MAX_QUOTAS + 1])
def test_limiter_has_at_least_one_quota_and_not_too_many(count):
    with pytest.raises(ValueError, match=f"a limiter must have 1 to 8 quotas, got {count}"):
        checked_quotas([Quota(1)] * count)


def test_limiter_refuses_what_is_no_quota():
    with pytest.raises(TypeError, match="a quota must be a Quota or a string, got int"):
        checked_quotas([5])
