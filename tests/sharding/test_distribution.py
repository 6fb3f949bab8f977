"""How even keys are, and what chance has to do with it."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding.distribution import ShardLoad, chi_square_p_value, distribution_report

# Critical values of the chi-square distribution: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4
PUBLISHED = {
    1: {0.10: 2.706, 0.05: 3.841, 0.025: 5.024, 0.01: 6.635, 0.001: 10.828},
    2: {0.10: 4.605, 0.05: 5.991, 0.025: 7.378, 0.01: 9.210, 0.001: 13.816},
    3: {0.10: 6.251, 0.05: 7.815, 0.025: 9.348, 0.01: 11.345, 0.001: 16.266},
    9: {0.10: 14.684, 0.05: 16.919, 0.025: 19.023, 0.01: 21.666, 0.001: 27.877},
    10: {0.10: 15.987, 0.05: 18.307, 0.025: 20.483, 0.01: 23.209, 0.001: 29.588},
    50: {0.10: 63.167, 0.05: 67.505, 0.025: 71.420, 0.01: 76.154, 0.001: 86.661},
    100: {0.10: 118.498, 0.05: 124.342, 0.025: 129.561, 0.01: 135.807, 0.001: 149.449},
}

# scipy.stats.chi2.sf of scipy 1.17.1
SCIPY = [
    (0.5, 1, 0.47950012218695337),
    (0.001, 7, 0.9999999999997597),
    (300, 2, 7.175095973164448e-66),
    (1200, 1023, 9.870605956167375e-05),
    (16500, 16383, 0.25832821564535197),
]


@pytest.mark.parametrize("degrees", PUBLISHED)
def test_p_values_are_those_of_the_published_table(degrees):
    for p, critical in PUBLISHED[degrees].items():
        # the table rounds to three decimals: p lies between those of the two ends of the rounding
        assert (
            chi_square_p_value(critical + 0.0005, degrees)
            <= p
            <= chi_square_p_value(critical - 0.0005, degrees)
        )


@pytest.mark.parametrize(("statistic", "degrees", "p"), SCIPY)
def test_p_values_are_those_of_scipy(statistic, degrees, p):
    assert chi_square_p_value(statistic, degrees) == pytest.approx(p, rel=1e-11)


@given(statistic=st.floats(1e-3, 2000), degrees=st.integers(1, 1500))
def test_p_values_agree_with_another_way_to_compute_them(statistic, degrees):
    expected = by_series_or_continued_fraction(degrees / 2, statistic / 2)
    assert chi_square_p_value(statistic, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-11)


def by_series_or_continued_fraction(a, x):
    """Q(a, x) as in Numerical Recipes, 6.2: nothing in common with the finite sum but the Γ function."""
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        n = a
        while abs(term) > 1e-17 * abs(total):
            n += 1
            term *= x / n
            total += term
        return 1 - front * total
    b = x + 1 - a
    c, d = 1e300, 1 / b
    h = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / (an * d + b)
        c = b + an / c
        h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return front * h


@given(degrees=st.integers(1, 300), statistics=st.lists(st.floats(0, 1e6), min_size=2, max_size=5))
def test_p_value_falls_as_the_statistic_grows(degrees, statistics):
    values = [chi_square_p_value(statistic, degrees) for statistic in sorted(statistics)]
    assert all(0 <= value <= 1 for value in values)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(values))


def test_p_value_at_its_ends():
    assert chi_square_p_value(0, 5) == 1.0
    assert chi_square_p_value(math.inf, 5) == 0.0
    assert chi_square_p_value(1e308, 1 << 10) == 0.0
    assert chi_square_p_value(7.0, 0) == 1.0  # one shard: nothing can deviate
    assert chi_square_p_value(10**400, 5) == 0.0
    assert chi_square_p_value(5e-324, 5) == 1.0
    assert chi_square_p_value(3000.0, 1 << 20) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("statistic", "degrees", "error", "message"),
    [
        ("1", 3, TypeError, "statistic must be a number, got str"),
        (1.0, 2.5, TypeError, "degrees_of_freedom must be an int, got float"),
        (-0.1, 3, ValueError, "statistic must be >= 0, got -0.1"),
        (math.nan, 3, ValueError, "statistic must be >= 0, got nan"),
        (1.0, -1, ValueError, "degrees_of_freedom must be >= 0 and <= 1048576, got -1"),
        (1.0, 1 << 21, ValueError, "degrees_of_freedom must be >= 0 and <= 1048576, got 2097152"),
    ],
)
def test_no_p_value_of_nonsense(statistic, degrees, error, message):
    with pytest.raises(error, match=message) as refused:
        chi_square_p_value(statistic, degrees)
    assert isinstance(refused.value, PenstockError)


def test_report_compares_keys_with_shares():
    report = distribution_report({"a": 90, "b": 110, "c": 400}, {"a": 1, "b": 1, "c": 4})
    assert report.loads == (ShardLoad("a", 90, 100), ShardLoad("b", 110, 100), ShardLoad("c", 400, 400))
    assert report.keys == 600
    assert report.chi_square == pytest.approx(2.0)
    assert report.degrees_of_freedom == 2
    assert report.p_value == pytest.approx(math.exp(-1))  # two degrees: e^(-x/2)
    assert report.max_over_mean == pytest.approx(1.1)
    assert report.verdict == "even"


def test_hash_that_prefers_a_shard_is_found_out():
    report = distribution_report({0: 10_400, 1: 9_900, 2: 9_850, 3: 9_850})
    assert report.verdict == "uneven"
    assert report.p_value < 1e-3


def test_few_keys_are_no_evidence():
    assert distribution_report({0: 1, 1: 3, 2: 0, 3: 4}).verdict == "too few keys"
    assert distribution_report({0: 0, 1: 0}).verdict == "too few keys"
    assert distribution_report({0: 0, 1: 0}).max_over_mean == 1.0


def test_one_shard_is_even():
    report = distribution_report({"only": 1000})
    assert (report.chi_square, report.degrees_of_freedom, report.p_value) == (0.0, 0, 1.0)
    assert report.verdict == "even"


def test_keys_where_none_should_be_are_uneven():
    report = distribution_report({"a": 1000, "emptied": 1}, {"a": 1.0, "emptied": 0.0})
    assert report.verdict == "uneven"
    assert report.max_over_mean == math.inf
    assert distribution_report({"a": 1000, "emptied": 0}, {"a": 1, "emptied": 0}).verdict == "even"


def test_shares_may_be_as_large_or_small_as_floats_are():
    report = distribution_report({"a": 1000, "b": 1000}, {"a": 1e308, "b": 1.5e308})
    assert [round(load.expected) for load in report.loads] == [800, 1200]
    report = distribution_report({"a": 0, "b": 1000}, {"a": 5e-324, "b": 1e308})
    assert [load.expected for load in report.loads] == [0, 1000]
    assert report.degrees_of_freedom == 0
    assert report.verdict == "even"


def test_fair_dice_are_called_uneven_as_often_as_the_significance_says():
    dice = random.Random(5)

    def verdict():
        throws = dice.choices(range(8), k=800)
        return distribution_report({side: throws.count(side) for side in range(8)}, significance=0.1).verdict

    uneven = sum(verdict() == "uneven" for _ in range(400))
    assert 20 <= uneven <= 62  # 40 expected, deviation 6


def test_table_has_at_most_80_columns_whatever_the_ids():
    report = distribution_report({"a" * 500: 10**12, "new\nline": 0, 7: 3, "\ud800": 1, 2**60: 5})
    lines = str(report).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert len(lines) == 1 + 5 + 1 + 1 + 3
    assert lines[0].split() == ["shard", "keys", "expected", "ratio"]
    assert lines[-1] == "verdict: uneven"


def test_table_shows_what_people_ask_for():
    assert str(distribution_report({"left": 480, "right": 520})).splitlines() == [
        "shard                                     keys        expected    ratio",
        "left                                       480           500.0    0.960",
        "right                                      520           500.0    1.040",
        "total                                    1,000",
        "",
        "chi-square 1.60, degrees of freedom 1, p = 0.206",
        "fullest shard: 1.040 times its share",
        "verdict: even",
    ]


@pytest.mark.parametrize(
    ("arguments", "how", "error", "message"),
    [
        (({},), {}, ValueError, "keys must name at least one shard, got none"),
        (({"a": -1},), {}, ValueError, "keys of shard 'a' must be >= 0 and <= 9223372036854775807, got -1"),
        (({"a": 1.5},), {}, TypeError, "keys of shard 'a' must be an int, got float"),
        (({"a": 1}, {"b": 1}), {}, ValueError, r"shares must be of the shards \['a'\], got \['b'\]"),
        (({"a": 1}, {"a": math.nan}), {}, ValueError, "share of shard 'a' must be >= 0 and finite, got nan"),
        (({"a": 10**400},), {}, ValueError, "keys of shard 'a' must be .*, got an int of 1329 bits"),
        (({"a": True},), {}, TypeError, "keys of shard 'a' must be an int, got bool"),
        (({"a": 1}, {"a": 10**400}), {}, ValueError, "share of .* must be >= 0 and finite, got an int of"),
        (({"a": 1}, {"a": "1"}), {}, TypeError, "share of shard 'a' must be a number, got str"),
        (({"a": 1},), {"significance": "1"}, TypeError, "significance must be a number, got str"),
        (({"a": 1}, {"a": 0}), {}, ValueError, "shares must not all be 0"),
        (({"a": 1},), {"significance": 1}, ValueError, "significance must be > 0 and < 1, got 1"),
        (({"a": 1},), {"significance": math.nan}, ValueError, "significance must be > 0 and < 1, got nan"),
    ],
)
def test_nonsense_is_refused(arguments, how, error, message):
    with pytest.raises(error, match=message) as refused:
        distribution_report(*arguments, **how)
    assert isinstance(refused.value, PenstockError)
